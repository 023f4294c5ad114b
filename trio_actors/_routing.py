"""Who of several actors gets a message, decided at the sender's side.

Rules of this file:

* The choice is made in the sender's step and the message goes straight to the chosen
  actor's mailbox, so that an answer takes no way through a pool.
* It costs the same among many: nobody is looked at who need not be. (Exceptions: all
  that are asked get it; a key that comes for the first time; the least loaded when
  nobody is idle.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from itertools import chain
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
)

from ._complaints import mailbox_full
from ._errors import MailboxFull, show
from ._gate import gate_here
from ._keys import Crew, key_hash
from ._mailbox import Door
from ._messages import DeadReason, Request, unpacked
from ._pending import Call, Pending, lose, message_of
from ._ref import ActorRef, _RequestTo, not_a_request
from ._waits import CURRENT

if TYPE_CHECKING:
    from ._cell import Cell

M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")

log = logging.getLogger("trio_actors")

Routing: TypeAlias = Literal[
    "round_robin", "random", "least_loaded", "broadcast", "first"
]
ROUTINGS = ("round_robin", "random", "least_loaded", "broadcast", "first")
IDLE = (False, 0)
"""The load of an actor that has nothing to do: nobody has less."""


def check_routing(routing: object) -> None:
    """Refuse what is no routing."""
    if not callable(routing) and routing not in ROUTINGS:
        raise ValueError(
            f"there is no routing {routing!r}. Write one of"
            f" {', '.join(map(repr, ROUTINGS))}, or a function that gives the key of"
            " a message."
        )


class Router:
    """Chooses actors for messages."""

    __slots__ = ("_make_random", "_random", "_turn", "name", "routing", "takes_turns")

    def __init__(
        self,
        routing: Routing | Callable[[Any], Hashable],
        make_random: Callable[[], Random],
        name: str,
    ) -> None:
        check_routing(routing)
        self.routing = routing
        self.name: str = name  # of those it chooses among
        # Whether whom it chooses depends on what it has chosen before.
        self.takes_turns: bool = not (self.is_race or callable(routing))
        self._make_random = make_random
        self._random: Random | None = None  # 2.5 kB, and rarely needed
        self._turn = -1

    @property
    def is_race(self) -> bool:
        """Whether a message goes to all, and the first answer is taken."""
        return self.routing in ("broadcast", "first")

    def pick(
        self, message: Any, actors: Sequence[ActorRef[Any]]
    ) -> Sequence[ActorRef[Any]]:
        """Return those of *actors*, of which there is one at least, who get it.

        Nobody gets it if none of them takes messages from the sender of this step.
        """
        if self.is_race:
            return _takers(actors)
        if self.routing in ("round_robin", "least_loaded"):
            return self._in_turn(actors)
        key = key_hash(self.routing(message)) if callable(self.routing) else None
        chosen = self._choose(actors, key)
        if takes(chosen._cell):
            return (chosen,)
        left = _takers(actors)  # rare: the chosen one is on its way out
        return (self._choose(left, key),) if left else ()

    def _choose(
        self, actors: Sequence[ActorRef[Any]], key: int | None
    ) -> ActorRef[Any]:
        if key is not None:
            return (actors if isinstance(actors, Crew) else Crew(actors)).owner(key)
        if self._random is None:
            self._random = self._make_random()
        return self._random.choice(actors)

    def _in_turn(self, actors: Sequence[ActorRef[Any]]) -> Sequence[ActorRef[Any]]:
        """Return the next that takes it, or the least loaded from there on."""
        start = (self._turn + 1) % len(actors)
        places = chain(range(start, len(actors)), range(start))
        turned = (at for at in places if takes(actors[at]._cell))
        first = next(turned, None)
        if first is None:
            return ()
        self._turn = first
        if self.routing == "round_robin":
            return (actors[first],)
        return (_least_loaded(actors[at] for at in chain([first], turned)),)


def _takers(actors: Sequence[ActorRef[Any]]) -> Sequence[ActorRef[Any]]:
    return tuple(ref for ref in actors if takes(ref._cell))


def _least_loaded(actors: Iterable[ActorRef[Any]]) -> ActorRef[Any]:
    """Return the least loaded, among equals the first; look no further than needed."""
    loads = ((ref._cell.load, ref) for ref in actors)
    best = next(loads)
    while best[0] != IDLE and (one := next(loads, None)) is not None:
        if one[0] < best[0]:
            best = one
    return best[1]


def takes(cell: Cell) -> bool:
    """Whether an actor takes a message from the sender of this step."""
    cell.runtime.touch("life", cell.path, write=False)
    door = cell.box.door
    return not door or (door is Door.INSIDE and cell.admits())


class Race:
    """One question that was sent to several actors: the first good answer is taken."""

    __slots__ = ("_abandons", "_left", "_parts", "_whole")

    def __init__(self, whole: Call[Any], *, abandons: bool) -> None:
        self._whole = whole
        self._abandons = abandons  # whether the others are stopped by an answer
        self._parts: list[Call[Any]] = []
        self._left = 0
        whole.race = self

    def send(self, targets: Sequence[ActorRef[Any]]) -> None:
        """Send a part of the question to each of several actors."""
        whole = self._whole
        call_type = whole.target.runtime.call_type
        self._left = len(targets)
        for to in targets:
            part: Call[Any] = call_type(whole.message, to._cell, whole.asker)
            part.race = self
            self._parts.append(part)
            if not to._accept(part):
                part.fail(mailbox_full(to._cell, whole.message))

    def arrived(self, part: Call[Any]) -> None:
        """Take an answer; an error counts only when it is the last."""
        if part is self._whole:
            return
        self._left -= 1
        error = part.error
        if error is None or not self._left:
            if self._whole.open:
                if error is None:
                    self._whole.answer(part.unwrap())
                else:
                    self._whole.fail(error)
            if self._abandons:
                self.abandon()

    def abandon(self) -> None:
        """Nobody waits for the parts any more."""
        for part in self._parts:
            if part.open:
                part.race = None
            part.abandon()


class RoutedRef(ActorRef[M_contra]):
    """A ref behind which there are several actors."""

    __slots__ = ("_router",)

    _router: Router

    def _actors(self) -> Sequence[ActorRef[Any]]:
        """Return who can get a message now."""
        raise NotImplementedError

    def _put_nobody(self, item: Any) -> bool:
        """Take a message for which there is nobody; False if there is no room."""
        raise NotImplementedError

    def _full(self, message: Any) -> MailboxFull:
        """Make the error for a message that even nobody could take."""
        raise NotImplementedError

    def _refuse(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of a message for which there is nobody."""
        self._cell.refuse(item, reason)

    def _leave(self, item: Any) -> bool:
        """Put down a message for which there is nobody; False if there is no room.

        From a turn that is not durable yet it goes later, perhaps to somebody.
        """
        gate = gate_here()
        if gate is None:
            return self._put_nobody(item)
        if isinstance(item, Call) and item.asker is gate.cell and gate.lets_ask(self):
            return self._put_nobody(item)
        self._cell.runtime.guard(item)  # a wrong message is its sender's error
        lost = partial(lose, gate.cell, item)
        gate.hold(self, partial(self._put_late, item), lost)
        return True

    def _put_late(self, item: Any) -> None:
        """Give what was held to whoever is there by now; its sender waits no more."""
        if self._actors():
            self._put_over(item)
        elif not self._put_nobody(item):
            self._refuse(item, "overflow")

    def _targets(self, message: Any) -> Sequence[ActorRef[Any]]:
        actors, router = self._actors(), self._router
        if router.takes_turns:
            self._cell.runtime.touch("rng", router.name)
        return router.pick(message, actors) if actors else ()

    def _keep(self, item: Any) -> bool:
        if isinstance(item, Call):
            item.target = self._cell
        return self._leave(item)

    async def _put(self, item: Any, message: Any) -> bool:
        """Put an item where there is room; return whether that was waited for."""
        waited = False
        while targets := self._targets(message):
            if len(targets) > 1:
                self._race(item, targets)
                return waited
            (target,) = targets
            if isinstance(target, RoutedRef):
                return await target._put(item, message)  # it waits in its own way
            if target._accept(item):
                return waited
            if target._cell.box.overflow != "block":
                await target._overflow(item)
            await target._wait_for_room(1)
            waited = True
            if not takes(target._cell):
                target._cell.box.release(1)  # it is on its way out: choose again
            elif target._cell.box.put_granted(
                [item], 1
            ):  # pragma: no branch  # or again
                return waited
        if not self._keep(item):
            raise self._full(message)
        return waited

    async def tell(self, message: M_contra) -> None:
        """Tell whoever is chosen; wait while a mailbox is full. As ``ActorRef``."""
        await checkpoint_if_cancelled()
        if not self._router.is_race:
            if not await self._put(message, message):
                await cancel_shielded_checkpoint()
            return
        targets = self._targets(message)
        for target in targets:
            await target.tell(message)
        if not targets:
            if not self._leave(message):
                raise self._full(message)
            await cancel_shielded_checkpoint()

    async def tell_all(self, messages: Iterable[M_contra]) -> None:
        """Tell many messages, each to whoever is chosen for it."""
        # One by one: each goes to an actor of its own.
        for message in messages:
            await self.tell(message)
        await checkpoint()

    def tell_nowait(self, message: M_contra) -> None:
        """Tell whoever is chosen, or raise MailboxFull.

        In a broadcast the others get the message nevertheless.
        """
        error: MailboxFull | None = None
        targets = self._targets(message)
        for target in targets:
            try:
                target.tell_nowait(message)
            except MailboxFull as full:
                error = full
        if not targets and not self._leave(message):
            error = self._full(message)
        if error is not None:
            raise error

    def tell_soon(self, message: M_contra) -> None:
        """Tell whoever is chosen; without room it is a dead letter."""
        targets = self._targets(message)
        for target in targets:
            target.tell_soon(message)
        if not targets and not self._leave(message):
            self._refuse(message, "overflow")

    async def ask(self, request: _RequestTo[M_contra, R]) -> R:
        """Ask whoever is chosen; of several the first good answer is taken."""
        try:
            call = self._make_call(request)
            await self._put(call, request)
        except Exception:
            await checkpoint()
            raise
        return await call.wait()

    def ask_nowait(self, request: _RequestTo[M_contra, R]) -> Pending[R]:
        """Ask whoever is chosen, or raise MailboxFull."""
        call = self._make_call(request)
        if not self._accept(call):
            chosen = call.target
            is_ours = chosen is self._cell
            raise self._full(request) if is_ours else mailbox_full(chosen, request)
        return Pending(call)

    def _make_call(self, request: _RequestTo[M_contra, R]) -> Call[R]:
        if not isinstance(request, Request):
            raise not_a_request(request)
        cell = self._cell
        call: Call[R] = cell.runtime.call_type(request, cell, CURRENT.get())
        return call

    def _race(self, pending: Call[Any], targets: Sequence[ActorRef[Any]]) -> None:
        pending.held = True  # of several answers one will do: no certain deadlock
        Race(pending, abandons=self._router.routing == "first").send(targets)

    def _accept(self, item: Any) -> bool:
        """Put a request that came by another actor into the mailbox of a chosen one."""
        targets = self._targets(message_of(item))
        if not targets:
            return self._keep(item)
        if len(targets) == 1:
            return targets[0]._accept(item)
        self._race(item, targets)
        return True

    def _put_over(self, item: Any) -> None:
        """Give what has waited for somebody to come to whoever is chosen."""
        inner = unpacked(item)
        message = message_of(inner)
        try:
            targets = self._targets(message)
        except Exception:
            # The key function failed: for the sender, who has gone on by now.
            log.exception("%s cannot choose who gets %s", self.path, show(message))
            self._refuse(inner, "unhandled")
            return
        if isinstance(inner, Call) and len(targets) > 1:
            self._race(cast("Any", inner), targets)
            return
        for target in targets:
            target._put_over(item)
        if not targets:
            self._refuse(inner, "stopped")
