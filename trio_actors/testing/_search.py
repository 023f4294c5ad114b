"""Searches of all orders, depth first: with sleep sets, and without any reduction.

Rules of this file:

* Pure, as every search is: events come in, a place goes out.
* What a step touched is known when it was done: sleep sets go by that, and not by what
  an event was expected to touch.
* Depth-first search without any reduction knows nothing of what depends on what. The
  others are checked against it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import attrs

from .._errors import ActorError
from ._events import Blocked, Event, Footprint, Key, Run, Touched, dependent

Asleep = dict[Key, Footprint]
"""What need not be taken next: it was, here, and all that follows was tried."""

Name = tuple[Key, int]
"""An event of a run: its key, and the how manieth of that key it was."""


class NotRepeatable(ActorError):
    """The same schedule did not give the same run: something is not controlled."""


def canonical(trace: Sequence[Event]) -> Hashable:
    """Return what a run has in common with those that differ in independent steps.

    (Its Mazurkiewicz trace: for each resource the order of those who wrote it, and
    between which of them somebody has read.)
    """
    counts: dict[Key, int] = {}
    lines: dict[Touched, list[tuple[bool, list[Name]]]] = {}
    for event in trace:
        counts[event.key] = count = counts.get(event.key, 0) + 1
        for touched, writes in event.footprint.items():
            line = lines.setdefault(touched, [])
            if writes or not line or line[-1][0]:
                line.append((writes, []))
            line[-1][1].append((event.key, count))
    return tuple(
        (touched, tuple((writes, tuple(sorted(names))) for writes, names in line))
        for touched, line in sorted(lines.items())
    )


def place_of(wanted: Key, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
    """Return the place of an event that was possible here before.

    Raises:
        Blocked: It is the passing of time, which depends on what else has happened.
        NotRepeatable: It is not possible any more.
    """
    for place, event in enumerate(enabled):
        if event.key == wanted:
            return place
    if wanted == ("tick",):
        raise Blocked
    possible = ", ".join(" ".join(event.key) for event in enabled)
    raise NotRepeatable(
        f"the same schedule gave another run: step {len(trace)} was {' '.join(wanted)},"
        f" and now there are only {possible}. Something is not controlled: random"
        " numbers that are not the system's, an order of a set, id(), real time, a"
        " thread."
    )


def still_asleep(asleep: Asleep, done: Footprint) -> Asleep:
    """Return what sleeps on after a step: what does not depend on it."""
    return {
        key: footprint
        for key, footprint in asleep.items()
        if not dependent(footprint, done)
    }


@attrs.define
class _Place:
    """A step of the search, and what is left to try there."""

    now: Key
    left: list[Key]
    asleep: Asleep


class Depth:
    """All orders, depth first.

    Args:
        sleep: Give up runs that would be equivalent to one before, by sleep sets.
    """

    def __init__(self, *, sleep: bool = False) -> None:
        self._sleep = sleep
        self._path: list[_Place] = []

    def choose(self, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
        """Return the place of the first that was not tried here."""
        if len(trace) == len(self._path):
            asleep: Asleep = {}
            if trace and self._sleep:
                asleep = still_asleep(self._path[-1].asleep, trace[-1].footprint)
            left = [
                event.key
                for event in enabled
                if event.kind != "fault" and event.key not in asleep
            ]
            if not left:
                raise Blocked
            self._path.append(_Place(left[0], left[1:], asleep))
        return place_of(self._path[len(trace)].now, trace, enabled)

    def learn(self, run: Run) -> bool:
        """Go back to where something is left to try; False if there is nothing."""
        footprints = [event.footprint for event in run.trace]
        path = self._path
        while path and not path[-1].left:
            path.pop()
        if not path:
            return False
        place = path[-1]
        place.asleep = {**place.asleep, place.now: footprints[len(path) - 1]}
        place.now = place.left.pop(0)
        return True
