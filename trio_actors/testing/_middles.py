"""Whether something could have come in the middle of a step.

A step goes on until all is at rest. Where a task in it comes to a checkpoint, somebody
else could act there in production: a kill between two messages of one handler, a
message that is taken before the next one is sent. Mostly that is the same as before the
step, or after it. Where it is not, each task step has to be a step of its own.

Rules of this file:

* Pure, as every search is.
* An actor in the middle of a turn takes no message, and stops after it. A kill and a
  restart cut into it, and its other tasks take turns with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ._events import CLOCK, SEEN, Event, Footprint, Part, Run, dependent

_CUTS = ("kill", "restart")
_OUTSIDE = ("settled", "tick", "fault")
_NOTHING = (SEEN, CLOCK)
"""What no part can change for another: who looks at all there is does so at the end of
a step, and time passes between steps."""


def in_the_middle(run: Run) -> str:
    """Return what could have come in the middle of a step, in words; "" if nothing."""
    if run.missed:
        return _told(run.missed[0], run.trace, run.missed[0].sent)
    for at, parts in run.parts.items():
        if _change_places(parts):
            return f"two tasks go on in any order in a step of {_whose(run.trace, at)}"
        event = _between(run.trace, at, parts)
        if event is not None:
            return _told(event, run.trace, at)
    return ""


def _whose(trace: Sequence[Event], at: int) -> str:
    return trace[at].dst if at >= 0 else "the test"


def _told(event: Event, trace: Sequence[Event], at: int) -> str:
    return (
        f"a {event.kind} from {event.src or event.dst} to {event.dst} could come at a"
        f" checkpoint in a step of {_whose(trace, at)}"
    )


def _change_places(parts: Sequence[Part]) -> bool:
    """Whether two parts touch the same, and neither comes of the other."""
    return any(
        not late.causes >> one & 1
        and dependent(_changes(parts[one].touched), late.touched)
        for number, late in enumerate(parts)
        for one in range(number)
    )


def _between(trace: Sequence[Event], at: int, parts: Sequence[Part]) -> Event | None:
    """Return an event that could have come between two parts of a step."""
    behind: dict[int, int] = {}  # later steps: the parts that they come behind
    for later in range(at + 1, len(trace)):
        event = trace[later]
        touched = _changes(event.footprint)
        if event.sent == at:
            first = _upto(1 << event.part, parts)
        else:
            first = behind.get(event.sent, 0)
        for one, theirs in behind.items():
            if theirs & ~first and dependent(touched, trace[one].footprint):
                first |= theirs
        clashing = _where(touched, parts)
        if not event.barrier and _comes_between(event, parts, clashing, first):
            return event
        first |= (1 << len(parts)) - 1 if event.barrier else _upto(clashing, parts)
        if first:
            behind[later] = first
    return None


def _comes_between(
    event: Event, parts: Sequence[Part], clashing: int, first: int
) -> bool:
    """Whether an event can come before a part that it clashes with, but not all.

    Args:
        clashing: The parts that touch the same.
        first: The parts that it must come behind.
    """
    if event.kind in _OUTSIDE:
        return False
    turn = {("turn", event.dst): True}
    if event.kind == "message":
        first |= _upto(clashing & _where(turn, parts), parts)
    late = clashing & ~first
    if event.kind == "control" and event.label not in _CUTS:
        others = _changes(event.footprint)
        others.pop(("turn", event.dst), None)
        late &= _where(others, parts)
    return any(
        late >> number & 1
        and (
            first
            or any(
                clashing >> one & 1 and one != number and not other.causes >> number & 1
                for one, other in enumerate(parts)
            )
        )
        for number in range(len(parts))
    )


def _where(footprint: Footprint, parts: Sequence[Part]) -> int:
    """Return the parts that touch the same as *footprint*."""
    return sum(
        1 << number
        for number, part in enumerate(parts)
        if dependent(footprint, part.touched)
    )


def _upto(some: int, parts: Sequence[Part]) -> int:
    """Return some parts, and all that they come of."""
    found = some
    for number, part in enumerate(parts):
        if some >> number & 1:
            found |= part.causes
    return found


def _changes(footprint: Footprint) -> Footprint:
    """Return what of a footprint a part can change for another."""
    return {one: how for one, how in footprint.items() if one not in _NOTHING}
