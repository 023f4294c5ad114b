"""Questions on their way, their answers, and who waits for whom.

Rules of this file:

* The reply slot is cancel-safe: the abort function takes the asker out in the very
  step in which it is cancelled, so that a late reply finds nobody to reschedule.
* Each asker gets one answer; a late one is counted and dropped.
* A deadlock is raised only where it is certain: the edges are those of the actors' own
  tasks, and they end where the answer was given, deferred or stashed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    TypeAlias,
    TypeVar,
    final,
)

import outcome
import trio
from trio.lowlevel import (
    Abort,
    Task,
    checkpoint,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from ._errors import AskDeadlock, NoReply, show
from ._runtime import Runtime

if TYPE_CHECKING:
    from ._cell import Cell
    from ._routing import Race

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

CURRENT: ContextVar[Cell | None] = ContextVar("trio_actors_current", default=None)
"""The actor in whose context a task runs, also in the tasks it has started."""


# --- Requests on their way --------------------------------------------------


class Call(Generic[R_co]):
    """A request on its way, and the slot into which its answer falls."""

    __slots__ = (
        "_outcome",
        "_owner",
        "_task",
        "abandoned",
        "asker",
        "given",
        "held",
        "message",
        "race",
        "scope",
        "target",
    )

    def __init__(self, message: Any, target: Cell, asker: Cell | None) -> None:
        self.message: Any = message
        self.target: Cell = target  # who owes the answer; forward() moves it
        self.asker: Cell | None = asker
        self.given: bool = False  # the answer is on its way, or here
        self.abandoned: bool = False
        self.held: bool = False  # deferred or stashed: no turn owes the answer now
        self.scope: trio.CancelScope | None = None  # the handler, if it ends with us
        self.race: Race | None = None  # which of several answers is taken
        self._outcome: outcome.Outcome[R_co] | None = None
        self._task: Task | None = None  # the asker, while it is parked here
        self._owner: Task | None = None

    def is_quick(self, handlers: Container[type]) -> bool:
        """Whether one of *handlers* takes it, and somebody waits for the answer."""
        return type(self.message) in handlers and not self.abandoned

    def done(self) -> bool:
        """Whether the answer, or an error, is there."""
        return self._outcome is not None

    @property
    def awaited(self) -> bool:
        """Whether a task waits for it in this moment."""
        return self._task is not None

    def abandon(self) -> None:
        """Say that nobody waits: the request is skipped if it was not started."""
        if not self.given and not self.abandoned:
            self.abandoned = True
            self.target.runtime.touch("turn", self.target.path)
            if self.race is not None:
                self.race.abandon()
            if self.scope is not None:
                self.scope.cancel()
            if self._task is not None:  # another task says so, while one waits here
                task, self._task = self._task, None
                reschedule(task, outcome.Error(self._no_answer()))

    def _no_answer(self) -> RuntimeError:
        return RuntimeError(
            f"{show(self.message)} was abandoned: there will be no answer."
        )

    # --- The asker ---

    def bind(self) -> None:
        """Let it belong to the task of this step, and to the handler it runs."""
        try:
            task = current_task()
        except RuntimeError:
            return
        self._owner = task
        asker = self.asker
        if asker is not None and asker.worker is task:
            asker.own(self)

    def check_owner(self) -> None:
        """Refuse a task that did not ask."""
        if self._owner is not None and current_task() is not self._owner:
            raise RuntimeError(
                f"the answer to {show(self.message)} was awaited by another task than"
                " the one that asked. Ask from the task that needs the answer."
            )

    async def wait(self) -> R_co:
        """Wait for the answer. A checkpoint."""
        result = self._outcome
        if result is not None:
            await checkpoint()
            return _open(result)
        if self.abandoned:
            await checkpoint()
            raise self._no_answer()
        asker = self.asker
        self._task = current_task()
        if asker is None or asker.worker is not self._task:
            return await self._park()
        try:
            asker.waits_for = self
            self.check_deadlock()
            return await self._park()
        except AskDeadlock:
            self._task = None
            self.abandon()
            raise
        finally:
            asker.waits_for = None
            asker.signal()

    async def _park(self) -> R_co:
        try:
            return await wait_task_rescheduled(self._abort)  # type: ignore[no-any-return]
        except trio.Cancelled:
            if self.scope is not None:
                self.scope.cancel()
            if self.race is not None:
                self.race.abandon()
            raise

    def _abort(self, _: object) -> Abort:
        self._task = None
        self.abandoned = True
        self.target.runtime.touch("turn", self.target.path)
        return Abort.SUCCEEDED

    def check_deadlock(self) -> None:
        """Raise AskDeadlock if the one who answers waits for the one who asks."""
        if self.asker is not None and not self.over:
            check_deadlock(self.asker, self.target)

    @property
    def over(self) -> bool:
        """Whether no turn has to go on so that the asker can."""
        return self.held or not self.open

    # --- The one who answers ---

    @property
    def open(self) -> bool:
        """Whether somebody still waits for an answer that was not given."""
        return not (self.given or self.abandoned)

    def settle(self, result: outcome.Outcome[Any]) -> None:
        """Give the answer; a late one is counted and dropped (ASK-D4)."""
        if self.given or self.abandoned:
            self.target.system._late_replies += 1
            return
        self.given = True
        self.arrive(result)

    def arrive(self, result: outcome.Outcome[Any]) -> None:
        """Let the answer reach the asker."""
        self._outcome = result
        task = self._task
        if task is not None:
            self._task = None
            reschedule(task, result)
        elif self.race is not None:
            self.race.arrived(self, result)

    def fail(self, error: BaseException) -> None:
        """Raise *error* in the asker."""
        self.settle(outcome.Error(error))


def failed_with(error: object) -> outcome.Error:
    """Make an answer of an exception that a user gives."""
    if isinstance(error, Exception):
        return outcome.Error(error)
    shown = error.__name__ if isinstance(error, type) else "ValueError"
    raise TypeError(
        f"fail() wants an exception to raise in the asker, but got {show(error)}."
        f" Write fail({shown}(...))."
    )


def _open(result: outcome.Outcome[R]) -> R:
    # Not unwrap(): that works once, and an answer may be awaited again and again.
    if isinstance(result, outcome.Value):
        value: R = result.value
        return value
    assert isinstance(result, outcome.Error)
    raise result.error


Runtime.call_type = Call


def message_of(item: Any) -> Any:
    """Return the message of what is sent: of a request, or the message itself."""
    return item.message if isinstance(item, Call) else item


@final
class Pending(Generic[R_co]):
    """A question on its way: ``await`` it for the answer, as often as you like.

    It belongs to the handler that asked: when that ends, it is abandoned. Outside of
    actors it lasts until it was awaited or abandoned. To await it from another task
    is a RuntimeError. Awaiting is a checkpoint; to be cancelled there abandons the
    request, as for `ActorRef.ask()`.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Call[R_co]) -> None:
        self._call = call
        call.bind()

    def __await__(self) -> Generator[Any, Any, R_co]:
        self._call.check_owner()
        return self._call.wait().__await__()

    def done(self) -> bool:
        """Whether the answer, or an error, is there."""
        return self._call.done()

    def abandon(self) -> None:
        """Say that nobody waits: the request is skipped if it was not started."""
        self._call.abandon()


@final
class Reply(Generic[R]):
    """The answer that is owed to an asker: given once, now or later, from any task.

    A handler of a ``Request[R]`` returns an R, or a ``Reply[R]`` when the answer
    comes by another way: from ``defer_reply``, ``forward`` or ``stash``. (OTP's
    ``From``, for ``gen_server:reply/2``.) A deferred reply that is dropped without an
    answer raises NoReply in the asker.
    """

    __slots__ = ("_answered", "_pending")

    __is_reply__ = True

    def __init__(self, pending: Call[Any] | None, *, owed: bool) -> None:
        # pending is None for a request that was told: nobody waits.
        self._pending = pending
        self._answered = not owed

    def send(self, value: R) -> None:
        """Answer with *value*.

        Raises:
            RuntimeError: The answer was already given, or is not given through this.
        """
        self._settle(outcome.Value(value))

    def fail(self, error: Exception) -> None:
        """Raise *error* in the asker. The actor does not fail.

        Raises:
            RuntimeError: The answer was already given, or is not given through this.
        """
        self._settle(failed_with(error))

    @property
    def abandoned(self) -> bool:
        """Whether the asker has gone away."""
        return self._pending is None or self._pending.abandoned

    def _settle(self, result: outcome.Outcome[Any]) -> None:
        if self._answered:
            raise RuntimeError(
                "this request was already answered, forwarded or stashed: an answer"
                " is given once."
            )
        self._answered = True
        if self._pending is not None:
            self._pending.settle(result)

    def __del__(self) -> None:
        pending = self._pending
        if not self._answered and pending is not None and pending.open:
            # Perhaps in the garbage collector, perhaps in another thread.
            pending.target.system._soon(_lapse, pending)


def _lapse(pending: Call[Any]) -> None:
    if pending.open:
        pending.fail(
            NoReply(
                f"{pending.target.path} dropped the Reply to {show(pending.message)}"
                " without an answer. Keep it, and call send() or fail()."
            )
        )


# --- Who waits for whom -----------------------------------------------------


class Hold:
    """A wait for what another actor does next: takes a message, starts, or ends."""

    __slots__ = ("_is_over", "target")

    def __init__(self, target: Cell, is_over: Callable[[], bool]) -> None:
        self.target: Cell = target
        self._is_over = is_over

    @property
    def over(self) -> bool:
        """Whether it was reached, although the one who waits has not run since."""
        return self._is_over()


Wait: TypeAlias = "Call[Any] | Hold"
"""What an actor's own task waits for: an answer, or what another actor does next."""


def _held_up_by(wait: Wait | None, cell: Cell) -> Cell | None:
    """Return whose turn has to go on before that of *cell* can."""
    return None if wait is None or wait.over or cell.is_cut_short else wait.target


def check_deadlock(asker: Cell, target: Cell) -> None:
    """Raise AskDeadlock if *target*, for which *asker* waits, waits for *asker*."""
    if not asker.runtime.finds_cycles:
        return
    trail = [asker]
    cell: Cell | None = target
    while cell is not None:
        trail.append(cell)
        if cell is asker:
            raise AskDeadlock([one.path for one in trail])
        if cell in trail[:-1]:
            return  # somebody else's cycle
        cell = _held_up_by(cell.waits_for, cell)


@contextmanager
def waiting_for(
    target: Cell, is_over: Callable[[], bool], *, end: bool = False
) -> Generator[None]:
    """Say that this task waits for what *target* does next, or for its *end*."""
    asker = CURRENT.get()
    if asker is None or asker.worker is not current_task():
        yield
        return
    asker.waits_for = Hold(target, is_over)
    try:
        if end and target in asker.and_above()[1:]:
            # Nobody ends before all below have ended, and this turn is below.
            raise AskDeadlock([asker.path, target.path, asker.path])
        check_deadlock(asker, target)
        yield
    finally:
        asker.waits_for = None
        asker.signal()
