"""Actors that store their whole state, again and again.

Rules of this file:

* A state that was read is the last one that was saved, or none at all. Nothing comes
  after it: events are of another kind of actor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import attrs

from ._durable import UNREAD, _Durable, put, wrong_kind
from ._journal import Note
from ._store import Store

C_contra = TypeVar("C_contra", contravariant=True)
S = TypeVar("S")


class DurableState(_Durable[C_contra], Generic[C_contra, S]):
    """An actor that stores its whole state.

    For a state that is small and whose history nobody asks for; otherwise as
    ``EventSourced``, which says where it is found. (Akka's ``DurableStateBehavior``,
    Orleans' grain state.)
    """

    initial: S
    """The state before the first ``save()``: a class attribute, immutable."""

    @property
    def state(self) -> S:
        """The state that was saved last."""
        return cast("S", self.initial if self._live is UNREAD else self._live)

    async def save(self, state: S) -> None:
        """Store *state*. When it is durable, and what it raises: as ``persist()``.

        Each save is one more revision, and one that has not seen the last is refused:
        two writers never overwrite each other.
        """
        store = await self._begin_write("save")
        plan = self._plan
        plan.check_state(state, "what is saved")
        if state is self.state:
            plan.check_fresh(state, "what is saved")
        body, as_stored = plan.state_codec.stored(state)
        put(self, "_live", as_stored)
        store.note(Note("state", "", body=body))
        await self._end_write()

    def _complete(self, store: Store) -> None:
        super()._complete(store)
        # Only now it is known which revision it is.
        for note in list(store.staged_notes("state")):
            store.note(attrs.evolve(note, at=store.seq + 1.0))

    async def _recover(self, store: Store, notes: Sequence[Note]) -> None:
        for note in notes:
            if note.kind == "state":
                codec = self._plan.state_codec
                put(self, "_live", codec.decode(cast("bytes", note.body)))
                store.seq = int(note.at)
        async with store.reading(store.seq) as events:
            async for _ in events:
                raise wrong_kind(store.stream, self, "DurableState", "EventSourced")
