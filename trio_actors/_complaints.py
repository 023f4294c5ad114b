"""The errors that others get because of one actor: full, stopped, failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import ActorFailed, ActorStopped, MailboxFull, UnhandledMessage, show
from ._messages import DeadReason, Exit

if TYPE_CHECKING:
    from ._cell import Cell


def mailbox_full(cell: Cell, message: Any) -> MailboxFull:
    """Make the error for a message for which there is no room."""
    return MailboxFull(
        f"the mailbox of {cell.path} is full ({cell.box.count} of"
        f" {cell.box.capacity:g}), so {show(message)} was not sent. Use await tell()"
        " to wait for room, tell_soon() to make a dead letter of it, or give the actor"
        ' a Mailbox with overflow="drop_oldest".',
        path=cell.path,
        message=message,
    )


def actor_stopped(cell: Cell, message: Any, *, verb: str = "handled") -> ActorStopped:
    """Make the error for a request that will not be begun."""
    reason = cell.exit or Exit("shutdown")
    cause = f": {show(reason.error)}" if reason.error is not None else ""
    done = "has stopped" if cell.exit is not None else "is stopping"
    advice = cell.ref._is_no_one or (
        "Find the actor anew by a ServiceKey, or watch() it to hear of its end."
    )
    error = ActorStopped(
        f"{cell.path} {done} ({reason.kind}{cause}), so {show(message)} was not"
        f" {verb}. The message is on .message. {advice}",
        path=cell.path,
        reason=reason,
        message=message,
    )
    error.__cause__ = reason.error
    return error


def actor_failed(cell: Cell, message: Any, cause: BaseException | str) -> ActorFailed:
    """Make the error for a request that was begun and did not come to its end."""
    if isinstance(cause, str):
        text = f"{cell.path} {cause} while it handled {show(message)}."
    else:
        text = f"{cell.path} failed while it handled {show(message)}: {show(cause)}."
    error = ActorFailed(text, path=cell.path)
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    return error


def error_for(reason: DeadReason, cell: Cell, message: Any) -> Exception:
    """Make the error an asker gets whose request became a dead letter."""
    if reason == "overflow":
        return mailbox_full(cell, message)
    if reason == "unhandled":
        kind = type(message).__name__
        return UnhandledMessage(
            f"{cell.path} has no handler for {show(message)}. Add {kind} to the"
            f" messages of the actor, and a handler that takes it.",
            message=message,
        )
    return actor_stopped(cell, message)
