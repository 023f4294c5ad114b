"""What a store is to do, and how tasks wait for it.

Rules of this file:

* A job that is cancelled before it is taken out of its queue is withdrawn; from then on
  its end is waited for.
* All that is made for an append is one record, and the coroutine in which its task
  sleeps. What trio needs to put a task to sleep is made once and used again: that, and
  no coroutine of trio's within ours, is a quarter of an append in trio's thread.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import attrs
from trio.lowlevel import Abort, Task, current_task, enable_ki_protection, reschedule

from .._park import Lot, make_trap
from ._journal import Note

SEATS = 2000
"""How many are kept for the next jobs of a queue."""


@attrs.define(eq=False)
class Job:
    """Something that the store is to do, who waits for it, and what became of it.

    For trio it is the outcome that wakes the task. It is filled by position: names
    would make a dict for each append, and that takes nearly as long as the record.
    """

    task: Task | None = attrs.field(default=None, init=False)
    result: Any = attrs.field(default=None, init=False)
    error: Exception | None = attrs.field(default=None, init=False)

    def unwrap(self) -> Any:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


@attrs.define(eq=False)
class Claim(Job):
    """A claim; its result is the epoch."""

    stream: str

    def unknown(self) -> str:
        """Say what is not known when the store failed."""
        return f"{self.stream}: it is not known whether the claim is stored"


@attrs.define(eq=False)
class Append(Job):
    """An append; it has no result."""

    stream: str
    epoch: int
    after: int
    events: Sequence[bytes]
    notes: Sequence[Note]

    def unknown(self) -> str:
        """Say what is not known when the store failed."""
        return (
            f"{self.stream}: it is not known whether {len(self.events)} events and"
            f" {len(self.notes)} notes after {self.after} are stored"
        )


@attrs.define(eq=False)
class Read(Job):
    """Something that is read; its result is what the function returns."""

    function: Callable[[], object]

    def run(self) -> None:
        """Read, in the worker thread."""
        try:
            self.result = self.function()
        except Exception as error:
            self.error = error


J = TypeVar("J", bound=Job)


class Queue(Generic[J]):
    """Jobs in their order until they are taken, and the tasks that wait for their end.

    Args:
        lot: Where the task sleeps that takes them, while there are none.
    """

    def __init__(self, lot: Lot) -> None:
        self._lot = lot
        self._jobs: dict[Any, None] = {}
        self._seats: list[_Seat] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._jobs)

    @enable_ki_protection
    @types.coroutine
    def wait(self, job: J) -> Generator[Any, Any, Any]:
        """Queue a job, and wait for its end; return its result. A checkpoint."""
        jobs, seats = self._jobs, self._seats
        if not jobs:  # else whoever takes them is awake
            self._lot.unpark_all()
        job.task = current_task()
        jobs[job] = None
        seat = seats.pop() if seats else _Seat(jobs)
        seat.job = job
        woken = yield seat.trap
        seat.job = None
        if len(seats) < SEATS:
            seats.append(seat)
        return woken.unwrap()

    def take(self, most: int) -> list[J]:
        """Take out the first ones: from here on they cannot be withdrawn."""
        taken = list(islice(self._jobs, most))
        if len(taken) == len(self._jobs):
            self._jobs.clear()
            return taken
        for job in taken:
            del self._jobs[job]
        return taken


class _Seat:
    """Where a task sleeps: what trio needs for that, and for which job it is."""

    __slots__ = ("_jobs", "job", "trap")

    def __init__(self, jobs: dict[Any, None]) -> None:
        self._jobs = jobs
        self.job: Job | None = None
        self.trap: Any = make_trap(self._abort)

    def _abort(self, _: object) -> Abort:
        if self.job not in self._jobs:
            return Abort.FAILED
        del self._jobs[self.job]
        return Abort.SUCCEEDED


def wake(jobs: Iterable[Job]) -> None:
    """Let each task know what became of its job."""
    for job in jobs:
        assert job.task is not None
        outcome: Any = job
        reschedule(job.task, outcome)
