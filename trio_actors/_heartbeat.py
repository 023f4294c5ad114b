"""Heartbeats: an actor that is silent for too long is restarted.

Rules of this file (S3-6 and its defects):

* Alive is who waits in its mailbox, whose turn is younger than the timeout, or who
  called ``context.heartbeat()`` within it. The beat is not a message: a full mailbox
  does not silence it, and an actor that hangs in its start is seen.
* The checker measures its own lateness: a round that comes late checks nothing and
  starts all clocks anew, since whatever held it up held up everybody.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._errors import ActorError
from ._policy import Heartbeat

if TYPE_CHECKING:
    from ._cell import Cell

log = logging.getLogger("trio_actors")


def watch_heart(cell: Cell, heartbeat: Heartbeat) -> None:
    """Check *cell* from now on, until it ends."""
    Heart(cell, heartbeat).wait_for_next()


class Heart:
    """The checker of one actor."""

    __slots__ = ("_cell", "_due", "_ended", "_heartbeat", "_said")

    def __init__(self, cell: Cell, heartbeat: Heartbeat) -> None:
        self._cell = cell
        self._heartbeat = heartbeat
        self._due = 0.0
        self._ended: float | None = None  # when the turn began that was told to end
        self._said = False  # that it does not

    def wait_for_next(self) -> None:
        """Check again after the interval."""
        cell = self._cell
        self._due = cell.runtime.now() + self._heartbeat.every
        cell.runtime.call_at(self._due, self._check, cell.path, "heartbeat")

    def _check(self) -> None:
        cell, heartbeat = self._cell, self._heartbeat
        if cell.phase == "stopped":
            return
        now = cell.runtime.now()
        if now - self._due > heartbeat.every / 2:
            cell.alive_at = now
        # busy_since is infinite while it waits in its mailbox: then it is alive.
        silent = now - max(cell.busy_since, cell.alive_at)
        if silent > heartbeat.timeout:
            self._end_turn(silent)
        self.wait_for_next()

    def _end_turn(self, silent: float) -> None:
        cell = self._cell
        if self._ended == cell.busy_since:
            if self._said:
                return
            self._said = True
            log.error(
                "%s is stuck: it was told to end %s, and does not. A handler must not"
                " swallow trio.Cancelled, and a shield needs a deadline.",
                cell.path,
                cell.doing(),
            )
        else:
            self._ended, self._said = cell.busy_since, False
            hung = ActorError(
                f"{cell.path} was silent for {silent:.3g} s while {cell.doing()}"
                f" (limit {self._heartbeat.timeout:g} s). Call context.heartbeat() in"
                " a long handler, or give it a longer timeout."
            )
            cell.fail(hung, hung=True)
