"""What is held back: messages in their boxes, and answers.

Rules of this file:

* Each is an event that happens when it is chosen. A message stays in its box until
  then, so that what the box says of itself (count, room, door) is what production says.
* What can no longer happen is told to the pilot, who keeps its ghost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import attrs
import trio
from trio.lowlevel import Abort

from .._behavior import shape_of
from .._bursts import NOTHING
from .._errors import show
from .._guard import GatedBox
from .._halts import Watch
from .._mailbox import Door, Mailbox, Owner
from .._messages import DeadReason, Exit, Signal, Terminated, unpacked
from .._pending import message_of
from .._ref import ActorRef
from .._timers import Tick
from .._waits import CURRENT
from ._events import Event
from ._seam import WorldCall

if TYPE_CHECKING:
    from .._cell import Cell
    from ._pilot import Pilot

R_co = TypeVar("R_co", covariant=True)

TIGHT = 64
"""A mailbox for fewer messages is one that a test may fill: who comes first matters."""


def content_of(item: Any) -> Any:
    """Return what an actor will get: without the wraps of the way."""
    if isinstance(item, Tick):
        return item._timer.message
    if isinstance(item, Watch):
        ended = Terminated(ActorRef(item.target), cast("Exit", item.target.exit))
        return ended if item.message is None else item.message
    return message_of(unpacked(item))


@attrs.define(eq=False)
class Held(Event):
    """An event, and what happens when it is chosen."""

    apply: Callable[[Held], None] = attrs.field(kw_only=True)
    item: Any = None
    box: HeldBox | None = None
    """Where it waits, if it is a message."""
    error: BaseException | None = None
    serial: int = 0
    foreseen: object = None
    """For which behaviour of the receiver the footprint was foreseen."""
    reads: bool = False
    """Whether it is foreseen that it only reads."""

    def describe(self) -> None:
        """Say what it is, for a report; for each of 10,000 runs that costs too much."""
        item = self.item if self.error is None else self.error
        if not self.label and item is not None:
            self.label = show(content_of(item))


class HeldBox(GatedBox):
    """The mailbox of an actor that gets one message at a time, the one chosen."""

    burst: ClassVar[int] = 0  # each message is looked at
    __slots__ = ("_batches", "cell", "held", "most", "path", "pilot", "tight")

    def __init__(self, mailbox: Mailbox, owner: Owner) -> None:
        super().__init__(mailbox, owner)
        cell = self.cell = cast("Cell", owner)
        self.path: str = cell.path
        self.held: dict[Held, None] = {}  # in the order of their sending
        self.most: float = mailbox.capacity
        cls = cell.recipe.cls
        # What is sent meanwhile is in the batch, or is not.
        self._batches: bool = cls is not None and shape_of(cls).has_batch
        self.tight: bool = self._batches or self.most < TIGHT  # a test may fill it
        self.pilot: Pilot = cast("Pilot", cell.runtime)
        self.pilot.boxes[self.path] = self

    def configure(self, mailbox: Mailbox) -> None:
        """Take the capacity and overflow of *mailbox* from now on."""
        self.most = mailbox.capacity
        self.tight = self._batches or self.most < TIGHT
        super().configure(mailbox)

    def take_batches(self) -> None:
        """From now on, what is sent meanwhile is in the batch, or is not."""
        self._batches = self.tight = True

    @property
    def count(self) -> int:
        """How many items are stored."""
        return len(self.hand) + len(self.held)

    def _touch_room(self) -> None:
        if self.tight or self.pilot.weighs:
            self.pilot.touch("room", self.path)
        elif len(self.held) >= self.mailbox.capacity:
            self.pilot.note(f"the mailbox of {self.path} was full")

    def put_slow(self, item: Any) -> bool:
        """Put an item; whether it gets in depends on who else sends, or stops it."""
        if self.holds_back(item):
            return True
        pilot = self.pilot
        pilot.touch("life", self.path, write=False)
        matters = self.tight or pilot.weighs or self.door or self.waiting
        if matters or len(self.held) >= self.most:
            self._touch_room()
            return super().put_slow(item)
        self._taken += 1  # what there is room for: a tenth of a long run
        pilot.mail(self, item)
        return True

    def put_signal(self, signal: Signal) -> None:
        """Put what the actor has asked for; whether it still gets in depends on it."""
        self.pilot.touch("life", self.path, write=False)
        super().put_signal(signal)

    def put_over(self, item: Any) -> None:
        """Put a message that has waited for its turn elsewhere."""
        self.pilot.touch("life", self.path, write=False)
        self._touch_room()
        super().put_over(item)

    def put_granted(self, items: list[Any], room: int) -> int:
        """Put items into granted room, if nobody has shut the door meanwhile."""
        self.pilot.touch("life", self.path, write=False)
        self._touch_room()
        return super().put_granted(items, room)

    def shut(self, door: Door, refusal: DeadReason) -> None:
        """Close the door further: whose messages still get in changes."""
        if door > self.door:
            self.pilot.touch("life", self.path)
        super().shut(door, refusal)

    def let_go(self, over: Any) -> None:
        """Cut the circles around an actor whose run is over.

        Args:
            over: Who asks for the ref, in another run, gets this.
        """
        cell = self.cell
        cell.task = cell.worker = cell._context = self.trap = None
        cell.ref = over
        del self.cell, self.owner

    async def wait_for_room(self, wants: int) -> int:
        """Wait for room; who waits stands in the way of others."""
        try:
            return await super().wait_for_room(wants)
        except trio.Cancelled:
            self._touch_room()
            if (asker := CURRENT.get()) is not None and self.pilot.circles is not None:
                self.pilot.circles.cut(asker, self.cell)
            raise

    def add(self, items: list[Any]) -> None:
        """Store *items* until they are chosen."""
        for item in items:
            self._taken += 1
            self.pilot.mail(self, item)

    def wake(self) -> None:
        """Wake the actor, unless it is for messages that are held back."""
        if self.hand or self.cell.attention:
            super().wake()

    def deliver(self, held: Held) -> None:
        """Let the actor take what was chosen."""
        del self.held[held]
        if self.hand is NOTHING:
            self.hand = []
        self.hand.append(held.item)
        self._before = 1
        if self.tight or self.pilot.weighs:
            self._touch_room()
            self._set_limit()
        super().wake()

    def take(self) -> object:
        """Take the first item; at the end of the actor that is one held back."""
        if self.hand:
            return super().take()
        return self._take_back(next(iter(self.held)))

    def _take_back(self, held: Held) -> object:
        del self.held[held]
        self.pilot.miss(held)
        return held.item

    def lose(self, held: Held) -> None:
        """Let a message be lost on its way: it was never here."""
        del self.held[held]
        self._taken -= 1

    def double(self, copy: Held) -> None:
        """Let a message come twice."""
        self.held[copy] = None
        self._taken += 1

    def has_oldest(self) -> bool:
        """Whether there is an item that may be dropped."""
        return any(not isinstance(held.item, Signal) for held in self.held)

    def take_oldest(self) -> object:
        """Take the oldest such item."""
        plain = (held for held in self.held if not isinstance(held.item, Signal))
        return self._take_back(next(plain))

    def reads_only(self, item: Any) -> bool:
        """Whether the handler says that it changes nothing, and cannot wait."""
        shape = self.cell.shape
        message: object = item.message if type(item) is HeldCall else item
        info = shape.found.get(type(message))
        if info is None:  # it is another wrap, or the first message of its type
            if isinstance(item, Signal):
                return False
            message = content_of(item)
            info = shape.handler_of(type(message))
        return info is not None and info.reads_only and not info.is_async


class HeldCall(WorldCall[R_co]):
    """A request whose answer arrives when it is chosen."""

    __slots__ = ("asked_by", "asked_for")

    def __init__(self, message: Any, target: Cell, asker: Cell | None) -> None:
        super().__init__(message, target, asker)
        pilot = cast("Pilot", target.runtime)
        self.asked_for: str = pilot.who()
        self.asked_by: str = self.asked_for
        if pilot.many:
            self.asked_by = pilot.senders.name(self.asked_for)

    def answer(self, value: Any, error: BaseException | None = None) -> None:
        """Give the answer, which is then on its way."""
        if self.open:
            self.given = True
            cast("Pilot", self.target.runtime).reply(self, value, error)
        else:
            super().answer(value, error)

    def abort(self, _: object) -> Abort:
        """Take the asker out, who would have waited longer in another order."""
        asker, circles = self.asker, cast("Pilot", self.target.runtime).circles
        if circles is not None and asker is not None and asker.waits_for is self:
            circles.cut(asker, self.target)
        return super().abort(_)

    def arrive(self, held: Held) -> None:
        """Let the answer arrive; it is late if nobody waits any more."""
        self.given = False
        super().answer(held.item, held.error)
