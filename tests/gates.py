"""The workloads of the gates: each does its work on the full library and counts it.

Rules of this file:

* A workload opens its actors, counts the work alone, and checks that it was done.
* The instrument is that of the benchmarks: loop passes, task steps, task spawns.
* The counts repeat: the clock is a test clock, under which a batch is a count, and
  trio runs tasks in the order in which they were woken (it would toss a coin).
"""

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import trio

from benchmarks._meter import Cost, metered
from tests.kit import Add, Boom, Counter, Get, open_system, run_main, tally
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorSystem,
    Mailbox,
    Supervision,
    handler,
)
from trio_actors.testing._clock import in_order

T = TypeVar("T")

ROOMY = Mailbox(math.inf)
TIRELESS = Supervision(max_restarts=10**9)

Kind: TypeAlias = Any
"""What can be spawned: a class, or a function with an inbox."""


class Quick(Actor[Add | Get | Boom]):
    """A Counter whose handlers are async and do not wait."""

    def __init__(self, start: int = 0) -> None:
        self.total = start

    @handler
    async def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total

    @handler
    async def get(self, message: Get) -> int:
        return self.total

    @handler
    async def boom(self, message: Boom) -> int:
        raise message.error


KINDS: dict[str, Kind] = {"plain": Counter, "async": Quick, "function": tally}

Place: TypeAlias = Any
"""What spawns the actors of a workload: a system, or an actor deep in its tree."""

Workload: TypeAlias = Callable[[Place, Kind], Awaitable[Cost]]
Order: TypeAlias = Callable[[], AbstractContextManager[None]]
Around: TypeAlias = Callable[[ActorSystem], Awaitable[T]]


def measure(workload: Workload, kind: Kind = Counter, order: Order = in_order) -> Cost:
    """Run a workload in a system of its own."""
    return in_a_system(lambda system: workload(system, kind), order)


def in_a_system(around: Around[T], order: Order = in_order) -> T:
    """Run something with a system of its own, whose books are checked."""

    async def main() -> T:
        async with open_system(supervision=TIRELESS) as system:
            return await around(system)

    logging.disable(logging.CRITICAL)  # thousands of crash reports
    try:
        with order():
            return run_main(main)
    finally:
        logging.disable(logging.NOTSET)


@asynccontextmanager
async def handled(ref: ActorRef[Any], messages: int) -> AsyncGenerator[None]:
    """At the end of this block wait until an actor has had so many messages more."""
    cell = ref._cell
    before = cell.tally()["handled"]
    yield
    while cell.tally()["handled"] < before + messages:
        await trio.lowlevel.checkpoint()


# --- W1: one tells one -------------------------------------------------------


async def tell(place: Place, kind: Kind, messages: int = 6400) -> Cost:
    """W1: tell_nowait, and a checkpoint each 64."""
    ref = await place.spawn(kind)
    message = Add()
    with metered() as meter:
        async with handled(ref, messages):
            for number in range(1, messages + 1):
                ref.tell_nowait(message)
                if not number % 64:
                    await trio.lowlevel.checkpoint()
    assert await ref.ask(Get()) == messages
    return meter.cost.per(messages)


async def tell_await(place: Place, kind: Kind, messages: int = 1000) -> Cost:
    """W1 with ``await tell``: each is a full checkpoint."""
    ref = await place.spawn(kind)
    message = Add()
    with metered() as meter:
        async with handled(ref, messages):
            for _ in range(messages):
                await ref.tell(message)
    assert await ref.ask(Get()) == messages
    return meter.cost.per(messages)


# --- W2, W3: asks ------------------------------------------------------------


async def ask(place: Place, kind: Kind, asks: int = 1000) -> Cost:
    """W2: one asks one, again and again."""
    ref = await place.spawn(kind)
    with metered() as meter:
        for number in range(1, asks + 1):
            assert await ref.ask(Add()) == number
    return meter.cost.per(asks)


async def ask_in_time(place: Place, kind: Kind, asks: int = 1000) -> Cost:
    """W2 with a timeout around each."""
    ref = await place.spawn(kind)
    with metered() as meter:
        for number in range(1, asks + 1):
            with trio.fail_after(1):
                assert await ref.ask(Add()) == number
    return meter.cost.per(asks)


async def asks(place: Place, kind: Kind, clients: int = 200, each: int = 50) -> Cost:
    """W3: many clients ask one actor."""
    ref = await place.spawn(kind)

    async def client() -> None:
        for _ in range(each):
            await ref.ask(Add())

    with metered() as meter:
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(client)
    assert await ref.ask(Get()) == clients * each
    return meter.cost.per(clients * each)


# --- W5: a ring --------------------------------------------------------------


class Link(Actor[int]):
    """Tells the next one, until the number is 0."""

    next: ActorRef[int]

    @handler
    def hop(self, message: int) -> None:
        if message:
            self.next.tell_nowait(message - 1)


class AsyncLink(Actor[int]):
    """The same with ``await tell``."""

    next: ActorRef[int]

    @handler
    async def hop(self, message: int) -> None:
        if message:
            await self.next.tell(message - 1)


RINGS: dict[str, Kind] = {"plain": Link, "async": AsyncLink}


async def ring(place: Place, kind: Kind, actors: int = 100, laps: int = 20) -> Cost:
    """W5: one message goes around and around."""
    links = [await place.spawn(kind) for _ in range(actors)]
    for number, link in enumerate(links):
        instance: Any = link._cell.instance
        instance.next = links[(number + 1) % actors]
    with metered() as meter:
        async with handled(links[0], laps + 1):
            links[0].tell_nowait(actors * laps)
            while links[0]._cell.tally()["handled"] <= laps:
                await trio.sleep(1)  # in virtual time: when nothing else can run
    assert {link._cell.tally()["handled"] for link in links[1:]} == {laps}
    return meter.cost.per(actors * laps)


# --- W6: out to many, and back -----------------------------------------------


class Answering(Actor[int]):
    """Tells what it is told to the sink."""

    def __init__(self, sink: ActorRef[Any]) -> None:
        self.sink = sink

    @handler
    def work(self, message: int) -> None:
        self.sink.tell_nowait(Add(message))


async def fan(place: Place, kind: Kind, workers: int = 256, rounds: int = 20) -> Cost:
    """W6: one tells many, each of them tells the sink; the next round when it has all.

    The sender uses tell_nowait, and a checkpoint each 64.
    """
    sink = await place.spawn(kind, mailbox=ROOMY)
    refs = [await place.spawn(Answering, sink) for _ in range(workers)]
    with metered() as meter:
        for _ in range(rounds):
            async with handled(sink, workers):
                for number, ref in enumerate(refs, 1):
                    ref.tell_nowait(1)
                    if not number % 64:
                        await trio.lowlevel.checkpoint()
    assert await sink.ask(Get()) == workers * rounds
    return meter.cost.per(2 * workers * rounds)


# --- W7: crashes -------------------------------------------------------------


async def restart(place: Place, kind: Kind, crashes: int = 500) -> Cost:
    """W7: an actor that fails at each message, and is started again each time."""
    ref = await place.spawn(kind, mailbox=ROOMY)
    await ref.ask(Get())
    with metered() as meter:
        for _ in range(crashes):
            ref.tell_nowait(Boom())
        while ref._cell.incarnation <= crashes or not ref._cell.is_idle:
            await trio.sleep(1)  # in virtual time: when nothing else can run
    assert ref._cell.tally()["failed"] == crashes
    return meter.cost.per(crashes)


async def restart_asked(place: Place, kind: Kind, crashes: int = 200) -> Cost:
    """W7 as its asker sees it: the error, and the next incarnation."""
    ref = await place.spawn(kind)
    with metered() as meter:
        for _ in range(crashes):
            try:
                await ref.ask(Boom())
            except ActorFailed:
                continue
            raise AssertionError("it did not fail")
    assert await ref.ask(Get()) == 0
    assert ref._cell.incarnation == crashes + 1
    return meter.cost.per(crashes)


# --- W8: many producers ------------------------------------------------------


async def producers(
    place: Place, kind: Kind, producers: int = 100, each: int = 200
) -> Cost:
    """W8: many tell_all into one mailbox with room for 100."""
    ref = await place.spawn(kind, mailbox=Mailbox(100))

    async def produce() -> None:
        await ref.tell_all(messages)

    messages = [Add()] * each
    with metered() as meter:
        async with handled(ref, producers * each), trio.open_nursery() as nursery:
            for _ in range(producers):
                nursery.start_soon(produce)
    assert await ref.ask(Get()) == producers * each
    return meter.cost.per(producers * each)


# --- Spawning ----------------------------------------------------------------


async def spawn(place: Place, kind: Kind, actors: int = 200) -> Cost:
    """W4: start, each awaited, and stop."""
    with metered() as meter:
        refs = [await place.spawn(kind) for _ in range(actors)]
        for ref in refs:
            ref.stop()
        for ref in refs:
            await ref.wait_stopped()
    return meter.cost.per(actors)


async def spawn_nowait(place: Place, kind: Kind, actors: int = 200) -> Cost:
    """W4: start all at once, and stop."""
    with metered() as meter:
        refs = [place.spawn_nowait(kind) for _ in range(actors)]
        await trio.lowlevel.checkpoint()
        for ref in refs:
            ref.stop()
        for ref in refs:
            await ref.wait_stopped()
    return meter.cost.per(actors)
