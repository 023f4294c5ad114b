"""A durable class is judged when it is created: each text says what to write."""
# pyright: reportUnusedClass=false

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import pytest

from trio_actors import ActorRef, Request, StartFailed, handler, tagged
from trio_actors.persistence import DurableState, EventSourced, applies
from trio_actors.testing import World

C = TypeVar("C")
E = TypeVar("E")
S = TypeVar("S")


@attrs.frozen
class Get(Request[int]): ...


@tagged("plan-added@1")
@attrs.frozen
class Added:
    number: int


@tagged("plan-taken@1")
@attrs.frozen
class Taken:
    number: int


@tagged("plan-added@1")
@attrs.frozen
class Twin:
    number: int


@tagged("plan-changed@1")
@attrs.frozen
class Changed(Generic[E]):
    to: E


@attrs.frozen
class Untagged:
    number: int


class Sum(EventSourced[Get, Added, int]):
    initial = 0

    @handler
    async def get(self, message: Get) -> int:
        await self.persist(Added(1))
        return self.state

    @applies
    def added(self, event: Added) -> int:
        return self.state + event.number


def without_brackets() -> None:
    class Wrong(EventSourced):  # type: ignore[type-arg]
        initial = 0


def state_without_brackets() -> None:
    class Wrong(DurableState):  # type: ignore[type-arg]
        initial = 0


def without_initial() -> None:
    class Wrong(EventSourced[Get, Added, int]):
        @handler
        def get(self, message: Get) -> int:
            return 0

        @applies
        def added(self, event: Added) -> int:
            return 0


def wrong_initial() -> None:
    class Wrong(Sum):
        initial: Any = "0"


def no_initial_at_all() -> None:
    class Wrong(Sum):
        initial: Any = None


def event_without_tag() -> None:
    class Wrong(EventSourced[Get, Untagged, int]):
        initial = 0

        @handler
        def get(self, message: Get) -> int:
            return 0

        @applies
        def added(self, event: Untagged) -> int:
            return 0


def duplicate_tag() -> None:
    class Wrong(EventSourced[Get, Added | Twin, int]):
        initial = 0

        @handler
        def get(self, message: Get) -> int:
            return 0

        @applies
        def added(self, event: Added | Twin) -> int:
            return 0


def two_of_one_generic() -> None:
    class Wrong(EventSourced[Get, Changed[int] | Changed[str], int]):
        initial = 0

        @handler
        def get(self, message: Get) -> int:
            return 0

        @applies
        def changed(self, event: Changed[int] | Changed[str]) -> int:
            return 0


def generic_with_other_brackets() -> None:
    class Wrong(EventSourced[Get, Changed[int], int]):
        initial = 0

        @handler
        def get(self, message: Get) -> int:
            return 0

        @applies
        def changed(self, event: Changed[str]) -> int:
            return 0


def applied_twice() -> None:
    class Wrong(Sum):
        @applies
        def again(self, event: Added) -> int:
            return 0


def applied_but_no_event() -> None:
    class Wrong(Sum):
        @applies
        def taken(self, event: Taken) -> int:
            return 0


def event_not_applied() -> None:
    class Wrong(EventSourced[Get, Added | Taken, int]):
        initial = 0

        @handler
        def get(self, message: Get) -> int:
            return 0

        @applies
        def added(self, event: Added) -> int:
            return 0


def taken_away() -> None:
    class Wrong(Sum):
        added: Any = None


def applies_without_annotation() -> None:
    class Wrong(Sum):
        @applies
        def added(self, event):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            return 0


def async_applies() -> None:
    class Wrong(Sum):
        @applies
        async def added(self, event: Added) -> int:  # type: ignore[override]
            return 0


def applies_with_two() -> None:
    class Wrong(Sum):
        @applies  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportUntypedFunctionDecorator]
        def added(self, event: Added, more: int) -> int:  # type: ignore[override]
            return 0


def applies_on_a_value() -> None:
    applies(7)  # type: ignore[type-var]


def plain_deliver() -> None:
    class Wrong(Sum):
        def deliver(self, effect: Added, key: str) -> None:  # type: ignore[override]
            ...


def deliver_without_key() -> None:
    class Wrong(Sum):
        async def deliver(self, effect: Added) -> None:  # type: ignore[override]
            ...


def deliver_without_annotation() -> None:
    class Wrong(Sum):
        async def deliver(self, effect, key):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            ...


def no_snapshots() -> None:
    class Wrong(Sum):
        snapshot_every = 0


def half_a_snapshot() -> None:
    class Wrong(Sum):
        snapshot_every: ClassVar[Any] = 0.5


def remembered_for_less_than_nothing() -> None:
    class Wrong(Sum):
        remember_for = -1.0


def remembered_for_a_word() -> None:
    class Wrong(Sum):
        remember_for: ClassVar[Any] = "a day"


WRONG: dict[Callable[[], None], str] = {
    without_brackets: "Wrong does not say what it stores. Write\n    class Wrong("
    "EventSourced[Command, Event, State]):",
    state_without_brackets: "class Wrong(DurableState[Command, State]):",
    without_initial: "Wrong has no state to begin with. Write\n    initial = int(...)",
    wrong_initial: "Wrong: its initial state is a int, but got '0'.",
    no_initial_at_all: "but got None. Return the next state.",
    event_without_tag: "Untagged",
    duplicate_tag: 'two classes have the tag "plan-added@1", Added and Twin',
    two_of_one_generic: "nothing in the file would tell Changed[int] from Changed[str]",
    generic_with_other_brackets: "Wrong.changed applies Changed[str], which is none of"
    " its events: Changed[int].",
    applied_twice: "Wrong has two methods with @applies for Added. Keep one.",
    applied_but_no_event: "Wrong.taken applies Taken, which is none of its events:"
    " Added.",
    event_not_applied: "Wrong stores Taken, but nothing makes a state from it. Write\n"
    "    @applies\n    def taken(self, event: Taken) -> int:",
    taken_away: "Wrong stores Added, but nothing makes a state from it.",
    applies_without_annotation: "Wrong.added does not say which event it applies.",
    async_applies: "@applies is for a plain method, but got",
    applies_with_two: "added takes self and one event:",
    applies_on_a_value: "@applies is for a plain method, but got 7.",
    plain_deliver: "Wrong.deliver is called with an effect and its key, and awaited.",
    deliver_without_key: "Wrong.deliver is called with an effect and its key",
    deliver_without_annotation: "Wrong.deliver does not say which effects it takes.",
    no_snapshots: "Wrong.snapshot_every is a whole number of events, at least 1",
    half_a_snapshot: "Wrong.snapshot_every is a whole number of events, at least 1",
    remembered_for_less_than_nothing: "Wrong.remember_for is a number of seconds",
    remembered_for_a_word: "Wrong.remember_for is a number of seconds from 0",
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_class_is_refused_where_it_is_written(wrong: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(WRONG[wrong])):
        wrong()


async def test_a_fold_that_returns_no_state_is_said(world: World) -> None:
    class Forgets(Sum):
        @applies
        def added(self, event: Added) -> int:
            return None  # type: ignore[return-value]

    forgets = await world.spawn(Forgets)
    with pytest.raises(Exception, match=r"what added\(\) returns is a int, but got"):
        await forgets.ask(Get())


async def test_a_method_with_applies_is_overridden_without_it(world: World) -> None:
    class Twice(Sum):
        def added(self, event: Added) -> int:
            return self.state + 2 * event.number

    assert await (await world.spawn(Twice)).ask(Get()) == 2


async def test_an_event_may_be_generic(world: World) -> None:
    class Cell(EventSourced[Get, Changed[int], int]):
        initial = 0

        @handler
        async def get(self, message: Get) -> int:
            await self.persist(Changed(self.state + 1))
            return self.state

        @applies
        def changed(self, event: Changed[int]) -> int:
            return event.to

    cell = await world.spawn(Cell, name="cell")
    assert await cell.ask(Get()) == 1
    cell.restart()
    assert await cell.ask(Get()) == 2


async def test_a_subclass_stores_what_its_base_stores(world: World) -> None:
    class More(Sum): ...

    class Mixin: ...

    class Mixed(Mixin, More, Generic[E]): ...

    assert await (await world.spawn(More)).ask(Get()) == 1
    mixed: ActorRef[Get] = await world.spawn(Mixed)
    assert await mixed.ask(Get()) == 1


async def test_a_generic_class_is_judged_when_it_says_what_it_stores(
    world: World,
) -> None:
    class Base(EventSourced[C, E, S]):
        @handler
        async def get(self, message: Get) -> int:
            event: Any = self.event()
            await self.persist(event)
            return 1

        def event(self) -> object:
            raise NotImplementedError

    class Half(Base[Get, E, int]):
        initial = 0

    class Whole(Half[Added]):
        def event(self) -> object:
            return Added(1)

        @applies
        def added(self, event: Added) -> int:
            return self.state + event.number

    assert await (await world.spawn(Whole)).ask(Get()) == 1
    with pytest.raises(StartFailed, match="Half is generic, and does not say what"):
        await world.spawn(Half)


class Earlier(EventSourced[Get, "Later", "LaterState"]):
    @handler
    async def get(self, message: Get) -> int:
        await self.persist(Later(7))
        return self.state.number

    @applies
    def later(self, event: Later) -> LaterState:
        return LaterState(event.number)


@tagged("plan-later@1")
@attrs.frozen
class Later:
    number: int


@tagged("plan-later-state@1")
@attrs.frozen
class LaterState:
    number: int


Earlier.initial = LaterState(0)  # type: ignore[misc]


async def test_what_it_stores_may_be_defined_further_down(world: World) -> None:
    assert await (await world.spawn(Earlier)).ask(Get()) == 7


async def test_what_is_defined_nowhere_is_named_at_the_first_spawn(
    world: World,
) -> None:
    with pytest.raises(TypeError, match="Nowhere"):

        class Lost(EventSourced[Get, "Nowhere", int]):  # type: ignore[name-defined]  # pyright: ignore[reportUndefinedVariable]
            initial = 0

            @handler
            def get(self, message: Get) -> int:
                return 0

        await world.spawn(Lost)


async def test_a_fold_may_name_an_event_that_is_defined_nowhere_yet(
    world: World,
) -> None:
    class Lost(Sum):
        @applies
        def taken(self, event: Missing) -> int:  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]
            return 0

    with pytest.raises(StartFailed, match="Missing.*cannot be read. Define it before"):
        await world.spawn(Lost)


async def test_classes_in_functions_find_the_names_around_them(world: World) -> None:
    @tagged("plan-inner@1")
    @attrs.frozen
    class Inner:
        number: int

    class Here(EventSourced[Get, Inner, int]):
        initial = 0

        @handler
        async def get(self, message: Get) -> int:
            await self.persist(Inner(3))
            return self.state

        @applies
        def inner(self, event: Inner) -> int:
            return event.number

    assert await (await world.spawn(Here)).ask(Get()) == 3


@pytest.mark.parametrize("kind", [dict[str, int], list[int], set[int]])
async def test_a_state_that_is_changed_in_place_is_refused(
    kind: Any, world: World
) -> None:
    """There was no way back from it when the command fails."""

    class Changes(EventSourced[Get, Added, kind]):
        initial = kind()

        @handler
        async def get(self, message: Get) -> int:
            await self.persist(Added(1))
            return len(self.state)

        @applies
        def added(self, event: Added) -> Any:
            return self.state

    changes = await world.spawn(Changes)
    with pytest.raises(
        Exception, match=rf"is the {kind.__name__}.* that was the state"
    ):
        await changes.ask(Get())


async def test_a_state_that_cannot_be_changed_may_stay_as_it_is(world: World) -> None:
    class Stays(Sum):
        @applies
        def added(self, event: Added) -> int:
            return self.state

    assert await (await world.spawn(Stays)).ask(Get()) == 0
