"""What a batch changes: the rows of streams, events and notes, without a database.

Rules of this file:

* Every row has a check number. That of an event covers those before it in its stream;
  the row of a stream covers its last event, and its notes as a set: a note that is
  gone is noticed, as one that was changed.
* A snapshot is no part of the set: one that cannot be read is left out, and costs
  no more than reading all events.
* A job is folded in whole, or refused and not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from zlib import crc32

import attrs

from ._errors import WriteFailed
from ._jobs import Append, Claim
from ._journal import KINDS, Note, chained, check_writer, sealed, size_of

NoteId: TypeAlias = tuple[int, int, str]
"""The number of the stream, the place of the kind in `KINDS`, and the key."""

UNSTORED = -(2**32)
"""The check number of a row that is not there: it weighs nothing."""
SNAPSHOT = 0
DUE = 3
"""From here on kinds are to be delivered: "outbox" and "reminder"."""


@attrs.define(eq=False)
class Head:
    """The row of a stream: its writer, its end, and what its notes come to.

    An append changes it in place: to make another one for each is 6 % of the time that
    the worker thread needs for it.
    """

    id: int
    name: str
    epoch: int = 0
    seq: int = 0
    chain: int = 0
    """The check number of the last event."""
    kept: int = 0
    """What its states and outcomes weigh together."""
    due: int = 0
    """What its outbox and its reminders weigh together."""
    check: int = UNSTORED
    """The check number of the row, as it was stored last."""

    def seal(self) -> int:
        """Return the check number of the row, as it is now."""
        row = (
            f"{self.id}:{self.epoch}:{self.seq}:{self.chain}:{self.kept}:{self.due}"
            f":{self.name}"
        )
        return crc32(row.encode())


@attrs.frozen
class NoteRow:
    """The row of a note, in the order of ``place``."""

    place: int
    id: NoteId
    note: Note
    check: int


def weigh(check: int) -> int:
    """Return what a row adds to a sum over rows, which so counts them as well."""
    return check + 2**32


def check_note(name: str, place: int, note: Note) -> int:
    """Return the check number of a note's row."""
    return crc32(b"%d" % place, sealed(name, note))


def note_ids(batch: Iterable[Claim | Append], heads: Mapping[str, Head]) -> set[NoteId]:
    """Return the notes that a batch may replace: a `Plan` has to know of them."""
    return {
        (heads[job.stream].id, KINDS.index(note.kind), note.key)
        for job in batch
        if isinstance(job, Append) and job.notes and job.stream in heads
        for note in job.notes
    }


class Plan:
    """What a batch comes to.

    Args:
        heads: Of the streams in the batch, as far as there are rows. They are changed
            and added to, and so are to be forgotten if the batch is not stored.
        notes: The place and the check number of each of `note_ids`, if it is there.
        next_stream: The number of the next new stream.
        next_place: The place of the next new note.
    """

    def __init__(
        self,
        heads: dict[str, Head],
        notes: dict[NoteId, tuple[int, int]],
        *,
        next_stream: int,
        next_place: int,
    ) -> None:
        self._known = heads
        self._notes = notes
        self.next_stream = next_stream
        self.next_place = next_place
        self.heads: dict[str, Head] = {}
        """The rows of the streams that change."""
        self.events: list[Any] = []
        """New rows, one after the other: stream, seq, epoch, check number, body."""
        self.notes: dict[NoteId, NoteRow] = {}
        """The notes that are new or changed."""
        self.gone: list[int] = []
        """The places of the notes that are taken away, before others are stored."""

    def fold(self, batch: Iterable[Claim | Append]) -> None:
        """Add jobs, one after the other; each gets its result or its error."""
        known = self._known
        for job in batch:
            head = known.get(job.stream)
            if head is None:
                head = Head(self.next_stream, job.stream)
            if isinstance(job, Claim):
                head.epoch += 1
                job.result = head.epoch
            else:
                try:
                    self._append(head, job)
                except WriteFailed as error:
                    job.error = error
                    continue
            self.heads[job.stream] = head
            if head.id == self.next_stream:
                known[job.stream] = head
                self.next_stream += 1

    def sealed_heads(self) -> tuple[list[Any], int]:
        """Return the rows of `heads`, one after the other, and the weight they add."""
        values: list[Any] = []
        weight = 0
        for head in self.heads.values():
            check = head.seal()
            weight += check - head.check
            head.check = check
            values.extend(
                (
                    head.id,
                    head.name.encode(),
                    head.epoch,
                    head.seq,
                    head.chain,
                    head.kept,
                    head.due,
                    check,
                )
            )
        return values, weight

    def _append(self, head: Head, job: Append) -> None:
        stream, epoch, seq, chain = job.stream, job.epoch, job.after, head.chain
        check_writer(stream, epoch, seq, held=head.epoch, last=head.seq)
        for body in job.events:
            seq += 1
            chain = chained(chain, stream, seq, epoch, body)
            self.events.extend((head.id, seq, epoch, chain, body))
        head.seq, head.chain = seq, chain
        if job.notes:
            self._add_notes(head, job.notes)

    def _add_notes(self, head: Head, notes: Sequence[Note]) -> None:
        for note in notes:
            kind = KINDS.index(note.kind)
            weight = self._replace((head.id, kind, note.key), head.name, note)
            if kind >= DUE:
                head.due += weight
            elif kind != SNAPSHOT:
                head.kept += weight
        head.seq += size_of((), notes)

    def _replace(self, id: NoteId, stream: str, note: Note) -> int:
        """Put a note in the place of the one before; return the added weight."""
        before = self._notes.pop(id, None)
        weight = 0 if before is None else -weigh(before[1])
        if note.body is None:
            self.notes.pop(id, None)
            if before is not None:
                self.gone.append(before[0])
            return weight
        if before is None:
            place, self.next_place = self.next_place, self.next_place + 1
        else:
            place = before[0]
        check = check_note(stream, place, note)
        self._notes[id] = place, check
        self.notes[id] = NoteRow(place, id, note, check)
        return weight + weigh(check)
