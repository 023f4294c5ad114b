"""The tables of a journal in SQLite: every statement, and what is read held to account.

Rules of this file:

* A row that is not what was written is `Damaged`, in words that name it; which file it
  was in, and what becomes of that, is added by the caller.
* Texts are kept as bytes: no encoding of the database is between them and us.
* Rows are written many at a time: each statement costs two changes of the thread that
  holds the interpreter.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias
from zlib import crc32

import attrs

from ._errors import Damaged
from ._group import KINDS
from ._journal import Note, chained
from ._rows import (
    DUE,
    SNAPSHOT,
    Head,
    NoteId,
    NoteRow,
    Plan,
    check_note,
    make_head,
    weigh,
)

log = logging.getLogger("trio_actors")

Row: TypeAlias = Sequence[Any]

VERSION = 1
SCHEMA = f"""
create table meta(
    id integer primary key, version integer not null, commits integer not null,
    weight integer not null, crc integer not null
);
create table stream(
    id integer primary key, name blob not null unique, epoch integer not null,
    seq integer not null, chain integer not null, kept integer not null,
    due integer not null, crc integer not null
);
create table event(
    place integer primary key, stream integer not null, seq integer not null,
    epoch integer not null, chain integer not null, body blob not null
);
create unique index event_seq on event(stream, seq);
create table note(
    place integer primary key, stream integer not null, kind integer not null,
    key blob not null, at real not null, body blob not null, crc integer not null
);
create unique index note_key on note(stream, kind, key);
create index note_due on note(stream, place) where kind >= {DUE}
"""
_TABLES = "select type, name, tbl_name, sql from sqlite_master order by name"
_META = "select version, commits, weight, crc from meta"
_HEAD = "select id, name, epoch, seq, chain, kept, due, crc from stream"
_NOTE = "select stream, place, kind, key, at, body, crc from note"
_UNREADABLE = (TypeError, ValueError, AttributeError, IndexError)
"""What a value of another kind than the one written leads to."""

PARAMETERS = 900
"""How many a statement has at most; an old SQLite takes 999."""
PAGE_ROWS = 1000
PAGE_BYTES = 2**22


@attrs.frozen
class Meta:
    """The one row about the whole file."""

    commits: int = 0
    weight: int = 0
    """What the rows of the streams weigh together."""
    version: int = VERSION

    @property
    def check(self) -> int:
        """The check number of the row."""
        return crc32(f"{self.version}:{self.commits}:{self.weight}".encode())


@attrs.frozen
class Place:
    """Where a reader is in a stream."""

    head: Head
    """As it was when reading began: what comes later is not read."""
    seq: int
    chain: int


# --- The whole file ---


def create(db: sqlite3.Connection) -> None:
    """Make the tables, unless another process has made them meanwhile."""
    if db.execute(_TABLES).fetchall():
        return
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    _write_meta(db, Meta())


def check_schema(db: sqlite3.Connection) -> None:
    """Hold the tables against those that are made."""
    expected, found = _expected(), db.execute(_TABLES).fetchall()
    if found and not {row[1] for row in found} & {row[1] for row in expected}:
        raise sqlite3.NotSupportedError("it is the database of another program")
    if _is_later(db):
        raise sqlite3.NotSupportedError("a later version of trio_actors wrote it")
    if found != expected:
        raise Damaged("its tables are not those of a journal")


def _is_later(db: sqlite3.Connection) -> bool:
    """Whether a later version wrote it, which may have other tables."""
    try:
        version, commits, weight, check = db.execute(_META).fetchone()
    except (TypeError, sqlite3.OperationalError):  # no row, no such table or column
        return False
    meta = Meta(commits, weight, version)
    return bool(meta.check == check and version > VERSION)


@cache
def _expected() -> list[Row]:
    """Return what this SQLite says about the tables that are made."""
    fresh = sqlite3.connect(":memory:")
    fresh.text_factory = bytes
    create(fresh)
    rows = fresh.execute(_TABLES).fetchall()
    fresh.close()
    return rows


def load_meta(db: sqlite3.Connection) -> Meta:
    """Return the row about the whole file."""
    row = db.execute(_META).fetchone()
    if row is not None:
        version, commits, weight, check = row
        meta = Meta(commits, weight)
        if version == VERSION and meta.check == check:
            return meta
    raise Damaged("the number of commits is missing, or is not what was written")


def check_streams(db: sqlite3.Connection, meta: Meta) -> None:
    """Look at each stream's row: one that is not found is never taken for a new one."""
    weight = sum(weigh(_head(row).check) for row in db.execute(_HEAD))
    if weight != meta.weight:
        raise Damaged("a stream is missing")
    # An old SQLite takes the name for no number, and looks at all tables.
    for (found,) in db.execute("pragma integrity_check('stream')"):
        if found != b"ok":
            raise Damaged(f"SQLite finds this in the streams: {found!r}")


# --- Streams and notes, before a write ---


def _head(row: Sequence[Any]) -> Head:
    """Return the row of a stream, if it is what was written."""
    id, name, *rest, check = row
    try:
        head = make_head(id, name.decode(), *rest)
        if head.check == check:
            return head
    except _UNREADABLE:
        pass
    raise Damaged(f"the row of stream {name!r} is not what was written")


def find_head(db: sqlite3.Connection, name: str) -> Head | None:
    """Return the row of a stream, if there is one."""
    return find_heads(db, [name]).get(name)


def find_heads(db: sqlite3.Connection, names: Sequence[str]) -> dict[str, Head]:
    """Return the rows of streams, of those that are there."""
    heads: dict[str, Head] = {}
    for begin in range(0, len(names), PARAMETERS):
        part = [name.encode() for name in names[begin : begin + PARAMETERS]]
        marks = ",".join("?" * len(part))
        for row in db.execute(f"{_HEAD} where name in ({marks})", part):
            head = _head(row)
            heads[head.name] = head
    if heads.keys() - set(names):
        raise Damaged("the index of the streams leads to other ones")
    return heads


def find_notes(
    db: sqlite3.Connection, ids: Iterable[NoteId]
) -> dict[NoteId, tuple[int, int]]:
    """Return place and check number of notes, of those that are there."""
    sql = "select place, crc from note where stream = ? and kind = ? and key = ?"
    rows = ((id, db.execute(sql, (*id[:2], id[2].encode())).fetchone()) for id in ids)
    return {id: row for id, row in rows if row is not None}


def next_number(db: sqlite3.Connection, table: str) -> int:
    """Return the number after the highest one."""
    rows = db.execute(f"select coalesce(max(rowid), 0) + 1 from {table}")
    number: int = rows.fetchone()[0]
    return number


# --- A write ---


def write_plan(db: sqlite3.Connection, plan: Plan, meta: Meta) -> Meta:
    """Write what a batch comes to; return the new row about the whole file."""
    if not plan.heads:
        return meta
    _insert(db, "event(stream, seq, epoch, chain, body)", plan.events)
    heads = [_head_row(head) for head in plan.heads.values()]
    _insert(db, "stream", heads, _update("id", "epoch seq chain kept due crc"))
    if plan.gone:
        places = [(place,) for place in plan.gone]
        db.executemany("delete from note where place = ?", places)
    notes = [_note_row(row) for row in plan.notes.values()]
    _insert(db, "note", notes, _update("place", "at body crc"))
    after = Meta(meta.commits + 1, meta.weight + plan.added_weight())
    _write_meta(db, after)
    return after


def _insert(
    db: sqlite3.Connection, table: str, rows: Sequence[Row], ending: str = ""
) -> None:
    """Insert rows, many with each statement."""
    if not rows:
        return
    width = len(rows[0])
    one, size = f"({','.join('?' * width)})", PARAMETERS // width
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        values = ",".join([one] * len(part))
        parameters = [value for row in part for value in row]
        db.execute(f"insert into {table} values {values}{ending}", parameters)


def _update(key: str, columns: str) -> str:
    """Return what is to be done with a row that is there already."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns.split())
    return f" on conflict({key}) do update set {changes}"


def _head_row(head: Head) -> Row:
    return (head.id, head.name.encode(), *head[2:])


def _note_row(row: NoteRow) -> Row:
    stream, kind, key = row.id
    note = row.note
    return (row.place, stream, kind, key.encode(), note.at, note.body, row.check)


def _write_meta(db: sqlite3.Connection, meta: Meta) -> None:
    row = (1, VERSION, meta.commits, meta.weight, meta.check)
    db.execute("insert or replace into meta values (?, ?, ?, ?, ?)", row)


# --- A read ---


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
    for head in map(_head, db.execute(f"{_HEAD} where due <> 0 order by id")):
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
    except _UNREADABLE:
        return None
