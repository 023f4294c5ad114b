"""TriOTP: OTP's names on Trio; a mailbox is a memory channel of capacity zero.

Rules of this file:

* Servers are gen_servers, started by a supervisor; what a module is to TriOTP is a
  class of static methods here.
* A message is handed over: who sends waits until it is taken. So no producer needs a
  bound, and actors that write to each other at the same time would wait for ever.
* A mailbox goes with its task: an actor that fails gets its messages one by one, each
  after the start that came before it.
* TriOTP asks for trio 0.19 and has not been released since. It runs on the trio that
  is here all the same, and is measured on it: ``pip install --no-deps triotp``, and
  ``pip install logbook tenacity trio-util``.
"""

from collections.abc import Mapping
from importlib.metadata import version as installed
from time import process_time
from types import SimpleNamespace
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks._books import check
from benchmarks._memory import Growth
from benchmarks._records import Sample

from ._triotp import POOL, dynamic_supervisor, gen_server, pool, run, serve, server
from ._triotp_trees import restart as restart, skynet as skynet, storm as storm

WITHOUT = {
    "big": "a message is handed over: those that write to each other wait for ever",
}
AT_MOST = {
    "tell": {"messages": 20_000},
    "ask": {"asks": 5000},
    "asks": {"each": 5},
    "spawn": {"actors": 1000},
    "idle": {"actors": 1000},
    "ring": {"laps": 10},
    "fan": {"rounds": 5},
    "restart": {"crashes": 1000},
    "producers": {"each": 100},
    "pingpong": {"rounds": 5000},
    "skynet": {"leaves": 1000},
    "storm": {"crashes": 10},
}


def version() -> str:
    """Return which TriOTP this is."""
    return f"TriOTP {installed('triotp')}"


# --- W1 tell, W8 producers --------------------------------------------------


class Sink:
    """Counts."""

    @staticmethod
    async def init(argument: int) -> int:
        """Begin with *argument*."""
        return argument

    @staticmethod
    async def handle_cast(_message: int, state: int) -> tuple[Any, int]:
        """Count one."""
        return gen_server.NoReply(), state + 1

    @staticmethod
    async def handle_call(_message: str, _caller: Any, state: int) -> tuple[Any, int]:
        """Tell how many there were."""
        return gen_server.Reply(payload=state), state


async def _cast_all(name: str, messages: int) -> None:
    for message in range(messages):
        await gen_server.cast(name, message)


def tell(sizes: Mapping[str, int]) -> Sample:
    """Cast from one task."""
    messages = sizes["messages"]

    async def main(nursery: trio.Nursery) -> Sample:
        await serve(nursery, server(Sink, 0, "sink"))
        begin = process_time()
        await _cast_all("sink", messages)
        total = await gen_server.call("sink", "total")
        seconds = process_time() - begin
        check("messages", total, messages)
        return Sample(messages, seconds)

    return run(main)


def producers(sizes: Mapping[str, int]) -> Sample:
    """Cast from many tasks."""
    messages = sizes["producers"] * sizes["each"]

    async def main(nursery: trio.Nursery) -> Sample:
        await serve(nursery, server(Sink, 0, "sink"))
        begin = process_time()
        async with trio.open_nursery() as tasks:
            for _ in range(sizes["producers"]):
                tasks.start_soon(_cast_all, "sink", sizes["each"])
        total = await gen_server.call("sink", "total")
        seconds = process_time() - begin
        check("messages", total, messages)
        return Sample(messages, seconds)

    return run(main)


# --- W2 ask, W3 asks --------------------------------------------------------


class Server:
    """Answers."""

    @staticmethod
    async def init(_argument: None) -> None:
        """Begin with nothing."""

    @staticmethod
    async def handle_call(message: int, _caller: Any, state: None) -> tuple[Any, None]:
        """Count one on."""
        return gen_server.Reply(payload=message + 1), state


def _ask(clients: int, each: int) -> Sample:
    totals: list[int] = []

    async def client() -> None:
        total = 0
        for value in range(each):
            total += await gen_server.call("server", value)
        totals.append(total)

    async def main(nursery: trio.Nursery) -> Sample:
        await serve(nursery, server(Server, None, "server"))
        begin = process_time()
        async with trio.open_nursery() as tasks:
            for _ in range(clients):
                tasks.start_soon(client)
        seconds = process_time() - begin
        check("answers", sum(totals), clients * each * (each + 1) // 2)
        return Sample(clients * each, seconds)

    return run(main)


def ask(sizes: Mapping[str, int]) -> Sample:
    """Call from one task."""
    return _ask(1, sizes["asks"])


def asks(sizes: Mapping[str, int]) -> Sample:
    """Call from many tasks."""
    return _ask(sizes["clients"], sizes["each"])


# --- W4 spawn, idle ---------------------------------------------------------


class Idle:
    """Has little to do, and tells when it has begun."""

    @staticmethod
    async def init(argument: trio.Event) -> None:
        """Begin with nothing."""
        argument.set()

    @staticmethod
    async def handle_cast(message: str, state: None) -> tuple[Any, None]:
        """Stop, or do nothing."""
        stop = message == "stop"
        return (gen_server.Stop() if stop else gen_server.NoReply()), state


async def _start_idle(actors: int) -> list[str]:
    names = [f"idle-{number}" for number in range(actors)]
    for name in names:
        begun = trio.Event()
        await dynamic_supervisor.start_child(POOL, server(Idle, begun, name))
        await begun.wait()
    return names


def spawn(sizes: Mapping[str, int]) -> Sample:
    """Start them, and stop all."""

    async def main(nursery: trio.Nursery) -> Sample:
        await pool(nursery)
        begin = process_time()
        for name in await _start_idle(sizes["actors"]):
            await gen_server.cast(name, "stop")
        await wait_all_tasks_blocked()
        return Sample(sizes["actors"], process_time() - begin)

    return run(main)


def idle(sizes: Mapping[str, int]) -> Sample:
    """Weigh them."""

    async def main(nursery: trio.Nursery) -> Sample:
        await pool(nursery)
        begin, growth = process_time(), Growth(sizes["actors"])
        names = await _start_idle(sizes["actors"])
        await wait_all_tasks_blocked()
        growth.read("bytes_untold")
        for name in names:
            await gen_server.cast(name, "note")
        await wait_all_tasks_blocked()
        growth.read("bytes_told")
        seconds = process_time() - begin
        return Sample(sizes["actors"], seconds, figures=growth.figures)

    return run(main)


# --- W5 ring, and ping-pong -------------------------------------------------


class Node:
    """Passes on what it gets; its state is whom to, and the end."""

    @staticmethod
    async def init(argument: tuple[str, trio.Event]) -> tuple[str, trio.Event]:
        """Begin with *argument*."""
        return argument

    @staticmethod
    async def handle_cast(message: int, state: Any) -> tuple[Any, Any]:
        """Pass it on, or end the run."""
        following, over = state
        if message:
            await gen_server.cast(following, message - 1)
        else:
            over.set()
        return gen_server.NoReply(), state


def _hops(actors: int, hops: int) -> Sample:
    names = [f"node-{number}" for number in range(actors)]

    async def main(nursery: trio.Nursery) -> Sample:
        over = trio.Event()
        ring = zip(names, [*names[1:], names[0]], strict=True)
        specs = (server(Node, (following, over), name) for name, following in ring)
        await serve(nursery, *specs)
        begin = process_time()
        await gen_server.cast(names[0], hops)
        await over.wait()
        return Sample(hops, process_time() - begin)

    return run(main)


def ring(sizes: Mapping[str, int]) -> Sample:
    """Go round."""
    return _hops(sizes["actors"], sizes["actors"] * sizes["laps"])


def pingpong(sizes: Mapping[str, int]) -> Sample:
    """Go back and forth."""
    return _hops(2, 2 * sizes["rounds"])


# --- W6 fan -----------------------------------------------------------------


class Collector:
    """Adds up, and answers when a round is complete."""

    @staticmethod
    async def init(_argument: None) -> SimpleNamespace:
        """Begin with nothing."""
        return SimpleNamespace(total=0, left=0, caller=None)

    @staticmethod
    async def handle_cast(message: int, state: Any) -> tuple[Any, Any]:
        """Add one up."""
        state.total += message
        state.left -= 1
        if state.caller is not None and not state.left:
            await gen_server.reply(state.caller, state.total)
            state.caller = None
        return gen_server.NoReply(), state

    @staticmethod
    async def handle_call(message: int, caller: Any, state: Any) -> tuple[Any, Any]:
        """Wait for that many, less those that have come."""
        state.left += message
        if not state.left:
            return gen_server.Reply(payload=state.total), state
        state.caller = caller
        return gen_server.NoReply(), state


class Worker:
    """Passes on what it gets."""

    @staticmethod
    async def init(argument: str) -> str:
        """Begin with whom to pass it on to."""
        return argument

    @staticmethod
    async def handle_cast(message: int, state: str) -> tuple[Any, str]:
        """Pass it on."""
        await gen_server.cast(state, message)
        return gen_server.NoReply(), state


def fan(sizes: Mapping[str, int]) -> Sample:
    """Out to all, and back to one."""
    workers, rounds = sizes["workers"], sizes["rounds"]
    names = [f"worker-{number}" for number in range(workers)]

    async def main(nursery: trio.Nursery) -> Sample:
        specs = (server(Worker, "collector", name) for name in names)
        await serve(nursery, server(Collector, None, "collector"), *specs)
        total = 0
        begin = process_time()
        for number in range(rounds):
            for name in names:
                await gen_server.cast(name, number)
            total = await gen_server.call("collector", workers)
        seconds = process_time() - begin
        check("sum", total, workers * rounds * (rounds - 1) // 2)
        return Sample(2 * workers * rounds, seconds)

    return run(main)
