"""Reminders: timers that outlive the process.

Rules of this file:

* What is kept is a time of day; what runs is a timer on the loop's own clock, so that a
  clock that is set back or forth moves nothing while the actor lives.
* A reminder is taken away, or moved on, in the append of the command that handles it:
  one that was not handled comes again.
* One that fails is the last of those that are overdue when it comes again: it keeps no
  other from coming. That outlives incarnations, and activations of an entity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, final

import attrs

from .._errors import show
from .._timers import cancel_timer, set_timer
from ._journal import Note

if TYPE_CHECKING:
    from .._cell import Cell

AGAIN = 2.0
"""Seconds until a reminder whose handler has failed comes again: so slowly that the
actor stays within its restarts (three in five seconds), however often that is."""
PROMPT = 1.0
"""Seconds by which one may be late and was not missed: who is passive wakes first."""


@final
@attrs.frozen
class Reminder:
    """The message of ``remind()``."""

    name: str
    """Which one."""
    missed: int
    """How often it was due while nobody was there."""
    command_id: str = attrs.field(default="", eq=False)
    """Made from its name and the time it was due: for commands that it leads to."""


class Reminders:
    """The reminders of one actor."""

    def __init__(self, cell: Cell, notes: Sequence[Note]) -> None:
        self._cell = cell
        self._notes = {note.key: note for note in notes if note.kind == "reminder"}
        if cell.retries:
            kept = {key: at for key, at in cell.retries.items() if key in self._notes}
            cell.retries = kept
        self.publish()

    def publish(self) -> None:
        """Say on the cell when the next one comes, for when it is passive."""
        wall = self._cell.runtime.wall()
        soonest = wall + self._pause()
        self._cell.due = min(
            (one.at if one.at > wall else soonest for one in self._notes.values()),
            default=math.inf,
        )

    def _pause(self) -> float:
        """Return for how many seconds none comes that is overdue: one has failed."""
        retries = self._cell.retries
        return max(0.0, max(retries.values()) - self._now()) if retries else 0.0

    def _now(self) -> float:
        return self._cell.runtime.now()

    def make(self, name: str, delay: float, every: float | None) -> Note | None:
        """Make the note of a reminder.

        Returns:
            None if the actor is just starting, and the same one comes sooner: whoever
            sets one at each start would put it off each time, perhaps for ever.

        Raises:
            TypeError: The actor does not handle reminders; an argument is of another
                type.
            ValueError: A number of seconds is out of range.
        """
        if self._cell.shape.handler_of(Reminder) is None:
            raise TypeError(
                f"{self._cell.path} has no handler for Reminder. Add it to its messages"
                " and write\n    @handler\n    def on_reminder(self, message: Reminder)"
                " -> None:"
            )
        if not isinstance(cast("object", name), str):
            raise TypeError(f"the name of a reminder is a text, but got {show(name)}.")
        for seconds in (delay, every or 0):
            if not isinstance(cast("object", seconds), int | float):
                raise TypeError(
                    f"a reminder is set in seconds, but got {show(seconds)}. From a"
                    " timedelta, write .total_seconds()."
                )
        if not 0 <= delay < math.inf:
            raise ValueError(
                f"the delay of a reminder is seconds from 0, not {delay!r}."
            )
        if every is not None and not 0 < every < math.inf:
            raise ValueError(
                f"every= is seconds, more than 0, between reminders, not {every!r}."
            )
        at = self._cell.runtime.wall() + delay
        known = self._notes.get(name)
        starts = self._cell.phase in ("starting", "restarting")
        if starts and known and known.at <= at and _interval(known) == (every or 0):
            return None
        return Note("reminder", name, at, repr(every or 0.0).encode())

    def arm(self) -> None:
        """Set the timers of all of them."""
        again = AGAIN if self._cell.incarnation > 1 else 0.0
        pause = max(again, self._pause())
        failed = [*(self._cell.retries or ())]
        others = [key for key in self._notes if key not in failed]
        for key in others + failed:
            self._set_timer(self._notes[key], pause)

    def set(self, note: Note) -> None:
        """Set the timer of a reminder that is stored, or take it away."""
        self._notes.pop(note.key, None)
        if self._cell.retries:
            self._cell.retries.pop(note.key, None)
        if note.body is None:
            cancel_timer(self._cell, (Reminder, note.key))
        else:
            self._notes[note.key] = note
            self._set_timer(note, 0.0)
        self.publish()

    def _set_timer(self, note: Note, at_least: float) -> None:
        """Set a timer; one that is overdue comes in *at_least* so many seconds."""
        wait = note.at - self._cell.runtime.wall()
        message = Reminder(note.key, self._missed(note), _id_of(note))
        delay = wait if wait > 0 else at_least
        set_timer(self._cell, delay, message, (Reminder, note.key), repeat=False)

    def _missed(self, note: Note) -> int:
        late = self._cell.runtime.wall() - note.at
        every = _interval(note)
        if late <= min(PROMPT, every / 2 or PROMPT):
            return 0
        return 1 + int(late // every) if every else 1

    def next(self, message: Reminder) -> Note | None:
        """Return the note in the place of that of a reminder that was handled."""
        note = self._notes.get(message.name)
        if note is None or message.command_id != _id_of(note):
            return None  # it was taken away or set anew meanwhile
        every = _interval(note)
        if not every:
            return Note("reminder", note.key)
        missed = max(message.missed, 1)
        return attrs.evolve(note, at=note.at + missed * every)

    def again(self, message: Reminder) -> None:
        """Let a reminder that was not handled come again."""
        note = self._notes.get(message.name)
        if note is not None:
            others = dict(self._cell.retries or {})
            others.pop(note.key, None)
            self._cell.retries = {**others, note.key: self._now() + AGAIN}
            self._set_timer(note, AGAIN)
            self.publish()


def _id_of(note: Note) -> str:
    """Return the command id of a reminder that is due."""
    return f"{note.key}@{note.at!r}"


def _interval(note: Note) -> float:
    """Return the seconds between this reminder and the next; 0 if it comes once."""
    return float(note.body or b"0")
