"""open_actor_system: the block in which a tree of actors lives.

Rules of this file:

* The tree lives in a task of its own, shielded, in a nursery of the caller's task: the
  body of the block stays cancellable, and leaving it stops the tree in order.
* What left the tree is raised once, at the very end, as a strict group; only a lone
  ``Cancelled`` is raised bare.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol

import trio
from trio.lowlevel import checkpoint, enable_ki_protection

from ._cell import Cell
from ._errors import NoSystem, show
from ._family import is_name
from ._guard import GatedBox, guarded_box, make_guard
from ._halts import Halt, split_cancelled
from ._policy import Supervision
from ._runtime import Runtime
from ._system import SYSTEM, ActorSystem
from ._watchdog import Watchdog

log = logging.getLogger("trio_actors")


class _Journal(Protocol):
    """What ``trio_actors.persistence`` gives to a system."""

    def __open_journal__(self) -> AbstractAsyncContextManager[object]: ...


class _Cluster(Protocol):
    """What ``trio_actors.cluster`` gives to a system."""

    def __open_cluster__(self) -> AbstractAsyncContextManager[object]: ...


class SystemBlock(AbstractAsyncContextManager[ActorSystem, bool | None]):
    """The block of a system. A class, so that Ctrl-C cannot tear its ends apart.

    Args:
        make: Makes the system.
        signals: Stop on SIGTERM and SIGINT.
        parts: Journal and cluster: opened before the system, closed after it.
        host: Lets the tree live somewhere, instead of in a nursery of the block's own.
    """

    def __init__(
        self,
        make: Callable[[], ActorSystem],
        *,
        signals: bool = False,
        parts: Sequence[AbstractAsyncContextManager[object]] = (),
        host: Callable[[ActorSystem], None] | None = None,
    ) -> None:
        self._make = make
        self._signals = signals
        self._parts = parts
        self._host = host
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._stack: AsyncExitStack | None = None

    @enable_ki_protection
    async def __aenter__(self) -> ActorSystem:
        if self._signals and threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "signals=True works in the main thread only: leave it away here, and"
                " call system.stop() when a signal comes."
            )
        if self._host is None:  # hosts have checkpoints of their own
            await checkpoint()
        system = self._system = self._make()
        system._runtime.open()
        if self._parts:
            async with AsyncExitStack() as opened:  # closes those before one that fails
                for part in self._parts:
                    await opened.enter_async_context(part)
                self._stack = opened.pop_all()
        # From here on nothing waits: a nursery that is open has to be left.
        if self._host is None:
            await self._open_nursery(system)
        else:
            self._host(system)
        self._watchdog = None
        if not system._runtime.is_test_clock:
            self._watchdog = Watchdog(Cell.run.__code__)
            self._watchdog.start()
        self._var = SYSTEM.set(system)
        system._body.__enter__()
        return system

    async def _open_nursery(self, system: ActorSystem) -> None:
        self._manager = trio.open_nursery()
        nursery = self._nursery = await self._manager.__aenter__()
        nursery.start_soon(system._tree, name=f"trio_actors {system.name}")
        if self._signals:
            receiver = trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)
            self._stack = self._stack or AsyncExitStack()
            signals = self._stack.enter_context(receiver)
            nursery.start_soon(_obey_signals, system, signals)

    @enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        system = self._system
        left = _leave_scope(system._body, error)
        SYSTEM.reset(self._var)
        try:
            await system._leave(orderly=left is None)
        except trio.Cancelled as cancelled:
            left = cancelled
        except KeyboardInterrupt as interrupt:
            system._add_failures([interrupt])
        await system._wait_closed()
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._manager is not None:
            self._nursery.cancel_scope.cancel()
            await self._manager.__aexit__(None, None, None)
        met = await self._close_parts()
        return self._raise(met if left is None else left, error)

    async def _close_parts(self) -> BaseException | None:
        """Close what was opened; return the Cancelled that this met."""
        if self._stack is None:
            return None
        try:
            await self._stack.aclose()
        except BaseException as error:
            cancelled, rest = split_cancelled(error)
            if rest is not None:
                self._system._add_failures([rest])
            return cancelled
        return None

    def _raise(self, left: BaseException | None, error: BaseException | None) -> bool:
        failures = self._system._failures
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


async def _obey_signals(system: ActorSystem, signals: AsyncIterator[int]) -> None:
    """Stop in order at the first signal, kill at the second."""
    async for number in signals:
        log.info("%s: stopping %r", signal.Signals(number).name, system.name)
        if system._closing:
            system._root.close(Halt.KILL)
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
        shutdown: Seconds, for the whole tree, to settle and stop in order (100,000
            idle actors take 4) when left or cancelled; then it is killed and named.
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
        TypeError: *journal* is none, but the path of one for instance.
    """
    if not is_name(name):
        raise ValueError(f"{name!r} is no name for a system: write a text, no slash.")
    if not shutdown >= 0:
        raise ValueError(f"shutdown is seconds from 0, not {shutdown!r}.")

    def make() -> ActorSystem:
        runtime = _make_runtime(seed, propagate, check_messages, journal is not None)
        system = ActorSystem(name, supervision, shutdown, runtime)
        system._journal = journal
        return system

    parts: list[AbstractAsyncContextManager[object]] = []
    if journal is not None:
        parts.append(_opened(journal))
    if cluster is not None:
        parts.append(cluster.__open_cluster__())
    return SystemBlock(make, signals=signals, parts=parts)


def _opened(journal: _Journal) -> AbstractAsyncContextManager[object]:
    """Return what opens a journal; refuse its path, or its class, in its place."""
    if isinstance(journal, type) or not hasattr(journal, "__open_journal__"):
        raise TypeError(
            f"journal= takes a journal, but got {show(journal)}. Write"
            "\n    open_actor_system(..., journal=SQLiteJournal(path))"
        )
    return journal.__open_journal__()


def _make_runtime(
    seed: int | None,
    propagate: Sequence[ContextVar[Any]],
    check_messages: bool,
    is_durable: bool,
) -> Runtime:
    """Choose what the mailboxes of a system do with each message."""
    runtime = Runtime(seed)
    if is_durable:
        runtime.box_type = GatedBox
    if propagate or check_messages:
        guard = make_guard(propagate, check_messages=check_messages)
        runtime.guard = guard
        runtime.box_type = guarded_box(guard, runtime.box_type)
    return runtime


def current_system() -> ActorSystem:
    """Return the system of this task.

    Raises:
        NoSystem: The task runs outside of a system, or its system has ended.
    """
    system = SYSTEM.get()
    if system is None or system._ended:
        what = (
            "there is no actor system here"
            if system is None
            else (f"the actor system {system.name!r} has ended")
        )
        raise NoSystem(
            f"{what}. Call this inside of\n"
            "    async with open_actor_system(...) as system: ...\n"
            "or from an actor, or from a task that was started there."
        )
    return system
