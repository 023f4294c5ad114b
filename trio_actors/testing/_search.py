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
from hashlib import blake2b

import attrs

from .._errors import ActorError
from ._events import Blocked, Event, Footprint, Key, Run, Touched

Asleep = dict[Key, Footprint]
"""What need not be taken next: it was, here, and all that follows was tried."""


class NotRepeatable(ActorError):
    """The same schedule did not give the same run: something is not controlled."""


OTHER_STEP = (
    "random numbers that are not the system's, an order of a set, id(), real time,"
    " a thread"
)
"""What is likely where a step was another one."""

OTHER_END = (
    "state that outlives the test, random numbers that are not the system's, real time"
)
"""What is likely where a run ended in another way."""


def not_repeatable(what: str, likely: str = OTHER_END) -> NotRepeatable:
    """Return an error that says what was different, and what it is likely to be."""
    return NotRepeatable(
        f"the same schedule gave another run: {what}. Something is not controlled:"
        f" {likely}."
    )


def canonical(trace: Sequence[Event]) -> Hashable:
    """Return what a run has in common with those that differ in independent steps.

    (A digest of its Mazurkiewicz trace: for each resource the order of those who wrote
    it, and between which of them somebody has read. An event is called by its key, and
    by the how manieth of that key it was.)
    """
    counts: dict[Key, int] = {}
    lines: dict[Touched, list[str]] = {}
    readers: dict[Touched, list[str]] = {}
    for event in trace:
        key = event.key
        counts[key] = count = counts.get(key, 0) + 1
        name = f"{count}{_BETWEEN}{_BETWEEN.join(key)}"
        for touched, writes in event.footprint.items():
            if not writes:
                readers.setdefault(touched, []).append(name)
                continue
            line = lines.setdefault(touched, [])
            if touched in readers:
                line += [_READ, *sorted(readers.pop(touched))]
            line += [_WRITTEN, name]
    for touched, names in readers.items():
        lines.setdefault(touched, []).extend([_READ, *sorted(names)])
    # Who touched nothing is in no line.
    every = [f"{count}{_BETWEEN}{_BETWEEN.join(key)}" for key, count in counts.items()]
    text = [*sorted(every)]
    for touched in sorted(lines):
        text += [_LINE, *touched, *lines[touched]]
    return blake2b("\0".join(text).encode(), digest_size=16).digest()


_READ, _WRITTEN, _LINE, _BETWEEN = "\1", "\2", "\3", "\4"


def find(wanted: Key, enabled: Sequence[Event]) -> int | None:
    """Return the place of an event among those that are possible."""
    for place, event in enumerate(enabled):
        if event.key == wanted:
            return place
    return None


def place_of(wanted: Key, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
    """Return the place of an event that must be possible here.

    Raises:
        NotRepeatable: It is not.
    """
    place = find(wanted, enabled)
    if place is None:
        raise no_longer_possible(wanted, trace, enabled)
    return place


def no_longer_possible(
    wanted: Key, trace: Sequence[Event], enabled: Sequence[Event]
) -> NotRepeatable:
    """Return an error that says what had to be possible, and what is."""
    possible = ", ".join(" ".join(event.key) for event in enabled)
    return not_repeatable(
        f"step {len(trace)} was {' '.join(wanted)}, and now there are only {possible}",
        OTHER_STEP,
    )


def check_length(run: Run, length: int) -> None:
    """Check that a run had at least the steps that were run before.

    Raises:
        NotRepeatable: It is shorter.
    """
    if isinstance(run.error, NotRepeatable):
        raise run.error
    if len(run.trace) < length:
        raise not_repeatable(
            f"it ended after {len(run.trace)} steps and not, as before, after {length}"
            " or more"
        )


def still_asleep(asleep: Asleep, done: Footprint) -> Asleep:
    """Return what sleeps on after a step: what does not depend on it."""
    left: Asleep = {}
    for key, footprint in asleep.items():
        # As dependent() says, but this is where the time goes.
        for touched, writes in done.items():
            other = footprint.get(touched)
            if other is not None and (writes or other):
                break
        else:
            left[key] = footprint
    return left


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
        """Return the place of the first that was not tried here.

        Raises:
            Blocked: All that is possible was tried, in another order.
            NotRepeatable: What was possible here before is not any more.
        """
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
        """Go back to where something is left to try; False if there is nothing.

        Raises:
            NotRepeatable: The run was not as it was before.
        """
        path = self._path
        check_length(run, len(path))
        while path and not path[-1].left:
            path.pop()
        if not path:
            return False
        place = path[-1]
        place.asleep[place.now] = run.trace[len(path) - 1].footprint
        place.now = place.left.pop(0)
        return True
