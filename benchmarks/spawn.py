"""W4 spawn and stop: many actors that do nothing, and what each of them weighs.

*spawn*: a task starts *actors* actors, one after the other, and waits for each until it
runs (``spawn_nowait``: until all run). Then it stops each by its own ref, and waits for
the end of all. The clock runs while actors are started, and while they are stopped.

An operation is an actor, started and stopped.

*idle*: the same number of actors is started, and the growth of the process's resident
memory is divided by it: ``bytes_untold``. Then each is told one message, and when all
have handled it the growth is taken again: ``bytes_told``. What the program holds for
each actor, its ref, counts. Each such run has a process of its own, since memory that
was used before would be used again. The memory is read from ``/proc/self/statm``;
where that does not exist there are no figures.
"""

from collections.abc import Mapping
from time import process_time

import trio
from trio.testing import wait_all_tasks_blocked

from trio_actors import Actor, ActorRef, ActorSystem, handler, open_actor_system

from ._books import check, check_books
from ._memory import Growth
from ._records import Sample, Workload

FULL = {"actors": 20_000}
QUICK = {"actors": 500}

WORKLOADS = (
    Workload(
        name="spawn",
        title="W4 await spawn, stop",
        unit="actor",
        sizes=FULL,
        quick=QUICK,
        targets={"naive": 1.3, "pykka": 25},
    ),
    Workload(
        name="spawn_nowait",
        title="W4 spawn_nowait, stop",
        unit="actor",
        sizes=FULL,
        quick=QUICK,
        targets={"naive": 2.2, "pykka": 25},
        like="spawn",
    ),
    Workload(
        name="idle",
        title="W4 bytes per idle actor",
        unit="actor",
        sizes=FULL,
        quick={"actors": 2_000},
        limits={"bytes_untold": 2800, "bytes_told": 4700},
        fresh=True,
    ),
)


class Idle(Actor[int]):
    """Has little to do."""

    @handler
    def take(self, message: int) -> None:
        """Do nothing."""


async def _spawn(system: ActorSystem, actors: int) -> list[ActorRef[int]]:
    return [await system.spawn(Idle) for _ in range(actors)]


async def _spawn_nowait(system: ActorSystem, actors: int) -> list[ActorRef[int]]:
    refs = [system.spawn_nowait(Idle) for _ in range(actors)]
    await wait_all_tasks_blocked()
    return refs


async def _measure(actors: int, *, wait: bool) -> Sample:
    async with open_actor_system("spawn") as system:
        begin = process_time()
        refs = await (_spawn if wait else _spawn_nowait)(system, actors)
        seconds = process_time() - begin
        check("actors", len(system.snapshot().children), actors)
        begin = process_time()
        for ref in refs:
            ref.stop()
    seconds += process_time() - begin
    check("actors left", len(system.snapshot().children), 0)
    check_books(system)
    return Sample(actors, seconds)


async def _weigh(actors: int) -> Sample:
    async with open_actor_system("idle") as system:
        # The first one brings what all of them share.
        await system.spawn(Idle)
        begin, growth = process_time(), Growth(actors)
        refs = await _spawn_nowait(system, actors)
        growth.read("bytes_untold")
        for ref in refs:
            ref.tell_nowait(1)
        await wait_all_tasks_blocked()
        growth.read("bytes_told")
        seconds = process_time() - begin
        for ref in refs:
            ref.stop()
    check("handled", check_books(system)["handled"], actors)
    return Sample(actors, seconds, figures=growth.figures)


def spawn(sizes: Mapping[str, int]) -> Sample:
    """Wait for each to run."""

    async def main() -> Sample:
        return await _measure(sizes["actors"], wait=True)

    return trio.run(main)


def spawn_nowait(sizes: Mapping[str, int]) -> Sample:
    """Wait for all to run."""

    async def main() -> Sample:
        return await _measure(sizes["actors"], wait=False)

    return trio.run(main)


def idle(sizes: Mapping[str, int]) -> Sample:
    """Weigh them."""
    return trio.run(_weigh, sizes["actors"])
