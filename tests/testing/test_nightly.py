"""What is checked with small numbers each time, and with large ones each night.

``nox -s nightly`` runs what is skipped here: it takes hours.
"""

import logging
import math
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks.schedules import Read, Register, Write, readers, search
from tests.testing.fuzz import compare
from tests.testing.nightly import NIGHTLY, nightly
from tests.zoo import ZOO, Animal
from trio_actors import Actor, Request, handler
from trio_actors.testing import World, check
from trio_actors.testing._dpor import Optimal
from trio_actors.testing._events import Run
from trio_actors.testing._search import canonical

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Failures are what some of the programs are made of: nobody reads their log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# --- Published numbers, on the real library ------------------------------------------


async def last_zero(number: int, world: World) -> None:
    """Each writer makes its cell one more than the one before; where is the last 0?"""
    cells = [
        await world.spawn(Register, name=f"cell-{place}") for place in range(number + 1)
    ]

    async def write(place: int) -> None:
        value = await cells[place - 1].ask(Read())
        await cells[place].tell(Write(value + 1))

    async def look() -> None:
        place = number
        while await cells[place].ask(Read()):
            place -= 1

    world.client(look)
    for place in range(1, number + 1):
        world.client(write, place)
    await world.settled()


@attrs.frozen
class Take(Request[bool]):
    """Be mine, if you are nobody's."""


class Slot(Actor[Take]):
    """Belongs to the first who takes it."""

    def __init__(self) -> None:
        self.free = True

    @handler
    def take(self, message: Take) -> bool:
        free, self.free = self.free, False
        return free


async def take_slots(starts: list[list[int]], size: int, world: World) -> None:
    """Each client takes the next free slot of a ring from each of its starts on."""
    wanted = {start + more for row in starts for start in row for more in (0, 1)}
    ring = {
        slot: await world.spawn(Slot, name=f"slot-{slot}")
        for slot in sorted({one % size for one in wanted})
    }

    async def take(row: list[int]) -> None:
        for start in row:
            slot = start
            while not await ring[slot % size].ask(Take()):
                slot += 1

    for row in starts:
        world.client(take, row)
    await world.settled()


def indexer(threads: int) -> Callable[[World], Awaitable[None]]:
    """Each thread writes four messages into a hash table of 128."""
    keys = [
        [11 * number + thread for number in (1, 2, 3, 4)] for thread in range(threads)
    ]
    return partial(take_slots, [[7 * key % 128 for key in row] for row in keys], 128)


def filesystem(threads: int) -> Callable[[World], Awaitable[None]]:
    """Each thread looks for a block for an inode of its own, of 26."""
    return partial(take_slots, [[2 * thread % 26] for thread in range(threads)], 26)


def check_optimal(program: Callable[[World], Awaitable[Any]], classes: int) -> None:
    """Check that each class has one run: "0 redundant and 0 blocked"."""

    def summary(run: Run) -> tuple[Hashable, bool]:
        return canonical(run.trace), run.blocked

    runs, _ = search(program, Optimal(), math.inf, summary)
    assert sum(blocked for _, blocked in runs) == 0
    assert len({name for name, _ in runs}) == classes
    assert len(runs) == classes


@pytest.mark.parametrize("number", range(1, 11))
def test_readers_have_two_classes_each(number: int) -> None:
    """Issue: "readers(N) explores exactly 2^N classes for N up to 10"."""
    check_optimal(partial(readers, number), 2**number)


def test_last_zero_has_64_classes_of_five() -> None:
    """Issue: "lastzero 64 for N = 5"."""
    check_optimal(partial(last_zero, 5), 64)


@nightly
def test_last_zero_has_3328_classes_of_ten() -> None:
    """Issue: "3,328 for N = 10 in a nightly session"."""
    check_optimal(partial(last_zero, 10), 3328)


@pytest.mark.parametrize(("threads", "classes"), [(11, 1), (12, 8), (13, 64)])
def test_the_indexer_has_as_many_classes_as_published(
    threads: int, classes: int
) -> None:
    """Flanagan and Godefroid's, as counted by Abdulla et al. (POPL 2014)."""
    check_optimal(indexer(threads), classes)


@nightly
def test_the_indexer_of_15_has_4096_classes() -> None:
    check_optimal(indexer(15), 4096)


@pytest.mark.parametrize(("threads", "classes"), [(13, 1), (14, 2), (19, 64)])
def test_the_filesystem_has_as_many_classes_as_published(
    threads: int, classes: int
) -> None:
    check_optimal(filesystem(threads), classes)


# --- 10,000 random programs ---------------------------------------------------------

FEATURES = (
    *("tarnsd", "tazBF", "taqQP", "taxw", "tchx", "tab", "tmo", "taki", "tarnp"),
    *("tRfH", "tfgx", "tflw", "tKTN", "tfgG", "tabE", "tmoI", "anx", "tYk", "taC"),
)
EACH = 10_000 // len(FEATURES) + 1


@nightly
@pytest.mark.parametrize("letters", FEATURES)
def test_no_outcome_of_10_000_programs_is_missed(letters: str) -> None:
    """Others than `test_soundness` has, and larger; up to 5,000 raw schedules each."""
    report = compare(letters, range(1000, 1000 + EACH), limit=5000, size=5)
    print(report)
    assert report.different == [], report
    assert report.equal > EACH / 2, report
    assert report.runs <= 1.5 * report.classes, report


# --- One token, many processes ------------------------------------------------------

PROCESSES = 100 if NIGHTLY else 2
ANIMALS = ZOO if NIGHTLY else ZOO[::5]


def token_of(animal: Animal) -> str:
    failure = check(animal.broken, **animal.options).failure
    assert failure is not None
    return failure.token


def replayed(arguments: list[str], hash_seed: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.testing.replayed", *arguments],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_token_gives_the_same_trace_in_many_processes() -> None:
    """Issue: "over 100 processes with random hash seeds"; at night with all the zoo."""
    arguments = [f"{animal.name}={token_of(animal)}" for animal in ANIMALS]
    draw = random.Random(1)
    seeds = [draw.randrange(1, 2**32) for _ in range(PROCESSES)]
    told = [replayed(arguments, seed) for seed in seeds]
    assert len(told[0].splitlines()) == len(ANIMALS)
    assert len(set(told)) == 1
