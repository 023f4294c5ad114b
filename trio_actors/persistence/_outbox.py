"""The outbox: effects outside of the actors, which happen if their command does.

Rules of this file:

* An effect is stored in the append of its command, and taken away when it was
  delivered: in between, whatever ends, it is delivered again.
* One at a time, in the order of their commands; one that fails holds up the others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import trio

from .._errors import show
from ._journal import Note

if TYPE_CHECKING:
    from ._durable import _Durable
    from ._plan import Plan

log = logging.getLogger("trio_actors")

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two attempts to deliver one effect: twice as long each time."""


class Outbox:
    """The effects of one actor that are to be delivered."""

    def __init__(self, actor: _Durable[Any], plan: Plan, notes: Sequence[Note]) -> None:
        self._actor = actor
        self._plan = plan
        self._cell = actor.context._cell
        self._notes = {note.key: note for note in notes if note.kind == "outbox"}
        self._runs = False

    def __bool__(self) -> bool:
        return bool(self._notes)

    def make(self, effect: object, name: str) -> Note:
        """Make the note of an effect.

        Raises:
            TypeError: Nobody delivers it.
        """
        codec = self._plan.effects
        if codec is None:
            raise TypeError(
                f"{self._plan.name} posts {show(effect)}, but delivers nothing. Write"
                f"\n    async def deliver(self, effect: {type(effect).__name__},"
                " key: str) -> None:"
            )
        return Note("outbox", name, body=codec.encode(effect))

    def add(self, note: Note) -> None:
        """Deliver an effect that is stored."""
        self._notes[note.key] = note
        self.start()

    def start(self) -> None:
        """Deliver what there is, beside the handlers."""
        if self._notes and not self._runs and not self._cell.between:
            self._runs = True
            self._actor.context.start_soon(self._deliver_all)

    async def _deliver_all(self) -> None:
        try:
            while self._notes:
                note = next(iter(self._notes.values()))
                await self._deliver(note)
                await self._actor._write_aside([Note("outbox", note.key)])
                del self._notes[note.key]
        finally:
            self._runs = False

    async def _deliver(self, note: Note) -> None:
        """Deliver one effect, however often it takes."""
        key = f"{self._actor._writer.stream}#{note.key}"
        pause = SHORTEST
        while True:
            try:
                # What another version has stored is kept for one that can read it.
                effect = self._plan.read_effect(cast("bytes", note.body))
                await self._actor.deliver(effect, key)
            except Exception as error:
                log.warning(
                    "%s could not deliver %s: %r. It tries again in %g s.",
                    self._cell.path,
                    key,
                    error,
                    pause,
                )
            else:
                return
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST)
