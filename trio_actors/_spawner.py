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

from ._behavior import Actor, Recipe
from ._halts import DEFAULT_OPTIONS, Options
from ._mailbox import Mailbox
from ._policy import Heartbeat, RestartType, Supervision
from ._ref import ActorRef
from ._routing import Routing, check_routing
from ._supervisor import Family

if TYPE_CHECKING:
    from ._inbox import Inbox
    from ._pools import PoolRef
    from ._supervisor_ref import SupervisorRef

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
    return Options(**given) if given else DEFAULT_OPTIONS


@final
class ChildSpec(Generic[M_contra]):
    """The arguments of a spawn as a value (OTP's child spec).

    Args:
        name: The name of the child, unique among its siblings.
        actor: As for ``spawn()``.
        args: As for ``spawn()``.
        options: As for ``spawn()``.
    """

    __slots__ = ("_name", "_options", "_recipe")

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
        self._recipe: Recipe = Recipe(actor, args)
        self._options: Options = options_of(options)

    @property
    def name(self) -> str:
        """The name of the child."""
        return self._name

    def __repr__(self) -> str:
        return f"<ChildSpec {self._name!r}: {self._recipe.label}>"


class _Spawner:  # pyright: ignore[reportUnusedClass]
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
            await family.system._open_pool(
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
        family = self._family()
        return await family.system._open_supervisor(
            family,
            children,
            name,
            dynamic=dynamic,
            max_children=max_children,
            options=options_of({"shutdown": math.inf, **options}),
        )
