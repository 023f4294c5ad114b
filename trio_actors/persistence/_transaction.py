"""One command in hand: the handler, what it stores, and what it sends.

Rules of this file:

* What the handler has stored becomes durable before it waits for anything, and before
  its answer, which is stored with it, leaves.
* A write that fails is not told to the handler: its incarnation is cancelled.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import trio
from trio.lowlevel import current_task

from .._gate import Gate
from .._hand import STASHED
from .._marks import Handler
from .._park import Lot
from .._pending import Reply
from ._journal import Note
from ._reminders import Reminder

if TYPE_CHECKING:
    from ._durable import _Durable


@types.coroutine
def _run(handler: Coroutine[Any, Any, Any], turn: Turn) -> Generator[Any, Any, Any]:
    """Run a handler; while it waits, what it has stored becomes durable.

    It goes on when that is done, too. Another task writes: who is to wake the handler
    knows of its wait already, and would wake whatever waits in its place.
    """
    step: Callable[[Any], Any] = handler.send
    given: Any = None
    while True:
        try:
            trap = step(given)
        except StopIteration as stop:
            return stop.value
        step = handler.send
        turn.begin_flush()
        try:
            given = yield trap
        except BaseException as error:  # noqa: ASYNC103  # the handler gets it
            step, given = handler.throw, error
        if turn.is_flushing:
            yield from turn.flushed().__await__()


class Turn:
    """A command in hand."""

    def __init__(
        self,
        actor: _Durable[Any],
        info: Handler,
        message: object,
        command: str | None,
        gate: Gate,
    ) -> None:
        self._actor: Final = actor
        self._info: Final = info
        self._message: Final = message
        self._command: Final = command
        self.gate: Final = gate
        self.is_flushing: bool = False
        self._lot = Lot()

    async def run(self) -> object:
        """Handle it; return the answer when all is durable."""
        actor, info = self._actor, self._info
        failure: Exception | None = None
        value: object = None
        try:
            value = info.function(actor, self._message)
            if info.is_async:
                handler = cast("Coroutine[Any, Any, Any]", value)
                value = await _run(handler, self)
        except info.raises as error:
            failure = error
        if actor._broken is not None:
            raise actor._broken  # also if the handler took no notice
        await self._end(value, failure)
        self.gate.release()
        if failure is not None:
            raise failure
        return value

    def begin_flush(self) -> None:
        """Store what there is so far, in a task beside the one that waits."""
        if self._actor._writer.staged:
            self.is_flushing = True
            # Where the actor itself lives, which it never leaves before this is done.
            nursery = current_task().parent_nursery
            assert nursery is not None
            nursery.start_soon(self._flush_beside)

    async def _flush_beside(self) -> None:
        try:
            with suppress(Exception), trio.CancelScope(shield=True):
                await self.flush()  # when it fails, so does the actor
        finally:
            self.is_flushing = False
            self._lot.unpark_all()

    async def flushed(self) -> None:
        """Wait until it is stored, whatever happens meanwhile."""
        with trio.CancelScope(shield=True):
            while self.is_flushing:
                await self._lot.park()

    async def flush(self) -> None:
        """Store what there is so far; the answer is not known yet."""
        actor = self._actor
        if self._command is not None and actor._writer.staged:
            actor._writer.note(actor._commands.make_open(self._command))
        await actor._commit()
        # Another task of the handler may have staged the next meanwhile.
        self.gate.staged = actor._writer.staged
        if not self.gate.staged:
            self.gate.release()

    async def _end(self, value: object, failure: Exception | None) -> None:
        """Store the rest, together with the answer."""
        actor, store = self._actor, self._actor._writer
        put_aside = actor.context._cell.current is STASHED  # it comes again
        if isinstance(self._message, Reminder) and not put_aside:
            moved = actor._reminders.next(self._message)
            if moved is not None and ("reminder", moved.key) not in store.notes:
                store.note(moved)
        if self._command is not None:
            self._note_outcome(self._command, value, failure, put_aside=put_aside)
        if store.staged:
            await actor._commit()
            self.gate.staged = False

    def _note_outcome(
        self, command: str, value: object, failure: Exception | None, *, put_aside: bool
    ) -> None:
        """Note the answer; that it comes in another way; or that it is not over yet."""
        commands, store = self._actor._commands, self._actor._writer
        if put_aside:
            if commands.find(command) is not None:
                store.note(Note("outcome", command))
        elif isinstance(value, Reply):
            # Who is asked again could only do it again: the answer passes by here.
            if store.staged or commands.find(command) is None:
                store.note(commands.make_open(command))
        else:
            info, message = self._info, self._message
            store.note(commands.make(info, message, command, value, failure))
