"""A mutex or an actor (S3-3): ``python -m benchmarks.locks [--quick]``.

*increments* tasks at once each add their number to one shared state, and get the sum
that they made. The state is behind a ``trio.Lock``, or kept by an actor that is asked.
Three layouts:

* the book's: the task that adds by the mutex starts another one for it, and waits for
  it, so that there are two tasks per increment; the one that asks the actor does so
  itself, and is the only one. This is what makes the book's actor win;
* a fair one: a task per increment, and no other, for both;
* other work meanwhile: the task sets the increment going, does something else, and then
  takes the sum. With a mutex somebody else has to wait for it, a task more; an actor is
  somebody else. A task per increment, plus the one that the mutex needs.

The clock runs from before the first task is started until the last has ended; an
operation is an increment. Nobody is slowed down by a full mailbox: the actor's has no
bound, as the book's channel has room for all.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from time import process_time
from typing import TypeAlias

import attrs
import trio
from trio.lowlevel import checkpoint

from trio_actors import Actor, ActorRef, Mailbox, Request, handler, open_actor_system

from ._books import check, check_books
from ._records import Sample
from ._variants import Row, Trial, run

INCREMENTS = 20_000
QUICK_INCREMENTS = 1000

Increment: TypeAlias = Callable[[int], Awaitable[int]]
Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Increment]]


async def other_work() -> None:
    """Do something else, during which others may run."""
    await checkpoint()


# --- The mutex --------------------------------------------------------------


@attrs.define
class Shared:
    """A number, and the lock that belongs to it."""

    value: int = 0
    lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def add(self, amount: int) -> int:
        """Take the lock, and add."""
        async with self.lock:
            self.value += amount
            return self.value

    async def add_for(self, amount: int, sums: list[int]) -> None:
        """Add in a task of its own, which hands on the sum."""
        sums.append(await self.add(amount))


@asynccontextmanager
async def mutex_fair() -> AsyncGenerator[Increment]:
    """Add in the task itself."""
    yield Shared().add


@asynccontextmanager
async def mutex_book() -> AsyncGenerator[Increment]:
    """Add in another task, and wait for it."""
    shared = Shared()

    async def increment(amount: int) -> int:
        sums: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shared.add_for, amount, sums)
        return sums[0]

    yield increment


@asynccontextmanager
async def mutex_meanwhile() -> AsyncGenerator[Increment]:
    """Add in another task, and do something else until it has."""
    shared = Shared()

    async def increment(amount: int) -> int:
        sums: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shared.add_for, amount, sums)
            await other_work()
        return sums[0]

    yield increment


# --- The actor --------------------------------------------------------------


@attrs.frozen
class Add(Request[int]):
    """Add, and answer with the sum."""

    amount: int


class Sum(Actor[Add]):
    """Keeps the number."""

    mailbox = Mailbox(math.inf)

    def __init__(self) -> None:
        self.value = 0

    @handler
    def add(self, message: Add) -> int:
        """Add."""
        self.value += message.amount
        return self.value


@asynccontextmanager
async def _sum() -> AsyncGenerator[ActorRef[Add]]:
    async with open_actor_system("locks") as system:
        yield await system.spawn(Sum)
    check_books(system)


@asynccontextmanager
async def actor_fair() -> AsyncGenerator[Increment]:
    """Ask, and wait."""
    async with _sum() as ref:

        async def increment(amount: int) -> int:
            return await ref.ask(Add(amount))

        yield increment


@asynccontextmanager
async def actor_meanwhile() -> AsyncGenerator[Increment]:
    """Ask, do something else, and take the answer."""
    async with _sum() as ref:

        async def increment(amount: int) -> int:
            pending = ref.ask_nowait(Add(amount))
            await other_work()
            return await pending

        yield increment


LAYOUTS: Mapping[str, Mapping[str, Open]] = {
    "the book's layout": {"mutex": mutex_book, "actor": actor_fair},
    "a fair layout": {"mutex": mutex_fair, "actor": actor_fair},
    "other work meanwhile": {"mutex": mutex_meanwhile, "actor": actor_meanwhile},
}


# --- The run ----------------------------------------------------------------


async def _measure(way: Open, increments: int) -> Sample:
    sums: list[int] = []

    async def task(amount: int) -> None:
        sums.append(await increment(amount))

    async with way() as increment:
        begin = process_time()
        async with trio.open_nursery() as nursery:
            for amount in range(1, increments + 1):
                nursery.start_soon(task, amount)
        seconds = process_time() - begin
    check("the sum", max(sums), increments * (increments + 1) // 2)
    check("different sums", len(set(sums)), increments)
    return Sample(increments, seconds)


def measure(layout: str, way: str, increments: int) -> Sample:
    """Let so many tasks add, in one of the layouts."""
    return trio.run(_measure, LAYOUTS[layout][way], increments)


def rows(*, quick: bool) -> list[Row]:
    """Return one row per layout."""
    increments = QUICK_INCREMENTS if quick else INCREMENTS
    return [
        Row(layout, {way: partial(measure, layout, way, increments) for way in ways})
        for layout, ways in LAYOUTS.items()
    ]


TRIAL = Trial("locks", "A mutex or an actor", rows, against=("mutex",))

if __name__ == "__main__":
    run(TRIAL)
