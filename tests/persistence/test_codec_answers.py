"""The answers to commands are remembered: values and declared rejections.

Rule: a repeated command gets the remembered answer, declared rejections too (S3).
"""

from decimal import Decimal
from typing import Any, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_actors.persistence._codec import AnswerCodec
from trio_actors.persistence._errors import Unreadable
from trio_actors.persistence._forms import difference

T = TypeVar("T")
VARIABLE: Any = T


class Overdrawn(Exception):
    """There is not enough money."""


class Frozen(Overdrawn):
    """Nothing can be taken."""


class Missing(Exception):
    def __init__(self, amount: int, *, currency: str) -> None:
        super().__init__(f"{amount} {currency} are missing")
        self.amount = amount
        self.currency = currency


class Wordy(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(f"no {key}")


@attrs.frozen
class Limited(Exception):
    limit: int


@attrs.frozen
class Receipt:
    number: int
    lines: tuple[str, ...] = ()


@attrs.frozen
class Private:
    _number: int


BUILTIN = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def codec(answer: Any = Any, *raises: type[Exception]) -> AnswerCodec:
    return AnswerCodec(answer, raises, where="Account.deposit")


def again(error: Exception, *raises: type[Exception]) -> Any:
    """Return what a rejection comes back as."""
    answers = codec(int, *raises)
    succeeded, found = answers.decode(answers.encode_error(error))
    assert succeeded is False
    assert type(found) is type(error)
    return found


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 3),
        (None, None),
        (Receipt, Receipt(3, ("a",))),
        (Receipt | None, None),
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
        (Receipt | Private, Receipt(1), "tag=True"),
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


def test_a_rejection_comes_back_as_its_class_with_its_args() -> None:
    error = Overdrawn("ada", 3, None)
    error.add_note("a crash report is not part of it")
    error.__dict__["hint"] = "wait"
    found = again(error, ValueError, Overdrawn)
    assert found.args == ("ada", 3, None)
    assert vars(found) == {"hint": "wait"}


def test_a_subclass_of_what_is_declared_is_found() -> None:
    assert again(Frozen("ada"), Overdrawn).args == ("ada",)


def test_the_arguments_of_a_constructor_need_not_be_the_args() -> None:
    found = again(Missing(3, currency="EUR"), Missing)
    assert (found.amount, found.currency) == (3, "EUR")
    assert str(found) == "3 EUR are missing"
    assert str(again(Wordy("ada"), Wordy)) == "no ada"


def test_a_rejection_made_by_attrs_comes_back() -> None:
    assert again(Limited(5), Limited).limit == 5


def test_args_that_cannot_be_written_come_back_as_their_text() -> None:
    found = again(Overdrawn(Receipt(1), (1, 2), 2**70), Overdrawn)
    assert found.args == ("Receipt(number=1, lines=())", "(1, 2)", str(2**70))


class Mute:
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


def test_nothing_in_a_rejection_hinders_it() -> None:
    found = again(Overdrawn("\ud800", Mute(), Decimal("1.10")), Overdrawn)
    assert found.args == (
        "\\ud800",
        "<Mute, whose repr raised ValueError>",
        "1.10",
    )


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


class Grouped(ExceptionGroup[Exception]):
    """Cannot be made from texts."""


def test_a_rejection_that_cannot_be_made_again_is_unreadable() -> None:
    answers = codec(int, Grouped)
    body = answers.encode_error(Grouped("several", [ValueError()]))
    with pytest.raises(Unreadable, match="the remembered answer cannot be read"):
        answers.decode(body)
