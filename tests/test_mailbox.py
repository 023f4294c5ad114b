"""The mailbox: its size, senders that wait, doors, threads.

Rules: section 1.7 of the design, MBX-4, ORD-1, ORD-5.
"""

import math
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from tests.actors import Log, busy_log
from tests.kit import (
    Add,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
    tally,
)
from trio_actors import (
    Actor,
    ActorRef,
    Context,
    Inbox,
    Mailbox,
    MailboxFull,
    handler,
    open_actor_system,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm

# --- The option -------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, -1, 1.5, True, "10", None, math.nan])
def test_a_capacity_is_a_whole_number_from_one(capacity: Any) -> None:
    with pytest.raises(ValueError, match=r"whole number from 1.*math\.inf") as caught:
        Mailbox(capacity)
    assert repr(capacity) in str(caught.value)


def test_an_unknown_overflow_is_shown_the_known_ones() -> None:
    wrong: Any = "backpressure"
    with pytest.raises(ValueError, match=r"'backpressure'.*'block', 'drop_new'"):
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
        await world.spawn(partial(Small, 0), name="partial"),
        await world.spawn(partial(Small, 0), name="both", mailbox=Mailbox(3)),
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

    ref = world.spawn_nowait(partial(Small, 0))
    for _ in range(10):
        ref.tell_nowait(Add())
    assert await ref.ask(Get()) == 10


# --- Block ------------------------------------------------------------------


async def test_a_full_mailbox_holds_its_senders_back(world: World) -> None:
    seen: list[str] = []
    ref = await busy_log(world, seen, 2)
    for text in "abc":
        await ref.tell(Note(text))
        assert trio.current_time() == (1 if text in "ab" else 10)
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
    assert trio.current_time() == 5
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
            total = await ref.ask(Add())
            results.append(total)

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
    assert trio.current_time() == 5
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
        done.append(trio.current_time())

    async def burst() -> None:
        await ref.tell_all(Note(f"burst {number}") for number in range(3))
        done.append(trio.current_time())

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
