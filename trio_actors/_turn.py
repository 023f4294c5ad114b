"""One actor's messages: from the mailbox to a handler, and what became of each.

Rules of this file:

* A *turn* is the handling of one message (or of one batch). What is in hand is in
  `current`; whoever asked is in `owes` until the answer is given, deferred, forwarded
  or stashed.
* Every message that was accepted ends in exactly one counter: that is the conservation
  law. A turn that ends well is `handled`; stashing takes that back.
* Nothing here awaits between taking a message and noting it as `current`.
* An actor fails for what it did, never for what others did.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable
from contextvars import Token
from typing import TYPE_CHECKING, Any, cast

import outcome
import trio

from ._behavior import Actor, Shape, shape_of
from ._declare import Handler
from ._errors import (
    AskDeadlock,
    DeathPact,
    MailboxFull,
    NoReply,
    UnhandledMessage,
    is_others_fault,
    show,
)
from ._mailbox import Box
from ._messages import Carried, DeadReason, Signal, Terminated
from ._topics import Feed
from ._ref import (
    ActorRef,
    Pending,
    Reply,
    actor_failed,
    check_deadlock,
    error_for,
    mailbox_full,
)

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from ._cell import Cell
    from ._runtime import Runtime
    from ._system import ActorSystem

LAPSED: Any = object()
"""In place of a message that needs no handling any more."""
STASHED: Any = object()
"""In hand when the message in hand was stashed."""
RING = 16
"""How many events an actor remembers (ten are shown); a power of two for the mask."""

NO_FAST: dict[type, Any] = {}


class Turns:
    """The part of a cell that handles messages."""

    __slots__ = (
        "_noted",
        "_recent",
        "abandoned",
        "asked",
        "attention",
        "batching",
        "behavior",
        "box",
        "busy_since",
        "carried",
        "current",
        "dead",
        "expired",
        "failed",
        "handled",
        "owed",
        "owes",
        "path",
        "ref",
        "runtime",
        "sabotage",
        "shape",
        "stash",
        "system",
        "task",
        "tracer",
        "uid",
    )

    box: Box
    path: str
    ref: ActorRef[Any]
    runtime: Runtime
    system: ActorSystem
    uid: int

    def __init__(self) -> None:
        self.task: Task | None = None
        self.behavior: Actor[Any] | None = None  # whose handlers are called
        self.shape: Shape | None = None
        self.current: Any = None
        self.owes: Pending[Any] | list[Pending[Any]] | None = None
        self.owed: list[Pending[Any]] | None = None  # deferred, not answered yet
        self.asked: list[Pending[Any]] | None = None  # what this turn has asked
        self.stash: list[Any] | None = None
        self.carried: list[tuple[Any, Token[Any]]] | None = None
        self.handled = self.failed = self.abandoned = self.expired = self.dead = 0
        self.batching = False  # in a batch of plain handlers: `handled` lags behind
        self.attention = False  # the loop has to look up from its messages
        self.busy_since = math.inf  # when the turn began, if it may wait
        self.tracer: Feed[object] | None = None
        self.sabotage: BaseException | None = None
        self._recent: list[Any] | None = None
        self._noted = 0

    # --- What happened last ---

    def note(self, what: Any) -> None:
        """Remember an event: a word, or the type of a message (never the message)."""
        if self._recent is None:
            self._recent = [None] * RING
        self._recent[self._noted & (RING - 1)] = what
        self._noted += 1

    def last_events(self) -> list[str]:
        """Return the last ten events, oldest first."""
        recent, noted = self._recent, self._noted
        if recent is None:
            return []
        last = (recent[n & (RING - 1)] for n in range(max(0, noted - 10), noted))
        return [one if isinstance(one, str) else one.__name__ for one in last]

    # --- One message of a class ---

    def begin(self, item: Any) -> Awaitable[None] | None:
        """Handle an item; return what must be awaited, if anything must."""
        message = self.open_item(item)
        if message is LAPSED:
            return None
        shape = cast("Shape", self.shape)
        info = shape.handler_of(cast("type", type(message)))
        if info is None:
            self._without_handler(message)
            return None
        if info.batch > 1:
            return self._batch(info, message)
        return self._call(info, message)

    def _call(self, info: Handler, argument: Any) -> Awaitable[None] | None:
        """Call a handler; return what must be awaited, if it is async."""
        if info.is_async:
            return self._wait_for(info, argument)
        try:
            value = info.function(self.behavior, argument)
        except info.raises as error:
            self._declared(error)
        except Exception as error:
            if not self._passed_on(error):
                raise
        else:
            self.answer(value)
            self.end_turn()
        return None

    def open_item(self, item: Any) -> Any:
        """Return the message of what was taken from the mailbox, or LAPSED."""
        if type(item) is Carried:
            item = self._unpack(item)
        if isinstance(item, Pending):
            request = cast("Pending[Any]", item)
            if request.abandoned:
                return self._lapse("abandoned")
            request.held = False
            self.owes = request
            message = request.message
        elif isinstance(item, Signal):
            self.box.taken(item)
            message = item = item.open()
            if message is None:
                return self._lapse("expired")
        else:
            message = item
        self.current = item
        self.note(cast("type", type(message)))
        if self.tracer:
            self.tracer.emit(message)
        if self.sabotage is not None:
            error, self.sabotage = self.sabotage, None
            raise error
        return message

    def _lapse(self, counter: str) -> Any:
        setattr(self, counter, getattr(self, counter) + 1)
        self.current = None
        self._put_down()
        return LAPSED

    def _unpack(self, carried: Carried) -> Any:
        """Set the context variables that came with a message, for this turn."""
        self.carried = [(var, var.set(value)) for var, value in carried.values]
        return carried.content

    async def _wait_for(self, info: Handler, message: Any) -> None:
        """Run an async handler."""
        self.busy_since = self.runtime.now()
        if self.box.waiting:
            self.box.grant()  # senders need not wait until the handler is done
        try:
            if info.cancel_with_caller:
                value = await self._run_with_caller(info, message)
                if value is LAPSED:
                    self.abandoned += 1
                    self.handled -= 1
            else:
                value = await info.function(self.behavior, message)
        except info.raises as error:
            self._declared(error)
        except Exception as error:
            if not self._passed_on(error):
                raise
        else:
            self.answer(value)
            self.end_turn()
        self.busy_since = math.inf

    async def _run_with_caller(self, info: Handler, message: Any) -> Any:
        pending = self.owes
        if not isinstance(pending, Pending):
            return await info.function(self.behavior, message)
        with trio.CancelScope() as pending.scope:
            return await info.function(self.behavior, message)
        return LAPSED  # only the caller's end ends that scope

    def answer(self, value: Any) -> None:
        """Give the answer of the turn, unless it is given in another way."""
        owes = self.owes
        if owes is None or value is LAPSED:
            return
        if isinstance(owes, list):
            self._answer_batch(owes, value)
        elif isinstance(value, Reply):
            owes.fail(self._no_reply(owes, "returned a Reply to another request"))
        else:
            owes.settle(outcome.Value(value))

    def _no_reply(self, pending: Pending[Any], what: str) -> NoReply:
        return NoReply(
            f"{self.path} {what} instead of an answer to {show(pending.message)}."
        )

    def end_turn(self) -> None:
        """Note that the turn ended well."""
        self.handled += 1
        self.current = None
        self._put_down()

    def _put_down(self) -> None:
        """Leave nothing of the turn behind."""
        self.owes = None
        if self.asked is not None:
            self.abandon_asked()
        if self.carried is not None:
            carried, self.carried = self.carried, None
            for var, token in reversed(carried):
                var.reset(token)

    def own(self, pending: Pending[Any]) -> None:
        """Note a question that ends with this turn."""
        if self.asked is None:
            self.asked = []
            self.attention = True
        self.asked.append(pending)

    def abandon_asked(self) -> None:
        """Abandon the questions of the turn that has ended."""
        for pending in self.asked or ():
            pending.abandon()
        self.asked = None

    # --- Answers that are no values ---

    def _declared(self, error: Exception) -> None:
        """An exception of ``raises=``: an answer, not a failure."""
        told = [message for pending, message in self._in_hand() if pending is None]
        for message in told:
            self.system.dead_letter(message, self.ref, "unasked_answer")
        for pending in self._all_owed():
            pending.fail(error)
        self.dead += len(told)
        self.handled += max(self._size(), 1) - len(told) - 1
        self.end_turn()

    def _passed_on(self, error: Exception) -> bool:
        """Pass an error of a nested ask on to whoever is owed an answer."""
        if not self._all_owed() or not is_others_fault(error):
            return False
        self.fail_turn(error)
        return True

    def _without_handler(self, message: Any) -> None:
        if isinstance(message, Terminated):
            raise DeathPact(
                f"{message.ref.path} ended ({message.reason.kind}), and {self.path} has"
                " no handler for Terminated. Write one, or give watch() a message of"
                " your own."
            ) from message.reason.error
        owes = cast("Pending[Any] | None", self.owes)
        try:
            cast("Actor[Any]", self.behavior).unhandled(message)
        except UnhandledMessage as error:
            if owes is not None:
                owes.fail(error)
                self.failed += 1
            else:
                self.dead += 1
                self.system.dead_letter(message, self.ref, "unhandled")
            self.handled -= 1
        else:
            if self.owes is not None and owes is not None:
                owes.fail(self._no_reply(owes, "has unhandled() return"))
        self.end_turn()

    # --- What is in hand ---

    def _in_hand(self) -> Iterable[tuple[Pending[Any] | None, Any]]:
        """Return each item in hand: who asked (None for a tell), and the message."""
        current = self.current
        if current is None or current is STASHED:
            return
        items = cast("list[Any]", current) if isinstance(current, list) else [current]
        for item in items:
            if isinstance(item, Pending):
                yield item, item.message
            else:
                yield None, item

    def _size(self) -> int:
        current = self.current
        if isinstance(current, list):
            return len(cast("list[Any]", current))
        return 0 if current is None or current is STASHED else 1

    @property
    def handling(self) -> int:
        """How many messages are in hand."""
        return self._size()

    def _all_owed(self) -> list[Pending[Any]]:
        owes = self.owes
        if owes is None:
            return []
        return list(owes) if isinstance(owes, list) else [owes]

    def take_over(self, message: object, verb: str) -> Pending[Any] | None:
        """Take the answer to a message in hand from the turn; None if it was told.

        Raises:
            RuntimeError: The message is not in hand.
        """
        for pending, one in self._in_hand():
            if one is message:
                break
        else:
            raise RuntimeError(
                f"{verb}() is for the message in hand, but {self.path} has not"
                f" {show(message)} in hand."
            )
        if pending is not None:
            if pending not in self._all_owed():
                raise RuntimeError(
                    f"{verb}(): the answer to {show(message)} was already given or"
                    " taken over."
                )
            if isinstance(self.owes, list):
                self.owes.remove(pending)
            else:
                self.owes = None
        return pending

    def defer(self, message: object) -> Pending[Any] | None:
        """Let the answer to the request in hand come later."""
        pending = self.take_over(message, "defer_reply")
        if pending is not None:
            pending.held = True
            if self.owed is None:
                self.owed = []
            self.owed = [one for one in self.owed if one.open]
            self.owed.append(pending)
        return pending

    def hand_on(self, to: ActorRef[Any], request: Any) -> Pending[Any] | None:
        """Let another actor answer the request in hand."""
        in_hand = [message for _, message in self._in_hand()]
        if len(in_hand) != 1:
            raise RuntimeError(
                f"forward() is for the one message in hand, but {self.path} has"
                f" {len(in_hand)} in hand."
            )
        pending = self.take_over(in_hand[0], "forward")
        if pending is None:
            to.tell_soon(request)
            return None
        pending.message = request
        if not to.accept(pending):
            pending.fail(mailbox_full(to.cell, request))
        elif pending.asker is not None and pending.asker.waits_for is pending:
            self._check_moved(pending)
        return pending

    @staticmethod
    def _check_moved(pending: Pending[Any]) -> None:
        """The asker waits for another actor now: that may close a circle."""
        try:
            check_deadlock(cast("Cell", pending.asker))
        except AskDeadlock as error:
            pending.fail(error)

    def put_aside(self, message: object) -> Pending[Any] | None:
        """Stash the message in hand."""
        if isinstance(self.current, list):
            raise RuntimeError("a message of a batch cannot be stashed alone")
        stash = self.stash if self.stash is not None else []
        if len(stash) >= self.box.capacity:
            raise MailboxFull(
                f"the stash of {self.path} is full ({len(stash)} messages, as many as"
                " its mailbox takes). Unstash earlier, or give it a larger Mailbox.",
                path=self.path,
                message=message,
            )
        pending = self.take_over(message, "stash")
        if pending is not None:
            pending.held = True
        stash.append(self.current)
        self.stash = stash
        self.current = STASHED
        self.handled -= 1  # end_turn() counts it
        return pending

    def unstash(self) -> None:
        """Put what was stashed in front of the mailbox."""
        stash, self.stash = self.stash, None
        for item in stash or ():
            if isinstance(item, Pending):
                cast("Pending[Any]", item).held = False
        self.box.put_back(stash or ())

    # --- Batches ---

    def _batch(self, info: Handler, message: Any) -> Awaitable[None] | None:
        """Take what follows for the same handler, and handle it at once."""
        items = [self.current]
        messages = [message]
        # A signal or a carried message ends a batch: it has a turn of its own.
        while len(items) < info.batch and self.box.count and not self.attention:
            item = self.box.take()
            if isinstance(item, Pending) and item.abandoned:
                self.abandoned += 1
                continue
            one = item.message if isinstance(item, Pending) else item
            shape = cast("Shape", self.shape)
            if isinstance(item, Signal | Carried) or (
                shape.handler_of(cast("type", type(one))) is not info
            ):
                self.box.put_back([item])
                break
            if self.tracer:
                self.tracer.emit(one)
            items.append(item)
            messages.append(one)
        self.current = items
        self.owes = [item for item in items if isinstance(item, Pending)]
        return self._call(info, messages)

    def _answer_batch(self, owes: list[Pending[Any]], value: Any) -> None:
        items = cast("list[Any]", self.current)
        if owes and (not isinstance(value, list) or len(cast("Any", value)) != len(items)):
            raise TypeError(
                f"a batch of {len(items)} messages of {self.path} was answered with"
                f" {show(value)}. Return a list with one answer for each message, in"
                " their order."
            )
        self.handled += len(items) - 1
        for item, one in zip(items, cast("list[Any]", value) if owes else items, strict=True):
            if item in owes:
                item.settle(outcome.Value(one))

    # --- Failure ---

    def fail_turn(self, failure: BaseException | str) -> None:
        """End the turn badly: whoever asked gets ActorFailed, at once."""
        if self.current is STASHED:
            self.handled += 1  # it is in the stash, and is handled later
        for pending in self._all_owed():
            if pending.open:
                pending.fail(actor_failed(cast("Any", self), pending.message, failure))
        self.failed += self._size()
        self.current = None
        self.busy_since = math.inf
        self._put_down()

    def fail_owed(self, failure: BaseException | str) -> None:
        """Tell those to whom an answer was deferred that none will come."""
        for pending in self.owed or ():
            if pending.open and cast("Any", pending.target) is self:
                pending.fail(actor_failed(cast("Any", self), pending.message, failure))
        self.owed = None

    # --- The turn of a function ---

    def next_for_function(self) -> Any:
        """Take the next message for a function actor, or LAPSED."""
        message = self.open_item(self.box.take())
        if message is not LAPSED:
            self.busy_since = self.runtime.now()
        return message

    def end_function_turn(self) -> None:
        """A function asks for its next message, or has returned."""
        self.busy_since = math.inf
        if self.current is None:
            return
        for pending in self._all_owed():
            if pending.open:
                pending.fail(self._no_reply(pending, "took the next message"))
        self.end_turn()

    # --- The books ---

    def tally(self) -> dict[str, int]:
        """Return the counters: ``accepted`` is the sum of the others."""
        found = {
            "accepted": self.box.accepted,
            "queued": self.box.count,
            "stashed": len(self.stash or ()),
            "handling": self.handling,
            "handled": self.handled,
            "failed": self.failed,
            "abandoned": self.abandoned,
            "expired": self.expired,
            "dead_lettered": self.dead,
        }
        if self.batching:
            # Seen from inside of its own plain handler: the number is on its way.
            others = sum(found.values()) - found["accepted"] - found["handled"]
            found["handled"] = found["accepted"] - others
        return found

    def clear_tally(self) -> None:
        """Start at zero: the counters were taken over."""
        self.box.accepted = 0
        self.handled = self.failed = self.abandoned = self.expired = self.dead = 0

    @property
    def handling_type(self) -> str | None:
        """The type of the message in hand."""
        for _, message in self._in_hand():
            return cast("type", type(message)).__name__
        return None

    def trace(self) -> Feed[object]:
        """Return the stream of the messages it takes."""
        if self.tracer is None:
            self.tracer = Feed(f"the trace of {self.path}")
        return self.tracer

    # --- Behaviour ---

    def use(self, behavior: Actor[Any]) -> None:
        """Let the handlers of *behavior* handle the next messages."""
        self.behavior = behavior
        self.shape = shape_of(type(behavior))
        self.attention = True

    # --- Dead letters ---

    def bury(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of an accepted message that nobody will handle."""
        if type(item) is Carried:
            item = item.content
        if isinstance(item, Signal):
            self.box.taken(item)
            self.expired += 1
        elif isinstance(item, Pending) and item.abandoned:
            self.abandoned += 1
        else:
            self.dead += 1
            self._dead_letter(item, reason)

    def _dead_letter(self, item: Any, reason: DeadReason) -> None:
        message = item.message if isinstance(item, Pending) else item
        self.system.dead_letter(message, self.ref, reason)
        if isinstance(item, Pending) and item.open:
            item.fail(error_for(reason, cast("Any", self), message))

    def bury_all(self, reason: DeadReason) -> None:
        """Make dead letters of all that waits."""
        stash, self.stash = self.stash, None
        for item in stash or ():
            self.bury(item, "stash")
        while self.box.count:
            self.bury(self.box.take(), reason)
