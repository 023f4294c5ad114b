"""Every kind of damage: never a wrong value, never a gap.

"A flipped bit at every byte of a small journal", and truncated at every byte: each time
either all that was acknowledged is read, or `Damaged` says what was found, and the file
is there still, under another name.

The store is used directly, in one thread: there are thousands of cases.
"""

import logging
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from tests.testing.nightly import NIGHTLY
from trio_actors.persistence import (
    Damaged,
    Note,
    SQLiteJournal,
    _sqlite,
    _tables as tables,
)
from trio_actors.persistence._jobs import Append, Claim
from trio_actors.persistence._sqlite import SQLiteStore

Files: TypeAlias = Mapping[str, bytes]
"""What is in a folder."""
DB, WAL, LAST = "j.db", "j.db-wal", "j.db.last"


rng = random.Random(5)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, in memory where there is one: no disk is waited for."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    path = Path("/dev/shm") / f"trio_actors-{os.getpid()}-{tmp_path.name}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@attrs.frozen
class Content:
    """All that can be read."""

    events: Mapping[str, list[tuple[int, bytes]]]
    notes: Mapping[str, list[Note]]
    pending: list[tuple[str, Note]]

    def without_snapshots(self) -> "Content":
        """Return it without what may be left out."""
        notes = {
            name: [note for note in notes if note.kind != "snapshot"]
            for name, notes in self.notes.items()
        }
        return attrs.evolve(self, notes=notes)


def write(store: SQLiteStore, job: Claim | Append) -> int:
    store.commit([job])
    if job.error is not None:
        raise job.error
    return job.result if isinstance(job, Claim) else 0


def append(
    store: SQLiteStore, name: str, after: int, events: list[bytes], *notes: Note
) -> None:
    """Append in the first epoch."""
    job = Append(stream=name, epoch=1, after=after, events=events, notes=notes)
    write(store, job)


def read(store: SQLiteStore, name: str, after: int = 0) -> list[tuple[int, bytes]]:
    events, place = store.page(name, after, None)
    assert place is None
    return [*events]


def look(store: SQLiteStore) -> Content:
    """Read all there is; from the middle it is the same."""
    names = ("a", "b", "new")
    events = {name: read(store, name) for name in names}
    for name in names:
        for after in range(1, len(events[name]) + 1):
            assert read(store, name, after) == events[name][after:]
    notes = {name: [*store.notes(name)] for name in names}
    return Content(events, notes, [*store.pending("")])


def files(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fill(folder: Path, content: Files) -> SQLiteStore:
    """Put files into the empty folder; return a store that is not open yet."""
    for path in folder.iterdir():
        path.unlink()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return SQLiteStore(folder / DB)


@attrs.frozen
class Small:
    """A small journal."""

    closed: Files
    """When it was closed: all is in the database."""
    opened: Files
    """Later, as a process that is killed leaves it: the last commits are in the WAL."""
    states: list[Content]
    """What could be read after each commit of those; the last one is all."""
    full: Content
    """What could be read when it was closed."""

    def ways(self, name: str) -> Iterator[tuple[Files, Content]]:
        """Return the ways in which a file was left."""
        if name != WAL:
            yield self.closed, self.full
        if name == WAL or NIGHTLY:
            yield self.opened, self.states[-1]


@pytest.fixture
def small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A small journal, of small pages."""
    monkeypatch.setattr(_sqlite, "PAGE_SIZE", 512)
    store = SQLiteStore(folder / DB)
    store.open()
    for name in ("a", "b"):
        write(store, Claim(stream=name))
        outbox, outcome = (
            Note("outbox", "o", 1.0, b"o"),
            Note("outcome", "c", 5.0, b"c"),
        )
        append(store, name, 0, [b"one", b"two", b"three"], outbox, outcome)
    append(store, "a", 3, [], Note("snapshot", "3", 0.0, b"a snapshot"))
    append(store, "a", 3, [], Note("reminder", "r", 9.5, b"r"), Note("outbox", "o"))
    full = look(store)
    store.close()
    closed = files(folder)
    store.open()
    states = [full]
    append(store, "a", 3, [b"four"])
    states.append(look(store))
    append(store, "b", 3, [], Note("outcome", "d", 6.0, b"d"))
    states.append(look(store))
    opened = files(folder)
    store.close()
    return Small(closed, {name: opened[name] for name in (DB, WAL, LAST)}, states, full)


def outcome(folder: Path, left: Files) -> Content | None:
    """Open what is left and read it; None if it is `Damaged`, and set aside."""
    store = fill(folder, left)
    try:
        store.open()
        content = look(store)
    except Damaged as error:
        check_aside(folder, left, error)
        with pytest.raises(Damaged):
            store.pending("")  # nothing is read any more
        store.close()
        return None
    if NIGHTLY or rng.random() < 0.1:
        go_on(store, content)
    store.close()
    return content


def check_aside(folder: Path, left: Files, error: Damaged) -> None:
    """The files are there, under other names, and nothing is at the old ones."""
    assert f"{folder / DB}: " in str(error)
    assert f"was set aside as {folder / DB}.damaged-1. " in str(error)
    after = files(folder)
    assert all(name.startswith(f"{DB}.damaged-1") for name in after)
    for name, data in left.items():
        kept = after[name.replace(DB, f"{DB}.damaged-1")]
        # SQLite may have brought whole commits from the WAL into the database.
        assert kept == data or (name == DB and WAL in left)


def go_on(store: SQLiteStore, content: Content) -> None:
    """Write on: what is acknowledged is read again, or damage is told."""
    try:
        epoch = write(store, Claim(stream="a"))
        after = content.events["a"][-1][0] if content.events["a"] else 0
        job = Append(stream="a", epoch=epoch, after=after, events=[b"new"], notes=[])
        write(store, job)
        store.close()
        store.open()
        assert read(store, "a") == [*content.events["a"], (after + 1, b"new")]
    except Damaged:
        pass
    except OSError as error:
        # A bit of the header says that it is to be read only: then it is.
        if "readonly" not in str(error):
            raise


def flips(data: bytes) -> Iterator[bytes]:
    """Flip one bit of each byte, one after the other."""
    for position in range(len(data)):
        harmed = bytearray(data)
        harmed[position] ^= 1 << rng.randrange(8)
        yield bytes(harmed)


def cuts(data: bytes) -> Iterator[bytes]:
    """Cut it off before each byte."""
    return (data[:end] for end in range(len(data)))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Thousands of warnings, which other tests look at."""
    logging.getLogger("trio_actors").setLevel(logging.ERROR)
    yield
    logging.getLogger("trio_actors").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("harm", [flips, cuts])
@pytest.mark.parametrize("name", [DB, WAL, LAST])
def test_whatever_happens_to_a_file_nothing_wrong_is_read(
    folder: Path, small: Small, name: str, harm: Callable[[bytes], Iterator[bytes]]
) -> None:
    """All of it, or `Damaged`. Only a snapshot may be left out."""
    damaged = whole = 0
    for left, content in small.ways(name):
        for data in harm(left[name]):
            found = outcome(folder, {**left, name: data})
            damaged += found is None
            whole += found == content
            if found is not None:
                assert found.without_snapshots() == content.without_snapshots()
    print(f"{name}: {damaged} times damaged, {whole} times whole")
    assert damaged if name != LAST else not damaged


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("harm", [flips, cuts])
def test_when_nothing_knows_of_more_the_beginning_is_read(
    folder: Path, small: Small, harm: Callable[[bytes], Iterator[bytes]]
) -> None:
    """Damage of the tail, without the side file: a correct prefix."""
    seen: set[int] = set()
    states = [state.without_snapshots() for state in small.states]
    for data in islice(harm(small.opened[WAL]), 0, None, 1 if NIGHTLY else 5):
        found = outcome(folder, {DB: small.opened[DB], WAL: data})
        assert found is not None
        seen.add(states.index(found.without_snapshots()))
    assert seen == {0, 1}


HARMS = {
    "the first event is gone": "delete from event where stream = 1 and seq = 1",
    "an event is gone": "delete from event where stream = 1 and seq = 2",
    "the last event is gone": "delete from event where stream = 1 and seq = 3",
    "all events are gone": "delete from event where stream = 1",
    "an event is another": "update event set body = x'00' where seq = 2",
    "an event is a number": "update event set body = 7 where seq = 2",
    "an event is of another epoch": "update event set epoch = 2 where seq = 2",
    "an event has another number": "update event set seq = 4 where seq = 3",
    "an event's check number is a text": "update event set chain = 'x' where seq = 2",
    "an event is of another stream": "update event set stream = 9 where stream = 1",
    "events were exchanged": "update event set seq = -seq, body = 'x' where seq < 3",
    "an outcome is gone": "delete from note where kind = 2 and stream = 1",
    "an outbox is gone": "delete from note where kind = 3",
    "a reminder is gone": "delete from note where kind = 4",
    "a note is another": "update note set body = x'00' where kind = 2",
    "a note is a number": "update note set body = 0 where kind = 2",
    "a note is of a kind that is none": "update note set kind = 7 where kind = 4",
    "a note has another key": "update note set key = x'ff' where kind = 3",
    "a note has another time": "update note set at = 10.0 where kind = 4",
    "notes are in another order": "update note set place = 99 where place = 2",
    "a note is of no stream": "update note set stream = 9 where kind = 4",
    "a note is of another stream": "update note set stream = 2 where kind = 4",
    "the row of a stream is gone": "delete from stream where name = x'61'",
    "a stream has another name": "update stream set name = x'6e6577' where id = 1",
    "the name of a stream is a number": "update stream set name = 7 where id = 1",
    "the epoch was set back": "update stream set epoch = 0",
    "the last number was set back": "update stream set seq = 2",
    "the row about the file is gone": "delete from meta",
    "there were other commits": "update meta set commits = 99",
    "it is of an earlier version": "update meta set version = 0",
    "a table is gone": "drop table note",
    "the row about the file has no table": "drop table meta",
    "an index is gone": "drop index event_seq",
    "a table has another column": "alter table event add column more",
}


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("chain", ["0", "'x'"])
def test_a_check_number_is_not_believed_from_the_middle_either(
    folder: Path, small: Small, after: int, chain: str
) -> None:
    """Of the event after which one reads, and of the one before it."""
    fill(folder, small.closed)
    with sqlite3.connect(folder / DB) as db:
        db.execute(f"update event set chain = {chain} where seq = 1")
    db.close()
    store = SQLiteStore(folder / DB)
    store.open()
    with pytest.raises(Damaged, match=f"event {after} of stream 'a' is not what was"):
        store.page("a", after, None)
    store.close()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CREATE TABLE meta", b"CREATE T\xf4BLE meta"),
        (b"integer", b"inte(er"),
    ],
    ids=["no text", "no type"],
)
def test_what_sqlite_says_about_damage_is_handed_on(
    folder: Path, small: Small, old: bytes, new: bytes
) -> None:
    """Even where it is no text."""
    data = small.closed[DB].replace(old, new)
    assert data != small.closed[DB]
    with pytest.raises(Damaged, match="j.db: SQLite says: .*malformed"):
        fill(folder, {DB: data}).open()


def test_an_index_in_which_a_stream_is_missing_is_damage(
    folder: Path, small: Small
) -> None:
    """SQLite would not find it, and it would be a new one."""
    fill(folder, small.closed)
    with sqlite3.connect(folder / DB) as db:
        sql = "select rootpage from sqlite_master where name like 'sqlite_auto%stream%'"
        begin = (db.execute(sql).fetchone()[0] - 1) * 512
    db.close()
    data = small.closed[DB]
    page = data[begin : begin + 512].replace(b"a", b"c")
    harmed = data[:begin] + page + data[begin + 512 :]
    with pytest.raises(Damaged, match="SQLite finds this in the streams: .*index"):
        fill(folder, {**small.closed, DB: harmed}).open()


def test_a_note_that_is_missing_is_missed_in_all_that_is_pending(
    folder: Path, small: Small
) -> None:
    fill(folder, small.closed)
    with sqlite3.connect(folder / DB) as db:
        db.execute("delete from note where kind = 3")
    db.close()
    store = SQLiteStore(folder / DB)
    store.open()
    with pytest.raises(Damaged, match="a note of stream 'b' is missing"):
        store.pending("a")
    store.close()


def test_a_note_of_no_stream_is_damage_to_all_that_is_pending(
    folder: Path, small: Small
) -> None:
    fill(folder, small.closed)
    with sqlite3.connect(folder / DB) as db:
        db.execute("insert into note values (99, 9, 3, x'00', 0.0, x'00', 0)")
    db.close()
    store = SQLiteStore(folder / DB)
    store.open()
    with pytest.raises(Damaged, match=r"notes of streams \[9\], which have none"):
        store.pending("a")
    store.close()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("harm", HARMS)
def test_what_is_missing_or_another_is_damage(
    folder: Path, small: Small, harm: str
) -> None:
    """Not by chance, but by hand: rows that are whole, but not what was written."""
    fill(folder, small.closed)
    with sqlite3.connect(folder / DB) as db:
        db.execute(HARMS[harm])
    db.close()
    assert outcome(folder, files(folder)) is None


def test_a_snapshot_that_cannot_be_read_is_left_out_with_a_warning(
    folder: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    """All events are read instead."""
    fill(folder, small.closed)
    with sqlite3.connect(folder / DB) as db:
        db.execute("update note set body = x'00' where kind = 0")
    db.close()
    assert outcome(folder, files(folder)) == small.full.without_snapshots()
    assert caplog.messages == ["a snapshot of 'a' cannot be read: left out"]


def test_an_index_that_leads_to_another_stream_is_damage(
    folder: Path, small: Small
) -> None:
    """A stream that is not found is never taken for a new one."""
    fill(folder, small.closed)

    class Misled(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            return super().execute(sql.replace("name in", "name not in"), parameters)

    db = sqlite3.connect(folder / DB, factory=Misled)
    db.text_factory = bytes
    with pytest.raises(Damaged, match="leads to other ones"):
        tables.find_heads(db, ["a"])
    db.close()


# --- What is beside the database ---


def test_a_side_file_that_is_missing_or_damaged_is_made_anew_with_a_warning(
    folder: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    side = small.closed[LAST]
    harmed = [({LAST: data}, "is damaged") for data in (b"17", b"no number", b"")]
    for left, what in [({}, "is missing"), *harmed]:
        caplog.clear()
        store = fill(folder, {DB: small.closed[DB], **left})
        store.open()
        assert look(store) == small.full
        store.close()
        assert f"{folder / LAST} {what}: it is made anew." in caplog.text
        assert (folder / LAST).read_bytes() == side


def test_a_side_file_that_knows_of_fewer_is_right(folder: Path, small: Small) -> None:
    """The process ended between the commit and the side file."""
    left = {**small.opened, LAST: small.closed[LAST]}
    assert outcome(folder, left) == small.states[-1]


@pytest.mark.parametrize("database", [{}, {DB: b""}])
def test_a_database_that_is_missing_or_empty_is_damage_if_there_was_one(
    folder: Path, small: Small, database: Files
) -> None:
    for beside in ({LAST: small.closed[LAST]}, {WAL: small.opened[WAL]}):
        assert outcome(folder, {**database, **beside}) is None


@pytest.mark.parametrize("database", [{}, {DB: b""}])
def test_a_journal_is_made_where_there_is_none(
    folder: Path, database: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a process was killed before it had made any."""
    found = outcome(folder, database)
    assert found is not None
    assert not any([*found.events.values(), *found.notes.values(), found.pending])
    assert caplog.messages == []


def test_what_was_begun_before_a_kill_is_taken_back_and_begun_again(
    folder: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that holds a part of the tables, and beside it how to take that back."""
    fill(folder, {})
    db = sqlite3.connect(folder / DB, isolation_level=None)
    db.execute("pragma page_size = 512")
    db.execute("pragma cache_size = 1")
    db.execute("begin")
    tables.create(db)
    left = files(folder)
    db.execute("rollback")
    db.close()
    assert len(left[DB]) > 512
    assert left[f"{DB}-journal"]
    found = outcome(folder, left)
    assert found is not None
    assert not any(found.events.values())
    assert caplog.messages == []


def test_a_copy_that_is_older_is_damage(folder: Path, small: Small) -> None:
    """Restored without its side file's knowledge: acknowledged commits are lost."""
    store = fill(folder, {**small.closed, LAST: small.opened[LAST]})
    with pytest.raises(Damaged, match=r"are 6 commits, but .*j.db.last knows of 8"):
        store.open()


def test_bytes_that_are_no_whole_commit_are_told(
    folder: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    """A correct prefix and a warning with the bytes dropped."""
    wal = small.opened[WAL]
    left = {DB: small.opened[DB], LAST: small.closed[LAST]}
    assert outcome(folder, {**left, WAL: wal}) == small.states[2]
    assert caplog.messages == []
    for dropped in (1, 100, 536, 537):
        caplog.clear()
        whole = 32 + 4 * 536 + dropped
        assert outcome(folder, {**left, WAL: wal[:whole]}) == small.states[1]
        assert f"the last {dropped} bytes are no whole commit" in caplog.text
    caplog.clear()
    harmed = bytes([wal[0] ^ 1]) + wal[1:]
    assert outcome(folder, {**left, WAL: harmed}) == small.states[0]
    assert f"the last {len(wal)} bytes are no whole commit" in caplog.text


def test_what_an_earlier_round_left_in_the_wal_is_not_told(
    folder: Path, small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    """A WAL is written over from its beginning: what comes behind is of old commits."""
    store = fill(folder, small.opened)
    store.open()
    assert store._connection is not None
    store._connection.execute("pragma wal_checkpoint(restart)")
    append(store, "a", 4, [b"five"])
    left = files(folder)
    store.close()
    found = outcome(folder, {name: left[name] for name in (DB, WAL, LAST)})
    assert found is not None
    assert found.events["a"][-1] == (5, b"five")
    assert caplog.messages == []


def test_a_side_file_that_cannot_be_written_costs_no_commit(
    folder: Path,
    small: Small,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = fill(folder, small.closed)
    store.open()

    def fail(commits: int) -> None:
        raise OSError("no room")

    monkeypatch.setattr(store._side, "write", fail)
    append(store, "a", 3, [b"four"])
    assert read(store, "a")[-1] == (4, b"four")
    store.close()
    assert caplog.messages == [f"{folder / LAST} cannot be written: no room"]


# --- What becomes of the files ---


def test_a_name_that_is_taken_is_not_overwritten(folder: Path, small: Small) -> None:
    """Set aside under the first name that is free, beside those before."""
    store = fill(folder, {DB: b"no database", f"{DB}.damaged-1.last": b"other"})
    for number in (2, 3):
        with pytest.raises(Damaged, match=f"set aside as .*damaged-{number}[.] "):
            store.open()
        (folder / DB).write_bytes(b"no database, either")
    assert files(folder) == {
        DB: b"no database, either",
        f"{DB}.damaged-1.last": b"other",
        f"{DB}.damaged-2": b"no database",
        f"{DB}.damaged-3": b"no database, either",
    }


async def test_after_damage_everything_is_refused_until_it_is_opened_anew(
    folder: Path, small: Small
) -> None:
    """Then it begins empty: the file is gone."""
    journal = SQLiteJournal(folder / DB)
    fill(folder, small.closed)
    with sqlite3.connect(folder / DB) as db:
        db.execute("update event set body = x'00' where seq = 3")
    db.close()
    async with journal.__open_journal__():
        assert await journal.claim("b") == 2
        with pytest.raises(Damaged, match="event 3 of stream 'a' is not what was"):
            [event async for event in journal.read("a", 0)]
        for _ in range(2):
            with pytest.raises(Damaged, match="damaged-1. Nothing more is read"):
                await journal.claim("b")
            with pytest.raises(Damaged, match="event 3 of stream 'a'"):
                await journal.append("b", 2, 3, [b"four"])
            with pytest.raises(Damaged, match="event 3 of stream 'a'"):
                await journal.notes("b")
    async with journal.__open_journal__():
        assert await journal.claim("b") == 1
    assert f"{DB}.damaged-1" in files(folder)


@pytest.mark.parametrize("other", [None, b"another file"])
def test_a_file_that_was_moved_while_it_was_open_is_told(
    folder: Path, small: Small, other: bytes | None
) -> None:
    """By whoever: what is written to it is not found at the next start."""
    store = fill(folder, small.closed)
    store.open()
    (folder / DB).rename(folder / "moved")
    if other is not None:
        (folder / DB).write_bytes(other)
    job = Append(stream="a", epoch=1, after=3, events=[b"four"], notes=[])
    there = "Nothing" if other is None else "Another file"
    told = f"was moved, deleted or set aside while .* {there} is in its place by now"
    with pytest.raises(Damaged, match=told):
        store.commit([job])
    with pytest.raises(Damaged):
        store.commit([job])
    store.close()
    assert (files(folder).get(DB)) == other
    assert not [name for name in files(folder) if "damaged" in name]


def test_what_cannot_be_set_aside_is_refused_all_the_same(
    folder: Path, small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(folder, {DB: b"no database"})

    def refuse(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(Damaged, match="It could not be set aside: not yours"):
        store.open()
    assert files(folder) == {DB: b"no database"}


def test_the_database_of_another_program_is_left_alone(folder: Path) -> None:
    with sqlite3.connect(folder / DB) as db:
        db.execute("create table other(a)")
    db.close()
    store = SQLiteStore(folder / DB)
    with pytest.raises(OSError, match="j.db: it is the database of another program"):
        store.open()
    with sqlite3.connect(folder / DB) as db:
        assert db.execute("select * from other").fetchall() == []
    db.close()


def test_what_a_later_version_wrote_is_left_alone(folder: Path, small: Small) -> None:
    fill(folder, small.closed)
    meta = tables.Meta(6, 0, tables.VERSION + 1)
    with sqlite3.connect(folder / DB) as db:
        db.execute("alter table event add column more")
        sql = "update meta set version = ?, commits = ?, weight = ?, crc = ?"
        db.execute(sql, (meta.version, meta.commits, meta.weight, meta.check))
    db.close()
    store = SQLiteStore(folder / DB)
    with pytest.raises(OSError, match="a later version of trio_actors wrote it"):
        store.open()
    assert [*files(folder)] == [DB, LAST]
