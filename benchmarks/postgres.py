"""The journal in PostgreSQL beside psycopg alone: ``python -m benchmarks.postgres``.

1,000 streams append at once, and each waits until its event is durable before it
appends the next one. Beside it psycopg inserts the same events into a table without a
journal, 1,000 in a transaction, one transaction after the other: as arrays, in the
binary form (the fastest that there is) and in the form that it takes by itself, and
with ``executemany``. They have their turns in the same run, with a server of their own;
the clock is that on the wall, for the server works in other processes.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, LiteralString

import psycopg
import trio
from rich import box
from rich.console import Console
from rich.table import Table

from tests.persistence.server import NEEDS_SERVER, Server, find_binaries, open_server
from trio_actors.persistence import PostgresJournal

from ._books import check
from ._records import Sample

STREAMS = 1000
EVENT = b"x" * 120
ARRAYS: Mapping[str, LiteralString] = {
    "arrays, binary": "%b::bigint[], %b::bigint[], %b::bigint[], %b::bytea[]",
    "arrays, as text": "%s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[]",
}
JOURNAL = "PostgresJournal"
MANY = "executemany"


def _connect(server: Server) -> psycopg.Connection[tuple[Any, ...]]:
    connection = psycopg.connect(server.conninfo, autocommit=True)
    connection.execute("drop table if exists bare")
    connection.execute(
        "create table bare(stream bigint, seq bigint, epoch bigint,"
        " body bytea not null, primary key (stream, seq))"
    )
    return connection


def bare_arrays(server: Server, form: LiteralString, rounds: int) -> Sample:
    """Insert with one statement for each transaction."""
    query = f"insert into bare select * from unnest({form})"
    streams, bodies = list(range(STREAMS)), [EVENT] * STREAMS
    with _connect(server) as connection:
        begin = perf_counter()
        for seq in range(1, rounds + 1):
            rows = (streams, [seq] * STREAMS, [1] * STREAMS, bodies)
            connection.execute(query, rows, prepare=True)
        seconds = perf_counter() - begin
        _check(connection, "bare", rounds)
    return Sample(rounds * STREAMS, seconds, "wall")


def bare_many(server: Server, rounds: int) -> Sample:
    """Insert with ``executemany``."""
    with _connect(server) as connection, connection.cursor() as cursor:
        begin = perf_counter()
        for seq in range(1, rounds + 1):
            rows = [(stream, seq, 1, EVENT) for stream in range(STREAMS)]
            with connection.transaction():
                cursor.executemany("insert into bare values (%b, %b, %b, %b)", rows)
        seconds = perf_counter() - begin
        _check(connection, "bare", rounds)
    return Sample(rounds * STREAMS, seconds, "wall")


def _check(
    connection: psycopg.Connection[tuple[Any, ...]], table: str, rounds: int
) -> None:
    query = f"select count(*) from {table}"
    ((count,),) = connection.execute(query.encode()).fetchall()
    check(f"rows of {table}", count, rounds * STREAMS)


async def _append(server: Server, rounds: int) -> Sample:
    journal = PostgresJournal(server.conninfo)
    epochs: dict[str, int] = {}

    async def claim(stream: str) -> None:
        epochs[stream] = await journal.claim(stream)

    async def write(stream: str) -> None:
        for after in range(rounds):
            await journal.append(stream, epochs[stream], after, [EVENT])

    async with journal.__open_journal__():
        async with trio.open_nursery() as nursery:
            for number in range(STREAMS):
                nursery.start_soon(claim, f"/bank/account-{number}")
        begin = perf_counter()
        async with trio.open_nursery() as nursery:
            for stream in epochs:
                nursery.start_soon(write, stream)
        return Sample(rounds * STREAMS, perf_counter() - begin, "wall")


def append(server: Server, rounds: int) -> Sample:
    """Append to all streams of a new journal at once."""
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        for name in ("event", "meta", "note", "stream"):
            connection.execute(f"drop table if exists trio_actors_{name}".encode())
        sample = trio.run(_append, server, rounds)
        _check(connection, "trio_actors_event", rounds)
    return sample


def measure(server: Server, rounds: int, repeat: int) -> dict[str, float]:
    """Return how many events a second each way stores, as a median."""
    ways: dict[str, Callable[[], Sample]] = {
        JOURNAL: partial(append, server, rounds),
        **{
            way: partial(bare_arrays, server, form, rounds)
            for way, form in ARRAYS.items()
        },
        MANY: partial(bare_many, server, rounds),
    }
    samples: dict[str, list[Sample]] = {way: [] for way in ways}
    for number in range(repeat):
        for way in list(ways)[:: -1 if number % 2 else 1]:
            samples[way].append(ways[way]())
    return {
        way: 1e6 / median(sample.microseconds for sample in taken)
        for way, taken in samples.items()
    }


def main() -> int:
    """Measure, and show a table."""
    parser = argparse.ArgumentParser(description="durable events in PostgreSQL")
    parser.add_argument("--quick", action="store_true", help="less of all")
    parser.add_argument("--repeat", type=int, default=5, help="runs per median: 5")
    options = parser.parse_args()
    binaries = find_binaries()
    if binaries is None:
        print(f"this benchmark {NEEDS_SERVER}", file=sys.stderr)
        return 1
    with open_server(binaries) as server:
        speeds = measure(server, 5 if options.quick else 30, options.repeat)
    table = Table(title="Durable events in PostgreSQL", box=box.SIMPLE_HEAD)
    for heading in ("", "events/s", "the journal, beside it"):
        table.add_column(heading, justify="right" if heading else "left")
    for way, speed in speeds.items():
        table.add_row(way, f"{speed:,.0f}", f"{speeds[JOURNAL] / speed:.0%}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
