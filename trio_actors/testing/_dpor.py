"""Optimal dynamic partial-order reduction: one run for each class, and none twice.

Rules of this file:

* Pure, as every search is. After Abdulla, Aronis, Jonsson and Sagonas, "Optimal dynamic
  partial order reduction": wakeup trees, and sleep sets.
* A race is a pair of steps that touch the same, next to each other in the order of what
  caused what. For each the other order is a branch of the tree at the first step.
* An actor that is in the middle of a turn is locked: a message for it races with what
  has begun the turn, not with what came in its midst.
* What did not happen, but could have, races as if it had: see `Ghost`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from ._events import Blocked, Event, Footprint, Key, Run, Touched, dependent
from ._search import Asleep, place_of, still_asleep


@attrs.define
class Branch:
    """An event to be tried, and what is to be tried after it."""

    key: Key
    footprint: Footprint
    below: Tree


Tree: TypeAlias = list[Branch]
"""A wakeup tree; the first branch is tried first."""


@attrs.define
class _Place:
    tree: Tree
    asleep: Asleep


class Optimal:
    """All orders, each class of them once."""

    def __init__(self) -> None:
        self._path: list[_Place] = []

    def choose(self, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
        """Return the place of what is to be tried here.

        Raises:
            Blocked: All that is possible was tried, in another order.
        """
        if len(trace) == len(self._path):
            self._path.append(self._arrive(trace, enabled))
        return place_of(self._path[len(trace)].tree[0].key, trace, enabled)

    def _arrive(self, trace: Sequence[Event], enabled: Sequence[Event]) -> _Place:
        asleep: Asleep = {}
        tree: Tree = []
        if trace:
            before = self._path[-1]
            asleep = still_asleep(before.asleep, trace[-1].footprint)
            tree = before.tree[0].below
        if not tree:
            for event in enabled:
                if event.kind != "fault" and event.key not in asleep:
                    tree.append(Branch(event.key, event.footprint, []))
                    break
            else:
                raise Blocked
        return _Place(tree, asleep)

    def learn(self, run: Run) -> bool:
        """Plant what the races of the run ask for; False if nothing is left to try."""
        path = self._path
        for place, event in zip(path, run.trace, strict=False):
            place.tree[0].footprint = event.footprint
        if not run.blocked:
            for at, sequence in races(run):
                plant(path[at], sequence)
        while path:
            place = path[-1]
            if place.tree:
                done = place.tree.pop(0)
                place.asleep[done.key] = done.footprint
            if place.tree:
                return True
            path.pop()
        return False


# --- Wakeup trees -------------------------------------------------------------


@attrs.frozen
class Wanted:
    """A step of a sequence that is to be tried."""

    key: Key
    footprint: Footprint
    at: int
    sent: int


Sequel: TypeAlias = list[Wanted]


def plant(place: _Place, sequence: Sequel) -> None:
    """Let *sequence* be tried at *place*, unless it was, or will be."""
    for key, footprint in place.asleep.items():
        if _comes_first(key, footprint, sequence) is not None:
            return
    tree, rest = place.tree, sequence
    while True:
        for branch in tree:
            first = _comes_first(branch.key, branch.footprint, rest)
            if first is not None:
                rest = rest[:first] + rest[first + 1 :]
                if not branch.below:
                    return  # a leaf: what follows it is tried anyway
                tree = branch.below
                break
        else:
            for wanted in rest:
                branch = Branch(wanted.key, wanted.footprint, [])
                tree.append(branch)
                tree = branch.below
            return


def _comes_first(key: Key, footprint: Footprint, sequence: Sequel) -> int | None:
    """Return where an event is that can be the first of *sequence*.

    Beyond its end if it is not in there, and depends on nothing of it; None if it
    cannot be the first.
    """
    for place, wanted in enumerate(sequence):
        if wanted.key == key:
            before = sequence[:place]
            held_up = any(
                one.at == wanted.sent or dependent(one.footprint, wanted.footprint)
                for one in before
            )
            return None if held_up else place
    if any(dependent(one.footprint, footprint) for one in sequence):
        return None
    return len(sequence)


# --- Races --------------------------------------------------------------------


def races(run: Run) -> list[tuple[int, Sequel]]:
    """Return each race of a run: where it begins, and what is to be tried there."""
    return _Races(run).find()


class _Races:
    """The order of a run: who was caused by whom, and who came before whom.

    Sets of steps are the bits of an int.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._trace = run.trace
        self._before: list[int] = []  # what came before each step
        self._users: dict[Touched, list[int]] = {}  # who touched what
        self._found: list[tuple[int, Sequel]] = []

    def find(self) -> list[tuple[int, Sequel]]:
        """Look at each step, and at what could have been one."""
        latest: dict[Key, int] = {}
        last: dict[Touched, int] = {}  # who wrote last
        readers: dict[Touched, int] = {}  # who has read since
        for at, event in enumerate(self._trace):
            cause = self._cause(event, at, latest.get(event.key))
            before = cause
            for touched, writes in event.footprint.items():
                if touched in last:
                    before |= self._upto(last[touched])
                if writes:
                    before |= readers.get(touched, 0)
            self._before.append(before)
            if not event.barrier:
                self._look(event, at, cause)
            for touched, writes in event.footprint.items():
                if writes:
                    last[touched], readers[touched] = at, 0
                else:
                    readers[touched] = readers.get(touched, 0) | self._upto(at)
                self._users.setdefault(touched, []).append(at)
            latest[event.key] = at
        self._look_at_ghosts()
        return self._found

    def _upto(self, at: int) -> int:
        return self._before[at] | 1 << at

    def _cause(self, event: Event, at: int, latest: int | None) -> int:
        """Return what an event could not have come before."""
        if event.barrier:
            return (1 << at) - 1
        cause = self._upto(event.sent) if event.sent >= 0 else 0
        return cause if latest is None else cause | self._upto(latest)

    def _look_at_ghosts(self) -> None:
        users = self._users
        for ghost in self._run.ghosts:
            event, end = ghost.event, ghost.until + 1
            same = [at for at in range(end) if self._trace[at].key == event.key]
            cause = self._cause(event, end, same[-1] if same else None)
            self._users = {
                touched: [at for at in users.get(touched, ()) if at < end]
                for touched in event.footprint
            }
            self._look(event, end, cause)
        self._users = users

    def _look(self, event: Event, at: int, cause: int) -> None:
        """Look for steps with which *event*, which is or would be at *at*, races."""
        for touched, writes in event.footprint.items():
            for other in reversed(self._users.get(touched, ())):
                step = self._trace[other]
                wrote = step.footprint[touched]
                if not (writes or wrote):
                    continue
                if cause >> other & 1:
                    if wrote:
                        break  # and all before it are causes, too
                    continue
                if _is_locked(event, step):
                    continue
                if not self._is_between(other, at, event, cause):
                    self._found.append((other, self._sequel(other, at, event)))
                if wrote:
                    break

    def _is_between(self, first: int, at: int, event: Event, cause: int) -> bool:
        """Whether what came after *first* made *event* come later still."""
        for middle in range(first + 1, at):
            if not self._before[middle] >> first & 1:
                continue
            step = self._trace[middle]
            if cause >> middle & 1:
                return True
            if _is_locked(event, step):
                continue
            if dependent(step.footprint, event.footprint):
                return True
        return False

    def _sequel(self, first: int, at: int, event: Event) -> Sequel:
        """Return what does not need *first*, and then *event*."""
        sequel = [
            Wanted(step.key, step.footprint, middle, step.sent)
            for middle, step in enumerate(self._trace[first + 1 : at], first + 1)
            if not self._before[middle] >> first & 1
        ]
        return [*sequel, Wanted(event.key, event.footprint, at, event.sent)]


def _is_locked(event: Event, step: Event) -> bool:
    """Whether *event* waited for the end of the turn in whose midst *step* was."""
    return event.kind == "message" and event.dst in step.busy
