"""Optimal dynamic partial-order reduction: one run for each class, and none twice.

Rules of this file:

* Pure, as every search is. After Abdulla, Aronis, Jonsson and Sagonas, "Optimal dynamic
  partial order reduction": wakeup trees, and sleep sets.
* A race is a pair of steps that touch the same, next to each other in the order of what
  came before what. The other order is planned at the first: a branch of its tree.
* An actor that is in the middle of a turn is locked: a message for it races with what
  has begun the turn, not with what came in its midst.
* What did not happen, but could have, races as if it had: see `Ghost`.
* A plan says what a step touched elsewhere. Here it may touch more, and what was to
  come after it may be impossible: the rest of such a plan is dropped, never what has
  begun. In doubt there is a run too many, and never one too few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from ._events import Blocked, Event, Footprint, Key, Run
from ._past import TICK, Late, Past, Rest, Steps, bits
from ._search import (
    Asleep,
    check_length,
    find,
    not_repeatable,
    place_of,
    still_asleep,
)


@attrs.define
class Branch:
    """An event to be tried, and what is to be tried after it."""

    key: Key
    footprint: Footprint
    is_sure: bool
    """Whether it will touch that: it did where nothing that matters was different."""
    below: Tree
    waiting: dict[tuple[Key, ...], Rest] | None = None
    """What is planned afterwards, unless what this has touched shows it is no use."""

    def wait(self, rest: Rest) -> None:
        """Let a plan wait until this has been tried."""
        if self.waiting is None:
            self.waiting = {}
        self.waiting.setdefault(rest.keys(), rest.copy())


Tree: TypeAlias = list[Branch]
"""A wakeup tree; the first branch is tried first."""


@attrs.define
class _Place:
    """A step of the search."""

    tree: Tree
    """What is left to try; the first branch is the one that is tried."""
    asleep: Asleep


class Optimal:
    """All orders, each class of them once."""

    def __init__(self) -> None:
        self._path: list[_Place] = []
        self._past = Past()
        self._surprised = False  # a step of this run touched what it had not elsewhere
        self._armed: list[int] = []  # where the timers of this run were set
        self._open: list[tuple[int, int]] = []  # races that a later run may plan

    # --- A run ---

    def choose(self, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
        """Return the place of what is to be tried here.

        Raises:
            Blocked: All that is possible was tried, in another order.
            NotRepeatable: What was possible here before is not any more.
        """
        at, path = len(trace), self._path
        if at < len(path) - 1:
            return place_of(path[at].tree[0].key, trace, enabled)
        is_new = at == len(path)
        if is_new:
            path.append(self._arrive(trace))
        else:
            self._surprised = False
        planned = self._try(path[at], trace, enabled)
        if planned is not None:
            return planned
        if is_new:
            for place, event in enumerate(enabled):
                if event.kind != "fault" and event.key not in path[at].asleep:
                    path[at].tree.append(
                        Branch(event.key, event.footprint, is_sure=False, below=[])
                    )
                    return place
        raise Blocked

    def _arrive(self, trace: Sequence[Event]) -> _Place:
        """Return the place after the last step."""
        if not trace:
            return _Place([], {})
        before, done = self._path[-1], trace[-1].footprint
        taken = before.tree[0]
        if taken.below and taken.footprint != done:
            self._surprised = True
        asleep = still_asleep(before.asleep, done)
        if not taken.below:
            self._wake(asleep)
            asleep = {}
        return _Place(taken.below, asleep)

    def _wake(self, asleep: Asleep) -> None:
        """Let sleep no longer what a plan should have woken, and has not at its end.

        A step has touched less than where the plan was made. What sleeps on would hide
        what other plans, for which this one was found to be enough, had asked for.
        """
        for key in asleep:
            at = len(self._path) - 1
            while at and key in self._path[at - 1].asleep:
                del self._path[at].asleep[key]
                at -= 1

    def _try(
        self, place: _Place, trace: Sequence[Event], enabled: Sequence[Event]
    ) -> int | None:
        """Return what is planned and possible; drop plans that are not."""
        tree, asleep = place.tree, place.asleep
        while tree:
            wanted = tree[0].key
            found = find(wanted, enabled)
            if found is not None and wanted not in asleep:
                return found
            if found is None and wanted != TICK and not self._surprised:
                raise not_repeatable(wanted, trace, enabled)
            self._leave(place)
        return None

    def _leave(self, place: _Place) -> Branch:
        """Take out the first branch, and plan what has waited for it."""
        branch = place.tree.pop(0)
        if branch.waiting:
            for rest in branch.waiting.values():
                plan(place, rest)
        return branch

    # --- Between two runs ---

    def learn(self, run: Run) -> bool:
        """Plan the other order of each race of a run; False if nothing is planned.

        Raises:
            NotRepeatable: The run was not as it was before.
        """
        path, trace = self._path, run.trace
        check_length(run, len(path) - run.blocked)
        new = len(self._past)
        for place, event in zip(path[new:], trace[new:], strict=False):
            place.tree[0].footprint = event.footprint
        for event in trace[new:]:
            self._past.add(event)
        if not run.blocked:
            self._plan_races(run, new)
        self._step_back()
        return bool(path)

    def _step_back(self) -> None:
        """Go back to where something is left to try."""
        path = self._path
        while path:
            place = path[-1]
            if place.tree:
                done = place.tree[0]
                place.asleep[done.key] = done.footprint
                self._leave(place)
            if place.tree:
                break
            path.pop()
        kept = max(0, len(path) - 1)
        self._past.cut(kept)
        self._open = [(first, at) for first, at in self._open if at < kept]

    def _plan_races(self, run: Run, new: int) -> None:
        """Plan the other order of each race that was not, or not for good, before."""
        past, trace = self._past, run.trace
        races, self._open = self._open, []
        for at in range(new, len(trace)):
            if not trace[at].barrier:
                late = past.late(trace[at], at)
                races += [(first, at) for first in bits(past.races(late))]
        self._armed = [one.sent for one in trace if one.kind == "tick"]
        self._armed += [
            ghost.event.sent for ghost in run.ghosts if ghost.event.kind == "tick"
        ]
        for first, at in races:
            if not self._plan(first, past.late(trace[at], at)):
                self._open.append((first, at))
        for ghost in run.ghosts:
            late = past.ghost(ghost.event, ghost.until)
            for first in bits(past.races(late)):
                self._plan(first, late)

    def _plan(self, first: int, late: Late) -> bool:
        steps = self._past.without(first, late)
        if late.is_tick and not self._can_tick(steps | (1 << first) - 1):
            return False
        rest = Rest(self._past, steps, late)
        # The first branch is the step itself, which shall come later.
        return plan(self._path[first], rest, tried=1)

    def _can_tick(self, steps: Steps) -> bool:
        """Whether more timers were set in *steps* than have fired in them."""
        armed = sum(1 for at in self._armed if at < 0 or steps >> at & 1)
        return armed > self._past.ticks(steps)


def plan(place: _Place, rest: Rest, tried: int = 0) -> bool:
    """Plan a sequence, unless what was or will be tried is the same in another order.

    Args:
        place: Where.
        rest: The sequence.
        tried: How many branches there are no plans any more.

    Returns:
        Whether that is settled, whatever comes later in other runs.
    """
    for key, footprint in place.asleep.items():
        if rest.can_begin_with(key, footprint):
            return rest.is_settled_by(key, footprint, is_sure=True)
    tree, branches = place.tree, place.tree[tried:]
    settled = None
    while True:
        for branch in branches:
            if not branch.is_sure and rest.is_open(branch.key):
                branch.wait(rest)
                return False
            if rest.can_begin_with(branch.key, branch.footprint):
                break
        else:
            for key, footprint, is_sure in rest.in_order():
                if settled is None:
                    settled = rest.is_settled_by(key, footprint, is_sure=is_sure)
                branch = Branch(key, footprint, is_sure, below=[])
                tree.append(branch)
                tree = branch.below
            return settled is not False
        if settled is None:
            settled = rest.is_settled_by(
                branch.key, branch.footprint, is_sure=branch.is_sure
            )
        if not branch.below:
            return settled  # a leaf: what follows it is tried anyway
        rest.remove(branch.key)
        tree = branches = branch.below
