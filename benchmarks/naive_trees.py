"""Plain Trio, continued: a tree of tasks, and tasks that all write to each other.

The rules are those of naive.py. A leaf of the tree is a task that sends one number: it
has no channel of its own, since nobody would ever write to it.
"""

from collections.abc import Awaitable, Callable, Mapping
from time import process_time

import attrs
import trio
from trio import MemoryReceiveChannel, MemorySendChannel
from trio.testing import wait_all_tasks_blocked

from ._books import check
from ._records import Sample
from .skynet import BRANCHES, actors_in

CAPACITY = 1024


# --- Skynet -----------------------------------------------------------------


async def _node(report: MemorySendChannel[int], first: int, leaves: int) -> None:
    if leaves == 1:
        await report.send(first)
        return
    send, receive = trio.open_memory_channel[int](CAPACITY)
    share, total = leaves // BRANCHES, 0
    async with trio.open_nursery() as nursery:
        for number in range(first, first + leaves, share):
            nursery.start_soon(_node, send, number, share)
        for _ in range(BRANCHES):
            total += await receive.receive()
    await report.send(total)


def skynet(sizes: Mapping[str, int]) -> Sample:
    """Build a tree."""
    return trio.run(_skynet, sizes["leaves"])


async def _skynet(leaves: int) -> Sample:
    send, receive = trio.open_memory_channel[int](1)
    begin = process_time()
    await _node(send, 0, leaves)
    seconds = process_time() - begin
    check("sum", receive.receive_nowait(), leaves * (leaves - 1) // 2)
    return Sample(actors_in(leaves), seconds)


# --- Big --------------------------------------------------------------------


@attrs.frozen
class Begin:
    """Write to these."""

    others: "tuple[MemorySendChannel[Message], ...]"


@attrs.frozen
class Ping:
    """Answer me."""

    sender: "MemorySendChannel[Message]"


@attrs.frozen
class Pong:
    """The answer."""


Message = Begin | Ping | Pong
PONG = Pong()


async def _member(
    me: MemorySendChannel[Message],
    receive: MemoryReceiveChannel[Message],
    ready: Callable[[], Awaitable[None]],
) -> None:
    left = 0
    async for message in receive:
        match message:
            case Ping(sender):
                await sender.send(PONG)
            case Pong():
                left -= 1
                if not left:
                    await ready()
            case Begin(others):
                left = len(others)
                ping = Ping(me)
                for other in others:
                    await other.send(ping)


def big(sizes: Mapping[str, int]) -> Sample:
    """Let everybody write to everybody."""
    return trio.run(_big, sizes["actors"], sizes["pings"])


async def _big(actors: int, pings: int) -> Sample:
    channels = [trio.open_memory_channel[Message](CAPACITY) for _ in range(actors)]
    circle = [send for send, _ in channels] * 2
    done, finished = trio.open_memory_channel[None](actors)

    async def ready() -> None:
        await done.send(None)

    async with trio.open_nursery() as nursery:
        for send, receive in channels:
            nursery.start_soon(_member, send, receive, ready)
        await wait_all_tasks_blocked()
        begin = process_time()
        for index in range(actors):
            others = tuple(circle[index + 1 : index + 1 + pings])
            await circle[index].send(Begin(others))
        for _ in range(actors):
            await finished.receive()
        seconds = process_time() - begin
        nursery.cancel_scope.cancel()
    return Sample(2 * actors * pings, seconds)
