"""The virtual clock of a world: it jumps when nothing else can happen.

trio asks its clock how long to sleep exactly when no task can run. There time is moved
to what comes next, a deadline or a timer, and trio is told not to sleep at all. While a
worker thread is in flight time stands still: it has an end of its own.

Rules of this file:

* Here, and nowhere else, is what trio has no public name for: the order of the tasks of
  a batch, and of deadlines of one moment.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Never, Protocol, cast

import trio
import trio._core._run as trio_run
import trio.testing
from trio.lowlevel import Task

_run = cast("Any", trio_run)
_ACTIVE = cast("Any", trio)._threads._active_threads_local


_owner: int | None = None
"""The thread that has Trio run tasks in order."""

BLOCKED = "waits for wait_all_tasks_blocked()"


class Observer(Protocol):
    """Who is told of what depends on time."""

    def look_at_clock(self) -> None:
        """Note that a task looks at the clock."""
        ...

    def deadline_set(self, scope: trio.CancelScope) -> tuple[str, int]:
        """Note a deadline; return its place among those of one moment."""
        ...

    def deadline_gone(self, scope: trio.CancelScope, deadline: float) -> None:
        """Note that a deadline was taken back, or has expired."""
        ...

    def may_expire(self) -> bool:
        """Whether a deadline that is due may expire: one each time it is allowed."""
        ...

    def allows(self, what: str) -> bool:
        """Whether that may be which nobody controls: "waits for I/O", say."""
        ...

    def part_ends(
        self, task: Task, others: Collection[Task], woken: Collection[Task]
    ) -> None:
        """Note that a task has come to a checkpoint, and who goes on now."""
        ...

    def hold_back(self, tasks: list[Task] | deque[Task]) -> None:
        """Take out of *tasks*, which are about to run, those that have to wait."""
        ...

    def running(self, tasks: Sequence[Task]) -> None:
        """Note that these tasks run now, one after the other."""
        ...

    def spawned(self, task: Task, by: Task, /) -> None:
        """Note that a task has started another one."""
        ...

    def ended(self, task: Task) -> None:
        """Note that a task has come to its end."""
        ...


def _missing(name: str) -> property:
    """Return what tells whoever takes the clock of a world for a MockClock."""

    def tell(*_: object) -> Never:
        raise AttributeError(
            f"the clock of a world has no {name}: it is no MockClock, and jumps by"
            " itself when nothing else can happen. Write await trio.sleep(...)."
        )

    return property(tell, tell)


class WorldClock(trio.abc.Clock):
    """A clock that starts at 0 and never waits."""

    # Whoever sets something else takes it for a MockClock.
    __slots__ = (
        "_at_rest",
        "_batch",
        "_known",
        "_left",
        "_runner",
        "in_haste",
        "observer",
        "on_idle",
        "sees_parts",
        "splits",
        "time",
    )

    def __init__(self) -> None:
        self.time: float = 0.0
        self.on_idle: Callable[[float], float | None] | None = None
        """What is asked first: it gets the next deadline and returns the time to jump
        to, infinity if there is none, or None if it made somebody run."""
        self.observer: Observer | None = None
        self.in_haste: bool = False
        """Whether what comes next begins without another pass of trio's loop. It is
        for a world without threads and I/O, and for those who look at no step."""
        self.splits: bool = False
        """Whether each task step is a step of its own, or a part of an event."""
        self.sees_parts: bool = False
        """Whether the observer wants to know of each task step."""
        self._left: Collection[Task] = ()  # of the loop's batch
        self._batch: list[Task] | None = None  # what is left of the loop's, if known
        self._at_rest = False  # whether it looks for more, between two steps
        self._runner: Any = None
        self._known: float | None = None  # what to answer to trio, if that is known

    # Not by __getattr__(): all else would be looked up by it, 3 % of a small run.
    autojump_threshold: property = _missing("autojump_threshold")
    jump: property = _missing("jump")
    rate: property = _missing("rate")

    def start_clock(self) -> None:
        """Start."""
        self._runner = _run.GLOBAL_RUN_CONTEXT.runner

    def current_time(self) -> float:
        """Return the virtual seconds since the start."""
        observer = self.observer
        if observer is not None and not self._at_rest and _has_task():
            observer.look_at_clock()
        return self.time

    def read(self) -> float:
        """Return the time; nobody is told that it was asked for."""
        return self.time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to *deadline*, or to what comes before it, and do not sleep."""
        if self._known is not None:
            known, self._known = self._known, None
            return known
        runner = self._runner
        if trio.testing.active_thread_count() and self._allows("waits for a thread"):
            return math.inf  # the end of a thread wakes the loop
        if runner.entry_queue.size():
            return math.inf  # somebody has woken it: a thread, or a dropped Reply
        if runner.waiting_for_idle and self._allows(BLOCKED):
            return math.inf  # wait_all_tasks_blocked() comes before any time passes
        when = deadline if self.on_idle is None else self.on_idle(deadline)
        if when is None:
            return 0
        if when == math.inf:
            return math.inf
        self.time = max(self.time, when)
        return 0

    @property
    def task(self) -> Task | None:
        """The task that runs in this moment; None at rest."""
        if self._at_rest:
            return None
        return getattr(_run.GLOBAL_RUN_CONTEXT, "task", None)

    def spawned(self, task: Task) -> None:
        """Tell the observer that a task was started by the one that runs."""
        if not self._at_rest and self.observer is not None:
            by = getattr(_run.GLOBAL_RUN_CONTEXT, "task", None)
            if by is not None:
                self.observer.spawned(task, by)

    def ended(self, task: Task) -> None:
        """Tell the observer that a task has come to its end."""
        if self.observer is not None:
            self.observer.ended(task)

    def go_on(self, task: Task, _: object = None) -> None:
        """Let a task that was held back run."""
        self._runner.runq.append(task)

    def begin_batch(self, loop: types.FrameType) -> None:
        """Note that trio's loop begins to run a batch, from its end."""
        self._batch = None  # another one than before: that would be lost
        if self.observer is not None:
            batch = loop.f_locals["batch"]
            if self.splits:
                self.observer.hold_back(batch)
            self.observer.running(batch)
            self._left = batch
            if self.in_haste:
                self._batch = batch

    def end_step(self, task: Task) -> None:
        """When a batch is at its end, let trio's loop go on in it with what comes next.

        A pass of the loop looks at I/O, at deadlines and at what other threads want: a
        third of the time of a delivery. It is made where there is something to see.
        """
        batch, observer, runner = self._batch, self.observer, self._runner
        if self.sees_parts and observer is not None:
            observer.part_ends(task, self._left, runner.runq)
        if batch or batch is None or not self.in_haste:
            return
        queue, soon = runner.runq, runner.entry_queue
        if soon.queue or soon.idempotent_queue:
            return  # Ctrl-C, say
        if self.splits and queue and observer is not None:
            observer.hold_back(queue)
        if not queue:
            self._at_rest = True
            self._look_for_more(runner, queue, soon)
            self._at_rest = False
        if queue and observer is not None:
            while queue:  # mostly one
                batch.append(queue.pop())
            observer.running(batch)

    def _look_for_more(self, runner: Any, queue: Any, soon: Any) -> None:
        """Let something happen as when trio asks, until a task runs."""
        on_idle = self.on_idle
        if on_idle is None or runner.waiting_for_idle or _has_threads(runner):
            return
        while not (queue or soon.queue or soon.idempotent_queue):
            when = on_idle(runner.deadlines.next_deadline())
            if when == math.inf:
                self._known = when
                return
            if when is not None:
                self.time = max(self.time, when)
                runner.deadlines.expire(self.time)
            if self.splits and queue and self.observer is not None:
                self.observer.hold_back(queue)

    def _allows(self, what: str) -> bool:
        return self.observer is None or self.observer.allows(what)


class Haste(trio.abc.Instrument):
    """Tells a world's clock of the end of each step, and of each new task.

    Args:
        ends: Tell it also of the end of each task.
    """

    def __init__(self, clock: WorldClock, *, ends: bool) -> None:
        # Not by way of a method: each call is a hundredth of a small run.
        self.after_task_step = clock.end_step  # type: ignore[method-assign]
        self.task_spawned = clock.spawned  # type: ignore[method-assign]
        if ends:
            self.task_exited = clock.ended  # type: ignore[method-assign]


def _has_task() -> bool:
    """Whether it is a task that runs, and not trio's loop."""
    return hasattr(_run.GLOBAL_RUN_CONTEXT, "task")


def _has_threads(runner: Any) -> bool:
    """Whether a thread is at work: as ``active_thread_count()``, for a tenth of it."""
    active = runner._locals.get(_ACTIVE)
    return active is not None and active.count > 0


def _observer() -> Observer | None:
    # Also on other clocks: what runs beside a world is in order, too.
    return getattr(_run.GLOBAL_RUN_CONTEXT.runner.clock, "observer", None)


class _InOrder(random.Random):
    """Lets trio run the tasks of a batch in the order in which they were woken.

    trio takes a batch from its end, and turns it around first if this is below 0.5.
    """

    def random(self) -> float:
        # A clock of trio's is made with a random offset, before there is a runner.
        runner = getattr(_run.GLOBAL_RUN_CONTEXT, "runner", None)
        clock = runner and runner.clock
        if isinstance(clock, WorldClock):
            clock.begin_batch(sys._getframe(1))
        return 0.0


@contextmanager
def _alone() -> Generator[None]:
    """Refuse a second thread: what is changed of Trio is there once."""
    global _owner  # noqa: PLW0603  # as that is
    before, me = _owner, threading.get_ident()
    if before not in (None, me):
        raise RuntimeError(
            "another thread runs a world, or a search. What they change of Trio is"
            " there once for each process: run one after the other, or each in a"
            " process of its own."
        )
    _owner = me
    try:
        yield
    finally:
        _owner = before


@contextmanager
def _patched() -> Generator[None]:
    """Change what there is no public name for, and put it back."""
    serial = itertools.count()
    deadlines = _run.Deadlines
    before = _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING
    methods = deadlines.add, deadlines.remove, deadlines.expire
    start_thread = threading.Thread.start

    def add(self: Any, deadline: float, scope: trio.CancelScope) -> None:
        observer = _observer()
        place = ("", 0) if observer is None else observer.deadline_set(scope)
        # One that was taken back may stay for a while, and the next run calls its own
        # the same. Two scopes cannot be compared: each has a number, too.
        heapq.heappush(self._heap, (deadline, (*place, next(serial)), scope))
        self._active += 1

    def remove(self: Any, deadline: float, scope: trio.CancelScope) -> None:
        methods[1](self, deadline, scope)
        observer = _observer()
        if observer is not None:
            observer.deadline_gone(scope, deadline)

    def expire(self: Any, now: float) -> bool:
        observer = _observer()
        if observer is None:
            return bool(methods[2](self, now))
        if self.next_deadline() > now or not observer.may_expire():
            return False
        _, _, scope = heapq.heappop(self._heap)
        scope.cancel()
        return True

    def start(self: threading.Thread) -> None:
        if hasattr(_run.GLOBAL_RUN_CONTEXT, "runner"):  # it is the thread of a search
            observer = _observer()
            if observer is not None:
                observer.allows("starts a thread")
        start_thread(self)

    _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = _InOrder(), False
    threading.Thread.start = start  # type: ignore[method-assign]
    deadlines.add, deadlines.remove, deadlines.expire = add, remove, expire
    try:
        yield
    finally:
        _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = before
        threading.Thread.start = start_thread  # type: ignore[method-assign]
        deadlines.add, deadlines.remove, deadlines.expire = methods


@contextmanager
def in_order() -> Generator[None]:
    """Let trio run tasks in the order in which they were woken: that of sending.

    Deadlines of one moment expire in the order in which they were set; trio itself
    takes them by the address of their scope. With an observer they expire one by one,
    and it is told of each thread that is started.
    """
    with _alone(), _patched():
        yield
