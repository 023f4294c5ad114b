"""The tree as it is now, as values and as text.

Rules of this file:

* A tree may be deeper than Python's stack: nothing here goes down by recursion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, cast, final

import attrs

from ._cell import Cell
from ._family import walk

if TYPE_CHECKING:
    from ._supervisor import Family

State = Literal["starting", "running", "backoff", "stopping", "stopped"]


@final
@attrs.frozen(repr=False)
class Snapshot:
    """An actor and its children at one moment."""

    path: str
    """Where it is."""
    state: State
    """What it is doing."""
    queued: int
    """Messages in the mailbox."""
    capacity: float
    """Room in the mailbox."""
    high_water: int
    """The most messages that ever waited."""
    handled: int
    """Messages handled so far."""
    failed: int
    """Messages whose handler failed."""
    restarts: int
    """Restarts so far."""
    handling: str | None
    """The type of the message in hand."""
    handling_for: float
    """Seconds since that message was taken."""
    waits_for: str | None
    """The path of the actor it asks."""
    children: tuple[Snapshot, ...]
    """Its children in start order."""

    def __repr__(self) -> str:
        """As of any record, but for a tree of any depth."""
        texts: list[str] = []
        left: list[Snapshot | str] = [self]
        while left:
            one = left.pop()
            if isinstance(one, str):
                texts.append(one)
                continue
            values = [f"{name}={getattr(one, name)!r}" for name in VALUES]
            texts.append(f"Snapshot({', '.join(values)}, children=(")
            left.append(",))" if len(one.children) == 1 else "))")
            for child in reversed(one.children):
                left += [child, ", "]
            if one.children:
                left.pop()  # no comma before the first
        return "".join(texts)

    def render(self) -> str:
        """Return the tree as text, a line for each actor."""
        rows = list(_rows(self))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {facts}".rstrip() for name, facts in rows)


VALUES = [one.name for one in attrs.fields(Snapshot) if one.name != "children"]


def _rows(top: Snapshot) -> Iterator[tuple[str, str]]:
    """Iterate over the lines, each in two columns."""
    left = [(top, "", "")]
    while left:
        one, first, others = left.pop()
        yield first + (one.path.rpartition("/")[2] or one.path), _facts(one)
        branch, trunk = "└─ ", "   "
        for child in reversed(one.children):
            left.append((child, others + branch, others + trunk))
            branch, trunk = "├─ ", "│  "


def _facts(one: Snapshot) -> str:
    room = "" if one.capacity == math.inf else f"/{one.capacity:g}"
    facts = [f"{one.state:8}", f"{one.queued}{room} waiting", f"{one.handled} handled"]
    if one.failed:
        facts.append(f"{one.failed} failed")
    if one.restarts:
        facts.append(f"{one.restarts} restarts")
    if one.handling is not None:
        facts.append(f"handling {one.handling} for {one.handling_for:.3g} s")
    if one.waits_for is not None:
        facts.append(f"waits for {one.waits_for}")
    return "  ".join(facts)


def _look_at(cell: Cell, children: tuple[Snapshot, ...]) -> Snapshot:
    box = cell.box
    since = cell.runtime.now() - cell.busy_since
    wait = cell.waits_for
    return Snapshot(
        path=cell.path,
        state=cast("State", cell.condition),
        queued=box.count,
        capacity=box.capacity,
        high_water=max(box.high_water, box.count),
        handled=cell.tally()["handled"],
        failed=cell.failed,
        restarts=cell.restarts,
        handling=cell.handling_type,
        handling_for=max(0.0, since),
        waits_for=wait.target.path if wait is not None else None,
        children=children,
    )


def snapshot_of(top: Cell) -> Snapshot:
    """Return an actor and all below it as they are now."""
    made: dict[Cell, Snapshot] = {}
    for cell in reversed(list(walk([top]))):  # children before their parents
        under = cell.under.in_order() if cell.under is not None else []
        made[cell] = _look_at(cell, tuple(made.pop(child) for child in under))
    return made[top]


def snapshot_of_all(root: Family, name: str, *, ended: bool) -> Snapshot:
    """Return the whole tree; the numbers at its top are sums."""
    children = tuple(snapshot_of(cell) for cell in root.in_order())
    everybody = list(children)
    for one in everybody:
        everybody.extend(one.children)
    state: State = "stopped" if ended else "stopping" if root.closing else "running"
    return Snapshot(
        path=name,
        state=state,
        queued=sum(one.queued for one in everybody),
        capacity=math.inf,
        high_water=max((one.high_water for one in everybody), default=0),
        handled=sum(one.handled for one in everybody),
        failed=sum(one.failed for one in everybody),
        restarts=sum(one.restarts for one in everybody),
        handling=None,
        handling_for=0.0,
        waits_for=None,
        children=children,
    )
