"""The mailbox: room, waiting senders, overflow, and what never counts.

Rules: section 1.7 of the design, MBX-2, MBX-4, ORD-1, ORD-5.
"""

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from tests.kit import (
    Add,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
    check_books,
    open_system,
    run_main,
    tally,
)
from trio_actors import (
    Actor,
    ActorRef,
    Context,
    Inbox,
    Mailbox,
    MailboxFull,
    Terminated,
    handler,
    open_actor_system,
)
from trio_actors._mailbox import Overflow
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm

POLICIES: list[Overflow] = ["block", "drop_new", "drop_oldest", "fail"]


class Log(Actor[Note | Sleep | Get | Terminated]):
    """Writes down what it handles; Sleep keeps it busy."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)

    @handler
    async def sleep(self, message: Sleep) -> int:
        self.seen.append("sleep")
        await trio.sleep(message.seconds)
        return 0

    @handler
    def get(self, message: Get) -> int:
        self.seen.append("get")
        return len(self.seen)

    @handler
    def terminated(self, message: Terminated) -> None:
        self.seen.append("terminated")


async def busy_log(
    world: World, seen: list[str], capacity: float, overflow: Overflow = "block"
) -> ActorRef[Note | Sleep | Get | Terminated]:
    """A Log that sleeps for ten seconds, from second 0."""
    ref = await world.spawn(Log, seen, mailbox=Mailbox(capacity, overflow))
    ref.tell_nowait(Sleep(10))
    await trio.sleep(1)
    seen.clear()
    return ref


# --- The option -------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "10", None, math.nan])
def test_a_capacity_is_a_whole_number_from_one(capacity: Any) -> None:
    with pytest.raises(ValueError, match=r"whole number from 1.*math\.inf") as caught:
        Mailbox(capacity)
    assert repr(capacity) in str(caught.value)


def test_an_unknown_overflow_is_shown_the_known_ones() -> None:
    wrong: Any = "backpressure"
    with pytest.raises(ValueError, match="'backpressure'.*'block', 'drop_new'"):
        Mailbox(1, wrong)


def test_a_mailbox_is_a_value() -> None:
    assert Mailbox() == Mailbox(1024, "block")
    assert Mailbox(math.inf) != Mailbox(1024)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Mailbox().capacity = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def test_the_option_of_a_spawn_comes_before_that_of_the_class(
    world: World,
) -> None:
    class Small(Counter):
        mailbox = Mailbox(2)

    refs = [
        await world.spawn(Small, name="class"),
        await world.spawn(Small, name="option", mailbox=Mailbox(3)),
        await world.spawn(lambda: Small(), name="lambda"),
        await world.spawn(lambda: Small(), name="both", mailbox=Mailbox(3)),
        await world.spawn(tally, name="function"),
    ]
    assert [child.capacity for child in world.snapshot().children] == [
        2,
        3,
        2,
        3,
        1024,
    ]
    assert repr(refs[0]) == "<ActorRef /class running, 0/2 waiting>"


async def test_what_waits_while_the_mailbox_gets_its_size_is_kept(
    world: World,
) -> None:
    """A factory tells the size of its mailbox when it is first called."""

    class Small(Counter):
        mailbox = Mailbox(2)

    ref = world.spawn_nowait(lambda: Small())
    for _ in range(10):
        ref.tell_nowait(Add())
    assert await ref.ask(Get()) == 10


# --- Block ------------------------------------------------------------------


async def test_a_full_mailbox_holds_its_senders_back(world: World) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, 2)
    for text in "abc":
        await ref.tell(Note(text))
        assert world.runtime.now() == (1 if text in "ab" else 10)
    await world.settled()
    assert seen == ["a", "b", "c"]


async def test_waiting_senders_are_served_in_their_order(world: World) -> None:
    """Section 1.7: first come, first served; and each in its own order."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 1)

    async def send(name: str) -> None:
        for number in range(3):
            await ref.tell(Note(f"{name}{number}"))

    for name in "abc":
        world.client(send, name)
        await trio.sleep(0.1)
    await world.settled()
    assert sorted(seen) == [f"{name}{number}" for name in "abc" for number in range(3)]
    assert seen[:4] == ["a0", "a1", "b0", "c0"]
    for name in "abc":
        assert [one for one in seen if one[0] == name] == [f"{name}{n}" for n in "012"]


async def test_nobody_passes_those_who_wait(world: World) -> None:
    """Section 1.7: no barging, not even into room that has just become free."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 1)
    ref.tell_nowait(Note("first"))
    world.client(ref.tell, Note("waits"))
    await trio.sleep(1)
    with pytest.raises(MailboxFull) as caught:
        ref.tell_nowait(Note("barges"))
    assert caught.value.message == Note("barges")
    assert caught.value.path == ref.path
    ref.tell_soon(Note("soon"))
    assert [one.reason for one in world.dead()] == ["overflow"]
    with pytest.raises(MailboxFull):
        ref.ask_nowait(Get())
    await world.settled()
    assert seen == ["first", "waits"]


async def test_cancelling_a_waiting_sender_loses_nothing(world: World) -> None:
    """Section 1.7: to be cancelled means that it was not sent."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 1)
    ref.tell_nowait(Note("first"))

    async def impatient() -> None:
        with trio.move_on_after(1):
            await ref.tell(Note("impatient"))

    world.client(impatient)
    world.client(ref.tell, Note("patient"))
    await world.settled()
    assert seen == ["first", "patient"]
    assert world.statistics()["accepted"] == 3


async def test_when_the_last_waiting_sender_has_left_the_door_is_open_again(
    world: World,
) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, 2)
    ref.tell_nowait(Note("a"))
    ref.tell_nowait(Note("b"))
    with trio.move_on_after(1):
        await ref.tell(Note("c"))
    with pytest.raises(MailboxFull):
        ref.tell_nowait(Note("d"))
    await trio.sleep(20)
    ref.tell_nowait(Note("e"))
    await world.settled()
    assert seen == ["a", "b", "e"]


@pytest.mark.parametrize("kind", [Worker, tally])
async def test_room_is_given_when_a_message_is_taken_not_when_it_is_handled(
    world: World, kind: Any
) -> None:
    """Section 1.7: a sender waits for room, not for the handler in front of it."""
    ref = await world.spawn(kind, mailbox=Mailbox(1))
    ref.tell_nowait(Sleep(5))
    await trio.sleep(1)
    ref.tell_nowait(Sleep(5))
    await ref.tell(Add(1))
    assert world.runtime.now() == 5
    assert await ref.ask(Get()) == 1


async def test_an_unlimited_mailbox_never_waits(world: World) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, math.inf)
    for number in range(3000):
        ref.tell_nowait(Note(str(number)))
    assert "3000/inf waiting" in repr(ref)
    await world.settled()
    assert seen == [str(number) for number in range(3000)]


async def test_with_room_for_one_everything_still_works(world: World) -> None:
    ref = await world.spawn(Worker, mailbox=Mailbox(1))
    results: list[int] = []

    async def client() -> None:
        for _ in range(20):
            results.append(await ref.ask(Add()))

    for _ in range(5):
        world.client(client)
    await world.settled()
    assert sorted(results) == list(range(1, 101))


def test_waiting_senders_may_be_cancelled_at_every_step() -> None:
    async def scenario(world: World, arm: Arm) -> None:
        seen: list[str] = []
        ref = await busy_log(world, seen, 1)
        ref.tell_nowait(Note("first"))
        sent: list[str] = []
        scope = trio.CancelScope()

        async def send(name: str) -> None:
            await ref.tell(Note(name))
            sent.append(name)

        async def cancelled() -> None:
            with scope:
                await send("x")

        world.client(send, "a")
        world.client(cancelled)
        world.client(send, "b")
        arm(scope.cancel)
        await world.settled()
        assert seen == ["first", *sent]
        assert set(sent) >= {"a", "b"}

    assert at_every_step(scenario) > 10


# --- Many at once -----------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 3, 16, 17, 1024, math.inf])
@pytest.mark.parametrize("count", [0, 1, 16, 64, 200])
async def test_many_messages_keep_their_order(
    world: World, capacity: float, count: int
) -> None:
    """`tell_all`: in order and in bursts, and waiting for room as tell() does."""
    seen: list[str] = []
    ref = await world.spawn(Log, seen, mailbox=Mailbox(capacity))
    await ref.tell_all(Note(str(number)) for number in range(count))
    await world.settled()
    assert seen == [str(number) for number in range(count)]


async def test_many_messages_of_several_senders_take_turns(world: World) -> None:
    """Bursts are short: nobody waits until another has sent everything."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 4)

    async def send(name: str) -> None:
        await ref.tell_all(Note(f"{name}{number}") for number in range(40))

    for name in "ab":
        world.client(send, name)
    await world.settled()
    for name in "ab":
        mine = [one for one in seen if one[0] == name]
        assert mine == [f"{name}{number}" for number in range(40)]
    assert "b0" in seen[:20]


async def test_sending_many_lets_others_run(world: World) -> None:
    """`tell_all` is a checkpoint at least per 64 messages."""
    ref = await world.spawn(Log, [], mailbox=Mailbox(math.inf))
    ran: list[int] = []
    sent = 0

    def numbers() -> Any:
        nonlocal sent
        for sent in range(1000):
            yield Note()

    async def other() -> None:
        while sent < 999:
            ran.append(sent)
            await trio.lowlevel.checkpoint()

    world.client(other)
    await ref.tell_all(numbers())
    await world.settled()
    gaps = [after - before for before, after in zip(ran, ran[1:], strict=False)]
    assert max(gaps) <= 64


async def test_a_cancelled_burst_has_sent_what_it_has_sent(world: World) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, 4)
    with trio.move_on_after(1) as scope:
        await ref.tell_all(Note(str(number)) for number in range(10))
    assert scope.cancelled_caught
    await ref.tell(Note("after"))
    await world.settled()
    assert seen == ["0", "1", "2", "3", "after"]


def test_a_burst_may_be_cancelled_at_every_step() -> None:
    """A burst that is cut off leaves no room reserved, and no gap in the order."""

    async def scenario(world: World, arm: Arm) -> None:
        seen: list[str] = []
        ref = await world.spawn(Log, seen, mailbox=Mailbox(3))
        scope = trio.CancelScope()
        arm(scope.cancel)
        with scope:
            await ref.tell_all(Note(str(number)) for number in range(40))
        await world.settled()
        assert seen == [str(number) for number in range(len(seen))]
        ref.tell_nowait(Sleep(1))
        await trio.sleep(0.5)
        for _ in range(3):
            ref.tell_nowait(Note("room"))
        with pytest.raises(MailboxFull):
            ref.tell_nowait(Note("no room"))

    assert at_every_step(scenario) > 10


async def test_what_an_iterable_gave_before_it_raised_was_sent(world: World) -> None:
    """As a loop of tells would have it: nothing that was given is lost."""
    seen: list[str] = []
    ref = await world.spawn(Log, seen)

    def broken() -> Any:
        for number in range(20):
            yield Note(str(number))
        raise ValueError("the source is broken")

    with pytest.raises(ValueError, match="the source is broken"):
        await ref.tell_all(broken())
    await world.settled()
    assert seen == [str(number) for number in range(20)]


async def test_a_burst_into_a_mailbox_that_fails_gives_the_message_back(
    world: World,
) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, 3, "fail")
    with pytest.raises(MailboxFull) as caught:
        await ref.tell_all(Note(text) for text in "abcde")
    assert caught.value.message == Note("d")
    await world.settled()
    assert seen == ["a", "b", "c"]


async def test_a_burst_to_a_stopped_actor_is_that_many_dead_letters(
    world: World,
) -> None:
    ref = await world.spawn(Counter)
    ref.stop()
    await ref.wait_stopped()
    await ref.tell_all(Add(number) for number in range(40))
    dead = world.dead()
    assert [one.message for one in dead] == [Add(number) for number in range(40)]
    assert {one.reason for one in dead} == {"stopped"}


def test_a_refused_message_in_a_burst_leaves_no_room_reserved() -> None:
    """ORD-6 with `check_messages`: the TypeError costs no place in the mailbox."""

    class Slow(Actor[object]):
        @handler
        async def any(self, message: object) -> None:
            await trio.sleep(1)

    async def main() -> None:
        async with open_system(check_messages=True) as system:
            ref = await system.spawn(Slow, mailbox=Mailbox(2))
            bad: list[object] = [1, 2, 3, 4, ["mutable"], 5, 6, 7]
            with pytest.raises(TypeError, match="mutable"):
                await ref.tell_all(bad)
            await trio.sleep(20)
            ref.tell_nowait(1)
            await trio.sleep(0.5)
            ref.tell_nowait(2)
            ref.tell_nowait(3)
            check_books(system)

    run_main(main)


# --- Overflow ---------------------------------------------------------------


Send = Callable[[ActorRef[Any], str], Any]


async def by_tell(ref: ActorRef[Any], text: str) -> None:
    await ref.tell(Note(text))


async def by_tell_nowait(ref: ActorRef[Any], text: str) -> None:
    ref.tell_nowait(Note(text))


async def by_tell_soon(ref: ActorRef[Any], text: str) -> None:
    ref.tell_soon(Note(text))


async def by_tell_all(ref: ActorRef[Any], text: str) -> None:
    await ref.tell_all([Note(text)])


WAYS = [by_tell, by_tell_nowait, by_tell_soon, by_tell_all]


@pytest.mark.parametrize("way", WAYS)
async def test_drop_new_makes_a_dead_letter_of_the_newest(
    world: World, way: Send
) -> None:
    """MBX-2: `drop_new`; never an error, never a wait."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 2, "drop_new")
    for text in "abcd":
        await way(ref, text)
    assert world.runtime.now() == 1
    assert [(one.message, one.reason) for one in world.dead()] == [
        (Note("c"), "overflow"),
        (Note("d"), "overflow"),
    ]
    await world.settled()
    assert seen == ["a", "b"]


@pytest.mark.parametrize("way", WAYS)
async def test_drop_oldest_makes_a_dead_letter_of_the_oldest(
    world: World, way: Send
) -> None:
    """MBX-2: `drop_oldest`."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 2, "drop_oldest")
    for text in "abcd":
        await way(ref, text)
    assert world.runtime.now() == 1
    assert [one.message for one in world.dead()] == [Note("a"), Note("b")]
    await world.settled()
    assert seen == ["c", "d"]


@pytest.mark.parametrize("way", WAYS)
async def test_fail_raises_in_the_sender(world: World, way: Send) -> None:
    """MBX-2: `fail`; but tell_soon() never raises."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 1, "fail")
    await way(ref, "a")
    if way is by_tell_soon:
        await way(ref, "b")
        assert [one.message for one in world.dead()] == [Note("b")]
    else:
        with pytest.raises(MailboxFull, match=r"is full \(1 of 1\)") as caught:
            await way(ref, "b")
        assert caught.value.message == Note("b")
        assert isinstance(caught.value, trio.WouldBlock)
    await world.settled()
    assert seen == ["a"]


@pytest.mark.parametrize("overflow", POLICIES)
async def test_an_ask_without_room_is_told_so(world: World, overflow: Overflow) -> None:
    """Design 4: a dropped ask gets MailboxFull."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 1, overflow)
    first = ref.ask_nowait(Get())
    if overflow == "block":
        assert await ref.ask(Get()) == 2
        assert world.runtime.now() == 10
    elif overflow == "drop_oldest":
        assert await ref.ask(Get()) == 1
        with pytest.raises(MailboxFull):
            await first
    else:
        with pytest.raises(MailboxFull) as caught:
            await ref.ask(Get())
        assert caught.value.message == Get()
        assert await first == 1
    dropped = len(world.dead())
    assert dropped == (1 if overflow.startswith("drop") else 0)


async def test_an_ask_in_two_steps_that_is_dropped_fails_when_it_is_awaited(
    world: World,
) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, 1, "drop_new")
    ref.tell_nowait(Note("a"))
    pending = ref.ask_nowait(Get())
    assert pending.done()
    with pytest.raises(MailboxFull):
        await pending
    assert [one.reason for one in world.dead()] == ["overflow"]


async def test_an_abandoned_request_may_be_the_oldest(world: World) -> None:
    """It is abandoned, not a dead letter."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 1, "drop_oldest")
    ref.ask_nowait(Get()).abandon()
    ref.tell_nowait(Note("b"))
    assert world.statistics()["abandoned"] == 1
    await world.settled()
    assert seen == ["b"]


# --- What never counts ------------------------------------------------------


@attrs.frozen
class Watch:
    ref: ActorRef[Any]


class Watcher(Actor[Watch | Note | Sleep | Terminated]):
    """Gets signals: ticks and the ends of those it watches."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @handler
    def watch(self, message: Watch) -> None:
        self.context.watch(message.ref)
        self.context.send_after(3, Note("tick"))

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)

    @handler
    async def sleep(self, message: Sleep) -> int:
        await trio.sleep(message.seconds)
        return 0

    @handler
    def terminated(self, message: Terminated) -> None:
        self.seen.append(f"end of {message.ref.path}")


@pytest.mark.parametrize("overflow", POLICIES)
async def test_signals_wait_for_no_room_and_take_none(
    world: World, overflow: Overflow
) -> None:
    """Section 1.7: Terminated and ticks never wait, are never dropped, do not count."""
    seen: list[str] = []
    ref = await world.spawn(Watcher, seen, mailbox=Mailbox(2, overflow))
    victims = [await world.spawn(Counter, name=name) for name in "xyz"]
    for victim in victims:
        await ref.tell(Watch(victim))
    await world.settled()
    ref.tell_nowait(Sleep(10))
    await trio.sleep(1)
    ref.tell_nowait(Note("a"))
    for victim in victims:
        victim.kill()
        await victim.wait_stopped()
    ref.tell_nowait(Note("b"))  # signals leave the room for messages as it was
    await trio.sleep(4)
    assert world.snapshot().children[0].queued == 6
    for text in "cde":
        ref.tell_soon(Note(text))
    await world.settled()
    ends = ["end of /x", "end of /y", "end of /z"]
    if overflow == "drop_oldest":
        assert seen == [*ends, "tick", "d", "e"]
        assert [one.message for one in world.dead()] == [Note(text) for text in "abc"]
    else:
        assert seen == ["a", *ends, "b", "tick"]
        assert [one.message for one in world.dead()] == [Note(text) for text in "cde"]


async def test_put_backs_are_never_dropped_and_take_no_room(world: World) -> None:
    """Section 1.7: put-backs; where only they are left, the newest is dropped."""

    class Shelf(Log):
        @handler
        def note(self, message: Note) -> None:
            if message.text == "open":
                self.context.unstash_all()
            elif "opened" in self.seen or message.text.isupper():
                self.seen.append(message.text)
            else:
                self.context.stash(message)
            if message.text == "open":
                self.seen.append("opened")
                self.context.ref.tell_soon(Note("A"))
                self.context.ref.tell_soon(Note("B"))
                self.context.ref.tell_soon(Note("C"))

    seen: list[str] = []
    ref = await world.spawn(Shelf, seen, mailbox=Mailbox(2, "drop_oldest"))
    await ref.tell(Note("x"))
    await world.settled()
    await ref.tell(Note("y"))
    await world.settled()
    await ref.tell(Note("open"))
    await world.settled()
    assert seen == ["opened", "x", "y", "B", "C"]
    assert [one.message for one in world.dead()] == [Note("A")]


async def test_an_actor_with_put_backs_only_drops_the_newest(world: World) -> None:
    class Shelf(Log):
        @handler
        def note(self, message: Note) -> None:
            if self.context.incarnation == 1:
                self.context.stash(message)
            else:
                self.seen.append(message.text)

        async def restarted(self, failure: Exception, failed: object) -> None:
            await trio.sleep(1)

    seen: list[str] = []
    ref = await world.spawn(Shelf, seen, mailbox=Mailbox(2, "drop_oldest"))
    await ref.tell(Note("a"))
    await ref.tell(Note("b"))
    await world.settled()
    ref.restart()
    await trio.sleep(0.5)
    assert world.snapshot().children[0].queued == 2
    ref.tell_nowait(Note("c"))
    ref.tell_nowait(Note("d"))
    ref.tell_nowait(Note("e"))
    assert [one.message for one in world.dead()] == [Note("c")]
    await world.settled()
    assert seen == ["a", "b", "d", "e"]


async def test_a_tick_that_lapsed_frees_what_it_never_took(world: World) -> None:
    class Ticker(Log):
        @handler
        async def sleep(self, message: Sleep) -> int:
            self.context.send_after(1, Note("tick"))
            await trio.sleep(message.seconds)
            self.context.cancel_timer(Note("tick"))
            return 0

    seen: list[str] = []
    ref = await world.spawn(Ticker, seen, mailbox=Mailbox(1))
    await ref.ask(Sleep(5))
    await world.settled()
    assert world.statistics()["expired"] == 1
    ref.tell_nowait(Sleep(5))
    await trio.sleep(0.5)
    ref.tell_nowait(Note("a"))
    with pytest.raises(MailboxFull):
        ref.tell_nowait(Note("b"))
    await trio.sleep(1)  # a tick is queued: still no room for messages
    with pytest.raises(MailboxFull):
        ref.tell_nowait(Note("c"))
    await world.settled()
    assert seen == ["a"]


# --- Doors ------------------------------------------------------------------


class Teller(Actor[Note]):
    """A child that tells its parent, and waits for room."""

    def __init__(self, to: ActorRef[Any]) -> None:
        self.to = to

    @handler
    async def note(self, message: Note) -> None:
        for number in range(2):
            await self.to.tell(Note(f"{message.text}{number}"))

    async def started(self) -> None:
        self.context.ref.tell_nowait(Note(self.context.ref.path[-1]))


@attrs.frozen
class Hire:
    name: str


class Boss(Actor[Hire | Note | Sleep]):
    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @handler
    async def hire(self, message: Hire) -> None:
        await self.context.spawn(Teller, self.context.ref, name=message.name)

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)

    @handler
    async def sleep(self, message: Sleep) -> int:
        await trio.sleep(message.seconds)
        return 0


@pytest.mark.parametrize("names", ["a", "ab", "abcd"])
async def test_who_waits_inside_of_a_draining_actor_gets_its_room(
    world: World, names: str
) -> None:
    """Verbs, drain: inside of the subtree messages flow until it is idle."""
    seen: list[str] = []
    boss = await world.spawn(Boss, seen, mailbox=Mailbox(1))
    for name in names:
        await boss.tell(Hire(name))
    await boss.tell(Sleep(5))
    world.client(boss.tell, Note("from outside"))
    await trio.sleep(1)
    boss.drain()
    with trio.fail_after(60):
        reason = await boss.wait_stopped()
    assert reason.kind == "shutdown"
    assert world.runtime.now() == 5
    assert sorted(seen) == [f"{name}{number}" for name in names for number in (0, 1)]
    assert [one.message for one in world.dead()] == [Note("from outside")]


@pytest.mark.parametrize("verb", ["stop", "kill"])
async def test_who_waits_for_room_finds_out_that_the_door_is_shut(
    world: World, verb: str
) -> None:
    """Design 2: tell() to a stopped actor never raises: a dead letter."""
    seen: list[str] = []
    ref = await busy_log(world, seen, 1)
    ref.tell_nowait(Note("queued"))
    done: list[float] = []

    async def send(text: str) -> None:
        await ref.tell(Note(text))
        done.append(world.runtime.now())

    async def burst() -> None:
        await ref.tell_all(Note(f"burst {number}") for number in range(3))
        done.append(world.runtime.now())

    world.client(send, "a")
    world.client(burst)
    world.client(send, "b")
    await trio.sleep(1)
    getattr(ref, verb)()
    await world.settled()
    assert done == [2, 2, 2]
    dead = world.dead()
    assert len(dead) == 6
    assert {one.reason for one in dead} == {"stopped"}


# --- Threads ----------------------------------------------------------------


async def test_messages_of_a_thread_keep_their_order(world: World) -> None:
    """MBX-4: `tell_from_thread`."""
    seen: list[str] = []
    ref = await world.spawn(Log, seen)

    def work() -> None:
        for number in range(100):
            ref.tell_from_thread(Note(str(number)))

    await trio.to_thread.run_sync(work)
    await world.settled()
    assert seen == [str(number) for number in range(100)]


async def test_a_thread_that_finds_no_room_leaves_a_dead_letter(world: World) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, 1)

    def work() -> None:
        for text in "ab":
            ref.tell_from_thread(Note(text))

    await trio.to_thread.run_sync(work)
    await world.settled()
    assert [(one.message, one.reason) for one in world.dead()] == [
        (Note("b"), "overflow")
    ]


def test_a_thread_that_comes_after_the_end_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> ActorRef[Any]:
        async with open_actor_system("demo") as system:
            return await system.spawn(Counter)

    ref = trio.run(main)
    ref.tell_from_thread(Add())
    assert "Add(amount=1)" in caplog.text
    assert "comes too late" in caplog.text


# --- Watching it ------------------------------------------------------------


async def test_the_highest_level_is_remembered(world: World) -> None:
    """MBX-7, S0-11: queue lengths can be monitored."""
    ref = await world.spawn(Worker)
    for _ in range(7):
        ref.tell_nowait(Add())
    await world.settled()
    (shown,) = world.snapshot().children
    assert (shown.high_water, shown.queued, shown.capacity) == (7, 0, 1024)


async def test_a_function_counts_its_level_too(world: World) -> None:
    async def slow(inbox: Inbox[Note]) -> None:
        async for _ in inbox:
            await trio.sleep(1)

    ref = await world.spawn(slow)
    for _ in range(7):
        ref.tell_nowait(Note())
    await world.settled()
    assert world.snapshot().children[0].high_water == 7


def test_a_context_is_what_an_inbox_is() -> None:
    assert issubclass(Inbox, Context)
