"""The store and its router, as in the book, without the book's defects.

    router           all traffic goes through it, and never waits in it
    └─ store         answers from memory; forwards each change before it makes it
       └─ writer     has the file

Rules of this file:

* A reset ends the store, and so its writer, and awaits both before the next ones start.
  What waits in the mailboxes waits on. Who was being served is told that it failed.
* Whatever fails the writer starts the store over, too: both agree on what is stored.
* A store that cannot be opened, or has ended for good, is nothing that a new start
  would mend: the error goes up to whoever opened the system.
"""

from collections.abc import Callable
from typing import Any

from trio_actors import (
    Actor,
    Heartbeat,
    Mailbox,
    Reply,
    Supervision,
    Terminated,
    handler,
)

from .files import NotStored, Unusable
from .messages import (
    ROUTER,
    Change,
    Command,
    Delete,
    Get,
    Load,
    Reset,
    Set,
    Since,
    changed,
)
from .writer import Disk, writer

HEARTBEAT = Heartbeat(every=0.2, timeout=0.5)
"""Who is silent for half a second is reset."""

GIVE_UP = Supervision(directives={Unusable: "escalate"})
"""How a store is supervised, and what supervises it."""


class Store(Actor[Command]):
    """Answers from memory; its writer ends and starts with it."""

    # Enough for everybody who waits while it starts over; who comes then is told.
    mailbox = Mailbox(1024)
    supervision = Supervision(directives={Exception: "escalate"})

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    async def started(self) -> None:
        self.writer = await self.context.spawn(
            writer, self.disk, name="writer", heartbeat=HEARTBEAT
        )
        loaded = await self.writer.ask(Load())
        self.data = loaded.data
        self.writer_since = loaded.since

    @handler(reads_only=True)
    def get(self, message: Get) -> str | None:
        return self.data.get(message.key)

    @handler(raises=(NotStored,))
    async def set(self, message: Set) -> None:
        await self.change(message)

    @handler(raises=(NotStored,))
    async def delete(self, message: Delete) -> None:
        await self.change(message)

    async def change(self, change: Change) -> None:
        """Make a change once it is durable."""
        await self.writer.ask(change)
        self.data = changed(self.data, change)

    @handler(reads_only=True)
    def since(self, message: Since) -> float:
        return self.writer_since


class Router(Actor[Command | Reset | Terminated]):
    """Has the store, and hands on all that is for it.

    Args:
        store: Makes one.
    """

    mailbox = Mailbox(32)
    supervision = GIVE_UP

    def __init__(self, store: Callable[[], Actor[Command]]) -> None:
        self.make_store = store

    async def started(self) -> None:
        # Without waiting: what comes meanwhile queues, and one that hangs before its
        # first sign of life is reset like any other.
        self.store = self.context.spawn_nowait(
            self.make_store, name="store", heartbeat=HEARTBEAT
        )
        self.context.watch(self.store)
        self.context.register(ROUTER)

    @handler
    def route(self, message: Command) -> Reply[Any]:
        # To forward is not to wait: behind a full store a reset is still seen.
        return self.context.forward(self.store, message)

    @handler
    def reset(self, message: Reset) -> None:
        self.store.restart("a reset by hand")

    @handler
    def ended(self, message: Terminated) -> None:
        if message.ref == self.store:  # not one of an earlier router
            why = message.reason
            raise Unusable(f"the store has ended: {why.error or why}") from why.error
