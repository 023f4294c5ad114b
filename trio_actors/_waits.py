"""Who waits for whom: the edges from which a deadlock is known.

Rules of this file:

* A deadlock is raised only where it is certain: the edges are those of the actors' own
  tasks, and they end where the answer was given, deferred or stashed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from trio.lowlevel import current_task

from ._errors import AskDeadlock

if TYPE_CHECKING:
    from ._cell import Cell

CURRENT: ContextVar[Cell | None] = ContextVar("trio_actors_current", default=None)
"""The actor in whose context a task runs, also in the tasks it has started."""


class Hold:
    """A wait for what another actor does next: takes a message, starts, or ends."""

    __slots__ = ("_is_over", "target")

    def __init__(self, target: Cell, is_over: Callable[[], bool]) -> None:
        self.target: Cell = target
        self._is_over = is_over

    @property
    def over(self) -> bool:
        """Whether it was reached, although the one who waits has not run since."""
        return self._is_over()


class Wait(Protocol):
    """What an actor's own task waits for: an answer, or what another actor does."""

    @property
    def target(self) -> Cell:
        """Whose turn has to go on."""
        ...

    @property
    def over(self) -> bool:
        """Whether it was reached, although the one who waits has not run since."""
        ...


def _held_up_by(wait: Wait | None, cell: Cell) -> Cell | None:
    """Return whose turn has to go on before that of *cell* can."""
    return None if wait is None or wait.over or cell.is_cut_short else wait.target


def check_deadlock(asker: Cell, target: Cell) -> None:
    """Raise AskDeadlock if *target*, for which *asker* waits, waits for *asker*."""
    if asker.runtime.sees_waits:
        asker.runtime.see_wait(asker, target)
    trail = [asker]
    cell: Cell | None = target
    while cell is not None:
        trail.append(cell)
        if cell is asker:
            raise AskDeadlock([one.path for one in trail])
        if cell in trail[:-1]:
            return  # somebody else's cycle
        cell = _held_up_by(cell.waits_for, cell)


@contextmanager
def waiting_for(
    target: Cell, is_over: Callable[[], bool], *, end: bool = False
) -> Generator[None]:
    """Say that this task waits for what *target* does next, or for its *end*."""
    asker = CURRENT.get()
    if asker is None or asker.worker is not current_task():
        yield
        return
    asker.waits_for = Hold(target, is_over)
    try:
        if end and target in asker.and_above()[1:]:
            # Nobody ends before all below have ended, and this turn is below.
            raise AskDeadlock([asker.path, target.path, asker.path])
        check_deadlock(asker, target)
        yield
    finally:
        asker.waits_for = None
        asker.signal()
