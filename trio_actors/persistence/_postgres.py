"""A journal in a PostgreSQL database.

Rules of this file:

* A batch is one transaction. If all of it is foreseen, it is one statement, and fails
  whole where the database knows better. Then, or if there is a claim in it, the rows of
  its streams are locked and read, and what is right is written.
* Rows are locked in the order of their numbers, so that two journals never wait for
  each other in a circle.
* After any failure the connection is given up, and the next call makes another one:
  one attempt for each call.
* psycopg is imported here alone, and not before a journal is made.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias, cast

from ._errors import Damaged, WriteFailed
from ._group import GroupJournal
from ._jobs import Append, Claim
from ._journal import Note, check_writer
from ._postgres_rows import (
    ADD_STREAMS,
    BYTES,
    LOCK,
    LOCK_STREAMS,
    OF_PREFIX,
    OF_STREAM,
    READ_BEFORE,
    READ_EVENTS,
    READ_NOTES,
    READ_STREAM,
    READ_TOP,
    ROWS,
    SESSION,
    SET_STREAMS,
    TABLES,
    VERSION,
    WRITABLE,
    Changes,
    Place,
    Stream,
    all_at_once,
    checked_page,
    columns,
    id_of,
    no_stream,
    sound_notes,
    stream_of,
)

if TYPE_CHECKING:
    import psycopg

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

HELD_MS = 5000
"""How long a process that is frozen amid a write can keep others from its streams."""
KNOWN = 100_000
"""How many streams are remembered, so that a batch of theirs is one round trip."""
WAITED_MS = 10_000
"""How long a write waits for the writes of others."""

_ADVICE = {
    "25006": "Connect to a server that may be written to, and not to a standby.",
    "3F000": "Make the schema, or name another: options='-c search_path=...'.",
    "42501": "Grant this user usage on the schema, and create for the first time; on"
    " the tables trio_actors_* select, insert, update and delete.",
}
"""What to do, by the SQLSTATE."""

log = logging.getLogger("trio_actors")


class _Tables:
    """The database, as the group commit sees it."""

    def __init__(self, conninfo: str) -> None:
        try:
            import psycopg  # noqa: PLC0415  # the extra "postgres"
        except ImportError as error:
            raise ImportError(
                f"PostgresJournal cannot import psycopg: {error}. Install it:"
                " pip install 'trio_actors[postgres]', and with it the library libpq"
                " of PostgreSQL; or both in one: pip install 'psycopg[binary]'."
            ) from error
        self._psycopg = psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415

        given = conninfo_to_dict(conninfo)
        given.setdefault("connect_timeout", 10)
        given.setdefault("application_name", "trio_actors")
        self._conninfo = make_conninfo("", **given)
        self._connection: Connection | None = None
        self._known: dict[str, Stream] = {}
        """Streams as this journal has left them; somebody else may have them now."""

    # --- The connection ---

    def open(self) -> None:
        """Connect, and make the tables if this is the first time."""
        with self._connected() as connection, connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
            found = connection.execute("select to_regclass('trio_actors_meta')")
            if found.fetchall() == [(None,)]:
                connection.execute(TABLES, prepare=False)
                connection.execute(
                    "insert into trio_actors_meta(version) values (%s)", (VERSION,)
                )
            found = connection.execute("select version from trio_actors_meta")
            (version,) = found.fetchone() or (None,)
            if version != VERSION:
                raise RuntimeError(
                    f"the tables trio_actors_* are of version {version}, and this"
                    f" library knows version {VERSION}. Install the one that made them,"
                    " or choose another schema: options='-c search_path=...'."
                )
            connection.execute(WRITABLE)  # rather now than at the first claim

    def close(self) -> None:
        """Give the connection back."""
        self._known.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _connected(self) -> Generator[Connection]:
        """Use the connection, or a new one; after a failure it is given up."""
        try:
            if self._connection is None or not _lives(self._connection):
                self.close()
                self._connection = self._connect()
            yield self._connection
        except self._psycopg.OperationalError as error:
            self.close()
            text = " ".join(str(error).split()).rstrip(".?")  # it has several lines
            raise ConnectionError(
                f"PostgreSQL cannot be reached, or does not answer: {text}"
            ) from error
        except BaseException as error:
            self.close()
            advice = _ADVICE.get(getattr(error, "sqlstate", None) or "")
            if advice is None:
                raise
            found = cast("psycopg.Error", error).diag.message_primary
            raise OSError(f"PostgreSQL refuses it: {found}. {advice}") from error

    def _connect(self) -> Connection:
        connection = self._psycopg.connect(self._conninfo, autocommit=True)
        try:
            connection.prepare_threshold = 0
            answer = connection.execute(SESSION, (HELD_MS, WAITED_MS)).fetchall()
            if answer[0][-1] != "on":
                log.warning(
                    "This PostgreSQL server runs with fsync = off: what it acknowledges"
                    " is lost when the machine fails."
                )
        except BaseException:
            connection.close()
            raise
        return connection

    # --- Writing ---

    def commit(self, batch: Sequence[Claim | Append]) -> None:
        """Do all that is right, in one transaction. As in `Store`."""
        with self._connected() as connection:
            changes = self._foreseen(batch)
            if changes is None or not self._written(connection, changes):
                self._commit_step_by_step(connection, batch)

    def _foreseen(self, batch: Sequence[Claim | Append]) -> Changes | None:
        """Return what a batch changes, if that can be known without a look.

        If not, what is known of its streams may be wrong from here on.
        """
        changes = Changes()
        for job in batch:
            stream = self._known.get(job.stream)
            if (
                isinstance(job, Claim)
                or stream is None
                or (job.epoch, job.after) != (stream.epoch, stream.last)
            ):
                return None
            changes.append(stream, job)
        return changes

    def _written(self, connection: Connection, changes: Changes) -> bool:
        """Write what is foreseen, if nothing else is there; return whether it was.

        In one statement: when this process is frozen meanwhile, it holds no lock.
        """
        statement = all_at_once(changes)
        if statement is None:
            return False
        try:
            connection.execute(*statement)
        except self._psycopg.errors.DivisionByZero:
            return False
        return True

    def _commit_step_by_step(
        self, connection: Connection, batch: Sequence[Claim | Append]
    ) -> None:
        """Lock and read the rows of the streams, then write what is right.

        Not in a pipeline: only for a session that is idle between two statements does
        the server count HELD_MS, so that it gives up the locks of a frozen process.
        """
        with connection.transaction():
            rows = _lock(connection, batch)
            changes = Changes()
            if len(self._known) > KNOWN:
                self._known.clear()
            for job in batch:
                self._known.pop(job.stream, None)
            for job in batch:
                self._do(job, rows, changes)
            if changes.streams:
                changed = [stream.row() for stream in changes.streams.values()]
                connection.execute(SET_STREAMS, columns(changed))
            for _, statement, some in changes.statements():
                connection.execute(statement, columns(some))

    def _do(
        self,
        job: Claim | Append,
        rows: Mapping[int, tuple[int, ...]],
        changes: Changes,
    ) -> None:
        """Do one job of a batch, or refuse it."""
        try:
            stream = self._known.get(job.stream)
            if stream is None:
                self._known[job.stream] = stream = _stream_for(job, rows)
            if isinstance(job, Append):
                check_writer(
                    *(job.stream, job.epoch, job.after),
                    held=stream.epoch,
                    last=stream.last,
                )
                changes.append(stream, job)
            else:
                stream.epoch += 1
                changes.streams[job.stream] = stream
                job.result = stream.epoch
        except (WriteFailed, Damaged) as error:
            job.error = error

    # --- Reading ---

    def page(
        self, stream: str, after: int, place: Place | None
    ) -> tuple[list[tuple[int, bytes]], Place | None]:
        """Return the next events. As in `Store`."""
        id = id_of(stream)
        with self._connected() as connection:
            if place is None:
                place = _first_place(connection, stream, after)
            if place is None:
                return [], None
            where = (id, place.seq, place.top, ROWS, BYTES)
            rows = _fetch(connection, READ_EVENTS, *where).fetchall()
        return checked_page(stream, place, rows)

    def notes(self, stream: str) -> list[Note]:
        """Return the notes of a stream. As in `Journal`."""
        with self._connected() as connection:
            found = _fetch(connection, READ_NOTES + OF_STREAM, id_of(stream))
            return [note for _, note in sound_notes(found.fetchall())]

    def pending(self, prefix: str) -> list[tuple[str, Note]]:
        """Return what is to be delivered, and what is due. As in `Journal`."""
        with self._connected() as connection:
            name = prefix.encode()
            found = _fetch(connection, READ_NOTES + OF_PREFIX, len(name), name)
            return list(sound_notes(found.fetchall()))


class PostgresJournal(GroupJournal[Place]):
    """A journal in a PostgreSQL database, which many processes may share.

    Its tables, ``trio_actors_*``, are made when it is opened for the first time, in the
    schema that comes first in the ``search_path``. There is one connection, in a worker
    thread; when it breaks, what is being written fails with `WriteFailed`, and the next
    call connects again. Needs ``pip install 'trio_actors[postgres]'``, and PostgreSQL
    12 or later; between them there may be no pool that gives each transaction another
    connection.

    Args:
        conninfo: Where the database is, as libpq wants it:
            ``"host=db.example.com dbname=bank user=bank"``, or
            ``"postgresql://bank@db.example.com/bank"``. Add ``tcp_user_timeout=20000``
            (milliseconds) where a machine may vanish without a word.

    Raises:
        ImportError: psycopg, or the library that it needs, is missing.
    """

    def __init__(self, conninfo: str) -> None:
        super().__init__(_Tables(conninfo))


def _lives(connection: Connection) -> bool:
    """Return whether a connection is still there, as far as this side can know."""
    try:
        # The first one finds the last words of the server, the second one the end.
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except connection.OperationalError:
        return False
    return True


def _fetch(
    connection: Connection, query: LiteralString, *args: object
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Ask, in the binary form."""
    return connection.execute(query, args, binary=True)


def _first_place(connection: Connection, stream: str, after: int) -> Place | None:
    """Return where a reader begins; None if there is no such stream."""
    id = id_of(stream)
    with connection.pipeline():
        # One view for all that is compared with each other.
        connection.execute("begin isolation level repeatable read read only")
        found = _fetch(connection, READ_STREAM, id)
        top = _fetch(connection, READ_TOP, id)
        before = _fetch(connection, READ_BEFORE, id, after)
        connection.execute("commit")
    row, ((last,),), chain = found.fetchone(), top.fetchall(), before.fetchone()
    if row is not None:
        end = stream_of(stream, row).chain
        return Place(after, chain[0] if chain else 0, last or 0, end)
    if last is not None:
        raise no_stream(stream)
    return None


def _lock(
    connection: Connection, batch: Sequence[Claim | Append]
) -> dict[int, tuple[int, ...]]:
    """Lock the rows of the streams of a batch, in the order of their numbers."""
    # One that is new is claimed, unless its writer does without.
    new = {job.stream for job in batch if isinstance(job, Claim) or not job.epoch}
    if new:
        rows = [(id_of(name), name.encode(), Stream(name, 0).seal()) for name in new]
        connection.execute(ADD_STREAMS, columns(sorted(rows)))
    ids = sorted({id_of(job.stream) for job in batch})
    return {row[0]: row for row in _fetch(connection, LOCK_STREAMS, ids)}


def _stream_for(job: Claim | Append, rows: Mapping[int, tuple[int, ...]]) -> Stream:
    """Return a stream as it was found."""
    row = rows.get(id_of(job.stream))
    if row is not None:
        return stream_of(job.stream, row)
    if isinstance(job, Append):  # nobody has claimed it
        check_writer(job.stream, job.epoch, job.after, held=0, last=0)
    raise no_stream(job.stream)
