"""Nobody starves: an endless queue costs others a batch, and a slow one a moment.

Rules: MBX-5, ORD-1, design 1 and 5 (the budget of a batch). A batch is at most 64
messages, and on the real clock about a millisecond: an actor looks at the clock each
eight messages, and after a batch that took longer the next one is smaller.
"""

import math
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st

from tests.gates import Kind, in_a_system
from tests.kit import Add, Counter
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorSystem,
    Inbox,
    Mailbox,
    MailboxFull,
    Request,
    Supervision,
    handler,
    open_actor_system,
)
from trio_actors.testing._clock import in_order

BATCH = 64
"""How many messages an actor handles before others run."""
LOOK = 8
"""How many it handles before it looks at the clock."""
BURST = 16
"""For how many messages a waiting sender is given room at a time."""
ENDLESS = Mailbox(math.inf)


# --- Actors whose queue never ends -------------------------------------------


@attrs.frozen
class More(Request[None]):
    """Begets two."""


class Endless(Actor[More]):
    """Tells itself two messages for each that it handles."""

    @handler
    def more(self, message: More) -> None:
        self.context.ref.tell_nowait(message)
        self.context.ref.tell_nowait(message)


class EndlessAsync(Actor[More]):
    """The same with an async handler that never waits."""

    @handler
    async def more(self, message: More) -> None:
        self.context.ref.tell_nowait(message)
        self.context.ref.tell_nowait(message)


async def endless(inbox: Inbox[More]) -> None:
    """The same as a function."""
    async for message in inbox:
        inbox.ref.tell_nowait(message)
        inbox.ref.tell_nowait(message)


class EndlessAsks(Actor[More]):
    """Tells itself one message, and takes back one that it asked itself."""

    @handler
    def more(self, message: More) -> None:
        self.context.ref.tell_nowait(message)
        self.context.ref.ask_nowait(message).abandon()


class EndlessBecomes(Actor[More]):
    """Becomes another one at each message: the loop has to look up each time."""

    @handler
    def more(self, message: More) -> None:
        self.context.ref.tell_nowait(message)
        self.context.ref.tell_nowait(message)
        self.become(EndlessBecomes())


KINDS: dict[str, Kind] = {
    "plain": Endless,
    "async": EndlessAsync,
    "function": endless,
    "taken back": EndlessAsks,
    "becomes": EndlessBecomes,
}


def count_of(ref: ActorRef[Any]) -> int:
    """How many messages an actor has taken and done with."""
    books = ref._cell.tally()
    return books["handled"] + books["abandoned"] + books["failed"]


async def seen_by_others(
    count: Callable[[], int], passes: int, between: Callable[[], object] | None = None
) -> list[int]:
    """How many messages were handled between two steps of another task."""
    seen: list[int] = []
    for _ in range(passes):
        seen.append(count())
        if between is not None:
            between()
        await trio.lowlevel.checkpoint()
    return [after - before for before, after in pairwise(seen)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_endless_queue_lets_others_run_each_64_messages(kind: str) -> None:
    """MBX-5: exactly a batch between two steps of anybody else."""

    async def around(system: ActorSystem) -> list[int]:
        ref = await system.spawn(KINDS[kind], mailbox=ENDLESS)
        for _ in range(BATCH):
            ref.tell_nowait(More())
        gaps = await seen_by_others(lambda: count_of(ref), 100)
        ref.kill()
        await ref.wait_stopped()
        return gaps

    gaps = in_a_system(around)
    assert gaps[1:] == [BATCH] * 98


def test_endless_queues_share_the_loop_equally() -> None:
    """Each gets its batch in each pass, whatever its kind."""

    async def around(system: ActorSystem) -> list[int]:
        kinds = [*KINDS.values()] * 3
        refs = [await system.spawn(kind, mailbox=ENDLESS) for kind in kinds]
        for ref in refs:
            for _ in range(BATCH):
                ref.tell_nowait(More())
        await seen_by_others(int, 50)
        counts = [count_of(ref) for ref in refs]
        for ref in refs:
            ref.kill()
            await ref.wait_stopped()
        return counts

    counts = in_a_system(around)
    assert min(counts) >= 49 * BATCH
    assert max(counts) - min(counts) <= BATCH


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_takes_no_longer_beside_an_endless_queue(kind: str) -> None:
    """An ask is two passes, so two batches of the other one, not its whole queue."""

    async def around(system: ActorSystem) -> int:
        ref = await system.spawn(KINDS[kind], mailbox=ENDLESS)
        other = await system.spawn(Counter)
        ref.tell_nowait(More())
        await seen_by_others(int, 20)
        before = count_of(ref)
        for number in range(1, 21):
            assert await other.ask(Add()) == number
        took = count_of(ref) - before
        ref.kill()
        await ref.wait_stopped()
        return took

    assert 0 < in_a_system(around) <= 20 * 2 * BATCH


def test_endless_senders_let_others_run() -> None:
    """`tell_all` of a stream without end, from many, into one small mailbox."""

    def without_end() -> Any:
        while True:
            yield Add()

    async def around(system: ActorSystem) -> tuple[list[int], list[int]]:
        ref = await system.spawn(Counter, mailbox=Mailbox(100))
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ref.tell_all, without_end())
            gaps = await seen_by_others(lambda: count_of(ref), 100)
            nursery.start_soon(ref.tell, Add(10**9))
            counter: Any = ref._cell.instance
            waits = await seen_by_others(lambda: counter.total, 10)
            nursery.cancel_scope.cancel()
        return gaps, waits

    gaps, waits = in_a_system(around)
    assert 0 < max(gaps) <= BATCH
    assert max(waits) >= 10**9, "who comes last waits for its turn, not for ever"


# --- The budget in time ------------------------------------------------------


class Watch:
    """A stopwatch that stands still until a handler moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@attrs.frozen
class Work:
    """Something that takes its time, without waiting."""

    seconds: float


class Slow(Actor[Work]):
    """Works."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @handler
    def work(self, message: Work) -> None:
        self.watch.now += message.seconds


class SlowAsync(Actor[Work]):
    """Works in an async handler that does not wait."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @handler
    async def work(self, message: Work) -> None:
        self.watch.now += message.seconds


async def slow(inbox: Inbox[Work], watch: Watch) -> None:
    """The same as a function."""
    async for message in inbox:
        watch.now += message.seconds


SLOW: dict[str, Kind] = {"plain": Slow, "async": SlowAsync, "function": slow}


class SlowLists(Actor[Work]):
    """Takes its work in lists."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @handler(batch=10)
    def work(self, messages: list[Work]) -> list[None]:
        self.watch.now += sum(one.seconds for one in messages)
        return [None] * len(messages)


class SlowFailure(Slow):
    """Works, and fails at it."""

    @handler
    def work(self, message: Work) -> None:
        self.watch.now += message.seconds
        raise ValueError("always")


def batches_of(
    kind: Kind,
    monkeypatch: pytest.MonkeyPatch,
    seconds: list[float],
    rules: Supervision = Supervision(),  # noqa: B008  # frozen
) -> list[int]:
    """How large the batches are in which an actor does its work, one after the other.

    On the real clock, under which the budget is a time; only the stopwatch that
    measures a batch is moved by the work.
    """
    watch = Watch()
    modules = [
        module
        for name, module in sys.modules.items()
        if name.startswith("trio_actors.") and hasattr(module, "perf_counter")
    ]

    async def main() -> list[int]:
        async with open_actor_system("demo", supervision=rules) as system:
            ref = await system.spawn(kind, watch, mailbox=ENDLESS)
            await trio.testing.wait_all_tasks_blocked()
            for module in [time, *modules]:
                monkeypatch.setattr(module, "perf_counter", watch)
            for one in seconds:
                ref.tell_nowait(Work(one))
            sizes: list[int] = []
            while sum(sizes) < len(seconds):
                before = count_of(ref)
                await trio.lowlevel.checkpoint()
                sizes.append(count_of(ref) - before)
            monkeypatch.undo()
            return sizes

    with in_order():
        sizes = trio.run(main)
    assert watch.now == pytest.approx(sum(seconds))
    return [size for size in sizes if size]


@pytest.mark.parametrize(("each", "fair"), [(0.00022, 4), (0.0004, 2), (0.01, 1)])
@pytest.mark.parametrize("kind", SLOW)
def test_slow_messages_let_others_run_each_millisecond(
    monkeypatch: pytest.MonkeyPatch, kind: str, each: float, fair: int
) -> None:
    """MBX-5: after the first look at the clock, which nobody could foresee."""
    first, *others, _ = batches_of(SLOW[kind], monkeypatch, [each] * 300)
    assert first == LOOK
    assert set(others) == {fair}


@pytest.mark.parametrize("kind", SLOW)
def test_what_turns_slow_within_a_batch_is_noticed_within_eight_messages(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """MBX-5: it was 64 of them, from which others waited a fifth of a second."""
    sizes = batches_of(SLOW[kind], monkeypatch, [0.000001] * 70 + [0.003] * 200)
    quick, turning, *others = sizes
    assert quick == BATCH
    assert turning == LOOK  # six of which are quick
    assert set(others) == {1}


def test_each_message_of_a_list_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """MBX-5: a batch of 64 were 64 lists. A list is handled to its end."""
    assert batches_of(SlowLists, monkeypatch, [0.00001] * 120) == [40, 40, 40]
    first, *others = batches_of(SlowLists, monkeypatch, [0.003] * 140)
    assert first == 10
    assert set(others) == {10}


def test_restarts_in_a_batch_take_no_longer_than_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = Supervision(max_restarts=1000)
    sizes = batches_of(SlowFailure, monkeypatch, [0.003] * 40, rules)
    assert max(sizes) <= LOOK
    assert set(sizes[2:]) == {1}


@pytest.mark.parametrize("kind", SLOW)
def test_quick_messages_are_handled_in_full_batches(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """64 of these take two thirds of the budget."""
    sizes = batches_of(SLOW[kind], monkeypatch, [0.00001] * 640)
    assert sizes == [BATCH] * 10


@pytest.mark.parametrize("kind", SLOW)
def test_a_slow_stretch_is_felt_once_and_forgotten_soon(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Large batches again within a few passes; one too large at each change."""
    quick, tough = [0.000001] * 1280, [0.001] * 128
    sizes = batches_of(SLOW[kind], monkeypatch, quick + tough + quick)
    too_large = [size for size in sizes[20:] if size > 1][:1]
    assert too_large == [LOOK]
    after = sizes[20 + 1 + 128 - LOOK :]
    assert after[:8] == [1, 2, 4, 8, 16, 32, BATCH, BATCH]


class Fails(Actor[Add]):
    """Fails at each message."""

    @handler
    def add(self, message: Add) -> int:
        raise ValueError("always")


def test_a_failure_after_a_long_sleep_does_not_count_as_a_slow_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What comes one at a time is in no batch: the sleep before it is not measured."""
    watch = Watch()

    async def main() -> list[int]:
        sizes: list[int] = []
        async with open_actor_system("demo") as system:
            ref = await system.spawn(Fails)
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked()
                sizes.append(ref._cell.size)
                monkeypatch.setattr(time, "perf_counter", watch)
                watch.now += 60
                ref.tell_nowait(Add())
            monkeypatch.undo()
        return sizes

    assert trio.run(main) == [BATCH] * 3


# --- The order of each sender ------------------------------------------------


@attrs.frozen
class Numbered(Request[int]):
    """One of a sender's messages; the receiver may fail at it."""

    sender: int
    number: int
    fails: bool = False


class Receiver(Actor[Numbered]):
    """Notes whose message came; a failure comes after the note."""

    def __init__(self, seen: list[Numbered]) -> None:
        self.seen = seen

    @handler
    def numbered(self, message: Numbered) -> int:
        self.seen.append(message)
        if message.fails:
            raise ValueError
        return message.number


class AsyncReceiver(Actor[Numbered]):
    """The same, and now and then it waits."""

    def __init__(self, seen: list[Numbered]) -> None:
        self.seen = seen

    @handler
    async def numbered(self, message: Numbered) -> int:
        self.seen.append(message)
        if not message.number % 3:
            await trio.lowlevel.checkpoint()
        if message.fails:
            raise ValueError
        return message.number


async def receive(inbox: Inbox[Numbered], seen: list[Numbered]) -> None:
    """The same as a function."""
    async for message in inbox:
        seen.append(message)
        if message.fails:
            raise ValueError
        inbox.reply(message, message.number)


RECEIVERS: dict[str, Kind] = {
    "plain": Receiver,
    "async": AsyncReceiver,
    "function": receive,
}


class Sender:
    """Sends numbered messages in one way after the other, and knows which were sent."""

    def __init__(self, sender: int, to: ActorRef[Numbered]) -> None:
        self.sender = sender
        self.to = to
        self.sent: list[Numbered] = []

    def one(self, *, fails: bool = False) -> Numbered:
        """Make the next message."""
        return Numbered(self.sender, len(self.sent), fails)

    async def run(self, ways: list[str]) -> None:
        """Send in each of these ways."""
        for way in ways:
            await getattr(self, way)()

    async def tell(self) -> None:
        """One, waiting for room."""
        message = self.one()
        await self.to.tell(message)
        self.sent.append(message)

    async def fail(self) -> None:
        """One at which the receiver fails."""
        message = self.one(fails=True)
        await self.to.tell(message)
        self.sent.append(message)

    async def ask(self) -> None:
        """One, waiting for the answer."""
        message = self.one()
        self.sent.append(message)
        assert await self.to.ask(message) == message.number

    async def fail_asked(self) -> None:
        """One that is answered with a failure."""
        message = self.one(fails=True)
        self.sent.append(message)
        with pytest.raises(ActorFailed):
            await self.to.ask(message)

    async def tell_nowait(self) -> None:
        """As many as there is room for, up to five."""
        for _ in range(5):
            message = self.one()
            try:
                self.to.tell_nowait(message)
            except MailboxFull:
                return
            self.sent.append(message)

    async def tell_all(self) -> None:
        """Forty, in bursts."""
        messages = [
            Numbered(self.sender, len(self.sent) + number) for number in range(40)
        ]
        await self.to.tell_all(messages)
        self.sent += messages

    async def cut_off(self) -> None:
        """A tell that is cancelled while it waits: then it was not sent."""
        message = self.one()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel, scope)
                await self.to.tell(message)
                self.sent.append(message)
                nursery.cancel_scope.cancel()

    async def _cancel(self, scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        scope.cancel()


WAYS = ["tell", "ask", "tell_nowait", "tell_all", "cut_off", "fail", "fail_asked"]


@pytest.mark.parametrize("kind", RECEIVERS)
@settings(max_examples=40)
@given(
    plans=st.lists(
        st.lists(st.sampled_from(WAYS), min_size=1, max_size=8), min_size=1, max_size=5
    ),
    capacity=st.sampled_from([1, 2, 3, BURST, BURST + 1, BATCH, 1024]),
)
def test_each_senders_messages_come_in_its_order_all_of_them_once(
    kind: str, plans: list[list[str]], capacity: int
) -> None:
    """ORD-1, ORD-4, over bursts, waiting, cancellation and restarts of the receiver."""
    seen: list[Numbered] = []

    async def around(system: ActorSystem) -> list[Sender]:
        ref = await system.spawn(RECEIVERS[kind], seen, mailbox=Mailbox(capacity))
        senders = [Sender(number, ref) for number in range(len(plans))]
        async with trio.open_nursery() as nursery:
            for sender, ways in zip(senders, plans, strict=True):
                nursery.start_soon(sender.run, ways)
        await ref.ask(Numbered(-1, 0))
        high_water = ref._cell.box.high_water
        assert high_water <= capacity, "more than there is room for"
        return senders

    for sender in in_a_system(around):
        assert [one for one in seen if one.sender == sender.sender] == sender.sent


def test_senders_that_wait_get_on_at_the_same_pace() -> None:
    """W8: at no time is one who has to wait more than two bursts ahead.

    The first two do not have to: they find the mailbox empty.
    """
    ahead: list[int] = []

    async def around(system: ActorSystem) -> None:
        counts = [0] * 20
        seen: list[Numbered] = []

        class Judge(Receiver):
            @handler
            def numbered(self, message: Numbered) -> int:
                counts[message.sender] += 1
                if max(counts[2:]) < 200:
                    ahead.append(max(counts[2:]) - min(counts[2:]))
                return 0

        ref = await system.spawn(Judge, seen, mailbox=Mailbox(100))
        async with trio.open_nursery() as nursery:
            for sender in range(20):
                messages = [Numbered(sender, number) for number in range(200)]
                nursery.start_soon(ref.tell_all, messages)
        await ref.ask(Numbered(0, 0))

    in_a_system(around)
    assert len(ahead) > 3000
    assert max(ahead) <= 2 * BURST


# --- A check before each message ---------------------------------------------


@attrs.frozen
class Do:
    """Something to do in the middle of a batch."""

    what: Callable[[], object]


class Busy(Actor[Do]):
    """Does what it is told."""

    @handler
    def do(self, message: Do) -> None:
        message.what()


class BusyAsync(Actor[Do]):
    """The same, without waiting, in an async handler."""

    @handler
    async def do(self, message: Do) -> None:
        message.what()


async def busy(inbox: Inbox[Do]) -> None:
    """The same as a function."""
    async for message in inbox:
        message.what()


BUSY: dict[str, Kind] = {"plain": Busy, "async": BusyAsync, "function": busy}
VERBS = ["stop", "kill", "restart", "parent.kill"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", BUSY)
def test_a_verb_in_a_batch_holds_before_the_next_message(kind: str, verb: str) -> None:
    """A batch is no reason to handle one more: the check is made per message."""
    done: list[str] = []
    at_once: list[int] = []

    async def around(system: ActorSystem) -> None:
        parent = await system.spawn(Mother, BUSY[kind])
        child = await parent.ask(Bear())

        def strike() -> None:
            target, _, name = verb.rpartition(".")
            getattr(parent if target else child, name)()
            done.append("struck")

        for _ in range(3):
            child.tell_nowait(Do(lambda: done.append("before")))
        child.tell_nowait(Do(strike))
        for _ in range(10):
            child.tell_nowait(Do(lambda: done.append("after")))
        await trio.lowlevel.checkpoint()
        at_once.append(len(done))
        await trio.sleep(1)

    in_a_system(around)
    assert done[:4] == ["before"] * 3 + ["struck"]
    assert at_once == [4]
    assert done[4:] == (["after"] * 10 if verb == "restart" else [])


@attrs.frozen
class Bear(Request[ActorRef[Do]]):
    """The answer is a new child."""


class Mother(Actor[Bear]):
    """Has children."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    @handler
    async def bear(self, message: Bear) -> ActorRef[Do]:
        ref: ActorRef[Do] = await self.context.spawn(self.kind, mailbox=ENDLESS)
        return ref
