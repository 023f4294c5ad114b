"""The output gate: what a turn sends waits until what it has stored is durable.

Rules of this file:

* Only turns of durable actors have a gate, and only what their own task, and the tasks
  of nurseries in it, send is held: tasks beside the handlers are not the turn.
* What is held goes in the order in which it was sent, or not at all: messages, answers,
  and commands to others such as stop.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from trio.lowlevel import Task, current_task

from ._waits import CURRENT

if TYPE_CHECKING:
    from ._cell import Cell


class Held:
    """Something that is held back."""

    __slots__ = ("drop", "go", "place")

    def __init__(
        self,
        place: object,
        go: Callable[[], None],
        drop: Callable[[BaseException | str], None],
    ) -> None:
        self.place: object = place  # where it goes to
        self.go: Callable[[], None] = go
        self.drop: Callable[[BaseException | str], None] = drop  # why it will not go


class Gate:
    """What one turn has sent so far."""

    __slots__ = ("_held", "cell", "staged")

    def __init__(self, cell: Cell) -> None:
        self.cell: Cell = cell
        self.staged: bool = False  # something is to be stored that is not durable yet
        self._held: list[Held] = []

    def hold(
        self,
        place: object,
        go: Callable[[], None],
        drop: Callable[[BaseException | str], None],
    ) -> None:
        """Hold something back.

        Args:
            place: Where it goes to: what goes to one place keeps its order.
            go: Lets it go.
            drop: Says to who waits for it that it will not go, and why.
        """
        # In the context of this moment: what travels with a message is what was set.
        self._held.append(Held(place, partial(copy_context().run, go), drop))

    def lets_ask(self, place: object) -> bool:
        """Whether the turn's own question to somebody goes at once.

        It does while there is nothing to wait for, and what was sent to the same one
        before goes with it, so that the order is kept.
        """
        if not self.staged:
            self.release(place)
        return not self.staged

    def lets_wait(self, path: str) -> None:
        """Let go what was sent to an actor, above or below it, whose end is waited for.

        Unless there is something to wait for first: then it goes with all the rest.
        """
        if not self.staged:
            self._release(lambda place: _is_about(place, path))

    def release(self, place: object = None) -> None:
        """Let go what is held; with a *place* only what goes there."""
        self._release(lambda one: place is None or one == place)

    def _release(self, goes: Callable[[object], bool]) -> None:
        held = self._held
        going = [one for one in held if goes(one.place)]
        self._held = [one for one in held if not goes(one.place)]
        gate, self.cell.gate = self.cell.gate, None
        try:
            for one in going:
                one.go()
        finally:
            self.cell.gate = gate

    def drop(self, why: BaseException | str) -> None:
        """Let go nothing: the turn has failed, or was cut short."""
        held, self._held = self._held, []
        for one in held:
            one.drop(why)


def gate_here() -> Gate | None:
    """Return the gate of the turn this step belongs to."""
    cell = CURRENT.get()
    if cell is None or cell.gate is None or not is_turn_of(cell):
        return None
    return cell.gate


def hold_here(place: object, go: Callable[[], None]) -> bool:
    """Hold something back for which nobody waits; False if there is no gate here."""
    gate = gate_here()
    if gate is not None:
        gate.hold(place, go, lambda _: None)
    return gate is not None


def let_wait_here(path: str) -> None:
    """Say that this step begins to wait for the end of an actor."""
    gate = gate_here()
    if gate is not None:
        gate.lets_wait(path)


def _is_about(place: object, path: str) -> bool:
    """Whether something goes to the actor of a path, or to one above or below it."""
    there = getattr(place, "path", "")
    if not there:
        return False
    return f"{there}/".startswith(f"{path}/") or path.startswith(f"{there}/")


def is_turn_of(cell: Cell) -> bool:
    """Whether this step belongs to the turn of *cell*, not to a task beside it."""
    task: Task | None = current_task()
    while task is not None and task is not cell.worker:
        nursery = task.parent_nursery
        task = None if nursery is None else nursery.parent_task
    return task is not None
