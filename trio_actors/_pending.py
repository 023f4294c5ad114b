"""Questions on their way, their answers, and who waits for whom.

Rules of this file:

* The reply slot is cancel-safe: the abort function takes the asker out in the very
  step in which it is cancelled, so that a late reply finds nobody to reschedule.
* Each asker gets one answer; a late one is counted and dropped.
* A deadlock is raised only where it is certain: the edges are those of the actors' own
  tasks, and they end where the answer was given, deferred or stashed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
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

from ._complaints import mailbox_full
from ._errors import AskDeadlock, NoReply, show
from ._runtime import Runtime

if TYPE_CHECKING:
    from ._cell import Cell
    from ._ref import ActorRef

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

CURRENT: ContextVar[Cell | None] = ContextVar("trio_actors_current", default=None)
"""The actor in whose context a task runs, also in the tasks it has started."""


# --- Requests on their way --------------------------------------------------


@final
class Pending(Generic[R_co]):
    """A question on its way: ``await`` it for the answer, as often as you like.

    It belongs to the handler that asked: when that ends, it is abandoned. Outside of
    actors it lasts until it was awaited or abandoned. To await it from another task
    is a RuntimeError. Awaiting is a checkpoint; to be cancelled there abandons the
    request, as for `ActorRef.ask()`.
    """

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
        self.message = message
        self.target = target  # who owes the answer; forward() moves it
        self.asker = asker
        self.given = False  # the answer is on its way, or here
        self.abandoned = False
        self.held = False  # deferred or stashed: no turn owes the answer now
        self.scope: trio.CancelScope | None = None  # the handler, if it ends with us
        self.race: Race | None = None  # which of several answers is taken
        self._outcome: outcome.Outcome[R_co] | None = None
        self._task: Task | None = None  # the asker, while it is parked here
        self._owner: Task | None = None

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

    def __await__(self) -> Generator[Any, Any, R_co]:
        if self._owner is not None and current_task() is not self._owner:
            raise RuntimeError(
                f"the answer to {show(self.message)} was awaited by another task than"
                " the one that asked. Ask from the task that needs the answer."
            )
        return self.wait().__await__()

    # --- The asker ---

    def bind(self) -> None:
        """Let it belong to the task of this step, and to the handler it runs."""
        try:
            task = current_task()
        except RuntimeError:
            return
        self._owner = task
        asker = self.asker
        if asker is not None and asker.task is task:
            asker.own(self)

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
        if asker is None or asker.task is not self._task:
            return await self._park()
        try:
            asker.waits_for = self
            check_deadlock(asker)
            return await self._park()
        except AskDeadlock:
            self._task = None
            self.abandon()
            raise
        finally:
            asker.waits_for = None

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

    # --- The one who answers ---

    @property
    def open(self) -> bool:
        """Whether somebody still waits for an answer that was not given."""
        return not (self.given or self.abandoned)

    def settle(self, result: outcome.Outcome[Any]) -> None:
        """Give the answer; a late one is counted and dropped (ASK-D4)."""
        if self.given or self.abandoned:
            self.target.system.late_replies += 1
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


def _open(result: outcome.Outcome[R]) -> R:
    # Not unwrap(): that works once, and an answer may be awaited again and again.
    if isinstance(result, outcome.Value):
        value: R = result.value
        return value
    assert isinstance(result, outcome.Error)
    raise result.error


Runtime.pending_type = Pending


def message_of(item: Any) -> Any:
    """Return the message of what is sent: of a request, or the message itself."""
    return item.message if isinstance(item, Pending) else item


class Race:
    """One question that was sent to several actors: the first good answer is taken."""

    __slots__ = ("_abandons", "_left", "_parts", "_whole")

    def __init__(self, whole: Pending[Any], *, abandons: bool) -> None:
        self._whole = whole
        self._abandons = abandons  # whether the others are stopped by an answer
        self._parts: list[Pending[Any]] = []
        self._left = 0
        whole.race = self

    def send(self, targets: Sequence[ActorRef[Any]]) -> None:
        """Send a part of the question to each of several actors."""
        whole = self._whole
        pending_type = whole.target.runtime.pending_type
        self._left = len(targets)
        for to in targets:
            part: Pending[Any] = pending_type(whole.message, to.cell, whole.asker)
            part.race = self
            self._parts.append(part)
            if not to.accept(part):
                part.fail(mailbox_full(to.cell, whole.message))

    def arrived(self, part: Pending[Any], result: outcome.Outcome[Any]) -> None:
        """Take an answer; an error counts only when it is the last."""
        if part is self._whole:
            return
        self._left -= 1
        if isinstance(result, outcome.Value) or not self._left:
            if self._whole.open:
                self._whole.settle(result)
            if self._abandons:
                self.abandon()

    def abandon(self) -> None:
        """Nobody waits for the parts any more."""
        for part in self._parts:
            if part.open:
                part.race = None
                part.abandon()


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

    def __init__(self, pending: Pending[Any] | None, *, owed: bool) -> None:
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
        self._settle(outcome.Error(error))

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
            pending.target.system.soon(_lapse, pending)


def _lapse(pending: Pending[Any]) -> None:
    if pending.open:
        pending.fail(
            NoReply(
                f"{pending.target.path} dropped the Reply to {show(pending.message)}"
                " without an answer. Keep it, and call send() or fail()."
            )
        )


# --- Who waits for whom -----------------------------------------------------

Wait: TypeAlias = "Pending[Any] | Cell"
"""What an actor's own task waits for: an answer, or what another actor does next."""


def _held_up_by(wait: Wait | None) -> Cell | None:
    """Return the actor whose turn has to go on before *wait* can end."""
    if not isinstance(wait, Pending):
        return wait
    return None if wait.given or wait.held else wait.target


def check_deadlock(asker: Cell) -> None:
    """Raise AskDeadlock if what *asker* waits for waits for *asker*."""
    if not asker.runtime.finds_cycles:
        return
    trail = [asker]
    cell = _held_up_by(asker.waits_for)
    while cell is not None:
        trail.append(cell)
        if cell is asker:
            raise AskDeadlock([one.path for one in trail])
        if cell in trail[:-1]:
            return  # somebody else's cycle
        cell = _held_up_by(cell.waits_for)


@contextmanager
def waiting_for(target: Cell, *, end: bool = False) -> Generator[None]:
    """Say that this task waits for what *target* does next, or for its *end*."""
    asker = CURRENT.get()
    if asker is None or asker.task is not current_task():
        yield
        return
    asker.waits_for = target
    try:
        if end and target in asker.and_above()[1:]:
            # Nobody ends before all below have ended, and this turn is below.
            raise AskDeadlock([asker.path, target.path, asker.path])
        check_deadlock(asker)
        yield
    finally:
        asker.waits_for = None
