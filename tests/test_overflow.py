"""What becomes of a message without room, and what never counts against it.

Rules: section 1.7 of the design, MBX-2, design 4.
"""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from tests.actors import Log, busy_log
from tests.kit import (
    Counter,
    Get,
    Note,
    Sleep,
)
from trio_actors import (
    Actor,
    ActorRef,
    Mailbox,
    MailboxFull,
    Terminated,
    handler,
)
from trio_actors._mailbox import Overflow
from trio_actors.testing import World

POLICIES: list[Overflow] = ["block", "drop_new", "drop_oldest", "fail"]


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
    assert trio.current_time() == 1
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
    assert trio.current_time() == 1
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
        assert trio.current_time() == 10
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


async def test_a_message_that_is_none_may_be_the_oldest(world: World) -> None:
    """None is a message like any other."""

    class Sleeps(Actor[object]):
        @handler
        async def any(self, message: object) -> None:
            await trio.sleep(10)

    ref = await world.spawn(Sleeps, mailbox=Mailbox(2, "drop_oldest"))
    ref.tell_nowait("taken")
    await trio.sleep(1)
    for message in (None, "a", "b"):
        ref.tell_nowait(message)
    assert [one.message for one in world.dead()] == [None]
    await world.settled()
    assert world.statistics()["handled"] == 3
