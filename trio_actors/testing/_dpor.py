"""Optimal dynamic partial-order reduction: one run for each class, and none twice.

Rules of this file:

* Pure, as every search is. After Abdulla, Aronis, Jonsson and Sagonas, "Optimal dynamic
  partial order reduction": wakeup trees, and sleep sets.
* A race is a pair of steps that touch the same, next to each other in the order of what
  came before what. The other order is planned at the first: a branch of its tree.
* An actor that is in the middle of a turn is locked: a message for it races with what
  has begun the turn, not with what came in its midst.
* What did not happen, but could have, races as if it had: see `Ghost`.
* A plan says what a step touched elsewhere. Here it may touch something else: what was
  not planned because of that is planned then. In doubt there is a run too many, and
  never one too few.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import TypeAlias

import attrs

from ._events import Blocked, Event, Footprint, Key, Run
from ._past import TICK, Late, Past, Rest, Steps, bits
from ._search import (
    Asleep,
    check_length,
    find,
    no_longer_possible,
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
    waiting: Plans = attrs.Factory(dict[Hashable, Rest])
    """What is planned beside it, unless what this has touched shows it is no use."""
    within: Plans = attrs.Factory(dict[Hashable, Rest])
    """What is tried after this anyway: its last step leaves everything open."""
    is_done: bool = False
    """Whether a run has gone through it to its end."""


Plans: TypeAlias = dict[Hashable, Rest]
Tree: TypeAlias = list[Branch]
"""A wakeup tree; the first branch is tried first."""


@attrs.define
class _Place:
    """A step of the search."""

    tree: Tree
    """What is left to try; the first branch is the one that is tried."""
    asleep: Asleep
    """What was tried before it came here, and would be the same."""
    done: Asleep
    """What was tried here."""


class Optimal:
    """All orders, each class of them once."""

    def __init__(self) -> None:
        self._path: list[_Place] = []
        self._past = Past()
        self._timers: list[tuple[int, Steps]] = []  # where set, and where cancelled
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
        place = path[at]
        is_planned = bool(place.tree)
        found = self._try(place, trace, enabled)
        if found is not None:
            return found
        if not is_new:
            raise Blocked
        if is_planned:
            self._wake_all(place)
        return self._go_on(place, enabled)

    def _arrive(self, trace: Sequence[Event]) -> _Place:
        """Return the place after the last step."""
        if not trace:
            return _Place([], {}, {})
        before, done = self._path[-1], trace[-1].footprint
        taken = before.tree[0]
        asleep = still_asleep(before.asleep, done)
        asleep |= still_asleep(before.done, done)
        place = _Place(taken.below, asleep, {})
        if asleep and not taken.below:
            # The end of a plan that should have woken all: a step has touched less than
            # where it was made. What follows was tried in another order, but for what
            # was not planned because this leaves everything open.
            for rest in taken.within.values():
                plan(place, rest)
        return place

    def _wake_all(self, place: _Place) -> None:
        """A plan has failed; nobody knows what else it would have woken."""
        for key in place.asleep:
            at = len(self._path) - 2
            while key in self._path[at].asleep:
                del self._path[at].asleep[key]
                at -= 1
        place.asleep = {}

    def _go_on(self, place: _Place, enabled: Sequence[Event]) -> int:
        """Return the oldest that is awake: nothing is planned any more.

        Mostly nothing sleeps at the end of a plan. What does, waits for a step that
        has touched more where it sleeps than where the plan was made.
        """
        for found, event in enumerate(enabled):
            if event.kind != "fault" and event.key not in place.asleep:
                branch = Branch(event.key, event.footprint, is_sure=False, below=[])
                place.tree.append(branch)
                return found
        raise Blocked

    def _try(
        self, place: _Place, trace: Sequence[Event], enabled: Sequence[Event]
    ) -> int | None:
        """Return what is planned and possible.

        Plans are dropped where time cannot pass: to what is due next it may not.
        """
        tree = place.tree
        while tree:
            wanted = tree[0].key
            found = find(wanted, enabled)
            tried = wanted in place.asleep or wanted in place.done
            if found is not None and not tried:
                return found
            if found is None and wanted != TICK:
                raise no_longer_possible(wanted, trace, enabled)
            self._leave(place)
        return None

    def _leave(self, place: _Place) -> None:
        """Take out the first branch, and plan what has waited for it."""
        branch = place.tree.pop(0)
        for rest in branch.waiting.values():
            plan(place, rest)

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
            for place in path:
                place.tree[0].is_done = True
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
                if done.is_done:
                    place.done[done.key] = done.footprint
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
        self._timers = [(one.sent, 0) for one in trace if one.key == TICK]
        self._timers += [
            (ghost.event.sent, (1 << ghost.until) & ~(1 << len(trace) - 1))
            for ghost in run.ghosts
            if ghost.event.key == TICK
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
        """Whether after *steps* there is a timer that was set, and is still to come."""
        pending = sum(
            1
            for at, cancelled in self._timers
            if (at < 0 or steps >> at & 1) and not steps & cancelled
        )
        return pending > self._past.ticks(steps)


def plan(place: _Place, rest: Rest, tried: int = 0) -> bool:
    """Plan a sequence, unless what was or will be tried is the same in another order.

    Args:
        place: Where.
        rest: The sequence.
        tried: How many branches there are no plans any more.

    Returns:
        Whether that is settled, whatever comes later in other runs.
    """
    for key, footprint in chain(place.asleep.items(), place.done.items()):
        if rest.can_begin_with(key, footprint):
            return rest.is_settled_by(key, footprint, is_sure=True)
    tree, branches = place.tree, place.tree[tried:]
    settled = None
    while True:
        for branch in branches:
            if not branch.is_sure and rest.is_open(branch.key):
                branch.waiting.setdefault(rest.name(), rest.copy())
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
        rest.remove(branch.key)
        if not branch.below:
            branch.within.setdefault(rest.name(), rest.copy())
            return settled
        tree = branches = branch.below
