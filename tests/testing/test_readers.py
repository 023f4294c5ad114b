"""A handler that says that it only reads: what it writes all the same is not missed."""

import functools
import io
import itertools
import logging
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import trio

from trio_actors import Actor, Request, handler
from trio_actors.testing import Exploration, World, check
from trio_actors.testing._readers import look_behind
from trio_actors.testing._state import freeze

Step = Callable[[], Any]


@attrs.frozen
class Next(Request[int]): ...


def searched(make: Callable[[], Step]) -> Exploration:
    """Search a program of two clients; it fails where the second one is the first."""

    class Stepper(Actor[Next]):
        def __init__(self) -> None:
            self.step = make()

        @handler(reads_only=True)
        def next(self, message: Next) -> int:
            self.step()
            return 0

    async def program(world: World) -> None:
        stepper = await world.spawn(Stepper, name="a")
        world.client(stepper.ask, Next())
        world.client(stepper.ask, Next())
        await world.settled()

    return check(program)


class Writer:
    """Writes into a file in memory, each time it is called."""

    def __init__(self) -> None:
        self.file = io.StringIO()

    def __call__(self) -> int:
        return self.file.write("x")


def numbers() -> Iterator[int]:
    yield from range(100)


def counting() -> Step:
    number = 0

    def count() -> int:
        nonlocal number
        number += 1
        return number

    return count


def collecting() -> Step:
    def collect(seen: list[int] = []) -> int:  # noqa: B006  # that is what it is about
        seen.append(1)
        return len(seen)

    return collect


def nested() -> Step:
    count = counting()
    return lambda: count()


def deep_cached() -> Step:
    count = counting()

    @functools.lru_cache(maxsize=0)
    def cached() -> int:
        return int(count())

    return cached


def dice() -> Step:
    draw = random.Random(1)
    return lambda: draw.randrange(100)


def appending() -> Step:
    """A method of a list that nobody else has."""
    return functools.partial(list[int]().__iadd__, [1])


def sending() -> Step:
    sender, receiver = trio.open_memory_channel[int](100)

    def send(_: object = sender) -> int:
        sender.send_nowait(1)
        return receiver.statistics().current_buffer_used

    return send


@pytest.mark.parametrize(
    "make",
    [
        Writer,
        lambda: functools.partial(next, iter([1, 2, 3])),
        lambda: functools.partial(next, map(int, "123")),
        lambda: functools.partial(next, itertools.count()),
    ],
)
def test_a_write_into_what_can_be_looked_into_fails(make: Callable[[], Step]) -> None:
    failure = searched(make).failure
    assert failure is not None
    assert "is reads_only, and has changed its actor" in str(failure.error)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: functools.partial(next, numbers()), "generator"),
        (lambda: functools.partial(next, itertools.cycle([1])), "cycle"),
        (sending, "MemorySendChannel"),
    ],
)
def test_what_cannot_be_looked_into_is_a_doubt(
    make: Callable[[], Step], what: str
) -> None:
    found = searched(make)
    assert not found.verified
    assert f"Stepper may write into what cannot be looked into: {what}" in str(found)


@pytest.mark.parametrize(
    "make", [counting, collecting, nested, deep_cached, dice, appending]
)
def test_what_a_function_holds_and_has_changed_is_a_doubt(
    make: Callable[[], Step],
) -> None:
    found = searched(make)
    assert not found.verified
    assert "Stepper has changed what a function holds" in str(found)


def reading() -> Step:
    table, log = {"one": [1, 2, 3]}, logging.getLogger(__name__)

    def read() -> int:
        log.debug("nobody hears it")
        return len(table["one"])

    return read


def test_what_a_function_only_reads_is_no_doubt() -> None:
    assert searched(reading).verified


def test_what_most_actors_hold_is_no_doubt() -> None:
    class Child(Writer):
        def __call__(self) -> int:
            return super().__call__()  # a closure, of its class

    def recursive() -> object:
        return recursive

    def unset() -> object:
        return never

    state: list[Any] = [
        *(1, "text", None, object(), ..., NotImplemented, re.compile("x"), int, len),
        *(logging.getLogger(), io.StringIO(), Child().__call__, recursive, unset),
        *(trio.Event(), trio.Lock(), trio.Semaphore(1), logging, Next(), slice(1)),
        *(re.match("x", "x"), list[int], 1j, {1: {2}}, functools.partial(max, 3)),
    ]
    pictures, hidden = look_behind(freeze(state))
    assert hidden == ()
    assert pictures == look_behind(freeze(state))[0]
    never = 1
    assert pictures != look_behind(freeze(state))[0]
    assert unset() == never


@attrs.frozen
class Look: ...


class Mask(Actor[Look]):
    """What an actor has become."""

    def __init__(self) -> None:
        self.looks = 0

    @handler(reads_only=True)
    def look(self, message: Look) -> None:
        self.looks += 1


class Becomes(Actor[Look]):
    @handler(reads_only=True)
    def look(self, message: Look) -> None:
        self.become(Mask())


class Masked(Actor[Look]):
    async def started(self) -> None:
        self.become(Mask())

    @handler
    def look(self, message: Look) -> None: ...


@pytest.mark.parametrize("kind", [Becomes, Masked])
def test_who_has_become_something_is_looked_at_whole(kind: Any) -> None:
    """`become()` is a change, and so is a change of what an actor has become."""

    async def program(world: World) -> None:
        ref = await world.spawn(kind, name="reader")
        world.client(ref.tell, Look())
        await world.settled()

    failure = check(program).failure
    assert failure is not None
    assert "is reads_only, and has changed its actor" in str(failure.error)
