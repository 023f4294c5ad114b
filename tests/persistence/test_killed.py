"""Processes that are killed or frozen while they write: S3-4.

Real processes, and real time: when a process is killed is left to chance, and whatever
the moment was, what is promised holds.
"""

import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.persistence.child import STREAMS
from tests.persistence.children import Child
from tests.persistence.conformance import events
from tests.testing.nightly import NIGHTLY
from trio_actors.persistence import Note, SQLiteJournal, WriteFailed, _sqlite

KILLS = 1000 if NIGHTLY else 50
FREEZES = 100 if NIGHTLY else 10
MAKINGS = 1000 if NIGHTLY else 50


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def child(path: Path) -> Iterator[Child]:
    child = Child(path)
    try:
        yield child
    finally:
        child.close()


def stored(lines: list[str]) -> dict[str, int]:
    """Return the last sequence number that was acknowledged, by stream."""
    words = [line.split() for line in lines]
    return {stream: int(seq) for _, stream, seq in words}


async def test_no_acknowledged_event_is_lost_by_a_kill(
    path: Path, child: Child
) -> None:
    """S3-4: SIGKILL at random moments, while the file is made, too."""
    rng, known = random.Random(), {f"s{number}": 0 for number in range(STREAMS)}
    acknowledged = 0
    for _ in range(KILLS):
        child.start("writers")
        time.sleep(rng.uniform(0, 0.15))
        child.signal(signal.SIGKILL)
        said = stored(child.rest())
        acknowledged += len(said)
        journal = SQLiteJournal(path)
        async with journal.__open_journal__():
            for stream, before in known.items():
                new = await events(journal, stream, before)
                last = before + len(new)
                assert last >= said.get(stream, 0)
                assert new == [
                    b"%d:%s" % (seq, stream.encode())
                    for seq in range(before + 1, last + 1)
                ]
                body = b"%d" % last
                notes = [Note("outcome", "last", 0.0, body)] if last else []
                assert await journal.notes(stream) == notes
                known[stream] = last
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    db.close()
    print(f"{KILLS} kills, {acknowledged} streams written, {known} events kept")
    assert acknowledged
    assert not [*path.parent.glob("*damaged*")]


async def test_a_kill_while_the_file_is_made_leaves_one_that_can_be_used(
    path: Path, child: Child
) -> None:
    rng = random.Random()
    for _ in range(MAKINGS):
        child.start("writers")
        time.sleep(rng.uniform(0, 0.02))
        child.signal(signal.SIGKILL)
        said = stored(child.rest())
        journal = SQLiteJournal(path)
        async with journal.__open_journal__():
            for number in range(STREAMS):
                found = await events(journal, f"s{number}")
                assert len(found) >= said.get(f"s{number}", 0)
        for file in path.parent.iterdir():
            assert "damaged" not in file.name
            file.unlink()


async def test_a_writer_that_was_frozen_is_fenced(
    path: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3-4: two writers, one frozen and thawed: never interleaved, the loser Fenced."""
    monkeypatch.setattr(_sqlite, "BUSY", 0.02)
    last = 0
    for number in range(FREEZES):
        child.start("writer")
        assert child.line().startswith("stored s ")
        mine = [b"mine %d" % number, b"mine, too"]
        while True:
            said = child.freeze()
            try:
                before = await take_over(path, mine)
            except (OSError, WriteFailed):
                # It was frozen while it held the lock of the file: it goes on.
                child.signal(signal.SIGCONT)
                assert child.line().startswith("stored s ")
            else:
                break
        child.signal(signal.SIGCONT)
        said += child.rest()
        assert said.pop() == "fenced"
        journal = SQLiteJournal(path)
        async with journal.__open_journal__():
            now = await events(journal, "s", last)
        assert now[:-2] == [b"%d:s" % seq for seq in range(last + 1, before + 1)]
        assert now[-2:] == mine
        assert stored(said).get("s", 0) <= before
        last = before + 2


async def take_over(path: Path, new: list[bytes]) -> int:
    """Claim the stream and append to it; return what was its last number."""
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        last = len(await events(journal, "s"))
        await journal.append("s", epoch, last, new)
    return last
