"""TriOTP: what fails, and what grows. See `triotp_actors.py`."""

from collections.abc import Mapping
from time import process_time
from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks._books import check
from benchmarks._records import Sample
from benchmarks.skynet import BRANCHES, actors_in

from ._triotp import (
    POOL,
    dynamic_supervisor,
    gen_server,
    mailbox,
    pool,
    run,
    serve,
    server,
    supervisor,
)


class Crash(Exception):
    """What is raised on purpose."""


# --- W7 restart, and the storm ----------------------------------------------


class Crasher:
    """Tells that it has begun, and fails at each message."""

    @staticmethod
    async def init(argument: Any) -> None:
        """Tell."""
        argument.incarnations += 1
        argument.begun.set()

    @staticmethod
    async def handle_cast(_message: str, _state: None) -> tuple[Any, None]:
        """Fail."""
        raise Crash


def _crash(workers: int, crashes: int) -> Sample:
    children = {
        f"crasher-{number}": SimpleNamespace(incarnations=0, begun=trio.Event())
        for number in range(workers)
    }

    async def crash(name: str) -> None:
        for _ in range(crashes):
            children[name].begun = trio.Event()
            await gen_server.cast(name, "crash")
            await children[name].begun.wait()

    async def main(nursery: trio.Nursery) -> Sample:
        specs = (server(Crasher, child, name) for name, child in children.items())
        await serve(nursery, *specs)
        begin = process_time()
        async with trio.open_nursery() as tasks:
            for name in children:
                tasks.start_soon(crash, name)
        seconds = process_time() - begin
        incarnations = sum(child.incarnations for child in children.values())
        check("incarnations", incarnations, workers * (crashes + 1))
        return Sample(workers * crashes, seconds)

    return run(main)


def restart(sizes: Mapping[str, int]) -> Sample:
    """Fail in one."""
    return _crash(1, sizes["crashes"])


def storm(sizes: Mapping[str, int]) -> Sample:
    """Fail in many."""
    return _crash(sizes["workers"], sizes["crashes"])


# --- Skynet -----------------------------------------------------------------


async def _branch(parent: str, first: int, leaves: int) -> None:
    """Be a leaf, or the sum of ten others: a task with a mailbox, no server."""
    if leaves == 1:
        await mailbox.send(parent, first)
        return
    share, strategy = leaves // BRANCHES, supervisor.restart_strategy.TEMPORARY
    async with mailbox.open() as mid:
        for number in range(first, first + leaves, share):
            arguments = [mid, number, share]
            spec = supervisor.child_spec(str(number), _branch, arguments, strategy)
            await dynamic_supervisor.start_child(POOL, spec)
        total = 0
        for _ in range(BRANCHES):
            total += await mailbox.receive(mid)
        await mailbox.send(parent, total)


def skynet(sizes: Mapping[str, int]) -> Sample:
    """Build the tree."""
    leaves = sizes["leaves"]

    async def main(nursery: trio.Nursery) -> Sample:
        await pool(nursery)
        async with mailbox.open() as mid:
            begin = process_time()
            nursery.start_soon(_branch, mid, 0, leaves)
            total = await mailbox.receive(mid)
            await wait_all_tasks_blocked()
            seconds = process_time() - begin
        check("sum", total, leaves * (leaves - 1) // 2)
        return Sample(actors_in(leaves), seconds)

    return run(main)
