"""Lean Trio: by hand as well, with less than an actor has, for less time.

Beside `naive`, for who asks what the library costs where its promises are not needed.

Rules of this file:

* What is left away is said at each workload; the work per message is the same.
* It gives no way to do what is not worth another way: `WITHOUT` says so.
"""

from collections.abc import Mapping
from time import process_time

import trio
from trio import MemoryReceiveChannel, MemorySendChannel
from trio.lowlevel import checkpoint

from ._books import check
from ._records import Sample

CAPACITY = 1024
TURN = 64
"""How many messages are sent, or taken, until others run."""

_SAME = "it would be what plain Trio does"
WITHOUT = {
    **dict.fromkeys(("ask", "asks", "ring", "pingpong", "fan", "big"), _SAME),
    **dict.fromkeys(("skynet", "storm", "idle"), _SAME),
}


# --- W1, W8: nobody is cancelled between two messages of a turn --------------------


class _Sink:
    """Takes what there is, and waits for room or for messages by ``await``."""

    def __init__(self, capacity: int) -> None:
        self.send, self.receive = trio.open_memory_channel[int](capacity)
        self.total = 0

    async def run(self) -> None:
        """Count."""
        take = self.receive.receive_nowait
        async for _ in self.receive:
            self.total += 1
            try:
                for _ in range(TURN):
                    take()
                    self.total += 1
            except (trio.WouldBlock, trio.EndOfChannel):
                pass


async def _produce(send: MemorySendChannel[int], messages: int) -> None:
    put = send.send_nowait
    async with send:
        for message in range(messages):
            try:
                put(message)
            except trio.WouldBlock:
                await send.send(message)
            if not message % TURN:
                await checkpoint()


async def _send(senders: int, each: int, capacity: int) -> Sample:
    sink = _Sink(capacity)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.run)
        await checkpoint()
        begin = process_time()
        async with sink.send:
            for _ in range(senders):
                nursery.start_soon(_produce, sink.send.clone(), each)
    seconds = process_time() - begin
    check("messages", sink.total, senders * each)
    return Sample(senders * each, seconds)


def tell(sizes: Mapping[str, int]) -> Sample:
    """W1: one sender, one receiver."""
    return trio.run(_send, 1, sizes["messages"], CAPACITY)


def producers(sizes: Mapping[str, int]) -> Sample:
    """W8: many senders, one small channel."""
    return trio.run(_send, sizes["producers"], sizes["each"], sizes["capacity"])


# --- W4: a task that ends with its channel; nobody can stop it otherwise ------------


async def _idle(receive: MemoryReceiveChannel[int]) -> None:
    async for _ in receive:
        pass


async def _spawn(actors: int) -> Sample:
    async with trio.open_nursery() as nursery:
        begin = process_time()
        idle: list[MemorySendChannel[int]] = []
        for _ in range(actors):
            send, receive = trio.open_memory_channel[int](CAPACITY)
            nursery.start_soon(_idle, receive)
            idle.append(send)
        await checkpoint()
        seconds = process_time() - begin
        check("actors", len(nursery.child_tasks), actors)
        begin = process_time()
        for one in idle:
            one.close()
    seconds += process_time() - begin
    return Sample(actors, seconds)


def spawn(sizes: Mapping[str, int]) -> Sample:
    """W4: many actors that do nothing."""
    return trio.run(_spawn, sizes["actors"])


# --- W7: a loop around the work, without a window, children or tasks of its own ----


class _Crash(Exception):
    """What is raised on purpose."""


async def _crash(receive: MemoryReceiveChannel[int]) -> None:
    async for _ in receive:
        raise _Crash


async def _restart(crashes: int) -> Sample:
    send, receive = trio.open_memory_channel[int](crashes)
    for message in range(crashes):
        send.send_nowait(message)
    send.close()
    restarts = 0
    begin = process_time()
    while True:
        try:
            await _crash(receive)
        except _Crash:
            restarts += 1
        else:
            break
    seconds = process_time() - begin
    check("restarts", restarts, crashes)
    return Sample(restarts, seconds)


def restart(sizes: Mapping[str, int]) -> Sample:
    """W7: one actor that fails at each message."""
    return trio.run(_restart, sizes["crashes"])
