"""The tables of a journal in PostgreSQL: their statements, and what is in their rows.

Rules of this file:

* Nothing here talks to a database.
* Names and keys are bytes, for a text of PostgreSQL cannot have a NUL; they are found
  by their digests, for an index cannot have long ones.
* Every row has a check number, and is compared with it when it is read. A damaged one
  stays where it is, for whoever repairs it: in a database nothing is set aside.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, LiteralString
from zlib import crc32

import attrs

from ._errors import Damaged
from ._jobs import Append
from ._journal import Note, chained, sealed, size_of

VERSION = 1
"""Of the tables; a journal never touches those of another one."""
LOCK = 0x7472696F
"""The advisory lock of those who make the tables."""
ROWS = 1000
"""How many events are read at a time, and"""
BYTES = 8 << 20
"""how many bytes, beyond which there is only one more event."""
SENT = 64 << 20
"""How many bytes a statement gets, beyond which there is only one more event:
PostgreSQL takes at most 1 GiB."""
TABLES = """
create table trio_actors_meta(version integer not null);
create table trio_actors_stream(
    id bigint primary key,
    name bytea not null,
    epoch bigint not null,
    last bigint not null,
    chain bigint not null,
    seal bigint not null
) with (fillfactor = 50);
create table trio_actors_event(
    stream bigint not null,
    seq bigint not null,
    epoch bigint not null,
    body bytea not null,
    chain bigint not null,
    primary key (stream, seq)
);
create table trio_actors_note(
    stream bigint not null,
    id bytea not null,
    place bigint generated always as identity,
    kind text not null,
    key bytea not null,
    at double precision not null,
    body bytea not null,
    seal bigint not null,
    primary key (stream, id)
);
create index trio_actors_note_pending on trio_actors_note(place)
    where kind in ('outbox', 'reminder');
"""
WRITABLE = "update trio_actors_stream set epoch = epoch where false"
# A database may have chosen speed: what is acknowledged here is durable nevertheless.
# A plan that fits one batch fits all, and it goes by the indices.
SESSION = """
select set_config('idle_in_transaction_session_timeout', %s::text, false),
    set_config('lock_timeout', %s::text, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('synchronous_commit', case current_setting('synchronous_commit')
        when 'off' then 'on' else current_setting('synchronous_commit') end, false),
    current_setting('fsync')
"""
# Not where the row of a stream was lost, and its events are there.
ADD_STREAMS = """
insert into trio_actors_stream(id, name, epoch, last, chain, seal)
select id, name, 0, 0, 0, seal
from unnest(%b::bigint[], %b::bytea[], %b::bigint[]) as new(id, name, seal)
where not exists (select from trio_actors_event where stream = new.id)
on conflict (id) do nothing
"""
LOCK_STREAMS = """
select id, epoch, last, chain, seal from trio_actors_stream
where id = any(%b::bigint[]) order by id for no key update
"""
# If they are what they were when they were written last, all of them; else an error.
# Each row is found by the index, so that they are locked in the order of the array.
SET_SAME_STREAMS = """
update trio_actors_stream as old
set last = new.last, chain = new.chain, seal = new.seal
from unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],
    %b::bigint[]) as new(id, epoch, last, chain, seal, after)
where old.id = new.id and old.epoch = new.epoch and old.last = new.after
returning 1
"""
SET_STREAMS = """
update trio_actors_stream as old
set epoch = new.epoch, last = new.last, chain = new.chain, seal = new.seal
from unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])
    as new(id, epoch, last, chain, seal)
where old.id = new.id
"""
ADD_EVENTS = """
insert into trio_actors_event(stream, seq, epoch, body, chain)
select * from unnest(
    %b::bigint[], %b::bigint[], %b::bigint[], %b::bytea[], %b::bigint[])
"""
DROP_NOTES = """
delete from trio_actors_note as old
using unnest(%b::bigint[], %b::bytea[]) as gone(stream, id)
where old.stream = gone.stream and old.id = gone.id
"""
SET_NOTES = """
insert into trio_actors_note(stream, id, kind, key, at, body, seal)
select * from unnest(%b::bigint[], %b::bytea[], %b::text[], %b::bytea[], %b::float8[],
    %b::bytea[], %b::bigint[])
on conflict (stream, id)
do update set at = excluded.at, body = excluded.body, seal = excluded.seal
"""
READ_STREAM = """
select id, epoch, last, chain, seal from trio_actors_stream where id = %b::bigint
"""
# The last event that there is, whatever the row of the stream says.
READ_TOP = "select max(seq) from trio_actors_event where stream = %b::bigint"
READ_BEFORE = """
select chain from trio_actors_event where stream = %b::bigint and seq <= %b::bigint
order by seq desc limit 1
"""
READ_EVENTS = """
select seq, epoch, body, chain from (
    select *, sum(octet_length(body)) over (order by seq) - octet_length(body) as before
    from (
        select * from trio_actors_event
        where stream = %b::bigint and seq > %b::bigint and seq <= %b::bigint
        order by seq limit %b::bigint
    ) as page
) as page where before < %b::bigint order by seq
"""
READ_NOTES = """
select name, kind, key, at, body, note.seal
from trio_actors_note as note join trio_actors_stream as one on one.id = note.stream
"""
OF_STREAM = "where note.stream = %b::bigint order by note.place"
OF_PREFIX = """
where kind in ('outbox', 'reminder') and substring(name for %b) = %b order by note.place
"""

log = logging.getLogger("trio_actors")


def id_of(stream: str) -> int:
    """Return the number of a stream."""
    digest = blake2b(stream.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def id_of_note(note: Note) -> bytes:
    """Return what a note is known by in its stream."""
    return blake2b(f"{note.kind}:{note.key}".encode(), digest_size=16).digest()


@attrs.define
class Stream:
    """The row of a stream."""

    name: str
    id: int
    epoch: int = 0
    last: int = 0
    chain: int = 0
    """The check number of the last event."""

    def seal(self) -> int:
        """Return the check number of the row itself."""
        return crc32(f"{self.epoch}:{self.last}:{self.chain}:{self.name}".encode())

    def row(self) -> tuple[int, int, int, int, int]:
        """Return it as `SET_STREAMS` wants it, and as it is found."""
        return self.id, self.epoch, self.last, self.chain, self.seal()


def stream_of(name: str, row: tuple[int, ...]) -> Stream:
    """Return a stream, if its row is what was written."""
    stream = Stream(name, *row[:-1])
    if stream.row() != row:
        raise _damaged("stream", name, "it")
    return stream


def no_stream(name: str) -> Damaged:
    """Make the error for events without the row of their stream."""
    return _damaged("stream", name, "it is missing, while there are events, which")


@attrs.define
class Changes:
    """What a batch is to write."""

    streams: dict[str, Stream] = attrs.Factory(dict[str, Stream])
    after: dict[str, int] = attrs.Factory(dict[str, int])
    """The last event of each stream before the batch, where it gets another one."""
    events: list[tuple[int, int, int, bytes, int]] = attrs.Factory(list[Any])
    gone: dict[tuple[int, bytes], None] = attrs.Factory(dict[Any, None])
    notes: dict[tuple[int, bytes], tuple[str, bytes, float, bytes, int]] = (
        attrs.Factory(dict[Any, Any])
    )

    size: int = 0
    """How many bytes there are in events and notes."""

    def append(self, stream: Stream, job: Append) -> None:
        """Add what an append writes, which is right."""
        chain = stream.chain
        for seq, body in enumerate(job.events, job.after + 1):
            chain = chained(chain, stream.name, seq, job.epoch, body)
            self.events.append((stream.id, seq, job.epoch, body, chain))
            self.size += len(body)
        stream.chain = chain
        stream.last += size_of(job.events, job.notes)
        self.streams[stream.name] = stream
        self.after.setdefault(stream.name, job.after)
        for note in job.notes:
            id = (stream.id, id_of_note(note))
            if note.body is None:
                self.gone[id] = None
                self.notes.pop(id, None)
            else:
                self.size += len(note.body)
                text = (note.kind, note.key.encode())
                self.notes[id] = (
                    *(*text, note.at, note.body),
                    sealed(stream.name, note),
                )

    def statements(
        self,
    ) -> Iterator[tuple[LiteralString, LiteralString, list[tuple[Any, ...]]]]:
        """Return what writes events and notes: a name, a statement, and its rows."""
        for events in _portions(self.events, 3):
            yield "events", ADD_EVENTS, events
        if self.gone:
            yield "gone", DROP_NOTES, [*self.gone]
        notes = [(*id, *value) for id, value in self.notes.items()]
        for some in _portions(notes, 5):
            yield "notes", SET_NOTES, some


def all_at_once(changes: Changes) -> tuple[LiteralString, list[object]] | None:
    """Return one statement that writes everything, and its parameters.

    None if one is not enough: there is too much, or a note that is taken away and
    stored again, and so moves to the end.
    """
    if changes.size > SENT or not changes.gone.keys().isdisjoint(changes.notes):
        return None
    rows = sorted(
        (*stream.row(), changes.after[stream.name])
        for stream in changes.streams.values()
    )
    query: LiteralString = f"with done as ({SET_SAME_STREAMS})"
    arrays: list[object] = [*columns(rows)]
    for name, statement, some in changes.statements():
        query += f", {name} as ({statement})"
        arrays += columns(some)
    query += " select 1 / (count(*) = %b)::int from done"
    return query, [*arrays, len(rows)]


def columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Return rows as arrays, one for each column."""
    return [list(column) for column in zip(*rows, strict=True)]


def _portions(
    rows: Sequence[tuple[Any, ...]], body: int
) -> Iterator[list[tuple[Any, ...]]]:
    """Divide rows into as many as a statement may have.

    Args:
        body: The column that may be large.
    """
    portion: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += len(row[body])
        if size > SENT:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


@attrs.frozen
class Place:
    """Where a reader is in a stream, and where it comes to an end."""

    seq: int
    chain: int
    """The check number of the event before."""
    top: int
    """The last event that there was when the reader began."""
    end: int
    """Its check number, as the row of the stream had it."""


def checked_page(
    name: str, place: Place, rows: Sequence[tuple[int, int, bytes, int]]
) -> tuple[list[tuple[int, bytes]], Place | None]:
    """Return the events of a page, if they are what was written, and where it ends."""
    seq, chain = place.seq, place.chain
    events: list[tuple[int, bytes]] = []
    for seq, epoch, body, check in rows:
        chain = chained(chain, name, seq, epoch, body)
        if chain != check:
            raise _damaged("event", f"{name}, event {seq}", "it, or the one before it,")
        events.append((seq, body))
    if rows and seq < place.top:
        return events, Place(seq, chain, place.top, place.end)
    if chain != place.end:
        raise _damaged("event", f"{name}, event {seq}", "what follows")
    return events, None


def sound_notes(rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, Note]]:
    """Return notes and their streams, if they are what was written."""
    for stream, kind, key, at, body, seal in rows:
        name = stream.decode(errors="replace")
        note = Note(kind, key.decode(errors="replace"), at, body)
        if sealed(name, note) == seal:
            yield name, note
            continue
        error = _damaged("note", f"{name}, {kind} {note.key!r}", "it")
        if kind != "snapshot":
            raise error
        log.warning("%s The snapshot is left out.", error)


def _damaged(table: str, row: str, what: str) -> Damaged:
    """Make the error for a row that is not what was written."""
    return Damaged(
        f"table trio_actors_{table}, row {row}: {what} is not what was written."
        " Somebody has changed it, or the disk has. Nothing was set aside, and the row"
        " stays as it is: restore it from a backup, or take the whole stream away."
    )
