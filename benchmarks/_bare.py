"""The same schedules on bare Trio: tasks, and a clock that delivers; no library.

Rules of this file:

* The work is that of the smallest program on the library: each delivery and each answer
  is chosen, and done when no task can run.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import outcome
import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

Choose: TypeAlias = Callable[[int], int]
"""Which is next of so many things that are on their way."""


@attrs.define(eq=False)
class Place:
    """Where a task waits for what is delivered to it."""

    task: Task | None = None

    async def receive(self) -> Any:
        """Wait for the next delivery."""
        self.task = current_task()
        return await wait_task_rescheduled(_abort)


def _abort(_: object) -> Abort:
    return Abort.SUCCEEDED


class BareClock(trio.abc.Clock):
    """Delivers one thing whenever no task can run."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.on_its_way: list[tuple[Place, object]] = []
        self.rest = Place()
        self.ranks: list[int] = []

    def start_clock(self) -> None:
        """Start; there is nothing to do."""

    def current_time(self) -> float:
        """Return the time, which does not pass."""
        return 0.0

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Deliver what is chosen; at rest, wake who waits for that."""
        rank = 0
        if self.on_its_way:
            rank = self.choose(len(self.on_its_way))
            place, value = self.on_its_way.pop(rank)
        else:
            place, value = self.rest, None
        if place.task is None:
            return math.inf  # at the start and at the end: the loop waits for nobody
        self.ranks.append(rank)
        reschedule(place.task, outcome.Value(value))
        place.task = None
        return 0

    def send(self, to: Place, value: object) -> None:
        """Let something be on its way."""
        self.on_its_way.append((to, value))


async def bare_register(clock: BareClock, mine: Place, values: list[int]) -> None:
    """Keep a value: the last of *values*."""
    while True:
        asker, value = await mine.receive()
        if asker is None:
            values.append(value)
        else:
            clock.send(asker, values[-1])


async def bare_client(clock: BareClock, register: Place) -> None:
    """Begin when that is chosen; add one to the register."""
    mine = Place()
    clock.send(mine, None)
    await mine.receive()
    clock.send(register, (mine, None))
    value = await mine.receive()
    clock.send(register, (None, value + 1))


async def bare_update(clock: BareClock) -> int:
    """Let two clients add one to a register."""
    register, values = Place(), [0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bare_register, clock, register, values)
        nursery.start_soon(bare_client, clock, register)
        nursery.start_soon(bare_client, clock, register)
        await clock.rest.receive()
        nursery.cancel_scope.cancel()
    return values[-1]


async def bare_player(clock: BareClock, mine: Place, other: Place) -> None:
    """Throw the ball back, if there are throws left."""
    while True:
        left = await mine.receive()
        if left:
            clock.send(other, left - 1)


async def bare_ping_pong(clock: BareClock, throws: int) -> None:
    """Let two tasks throw a ball."""
    one, other = Place(), Place()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bare_player, clock, one, other)
        nursery.start_soon(bare_player, clock, other, one)
        clock.send(one, throws - 1)
        await clock.rest.receive()
        nursery.cancel_scope.cancel()
