"""What travels between actors, and what is said about it afterwards.

Rules of this file:

* Everything here is a value; nothing here knows a cell, a clock or a task.
* What the library itself puts into a mailbox is a `Signal`: it never waits for room,
  is never dropped, does not count against the capacity, and may lapse on its way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, final

import attrs

if TYPE_CHECKING:
    from typing import Self

    from ._ref import ActorRef

R = TypeVar("R")
AnyClass = TypeVar("AnyClass", bound=type[Any])

ExitKind: TypeAlias = Literal[
    "normal",
    "shutdown",
    "failed",
    "killed",
    "start_failed",
    "restart_limit",
    "node_lost",
]
DeadReason: TypeAlias = Literal[
    "stopped",
    "overflow",
    "start_failed",
    "unhandled",
    "unasked_answer",
    "shutdown",
    "stash",
    "remote",
]
EventKind: TypeAlias = Literal[
    "started", "failed", "restarting", "restarted", "resumed", "stopped", "gave_up"
]


class Request(Generic[R]):
    """Base class of a message that is answered with an R.

    Any other immutable object can be told; only a request can be asked. (Actix'
    ``Message::Result``, Gleam's ``Subject`` in the message.)
    """

    __slots__ = ()

    def __answered_with__(self) -> tuple[Self, R]:
        """Tie the request to its answer, for type checkers; never called."""
        raise NotImplementedError


@final
@attrs.frozen
class Exit:
    """Why an actor stopped (OTP's exit reasons)."""

    kind: ExitKind
    """The kind of end."""
    error: BaseException | None = None
    """The exception of an abnormal end."""
    detail: str = ""
    """What was given to ``stop()``."""

    @property
    def is_normal(self) -> bool:
        """True for ``normal`` and ``shutdown``: a transient child is not restarted."""
        return self.kind in ("normal", "shutdown")


@final
@attrs.frozen
class Terminated:
    """The message a watcher gets, once, when the watched actor has stopped for good.

    It comes after everything the stopped actor had put into the watcher's mailbox
    (OTP's ``DOWN``; Akka's is not ordered).
    """

    ref: ActorRef[Any]
    """The actor that stopped."""
    reason: Exit
    """Why it stopped."""


@final
@attrs.frozen
class DeadLetter:
    """A message that nobody handled."""

    message: object
    """The message."""
    to: ActorRef[Any]
    """Where it was sent."""
    reason: DeadReason
    """Why it was not handled."""


@final
@attrs.frozen
class Event:
    """Something that happened to an actor."""

    kind: EventKind
    """What happened."""
    ref: ActorRef[Any]
    """To whom."""
    error: BaseException | None = None
    """The exception that caused it."""
    delay: float = 0.0
    """Seconds of backoff before a restart."""


LAPSED: Any = object()
"""In place of a message that needs no handling any more."""


class Signal:
    """A message from the library itself: a timer's tick, the end of a watched actor."""

    __slots__ = ("in_channel",)

    def __init__(self) -> None:
        # Whether it lies in the mailbox's channel and so was counted there as extra.
        self.in_channel: bool = False

    def open(self) -> object:
        """Return the message a handler shall see, or LAPSED."""
        raise NotImplementedError


class Carried:
    """A message together with the context variables that travel with it."""

    __slots__ = ("content", "values")

    def __init__(self, content: Any, values: tuple[tuple[Any, Any], ...]) -> None:
        self.content = content
        self.values = values


def unpacked(item: Any) -> Any:
    """Return what an actor was sent, without the context variables that came along."""
    return item.content if type(item) is Carried else item


@attrs.frozen
class Tag:
    """What ``tagged()`` leaves on a class."""

    name: str
    version: int
    upcast: Callable[[dict[str, Any]], dict[str, Any]] | None


def tagged(
    tag: str, *, upcast: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> Callable[[AnyClass], AnyClass]:
    """Give a class its name and version outside of this process, as ``"deposited@2"``.

    Needed for what is stored or sent to another node; nowhere else. Fields with a
    default may come, and fields may go, without a new version. To rename one is both:
    what was stored under the old name is read as the default, so raise the version and
    write an upcast.

    Args:
        tag: The name, an ``@`` and the version, a whole number from 1.
        upcast: Makes the fields of this version from those of the one before.

    Returns:
        A decorator that returns the class itself.

    Raises:
        ValueError: *tag* has another form, or an upcast is given for version 1.
    """
    found = re.fullmatch(r"([^@\s]+)@([1-9][0-9]*)", tag)
    if found is None:
        raise ValueError(
            f"{tag!r} is no tag. Write a name, an @ and a version from 1:"
            ' @tagged("deposited@1").'
        )
    mark = Tag(found[1], int(found[2]), upcast)
    if upcast is not None and mark.version == 1:
        raise ValueError(
            f"{tag!r} is the first version: there is nothing to make it from."
            " Leave upcast away, or raise the version."
        )

    def decorate(cls: AnyClass) -> AnyClass:
        cls.__tagged__ = mark
        return cls

    return decorate


Key: TypeAlias = Hashable
