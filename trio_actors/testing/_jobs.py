"""Processes that share one piece of work, and hand in the results in order.

Rules of this file:

* Processes change how long it takes, and nothing else: results are taken by their
  numbers, never by when they come.
* One that dies is an error. No result is left out.
* Nobody outlives the crew; and nobody but this process hears Ctrl-C.
* A fork takes one thread along. Beside others it could wait for ever for a lock that
  one of them had: then there is no fork.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

XDIST = "pytest-xdist has processes of its own"

Work: TypeAlias = Callable[[range, Callable[[T], None]], None]
"""Does the numbers of one share, in their order, and hands in each one's result."""


def obstacle() -> str:
    """Return why there can be only one process; nothing if there can be more."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return "this system cannot fork"
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return XDIST
    if multiprocessing.current_process().daemon:
        return "it runs in a daemonic process, which may have none of its own"
    mine = threading.current_thread()
    others = [one.name for one in threading.enumerate() if one is not mine]
    # Those of trio's that have nothing to do: it knows in a fork that they are gone.
    others = [name for name in others if not re.fullmatch(r"Trio thread \d+", name)]
    if others:
        return f"other threads run, and a fork would lose them ({', '.join(others)})"
    return ""


class Crew(Generic[T]):
    """Processes that do numbers; the first one does the first, and so on in turn.

    They are copies of this process, with all that is in it; what they change there is
    theirs alone.

    Args:
        work: What each of them does.
        numbers: Of what there is to do.
        size: How many processes.
    """

    def __init__(self, work: Work[T], numbers: range, size: int) -> None:
        self._work = work
        self._numbers = numbers
        self._size = size
        self._taken = 0
        self._readers: list[Connection] = []
        self._processes: list[BaseProcess] = []

    def start(self) -> None:
        """Start the processes. Whatever comes of it, `end()` must follow."""
        # No ``with``: Ctrl-C can fall between its two ends, and nobody would be ended.
        with _without_ctrl_c(), _without_advice():
            for share in range(self._size):
                self._start(self._numbers[share :: self._size])

    def _start(self, share: range) -> None:
        context = multiprocessing.get_context("fork")
        reader, writer = context.Pipe(duplex=False)
        self._readers.append(reader)
        process = context.Process(
            target=run_share,
            args=(self._work, share, self._readers, writer),
            daemon=True,
        )
        process.start()
        self._processes.append(process)
        # Only that process has it now: when it ends there is an end to be read.
        writer.close()

    def end(self) -> None:
        """End all that were started."""
        with _without_ctrl_c():  # a second one would leave some of them behind
            for process in self._processes:
                process.kill()
            for process in self._processes:
                process.join()
                process.close()
            for reader in self._readers:
                reader.close()

    def is_ready(self, seconds: float) -> bool:
        """Whether there is something to take, at the latest after so long."""
        return self._readers[self._taken % self._size].poll(seconds)

    def take(self) -> T:
        """Return the result of the next number.

        Raises:
            RuntimeError: The process that was to hand it in is dead.
        """
        share = self._taken % self._size
        self._taken += 1
        try:
            result: T = self._readers[share].recv()
        except EOFError:
            process = self._processes[share]
            process.join()
            raise RuntimeError(
                f"process {share + 1} of {self._size} of this search"
                f" {how_it_ended(process.exitcode or 0)} while it ran schedules: the"
                " test has ended its own process, or there was too little memory. With"
                " --actors-jobs=1 it runs in this one."
            ) from None
        return result


def run_share(
    work: Work[T], share: range, readers: Sequence[Connection], writer: Connection
) -> None:
    """Do what one process of a crew does."""
    # Copies of the other end: while one is open nobody notices that it is gone.
    for reader in readers:
        reader.close()
    try:
        work(share, writer.send)
    except BrokenPipeError:
        pass  # nobody wants the results any more
    finally:
        writer.close()


def how_it_ended(code: int) -> str:
    """Return an exit code in words."""
    if code < 0:
        return f"was killed ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"


@contextmanager
def _without_ctrl_c() -> Generator[None]:
    """Keep Ctrl-C back here until the end; in what is forked for ever."""
    pressed: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    is_main = threading.current_thread() is threading.main_thread()
    # A thread of trio's that rests may hear it, and Python would raise it in this one:
    # in what it calls after a fork it would be lost.
    handler = signal.getsignal(signal.SIGINT)
    if is_main:
        signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def _without_advice() -> Generator[None]:
    """Say nothing of threads: those that are left are not Python's.

    (Such as that of faulthandler, with which pytest watches over tests that hang.)
    """
    with warnings.catch_warnings():
        text = r"This process \(pid=\d+\) is multi-threaded"
        warnings.filterwarnings("ignore", text, DeprecationWarning)
        yield
