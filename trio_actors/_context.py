"""What an actor can do besides handling a message.

Rules of this file:

* Everything acts on the actor's own cell, at once; other actors are reached by refs.
* What ``started()`` may do again at each restart (`watch`, `register`, `subscribe`) is
  a no-op the second time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from random import Random
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Never,
    TypeVar,
    TypeVarTuple,
    cast,
    overload,
)

from ._cell import Cell
from ._errors import show
from ._halts import Watch, death_pact
from ._messages import Request, Terminated
from ._pending import Reply
from ._ref import ActorRef, _KeyFor, _RequestTo, _SourceOf
from ._registry import ServiceKey
from ._spawner import _Spawner
from ._supervisor import Family, family_of
from ._timers import FROM_MESSAGE, cancel_timer, set_timer
from ._topics import Topic

if TYPE_CHECKING:
    from ._system import ActorSystem

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
M_co = TypeVar("M_co", covariant=True)
R = TypeVar("R")
Ts = TypeVarTuple("Ts")
AnyRequest = TypeVar("AnyRequest", bound="Request[Any]")


class Context(_Spawner, Generic[M_contra]):
    """What an actor can do besides handling a message."""

    __slots__ = ("_cell", "_random")

    def __init__(self, cell: Cell) -> None:
        self._cell: Cell = cell
        self._random: Random | None = None

    def _family(self) -> Family:
        return family_of(self._cell)

    # --- Who it is ---

    @property
    def ref(self) -> ActorRef[M_contra]:
        """The actor's own ref."""
        return self._cell.ref

    @property
    def system(self) -> ActorSystem:
        """The system it runs in."""
        return self._cell.system

    @property
    def parent(self) -> ActorRef[Never] | None:
        """Its parent, None at the top."""
        owner = self._cell.family.owner
        return owner.ref if owner is not None else None

    @property
    def children(self) -> Mapping[str, ActorRef[Never]]:
        """Its running children by name, in start order."""
        family = self._cell.under
        self._cell.runtime.touch("spawn", self._cell.path)
        cells = family.in_order() if family is not None else []
        return MappingProxyType({cell.name: cell.ref for cell in cells})

    @property
    def incarnation(self) -> int:
        """1 at first, one more at each restart."""
        return self._cell.incarnation

    @property
    def random(self) -> Random:
        """This actor's own seeded random numbers."""
        self._cell.runtime.touch("turn", self._cell.path)  # the next one is another
        if self._random is None:
            self._random = self._cell.runtime.random(self._cell.path)
        return self._random

    @property
    def deadline(self) -> float:
        """When the asker of the message in hand gives up, if it is on another node.

        Infinity for a local request: its cancellation arrives by itself.
        """
        return float("inf")

    # --- Its end ---

    def stop(self, detail: str = "") -> None:
        """End normally after the message in hand.

        A permanent actor is started again. What is queued is kept then; otherwise it
        becomes dead letters. (OTP's ``{stop, normal, State}``.)
        """
        self._cell.command("return", detail)

    # --- Watching ---

    @overload
    def watch(self: Context[Terminated], ref: ActorRef[Never]) -> None: ...
    @overload
    def watch(self, ref: ActorRef[Never], message: M_contra) -> None: ...
    def watch(self, ref: ActorRef[Never], message: Any = None) -> None:
        """Get ``Terminated(ref, reason)``, or *message*, when *ref* has stopped.

        Once, after the messages it sent before; not when it is restarted. If it has
        stopped already, at once. Watching again is a no-op; another *message* replaces
        the first. A ``Terminated`` without a handler is a DeathPact. (OTP's
        ``monitor``, one per actor; Akka's ``watch`` and ``watchWith``.)
        """
        cell, target = self._cell, cell_of(ref, "watch")
        cell.runtime.touch("watch", target.path)
        if cell.watching is None:
            cell.watching = {}
        watch = cell.watching.get(target)
        if watch is not None:
            watch.message = message
            return
        watch = cell.watching[target] = Watch(cell, target, message)
        if target.phase == "stopped":
            cell.box.put_signal(watch)
            return
        if target.watchers is None:
            target.watchers = {}
        target.watchers[watch] = None

    def unwatch(self, ref: ActorRef[Never]) -> None:
        """Take a watch back, even when its message is already queued."""
        cell, target = self._cell, cell_of(ref, "unwatch")
        cell.runtime.touch("watch", target.path)
        watch = cell.watching.pop(target, None) if cell.watching else None
        if watch is not None and target.watchers is not None:
            target.watchers.pop(watch, None)

    def link(self, ref: ActorRef[Never]) -> None:
        """Fail with DeathPact when *ref* ends abnormally, and the other way round.

        If it has ended so already, at once. (OTP's ``link``, without trapping exits:
        use ``watch()`` for that.)
        """
        cell, other = self._cell, cell_of(ref, "link")
        cell.runtime.touch("watch", other.path)
        if other is cell:
            return
        if other.exit is not None:
            if not other.exit.is_normal:
                cell.fail(death_pact(other))
            return
        for one, two in ((cell, other), (other, cell)):
            if one.links is None:
                one.links = {}
            one.links[two] = None

    def unlink(self, ref: ActorRef[Never]) -> None:
        """Undo ``link()``."""
        cell, other = self._cell, cell_of(ref, "unlink")
        cell.runtime.touch("watch", other.path)
        for one, two in ((cell, other), (other, cell)):
            if one.links is not None:
                one.links.pop(two, None)

    # --- Timers ---

    def send_after(
        self, delay: float, message: M_contra, *, key: Hashable = FROM_MESSAGE
    ) -> None:
        """Tell *message* to this actor in *delay* seconds.

        An earlier timer of the same key is replaced, and its message, if queued
        already, is not delivered. The default key is the message itself. Timers end
        with the incarnation.

        Raises:
            ValueError: *delay* is negative or not finite.
            TypeError: The key is not hashable.
        """
        set_timer(self._cell, delay, message, key, repeat=False)

    def send_every(
        self, interval: float, message: M_contra, *, key: Hashable = FROM_MESSAGE
    ) -> None:
        """Tell *message* to this actor every *interval* seconds.

        A tick that comes while the one before it still waits is left out. Otherwise as
        ``send_after()``.
        """
        set_timer(self._cell, interval, message, key, repeat=True)

    def cancel_timer(self, key: Hashable) -> None:
        """Cancel the timer of *key*, and its message if that is queued already."""
        cancel_timer(self._cell, key)

    # --- The message in hand ---

    @overload
    def stash(self, message: Request[R]) -> Reply[R]: ...  # type: ignore[overload-overlap]
    @overload
    def stash(self, message: object) -> None: ...
    def stash(self, message: object) -> Reply[Any] | None:
        """Put the message in hand aside until ``unstash_all()``.

        A restart puts it back in front of the mailbox.

        Raises:
            RuntimeError: The message is not in hand.
            MailboxFull: As much is stashed as the mailbox takes.
        """
        pending = self._cell.put_aside(message)
        if isinstance(message, Request):
            return Reply(pending, owed=False)
        return None

    def unstash_all(self) -> None:
        """Put what was stashed in front of the mailbox, in order."""
        self._cell.unstash()

    def defer_reply(self, request: Request[R]) -> Reply[R]:
        """Take over the answer to the request in hand, to give it later.

        If the actor ends or restarts before that, the asker gets ActorFailed.

        Raises:
            RuntimeError: The request is not in hand.
        """
        return Reply(self._cell.defer(request), owed=True)

    @overload
    def forward(self, to: ActorRef[M], request: _RequestTo[M, R]) -> Reply[R]: ...
    @overload
    def forward(
        self, to: ActorRef[AnyRequest], request: AnyRequest
    ) -> Reply[object]: ...
    def forward(self, to: ActorRef[Any], request: Any) -> Reply[Any]:
        """Let *to* answer the request in hand by answering *request*.

        The answer goes straight to the asker. If *to* has no room, the asker gets
        MailboxFull; if the request was told, it is told on.

        Raises:
            RuntimeError: No request is in hand.
        """
        pending = self._cell.hand_on(to, request)
        return Reply(pending, owed=False)

    # --- Tasks, keys, topics ---

    def start_soon(self, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Run a task beside the handlers; its crash is the actor's failure.

        It ends with the incarnation: then it is cancelled, and awaited.

        Raises:
            TypeError: *fn* is a coroutine, not a function.
            ActorStopped: The actor is stopping.
        """
        if not callable(cast("object", fn)):
            close = getattr(fn, "close", None)
            if close is not None:
                close()
            raise TypeError(
                f"start_soon() wants an async function, but got {show(fn)}. Probably"
                " you wrote\n    context.start_soon(work(1))\nInstead, write\n   "
                " context.start_soon(work, 1)"
            )
        family_of(self._cell).start_task(fn, args)

    def register(self, key: _KeyFor[M_contra]) -> None:
        """Be found under *key* until it stops; NameTaken if it is unique and taken."""
        self._cell.system.register(cast("ServiceKey[Any]", key), self._cell.ref)

    def unregister(self, key: _KeyFor[M_contra]) -> None:
        """Undo ``register()``."""
        self._cell.system.unregister(cast("ServiceKey[Any]", key), self._cell.ref)

    def subscribe(self, topic: _SourceOf[M_contra]) -> None:
        """Get what is published on *topic* as messages.

        What finds no room in the mailbox is a dead letter: give the actor a Mailbox
        with ``overflow="drop_oldest"`` if only the newest counts.
        """
        self._cell.system._topics.join(cast("Topic[Any]", topic).name, self._cell)

    def unsubscribe(self, topic: _SourceOf[M_contra]) -> None:
        """Undo ``subscribe()``."""
        self._cell.system._topics.leave(cast("Topic[Any]", topic).name, self._cell)

    def heartbeat(self) -> None:
        """Say "not hung" in the middle of a long handler."""
        self._cell.alive_at = self._cell.runtime.now()


def cell_of(ref: ActorRef[Any], verb: str) -> Cell:
    """Return the one actor behind a ref; TypeError if there is none, or many."""
    if not isinstance(cast("object", ref), ActorRef) or ref._is_no_one:
        advice = getattr(ref, "_is_no_one", "Find one by system.find().")
        raise TypeError(
            f"{verb}() wants the ref of one actor, but got {ref!r}. {advice}"
        )
    return ref._cell
