"""Names, unions, generics and answers in the annotations of actors.

Names are looked up among the messages, then where they were written; what is not known
yet is looked up again at the first spawn. What cannot be judged is accepted.
"""

# mypy: disable-error-code="type-arg, no-untyped-def, valid-type, name-defined, misc"
# mypy: disable-error-code="no-untyped-call, used-before-def, attr-defined, type-var"
# mypy: disable-error-code="untyped-decorator, truthy-function"
# pyright: reportUnusedClass=false, reportUndefinedVariable=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportMissingTypeArgument=false
# pyright: reportUntypedBaseClass=false, reportUnnecessaryComparison=false
# pyright: reportInvalidTypeArguments=false, reportInvalidTypeForm=false
# pyright: reportUntypedFunctionDecorator=false, reportArgumentType=false
# ruff: noqa: ANN202, F821, UP007, UP037, UP045

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    Never,
    NewType,
    NoReturn,
    Optional,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Union,
)

import attrs
import pytest
from typing_extensions import TypeAliasType

from tests.classes import names_of, refused
from trio_actors import Actor, Reply, Request, handler
from trio_actors._annotations import kinds, members, spell
from trio_actors._declare import complete

if TYPE_CHECKING:
    from decimal import Decimal

mark: Any = handler  # for wrong uses that type checkers refuse

T = TypeVar("T")
S = TypeVar("S")
Bound = TypeVar("Bound", bound=int)
Choice = TypeVar("Choice", str, bytes)
Ts = TypeVarTuple("Ts")
P = ParamSpec("P")


@attrs.frozen
class Add(Request[int]): ...


@attrs.frozen
class Sub(Request[int]): ...


@attrs.frozen
class Reset: ...


@attrs.frozen
class Box(Generic[T]):
    item: T


@attrs.frozen
class Take(Request[T]): ...


@attrs.frozen
class TakeOne(Take[T], Generic[T]): ...


@attrs.frozen
class TakeName(TakeOne[str]): ...


@attrs.frozen
class Pair(Request[tuple[T, S]]): ...


@attrs.frozen
class Forward(Request["Answer"]): ...


@attrs.frozen
class Unknown(Request["Missing"]): ...


@attrs.frozen
class Bare(Request): ...


class Answer: ...


class Better(Answer): ...


class Color(enum.Enum):
    RED = 1


class Row(TypedDict):
    name: str


UserId = NewType("UserId", int)
Alias = TypeAliasType("Alias", Union["Add", "Reset"])
Either = TypeAliasType("Either", Union[Box[T], Add], type_params=(T,))
Broken = TypeAliasType("Broken", "missing")


# --- Names ------------------------------------------------------------------------


class Early(Actor["Later | Add"]):
    """Its messages are defined further down."""

    @handler
    def later(self, message: Later) -> LaterAnswer:
        raise NotImplementedError

    @handler
    def add(self, message: Add) -> int:
        return 1


class EarlyHandler(Actor[Add]):
    @handler
    def add(self, message: Addition) -> int:
        return 1


class EarlyTwice(Early): ...


class EarlyUnspawned(Early): ...


def test_a_class_whose_messages_come_later_waits_for_its_first_spawn() -> None:
    assert "__handlers__" not in Early.__dict__
    assert names_of(EarlyTwice) == {"Later": "later", "Add": "add"}
    assert names_of(Early) == {"Later": "later", "Add": "add"}
    assert names_of(EarlyHandler) == {"Add": "add"}


class LaterAnswer: ...


@attrs.frozen
class Later(Request[LaterAnswer]): ...


Addition = Add


def test_names_of_the_functions_around_are_known_now_and_later() -> None:
    def outer() -> tuple[type, type]:
        class Mine(Request[int]): ...

        def inner() -> tuple[type, type]:
            class Now(Actor[Mine]):
                @handler
                def mine(self, message: Mine) -> int:
                    return 1

            class Waits(Actor["Yours"]):
                @handler
                def yours(self, message: Yours) -> Theirs:
                    raise NotImplementedError

            assert "__handlers__" not in Waits.__dict__

            class Theirs: ...

            class Yours(Request[Theirs]): ...

            return Now, Waits

        return inner()

    now, waits = outer()
    assert names_of(now) == {"Mine": "mine"}
    assert names_of(waits) == {"Yours": "yours"}

    class Below(waits): ...

    assert names_of(Below) == {"Yours": "yours"}


def test_a_subclass_of_a_class_that_waits_knows_the_same_names() -> None:
    def make() -> type:
        class Waits(Actor["Yours"]):
            @handler
            def yours(self, message: Yours) -> None: ...

        class Yours: ...

        return Waits

    waits = make()

    class Below(waits): ...

    assert names_of(Below) == {"Yours": "yours"}
    assert names_of(waits) == {"Yours": "yours"}


def test_a_name_that_nothing_can_define_is_refused_at_once() -> None:
    def message():
        class Counter(Actor[Add | Reset]):
            @mark
            def add(self, message: Ad) -> int:
                return 1

    def brackets():
        class Counter(Actor["Ad"]): ...

    assert refused(message) == (
        "Counter.add: the name Ad in its annotation is not known here. Messages of"
        " Counter: Add, Reset."
    )
    assert refused(brackets) == (
        "Counter: the name Ad in its brackets is not known here. Define it before the"
        " first spawn, not only for type checkers."
    )


def test_a_name_that_never_came_is_refused_at_the_first_spawn() -> None:
    def make() -> tuple[type, type, type]:
        class Brackets(Actor["Late"]): ...

        class Annotation(Actor[Add]):
            @handler
            def add(self, message: Late) -> int:
                return 1

        class Both(Actor["Late"]):
            @handler
            def late(self, message: Late) -> None: ...

        if not make:

            class Late: ...

        return Brackets, Annotation, Both

    brackets, annotation, both = make()
    assert "the name Late in its brackets" in refused(lambda: complete(brackets, Actor))
    for _ in range(2):
        assert "Annotation.add: the name Late in its annotation is not known here" in (
            refused(lambda: complete(annotation, Actor))
        )
    assert "the name Late in its brackets" in refused(lambda: complete(both, Actor))


def test_an_annotation_that_cannot_be_read_is_shown() -> None:
    class Counter(Actor[Add]):
        @handler
        def add(self, message: Add | "text") -> int:  # pyright: ignore[reportGeneralTypeIssues]
            return 1

    assert refused(lambda: complete(Counter, Actor)).startswith(
        "Counter.add: its annotation cannot be read: TypeError("
    )


def test_an_answer_for_type_checkers_only_is_accepted() -> None:
    class Price(Actor[Unknown | Add]):
        @handler
        def price(self, message: Unknown) -> Decimal:
            raise NotImplementedError

        @handler
        def add(self, message: Add) -> Mapping[Missing, int] | int:
            return 1

    assert names_of(Price) == {"Unknown": "price", "Add": "add"}


def test_the_messages_come_first_for_a_message_and_last_for_an_answer() -> None:
    local = type("Answer", (Add,), {})

    class Renamed(Actor[local | Forward]):
        @handler
        def answer(self, message: Answer) -> int:
            return 1

        @handler
        def forward(self, message: Forward) -> Answer:
            raise NotImplementedError

    assert complete(Renamed, Actor)[local].name == "answer"


def test_two_messages_of_one_name_are_told_apart() -> None:
    ours, mine = Add, SimpleNamespace(Add=type("Add", (), {}))

    class Counter(Actor[ours | mine.Add]):
        @handler
        def add(self, message: Add) -> int:
            return 1

        @handler
        def foreign(self, message: mine.Add) -> None: ...

    table = complete(Counter, Actor)
    assert table[Add].name == "add"
    assert table[mine.Add].name == "foreign"


class Outer:
    """Its inner classes know each other, now and later."""

    class Waits(Actor["Message"]):
        @handler
        def message(self, message: Message) -> Answer: ...  # type: ignore[empty-body]

    class Answer: ...

    class Message(Request[Answer]): ...

    class Knows(Actor[Message]):
        @handler
        def message(self, message: Message) -> Answer: ...  # type: ignore[empty-body]


class Own(Actor["Own.Message"]):  # pyright: ignore[reportGeneralTypeIssues]
    """Its message is defined in its own body."""

    class Message(Request[int]): ...

    @handler
    def message(self, message: Message) -> int:
        return 1


def test_names_of_the_classes_around_are_known() -> None:
    assert names_of(Outer.Waits) == names_of(Outer.Knows) == {"Message": "message"}
    assert names_of(Own) == {"Message": "message"}


def test_a_class_that_waits_in_a_module_keeps_no_frame() -> None:
    assert EarlyUnspawned.__dict__["__unread__"] == []
    complete(Early, Actor)
    assert Early.__dict__["__unread__"] == []


def test_a_method_does_not_hide_the_builtin_of_its_name() -> None:
    class Got(Request[set[str]]): ...

    class Store(Actor[Got]):
        class Inner: ...

        def set(self) -> Inner:
            return self.Inner()

        @handler
        def got(self, message: Got) -> set[str]:
            return {"a"}

    assert names_of(Store) == {"Got": "got"}


MODULE = """
from __future__ import annotations
from trio_actors import Actor, Request, handler

class Counter(Actor["{name}"]):
    @handler
    def add(self, message: {name}) -> int:
        return 1
"""


def run(name: str, **names: object) -> dict[str, Any]:
    """Run that module, as a file or not."""
    module = ModuleType("sample_module")
    module.__dict__.update(names)
    sys.modules["sample_module"] = module
    try:
        code = compile(
            MODULE.format(name=name), str(names.get("__file__", "<x>")), "exec"
        )
        exec(code, module.__dict__)
    finally:
        del sys.modules["sample_module"]
    return module.__dict__


def test_in_an_interactive_session_the_next_input_may_define_a_name() -> None:
    found = run("Plus", Add=Add)
    found["Plus"] = Add
    sys.modules["sample_module"] = SimpleNamespace(**found)  # type: ignore[assignment]
    try:
        assert names_of(found["Counter"]) == {"Add": "add"}
    finally:
        del sys.modules["sample_module"]
    assert "the name Plus in its brackets" in refused(
        lambda: run("Plus", __file__="sample_module.py")
    )


# --- Unions and generics ----------------------------------------------------------


def test_a_union_may_be_written_in_many_ways() -> None:
    """Aliases, nested and optional unions, and annotated members are one union."""
    nested = Union[Optional[Add], Annotated[Reset, "note"]]
    assert members(nested) == [Add, type(None), Reset]
    assert members(Alias) == [Add, Reset]
    assert members(Either[int]) == [Box[int], Add]
    assert members(NoReturn) == []

    class Counter(Actor[Alias | None]):
        @handler
        def all(self, message: Alias | None) -> Reply[Any]:
            raise NotImplementedError

    class Odd(Actor[Either[int]]):
        @handler
        def box(self, message: Box[int]) -> None: ...

        @handler
        def add(self, message: Add) -> int:
            return 1

    assert names_of(Counter) == {"Add": "all", "Reset": "all", "NoneType": "all"}
    assert names_of(Odd) == {"Box": "box", "Add": "add"}


def test_an_alias_that_cannot_be_read_is_waited_for() -> None:
    class Counter(Actor[Broken]): ...

    assert refused(lambda: complete(Counter, Actor)).startswith(
        "Counter: the name missing in its brackets is not known here."
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new")
def test_the_syntax_of_newer_pythons_is_understood() -> None:
    source = """
from __future__ import annotations
from trio_actors import Actor, Request, handler

type Later[X] = Box[X] | Plus

class Cell[X](Actor[Later[X]]):
    @handler
    def box(self, message: Box[X]) -> None: ...
    @handler
    def plus(self, message: Plus) -> int:
        return 1

class Numbers(Cell[int]): ...

class Box[X]: ...
class Plus(Request[int]): ...
"""
    module = ModuleType("newer_module")
    sys.modules["newer_module"] = module
    try:
        exec(source, module.__dict__)
        assert names_of(module.Numbers) == {"Box": "box", "Plus": "plus"}
    finally:
        del sys.modules["newer_module"]


def test_plain_values_are_messages_by_their_class() -> None:
    class Exotic(
        Actor[
            Literal[1, 2, Color.RED]
            | str
            | tuple[int, str]
            | UserId
            | Row
            | type[Answer]
        ]
    ):
        @handler
        def text(self, message: str) -> None: ...
        @handler
        def pair(self, message: tuple[int, str]) -> None: ...
        @handler
        def number(self, message: Literal[1, 2] | UserId) -> None: ...
        @handler
        def color(self, message: Literal[Color.RED]) -> None: ...
        @handler
        def row(self, message: Row) -> None: ...
        @handler
        def cls(self, message: type[Answer]) -> None: ...

    assert names_of(Exotic) == {
        "str": "text",
        "tuple": "pair",
        "int": "number",
        "Color": "color",
        "dict": "row",
        "type": "cls",
    }


def test_messages_that_look_the_same_when_they_run_have_one_handler() -> None:
    def two():
        class Boxes(Actor[Box[int] | Box[str]]):
            @handler
            def number(self, message: Box[int]) -> None: ...

            @handler
            def text(self, message: Box[str]) -> None: ...

    class Boxes(Actor[Box[int] | Box[str]]):
        @handler
        def both(self, message: Box[int] | Box[str]) -> None: ...

    assert refused(two) == (
        "Boxes has two handlers for Box[str]: number and text. Keep one."
    )
    assert names_of(Boxes) == {"Box": "both"}


class Cell(Actor[Box[T] | Take[T]]):
    @handler
    def box(self, message: Box[T]) -> None: ...

    @handler
    def take(self, message: Take[T]) -> T:
        raise NotImplementedError


class Open(Actor[T]):
    """Takes whatever its subclasses say."""

    @handler
    def first(self, message: T) -> Any: ...


class Double(Actor[T | S], Generic[T, S]):
    @handler
    def first(self, message: T) -> Any: ...

    @handler
    def second(self, message: S) -> Any: ...


def test_type_variables_are_known_in_the_subclasses() -> None:
    class Numbers(Cell[int]): ...

    class Lists(Cell[list[S]]): ...

    class ListsOfText(Lists[str]): ...

    class Adds(Open[Add]): ...

    class Forwards(Open["Add"]): ...

    class Twice(Double[Add, Reset]): ...

    assert names_of(Numbers) == names_of(ListsOfText) == names_of(Cell)
    assert names_of(Numbers) == {"Box": "box", "Take": "take"}
    assert names_of(Adds) == names_of(Forwards) == {"Add": "first"}
    assert names_of(Twice) == {"Add": "first", "Reset": "second"}


def test_the_answers_of_a_generic_handler_are_judged_in_the_subclasses() -> None:
    class Base(Actor[Take[T]]):
        @handler
        def take(self, message: Take[T]) -> int:
            return 1

    class Right(Base[int]): ...

    def wrong():
        class Wrong(Base[str]): ...

    def same():
        class Same(Double[Add, Add]): ...

    assert names_of(Right) == {"Take": "take"}
    assert refused(wrong).startswith(
        "Wrong.take returns int, but Take[str] is a Request[str]."
    )
    assert refused(same).startswith("Same has two handlers for Add: first and second.")


def test_a_class_with_open_messages_is_not_complete_yet() -> None:
    class Half(Actor[T | Add]): ...

    class Unsaid(Open): ...

    class Anything(Actor[Any]):
        @handler
        def add(self, message: Add) -> int:
            return 1

    class Variadic(Actor[T], Generic[T, *Ts]):
        @handler
        def first(self, message: T) -> Any: ...

    class Filled(Variadic[Add, int, str]): ...

    class Parametrised(Actor[T], Generic[P, T]):
        @handler
        def first(self, message: T) -> Any: ...

    class Filled2(Parametrised[[int], Add]): ...

    assert names_of(Half) == {}
    assert names_of(Open) == names_of(Unsaid) == {"object": "first"}
    assert names_of(Double) == {"object": "first"}
    assert names_of(Anything) == {"Add": "add"}
    assert names_of(Filled) == {"Add": "first"}
    assert names_of(Filled2) == {"object": "first"}


def test_a_generic_mixin_gives_its_handlers_their_types() -> None:
    class Boxing(Generic[T]):
        @handler
        def box(self, message: Box[T]) -> None: ...

    class Counter(Boxing[int], Actor[Box[int]]): ...

    assert names_of(Counter) == {"Box": "box"}


def test_bounded_type_variables_stand_for_their_bounds() -> None:
    assert kinds(Bound) == (int,)
    assert kinds(Choice) == (str, bytes)
    assert kinds(T) == (object,)
    assert kinds(Self) == (object,)
    assert kinds(None) == (type(None),)
    assert kinds(5) == ()


@pytest.mark.parametrize(
    ("meaning", "text"),
    [
        (None, "None"),
        (type(None), "None"),
        (Any, "Any"),
        (Never, "Never"),
        (Add | None, "Add | None"),
        (Box[Add | Reset], "Box[Add | Reset]"),
        (Union[Box[int], "Add"], "Box[int] | Add"),
        (list[dict[str, Add]], "list[dict[str, Add]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (tuple[()], "tuple[()]"),
        (Callable[[int], str], "Callable[[int], str]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (T, "T"),
        (Broken, "Broken"),
        ("text", "text"),
    ],
)
def test_a_type_is_shown_as_it_is_written(meaning: object, text: str) -> None:
    assert spell(meaning) == text
