"""A journal in one file: SQLite, of the standard library.

Rules of this file:

* A commit is on the disk before anybody is told (WAL, synchronous=FULL); the rows of
  events are only ever added.
* Several processes may have the file open, by SQLite's own locks. What is remembered
  from one batch to the next is forgotten when another connection has written.
* After damage nothing more is done with the file but to set it aside: not even by who
  has it open still, for what is renamed under a writer is no longer the journal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

from . import _reading as reading, _tables as tables
from ._damage import (
    Files,
    SideFile,
    code_of,
    dropped_bytes,
    identity,
    is_damage,
    log,
    size_of,
)
from ._errors import Damaged
from ._group import GroupJournal
from ._jobs import Append, Claim
from ._journal import Note
from ._reading import Place
from ._rows import Head, Plan, note_ids
from ._tables import Meta

T = TypeVar("T")

BUSY = 5.0
"""For how many seconds the lock of another process is waited for."""
PAGE_SIZE = 4096
"""Of a new file, in bytes: what SQLite reads and writes at once."""
REMEMBERED = 100_000
"""How many rows of streams are remembered at most."""
PRAGMAS = (
    "synchronous = full",
    "cache_size = -65536",  # 64 MB
    "wal_autocheckpoint = 4000",  # 16 MB: a tenth of the writes twice, not a third
)
_ADVICE = {
    sqlite3.SQLITE_BUSY: "Another process holds its lock: end it, or let it go on.",
    sqlite3.SQLITE_FULL: "Make room on the disk.",
    sqlite3.SQLITE_READONLY: "Let this user write to the file, and in its folder.",
    sqlite3.SQLITE_CANTOPEN: "Make its folder; let this user read and write in both.",
    sqlite3.SQLITE_IOERR: "Look at the disk, and at its free space.",
}


class SQLiteStore:
    """What a `SQLiteJournal` does in its worker thread."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._files = Files(Path(path).resolve())
        self._side = SideFile(self._files.last)
        self._connection: sqlite3.Connection | None = None
        self._identity: object = None
        self._damage = ""
        self._forget()

    def __str__(self) -> str:
        return str(self._files.path)

    # --- Open and close ---

    def open(self) -> None:
        """Open the file, or make it; look at all that can be looked at at once."""
        self._damage = ""
        try:
            with self._guard():
                try:
                    self._open_in_time()
                except sqlite3.OperationalError as error:
                    if code_of(error) != sqlite3.SQLITE_ERROR:
                        raise
                    # No statement here is wrong: so it is the file.
                    raise Damaged(f"SQLite says: {error}") from error
        except BaseException:
            self._release()
            raise

    def _open_in_time(self) -> None:
        """Open it, also when others do so in this moment.

        SQLite does not wait for them where two might wait for each other.
        """
        end = monotonic() + BUSY
        while True:
            try:
                self._open()
                return
            except sqlite3.OperationalError as error:
                if code_of(error) != sqlite3.SQLITE_BUSY or monotonic() > end:
                    raise
                self._release()
                sleep(0.01)  # in the worker thread

    def _open(self) -> None:
        # In this order, for another process may be making it: what is beside the file
        # comes after it.
        known, wal = self._side.read(), size_of(self._files.wal)
        size = size_of(self._files.path)
        if (known or wal) and not size:
            raise Damaged("the database is missing or empty, but not what is beside it")
        db = self._connect()
        # By SQLite's own count: it takes back what a process that was killed had begun.
        is_new = db.execute("pragma page_count").fetchone() == (0,)
        if is_new and size and size_of(self._files.path):
            raise Damaged("the database is too short to be one")
        if is_new:
            db.execute(f"pragma page_size = {PAGE_SIZE}")
            with self._transaction("immediate"):
                tables.create(db)
        if db.execute("pragma journal_mode = wal").fetchone() != (b"wal",):
            raise sqlite3.NotSupportedError("there is no WAL on this kind of disk")
        with self._transaction("immediate"):  # for this user may be unable to write
            commits = self._check(known, is_new=is_new)
            wal = size_of(self._files.wal)
            self._side.write(commits)
        self._tell_dropped(wal)

    def _connect(self) -> sqlite3.Connection:
        db = self._connection = sqlite3.connect(
            self._files.path,
            timeout=BUSY,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=1000,
        )
        db.text_factory = bytes
        for pragma in PRAGMAS:
            db.execute(f"pragma {pragma}")
        self._identity = identity(self._files.path)
        return db

    def _check(self, known: int, *, is_new: bool) -> int:
        """Look for damage; return the number of commits."""
        db = self._db
        tables.check_schema(db)
        meta = tables.load_meta(db)
        if meta.commits < known:
            raise Damaged(
                f"there are {meta.commits} commits, but {self._files.last} knows of"
                f" {known}: the last ones are lost"
            )
        tables.check_streams(db, meta)
        if self._side.trouble and not is_new:
            log.warning(
                "%s %s: it is made anew. Whether the last commits are there, nothing"
                " else can tell.",
                self._files.last,
                self._side.trouble,
            )
        return meta.commits

    def _tell_dropped(self, size: int) -> None:
        """Say what was in the WAL without being a commit."""
        page_size: int = self._db.execute("pragma page_size").fetchone()[0]
        _, frames, _ = self._db.execute("pragma wal_checkpoint(passive)").fetchone()
        size = size if frames >= 0 else 0  # another process does it: nobody left it
        if dropped := dropped_bytes(self._files.wal, size, frames, page_size):
            log.warning(
                "%s: the last %d bytes are no whole commit, and were dropped: a write"
                " that was not finished, or one that is damaged.",
                self._files.wal,
                dropped,
            )

    def close(self) -> None:
        """Close the file, if it is open still."""
        try:
            self._release()
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _release(self) -> None:
        self._side.close()
        self._forget()
        db, self._connection = self._connection, None
        if db is not None:
            db.close()

    # --- Trouble ---

    @contextmanager
    def _guard(self) -> Generator[None]:
        """Refuse all after damage; tell damage from what may be well again."""
        if self._damage:
            raise Damaged(self._damage)
        try:
            yield
        except Damaged as error:
            raise self._set_aside(str(error)) from error
        except UnicodeDecodeError as error:  # in what SQLite says about damage
            raise self._set_aside(f"SQLite says: {error.object!r}") from error
        except sqlite3.Error as error:
            if is_damage(error):
                raise self._set_aside(f"SQLite says: {error}") from error
            raise self._trouble(error) from error
        except OSError as error:
            raise OSError(
                f"{self}: {error}. Look at its folder: whether it is there, this user"
                " may write to it, and there is room."
            ) from error

    def _trouble(self, error: sqlite3.Error) -> OSError:
        """Say what is wrong, and what to do."""
        advice = _ADVICE.get(code_of(error), "")
        return OSError(f"{self}: {error}. {advice}".rstrip())

    def _set_aside(self, found: str) -> Damaged:
        """Close the file and rename it; return the error."""
        aside = self._files.aside()
        try:
            now = identity(self._files.path)
            if self._identity not in (None, now):
                there = "Another file" if now is not None else "Nothing"
                where = f"{there} is in its place by now"
            else:
                self._files.copy_wal(aside)
                self._release()
                self._files.move(aside)
                where = f"It was set aside as {aside.path}"
        except (OSError, sqlite3.Error) as error:
            where = f"It could not be set aside: {error}"
        self._damage = (
            f"{self}: {found}. {where}. Nothing more is read or written: put a copy"
            " that is good in its place, and open the journal anew; without one it"
            " begins empty."
        )
        return Damaged(self._damage)

    # --- Transactions ---

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    @contextmanager
    def _transaction(self, kind: str) -> Generator[sqlite3.Connection]:
        db = self._db
        db.execute(f"begin {kind}")
        try:
            yield db
            db.execute("commit")
        except BaseException:
            self._forget()
            if db.in_transaction:  # else SQLite has rolled it back by itself
                db.execute("rollback")
            raise

    def _forget(self) -> None:
        """Forget what is remembered between two batches."""
        self._heads: dict[str, Head] = {}
        self._meta = Meta()
        self._next = (0, 0)
        self._version: object = None

    def _refresh(self, db: sqlite3.Connection) -> None:
        """Forget it if another connection has written since."""
        version = db.execute("pragma data_version").fetchone()
        if version != self._version or len(self._heads) > REMEMBERED:
            self._forget()
            self._version = version
            self._meta = tables.load_meta(db)
            self._next = (
                tables.next_number(db, "stream"),
                tables.next_number(db, "note"),
            )

    # --- What the journal wants ---

    def commit(self, batch: Sequence[Claim | Append]) -> None:
        """Do all that is right, in one transaction."""
        with self._guard():
            with self._transaction("immediate") as db:
                plan = self._plan(db, batch)
                meta = tables.write_plan(db, plan, self._meta)
            self._meta, self._next = meta, (plan.next_stream, plan.next_place)
            if identity(self._files.path) != self._identity:
                raise Damaged("it was moved, deleted or set aside while it was open")
            self._tell_side(meta.commits)

    def _plan(self, db: sqlite3.Connection, batch: Sequence[Claim | Append]) -> Plan:
        self._refresh(db)
        missing = {job.stream: None for job in batch if job.stream not in self._heads}
        self._heads |= tables.find_heads(db, [*missing])
        notes = tables.find_notes(db, note_ids(batch, self._heads))
        stream, place = self._next
        plan = Plan(self._heads, notes, next_stream=stream, next_place=place)
        plan.fold(batch)
        return plan

    def _tell_side(self, commits: int) -> None:
        """Write the side file; the commit does not depend on it."""
        try:
            self._side.write(commits)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._files.last, error)

    def _read(self, function: Callable[..., T], *args: object) -> T:
        """Read in a transaction: what one statement finds, the next one does."""
        with self._guard(), self._transaction("deferred") as db:
            return function(db, *args)

    def page(
        self, stream: str, after: int, place: Place | None
    ) -> tuple[Sequence[tuple[int, bytes]], Place | None]:
        """Return the next events."""
        return self._read(reading.load_page, stream, after, place)

    def notes(self, stream: str) -> Sequence[Note]:
        """Return the notes of a stream."""
        return self._read(reading.load_notes, stream)

    def pending(self, prefix: str) -> Sequence[tuple[str, Note]]:
        """Return what is to be delivered and what is due."""
        return self._read(reading.load_pending, prefix)


class SQLiteJournal(GroupJournal[Place]):
    """A journal in one file.

    An append is on the disk when it returns; what many actors write at once is one
    transaction. Several processes may have the file open, and a claim in one fences
    the writer in another; but a process that is frozen while it writes holds the lock
    of all.

    Beside the file are SQLite's own (``-wal``, ``-shm``), and ``.last``, which knows
    how many commits there were: copy or move them together, while none has it open.

    Damage is found when the file is opened, or when what is damaged is read: `Damaged`
    says what was found, all the files are renamed to ``PATH.damaged-1`` or the next
    number that is free, and the journal refuses everything until it is opened anew.
    Then it begins empty, so put a good copy in its place first.

    Args:
        path: Of the file, which is made when it is not there; its folder is not. On a
            disk of this machine: SQLite's locks and its WAL do not work on others.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__(SQLiteStore(path))
