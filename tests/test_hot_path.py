"""What the fast way through the core must keep, however fast it gets.

The order when handlers use their own queue in the middle of a batch; room and books at
every step; nothing kept of what is done; no exception where there is no error. What a
message costs is in `test_gates`, who waits for whom in `test_fairness`.
"""

import gc
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st

from tests import gates
from tests.gates import KINDS, RINGS, Kind, Workload, in_a_system
from tests.kit import Add, Counter, Get, check_books, no_collector
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorSystem,
    Inbox,
    Mailbox,
    Reply,
    Request,
    handler,
)
from trio_actors.testing import World

# --- Order, when a handler changes its own queue -----------------------------


@attrs.frozen
class Step(Request[None]):
    """What its handler does, in this order, when it comes for the first time."""

    number: int
    does: tuple[str, ...] = ()


@attrs.define
class Notes:
    """What was done; it outlives the incarnations."""

    seen: list[int] = attrs.field(factory=list[int])
    begun: set[int] = attrs.field(factory=set[int])
    serial: Iterator[int] = attrs.field(factory=lambda: count(1000))


def do(context: Any, notes: Notes, message: Step, become: Callable[[], object]) -> None:
    """Do what a message says, with the own queue."""
    notes.seen.append(message.number)
    if message.number in notes.begun:
        return
    notes.begun.add(message.number)
    for what in message.does:
        if what == "tell":
            context.ref.tell_nowait(Step(next(notes.serial)))
        elif what == "ask in vain":
            context.ref.ask_nowait(Step(next(notes.serial))).abandon()
        elif what == "stash":
            context.stash(message)
        elif what == "unstash":
            context.unstash_all()
        elif what == "become":
            become()
        else:
            raise ValueError(what)


def expected(steps: list[Step]) -> list[int]:
    """The rules (STA-1, ORD-4): a stash comes back in front, also at a restart."""
    queue, stash, notes = deque(steps), list[Step](), Notes()
    while queue:
        message = queue.popleft()
        notes.seen.append(message.number)
        does = () if message.number in notes.begun else message.does
        notes.begun.add(message.number)
        for what in does:
            if what == "tell":
                queue.append(Step(next(notes.serial)))
            elif what == "ask in vain":
                next(notes.serial)
            elif what == "stash":
                stash.append(message)
            elif what in ("unstash", "fail"):
                queue.extendleft(reversed(stash))
                stash.clear()
    return notes.seen


class Puzzle(Actor[Step]):
    """Does it in a plain handler."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def other(self) -> None:
        """Become another one like this."""
        self.become(type(self)(self.notes))

    @handler
    def step(self, message: Step) -> Any:
        do(self.context, self.notes, message, self.other)
        return None


class AsyncPuzzle(Puzzle):
    """Does it in an async handler that does not wait."""

    @handler
    async def step(self, message: Step) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        do(self.context, self.notes, message, self.other)


class WaitingPuzzle(Puzzle):
    """Does it, and lets others run in the middle."""

    @handler
    async def step(self, message: Step) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        await trio.lowlevel.checkpoint()
        do(self.context, self.notes, message, self.other)
        await trio.lowlevel.checkpoint()


async def puzzle(inbox: Inbox[Step], notes: Notes) -> None:
    """Does it as a function."""
    async for message in inbox:
        do(inbox, notes, message, int)


PUZZLES: dict[str, Kind] = {
    "plain": Puzzle,
    "async": AsyncPuzzle,
    "waits": WaitingPuzzle,
    "function": puzzle,
}
DEEDS = st.lists(
    st.sampled_from(["tell", "ask in vain", "stash", "unstash", "become"]),
    max_size=4,
    unique=True,
)


@pytest.mark.parametrize("kind", PUZZLES)
@settings(max_examples=150)
@given(plans=st.lists(st.tuples(DEEDS, st.booleans()), max_size=12))
def test_the_order_is_kept_when_handlers_use_their_own_queue(
    kind: str, plans: list[tuple[list[str], bool]]
) -> None:
    """In the middle of a batch, over failures and restarts."""
    steps = [
        Step(number, (*does, *["fail"] * fails))
        for number, (does, fails) in enumerate(plans)
    ]
    steps.append(Step(999, ("unstash",)))
    notes = Notes()

    async def around(system: ActorSystem) -> None:
        ref = await system.spawn(PUZZLES[kind], notes, mailbox=Mailbox(10**6))
        for step in steps:
            ref.tell_nowait(step)
        await trio.sleep(1)

    in_a_system(around)
    assert notes.seen == expected(steps)


# --- Room and books, at every step -------------------------------------------


@pytest.mark.parametrize("capacity", [1, 3, 16, 17, 100])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_mailbox_never_holds_more_than_it_has_room_for(
    world: World, kind: str, capacity: int
) -> None:
    """W8 with the law checked after each step, and each wait for room."""
    ref = await world.spawn(KINDS[kind], mailbox=Mailbox(capacity))

    def holds() -> bool:
        check_books(world)
        (one,) = world.snapshot().children
        return one.queued <= capacity

    world.always(holds)
    for _ in range(5):
        world.client(ref.tell_all, [Add()] * 40)
        world.client(ask_often, ref, 10)
    await world.settled()
    assert await ref.ask(Get()) == 5 * 50
    assert world.snapshot().children[0].high_water == capacity


async def ask_often(ref: ActorRef[Any], times: int) -> None:
    """Ask again and again."""
    for _ in range(times):
        await ref.ask(Add())


@pytest.mark.parametrize("kind", KINDS)
async def test_questions_that_are_asked_at_once_are_answered_in_order(
    world: World, kind: str
) -> None:
    """Also with more of them than a batch has."""
    ref = await world.spawn(KINDS[kind])
    pendings = [ref.ask_nowait(Add()) for _ in range(200)]
    assert [await pending for pending in pendings] == list(range(1, 201))


# --- Nothing is kept, nothing is left to the collector -----------------------

MESSAGES: dict[str, Workload] = {
    "tell": gates.tell,
    "await tell": gates.tell_await,
    "ask": gates.ask,
    "asks": gates.asks,
    "fan": gates.fan,
    "producers": gates.producers,
}


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_message_leaves_anything_to_the_garbage_collector(
    kind: str, name: str
) -> None:
    """A cycle per ask made it 1.3 to 1.6 times as slow."""
    workload = MESSAGES[name]

    async def around(system: ActorSystem) -> int:
        await workload(system, KINDS[kind])
        with no_collector():
            await workload(system, KINDS[kind])
            return gc.collect()

    assert in_a_system(around) == 0


@attrs.frozen
class Answer:
    """An object that one can lose sight of."""


@attrs.frozen
class Question(Request[Answer]):
    """Another one."""


class Oracle(Actor[Question]):
    """Answers in a plain handler."""

    @handler
    def answer(self, message: Question) -> Answer:
        return Answer()


class AsyncOracle(Actor[Question]):
    """Answers in an async handler."""

    @handler
    async def answer(self, message: Question) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer()


class BatchOracle(Actor[Question]):
    """Answers many at once."""

    @handler(batch=10)
    def answer(self, messages: list[Question]) -> list[Answer]:
        return [Answer() for _ in messages]


class LateOracle(Actor[Question]):
    """Answers the last one when the next one comes."""

    def __init__(self) -> None:
        self.reply: Reply[Answer] | None = None

    @handler
    def answer(self, message: Question) -> Answer | Reply[Answer]:
        if self.reply is not None:
            self.reply.send(Answer())
            self.reply = None
            return Answer()
        self.reply = self.context.defer_reply(message)
        return self.reply


ORACLES: dict[str, Callable[[], Actor[Question]]] = {
    "plain": Oracle,
    "async": AsyncOracle,
    "batch": BatchOracle,
    "late": LateOracle,
}

Refs = list["weakref.ref[Any]"]


async def _tell(ref: ActorRef[Question], kept: Refs) -> None:
    for _ in range(4):
        question = Question()
        kept.append(weakref.ref(question))
        await ref.tell(question)


async def _tell_all(ref: ActorRef[Question], kept: Refs) -> None:
    questions = [Question() for _ in range(100)]
    kept += map(weakref.ref, questions)
    await ref.tell_all(questions)


async def _ask(ref: ActorRef[Question], kept: Refs) -> None:
    async def one() -> None:
        question = Question()
        kept.append(weakref.ref(question))
        kept.append(weakref.ref(await ref.ask(question)))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)


async def _take_back(ref: ActorRef[Question], kept: Refs) -> None:
    for _ in range(4):
        question = Question()
        kept.append(weakref.ref(question))
        ref.ask_nowait(question).abandon()


WAYS = {"tell": _tell, "tell_all": _tell_all, "ask": _ask, "take back": _take_back}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ORACLES)
async def test_an_idle_actor_keeps_no_message_and_no_answer(
    world: World, kind: str, way: str
) -> None:
    """A large message is free when it was handled, not when the next one comes."""
    ref = await world.spawn(ORACLES[kind])
    kept: Refs = []
    send: Callable[..., Awaitable[None]] = WAYS[way]
    with no_collector():
        await send(ref, kept)
        await world.settled()
        assert len(kept) >= 4
        assert [one() for one in kept if one() is not None] == []


class Lost(Exception):
    """A class of one's own has weak references."""


class Fragile(Actor[Question]):
    """Fails, and leaves a note of itself and of its failure."""

    def __init__(self, kept: Refs) -> None:
        self.kept = kept

    @handler
    def answer(self, message: Question) -> Answer:
        error = Lost()
        self.kept += [weakref.ref(self), weakref.ref(error), weakref.ref(message)]
        raise error


def test_a_restarted_actor_keeps_nothing_of_its_failures() -> None:
    """Neither the old instance nor the exception, nor the message."""

    async def around(system: ActorSystem) -> Refs:
        kept: Refs = []
        ref = await system.spawn(Fragile, kept)
        for _ in range(3):
            with suppress(ActorFailed):  # pytest.raises would keep it
                await ref.ask(Question())
            ref.tell_nowait(Question())
        await trio.sleep(1)
        gc.collect()
        assert len(kept) == 3 * 2 * 3
        return [one for one in kept if one() is not None]

    assert in_a_system(around) == []


async def spawn_and_stop(system: ActorSystem, kind: Kind) -> type:
    """Spawn some actors and wait for their end; return what they were made of."""
    refs = [await system.spawn(kind) for _ in range(20)]
    for ref in refs:
        ref.stop()
    for ref in refs:
        await ref.wait_stopped()
    return type(refs[0]._cell)


@pytest.mark.parametrize("kind", KINDS)
def test_an_actor_that_has_ended_is_forgotten_at_once(kind: str) -> None:
    """Not when its shutdown time would have been over."""

    async def around(system: ActorSystem) -> int:
        cell = await spawn_and_stop(system, KINDS[kind])
        gc.collect()
        left: list[Any] = [one for one in gc.get_objects() if type(one) is cell]
        # Another test's may live in what is shown of its failure.
        return sum(one.system is system for one in left)

    assert in_a_system(around) <= 1


# --- No exceptions where there are no errors ---------------------------------

SMOOTH: dict[str, tuple[Workload, Kind]] = {
    **{name: (workload, Counter) for name, workload in MESSAGES.items()},
    "ring": (gates.ring, RINGS["plain"]),
    "restart": (gates.restart, Counter),
    "restart function": (gates.restart, KINDS["function"]),
    "producers function": (gates.producers, KINDS["function"]),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_nobody_finds_an_empty_channel_by_catching_would_block(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It made a ring 1.5 times as slow."""
    raised: list[str] = []

    def note(error: trio.WouldBlock, *args: object) -> None:
        raised.append(repr(error))

    monkeypatch.setattr(trio.WouldBlock, "__init__", note)
    workload, kind = SMOOTH[name]
    gates.measure(workload, kind)
    assert raised == []
    with pytest.raises(trio.WouldBlock):
        trio.open_memory_channel[int](0)[1].receive_nowait()
    assert raised, "the note is taken where it would be raised"
