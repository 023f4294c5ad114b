"""Reading a journal in SQLite: what is read is held against what was written.

Rules of this file:

* An event counts only after the one before it: one that is missing, in the middle or at
  the end, is noticed, and so is an index that leads elsewhere.
* The notes of a stream are what its row says they come to, or `Damaged`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from typing import Any

import attrs

from ._errors import Damaged
from ._journal import KINDS, Note, chained
from ._rows import DUE, SNAPSHOT, Head, check_note, weigh
from ._tables import HEAD, UNREADABLE, Row, find_head, read_head

log = logging.getLogger("trio_actors")

_NOTE = "select stream, place, kind, key, at, body, crc from note"
PAGE_ROWS = 1000
PAGE_BYTES = 2**22


@attrs.frozen
class Place:
    """Where a reader is in a stream."""

    head: Head
    """As it was when reading began: what comes later is not read."""
    seq: int
    chain: int


def load_page(
    db: sqlite3.Connection, stream: str, after: int, place: Place | None
) -> tuple[list[tuple[int, bytes]], Place | None]:
    """Return some events, and where the next ones begin, if there are more."""
    place = place or _first_place(db, stream, after)
    return ([], None) if place is None else _next_page(db, place)


def _first_place(db: sqlite3.Connection, stream: str, after: int) -> Place | None:
    """Return where to begin; None if there is no such stream."""
    head = find_head(db, stream)
    if head is None:
        return None
    # What stands there is believed no more than the rest: an index that leads to a
    # later row would hide those between. The row before it tells.
    sql = (
        "select seq, epoch, chain, body from event where stream = ? and seq <= ?"
        " order by seq desc limit 2"
    )
    rows = db.execute(sql, (head.id, after)).fetchall() if after > 0 else []
    if not rows:
        return Place(head, after, 0)
    before = rows[1][2] if len(rows) > 1 else 0
    seq, _, chain, _ = rows[0]
    if seq > after or _chained(head, before, rows[0]) != chain:
        raise Damaged(f"event {seq} of stream {stream!r} is not what was written")
    return Place(head, after, chain)


def _chained(head: Head, before: int, row: Row) -> int:
    """Return the check number of an event's row, or -1 if it has none."""
    seq, epoch, _, body = row
    try:
        return chained(before, head.name, seq, epoch, body)
    except TypeError:  # the number before, or the body, is of another kind
        return -1


def _next_page(
    db: sqlite3.Connection, place: Place
) -> tuple[list[tuple[int, bytes]], Place | None]:
    """Return the events from there on, each held against its check number."""
    sql = (
        "select seq, epoch, chain, body from event where stream = ? and seq > ?"
        f" and seq <= ? order by seq limit {PAGE_ROWS}"
    )
    head, chain, size = place.head, place.chain, 0
    events: list[tuple[int, bytes]] = []
    last = place.seq
    for seq, epoch, check, body in db.execute(sql, (head.id, last, head.seq)):
        try:
            chain = chained(chain, head.name, seq, epoch, body)
        except TypeError:  # the body is no bytes
            chain = -1
        if chain != check:
            raise Damaged(
                f"event {seq} of stream {head.name!r} is not what was written after"
                f" event {last}"
            )
        events.append((seq, body))
        last, size = seq, size + len(body)
        if size > PAGE_BYTES:
            break
    if len(events) == PAGE_ROWS or size > PAGE_BYTES:
        return events, Place(head, last, chain)
    if chain != head.chain:
        raise Damaged(
            f"stream {head.name!r} ends after event {last}; written was {head.seq}"
        )
    return events, None


def load_notes(db: sqlite3.Connection, stream: str) -> list[Note]:
    """Return the notes of a stream; a snapshot that cannot be read is left out."""
    head = find_head(db, stream)
    if head is None:
        return []
    sql = f"{_NOTE} where stream = ? order by place"
    notes, kept, due = _judge(head, db.execute(sql, (head.id,)))
    if (kept, due) != (head.kept, head.due):
        raise Damaged(f"a note of stream {stream!r} is missing")
    return notes


def load_pending(db: sqlite3.Connection, prefix: str) -> list[tuple[str, Note]]:
    """Return what is to be delivered and what is due, in all streams of a prefix."""
    sql = f"{_NOTE} where kind >= {DUE} order by stream, place"
    rows: dict[int, list[Row]] = {}
    for row in db.execute(sql):
        rows.setdefault(row[0], []).append(row)
    found: list[tuple[str, Note]] = []
    for head in map(read_head, db.execute(f"{HEAD} where due <> 0 order by id")):
        notes, _, due = _judge(head, rows.pop(head.id, ()))
        if due != head.due:
            raise Damaged(f"a note of stream {head.name!r} is missing")
        if head.name.startswith(prefix):
            found += ((head.name, note) for note in notes)
    if rows:
        raise Damaged(f"there are notes of streams {[*rows]}, which have none")
    return found


def _judge(head: Head, rows: Iterable[Row]) -> tuple[list[Note], int, int]:
    """Return the notes in rows, and what those weigh that are kept and that are due."""
    notes: list[Note] = []
    weights = [0, 0]
    for _, place, kind, key, at, body, check in rows:
        note = _note(kind, key, at, body)
        if note is not None and check_note(head.name, place, note) == check:
            notes.append(note)
            if kind != SNAPSHOT:
                weights[kind >= DUE] += weigh(check)
        elif kind == SNAPSHOT:
            log.warning("a snapshot of %r cannot be read: left out", head.name)
        else:
            raise Damaged(
                f"note {key!r} of stream {head.name!r} is not what was written"
            )
    return notes, weights[False], weights[True]


def _note(kind: int, key: Any, at: Any, body: Any) -> Note | None:
    """Return the note in a row, unless its values are of other kinds."""
    try:
        return Note(KINDS[kind], key.decode(), at, body + b"")  # no None, no number
    except UNREADABLE:
        return None
