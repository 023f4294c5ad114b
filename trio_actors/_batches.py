"""The loop of an actor over its messages: in batches, or one by one.

Rules of this file:

* An actor that finds messages handles up to a batch of them before others run; each
  time it looks for what interrupts it, and now and then at the clock.
* What has to be seen to before the next message sets `attention`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from ._behavior import NO_SHAPE, Actor, Shape
from ._bursts import NOTHING
from ._halts import Halt
from ._hand import EMPTY, LOOK
from ._life import Life
from ._pending import Call

if TYPE_CHECKING:
    import trio


class Batches(Life):
    """The part of a cell that takes messages from the mailbox."""

    __slots__ = ()

    # Of the other parts, and written here: the types are complete for each class.
    attention: bool
    batching: bool
    behavior: Actor[Any] | None
    current: Any
    halt: Halt
    handled: int
    left: int
    quick: Shape
    scope: trio.CancelScope | None
    shape: Shape
    size: int

    def _must_end(self) -> bool:
        """Whether the incarnation ends before its next message."""
        if self.asked is not None and self.current is EMPTY:
            self.abandon_asked()
        if self._injected is not None:
            return True
        halt = self.halt
        return bool(halt) and (halt is not Halt.DRAIN or self.me.is_drained())

    def ends_receiving(self) -> bool:
        """Whether a function's ``async for`` ends here."""
        return self.me.is_drained() if self.halt is Halt.DRAIN else bool(self.halt)

    def begin_batch(self) -> None:
        """Allow as many messages as may be handled until others run."""
        # Everybody notes it in one place: who waits in between has let others run.
        self.left, self.runtime.began = self.size, time.perf_counter()

    def late(self) -> bool:
        """Whether the time of the batch is over; then no more of it is left."""
        if time.perf_counter() - self.runtime.began < self.runtime.slice:
            return False
        self.size -= self.left  # so many it was
        self.left = 0
        return True

    def end_batch(self) -> None:
        """See to it that others are not starved for more than a slice of time."""
        taken = time.perf_counter() - self.runtime.began
        self.size = self.runtime.next_batch(self.size, taken)
        self.box.mark()

    def _look_up(self) -> bool:
        """Look up from the messages; return whether there will be another one."""
        self.attention = False
        looked_at = self.tracer is not None or self.sabotage is not None
        self.quick = NO_SHAPE if looked_at else self.shape
        if self.recipe.is_function or self._must_end():
            return False
        return self.scope is not None or not self.shape.is_async

    def _may_rest(self) -> bool:
        """Return whether the actor may sleep now that no message waits."""
        self.signal()  # somebody may wait until we are idle
        self.attention = self._must_end()
        return not self.attention

    def _handle_only(self) -> bool:
        """Handle the only message there is; return whether the actor may sleep again.

        What comes to a sleeper and lets it sleep again needs no batch: that is 12 % of
        a ring, and 6 % of an ask. False, too, if it has to be looked at more closely.
        """
        box, fast = self.box, self.quick.fast
        hand, tail = box.hand, box.tail
        if len(tail) != 1 or hand or self.attention or box.between or hand is NOTHING:
            return False
        item: object = tail[0]
        kind = type(item)
        call = fast.get(kind)
        if call is not None:
            box._taken += 1
            self.current = tail.pop()
            (self._recent or self.remember())[self._noted & 15] = kind
            self._noted += 1
            call(self.behavior, item)
            self.handled += 1
        elif (
            isinstance(item, Call)
            and (call := fast.get(type(item.message)))  # pyright: ignore[reportUnknownArgumentType]
            and not item.abandoned
        ):
            box._taken += 1
            self.current = tail.pop()
            recent = self._recent or self.remember()
            recent[self._noted & 15] = type(item.message)
            self._noted += 1
            done = self.answer_now(item, call)  # pyright: ignore[reportUnknownArgumentType]
            self.handled += done  # which has changed, if the message was stashed
        else:
            return False
        self.current = EMPTY
        if box.tail or box.hand or box.waiting or self.halt or self._lot:
            return False
        return not self.attention  # which the handler may have changed

    def _handle(self) -> Awaitable[object] | None:
        """Handle a batch of messages; return what must be awaited before it goes on.

        Messages for plain handlers are handled right here. What is counted is written
        back once (per message it cost 4 % of a tell), before anybody else can run.
        """
        box, behavior, hand = self.box, self.behavior, self.box.hand
        quick, fast = self.quick, self.quick.fast
        recent, at = self._recent or self.remember(), self._noted
        few, done, self.batching = 0, 0, True
        try:
            while not self.attention:
                if not hand:
                    if not (box.tail or box.hand):
                        break
                    hand = box.refill()
                if not few:  # until the next look at the clock
                    left = self.left
                    if not left or (
                        left < self.size and not left % LOOK and self.late()
                    ):
                        break
                    few = left % LOOK or LOOK
                    self.left = left - few
                few -= 1
                item: object = hand.pop()
                self.current = item
                kind = type(item)
                if (call := fast.get(kind)) is not None:
                    recent[at & 15] = kind
                    at += 1
                    call(behavior, item)
                    done += 1
                elif (
                    isinstance(item, Call)
                    and (call := fast.get(type(item.message)))  # pyright: ignore[reportUnknownArgumentType]
                    and not item.abandoned
                ):
                    recent[at & 15] = type(item.message)
                    at += 1
                    done += self.answer_now(item, call)  # pyright: ignore[reportUnknownArgumentType]
                elif kind in quick.waits:
                    recent[at & 15] = kind
                    at += 1
                    self.begin_wait()
                    return quick.waits[kind](behavior, item)
                else:
                    self.handled, self._noted, done = self.handled + done, at, 0
                    self.left, few, self.batching = self.left + few, 0, False
                    work = self.begin(item)
                    at, hand = self._noted, box.hand
                    if work is not None:
                        return work
                    self.batching = True
            self.current = EMPTY
        finally:
            self.handled += done
            self._noted = at if at > self._noted else self._noted  # noqa: FURB136  # dear
            self.left, self.batching = self.left + few, False
        return None
