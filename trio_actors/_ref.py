"""Refs: the addresses of actors.

Rules of this file:

* A ref is a value: it names one life of one actor, and a ref of a stopped actor never
  reaches a later one of the same name (LIFE-1).
* `tell` and its kin never raise because the receiver is gone: that is a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NoReturn,
    Protocol,
    TypeVar,
)

from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    current_task,
    enable_ki_protection,
    reschedule,
)

from ._box import BURST
from ._bursts import BATCH
from ._complaints import mailbox_full
from ._errors import show
from ._gate import hold_here, let_wait_here
from ._messages import Exit, Request, unpacked
from ._park import WOKEN, let_others_run
from ._pending import Call, Pending, message_of
from ._waits import CURRENT, waiting_for

if TYPE_CHECKING:
    from ._cell import Cell

M_contra = TypeVar("M_contra", contravariant=True)
M_co = TypeVar("M_co", covariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _RequestTo(Protocol[M_co, R_co]):
    """A request that is one of the messages M and is answered with an R."""

    def __answered_with__(self) -> tuple[M_co, R_co]: ...


class _SourceOf(Protocol[M_co]):  # pyright: ignore[reportUnusedClass]
    """A topic whose values are messages an actor takes."""

    def __published__(self) -> M_co: ...


class _KeyFor(Protocol[M_co]):  # pyright: ignore[reportUnusedClass]
    """A key whose messages are among those an actor takes."""

    def __served__(self) -> M_co: ...


# --- Refs -------------------------------------------------------------------


class ActorRef(Generic[M_contra]):
    """The address of an actor that takes the messages M. Hashable, comparable.

    It stays good over restarts (Akka's ``ActorRef``; an Erlang pid does not).
    """

    __slots__ = ("_cell",)

    _is_no_one: ClassVar[str] = ""  # why it is not the ref of one actor

    def __init__(self, cell: Cell) -> None:
        self._cell: Cell = cell

    @property
    def path(self) -> str:
        """Where the actor is in the tree, as ``/bank/teller-1``."""
        return self._cell.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActorRef):
            return NotImplemented
        # A supervisor's ref too: whoever finds or watches it compares it by this.
        return other._cell is self._cell

    def __hash__(self) -> int:
        return hash(self._cell.path)

    def __repr__(self) -> str:
        cell = self._cell
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
        if self._cell.box.put(message):
            await let_others_run()
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
        error: BaseException | None = None
        while error is None:
            burst: list[M_contra] = []
            try:
                burst.extend(islice(iterator, BURST))
            except BaseException as caught:  # noqa: ASYNC103
                error = caught  # what came before it is sent, as by a loop of tells
            if not burst:
                break
            await self._tell_burst(burst)
            sent += len(burst)
            if not sent % BATCH:
                await checkpoint()
        if error is not None:
            raise error
        await cancel_shielded_checkpoint()

    async def _tell_burst(self, burst: list[M_contra]) -> None:
        box = self._cell.box
        put = box.put_all(burst)
        while put < len(burst):
            del burst[:put]
            if box.overflow != "block":
                await self._overflow(burst[0])
            put = box.put_granted(burst, await self._wait_for_room(len(burst)))

    @enable_ki_protection
    def tell_nowait(self, message: M_contra) -> None:
        """Put *message* in the mailbox, or raise MailboxFull.

        If the actor has stopped the message becomes a dead letter.

        Raises:
            MailboxFull: There is no room, or others wait for it.
        """
        # As Box.put() does it: another call is 10 % of a tell.
        box = self._cell.box
        tail = box.tail
        if len(tail) < box.room:
            tail.append(message)
            task = box.consumer
            if task is not None:
                box.consumer = None
                reschedule(task, WOKEN)
        elif not box.put_slow(message):
            raise mailbox_full(self._cell, message)

    def tell_soon(self, message: M_contra) -> None:
        """Put *message* in the mailbox; if there is no room it is a dead letter.

        Never waits and never raises: for plain handlers, whose fault a full mailbox
        elsewhere is not.
        """
        if not self._cell.box.put(message):
            self._cell.refuse(message, "overflow")

    def tell_from_thread(self, message: M_contra) -> None:
        """Like ``tell_soon()``, from a thread that is not Trio's.

        The messages of one thread keep their order. After the end of the run it is
        logged that the message was not sent.
        """
        self._cell.system._soon(self.tell_soon, message)

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
        cell = self._cell
        if not isinstance(request, Request):
            await checkpoint()
            raise not_a_request(request)
        asker = CURRENT.get()
        call: Call[R] = cell.runtime.call_type(request, cell, asker)
        # If the asker is cancelled already it is abandoned in the same step.
        if not cell.box.put(call):
            await self._wait_and_put(call)
        if asker is None and not call.given:  # 3 % of an ask
            return await call.park()
        return await call.wait()

    def ask_nowait(self, request: _RequestTo[M_contra, R]) -> Pending[R]:
        """Send *request*, or raise MailboxFull; ``await`` what is returned.

        Raises:
            MailboxFull: There is no room, or others wait for it.
        """
        cell = self._cell
        if not isinstance(request, Request):
            raise not_a_request(request)
        call: Call[R] = cell.runtime.call_type(request, cell, CURRENT.get())
        if not cell.box.put(call):
            raise mailbox_full(cell, request)
        return Pending(call)

    async def _wait_and_put(self, item: Any) -> None:
        if self._cell.box.overflow != "block":
            await self._overflow(item)
        while not self._cell.box.put_granted([item], await self._wait_for_room(1)):
            pass

    async def _wait_for_room(self, wants: int) -> int:
        box, task = self._cell.box, current_task()
        if CURRENT.get() is None:  # nobody can wait for us: 10 % of W8
            return await box.wait_for_room(wants)
        with waiting_for(self._cell, lambda: not box.holds_up(task)):
            return await box.wait_for_room(wants)

    async def _overflow(self, item: Any) -> NoReturn:
        await checkpoint()  # who tries again and again must not starve others
        raise mailbox_full(self._cell, message_of(item))

    def _accept(self, item: Any) -> bool:
        """Put a request that came by another actor into the mailbox.

        Returns:
            False if there is no room.
        """
        if isinstance(item, Call):
            item.target = self._cell
        return self._cell.box.put(item)

    def _put_over(self, item: Any) -> None:
        """Put what has waited elsewhere into the mailbox, room or not."""
        inner = unpacked(item)
        if isinstance(inner, Call):
            inner.target = self._cell
        self._cell.box.put_over(item)

    # --- Life ---

    def stop(self, detail: str = "") -> None:
        """Finish the message in hand, then stop; the rest become dead letters.

        It is killed if that takes longer than its ``shutdown`` seconds. Like
        ``drain()`` and ``kill()`` it returns at once and is final: no restart type
        starts the actor again.

        From a handler of a durable actor these three, and ``restart()``, act with what
        it tells: in that order, when it is durable, and not if the command fails. Only
        ``kill()`` and ``restart()`` of itself act at once: they cut it short. So wait
        for the end here, by ``wait_stopped()``, and do not ask another actor to.

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
        self._control(verb, partial(self._cell.command, verb, detail))

    def _control(self, verb: str, apply: Callable[[], None]) -> None:
        """Let a command act: with what this turn sends, if that is to be durable."""
        act = partial(self._cell.runtime.control, apply, self.path, verb)
        # Who cuts itself short has no later.
        cuts_itself = verb in ("kill", "restart") and self._is_own()
        if cuts_itself or not hold_here(self, act):
            act()

    def _is_own(self) -> bool:
        """Whether it is the ref of the actor of this step."""
        cell = CURRENT.get()
        return cell is not None and cell.ref == self

    async def wait_stopped(self) -> Exit:
        """Wait until the actor has stopped for good. Always a checkpoint.

        A durable actor lets go first what it has sent there, as when it asks.

        Returns:
            Why it stopped.

        Raises:
            AskDeadlock: The actor cannot stop before the caller's turn ends.
        """
        let_wait_here(self.path)
        with waiting_for(self._cell, self._cell.has_ended, end=True):
            return await self._cell.wait_ended()


def not_a_request(message: object) -> TypeError:
    """Make the error for an ask of what nobody answers."""
    if isinstance(message, type):
        name = message.__name__
        return TypeError(
            f"{name} is a class, and the message is an instance. Write"
            f" ask({name}(...)), with parentheses."
        )
    kind = type(message).__name__
    return TypeError(
        f"{show(message)} cannot be asked, because {kind} does not say what it is"
        f" answered with. Use tell(), or write class {kind}(Request[...])."
    )
