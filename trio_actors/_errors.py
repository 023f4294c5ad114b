"""Every exception, and the notes of a crash report.

Rules of this file:

* A text says what happened, where (the actor's path), the likely cause, and what to
  write instead.
* A message is shown by its repr, cut at 200 characters; an actor's state never is.
* `ActorStopped` means that a request was not begun, `ActorFailed` that it was.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, cast

import trio

if TYPE_CHECKING:
    from ._messages import Exit
    from ._policy import Directive


NOTES = 16
"""How many notes of ours an exception keeps; each actor adds one on the way up."""
_OURS = ("actor: /", "escalated by /")
_LAST = "__trio_actors_traceback__"
"""Where an exception keeps the traceback it had when its actor failed."""


class ActorError(Exception):
    """Base class: an actor did not do what it was asked."""

    _directive: Directive | None = None  # the only right answer to such a failure

    def __reduce__(self) -> tuple[object, ...]:
        # Copied and pickled without __init__, which wants more than the text.
        return _bare, (type(self), self.args), self.__dict__


def _bare(kind: type[ActorError], args: tuple[object, ...]) -> ActorError:
    return kind.__new__(kind, *args)


class ActorFailed(ActorError):
    """The actor failed while it handled the request; ``__cause__`` is its exception."""

    path: str

    def __init__(self, text: str, *, path: str = "") -> None:
        super().__init__(text)
        self.path = path


class ActorStopped(ActorError, trio.BrokenResourceError):
    """The actor is gone; the request was not handled."""

    path: str
    reason: Exit
    message: object

    def __init__(self, text: str, *, path: str, reason: Exit, message: object) -> None:
        super().__init__(text)
        self.path = path
        self.reason = reason
        self.message = message


class UnhandledMessage(ActorError):
    """The actor has no handler for the message."""

    message: object

    def __init__(self, text: str, *, message: object = None) -> None:
        super().__init__(text)
        self.message = message


class NoReply(ActorError):
    """The handler ended without the answer it owes."""


class AskDeadlock(ActorError):
    """The answer can never come: the actors on the path wait for each other."""

    cycle: Sequence[str]

    def __init__(self, cycle: Sequence[str]) -> None:
        super().__init__(
            f"{' waits for '.join(cycle)}: this can never end. Use tell() and a"
            " message for the answer, or ask from a task of context.start_soon()."
        )
        self.cycle = tuple(cycle)


class MailboxFull(ActorError, trio.WouldBlock):
    """There is no room; the message is given back."""

    path: str
    message: object

    def __init__(self, text: str, *, path: str, message: object) -> None:
        super().__init__(text)
        self.path = path
        self.message = message


class StartFailed(ActorError):
    """The actor did not start; ``__cause__`` is what it raised."""


class NameTaken(ActorError, ValueError):
    """A sibling, or another actor with a unique key, has that name."""


class RestartLimit(ActorError):
    """More restarts than allowed; ``__cause__`` is the last failure."""


class DeathPact(ActorError):
    """A watched or linked actor has ended and nobody handled it."""


class NoSystem(RuntimeError):
    """There is no actor system in this task."""


# What a nested ask may raise: it is somebody else's fault, so it is passed on to the
# asker instead of failing the actor (design: "whose fault").
OTHERS_FAULT = (
    ActorFailed,
    ActorStopped,
    UnhandledMessage,
    NoReply,
    AskDeadlock,
    MailboxFull,
)


def is_others_fault(error: BaseException) -> bool:
    """Whether *error* came from asks alone, also inside of exception groups."""
    return all(isinstance(leaf, OTHERS_FAULT) for leaf in leaves(error))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Iterate over the exceptions of a group, or over the one that is none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


def twin(error: Exception) -> Exception:
    """Return a copy of *error* for another asker; the same where it has none."""
    try:
        other = copy.copy(error)
        other.__cause__, other.__context__ = error.__cause__, error.__context__
        other.__suppress_context__ = error.__suppress_context__
        if "__notes__" in other.__dict__:
            other.__notes__ = [*other.__notes__]
    except Exception:
        return error
    return other.with_traceback(error.__traceback__)


def show(message: object) -> str:
    """Return the repr of a message, at most 200 characters; it never raises."""
    try:
        text = repr(message)
    except Exception as error:
        text = f"<{type(message).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= 200 else text[:197] + "..."


def add_note(error: BaseException, text: str, *, instead_of: str = "") -> None:
    """Add a note to an exception, if it can be changed: a frozen one cannot.

    One object may be raised again and again, as a constant of a module: what was noted
    before goes, and so do the oldest of our notes if there are too many.

    Args:
        error: The exception.
        text: The note.
        instead_of: How an older note begins that this one replaces.
    """
    try:
        notes: list[str] = error.__dict__.get("__notes__", [])
        old = [one for one in notes if one == text or _begins(one, instead_of)]
        ours = [one for one in notes if one not in old and _is_dispensable(one, text)]
        old += ours[: max(0, len(ours) + 1 - NOTES)]
        if old:
            notes[:] = [one for one in notes if one not in old]
        error.add_note(text)
    except Exception:
        return


def _is_dispensable(note: str, for_: str) -> bool:
    """Whether a note of ours tells of another ascent than the one to come."""
    if not note.startswith(_OURS):
        return False
    mine, its = (one.partition("/")[2].partition(",")[0] for one in (for_, note))
    return not its.startswith(f"{mine}/")


def _begins(note: str, start: str) -> bool:
    return bool(start) and note.startswith(start)


def add_crash_notes(
    error: BaseException,
    *,
    path: str,
    incarnation: int,
    doing: str,
    waiting: int,
    events: Sequence[str],
) -> None:
    """Say on the exception itself where it happened; once per actor.

    Args:
        error: The failure.
        path: The actor's path.
        incarnation: Its incarnation.
        doing: What it did, as ``"handling Add(1)"``.
        waiting: How many messages wait in its mailbox.
        events: Its last events, oldest first.
    """
    actor = f"actor: {path}, incarnation "
    head = f"{actor}{incarnation}\n"
    notes = getattr(error, "__notes__", None)
    if notes and any(note.startswith(head) for note in notes):
        return
    add_note(
        error,
        f"{head}while {doing}\nmailbox: {waiting} waiting"
        f"\nlast events: {', '.join(events) or 'none'}",
        instead_of=actor,
    )


def cut_own_frames(error: BaseException) -> None:
    """Take the frames of the library's loop off the front of the traceback."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if not module.startswith("trio_actors._"):
            break
        trace = trace.tb_next
    try:
        # What is raised again brings its last traceback along, behind the new one.
        _cut(trace, error.__dict__.get(_LAST))
        error.__traceback__ = error.__dict__[_LAST] = trace
    except Exception:
        return  # it is frozen


def _cut(trace: TracebackType | None, older: TracebackType | None) -> None:
    """Take off what is *older* in a traceback."""
    while trace is not None and older is not None:
        if trace.tb_next is older:
            trace.tb_next = None
        trace = trace.tb_next
