"""Questions on their way, their answers, and who waits for whom.

Rules of this file:

* The reply slot is cancel-safe: the abort function takes the asker out in the very
  step in which it is cancelled, so that a late reply finds nobody to reschedule.
* Each asker gets one answer; a late one is counted and dropped.
"""

from __future__ import annotations

import types
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

import outcome
import trio
from trio.lowlevel import (
    Abort,
    Task,
    checkpoint,
    current_task,
    reschedule,
)

from ._complaints import actor_failed
from ._errors import AskDeadlock, NoReply, show
from ._gate import gate_here
from ._park import make_trap
from ._runtime import Runtime
from ._waits import check_deadlock

if TYPE_CHECKING:
    from ._cell import Cell
    from ._routing import Race

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# --- Requests on their way --------------------------------------------------


BUNKS = 1024
"""How many are kept for the next askers: to make one for each ask is 9 % of it."""

OPEN: Any = object()
"""In place of an answer that is not there yet."""


class Call(Generic[R_co]):
    """A request on its way, and the slot into which its answer falls.

    For trio it is the outcome that wakes the asker: to make one of trio's own for each
    answer is 5 % of an ask, and it could be opened only once.
    """

    __slots__ = (
        "_answer",
        "_owner",
        "_task",
        "abandoned",
        "asker",
        "error",
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
        self._answer: Any = OPEN
        self.error: BaseException | None = None
        self._task: Task | None = None  # the asker, while it is parked here

    def done(self) -> bool:
        """Whether the answer, or an error, is there."""
        return self._answer is not OPEN

    @property
    def awaited(self) -> bool:
        """Whether a task waits for it in this moment."""
        return self._task is not None

    def abandon(self) -> None:
        """Say that nobody waits: the request is skipped if it was not started."""
        if self._answer is not OPEN or self.abandoned:
            return
        # In a world the answer may be on its way: it might have been given later.
        self.target.runtime.touch("turn", self.target.path, write=not self.given)
        if not self.given:
            self.abandoned = True
            self.settle()
            self._let_go()
            if self._task is not None:  # another task says so, while one waits here
                task, self._task = self._task, None
                reschedule(task, outcome.Error(self._no_answer()))

    def settle(self) -> None:
        """No answer is owed any more: whoever has deferred it need not know of it."""
        owed = self.target.owed
        if owed is not None:
            owed.pop(self, None)

    def _let_go(self) -> None:
        """Nobody waits any more: whoever works on it may stop."""
        if self.scope is not None:
            self.scope.cancel()
        if self.race is not None:
            self.race.abandon()

    def _no_answer(self) -> RuntimeError:
        return RuntimeError(
            f"{show(self.message)} was abandoned: there will be no answer."
        )

    # --- The asker ---

    def bind(self) -> None:
        """Let it belong to the task of this step, and to the handler it runs."""
        self._owner: Task | None = None
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
        if self._answer is not OPEN:
            await checkpoint()
            return self.unwrap()
        if self.abandoned:
            await checkpoint()
            raise self._no_answer()
        asker = self.asker
        if asker is None or asker.worker is not current_task():
            return await self.park()  # nobody's turn is held up
        try:
            asker.waits_for = self
            self.check_deadlock()
            return await self.park()
        except AskDeadlock:
            if not self.given:  # it was found here, and is no answer
                self.abandon()
            raise
        finally:
            asker.waits_for = None
            asker.signal()

    @types.coroutine
    def park(self) -> Generator[Any, Any, R_co]:
        """Sleep until the answer comes, for which there is nothing to check.

        One coroutine, and what wakes it opened here: 8 % of an ask.
        """
        self._task = current_task()
        bunks = self.target.runtime.bunks
        bunk: Bunk = bunks.pop() if bunks else Bunk()
        bunk.call = self
        try:
            woken: Any = yield bunk.trap
            return woken.unwrap()  # type: ignore[no-any-return]
        except trio.Cancelled:
            self._let_go()
            raise
        finally:
            bunk.call = None
            if len(bunks) < BUNKS:
                bunks.append(bunk)

    def abort(self, _: object) -> Abort:
        """Take the asker out, in the step in which it is cancelled."""
        self._task = None
        self.abandoned = True
        self.target.runtime.touch("turn", self.target.path)
        self.settle()
        return Abort.SUCCEEDED

    def check_deadlock(self) -> None:
        """Raise AskDeadlock if the one who answers waits for the one who asks."""
        if self.asker is not None and not self.over:
            check_deadlock(self.asker, self.target)

    @property
    def over(self) -> bool:
        """Whether no turn has to go on so that the asker can."""
        return self.held or not self.open

    def unwrap(self) -> R_co:
        """Return the answer, or raise the error: as often as one likes."""
        if self.error is not None:
            raise self.error
        value: R_co = self._answer
        return value

    # --- The one who answers ---

    @property
    def open(self) -> bool:
        """Whether somebody still waits for an answer that was not given."""
        return not (self.given or self.abandoned)

    def answer(self, value: Any, error: BaseException | None = None) -> None:
        """Give the answer, or an error; a late one is counted and dropped (ASK-D4)."""
        if self.given or self.abandoned:
            self.target.system._late_replies += 1
            return
        self.given = True
        self._answer = value
        self.error = error
        task = self._task
        if task is not None:
            self._task = None
            result: Any = self
            reschedule(task, result)
        elif self.race is not None:
            self.race.arrived(self)

    def refuse(self, error: BaseException) -> None:
        """Give an error at once, and let the request be skipped where it waits."""
        Call[Any].answer(self, None, error)  # in a search, too: it travels nowhere
        self.abandoned = True

    def fail(self, error: BaseException) -> None:
        """Raise *error* in the asker."""
        self.answer(None, error)


class Bunk:
    """Where an asker sleeps: what trio needs for that, and whose turn it is."""

    __slots__ = ("call", "trap")

    def __init__(self) -> None:
        self.call: Call[Any] | None = None
        self.trap: Any = make_trap(self._abort)

    def _abort(self, raise_cancel: object) -> Abort:
        assert self.call is not None
        return self.call.abort(raise_cancel)


def check_error(error: object) -> Exception:
    """Return an exception that a user gives as an answer."""
    if isinstance(error, Exception):
        return error
    shown = error.__name__ if isinstance(error, type) else "ValueError"
    raise TypeError(
        f"fail() wants an exception to raise in the asker, but got {show(error)}."
        f" Write fail({shown}(...))."
    )


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
        pending = self._take()
        if pending is not None:
            _let_go(pending, value, None)

    def fail(self, error: Exception) -> None:
        """Raise *error* in the asker. The actor does not fail.

        Raises:
            RuntimeError: The answer was already given, or is not given through this.
        """
        error = check_error(error)
        pending = self._take()
        if pending is not None:
            _let_go(pending, None, error)

    @property
    def abandoned(self) -> bool:
        """Whether the asker has gone away."""
        return self._pending is None or self._pending.abandoned

    def _take(self) -> Call[Any] | None:
        if self._answered:
            raise RuntimeError(
                "this request was already answered, forwarded or stashed: an answer"
                " is given once."
            )
        self._answered = True
        if self._pending is not None:
            self._pending.settle()
        return self._pending

    def __del__(self) -> None:
        pending = self._pending
        if not self._answered and pending is not None and pending.open:
            # Perhaps in the garbage collector, perhaps in another thread.
            pending.target.system._soon(_lapse, pending)


def _let_go(pending: Call[Any], value: object, error: BaseException | None) -> None:
    """Give an answer, unless the turn that gives it must become durable first."""
    gate = gate_here()
    if gate is None:
        pending.answer(value, error)
    else:
        lost = partial(lose, gate.cell, pending)
        gate.hold(pending, partial(pending.answer, value, error), lost)


def lose(cell: Cell, item: Any, why: BaseException | str) -> None:
    """Tell whoever waits for an answer that *cell* has failed on the way to it."""
    if isinstance(item, Call) and item.open:
        item.fail(actor_failed(cell, item.message, why))


def _lapse(pending: Call[Any]) -> None:
    if pending.open:
        pending.settle()
        pending.fail(
            NoReply(
                f"{pending.target.path} dropped the Reply to {show(pending.message)}"
                " without an answer. Keep it, and call send() or fail()."
            )
        )
