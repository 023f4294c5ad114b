"""Refs, and asks that survive every cancellation.

Rules of this file:

* A ref is a value: it names one life of one actor, and a ref of a stopped actor never
  reaches a later one of the same name (LIFE-1).
* `tell` and its kin never raise because the receiver is gone: that is a dead letter.
* The reply slot is cancel-safe: the abort function takes the asker out in the very
  step in which it is cancelled, so that a late reply finds nobody to reschedule.
* A deadlock is raised only where it is certain: the edges are those of the actors' own
  tasks, and they end where the answer was given, deferred or stashed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Protocol,
    TypeAlias,
    TypeVar,
    final,
)

import outcome
import trio
from trio.lowlevel import (
    Abort,
    Task,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from ._errors import (
    ActorFailed,
    ActorStopped,
    AskDeadlock,
    MailboxFull,
    NoReply,
    UnhandledMessage,
    show,
)
from ._mailbox import BATCH, BURST
from ._messages import DeadReason, Exit, Request
from ._runtime import Runtime

if TYPE_CHECKING:
    from ._cell import Cell

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
M_co = TypeVar("M_co", covariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

CURRENT: ContextVar[Cell | None] = ContextVar("trio_actors_current", default=None)
"""The actor in whose context a task runs, also in the tasks it has started."""


class _RequestTo(Protocol[M_co, R_co]):
    """A request that is one of the messages M and is answered with an R."""

    def __answered_with__(self) -> tuple[M_co, R_co]: ...


class _SourceOf(Protocol[M_co]):
    """A topic whose values are messages an actor takes."""

    def __published__(self) -> M_co: ...


class _KeyFor(Protocol[M_co]):
    """A key whose messages are among those an actor takes."""

    def __served__(self) -> M_co: ...


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
        self._outcome: outcome.Outcome[Any] | None = None
        self._task: Task | None = None  # the asker, while it is parked here
        self._owner: Task | None = None

    def done(self) -> bool:
        """Whether the answer, or an error, is there."""
        return self._outcome is not None

    def abandon(self) -> None:
        """Say that nobody waits: the request is skipped if it was not started."""
        if not self.given and not self.abandoned:
            self.abandoned = True
            self.target.runtime.touch("turn", self.target.path)
            if self.race is not None:
                self.race.abandon()
            if self.scope is not None:
                self.scope.cancel()

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
        if self._outcome is not None:
            await checkpoint()
            return self._outcome.unwrap()  # type: ignore[no-any-return]
        if self.abandoned:
            await checkpoint()
            raise RuntimeError(
                f"{show(self.message)} was abandoned: there will be no answer."
            )
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


Runtime.pending_type = Pending


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
def waiting_for(target: Cell) -> Iterator[None]:
    """Say that this task waits for what *target* does next."""
    asker = CURRENT.get()
    if asker is None or asker.task is not current_task():
        yield
        return
    asker.waits_for = target
    try:
        check_deadlock(asker)
        yield
    finally:
        asker.waits_for = None


# --- Errors about one actor -------------------------------------------------


def mailbox_full(cell: Cell, message: Any) -> MailboxFull:
    """Make the error for a message for which there is no room."""
    return MailboxFull(
        f"the mailbox of {cell.path} is full ({cell.box.count} of"
        f" {cell.box.capacity:g}), so {show(message)} was not sent. Use await tell()"
        " to wait for room, tell_soon() to make a dead letter of it, or give the actor"
        ' a Mailbox with overflow="drop_oldest".',
        path=cell.path,
        message=message,
    )


def actor_stopped(cell: Cell, message: Any, *, verb: str = "handled") -> ActorStopped:
    """Make the error for a request that will not be begun."""
    reason = cell.exit or Exit("shutdown")
    cause = f": {reason.error!r}" if reason.error is not None else ""
    done = "has stopped" if cell.exit is not None else "is stopping"
    error = ActorStopped(
        f"{cell.path} {done} ({reason.kind}{cause}), so {show(message)} was not"
        f" {verb}. The message is on .message; find the actor anew by a ServiceKey, or"
        " watch() it to hear of its end.",
        path=cell.path,
        reason=reason,
        message=message,
    )
    error.__cause__ = reason.error
    return error


def actor_failed(cell: Cell, message: Any, cause: BaseException | str) -> ActorFailed:
    """Make the error for a request that was begun and did not come to its end."""
    if isinstance(cause, str):
        text = f"{cell.path} {cause} while it handled {show(message)}."
    else:
        text = f"{cell.path} failed while it handled {show(message)}: {cause!r}."
    error = ActorFailed(text, path=cell.path)
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    return error


def error_for(reason: DeadReason, cell: Cell, message: Any) -> Exception:
    """Make the error an asker gets whose request became a dead letter."""
    if reason == "overflow":
        return mailbox_full(cell, message)
    if reason == "unhandled":
        kind = type(message).__name__
        return UnhandledMessage(
            f"{cell.path} has no handler for {show(message)}. Add {kind} to the"
            f" messages of the actor, and a handler that takes it.",
            message=message,
        )
    return actor_stopped(cell, message)


# --- Refs -------------------------------------------------------------------


class ActorRef(Generic[M_contra]):
    """The address of an actor that takes the messages M. Hashable, comparable.

    It stays good over restarts (Akka's ``ActorRef``; an Erlang pid does not).
    """

    __slots__ = ("cell",)

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    @property
    def path(self) -> str:
        """Where the actor is in the tree, as ``/bank/teller-1``."""
        return self.cell.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActorRef):
            return NotImplemented
        return type(other) is type(self) and other.cell is self.cell

    def __hash__(self) -> int:
        return hash((self.cell.path, self.cell.uid))

    def __repr__(self) -> str:
        cell = self.cell
        return (
            f"<{type(self).__name__} {cell.path} {cell.condition},"
            f" {cell.box.count}/{cell.box.capacity:g} waiting>"
        )

    # --- Tell ---

    async def tell(self, message: M_contra) -> None:
        """Put *message* in the mailbox; wait while it is full. Always a checkpoint.

        If the actor has stopped the message becomes a dead letter; nothing is raised.
        To be cancelled means that the message was not sent.

        Raises:
            MailboxFull: There is no room and ``overflow`` is "fail".
            AskDeadlock: There is no room, and the actor waits for the caller.
        """
        await checkpoint_if_cancelled()
        if self.cell.box.put(message):
            await cancel_shielded_checkpoint()
        else:
            await self._wait_and_put(message)

    async def tell_all(self, messages: Iterable[M_contra]) -> None:
        """Put many messages in the mailbox, in order and in bursts.

        Waits for room as ``tell()`` does; a checkpoint at least once per call and
        per 64 messages. To be cancelled means that the rest was not sent.

        Raises:
            MailboxFull: As for ``tell()``.
            AskDeadlock: As for ``tell()``.
        """
        await checkpoint_if_cancelled()
        iterator = iter(messages)
        sent = 0
        while burst := list(islice(iterator, BURST)):
            await self._tell_burst(burst)
            sent += len(burst)
            if not sent % BATCH:
                await checkpoint()
        await cancel_shielded_checkpoint()

    async def _tell_burst(self, burst: list[M_contra]) -> None:
        box = self.cell.box
        left = iter(burst)
        for message in left:
            if not box.put(message):
                rest = [message, *left]
                break
        else:
            return
        self._check_overflow(rest[0])
        with waiting_for(self.cell):
            while rest:
                room = await box.room(len(rest))
                while room and box.put_granted(rest[0]):
                    room -= 1
                    rest.pop(0)
                if room:  # refused: that one gave its room back itself
                    box.release(room - 1)

    def tell_nowait(self, message: M_contra) -> None:
        """Put *message* in the mailbox, or raise MailboxFull.

        If the actor has stopped the message becomes a dead letter.

        Raises:
            MailboxFull: There is no room, or others wait for it.
        """
        if not self.cell.box.put(message):
            raise mailbox_full(self.cell, message)

    def tell_soon(self, message: M_contra) -> None:
        """Put *message* in the mailbox; if there is no room it is a dead letter.

        Never waits and never raises: for plain handlers, whose fault a full mailbox
        elsewhere is not.
        """
        if not self.cell.box.put(message):
            self.cell.refuse(message, "overflow")

    def tell_from_thread(self, message: M_contra) -> None:
        """Like ``tell_soon()``, from a thread that is not Trio's.

        The messages of one thread keep their order. After the end of the run it is
        logged that the message was not sent.
        """
        self.cell.system.soon(self.tell_soon, message)

    # --- Ask ---

    async def ask(self, request: _RequestTo[M_contra, R]) -> R:
        """Send *request* and wait for its answer. The caller's scope is the timeout.

        Always a checkpoint. To be cancelled takes the request back if it was not
        started; a handler with ``cancel_with_caller`` is cancelled too.

        Raises:
            ActorFailed: The actor failed while it handled the request.
            ActorStopped: The actor stopped before it handled the request.
            AskDeadlock: The actor waits, over any number of actors, for the caller.
            NoReply: The handler ended without the answer it owes.
            UnhandledMessage: The actor has no handler for the request.
            MailboxFull: The request was dropped, or ``overflow`` is "fail".
        """
        cell = self.cell
        if not isinstance(request, Request):
            await checkpoint()
            raise _not_a_request(request)
        pending: Pending[R] = cell.runtime.pending_type(request, cell, CURRENT.get())
        # If the asker is cancelled already it is abandoned in the same step.
        if not cell.box.put(pending):
            await self._wait_and_put(pending)
        return await pending.wait()

    def ask_nowait(self, request: _RequestTo[M_contra, R]) -> Pending[R]:
        """Send *request*, or raise MailboxFull; ``await`` what is returned.

        Raises:
            MailboxFull: There is no room, or others wait for it.
        """
        cell = self.cell
        if not isinstance(request, Request):
            raise _not_a_request(request)
        pending: Pending[R] = cell.runtime.pending_type(request, cell, CURRENT.get())
        if not cell.box.put(pending):
            raise mailbox_full(cell, request)
        pending.bind()
        return pending

    async def _wait_and_put(self, item: Any) -> None:
        box = self.cell.box
        self._check_overflow(item)
        with waiting_for(self.cell):
            while True:
                await box.room(1)
                if box.put_granted(item):
                    break

    def _check_overflow(self, item: Any) -> None:
        if self.cell.box.overflow != "block":
            message = item.message if isinstance(item, Pending) else item
            raise mailbox_full(self.cell, message)

    def accept(self, item: Any) -> bool:
        """Put a request that came by another actor into the mailbox.

        Returns:
            False if there is no room.
        """
        if isinstance(item, Pending):
            item.target = self.cell
        return self.cell.box.put(item)

    # --- Life ---

    def stop(self, detail: str = "") -> None:
        """Finish the message in hand, then stop; the rest become dead letters.

        It is killed if that takes longer than its ``shutdown`` seconds. Like
        ``drain()`` and ``kill()`` it returns at once and is final: no restart type
        starts the actor again.

        Args:
            detail: Kept in the ``Exit`` that watchers and ``wait_stopped()`` get.
        """
        self._command("stop", detail)

    def drain(self) -> None:
        """Handle what is queued in this actor and below it, then stop.

        Messages from outside its subtree are refused; inside they flow until the
        subtree is idle. Its timers stop.
        """
        self._command("drain")

    def kill(self, detail: str = "") -> None:
        """Cancel the message in hand and stop; ``stopped()`` is not run.

        Args:
            detail: Kept in the ``Exit`` that watchers and ``wait_stopped()`` get.
        """
        self._command("kill", detail)

    def restart(self, detail: str = "") -> None:
        """Cancel the message in hand and start a new incarnation.

        The mailbox stays; the restart is not counted as a failure.

        Args:
            detail: Said in the ActorError that ``restarting()`` gets.
        """
        self._command("restart", detail)

    def _command(self, verb: str, detail: str = "") -> None:
        cell = self.cell
        cell.runtime.control(lambda: cell.command(verb, detail), cell.path, verb)

    async def wait_stopped(self) -> Exit:
        """Wait until the actor has stopped for good. Always a checkpoint.

        Returns:
            Why it stopped.

        Raises:
            AskDeadlock: The actor cannot stop before the caller's turn ends.
        """
        with waiting_for(self.cell):
            return await self.cell.wait_ended()


def _not_a_request(message: object) -> TypeError:
    kind = type(message).__name__
    return TypeError(
        f"{show(message)} cannot be asked, because {kind} does not say what it is"
        f" answered with. Use tell(), or write class {kind}(Request[...])."
    )
