"""The seam in a test: requests that are recorded, and time that is the clock's.

Rules of this file:

* Nothing here chooses what happens next: a world without control delivers as
  production does.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from .._box import Box
from .._cell import Cell
from .._guard import GatedBox
from .._pending import Call
from .._runtime import Runtime
from ._clock import WorldClock
from ._linear import Recorder

R_co = TypeVar("R_co", covariant=True)

WHO: ContextVar[str] = ContextVar("trio_actors_who", default="test")
"""Whose task it is, where it is no actor's."""


class WorldCall(Call[R_co]):
    """A request; what a client asks, and what it gets, is told to those who record."""

    __slots__ = ("_records",)

    def __init__(self, message: Any, target: Cell, asker: Cell | None) -> None:
        super().__init__(message, target, asker)
        world: Any = target.system
        self._records: Sequence[tuple[Recorder, int]] = ()
        if world._recorders and asker is None:
            who = WHO.get()
            self._records = [(one, one.begin(who, message)) for one in world._recorders]
            world._runtime.record(answered=False)

    def answer(self, value: Any, error: BaseException | None = None) -> None:
        """Give the answer, or an error."""
        in_time = bool(self._records) and self.open
        super().answer(value, error)
        if in_time:
            runtime: Any = self.target.runtime
            runtime.record(answered=True)
            for recorder, number in self._records:
                recorder.end(number, value, error)


class WorldRuntime(Runtime):
    """The seam in a test: timers are moved by the clock, and batches have no budget."""

    box_type: type[Box] = GatedBox
    call_type = WorldCall
    has_task = False

    def __init__(self, seed: int, clock: WorldClock) -> None:
        super().__init__(seed)
        self.clock: WorldClock = clock
        self.by_hand: dict[str, None] = {}  # the actors that are the test itself

    @property
    def is_test_clock(self) -> bool:
        """Whether time is not the machine's: it is a world's."""
        return True

    def record(self, *, answered: bool) -> None:
        """Note that a client asks, or has an answer, where that is written down."""

    def next_alarm(self) -> float:
        """Return when the next timer is due, infinity without one."""
        while self.alarms and self.alarms[0].cancelled:
            heapq.heappop(self.alarms)
        return self.alarms[0].when if self.alarms else math.inf
