"""What is stored comes back as what it was, or is refused: the serializer.

Rules: section 4 of the plan of distribution (closed registry, tags, upcasts), and the
twelve defects (never a wrong value).
"""

import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    TypedDict,
    TypeVar,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_actors import tagged
from trio_actors.persistence._codec import Codec
from trio_actors.persistence._errors import Unreadable
from trio_actors.persistence._forms import difference

T = TypeVar("T")
Euro = NewType("Euro", int)


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
    assert "Nothing was written" in text
    return text.split("stored: ")[1]


def unreadable(codec: Codec, body: bytes) -> str:
    """Return why bytes cannot be read."""
    with pytest.raises(Unreadable) as caught:
        codec.decode(body)
    return str(caught.value)


def written(name: object, version: object, fields: object) -> bytes:
    """Write what another program could have written."""
    return msgspec.msgpack.encode([name, version, fields])


# --- There and back ---------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        Deposited(3, "rent"),
        Withdrawn(3, 1),
        Moved("ada", 2),
        Closed("done"),
        Ordered((Line("a", 1), Line("b", 2))),
        Ordered(()),
    ],
)
def test_an_event_comes_back_as_what_it_was(event: Any) -> None:
    body = ACCOUNT.encode(event)
    again = ACCOUNT.decode(body)
    assert (type(again), again) == (type(event), event)
    assert ACCOUNT.copy(event, body) == event


def test_what_is_stored_has_its_tag_and_the_names_of_its_fields() -> None:
    """The tag is the name outside of this process: no Python path is stored."""
    body = ACCOUNT.encode(Deposited(3, "rent"))
    stored = msgspec.msgpack.decode(body)
    assert stored == ["deposited", 1, {"amount": 3, "memo": "rent"}]
    body = ACCOUNT.encode(Ordered((Line("a", 1),)))
    stored = msgspec.msgpack.decode(body)
    assert stored == ["ordered", 1, {"lines": [{"sku": "a", "qty": 1}]}]


def test_what_is_folded_is_what_was_read() -> None:
    """A handler that changes the event after persist() changes nothing (defect l)."""

    @tagged("tagged@1")
    @attrs.frozen
    class Tagged:
        names: list[str]

    codec = Codec(Tagged, where="Account")
    event = Tagged(["a"])
    body, back = codec.stored(event)
    event.names.append("b")
    assert back == codec.decode(body) == codec.copy(event, body) == Tagged(["a"])


def unfolded(moment: Any) -> Any:
    """Return it without its fold, which cannot be stored."""
    return moment.replace(fold=0)


LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**63), 2**64 - 1)),
    (str, st.text()),
    (bytes, st.binary()),
    (bool, st.booleans()),
    (float, st.floats()),
    (Decimal, st.decimals(allow_nan=True)),
    (datetime, (st.datetimes() | st.datetimes(timezones=st.just(UTC))).map(unfolded)),
    (date, st.dates()),
    (time, st.times().map(unfolded)),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Euro, st.integers(0, 100)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (int | None, st.none() | st.integers(0, 9)),
    (int | str, st.text() | st.integers(0, 9)),
    (int | float, st.integers(-99, 99) | st.floats()),
    (Plus | Minus, st.builds(Plus, st.integers(0, 9)) | st.builds(Minus, st.just(1))),
    (Point, st.builds(Point, st.integers(0, 9), st.integers(0, 9))),
    (Line, st.builds(Line, st.text(), st.integers(0, 9))),
]
HASHABLE = [pair for pair in LEAVES if pair[0] not in (float, int | float, Decimal)]


# For the checkers: what stands in the brackets is a value.
TUPLE: Any = tuple
LIST: Any = list
DICT: Any = dict
SET: Any = frozenset
VARIABLE: Any = T


@st.composite
def typed(
    draw: st.DrawFn, depth: int = 2, *, hashable: bool = False
) -> tuple[Any, Any]:
    """Draw a type and a value of it."""
    shape = draw(st.sampled_from(("leaf", "tuple", "pair", "list", "dict", "set")))
    if depth == 0 or shape == "leaf" or (hashable and shape in ("list", "dict")):
        kind, values = draw(st.sampled_from(HASHABLE if hashable else LEAVES))
        return kind, draw(values)
    inner = typed(depth - 1, hashable=hashable or shape == "set")
    kind, value = draw(inner)
    if shape == "tuple":
        return TUPLE[kind, ...], (value,) * draw(st.integers(0, 3))
    if shape == "pair":
        other, second = draw(inner)
        return TUPLE[kind, other], (value, second)
    if shape == "list":
        return LIST[kind], [value] * draw(st.integers(0, 3))
    if shape == "dict":
        keys = draw(st.lists(st.text(), unique=True, max_size=3))
        return DICT[str, kind], dict.fromkeys(keys, value)
    return SET[kind], frozenset({value})


@given(typed())
def test_every_value_of_a_declared_type_comes_back(pair: tuple[Any, Any]) -> None:
    """For each type that is accepted: the same value, of the same classes."""
    kind, value = pair
    assert difference(value, codec_of(kind)(value)) is None


@given(st.binary() | st.lists(st.integers(0, 9)).map(msgspec.msgpack.encode))
def test_bytes_that_nobody_wrote_are_never_a_value(body: bytes) -> None:
    unreadable(ACCOUNT, body)


@given(st.data())
def test_bytes_that_were_cut_or_changed_are_an_error_or_another_value(
    data: st.DataObject,
) -> None:
    """Never another exception: what fits by chance, the row's check number finds."""
    body = ACCOUNT.encode(Ordered((Line("a", 1), Line("b", 2))))
    place = data.draw(st.integers(0, len(body) - 1))
    unreadable(ACCOUNT, body[:place])
    changed = bytes([*body[:place], data.draw(st.integers(0, 255)), *body[place + 1 :]])
    with suppress(Unreadable):
        assert isinstance(ACCOUNT.decode(changed), Ordered)


# --- What is refused when it is registered -------------------------------------


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
    assert "Untyped.amount cannot be stored: it" in refusal(
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
    text = refusal(event_of(Selfish))
    assert "Selfish.amount" in text or "Selfish cannot be stored" in text
    assert "property" in text


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


# --- What is refused when it is written ----------------------------------------


def test_an_event_that_is_not_registered_is_refused() -> None:
    """S3, bad input: an unregistered event; a subclass counts for itself."""

    @attrs.frozen
    class Inherits(Deposited):
        more: int = 0

    for event in (Line("a", 1), Inherits(1), "text"):
        with pytest.raises(TypeError) as caught:
            ACCOUNT.encode(event)
        text = str(caught.value)
        assert f"Account: {type(event).__name__} is not among" in text
        assert "(Deposited, Withdrawn, Moved, Closed, Ordered)" in text
        assert "@tagged" in text
    with pytest.raises(TypeError, match="(nothing)"):
        Codec(where="Account").encode(Deposited(1))


def test_a_value_that_does_not_fit_its_field_is_not_stored() -> None:
    """msgspec would write it, and fail when the actor recovers."""
    wrong: Any = "dozen"
    assert msgspec.msgpack.encode(Deposited(wrong))
    with pytest.raises(TypeError) as caught:
        ACCOUNT.encode(Deposited(wrong))
    text = str(caught.value)
    assert "this Deposited cannot be stored: Expected `int`, got `str`" in text
    assert "`$.amount`" in text
    assert "dozen" not in text
    with pytest.raises(TypeError, match=r"\$\.lines\[1\]\.qty"):
        ACCOUNT.encode(Ordered((Line("a", 1), Line("b", wrong))))


NAIVE = datetime.fromisoformat("2020-10-25T02:30")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (int, True, "Expected `int`, got `bool`"),
        (int, 2**64, "OverflowError"),
        (int, Level.LOW, "Level would come back as int - at `$.it`"),
        (str, Word.YES, "Word would come back as str"),
        (str, "\ud800", "UnicodeEncodeError"),
        (float, 2**60 + 1, "int would come back as float"),
        (bytes, bytearray(b"a"), "bytearray would come back as bytes"),
        (tuple[int, ...], [1], "list would come back as tuple"),
        (tuple[int, ...], Point(1), "Point would come back as tuple"),
        (list[int], (1,), "tuple would come back as list"),
        (Sequence[int], (1,), "tuple would come back as list"),
        (frozenset[int], {1}, "set would come back as frozenset"),
        (dict[str, int], Counter("a"), "Counter would come back as dict"),
        (dict[str, str], {Word.YES: ""}, "a key: Word would come back as str"),
        (dict[str, list[float]], {"a": [2**60 + 1]}, "at `$.it[...][0]`"),
        (frozenset[str], frozenset({Word.YES}), "Word would come back as str"),
        (frozenset[float], frozenset({float("nan")}), "another value"),
        (Address, {"city": "Rome", "zip": "1"}, "another value"),
        (tuple[Line, ...], (Deposited(1),), "missing required field"),
        (Decimal, 5, "int would come back as Decimal"),
        (date, NAIVE, "Invalid RFC3339"),
        (datetime, datetime(2020, 1, 1, tzinfo=BERLIN), "astimezone(timezone.utc)"),
        (datetime, NAIVE.replace(fold=1), "its fold"),
        (Annotated[int, msgspec.Meta(gt=0)], 0, "Expected `int` >= 1"),
        (Literal["a"], "b", "Invalid enum value"),
        (int, object(), "Encoding objects of type object is unsupported"),
    ],
)
def test_a_value_that_would_come_back_as_another_is_not_stored(
    kind: Any, value: Any, text: str
) -> None:
    assert text in lost(kind, value)


def test_values_whose_class_is_a_subclass_are_not_stored() -> None:
    """They would lose their own fields."""

    @attrs.frozen
    class Priced(Line):
        price: int = 0

    assert "Priced would come back as Line" in lost(Line, Priced("a", 1))


def test_a_value_in_a_circle_is_not_stored() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert "RecursionError" in lost(list[list[int]], circle)


def test_a_class_that_changes_what_it_reads_is_not_stored() -> None:
    """Its ``__attrs_post_init__`` would run again with each replay."""

    @tagged("counted@1")
    @attrs.frozen
    class Counted:
        n: int

        def __attrs_post_init__(self) -> None:
            object.__setattr__(self, "n", self.n + 1)

    codec = Codec(Counted, where="Account")
    with pytest.raises(TypeError, match="another value"):
        codec.encode(Counted(1))


# --- What msgspec keeps -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (datetime, datetime(2020, 1, 1, tzinfo=UTC)),
        (datetime, datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC"))),
        (time, time(1, 2, tzinfo=timezone(timedelta(hours=2)))),
        (float, float("nan")),
        (float, -0.0),
        (float, 3),
        (Decimal, Decimal("1.10")),
        (Decimal, Decimal("NaN")),
        (Decimal, Decimal("sNaN")),
        (int, 2**64 - 1),
        (Right, Right.READ | Right.WRITE),
        (dict[int, str], {1: "a"}),
        (dict[tuple[int, int], str], {(1, 2): "a"}),
        (dict[Word, int], {Word.YES: 1}),
        (dict[date, int], {date(2020, 1, 1): 1}),
        (Mapping[str, int], {"b": 1, "a": 2}),
        (Address, {"city": "Rome"}),
        (Plus | Minus, Minus(2)),
        (bytearray, bytearray(b"a")),
        (set[int], {1, 2}),
        (tuple[()], ()),
        (int | msgspec.UnsetType, 5),
        (None, None),
    ],
)
def test_what_is_kept(kind: Any, value: Any) -> None:
    assert difference(value, codec_of(kind)(value)) is None


def test_other_names_keywords_defaults_and_inherited_fields_are_kept() -> None:
    @attrs.frozen
    class Base:
        first: int

    @tagged("rich@1")
    @attrs.frozen(kw_only=True)
    class Rich(Base):
        CONSTANT: ClassVar[int] = 5
        second: int = attrs.field(alias="other")
        third: tuple[int, ...] = attrs.Factory(tuple)

    @tagged("renamed@1")
    class Renamed(msgspec.Struct, frozen=True, rename="camel", tag="renamed"):
        _hidden: int
        long_name: frozenset[str] = frozenset()
        unset: int | msgspec.UnsetType = msgspec.UNSET

    codec = Codec(Rich, Renamed, where="Account")
    for event in (
        Rich(first=1, other=2, third=(3,)),
        Rich(first=1, other=2),
        Renamed(3, frozenset("abc")),
        Renamed(3, frozenset("abc"), 4),
    ):
        assert codec.decode(codec.encode(event)) == event


def test_generic_classes_are_stored_with_what_stands_in_their_brackets() -> None:
    @tagged("boxed@1")
    @attrs.frozen
    class Boxed(Generic[T]):
        it: T

    codec = Codec(Boxed[int], where="Account")
    assert codec.decode(codec.encode(Boxed(1))) == Boxed(1)
    with pytest.raises(TypeError, match=r"this Boxed\[int\] cannot be stored"):
        codec.encode(Boxed("text"))
    assert "does not say what it is" in refusal(Boxed)


@tagged("tree@1")
@attrs.frozen
class Tree:
    name: str
    below: "tuple[Tree, ...]" = ()


def test_a_class_may_have_itself_as_a_field() -> None:
    tree = Tree("a", (Tree("b", (Tree("c"),)), Tree("d")))
    codec = Codec(Tree, where="Account")
    assert codec.decode(codec.encode(tree)) == tree


def test_classes_without_equality_are_compared_by_their_fields() -> None:
    @tagged("blank@1")
    @attrs.frozen(eq=False)
    class Blank:
        amount: int

    codec = Codec(Blank, where="Account")
    assert codec.decode(codec.encode(Blank(3))).amount == 3


def test_validators_run_when_it_is_read() -> None:
    @tagged("positive@1")
    @attrs.frozen
    class Positive:
        amount: int = attrs.field(validator=attrs.validators.gt(0))

    codec = Codec(Positive, where="Account")
    text = unreadable(codec, written("positive", 1, {"amount": 0}))
    assert "it does not fit Positive: 'amount' must be > 0: 0" in text


@tagged("listed@1")
@attrs.frozen
class Members:
    rooms: dict[str, frozenset[str]]
    pairs: tuple[Point, ...] = ()
    lines: frozenset[Line] = frozenset()


def test_sets_are_sorted_and_dicts_keep_their_order() -> None:
    """The same bytes in every process; a dict's order is part of what it is."""
    codec = Codec(Members, where="Account")
    names = frozenset("abcdefgh")
    lines = frozenset({Line("b", 1), Line("a", 2)})
    event = Members({"z": names, "a": frozenset()}, (Point(1),), lines)
    body = codec.encode(event)
    again = codec.decode(body)
    assert again == event
    assert list(again.rooms) == ["z", "a"]
    assert msgspec.msgpack.decode(body)[2] == {
        "rooms": {"z": sorted(names), "a": []},
        "pairs": [[1, 0]],
        "lines": [{"sku": "a", "qty": 2}, {"sku": "b", "qty": 1}],
    }


def test_a_set_has_the_same_bytes_in_every_process() -> None:
    program = (
        "from tests.persistence.test_codec import *\n"
        "event = Members({'a': frozenset(map(str, range(50)))})\n"
        "print(Codec(Members, where='Account').encode(event).hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


# --- What was written by another program ---------------------------------------


def test_an_older_event_is_made_into_the_next_version() -> None:
    """S3: journals written by earlier versions still recover."""
    body = written("withdrawn", 1, {"sum": 5})
    assert ACCOUNT.decode(body) == Withdrawn(5, 0)


def test_fields_may_come_and_go_without_a_new_version() -> None:
    """With a default where they are new; what is not known any more is left out."""
    body = written("deposited", 1, {"amount": 5, "gone": True})
    assert ACCOUNT.decode(body) == Deposited(5)


def test_each_version_that_has_a_class_is_read_as_that_class() -> None:
    @tagged("withdrawn@3", upcast=lambda old: {**old, "at": "here"})
    @attrs.frozen
    class Located:
        amount: int
        fee: int
        at: str

    codec = Codec(Located, Withdrawn, where="Account")
    assert codec.decode(written("withdrawn", 1, {"sum": 5})) == Withdrawn(5, 0)
    fields = {"amount": 5, "fee": 1}
    assert codec.decode(written("withdrawn", 2, fields)) == Withdrawn(5, 1)
    codec = Codec(Located, where="Account")
    assert codec.decode(written("withdrawn", 2, fields)) == Located(5, 1, "here")


def test_a_name_that_nobody_has_is_unreadable() -> None:
    text = unreadable(ACCOUNT, written("opened", 1, {}))
    assert text.startswith("Account: opened@1 cannot be read: no class has this name")
    assert "deposited@1, withdrawn@2, moved@1, closed@3, ordered@1" in text


def test_a_newer_version_is_unreadable() -> None:
    """S3, bad input: an unknown version."""
    text = unreadable(ACCOUNT, written("deposited", 2, {"amount": 1}))
    assert "deposited@2 cannot be read: a newer program wrote it" in text
    assert "this one knows deposited@1" in text


def test_a_version_that_no_upcast_reaches_is_unreadable() -> None:
    for version in (1, 2):  # closed@3 has no upcast
        text = unreadable(ACCOUNT, written("closed", version, {"reason": ""}))
        assert f"closed@{version} cannot be read: it is too old" in text
        assert f'@tagged("closed@{version + 1}", upcast=...)' in text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not a stored value: Input data was truncated"),
        (written("deposited", "1", {}), "Expected `int`, got `str`"),
        (written("deposited", 1, [5]), "Expected `object`, got `array`"),
        (written("deposited", 1, {}), "missing required field `amount`"),
        (written("deposited", 1, {"amount": "5"}), "got `str` - at `$.amount`"),
        (written("deposited", 1, {"amount": 5}) + b"!", "trailing characters"),
        (
            written("ordered", 1, {"lines": [{"sku": "a", "qty": "1"}]}),
            "does not fit Ordered: Expected `int`, got `str` - at `$.lines[0].qty`",
        ),
    ],
)
def test_wrong_bytes_are_unreadable_with_the_place(body: bytes, text: str) -> None:
    assert text in unreadable(ACCOUNT, body)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "KeyError('sum')"),
        ([1], "list indices"),
        ({"sum": "5"}, "got `str` - at `$.amount`"),
    ],
)
def test_an_upcast_that_fails_is_named(fields: Any, text: str) -> None:
    found = unreadable(ACCOUNT, written("withdrawn", 1, fields))
    assert "withdrawn@1 cannot be read: the upcast of Withdrawn failed" in found
    assert text in found


def test_an_upcast_that_makes_no_dict_is_named() -> None:
    def nothing(old: Any) -> Any:
        return None

    @tagged("noted@2", upcast=nothing)
    @attrs.frozen
    class Noted: ...

    text = unreadable(Codec(Noted, where="Account"), written("noted", 1, {}))
    assert "it returned NoneType, not a dict" in text


# --- States ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 3),
        (str, "a"),
        (tuple[str, ...], ("a", "b")),
        (dict[str, str], {"b": "1", "a": "2"}),
        (dict[str, frozenset[int]], {"a": frozenset({3, 1})}),
        (int | None, None),
        (tuple[Line, ...], (Line("a", 1),)),
        (Deposited, Deposited(3)),
        (Deposited | Withdrawn, Withdrawn(3, 1)),
        (Deposited | None, None),
        (Deposited | None, Deposited(3)),
    ],
)
def test_a_state_may_be_a_class_with_a_tag_or_a_builtin_type(
    kind: Any, value: Any
) -> None:
    codec = Codec(state=kind, where="Account")
    again = codec.decode(codec.encode(value))
    assert difference(value, again) is None


def test_a_state_that_cannot_be_stored_is_refused() -> None:
    """S3, bad input: a state that cannot be serialized."""
    assert '@tagged("line@1")' in refusal(state=Line)
    assert "dict[str, object] cannot be stored" in refusal(state=dict[str, object])
    codec = Codec(Moved, state=int, where="Account")
    text = "this int cannot be stored: Expected `int`, got `str`"
    with pytest.raises(TypeError, match=text):
        codec.encode("text")
    with pytest.raises(TypeError, match="Line is not among"):
        codec.encode(Line("a", 1))


def test_a_state_of_another_type_is_unreadable() -> None:
    """As a snapshot it is left out then, and the events are read instead."""
    body = Codec(state=int, where="Account").encode(3)
    codec = Codec(state=str, where="Account")
    assert "this state cannot be read: it does not fit str" in unreadable(codec, body)
