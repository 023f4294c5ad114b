"""Entities: actors that are found by key, and are there when somebody needs them.

Rules of this file:

* At most one activation for each key; who asks first starts it, who asks meanwhile
  waits in its mailbox.
* A passive entity is stopped only in a step in which it has nothing to do. What is sent
  to it until it has ended waits for its next activation: nothing is lost.
* An entity that fails too often ends alone, and is activated again by its next message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, cast, final
from urllib.parse import quote

from trio.lowlevel import checkpoint

from .._behavior import Actor, Recipe
from .._errors import ActorStopped, MailboxFull, show
from .._halts import DEFAULT_OPTIONS, Halt, Options
from .._messages import Exit
from .._policy import Supervision
from .._ref import ActorRef
from .._registry import HELD
from .._routing import RoutedRef, Router
from .._supervisor import family_of
from ._durable import _Durable
from ._store import journal_of

if TYPE_CHECKING:
    from .._cell import Cell
    from .._runtime import Alarm, Runtime
    from .._system import ActorSystem

C_contra = TypeVar("C_contra", contravariant=True)

RULES = Supervision(per_child=True)


class _Keeper(Actor[Never]):
    """The actor above the entities of one kind."""

    def __init__(self, house: _House) -> None:
        self._house = house

    async def started(self) -> None:
        """Activate those for whom there is something to do."""
        self._house.open(self.context._cell)
        await self._house.sweep()


@final
class Entities(Generic[C_contra]):
    """Actors found by key, started by their first message, stopped when idle.

    (Orleans' virtual actors; Akka's cluster sharding with passivation.) At the start of
    the system those are activated that have a reminder that is due, or something in
    their outbox.
    """

    def __init__(
        self,
        system: ActorSystem,
        actor: Callable[[], Actor[C_contra]],
        *,
        idle_after: float = 120.0,
        limit: int = 10_000,
        name: str | None = None,
    ) -> None:
        """Let actors of a kind be found by key.

        Args:
            system: Where they live, below ``/name``.
            actor: A class, usually of a durable actor, or what makes one; called again
                at each activation.
            idle_after: Seconds without a message after which one is stopped.
            limit: How many are active at most, unless more are busy; the one that was
                used longest ago goes first.
            name: What their streams are called: the name of the class in small letters
                if None. Give one before you rename the class.

        Raises:
            NameTaken: There are entities, or an actor, of that name: share one
                ``Entities`` for each kind.
            ValueError: A number is out of range.
        """
        if not idle_after > 0:
            raise ValueError(f"idle_after is seconds, more than 0, not {idle_after!r}.")
        if not limit >= 1:
            raise ValueError(f"limit is a number of entities from 1, not {limit!r}.")
        self._house = _House(Recipe(actor, ()), idle_after, limit)
        label = name or self._house.recipe.label
        recipe = Recipe(_Keeper, (self._house,), label=label)
        options = Options(shutdown=math.inf, supervision=RULES, restart="permanent")
        self._house.open(system._family().adopt(recipe, label, options))

    def get(self, key: str) -> ActorRef[C_contra]:
        """Return the ref of the entity of that key; it need not be active.

        To watch it is to watch all of its kind: an entity itself always is.

        Raises:
            TypeError: The key is no text.
            ValueError: It cannot be encoded.
        """
        if not isinstance(cast("object", key), str):
            raise TypeError(f"the key of an entity is a text, but got {show(key)}.")
        return EntityRef(self._house, key, name_of(key))


def name_of(key: str) -> str:
    """Return what an entity is called in the tree.

    Raises:
        ValueError: The key cannot be encoded.
    """
    try:
        return quote(key, safe="") or "%"
    except UnicodeEncodeError as error:
        raise ValueError(f"{key!r} is no key: {error}.") from None


class _House:
    """The entities of one kind: who is active, who is on the way out, who is due."""

    keeper: Cell

    def __init__(self, recipe: Recipe, idle_after: float, limit: int) -> None:
        self.recipe = recipe
        self._idle_after = idle_after
        self._limit = limit
        self._used: dict[str, float] = {}  # when, by key; the last is the latest
        self._active: dict[str, Cell] = {}
        self._waiting: dict[str, list[tuple[Any, Context]]] = {}
        self._alarm: Alarm | None = None
        self._due: dict[str, Alarm] = {}

    def open(self, keeper: Cell) -> None:
        """Live below *keeper*, in each of its incarnations."""
        self.keeper = keeper
        family = family_of(keeper)
        family.is_dynamic = family.forgives = True
        family.changed = self._look

    @property
    def _runtime(self) -> Runtime:
        return self.keeper.runtime

    # --- Activation ---

    def cell_of(self, key: str, name: str) -> Cell | None:
        """Return the active entity of a key, activated if need be.

        Returns:
            None while the one before it is on its way out.

        Raises:
            ActorStopped: The system is stopping.
        """
        cell = self._active.get(key)
        if cell is None:
            self._runtime.touch("name", f"{self.keeper.path}/{name}")
            cell = self._activate(key, name)
        elif cell.halt or cell.phase == "stopped":
            return None
        self._used.pop(key, None)
        self._used[key] = self._runtime.now()
        self._watch_idle()
        return cell

    def _activate(self, key: str, name: str) -> Cell:
        family = family_of(self.keeper)
        cell = family.adopt(self.recipe, name, DEFAULT_OPTIONS)
        cell.entity = (self.keeper.name, key)
        cell.ref = EntityRef(self, key, name)
        self._active[key] = cell
        alarm = self._due.pop(key, None)
        if alarm is not None:
            alarm.cancel()
        return cell

    def hold(self, key: str, item: Any) -> bool:
        """Keep a message for the next activation; False if there is no room."""
        held = self._waiting.setdefault(key, [])
        if len(held) >= HELD:
            return False
        self._runtime.guard(item)  # a wrong message is its sender's error
        held.append((item, copy_context()))
        return True

    def _look(self) -> None:
        """See who has ended, and activate again whoever is waited for."""
        children = family_of(self.keeper).children
        ended = [
            key
            for key, one in self._active.items()
            if children.get(one.name) is not one
        ]
        for key in ended:
            cell = self._active.pop(key)
            self._used.pop(key, None)
            held = self._waiting.pop(key, [])
            if held:
                ref = EntityRef[Any](self, key, cell.name)
                for item, context in held:
                    context.run(ref._put_over, item)
            elif cell.due < math.inf:
                self._wake_at(key, cell.due)

    # --- Passivation ---

    def _watch_idle(self) -> None:
        over = len(self._used) - self._limit
        if over > 0:
            for key in list(islice(self._used, over)):
                self.passivate(key)
        if self._alarm is None:
            oldest = next(iter(self._used.values()))
            self._set_alarm(oldest + self._idle_after)

    def _set_alarm(self, when: float) -> None:
        if when < math.inf:
            self._alarm = self._runtime.call_at(
                when, self._passivate_idle, self.keeper.path, "idle"
            )

    def _passivate_idle(self) -> None:
        self._alarm = None
        now = self._runtime.now()
        for key, used in list(self._used.items()):
            if used + self._idle_after > now:
                self._set_alarm(used + self._idle_after)
                return
            if not self.passivate(key):
                self._used.pop(key)
                self._used[key] = now  # it is at work: not idle

    def passivate(self, key: str) -> bool:
        """Stop an entity that has nothing to do; return whether it stops."""
        cell = self._active.get(key)
        if cell is None or not is_passive(cell):
            return False
        self._used.pop(key, None)
        cell.request(Halt.STOP)
        return True

    # --- The sweeper ---

    async def sweep(self) -> None:
        """Activate who has something to deliver, or is due; wake the others in time."""
        if not self._is_durable:
            await checkpoint()
            return
        prefix = f"{self.keeper.name}/"
        journal = journal_of(self.keeper.system, self.keeper.path)
        for stream, note in await journal.pending(prefix):
            key = stream.removeprefix(prefix)
            self._wake_at(key, note.at if note.kind == "reminder" else 0.0)

    @property
    def _is_durable(self) -> bool:
        cls = self.recipe.cls
        return cls is None or issubclass(cls, _Durable)

    def _wake_at(self, key: str, wall: float) -> None:
        """Activate an entity at a time of day."""
        if key in self._active:
            return
        when = self._runtime.now() + max(0.0, wall - self._runtime.wall())
        alarm = self._due.get(key)
        if alarm is not None:
            if alarm.when <= when:
                return
            alarm.cancel()

        def wake() -> None:
            del self._due[key]
            if not self.keeper.system._leaving:
                self.cell_of(key, name_of(key))

        self._due[key] = self._runtime.call_at(when, wake, self.keeper.path, key)


def is_passive(cell: Cell) -> bool:
    """Whether an entity has nothing to do."""
    instance = cell.instance
    busy = isinstance(instance, _Durable) and instance._store is not None
    busy = busy and bool(instance._outbox)  # type: ignore[union-attr]
    return cell.is_found_idle() and not (cell.owed or cell.stash or cell.halt or busy)


class EntityRef(RoutedRef[C_contra]):
    """The ref of an entity, whether it is active or not."""

    __slots__ = ("_house", "_key", "_name")

    def __init__(self, house: _House, key: str, name: str) -> None:
        super().__init__(house.keeper)
        self._house = house
        self._key = key
        self._name = name
        self._router: Router = ONE

    @property
    def path(self) -> str:
        """Where the entity is in the tree."""
        return f"{self._cell.path}/{self._name}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EntityRef):
            return NotImplemented
        return other._house is self._house and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        cell = self._house._active.get(self._key)
        return (
            f"<EntityRef {self.path} {'passive' if cell is None else cell.condition}>"
        )

    def _actors(self) -> Sequence[ActorRef[Any]]:
        """Return the active entity, none while it is on its way out."""
        try:
            cell = self._house.cell_of(self._key, self._name)
        except ActorStopped:
            return ()
        return () if cell is None else (ActorRef(cell),)

    def _targets(self, message: Any) -> Sequence[ActorRef[Any]]:
        del message
        return self._actors()

    def _put_nobody(self, item: Any) -> bool:
        """Keep a message for the next activation."""
        if self._key not in self._house._active:
            self._cell.refuse(item, "shutdown")
            return True
        return self._house.hold(self._key, item)

    def _full(self, message: Any) -> MailboxFull:
        """Make the error for one message too many."""
        return MailboxFull(
            f"{self.path} is on its way out, and {HELD:,} messages wait for its next"
            f" activation, so {show(message)} was not sent.",
            path=self.path,
            message=message,
        )

    def _command(self, verb: str, detail: str = "") -> None:
        cell = self._house._active.get(self._key)
        if cell is not None:
            ActorRef[Any](cell)._command(verb, detail)

    async def wait_stopped(self) -> Exit:
        """Wait until the entity is passive. Always a checkpoint."""
        cell = self._house._active.get(self._key)
        if cell is None:
            await checkpoint()
            return Exit("normal")
        return await ActorRef[Any](cell).wait_stopped()


ONE = Router("round_robin", Random(0), "entity")
"""There is nobody to choose among."""
