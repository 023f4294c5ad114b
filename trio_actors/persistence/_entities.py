"""Entities: actors that are found by key, and are there when somebody needs them.

Rules of this file:

* What users call; the entities themselves live in a house.
* An entity that fails too often ends alone, and is activated again by its next message.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Never, TypeVar, cast, final

from .._behavior import Actor, Recipe
from .._errors import show
from .._halts import Options
from .._policy import Supervision
from .._ref import ActorRef
from ._durable import _Durable
from ._entity_ref import EntityRef
from ._house import House, name_of
from ._store import journal_of

if TYPE_CHECKING:
    from .._system import ActorSystem
    from ._journal import Journal

C_contra = TypeVar("C_contra", contravariant=True)

RULES = Supervision(per_child=True)


class _Keeper(Actor[Never]):
    """The actor above the entities of one kind."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def started(self) -> None:
        """Open the house, and see who has something to do."""
        self._house.open(self.context._cell)
        if self._house.journal is not None:
            self.context.start_soon(self._house.sweep)


@final
class Entities(Generic[C_contra]):
    """Actors found by key, started by their first message, stopped when idle.

    (Orleans' virtual actors; Akka's cluster sharding with passivation.) At the start of
    the system those are activated that have a reminder that is due, or something in
    their outbox.

    An entity is idle when no message waits for it and no turn, inner task or child of
    it is at work; when it owes no answer and has stashed nothing. A timer does not keep
    it, and ends with it: use ``remind()``. It may end sooner by
    ``context.ref.drain()``. Stopping one loses nothing: what waits for it, or comes
    meanwhile, is handled by its next activation. When it fails, and fails again after
    its restarts, those whose messages waited are told, and the next message tries anew.
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
                if None. Give one before you rename the class, and if a function makes
                them.

        Raises:
            NameTaken: There are entities, or an actor, of that name: share one
                ``Entities`` for each kind.
            RuntimeError: They are durable, and the system has no journal.
            TypeError: A function makes them, and they have no name.
            ValueError: A number is out of range.
        """
        if not idle_after > 0:
            raise ValueError(f"idle_after is seconds, more than 0, not {idle_after!r}.")
        if not limit >= 1:
            raise ValueError(f"limit is a number of entities from 1, not {limit!r}.")
        recipe = Recipe(actor, ())
        if not (name or recipe.is_named):
            raise TypeError(
                f"Entities() got the function {recipe.label!r} and no name for the"
                " streams of what it makes: with another function each history would"
                " begin empty. Write name=, the class's in small letters, or"
                f" {recipe.label!r} if there are histories by that name already."
            )
        journal = journal_for(system, recipe)
        self._house = House(recipe, journal, idle_after, limit)
        label = name or recipe.label
        keeper = Recipe(_Keeper, (self._house,), label=label)
        options = Options(shutdown=math.inf, supervision=RULES, restart="permanent")
        self._house.open(system._family().adopt(keeper, label, options))

    def get(self, key: str) -> ActorRef[C_contra]:
        """Return the ref of the entity of that key; it need not be active.

        It is good for ever, and so is the ``context.ref`` of an entity. There is no end
        to be watched: ``watch()`` and ``link()`` refuse it.

        Raises:
            TypeError: The key is no text.
            ValueError: It cannot be encoded.
        """
        if not isinstance(cast("object", key), str):
            raise TypeError(f"the key of an entity is a text, but got {show(key)}.")
        return EntityRef(self._house, key, name_of(key))


def journal_for(system: ActorSystem, recipe: Recipe) -> Journal | None:
    """Return where entities may have left something to do.

    Raises:
        RuntimeError: They are durable, and the system has no journal.
    """
    if recipe.cls is None:  # nobody knows what a function makes
        return cast("Journal | None", system._journal)
    is_durable = issubclass(recipe.cls, _Durable)
    return journal_of(system, recipe.cls.__name__) if is_durable else None
