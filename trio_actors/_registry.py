"""Keys under which actors are found.

Rules of this file (REG-4):

* A lookup never returns an actor that has ended or refuses messages: the entry goes in
  the step in which the actor ends.
* A registration survives restarts; registering again by its holder changes nothing.
* What is sent to a service that nobody offers waits, in order, up to 1,024 messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextvars import Context, copy_context
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

import attrs

from ._complaints import error_for
from ._errors import MailboxFull, NameTaken, show
from ._keys import Crew
from ._mailbox import Door, Mailbox
from ._messages import DeadReason, Exit
from ._pending import Call, message_of
from ._ref import ActorRef
from ._routing import RoutedRef, Router, Routing, check_routing, takes
from ._topics import Feed, Subscription

if TYPE_CHECKING:
    from ._cell import Cell
    from ._runtime import Runtime

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)

HELD = 1024
"""How many messages wait for a service that nobody offers."""


@final
@attrs.frozen
class ServiceKey(Generic[M]):
    """A name under which actors that take the messages M are found.

    (Akka's receptionist; Erlang's registered names and ``pg``.)
    """

    name: str
    """The name; equal names are equal keys."""
    unique: bool = attrs.field(default=False, kw_only=True, eq=False)
    """Whether at most one actor can have it."""

    def __served__(self) -> M:
        """Tie the key to its messages, for type checkers; never called."""
        raise NotImplementedError


class Nobody:
    """Stands where an actor would: the place of a service that nobody offers."""

    waits_for = None
    owed = None

    def __init__(
        self,
        path: str,
        system: Any,
        runtime: Runtime,
        ref: ActorRef[Any] | None = None,
    ) -> None:
        self.path = path
        self._ref = ref
        self.uid = 0
        self.system = system
        self.runtime = runtime
        self.exit: Exit | None = None
        self.count = 0
        self.capacity = HELD
        self.condition = "service"

    @property
    def box(self) -> Nobody:
        """Its mailbox: no circle of references, for who asks for many services."""
        return self

    @property
    def ref(self) -> ActorRef[Any]:
        """Whom a dead letter was for."""
        return self._ref or ActorRef(cast("Cell", self))

    def refuse(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of a message."""
        self.system._count_refused()
        message = message_of(item)
        self.system._dead_letter(message, self.ref, reason)
        if isinstance(item, Call):
            item.fail(error_for(reason, cast("Cell", self), message))


class Entry:
    """Who has a key, who wants to know, and what waits for somebody to have it."""

    __slots__ = (
        "_crew",
        "_has_asks",
        "feed",
        "held",
        "holders",
        "is_unique",
        "nobody",
        "routers",
    )

    def __init__(self, nobody: Nobody, feed: Feed[tuple[ActorRef[Any], ...]]) -> None:
        self.holders: dict[ActorRef[Any], None] = {}
        self._crew: Crew | None = None  # the holders, unless they have changed
        self.is_unique: bool = False
        # With the sender's context, so that what travels with a message still does.
        self.held: deque[tuple[Any, Context]] = deque()
        self._has_asks: bool = False  # among them
        self.feed: Feed[tuple[ActorRef[Any], ...]] = feed
        self.nobody: Nobody = nobody
        self.routers: dict[Routing, Router] = {}

    def accepting(self) -> tuple[ActorRef[Any], ...]:
        """Return the holders that take messages from the sender of this step."""
        return tuple(ref for ref in self.holders if takes(ref._cell))

    def has_changed(self) -> None:
        """Tell who wants to know that somebody came or went."""
        self._crew = None
        if self.feed:
            self.feed.emit(self.accepting())

    def crew(self) -> Sequence[ActorRef[Any]]:
        """Return the holders to choose among, if one of them takes messages."""
        crew = self._crew
        if crew is None:
            crew = self._crew = Crew(self.holders)
        return crew if any(takes(ref._cell) for ref in crew) else ()

    def has_room(self) -> bool:
        """Whether one more may wait; what nobody waits for any more is forgotten."""
        if len(self.held) >= HELD and self._has_asks:
            left = [one for one in self.held if not _is_abandoned(one[0])]
            self.held = deque(left)
            self._has_asks = any(isinstance(item, Call) for item, _ in left)
        return len(self.held) < HELD

    def hold(self, item: Any) -> None:
        """Let a message wait, after `has_room()`."""
        self._has_asks |= isinstance(item, Call)
        self.held.append((item, copy_context()))
        self.nobody.count = len(self.held)

    def hand_over(self, ref: ActorRef[Any]) -> None:
        """Give an actor what has waited for it: long enough, so room or not."""
        while self.held and takes(ref._cell):
            item, context = self.held.popleft()
            context.run(ref._put_over, item)
        self.nobody.count = len(self.held)

    def bury(self) -> None:
        """Make dead letters of what waits: nobody will come any more."""
        while self.held:
            self.nobody.refuse(self.held.popleft()[0], "shutdown")
        self.nobody.count = 0


def _is_abandoned(item: Any) -> bool:
    return isinstance(item, Call) and item.abandoned


class Registry:
    """The keys of one system."""

    def __init__(self, system: Any, runtime: Runtime) -> None:
        self._system = system
        self._runtime = runtime
        self._entries: dict[str, Entry] = {}

    def entry(self, key: ServiceKey[Any], nobody: Nobody | None = None) -> Entry:
        """Return what is known of *key*; an entry that says nothing is not kept."""
        entry = self._entries.get(key.name)
        if entry is None:
            feed = Feed[Any](
                f"key {key.name!r}",
                has_ended=self._system._ended,
                left=partial(self._tidy, key.name),
            )
            entry = Entry(nobody or self.nobody(key), feed)
            self._entries[key.name] = entry
        return entry

    def nobody(self, key: ServiceKey[Any]) -> Nobody:
        """Return the place where messages for *key* wait."""
        entry = self._entries.get(key.name)
        if entry is not None:
            return entry.nobody
        return Nobody(f"service:{key.name}", self._system, self._runtime)

    def register(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """Let *ref* be found under *key* until it stops."""
        cell = ref._cell
        self._runtime.touch("key", key.name)
        if cell.box.door is Door.CLOSED:
            return
        entry = self.entry(key)
        if ref in entry.holders:
            return
        if entry.holders and (key.unique or entry.is_unique):
            (holder,) = list(entry.holders)[:1]
            raise NameTaken(
                f"{ref.path} cannot have the unique key {key.name!r}: {holder.path} has"
                " it. Wait until that has stopped, or use another key."
            )
        entry.holders[ref] = None
        entry.is_unique = key.unique
        if cell.keys is None:
            cell.keys = {}
        cell.keys[key.name] = ref
        entry.has_changed()
        entry.hand_over(ref)

    def unregister(self, key: ServiceKey[Any], ref: ActorRef[Any]) -> None:
        """Undo `register()`."""
        self._leave(key.name, ref)

    def _leave(self, name: str, ref: ActorRef[Any]) -> None:
        entry = self._entries.get(name)
        if entry is not None and ref in entry.holders:
            self._runtime.touch("key", name)
            del entry.holders[ref]
            (ref._cell.keys or {}).pop(name, None)
            entry.has_changed()
            self._tidy(name)

    def _tidy(self, name: str) -> None:
        # A chat has a key per nickname: an entry that says nothing goes.
        entry = self._entries.get(name)
        if entry is not None and not (entry.holders or entry.held or entry.feed):
            del self._entries[name]

    def forget(self, cell: Cell) -> None:
        """Take an actor that has ended out of all its keys."""
        for name, ref in list((cell.keys or {}).items()):
            self._leave(name, ref)

    def random(self, name: str) -> Random:
        """Return the random numbers of a router."""
        return self._runtime.random(name)

    def find(self, key: ServiceKey[Any]) -> ActorRef[Any] | None:
        """Return the first actor that has *key*."""
        self._runtime.touch("key", key.name, write=False)
        entry = self._entries.get(key.name)
        holders = entry.holders if entry is not None else ()
        return next((ref for ref in holders if takes(ref._cell)), None)

    def find_all(self, key: ServiceKey[Any]) -> tuple[ActorRef[Any], ...]:
        """Return all actors that have *key*."""
        self._runtime.touch("key", key.name, write=False)
        entry = self._entries.get(key.name)
        return entry.accepting() if entry is not None else ()

    def service(
        self, key: ServiceKey[M], routing: Routing | Callable[[M], Hashable]
    ) -> ServiceRef[M]:
        """Return a ref to whoever has *key* when a message is sent."""
        check_routing(routing)
        return ServiceRef(self, key, routing)

    def crew(self, key: ServiceKey[Any]) -> Sequence[ActorRef[Any]]:
        """Return whom a message for *key* may go to; nobody if none takes it."""
        self._runtime.touch("key", key.name, write=False)
        entry = self._entries.get(key.name)
        return entry.crew() if entry is not None else ()

    def router(self, key: ServiceKey[Any], own: Router) -> Router:
        """Return what chooses among the holders of *key*.

        The turns of a round robin go on from one service() to the next.
        """
        entry = self._entries.get(key.name)
        if entry is None or not own.takes_turns:
            return own
        return entry.routers.setdefault(cast("Routing", own.routing), own)

    def end(self) -> None:
        """End the streams."""
        for entry in self._entries.values():
            entry.feed.end()

    def bury(self) -> None:
        """Bury what waits for actors that will not come any more."""
        for entry in list(self._entries.values()):
            entry.bury()

    def subscribe(
        self, key: ServiceKey[M], buffer: Mailbox
    ) -> Subscription[tuple[ActorRef[M], ...]]:
        """Stream who has *key*."""
        # The entry is looked up when the stream is opened: it may be another by then.
        return Subscription(
            lambda: self.entry(key).feed, buffer, lambda: self.find_all(key)
        )


class ServiceRef(RoutedRef[M_contra]):
    """The ref of whoever has a key."""

    __slots__ = ("_key", "_registry", "_routing")

    _is_no_one = (
        "Find one by system.find(key), or watch who has a key by system.subscribe(key)."
    )

    def __init__(
        self,
        registry: Registry,
        key: ServiceKey[Any],
        routing: Routing | Callable[[Any], Hashable],
    ) -> None:
        super().__init__(cast("Cell", registry.nobody(key)))
        self._registry = registry
        self._key = key
        self._routing = routing
        name = f"service:{key.name}"
        random = partial(registry.random, name)
        self._router: Router = Router(routing, random, name)

    @property
    def path(self) -> str:
        """``service:`` and the name of the key."""
        return f"service:{self._key.name}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServiceRef):
            return NotImplemented
        return (
            other._registry is self._registry
            and other._key == self._key
            and other._routing == self._routing
        )

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        there = len(self._registry.find_all(self._key))
        return f"<ServiceRef {self._key.name!r}, {there} actors>"

    def _actors(self) -> Sequence[ActorRef[Any]]:
        """Return who has the key, if one of them takes messages."""
        return self._registry.crew(self._key)

    def _targets(self, message: Any) -> Sequence[ActorRef[Any]]:
        self._router = self._registry.router(self._key, self._router)
        return super()._targets(message)

    def _put_nobody(self, item: Any) -> bool:
        """Let a message wait until somebody has the key."""
        nobody = self._registry.nobody(self._key)
        self._cell = cast("Cell", nobody)  # one for all its refs
        if nobody.system._closing:
            nobody.refuse(item, "shutdown")
            return True
        nobody.runtime.guard(item)  # a wrong message is its sender's error
        entry = self._registry.entry(self._key, nobody)
        if not entry.has_room():
            return False
        entry.hold(item)
        return True

    def _full(self, message: Any) -> MailboxFull:
        """Make the error for one message too many."""
        return MailboxFull(
            f"nobody has the key {self._key.name!r}, and {HELD:,} messages wait for"
            f" somebody, so {show(message)} was not sent. Register an actor under it:"
            " context.register(key).",
            path=self.path,
            message=message,
        )

    def _command(self, verb: str, detail: str = "") -> None:
        for ref in self._registry.find_all(self._key):
            ref._command(verb, detail)

    async def wait_stopped(self) -> Exit:
        """Wait until the actor that has the key now has stopped."""
        ref = self._registry.find(self._key)
        if ref is None:
            raise LookupError(f"nobody has the key {self._key.name!r}")
        return await ref.wait_stopped()
