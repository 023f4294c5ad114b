"""A journal in memory, for tests, with every fault a real one can have.

Rules of this file:

* What is in it outlives the system that wrote it: open another system with the same
  journal, and it is the next run of the program.
* Faults are counted in writes, so that a test can place one at each of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import attrs
import trio
from trio.lowlevel import checkpoint

from .._system import SYSTEM
from ._errors import WriteFailed
from ._journal import (
    Journal,
    Note,
    check_name,
    check_writer,
    checked,
    not_open,
    size_of,
)


@attrs.define
class _Stream:
    """One history."""

    epoch: int = 0
    last: int = 0
    events: list[tuple[int, bytes]] = attrs.Factory(list[tuple[int, bytes]])
    notes: dict[tuple[str, str], Note] = attrs.Factory(dict[tuple[str, str], Note])


def _touch(stream: str, *, write: bool) -> None:
    """Tell a search what depends on a stream, and on what is written there.

    Without a name it is what all streams have to do with: which write fails, and who
    looks at all of them.
    """
    system = SYSTEM.get()
    if system is not None:
        system._runtime.touch("journal", stream, write=write)


class MemoryJournal(Journal):
    """A journal for tests, with faults.

    Several systems may have it open, one after the other or at once: then a later
    claim fences an earlier one, as in a store that is shared.
    """

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._opened = 0
        self._writes = 0
        self._failing: list[bool] = []  # of the next writes: whether after the commit
        self._skipping = 0
        self._delay = 0.0

    # --- Faults ---

    def fail_next(
        self, times: int = 1, *, after_commit: bool = False, skip: int = 0
    ) -> None:
        """Let the next writes fail. Claims are no writes.

        Args:
            times: How many.
            after_commit: Let them be stored nevertheless: the answer was lost.
            skip: How many succeed before that.
        """
        _touch("", write=True)
        self._failing = [after_commit] * times
        self._skipping = skip

    def delay(self, seconds: float) -> None:
        """Let each write from now on take so long; 0 is the default."""
        _touch("", write=True)
        self._delay = seconds

    def statistics(self) -> Mapping[str, int]:
        """Return the number of ``writes``, ``streams`` and ``events``."""
        _touch("", write=True)  # each write reads it
        return {
            "writes": self._writes,
            "streams": len(self._streams),
            "events": sum(len(one.events) for one in self._streams.values()),
        }

    def stay_open(self) -> None:
        """Let it be open from now on, as in a ``World``, which opens nothing."""
        self._opened += 1

    # --- As a journal ---

    def __open_journal__(self) -> AbstractAsyncContextManager[object]:
        """Open it; it may be open already."""
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[object]:
        await checkpoint()
        self._opened += 1
        try:
            yield self
        finally:
            self._opened -= 1

    def _stream(self, stream: str) -> _Stream:
        check_name(stream)
        if not self._opened:
            raise not_open(self)
        found = self._streams.get(stream)
        if found is None:
            found = self._streams[stream] = _Stream()
        return found

    async def claim(self, stream: str) -> int:
        """Become the writer of a stream. As in `Journal`."""
        await checkpoint()
        kept = self._stream(stream)
        _touch("", write=False)
        _touch(stream, write=True)
        kept.epoch += 1
        return kept.epoch

    async def append(
        self,
        stream: str,
        epoch: int,
        after: int,
        events: Sequence[bytes],
        notes: Sequence[Note] = (),
    ) -> None:
        """Append events and notes. As in `Journal`."""
        self._stream(stream)
        notes = [checked(note) for note in notes]
        await checkpoint()
        self._writes += 1
        lost: bool | None = None
        with trio.CancelScope(shield=True):
            if self._delay:
                await trio.sleep(self._delay)
            lost = self._next_fault()
            if lost is not False:
                self._commit(stream, epoch, after, events, notes)
        if lost is not None:
            raise WriteFailed(
                f"{stream}: it is not known whether {len(events)} events after"
                f" {after} are stored: the journal was told to fail."
            )

    def _next_fault(self) -> bool | None:
        """Return whether this write fails before its commit, False, or after it."""
        _touch("", write=bool(self._failing))
        if self._skipping and self._failing:
            self._skipping -= 1
            return None
        return self._failing.pop(0) if self._failing else None

    def _commit(
        self,
        stream: str,
        epoch: int,
        after: int,
        events: Sequence[bytes],
        notes: Sequence[Note],
    ) -> None:
        kept = self._stream(stream)
        _touch(stream, write=True)
        check_writer(stream, epoch, after, held=kept.epoch, last=kept.last)
        kept.events += enumerate(events, after + 1)
        kept.last += size_of(events, notes)
        for note in notes:
            if note.body is None:
                kept.notes.pop((note.kind, note.key), None)
            else:
                kept.notes[note.kind, note.key] = note

    async def read(self, stream: str, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """Iterate over the events after a sequence number. As in `Journal`."""
        kept = self._stream(stream)
        await checkpoint()
        _touch(stream, write=False)
        for seq, body in list(kept.events):
            if seq > after:
                yield seq, body

    async def notes(self, stream: str) -> Sequence[Note]:
        """Return the notes of a stream. As in `Journal`."""
        kept = self._stream(stream)
        await checkpoint()
        _touch(stream, write=False)
        return list(kept.notes.values())

    async def pending(self, prefix: str) -> Sequence[tuple[str, Note]]:
        """Return what is to be delivered and what is due. As in `Journal`."""
        check_name(prefix)
        if not self._opened:
            raise not_open(self)
        await checkpoint()
        _touch("", write=True)  # each write reads it
        return [
            (name, note)
            for name, kept in self._streams.items()
            if name.startswith(prefix)
            for note in kept.notes.values()
            if note.kind in ("outbox", "reminder")
        ]
