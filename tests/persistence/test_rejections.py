"""A declared rejection comes back as what it was, or is refused: never altered.

Rule: a repeated command gets the remembered answer, declared rejections too (S3).
"""

import dataclasses
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pytest

from trio_actors.persistence._forms import difference
from trio_actors.persistence._rejections import decode_rejection, encode_rejection


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


class Slots(Exception):
    __slots__ = ("__hidden", "missing", "unset")

    def __init__(self, missing: Any, why: str) -> None:
        super().__init__(why)
        self.missing = missing
        self.__hidden = why

    @property
    def hidden(self) -> str:
        return self.__hidden


@attrs.frozen
class Limited(Exception):
    limit: int


def listed(words: Any) -> list[str]:
    return [*words]


@attrs.define(kw_only=True)
class Named(Exception):
    limit: int
    twice: int = attrs.field(init=False)
    words: list[str] = attrs.field(converter=listed)

    def __attrs_post_init__(self) -> None:
        self.twice = 2 * self.limit


@dataclasses.dataclass(kw_only=True)
class Data(Exception):
    limit: int


@dataclasses.dataclass(slots=True, kw_only=True)
class DataSlots(Exception):
    limit: int


@attrs.frozen
class Receipt:
    number: int


class Color(Enum):
    RED = "red"


class Grouped(ExceptionGroup[Exception]):
    """Holds others."""


def again(error: Exception, *declared: type[Exception]) -> Any:
    """Return what a rejection comes back as."""
    body = encode_rejection(error, "Account.withdraw")
    _, found = decode_rejection(body, declared or [type(error)])
    assert type(found) is type(error)
    return found


def test_it_comes_back_as_its_class_with_its_args() -> None:
    error = Overdrawn("ada", 3, None)
    error.add_note("a crash report is not part of it")
    error.__dict__["hint"] = "wait"
    found = again(error, ValueError, Overdrawn)
    assert found.args == ("ada", 3, None)
    assert vars(found) == {"hint": "wait"}


def test_a_subclass_of_what_is_declared_is_found() -> None:
    assert again(Frozen("ada"), Overdrawn).args == ("ada",)


def test_another_class_is_not_made() -> None:
    body = encode_rejection(Overdrawn("ada"), "Account.withdraw")
    assert decode_rejection(body, [ValueError]) == (f"{__name__}.Overdrawn", None)


def test_the_arguments_of_a_constructor_need_not_be_the_args() -> None:
    found = again(Missing(3, currency="EUR"))
    assert (found.amount, found.currency) == (3, "EUR")
    assert str(found) == "3 EUR are missing"
    assert str(again(Wordy("ada"))) == "no ada"


@pytest.mark.parametrize(
    "error",
    [
        Limited(5),
        Named(limit=5, words=["a"]),
        Data(limit=5),
        DataSlots(limit=5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_its_fields_come_back_however_it_was_made(error: Any) -> None:
    found = again(error)
    assert found.limit == 5
    assert found.args == error.args
    if isinstance(error, Named):
        assert (found.twice, found.words) == (10, ["a"])


def test_its_slots_come_back_and_none_that_was_not_set() -> None:
    found = again(Slots(None, "too little"))
    assert (found.missing, found.hidden) == (None, "too little")
    assert found.args == ("too little",)
    assert not hasattr(found, "unset")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("ada"),
        OSError(2, "No such file", "bank.db"),
        OSError("without a number"),
        ImportError("no bank", name="bank"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_python_say_what_they_said(error: Exception) -> None:
    assert str(again(error)) == str(error)


@pytest.mark.parametrize(
    "value",
    [
        Decimal("5.10"),
        (1, ("a", Decimal(2)), [(3,)]),
        {"a": (1,), "b": {"c": {2}}},
        {(1, 2): "a"},
        {3, 1, 2},
        frozenset({"a", (1, "b")}),
        date(2026, 1, 2),
        datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001  # a plain one
        datetime(2026, 1, 2, tzinfo=UTC),
        time(3, 4),
        timedelta(days=1, microseconds=2),
        UUID(int=7),
        b"bytes",
        math.nan,
        2**63,
    ],
    ids=repr,
)
def test_values_of_builtin_types_come_back_as_what_they_were(value: Any) -> None:
    error = Overdrawn(value)
    error.__dict__["hint"] = [value]
    found = again(error)
    assert difference(error.args, found.args) is None
    assert difference(vars(error), vars(found)) is None


class Mute:
    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


class Growing(Exception):
    """Has more when it is made again."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.more = word


def growing() -> Growing:
    error = Growing("a")
    del error.more
    return error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Overdrawn(Receipt(1)), "args[0]: Receipt would come back as dict"),
        (Overdrawn("", [Color.RED]), "args[1][0]: Color would come back as str"),
        (Slots(Receipt(1), ""), "missing: Receipt would come back as dict"),
        (growing(), "more would be there before, or after"),
        (Overdrawn(Mute()), "type Mute is unsupported"),
        (Overdrawn(2**70), "OverflowError"),
        (Overdrawn("\ud800"), "UnicodeEncodeError"),
        (Overdrawn({Decimal(1): 1}), "args[0]: a key: Decimal would come back as str"),
        (Grouped("several", [ValueError()]), "type ValueError is unsupported"),
    ],
    ids=range(9),
)
def test_what_would_come_back_as_something_else_is_refused(
    error: Exception, why: str
) -> None:
    with pytest.raises(TypeError) as caught:
        encode_rejection(error, "Account.withdraw")
    text = str(caught.value)
    assert text.startswith(f"Account.withdraw: this {type(error).__name__} cannot be")
    assert why in text


def test_what_was_written_before_values_said_their_type_is_read() -> None:
    path = f"{__name__}.Overdrawn"
    body = msgspec.msgpack.encode((path, ["5.10"], {"hint": ["a"]}))
    _, found = decode_rejection(body, [Overdrawn])
    assert found is not None
    assert (found.args, vars(found)) == (("5.10",), {"hint": ["a"]})


def test_a_set_has_the_same_bytes_in_whatever_order_it_was_made() -> None:
    one, other = {0, 8}, {8, 0}
    assert [*one] != [*other]
    body = encode_rejection(Overdrawn(one), "")
    assert encode_rejection(Overdrawn(other), "") == body
