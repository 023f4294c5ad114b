"""Dead letters: counted by reason, streamed, and logged once per burst (DL-1)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._errors import show
from ._messages import DeadLetter
from ._topics import Feed

if TYPE_CHECKING:
    from ._runtime import Runtime

# A logger of its own: a program for which they are normal turns it down.
log = logging.getLogger("trio_actors.dead_letters")

BURST = 5.0
"""Seconds in which only the first letter is logged."""

_HINTS = {
    "stopped": "it has stopped, or is about to: watch() it to hear of its end",
    "overflow": "its mailbox is full: use await tell(), or a larger Mailbox",
    "start_failed": "it did not start: see the failure of its start",
    "unhandled": "it has no handler for it: add one, and add it to its messages",
    "unasked_answer": "its handler raised a declared answer, but nobody had asked",
    "shutdown": "the system is being left",
    "stash": "it has stopped while the message was in its stash",
    "remote": "the other node is gone",
}


class Letters:
    """The dead letters of a system."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.feed: Feed[DeadLetter] = Feed("the dead letters")
        self._quiet_until = float("-inf")
        self._unsaid = 0

    def add(self, letter: DeadLetter) -> None:
        """Tell of a letter."""
        if self.feed:
            self.feed.emit(letter)
        now = self._runtime.now()
        if now < self._quiet_until:
            self._unsaid += 1
            return
        self._quiet_until = now + BURST
        more = f" ({self._unsaid} more since the last one)" if self._unsaid else ""
        self._unsaid = 0
        log.warning(
            "%s was not handled by %s: %s%s. See system.dead_letters().",
            show(letter.message),
            letter.to.path,
            _HINTS[letter.reason],
            more,
        )

    def end(self) -> None:
        """Say how many were not logged, and end the streams."""
        if self._unsaid:
            log.warning("%d more dead letters were not logged", self._unsaid)
        self.feed.end()
