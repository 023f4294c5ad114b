"""One actor's messages: from the mailbox to a handler, and how that ends.

Rules of this file:

* A *turn* is the handling of one message (or of one batch).
* Nothing here awaits between taking a message and noting it as `current`.
* An actor fails for what it did, never for what others did.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import trio

from ._behavior import Actor, Shape, shape_of
from ._complaints import actor_failed
from ._declare import Handler
from ._errors import (
    DeathPact,
    NoReply,
    UnhandledMessage,
    is_others_fault,
    show,
    twin,
)
from ._hand import EMPTY, LOOK, STASHED, Batch, Hand
from ._messages import LAPSED, Carried, Signal, Terminated
from ._pending import Call, Reply

ENDED: Any = object()
"""Of a turn that has ended, whatever its handler returned."""


class Turns(Hand):
    """The part of a cell that handles messages."""

    __slots__ = ()

    # Of the other parts, and written here: the types are complete for each class.
    abandoned: int
    attention: bool
    behavior: Actor[Any] | None
    busy_since: float
    current: Any
    dead: int
    failed: int
    handled: int
    left: int
    owed: dict[Call[Any], None] | None
    sabotage: BaseException | None
    shape: Shape

    # --- One message of a class ---

    def begin(self, item: Any) -> Awaitable[object] | None:
        """Handle an item; return what must be awaited, if anything must."""
        message = self.open_item(item)
        if message is LAPSED:
            return None
        info = self.shape.handler_of(type(message))
        if info is None:
            self._without_handler(message)
            return None
        if info.batch > 1:
            return self._batch(info, message)
        return self._call(info, message)

    def answer_now(self, request: Call[Any], handle: Callable[[Any, Any], Any]) -> int:
        """Call a plain handler and answer; return how many were handled well."""
        request.held = False
        self.owes = request
        try:
            value = handle(self.behavior, request.message)
        except Exception as error:
            if not self._passed_on(error):
                raise
            return 0
        if self.owes is request:
            self.owes = None
            if type(value) is not Reply:
                request.answer(value)
            else:
                self._give(request, cast("object", value))
        return 1

    def _call(self, info: Handler, argument: Any) -> Awaitable[object] | None:
        """Call a handler; return what must be awaited, if it is async."""
        if info.is_async:
            self.begin_wait()
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

    def open_item(self, item: Any) -> object:
        """Return the message of what was taken from the mailbox, or LAPSED."""
        if type(item) is Carried:
            item = self._unpack(item)
        if isinstance(item, Call):
            if item.abandoned:
                return self._lapse("abandoned")
            item.held = False
            self.owes = item
            message = item.message
        elif isinstance(item, Signal):
            self.box.taken(item)
            message = item = item.open()
            if message is LAPSED:
                return self._lapse("expired")
        else:
            message = item
        self.current = item
        self.note(type(message))
        if self.tracer:
            self.tracer.emit(message)
        if self.sabotage is not None:
            error, self.sabotage = self.sabotage, None
            raise error
        return message

    def _lapse(self, counter: str) -> Any:
        setattr(self, counter, getattr(self, counter) + 1)
        self.current = EMPTY
        self._put_down()
        return LAPSED

    def _unpack(self, carried: Carried) -> Any:
        """Set the context variables that came with a message, for this turn."""
        self.carried = [(var, value, var.set(value)) for var, value in carried.values]
        return carried.content

    def begin_wait(self) -> None:
        """Note that the turn may wait from now on."""
        self.busy_since = self.runtime.now()
        if self.box.waiting:
            self.box.grant_burst()  # senders need not wait until the handler is done

    def end_wait(self, how: object) -> None:
        """End a turn that may have waited."""
        if how is not ENDED:
            self.end_turn()
        self.busy_since = math.inf
        self.box.mark()

    async def _wait_for(self, info: Handler, message: Any) -> object:
        """Run an async handler and end its turn."""
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
        return ENDED

    async def _run_with_caller(self, info: Handler, message: Any) -> Any:
        pending = self.owes
        if not isinstance(pending, Call):
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
        else:
            self._give(owes, value)

    def _give(self, pending: Call[Any], value: object) -> None:
        if isinstance(value, Reply):
            error = self._no_reply(pending, "returned a Reply to another request")
            pending.fail(error)
        else:
            pending.answer(value)

    def _no_reply(self, pending: Call[Any], what: str) -> NoReply:
        return NoReply(
            f"{self.path} {what} instead of an answer to {show(pending.message)}."
        )

    def end_turn(self) -> None:
        """Note that the turn ended well."""
        self.handled += 1
        self.current = EMPTY
        self._put_down()

    def _put_down(self) -> None:
        """Leave nothing of the turn behind."""
        self.owes = None
        if self.asked is not None:
            self.abandon_asked()
        if self.carried is not None:
            carried, self.carried = self.carried, None
            for var, _, token in reversed(carried):
                with suppress(ValueError):  # a function's other task: in its context
                    var.reset(token)

    def own(self, pending: Call[Any]) -> None:
        """Note a question that ends with this turn."""
        if self.asked is None:
            self.asked = []
            self.attention = True
        self.asked.append(pending)

    def abandon_asked(self) -> None:
        """Abandon the questions of the turn that has ended."""
        for pending in self.asked or ():
            if not pending.awaited:  # unless a function's other task ended the turn
                pending.abandon()
        self.asked = None

    # --- Answers that are no values ---

    def _declared(self, error: Exception) -> None:
        """An exception of ``raises=``: an answer, not a failure."""
        told = [message for pending, message in self._in_hand() if pending is None]
        for message in told:
            self.system._dead_letter(message, self.ref, "unasked_answer")
        first = True
        for pending in self._all_owed():
            pending.fail(error if first else twin(error))  # each its own traceback
            first = False
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
        owes = cast("Call[Any] | None", self.owes)
        try:
            cast("Actor[Any]", self.behavior).unhandled(message)
        except UnhandledMessage as error:
            if owes is not None:
                owes.fail(error)
                self.failed += 1
            else:
                self.dead += 1
                self.system._dead_letter(message, self.ref, "unhandled")
            self.handled -= 1
        else:
            if self.owes is not None and owes is not None:
                owes.fail(self._no_reply(owes, "has unhandled() return"))
        self.end_turn()

    # --- Batches ---

    def _batch(self, info: Handler, message: Any) -> Awaitable[object] | None:
        """Take what follows for the same handler, and handle it at once."""
        items = Batch([self.current])
        messages = [message]
        # A signal or a carried message ends a batch: it has a turn of its own.
        while len(items) < info.batch and self.box.count and not self.attention:
            item = self.box.take()
            if isinstance(item, Call) and item.abandoned:
                self.abandoned += 1
                continue
            one: object = item.message if isinstance(item, Call) else item
            if isinstance(item, Signal | Carried) or (
                self.shape.handler_of(type(one)) is not info
            ):
                if isinstance(item, Signal):
                    self.box.taken(item)  # as a put-back it takes no room already
                self.box.put_back([item])
                break
            if self.tracer:
                self.tracer.emit(one)
            items.append(item)
            messages.append(one)
        # Each of them is a message, and after a list comes a look at the clock.
        self.left = max(0, self.left - len(items) + 1) // LOOK * LOOK
        self.current = items
        self.owes = [item for item in items if isinstance(item, Call)]
        return self._call(info, messages)

    def _answer_batch(self, owes: list[Call[Any]], value: Any) -> None:
        items = cast("Batch", self.current)
        answers: Any = value if owes else items
        if not isinstance(answers, list) or len(cast("Batch", answers)) != len(items):
            raise TypeError(
                f"a batch of {len(items)} messages of {self.path} was answered with"
                f" {show(value)}. Return a list with one answer for each message, in"
                " their order."
            )
        self.handled += len(items) - 1
        for item, one in zip(items, cast("Batch", answers), strict=True):
            if isinstance(item, Call) and item in owes:
                self._give(cast("Any", item), one)

    # --- Failure ---

    def fail_turn(self, failure: BaseException | str) -> None:
        """End the turn badly: whoever asked gets ActorFailed, at once."""
        if self.runtime.sees_waits and self.current is not EMPTY:
            self.runtime.see_failed_turn(failure)
        if self.current is STASHED:
            self.handled += 1  # it is in the stash, and is handled later
        if self.owes is not None:
            for pending in self._all_owed():
                if pending.open:
                    error = actor_failed(cast("Any", self), pending.message, failure)
                    pending.fail(error)
        self.failed += self._size()
        self.current = EMPTY
        self.busy_since = math.inf
        self._put_down()

    def fail_owed(self, failure: BaseException | str) -> None:
        """Tell those to whom an answer was deferred that none will come."""
        if self.owed is None:
            return
        owed, self.owed = self.owed, None
        for pending in owed:
            if pending.open and cast("Any", pending.target) is self:
                pending.fail(actor_failed(cast("Any", self), pending.message, failure))

    # --- The turn of a function ---

    def next_for_function(self) -> Any:
        """Take the next message for a function actor, or LAPSED."""
        self.left -= 1
        message = self.open_item(self.box.take())
        if message is not LAPSED:
            self.begin_wait()
        return message

    def end_function_turn(self, how: str = "took the next message") -> None:
        """A function asks for its next message, or has returned."""
        self.busy_since = math.inf
        if self.current is EMPTY:
            return
        for pending in self._all_owed():
            if pending.open:
                pending.fail(self._no_reply(pending, how))
        self.end_turn()

    # --- Behaviour ---

    def use(self, behavior: Actor[Any]) -> None:
        """Let the handlers of *behavior* handle the next messages."""
        self.behavior = behavior
        self.shape = shape_of(type(behavior))
        self.attention = True
