"""The journal in one file: what every journal does, several processes, and trouble."""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.persistence.children import Child
from tests.persistence.conformance import TESTS, Test, events
from trio_actors.persistence import (
    Fenced,
    Note,
    SQLiteJournal,
    WriteFailed,
    _damage,
    _sqlite,
    _tables,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
async def test_as_every_journal(test: Test, path: Path) -> None:
    await test(lambda: SQLiteJournal(path))


# --- Several have it open ---


async def test_what_one_writes_the_other_reads_and_goes_on_with(path: Path) -> None:
    """What is remembered is forgotten when another connection has written."""
    one, other = SQLiteJournal(path), SQLiteJournal(str(path))
    async with one.__open_journal__(), other.__open_journal__():
        for last, journal in enumerate((one, other) * 3):
            epoch = await journal.claim("s")
            assert epoch == last + 1
            await journal.append("s", epoch, last, [b"e"], [Note("outbox", "k")])
        assert await events(one, "s") == [b"e"] * 6
        with pytest.raises(Fenced, match="epoch 5 was replaced by 6"):
            await one.append("s", 5, 6, [b"x"])
        await one.claim("new")
        assert await other.claim("new") == 2


async def test_many_that_make_it_at_once_make_one(path: Path) -> None:
    epochs: list[int] = []

    async def start() -> None:
        journal = SQLiteJournal(path)
        async with journal.__open_journal__():
            epochs.append(await journal.claim("s"))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(start)
    assert sorted(epochs) == [*range(1, 9)]


async def test_who_comes_while_another_makes_it_tries_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says at once that it is locked where two might wait for each other."""
    journal = SQLiteJournal(path)
    store: Any = journal._store
    really, busy = store._open, [sqlite3.OperationalError("database is locked")]
    busy[0].sqlite_errorcode = sqlite3.SQLITE_BUSY

    def open_late() -> None:
        if busy:
            raise busy.pop()
        really()

    monkeypatch.setattr(store, "_open", open_late)
    async with journal.__open_journal__():
        assert await journal.claim("s") == 1


async def test_who_closes_it_elsewhere_takes_nothing_from_who_has_it_open(
    path: Path,
) -> None:
    """The last one to close it deletes the WAL: nobody may take himself for the last.

    To open and close the file by other ways than SQLite's would take away its locks.
    """
    journal, program = (
        SQLiteJournal(path),
        (
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]);"
            "db.execute('select * from meta').fetchall(); db.close()"
        ),
    )
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        async with SQLiteJournal(path).__open_journal__():
            pass
        wal = path.with_name("journal.db-wal").stat().st_ino
        await trio.run_process([sys.executable, "-c", program, str(path)])
        assert path.with_name("journal.db-wal").stat().st_ino == wal
        await journal.append("s", epoch, 0, [b"e"])
    async with journal.__open_journal__():
        assert await events(journal, "s") == [b"e"]


def test_who_comes_second_finds_the_tables(path: Path) -> None:
    db = sqlite3.connect(path)
    for _ in range(2):
        _tables.create(db)
    assert _tables.load_meta(db) == _tables.Meta()
    db.close()


async def test_another_process_writes_at_the_same_time(path: Path) -> None:
    """Each its own stream; then a claim here fences the writer there."""
    child = Child(path)
    child.start("writer")
    assert child.line() == "stored s 1"
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        epoch = await journal.claim("mine")
        for last in range(20):
            await journal.append("mine", epoch, last, [b"%d" % last])
        assert await journal.claim("s") == 2
        said = child.rest()
        assert said.pop() == "fenced"
        stored = int(said[-1].split()[-1]) if said else 1
        assert len(await events(journal, "s")) == stored
        assert len(await events(journal, "mine")) == 20
    child.close()


async def test_many_streams_are_not_all_remembered(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite, "REMEMBERED", 2)
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        for last in range(3):
            for name in "abcde":
                epoch = await journal.claim(name)
                assert epoch == last + 1
                await journal.append(name, epoch, last, [b"e"])
        assert len(journal._store._heads) <= 3  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


async def test_a_lock_that_another_holds_is_no_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite, "BUSY", 0.01)
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(
            WriteFailed, match=r"is locked. Another process holds"
        ) as it:
            await journal.append("s", epoch, 0, [b"e"])
        assert str(path) in str(it.value)
        with pytest.raises(WriteFailed, match="whether the claim is stored"):
            await journal.claim("s")
        assert await events(journal, "s") == []  # readers do not wait for a writer
        with pytest.raises(OSError, match=r"journal.db: database is locked. Another"):
            async with SQLiteJournal(path).__open_journal__():
                raise AssertionError
        other.execute("rollback")
        other.close()
        await journal.append("s", epoch, 0, [b"e"])
        assert await events(journal, "s") == [b"e"]
    assert not [*path.parent.glob("*damaged*")]


# --- As an ordinary user ---


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that an ordinary user can come to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    folder.chmod(0o777)
    shutil.rmtree(folder)


def ordinary(path: Path) -> list[str]:
    """Use a journal as an ordinary user; return how far that came."""
    child = Child(path)
    child.start("ordinary")
    said = child.rest()
    child.close()
    return said


async def make(path: Path) -> None:
    """Make a journal with one event."""
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"e"])


async def check(path: Path) -> None:
    """It is as it was made, and nothing was set aside."""
    path.parent.chmod(0o777)
    for file in path.parent.iterdir():
        file.chmod(0o666)
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        assert await events(journal, "s") == [b"e"]
    assert sorted(file.name for file in path.parent.iterdir()) == [
        *("journal.db", "journal.db.last")
    ]


def test_an_ordinary_user_can_use_it(shared: Path) -> None:
    path = shared / "journal.db"
    assert ordinary(path) == ["opened", "stored s 1"]
    assert ordinary(path) == ["opened", "stored s 2"]


def test_a_folder_in_which_nothing_can_be_made_is_told(shared: Path) -> None:
    shared.chmod(0o555)
    (said,) = ordinary(shared / "journal.db")
    assert said.startswith(f"OSError {shared / 'journal.db'}: unable to open database")
    assert said.endswith("Make its folder; let this user read and write in both.")
    assert not [*shared.iterdir()]


def test_a_folder_that_is_not_there_is_told(shared: Path) -> None:
    (said,) = ordinary(shared / "none" / "journal.db")
    assert said.endswith("Make its folder; let this user read and write in both.")


@pytest.mark.parametrize(
    ("folder", "file"),
    [(0o555, 0o666), (0o777, 0o444), (0o777, 0o000)],
    ids=["folder read-only", "files read-only", "files not readable"],
)
async def test_permissions_that_are_wrong_are_told_and_are_no_damage(
    shared: Path, folder: int, file: int
) -> None:
    path = shared / "journal.db"
    await make(path)
    for one in shared.iterdir():
        one.chmod(file)
    shared.chmod(folder)
    (said,) = ordinary(path)
    assert said.startswith("OSError")
    assert str(path) in said
    assert "this user" in said
    await check(path)


# --- The disk ---


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("a disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_is_told_and_nothing_acknowledged_is_lost(tiny: Path) -> None:
    path, last = tiny / "journal.db", 0
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        with pytest.raises(
            WriteFailed, match=r"disk is full\. Make room on the disk\. Read what"
        ) as it:
            while True:
                await journal.append("s", epoch, last, [bytes(50_000)])
                last += 1
        assert str(path) in str(it.value)
        assert last > 1
        assert await events(journal, "s") == [bytes(50_000)] * last
        await trio.to_thread.run_sync(
            subprocess.check_call, ["mount", "-o", "remount,size=8m", str(tiny)]
        )
        await journal.append("s", epoch, last, [b"more"])
    async with journal.__open_journal__():
        assert await events(journal, "s") == [bytes(50_000)] * last + [b"more"]
    assert not [*tiny.glob("*damaged*")]


async def test_a_disk_that_is_full_from_the_start_is_told(tiny: Path) -> None:
    (tiny / "filler").write_bytes(bytes(1_040_000))
    with pytest.raises(OSError, match=f"{tiny / 'journal.db'}: ") as caught:
        async with SQLiteJournal(tiny / "journal.db").__open_journal__():
            raise AssertionError
    assert "full" in str(caught.value) or "room" in str(caught.value)
    (tiny / "filler").unlink()
    await make(tiny / "journal.db")
    await check(tiny / "journal.db")


async def test_what_a_batch_has_changed_is_forgotten_when_it_is_not_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of streams are changed before the commit: after it has failed, none is."""

    def fail(*args: object) -> None:
        raise sqlite3.OperationalError("no luck")

    journal, note = SQLiteJournal(path), Note("state", "k", 1.0, b"state")
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        with monkeypatch.context() as patch:
            patch.setattr(_tables, "_write_meta", fail)
            with pytest.raises(WriteFailed, match="no luck"):
                await journal.append("s", epoch, 0, [b"lost"], [note])
            for stream in ("s", "new"):
                with pytest.raises(WriteFailed, match="no luck"):
                    await journal.claim(stream)
        assert await journal.claim("other") == await journal.claim("new") == 1
        await journal.append("s", epoch, 0, [b"kept"], [note])
    async with journal.__open_journal__():
        assert await events(journal, "s") == [b"kept"]
        assert [*await journal.notes("s")] == [note]


async def test_a_disk_without_shared_memory_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some that are on another machine; a database in memory is like that, too."""
    journal = SQLiteJournal(path)
    monkeypatch.setattr(journal._store._files, "path", Path(":memory:"))  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OSError, match="there is no WAL on this kind of disk"):
        async with journal.__open_journal__():
            raise AssertionError


async def test_a_file_that_cannot_be_closed_is_told(path: Path) -> None:
    class Failing:
        def close(self) -> None:
            db.close()
            raise sqlite3.OperationalError("disk I/O error")

    store = _sqlite.SQLiteStore(path)
    store.open()
    assert store._connection is not None
    db = store._connection
    store._connection = Failing()  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OSError, match="journal.db: disk I/O error"):
        store.close()
    store.close()


async def test_what_is_in_the_way_of_the_side_file_is_told(path: Path) -> None:
    (path.parent / "journal.db.last").mkdir()
    with pytest.raises(OSError, match=r"journal.db: .*Is a dir.*Look at its folder"):
        async with SQLiteJournal(path).__open_journal__():
            raise AssertionError


def test_what_is_damage() -> None:
    """Locked, full, read-only: that may be well again."""
    error = sqlite3.OperationalError()
    for code, damage in ((sqlite3.SQLITE_BUSY, False), (sqlite3.SQLITE_CORRUPT, True)):
        error.sqlite_errorcode = code
        assert _damage.is_damage(error) is damage
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT_INDEX
    assert _damage.is_damage(error)
    assert _damage.is_damage(sqlite3.IntegrityError())
    assert not _damage.is_damage(sqlite3.ProgrammingError())


def test_it_is_the_same_file_wherever_the_program_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = SQLiteJournal("journal.db")
    monkeypatch.chdir("/")
    trio.run(journal_is_made, journal)
    assert (tmp_path / "journal.db").exists()


async def journal_is_made(journal: SQLiteJournal) -> None:
    async with journal.__open_journal__():
        await trio.lowlevel.checkpoint()
