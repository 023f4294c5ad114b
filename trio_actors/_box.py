"""The mailbox: who may put messages in, and who waits for room.

Rules of this file:

* Capacity, waiting senders and statistics are ours: a bounded channel can neither
  take a `Signal` when it is full nor wake its senders in bursts.
* One comparison on the way in, ``len(tail) < room``, answers "full?", "closed?", "do
  others wait?" and "is the burst full?"; where `room` promises too little `put_slow()`
  looks closely.
* Senders wait for *room*, without their message: cancelling one loses nothing.
* Ctrl-C never falls between a message and the wake-up it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trio.lowlevel import (
    Abort,
    Task,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from ._bursts import NOTHING, Bursts
from ._mailbox import Door, Mailbox, Overflow, Owner, Waiter
from ._messages import DeadReason, Signal
from ._park import WOKEN, make_trap

BURST = 16
"""How much room one waiting sender is given at a time: W8 is 3 times as fast."""


class Box(Bursts):
    """The mailbox of one actor. It outlives the actor's incarnations."""

    # Of the bursts, and written here: the types are complete for each class.
    limit: float
    room: float

    __slots__ = (
        "_extra",
        "consumer",
        "door",
        "mailbox",
        "owner",
        "refusal",
        "trap",
        "waiting",
    )

    def __init__(self, mailbox: Mailbox, owner: Owner) -> None:
        super().__init__(mailbox.capacity)
        self.owner: Owner = owner
        self.mailbox: Mailbox = mailbox
        self.door: Door = Door.OPEN
        self.refusal: DeadReason = "stopped"
        self.consumer: Task | None = None
        self.waiting: dict[Waiter, None] | None = None
        self._extra = 0  # stored signals, which take no room, less the room granted
        self.trap: Any = None  # what parks the actor, made at its first sleep

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
        elif self.overflow in ("block", "fail"):
            return False
        elif self.overflow == "drop_oldest" and self.has_oldest():
            oldest = self.take_oldest()
            self._store(item)
            self.owner.bury(oldest, "overflow")
        else:
            self._set_room()
            self.owner.refuse(item, "overflow")
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
        self.add([item])
        self._set_room()
        self.wake()

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
        items = items[:room]
        if self.door:
            items = self._let_in(items)
        else:
            self.add(items)
            self.wake()
        put = len(items)
        if put < room or self.door:
            self.grant()  # the rest is for those who wait
        else:
            self._set_limit()
        return put

    def _let_in(self, items: list[Any]) -> list[Any]:
        """Put items in through a door; return those that were put or refused."""
        put: list[Any] = []
        for item in items:
            if self.door is Door.CLOSED or not self.owner.admits():
                self.owner.refuse(item, self.refusal)
            elif self._free() <= 0:
                break
            else:
                self._store(item)
            put.append(item)
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
        reschedule(waiter.task, WOKEN)
        return room

    def _free(self) -> float:
        return self.mailbox.capacity + self._extra + self.put_backs - self.count

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

    def taken(self, signal: Signal) -> None:
        """Note that a signal was taken: it no longer widens the limit."""
        if signal.in_channel:
            signal.in_channel = False
            self._extra -= 1
            self._set_limit()

    def put_back(self, items: Iterable[Any]) -> None:
        """Store *items* in front of all others, in their order."""
        self.put_in_front(items)
        self.wake()

    def wake(self) -> None:
        """Wake the actor if it sleeps in its mailbox."""
        task = self.consumer
        if task is not None:
            self.consumer = None
            reschedule(task, WOKEN)

    def make_trap(self) -> Any:
        """Make what lets the actor sleep until `wake()`."""
        self.trap = make_trap(self._abort)
        return self.trap

    def _abort(self, _: object) -> Abort:
        self.consumer = None
        return Abort.SUCCEEDED

    def shut(self, door: Door, refusal: DeadReason) -> None:
        """Close the door further; senders that wait find out."""
        if door > self.door:
            self.door, self.refusal = door, refusal
            for waiter in list(self.waiting or ()):
                self._let_go(waiter, 1)
            self._set_limit()
