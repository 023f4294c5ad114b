"""What the state of an object is, as a value that can be kept and compared.

Rules of this file:

* A picture is made without the code of the objects: no ``__eq__``, ``__hash__``,
  ``__repr__`` or ``__iter__`` of theirs, no property. To look changes nothing.
* Data is told by its contents: attributes, items, members. What is no data is told by
  who it is: functions, classes, locks, loggers, generators, and all that is Trio's or
  the library's own; a lock also by whether it is locked, an event by whether it is set.
  A ref is told by its path.
* Two pictures are equal only where the objects cannot be told apart: the order in a
  dict counts, and who is shared with whom.
* No recursion but for sets in sets: what is chained may be 100,000 deep.
"""

from __future__ import annotations

import array
import copy
import datetime as dt
import enum
import functools
import io
import itertools
import random
import struct
import sys
import threading
import types
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, cast

import attrs
import trio

from .._ref import ActorRef

T = TypeVar("T")

# --- What a picture is made of ----------------------------------------------

Token: TypeAlias = Any
"""None, an int, a str, bytes, or one of the kinds below."""


@attrs.frozen(eq=False)
class Same:
    """Stands for a thing by who it is; keeps it, so that its address stays its own."""

    thing: object

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


@attrs.frozen
class Ref:
    """A ref, by its path."""

    path: str
    thing: object = attrs.field(eq=False)


class Text(NamedTuple):
    """A value by its text: 1.0 and True are no 1, and a NaN is a NaN."""

    kind: Same
    text: str


class Again(NamedTuple):
    """A thing that was there before: the how manieth."""

    number: int


class Members(NamedTuple):
    """A set: in no order, each member with a picture of its own."""

    kind: Same
    pictures: frozenset[tuple[Picture, int]]


class Open(NamedTuple):
    """A thing, whose parts are the next so many: items, or names and values."""

    kind: Same
    form: Literal["items", "pairs", "fields"]
    size: int


class Picture(NamedTuple):
    """What something looked like at a moment. Hashable, comparable."""

    tokens: tuple[Token, ...]

    def things(self) -> Iterator[object]:
        """Iterate over what is told by who it is."""
        for token in self.tokens:
            if type(token) is Same or type(token) is Ref:
                yield token.thing
            elif type(token) is Members:
                for inner, _ in token.pictures:
                    yield from inner.things()


# --- What is in a thing -----------------------------------------------------

_PLAIN = {type(None), int, str, bytes, Same}
_is_plain = _PLAIN.__contains__
_IDENTITY = (type, types.FunctionType, types.BuiltinFunctionType, enum.Enum)

# By the class, or the nearest base of it that is here: what is read, by which of its
# methods. A text that says all, ...
_TEXTS: dict[Any, str] = {
    **dict.fromkeys((bool, int, float, complex, str, bytes, bytearray), "__repr__"),
    **dict.fromkeys((Decimal, itertools.count, range), "__repr__"),
    PurePath: "__str__",
}
# ... the members of a set, ...
_MEMBERS: dict[Any, str] = dict.fromkeys((set, frozenset), "__iter__")
# ... or the parts that there are besides attributes. How far these iterators have come
# can be seen without a step of theirs.
_ITERABLES: list[Any] = [[], (), "", "\xe9", b"", bytearray(), range(0), range(1 << 99)]
_ITERATORS: list[Any] = [
    *(type(iter(one)) for one in _ITERABLES),
    *(type(reversed(_ITERABLES)), enumerate, filter, map, reversed, zip),
]
_PARTS: dict[Any, str] = {
    **dict.fromkeys((list, tuple), "__iter__"),
    **dict.fromkeys((dict, OrderedDict), "items"),
    **dict.fromkeys((array.array, dt.date, dt.datetime, dt.time), "__reduce_ex__"),
    **dict.fromkeys((dt.timedelta, dt.timezone), "__reduce_ex__"),
    **dict.fromkeys(_ITERATORS, "__reduce__"),
    **dict.fromkeys((io.BytesIO, io.StringIO), "getvalue tell"),
    BaseException: "args",
    deque: "maxlen __iter__",
    functools.partial: "func args keywords",
    random.Random: "getstate",
    types.MethodType: "__func__ __self__",
    types.SimpleNamespace: "",
}
SHOWN: dict[Any, Callable[[Any], object]] = {
    trio.CapacityLimiter: lambda one: (one.total_tokens, one.borrowed_tokens),
    trio.Event: trio.Event.is_set,
    trio.Lock: trio.Lock.locked,
    trio.Semaphore: lambda one: one.value,
    trio.StrictFIFOLock: trio.StrictFIFOLock.locked,
    type(threading.Lock()): lambda one: one.locked(),
}
"""What is told by who it is, and by what it says of itself."""

_POINTER = struct.calcsize("P")
# Of the standard library's other classes only these hold data and nothing else.
_DATA = {"collections", "fractions", "ipaddress", "uuid"}
_NO_DATA = (sys.stdlib_module_names - _DATA) | {"outcome", "trio", "trio_actors"}


@attrs.frozen
class _Class:
    """How to look at the instances of a class."""

    kind: Same
    way: str
    read: Callable[[Any], Any] = attrs.field(default=lambda _: ())
    slots: tuple[tuple[str, types.MemberDescriptorType], ...] = ()
    has_dict: bool = False
    is_simple: bool = False
    """All that it has are attributes."""

    def attributes(self, one: object) -> list[tuple[str, object]]:
        """Return what is in its ``__dict__`` and its slots, in the order of names."""
        own: dict[str, object] = {}
        if self.has_dict:
            own = object.__getattribute__(one, "__dict__").copy()
        for name, slot in self.slots:
            try:
                own[name] = slot.__get__(one)
            except AttributeError:  # it was never set
                continue
        own.pop("_actor_cell", None)  # the library's, and what typing leaves there
        own.pop("__orig_class__", None)
        return sorted(own.items()) if len(own) > 1 else list(own.items())


@functools.lru_cache(maxsize=256)
def _look_at(cls: Any) -> _Class:
    kind, has_dict = Same(cls), cls.__dictoffset__ != 0
    if issubclass(cls, _IDENTITY):
        return _Class(kind, "same")
    if issubclass(cls, ActorRef):
        return _Class(kind, "ref")
    if cls is tuple:
        return _Class(kind, "tuple")
    for base in cls.__mro__:
        if base in _TEXTS:
            return _Class(kind, "text", getattr(base, _TEXTS[base]))
        if base in _MEMBERS:
            return _Class(kind, "members", getattr(base, _MEMBERS[base]))
        if base in _PARTS:
            form = "pairs" if _PARTS[base] == "items" else "items"
            read = _reader(base, _PARTS[base])
            return _Class(kind, form, read, _slots(cls), has_dict)
    if cls in SHOWN:
        return _Class(kind, "fields", lambda one: (Same(one), SHOWN[cls](one)))
    if cls.__module__.partition(".")[0] in _NO_DATA:
        return _Class(kind, "same")
    if _hides(cls):
        return _Class(kind, "fields", lambda one: (Same(one),), _slots(cls), has_dict)
    return _Class(kind, "fields", slots=_slots(cls), has_dict=has_dict, is_simple=True)


def _reader(base: Any, how: str) -> Callable[[Any], tuple[Any, ...]]:
    """Return what reads the parts, past what a class of the user's makes of them."""
    if how == "__reduce_ex__":
        return lambda one: base.__reduce_ex__(one, 4)[1]
    if how == "__reduce__":
        reduce: Callable[[Any], tuple[Any, ...]] = base.__reduce__
        return reduce
    if how == "getvalue tell":
        return lambda one: _written(base, one)
    read = [getattr(base, name) for name in how.split()]
    if how in ("__iter__", "items", "getstate"):
        return lambda one: tuple(read[0](one))
    if base is deque:
        return lambda one: (one.maxlen, *read[1](one))
    return lambda one: tuple(slot.__get__(one) for slot in read)


def _written(base: Any, one: Any) -> tuple[Any, ...]:
    """Return what is in a file that is in memory, and where in it one is."""
    is_closed = base.closed.__get__(one)
    return () if is_closed else (base.getvalue(one), base.tell(one))


def _slots(cls: type) -> tuple[tuple[str, types.MemberDescriptorType], ...]:
    return tuple(
        (name, slot)
        for base in cls.__mro__
        if "__slots__" in base.__dict__
        for name, slot in base.__dict__.items()
        if isinstance(slot, types.MemberDescriptorType)
    )


def _hides(cls: type) -> bool:
    """Whether there may be more in it than Python shows: a base is made in C.

    Such a base has a ``__new__`` of its own, or takes more room than its slots, a
    ``__dict__`` and weak references do.
    """
    room = object.__basicsize__ + _POINTER * (len(_slots(cls)) + 2)
    return cls.__basicsize__ > room or any(
        isinstance(base.__dict__.get("__new__"), types.BuiltinFunctionType)
        for base in cls.__mro__[:-1]
    )


# --- Looking ----------------------------------------------------------------


class _Look:
    """One look at a thing and at all that it holds."""

    def __init__(self, seen: dict[int, int]) -> None:
        self.seen = seen  # by address: who is looked at holds them all
        self.tokens: list[Token] = []
        self.left: list[Any] = []

    def at(self, root: object) -> Picture:
        """Look at all there is."""
        left, tokens = self.left, self.tokens
        left.append(root)
        while left:
            one = left.pop()
            cls = cast("Any", type(one))
            if cls in _PLAIN:
                tokens.append(one)
            else:
                self._at_thing(one, _look_at(cls))
        return Picture(tuple(tokens))

    def _at_thing(self, one: Any, cls: _Class) -> None:
        if cls.way == "same":
            self.tokens.append(Same(one))
        elif cls.way == "text":
            self.tokens.append(Text(cls.kind, cls.read(one)))
        elif cls.way == "ref":
            self.tokens.append(Ref(one.path, one))
        elif cls.way == "tuple":  # who else has it makes no difference
            self._open(cls.kind, "items", one)
        elif id(one) in self.seen:
            self.tokens.append(Again(self.seen[id(one)]))
        else:
            self.seen[id(one)] = len(self.seen)
            self._at_new(one, cls)

    def _at_new(self, one: Any, cls: _Class) -> None:
        parts = cls.read(one)
        if cls.way == "members":
            looks = Counter(_Look(dict(self.seen)).at(inner) for inner in parts)
            self.tokens.append(Members(cls.kind, frozenset(looks.items())))
            return
        fields = cls.attributes(one)
        if cls.way == "fields" and not parts:  # plain objects: all that most actors are
            self._open(cls.kind, "fields", [half for field in fields for half in field])
        elif fields or cls.way == "fields":
            fields = [("", part) for part in (parts and [parts])] + fields
            self._open(cls.kind, "fields", [half for field in fields for half in field])
        elif cls.way == "pairs":
            self._open(cls.kind, "pairs", [half for pair in parts for half in pair])
        else:
            self._open(cls.kind, "items", parts)

    def _open(self, kind: Same, form: Any, parts: Sequence[Any]) -> None:
        self.tokens.append(Open(kind, form, len(parts)))
        if all(map(_is_plain, map(type, parts))):  # at once: half of a small look
            self.tokens.extend(parts)
        else:
            self.left.extend(reversed(parts))


def freeze(thing: object) -> Picture:
    """Return what *thing* looks like now: its state, as a value.

    The state of an actor is that of its instance: its attributes, and all they hold.
    """
    cls = _look_at(cast("Any", type(thing)))
    if cls.is_simple:  # as most actors are: in a third of the time
        parts = tuple(itertools.chain.from_iterable(cls.attributes(thing)))
        if all(map(_is_plain, map(type, parts))):
            return Picture((Open(cls.kind, "fields", len(parts)), *parts))
    return _Look({}).at(thing)


def duplicate(thing: T, picture: Picture | None = None) -> T:
    """Return a deep copy of *thing*, which shares refs, locks and what else is no data.

    Args:
        thing: What to copy.
        picture: What it looks like, if that is known already.
    """
    shared = (picture or freeze(thing)).things()
    return copy.deepcopy(thing, {id(one): one for one in shared})
