"""The actor system: the root of the tree, what finds and tells of its actors, its end.

Rules of this file:

* On the way out: doors, settle, ordered stop, kill; all under one clock.
* A failure that leaves the tree is kept once.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from random import Random
from typing import Any, TypeVar, overload

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ._cell import Cell
from ._context import Context, cell_of
from ._errors import leaves
from ._family import not_open, settle, walk
from ._gate import hold_here
from ._halts import Halt
from ._heartbeat import watch_heart
from ._inbox import Inbox
from ._letters import Letters
from ._mailbox import Door, Mailbox
from ._messages import DeadLetter, DeadReason, Event
from ._policy import Heartbeat, Supervision
from ._pools import open_pool
from ._ref import ActorRef
from ._registry import Registry, ServiceKey
from ._routing import Routing
from ._runtime import Runtime
from ._snapshot import Snapshot, snapshot_of_all
from ._spawner import _Spawner
from ._supervisor import Family
from ._supervisor_ref import open_supervisor
from ._timers import cancel_timers
from ._topics import DEFAULT_BUFFER, Feed, Subscription, Topic, Topics
from ._waits import CURRENT

M = TypeVar("M")
T = TypeVar("T")

log = logging.getLogger("trio_actors")

SYSTEM: ContextVar[ActorSystem | None] = ContextVar("trio_actors_system", default=None)

COUNTERS = ("accepted", "handled", "failed", "abandoned", "expired", "dead_lettered")


class ActorSystem(_Spawner):
    """A tree of actors. Usable from any task inside its block."""

    _keeps_in_memory = False  # what is durable needs a journal

    def __init__(
        self, name: str, supervision: Supervision, shutdown: float, runtime: Runtime
    ) -> None:
        self._name = name
        self._shutdown = shutdown
        self._runtime: Runtime = runtime
        # Four unrelated crashes must not end a program: the top counts per child.
        if not supervision.per_child:
            supervision = attrs.evolve(supervision, per_child=True)
        self._root: Family = Family(None, self, supervision)
        self._registry: Registry = Registry(self, runtime)
        self._topics: Topics = Topics()
        self._event_feed: Feed[Event] = Feed("the events")
        self._letters: Letters = Letters(runtime)
        self._late_replies: int = 0
        self._failures: list[BaseException] = []
        self._leaving: bool = False  # the doors are shut to those outside of the tree
        self._closing: bool = False  # the ordered stop has begun
        self._ended: bool = False
        self._body: trio.CancelScope = trio.CancelScope()
        self._settling: trio.CancelScope | None = None
        self._ended_counts = dict.fromkeys(COUNTERS, 0)
        self._random: Random | None = None
        self._journal: Any = None
        self._token = trio.lowlevel.current_trio_token()
        self._context = contextvars.copy_context()
        self._context.run(SYSTEM.set, self)
        self._context.run(CURRENT.set, None)

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def random(self) -> Random:
        """Seeded random numbers: use them where a test shall repeat a run."""
        self._runtime.touch("rng", "")
        if self._random is None:
            self._random = self._runtime.random("")
        return self._random

    def __repr__(self) -> str:
        top = len(self._root.children)
        return f"<ActorSystem {self._name!r}, {top} actors at the top>"

    # --- Finding ---

    @overload
    def find(self, target: ServiceKey[M]) -> ActorRef[M] | None: ...
    @overload
    def find(self, target: str) -> ActorRef[Any] | None: ...
    def find(self, target: ServiceKey[Any] | str) -> ActorRef[Any] | None:
        """Return the actor with that key or path, None if there is none."""
        if isinstance(target, ServiceKey):
            return self._registry.find(target)
        self._runtime.touch("name", target, write=False)
        family: Family | None = self._root
        cell: Cell | None = None
        for name in target.strip("/").split("/"):
            cell = family.children.get(name) if family is not None else None
            if cell is None:
                return None
            family = cell.under
        return cell.ref if cell is not None else None

    def find_all(self, key: ServiceKey[M]) -> tuple[ActorRef[M], ...]:
        """Return all actors with that key."""
        return self._registry.find_all(key)

    def service(
        self,
        key: ServiceKey[M],
        routing: Routing | Callable[[M], Hashable] = "round_robin",
    ) -> ActorRef[M]:
        """Return a ref that reaches whoever has that key when a message is sent.

        Up to 1,024 messages wait while nobody has it; one more is MailboxFull.

        Args:
            routing: Who of several gets a message, as in ``spawn_pool()``.
        """
        return self._registry.service(key, routing)

    def register(self, key: ServiceKey[M], ref: ActorRef[M]) -> None:
        """Let *ref* be found under *key* until it stops; NameTaken if that is taken."""
        self._registry.register(key, ref)

    def unregister(self, key: ServiceKey[M], ref: ActorRef[M]) -> None:
        """Undo ``register()``."""
        self._registry.unregister(key, ref)

    # --- News ---

    def publish(self, topic: Topic[T], value: T) -> None:
        """Give *value* to every subscriber of *topic*; never waits."""
        if not hold_here(topic, partial(self.publish, topic, value)):
            self._runtime.touch("key", f"topic {topic.name}", write=False)
            self._topics.publish(topic, value)

    @overload
    def subscribe(
        self, source: Topic[T], *, buffer: Mailbox = DEFAULT_BUFFER
    ) -> Subscription[T]: ...
    @overload
    def subscribe(
        self, source: ServiceKey[M], *, buffer: Mailbox = DEFAULT_BUFFER
    ) -> Subscription[tuple[ActorRef[M], ...]]: ...
    def subscribe(
        self,
        source: Topic[Any] | ServiceKey[Any],
        *,
        buffer: Mailbox = DEFAULT_BUFFER,
    ) -> Subscription[Any]:
        """Stream what is published on a topic, or the actors that have a key.

        Args:
            buffer: What is held between two receives. Nobody waits for a stream:
                "block" and "fail" drop the newest value, as "drop_new" does.
        """
        self._runtime.touch("stream", source.name)
        if isinstance(source, Topic):
            return self._topics.subscribe(source, buffer)
        return self._registry.subscribe(source, buffer)

    def events(self) -> Subscription[Event]:
        """Stream what happens to the actors."""
        self._runtime.touch("stream", "events")
        return self._event_feed.subscribe(DEFAULT_BUFFER)

    def dead_letters(self) -> Subscription[DeadLetter]:
        """Stream the messages that nobody handled."""
        self._runtime.touch("stream", "dead letters")
        return self._letters.feed.subscribe(DEFAULT_BUFFER)

    def trace(self, ref: ActorRef[Any]) -> Subscription[object]:
        """Stream the messages an actor takes, in order; it ends with the actor."""
        cell = cell_of(ref, "trace")
        self._runtime.touch("stream", cell.path)
        feed = cell.trace()
        if cell.exit is not None:
            feed.end()
        cell.rouse()  # also in the middle of a batch
        return feed.subscribe(DEFAULT_BUFFER)

    # --- Looking ---

    def snapshot(self) -> Snapshot:
        """Return the tree as it is now."""
        self._runtime.touch("all", "")
        return snapshot_of_all(self._root, self._name, ended=self._ended)

    def statistics(self) -> Mapping[str, int]:
        """Return the counters of the conservation law.

        ``accepted`` is always the sum of ``queued``, ``stashed``, ``handling``,
        ``handled``, ``failed``, ``abandoned``, ``expired`` and ``dead_lettered``.
        """
        self._runtime.touch("all", "")
        total = {"queued": 0, "stashed": 0, "handling": 0, **self._ended_counts}
        for cell in walk(self._root.in_order()):
            for name, number in cell.tally().items():
                total[name] += number
        return total

    def stop(self) -> None:
        """Stop all actors in reverse start order; the block then ends."""
        self._begin_stop()
        self._body.cancel()

    # --- For the layers below ---

    def _family(self) -> Family:
        if self._ended or (self._leaving and CURRENT.get() is None):
            raise not_open("", "actor")
        return self._root

    # For `spawn_supervisor()` and `spawn_pool()`, which are in a lower layer.
    _open_supervisor = staticmethod(open_supervisor)
    _open_pool = staticmethod(open_pool)

    def _make_context(self, cell: Cell) -> Context[Any]:
        """Make the context of an actor."""
        return Inbox(cell) if cell.recipe.is_function else Context(cell)

    def _watch_heart(self, cell: Cell, heartbeat: Heartbeat) -> None:
        """Check an actor's heartbeat."""
        watch_heart(cell, heartbeat)

    def _fresh_context(self) -> contextvars.Context:
        """Return a copy of the system's own context."""
        return self._context.copy()

    def _soon(self, fn: Callable[..., object], *args: Any) -> None:
        """Call *fn* in the loop, from any thread."""
        try:
            self._token.run_sync_soon(fn, *args)
        except trio.RunFinishedError:
            log.warning("the run has ended: %r%r comes too late", fn, args)

    def _count_refused(self) -> None:
        """Count a message for an actor that has ended."""
        self._ended_counts["accepted"] += 1
        self._ended_counts["dead_lettered"] += 1

    def _dead_letter(
        self, message: object, to: ActorRef[Any], reason: DeadReason
    ) -> None:
        """Note a message that nobody handles."""
        self._letters.add(DeadLetter(message, to, reason))

    def _forget(self, cell: Cell) -> None:
        """Take an actor that has ended out of all books, and keep its counters."""
        if cell.keys is not None:
            self._registry.forget(cell)
        if cell.topics is not None:
            self._topics.forget(cell)
        if cell.box.accepted:  # whoever got no message has nothing in the books
            tally, ended = cell.tally(), self._ended_counts
            for name in COUNTERS:
                ended[name] += tally[name]
            cell.clear_tally()

    # --- The end ---

    def _fail(self, error: BaseException, extras: Iterable[BaseException] = ()) -> None:
        """Let a failure that nobody in the tree answers for leave the block."""
        if self._closing and any(
            isinstance(e, KeyboardInterrupt) for e in leaves(error)
        ):
            self._root.close(Halt.KILL)  # a second Ctrl-C
        self._add_failures([error, *extras])
        self.stop()

    def _add_failures(self, errors: Iterable[BaseException]) -> None:
        """Keep failures for the group that leaves the block, each once."""
        for error in errors:
            if not any(error is known for known in self._failures):
                self._failures.append(error)

    def _begin_leaving(self) -> None:
        """Shut the doors: only those in the tree may still send; timers stop."""
        self._leaving = True
        self._root.slit = "shutdown"
        for cell in list(walk(self._root.in_order())):
            cell.box.shut(Door.INSIDE, "shutdown")
            cancel_timers(cell)
            if cell.under is not None:
                cell.under.slit = "shutdown"

    def _begin_stop(self, seconds: float | None = None) -> None:
        """Stop all in order; kill what is left when the time is over."""
        if self._closing:
            return
        self._leaving = self._closing = True
        if self._settling is not None:
            self._settling.cancel()
        self._registry.bury()
        seconds = self._shutdown if seconds is None else seconds
        self._runtime.call_at(self._runtime.now() + seconds, self._cut, "", "shutdown")
        self._root.close(Halt.STOP)

    def _cut(self) -> None:
        late = [
            f"{cell.path} ({cell.doing()})"
            for cell in walk(self._root.in_order())
            if cell.under is None or not cell.under.children or cell.handling
        ]
        log.warning(
            "the actor system %r did not stop within its %g seconds; killed: %s",
            self._name,
            self._shutdown,
            ", ".join(late[:20]) + " ..." * (len(late) > 20),
        )
        self._root.close(Halt.KILL)

    @enable_ki_protection
    async def _tree(self) -> None:
        """Host the tree."""
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.shield = True
            if self._runtime.has_task:
                nursery.start_soon(self._runtime.run_timers, name="trio_actors timers")
            await self._root.run_in(nursery)
            nursery.cancel_scope.cancel()

    async def _leave(self, *, orderly: bool) -> None:
        """Go through the phases of the way out."""
        began = self._runtime.now()
        try:
            if orderly and not self._closing:
                self._begin_leaving()
                deadline = began + self._shutdown / 2
                with trio.CancelScope(deadline=deadline) as self._settling:
                    await settle(lambda: walk(self._root.in_order()))
        finally:
            self._begin_stop(max(0.0, self._shutdown - (self._runtime.now() - began)))

    async def _wait_closed(self) -> None:
        """Wait, whatever happens, until no actor is left; Ctrl-C kills them."""
        while not self._root.done:
            try:
                with trio.CancelScope(shield=True):
                    await self._root.wait_closed()
            except KeyboardInterrupt as error:
                self._add_failures([error])
                self._root.close(Halt.KILL)
        self._add_failures(self._root.failures)
        self._ended = True
        self._registry.end()
        self._topics.end()
        self._event_feed.end()
        self._letters.end()
