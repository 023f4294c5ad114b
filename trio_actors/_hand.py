"""What an actor has in hand, owes, and has put aside; and the books of its messages.

Rules of this file:

* What is in hand is in `current`; whoever asked is in `owes` until the answer is given,
  deferred, forwarded or stashed.
* Every message that was accepted ends in exactly one counter: that is the conservation
  law. A turn that ends well is `handled`; stashing takes that back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextvars import Token
from typing import TYPE_CHECKING, Any, Protocol, cast

from ._behavior import NO_SHAPE, Actor, Shape
from ._box import Box
from ._complaints import error_for, mailbox_full
from ._errors import AskDeadlock, MailboxFull, show
from ._gate import Gate
from ._messages import Carried, DeadReason, Signal, unpacked
from ._pending import Call, message_of
from ._ref import ActorRef
from ._topics import Feed

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from ._cell import Cell
    from ._runtime import Runtime
    from ._system import ActorSystem

LOOK = 8
"""After so many messages an actor looks at the clock: a tell takes 5 % longer, and with
a look at each message it would be a third."""

EMPTY: Any = object()
"""In hand between two messages; not None, which is a message like any other."""
STASHED: Any = object()
"""In hand when the message in hand was stashed."""
RING = 16
"""How many events an actor remembers (ten are shown); a power of two for the mask."""


class Batch(list[Any]):
    """Several items in hand; a message may be a list, too."""


class Heir(Protocol):
    """What takes over what an actor leaves, and what comes too late for it."""

    def takes_rest(self, cell: Cell) -> bool:
        """Whether it takes what waits in the mailbox of an actor that ends."""
        ...

    def take_rest(self, cell: Cell, items: list[Any]) -> None:
        """Take that, in its order."""
        ...

    def take_late(self, cell: Cell, item: Any) -> bool:
        """Take what the actor refuses; False if it is a dead letter."""
        ...


class Hand:
    """The part of a cell that knows what became of each message."""

    # What most actors have never needed is not in their slots: a class attribute is its
    # default, and a dict is made when one of them changes. 200 bytes per idle actor.
    __slots__ = (
        "__dict__",
        "_noted",
        "_recent",
        "attention",
        "batching",
        "behavior",
        "box",
        "busy_since",
        "current",
        "handled",
        "left",
        "owes",
        "path",
        "quick",
        "ref",
        "runtime",
        "shape",
        "size",
        "system",
        "task",
        "worker",
    )

    box: Box
    path: str
    ref: ActorRef[Any]
    runtime: Runtime
    size: int
    system: ActorSystem
    was_started: bool

    asked: list[Call[Any]] | None = None  # what this turn has asked
    owed: dict[Call[Any], None] | None = None  # deferred, not answered yet
    stash: list[Any] | None = None
    carried: list[tuple[Any, Any, Token[Any]]] | None = None
    failed: int = 0
    abandoned: int = 0
    expired: int = 0
    dead: int = 0
    tracer: Feed[object] | None = None
    sabotage: BaseException | None = None
    gate: Gate | None = None  # of a durable actor's turn
    entity: tuple[str, str] | None = None  # of which kind, and its key
    heir: Heir | None = None  # an entity loses nothing
    due: float = math.inf  # its next reminder, by the clock on the wall
    # Its reminders that failed, the last one last, and when they may come again.
    retries: dict[str, float] | None = None

    def __init__(self) -> None:
        self.task: Task | None = None
        self.worker: Task | None = None  # whose waits are the turn's
        self.behavior: Actor[Any] | None = None  # whose handlers are called
        self.shape: Shape = NO_SHAPE
        self.quick: Shape = NO_SHAPE  # the same, unless each message is looked at
        self.current: Any = EMPTY
        self.owes: Call[Any] | list[Call[Any]] | None = None
        self.handled: int = 0
        self.batching: bool = False  # among plain handlers: `handled` lags behind
        self.attention: bool = False  # the loop has to look up from its messages
        self.left: int = 0  # how many messages until others must run
        self.busy_since: float = math.inf  # when the turn began, if it may wait
        self._recent: list[Any] | None = None
        self._noted = 0

    # --- What happened last ---

    def note(self, what: Any) -> None:
        """Remember an event: a word, or the type of a message (never the message)."""
        recent = self._recent or self.remember()
        recent[self._noted & (RING - 1)] = what
        self._noted += 1

    def remember(self) -> list[Any]:
        """Begin to remember events; an actor that was never told anything need not."""
        self._recent = [None] * RING
        if self.was_started:
            self.note("started")
        return self._recent

    def last_events(self) -> list[str]:
        """Return the last ten events, oldest first."""
        recent, noted = self._recent or self.remember(), self._noted
        last = [recent[at & (RING - 1)] for at in range(max(0, noted - 10), noted)]
        return [one if type(one) is str else one.__name__ for one in last]

    # --- What is in hand ---

    def _in_hand(self) -> Iterable[tuple[Call[Any] | None, object]]:
        """Return each item in hand: who asked (None for a tell), and the message."""
        current = self.current
        if current is EMPTY or current is STASHED:
            return
        for item in current if isinstance(current, Batch) else [current]:
            if isinstance(item, Call):
                yield item, item.message
            else:
                yield None, item

    def _size(self) -> int:
        current = self.current
        if isinstance(current, Batch):
            return len(current)
        return 0 if current is EMPTY or current is STASHED else 1

    @property
    def handling(self) -> int:
        """How many messages are in hand."""
        return self._size()

    def _all_owed(self) -> list[Call[Any]]:
        owes = self.owes
        if owes is None:
            return []
        return list(owes) if isinstance(owes, list) else [owes]

    def take_over(self, message: object, verb: str) -> Call[Any] | None:
        """Take the answer to a message in hand from the turn; None if it was told.

        Raises:
            RuntimeError: The message is not in hand.
        """
        # In a batch the same object may have been sent more than once.
        found = [pending for pending, one in self._in_hand() if one is message]
        if not found:
            raise RuntimeError(
                f"{verb}() is for the message in hand, but {self.path} has not"
                f" {show(message)} in hand."
            )
        owed = self._all_owed()
        for pending in found:
            if pending in owed:
                owed.remove(pending)
                self.owes = owed if isinstance(self.owes, list) else None
                return pending
        if None not in found:
            raise RuntimeError(
                f"{verb}(): the answer to {show(message)} was already given or taken"
                " over."
            )
        return None

    def defer(self, message: object) -> Call[Any] | None:
        """Let the answer to the request in hand come later."""
        pending = self.take_over(message, "defer_reply")
        if pending is not None:
            pending.held = True
            if self.owed is None:
                self.owed = {}
            self.owed[pending] = None  # Call.settle() takes it out
        return pending

    def hand_on(self, to: ActorRef[Any], request: Any) -> Call[Any] | None:
        """Let another actor answer the request in hand."""
        in_hand = [message for _, message in self._in_hand()]
        if len(in_hand) != 1:
            raise RuntimeError(
                f"forward() is for the one message in hand, but {self.path} has"
                f" {len(in_hand)} in hand."
            )
        pending = self.take_over(in_hand[0], "forward")
        if pending is None:
            to.tell_soon(request)
            return None
        pending.message = request
        if not to._accept(pending):
            pending.fail(mailbox_full(pending.target, request))
        elif pending.asker is not None and pending.asker.waits_for is pending:
            self._check_moved(pending)
        return pending

    @staticmethod
    def _check_moved(pending: Call[Any]) -> None:
        """The asker waits for another actor now: that may close a circle."""
        try:
            pending.check_deadlock()
        except AskDeadlock as error:
            pending.refuse(error)

    def put_aside(self, message: object) -> Call[Any] | None:
        """Stash the message in hand."""
        if isinstance(self.current, Batch):
            raise RuntimeError("a message of a batch cannot be stashed alone")
        stash = self.stash if self.stash is not None else []
        if len(stash) >= self.box.capacity:
            raise MailboxFull(
                f"the stash of {self.path} is full ({len(stash)} messages, as many as"
                " its mailbox takes). Unstash earlier, or give it a larger Mailbox.",
                path=self.path,
                message=message,
            )
        pending = self.take_over(message, "stash")
        if pending is not None:
            pending.held = True
        stash.append(self.current if self.carried is None else self._packed())
        self.stash = stash
        self.current = STASHED
        self.handled -= 1  # end_turn() counts it
        return pending

    def unstash(self) -> None:
        """Put what was stashed in front of the mailbox."""
        if self.stash is None:
            return
        stash, self.stash = self.stash, None
        for item in stash:
            content = unpacked(item)
            if isinstance(content, Call):
                content.held = False
        self.box.put_back(stash)

    def _packed(self) -> Carried:
        values = tuple((var, value) for var, value, _ in self.carried or ())
        return Carried(self.current, values)

    # --- The books ---

    def tally(self) -> dict[str, int]:
        """Return the counters: ``accepted`` is the sum of the others."""
        found = {
            "accepted": self.box.accepted,
            "queued": self.box.count,
            "stashed": len(self.stash or ()),
            "handling": self.handling,
            "handled": self.handled,
            "failed": self.failed,
            "abandoned": self.abandoned,
            "expired": self.expired,
            "dead_lettered": self.dead,
        }
        if self.batching:
            # Seen from inside of its own plain handler: the number is on its way.
            others = sum(found.values()) - found["accepted"] - found["handled"]
            found["handled"] = found["accepted"] - others
        elif self.current is STASHED:
            found["handled"] += 1  # put_aside() took off what end_turn() will add
        return found

    def clear_tally(self) -> None:
        """Start at zero: the counters were taken over."""
        self.box.accepted = 0
        self.handled = self.failed = self.abandoned = self.expired = self.dead = 0

    @property
    def handling_type(self) -> str | None:
        """The type of the message in hand."""
        for _, message in self._in_hand():
            return type(message).__name__
        return None

    def trace(self) -> Feed[object]:
        """Return the stream of the messages it takes."""
        if self.tracer is None:
            self.tracer = Feed(f"the trace of {self.path}")
            self.quick = NO_SHAPE
        return self.tracer

    # --- Dead letters ---

    def bury(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of an accepted message that nobody will handle."""
        item = unpacked(item)
        if isinstance(item, Signal):
            self.box.taken(item)
            self.expired += 1
        elif isinstance(item, Call) and item.abandoned:
            self.abandoned += 1
        else:
            self.dead += 1
            self._dead_letter(item, reason)

    def _dead_letter(self, item: Any, reason: DeadReason) -> None:
        item = unpacked(item)
        message = message_of(item)
        self.system._dead_letter(message, self.ref, reason)
        if isinstance(item, Call) and item.open:
            item.fail(error_for(reason, cast("Any", self), message))

    def _bequeath(self, heir: Heir) -> None:
        """Let somebody else handle what waits here."""
        self.unstash()
        rest: list[Any] = []
        while self.box.count:
            item = self.box.take()
            content = unpacked(item)
            if isinstance(content, Signal) or (
                isinstance(content, Call) and content.abandoned
            ):
                self.bury(item, "stopped")
            else:
                rest.append(item)
        if rest:
            self.box.accepted -= len(rest)
            heir.take_rest(cast("Any", self), rest)

    def bury_all(self, reason: DeadReason) -> None:
        """Make dead letters of all that waits, unless somebody takes it over."""
        if self.heir is not None and self.heir.takes_rest(cast("Any", self)):
            self._bequeath(self.heir)
        if self.stash is not None:
            stash, self.stash = self.stash, None
            for item in stash:
                self.bury(item, "stash")
        while self.box.count:
            self.bury(self.box.take(), reason)
