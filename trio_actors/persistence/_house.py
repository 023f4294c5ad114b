"""The house of the entities of one kind: activation, passivation, and the sweeper.

Rules of this file:

* At most one activation for each key; who asks first starts it, who asks meanwhile
  waits in its mailbox.
* An entity is made passive only in a step in which it has nothing to do. What reaches
  it until it has ended waits for its next activation, and what it leaves in its mailbox
  goes there too, in front: nothing is lost, unless it has failed.
* What a message costs does not depend on how many entities there are.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import trio

from .._errors import ActorStopped
from .._family import walk
from .._halts import DEFAULT_OPTIONS, Halt
from .._messages import Carried
from .._pending import Call
from .._registry import HELD
from .._routing import takes
from .._supervisor import family_of
from ._durable import _Durable
from ._entity_ref import EntityRef

if TYPE_CHECKING:
    from .._behavior import Recipe
    from .._cell import Cell
    from .._runtime import Alarm, Runtime
    from ._journal import Journal

log = logging.getLogger("trio_actors")

TIGHT = 64
"""A limit that a test may reach: in which order others were used matters."""
LOOKED_AT = 2
"""How many one message tries to make passive, when too many are active."""
SOON = 1.0
"""Seconds until they are all tried, if these were busy."""
AGAIN = 60.0
"""Seconds until somebody is activated again who has failed and has something to do; and
between two attempts to see who has."""


def name_of(key: str) -> str:
    """Return what an entity is called in the tree.

    Raises:
        ValueError: The key cannot be encoded.
    """
    try:
        return quote(key, safe="") or "%"
    except UnicodeEncodeError as error:
        raise ValueError(f"{key!r} is no key: {error}.") from None


class House:
    """The entities of one kind: who is active, who is on the way out, who is due.

    It is the heir of each of them.
    """

    keeper: Cell

    def __init__(
        self, recipe: Recipe, journal: Journal | None, idle_after: float, limit: int
    ) -> None:
        self.recipe = recipe
        self.journal = journal
        self.active: dict[str, Cell] = {}
        self._idle_after = idle_after
        self._limit = limit
        # When, by key; the last is the latest. A plain dict is slow to find its first.
        self._used: OrderedDict[str, float] = OrderedDict()
        self._waiting: dict[str, list[Any]] = {}  # for the next activation
        self._alarm: Alarm | None = None
        self._due: dict[str, tuple[float, Alarm]] = {}
        self._retries: dict[str, dict[str, float]] = {}  # see Cell.retries

    def open(self, keeper: Cell) -> None:
        """Live below *keeper*, in each of its incarnations."""
        self.keeper = keeper
        family = family_of(keeper)
        family.is_dynamic = family.forgives = True
        family.changed = self._changed
        for key in list(self._waiting):
            self._hand_over(key)

    @property
    def _runtime(self) -> Runtime:
        return self.keeper.runtime

    # --- Activation ---

    def cell_of(self, key: str, name: str) -> Cell | None:
        """Return the entity of a key, activated if need be.

        Returns:
            None if it is on its way out and no more may wait for the next activation.

        Raises:
            ActorStopped: Nobody can be activated now.
        """
        cell = self.active.get(key)
        if cell is None:
            cell = self._activate(key, name)
        else:
            self._runtime.touch("name", cell.path, write=False)
        if not (takes(cell) or self._has_room(key)):
            return None
        self._note_use(key)
        return cell

    def active_cell(self, key: str, path: str) -> Cell | None:
        """Return the entity of a key if it is active, asked by who depends on it."""
        self._runtime.touch("name", path, write=False)
        return self.active.get(key)

    def _activate(self, key: str, name: str) -> Cell:
        cell = family_of(self.keeper).adopt(self.recipe, name, DEFAULT_OPTIONS)
        cell.entity = (self.keeper.name, key)
        cell.heir = self
        cell.ref = EntityRef(self, key, name)
        self.active[key] = cell
        cell.retries = self._retries.pop(key, None)
        if key in self._due:
            cell.due, alarm = self._due.pop(key)  # until it has read that itself
            alarm.cancel()
        return cell

    def _changed(self, cell: Cell) -> None:
        """See who has ended, and activate again whoever is waited for."""
        if cell.entity is None or cell.family.children.get(cell.name) is cell:
            return  # it has just come
        key = cell.entity[1]
        del self.active[key]
        self._used.pop(key, None)
        if cell.retries:
            self._retries[key] = cell.retries
        if key in self._waiting:
            self._hand_over(key)
            return
        due = due_of(cell)
        if cell.exit is not None and cell.exit.error is not None:
            due = max(due, self._runtime.wall() + AGAIN)  # it may fail again
        self._wake_at(key, due)

    # --- What waits for the next activation ---

    def takes_rest(self, cell: Cell) -> bool:
        """Whether what waits in a mailbox is handled by the next activation."""
        failed = cell.exit is not None and cell.exit.error is not None
        return not (failed or cell.system._closing)

    def take_rest(self, cell: Cell, items: list[Any]) -> None:
        """Keep what an entity leaves: it is older than what came too late."""
        _, key = cast("tuple[str, str]", cell.entity)
        self._waiting[key] = [*map(carried, items), *self._waiting.get(key, ())]

    def take_late(self, cell: Cell, item: Any) -> bool:
        """Keep what reaches an entity that is on its way out."""
        _, key = cast("tuple[str, str]", cell.entity)
        if cell.system._closing or not takes(self.keeper):
            return False
        if self.active.get(key) is not cell:  # it was held back for longer than that
            cell.ref._put_over(item)
            return True
        return self._hold(key, item)

    def hold(self, key: str, item: Any) -> bool:
        """Keep a message while nobody can be activated; False if there is no room."""
        return self._hold(key, self._runtime.guard(item))

    def _hold(self, key: str, item: Any) -> bool:
        if not self._has_room(key):
            return False
        self._waiting.setdefault(key, []).append(carried(item))
        return True

    def _has_room(self, key: str) -> bool:
        """Whether one more may wait; what nobody waits for any more is forgotten."""
        held = self._waiting.get(key, ())
        if len(held) >= HELD:
            held = self._waiting[key] = [one for one in held if not is_abandoned(one)]
        return len(held) < HELD

    def _hand_over(self, key: str) -> None:
        """Activate an entity for what has waited for it."""
        ref = EntityRef[Any](self, key, name_of(key))
        held = self._waiting.pop(key)
        try:
            self.cell_of(key, ref._name)
        except ActorStopped:
            if takes(self.keeper):  # which is being restarted
                self._waiting[key] = held
                return
        for item in held:
            ref._put_over(item)

    # --- Passivation ---

    def _note_use(self, key: str) -> None:
        if self._limit < TIGHT:
            self._runtime.touch("rng", self.keeper.path)
        now = self._runtime.now()
        self._used[key] = now
        self._used.move_to_end(key)
        for _ in range(min(LOOKED_AT, self._surplus)):  # so few never come to this one
            self._passivate(next(iter(self._used)), now)
        if self._alarm is None or self._surplus > 0:
            self._set_alarm(now)

    @property
    def _surplus(self) -> int:
        return len(self._used) - self._limit

    def _set_alarm(self, now: float) -> None:
        """Look again when the next one may be idle."""
        when = next(iter(self._used.values()), math.inf) + self._idle_after
        if self._surplus > 0:
            when = min(when, now + SOON)
        if self._alarm is not None:
            if self._alarm.when <= when:
                return
            self._alarm.cancel()
        if when < math.inf:
            self._alarm = self._runtime.call_at(
                when, self._look, self.keeper.path, "idle"
            )

    def _look(self) -> None:
        """Stop those that are idle, and those that are too many."""
        self._alarm = None
        now = self._runtime.now()
        for _ in range(len(self._used)):
            key, used = next(iter(self._used.items()))
            if used + self._idle_after > now and self._surplus <= 0:
                break
            self._passivate(key, now)
        self._set_alarm(now)

    def _passivate(self, key: str, now: float) -> None:
        """Stop an entity that has nothing to do; one at work is not idle."""
        cell = self.active[key]
        if is_passive(cell):
            del self._used[key]
            cell.request(Halt.STOP)
        else:
            self._used[key] = now
            self._used.move_to_end(key)

    # --- The sweeper ---

    async def sweep(self) -> None:
        """Activate who has something to deliver, or is due; wake the others in time."""
        prefix = f"{self.keeper.name}/"
        journal = cast("Journal", self.journal)
        while True:
            try:
                found = await journal.pending(prefix)
            except Exception as error:
                log.warning(
                    "%s cannot see which entities have something to do: %r. It tries"
                    " again in %g s.",
                    self.keeper.path,
                    error,
                    AGAIN,
                )
                await trio.sleep(AGAIN)
            else:
                break
        for stream, note in found:
            key = stream.removeprefix(prefix)
            self._wake_at(key, note.at if note.kind == "reminder" else 0.0)

    def _wake_at(self, key: str, wall: float) -> None:
        """Activate an entity at a time of day."""
        if key in self.active or wall == math.inf:
            return
        if key in self._due:
            earlier, alarm = self._due[key]
            if earlier <= wall:
                return
            alarm.cancel()
        when = self._runtime.now() + max(0.0, wall - self._runtime.wall())
        alarm = self._runtime.call_at(
            when, partial(self._wake, key), self.keeper.path, key
        )
        self._due[key] = (wall, alarm)

    def _wake(self, key: str) -> None:
        if self.keeper.system._leaving:
            return
        try:
            self.cell_of(key, name_of(key))
        except ActorStopped:  # who opens the house again looks again
            del self._due[key]


def is_passive(cell: Cell) -> bool:
    """Whether an entity, and all below it, has nothing to do."""
    return not cell.halt and all(
        one.is_found_idle()
        and not (one.owed or one.stash or (one.under is not None and one.under._tasks))
        for one in walk([cell])
    )


def due_of(cell: Cell) -> float:
    """Return when an entity that has ended has something to do, by the wall clock."""
    instance = cell.instance
    recovered = isinstance(instance, _Durable) and instance._store is not None
    return 0.0 if recovered and instance._outbox else cell.due  # type: ignore[union-attr]


def carried(item: Any) -> Carried:
    """Return an item so that it is not looked at again on its way in."""
    return item if type(item) is Carried else Carried(item, ())


def is_abandoned(item: Carried) -> bool:
    """Whether nobody waits for the answer any more."""
    content: Any = item.content
    return isinstance(content, Call) and content.abandoned
