"""How fast events are durable, and read again: ``python -m benchmarks.journals``.

Each way does the same to a store in a folder of its own (``--quick`` does less of all):

* journal: a `SQLiteJournal`, as actors use it: 1,000 writers at once, each of which
  waits until its event is on the disk before it appends the next one. Every event is
  held against the epoch and the last number of its stream, and has a check number;
* actors: 1,000 event-sourced entities on such a journal, each of which is asked for one
  event after the other. A handler, the answer, the fold, and the check that the event
  comes back as it was stored are in it;
* raw: what the store can do at most: ``executemany`` in batches of 1,000, into a table
  of the same layout with the same settings, each batch one commit, by one thread;
* single: the same, with one commit per event. How long one takes is said, for it
  says what the disk is: where it is short, there is little to be gained.

"replay" reads all events of one stream in order: the journal holds each against its
check number, raw does not; an actor starts with them, decodes and folds each.

The clock is the wall's: who waits for a disk uses no CPU. After each run it is checked
that all events are there.
"""

import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from time import perf_counter

import trio

from trio_actors.persistence import Journal, SQLiteJournal
from trio_actors.persistence._sqlite import PAGE_SIZE, PRAGMAS

from . import _ledgers
from ._books import check
from ._records import Sample
from ._variants import Goal, Row, Trial

STREAMS, QUICK_STREAMS = 1000, 100
EVENTS, QUICK_EVENTS = 20, 3  # of each stream
SINGLE, QUICK_SINGLE = 500, 20  # commits, one by one
REPLAYED, QUICK_REPLAYED = 200_000, 2000
BATCH = 1000
EVENT = bytes(120)
APPEND, REPLAY = "SQLite: appends", "SQLite: replay"
SLOW = 0.0005  # seconds a commit takes on a disk on which a group of them pays


# --- Through a journal --------------------------------------------------------


async def _write(journal: Journal, stream: str, epoch: int, events: int) -> None:
    for after in range(events):
        await journal.append(stream, epoch, after, [EVENT])


async def append_all(journal: Journal, streams: int, events: int) -> Sample:
    """Let so many append so many each, all at once."""
    names = [f"stream {number}" for number in range(streams)]
    async with journal.__open_journal__():
        epochs = [await journal.claim(name) for name in names]
        begin = perf_counter()
        async with trio.open_nursery() as nursery:
            for name, epoch in zip(names, epochs, strict=True):
                nursery.start_soon(_write, journal, name, epoch, events)
        seconds = perf_counter() - begin
        for name in (names[0], names[-1]):
            found = [event async for event in journal.read(name, 0)]
            check("events", len(found), events)
    return Sample(streams * events, seconds, "wall")


async def replay_all(journal: Journal, events: int) -> Sample:
    """Write one stream of so many, and read it."""
    async with journal.__open_journal__():
        epoch = await journal.claim("stream")
        for after in range(0, events, BATCH):
            size = min(BATCH, events - after)
            await journal.append("stream", epoch, after, [EVENT] * size)
        begin, found = perf_counter(), 0
        async for seq, _ in journal.read("stream", 0):
            found = seq
        seconds = perf_counter() - begin
        check("events", found, events)
    return Sample(events, seconds, "wall")


def measure_journal(streams: int, events: int) -> Sample:
    """Append through a `SQLiteJournal`."""
    with tempfile.TemporaryDirectory() as folder:
        journal = SQLiteJournal(Path(folder) / "journal.db")
        return trio.run(append_all, journal, streams, events)


def measure_replay(events: int) -> Sample:
    """Read through a `SQLiteJournal`."""
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(replay_all, SQLiteJournal(Path(folder) / "journal.db"), events)


def measure_actors(ledgers: int, events: int) -> Sample:
    """Append by entities."""
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(_ledgers.append_all, folder, ledgers, events)


def measure_recovery(events: int) -> Sample:
    """Start an entity that has so many events."""
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(_ledgers.recover, folder, events)


# --- SQLite alone -------------------------------------------------------------


def connect(folder: str) -> sqlite3.Connection:
    """Make a table like that of a journal, with the same settings."""
    db = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
    db.execute(f"pragma page_size = {PAGE_SIZE}")
    db.execute("pragma journal_mode = wal")
    for pragma in PRAGMAS:
        db.execute(f"pragma {pragma}")
    db.execute(
        "create table event(place integer primary key, stream integer not null, seq"
        " integer not null, epoch integer not null, chain integer not null, body blob)"
    )
    db.execute("create unique index event_seq on event(stream, seq)")
    return db


def insert(db: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
    """Store rows in one commit."""
    db.execute("begin immediate")
    sql = "insert into event(stream, seq, epoch, chain, body) values (?, ?, ?, ?, ?)"
    db.executemany(sql, rows)
    db.execute("commit")


def measure_raw(streams: int, events: int, size: int) -> Sample:
    """Store the events of so many streams, so many in each commit."""
    rows = [
        (stream, seq, 1, 4_000_000_000, EVENT)
        for seq in range(1, events + 1)
        for stream in range(streams)
    ]
    with tempfile.TemporaryDirectory() as folder, closing(connect(folder)) as db:
        begin = perf_counter()
        for first in range(0, len(rows), size):
            insert(db, rows[first : first + size])
        seconds = perf_counter() - begin
        found = db.execute("select count(*) from event").fetchone()[0]
    check("events", found, len(rows))
    return Sample(len(rows), seconds, "wall")


def measure_raw_replay(events: int) -> Sample:
    """Read the events of one stream, a thousand at a time."""
    rows = [(1, seq, 1, 4_000_000_000, EVENT) for seq in range(1, events + 1)]
    with tempfile.TemporaryDirectory() as folder, closing(connect(folder)) as db:
        insert(db, rows)
        sql = (
            "select seq, epoch, chain, body from event where stream = 1 and seq > ?"
            f" order by seq limit {BATCH}"
        )
        begin, last = perf_counter(), 0
        while page := db.execute(sql, (last,)).fetchall():
            last = page[-1][0]
        seconds = perf_counter() - begin
    check("events", last, events)
    return Sample(events, seconds, "wall")


# --- What is measured, and what for -------------------------------------------


def rows(*, quick: bool) -> list[Row]:
    """Return what is measured."""
    streams = QUICK_STREAMS if quick else STREAMS
    events = QUICK_EVENTS if quick else EVENTS
    single = QUICK_SINGLE if quick else SINGLE
    replayed = QUICK_REPLAYED if quick else REPLAYED
    return [
        Row(
            APPEND,
            {
                "journal": partial(measure_journal, streams, events),
                "actors": partial(measure_actors, streams, events),
                "raw": partial(measure_raw, streams, events, BATCH),
                "single": partial(measure_raw, single, 1, 1),
            },
        ),
        Row(
            REPLAY,
            {
                "journal": partial(measure_replay, replayed),
                "actors": partial(measure_recovery, replayed),
                "raw": partial(measure_raw_replay, replayed),
            },
        ),
    ]


GOALS = (
    Goal(APPEND, 0.30, "raw", ours="journal"),
    Goal(APPEND, 25, "single", ours="journal"),
    Goal(REPLAY, 100_000, ours="journal"),
    Goal(APPEND, 0.30, "raw", ours="actors"),
    Goal(REPLAY, 100_000, ours="actors"),
)

TRIAL = Trial(
    "journals",
    "How fast events are durable, and read again",
    rows,
    against=("raw", "single"),
    ours="journal",
    second="second",
)


def told(goal: Goal, row: Row) -> str:
    """Return a goal and what became of it; one is only for disks that are slow."""
    text = goal.told(row)
    if goal.ours == "actors":
        text = text.replace(goal.row, f"{goal.row}, by actors", 1)
    speed = row.per_second("single")
    if goal.against != "single" or not speed:
        return text
    if 1 / speed < SLOW:
        text = f"{text.rpartition(':')[0]}: for slower disks only"
    return f"{text} (one commit takes {1000 / speed:.2f} ms here)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and tell which goals are met; return the exit status."""
    status = TRIAL.main(arguments)
    by_title = {row.title: row for row in TRIAL.rows}
    for goal in GOALS:
        print(told(goal, by_title[goal.row]))
    return status


if __name__ == "__main__":
    sys.exit(main())
