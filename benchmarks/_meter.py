"""Loop passes, task steps and task spawns: what a program costs, without noise.

Rules of this file:

* A time differs from run to run and from machine to machine; a count does not. One
  pass is one look at the operating system (``epoll_wait``), one step is one task that
  runs until it waits: together they are most of what a message costs on Trio.
* A count is exact only with the time budget of a batch off: see `untimed()`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager

import attrs
import trio
from trio.lowlevel import Task

from trio_actors import ActorSystem


@attrs.frozen
class Cost:
    """What something took."""

    passes: float
    steps: float
    spawns: float

    def per(self, operations: int) -> Cost:
        """Return what one of so many operations took."""
        return Cost(
            self.passes / operations, self.steps / operations, self.spawns / operations
        )


class Meter(trio.abc.Instrument):
    """Counts while it is installed."""

    def __init__(self) -> None:
        self.passes = 0
        self.steps = 0
        self.spawns = 0

    def before_io_wait(self, timeout: float) -> None:
        """One more pass of the loop."""
        self.passes += 1

    def before_task_step(self, task: Task) -> None:
        """One more step of a task."""
        self.steps += 1

    def task_spawned(self, task: Task) -> None:
        """One more task."""
        self.spawns += 1

    @property
    def cost(self) -> Cost:
        """What was counted so far."""
        return Cost(self.passes, self.steps, self.spawns)


@contextmanager
def metered() -> Generator[Meter]:
    """Count in this block; the step in which it begins does not count."""
    meter = Meter()
    trio.lowlevel.add_instrument(meter)
    try:
        yield meter
    finally:
        trio.lowlevel.remove_instrument(meter)


@contextmanager
def untimed(system: ActorSystem) -> Generator[None]:
    """Let a batch be a count of messages in this block, as under a test clock.

    Otherwise a pause of the machine makes a batch smaller, and the counts differ.
    """
    runtime = system._runtime
    before, runtime.slice = runtime.slice, math.inf
    try:
        yield
    finally:
        runtime.slice = before
