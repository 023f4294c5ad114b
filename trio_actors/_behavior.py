"""From a user's code to "handle this message".

Rules of this file:

* An actor is a class with ``@handler`` methods or an async function with an inbox; the
  same cell runs both, by its `Recipe`.
* A recipe builds the behaviour anew for each incarnation; what is built knows its
  context from ``__init__`` on.
* What the loop needs to know of a class is found once per class: its `Shape`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NoReturn,
    TypeVar,
    cast,
)

import trio

from ._declare import Handler, complete, declare, lookup
from ._errors import UnhandledMessage, leaves, show
from ._mailbox import Mailbox
from ._messages import Exit
from ._policy import Supervision

if TYPE_CHECKING:
    from ._cell import Cell
    from ._context import Context
    from ._inbox import Inbox

M_contra = TypeVar("M_contra", contravariant=True)

DEFAULT_SUPERVISION = Supervision()
DEFAULT_MAILBOX = Mailbox()


class Actor(Generic[M_contra]):
    """Base class of an actor that takes the messages M, one handler for each.

    The class is checked when it is created: a message without a handler, a handler
    without its message, or an answer of another type is a TypeError. Keep actors
    small: one thing each. (OTP's gen_server; Akka's AbstractBehavior.)
    """

    supervision: ClassVar[Supervision] = DEFAULT_SUPERVISION
    """How it supervises its children."""
    mailbox: ClassVar[Mailbox] = DEFAULT_MAILBOX
    """Its mailbox."""

    __handlers__: ClassVar[dict[type, Handler]] = {}
    _actor_cell: Any = None
    _can_resume = True  # until what it holds is known to be wrong

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declare(cls, Actor)

    @property
    def context(self) -> Context[M_contra]:
        """What it can do; there from ``__init__`` on.

        Raises:
            RuntimeError: The actor was made by hand, as in a test of its methods.
        """
        cell = self._actor_cell or _building
        if cell is None:
            raise RuntimeError(
                f"this {type(self).__name__} has no context, because it was made by"
                " hand. Start it with spawn(), or give it to become()."
            )
        return cast("Context[M_contra]", cell.context)

    def become(self, behavior: Actor[M_contra]) -> None:
        """Let the handlers of *behavior* handle the next messages (Akka's become).

        It shares this actor's context; its ``started()`` is not run. A restart goes
        back to the first behavior.

        Raises:
            TypeError: *behavior* is no actor, but perhaps a class.
        """
        if not _is_actor(behavior):
            raise TypeError(
                f"become() wants an instance of an Actor, but got {behavior!r}."
                " Write self.become(Ready(...)), with parentheses."
            )
        self.context._cell.become(behavior)

    def unbecome(self) -> None:
        """Go back to the behavior before the last ``become()``.

        Raises:
            RuntimeError: There was no ``become()``.
        """
        self.context._cell.become(None)

    @classmethod
    def _wrap(cls, kind: type, info: Handler) -> Handler:
        """Put around a handler what this kind of actors needs."""
        del kind
        return info

    async def _prepare(self) -> None:
        """Do what must be done before ``started()``, whatever a user makes of that."""

    async def started(self) -> None:
        """Run before the first message, and after each restart."""

    async def restarting(self, failure: Exception, /) -> None:
        """Run on the failed instance before it is replaced."""

    async def restarted(self, failure: Exception, failed: Any, /) -> None:
        """Run on the new instance; calls ``started()`` unless overridden.

        *failed* is the instance it replaces (annotate it as Self): take over what
        can be trusted.
        """
        await self.started()

    async def stopped(self, reason: Exit, /) -> None:
        """Run, shielded, when its children have stopped and it stops for good."""

    def unhandled(self, message: object, /) -> None:
        """Run for a message without a handler; raises UnhandledMessage by default.

        That is an answer to an asker, or a dead letter; never a failure of the actor.
        """
        raise UnhandledMessage(
            f"{self.context.ref.path} has no handler for {show(message)}. Add"
            f" {type(message).__name__} to the messages of {type(self).__name__}, and"
            " a handler that takes it.",
            message=message,
        )


# The actor that is being built in this very step. Building is plain code, so that
# nobody else can see it; __init__ of the class needs its context before there is an
# instance that could be given it.
_building: Any = None


def _is_actor(value: object) -> bool:
    return isinstance(value, Actor)


def overrides(instance: Actor[Any], hook: str) -> bool:
    """Whether the class of *instance* has its own version of a hook."""
    return getattr(type(instance), hook) is not getattr(Actor, hook)


class Shape:
    """What the loop knows of a class of actors."""

    __slots__ = (
        "_table",
        "fast",
        "found",
        "has_batch",
        "has_hooks",
        "has_start",
        "is_async",
        "prepares",
        "waits",
    )

    def __init__(
        self,
        table: dict[type, Handler],
        *,
        has_start: bool,
        has_hooks: bool,
        prepares: bool = False,
    ) -> None:
        self._table = table
        self.is_async: bool = has_start or any(one.is_async for one in table.values())
        self.has_start: bool = has_start  # a hook that is run before the first message
        self.prepares: bool = prepares  # even before that
        self.has_hooks: bool = has_hooks  # that are told of a failure
        self.has_batch: bool = any(one.batch > 1 for one in table.values())
        self.found: dict[type, Handler | None] = {}
        # By the exact type of a message: handlers that are called with nothing around
        # them, plain ones and async ones.
        self.fast: dict[type, Callable[[Any, Any], Any]] = {}
        self.waits: dict[type, Callable[[Any, Any], Awaitable[object]]] = {}

    def handler_of(self, kind: type) -> Handler | None:
        """Return the handler for messages of a type: of that type, then by MRO."""
        try:
            return self.found[kind]
        except KeyError:
            found = self.found[kind] = lookup(self._table, kind)
        if found is not None and found.is_simple:
            quick = self.waits if found.is_async else self.fast
            quick[kind] = found.function
        return found


NO_SHAPE = Shape({}, has_start=False, has_hooks=False)
"""Knows no handler: each message is looked at closely."""


def shape_of(cls: type[Actor[Any]]) -> Shape:
    """Return what is known of *cls*, found at its first spawn."""
    shape = cls.__dict__.get("__shape__")
    if shape is None:
        own = [
            getattr(cls, hook) is not getattr(Actor, hook)
            for hook in ("started", "restarted", "restarting")
        ]
        prepares = getattr(cls, "_prepare") is not getattr(Actor, "_prepare")  # noqa: B009
        table = complete(cls, Actor).items()
        shape = Shape(
            {kind: cls._wrap(kind, info) for kind, info in table},
            has_start=any(own[:2]) or prepares,
            has_hooks=any(own[1:]),
            prepares=prepares,
        )
        cls.__shape__ = shape  # type: ignore[attr-defined]
    return shape


# --- Recipes ----------------------------------------------------------------


class Recipe:
    """How to make the behaviour of an actor, again and again."""

    __slots__ = ("_label", "_make", "args", "is_function")

    def __init__(
        self, actor: Callable[..., Any], args: tuple[Any, ...], *, label: str = ""
    ) -> None:
        self._make = actor
        self.args: tuple[Any, ...] = args
        self.is_function: bool = _is_function_actor(actor, args)
        self._label = label

    @property
    def label(self) -> str:
        """What an actor is called that was given no name."""
        return self._label or _label(self._make)

    @property
    def cls(self) -> type[Actor[Any]] | None:
        """The class, if it is known before the first instance is made."""
        make = self._make
        return make if isinstance(make, type) else None

    @property
    def is_named(self) -> bool:
        """Whether its label is its own name, not that of whatever makes it."""
        return self.is_function or isinstance(_unwrap(self._make), type)

    def build(self, cell: Cell) -> Actor[Any]:
        """Make an instance that has its context from ``__init__`` on."""
        global _building  # noqa: PLW0603  # __init__ has no parameter for it
        before, _building = _building, cell
        try:
            instance = self._make(*self.args)
        finally:
            _building = before
        if not _is_actor(instance):
            if inspect.iscoroutine(instance):
                instance.close()
            raise TypeError(
                f"{self.label} made {show(instance)}, which is no Actor. Give spawn()"
                " an actor class, a function that returns an actor, or an async"
                " function that takes an Inbox first."
            )
        made: Actor[Any] = instance
        give_cell(made, cell)
        return made

    async def run(self, inbox: Inbox[Any]) -> None:
        """Run the function of a function actor."""
        try:
            await cast("Awaitable[None]", self._make(inbox, *self.args))
        except (trio.EndOfChannel, ExceptionGroup) as error:  # from a nursery, say
            if any(one is not inbox._end for one in leaves(error)):
                raise
            # It received until there was nothing more: its end, as any other.
        finally:
            inbox._end = None  # it has a traceback, and with that the inbox


def give_cell(instance: Actor[Any], cell: Cell) -> None:
    """Let *instance* act as the actor of *cell*."""
    # Past a frozen class, and without the dict that asking for __dict__ makes.
    object.__setattr__(instance, "_actor_cell", cell)


def _is_function_actor(actor: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    if isinstance(actor, type):
        if not issubclass(actor, Actor):
            _refuse(cast("object", actor))
        return False
    if not callable(cast("object", actor)):
        _refuse(actor)
    plain = _unwrap(actor)
    if inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(
        getattr(plain, "__call__", None)  # noqa: B004
    ):
        return True
    return not _takes(actor, len(args)) and _takes(actor, len(args) + 1)


def _unwrap(actor: Any) -> Any:
    while isinstance(actor, functools.partial):
        actor = actor.func
    return actor


def _takes(actor: Callable[..., Any], count: int) -> bool:
    """Whether it can be called with so many arguments: tells a lambda's kind."""
    try:
        inspect.signature(actor).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _label(actor: Any) -> str:
    plain = _unwrap(actor)
    name = getattr(plain, "__name__", type(plain).__name__).strip("<>_")
    return name.lower() or "actor"


def _refuse(actor: object) -> NoReturn:
    if inspect.iscoroutine(actor):
        name = actor.__name__
        actor.close()
        raise TypeError(
            f"spawn() wants the actor function, but got a coroutine. Probably you"
            f" wrote\n    spawn({name}(...))\nInstead, write its arguments apart, and"
            f" leave the inbox to spawn():\n    spawn({name}, ...)"
        )
    if isinstance(actor, Actor):
        name = type(cast("object", actor)).__name__
        raise TypeError(
            f"spawn() wants the actor class, but got an instance. Probably you wrote"
            f"\n    spawn({name}(...))\nInstead, write its arguments apart, so that it"
            f" can be made again at a restart:\n    spawn({name}, ...)"
        )
    raise TypeError(
        f"spawn() cannot make an actor of {show(actor)}. Give it an actor class, a"
        " function that returns an actor, or an async function that takes an Inbox"
        " first."
    )
