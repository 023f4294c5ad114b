"""The mailbox: a memory channel as storage, with the actor's own park and wake.

Rules of this file:

* The channel is unbounded and is made with the first message. Capacity, waiting
  senders and statistics are ours: a bounded channel can neither take a `Signal` when
  it is full nor wake its senders in bursts.
* `count` is all that is stored, so that nobody ever finds an empty channel by
  catching ``WouldBlock``.
* One comparison on the way in, ``count < limit``, answers "full?", "closed?" and "do
  others wait?": `limit` is -1 behind a closed door and 0 while senders wait, since
  nobody passes those who wait.
* Senders wait for *room*, without their message: cancelling one loses nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Literal, Protocol, TypeAlias

import attrs
import trio
from trio.lowlevel import (
    Abort,
    Task,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from ._messages import DeadReason, Signal

Overflow: TypeAlias = Literal["block", "drop_new", "drop_oldest", "fail"]
OVERFLOWS = ("block", "drop_new", "drop_oldest", "fail")

BATCH = 64
"""How many messages an actor handles before others run."""
BURST = 16
"""How much room one waiting sender is given at a time: W8 is 3 times as fast."""


@attrs.frozen
class Mailbox:
    """The size of a mailbox, or of a subscription, and what happens when it is full.

    The default suits most actors: it is bounded and slows its senders down.
    """

    capacity: float = 1024
    """How many messages wait at most; ``math.inf`` for no limit."""
    overflow: Overflow = "block"
    """What happens to a message for which there is no room: ``block`` lets ``tell()``
    and ``ask()`` wait, ``fail`` raises MailboxFull in them, ``drop_new`` and
    ``drop_oldest`` make a dead letter of the newest or of the oldest message."""

    def __attrs_post_init__(self) -> None:
        capacity: object = self.capacity
        if capacity != math.inf and (
            not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1
        ):
            raise ValueError(
                f"Mailbox: capacity is a whole number from 1, or math.inf for no"
                f" limit, not {capacity!r}."
            )
        if self.overflow not in OVERFLOWS:
            raise ValueError(
                f"Mailbox: there is no overflow {self.overflow!r}."
                f" Write one of {', '.join(map(repr, OVERFLOWS))}."
            )


class Door(IntEnum):
    """Who may put messages in."""

    OPEN = 0
    INSIDE = 1
    """Only those the owner admits: it drains, and its subtree is still at work."""
    CLOSED = 2


class Owner(Protocol):
    """What a box needs from the actor it belongs to."""

    def admits(self) -> bool:
        """Whether the sender of this step may still put something in."""
        ...

    def refuse(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of something that was never stored."""
        ...

    def bury(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of something that was stored."""
        ...


class Waiter:
    """A sender that waits for room."""

    __slots__ = ("got", "task", "wants")

    def __init__(self, task: Task, wants: int) -> None:
        self.task = task
        self.wants = wants
        self.got = 0


class Box:
    """The stored messages of one actor. It outlives the actor's incarnations."""

    __slots__ = (
        "_extra",
        "_receive",
        "_reserved",
        "_send",
        "accepted",
        "capacity",
        "consumer",
        "count",
        "door",
        "front",
        "high_water",
        "limit",
        "overflow",
        "owner",
        "refusal",
        "waiting",
    )

    def __init__(self, mailbox: Mailbox, owner: Owner) -> None:
        self.owner: Owner = owner
        self.capacity: float = mailbox.capacity
        self.limit: float = mailbox.capacity
        self.overflow: Overflow = mailbox.overflow
        self.door: Door = Door.OPEN
        self.refusal: DeadReason = "stopped"
        self.count: int = 0
        self.accepted: int = 0
        self.high_water: int = 0
        self.consumer: Task | None = None
        # Put-backs, before the channel: unstash, the rest of a batch, a restart.
        self.front: deque[Any] | None = None
        self.waiting: dict[Waiter, None] | None = None
        self._reserved = 0  # room that was granted and is not used yet
        self._extra = 0  # stored signals and put-backs: not against the capacity
        self._send: Callable[[Any], None] | None = None
        self._receive: Callable[[], Any] | None = None

    def configure(self, mailbox: Mailbox) -> None:
        """Take the capacity and overflow of *mailbox* from now on."""
        self.capacity, self.overflow = mailbox.capacity, mailbox.overflow
        self._set_limit()

    # --- Senders ---

    def put(self, item: Any) -> bool:
        """Store *item* or refuse it; False only if its sender has to wait or fail."""
        if self.count >= self.limit:
            return self._put_over_limit(item)
        # Written out again in _store(): a call here is 10 % of a tell.
        send = self._send
        if send is None:
            send = self._open()
        self.count += 1
        self.accepted += 1
        send(item)
        task = self.consumer
        if task is not None:
            self.consumer = None
            reschedule(task)
        return True

    def _put_over_limit(self, item: Any) -> bool:
        if self.door and (self.door is Door.CLOSED or not self.owner.admits()):
            self.owner.refuse(item, self.refusal)
            return True
        if not self.waiting and self._free() > 0:
            self._store(item)
            return True
        if self.overflow == "drop_new":
            self.owner.refuse(item, "overflow")
        elif self.overflow == "drop_oldest":
            self._drop_oldest(item)
        else:
            return False
        return True

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
            self._put_over_limit(item)
        else:
            self._store(item)

    def _store(self, item: Any) -> None:
        send = self._send or self._open()
        self.count += 1
        self.accepted += 1
        send(item)
        self.wake()

    def _open(self) -> Callable[[Any], None]:
        send, receive = trio.open_memory_channel[Any](math.inf)
        self._send, self._receive = send.send_nowait, receive.receive_nowait
        return self._send

    def _drop_oldest(self, item: Any) -> None:
        """Store *item* instead of the oldest message; signals are never dropped.

        There is one: neither signals nor put-backs take room.
        """
        assert self._receive is not None
        if self.front is None:
            self.front = deque()
        while isinstance(oldest := self._receive(), Signal):
            oldest.in_channel = False  # it stays counted as extra, in the front
            self.front.append(oldest)
        self.count -= 1
        self._store(item)
        self.owner.bury(oldest, "overflow")

    # --- Senders that wait ---

    async def room(self, wants: int) -> int:
        """Wait for room for up to *wants* messages; return for how many there is.

        Each of them must then be put by `put_granted()`, or given up by `release()`,
        in the same step.
        """
        if self.door is Door.CLOSED:  # what is put in is refused: that needs no room
            self._reserved += wants
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

    def put_granted(self, item: Any) -> bool:
        """Put a message into granted room; False if `shut()` woke it without any."""
        self._reserved -= 1
        if self.door and (self.door is Door.CLOSED or not self.owner.admits()):
            self.owner.refuse(item, self.refusal)
            self.grant()  # the room is for those who wait inside
        elif self.door and self._free() <= 0:
            return False
        else:
            self._store(item)
            self._set_limit()
        return True

    def holds_up(self, task: Task) -> bool:
        """Whether a task still waits for room."""
        return any(waiter.task is task for waiter in self.waiting or ())

    def release(self, room: int) -> None:
        """Give up granted room."""
        self._reserved -= room
        self.grant()

    def grant(self) -> None:
        """Hand the free room to those who wait, in their order, in bursts."""
        waiting = self.waiting
        free = self._free()
        while waiting and free > 0:
            waiter = next(iter(waiting))
            free -= self._let_go(waiter, int(min(waiter.wants, free, BURST)))
        self._set_limit()

    def _let_go(self, waiter: Waiter, room: int) -> int:
        assert self.waiting is not None
        del self.waiting[waiter]
        waiter.got = room
        self._reserved += room
        reschedule(waiter.task)
        return room

    def _free(self) -> float:
        return self.capacity + self._extra - self._reserved - self.count

    def _set_limit(self) -> None:
        if self.door:
            self.limit = -1
        elif self.waiting:
            self.limit = 0
        else:
            self.limit = self.capacity + self._extra - self._reserved

    # --- The actor ---

    def take(self) -> object:
        """Take the first item; there must be one."""
        self.count -= 1
        if self.front:
            self._extra -= 1
            self._set_limit()
            return self.front.popleft()
        assert self._receive is not None
        return self._receive()

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
        if self.front is None:
            self.front = deque()
        self.front.extendleft(reversed(again))
        self.count += len(again)
        self._extra += len(again)
        self._set_limit()
        self.wake()

    def mark(self) -> None:
        """Note how full it is."""
        if self.count > self.high_water:  # noqa: PLR1730  # cheaper than max()
            self.high_water = self.count

    def wake(self) -> None:
        """Wake the actor if it sleeps in its mailbox."""
        task = self.consumer
        if task is not None:
            self.consumer = None
            reschedule(task)

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
