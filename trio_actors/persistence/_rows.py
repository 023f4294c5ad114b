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

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias
from zlib import crc32

import attrs

from ._errors import WriteFailed
from ._group import KINDS, Append, Claim
from ._journal import Note, chained, check_writer, sealed, size_of

NoteId: TypeAlias = tuple[int, int, str]
"""The number of the stream, the place of the kind in `KINDS`, and the key."""

SNAPSHOT = 0
DUE = 3
"""From here on kinds are to be delivered: "outbox" and "reminder"."""


class Head(NamedTuple):
    """The row of a stream: its writer, its end, and what its notes come to.

    A tuple, for one is made for each append: a frozen class takes four times as long.
    """

    id: int
    name: str
    epoch: int
    seq: int
    chain: int
    """The check number of the last event."""
    kept: int
    """What its states and outcomes weigh together."""
    due: int
    """What its outbox and its reminders weigh together."""
    check: int
    """The check number of the row."""


def make_head(
    id: int,
    name: str,
    epoch: int = 0,
    seq: int = 0,
    chain: int = 0,
    kept: int = 0,
    due: int = 0,
) -> Head:
    """Make the row of a stream, with its check number."""
    row = f"{id}:{epoch}:{seq}:{chain}:{kept}:{due}:{name}"
    return Head(id, name, epoch, seq, chain, kept, due, crc32(row.encode()))


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
        heads: Of the streams in the batch, as far as there are rows.
        notes: The place and the check number of each of `note_ids`, if it is there.
        next_stream: The number of the next new stream.
        next_place: The place of the next new note.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        notes: dict[NoteId, tuple[int, int]],
        *,
        next_stream: int,
        next_place: int,
    ) -> None:
        self._before = heads
        self._notes = notes
        self.next_stream = next_stream
        self.next_place = next_place
        self.heads: dict[str, Head] = {}
        """The new rows of the streams that change."""
        self.events: list[tuple[int, int, int, int, bytes]] = []
        """New rows: stream, seq, epoch, check number, body."""
        self.notes: dict[NoteId, NoteRow] = {}
        """The notes that are new or changed."""
        self.gone: list[int] = []
        """The places of the notes that are taken away, before others are stored."""

    def fold(self, batch: Iterable[Claim | Append]) -> None:
        """Add jobs, one after the other; each gets its result or its error."""
        for job in batch:
            head = self.heads.get(job.stream) or self._before.get(job.stream)
            if head is None:
                head = make_head(self.next_stream, job.stream)
            if isinstance(job, Claim):
                job.result = head.epoch + 1
                self._put(make_head(head.id, head.name, job.result, *head[3:7]))
                continue
            try:
                self._append(head, job)
            except WriteFailed as error:
                job.error = error

    def added_weight(self) -> int:
        """Return how the weight of all rows of streams changes."""
        weight = 0
        for name, head in self.heads.items():
            before = self._before.get(name)
            weight += weigh(head.check) - (weigh(before.check) if before else 0)
        return weight

    def _put(self, head: Head) -> None:
        self.next_stream = max(self.next_stream, head.id + 1)
        self.heads[head.name] = head

    def _append(self, head: Head, job: Append) -> None:
        check_writer(job.stream, job.epoch, job.after, held=head.epoch, last=head.seq)
        chain, kept, due = head.chain, head.kept, head.due
        for seq, body in enumerate(job.events, job.after + 1):
            chain = chained(chain, job.stream, seq, job.epoch, body)
            self.events.append((head.id, seq, job.epoch, chain, body))
        for note in job.notes:
            kind = KINDS.index(note.kind)
            weight = self._replace((head.id, kind, note.key), job.stream, note)
            if kind >= DUE:
                due += weight
            elif kind != SNAPSHOT:
                kept += weight
        seq = job.after + size_of(job.events, job.notes)
        self._put(make_head(head.id, head.name, head.epoch, seq, chain, kept, due))

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
