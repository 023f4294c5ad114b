"""A million idle actors in one process: ``python -m benchmarks.million``.

A task starts actors that do nothing, ten times as many at each stage: 100, 1,000 ...
up to ``--actors``. At each stage, among so many,

* the memory that each new one took is read, before it was told anything;
* bursts of 64 messages go to 64 actors picked at random, and questions, one after the
  other, to actors picked at random: the CPU time of each is taken. The same messages
  are sent once before: what a first message costs is told by the memory;
* loop passes and task steps of a tell, an ask and a restart are counted. They must be
  exactly the same at each stage.

Then some that were never told anything are told something, for their memory; the
garbage collector looks at everything once; and all are stopped, in order, by leaving
the block.

Rules of this file:

* Times are CPU times of this process, with the default settings of the collector.
* The figures are written down after each stage: an interrupted run leaves valid JSON.
"""

import argparse
import gc
import logging
import random
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import process_time
from typing import ClassVar

import attrs
import trio
from rich.console import Console
from trio.lowlevel import checkpoint
from trio.testing import wait_all_tasks_blocked

from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorSystem,
    Request,
    Supervision,
    handler,
    open_actor_system,
)

from ._books import check, check_books
from ._file import add_json
from ._memory import resident
from ._meter import Cost, metered, untimed
from ._million import Report, Stage, save, show

ACTORS = 1_000_000
CHUNK = 1000
BURST = 64
BURSTS = 150
ASKS = 1000
ROUNDS = 20
REPEAT = 5
PANEL = 20_000
"""How many are told something for their memory, at most."""
INTERRUPTED = 130


@attrs.frozen
class Question(Request[int]):
    """Answered with a number."""


@attrs.frozen
class Crash:
    """Something to fail at."""


@attrs.define
class Tally:
    """What all of them have handled."""

    handled: int = 0


class Idle(Actor[int | Question | Crash]):
    """Has little to do, and no state of its own: that would come on top."""

    tally: ClassVar[Tally] = Tally()

    @handler
    def take(self, message: int) -> None:
        """Count it."""
        self.tally.handled += 1

    @handler
    def answer(self, message: Question) -> int:
        """Count it, and answer."""
        self.tally.handled += 1
        return 1

    @handler
    def crash(self, message: Crash) -> None:
        """Fail."""
        raise ArithmeticError


Ref = ActorRef[int | Question | Crash]


class Crowd:
    """The actors, and what is done with them."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.tally = Idle.tally = Tally()
        self.refs: list[Ref] = []
        self.random = random.Random(0)

    async def grow(self, actors: int) -> None:
        """Start actors until there are so many, and wait until all have started."""
        system, refs = self.system, self.refs
        while len(refs) < actors:
            for _ in range(min(CHUNK, actors - len(refs))):
                refs.append(system.spawn_nowait(Idle))
            await checkpoint()
        await wait_all_tasks_blocked()

    def some(self, number: int) -> list[Ref]:
        """Pick different ones at random."""
        return self.random.sample(self.refs, min(number, len(self.refs)))

    async def told(self, bursts: list[list[Ref]]) -> None:
        """Tell each of each burst a message, and wait until all have handled it."""
        expected = self.tally.handled + sum(map(len, bursts))
        for burst in bursts:
            for ref in burst:
                ref.tell_nowait(1)
            await checkpoint()
        await wait_all_tasks_blocked()
        check("messages", self.tally.handled, expected)

    async def asked(self, refs: list[Ref]) -> None:
        """Ask each a question, one after the other."""
        expected = self.tally.handled + len(refs)
        for ref in refs:
            await ref.ask(Question())
        check("answers", self.tally.handled, expected)


# --- Times -------------------------------------------------------------------


async def cpu_time(work: Callable[[], Awaitable[None]]) -> float:
    """Return the seconds some work took."""
    begin = process_time()
    await work()
    return process_time() - begin


async def median_time(work: Callable[[], Awaitable[None]]) -> float:
    """Do some work again and again; the first time does not count."""
    await work()
    return statistics.median([await cpu_time(work) for _ in range(REPEAT)])


async def tell_time(crowd: Crowd) -> float:
    """Return the microseconds of a tell to somebody among all."""
    bursts = [crowd.some(BURST) for _ in range(BURSTS)]
    seconds = await median_time(lambda: crowd.told(bursts))
    return seconds / sum(map(len, bursts)) * 1e6


async def ask_time(crowd: Crowd) -> float:
    """Return the microseconds of an ask of somebody among all."""
    refs = crowd.random.choices(crowd.refs, k=ASKS)
    return await median_time(lambda: crowd.asked(refs)) / ASKS * 1e6


# --- Counts ------------------------------------------------------------------

# In each round one task runs at a time, so that the counts do not depend on the order
# in which trio runs those that could.


async def tell_round(ref: Ref) -> None:
    """Tell one a batch of messages; the last is a question, to know its end."""
    for _ in range(BURST - 1):
        ref.tell_nowait(1)
    await ref.ask(Question())


async def ask_round(ref: Ref) -> None:
    """Ask one."""
    await ref.ask(Question())


async def restart_round(ref: Ref) -> None:
    """Let one fail, and ask the next incarnation."""
    ref.tell_nowait(Crash())
    with suppress(ActorFailed):
        await ref.ask(Question())


COUNTED = {"tell": tell_round, "ask": ask_round, "restart": restart_round}


async def count(crowd: Crowd) -> dict[str, Cost]:
    """Count what a round takes, among all."""
    costs: dict[str, Cost] = {}
    with untimed(crowd.system):
        for name, one_round in COUNTED.items():
            (ref,) = crowd.some(1)
            await one_round(ref)
            with metered() as meter:
                for _ in range(ROUNDS):
                    await one_round(ref)
            costs[name] = meter.cost.per(ROUNDS)
    return costs


# --- The run -----------------------------------------------------------------


def stages(actors: int) -> list[int]:
    """Return how many actors there are at each stage."""
    sizes = [100]
    while sizes[-1] * 10 < actors:
        sizes.append(sizes[-1] * 10)
    return [size for size in sizes if size < actors] + [actors]


async def measure_stage(crowd: Crowd, actors: int) -> Stage:
    """Grow to so many actors, and look what a message costs among them."""
    new = actors - len(crowd.refs)
    gc.collect()
    before = resident()
    seconds = await cpu_time(lambda: crowd.grow(actors))
    gc.collect()
    after = resident()
    grown = None if before is None or after is None else (after - before) / new
    return Stage(
        actors=actors,
        started=new,
        start_seconds=seconds,
        bytes_untold=grown,
        resident=after,
        tell=await tell_time(crowd),
        ask=await ask_time(crowd),
        costs=await count(crowd),
    )


async def weigh_told(crowd: Crowd) -> float | None:
    """Return what one weighs once it was told something: of some that never were."""
    fresh = [ref for ref in crowd.refs if not ref._cell.box.accepted][:PANEL]
    before = resident()
    await crowd.told([fresh[at : at + BURST] for at in range(0, len(fresh), BURST)])
    after = resident()
    if before is None or after is None or not fresh:
        return None
    return (after - before) / len(fresh)


def collect() -> float:
    """Return the seconds of a full collection."""
    begin = process_time()
    gc.collect()
    return process_time() - begin


async def run(actors: int, report: Report, keep: Callable[[], None]) -> None:
    """Fill *report*; call *keep* whenever there is something new in it."""
    rules = Supervision(max_restarts=10**9)
    async with open_actor_system("million", supervision=rules) as system:
        crowd = Crowd(system)
        for size in stages(actors):
            report.stages.append(await measure_stage(crowd, size))
            keep()
        report.bytes_more_told = await weigh_told(crowd)
        report.collect_seconds = collect()
        keep()
        del crowd.refs[:]
        begin = process_time()
    report.stop_seconds = process_time() - begin
    check_books(system)
    report.complete = True
    keep()


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.million",
        description="Very many idle actors: what they weigh, and what a message costs.",
    )
    made.add_argument(
        "--actors", type=int, default=ACTORS, help="how many, from 100: 1,000,000"
    )
    add_json(made, "million.json")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show the table, keep the figures.

    No progress bar: it would be a thread, whose time would be measured, too.
    """
    options = parser().parse_args(arguments)
    console, report = Console(), Report(actors=options.actors)

    def keep() -> None:
        save(report, options.json)
        if report.stages and report.collect_seconds is None:
            console.print(f"[dim]{report.reached:,} actors: done[/]")

    logging.disable(logging.CRITICAL)  # the crashes are meant
    code = 0
    try:
        trio.run(run, options.actors, report, keep)
    except* KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        logging.disable(logging.NOTSET)
    show(report, console)
    return code


if __name__ == "__main__":
    sys.exit(main())
