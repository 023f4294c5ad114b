"""Values come back as what they were, or are not stored."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, ClassVar, Generic, Literal
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from tests.persistence.events import (
    ACCOUNT,
    DICT,
    LIST,
    SET,
    TUPLE,
    Address,
    Color,
    Deposited,
    Euro,
    Level,
    Line,
    Minus,
    Moved,
    Ordered,
    Plus,
    Point,
    Right,
    T,
    Word,
    codec_of,
    lost,
    refusal,
    unreadable,
    written,
)
from trio_actors import tagged
from trio_actors.persistence._codec import Codec
from trio_actors.persistence._forms import difference


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


@settings(deadline=None)  # a class is made and looked through for each
@given(typed())
def test_every_value_of_a_declared_type_comes_back(pair: tuple[Any, Any]) -> None:
    """For each type that is accepted: the same value, of the same classes."""
    kind, value = pair
    assert difference(value, codec_of(kind)(value)) is None


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
BERLIN = timezone(timedelta(hours=1))


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
        (datetime, datetime(2020, 1, 1, tzinfo=timezone(timedelta(0), "Z"))),
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
        (dict[Line, int], {Line("a", 1): 2}),
        (Annotated[dict[str, int], msgspec.Meta(description="by name")], {"a": 1}),
        (dict[float, int], {float("nan"): 1}),
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


def test_nothing_but_fields_is_written() -> None:
    """msgspec writes the cached properties of an attrs class as well."""

    @tagged("cached@1")
    @attrs.frozen
    class Cached:
        amount: int

        @cached_property
        def twice(self) -> int:
            return self.amount * 2

    @tagged("open@1")
    @attrs.frozen(slots=False)
    class Open:
        amount: int
        plus: Plus = Plus(1)
        moved: Moved = Moved("ada")

        @cached_property
        def twice(self) -> object:
            return object()

    codec = Codec(Cached, Open, where="Account")
    for event in (Cached(2), Open(2)):
        before = codec.encode(event)
        assert event.twice
        assert codec.encode(event) == before
        assert codec.decode(before) == event


def test_a_set_has_the_same_bytes_in_every_process() -> None:
    program = (
        "from tests.persistence.test_forms import Codec, Members\n"
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
