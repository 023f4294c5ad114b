"""The same schedules on bare Trio: tasks, and a clock that delivers; no library.

Rules of this file:

* The work is that of the smallest program on the library: each delivery and each answer
  is chosen, and done when no task can run.
* So is what a schedule needs to be the same one again: tasks run in the order in which
  they were woken (Trio would let the clients begin in either order), each delivery has
  a name, one of the library's searches chooses it, and it is written down.
* What the library does beside that is not: actors and their supervision, time that
  passes, what a step touches, handlers that only read, the books, who is left over.
"""

import math
from typing import Any, Literal

import attrs
import outcome
import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from trio_actors.testing._events import Event, Run, Search


@attrs.define(eq=False)
class Place:
    """Where a task waits for what is delivered to it."""

    name: str
    task: Task | None = None

    async def receive(self) -> Any:
        """Wait for the next delivery."""
        self.task = current_task()
        return await wait_task_rescheduled(_abort)


def _abort(_: object) -> Abort:
    return Abort.SUCCEEDED


@attrs.define(eq=False)
class Delivery(Event):
    """What is on its way."""

    to: Place = attrs.field(kw_only=True)
    value: object = None


class BareClock(trio.abc.Clock):
    """Delivers one thing whenever no task can run."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.begin()

    def begin(self) -> None:
        """Begin another run."""
        self.run = Run()
        self.on_its_way: list[Event] = []
        self.rest = Place("test")

    def start_clock(self) -> None:
        """Start; there is nothing to do."""

    def current_time(self) -> float:
        """Return the time, which does not pass."""
        return 0.0

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Deliver what is chosen; at rest, wake who waits for that."""
        if not self.on_its_way:
            self.send("settled", "", self.rest, None)
        run = self.run
        rank = self.search.choose(run.trace, self.on_its_way)
        chosen = self.on_its_way.pop(rank)
        assert isinstance(chosen, Delivery)
        place = chosen.to
        if place.task is None:
            return math.inf  # at the start and at the end: the loop waits for nobody
        run.trace.append(chosen)
        run.ranks.append(rank)
        reschedule(place.task, outcome.Value(chosen.value))
        place.task = None
        return 0

    def send(
        self,
        kind: Literal["start", "message", "reply", "settled"],
        src: str,
        to: Place,
        value: object,
    ) -> None:
        """Let something be on its way."""
        key, footprint = (kind, src, to.name), {("turn", to.name): True}
        sent = len(self.run.trace) - 1
        delivery = Delivery(key, kind, to.name, footprint, sent, src, to=to)
        delivery.value = value
        self.on_its_way.append(delivery)


async def bare_register(clock: BareClock, mine: Place, values: list[int]) -> None:
    """Keep a value: the last of *values*."""
    while True:
        asker, value = await mine.receive()
        if asker is None:
            values.append(value)
        else:
            clock.send("reply", mine.name, asker, values[-1])


async def bare_client(clock: BareClock, name: str, register: Place) -> None:
    """Begin when that is chosen; add one to the register."""
    mine = Place(name)
    clock.send("start", name, mine, None)
    await mine.receive()
    clock.send("message", name, register, (mine, None))
    value = await mine.receive()
    clock.send("message", name, register, (None, value + 1))


async def bare_update(clock: BareClock) -> int:
    """Let two clients add one to a register."""
    register, values = Place("register"), [0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bare_register, clock, register, values)
        nursery.start_soon(bare_client, clock, "client-1", register)
        nursery.start_soon(bare_client, clock, "client-2", register)
        await clock.rest.receive()
        nursery.cancel_scope.cancel()
    return values[-1]


async def bare_player(clock: BareClock, mine: Place, other: Place) -> None:
    """Throw the ball back, if there are throws left."""
    while True:
        left = await mine.receive()
        if left:
            clock.send("message", mine.name, other, left - 1)


async def bare_ping_pong(clock: BareClock, throws: int) -> None:
    """Let two tasks throw a ball."""
    one, other = Place("player-1"), Place("player-2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bare_player, clock, one, other)
        nursery.start_soon(bare_player, clock, other, one)
        clock.send("message", "test", one, throws - 1)
        await clock.rest.receive()
        nursery.cancel_scope.cancel()
