"""What is stored in more than one burst: against a model, directly and in an actor.

A burst is 64 messages, and what lies between the first and the last one is in a memory
channel. Here the mailboxes are large enough for it. (MBX-1, MBX-2, ORD-1, ORD-5.)
"""

import math
from collections import deque
from typing import Any, Literal, cast

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from tests.kit import Calls
from tests.test_box_machine import OPS, Op, Play, Tick
from trio_actors import Actor, Mailbox, MailboxFull, handler
from trio_actors._box import Box
from trio_actors._bursts import BATCH, NOTHING, Bursts
from trio_actors._guard import guarded_box
from trio_actors._mailbox import Overflow
from trio_actors._messages import DeadReason, Signal
from trio_actors.testing import World
from trio_actors.testing._clock import in_order

CAPACITIES = [60, 63, 64, 65, 100, 127, 128, 129, 140, math.inf]

# --- The box ----------------------------------------------------------------


class Many(Play):
    """Does each thing many times, and keeps the books, too."""

    def __init__(self, mailbox: Mailbox, counts: list[int]) -> None:
        super().__init__(mailbox)
        self.counts = iter(counts)
        self.taken = 0
        self.most = 0

    async def step(self, op: Op, nursery: trio.Nursery) -> None:
        for _ in range(next(self.counts)):
            held = len(self.model.front) + len(self.model.queue)
            await super().step(op, nursery)
            if op == "take" and held:
                self.taken += 1

    def check(self) -> None:
        super().check()
        box, model = self.box, self.model
        self.most = max(self.most, box.count)
        box.mark()
        assert box.high_water == self.most
        held = len(model.front) + len(model.queue)
        assert box.accepted == self.taken + held + len(model.lost)
        stored = box.count - box.put_backs
        assert stored <= box.capacity + sum(
            isinstance(one, Tick) for one in model.front + model.queue
        )
        assert box.put_backs <= len(model.front)
        assert bool(box.hand or box.tail) == bool(box.count)


def guarded(mailbox: Mailbox, play: Many) -> None:
    """Let each message be looked at on its way in."""
    play.box = guarded_box(lambda item: item, Box)(mailbox, play.owner)


@pytest.mark.parametrize("looks", [False, True])
@settings(max_examples=200)
@given(
    st.sampled_from(CAPACITIES),
    st.sampled_from(["block", "drop_new", "drop_oldest", "fail"]),
    st.lists(st.tuples(st.sampled_from(OPS), st.integers(1, 70)), max_size=30),
)
def test_a_large_box_holds_what_the_model_holds(
    looks: bool, capacity: float, overflow: Overflow, ops: list[tuple[Op, int]]
) -> None:
    """As `test_box_machine`, over several bursts; and the books are right, too."""
    mailbox = Mailbox(capacity, overflow)
    play = Many(mailbox, [count for _, count in ops])
    if looks:
        guarded(mailbox, play)
    with in_order():
        names: list[Op] = [op for op, _ in ops]
        trio.run(play.run, names)


# --- The store --------------------------------------------------------------


class Store:
    """Some bursts and what should be in them: put-backs apart, then the rest."""

    def __init__(self) -> None:
        self.bursts = Bursts(math.inf)
        self.front: deque[int] = deque()
        self.queue: deque[Any] = deque()
        self.number = 0
        self.accepted = 0

    def add(self, count: int) -> None:
        items = list(range(self.number, self.number + min(count, BATCH)))
        self.number += len(items)
        self.accepted += len(items)
        self.queue += items
        self.bursts.add(items)

    def signal(self, count: int) -> None:
        tick = Tick(-count)
        self.accepted += 1
        self.queue.append(tick)
        self.bursts.add([tick])

    def take(self, count: int) -> None:
        for _ in range(min(count, len(self.front) + len(self.queue))):
            wanted = (self.front or self.queue).popleft()
            assert self.bursts.take() is wanted

    def put_back(self, count: int) -> None:
        """Several at once, as they come out of a stash."""
        count = min(count, len(self.front) + len(self.queue))
        if not count:
            return  # what is put back was taken before
        again = [(self.front or self.queue).popleft() for _ in range(count)]
        assert [self.bursts.take() for _ in range(count)] == again
        self.front.extendleft(reversed(again))
        self.bursts.put_in_front(again)

    def oldest(self, count: int) -> None:
        """Signals and put-backs are never dropped."""
        for _ in range(count):
            oldest = next(
                (one for one in self.queue if not isinstance(one, Tick)), None
            )
            if oldest is None:
                assert not self.bursts.has_oldest()
                return
            self.queue.remove(oldest)
            hand = self.bursts.hand
            assert self.bursts.has_oldest()
            assert self.bursts.take_oldest() == oldest
            # The loop of an actor may have it in its hand.
            assert self.bursts.hand is hand or hand is NOTHING

    def refill(self, count: int) -> None:
        hand = self.bursts.refill()
        held = len(self.front) + len(self.queue)
        assert bool(hand) == bool(held)

    def check(self) -> None:
        bursts = self.bursts
        assert bursts.count == len(self.front) + len(self.queue)
        assert bursts.accepted == self.accepted
        assert bursts.put_backs <= len(self.front)
        assert len(bursts.tail) <= BATCH
        assert bool(bursts.hand or bursts.tail) == bool(bursts.count)


DOES = ["add", "add", "add", "signal", "take", "take", "put_back", "oldest", "refill"]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(DOES), st.integers(1, 130)), max_size=40))
def test_the_bursts_keep_their_order(program: list[tuple[str, int]]) -> None:
    """ORD-1: whatever is put back, dropped from the middle, or taken in between."""
    store = Store()
    for verb, count in program:
        getattr(store, verb)(count)
        store.check()
    store.take(store.bursts.count)
    assert not store.bursts.count


def test_a_put_back_into_what_was_never_used_is_none() -> None:
    """Nothing can be put back where nothing was taken."""
    bursts = Bursts(10)
    assert (bursts.count, bursts.put_backs, bursts.accepted) == (0, 0, 0)
    assert bursts.hand is bursts.tail is NOTHING
    assert bursts.refill() is NOTHING


@pytest.mark.parametrize("capacity", [1, 2, 63, 64, 65, 128, 129, 1000])
async def test_room_is_what_is_left_whatever_is_put_and_taken(capacity: int) -> None:
    """MBX-1: never one too many by the short way in, nor one too few."""
    play = Play(Mailbox(capacity, "fail"))
    box = play.box
    held = 0
    for taken in (0, 1, capacity // 2, capacity):
        for _ in range(min(taken, box.count)):
            one = box.take()
            if isinstance(one, Tick):
                box.taken(one)
            else:
                held -= 1
        box.put_signal(Tick(0))
        put = 0
        while box.put(put):
            put += 1
        assert put == capacity - held
        held += put


# --- In an actor --------------------------------------------------------------


@attrs.frozen
class Note:
    number: int
    tells: int = 0
    """How many more its handler sends to itself."""


def do(actor: Actor[Note], seen: list[object], message: Note) -> None:
    """Send to itself."""
    seen.append(message.number)
    for number in range(message.tells):
        try:
            actor.context.ref.tell_nowait(Note(10_000 * message.number + number))
        except MailboxFull:
            seen.append("full")
            break


class Plain(Actor[Note]):
    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    @handler
    def note(self, message: Note) -> None:
        do(self, self.seen, message)


class Async(Actor[Note]):
    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    @handler
    async def note(self, message: Note) -> None:
        do(self, self.seen, message)
        await trio.sleep(0)


def wanted(
    capacity: float, overflow: str, tells: list[int]
) -> tuple[list[object], list[int]]:
    """What is handled, and what is dropped."""
    queue = deque((number, count) for number, count in enumerate(tells, 1))
    seen: list[object] = []
    lost: list[int] = []
    while queue:
        number, count = queue.popleft()
        seen.append(number)
        for more in range(count):
            if len(queue) >= capacity and overflow in ("fail", "block"):
                seen.append("full")
                break
            if len(queue) >= capacity and overflow == "drop_new":
                lost.append(10_000 * number + more)
                continue
            if len(queue) >= capacity:
                lost.append(queue.popleft()[0])
            queue.append((10_000 * number + more, 0))
    return seen, lost


@pytest.mark.parametrize("overflow", ["block", "fail", "drop_new", "drop_oldest"])
@pytest.mark.parametrize("capacity", [1, 2, 63, 64, 65, 130, 1000, math.inf])
@pytest.mark.parametrize("cls", [Plain, Async])
async def test_who_sends_to_itself_gets_what_the_overflow_says(
    world: World,
    cls: Any,
    capacity: float,
    overflow: Literal["block", "fail", "drop_new", "drop_oldest"],
) -> None:
    """MBX-2: in the middle of a batch, from inside of the loop that empties it."""
    tells = [0, 3, 70, 0, 200, 1][: int(min(6, capacity))]
    seen: list[object] = []
    ref = await world.spawn(cls, seen, mailbox=Mailbox(capacity, overflow))
    for number, count in enumerate(tells, 1):
        ref.tell_nowait(Note(number, count))
    await world.settled()
    handled, lost = wanted(capacity, overflow, tells)
    assert seen == handled
    dead = world.dead()
    assert [cast("Note", one.message).number for one in dead] == lost
    assert {one.reason for one in dead} <= {"overflow"}


class Refused:
    """Notes what it is given back."""

    def __init__(self) -> None:
        self.refused: list[tuple[object, DeadReason]] = []

    def admits(self) -> bool:
        return False

    def refuse(self, item: object, reason: DeadReason) -> None:
        self.refused.append((item, reason))

    bury = refuse


async def test_where_all_room_is_granted_there_is_no_oldest_to_drop() -> None:
    """MBX-2: a restart may bring another mailbox while a sender is on its way."""
    owner = Refused()
    box = Box(Mailbox(1), owner)
    assert box.put("first")
    put: list[int] = []

    async def send() -> None:
        put.append(box.put_granted(["granted"], await box.wait_for_room(1)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        assert box.take() == "first"
        box.grant()
        box.configure(Mailbox(1, "drop_oldest"))
        assert box.put("late")
        assert owner.refused == [("late", "overflow")]
    assert put == [1]
    assert box.take() == "granted"
    assert not box.count


@pytest.mark.parametrize("capacity", [1, 100])
async def test_what_is_dropped_behind_many_signals_costs_the_same(
    capacity: int,
) -> None:
    """Each time all signals were looked past, in front of which nothing is dropped."""
    counts: list[int] = []
    for signals in (10, 1000):
        owner = Refused()
        box = Box(Mailbox(capacity, "drop_oldest"), owner)
        for _ in range(signals):
            box.put_signal(Signal())
        for number in range(capacity + 1):
            box.put(number)
        with Calls() as calls:
            for number in range(1, 101):
                box.put(capacity + number)
        counts.append(calls.count)
        assert owner.refused == [(number, "overflow") for number in range(101)]
        assert box.count == signals + capacity
    few, many = counts
    assert many < 2 * few


async def test_the_oldest_is_found_again_after_the_signals_were_taken() -> None:
    """Where it was looked for last says nothing about what comes after that."""
    owner = Refused()
    box = Box(Mailbox(2, "drop_oldest"), owner)
    box.put_signal(Signal())
    for number in range(3):
        box.put(number)
    signal = box.take()
    assert isinstance(signal, Signal)
    box.taken(signal)
    assert [box.take(), box.take()] == [1, 2]
    for number in range(3, 6):
        box.put(number)
    assert [box.take(), box.take()] == [4, 5]
    assert [item for item, _ in owner.refused] == [0, 3]
