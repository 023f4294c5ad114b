"""The mailbox: bursts of messages, a memory channel behind them, own park and wake.

Rules of this file:

* Messages are kept in bursts of up to `BATCH`: senders fill `tail`, the actor empties
  `hand`, and what lies between the two is in an unbounded memory channel, made when
  the first burst is full. One message at a time through the channel costs twice as
  much as all the rest of a tell (W1 6.8 times naive instead of 13).
* Capacity, waiting senders and statistics are ours: a bounded channel can neither
  take a `Signal` when it is full nor wake its senders in bursts.
* One comparison on the way in, ``len(tail) < room``, answers "full?", "closed?", "do
  others wait?" and "is the burst full?": `room` never promises too much, and where it
  promises too little `put_slow()` looks closely.
* The actor parks only when `hand` and `tail` are empty; nobody ever finds an empty
  channel by catching ``WouldBlock``.
* Senders wait for *room*, without their message: cancelling one loses nothing.
* Ctrl-C never falls between a message and the wake-up it needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, TypeAlias

import trio
from trio.lowlevel import (
    Abort,
    Task,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._mailbox import Door, Mailbox, Overflow, Owner, Waiter
from ._messages import DeadReason, Signal

BATCH = 64
"""How many messages an actor handles before others run."""
BURST = 16
"""How much room one waiting sender is given at a time: W8 is 3 times as fast."""


_Channel: TypeAlias = tuple[
    trio.MemorySendChannel[list[Any]], trio.MemoryReceiveChannel[list[Any]]
]


class _Woken:
    """For trio the outcome that wakes an actor: one for all, as it has no value.

    To make one each time, as ``reschedule()`` does by itself, is 5 % of a ring.
    """

    def unwrap(self) -> None:
        """Return what the parked actor gets."""


WOKEN: Any = _Woken()

NOTHING: Any = ()
"""The bursts of a mailbox that was never used; it is never filled."""


class Box:
    """The stored messages of one actor. It outlives the actor's incarnations."""

    burst: ClassVar[int] = BATCH
    """How many messages may come without a closer look; 0 where each is looked at."""

    __slots__ = (
        "_before",
        "_channel",
        "_extra",
        "_taken",
        "between",
        "consumer",
        "door",
        "hand",
        "high_water",
        "limit",
        "mailbox",
        "owner",
        "refusal",
        "room",
        "tail",
        "waiting",
    )

    def __init__(self, mailbox: Mailbox, owner: Owner) -> None:
        self.owner: Owner = owner
        self.mailbox: Mailbox = mailbox
        self.limit: float = mailbox.capacity  # what is stored at most, put-backs apart
        self.door: Door = Door.OPEN
        self.refusal: DeadReason = "stopped"
        self.high_water: int = 0
        self.consumer: Task | None = None
        # The oldest burst, its first message last; the burst that is being filled, and
        # how long it may become; how many are in the channel between the two.
        self.hand: list[Any] = NOTHING
        self.tail: list[Any] = NOTHING
        self.room: float = 0
        self.between: int = 0
        self.waiting: dict[Waiter, None] | None = None
        self._before = 0  # how long the hand was before something was put back
        self._taken = 0  # how many have come into the hand from the tail
        self._extra = 0  # stored signals, which take no room, less the room granted
        self._channel: _Channel | None = None

    @property
    def capacity(self) -> float:
        """How many messages wait at most."""
        return self.mailbox.capacity

    @property
    def overflow(self) -> Overflow:
        """What happens to a message for which there is no room."""
        return self.mailbox.overflow

    def configure(self, mailbox: Mailbox) -> None:
        """Take the capacity and overflow of *mailbox* from now on."""
        self.mailbox = mailbox
        self._set_limit()

    @property
    def count(self) -> int:
        """How many items are stored."""
        return len(self.hand) + self.between + len(self.tail)

    @property
    def accepted(self) -> int:
        """How many were ever stored, put-backs apart."""
        return self._taken + self.between + len(self.tail)

    @accepted.setter
    def accepted(self, count: int) -> None:
        self._taken = count - self.between - len(self.tail)

    # --- Senders ---

    @enable_ki_protection
    def put(self, item: Any) -> bool:
        """Store *item* or refuse it; False only if its sender has to wait or fail."""
        # Written out again in tell_nowait(): a call here is 10 % of a tell.
        tail = self.tail
        if len(tail) >= self.room:
            return self.put_slow(item)
        tail.append(item)
        task = self.consumer
        if task is not None:
            self.consumer = None
            reschedule(task, WOKEN)
        return True

    @enable_ki_protection
    def put_slow(self, item: Any) -> bool:
        """Put an item for which there may be no room."""
        if self.door and (self.door is Door.CLOSED or not self.owner.admits()):
            self.owner.refuse(item, self.refusal)
        elif not self.waiting and self._free() > 0:
            self._store(item)
        elif self.overflow == "drop_new":
            self.owner.refuse(item, "overflow")
        elif self.overflow == "drop_oldest":
            self._drop_oldest()
            self._store(item)
        else:
            return False
        return True

    @enable_ki_protection
    def put_all(self, items: list[Any]) -> int:
        """Put *items* as long as there is room; return how many were put."""
        if len(self.tail) + len(items) <= self.room:
            self.tail.extend(items)
            self.wake()
            return len(items)
        for done, item in enumerate(items):
            if not self.put(item):
                return done
        return len(items)

    def put_signal(self, signal: Signal) -> None:
        """Store a signal in its place in the queue, whatever room there is."""
        if self.door is not Door.CLOSED:
            signal.in_channel = True
            self._extra += 1
            self._set_limit()
            self._store(signal)

    def put_over(self, item: Any) -> None:
        """Store a message that has waited for its turn elsewhere, room or not."""
        if self.door:
            self.put_slow(item)
        else:
            self._store(item)

    def _store(self, item: Any) -> None:
        if len(self.tail) >= BATCH:
            self._open()[0].send_nowait(self.tail)
            self.between += len(self.tail)
            self.tail = [item]
        elif self.tail is NOTHING:
            self.tail = [item]
        else:
            self.tail.append(item)
        self._set_room()
        self.wake()

    def _open(self) -> _Channel:
        if self._channel is None:
            self._channel = trio.open_memory_channel[list[Any]](math.inf)
        return self._channel

    def _drop_oldest(self) -> None:
        """Let the oldest message go; signals and put-backs are never dropped.

        There is one: neither signals nor put-backs take room.
        """
        at = self._oldest()
        if at < 0:
            self._gather()
            at = self._oldest()
        self._before -= 1
        self.owner.bury(self.hand.pop(at), "overflow")

    def _oldest(self) -> int:
        """Return where in hand the oldest message is, -1 if there is none."""
        at = min(self._before, len(self.hand)) - 1
        while at >= 0 and isinstance(self.hand[at], Signal):
            at -= 1
        return at

    def _gather(self) -> None:
        """Take all that is stored in hand."""
        hand = [] if self.hand is NOTHING else self.hand
        before = min(self._before, len(hand))
        rest: list[Any] = []
        while self.tail:
            self.hand = NOTHING
            rest[:0] = self.refill()
        # In place: the loop of the actor may have it in its hand.
        hand[:0] = rest
        self.hand = hand
        self._before = before + len(rest)
        self._set_room()

    # --- Senders that wait ---

    async def wait_for_room(self, wants: int) -> int:
        """Wait for room for up to *wants* messages; return for how many there is.

        They must then be put by `put_granted()` in the same step.
        """
        if self.door is Door.CLOSED:  # what is put in is refused: that needs no room
            self._extra -= wants
            return wants
        waiter = Waiter(current_task(), wants)
        if self.waiting is None:
            self.waiting = {}
        waiting = self.waiting
        waiting[waiter] = None
        self._set_limit()

        def abort(_: object) -> Abort:
            del waiting[waiter]
            self._set_limit()
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        return waiter.got

    @enable_ki_protection
    def put_granted(self, items: list[Any], room: int) -> int:
        """Put items into granted room, as many as there is; return how many.

        It may be fewer if `shut()` woke the sender without any room.
        """
        self._extra += room
        put = 0
        for item in items[:room]:
            if self.door and (self.door is Door.CLOSED or not self.owner.admits()):
                self.owner.refuse(item, self.refusal)
            elif self.door and self._free() <= 0:
                break
            else:
                self._store(item)
            put += 1
        if put < room or self.door:
            self.grant()  # the rest is for those who wait
        else:
            self._set_limit()
        return put

    def release(self, room: int) -> None:
        """Give up granted room."""
        self._extra += room
        self.grant()

    def holds_up(self, task: Task) -> bool:
        """Whether a task still waits for room."""
        return any(waiter.task is task for waiter in self.waiting or ())

    def grant(self) -> None:
        """Hand the free room to those who wait, in their order, in bursts."""
        waiting = self.waiting
        free = self._free()
        while waiting and free > 0:
            waiter = next(iter(waiting))
            free -= self._let_go(waiter, int(min(waiter.wants, free, BURST)))
        self._set_limit()

    def grant_burst(self) -> None:
        """As `grant()`, but only when room for a burst has come together.

        For those who handle one message at a time: a sender would be woken for each.
        At most a quarter of the mailbox is withheld, and only until the actor rests.
        """
        if self._free() >= min(BURST, self.mailbox.capacity // 4):
            self.grant()

    def _let_go(self, waiter: Waiter, room: int) -> int:
        assert self.waiting is not None
        del self.waiting[waiter]
        waiter.got = room
        self._extra -= room
        reschedule(waiter.task)
        return room

    def _free(self) -> float:
        put_back = max(0, len(self.hand) - self._before)
        return self.mailbox.capacity + self._extra + put_back - self.count

    def _set_limit(self) -> None:
        """Set how much is stored at most, if nothing was put back."""
        if self.door or self.waiting:
            self.limit = 0
        else:
            self.limit = self.mailbox.capacity + self._extra
        self._set_room()

    def _set_room(self) -> None:
        if self.limit and self.tail is not NOTHING:
            self.room = min(self.burst, len(self.tail) + self._free())
        else:
            self.room = 0

    # --- The actor ---

    def refill(self) -> list[Any]:
        """Return what is in hand; take up the next burst if there is nothing."""
        hand = self.hand
        if hand or not self.tail:
            return hand
        if self.between:
            hand = self._open()[1].receive_nowait()
            self.between -= len(hand)
        else:
            hand = self.tail
            self.tail = []
        hand.reverse()
        self.hand = hand
        size = self._before = len(hand)
        self._taken += size
        # As by _set_room() and mark(), but for each message of a quiet actor.
        size += self.between + len(self.tail)
        room = self.limit - size + len(self.tail)
        self.room = min(self.burst, room)
        self.high_water = max(self.high_water, size)
        return hand

    def take(self) -> object:
        """Take the first item; there must be one."""
        return self.refill().pop()

    def taken(self, signal: Signal) -> None:
        """Note that a signal was taken: it no longer widens the limit."""
        if signal.in_channel:
            signal.in_channel = False
            self._extra -= 1
            self._set_limit()

    def put_back(self, items: Iterable[Any]) -> None:
        """Store *items* in front of all others, in their order."""
        again = list(items)
        if not again:
            return
        if self.hand is NOTHING:
            self.hand = []
        self._before = min(self._before, len(self.hand))
        self.hand.extend(reversed(again))
        self.wake()

    def mark(self) -> None:
        """Note how full it is."""
        self.high_water = max(self.high_water, self.count)

    def wake(self) -> None:
        """Wake the actor if it sleeps in its mailbox."""
        task = self.consumer
        if task is not None:
            self.consumer = None
            reschedule(task, WOKEN)

    def abort_wait(self, _: object) -> Abort:
        """Take the sleeping actor out; for ``wait_task_rescheduled()``."""
        self.consumer = None
        return Abort.SUCCEEDED

    def shut(self, door: Door, refusal: DeadReason) -> None:
        """Close the door further; senders that wait find out."""
        if door > self.door:
            self.door, self.refusal = door, refusal
            for waiter in list(self.waiting or ()):
                self._let_go(waiter, 1)
            self._set_limit()
