"""A replica: hands out numbers, and asks the others how far they are.

Rules of this file:

* The counter never decreases, whatever comes in whatever order, and over a crash.
* No replica waits for another: what it sends is told, and an answer is an event.
"""

from collections.abc import Callable
from typing import Self

from trio_actors import Actor, Mailbox, handler

from .events import (
    REPLICAS,
    Event,
    EventType,
    Identity,
    Next,
    NextIdentity,
    ReplicaMessage,
    Sync,
    UnknownEvent,
    Update,
)


class Replica(Actor[ReplicaMessage]):
    """Counts.

    Args:
        every: Seconds between two syncs, while they are switched on.
        pid: Which replica it is, from 0.
        stride: Hand out only each so manieth number: with as many as there are replicas
            no two have one in common. With 1 it hands out all.
    """

    mailbox = Mailbox(1024)

    def __init__(self, every: float, pid: int = 0, stride: int = 1) -> None:
        if stride < 1 or (stride > 1 and not 0 <= pid < stride):
            raise ValueError(
                f"Replica(pid={pid}, stride={stride}): write a stride from 1, and with"
                " one above 1 a pid from 0 that is below it."
            )
        self.every = every
        self.pid = pid
        self.stride = stride
        self.counter = 0
        self.is_syncing = False
        self.handlers: dict[EventType, Callable[[Event], None]] = {
            EventType.IDENTITY_REQUEST: self.identify,
            EventType.SYNC_TIMEOUT: self.ask_others,
            EventType.SYNC_REQUEST: self.answer,
            EventType.SYNC_REPLY: self.learn,
        }

    async def started(self) -> None:
        self.context.register(REPLICAS)

    async def restarted(self, failure: Exception, failed: Self) -> None:
        """Go on counting where the failed one was; its timer ended with it."""
        self.counter = failed.counter
        self.sync(Sync(failed.is_syncing))

    # --- Numbers ---

    def count(self) -> int:
        """Return the next number."""
        self.counter += 1
        self.counter += (self.pid - self.counter) % self.stride
        return self.counter

    def raise_to(self, counter: int) -> None:
        """Set the counter, if *counter* is more."""
        self.counter = max(self.counter, counter)

    @handler
    def next(self, message: Next) -> int:
        return self.count()

    @handler
    def next_identity(self, message: NextIdentity) -> Identity:
        return Identity(self.pid, self.count())

    @handler
    def update(self, message: Update) -> None:
        self.raise_to(message.counter)

    # --- Events ---

    @handler
    def sync(self, message: Sync) -> None:
        self.is_syncing = message.on
        timeout = Event(EventType.SYNC_TIMEOUT)
        if message.on:
            self.context.send_every(self.every, timeout)
        else:
            self.context.cancel_timer(timeout)

    @handler
    def handle(self, event: Event) -> None:
        handle = self.handlers.get(event.type)
        if handle is None:
            raise UnknownEvent(f"no handler identified for event {event.type}")
        handle(event)

    def identify(self, event: Event) -> None:
        number = self.count()
        if event.source is not None:
            event.source.tell_soon(Event(EventType.IDENTITY_REQUEST, number))

    def ask_others(self, event: Event) -> None:
        me = self.context.ref
        for peer in self.context.system.find_all(REPLICAS):
            if peer != me:
                peer.tell_soon(Event(EventType.SYNC_REQUEST, self.counter, me))

    def answer(self, event: Event) -> None:
        self.raise_to(event.value)
        if event.source is not None:
            event.source.tell_soon(Event(EventType.SYNC_REPLY, self.counter))

    def learn(self, event: Event) -> None:
        self.raise_to(event.value)
