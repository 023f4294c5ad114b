"""Event-sourced actors: what has happened is stored, and makes the state.

Rules of this file:

* The state is what the events make of the initial one, now as after a restart: an event
  is folded in as it was stored.
* A snapshot only saves time: without one, with one that cannot be read, or with one of
  a state that had other fields, all events are read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar, cast

from ._durable import UNREAD, _Durable, put, wrong_kind
from ._journal import Note
from ._store import Store

C_contra = TypeVar("C_contra", contravariant=True)
E = TypeVar("E")
S = TypeVar("S")

log = logging.getLogger("trio_actors")

KEPT = 2
"""How many snapshots there are: the last one may be unreadable."""


class EventSourced(_Durable[C_contra], Generic[C_contra, E, S]):
    """An actor that takes the commands C, stores the events E and folds them into S.

    A handler awaits ``persist(event)``; a method with ``@applies`` makes the next state
    from the event. When the actor starts, and starts again, it has the state that its
    events make. Commands wait meanwhile, in their order. (Akka's
    ``EventSourcedBehavior``.)

    Its history is that of its key among `Entities`, or of its path if it was spawned.
    Spawn it under a name: those without one are numbered as they come, and the next
    run of the program may start them in another order.

    A command with a field ``command_id`` is done once: when it is repeated, the
    remembered answer is given, for ``remember_for`` seconds; an ActorError if the
    answer was given later, by a ``Reply``. A failed write, or one of which nobody knows
    the end, fails the actor; it is never resumed.
    """

    initial: S
    """The state before the first event: a class attribute, immutable."""
    snapshot_every: ClassVar[int] = 100
    """Events between snapshots; the more, the longer a start takes."""

    _snapshots: tuple[int, ...] = ()

    @property
    def state(self) -> S:
        """The state after all events so far."""
        return cast("S", self.initial if self._live is UNREAD else self._live)

    async def persist(self, *events: E) -> None:
        """Store *events*, all or none, then fold them into the state.

        They are durable before the handler goes on after it next waits for anything,
        and before its answer and what it has told others leave; all that a handler
        stores without waiting in between is one append. Without events it waits until
        everything is durable: for an effect outside that must come after. In
        ``started()``, and in a task of the handler's, each call is an append of its
        own. Who was cancelled finds out here, and stores nothing; an append that has
        begun is waited for.

        Raises:
            TypeError: An event is none of E, or cannot be stored.
            RuntimeError: The task is not the handler's.
            WriteFailed: They may or may not be stored. The actor fails, whatever the
                handler makes of it: while that waits it is cancelled.
        """
        store = await self._begin_write("persist")
        if not events:
            await self._flush()
            return
        codec, before = self._plan.codec, self._live
        bodies: list[bytes] = []
        try:
            for event in events:
                body, as_stored = codec.stored(event)
                self._apply(as_stored)
                bodies.append(body)
        except BaseException:
            put(self, "_live", before)
            raise
        store.events += bodies
        await self._end_write()

    # --- The state ---

    def _apply(self, event: object) -> None:
        plan = self._plan
        fold = plan.folds[type(event)]
        state = fold(self, event)
        if not isinstance(state, plan.state_kinds):
            plan.check_state(state, f"what {fold.__name__}() returns")
        if state is self._live:
            plan.check_fresh(state, f"what {fold.__name__}() returns")
        put(self, "_live", state)

    # --- Snapshots ---

    def _complete(self, store: Store) -> None:
        super()._complete(store)
        every, after = self.snapshot_every, store.next_seq
        if after // every == store.seq // every:
            return
        try:
            body = self._plan.state_codec.encode(self._live)
        except Exception:
            log.exception(
                "%s: no snapshot could be made of its state. It goes on without, and"
                " reads all its events when it starts.",
                store.stream,
            )
            return
        store.note(Note("snapshot", str(after), body=body))
        kept = (*self._snapshots, after)
        for old in kept[:-KEPT]:
            store.note(Note("snapshot", str(old)))
        put(self, "_snapshots", kept[-KEPT:])

    async def _recover(self, store: Store, notes: Sequence[Note]) -> None:
        if any(note.kind == "state" for note in notes):
            raise wrong_kind(store.stream, self, "EventSourced", "DurableState")
        found = {int(one.key): one for one in notes if one.kind == "snapshot"}
        put(self, "_snapshots", tuple(sorted(found)))
        for seq in sorted(found, reverse=True):
            if self._take_snapshot(store, seq, cast("bytes", found[seq].body)):
                store.seq = seq
                break
        codec = self._plan.codec
        async with store.reading(store.seq) as events:
            async for seq, body in events:
                self._apply(codec.decode(body))
                store.seq = seq

    def _take_snapshot(self, store: Store, seq: int, body: bytes) -> bool:
        """Begin with a snapshot; return whether it is as good as all the events."""
        states = self._plan.state_codec
        try:
            state = states.decode(body)
            is_whole = states.is_whole(body, state)
        except Exception as error:
            log.warning(
                "%s: its snapshot after event %d cannot be read (%s). It reads"
                " what comes before that.",
                store.stream,
                seq,
                error,
            )
            return False
        if is_whole:
            put(self, "_live", state)
        else:
            log.info(
                "%s: the fields of its state are others than in its snapshot after"
                " event %d. It reads what comes before that.",
                store.stream,
                seq,
            )
        return is_whole
