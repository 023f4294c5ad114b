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
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest

from tests.testing.nightly import NIGHTLY
from trio_actors.persistence import Damaged, Note, _sqlite
from trio_actors.persistence._group import Append, Claim
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
