"""The event loop of an identity service: one mailbox, a jump table, clear errors."""

from collections.abc import Callable
from enum import IntEnum

import attrs
import trio

from trio_actors import (
    ActorRef,
    Inbox,
    Mailbox,
    MailboxFull,
    Supervision,
    open_actor_system,
)


class EventType(IntEnum):
    UNKNOWN = 0
    IDENTITY_REQUEST = 1
    SYNC_TIMEOUT = 2
    SYNC_REQUEST = 3
    SYNC_REPLY = 4

    @classmethod
    def _missing_(cls, value: object) -> "EventType":  # noqa: ARG003
        return cls.UNKNOWN

    def __str__(self) -> str:
        first, *rest = self.name.lower().split("_")
        return first + "".join(word.title() for word in rest)


@attrs.frozen
class Event:
    type: EventType
    value: int = 0
    source: "ActorRef[Event] | None" = None  # where to reply


async def listen(inbox: Inbox[Event]) -> None:
    """Handle events one at a time, in order, until the mailbox is closed."""
    counter = 0

    def identity(event: Event) -> None:
        nonlocal counter
        counter += 1
        if event.source is not None:
            event.source.tell_soon(Event(EventType.IDENTITY_REQUEST, counter))

    def sync(event: Event) -> None:
        nonlocal counter
        counter = max(counter, event.value)

    table: dict[EventType, Callable[[Event], None]] = {
        EventType.IDENTITY_REQUEST: identity,
        EventType.SYNC_REPLY: sync,
    }
    async for event in inbox:
        if event.type not in table:
            raise LookupError(f"no handler identified for event {event.type}")
        table[event.type](event)


async def client(inbox: Inbox[Event]) -> None:
    async for event in inbox:
        print(f"{event.type}: {event.value}")


async def main() -> None:
    supervision = Supervision(directives={LookupError: "stop"})
    async with open_actor_system("ipseity", supervision=supervision) as system:
        me = await system.spawn(client)
        loop = await system.spawn(listen, mailbox=Mailbox(1024))
        await loop.tell(Event(EventType.IDENTITY_REQUEST, source=me))
        await loop.tell(Event(EventType.SYNC_REPLY, 41))
        await loop.tell(Event(EventType.IDENTITY_REQUEST, source=me))
        loop.drain()
        print("closed:", (await loop.wait_stopped()).kind)

        loop = await system.spawn(listen)
        await loop.tell(Event(EventType(17)))
        print("failed:", (await loop.wait_stopped()).error)

        loop = await system.spawn(listen, mailbox=Mailbox(1024))
        accepted = 0
        try:
            while True:
                loop.tell_nowait(Event(EventType.SYNC_REPLY, accepted))
                accepted += 1
        except MailboxFull:
            print(f"full: after {accepted} events, nothing was blocked")


if __name__ == "__main__":
    trio.run(main)
