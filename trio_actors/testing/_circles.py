"""Circles of actors that wait for each other, in a search.

The last of a circle gets `AskDeadlock` at once, as in production. Who is the last, and
whether there is a circle at all, depends on the order of steps that touch nothing else
in common.

Rules of this file:

* Whoever begins to wait where it may close a circle reads the turns of all in it. What
  was in a circle once may be in one again: in all runs to come it reads them, too.
* A wait that ended without an answer counts as one: it might have ended later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from .._cell import Cell
    from .._waits import Wait
    from ._footprints import Footprints

Known = dict[str, dict[str, None]]
"""Who was in a circle, and with whom: by paths, the same in all runs."""


class Circles:
    """What a run knows of who waits for whom."""

    def __init__(self, pilot: Footprints, known: Known) -> None:
        self._pilot = pilot
        self._known = known
        self._waits: dict[Cell, list[Wait]] = {}
        self._cut: dict[Cell, dict[Cell, None]] = {}

    def begin(self, asker: Cell, target: Cell) -> None:
        """Note that an actor begins to wait, and what that depends on."""
        mine = [one for one in self._waits.get(asker, ()) if not one.over]
        self._waits[asker] = [*mine, cast("Wait", asker.waits_for)]
        circle = self._circle(asker, target)
        for one in circle:
            self._known.setdefault(one, {}).update(dict.fromkeys(circle))
        fellows = self._known.get(asker.path)
        if fellows is not None:
            self._pilot.look_at_clock()  # which ends waits
            for one in fellows:
                self._pilot.touch("turn", one, write=False)

    def cut(self, asker: Cell, target: Cell) -> None:
        """Note that a wait has ended without what it was for."""
        self._cut.setdefault(asker, {})[target] = None

    def _circle(self, asker: Cell, target: Cell) -> list[str]:
        """Return the paths of a circle that this wait closes, or might have closed."""
        reached = [target]
        for cell in reached:  # it grows meanwhile
            now = [wait.target for wait in self._waits.get(cell, ()) if not wait.over]
            for one in (*now, *self._cut.get(cell, ())):
                if one not in reached:
                    reached.append(one)
        return [one.path for one in reached] if asker in reached else []
