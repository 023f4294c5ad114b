"""What is possible in a run, what may go wrong in it, and what does.

Rules of this file:

* A plan names the *message* at which something goes wrong, by its sender, its receiver
  and its number between the two: "at the third step" would be another message in each
  schedule.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias, cast
from urllib.parse import unquote

import attrs

from .._errors import show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._events import Event

Crash: TypeAlias = tuple[str, str, int]
"""A message at which its receiver fails: from whom, to whom, the how manieth."""

Plan: TypeAlias = tuple[Crash, ...]
"""The crashes of a run, in their order."""


def _check_count(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if type(value) is not int or value < 0:
        raise ValueError(
            f"Faults: {attribute.name} is how many, from 0, not {show(value)}."
        )


def _check_seconds(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not isinstance(cast("object", value), int | float) or not value >= 0:
        raise ValueError(
            f"Faults: {attribute.name} is seconds from 0, not {show(value)}."
        )


@attrs.frozen(kw_only=True)
class Faults:
    """What may go wrong in a run.

    A client is outside: what it sends, and what it is answered, goes from one node to
    another. With ``exhaustive=True`` crashes are planned, each possible one in a search
    of its own; what is lost, doubled or late is only sampled. A ``Probe`` is played by
    the test: it does not crash.
    """

    crash: int = attrs.field(default=0, validator=_check_count)
    """How many actors fail, each at one of its messages."""
    drop: int = attrs.field(default=0, validator=_check_count)
    """How many messages are lost (between nodes)."""
    duplicate: int = attrs.field(default=0, validator=_check_count)
    """How many messages arrive twice (between nodes)."""
    delay: float = attrs.field(default=0.0, validator=_check_seconds)
    """The longest extra time of a message, in seconds: as long may timers come first.
    With ``timers="race"`` they always may."""


NO_FAULTS = Faults()


@attrs.frozen(kw_only=True)
class Rules:
    """What is possible in a run."""

    seed: int = 0
    race: bool = True
    """Time may pass before what else could happen."""
    checkpoints: bool = False
    """Which task runs next is chosen at each checkpoint."""
    enqueue: bool = False
    """Messages are taken in the order in which they were sent, whoever sent them."""
    allow_io: bool = False
    faults: Faults = NO_FAULTS
    sampled: bool = True
    """Faults come unplanned, as events of their own."""


def longer(plan: Plan, messages: Iterable[Crash]) -> list[Plan]:
    """Return each plan with one crash more, at one of *messages*."""
    return [
        tuple(sorted((*plan, message))) for message in messages if message not in plan
    ]


def write_plan(plan: Plan) -> str:
    """Write a plan as it stands in a token."""
    return ";".join(
        f"{_quoted(src)}>{_quoted(dst)}#{number}" for src, dst, number in plan
    )


def _quoted(name: str) -> str:
    """Return a name without the characters that are a plan's own."""
    return re.sub("[%;>#]", lambda found: f"%{ord(found[0]):02x}", name)


def read_plan(text: str) -> Plan:
    """Read a plan that `write_plan()` wrote.

    Raises:
        ValueError: It is none.
    """
    plan: list[Crash] = []
    for part in text.split(";") if text else ():
        names, _, number = part.rpartition("#")
        src, _, dst = names.partition(">")
        if not (src and dst and number.isdecimal()):
            raise ValueError(f"{text!r} is no plan of crashes")
        plan.append((unquote(src), unquote(dst), int(number)))
    return tuple(plan)


def can_go_wrong(fault: str, event: Event, by_hand: dict[str, None]) -> bool:
    """Whether it can happen to this: a client is on another node."""
    if fault == "crash":
        return event.kind == "message" and event.dst not in by_hand
    outside = not (event.src.startswith("/") and event.dst.startswith("/"))
    kinds = ("message",) if fault == "duplicate" else ("message", "reply")
    return event.kind in kinds and outside
