"""The stored messages of an actor, in bursts.

Rules of this file:

* Senders fill `tail`, the actor empties `hand`, and what lies between the two is in an
  unbounded memory channel, made when the first burst is full. One message at a time
  through the channel costs as much as all the rest of a tell (W1 7 times as fast as
  plain Trio instead of 14).
* ``len(tail) < room`` answers all that a sender has to know: `room` never promises too
  much.
* `hand` and `tail` are empty only when nothing is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, TypeAlias

import trio

from ._messages import Signal

BATCH = 64
"""How many messages an actor handles before others run, and how long a burst is."""

_Channel: TypeAlias = tuple[
    trio.MemorySendChannel[list[Any]], trio.MemoryReceiveChannel[list[Any]]
]

NOTHING: Any = ()
"""The bursts of a mailbox that was never used; it is never filled."""


class Bursts:
    """What is stored, in its order."""

    burst: ClassVar[int] = BATCH
    """How many messages may come without a closer look; 0 where each is looked at."""

    __slots__ = (
        "_before",
        "_channel",
        "_looked",
        "_taken",
        "between",
        "hand",
        "high_water",
        "limit",
        "room",
        "tail",
    )

    def __init__(self, limit: float) -> None:
        self.limit: float = limit  # how much is stored at most, put-backs apart
        # The oldest burst, its first message last; the burst that is being filled, and
        # how long it may become; how many are in the channel between the two.
        self.hand: list[Any] = NOTHING
        self.tail: list[Any] = NOTHING
        self.room: float = 0
        self.between: int = 0
        self.high_water: int = 0
        self._before = 0  # how long the hand was before something was put back
        self._taken = 0  # how many have come into the hand from the tail
        self._channel: _Channel | None = None
        # Where in the hand the oldest is looked for, and how many had come into it:
        # what lies behind is signals, and to look past them again costs as many steps.
        self._looked: tuple[int, int] = (0, -1)

    @property
    def count(self) -> int:
        """How many items are stored."""
        return len(self.hand) + self.between + len(self.tail)

    @property
    def put_backs(self) -> int:
        """How many of them were put back."""
        return max(0, len(self.hand) - self._before)

    @property
    def accepted(self) -> int:
        """How many were ever stored, put-backs apart."""
        return self._taken + self.between + len(self.tail)

    @accepted.setter
    def accepted(self, count: int) -> None:
        self._taken = count - self.between - len(self.tail)

    def add(self, items: list[Any]) -> None:
        """Store *items*, up to a burst, behind all others."""
        tail = self.tail
        if tail is NOTHING:
            self.tail = items
        elif len(tail) + len(items) <= BATCH:
            tail.extend(items)
        else:
            self._open()[0].send_nowait(tail)
            self.between += len(tail)
            self.tail = items

    def _open(self) -> _Channel:
        if self._channel is None:
            self._channel = trio.open_memory_channel[list[Any]](math.inf)
        return self._channel

    def refill(self) -> list[Any]:
        """Return what is in hand; take up the next burst if there is nothing."""
        hand = self.hand
        if hand or not self.tail:
            return hand
        tail = self.tail
        if len(tail) == 1 and not self.between and hand is not NOTHING:
            # A quiet actor: there is as much room as before it came.
            hand.append(tail.pop())
            self._before = 1
            self._taken += 1
            return hand
        if self.between:
            hand = self._open()[1].receive_nowait()
            self.between -= len(hand)
        else:
            hand = tail
            self.tail = []
        hand.reverse()
        self.hand = hand
        # All in here, since it is in the way of each message of a quiet actor.
        size = self._before = len(hand)
        self._taken += size
        if self.tail:
            size = self.count
        room = self.limit - size + len(self.tail)
        self.room = min(self.burst, room)
        self.high_water = max(self.high_water, size)
        return hand

    def take(self) -> object:
        """Take the first item; there must be one."""
        return self.refill().pop()

    def put_in_front(self, items: Iterable[Any]) -> None:
        """Store *items*, which were taken before, in front of all others."""
        self._before = min(self._before, len(self.hand))
        self.hand.extend(reversed(list(items)))

    def mark(self) -> None:
        """Note how full it is."""
        self.high_water = max(self.high_water, self.count)

    def has_oldest(self) -> bool:
        """Whether there is an item that is neither a signal nor put back.

        There is none if all room is granted to senders that have not run since.
        """
        if self._oldest() < 0:
            self._gather()
        return self._oldest() >= 0

    def take_oldest(self) -> object:
        """Take the oldest such item, after `has_oldest()`."""
        at = self._oldest()
        self._before -= 1
        return self.hand.pop(at)

    def _oldest(self) -> int:
        at = self._unlooked() - 1
        while at >= 0 and isinstance(self.hand[at], Signal):
            at -= 1
        self._looked = (at + 1, self._taken)
        return at

    def _unlooked(self) -> int:
        """Return how much of the hand may hold the oldest."""
        most = min(self._before, len(self.hand))
        at, taken = self._looked
        return min(at, most) if taken == self._taken else most

    def _gather(self) -> None:
        """Take all that is stored in hand."""
        hand = [] if self.hand is NOTHING else self.hand
        before, looked = min(self._before, len(hand)), self._unlooked()
        rest: list[Any] = []
        while self.tail:
            self.hand = NOTHING
            rest[:0] = self.refill()
        # In place: the loop of the actor may have it in its hand.
        hand[:0] = rest
        self.hand = hand
        self._before = before + len(rest)
        self._looked = (looked + len(rest), self._taken)
