"""Whether a handler that says that it only reads has changed anything after all.

Rules of this file:

* The state of its actor is compared, before and after: a change fails the run.
* What the functions in that state hold (closures, defaults) may be the test's own. It
  is compared, too, but a change is only a doubt.
* Where nobody can look into a thing, nobody knows: that is a doubt as well.
"""

from __future__ import annotations

import enum
import functools
import re
import struct
import types
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from .._cell import Cell
from ._changes import difference
from ._held import Held
from ._state import SHOWN, Picture, freeze

_CACHE = functools._lru_cache_wrapper
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodWrapperType)
_HARMLESS = (
    *(type, enum.Enum, types.ModuleType, re.Pattern, re.Match, struct.Struct),
    *(ContextVar, ZoneInfo, weakref.ref, slice, property, range, types.CodeType),
    *(types.EllipsisType, types.NotImplementedType, types.MappingProxyType),
    *(types.GenericAlias, types.UnionType),
)
# What is done to the library's own is seen elsewhere.
_HARMLESS_MODULES = {
    "logging",
    "operator",
    "outcome",
    "string",
    "trio_actors",
    "typing",
}


@functools.lru_cache(maxsize=256)
def _way(cls: Any) -> Literal["function", "harmless", "hidden"]:
    """Return what can be known of an instance that a picture tells by who it is."""
    if issubclass(cls, (*_FUNCTIONS, _CACHE)):
        return "function"
    module = cls.__module__.partition(".")[0]
    known = cls is object or cls in SHOWN or issubclass(cls, _HARMLESS)
    return "harmless" if known or module in _HARMLESS_MODULES else "hidden"


def _held_by(function: Any) -> tuple[object, ...]:
    """Return what a function holds besides its code."""
    if isinstance(function, _CACHE):
        return (cast("Any", function).__wrapped__,)
    if not isinstance(function, types.FunctionType):
        owner = function.__self__
        return () if isinstance(owner, types.ModuleType) else (owner,)
    held: list[object] = [*(function.__defaults__ or ()), function.__kwdefaults__]
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # it was never set
            continue
    return tuple(held)


def look_behind(picture: Picture) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """Look at what a picture does not show.

    Returns:
        Pictures of what the functions in it hold, and of what those do; and the
        classes of what nobody can look into.
    """
    if next(picture.things(), None) is None:
        return (), ()  # as of most actors
    pictures, hidden = [picture], dict[str, None]()
    seen: set[int] = set()
    for one in pictures:  # it grows meanwhile
        for thing in one.things():
            cls = cast("Any", type(thing))
            way = _way(cls)
            if way == "hidden":
                hidden[cls.__qualname__] = None
            elif way == "function" and id(thing) not in seen:
                seen.add(id(thing))
                pictures.append(freeze(_held_by(thing)))
    return tuple(pictures[1:]), tuple(hidden)


def _state_of(cell: Cell) -> object:
    """Return what a handler could write into: also what its actor has become."""
    return (cell.instance, *cell.became) if cell.became else cell.instance


class Reader:
    """A handler that reads only, at work."""

    __slots__ = ("_before", "_behind", "_cell", "_held", "_hidden", "_instance")

    def __init__(self, held: Held, cell: Cell) -> None:
        self._held = held
        self._cell = cell
        self._instance = cell.instance
        self._before = freeze(_state_of(cell))
        self._behind, self._hidden = look_behind(self._before)

    def check(self, note: Callable[[str], None]) -> None:
        """Check that it has changed nothing.

        Args:
            note: Is called with a doubt.

        Raises:
            AssertionError: It has changed its actor.
        """
        held, before = self._held, self._before
        if self._cell.instance is not self._instance:
            return  # it has failed
        after = freeze(_state_of(self._cell))
        if after != before:
            held.describe()
            raise AssertionError(
                f"the handler of {held.label} in {held.dst} is reads_only, and has"
                f" changed its actor: {difference(before, after)}. Take reads_only"
                " away, or let it change nothing."
            )
        name = type(self._instance).__qualname__
        if self._hidden:
            note(
                f"a reads_only handler of {name} may write into what cannot be looked"
                f" into: {', '.join(self._hidden)}"
            )
        if self._behind and look_behind(before)[0] != self._behind:
            note(
                f"a reads_only handler of {name} has changed what a function holds that"
                " is in its state"
            )
