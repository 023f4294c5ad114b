"""The Box of a mailbox against a model of lists and ifs.

Hypothesis writes programs: senders of every kind, signals, put-backs, takes, doors.
After each step the box must hold what the model holds, in its order, and its books must
be right. (Section 1.7 of the design, MBX-2, ORD-1, ORD-5.)
"""

from typing import Any, Literal, TypeAlias, cast

import attrs
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from trio_actors import Mailbox
from trio_actors._box import Box
from trio_actors._mailbox import Door, Overflow
from trio_actors._messages import DeadReason, Signal
from trio_actors.testing._clock import in_order


class Tick(Signal):
    """A signal with a number."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def __repr__(self) -> str:
        return f"tick {self.number}"


Item: TypeAlias = int | Tick
Op: TypeAlias = Literal[
    "put", "wait", "burst", "signal", "take", "put_back", "grant", "cancel"
]


@attrs.define
class Owner:
    """Notes what the box gave back."""

    refused: list[Item] = attrs.Factory(list[Item])
    buried: list[Item] = attrs.Factory(list[Item])

    def admits(self) -> bool:
        return False

    def refuse(self, item: Any, reason: DeadReason) -> None:
        self.refused.append(item)

    def bury(self, item: Any, reason: DeadReason) -> None:
        self.buried.append(item)


@attrs.define
class Model:
    """What a mailbox is, without tasks and channels."""

    capacity: float
    overflow: Overflow
    front: list[Item] = attrs.Factory(list[Item])
    queue: list[Item] = attrs.Factory(list[Item])
    senders: list[list[int]] = attrs.Factory(list[list[int]])
    lost: list[int] = attrs.Factory(list[int])
    refused: list[int] = attrs.Factory(list[int])
    is_open: bool = True

    @property
    def counted(self) -> int:
        """Put-backs and signals are not counted."""
        return sum(not isinstance(one, Tick) for one in self.queue)

    @property
    def room(self) -> float:
        return self.capacity - self.counted

    def put(self, number: int) -> bool:
        """Put a message; False if its sender waits or fails."""
        if not self.is_open:
            self.refused.append(number)
        elif self.room > 0 and not self.senders:
            self.queue.append(number)
        elif self.overflow == "drop_new":
            self.refused.append(number)
        elif self.overflow == "drop_oldest":
            self._drop_oldest(number)
        else:
            return False
        return True

    def _drop_oldest(self, number: int) -> None:
        oldest = next(one for one in self.queue if not isinstance(one, Tick))
        at = self.queue.index(oldest)
        # What was in front of it is in front of everything now; it counts as little.
        self.front += self.queue[:at]
        self.queue = [*self.queue[at + 1 :], number]
        self.lost.append(oldest)

    def grant(self) -> None:
        """Let those in who wait, in their order; who has more waits behind them."""
        again: list[list[int]] = []
        while self.senders and self.room > 0:
            sender = self.senders.pop(0)
            while sender and self.room > 0:
                self.queue.append(sender.pop(0))
            if sender:
                again.append(sender)
        self.senders += again

    def take(self) -> Item:
        return (self.front or self.queue).pop(0)


class Play:
    """Plays one program on a box and on the model."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.owner = Owner()
        self.box = Box(mailbox, self.owner)
        self.model = Model(mailbox.capacity, mailbox.overflow)
        self.number = 0
        self.scopes: list[tuple[list[int], trio.CancelScope]] = []

    def next(self, count: int = 1) -> list[int]:
        self.number += count
        return list(range(self.number - count, self.number))

    async def run(self, ops: list[Op]) -> None:
        async with trio.open_nursery() as nursery:
            for op in ops:
                await self.step(op, nursery)
                await trio.testing.wait_all_tasks_blocked()
                self.check()
            self.model.is_open = False
            self.model.refused += [one for sent in self.model.senders for one in sent]
            self.model.senders.clear()
            self.box.shut(Door.CLOSED, "stopped")
            await trio.testing.wait_all_tasks_blocked()
            assert self.box.put(-1)
            assert self.owner.refused.pop() == -1
            self.box.put_signal(Tick(-1))
        self.check()
        self.empty()

    async def step(self, op: Op, nursery: trio.Nursery) -> None:
        box, model = self.box, self.model
        if op == "put":
            (number,) = self.next()
            assert box.put(number) == model.put(number)
        elif op in ("wait", "burst"):
            numbers = self.next(1 if op == "wait" else 5)
            left = [one for one in numbers if model.senders or not model.put(one)]
            if not left:
                assert all(box.put(one) for one in numbers)
            elif model.overflow == "block":
                model.senders.append(left)
                nursery.start_soon(self.send, numbers, left)
            else:
                put = [box.put(one) for one in numbers]
                assert not all(put)
        elif op == "signal":
            tick = Tick(*self.next())
            model.queue.append(tick)
            box.put_signal(tick)
        elif op == "take":
            self.take()
        elif op == "put_back" and (model.front or model.queue):
            item = self.take()
            model.front.insert(0, item)
            box.put_back([item])
        elif op == "grant":
            model.grant()
            box.grant()
        elif op == "cancel" and self.scopes:
            left, scope = self.scopes.pop(0)
            scope.cancel()
            model.senders = [one for one in model.senders if one is not left]

    def take(self) -> Item:
        if not (self.model.front or self.model.queue):
            assert not self.box.count
            return -1
        item = cast("Item", self.box.take())
        if isinstance(item, Tick):
            self.box.taken(item)
        assert item is self.model.take()
        return item

    async def send(self, numbers: list[int], left: list[int]) -> None:
        """As `tell_all()` does it."""
        with trio.CancelScope() as scope:
            self.scopes.append((left, scope))
            rest = list(numbers)
            while rest and self.box.put(rest[0]):
                rest.pop(0)
            while rest:
                room = await self.box.wait_for_room(len(rest))
                assert self.box.put_granted(rest, room) == room
                del rest[:room]
        self.scopes = [one for one in self.scopes if one[1] is not scope]

    def check(self) -> None:
        box, model = self.box, self.model
        assert box.count == len(model.front) + len(model.queue)
        assert self.owner.buried == model.lost
        assert self.owner.refused == model.refused
        assert len(box.waiting or ()) == len(model.senders)
        has_room = model.is_open and not model.senders and model.room > 0
        assert (not box.door and not box.waiting and box._free() > 0) == has_room
        if len(box.tail) < box.room:
            assert has_room
            assert box.room - len(box.tail) <= model.room

    def empty(self) -> None:
        while self.box.count:
            self.take()
        assert not self.model.front
        assert not self.model.queue


OPS: list[Op] = [
    "put", "put", "wait", "wait", "burst", "signal", "take", "take", "put_back",
    "grant", "cancel",
]  # fmt: skip


@settings(max_examples=300)
@given(
    st.sampled_from([1, 2, 3, 5, float("inf")]),
    st.sampled_from(["block", "drop_new", "drop_oldest", "fail"]),
    st.lists(st.sampled_from(OPS), max_size=40),
)
def test_a_box_holds_what_the_model_holds(
    capacity: float, overflow: Overflow, ops: list[Op]
) -> None:
    play = Play(Mailbox(int(capacity) if capacity < 9 else capacity, overflow))
    with in_order():
        trio.run(play.run, ops)
