"""What came before what in a run, and which of its steps race.

Rules of this file:

* Sets of steps are the bits of an int: all of them are looked at in one operation.
* What came before a step: what it was sent in, the one before of its key, and what it
  comes behind (these are its causes: it could not have come earlier), and what touched
  the same before.
* What was found of the steps that two runs have in common is kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TypeAlias, TypeVar

import attrs

from ._events import Event, Footprint, Key, Touched, dependent

Steps: TypeAlias = int
"""A set of steps: the bit n is set if step n is in it."""


TICK: Key = ("tick",)
"""The passing of time, to whatever is due next."""


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

    key: Key
    footprint: Footprint
    receiver: str
    """Whose next message it is; empty if it is none."""
    at: int
    """Where it was in the trace, or would have been."""
    causes: Steps
    gone: Steps = 0
    """Of what did not happen: what made that impossible, and what came of it."""
    is_ghost: bool = False

    @property
    def is_tick(self) -> bool:
        """Whether time passes."""
        return self.key == TICK


class Past:
    """What came before what in the trace of a run."""

    def __init__(self) -> None:
        self.before: list[Steps] = []
        self.steps: list[tuple[Key, Footprint]] = []
        self._causes: list[Steps] = []
        self._touched: dict[Touched, Steps] = {}
        self._written: dict[Touched, Steps] = {}
        self._of_key: dict[Key, Steps] = {}
        self._busy: dict[str, Steps] = {}
        self._after: dict[int, Steps] = {}

    def __len__(self) -> int:
        return len(self.before)

    def copy(self) -> Past:
        """Return one that does not change with later runs."""
        copy = Past()
        copy.before, copy.steps = self.before[:], self.steps[:]
        copy._touched, copy._written = self._touched.copy(), self._written.copy()
        copy._of_key = self._of_key.copy()
        return copy

    def cut(self, length: int) -> None:
        """Forget all but the first steps."""
        del self.before[length:], self.steps[length:], self._causes[length:]
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
        self.steps.append((event.key, event.footprint))
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
        # Time can pass as soon as it can pass to anything: another timer will do.
        is_sent = event.sent >= 0 and event.key != TICK
        causes = self._upto(event.sent) if is_sent else 0
        for one in event.after:
            causes |= self._upto(one.place) if one.place >= 0 else 0
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

    def ticks(self, steps: Steps) -> int:
        """Return how often time has passed."""
        return (self._of_key.get(TICK, 0) & steps).bit_count()

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

    def late(self, event: Event, at: int) -> Late:
        """Return a step whose races are asked for."""
        key, footprint = event.key, event.footprint
        return Late(key, footprint, _receiver(event), at, self._causes[at])

    def ghost(self, event: Event, until: int) -> Late:
        """Return what could have happened until after a step."""
        at, footprint = until + 1, event.footprint
        is_end = until < 0 or not self.clashes(footprint) >> until & 1
        gone = 0 if is_end else self.after(until)
        causes = self._causes_of(event, at)
        return Late(
            event.key, footprint, _receiver(event), at, causes, gone, is_ghost=True
        )

    def without(self, first: int, late: Late) -> Steps:
        """Return what came after *first* and needs neither that nor *late*."""
        steps = (1 << len(self.before)) - (2 << first)
        steps &= ~self.after(first) & ~late.gone
        return steps if late.is_ghost else steps & ~(1 << late.at)

    # --- Races ---

    def races(self, late: Late) -> Steps:
        """Return the steps before which an event could have been, and was not."""
        earlier = (1 << late.at) - 1
        locked = self._busy.get(late.receiver, 0)
        turn = ("turn", late.receiver)
        begun = found = 0
        for touched, writes in late.footprint.items():
            if touched == turn:
                begun = self._latest(touched, earlier & ~locked, writes=writes)
            else:
                found |= self._latest(touched, earlier, writes=writes)
        found &= ~late.causes
        if late.receiver:
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
        missing = self.after(first) | late.gone
        missing &= self._touched.get(("turn", late.receiver), 0)
        missing &= (1 << late.at) - 1
        busy = self._busy.get(late.receiver, 0)
        if not missing:  # then it is as it was where the ghost would have been
            return late.is_ghost and bool(busy >> (late.at - 1) & 1)
        return bool(busy & missing & -missing)


def _receiver(event: Event) -> str:
    return event.dst if event.kind == "message" else ""


class Rest:
    """Steps that do not need another one, and what raced with that: in any order."""

    def __init__(self, past: Past, steps: Steps, late: Late) -> None:
        self._past = past
        self._steps = steps
        self._late: Late | None = late
        self._at = late.at

    def copy(self) -> Rest:
        """Return one that does not change with the past of later runs."""
        copy = Rest.__new__(Rest)
        copy._past, copy._steps = self._past.copy(), self._steps
        copy._late, copy._at = self._late, self._at
        return copy

    def can_begin_with(self, key: Key, footprint: Footprint) -> bool:
        """Whether an event can come first, or at any time since it touches nothing."""
        late, steps = self._late, self._steps
        at = self._past.first(key, steps)
        if at is not None:
            return not self._past.before[at] & steps
        clashes = self._past.clashes(footprint) & steps
        if late is None:
            return not clashes
        if late.key == key:
            return not (clashes | late.causes & steps)
        return not clashes and not dependent(footprint, late.footprint)

    def is_open(self, key: Key) -> bool:
        """Whether it depends on what an event touches if that can come first."""
        if self._past.first(key, self._steps) is not None:
            return False
        return self._late is None or self._late.key != key or bool(self._steps)

    def is_settled_by(self, key: Key, footprint: Footprint, *, is_sure: bool) -> bool:
        """Whether it can begin with that also if other steps come later than it did.

        Those do not touch what the late one did; what it will touch, that has to be
        seen.
        """
        late, at = self._late, self._past.first(key, self._steps)
        if at is not None:
            return at < self._at
        if late is None or late.key != key:
            return False
        return is_sure and footprint == late.footprint

    def remove(self, key: Key) -> None:
        """Take out an event, if it is there."""
        at = self._past.first(key, self._steps)
        if at is not None:
            self._steps &= ~(1 << at)
        elif self._late is not None and self._late.key == key:
            self._late = None

    def in_order(self) -> Iterator[tuple[Key, Footprint, bool]]:
        """Return the events, the late one at the end.

        And whether what they touch is what they will touch: where the late one comes
        earlier, it need not be.
        """
        for at in bits(self._steps):
            yield *self._past.steps[at], True
        if self._late is not None:
            yield self._late.key, self._late.footprint, False

    def name(self) -> Hashable:
        """Return what tells it from others at the same place."""
        touched = None if self._late is None else self._late.footprint.items()
        return tuple(key for key, _, _ in self.in_order()), frozenset(touched or ())
