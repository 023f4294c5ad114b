"""A class becomes a table of handlers; a wrong class is refused with a helpful text.

The texts that every user meets are in test_declarations.py; here is the rest, and what
must not be refused: a right program never is.
"""

# mypy: disable-error-code="type-arg, no-untyped-def, override, no-redef, misc"
# mypy: disable-error-code="untyped-decorator, no-untyped-call"
# pyright: reportUnusedClass=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false, reportUnknownMemberType=false
# pyright: reportIncompatibleVariableOverride=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnusedFunction=false
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import abc
import functools
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import attrs

from tests.classes import names_of, refused
from tests.kit import Calls
from trio_actors import Actor, Reply, Request, Terminated, handler
from trio_actors._declare import complete, declare, lookup

mark: Any = handler  # for wrong uses that type checkers refuse


@attrs.frozen
class Add(Request[int]): ...


@attrs.frozen
class Sub(Request[int]): ...


@attrs.frozen
class Names(Request[Iterator[str]]): ...


@attrs.frozen
class Reset: ...


@attrs.frozen
class HardReset(Reset): ...


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


class Circle(Shape):
    def area(self) -> float:
        return 1.0


class Named(Protocol):
    name: str


@runtime_checkable
class Closeable(Protocol):
    def close(self) -> None: ...


@attrs.frozen
class User:
    name: str


class File:
    def close(self) -> None: ...


# --- The table --------------------------------------------------------------------


def test_a_handler_carries_its_options() -> None:
    class Counter(Actor[Add | Reset | Sub]):
        @handler(raises=(KeyError,), reads_only=True)
        def add(self, message: Add) -> int:
            return 1

        @handler(batch=50)
        async def reset(self, messages: list[Reset]) -> None: ...

        @handler(cancel_with_caller=True)
        async def sub(self, message: Sub) -> int:
            return 1

    table = complete(Counter, Actor)
    add, reset, sub = table[Add], table[Reset], table[Sub]
    assert (add.name, add.raises, add.reads_only) == ("add", (KeyError,), True)
    assert (add.is_async, add.batch, add.cancel_with_caller) == (False, 1, False)
    assert (reset.is_async, reset.batch) == (True, 50)
    assert sub.cancel_with_caller
    assert add.function(Counter(), Add()) == 1
    assert Counter.__handlers__ is table
    assert complete(Counter, Actor) is table


def test_one_handler_of_a_union_is_one_object_in_the_table() -> None:
    class Both(Actor[Reset | int | None]):
        @handler
        def all(self, message: Reset | int | None) -> None: ...

    assert len({id(found) for found in complete(Both, Actor).values()}) == 1
    assert names_of(Both) == {"Reset": "all", "int": "all", "NoneType": "all"}


def test_an_override_without_the_decorator_keeps_the_options() -> None:
    class Base(Actor[Add]):
        @handler(raises=(KeyError,))
        def add(self, message: Add) -> int:
            return 1

    class Double(Base):
        async def add(self, message):
            return 2

    found = complete(Double, Actor)[Add]
    assert found.function is Double.add
    assert found.is_async
    assert found.raises == (KeyError,)
    assert complete(Base, Actor)[Add].function is Base.add


def test_an_override_that_is_no_handler_any_more_is_refused() -> None:
    class Base(Actor[Add]):
        @handler
        def add(self, message: Add) -> int:
            return 1

    def static():
        class Sub(Base):
            @staticmethod
            def add(message):  # noqa: ANN205
                return 1

    def short():
        class Sub(Base):
            def add(self):
                return 1

    assert refused(static).startswith(
        "Sub.add is a handler, but <staticmethod(<function"
    )
    assert refused(static).endswith(
        "A handler is called with self: take @staticmethod away."
    )
    assert refused(short).startswith(
        "Sub.add is a handler, so it takes self and one message:"
    )


def test_a_handler_set_to_none_is_taken_away() -> None:
    class Base(Actor[Add | Reset]):
        @handler
        def both(self, message: Add | Reset) -> Reply[Any]:
            raise NotImplementedError

    class Split(Base):
        both = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

        @handler
        def add(self, message: Add) -> int:
            return 1

        @handler
        def reset(self, message: Reset) -> None: ...

    assert names_of(Split) == {"Add": "add", "Reset": "reset"}


def test_handlers_may_come_from_a_mixin_that_is_no_actor() -> None:
    class Resetting:
        @handler
        def reset(self, message: Reset) -> None: ...

    class Counter(Resetting, Actor[Add | Reset]):
        @handler
        def add(self, message: Add) -> int:
            return 1

    assert names_of(Counter) == {"Add": "add", "Reset": "reset"}


def test_a_subclass_may_add_messages() -> None:
    class Base(Actor[Add]):
        @handler
        def add(self, message: Add) -> int:
            return 1

    class More(Base, Actor[Reset | Add]):
        @handler
        def reset(self, message: Reset) -> None: ...

    class Merged(More, Actor[Sub]):  # pyright: ignore[reportGeneralTypeIssues]
        @handler
        def sub(self, message: Sub) -> int:
            return 1

    assert names_of(More) == {"Add": "add", "Reset": "reset"}
    assert names_of(Merged) == {"Add": "add", "Reset": "reset", "Sub": "sub"}


def test_a_base_may_be_any_object_that_stands_for_one() -> None:
    class Mixin:
        @handler
        def reset(self, message: Reset) -> None: ...

    class Entry:
        def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
            return (Mixin,)

    entry: Any = Entry()

    class Counter(entry, Actor[Reset]): ...

    assert names_of(Counter) == {"Reset": "reset"}


def test_a_base_without_brackets_is_refused_although_it_has_no_handlers() -> None:
    def make():
        class Base(Actor): ...  # pyright: ignore[reportMissingTypeArgument]

    assert refused(make).endswith("class Base(Actor[Increment | Reset]):")


def test_a_method_that_lacks_its_decorator_is_found_among_others() -> None:
    def make():
        class Counter(Actor[Add | Reset]):
            @handler
            def add(self, message: Add) -> int:
                return 1

            def make(self) -> Reset:
                return Reset()

            def clear(self, message: Reset) -> None: ...

    assert refused(make).endswith("Counter.clear takes one: mark it with @handler.")


def test_a_batch_handler_takes_a_list() -> None:
    def make():
        class Counter(Actor[Reset]):
            @handler(batch=2)
            async def reset(self, message: Reset | int) -> None: ...

    assert refused(make).endswith(
        "\n    async def reset(self, messages: list[Reset | int]) -> ...:"
    )


def test_a_handler_of_several_requests_owes_a_reply() -> None:
    def make():
        class Counter(Actor[Add | Reset]):
            @handler
            async def both(self, message: Add | Reset) -> int:
                return 1

    assert refused(make).endswith(
        "\n    async def both(self, message: Add | Reset) -> Reply[Any]:"
    )


def test_attrs_and_dataclasses_may_make_the_class_twice() -> None:
    @attrs.define
    class Slotted(Actor[Add]):
        total: int = 0

        def __attrs_post_init__(self) -> None:
            self.total += 1

        @handler
        def add(self, message: Add) -> int:
            return self.total

    @dataclass(slots=True)
    class Data(Actor[Add]):
        total: int = 1

        @handler
        def add(self, message: Add) -> int:
            return self.total

    for cls in (Slotted, Data):
        assert complete(cls, Actor)[Add].function(cls(), Add()) == 1
        assert cls.__dict__["__handlers__"] is complete(cls, Actor)


def test_what_decorators_return_may_be_a_handler() -> None:
    def logged(method):
        @functools.wraps(method)
        def wrapper(*args: Any) -> Any:
            return method(*args)

        return wrapper

    class Counter(Actor[Add | Sub | Reset]):
        @handler
        @logged
        async def add(self, message: Add) -> int:
            return 1

        @logged
        @handler
        def sub(self, message: Sub) -> int:
            return 2

        @mark
        @functools.lru_cache  # noqa: B019
        def reset(self, message: Reset) -> None: ...

    table = complete(Counter, Actor)
    assert table[Add].is_async
    assert not table[Sub].is_async
    assert table[Sub].function(Counter(), Sub()) == 2
    assert table[Reset].function(Counter(), Reset()) is None


# --- Dispatch ---------------------------------------------------------------------


def test_a_message_is_found_by_its_class_then_by_its_nearest_base() -> None:
    class Everything(Actor[Reset | HardReset | object]):
        @handler
        def reset(self, message: Reset) -> None: ...

        @handler
        def anything(self, message: object) -> None: ...

    class Softer(Reset): ...

    table = complete(Everything, Actor)
    assert lookup(table, Reset) is table[Reset]
    assert lookup(table, HardReset) is table[Reset]
    assert lookup(table, Softer) is table[Reset]
    assert lookup(table, int) is table[object]
    del table[object]
    assert lookup(table, int) is None


def test_what_type_checkers_let_pass_finds_its_handler() -> None:
    class Exotic(Actor[float | Named | Closeable | Sequence[int] | Reset]):
        @handler
        def number(self, message: float) -> None: ...
        @handler
        def named(self, message: Named) -> None: ...
        @handler
        def closeable(self, message: Closeable) -> None: ...
        @handler
        def sequence(self, message: Sequence[int]) -> None: ...
        @handler
        def reset(self, message: Reset) -> None: ...

    class Noted:
        name: str

    table = complete(Exotic, Actor)

    def name(kind: type) -> str | None:
        found = lookup(table, kind)
        return found.name if found else None

    assert [name(kind) for kind in (float, int, bool)] == ["number"] * 3
    assert [name(kind) for kind in (User, Noted)] == ["named"] * 2
    assert [name(kind) for kind in (File, list)] == ["closeable", "sequence"]
    assert name(Add) is None


# --- Messages ---------------------------------------------------------------------


def test_an_actor_may_take_no_messages() -> None:
    from typing import Never

    class Quiet(Actor[Never]): ...

    def outside():
        class Quiet(Actor[Never]):
            @handler
            def reset(self, message: Reset) -> None: ...

    assert names_of(Quiet) == {}
    assert "class Quiet(Actor[Reset]):" in refused(outside)


def test_terminated_needs_no_handler() -> None:
    """WAT-2: an end that nobody handles is a death pact."""

    class Pact(Actor[Reset | Terminated]):
        @handler
        def reset(self, message: Reset) -> None: ...

    class Watcher(Pact):
        @handler
        def gone(self, message: Terminated) -> None: ...

    assert names_of(Pact) == {"Reset": "reset"}
    assert names_of(Watcher)["Terminated"] == "gone"


def test_an_abstract_message_may_be_handled_by_what_is_below_it() -> None:
    class Drawing(Actor[Shape]):
        @handler
        def circle(self, message: Circle) -> None: ...

    def concrete():
        class Counter(Actor[Reset]):
            @handler
            def hard(self, message: HardReset) -> None: ...

    def nothing():
        class Drawing(Actor[Shape]): ...

    assert names_of(Drawing) == {"Circle": "circle"}
    assert "has no handler for Reset" in refused(concrete)
    assert "has no handler for Shape" in refused(nothing)


def test_a_handler_may_take_more_than_its_actor_is_sent() -> None:
    class Counter(Actor[HardReset]):
        @handler
        def reset(self, message: Reset) -> None: ...

    class Sink(Actor[Add | Reset]):
        @handler
        def all(self, message: object) -> None: ...

    assert names_of(Counter) == {"Reset": "reset"}
    assert names_of(Sink) == {"object": "all"}


def test_what_is_no_class_is_no_message() -> None:
    def taken():
        class Counter(Actor[5]):  # type: ignore[valid-type]  # pyright: ignore[reportInvalidTypeArguments]
            ...

    def handled():
        class Counter(Actor[Reset]):
            @mark
            def reset(self, message: Reset | names_of) -> None: ...  # type: ignore[valid-type]  # pyright: ignore[reportGeneralTypeIssues]

        complete(Counter, Actor)

    assert refused(taken).startswith("Counter takes 5, which is no class.")
    assert refused(handled).startswith("Counter.reset: its annotation cannot be read")


def test_an_annotation_that_is_no_class_is_refused() -> None:
    def reset(self, message): ...

    reset.__annotations__["message"] = 5

    def make():
        class Counter(Actor[Reset]):
            five = mark(reset)

    assert refused(make).startswith("Counter.five handles 5, which is no class.")


def test_the_handler_to_write_has_a_name_that_is_free() -> None:
    def builtin():
        class Counter(Actor[str]): ...

    def keyword():
        class Import: ...

        class Counter(Actor[Import]): ...

    def hook():
        class Stopped: ...

        class Counter(Actor[Stopped]): ...

    def own():
        class Counter(Actor[Reset]):
            def reset(self) -> None: ...

    assert "def on_str(self, message: str) -> None:" in refused(builtin)
    assert "def on_import(self, message: Import) -> None:" in refused(keyword)
    assert "def on_stopped(self, message: Stopped) -> None:" in refused(hook)
    assert "def on_reset(self, message: Reset) -> None:" in refused(own)


def test_a_class_that_was_never_declared_is_judged_at_its_first_spawn() -> None:
    class Quiet:
        @classmethod
        def __init_subclass__(cls) -> None:
            """Hide Actor's."""

    class Counter(Quiet, Actor[Reset]):
        @handler
        def reset(self, message: Reset) -> None: ...

    assert "__handlers__" not in Counter.__dict__
    assert names_of(Counter) == {"Reset": "reset"}
    declare(Counter, Actor)
    assert names_of(Counter) == {"Reset": "reset"}


def fill(body: dict[str, Any], names: dict[str, Any]) -> None:
    names.update(body)


def test_a_handler_more_costs_the_same_among_many() -> None:
    """Each listed the names of all messages anew: 400 handlers took 1.6 seconds."""
    counts: list[int] = []
    for size in (20, 80):
        union: Any = Add
        body: dict[str, Any] = {}
        for number in range(size):
            kind = attrs.make_class(f"Message{number}", [], frozen=True)
            union = union | kind

            def handle(self, message) -> None: ...

            handle.__annotations__ = {"message": kind, "return": None}
            body[f"handle_{number}"] = handler(handle)

        def add(self, message: Add) -> int:
            return 0

        body["add"] = handler(add)
        with Calls() as calls:
            types.new_class("Many", (Actor[union],), {}, functools.partial(fill, body))
        counts.append(calls.count)
    few, many = counts
    assert many < 8 * few
