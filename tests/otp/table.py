"""What is played on OTP's own supervisor and here: families, and scripts.

A script is a list of steps. A step is what somebody does to a family, and its log is
what the family does then:

=============================== ====================================================
step                            meaning
=============================== ====================================================
``["exit", child, how]``        the child ends by itself: "normal", "shutdown", "failed"
                                (nothing happens if it does not run)
``["stop", child]``             somebody else asks it to stop
``["kill", child]``             somebody else kills it
``["together", step, ...]``     all of it, before the supervisor looks
``["start", child]``            ``start_child`` at the top
``["terminate", child]``        ``terminate_child``; so "restart" and "delete"
``["which", supervisor]``       ``which_children``; so "count"
``["sleep", seconds]``          time passes
``["timed", step]``             the step, and how long it takes
=============================== ====================================================

A log has ``[start, name]``, ``[start_failed, name]``, ``[invalid, name]``, and
``[stop, name, kind]``, where the kind of a worker's end is "normal" (by itself),
"shutdown" (asked to), "failed" or "killed", and that of a supervisor's also "gave_up".
The first step is the start of the supervisor "top", the last one its shutdown.
"""

from typing import Literal, TypeAlias

import attrs

Restart: TypeAlias = Literal["permanent", "transient", "temporary"]
Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]
Step: TypeAlias = list[object]
Log: TypeAlias = list[list[object]]

STRATEGIES: tuple[Strategy, ...] = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS: tuple[Restart, ...] = ("permanent", "transient", "temporary")


@attrs.frozen
class Child:
    """A child of a supervisor."""

    name: str
    restart: Restart = "permanent"
    fails: tuple[int, ...] = ()
    """Which of its starts fail, counted from 1 over the whole script."""
    at_stop: Literal["obeys", "fails", "hangs"] = "obeys"
    """What it does when it is asked to stop."""
    shutdown: float = 5.0
    significant: bool = False
    family: "Family | None" = None
    """Its own children, if it is a supervisor."""


@attrs.frozen
class Family:
    """A supervisor and its children."""

    children: tuple[Child, ...]
    """In start order; of a dynamic one the template of all."""
    strategy: Strategy = "one_for_one"
    intensity: int = 3
    period: int = 5
    auto_shutdown: AutoShutdown = "never"
    dynamic: bool = False


@attrs.frozen
class Differs:
    """Where we differ from OTP, on purpose."""

    rule: str
    """The rule of the design that says so."""
    steps: dict[int, Log]
    """What we do instead in these steps; an end of the top there ends the script."""


@attrs.frozen
class Scenario:
    """A family and what happens to it."""

    name: str
    top: Family
    script: list[Step]
    differs: Differs | None = None


def kids(names: str, restart: Restart = "permanent") -> tuple[Child, ...]:
    """Children that differ in their names only."""
    return tuple(Child(name, restart) for name in names)
