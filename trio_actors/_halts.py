"""What ends an actor's incarnation, and the small things around it."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import attrs
import trio

from ._errors import DeathPact, RestartLimit
from ._mailbox import Mailbox
from ._messages import LAPSED, Exit, Signal, Terminated
from ._policy import Heartbeat, RestartType, Supervision

if TYPE_CHECKING:
    from ._cell import Cell

Phase: TypeAlias = Literal[
    "starting", "running", "backoff", "suspended", "restarting", "stopping", "stopped"
]
"""``suspended``: it has failed or was swept, and its supervisor will say go."""


class Halt(IntEnum):
    """What ends an incarnation from outside; a higher one replaces a lower one."""

    NONE = 0
    RESTART = 1
    SWEEP = 2
    RETURN = 3
    DRAIN = 4
    STOP = 5
    KILL = 6


VERBS = {
    "restart": Halt.RESTART,
    "return": Halt.RETURN,
    "drain": Halt.DRAIN,
    "stop": Halt.STOP,
    "kill": Halt.KILL,
}


class Watch(Signal):
    """A watch, and at the end of the watched actor its message on the way."""

    __slots__ = ("message", "target", "watcher")

    def __init__(self, watcher: Cell, target: Cell, message: object | None) -> None:
        super().__init__()
        self.watcher = watcher
        self.target = target
        self.message = message

    def open(self) -> object:
        """Return the message, or LAPSED if the watch was taken back."""
        watching = self.watcher.watching
        if watching is None or watching.get(self.target) is not self:
            return LAPSED
        del watching[self.target]
        if self.message is not None:
            return self.message
        return Terminated(self.target.ref, cast("Exit", self.target.exit))


@attrs.frozen
class Options:
    """The options of a spawn, with their defaults."""

    restart: RestartType = "transient"
    shutdown: float = 5.0
    supervision: Supervision | None = None
    mailbox: Mailbox | None = None
    heartbeat: Heartbeat | None = None
    significant: bool = False


DEFAULT_OPTIONS = Options()
"""One for all: an actor without options of its own is 80 bytes smaller."""


def failed_exit(failure: BaseException, detail: str) -> Exit:
    """Return the exit of an actor that failed for good."""
    if isinstance(failure, RestartLimit):
        return Exit("restart_limit", failure, detail)
    return Exit("failed", failure, detail)


def death_pact(cell: Cell) -> DeathPact:
    """Make the failure of an actor whose linked actor has ended abnormally."""
    exit = cast("Exit", cell.exit)
    pact = DeathPact(
        f"{cell.path}, which is linked, ended abnormally ({exit.kind}). Use watch()"
        " instead of link() to be told of it as a message."
    )
    pact.__cause__ = exit.error
    return pact


def split_cancelled(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Split an exception into its ``Cancelled`` and the rest."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)
