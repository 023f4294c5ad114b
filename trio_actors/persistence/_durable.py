"""What all durable actors do: recover, handle a command as one transaction, remember.

Rules of this file:

* A command is a transaction: its events, its answer, its reminders and effects are one
  append, made before anything that it sends, or answers, leaves.
* It is made at the end of the handler, or before the handler first waits for anything
  after it has stored something: nobody acts on what is not durable.
* A failed handler has stored nothing since the last append. A failed append ends the
  incarnation, whatever the handler makes of it: the next one reads again.
* An append is waited for, shielded, unless its command ends with it: what is known here
  is always what is stored.
* A user may freeze the class with attrs: what changes is written past that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import attrs
import trio
from trio.lowlevel import checkpoint, checkpoint_if_cancelled, current_task

from .._behavior import Actor
from .._errors import show
from .._gate import Gate, is_turn_of
from .._marks import Handler
from ._commands import Commands, check_batch, check_command, command_id_of
from ._errors import Unreadable
from ._journal import Note
from ._outbox import Outbox
from ._plan import Plan, make_plan, plan_of
from ._reminders import Reminder, Reminders
from ._store import Store, journal_of
from ._transaction import Turn

if TYPE_CHECKING:
    from .._cell import Cell

C_contra = TypeVar("C_contra", contravariant=True)

log = logging.getLogger("trio_actors")

UNREAD: Any = object()
"""In place of a state that is still to be read."""

put = object.__setattr__


def _kind_of(cls: type) -> type:
    """Return the class in whose brackets stands what a durable class stores."""
    return cls.__mro__[cls.__mro__.index(_Durable) - 1]


def wrong_kind(stream: str, actor: object, kind: str, other: str) -> Unreadable:
    """Make the error for a history that another kind of actor has written."""
    name = type(actor).__name__
    return Unreadable(
        f"{stream} cannot be read by {name}, which is of the kind {kind}: one of the"
        f" kind {other} has written it. Let {name} be of that kind again, or give it a"
        " name of its own."
    )


def _is_command(kind: type, info: Handler) -> bool:
    """Whether what a handler does is a transaction."""
    # Otherwise it stores nothing, and what it sends depends on nothing new.
    return info.is_async or not info.reads_only or issubclass(Reminder, kind)


class _Durable(Actor[C_contra]):
    """An actor with a stream of its own. Its commands are transactions."""

    remember_for: ClassVar[float] = 86_400.0
    """Seconds for which the answer to a command with an id is remembered: a day."""

    __plan__: ClassVar[Plan | None] = None  # of each class of a user's
    _plan: Plan  # from its start on
    _store: Store | None = None  # until it has recovered
    _turn: Turn | None = None  # the command in hand
    _broken: Exception | None = None  # the write that failed
    _live: Any = UNREAD  # the state, with what the command in hand has stored
    _durable: Any = UNREAD  # and without it
    _commands: Commands
    _reminders: Reminders
    _outbox: Outbox

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if _Durable not in cls.__bases__:  # as those that users make theirs from have
            cls.__plan__ = make_plan(cls, _kind_of(cls), 2)
            for kind, info in vars(cls).get("__handlers__", {}).items():
                if _is_command(kind, info):
                    check_command(cls.__name__, kind, info, final=False)

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
        the same name is replaced; but in ``started()``, where each start would put it
        off, one of the same name and *every* stays if it is due already, or sooner.

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
        if note is not None:
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
    def _wrap(cls, kind: type, info: Handler) -> Handler:
        """Make a transaction of a handler."""
        if not _is_command(kind, info):
            return info
        check_command(cls.__name__, kind, info, final=True)

        async def turn(self: _Durable[Any], message: Any) -> object:
            return await self._transact(info, message)

        return attrs.evolve(info, function=turn, is_async=True)

    # --- Recovery ---

    async def _prepare(self) -> None:
        """Become the writer of the stream, and read what there is."""
        cell: Cell = self.context._cell
        if self._store is not None:
            raise TypeError(
                f"{cell.path} is the {type(self).__name__} that another actor was, or"
                " this one before its restart: what it knows is not what is stored. Let"
                " the function make a new one each time."
            )
        plan = plan_of(type(self), _kind_of(type(self)))
        journal = journal_of(cell.system, cell.path)
        stream = cell.path if cell.entity is None else "/".join(cell.entity)
        epoch = await journal.claim(stream)
        store = Store(journal, stream, epoch)
        notes = await journal.notes(stream)
        put(self, "_plan", plan)
        put(self, "_commands", Commands(plan, cell.runtime, self.remember_for, notes))
        put(self, "_reminders", Reminders(cell, notes))
        put(self, "_outbox", Outbox(self, plan, notes))
        # Changed in place, it must not be changed for all others of the class.
        put(self, "_live", deepcopy(cast("Any", self).initial))
        await self._recover(store, notes)
        put(self, "_durable", self._live)
        put(self, "_store", store)
        self._reminders.arm()
        self._outbox.start()

    async def _recover(self, store: Store, notes: Sequence[Note]) -> None:
        """Make the state, now the initial one, from what was stored."""
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
        await checkpoint()  # in the task of a handler this is where it is stored
        # What is in the state already is not taken back while others go on with it.
        with trio.CancelScope(shield=True):
            if self._turn is None or current_task() is self.context._cell.worker:
                await self._commit()
            else:
                await self._turn.flush()

    @property
    def _writer(self) -> Store:
        """The stream, of an actor that has recovered."""
        return cast("Store", self._store)

    def _complete(self, store: Store) -> None:
        """Add to what is staged what depends on all of it."""
        for note in self._commands.expired():
            store.notes.setdefault((note.kind, note.key), note)

    def _roll_back(self) -> None:
        """Forget what is staged."""
        self._writer.forget()
        put(self, "_live", self._durable)

    async def _commit(self) -> None:
        """Store what is staged, unless another task of the handler has done so."""
        store = self._writer
        await store.idle()
        if self._broken is not None:
            raise self._broken
        if store.staged:
            await self._append(store)

    async def _append(self, store: Store) -> None:
        self._complete(store)
        notes, live = list(store.notes.values()), self._live
        try:
            await store.commit()
        except Exception as error:
            self._spoil(error)
            self.context._cell.fail(error)
            raise
        put(self, "_durable", live)
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
        except Exception as error:
            self._spoil(error)
            raise

    def _spoil(self, error: Exception) -> None:
        """Note that what is known here may not be what is stored."""
        put(self, "_broken", error)
        put(self, "_can_resume", False)  # noqa: FBT003  # its value

    # --- One command ---

    async def _transact(self, info: Handler, message: Any) -> object:
        """Handle one command, or answer it again."""
        if info.batch > 1:
            check_batch(type(self).__name__, message, info)
        try:
            command = command_id_of(message) if info.batch == 1 else None
        except (TypeError, ValueError) as error:
            await checkpoint()
            return self._refuse(message, error)
        if command is not None and (known := self._commands.find(command)) is not None:
            await checkpoint()
            return self._repeat(info, message, known)
        cell: Cell = self.context._cell
        gate = cell.gate = Gate(cell)
        turn = Turn(self, info, message, command, gate)
        put(self, "_turn", turn)
        try:
            return await turn.run()
        except BaseException as error:
            self._roll_back()
            failed = isinstance(error, Exception)
            gate.drop(self._broken or (error if failed else "was cut short"))
            if isinstance(message, Reminder):
                self._reminders.again(message)
            raise
        finally:
            cell.gate = None
            put(self, "_turn", None)

    def _repeat(self, info: Handler, message: Any, known: Note) -> object:
        """Answer a command that was done before."""
        good, answer = self._commands.read(info, message, known)
        if good:
            return answer
        if isinstance(answer, info.raises):
            raise answer
        return self._refuse(message, cast("Exception", answer))

    def _refuse(self, message: Any, error: Exception) -> object:
        """Raise *error* in the asker: it is no failure of this actor."""
        reply = self.context.defer_reply(message)
        if reply.abandoned:
            log.warning(
                "%s did not do %s: %s", self._writer.stream, show(message), error
            )
        reply.fail(error)
        return reply
