"""Commands with an id: done once, and answered again when they come again.

Rules of this file:

* An answer is remembered in the same append as the events of its command.
* It is remembered for a limited time: a command that comes again after that is done
  again.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from .._answers import answer_of
from .._errors import ActorError, show
from .._marks import Handler
from ._errors import Unreadable
from ._journal import Note
from ._plan import Plan, answers_to, has_variables
from ._reminders import Reminder

if TYPE_CHECKING:
    from .._runtime import Runtime

SWEEP = 16
"""How many answers one command forgets at most: a long pause costs nobody anything."""


def command_id_of(message: object) -> str | None:
    """Return the id of a command, None if it has none.

    Raises:
        TypeError: It is no text.
        ValueError: It cannot be stored.
    """
    found: object = getattr(message, "command_id", None)
    if found is None or isinstance(message, Reminder):
        return None
    if not isinstance(found, str):
        raise TypeError(
            f"the command_id of {show(message)} is a text that its sender makes, the"
            f" same one when it sends it again, but got {show(found)}."
        )
    try:
        found.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"the command_id of {show(message)} cannot be stored: it has half a"
            " surrogate pair. Look at how its sender makes it."
        ) from None
    return found or None


def has_command_id(kind: type) -> bool:
    """Whether the commands of a class have an id."""
    return hasattr(kind, "command_id") or any(
        "command_id" in inspect.get_annotations(one) for one in kind.__mro__
    )


def check_command(owner: str, kind: type, info: Handler, *, final: bool) -> None:
    """Refuse a handler that could not remember what it answers.

    Args:
        owner: The name of the actor's class.
        kind: What the handler takes.
        info: The handler.
        final: Whether it is an error by now that a name in the answer is not known.

    Raises:
        TypeError: The text says what to write.
    """
    if info.batch > 1:
        if issubclass(Reminder, kind) or has_command_id(kind):
            raise _in_batches(owner, kind, info)
    elif has_command_id(kind) and not has_variables(answer_of(kind)):
        try:
            answers_to(kind, info, owner).check()
        except TypeError as error:
            if final or not isinstance(error.__cause__, NameError):
                raise


def check_batch(owner: str, messages: Sequence[object], info: Handler) -> None:
    """Refuse a batch with a command that has an id, which only its class has.

    Raises:
        TypeError: As for the class that the handler takes.
    """
    for one in messages:
        if command_id_of(one) is not None:
            raise _in_batches(owner, type(one), info)


def _in_batches(owner: str, kind: type, info: Handler) -> TypeError:
    return TypeError(
        f"{owner}.{info.name} takes batches, but {kind.__name__} has a command_id: what"
        " is remembered is remembered one by one. Take batch= away, or write a handler"
        f" for {kind.__name__} without it."
    )


class Commands:
    """What one actor has answered lately."""

    def __init__(
        self, plan: Plan, runtime: Runtime, seconds: float, notes: Sequence[Note]
    ) -> None:
        self._plan = plan
        self._runtime = runtime
        self._seconds = seconds
        self._kept = {note.key: note for note in notes if note.kind == "outcome"}
        # By their age, whatever the clock did meanwhile; also what was replaced since.
        self._ages = [(note.at, note.key) for note in self._kept.values()]
        heapify(self._ages)
        self._leaving: list[tuple[float, str]] = []

    def find(self, command: str) -> Note | None:
        """Return what is remembered of a command."""
        found = self._kept.get(command)
        return None if found is None or found.at < self._limit() else found

    def _limit(self) -> float:
        """Return when the oldest answer was given that is remembered."""
        return self._runtime.wall() - self._seconds

    def keep(self, note: Note) -> None:
        """Remember, or forget, what was stored."""
        self._kept.pop(note.key, None)
        if note.body is not None:
            self._kept[note.key] = note
            heappush(self._ages, (note.at, note.key))

    def expired(self) -> list[Note]:
        """Return the notes that take away what is older than the limit."""
        for one in self._leaving:  # that are still here: their write was cut short
            if self._is_kept(*one):
                heappush(self._ages, one)
        self._leaving = []
        if not self._ages:
            return []
        limit = self._limit()
        while self._ages and self._ages[0][0] < limit and len(self._leaving) < SWEEP:
            one = heappop(self._ages)
            if self._is_kept(*one):
                self._leaving.append(one)
        return [Note("outcome", key) for _, key in self._leaving]

    def _is_kept(self, at: float, key: str) -> bool:
        """Whether this, and no later one, is remembered under a key."""
        kept = self._kept.get(key)
        return kept is not None and kept.at == at

    def make_open(self, command: str) -> Note:
        """Note a command whose answer is not known yet, or never here."""
        return Note("outcome", command, self._runtime.wall(), b"")

    def make(
        self,
        info: Handler,
        message: object,
        command: str,
        value: object,
        failure: Exception | None,
    ) -> Note:
        """Note the answer to a command."""
        answers = self._plan.answers(info, message)
        body = (
            answers.encode(value) if failure is None else answers.encode_error(failure)
        )
        head = type(message).__qualname__.encode() + b"\n"
        return Note("outcome", command, self._runtime.wall(), head + body)

    def read(self, info: Handler, message: object, note: Note) -> tuple[bool, Any]:
        """Return whether the answer was a value, and that or the exception."""
        kind, _, body = (note.body or b"").partition(b"\n")
        name = type(message).__qualname__
        if kind.decode() == name:
            try:
                return self._plan.answers(info, message).decode(body)
            except Unreadable as error:
                return False, error
        if kind:
            text = (
                f"the command_id {note.key!r} of {show(message)} was used for a"
                f" {kind.decode()} before. Make a new one for each command."
            )
        else:
            text = (
                f"{name} {note.key!r} was done before, but it ended before its answer"
                " was known, or the answer was given later, by defer_reply() or"
                " forward(), and is not remembered. What it has stored is there: ask"
                " for the state."
            )
        return False, ActorError(text)
