"""The seam: what production and a controlled world both implement.

Rules of this file:

* On the hot path the seam is two *classes* chosen at spawn, the mailbox's and the
  request's: a call per message would cost 5 to 15 % of a tell. The rare operations
  (`control`, `touch`, `call_at`, `now`) are calls.
* Everything that could differ between two runs goes through here: time, random
  numbers, timers, who acts when.
* `touch` names every read or write of another actor's state that is not a delivery.
  Production ignores it; exploration derives from it which steps may change places.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import trio
from trio.lowlevel import enable_ki_protection

from ._box import Box
from ._bursts import BATCH

Resource: TypeAlias = Literal[
    "turn",
    "life",
    "room",
    "watch",
    "sup",
    "name",
    "key",
    "spawn",
    "clock",
    "rng",
    "stream",
    "journal",
    "all",
]
"""What a step can touch: an actor's turns, its life, the room in its mailbox, its
watchers, a supervisor's window and children, a path, a key or topic, the names below a
parent, the time, random numbers and turns of a router, a stream that was opened, what a
journal in memory has of an actor ("": which write fails, and all of it); all there is,
for who looks at the whole system. Who is in a pool is a key, too.

What happens often only reads, so that it commutes: a send the life of its receiver, an
end the names below its parent. Who looks at all of that, or ends it, is a writer."""


class Alarm:
    """Something that will happen at a time, unless it is cancelled."""

    __slots__ = ("cancelled", "fire", "key", "owner", "serial", "when")

    def __init__(
        self,
        when: float,
        serial: int,
        fire: Callable[[], None],
        owner: str,
        key: object,
    ) -> None:
        self.when: float = when
        self.serial: int = serial
        self.fire: Callable[[], None] = fire
        self.owner: str = owner
        self.key: object = key
        self.cancelled: bool = False

    def cancel(self) -> None:
        """Let it not happen."""
        self.cancelled = True
        self.fire = _nothing  # what it would have done may be large, and gone by now

    def __lt__(self, other: Alarm) -> bool:
        return (self.when, self.serial) < (other.when, other.serial)


def _unchanged(item: Any) -> Any:
    return item


def _nothing() -> None:
    """What a cancelled alarm does."""


class Runtime:
    """Production: deliveries at once, the loop's clock, one task for all timers."""

    box_type: type[Box] = Box
    call_type: Any = None  # _ref sets it: Call
    guard: Callable[[Any], Any] = staticmethod(_unchanged)
    """What each message goes through at its sender's; it may raise."""
    sees_waits = False  # only who does is called, at each wait of an actor
    batch = BATCH
    has_task = True  # run_timers(); the clock of a test does it by itself
    slice: float = 0.001
    """Seconds a batch may take; the next one is made smaller after one that took
    longer. Infinity under a test clock, so that runs repeat."""

    def __init__(self, seed: int | None) -> None:
        if seed is None:
            seed = random.SystemRandom().getrandbits(32)
        self.seed: int = seed
        self.now: Callable[[], float] = trio.current_time
        # The time of day, in seconds since 1970; in a test it is the loop's.
        self.wall: Callable[[], float] = time.time
        self.began: float = 0.0  # a batch, somebody's, by time.perf_counter()
        self.bunks: list[Any] = []  # where askers can sleep, see _pending
        self.alarms: list[Alarm] = []
        self._sweep_at = 64  # how many alarms there are when the cancelled ones go
        self._serial = 0
        self._sleeping: trio.CancelScope | None = None

    def open(self) -> None:
        """Bind to the loop that runs."""
        clock = trio.lowlevel.current_clock()
        self.now = clock.current_time
        if self.is_test_clock:
            self.slice = math.inf
            self.wall = self.now

    @property
    def is_test_clock(self) -> bool:
        """Whether time is not the machine's."""
        # The system's clock has no public name, so it is known by its class's.
        return type(trio.lowlevel.current_clock()).__name__ != "SystemClock"

    def next_batch(self, size: int, taken: float) -> int:
        """Return how large a batch may be after one of *size* took *taken* seconds."""
        if self.slice == math.inf:
            return self.batch
        fair = int(size * self.slice / taken) if taken > 0 else self.batch
        return max(1, min(2 * size, self.batch, fair))

    def random(self, owner: str) -> random.Random:
        """Return the stream of random numbers of one actor (or of the system, "")."""
        return random.Random(f"{self.seed}:{owner}")  # repeatable, not secret

    def touch(self, resource: Resource, owner: str, *, write: bool = True) -> None:
        """Say that this step reads or writes a resource of another actor."""

    def see_wait(self, asker: Any, target: Any) -> None:
        """Say that the task of one actor begins to wait for another actor."""

    def see_failed_turn(self, failure: BaseException | str) -> None:
        """Say that a turn did not end well."""

    def control(self, apply: Callable[[], None], path: str, verb: str) -> None:
        """Let a command (stop, kill ...) act: at once here, an event in a world."""
        del path, verb
        apply()

    # --- Timers ---

    def call_at(
        self, when: float, fire: Callable[[], None], owner: str, key: object = None
    ) -> Alarm:
        """Call *fire* at a time on the loop's clock; it must not raise.

        Args:
            owner: The path of the actor it belongs to.
            key: Its name among that actor's timers.
        """
        self._serial += 1
        alarm = Alarm(when, self._serial, fire, owner, key)
        if len(self.alarms) >= self._sweep_at:
            self._sweep_alarms()
        heapq.heappush(self.alarms, alarm)
        if self._sleeping is not None and when < self._sleeping.deadline:
            self._sleeping.deadline = when  # the sleep simply ends earlier
        return alarm

    def _sweep_alarms(self) -> None:
        # Timers that are set anew all the time leave cancelled ones behind.
        self.alarms = [alarm for alarm in self.alarms if not alarm.cancelled]
        heapq.heapify(self.alarms)
        self._sweep_at = max(64, 2 * len(self.alarms))

    @enable_ki_protection
    async def run_timers(self) -> None:
        """Fire the alarms in the order they are due; runs until it is cancelled."""
        while True:
            due = self.alarms[0].when if self.alarms else math.inf
            with trio.CancelScope(deadline=due) as self._sleeping:
                await trio.sleep_forever()
            self._sleeping = None
            self.fire_until(self.now())

    def fire_until(self, now: float) -> None:
        """Fire what is due."""
        while self.alarms and self.alarms[0].when <= now:
            alarm = heapq.heappop(self.alarms)
            if not alarm.cancelled:
                alarm.fire()
