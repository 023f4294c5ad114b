"""A thread that says which actor blocks the loop, and where (TRIO-9).

It only looks: a handler that computes for too long cannot be interrupted. Its own work
is one callback into the loop a few times a second. Off under a test clock.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import CodeType, FrameType
from typing import Any

import trio

LIMIT = 0.5
"""Seconds for which the loop may do nothing else before it is said."""
INTERVAL = 0.2
"""Seconds between two looks."""

log = logging.getLogger("trio_actors")


class Watchdog:
    """Watches the loop of the thread in which it is made."""

    def __init__(self, run: CodeType) -> None:
        self._run = run  # the code of an actor's task
        self._token = trio.lowlevel.current_trio_token()
        self._loop = threading.get_ident()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, name="trio_actors watchdog", daemon=True
        )

    def start(self) -> None:
        """Watch until `stop()`."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            passed = threading.Event()
            try:
                self._token.run_sync_soon(passed.set)
            except trio.RunFinishedError:
                return
            if not self._wait(passed, LIMIT / 2):
                suspect, _ = self._running()
                if not self._wait(passed, LIMIT / 2):  # pragma: no branch  # by chance
                    self._report(suspect)
                    self._wait(passed, None)

    def _wait(self, passed: threading.Event, limit: float | None) -> bool:
        """Wait for the loop, or for our end; False if the limit was reached."""
        waited = 0.0
        while not (passed.wait(0.05) or self._stop.is_set()):
            waited += 0.05
            if limit is not None and waited >= limit:
                return False
        return True

    def _running(self) -> tuple[Any, FrameType | None]:
        """Return the actor that runs, if one does, and the innermost frame."""
        where = frame = sys._current_frames().get(self._loop)
        while frame is not None and frame.f_code is not self._run:
            frame = frame.f_back
        return (None if frame is None else frame.f_locals.get("self")), where

    def _report(self, suspect: Any) -> None:
        cell, where = self._running()
        # No actor, or many short steps of many: then none of them is to blame.
        if cell is None or cell is not suspect or where is None:
            return
        log.warning(
            "%s blocks all others: for %g s it has not come back from %s:%d, in %s()."
            " Use await trio.to_thread.run_sync(...) for what takes long, or"
            " checkpoints in between.",
            cell.path,
            LIMIT,
            where.f_code.co_filename,
            where.f_lineno,
            where.f_code.co_name,
        )
