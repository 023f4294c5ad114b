"""Whoever looks at everything: conditions at each step, and checkers of histories.

What they see depends on the order of steps that have nothing to do with each other
otherwise. "Verified" means that no order fails, theirs included.
"""

from collections.abc import Callable, Hashable
from typing import Any

import pytest
import trio

from tests.testing.searched import Read, Register, Till, Write, failure_of
from trio_actors import ActorRef, handler
from trio_actors.testing import World, check, linearizable
from trio_actors.testing._dpor import Optimal
from trio_actors.testing._events import Search
from trio_actors.testing._flight import Lab, run_lab
from trio_actors.testing._linear import History
from trio_actors.testing._search import Depth


async def two_tills(world: World) -> tuple[list[int], list[int]]:
    """Two actors that have nothing to do with each other, and a client for each."""
    paid: tuple[list[int], list[int]] = [], []
    for one in paid:
        till = await world.spawn(Till, one)
        world.client(till.ask, Write(1))
    return paid


async def second_is_never_ahead(world: World) -> None:
    first, second = await two_tills(world)
    world.always(lambda: len(first) >= len(second))
    await world.settled()


async def second_is_ahead_for_a_while(world: World) -> None:
    first, second = await two_tills(world)
    world.eventually(lambda: len(first) < len(second), within=10)
    await world.settled()


@pytest.mark.parametrize("exhaustive", [False, True])
def test_a_condition_sees_independent_steps_in_each_order(*, exhaustive: bool) -> None:
    error = failure_of(second_is_never_ahead, exhaustive=exhaustive).error
    assert "did not hold at a step" in str(error)
    error = failure_of(second_is_ahead_for_a_while, exhaustive=exhaustive).error
    assert "was not true at the end" in str(error)


def test_a_condition_that_holds_in_each_order_is_verified() -> None:
    async def watched(world: World) -> None:
        first, second = await two_tills(world)
        world.always(lambda: len(first) + len(second) <= 2)
        await world.settled()

    assert check(watched).verified


class Late(Register):
    """Shows what was there before the last write."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = 0

    @handler(reads_only=True)
    def read(self, message: Read) -> int:
        return self.shown

    @handler
    def write(self, message: Write) -> int:
        self.shown, self.value = self.value, message.value
        return message.value


class Model:
    def __init__(self) -> None:
        self.value = 0

    def apply(self, request: Read | Write) -> int:
        if isinstance(request, Write):
            self.value = request.value
        return self.value


async def write_beside_read(
    world: World, kind: Callable[[], Register]
) -> ActorRef[Read | Write]:
    register = await world.spawn(kind, name="register")
    world.client(register.ask, Write(1))
    world.client(register.ask, Read())
    await world.settled()
    return register


def test_who_asks_after_another_was_answered_is_found() -> None:
    """Wrong only if the write was answered before the other client has asked."""

    @linearizable(Model)
    async def late(world: World) -> None:
        await write_beside_read(world, Late)

    @linearizable(Model)
    async def right(world: World) -> None:
        await write_beside_read(world, Register)

    assert "not linearizable" in str(failure_of(late).error)
    assert "not linearizable" in str(failure_of(late, exhaustive=True).error)
    assert check(right).verified


# --- Beside a search that leaves out nothing -----------------------------------------


async def looked_at(world: World) -> Hashable:
    """What a condition saw, one after the other."""
    first, second = await two_tills(world)
    looks: list[tuple[int, int]] = []

    def look() -> bool:
        if looks[-1:] != [(len(first), len(second))]:
            looks.append((len(first), len(second)))
        return True

    world.always(look)
    await world.settled()
    return tuple(looks)


async def looked_at_later(world: World) -> Hashable:
    """The same, from when a client begins to look."""
    paid: dict[str, None] = {}
    looks: list[str] = []

    def look() -> bool:
        looks.append("".join(sorted(paid)))
        return True

    async def pay(who: str) -> None:
        paid[who] = None
        await trio.lowlevel.checkpoint()

    async def watch() -> None:
        world.always(look)

    world.client(pay, "a")
    world.client(pay, "b")
    world.client(watch)
    await world.settled()
    return tuple(dict.fromkeys(looks))


async def written_down(world: World) -> Hashable:
    """Which answer came before which question."""
    history = History()
    world._recorders.append(history)

    async def ask(ref: ActorRef[Read | Write], times: int) -> None:
        for value in range(times):
            await ref.ask(Write(value))

    for times in (2, 1):
        world.client(ask, await world.spawn(Register), times)
    await world.settled()
    operations: Any = sorted(
        history.operations, key=lambda one: (one.client, one.called)
    )
    return tuple(
        (first, second)
        for first, one in enumerate(operations)
        for second, other in enumerate(operations)
        if one.returned < other.called
    )


def outcomes(program: Callable[[World], Any], how: Search) -> list[Hashable]:
    """Return what a program returned in each run of a whole search."""
    lab = Lab(program)
    found: list[Hashable] = []

    async def every() -> None:
        more = True
        while more:
            run = await lab.once(how)
            assert run.error is None
            if not run.blocked:
                found.append(run.outcome)
            more = how.learn(run)

    run_lab(lab, every)
    return found


@pytest.mark.parametrize("program", [looked_at, looked_at_later, written_down])
def test_whoever_looks_sees_what_is_seen_without_any_reduction(
    program: Callable[[World], Any],
) -> None:
    raw = outcomes(program, Depth())
    reduced = outcomes(program, Optimal())
    assert len(set(raw)) > 1
    assert set(reduced) == set(raw)
    assert len(reduced) <= len(raw)
