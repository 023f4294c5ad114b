"""Whether a handler answers what its request is answered with.

Only what is certainly another answer is refused.
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
# ruff: noqa: ANN001, ANN202, F821, UP007, UP037

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import (
    Any,
    Generic,
    Literal,
    Never,
    NewType,
    NoReturn,
    ParamSpec,
    Protocol,
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
from trio_actors import Actor, ActorRef, Reply, Request, handler
from trio_actors._annotations import spell
from trio_actors._answers import answer_of, may_be

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


# --- Answers ----------------------------------------------------------------------


def test_the_answer_of_a_request_is_found_through_its_bases() -> None:
    assert answer_of(Add) is int
    assert answer_of(Take[str]) is str
    assert answer_of(TakeOne[bytes]) is bytes
    assert answer_of(TakeName) is str
    assert answer_of(Pair[int, str]) == tuple[int, str]
    assert answer_of(Request[int]) is int
    assert answer_of(Forward) is Answer
    assert answer_of(Unknown) is Any
    assert answer_of(Bare) is Any
    assert spell(answer_of(Reset)) != "Any"


class Walks(Protocol):
    def walk(self) -> None: ...


class Strange(type):
    def __subclasscheck__(cls, other: type) -> bool:
        raise ValueError


class Judge(metaclass=Strange): ...


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (int, int),
        (bool, int),
        (int, float),
        (int | None, int | str | None),
        (None, type(None)),
        (Better, Answer),
        (type("Answer", (), {}), Answer),
        (list[int], Sequence[int]),
        (list[bool], list[int]),
        (list, list[int]),
        (tuple[int, ...], tuple[int, ...]),
        (tuple[int, int], tuple[int, ...]),
        (ActorRef[Add | Reset], ActorRef[Add]),
        (ActorRef[Never], ActorRef[Add]),
        (Callable[[int], int], Callable[[str], int]),
        (dict[str, int], Mapping[str, int]),
        (Literal["a"], str),
        (Literal["a"], Literal["a", "b"]),
        (UserId, int),
        (Row, dict[str, str]),
        (Add, Walks),
        (Add, Judge),
        (Broken, int),
        (Never, int),
        (NoReturn, int),
        (Any, int),
        (object, int),
        (int, object),
        (T, int),
        (Self, int),
        (5, int),
    ],
)
def test_an_answer_that_may_be_right_is_accepted(given: object, wanted: object) -> None:
    assert may_be(given, wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (str, int),
        (int, None),
        (None, int),
        (int | None, int),
        (Answer, Better),
        (list[str], list[int]),
        (list[list[str]], list[list[int]]),
        (Iterable[int], list[int]),
        (Literal["a"], int),
        (int, Never),
    ],
)
def test_an_answer_that_is_certainly_another_is_refused(
    given: object, wanted: object
) -> None:
    assert not may_be(given, wanted)


def test_an_answer_may_come_now_or_later() -> None:
    class Counter(Actor[Add | Sub | Take[str] | Bare | Pair[int, str] | Forward]):
        @handler
        def add(self, message: Add) -> int | Reply[int]:
            return 1

        @handler
        def sub(self, message: Sub) -> Reply:
            raise NotImplementedError

        @handler
        def take(self, message: Take[str]) -> "Reply[str] | str":
            return ""

        @handler
        def bare(self, message: Bare) -> bytes:
            return b""

        @handler
        def pair(self, message: Pair[int, str]) -> Reply[Any]:
            raise NotImplementedError

        @handler
        def forward(self, message: Forward) -> NoReturn:
            raise NotImplementedError

    assert set(names_of(Counter).values()) == {
        "add",
        "sub",
        "take",
        "bare",
        "pair",
        "forward",
    }

    def wrong():
        class Counter(Actor[Add]):
            @handler
            async def add(self, message: Add) -> Reply[str]:
                raise NotImplementedError

    def nothing():
        class Counter(Actor[Add]):
            @mark
            async def add(self, message: Add):
                return 1

    assert "Counter.add returns Reply[str], but Add is a Request[int]" in refused(wrong)
    assert refused(nothing).endswith("\n    async def add(self, message: Add) -> int:")


def test_several_requests_are_answered_by_any_reply_or_never() -> None:
    class Router(Actor[Add | Sub | Reset]):
        @handler
        def all(self, message: Add | Sub | Reset) -> Reply[object]:
            raise NotImplementedError

    class Refuser(Actor[Add | Sub]):
        @handler
        def all(self, message: Add | Sub) -> NoReturn:
            raise NotImplementedError

    assert names_of(Router)["Sub"] == "all"
    assert names_of(Refuser)["Sub"] == "all"


def test_a_batch_is_answered_with_a_list() -> None:
    class Counter(Actor[Add | Sub | Take[str] | Bare | Reset]):
        @handler(batch=10)
        def add(self, messages: list[Add]) -> list[int | Reply[int]]:
            return [1]

        @handler(batch=10)
        def sub(self, messages: Sequence[Sub]) -> list:
            return [1]

        @handler(batch=10)
        def take(self, messages: list[Take[str] | Bare]) -> Sequence[str]:
            return [""]

        @handler(batch=10)
        def reset(self, messages: "list[Reset]") -> None: ...

    assert set(names_of(Counter)) == {"Add", "Sub", "Take", "Bare", "Reset"}

    class Loose(Actor[Add]):
        @handler(batch=10)
        def add(self, messages: list[Add]) -> Any: ...

    assert names_of(Loose) == {"Add": "add"}


def test_a_batch_that_is_wrong_is_shown_the_lists() -> None:
    right = "\n    def add(self, messages: list[Add]) -> list[int]:"

    def no_answer():
        class Counter(Actor[Add]):
            @mark(batch=2)
            def add(self, messages: list[Add]):
                return [1]

    def one_answer():
        class Counter(Actor[Add]):
            @mark(batch=2)
            def add(self, messages: list[Add]) -> int:
                return 1

    def other_answers():
        class Counter(Actor[Add]):
            @mark(batch=2)
            def add(self, messages: list[Add]) -> list[str]:
                return [""]

    def no_message():
        class Counter(Actor[Add]):
            @mark(batch=2)
            def add(self, messages) -> list[int]:
                return [1]

    assert refused(no_answer) == (
        "Counter.add does not say what it answers. Add is a Request[int], so write:"
        + right
    )
    assert refused(one_answer) == (
        "Counter.add takes batches, so it returns a list with one answer for each"
        " message:" + right
    )
    assert refused(other_answers) == (
        "Counter.add returns list[str], but Add is a Request[int]. Write the answers in"
        " the order of the messages:" + right
    )
    assert refused(no_message).endswith("(self, messages: list[Add]) -> ...:")


def test_a_handler_without_a_message_is_shown_a_place_for_it() -> None:
    def make():
        class Quiet(Actor[Never]):
            @mark
            def add(self, message):
                return 1

    assert refused(make).endswith("\n    def add(self, message: ...) -> ...:")
