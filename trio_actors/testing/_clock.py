"""The virtual clock of a world: it jumps when nothing else can happen.

trio asks its clock how long to sleep exactly when no task can run. There time is moved
to what comes next, a deadline or a timer, and trio is told not to sleep at all. While a
worker thread is in flight time stands still: it has an end of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import trio
import trio._core._run as trio_run
import trio.testing


class WorldClock(trio.abc.Clock):
    """A clock that starts at 0 and never waits."""

    def __init__(self) -> None:
        self.time: float = 0.0
        self.on_idle: Callable[[float], float | None] | None = None
        """What is asked first: it gets the next deadline and returns the time to jump
        to, infinity if there is none, or None if it made somebody run."""

    def start_clock(self) -> None:
        """Start; there is nothing to do."""

    def current_time(self) -> float:
        """Return the virtual seconds since the start."""
        return self.time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to *deadline*, or to what comes before it, and do not sleep."""
        if trio.testing.active_thread_count():
            return math.inf  # the end of a thread wakes the loop
        if trio.lowlevel.current_statistics().run_sync_soon_queue_size:
            return math.inf  # somebody has woken it: a thread, or a dropped Reply
        if cast("Any", trio_run).GLOBAL_RUN_CONTEXT.runner.waiting_for_idle:
            return math.inf  # wait_all_tasks_blocked() comes before any time passes
        when = deadline if self.on_idle is None else self.on_idle(deadline)
        if when is None:
            return 0
        if when == math.inf:
            return math.inf
        self.time = max(self.time, when)
        return 0
