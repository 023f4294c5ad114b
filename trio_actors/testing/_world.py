"""A system in a test: virtual time, exact quiescence, and nothing lost unseen.

Rules of this file:

* Time moves only when no task can run, and then to the next deadline or timer.
* Quiescence is known, not waited for: nothing is queued, no turn runs, no client is at
  work, at a moment in which no task can run.
* A test fails on dead letters nobody took, on leaked tasks, and on a broken
  conservation law, even when its own assertions hold.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Never, TypeVar, TypeVarTuple, cast

import outcome
import trio
from trio.lowlevel import (
    Abort,
    Task,
    checkpoint,
    current_task,
    disable_ki_protection,
    reschedule,
)

from .._cell import Cell
from .._context import cell_of
from .._errors import show
from .._family import walk
from .._messages import DeadLetter, DeadReason
from .._park import WOKEN, Lot
from .._policy import Supervision
from .._ref import ActorRef
from .._runtime import Alarm
from .._system import ActorSystem
from .._waits import CURRENT
from ._client import Client
from ._linear import Recorder
from ._seam import WHO, WorldRuntime

if TYPE_CHECKING:
    from .._open import _Journal

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


PATIENCE = 3600.0
"""Virtual seconds in which a message must come that is waited for: timers that repeat
could go on for ever."""


def crash(cell: Cell, error: Exception | None = None) -> None:
    """Let an actor fail at its next message."""
    cell.sabotage = error or RuntimeError(f"{cell.path} was crashed by the test")
    cell.rouse()  # also in the middle of a batch


class World(ActorSystem):
    """A system in which every delivery is chosen by the test. Time is virtual.

    The fixture ``world`` delivers in the order of sending.
    """

    _keeps_in_memory = True  # without use(), and as long as the world lasts

    def __init__(self, runtime: WorldRuntime, supervision: Supervision) -> None:
        super().__init__("world", supervision, 5.0, runtime)
        self._clock = runtime.clock
        self._timers = runtime
        self._nursery: trio.Nursery | None = None
        self._clients: dict[Client, None] = {}
        self._client_ends = Lot()
        self._named: dict[str, int] = {}  # how many clients who has begun
        self._recorders: list[Recorder] = []
        self._untaken: list[DeadLetter] = []
        self._settlers: dict[Task, None] = {}  # wait until nothing can happen
        self._listeners: dict[Task, tuple[str, float]] = {}  # wait for a message
        self._always: list[Callable[[], bool]] = []
        self._hopes: list[tuple[Callable[[], bool], Alarm]] = []
        self._watcher: _StepWatcher | None = None
        self._tree_at_failure: str = ""

    # --- What a test calls ---

    def client(self, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Run a task that uses the actors from outside; its exception fails the test.

        Clients that still run when the test ends are cancelled.
        """
        assert self._nursery is not None
        client = Client(self, self._name_client(), fn, args, self._nursery)
        self._clients[client] = None
        self._let_begin(client)

    def _let_begin(self, client: Client) -> None:
        """Let a client begin when it may; here at once."""
        client.scope = trio.CancelScope()
        client.begin()

    def _has_left(self, client: Client) -> None:
        """Note that a client has ended."""
        del self._clients[client]
        self._client_ends.unpark_all()

    def _client_fails(self) -> None:
        """See to it that the test ends, if the nursery of the clients does not."""

    def _name_client(self) -> str:
        # Its own count and that of who begins it: no schedule changes it.
        cell = CURRENT.get()
        who = WHO.get() if cell is None else cell.path
        self._named[who] = number = self._named.get(who, 0) + 1
        return f"client-{number}" if who == "test" else f"{who}.client-{number}"

    async def settled(self) -> None:
        """Wait until nothing is queued or handled and all clients have ended.

        Time passes for handlers and clients that sleep, not for timers yet to come.
        Always a checkpoint.

        Raises:
            AssertionError: That can never be: everybody waits for somebody else. The
                text shows the tree.
        """
        task = current_task()
        self._settlers[task] = None

        def abort(_: object) -> Abort:
            del self._settlers[task]
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def crash(self, ref: ActorRef[Never], error: Exception | None = None) -> None:
        """Fail an actor at its next message: not at the one that it handles."""
        cell = cell_of(ref, "crash")
        self._runtime.touch("turn", cell.path)  # which message that is
        crash(cell, error)

    def use(self, journal: _Journal) -> None:
        """Let the durable actors of this world write to *journal*.

        Without it each world has a ``MemoryJournal`` of its own. Call it before the
        first of them is spawned. A journal that does I/O is opened by the test, and
        needs ``allow_io=True`` under ``@explore``.

        Raises:
            TypeError: It is no journal.
        """
        if isinstance(journal, type) or not hasattr(journal, "__open_journal__"):
            raise TypeError(
                f"use: a world takes a journal, not {show(journal)}. Write"
                " world.use(MemoryJournal())."
            )
        self._journal = journal

    def always(self, holds: Callable[[], bool]) -> None:
        """Check *holds* after every step of the test.

        A search then takes no two steps for independent: there is more to try.

        Raises:
            TypeError: It cannot be called, or is async.
        """
        _check_condition("always", holds)
        self._always.append(holds)
        self._watch_steps()

    def eventually(self, holds: Callable[[], bool], *, within: float) -> None:
        """Check that *holds* becomes true within so many virtual seconds.

        Raises:
            TypeError: It cannot be called, or is async.
            ValueError: Those are no seconds.
        """
        _check_condition("eventually", holds)
        if not isinstance(cast("object", within), int | float) or not within >= 0:
            raise ValueError(
                f"eventually: within is seconds from 0, not {show(within)}."
            )

        def too_late() -> None:
            self._fail(
                AssertionError(f"{_name(holds)} did not become true in {within:g} s")
            )

        alarm = self._runtime.call_at(self._runtime.now() + within, too_late, "", holds)
        self._hopes.append((holds, alarm))
        self._watch_steps()

    def dead(self, message: type[Any] = object) -> list[DeadLetter]:
        """Take the dead letters so far; the test fails on those nobody takes.

        Args:
            message: Only those whose message is of this class.
        """
        self._runtime.touch("all", "")
        taken = [one for one in self._untaken if isinstance(one.message, message)]
        rest = [one for one in self._untaken if not isinstance(one.message, message)]
        self._untaken = rest
        return taken

    # --- Steps ---

    def _watch_steps(self) -> None:
        if self._watcher is None:
            self._watcher = _StepWatcher(self._after_step)
            trio.lowlevel.add_instrument(self._watcher)

    def _after_step(self) -> None:
        if self._leaving:
            return  # the test has ended: what it expects need not hold any more
        try:
            self._look()
        except BaseException as error:  # noqa: ASYNC103  # pytest.fail(), say: it fails
            # trio would switch the instrument off, and the test would pass.
            self._always.clear()
            self._hopes.clear()
            self._fail(error)

    @disable_ki_protection  # trio's loop has it: no Ctrl-C would end a condition
    def _look(self) -> None:
        for holds in self._always:
            if not holds():
                self._always.remove(holds)
                self._fail(AssertionError(f"{_name(holds)} did not hold at a step"))
                return
        for hope in list(self._hopes):
            holds, alarm = hope
            if holds():
                alarm.cancel()
                self._hopes.remove(hope)

    # --- Quiescence ---

    def _on_idle(self, deadline: float) -> float | None:
        """Say what happens next; trio's loop asks when no task can run."""
        due = self._timers.next_alarm()
        if self._settlers and self._is_quiet():
            self._wake_settlers()
            return None
        when = min(deadline, due)
        if self._tell_listeners(self._clock.time):
            return None
        if when < math.inf:
            self._clock.time = max(self._clock.time, when)
            self._timers.fire_until(self._clock.time)
            return when
        return self._nothing_comes()

    def _wake_settlers(self) -> None:
        for task in list(self._settlers):
            del self._settlers[task]
            reschedule(task, WOKEN)

    def _is_quiet(self) -> bool:
        if any(one.task not in self._settlers for one in self._clients):
            return False
        return all(cell.is_idle for cell in walk(self._root.in_order()))

    def _nothing_comes(self) -> float | None:
        """No task can run and no time will come: whoever waits for that is told."""
        told = self._tell_listeners(math.inf)
        for task in list(self._settlers):
            told = True
            del self._settlers[task]
            reschedule(task, outcome.Error(AssertionError(self._stuck())))
        if told or not self._is_stuck():
            return None if told else math.inf
        self._fail(AssertionError(self._stuck()))
        return None

    def _tell_listeners(self, now: float) -> bool:
        """Give up for those who have listened until *now* in vain."""
        told = False
        for task, (what, until) in list(self._listeners.items()):
            if until <= now:
                told = True
                del self._listeners[task]
                error = AssertionError(f"{what}, but none can come any more")
                reschedule(task, outcome.Error(error))
        return told

    def _is_stuck(self) -> bool:
        if self._closing:  # pragma: no cover  # then it is told on the way out
            return False
        io = trio.lowlevel.current_statistics().io_statistics
        # One task always reads: the one that other threads wake the loop by.
        readers = getattr(io, "tasks_waiting_read", 2)
        return readers <= 1 and not getattr(io, "tasks_waiting_write", 1)

    def _stuck(self) -> str:
        names = [one.name for one in self._clients]
        who = ", ".join(names) or "the test itself"
        return (
            "nothing can happen any more, but not everybody has come to an end: still"
            f" waiting: {who}. The actors:\n{self.snapshot().render()}"
        )

    async def _wait_for(self, reached: Callable[[], bool], what: str) -> None:
        """Wait until something holds that `wake_listeners()` tells of.

        Raises:
            AssertionError: Nothing can happen any more.
        """
        await checkpoint()
        until = self._runtime.now() + PATIENCE

        def abort(_: object) -> Abort:
            del self._listeners[task]
            return Abort.SUCCEEDED

        while not reached():
            task = current_task()
            self._listeners[task] = (what, until)
            await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake_listeners(self) -> None:
        """Let those in `wait_for()` look again."""
        for task in list(self._listeners):
            del self._listeners[task]
            reschedule(task)

    # --- The books ---

    def _dead_letter(
        self, message: object, to: ActorRef[Any], reason: DeadReason
    ) -> None:
        """Keep a dead letter for the end of the test."""
        super()._dead_letter(message, to, reason)
        if not self._closing:  # in the ordered stop they are to be expected
            self._untaken.append(DeadLetter(message, to, reason))

    def _begin_stop(self, seconds: float | None = None) -> None:
        """Stop, and keep what the tree looked like."""
        if not self._closing:
            self._tree_at_failure = self.snapshot().render()
        super()._begin_stop(seconds)

    async def _end_clients(self) -> None:
        """Cancel the clients that still run, and wait for their end."""
        for client in self._clients:
            assert client.scope is not None
            client.scope.cancel()
        await self._wait_for_clients()

    async def _wait_for_clients(self) -> None:
        while self._clients:
            await self._client_ends.park()

    def _check_books(self) -> None:
        """Fail on what nobody took, and on what does not add up."""
        if self._watcher is not None:
            trio.lowlevel.remove_instrument(self._watcher)
        for holds, _ in self._hopes:
            raise AssertionError(f"{_name(holds)} was not true at the end of the test")
        if self._untaken:
            lines = [
                f"  {one.reason}: {show(one.message)} to {one.to.path}"
                for one in self._untaken
            ]
            raise AssertionError(
                "dead letters that nobody took (world.dead() takes them):\n"
                + "\n".join(lines)
            )
        books = dict(self.statistics())
        accepted = books.pop("accepted")
        if accepted != sum(books.values()):
            raise AssertionError(f"{accepted} messages were accepted, but: {books}")


class _StepWatcher(trio.abc.Instrument):
    def __init__(self, after_step: Callable[[], None]) -> None:
        self._after_step = after_step

    def after_task_step(self, task: Task) -> None:
        self._after_step()


def _check_condition(verb: str, holds: object) -> None:
    if not callable(holds) or inspect.iscoroutinefunction(holds):
        raise TypeError(
            f"{verb}: a condition is a plain function that says whether it holds, not"
            f" {show(holds)}. Write world.{verb}(lambda: total() == 100), say; it is"
            " asked between two steps, where nothing can be waited for."
        )


def _name(holds: Callable[[], bool]) -> str:
    return getattr(holds, "__qualname__", repr(holds))
