"""Plain Trio: what a good Trio user writes by hand, without an actor library.

Rules of this file:

* An actor is a task that iterates over a memory channel of 1024 messages, the same
  capacity as a mailbox; senders ``await send()``; an ask brings a reply channel.
* An actor that is started and stopped by itself (W4) comes up with ``nursery.start``,
  and has a channel and a cancel scope. One that is restarted has a nursery of its own,
  so that its failure is nobody else's.
* The two that are no single channel or ring (skynet, big) stand in naive_trees.py.
* The work per message is that of the library's version, to the letter.
"""

import math
from collections.abc import Mapping
from time import process_time
from typing import TypeAlias

import attrs
import trio
from trio import MemoryReceiveChannel, MemorySendChannel, TaskStatus
from trio.lowlevel import checkpoint
from trio.testing import wait_all_tasks_blocked

from ._books import check
from ._memory import Growth
from ._records import Sample
from .naive_trees import big as big, skynet as skynet

CAPACITY = 1024

Question: TypeAlias = tuple[int, MemorySendChannel[int]]


# --- W1, W8: tell -----------------------------------------------------------


class Sink:
    """Counts what comes through a channel."""

    def __init__(self, capacity: int) -> None:
        self.send, self._receive = trio.open_memory_channel[int](capacity)
        self.total = 0

    async def run(self) -> None:
        """Count."""
        async for _ in self._receive:
            self.total += 1


def tell(sizes: Mapping[str, int]) -> Sample:
    """W1: one sender, one receiver."""
    return trio.run(_tell, sizes["messages"])


async def _tell(messages: int) -> Sample:
    sink = Sink(CAPACITY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.run)
        await checkpoint()
        begin = process_time()
        for message in range(messages):
            await sink.send.send(message)
        sink.send.close()
    seconds = process_time() - begin
    check("messages", sink.total, messages)
    return Sample(messages, seconds)


def producers(sizes: Mapping[str, int]) -> Sample:
    """W8: many senders, one small channel."""
    return trio.run(_producers, sizes["producers"], sizes["each"], sizes["capacity"])


async def _producers(producers: int, each: int, capacity: int) -> Sample:
    sink = Sink(capacity)

    async def produce(send: MemorySendChannel[int]) -> None:
        async with send:
            for message in range(each):
                await send.send(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.run)
        await checkpoint()
        begin = process_time()
        async with sink.send:
            for _ in range(producers):
                nursery.start_soon(produce, sink.send.clone())
    seconds = process_time() - begin
    check("messages", sink.total, producers * each)
    return Sample(producers * each, seconds)


# --- W2, W3: ask ------------------------------------------------------------


async def _serve(questions: MemoryReceiveChannel[Question]) -> None:
    async for value, reply in questions:
        await reply.send(value + 1)


async def _ask(server: MemorySendChannel[Question], value: int) -> int:
    reply, answer = trio.open_memory_channel[int](1)
    await server.send((value, reply))
    return await answer.receive()


def ask(sizes: Mapping[str, int]) -> Sample:
    """W2: one question after the other."""
    return trio.run(_asks, 1, sizes["asks"])


def asks(sizes: Mapping[str, int]) -> Sample:
    """W3: many askers at once."""
    return trio.run(_asks, sizes["clients"], sizes["each"])


async def _asks(clients: int, each: int) -> Sample:
    server, questions = trio.open_memory_channel[Question](CAPACITY)
    total = 0

    async def client() -> None:
        nonlocal total
        for value in range(each):
            answer = await _ask(server, value)
            total += answer  # after the wait: others add meanwhile

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_serve, questions)
        await checkpoint()
        begin = process_time()
        async with trio.open_nursery() as askers:
            for _ in range(clients):
                askers.start_soon(client)
        seconds = process_time() - begin
        server.close()
    check("answers", total, clients * each * (each + 1) // 2)
    return Sample(clients * each, seconds)


# --- W4: spawn, stop --------------------------------------------------------


@attrs.frozen
class Idle:
    """What is held for each actor: the way in, and the way to stop it."""

    send: MemorySendChannel[int]
    scope: trio.CancelScope


async def _idle(task_status: TaskStatus[Idle]) -> None:
    send, receive = trio.open_memory_channel[int](CAPACITY)
    with trio.CancelScope() as scope:
        task_status.started(Idle(send, scope))
        async for _ in receive:
            pass


def spawn(sizes: Mapping[str, int]) -> Sample:
    """W4: many actors that do nothing."""
    return trio.run(_spawn, sizes["actors"])


async def _spawn(actors: int) -> Sample:
    async with trio.open_nursery() as nursery:
        begin = process_time()
        idle: list[Idle] = [await nursery.start(_idle) for _ in range(actors)]
        seconds = process_time() - begin
        check("actors", len(nursery.child_tasks), actors)
        begin = process_time()
        for one in idle:
            one.scope.cancel()
    seconds += process_time() - begin
    return Sample(actors, seconds)


def idle(sizes: Mapping[str, int]) -> Sample:
    """W4: what each of them weighs."""
    return trio.run(_weigh, sizes["actors"])


async def _weigh(actors: int) -> Sample:
    async with trio.open_nursery() as nursery:
        await nursery.start(_idle)
        begin, growth = process_time(), Growth(actors)
        idle: list[Idle] = [await nursery.start(_idle) for _ in range(actors)]
        growth.read("bytes_untold")
        for one in idle:
            await one.send.send(1)
        await wait_all_tasks_blocked()
        growth.read("bytes_told")
        seconds = process_time() - begin
        nursery.cancel_scope.cancel()
    return Sample(actors, seconds, figures=growth.figures)


# --- W5, ping-pong: a ring --------------------------------------------------


def ring(sizes: Mapping[str, int]) -> Sample:
    """W5: one message goes round."""
    return trio.run(_ring, sizes["actors"], sizes["actors"] * sizes["laps"])


def pingpong(sizes: Mapping[str, int]) -> Sample:
    """Two of them."""
    return trio.run(_ring, 2, 2 * sizes["rounds"])


async def _ring(actors: int, hops: int) -> Sample:
    over = trio.Event()
    channels = [trio.open_memory_channel[int](CAPACITY) for _ in range(actors)]
    sends = [send for send, _ in channels]

    async def node(
        receive: MemoryReceiveChannel[int], following: MemorySendChannel[int]
    ) -> None:
        async for left in receive:
            if left:
                await following.send(left - 1)
            else:
                over.set()

    async with trio.open_nursery() as nursery:
        for index, (_, receive) in enumerate(channels):
            nursery.start_soon(node, receive, sends[(index + 1) % actors])
        await wait_all_tasks_blocked()
        begin = process_time()
        await sends[0].send(hops)
        await over.wait()
        seconds = process_time() - begin
        nursery.cancel_scope.cancel()
    return Sample(hops, seconds)


# --- W6: fan-out, fan-in ----------------------------------------------------


def fan(sizes: Mapping[str, int]) -> Sample:
    """W6: from one to many, and back."""
    return trio.run(_fan, sizes["workers"], sizes["rounds"])


async def _fan(workers: int, rounds: int) -> Sample:
    back, results = trio.open_memory_channel[int](CAPACITY)
    channels = [trio.open_memory_channel[int](CAPACITY) for _ in range(workers)]
    total = 0

    async def worker(receive: MemoryReceiveChannel[int]) -> None:
        async for message in receive:
            await back.send(message)

    async with trio.open_nursery() as nursery:
        for _, receive in channels:
            nursery.start_soon(worker, receive)
        await wait_all_tasks_blocked()
        begin = process_time()
        for number in range(rounds):
            for send, _ in channels:
                await send.send(number)
            for _ in range(workers):
                total += await results.receive()
        seconds = process_time() - begin
        nursery.cancel_scope.cancel()
    check("sum", total, workers * rounds * (rounds - 1) // 2)
    return Sample(2 * workers * rounds, seconds)


# --- W7, storm: restarts ----------------------------------------------------


class Crash(Exception):
    """What is raised on purpose."""


class Crasher:
    """A supervised child, its supervisor, and its messages."""

    def __init__(self, crashes: int) -> None:
        send, self._receive = trio.open_memory_channel[int](math.inf)
        self.restarts = 0
        with send:
            for message in range(crashes):
                send.send_nowait(message)

    async def _child(self) -> None:
        async for _ in self._receive:
            raise Crash

    async def supervise(self) -> None:
        """Start it again after each failure."""
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._child)
            except* Crash:
                self.restarts += 1
            else:
                break


def restart(sizes: Mapping[str, int]) -> Sample:
    """W7: one actor that fails at each message."""
    return trio.run(_storm, 1, sizes["crashes"])


def storm(sizes: Mapping[str, int]) -> Sample:
    """Many of them at once."""
    return trio.run(_storm, sizes["workers"], sizes["crashes"])


async def _storm(workers: int, crashes: int) -> Sample:
    crashers = [Crasher(crashes) for _ in range(workers)]
    begin = process_time()
    async with trio.open_nursery() as nursery:
        for crasher in crashers:
            nursery.start_soon(crasher.supervise)
    seconds = process_time() - begin
    restarts = sum(crasher.restarts for crasher in crashers)
    check("restarts", restarts, workers * crashes)
    return Sample(restarts, seconds)
