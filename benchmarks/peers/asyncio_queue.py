"""asyncio of the standard library: a task per actor, a Queue as its mailbox.

Rules of this file:

* As naive.py, in asyncio's words: queues of 1024, an ask brings a future, a supervised
  child is a task of its own that its supervisor awaits, stopping is ``cancel()``.
* Its ``put()`` and ``get()`` do not yield while there is room or something to get, and
  so cannot be cancelled there; that is a part of why they are quick.
"""

import asyncio
from asyncio import Future, Queue, Task, TaskGroup
from collections.abc import Callable, Mapping
from time import process_time
from typing import NoReturn, TypeAlias

import attrs

from benchmarks._books import check
from benchmarks._memory import Growth
from benchmarks._records import Sample
from benchmarks.skynet import BRANCHES, actors_in

CAPACITY = 1024

Question: TypeAlias = "tuple[int, Future[int]]"


async def _until(holds: Callable[[], bool]) -> None:
    # One or two passes: a task takes all there is before it yields. Queue.join() would
    # need a task_done() per message, which is more work than the others have.
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0)


# --- W1, W8: tell -----------------------------------------------------------


class Sink:
    """Counts what comes through a queue."""

    def __init__(self, capacity: int) -> None:
        self.queue = Queue[int](capacity)
        self.total = 0

    async def run(self) -> NoReturn:
        """Count."""
        while True:
            await self.queue.get()
            self.total += 1


async def _produce(sink: Sink, messages: int) -> None:
    for message in range(messages):
        await sink.queue.put(message)


def tell(sizes: Mapping[str, int]) -> Sample:
    """W1: one sender, one receiver."""
    return asyncio.run(_producers(1, sizes["messages"], CAPACITY))


def producers(sizes: Mapping[str, int]) -> Sample:
    """W8: many senders, one small queue."""
    return asyncio.run(_producers(sizes["producers"], sizes["each"], sizes["capacity"]))


async def _producers(producers: int, each: int, capacity: int) -> Sample:
    sink = Sink(capacity)
    async with TaskGroup() as group:
        actor = group.create_task(sink.run())
        await asyncio.sleep(0)
        begin = process_time()
        async with TaskGroup() as senders:
            for _ in range(producers):
                senders.create_task(_produce(sink, each))
        await _until(lambda: sink.total == producers * each)
        seconds = process_time() - begin
        actor.cancel()
    check("messages", sink.total, producers * each)
    return Sample(producers * each, seconds)


# --- W2, W3: ask ------------------------------------------------------------


async def _serve(questions: Queue[Question]) -> NoReturn:
    while True:
        value, reply = await questions.get()
        if not reply.cancelled():
            reply.set_result(value + 1)


async def _ask(server: Queue[Question], value: int) -> int:
    answer: Future[int] = asyncio.get_running_loop().create_future()
    await server.put((value, answer))
    return await answer


def ask(sizes: Mapping[str, int]) -> Sample:
    """W2: one question after the other."""
    return asyncio.run(_asks(1, sizes["asks"]))


def asks(sizes: Mapping[str, int]) -> Sample:
    """W3: many askers at once."""
    return asyncio.run(_asks(sizes["clients"], sizes["each"]))


async def _asks(clients: int, each: int) -> Sample:
    server = Queue[Question](CAPACITY)
    total = 0

    async def client() -> None:
        nonlocal total
        for value in range(each):
            answer = await _ask(server, value)
            total += answer

    async with TaskGroup() as group:
        actor = group.create_task(_serve(server))
        await asyncio.sleep(0)
        begin = process_time()
        async with TaskGroup() as askers:
            for _ in range(clients):
                askers.create_task(client())
        seconds = process_time() - begin
        actor.cancel()
    check("answers", total, clients * each * (each + 1) // 2)
    return Sample(clients * each, seconds)


# --- W4: spawn, stop --------------------------------------------------------


async def _idle(queue: Queue[int]) -> NoReturn:
    while True:
        await queue.get()


def _start(group: TaskGroup) -> tuple[Queue[int], Task[NoReturn]]:
    queue = Queue[int](CAPACITY)
    return queue, group.create_task(_idle(queue))


def spawn(sizes: Mapping[str, int]) -> Sample:
    """W4: many actors that do nothing."""
    return asyncio.run(_spawn(sizes["actors"]))


async def _spawn(actors: int) -> Sample:
    begin = process_time()
    async with TaskGroup() as group:
        idle = [_start(group) for _ in range(actors)]
        await asyncio.sleep(0)
        for _, task in idle:
            task.cancel()
    return Sample(actors, process_time() - begin)


def idle(sizes: Mapping[str, int]) -> Sample:
    """W4: what each of them weighs."""
    return asyncio.run(_weigh(sizes["actors"]))


async def _weigh(actors: int) -> Sample:
    async with TaskGroup() as group:
        begin, growth = process_time(), Growth(actors)
        idle = [_start(group) for _ in range(actors)]
        await asyncio.sleep(0)
        growth.read("bytes_untold")
        for queue, _ in idle:
            queue.put_nowait(1)
        await _until(lambda: not any(queue.qsize() for queue, _ in idle))
        growth.read("bytes_told")
        seconds = process_time() - begin
        for _, task in idle:
            task.cancel()
    return Sample(actors, seconds, figures=growth.figures)


# --- W5, ping-pong: a ring --------------------------------------------------


def ring(sizes: Mapping[str, int]) -> Sample:
    """W5: one message goes round."""
    return asyncio.run(_ring(sizes["actors"], sizes["actors"] * sizes["laps"]))


def pingpong(sizes: Mapping[str, int]) -> Sample:
    """Two of them."""
    return asyncio.run(_ring(2, 2 * sizes["rounds"]))


async def _ring(actors: int, hops: int) -> Sample:
    over = asyncio.Event()
    queues = [Queue[int](CAPACITY) for _ in range(actors)]

    async def node(queue: Queue[int], following: Queue[int]) -> NoReturn:
        while True:
            left = await queue.get()
            if left:
                await following.put(left - 1)
            else:
                over.set()

    async with TaskGroup() as group:
        pairs = zip(queues, [*queues[1:], queues[0]], strict=True)
        nodes = [group.create_task(node(*pair)) for pair in pairs]
        await asyncio.sleep(0)
        begin = process_time()
        await queues[0].put(hops)
        await over.wait()
        seconds = process_time() - begin
        for task in nodes:
            task.cancel()
    return Sample(hops, seconds)


# --- W6: fan-out, fan-in ----------------------------------------------------


def fan(sizes: Mapping[str, int]) -> Sample:
    """W6: from one to many, and back."""
    return asyncio.run(_fan(sizes["workers"], sizes["rounds"]))


async def _fan(workers: int, rounds: int) -> Sample:
    back = Queue[int](CAPACITY)
    queues = [Queue[int](CAPACITY) for _ in range(workers)]
    total = 0

    async def worker(queue: Queue[int]) -> NoReturn:
        while True:
            await back.put(await queue.get())

    async with TaskGroup() as group:
        tasks = [group.create_task(worker(queue)) for queue in queues]
        await asyncio.sleep(0)
        begin = process_time()
        for number in range(rounds):
            for queue in queues:
                await queue.put(number)
            for _ in range(workers):
                total += await back.get()
        seconds = process_time() - begin
        for task in tasks:
            task.cancel()
    check("sum", total, workers * rounds * (rounds - 1) // 2)
    return Sample(2 * workers * rounds, seconds)


# --- W7, storm: restarts ----------------------------------------------------


class Crash(Exception):
    """What is raised on purpose."""


async def _crasher(queue: Queue[int]) -> NoReturn:
    while True:
        await queue.get()
        raise Crash


async def _supervise(crashes: int) -> int:
    queue = Queue[int]()
    for message in range(crashes):
        queue.put_nowait(message)
    restarts = 0
    while restarts < crashes:
        try:
            await asyncio.create_task(_crasher(queue))
        except Crash:
            restarts += 1
    return restarts


def restart(sizes: Mapping[str, int]) -> Sample:
    """W7: one actor that fails at each message."""
    return asyncio.run(_storm(1, sizes["crashes"]))


def storm(sizes: Mapping[str, int]) -> Sample:
    """Many of them at once."""
    return asyncio.run(_storm(sizes["workers"], sizes["crashes"]))


async def _storm(workers: int, crashes: int) -> Sample:
    begin = process_time()
    async with TaskGroup() as group:
        tasks = [group.create_task(_supervise(crashes)) for _ in range(workers)]
    seconds = process_time() - begin
    restarts = sum(task.result() for task in tasks)
    check("restarts", restarts, workers * crashes)
    return Sample(restarts, seconds)


# --- Skynet -----------------------------------------------------------------


async def _node(report: Queue[int], first: int, leaves: int) -> None:
    if leaves == 1:
        await report.put(first)
        return
    queue = Queue[int](CAPACITY)
    share, total = leaves // BRANCHES, 0
    async with TaskGroup() as group:
        for number in range(first, first + leaves, share):
            group.create_task(_node(queue, number, share))
        for _ in range(BRANCHES):
            total += await queue.get()
    await report.put(total)


def skynet(sizes: Mapping[str, int]) -> Sample:
    """Build a tree."""
    return asyncio.run(_skynet(sizes["leaves"]))


async def _skynet(leaves: int) -> Sample:
    queue = Queue[int](1)
    begin = process_time()
    await _node(queue, 0, leaves)
    seconds = process_time() - begin
    check("sum", queue.get_nowait(), leaves * (leaves - 1) // 2)
    return Sample(actors_in(leaves), seconds)


# --- Big --------------------------------------------------------------------


@attrs.frozen
class Begin:
    """Write to these."""

    others: "tuple[Queue[Message], ...]"


@attrs.frozen
class Ping:
    """Answer me."""

    sender: "Queue[Message]"


@attrs.frozen
class Pong:
    """The answer."""


Message = Begin | Ping | Pong
PONG = Pong()


async def _member(me: Queue[Message], done: Queue[None]) -> NoReturn:
    left = 0
    while True:
        match await me.get():
            case Ping(sender):
                await sender.put(PONG)
            case Pong():
                left -= 1
                if not left:
                    await done.put(None)
            case Begin(others):
                left = len(others)
                ping = Ping(me)
                for other in others:
                    await other.put(ping)


def big(sizes: Mapping[str, int]) -> Sample:
    """Let everybody write to everybody."""
    return asyncio.run(_big(sizes["actors"], sizes["pings"]))


async def _big(actors: int, pings: int) -> Sample:
    queues = [Queue[Message](CAPACITY) for _ in range(actors)]
    circle, done = queues * 2, Queue[None]()
    async with TaskGroup() as group:
        tasks = [group.create_task(_member(queue, done)) for queue in queues]
        await asyncio.sleep(0)
        begin = process_time()
        for index in range(actors):
            others = tuple(circle[index + 1 : index + 1 + pings])
            await circle[index].put(Begin(others))
        for _ in range(actors):
            await done.get()
        seconds = process_time() - begin
        for task in tasks:
            task.cancel()
    return Sample(2 * actors * pings, seconds)
