"""What a mailbox is: its size, what happens when it is full, who may use it."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, Literal, Protocol, TypeAlias

import attrs
from trio.lowlevel import Task

from ._messages import DeadReason

Overflow: TypeAlias = Literal["block", "drop_new", "drop_oldest", "fail"]
OVERFLOWS = ("block", "drop_new", "drop_oldest", "fail")


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
