"""Event-sourced actors for the benchmark of journals."""

import math
from pathlib import Path
from time import perf_counter

import attrs
import trio

from trio_actors import ActorRef, Request, handler, open_actor_system, tagged
from trio_actors.persistence import Entities, EventSourced, SQLiteJournal, applies

from ._books import check
from ._records import Sample

BATCH = 1000


@attrs.frozen
class Add(Request[int]):
    """Store so many events."""

    count: int = 1


@attrs.frozen
class Count(Request[int]):
    """Say how many there are."""


@tagged("bench-added@1")
@attrs.frozen
class Added:
    memo: str


EVENT = Added("x" * 97)  # 120 bytes, as they are stored


class Ledger(EventSourced[Add | Count, Added, int]):
    """Stores what it is told, and counts."""

    initial = 0
    snapshot_every = 1_000_000_000

    @handler
    async def add(self, message: Add) -> int:
        await self.persist(*[EVENT] * message.count)
        return self.state

    @handler(reads_only=True)
    def count(self, message: Count) -> int:
        return self.state

    @applies
    def added(self, event: Added) -> int:
        return self.state + 1


async def _ask(ledger: ActorRef[Add | Count], events: int) -> None:
    for number in range(1, events + 1):
        check("events", await ledger.ask(Add()), number)


async def append_all(folder: str, ledgers: int, events: int) -> Sample:
    """Ask so many entities at once, each so many times; each has started before."""
    journal = SQLiteJournal(Path(folder) / "journal.db")
    async with open_actor_system("bench", journal=journal) as system:
        house = Entities(system, Ledger, idle_after=math.inf)
        refs = [house.get(str(number)) for number in range(ledgers)]
        async with trio.open_nursery() as nursery:
            for ref in refs:
                nursery.start_soon(ref.ask, Count())
        begin = perf_counter()
        async with trio.open_nursery() as nursery:
            for ref in refs:
                nursery.start_soon(_ask, ref, events)
        seconds = perf_counter() - begin
        check("events", await refs[-1].ask(Count()), events)
    return Sample(ledgers * events, seconds, "wall")


async def recover(folder: str, events: int) -> Sample:
    """Let one of them store so many; how long it takes to start with them."""
    path = Path(folder) / "journal.db"
    async with open_actor_system("bench", journal=SQLiteJournal(path)) as system:
        ledger = Entities(system, Ledger).get("one")
        for first in range(0, events, BATCH):
            await ledger.ask(Add(min(BATCH, events - first)))
    async with open_actor_system("bench", journal=SQLiteJournal(path)) as system:
        ledger = Entities(system, Ledger).get("one")
        begin = perf_counter()
        found = await ledger.ask(Count())
        seconds = perf_counter() - begin
    check("events", found, events)
    return Sample(events, seconds, "wall")
