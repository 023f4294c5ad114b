"""Starting actors: what a system, a context and a supervisor have in common.

Rules of this file:

* A spawn is checked before anything is made: wrong options cost nobody anything.
* What needs a higher layer (pools) is reached by one function that the system sets.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Never,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    cast,
    final,
)

from trio.lowlevel import checkpoint

from ._behavior import Actor, Recipe
from ._cell import Cell, Options
from ._mailbox import Mailbox
from ._policy import Heartbeat, RestartType, Supervision, check_child
from ._ref import ActorRef, waiting_for
from ._routing import Routing, check_routing
from ._supervisor import Family, family_of, not_open

if TYPE_CHECKING:
    from ._context import Inbox
    from ._pools import PoolRef

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
Ts = TypeVarTuple("Ts")


class _Options(TypedDict, total=False):
    """The options of every spawn and of ChildSpec."""

    restart: RestartType
    """When it is started again: "transient" (after a failure, the default),
    "permanent" (also after a normal end), "temporary" (never)."""
    shutdown: float
    """Seconds it may take to stop before it is killed: 5, a supervisor infinite."""
    supervision: Supervision
    """How it supervises its children, instead of its class's ``supervision``."""
    mailbox: Mailbox
    """Its mailbox, instead of its class's ``mailbox``."""
    heartbeat: Heartbeat
    """Restart it when it hangs."""
    significant: bool
    """Whether its end counts for ``auto_shutdown``."""


_KINDS: dict[str, tuple[type, ...]] = {
    "restart": (str,),
    "shutdown": (int, float),
    "supervision": (Supervision,),
    "mailbox": (Mailbox,),
    "heartbeat": (Heartbeat,),
    "significant": (bool,),
}


def options_of(given: Mapping[str, Any]) -> Options:
    """Check the options of a spawn."""
    for name, value in given.items():
        kinds = _KINDS.get(name)
        if kinds is None:
            raise TypeError(
                f"there is no option {name!r}. Write one of {', '.join(_KINDS)}."
                " Arguments of the actor are positional."
            )
        if not isinstance(value, kinds):
            raise TypeError(
                f"{name} is a {' or '.join(kind.__name__ for kind in kinds)}, but got"
                f" {value!r}."
            )
    return Options(**given)


@final
class ChildSpec(Generic[M_contra]):
    """The arguments of a spawn as a value (OTP's child spec).

    Args:
        name: The name of the child, unique among its siblings.
        actor: As for ``spawn()``.
        args: As for ``spawn()``.
        options: As for ``spawn()``.
    """

    __slots__ = ("_name", "options", "recipe")

    def __init__(
        self,
        name: str,
        actor: (
            Callable[[*Ts], Actor[M_contra]]
            | Callable[[Inbox[M_contra], *Ts], Awaitable[None]]
        ),
        *args: *Ts,
        **options: Unpack[_Options],
    ) -> None:
        self._name = name
        self.recipe = Recipe(actor, args)
        self.options = options_of(options)

    @property
    def name(self) -> str:
        """The name of the child."""
        return self._name

    def __repr__(self) -> str:
        return f"<ChildSpec {self._name!r}: {self.recipe.label}>"


class _Spawner:
    """What can start actors: a system, a context, a supervisor."""

    __slots__ = ()

    def _family(self) -> Family:
        """Return where the children go."""
        raise NotImplementedError

    async def spawn(
        self,
        actor: (Callable[[*Ts], Actor[M]] | Callable[[Inbox[M], *Ts], Awaitable[None]]),
        *args: *Ts,
        name: str | None = None,
        **options: Unpack[_Options],
    ) -> ActorRef[M]:
        """Start an actor; return when its ``started()`` is done.

        A function actor has started when it first waits for something. Always a
        checkpoint; to be cancelled kills the half-started actor and waits for its end.

        Args:
            actor: An actor class, an async function that takes an Inbox first, or
                any callable that makes an actor, as ``lambda: Counter(start=10)``.
                It is called again at each restart.
            args: Its positional arguments.
            name: Unique among siblings; made from the class or function if None.
            options: ``restart``, ``shutdown``, ``supervision``, ``mailbox``,
                ``heartbeat``, ``significant``.

        Returns:
            The ref of the actor; it stays good over restarts.

        Raises:
            StartFailed: From what ``__init__`` or ``started()`` raised.
            NameTaken: A sibling has that name.
            ActorStopped: The parent is stopping.
            AskDeadlock: The start waits for the caller.
        """
        family = self._family()
        cell = await family.spawn(Recipe(actor, args), name, options_of(options))
        return cell.ref

    def spawn_nowait(
        self,
        actor: (Callable[[*Ts], Actor[M]] | Callable[[Inbox[M], *Ts], Awaitable[None]]),
        *args: *Ts,
        name: str | None = None,
        **options: Unpack[_Options],
    ) -> ActorRef[M]:
        """Start an actor; return its ref at once. A failed start is supervised.

        What is told or asked meanwhile waits in its mailbox. Arguments and errors are
        those of ``spawn()``, without StartFailed.
        """
        family = self._family()
        return family.adopt(Recipe(actor, args), name, options_of(options)).ref

    async def spawn_pool(
        self,
        actor: (Callable[[*Ts], Actor[M]] | Callable[[Inbox[M], *Ts], Awaitable[None]]),
        *args: *Ts,
        size: int,
        routing: Routing | Callable[[M], Hashable] = "round_robin",
        name: str | None = None,
        **options: Unpack[_Options],
    ) -> PoolRef[M]:
        """Start *size* equal actors behind one ref. Always a checkpoint.

        The pool is a supervisor with the spawner's ``Supervision``; the options are
        its workers'. An answer does not pass through the pool.

        Args:
            actor: As for ``spawn()``.
            args: As for ``spawn()``.
            size: How many workers, from 1.
            routing: Who gets a message: each in turn, by chance, the least loaded;
                ``broadcast`` and ``first`` send it to all, and an asker gets the first
                good answer (``first`` then abandons the other requests). A function
                gives the key of a message: messages of one key go to one worker
                (consistent hashing).
            name: As for ``spawn()``.
            options: As for ``spawn()``.

        Raises:
            StartFailed: A worker did not start.
            NameTaken: A sibling has that name.
        """
        check_routing(routing)
        family = self._family()
        return cast(
            "PoolRef[M]",
            await family.system.open_pool(
                family, Recipe(actor, args), size, routing, name, options_of(options)
            ),
        )

    async def spawn_supervisor(
        self,
        *children: ChildSpec[Never],
        name: str | None = None,
        dynamic: bool = False,
        max_children: int | None = None,
        **options: Unpack[_Options],
    ) -> SupervisorRef:
        """Start an actor that only supervises, and *children* in order under it.

        Always a checkpoint; cancelled as ``spawn()`` is. (OTP's ``supervisor``; with
        ``dynamic`` its ``simple_one_for_one``, Elixir's ``DynamicSupervisor``.)

        Args:
            children: Started left to right, each awaited; started again at a restart
                of the supervisor.
            name: As for ``spawn()``.
            dynamic: Children come and go, in any number, independent of each other:
                they stop together under one limit instead of one by one.
            max_children: More raise a ``ValueError``; one that is being restarted
                keeps its place.
            options: As for ``spawn()``; ``shutdown`` is infinite by default.

        Raises:
            StartFailed: A child did not start; those before it were stopped.
            NameTaken: A sibling, or two of *children*, have that name.
        """
        checked = options_of({"shutdown": math.inf, **options})
        recipe = supervisor_recipe(
            children, checked.supervision, dynamic, max_children
        )
        cell = await self._family().spawn(recipe, name, checked)
        return SupervisorRef(cell)


def supervisor_recipe(
    children: tuple[ChildSpec[Any], ...],
    supervision: Supervision | None,
    dynamic: bool,
    max_children: int | None,
) -> Recipe:
    """Check what a supervisor shall supervise, before anything is started."""
    rules = supervision or Supervision()
    if dynamic and rules.strategy != "one_for_one":
        raise ValueError(
            f"a dynamic supervisor is one_for_one, not {rules.strategy}: its children"
            " are independent of each other."
        )
    if max_children is not None and max_children < max(1, len(children)):
        raise ValueError(
            f"max_children={max_children!r} leaves no room for the children."
        )
    names = [spec.name for spec in children]
    for spec in children:
        if names.count(spec.name) > 1:
            raise ValueError(
                f"two children are named {spec.name!r}. Names are unique among siblings."
            )
        check_child(
            spec.name,
            spec.options.restart,
            significant=spec.options.significant,
            auto_shutdown=rules.auto_shutdown,
        )
    return Recipe(
        SupervisorActor, (children, dynamic, max_children), label="supervisor"
    )


class SupervisorActor(Actor[Never]):
    """An actor that only supervises."""

    def __init__(
        self,
        children: tuple[ChildSpec[Any], ...],
        dynamic: bool,
        max_children: int | None,
    ) -> None:
        self._children = children
        self._dynamic = dynamic
        self._max_children = max_children

    async def started(self) -> None:
        """Start the children, left to right."""
        cell: Cell = self.context.cell
        family = family_of(cell)
        family.is_dynamic = self._dynamic
        if not self._dynamic:
            family.specs = {}
        if self._max_children is not None:
            family.max_children = self._max_children
        for spec in self._children:
            await family.spawn(spec.recipe, spec.name, spec.options)


class SupervisorRef(ActorRef[Never], _Spawner):
    """The ref of a supervisor: children are started, found and stopped through it."""

    __slots__ = ()

    def _family(self) -> Family:
        if self.cell.phase == "stopped":
            raise not_open(self.path, "child")
        return family_of(self.cell)

    def _named(self, name: str) -> Family:
        """Return the family, if it knows a child of that name."""
        family = self._family()
        known = family.children if family.specs is None else family.specs
        if name not in known:
            raise KeyError(
                f"{self.path} has no child {name!r}, but"
                f" {', '.join(map(repr, known)) or 'none at all'}."
            )
        return family

    def _stopped(self, name: str, verb: str) -> Family:
        """Return the family, if its child of that name is known and has stopped."""
        family = self._named(name)
        if name in family.children:
            raise ValueError(
                f"{self.path}/{name} runs: {verb}() is for a child that has stopped."
                " Use terminate_child() first."
            )
        return family

    async def start_child(self, spec: ChildSpec[M]) -> ActorRef[M]:
        """Start a child from its spec. Always a checkpoint; cancelled as ``spawn()``.

        Raises:
            StartFailed: It did not start, and its spec is forgotten.
            NameTaken: A child of that name runs, or its spec is kept.
            ActorStopped: The supervisor is stopping.
        """
        cell = await self._family().spawn(spec.recipe, spec.name, spec.options)
        return cell.ref

    def child(self, spec: ChildSpec[M]) -> ActorRef[M]:
        """Return the ref of the child that was started from *spec*.

        Raises:
            KeyError: There is none, or it has stopped.
        """
        family = self._named(spec.name)
        if spec.name not in family.children:
            raise KeyError(
                f"{self.path}/{spec.name} has stopped. Start it again by"
                " restart_child()."
            )
        return family.children[spec.name].ref

    async def terminate_child(self, name: str) -> None:
        """Stop a child; its spec stays unless it is temporary. Always a checkpoint.

        A restart that it waits for is given up. It returns when the child has ended.

        Raises:
            KeyError: There is no child of that name.
        """
        cell = self._named(name).children.get(name)
        if cell is None:
            await checkpoint()
            return
        cell.command("stop")
        with waiting_for(cell):
            await cell.wait_ended()

    async def restart_child(self, name: str) -> None:
        """Start a stopped child again from its spec, as a new actor with a new ref.

        Always a checkpoint.

        Raises:
            KeyError: There is no child of that name.
            ValueError: It runs.
            StartFailed: It did not start; the spec is kept.
        """
        family = self._stopped(name, "restart_child")
        await family.start_again(name)

    async def delete_child(self, name: str) -> None:
        """Forget the spec of a stopped child. Always a checkpoint.

        Raises:
            KeyError: There is no child of that name.
            ValueError: It runs.
        """
        family = self._stopped(name, "delete_child")
        assert family.specs is not None
        del family.specs[name]
        await checkpoint()

    def which_children(self) -> Mapping[str, ActorRef[Never] | None]:
        """Return the children in start order; None for one that does not run."""
        family = self._family()
        family.runtime.touch("sup", self.path, write=False)
        names = family.children if family.specs is None else family.specs
        found = {name: family.children.get(name) for name in names}
        return {
            name: None if cell is None else cell.ref for name, cell in found.items()
        }

    def count_children(self) -> Mapping[str, int]:
        """Return ``specs``, ``active``, ``supervisors`` and ``workers``."""
        family = self._family()
        family.runtime.touch("sup", self.path, write=False)
        if family.specs is None:
            recipes = [cell.recipe for cell in family.children.values()]
        else:
            recipes = [spec.recipe for spec in family.specs.values()]
        supervisors = sum(recipe.cls is SupervisorActor for recipe in recipes)
        return {
            "specs": len(recipes),
            "active": len(family.children),
            "supervisors": supervisors,
            "workers": len(recipes) - supervisors,
        }
