"""What happens in a controlled run, in words that are the same in every run.

Rules of this file:

* Pure: no trio, no actors. The searches know nothing else of the library.
* A key names the same event in every schedule: it is made of paths and names, never of
  a global count. The n-th event of a key comes after the one before.
* A footprint is what a step *did* touch. Before it was done it is what it is known to
  touch at least.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal, NamedTuple, Never, Protocol, TypeAlias

import attrs

Key: TypeAlias = tuple[str, ...]
"""The kind of an event, and between whom: ("message", "/client-1", "/bank")."""

Touched: TypeAlias = tuple[str, str]
"""A resource and its owner: ("turn", "/bank")."""

Footprint: TypeAlias = dict[Touched, bool]
"""What a step touches; True where it writes."""

CLOCK: Touched = ("clock", "")
SEEN: Touched = ("seen", "")
"""All there is: a condition that is checked after each step may look at anything."""

Kind: TypeAlias = Literal[
    "start", "message", "reply", "control", "tick", "settled", "fault", "step"
]
"""What an event is: a client begins, a message is handled, an answer arrives, a stop
or kill or restart acts, time passes, all is quiet and the test goes on, something goes
wrong on purpose; a task goes on to its next checkpoint."""


class Blocked(Exception):  # no error: the search gives this run up
    """This schedule would be equivalent to one that was run already."""


class Unsettled(AssertionError):
    """A run comes to no end."""


def endless(steps: int, time: float) -> Unsettled:
    """Return what is to be said of a run that will come to no end."""
    return Unsettled(
        f"the test does not settle: it has taken {steps} steps, and {time:g} s of its"
        " time. Look for a message that is always answered with another one, for a loop"
        " of checkpoints, and where time passes for somebody who sleeps again and"
        " again. If all this is as it should be, a timer that repeats while the test"
        " sleeps: let the test sleep less, or the timer repeat less often."
    )


@attrs.define(eq=False)
class Event:
    """Something that can happen next, or has happened as a step of a run."""

    key: Key
    kind: Kind
    dst: str
    """Whose turn it is: the path of an actor, the name of a client."""
    footprint: Footprint
    sent: int = -1
    """The step that made it possible; -1: it was possible from the start."""
    src: str = ""
    """Who sent it; for the diagram."""
    label: str = ""
    """What it is, for reports: ``Add(amount=1)``."""
    busy: frozenset[str] = frozenset()
    """Of a step: who could take no message just before it, in the middle of a turn."""
    place: int = -1
    """Which step of the run it was."""
    part: int = 0
    """In which part of the step that made it possible it was made."""
    after: tuple[Any, ...] = ()
    """Events with other keys that it comes behind."""
    barrier: bool = False
    """It could not have come earlier, and nothing that was sent after it either: all is
    quiet, and the test goes on, or time passes."""


class Over(Event):
    """The step in which somebody uses an actor of a run that is over."""

    def __init__(self) -> None:
        """It touches nothing that there still is."""

    def __getattribute__(self, name: str) -> Never:
        raise RuntimeError(
            "an actor, or what one has given, was used after its run was over. Nothing"
            " of the test's may outlive it: spawn the actors in the test, and keep no"
            " ref in a module or in a fixture."
        )


@attrs.frozen
class Ghost:
    """What could have happened until a step, or the end, made it impossible."""

    event: Event
    until: int
    """The step after which it could no longer happen: its place in the trace would be
    right behind that. ``len(trace) - 1``: it was still possible at the end."""


class Part(NamedTuple):
    """What one task did in a step, up to its next checkpoint."""

    touched: Footprint
    causes: int
    """The parts of the step that it could not have come before, a bit for each."""

    @property
    def is_idle(self) -> bool:
        """Whether a client went on, and that was all: nothing can come before that."""
        return len(self.touched) == 1 and not next(iter(self.touched))[1].startswith(
            "/"
        )


@attrs.define(eq=False)
class Run:
    """One run of a program under one schedule."""

    trace: list[Event] = attrs.field(factory=list[Event])
    ghosts: list[Ghost] = attrs.field(factory=list[Ghost])
    ranks: list[int] = attrs.field(factory=list[int])
    """Which of the enabled events was taken at each step; 0 is the oldest (FIFO)."""
    error: BaseException | None = None
    blocked: bool = False
    """It was given up: it would be equivalent to one that was run already."""
    outcome: Hashable = None
    """What the program returned; the searches are checked against each other by it."""
    by_hand: dict[str, None] = attrs.field(factory=dict[str, None])
    """The actors that the test plays by hand: no fault is theirs."""
    missed: list[Event] = attrs.field(factory=list[Event])
    """What became possible in one part of a step, and impossible in another."""
    parts: dict[int, list[Part]] = attrs.field(factory=dict[int, list[Part]])
    """Of the steps that had several; -1: what the test begins with."""


class Search(Protocol):
    """What decides: which event is next, and whether there will be another run."""

    def choose(self, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
        """Return the place of the next event in *enabled*, which is never empty.

        They are in the order of their sending; ticks, then faults, come last.

        Raises:
            Blocked: The run would be equivalent to one that was run already.
        """
        ...

    def learn(self, run: Run) -> bool:
        """Take note of a run that has ended; return whether there is another one."""
        ...


def dependent(one: Footprint, other: Footprint) -> bool:
    """Whether two steps may not change places: they share what one of them writes."""
    if len(other) < len(one):
        one, other = other, one
    return any(
        touched in other and (written or other[touched])
        for touched, written in one.items()
    )
