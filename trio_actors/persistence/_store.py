"""One stream, as its writer: what is durable, and what the command in hand adds to it.

Rules of this file:

* What is staged is stored in one append, or forgotten; nothing of it is stored before.
* One append at a time: the next one waits for the end of the one under way.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .._park import Lot
from ._journal import Note, NoteKind, size_of
from ._memory import MemoryJournal

if TYPE_CHECKING:
    from .._system import ActorSystem
    from ._journal import Journal


def journal_of(system: ActorSystem, what: str) -> Journal:
    """Return where the durable actors of a system write.

    Raises:
        RuntimeError: The system has no journal.
    """
    journal: Journal | None = system._journal
    if system._keeps_in_memory:
        journal = system._journal = journal or MemoryJournal()
        if isinstance(journal, MemoryJournal):
            journal.stay_open()
    if journal is None:
        raise RuntimeError(
            f"{what} is durable, but the actor system {system.name!r} has no journal."
            " Write\n    open_actor_system(..., journal=SQLiteJournal(path))\nor"
            " journal=MemoryJournal() if nothing shall outlive the process."
        )
    return journal


class Store:
    """A stream that was claimed."""

    def __init__(self, journal: Journal, stream: str, epoch: int) -> None:
        self.journal: Journal = journal
        self.stream: str = stream
        self.epoch: int = epoch
        self.seq: int = 0  # of the last event that is durable
        self.events: list[bytes] = []
        self.notes: dict[tuple[NoteKind, str], Note] = {}
        self._is_writing = False
        self._lot = Lot()
        self._named = 0

    @property
    def staged(self) -> bool:
        """Whether something is to be stored."""
        return bool(self.events or self.notes)

    @property
    def next_seq(self) -> int:
        """The sequence number after what is staged."""
        return self.seq + size_of(self.events, list(self.notes.values()))

    def note(self, note: Note) -> None:
        """Stage a note."""
        self.notes[note.kind, note.key] = note

    def staged_notes(self, kind: NoteKind) -> Iterator[Note]:
        """Return the notes of a kind that are staged."""
        return (note for note in self.notes.values() if note.kind == kind)

    def new_name(self) -> str:
        """Return a name that was never used in this stream."""
        self._named += 1
        return f"{self.epoch}-{self._named}"

    def forget(self) -> None:
        """Forget what is staged."""
        self.events, self.notes = [], {}

    async def commit(self) -> None:
        """Store what is staged.

        Raises:
            WriteFailed: It may or may not be stored.
        """
        events, notes = self.events, list(self.notes.values())
        self.forget()  # another task of the handler may stage the next meanwhile
        await self.append(events, notes)

    @asynccontextmanager
    async def reading(
        self, after: int
    ) -> AsyncGenerator[AsyncIterator[tuple[int, bytes]]]:
        """Iterate over the events after a sequence number; leaving ends that."""
        events = self.journal.read(self.stream, after)
        try:
            yield events
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()

    async def idle(self) -> None:
        """Wait for the end of the write under way."""
        while self._is_writing:
            await self._lot.park()

    async def append(self, events: list[bytes], notes: list[Note]) -> None:
        """Store something at once, beside what is staged."""
        await self.idle()
        self._is_writing = True
        try:
            await self.journal.append(self.stream, self.epoch, self.seq, events, notes)
            # No checkpoint in between: what is stored is never taken for not stored.
            self.seq += size_of(events, notes)
        finally:
            self._is_writing = False
            self._lot.unpark_all()
