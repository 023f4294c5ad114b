"""Skynet: a tree of actors that is built, adds up, and is gone.

One actor starts ten others, each of them ten more, and so on down to *leaves* leaves
(a power of ten). A leaf sends its number, from 0, to whoever started it, and ends. The
others send on the sum of the ten numbers they get, and end. The clock runs from before
the first one is started until all have ended.

An operation is an actor, started and ended: for 100,000 leaves 111,111.
"""

from collections.abc import Callable, Mapping
from time import process_time

import trio

from trio_actors import Actor, handler, open_actor_system

from ._books import check, check_books
from ._records import Sample, Workload

WORKLOADS = (
    Workload(
        name="skynet",
        title="skynet",
        unit="actor",
        sizes={"leaves": 100_000},
        quick={"leaves": 1_000},
    ),
)

BRANCHES = 10


class Node(Actor[int]):
    """A leaf, or the sum of ten others."""

    def __init__(self, report: Callable[[int], None], first: int, leaves: int) -> None:
        self.report = report
        self.first = first
        self.leaves = leaves
        self.left = BRANCHES
        self.total = 0

    async def started(self) -> None:
        """Start ten others; a leaf tells its number."""
        if self.leaves == 1:
            self._end(self.first)
            return
        share, report = self.leaves // BRANCHES, self.context.ref.tell_nowait
        for first in range(self.first, self.first + self.leaves, share):
            self.context.spawn_nowait(Node, report, first, share)

    @handler
    def add(self, number: int) -> None:
        """Add one up; after the tenth tell the sum."""
        self.total += number
        self.left -= 1
        if not self.left:
            self._end(self.total)

    def _end(self, number: int) -> None:
        self.report(number)
        self.context.stop()


def actors_in(leaves: int) -> int:
    """Return how many actors a tree has."""
    return 1 if leaves == 1 else 1 + BRANCHES * actors_in(leaves // BRANCHES)


async def _measure(leaves: int) -> Sample:
    sums: list[int] = []
    async with open_actor_system("skynet") as system:
        begin = process_time()
        root = system.spawn_nowait(Node, sums.append, 0, leaves)
        await root.wait_stopped()
        seconds = process_time() - begin
    check("sum", sum(sums), leaves * (leaves - 1) // 2)
    actors = actors_in(leaves)
    check("handled", check_books(system)["handled"], actors - 1)
    return Sample(actors, seconds)


def skynet(sizes: Mapping[str, int]) -> Sample:
    """Build the tree."""
    return trio.run(_measure, sizes["leaves"])
