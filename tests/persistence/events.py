"""Events, and what is done with them in the tests of the serializer."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Any, NamedTuple, NewType, TypedDict, TypeVar

import attrs
import msgspec
import pytest

from trio_actors import tagged
from trio_actors.persistence._codec import Codec
from trio_actors.persistence._errors import Unreadable
from trio_actors.persistence._forms import difference

T = TypeVar("T")
Euro = NewType("Euro", int)

# For the checkers: what stands in the brackets is a value.
TUPLE: Any = tuple
LIST: Any = list
DICT: Any = dict
SET: Any = frozenset
VARIABLE: Any = T


@tagged("deposited@1")
@attrs.frozen
class Deposited:
    amount: int
    memo: str = ""


@tagged("withdrawn@2", upcast=lambda old: {"amount": old["sum"], "fee": 0})
@attrs.frozen
class Withdrawn:
    amount: int
    fee: int


@tagged("moved@1")
class Moved(msgspec.Struct, frozen=True):
    to: str
    amount: int = 0


@tagged("closed@3")
@dataclass(frozen=True)
class Closed:
    reason: str


@attrs.frozen
class Line:
    sku: str
    qty: int


@tagged("ordered@1")
@attrs.frozen
class Ordered:
    lines: tuple[Line, ...]


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Right(IntFlag):
    READ = 1
    WRITE = 2


class Word(StrEnum):
    YES = "yes"


class Point(NamedTuple):
    x: int
    y: int = 0


class Address(TypedDict):
    city: str


class Plus(msgspec.Struct, frozen=True, tag=True):
    by: int


class Minus(msgspec.Struct, frozen=True, tag=True):
    by: int


ACCOUNT = Codec(Deposited, Withdrawn, Moved, Closed, Ordered, where="Account")


def event_of(kind: Any) -> Any:
    """Make an event class whose one field has that type."""
    cls = attrs.make_class("Noted", {"it": attrs.field(type=kind)}, frozen=True)
    cls.__annotations__ = {"it": kind}
    return tagged("noted@1")(cls)


def codec_of(kind: Any) -> Callable[[Any], Any]:
    """Return what puts a value of that type into an event, writes and reads it."""
    cls = event_of(kind)
    codec = Codec(cls, where="Account")

    def there_and_back(value: Any) -> Any:
        body, back = codec.stored(cls(value))
        again = codec.decode(body)
        assert difference(back, again) is None
        return again.it

    return there_and_back


def refusal(*classes: Any, state: Any = None) -> str:
    """Return why classes cannot be registered."""
    with pytest.raises(TypeError) as caught:
        Codec(*classes, state=state, where="Account")
    assert str(caught.value).startswith("Account: ")
    return str(caught.value)


def lost(kind: Any, value: Any) -> str:
    """Return why a value cannot be stored in a field of that type."""
    with pytest.raises(TypeError) as caught:
        codec_of(kind)(value)
    text = str(caught.value)
    assert text.startswith("Account: this Noted cannot be stored: ")
    assert "It was not written" in text
    return text.split("stored: ")[1]


def unreadable(codec: Codec, body: bytes) -> str:
    """Return why bytes cannot be read."""
    with pytest.raises(Unreadable) as caught:
        codec.decode(body)
    return str(caught.value)


def written(name: object, version: object, fields: object) -> bytes:
    """Write what another program could have written."""
    return msgspec.msgpack.encode([name, version, fields])
