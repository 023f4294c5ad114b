"""The journal: what every store of events does, and what is kept beside the events.

Rules of this file:

* A *stream* is the history of one actor: events numbered from 1, without a gap.
* One writer for each stream: `Journal.claim` gives an epoch, and an append under an
  older one is `Fenced`, in the same transaction in which it would be stored.
* What a command stores, its events and its notes, is one append: all of it or nothing.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, TypeAlias, final, get_args
from zlib import crc32

import attrs

from ._errors import Fenced, WriteFailed

NoteKind: TypeAlias = Literal["snapshot", "state", "outcome", "outbox", "reminder"]
KINDS: Sequence[NoteKind] = get_args(NoteKind)


@final
@attrs.frozen
class Note:
    """Something that is kept beside the events of a stream, under its kind and key."""

    kind: NoteKind
    """What it is: a snapshot of the state, the whole state of a `DurableState`, the
    answer to a command, an effect that is to be delivered, a reminder."""
    key: str
    """Which one of its kind; a later note of the same kind and key replaces it."""
    at: float = 0.0
    """When a reminder is due, when an answer was given, in seconds since 1970; the
    revision of a state; otherwise 0."""
    body: bytes | None = None
    """What is kept; None takes the note away."""


class Journal(Protocol):
    """Where events are kept. Writers of one stream are fenced by an epoch.

    Give one to ``open_actor_system(journal=)``, which opens it. By hand, as in a
    migration, open it with ``async with journal.__open_journal__():``. Every method is
    a checkpoint, and raises RuntimeError while a store that has to be opened is not.
    """

    def __open_journal__(self) -> AbstractAsyncContextManager[object]:
        """Open the store; leaving writes what is queued, and closes it.

        Raises:
            Damaged: The store cannot be read; it was set aside.
        """
        ...

    async def claim(self, stream: str) -> int:
        """Become the writer of a stream; return the epoch, one more than the last.

        Raises:
            WriteFailed: It is not known whether the claim is stored.
            Damaged: The store cannot be read; it was set aside.
        """
        ...

    async def append(
        self,
        stream: str,
        epoch: int,
        after: int,
        events: Sequence[bytes],
        notes: Sequence[Note] = (),
    ) -> None:
        """Append, if the epoch holds and *after* is the last sequence number.

        When it returns, all of it is durable. To be cancelled before the write has
        begun takes it back; from then on its end is waited for, shielded.

        Args:
            stream: Claimed before.
            epoch: What `claim` returned.
            after: The sequence number of the last event; the first of *events* gets
                the next one. A note of the kind "state" counts as an event.
            events: May be empty, when only notes change.
            notes: Stored, replaced or taken away in the same transaction.

        Raises:
            Fenced: The stream was claimed again since.
            WriteFailed: *after* is another number, or it is not known whether it is
                stored.
        """
        ...

    def read(self, stream: str, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """Iterate over the events after a sequence number, in order, without a gap.

        Raises:
            Damaged: An event is missing or is not what was written.
        """
        ...

    async def notes(self, stream: str) -> Sequence[Note]:
        """Return the notes of a stream, in the order in which they were first stored.

        Raises:
            Damaged: A note is missing or is not what was written, other than a
                snapshot: an unreadable snapshot is left out, with a warning.
        """
        ...

    async def pending(self, prefix: str) -> Sequence[tuple[str, Note]]:
        """Return each note of the kinds "outbox" and "reminder", with its stream.

        Args:
            prefix: Of the names of the streams that are looked at.
        """
        ...


def chained(before: int, stream: str, seq: int, epoch: int, body: bytes) -> int:
    """Return the check number of an event, which covers all those before it.

    Args:
        before: The check number of the event before it; 0 for the first one.
    """
    return crc32(body, crc32(f"{seq}:{epoch}:{stream}".encode(), before))


def sealed(stream: str, note: Note) -> int:
    """Return the check number of a note."""
    head = f"{note.kind}:{note.key}:{note.at!r}:{stream}"
    return crc32(note.body or b"", crc32(head.encode()))


def size_of(events: Sequence[bytes], notes: Sequence[Note]) -> int:
    """Return by how much an append moves the sequence on."""
    return len(events) + sum(note.kind == "state" for note in notes)


def check_writer(stream: str, epoch: int, after: int, *, held: int, last: int) -> None:
    """Refuse a writer that was replaced, or that has not read what there is.

    Args:
        held: The epoch of the stream's last claim.
        last: Its last sequence number.

    Raises:
        Fenced: *epoch* is another one.
        WriteFailed: *after* is another number.
    """
    if epoch != held:
        raise Fenced(
            f"{stream}: epoch {epoch} was replaced by {held}, because another writer"
            " has claimed it. Nothing was stored; let this one end, and send what"
            " remains to the other."
        )
    if after != last:
        raise WriteFailed(
            f"{stream}: the last event is {last}, not {after}, so nothing was stored."
            " Read the events that came meanwhile, and append after them."
        )


def not_open(journal: object) -> RuntimeError:
    """Make the error for a journal that is used before it is opened."""
    return RuntimeError(
        f"this {type(journal).__name__} is not open. Give it to"
        " open_actor_system(journal=...), or write"
        "\n    async with journal.__open_journal__(): ..."
    )


def check_name(stream: str) -> None:
    """Refuse a name that no store can keep.

    Raises:
        ValueError: It has half a surrogate pair.
    """
    try:
        stream.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{stream!r} is no name for a stream: it has half a surrogate pair, which"
            " no store can keep."
        ) from None


def checked(note: Note) -> Note:
    """Return a note as every store gives it back; refuse one that none can keep."""
    if note.kind not in KINDS:
        raise ValueError(f"{note.kind!r} is no kind of note: write one of {KINDS}.")
    check_name(note.key)
    at = float(note.at) + 0.0  # no -0.0, and no int
    if math.isnan(at):
        raise ValueError(f"{note.kind} {note.key!r}: a time cannot be {note.at!r}.")
    return attrs.evolve(note, at=at)
