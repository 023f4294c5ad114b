"""TriOTP: a node for one run, and servers under a supervisor."""

import importlib
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks._records import Sample

# It has no types.
application: Any = importlib.import_module("triotp.application")
dynamic_supervisor: Any = importlib.import_module("triotp.dynamic_supervisor")
gen_server: Any = importlib.import_module("triotp.gen_server")
mailbox: Any = importlib.import_module("triotp.mailbox")
node: Any = importlib.import_module("triotp.node")
supervisor: Any = importlib.import_module("triotp.supervisor")

POOL = "pool"


def run(main: Callable[[trio.Nursery], Awaitable[Sample]]) -> Sample:
    """Run an application on a node; what it started ends with it."""
    samples: list[Sample] = []

    async def start(_argument: object) -> None:
        async with trio.open_nursery() as nursery:
            samples.append(await main(nursery))
            nursery.cancel_scope.cancel()

    module = SimpleNamespace(__name__="benchmark", start=start)
    node.run([application.app_spec(module, None, permanent=False)])
    return samples[0]


def server(module: type, argument: object, name: str) -> Any:
    """Describe a server that is started again when it fails."""
    strategy = supervisor.restart_strategy.TRANSIENT
    arguments = [module, argument, name]
    return supervisor.child_spec(name, gen_server.start, arguments, strategy)


async def serve(nursery: trio.Nursery, *specs: Any) -> None:
    """Start servers that may fail as often as they like; wait until they run."""
    options = supervisor.options(max_restarts=10**9, max_seconds=5)
    await nursery.start(supervisor.start, list(specs), options)
    await wait_all_tasks_blocked()


async def pool(nursery: trio.Nursery) -> None:
    """Start what children come and go under."""
    await nursery.start(dynamic_supervisor.start, supervisor.options(), POOL)
    await wait_all_tasks_blocked()
