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
from ._rows import (
    DUE,
    Head,
    NoteId,
    NoteRow,
    Plan,
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
HEAD = "select id, name, epoch, seq, chain, kept, due, crc from stream"
UNREADABLE = (TypeError, ValueError, AttributeError, IndexError)
"""What a value of another kind than the one written leads to."""

PARAMETERS = 900
"""How many a statement has at most; an old SQLite takes 999."""


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
    if db.execute("pragma auto_vacuum").fetchone() != (0,):
        raise Damaged("its header is not what was written")  # SQLite would act on it


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
    weight = sum(weigh(read_head(row).check) for row in db.execute(HEAD))
    if weight != meta.weight:
        raise Damaged("a stream is missing")
    # An old SQLite takes the name for no number, and looks at all tables.
    for (found,) in db.execute("pragma integrity_check('stream')"):
        if found != b"ok":
            raise Damaged(f"SQLite finds this in the streams: {found!r}")


# --- Streams and notes, before a write ---


def read_head(row: Sequence[Any]) -> Head:
    """Return the row of a stream, if it is what was written."""
    id, name, *rest = row
    try:
        head = Head(id, name.decode(), *rest)
        if head.seal() == head.check:
            return head
    except UNREADABLE:
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
        for row in db.execute(f"{HEAD} where name in ({marks})", part):
            head = read_head(row)
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
    _insert(db, "event(stream, seq, epoch, chain, body)", 5, plan.events)
    heads, weight = plan.sealed_heads()
    _insert(db, "stream", 8, heads, _update("id", "epoch seq chain kept due crc"))
    if plan.gone:
        places = [(place,) for place in plan.gone]
        db.executemany("delete from note where place = ?", places)
    notes = [value for row in plan.notes.values() for value in _note_row(row)]
    _insert(db, "note", 7, notes, _update("place", "at body crc"))
    after = Meta(meta.commits + 1, meta.weight + weight)
    _write_meta(db, after)
    return after


def _insert(
    db: sqlite3.Connection, table: str, width: int, values: list[Any], ending: str = ""
) -> None:
    """Insert rows, many with each statement.

    Args:
        width: How many values a row has.
        values: Those of all rows, one row after the other.
    """
    one, most = f"({','.join('?' * width)})", PARAMETERS // width * width
    for begin in range(0, len(values), most):
        part = values[begin : begin + most]
        rows = ",".join([one] * (len(part) // width))
        db.execute(f"insert into {table} values {rows}{ending}", part)


def _update(key: str, columns: str) -> str:
    """Return what is to be done with a row that is there already."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns.split())
    return f" on conflict({key}) do update set {changes}"


def _note_row(row: NoteRow) -> Row:
    stream, kind, key = row.id
    note = row.note
    return (row.place, stream, kind, key.encode(), note.at, note.body, row.check)


def _write_meta(db: sqlite3.Connection, meta: Meta) -> None:
    row = (1, VERSION, meta.commits, meta.weight, meta.check)
    db.execute("insert or replace into meta values (?, ?, ?, ?, ?)", row)
