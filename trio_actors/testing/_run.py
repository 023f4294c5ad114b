"""Run a program in a world of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple

import trio
from trio.lowlevel import Task

from .._open import SystemBlock
from .._policy import Supervision
from .._waits import CURRENT
from ._clock import Haste, WorldClock, in_order
from ._seam import WorldRuntime
from ._world import World

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STOPPED = "the program stopped its own world before its function had returned"
"""Of a program that has not come to its end, and so has shown nothing."""


def world_clock() -> WorldClock:
    """Return the clock of this run, which must be that of a world."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, WorldClock):
        raise RuntimeError(
            "a world needs its own clock. Use the fixture `world` with pytest-trio, or"
            " trio_actors.testing.run()."
        )
    return clock


def open_world(*, seed: int = 0) -> AbstractAsyncContextManager[World]:
    """Open a world on the clock of this run; leaving checks its books."""
    return _enter(World(WorldRuntime(seed, world_clock()), Supervision()))


@asynccontextmanager
async def _enter(world: World) -> AsyncGenerator[World, None]:
    clock = world_clock()
    async with trio.open_nursery() as nursery, SystemBlock(lambda: world):
        world._nursery = nursery
        clock.on_idle = world._on_idle
        yield world
        await world._end_clients()
    clock.on_idle = None
    check_books(world)


def check_books(world: World) -> None:
    """Check the books of a world that has ended, and that no task is left of it."""
    world._check_books()
    leaked = [task.name for task in _all_tasks() if _acts_for(task, world)]
    if leaked:
        raise AssertionError(f"tasks that outlived the test: {sorted(leaked)}")


def _acts_for(task: Task, world: World) -> bool:
    """Whether a task was started by an actor of *world*, wherever it runs."""
    cell = task.context.get(CURRENT)
    return cell is not None and cell.system is world


def _all_tasks() -> list[Task]:
    root = trio.lowlevel.current_root_task()
    found = [root] if root is not None else []
    for task in found:  # it grows meanwhile
        for nursery in task.child_nurseries:
            found.extend(nursery.child_tasks)
    return found


def run_on_world_clock(
    fn: Callable[[], Awaitable[T]],
    *,
    clock: object = None,
    instruments: Any = (),
    in_haste: bool = False,
    ends: bool = False,
) -> T:
    """Run as ``trio.run()`` does, on a world's clock and in one order."""
    del clock
    own = WorldClock()
    every = [Haste(own, ends=ends), *instruments] if in_haste else instruments
    with in_order():
        return trio.run(fn, clock=own, instruments=every)


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
        raise AssertionError(STOPPED)

    return run_on_world_clock(main)
