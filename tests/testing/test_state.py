"""Pictures of state: what is in them, what is not, and how a change is told."""

import array
import copy
import datetime as dt
import enum
import functools
import io
import itertools
import logging
import math
import random
import threading
import types
import uuid
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, cast

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st

from tests.kit import Counter as CounterActor, Worker
from trio_actors.testing import World
from trio_actors.testing._changes import difference
from trio_actors.testing._state import duplicate, freeze


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Bag:
    """A plain object."""

    def __init__(self, **fields: object) -> None:
        vars(self).update(fields)

    def method(self) -> None: ...


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left: object) -> None:
        self.left = left


class Both(Slotted):
    """Slots, and a dict."""

    def __init__(self, left: object, other: object) -> None:
        super().__init__(left)
        self.other = other


@attrs.frozen
class Point:
    x: int
    y: int = 0


class Hostile:
    """Nobody may ask it anything."""

    def __init__(self, value: int) -> None:
        self.value = value

    def _refuse(self, *_: object) -> Any:
        raise AssertionError("this is the user's")

    __eq__ = __hash__ = __repr__ = __str__ = __iter__ = __len__ = __bool__ = _refuse
    __getattr__ = __reduce_ex__ = __getstate__ = _refuse

    @property
    def prop(self) -> int:
        self._refuse()
        return 0


class HostileList(list[int]):
    def __iter__(self) -> Any:
        raise AssertionError("this is the user's")

    def __len__(self) -> int:
        raise AssertionError("this is the user's")


class Tagged(list[int]):
    tag = ""


class Named(dict[str, int]):
    pass


class Buffer(io.BufferedReader):
    """Holds more than Python shows."""


# --- What is the same, and what is not ----------------------------------------

TWINS: list[Callable[[], object]] = [
    lambda: None,
    lambda: "text" * 3,
    lambda: 3.5,
    lambda: math.nan,
    lambda: Color.RED,
    lambda: [1, [2], (3, "4")],
    lambda: {"a": [1], ("b",): {2}},
    lambda: {1, "two", (3.0,), frozenset({4})},
    lambda: deque([1, 2], maxlen=3),
    lambda: OrderedDict[str, int](a=1),
    lambda: defaultdict(list, a=[1]),
    lambda: Counter("abca"),
    lambda: UserDict({"a": 1}),
    lambda: Bag(a=1, b=Point(2)),
    lambda: Slotted(1),
    lambda: Both(1, 2),
    lambda: Hostile(1),
    lambda: HostileList([1, 2]),
    lambda: Named(a=1),
    lambda: types.SimpleNamespace(a=1),
    lambda: ValueError("x", 1),
    lambda: dt.datetime(2026, 11, 21, tzinfo=dt.UTC),
    lambda: dt.timedelta(1.5),
    lambda: Decimal("1.50"),
    lambda: Fraction(1, 2),
    lambda: uuid.UUID(int=7),
    lambda: PurePosixPath("a/b"),
    lambda: array.array("i", [1, 2]),
    lambda: bytearray(b"ab"),
    lambda: range(3),
    lambda: random.Random(7),
    lambda: itertools.count(3),
    lambda: functools.partial(math.hypot, 3),
    lambda: iter([1, 2]),
    lambda: enumerate((1, 2)),
    lambda: zip("ab", range(2), strict=True),
    lambda: map(str, reversed([1, 2])),
    lambda: io.StringIO("text"),
    lambda: io.BytesIO(b"text"),
]


@pytest.mark.parametrize("make", TWINS)
def test_what_is_made_alike_looks_alike(make: Callable[[], object]) -> None:
    one, other = freeze(make()), freeze(make())
    assert one == other
    assert hash(one) == hash(other)
    assert difference(one, other) == ""


UNLIKE: list[object] = [
    *(1, True, 1.0, 0.0, -0.0, "1", b"1", None, [1], (1,), {1}, frozenset({1}), [[1]]),
    *({1: 2}, {2: 1}, {1: 2, 2: 1}, {2: 1, 1: 2}, OrderedDict({1: 2}), Color.BLUE),
    *(Point(1, 2), Point(2, 1), Slotted(2), Both(1, 3), Bag(), Bag(a=1), object()),
    *(
        Named(a=2),
        HostileList([1]),
        range(4),
        Decimal("1.5"),
        ValueError("x"),
        object(),
    ),
    *(deque([1, 2]), dt.timedelta(2), random.Random(8), itertools.count(4)),
    *(dt.datetime(2026, 11, 22, tzinfo=dt.UTC), functools.partial(print, 3)),
]


def test_nothing_looks_like_another_thing() -> None:
    """1 is neither True nor 1.0, and a list is no tuple."""
    things = [make() for make in TWINS[1:]] + UNLIKE
    pictures = [freeze(thing) for thing in things]
    alike = [
        (one, other)
        for number, one in enumerate(pictures)
        for other in pictures[:number]
        if one == other
    ]
    assert alike == []


# --- By who it is -------------------------------------------------------------

NUMBERS = itertools.count()
NO_DATA: list[Callable[[], object]] = [
    object,
    threading.Lock,
    trio.Event,
    lambda: trio.open_memory_channel[int](0)[0],
    lambda: lambda: None,
    lambda: (number for number in [1]),
    lambda: type("Local", (), {}),
    lambda: Buffer(cast("Any", io.BytesIO(b"1"))),
    lambda: logging.getLogger(f"{__name__}.{next(NUMBERS)}"),
]


@pytest.mark.parametrize("make", NO_DATA)
def test_what_is_no_data_is_known_by_who_it_is(make: Callable[[], object]) -> None:
    one, other = make(), make()
    assert freeze([one]) == freeze([one])
    assert freeze([one]) != freeze([other])


def test_a_logger_that_fills_its_cache_has_not_changed() -> None:
    logger = logging.getLogger(__name__)
    before = freeze(Bag(log=logger))
    logger.debug("nobody hears it")
    assert freeze(Bag(log=logger)) == before


def moved(iterator: Iterator[object]) -> Iterator[object]:
    next(iterator)
    return iterator


@pytest.mark.parametrize("make", TWINS[-6:-2])
def test_how_far_an_iterator_has_come_is_seen(make: Callable[[], Any]) -> None:
    iterator = make()
    before = freeze(iterator)
    assert before == freeze(iterator)  # nobody has taken a step
    assert freeze(moved(iterator)) != before
    assert list(duplicate(iterator)) == list(iterator)  # the copy goes on by itself


def test_what_is_in_a_file_in_memory_is_seen() -> None:
    for file, text in ((io.StringIO(), "x"), (io.BytesIO(), b"x")):
        before = freeze(file)
        write: Any = file.write
        write(text)
        after = freeze(file)
        file.seek(0)
        assert len({before, after, freeze(file)}) == 3
        file.close()
        assert freeze(file) not in {before, after}


async def test_of_a_lock_it_is_seen_whether_it_is_locked() -> None:
    lock, thread_lock = trio.Lock(), threading.Lock()
    event, semaphore, limiter = trio.Event(), trio.Semaphore(1), trio.CapacityLimiter(1)
    things: list[Any] = [lock, thread_lock, event, semaphore, limiter]
    before = [freeze(one) for one in things]
    lock.acquire_nowait()
    assert thread_lock.acquire(blocking=False)
    event.set()
    semaphore.acquire_nowait()
    limiter.acquire_nowait()
    for one, picture in zip(things, before, strict=True):
        assert freeze(one) != picture
        assert duplicate([one])[0] is one


def test_a_bound_method_is_its_function_and_its_object() -> None:
    bag, other = Bag(a=1), Bag(a=2)
    assert freeze(bag.method) == freeze(Bag(a=1).method)
    assert freeze(bag.method) != freeze(other.method)


async def test_a_ref_is_its_path(world: World) -> None:
    one = await world.spawn(Worker, name="one")
    two = await world.spawn(Worker, name="two")
    before, after = freeze(Bag(to=one)), freeze(Bag(to=two))
    assert before == freeze(Bag(to=one))
    assert difference(before, after) == "self.to: /one -> /two"


async def test_the_state_of_an_actor_is_without_what_is_the_librarys(
    world: World,
) -> None:
    made: list[CounterActor] = []

    def make() -> CounterActor:
        made.append(CounterActor(5))
        return made[0]

    await world.spawn(make)
    assert made[0]._actor_cell is not None
    assert freeze(made[0]) == freeze(CounterActor(5))


# --- Who is shared with whom ---------------------------------------------------


def test_a_cycle_has_an_end() -> None:
    def ring(value: int) -> Bag:
        one, other = Bag(value=value), Bag()
        vars(one)["next"], vars(other)["next"] = [other], {"x": one}
        return one

    assert freeze(ring(1)) == freeze(ring(1))
    assert freeze(ring(1)) != freeze(ring(2))


def test_it_matters_whether_two_are_one() -> None:
    """An append to the first would be one to the second, too."""
    inner: list[int] = []
    shared, apart = freeze([inner, inner]), freeze([inner, list[int]()])
    assert shared != apart
    assert difference(shared, apart) == "self[1]: (as above) -> []"


def test_it_matters_which_two_are_one() -> None:
    one, other = [1], [1]
    before, after = freeze([one, other, one]), freeze([one, other, other])
    assert before != after
    assert "what is the same object as what" in difference(before, after)


def test_a_member_of_a_set_is_looked_at_whatever_the_order() -> None:
    bags = [Bag(number=number) for number in range(20)]
    before = freeze({"bags": set(bags)})
    assert before == freeze({"bags": {*bags[10:], *bags[:10]}})
    vars(bags[3])["number"] = 100
    assert before != freeze({"bags": set(bags)})


class Crowded:
    """All lie in one place of a set: they come in the order in which they went in."""

    def __init__(self, value: int) -> None:
        inner = [value]
        self.pair = (inner, inner)

    def __hash__(self) -> int:
        return 0


def test_the_order_in_which_a_set_was_filled_is_no_state() -> None:
    one, other = Crowded(1), Crowded(2)
    assert list({one, other}) != list({other, one})
    assert freeze({one, other}) == freeze({other, one})


def test_the_order_in_which_attributes_were_set_is_no_state() -> None:
    assert freeze(Bag(a=1, b=2)) == freeze(Bag(b=2, a=1))


def test_a_chain_may_be_deeper_than_the_stack() -> None:
    def chain(end: int) -> object:
        found: object = end
        for _ in range(100_000):
            found = [found]
        return found

    one, other = chain(1), chain(2)
    before, after = freeze(one), freeze(other)
    assert before != after
    assert hash(before) == hash(freeze(one))
    assert (
        difference(before, after) == "self" + "[0]" * 20 + ": [[[...]]] -> another one"
    )
    for chained in (one, other):  # CPython takes it apart without recursion, too
        assert isinstance(chained, list)


# --- Copies ---------------------------------------------------------------------


async def test_a_copy_shares_what_is_no_data_and_nothing_else(world: World) -> None:
    """The deep copy of a ref would be one of the whole system; that of a lock fails."""
    ref = await world.spawn(Worker)
    bag = Bag(ref=ref, lock=threading.Lock(), items=[Point(1)], refs={(ref,)})
    other = duplicate(bag)
    assert vars(other)["ref"] is ref
    assert vars(other)["lock"] is vars(bag)["lock"]
    assert vars(other)["items"] == [Point(1)]
    assert vars(other)["items"] is not vars(bag)["items"]
    assert next(iter(next(iter(vars(other)["refs"])))) is ref
    assert freeze(other) == freeze(bag) == freeze(duplicate(bag, freeze(bag)))


# --- Properties -----------------------------------------------------------------

plain = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
keys = plain | st.tuples(plain, plain)
data = st.recursive(
    plain | st.floats() | st.frozensets(keys, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.sets(keys, max_size=3)
        | inner.map(Slotted)
        | st.builds(Bag, a=inner, b=inner)
    ),
    max_leaves=10,
)


def canonical(thing: Any) -> object:
    """The same, written plainly, for what the strategy above makes."""
    kind = cast("Any", type(thing))
    if kind in {list, tuple}:
        return (kind.__name__, [canonical(one) for one in thing])
    if kind is dict:
        return ("dict", [canonical(pair) for pair in thing.items()])
    if kind in {set, frozenset}:
        return (kind.__name__, sorted(repr(canonical(one)) for one in thing))
    if kind is Slotted:
        return ("slotted", canonical(thing.left))
    return (
        ("bag", canonical(vars(thing))) if kind is Bag else (kind.__name__, repr(thing))
    )


@given(data, data)
@settings(deadline=None)
def test_pictures_are_equal_where_the_data_is(one: object, other: object) -> None:
    same = canonical(one) == canonical(other)
    assert (freeze(one) == freeze(other)) is same
    assert (difference(freeze(one), freeze(other)) == "") is same
    assert freeze(copy.deepcopy(one)) == freeze(one) == freeze(duplicate(one))


# --- In words --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (Bag(total=1), Bag(total=2), "self.total: 1 -> 2"),
        (Bag(a=1, b=2), Bag(a=2, b=3), "self.a: 1 -> 2\nself.b: 2 -> 3"),
        (Bag(), Bag(new=[1]), "self.new: (nothing) -> [1]"),
        (Bag(d={"a": 1}), Bag(d={"a": 2}), "self.d['a']: 1 -> 2"),
        (Bag(d={"a": 1}), Bag(d={}), "self.d['a']: 1 -> (nothing)"),
        (Bag(d={1: 1, 2: 2}), Bag(d={2: 2, 1: 1}), "self: the order in a dict"),
        (Bag(q=[1]), Bag(q=[1, 2]), "self.q: [1] -> [1, 2]"),
        (Bag(q=[Point(1), 5]), Bag(q=[Point(2), 5]), "self.q[0].x: 1 -> 2"),
        (Bag(s={2, 1}), Bag(s={3}), "self.s: {1, 2} -> {3}"),
        (Bag(s={1}), Bag(s=frozenset({1})), "self.s: {1} -> frozenset(1)"),
        (
            Bag(s=set(range(9))),
            Bag(s={0}),
            "self.s: {0, 1, 2, 3, 4, 5, 6, 7, ... 9 in all}",
        ),
        (
            Bag(p=Point(1)),
            Bag(p=Slotted(1)),
            "self.p: Point(x=1, y=0) -> Slotted(left=1)",
        ),
        (Bag(c=Color.RED), Bag(c=Color.BLUE), "self.c: Color.RED -> Color.BLUE"),
        (Bag(t=(1, 2.5)), Bag(t=None), "self.t: (1, 2.5) -> None"),
        (Bag(k=len), Bag(k=int), "self.k: len -> int"),
        (Bag(k=object()), Bag(k=object()), "self.k: <object> -> another one"),
        (Bag(n=Named(a=1)), Bag(n=1), "self.n: Named('a': 1) -> 1"),
        (Bag(x="a" * 99), Bag(x=""), "self.x: '" + "a" * 56 + "... -> ''"),
        (
            Bag(q=[0] * 9),
            Bag(q=0),
            "self.q: [0, 0, 0, 0, 0, 0, 0, 0, ... 9 in all] -> 0",
        ),
        (Bag(d={1: 2}), Bag(d=0), "self.d: {1: 2} -> 0"),
        (Bag(q=[[[[1]]]]), Bag(q=0), "self.q: [[[...]]] -> 0"),
    ],
)
def test_a_change_is_told_in_words(before: object, after: object, text: str) -> None:
    assert difference(freeze(before), freeze(after)).startswith(text)


def test_of_many_changes_five_are_told() -> None:
    before = Bag(**{f"a{number}": 1 for number in range(9)})
    after = Bag(**{f"a{number}": 2 for number in range(9)})
    text = difference(freeze(before), freeze(after), "bag")
    assert text.splitlines()[0] == "bag.a0: 1 -> 2"
    assert text.splitlines()[5:] == ["and 4 more"]


def test_what_else_an_object_of_a_container_has_is_told() -> None:
    before, after = Tagged([1]), Tagged([1])
    before.tag, after.tag = "a", "b"
    assert difference(freeze(before), freeze(after)) == "self.tag: 'a' -> 'b'"
    after.tag = "a"
    after.append(2)
    assert difference(freeze(before), freeze(after)) == "self: (1) -> (1, 2)"


def test_a_thing_that_comes_again_is_told() -> None:
    inner = [1]
    before, after = Bag(a=inner, b=[inner, 2]), Bag(a=inner, b=3)
    text = difference(freeze(before), freeze(after))
    assert text == "self.b: [(as above), 2] -> 3"
