"""What is sent to a replica: events with a type each, and questions."""

from enum import IntEnum
from typing import TypeAlias

import attrs

from trio_actors import ActorRef, Request, ServiceKey


class EventType(IntEnum):
    """What an event is about. A number that is none of these is UNKNOWN."""

    UNKNOWN = 0
    IDENTITY_REQUEST = 1
    SYNC_TIMEOUT = 2
    SYNC_REQUEST = 3
    SYNC_REPLY = 4

    @classmethod
    def _missing_(cls, value: object) -> "EventType":  # noqa: ARG003
        return cls.UNKNOWN

    def __str__(self) -> str:
        """Return the name as it is written on the wire: ``syncReply``."""
        first, *rest = self.name.lower().split("_")
        return first + "".join(word.title() for word in rest)


@attrs.frozen
class Event:
    """Something to handle. Who is to get the answer is its source."""

    type: EventType
    value: int = 0
    source: "ActorRef[Event] | None" = None

    def __str__(self) -> str:
        """Return the event as a trace shows it."""
        origin = "" if self.source is None else f" from {self.source.path}"
        return f"{self.type} {self.value}{origin}"


class UnknownEvent(Exception):
    """There is no handler for an event."""


@attrs.frozen
class Next(Request[int]):
    """Answered with the next number."""


@attrs.frozen
class Identity:
    """A number that no replica with another pid hands out."""

    pid: int
    seq: int


@attrs.frozen
class NextIdentity(Request[Identity]):
    """Answered with the next number, and who gave it."""


@attrs.frozen
class Update:
    """Set the counter, if this is more than it has."""

    counter: int


@attrs.frozen
class Sync:
    """Start or stop to ask the others, every so many seconds."""

    on: bool


ReplicaMessage: TypeAlias = Next | NextIdentity | Update | Sync | Event

REPLICAS = ServiceKey[Event]("ipseity")
"""All replicas."""
