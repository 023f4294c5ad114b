"""What all durable actors do: recover, handle a command as one transaction, remember.

Rules of this file:

* A command is a transaction: its events, its answer, its reminders and effects are one
  append, made before anything that it sends, or answers, leaves.
* It is made at the end of the handler, or before the handler first waits for anything
  after it has stored something: nobody acts on what is not durable.
* A failed handler has stored nothing since the last append. A failed append ends the
  incarnation, whatever the handler makes of it: the next one reads again.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

import attrs
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, current_task

from .._behavior import Actor
from .._gate import Gate, is_turn_of
from .._marks import Handler
from ._commands import Commands, command_id_of
from ._errors import WriteFailed
from ._journal import Note
from ._outbox import Outbox
from ._reminders import Reminder, Reminders
from ._store import Store, journal_of

if TYPE_CHECKING:
    from .._cell import Cell
    from ._plan import Plan

C_contra = TypeVar("C_contra", contravariant=True)

UNREAD: Any = object()
"""In place of a state that is still to be read."""


class _Durable(Actor[C_contra]):
    """An actor with a stream of its own. Its commands are transactions."""

    remember_for: ClassVar[float] = 86_400.0
    """Seconds for which the answer to a command with an id is remembered: a day."""

    _store: Store | None = None  # until it has recovered
    _turn: _Turn | None = None  # the command in hand
    _broken: WriteFailed | None = None
    _live: Any = UNREAD  # the state, with what the command in hand has stored
    _durable: Any = UNREAD  # and without it
    _commands: Commands
    _reminders: Reminders
    _outbox: Outbox

    @property
    def key(self) -> str:
        """The key of the entity; the path of an actor that was spawned."""
        cell: Cell = self.context._cell
        return cell.path if cell.entity is None else cell.entity[1]

    def become(self, behavior: Actor[C_contra]) -> None:
        """Refuse: what a durable actor does depends on its state alone.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"{type(self).__name__} is durable, and what become() changes would be"
            " forgotten at its next start. Decide by self.state what to do."
        )

    async def deliver(self, effect: Any, key: str, /) -> None:
        """Override it to do what was posted: send the mail, call the other service.

        It runs beside the handlers, at least once for each effect, in their order,
        also after a restart of the process. When it raises it is called again, after a
        pause that grows to a minute.

        Args:
            effect: What was posted; its annotation says which classes there are.
            key: The same each time: for the other side, to know it again.
        """
        raise NotImplementedError

    # --- What a handler calls ---

    async def remind(
        self, name: str, delay: float, *, every: float | None = None
    ) -> None:
        """Get ``Reminder(name)`` in *delay* seconds, even if the process ends.

        It is stored with the command in hand. What was due while nobody was there
        comes once, at the next start, and says how often it was missed. A reminder of
        the same name is replaced.

        Args:
            name: Which one.
            delay: Seconds by the clock on the wall, which may be months.
            every: Seconds between this and all further ones; once if None.

        Raises:
            ValueError: A number of seconds is negative or not finite.
            TypeError: The actor has no handler for ``Reminder``.
            WriteFailed: As for ``persist()``, outside of a command.
        """
        store = await self._begin_write("remind")
        note = self._reminders.make(name, delay, every)
        store.note(note)
        await self._end_write()

    async def cancel_reminder(self, name: str) -> None:
        """Take a reminder back; nothing happens if there is none.

        Raises:
            WriteFailed: As for ``persist()``, outside of a command.
        """
        store = await self._begin_write("cancel_reminder")
        store.note(Note("reminder", name))
        await self._end_write()

    async def post(self, effect: object) -> None:
        """Let ``deliver(effect, key)`` be called, once the command is durable.

        For effects outside of the actors: they happen at least once if the command
        happens, and not at all if it does not. (The outbox of a transaction.)

        Args:
            effect: Of a class in the annotation of ``deliver()``, with a ``@tagged``.

        Raises:
            TypeError: There is no ``deliver()``, or it does not take such an effect.
            WriteFailed: As for ``persist()``, outside of a command.
        """
        store = await self._begin_write("post")
        store.note(self._outbox.make(effect, store.new_name()))
        await self._end_write()

    # --- What is known of the class ---

    @classmethod
    def _plan_of_class(cls) -> Plan:
        raise NotImplementedError

    @classmethod
    def _wrap(cls, kind: type, info: Handler) -> Handler:
        """Make a transaction of a handler."""
        if info.reads_only and not info.is_async:
            return info  # it stores nothing, and what it sends depends on nothing new
        if info.batch > 1 and hasattr(kind, "command_id"):
            raise TypeError(
                f"{cls.__name__}.{info.name} takes batches, but {kind.__name__} has a"
                " command_id: what is remembered is remembered one by one. Take"
                " batch= away."
            )

        async def turn(self: _Durable[Any], message: Any) -> object:
            return await self._transact(info, message)

        return attrs.evolve(info, function=turn, is_async=True)

    # --- Recovery ---

    async def _prepare(self) -> None:
        """Become the writer of the stream, and read what there is."""
        cell: Cell = self.context._cell
        plan = self._plan_of_class()
        journal = journal_of(cell.system, cell.path)
        stream = cell.path if cell.entity is None else "/".join(cell.entity)
        epoch = await journal.claim(stream)
        store = Store(journal, stream, epoch)
        notes = await journal.notes(stream)
        self._commands = Commands(plan, cell.runtime, self.remember_for, notes)
        self._reminders = Reminders(cell, notes)
        self._outbox = Outbox(self, plan, notes)
        await self._recover(store, notes)
        self._durable, self._store = self._live, store
        self._reminders.arm()
        self._outbox.start()

    async def _recover(self, store: Store, notes: Sequence[Note]) -> None:
        """Make the state from what was stored."""
        raise NotImplementedError

    # --- Writing ---

    async def _begin_write(self, verb: str) -> Store:
        """Check that this task may store something now. A checkpoint if cancelled."""
        await checkpoint_if_cancelled()
        cell: Cell = self.context._cell
        if self._store is None or not is_turn_of(cell):
            raise RuntimeError(
                f"{verb}() is for the handlers, and for started(), of {cell.path}: what"
                " they store belongs to the message in hand. From another task, tell"
                " the actor a message."
            )
        if self._broken is not None:
            raise self._broken
        return self._store

    async def _end_write(self) -> None:
        """Leave it to the end of the command; outside of one, store it at once."""
        turn = self._turn
        if turn is not None:
            turn.gate.staged = True
            if current_task() is self.context._cell.worker:
                return
        await self._flush()  # nobody sees when a task in the handler waits

    async def _flush(self) -> None:
        """Make durable what is staged. A checkpoint."""
        if not self._writer.staged:
            await checkpoint()
        elif self._turn is not None:
            await self._turn.flush()
        else:
            await self._commit()

    @property
    def _writer(self) -> Store:
        """The stream, of an actor that has recovered."""
        return cast("Store", self._store)

    def _complete(self, store: Store) -> None:
        """Add to what is staged what depends on all of it."""
        for note in self._commands.expired():
            store.note(note)

    def _roll_back(self) -> None:
        """Forget what is staged."""
        self._writer.forget()
        self._live = self._durable

    async def _commit(self) -> None:
        """Store what is staged."""
        store = self._writer
        self._complete(store)
        notes, live = list(store.notes.values()), self._live
        try:
            await store.commit()
        except WriteFailed as error:
            self._spoil(error)
            raise
        self._durable = live
        for note in notes:
            if note.kind == "reminder":
                self._reminders.set(note)
            elif note.kind == "outbox":
                self._outbox.add(note)
            elif note.kind == "outcome":
                self._commands.keep(note)

    async def _write_aside(self, notes: list[Note]) -> None:
        """Store notes from a task beside the handlers."""
        try:
            await self._writer.append([], notes)
        except WriteFailed as error:
            self._spoil(error)
            raise

    def _spoil(self, error: WriteFailed) -> None:
        """Note that what is known here may not be what is stored."""
        self._broken, self._can_resume = error, False

    # --- One command ---

    async def _transact(self, info: Handler, message: Any) -> object:
        """Handle one command, or answer it again."""
        command = command_id_of(message) if info.batch == 1 else None
        if command is not None and (known := self._commands.find(command)) is not None:
            await checkpoint()
            return self._repeat(info, message, known)
        cell: Cell = self.context._cell
        gate = cell.gate = Gate(cell)
        turn = self._turn = _Turn(self, info, message, command, gate)
        try:
            return await turn.run()
        except BaseException as error:
            self._roll_back()
            gate.drop(error)
            if isinstance(message, Reminder):
                self._reminders.again(message)
            raise
        finally:
            cell.gate = self._turn = None

    def _repeat(self, info: Handler, message: Any, known: Note) -> object:
        """Answer a command that was done before."""
        good, answer = self._commands.read(info, message, known)
        if good:
            return answer
        if isinstance(answer, info.raises):
            raise answer
        reply = self.context.defer_reply(message)
        reply.fail(cast("Exception", answer))
        return reply


@types.coroutine
def _run(
    handler: Coroutine[Any, Any, Any], store: Store, commit: Callable[[], Any]
) -> Generator[Any, Any, Any]:
    """Run a handler; before it waits, what it has stored becomes durable.

    It is told of a failure where it waits.
    """
    step: Callable[[Any], Any] = handler.send
    given: Any = None
    while True:
        try:
            trap = step(given)
        except StopIteration as stop:
            return stop.value
        step = handler.send
        try:
            if store.staged and not store.is_committing:
                yield from commit().__await__()
            given = yield trap
        except BaseException as error:  # noqa: ASYNC103  # the handler gets it
            step, given = handler.throw, error


class _Turn:
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

    async def run(self) -> object:
        """Handle it; return the answer when all is durable."""
        actor, info = self._actor, self._info
        failure: Exception | None = None
        value: object = None
        try:
            value = info.function(actor, self._message)
            if info.is_async:
                handler = cast("Coroutine[Any, Any, Any]", value)
                value = await _run(handler, actor._writer, self.flush)
        except info.raises as error:
            failure = error
        if actor._broken is not None:
            raise actor._broken  # also if the handler took no notice
        await self._end(value, failure)
        self.gate.release()
        if failure is not None:
            raise failure
        return value

    async def flush(self) -> None:
        """Store what there is so far; the answer is not known yet."""
        actor = self._actor
        if self._command is not None:
            actor._writer.note(actor._commands.make_open(self._command))
        await actor._commit()
        self.gate.staged = False
        self.gate.release()

    async def _end(self, value: object, failure: Exception | None) -> None:
        """Store the rest, together with the answer."""
        actor, store = self._actor, self._actor._writer
        if isinstance(self._message, Reminder):
            moved = actor._reminders.next(self._message)
            if moved is not None and ("reminder", moved.key) not in store.notes:
                store.note(moved)
        if self._command is not None:
            outcome = actor._commands.make(
                self._info, self._message, self._command, value, failure
            )
            if outcome is not None:
                store.note(outcome)
        if store.staged:
            await actor._commit()
            self.gate.staged = False
