"""open_actor_system: the root of the tree, and the way out of it.

Rules of this file:

* The tree lives in a task of its own, shielded, in a nursery of the caller's task: the
  body of the block stays cancellable, and leaving it stops the tree in order.
* On the way out: doors, settle, ordered stop, kill; all under one clock.
* What left the tree is raised once, at the very end, as a strict group; only a lone
  ``Cancelled`` is raised bare.
"""

from __future__ import annotations

import contextvars
import logging
import signal
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from random import Random
from types import TracebackType
from typing import Any, Protocol, TypeVar, overload

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ._behavior import Recipe
from ._cell import Cell, Halt, Options
from ._context import Context, Inbox
from ._errors import NoSystem
from ._guard import make_guard
from ._heartbeat import watch_heart
from ._letters import Letters
from ._mailbox import Door, Mailbox, guarded_box
from ._messages import DeadLetter, DeadReason, Event
from ._policy import Supervision
from ._pools import PoolRef, open_pool
from ._ref import CURRENT, ActorRef
from ._registry import Registry, ServiceKey
from ._routing import Routing
from ._runtime import Runtime
from ._snapshot import Snapshot, snapshot_of_all
from ._spawner import _Spawner
from ._supervisor import Family, not_open, settle, walk
from ._timers import cancel_timers
from ._topics import DEFAULT_BUFFER, Feed, Subscription, Topic, Topics
from ._watchdog import Watchdog

M = TypeVar("M")
T = TypeVar("T")

log = logging.getLogger("trio_actors")

_SYSTEM: ContextVar[ActorSystem | None] = ContextVar("trio_actors_system", default=None)

COUNTERS = ("accepted", "handled", "failed", "abandoned", "expired", "dead_lettered")


class _Journal(Protocol):
    """What ``trio_actors.persistence`` gives to a system."""

    def __open_journal__(self) -> AbstractAsyncContextManager[object]: ...


class _Cluster(Protocol):
    """What ``trio_actors.cluster`` gives to a system."""

    def __open_cluster__(self) -> AbstractAsyncContextManager[object]: ...


class ActorSystem(_Spawner):
    """A tree of actors. Usable from any task inside its block."""

    def __init__(
        self, name: str, supervision: Supervision, shutdown: float, runtime: Runtime
    ) -> None:
        self._name = name
        self._shutdown = shutdown
        self.runtime = runtime
        # Four unrelated crashes must not end a program: the top counts per child.
        self.root = Family(None, self, attrs.evolve(supervision, per_child=True))
        self.registry = Registry(self, runtime)
        self.topics = Topics()
        self.event_feed: Feed[Event] = Feed("the events")
        self.letters = Letters(runtime)
        self.late_replies = 0
        self.failures: list[BaseException] = []
        self.leaving = False  # the doors are shut to those outside of the tree
        self.closing = False  # the ordered stop has begun
        self.ended = False
        self.body = trio.CancelScope()
        self.settling = trio.CancelScope()
        self._ended_counts = dict.fromkeys(COUNTERS, 0)
        self._random: Random | None = None
        self._token = trio.lowlevel.current_trio_token()
        self._context = contextvars.copy_context()
        self._context.run(_SYSTEM.set, self)
        self._context.run(CURRENT.set, None)

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def random(self) -> Random:
        """Seeded random numbers: use them where a test shall repeat a run."""
        if self._random is None:
            self._random = self.runtime.random("")
        return self._random

    def __repr__(self) -> str:
        return f"<ActorSystem {self._name!r}, {len(self.root.children)} actors at the top>"

    # --- Finding ---

    @overload
    def find(self, target: ServiceKey[M]) -> ActorRef[M] | None: ...
    @overload
    def find(self, target: str) -> ActorRef[Any] | None: ...
    def find(self, target: ServiceKey[Any] | str) -> ActorRef[Any] | None:
        """Return the actor with that key or path, None if there is none."""
        if isinstance(target, ServiceKey):
            return self.registry.find(target)
        self.runtime.touch("name", target, write=False)
        family: Family | None = self.root
        cell: Cell | None = None
        for name in target.strip("/").split("/"):
            cell = family.children.get(name) if family is not None else None
            if cell is None:
                return None
            family = cell.under
        return cell.ref if cell is not None else None

    def find_all(self, key: ServiceKey[M]) -> tuple[ActorRef[M], ...]:
        """Return all actors with that key."""
        return self.registry.find_all(key)

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
        return self.registry.service(key, routing)

    def register(self, key: ServiceKey[M], ref: ActorRef[M]) -> None:
        """Let *ref* be found under *key* until it stops; NameTaken if that is taken."""
        self.registry.register(key, ref)

    def unregister(self, key: ServiceKey[M], ref: ActorRef[M]) -> None:
        """Undo ``register()``."""
        self.registry.unregister(key, ref)

    # --- News ---

    def publish(self, topic: Topic[T], value: T) -> None:
        """Give *value* to every subscriber of *topic*; never waits."""
        self.topics.publish(topic, value)

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
        if isinstance(source, Topic):
            return self.topics.feed(source).subscribe(buffer)
        key = source
        feed = self.registry.entry(key).feed
        return feed.subscribe(buffer, lambda: self.registry.find_all(key))

    def events(self) -> Subscription[Event]:
        """Stream what happens to the actors."""
        return self.event_feed.subscribe(DEFAULT_BUFFER)

    def dead_letters(self) -> Subscription[DeadLetter]:
        """Stream the messages that nobody handled."""
        return self.letters.feed.subscribe(DEFAULT_BUFFER)

    def trace(self, ref: ActorRef[Any]) -> Subscription[object]:
        """Stream the messages an actor takes, in order."""
        return ref.cell.trace().subscribe(DEFAULT_BUFFER)

    # --- Looking ---

    def snapshot(self) -> Snapshot:
        """Return the tree as it is now."""
        return snapshot_of_all(self.root, self._name, ended=self.ended)

    def statistics(self) -> Mapping[str, int]:
        """Return the counters of the conservation law.

        ``accepted`` is always the sum of ``queued``, ``stashed``, ``handling``,
        ``handled``, ``failed``, ``abandoned``, ``expired`` and ``dead_lettered``.
        """
        total = {"queued": 0, "stashed": 0, "handling": 0, **self._ended_counts}
        for cell in walk(self.root.in_order()):
            for name, number in cell.tally().items():
                total[name] += number
        return total

    def stop(self) -> None:
        """Stop all actors in reverse start order; the block then ends."""
        self.begin_stop()
        self.body.cancel()

    # --- For the layers below ---

    def _family(self) -> Family:
        if self.ended or (self.leaving and CURRENT.get() is None):
            raise not_open("", "actor")
        return self.root

    async def open_pool(
        self,
        family: Family,
        recipe: Recipe,
        size: int,
        routing: Any,
        name: str | None,
        options: Options,
    ) -> PoolRef[Any]:
        """Start a pool; for ``spawn_pool()``, which is in a lower layer."""
        return await open_pool(family, recipe, size, routing, name, options)

    def make_context(self, cell: Cell) -> Context[Any]:
        """Make the context of an actor."""
        return Inbox(cell) if cell.recipe.is_function else Context(cell)

    def watch_heart(self, cell: Cell) -> None:
        """Check an actor's heartbeat."""
        if cell.options.heartbeat is not None:
            watch_heart(cell, cell.options.heartbeat)

    def fresh_context(self) -> contextvars.Context:
        """Return a copy of the system's own context."""
        return self._context.copy()

    def soon(self, fn: Callable[..., object], *args: Any) -> None:
        """Call *fn* in the loop, from any thread."""
        try:
            self._token.run_sync_soon(fn, *args)
        except trio.RunFinishedError:
            log.warning("the run has ended: %r%r comes too late", fn, args)

    def count_refused(self) -> None:
        """Count a message for an actor that has ended."""
        self._ended_counts["accepted"] += 1
        self._ended_counts["dead_lettered"] += 1

    def dead_letter(
        self, message: object, to: ActorRef[Any], reason: DeadReason
    ) -> None:
        """Note a message that nobody handles."""
        self.letters.add(DeadLetter(message, to, reason))

    def forget(self, cell: Cell) -> None:
        """Take an actor that has ended out of all books, and keep its counters."""
        self.registry.forget(cell)
        self.topics.forget(cell)
        tally = cell.tally()
        for name in COUNTERS:
            self._ended_counts[name] += tally[name]
        cell.clear_tally()

    # --- The end ---

    def fail(self, error: BaseException, extras: Iterable[BaseException] = ()) -> None:
        """Let a failure that nobody in the tree answers for leave the block."""
        if not isinstance(error, Exception) and self.closing:
            self.root.close(Halt.KILL)  # a second Ctrl-C
        self.add_failures([error, *extras])
        self.stop()

    def add_failures(self, errors: Iterable[BaseException]) -> None:
        """Keep failures for the group that leaves the block, each once."""
        for error in errors:
            if not any(error is known for known in self.failures):
                self.failures.append(error)

    def begin_leaving(self) -> None:
        """Shut the doors: only those in the tree may still send; timers stop."""
        self.leaving = True
        self.root.slit = "shutdown"
        for cell in list(walk(self.root.in_order())):
            cell.box.shut(Door.INSIDE, "shutdown")
            cancel_timers(cell)
            if cell.under is not None:
                cell.under.slit = "shutdown"

    def begin_stop(self, seconds: float | None = None) -> None:
        """Stop all in order; kill what is left when the time is over."""
        if self.closing:
            return
        self.leaving = self.closing = True
        self.settling.cancel()
        seconds = self._shutdown if seconds is None else seconds
        self.runtime.call_at(self.runtime.now() + seconds, self._cut, "", "shutdown")
        self.root.close(Halt.STOP)

    def _cut(self) -> None:
        late = [
            f"{cell.path} ({cell.doing()})"
            for cell in walk(self.root.in_order())
            if cell.under is None
        ]
        if late:
            log.warning(
                "the actor system %r did not stop within its %g seconds; killed: %s",
                self._name,
                self._shutdown,
                ", ".join(late[:20]) + " ..." * (len(late) > 20),
            )
        self.root.close(Halt.KILL)

    @enable_ki_protection
    async def tree(self) -> None:
        """Host the tree."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.runtime.run_timers, name="trio_actors timers")
                await self.root.run()
                nursery.cancel_scope.cancel()

    async def leave(self, *, orderly: bool) -> None:
        """Go through the phases of the way out."""
        began = self.runtime.now()
        try:
            if orderly and not self.closing:
                self.begin_leaving()
                self.settling.deadline = began + self._shutdown / 2
                with self.settling:
                    await settle(lambda: walk(self.root.in_order()))
        finally:
            self.begin_stop(max(0.0, self._shutdown - (self.runtime.now() - began)))

    async def wait_closed(self) -> None:
        """Wait, whatever happens, until no actor is left; Ctrl-C kills them."""
        while not self.root.done:
            try:
                with trio.CancelScope(shield=True):
                    await self.root.wait_closed()
            except KeyboardInterrupt as error:
                self.add_failures([error])
                self.root.close(Halt.KILL)
        self.add_failures(self.root.failures)
        self.ended = True
        self.registry.end()
        self.topics.end()
        self.event_feed.end()
        self.letters.end()


class SystemBlock(AbstractAsyncContextManager[ActorSystem, bool | None]):
    """The block of a system. A class, so that Ctrl-C cannot tear its ends apart."""

    def __init__(
        self,
        make: Callable[[], ActorSystem],
        *,
        signals: bool = False,
        parts: Sequence[AbstractAsyncContextManager[object]] = (),
    ) -> None:
        self._make = make
        self._signals = signals
        self._parts = parts  # of journal and cluster
        self._stack = AsyncExitStack()

    @enable_ki_protection
    async def __aenter__(self) -> ActorSystem:
        if self._signals and threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "signals=True works in the main thread only: leave it away here, and"
                " call system.stop() when a signal comes."
            )
        system = self._system = self._make()
        system.runtime.open()
        for part in self._parts:
            await self._stack.enter_async_context(part)
        self._manager = trio.open_nursery()
        nursery = await self._manager.__aenter__()
        nursery.start_soon(system.tree, name=f"trio_actors {system.name}")
        if self._signals:
            await nursery.start(_obey_signals, system)
        self._watchdog = None
        if not system.runtime.is_test_clock:
            self._watchdog = Watchdog(Cell.run.__code__)
            self._watchdog.start()
        self._nursery = nursery
        self._var = _SYSTEM.set(system)
        system.body.__enter__()
        return system

    @enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        system = self._system
        left = _leave_scope(system.body, error)
        _SYSTEM.reset(self._var)
        try:
            await system.leave(orderly=left is None)
        except trio.Cancelled as cancelled:
            left = cancelled
        except KeyboardInterrupt as interrupt:
            system.add_failures([interrupt])
        await system.wait_closed()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)
        await self._stack.aclose()
        return self._raise(left, error)

    def _raise(self, left: BaseException | None, error: BaseException | None) -> bool:
        failures = self._system.failures
        if left is None and not failures:
            return True
        if isinstance(left, trio.Cancelled) and not failures:
            if left is error:
                return False
            raise left
        every = failures if left is None else [*failures, left]
        raise BaseExceptionGroup(f"actor system {self._system.name!r}", every) from None


def _leave_scope(
    scope: trio.CancelScope, error: BaseException | None
) -> BaseException | None:
    """Leave the body's scope; return what it did not take out."""
    try:
        taken = scope.__exit__(
            type(error) if error is not None else None,
            error,
            error.__traceback__ if error is not None else None,
        )
    except BaseException as rest:
        return rest
    return None if taken else error


async def _obey_signals(
    system: ActorSystem, *, task_status: trio.TaskStatus[None]
) -> None:
    """Stop in order at the first signal, kill at the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            log.info("%s: stopping %r", signal.Signals(number).name, system.name)
            if system.closing:
                system.root.close(Halt.KILL)
            system.stop()


def open_actor_system(
    name: str,
    *,
    supervision: Supervision = Supervision(),  # noqa: B008  # frozen
    shutdown: float = 5.0,
    signals: bool = False,
    propagate: Sequence[ContextVar[Any]] = (),
    check_messages: bool = False,
    seed: int | None = None,
    journal: _Journal | None = None,
    cluster: _Cluster | None = None,
) -> AbstractAsyncContextManager[ActorSystem]:
    """Open a system; leaving the block lets it settle, then stops it in order.

    On the way out messages from outside of the tree are refused and timers stop;
    messages between actors flow until all is idle, at the latest until half of
    *shutdown*; then all are stopped in reverse start order. A block that is cancelled,
    or left by an exception, stops at once. What nobody answered for is raised at the
    end, as an ``ExceptionGroup``.

    Args:
        name: The first part of every path in a cluster.
        supervision: How the actors at the top are supervised; restarts are counted
            for each of them.
        shutdown: Seconds, for the whole tree, to settle and stop in order when the
            block is left or cancelled; what is left then is killed and named.
        signals: Stop in order on SIGTERM and SIGINT, kill on the second; main thread
            only.
        propagate: Context variables whose values travel with a message.
        check_messages: Refuse messages that are not immutable, with a TypeError in
            the sender; for tests and development.
        seed: The seed of ``system.random``; different each time if None.
        journal: Where event-sourced actors write.
        cluster: The nodes this system is one of.

    Returns:
        A context manager that gives the system. Entering and leaving are checkpoints;
        leaving is shielded, bounded by *shutdown*.

    Raises:
        RuntimeError: ``signals=True`` outside of the main thread.
    """
    if not isinstance(name, str) or not name or "/" in name:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{name!r} is no name for a system: write a text, no slash.")
    if not shutdown >= 0:
        raise ValueError(f"shutdown is seconds from 0, not {shutdown!r}.")

    def make() -> ActorSystem:
        runtime = Runtime(seed)
        if propagate or check_messages:
            guard = make_guard(propagate, check_messages=check_messages)
            runtime.box_type = guarded_box(guard)
        return ActorSystem(name, supervision, shutdown, runtime)

    parts: list[AbstractAsyncContextManager[object]] = []
    if journal is not None:
        parts.append(journal.__open_journal__())
    if cluster is not None:
        parts.append(cluster.__open_cluster__())
    return SystemBlock(make, signals=signals, parts=parts)


def current_system() -> ActorSystem:
    """Return the system of this task.

    Raises:
        NoSystem: The task runs outside of a system, or its system has ended.
    """
    system = _SYSTEM.get()
    if system is None or system.ended:
        what = "there is no actor system here" if system is None else (
            f"the actor system {system.name!r} has ended"
        )
        raise NoSystem(
            f"{what}. Call this inside of\n"
            "    async with open_actor_system(...) as system: ...\n"
            "or from an actor, or from a task that was started there."
        )
    return system

