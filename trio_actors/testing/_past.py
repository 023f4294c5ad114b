"""What came before what in a run, and which of its steps race.

Rules of this file:

* Sets of steps are the bits of an int: all of them are looked at in one operation.
* What came before a step: what it was sent in, and the one before of its key (these are
  its causes: it could not have come earlier), and what touched the same before.
* What was found of the steps that two runs have in common is kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TypeAlias, TypeVar

import attrs

from ._events import Event, Footprint, Key, Touched

Steps: TypeAlias = int
"""A set of steps: the bit n is set if step n is in it."""


def bits(steps: Steps) -> Iterator[int]:
    """Return the steps of a set, the first one first."""
    while steps:
        lowest = steps & -steps
        yield lowest.bit_length() - 1
        steps ^= lowest


Name = TypeVar("Name", bound=Hashable)


def _keep(table: dict[Name, Steps], length: int) -> None:
    kept = (1 << length) - 1
    for name in table:
        table[name] &= kept


@attrs.frozen
class Late:
    """An event that could have come earlier than it did."""

    event: Event
    at: int
    """Where it was in the trace, or would have been."""
    causes: Steps
    needs: Steps
    """What it cannot be put before: causes, and what touches the same."""
    gone: Steps = 0
    """Of what did not happen: what made that impossible, and what came of it."""
    ghost: bool = False


class Past:
    """What came before what in the trace of a run."""

    def __init__(self) -> None:
        self.before: list[Steps] = []
        self._causes: list[Steps] = []
        self._touched: dict[Touched, Steps] = {}
        self._written: dict[Touched, Steps] = {}
        self._of_key: dict[Key, Steps] = {}
        self._busy: dict[str, Steps] = {}
        self._after: dict[int, Steps] = {}

    def __len__(self) -> int:
        return len(self.before)

    def cut(self, length: int) -> None:
        """Forget all but the first steps."""
        del self.before[length:], self._causes[length:]
        self._after.clear()
        for table in (self._touched, self._written):
            _keep(table, length)
        _keep(self._of_key, length)
        _keep(self._busy, length)

    def add(self, event: Event) -> None:
        """Add the next step."""
        at = len(self.before)
        causes = self._causes_of(event, at)
        before = causes
        rest = self.clashes(event.footprint) & ~before
        while rest:
            last = rest.bit_length() - 1
            before |= self._upto(last)
            rest &= ~before
        self._causes.append(causes)
        self.before.append(before)
        bit = 1 << at
        for touched, writes in event.footprint.items():
            self._touched[touched] = self._touched.get(touched, 0) | bit
            if writes:
                self._written[touched] = self._written.get(touched, 0) | bit
        self._of_key[event.key] = self._of_key.get(event.key, 0) | bit
        for who in event.busy:
            self._busy[who] = self._busy.get(who, 0) | bit

    def _upto(self, at: int) -> Steps:
        return self.before[at] | 1 << at

    def _causes_of(self, event: Event, at: int) -> Steps:
        """Return what an event could not have come before."""
        earlier = (1 << at) - 1
        if event.barrier:
            return earlier
        causes = self._upto(event.sent) if event.sent >= 0 else 0
        same = self._of_key.get(event.key, 0) & earlier
        return causes | self._upto(same.bit_length() - 1) if same else causes

    # --- Questions ---

    def first(self, key: Key, steps: Steps) -> int | None:
        """Return the first of *steps* that has this key."""
        found = self._of_key.get(key, 0) & steps
        return (found & -found).bit_length() - 1 if found else None

    def clashes(self, footprint: Footprint) -> Steps:
        """Return the steps that touch the same, one of the two as a writer."""
        found = 0
        for touched, writes in footprint.items():
            found |= (self._touched if writes else self._written).get(touched, 0)
        return found

    def after(self, at: int) -> Steps:
        """Return a step and what came of it."""
        found = self._after.get(at)
        if found is None:
            found = 1 << at
            for later in range(at + 1, len(self.before)):
                if self.before[later] >> at & 1:
                    found |= 1 << later
            self._after[at] = found
        return found

    def late(self, event: Event, at: int, *, ghost: bool = False) -> Late:
        """Return an event whose races are asked for."""
        if not ghost:
            causes = self._causes[at]
            return Late(event, at, causes, causes | self.clashes(event.footprint))
        causes = self._causes_of(event, at)
        clashes = self.clashes(event.footprint)
        until = max(0, at - 1)
        gone = 0
        for step in bits(clashes >> until << until):
            gone |= self.after(step)
        return Late(event, at, causes, causes | clashes, gone, ghost=True)

    def without(self, first: int, late: Late) -> Steps:
        """Return what came after *first* and needs neither that nor *late*."""
        steps = (1 << len(self.before)) - (2 << first)
        steps &= ~self.after(first) & ~late.gone
        return steps if late.ghost else steps & ~(1 << late.at)

    # --- Races ---

    def races(self, late: Late) -> Steps:
        """Return the steps before which an event could have been, and was not."""
        event = late.event
        earlier = (1 << late.at) - 1
        locked = self._busy.get(event.dst, 0) if event.kind == "message" else 0
        turn = ("turn", event.dst)
        begun = found = 0
        for touched, writes in event.footprint.items():
            if touched == turn:
                begun = self._latest(touched, earlier & ~locked, writes=writes)
            else:
                found |= self._latest(touched, earlier, writes=writes)
        found &= ~late.causes
        if event.kind == "message":
            for first in bits(found):
                if self._is_locked(first, late):
                    found ^= 1 << first
        found |= begun & ~late.causes
        for later in bits(found):
            found &= ~self.before[later]
        return found

    def _latest(self, touched: Touched, steps: Steps, *, writes: bool) -> Steps:
        """Return of *steps* who wrote last; for a writer, who has read since."""
        written = self._written.get(touched, 0) & steps
        last = written.bit_length()
        if writes:
            read = self._touched.get(touched, 0) & steps
            read = read >> last << last
            if read:
                return read
        return 1 << last >> 1

    def _is_locked(self, first: int, late: Late) -> bool:
        """Whether without *first* the receiver is still in the middle of a turn."""
        dst = late.event.dst
        missing = self.after(first) | late.gone
        missing &= self._touched.get(("turn", dst), 0) & ((1 << late.at) - 1)
        if not missing:
            return late.ghost
        return bool(self._busy.get(dst, 0) & missing & -missing)
