"""Run a program in a world of its own."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar, TypeVarTuple, cast

import trio
import trio._core._run as trio_run
from trio.lowlevel import Task

from .._open import SystemBlock
from .._policy import Supervision
from .._waits import CURRENT
from ._clock import WorldClock
from ._world import World, WorldRuntime

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@asynccontextmanager
async def open_world(
    *,
    seed: int = 0,
    supervision: Supervision = Supervision(),  # noqa: B008  # frozen
) -> AsyncGenerator[World, None]:
    """Open a world on the clock of this run, which must be a `WorldClock`."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, WorldClock):
        raise RuntimeError(
            "a world needs its own clock. Use the fixture `world` with pytest-trio, or"
            " trio_actors.testing.run()."
        )
    async with trio.open_nursery() as nursery:
        world: World | None = None
        block = SystemBlock(lambda: World(WorldRuntime(seed, clock), supervision))
        async with block as system:
            world = cast("World", system)
            world._nursery = nursery
            clock.on_idle = world._on_idle
            yield world
            await world._end_clients()
    clock.on_idle = None
    world._check_books()
    leaked = [task.name for task in _all_tasks() if _acts_for(task, world)]
    if leaked:
        raise AssertionError(f"tasks that outlived the test: {leaked}")


def _acts_for(task: Task, world: World) -> bool:
    """Whether a task was started by an actor of *world*, wherever it runs."""
    cell = task.context.get(CURRENT)
    return cell is not None and cell.system is world


def _all_tasks() -> Iterator[Task]:
    root = trio.lowlevel.current_root_task()
    left = [root] if root is not None else []
    while left:
        task = left.pop()
        yield task
        for nursery in task.child_nurseries:
            left.extend(sorted(nursery.child_tasks, key=lambda one: one.name))


class _InOrder(random.Random):
    """Lets trio run the tasks of a batch in the order in which they were woken.

    trio takes a batch from its end, and turns it around first if this is below 0.5.
    """

    def random(self) -> float:
        return 0.0


@contextmanager
def in_order() -> Generator[None]:
    """Let trio run tasks in the order in which they were woken: that of sending.

    Deadlines of one moment expire in the order in which they were set; trio itself
    takes them by the address of their scope.
    """
    run = cast("Any", trio_run)
    before = run._r, run._ALLOW_DETERMINISTIC_SCHEDULING, run.Deadlines.add
    serial = itertools.count()

    def add(deadlines: Any, deadline: float, scope: trio.CancelScope) -> None:
        heapq.heappush(deadlines._heap, (deadline, next(serial), scope))
        deadlines._active += 1

    run._r, run._ALLOW_DETERMINISTIC_SCHEDULING = _InOrder(), False
    run.Deadlines.add = add
    try:
        yield
    finally:
        run._r, run._ALLOW_DETERMINISTIC_SCHEDULING, run.Deadlines.add = before


def run_on_world_clock(
    fn: Callable[[], Awaitable[T]], *, clock: object = None, instruments: Any = ()
) -> T:
    """Run as ``trio.run()`` does, on a world's clock and in one order."""
    del clock
    with in_order():
        return trio.run(fn, clock=WorldClock(), instruments=instruments)


def run(fn: Callable[[World, *Ts], Awaitable[T]], *args: *Ts, seed: int = 0) -> T:
    """Run an async function with a world of its own as its first argument.

    Args:
        fn: Gets the world, and *args*.
        args: Its further positional arguments.
        seed: The seed of the world's random numbers.

    Returns:
        What *fn* returns.

    Raises:
        AssertionError: Dead letters nobody took, leaked tasks, a broken conservation
            law.
    """

    async def main() -> T:
        async with open_world(seed=seed) as world:
            return await fn(world, *args)
        raise AssertionError(
            "the program stopped its own world before its function had returned"
        )

    return run_on_world_clock(main)
