"""The answers to commands are remembered: values and declared rejections.

Rule: a repeated command gets the remembered answer, declared rejections too (S3).
"""

from typing import Any, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_actors import tagged
from trio_actors._annotations import NOTHING
from trio_actors.persistence._codec import AnswerCodec
from trio_actors.persistence._errors import Unreadable
from trio_actors.persistence._forms import difference

T = TypeVar("T")
VARIABLE: Any = T


class Overdrawn(Exception):
    """There is not enough money."""


@tagged("codec-accepted@1")
@attrs.frozen
class Accepted:
    balance: int


@tagged("codec-declined@1")
@attrs.frozen
class Declined:
    why: str


@attrs.frozen
class Receipt:
    number: int
    lines: tuple[str, ...] = ()


@attrs.frozen
class Private:
    _number: int


class Dog(msgspec.Struct):
    name: str


class Cat(msgspec.Struct):
    name: str


BUILTIN = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def codec(answer: Any = Any, *raises: type[Exception]) -> AnswerCodec:
    return AnswerCodec(answer, raises, where="Account.deposit")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 3),
        (None, None),
        (Receipt, Receipt(3, ("a",))),
        (Receipt | None, None),
        (Accepted | Declined, Accepted(3)),
        (Accepted | Declined | None, Declined("no")),
        (Accepted | Declined | None, None),
        (tuple[int, ...], (1, 2)),
        (frozenset[str], frozenset("abc")),
        (Any, {"a": [1, 2.5, None, b"c"]}),
        (object, "text"),
        (VARIABLE, [1]),
    ],
)
def test_an_answer_comes_back(kind: Any, value: Any) -> None:
    answers = codec(kind)
    succeeded, found = answers.decode(answers.encode(value))
    assert succeeded is True
    assert difference(value, found) is None


@given(BUILTIN)
def test_an_answer_of_any_type_is_made_of_builtin_types(value: Any) -> None:
    succeeded, found = codec().decode(codec().encode(value))
    assert succeeded
    assert difference(value, found) is None


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Any, (1, 2), "tuple would come back as list"),
        (Any, {1}, "set would come back as list"),
        (Any, Receipt(1), "Receipt would come back as dict"),
        (int, "3", "this answer (int) cannot be stored: Expected `int`, got `str`"),
        (Private, Private(1), "Private._number cannot be stored: private fields"),
        (Accepted | Receipt, Receipt(1), '@tagged("receipt@1") above the class'),
        (Dog | Cat, Dog("a"), "tag=True"),
    ],
)
def test_an_answer_that_would_be_lost_is_refused(
    kind: Any, value: Any, text: str
) -> None:
    answers = codec(kind)  # not yet: a command without an id is never remembered
    with pytest.raises(TypeError) as caught:
        answers.encode(value)
    assert text in str(caught.value)
    assert str(caught.value).startswith("Account.deposit: ")


def test_what_is_only_told_has_no_answer_whatever_its_handler_returns() -> None:
    answers = codec(NOTHING)
    assert answers.decode(answers.encode(object())) == (True, None)


def test_a_rejection_that_is_not_declared_any_more_is_unreadable() -> None:
    """No class is made from bytes unless it is declared."""
    body = codec(int, Overdrawn).encode_error(Overdrawn("ada"))
    with pytest.raises(Unreadable) as caught:
        codec(int, ValueError).decode(body)
    text = str(caught.value)
    assert "Overdrawn is not declared any more" in text
    assert "raises=" in text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        msgspec.msgpack.encode([True, "text"]),
        msgspec.msgpack.encode([False, "text"]),
        msgspec.msgpack.encode([False, ["a", [], {}]]) + b"!",
    ],
)
def test_wrong_bytes_are_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable, match=r"Account\.deposit: the remembered answer"):
        codec(int).decode(body)
