"""Classes that would lose something without a word are refused beforehand."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from tests.persistence.events import (
    DICT,
    VARIABLE,
    Color,
    Deposited,
    Level,
    Line,
    Point,
    Withdrawn,
    event_of,
    refusal,
)
from trio_actors import tagged
from trio_actors.persistence._codec import Codec


def test_a_class_without_a_tag_of_its_own_is_refused() -> None:
    """The mark is inherited: a subclass would be read as its base class."""

    class Plain: ...

    @attrs.frozen
    class Untagged:
        amount: int

    @attrs.frozen
    class Inherits(Deposited):
        more: int = 0

    assert "no fields that are declared" in refusal(Plain)
    assert "no fields that are declared" in refusal(int)
    assert '@tagged("untagged@1")' in refusal(Untagged)
    text = refusal(Inherits)
    assert "the tag of a base class, 'deposited', is not its own" in text
    assert '@tagged("inherits@1")' in text


def test_two_classes_with_the_same_tag_are_refused() -> None:
    """S3, bad input: a duplicate tag."""

    @tagged("deposited@1")
    @attrs.frozen
    class Other:
        amount: int

    text = refusal(Deposited, Other)
    assert '"deposited@1", Deposited and Other' in text
    codec = Codec(Deposited, Deposited, state=Deposited, where="Account")
    assert codec.decode(codec.encode(Deposited(1))) == Deposited(1)


def test_a_class_that_can_be_changed_is_refused() -> None:
    @tagged("a@1")
    @attrs.define
    class Defined:
        amount: int

    @tagged("b@1")
    class Changing(msgspec.Struct):
        amount: int

    @tagged("c@1")
    @dataclass
    class Data:
        amount: int

    @tagged("d@1")
    @attrs.define
    class Empty: ...

    @tagged("e@1")
    @attrs.define
    class Open:
        amount: int

        def __setattr__(self, name: str, value: object) -> None:
            object.__setattr__(self, name, value)

    for cls in (Defined, Changing, Data, Empty, Open):
        assert f"{cls.__name__} can be changed" in refusal(cls)


def test_a_frozen_class_without_fields_is_stored() -> None:
    @tagged("opened@1")
    @attrs.frozen
    class Opened: ...

    codec = Codec(Opened, where="Account")
    assert codec.decode(codec.encode(Opened())) == Opened()


def test_fields_that_would_be_lost_are_refused() -> None:
    """msgspec leaves private fields out and runs no converters, without a word."""

    @tagged("private@1")
    @attrs.frozen
    class Private:
        _amount: int = 0

    @tagged("converted@1")
    @attrs.frozen
    class Converted:
        names: tuple[str, ...] = attrs.field(converter=tuple)

    @tagged("derived@1")
    @attrs.frozen
    class Derived:
        amount: int
        twice: int = attrs.field(init=False, default=0)

    @tagged("selfish@1")
    @attrs.frozen
    class Selfish:
        amount: int
        twice: int = attrs.field(
            default=attrs.Factory(lambda self: self.amount * 2, takes_self=True)
        )

    untyped = tagged("a@1")(attrs.make_class("Untyped", ["amount"], frozen=True))

    assert msgspec.msgpack.encode(Private(3)) == b"\x80"
    assert "Private._amount cannot be stored: private fields" in refusal(Private)
    assert "Converted.names cannot be stored: its converter" in refusal(Converted)
    assert "Derived.twice cannot be stored: it is no argument" in refusal(Derived)
    assert "Selfish.twice cannot be stored: its default takes self" in refusal(Selfish)
    assert "Untyped.amount cannot be stored: it has no type" in refusal(
        tagged("untyped@1")(untyped)
    )


def test_the_same_holds_for_the_classes_in_fields() -> None:
    @attrs.frozen
    class Private:
        _amount: int = 0

    @attrs.frozen
    class Selfish:
        amount: int = attrs.field(
            default=attrs.Factory(lambda self: 2, takes_self=True)
        )

    for kind in (Private, tuple[Private, ...], dict[str, Private | None]):
        assert "Private._amount cannot be stored: private" in refusal(event_of(kind))
    for other in (Selfish, tuple[Selfish, ...], dict[str, Selfish | None]):
        text = refusal(event_of(other))
        assert "Selfish.amount cannot be stored: its default takes self" in text


def test_the_keys_of_a_dict_may_not_hold_sets() -> None:
    """Their bytes would differ from one process to the next."""
    for keys in (frozenset[int], tuple[str, frozenset[int]]):
        text = refusal(event_of(DICT[keys, int]))
        assert "Noted.it cannot be stored: the keys of a dict may not hold sets" in text


def test_the_keys_of_a_dict_have_no_room_for_more_than_their_fields() -> None:
    @attrs.frozen(slots=False)
    class Key:
        number: int

    text = refusal(event_of(DICT[Key, int]))
    assert "Noted.it cannot be stored: the keys of a dict may not hold" in text
    assert "with room for more than their fields (slots=False" in text


@tagged("branch@1")
@attrs.frozen
class Branch:
    below: "tuple[Branch, ...]"
    name: str
    either: "Deposited | Withdrawn"


@tagged("loop@1")
@attrs.frozen
class Loop:
    either: "Loop | Deposited | None"


def test_the_field_is_named_in_a_class_that_has_itself_as_a_field() -> None:
    assert "Branch.either cannot be stored: " in refusal(Branch)
    assert "Loop cannot be stored: Type unions may not contain more" in refusal(Loop)


def test_structs_whose_bytes_change_their_meaning_are_refused() -> None:
    """A default that is left out is read as the default of a later program."""

    @tagged("short@1")
    class Short(msgspec.Struct, frozen=True, omit_defaults=True):
        amount: int = 0

    @tagged("listed@1")
    class Listed(msgspec.Struct, frozen=True, array_like=True):
        amount: int = 0

    assert "omit_defaults" in refusal(Short)
    assert "array_like" in refusal(Listed)
    assert "array_like" in refusal(event_of(list[Listed]))


@pytest.mark.parametrize(
    "kind",
    [Any, object, list, dict[str, Any], tuple[object, ...], VARIABLE, frozenset],
)
def test_a_type_that_says_nothing_is_refused(kind: Any) -> None:
    text = refusal(event_of(kind))
    assert "Noted.it cannot be stored: its type does not say what it is" in text


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (complex, "complex"),
        (Path, "Path"),
        (deque[int], "deque"),
        (Counter[str], "Counter"),
        (Iterable[int], "Iterable"),
        (Callable[[], int], "Callable"),
        (Exception, "Exception"),
        (memoryview, "MemoryView"),
        (msgspec.Raw, "Raw"),
        (msgspec.msgpack.Ext, "Ext"),
    ],
)
def test_a_type_that_cannot_be_written_is_refused(kind: Any, name: str) -> None:
    text = refusal(event_of(kind))
    assert f"Noted.it cannot be stored: {name}" in text
    assert "is not among the types that can be written" in text


class Float(Enum):
    HALF = 0.5


@pytest.mark.parametrize(
    "kind",
    [
        Deposited | Withdrawn,
        str | bytes,
        str | datetime,
        str | Color,
        int | Level,
        tuple[int, ...] | list[int],
        dict[str, int] | Line,
        tuple[Line | Point | Deposited, ...],
        Float,
    ],
)
def test_a_union_that_does_not_say_which_is_refused(kind: Any) -> None:
    text = refusal(event_of(kind))
    assert "Noted.it cannot be stored: " in text
    assert ("tag=True" in text) == (kind is not Float)


def test_a_class_whose_annotations_cannot_be_read_is_refused() -> None:
    @tagged("unread@1")
    @attrs.frozen
    class Unread:
        it: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    text = refusal(Unread)
    assert "Unread cannot be stored: its annotations cannot be read" in text
    assert "Nowhere" in text


def test_without_msgspec_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = find_spec("trio_actors.persistence._registered")
    assert spec is not None
    assert spec.loader is not None
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(ImportError) as caught:
        spec.loader.exec_module(module_from_spec(spec))
    assert "pip install 'trio_actors[persistence]'" in str(caught.value)
