"""Many messages at once: `tell_all`."""

import math
from itertools import pairwise
from typing import Any

import pytest
import trio

from tests.actors import Log, busy_log
from tests.kit import (
    Add,
    Counter,
    Note,
    Sleep,
    check_books,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    Mailbox,
    MailboxFull,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


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
    ref = await world.spawn(Log, list[str](), mailbox=Mailbox(math.inf))
    ran: list[int] = []
    sent = 0

    def numbers() -> Any:
        nonlocal sent
        while sent < 1000:
            sent += 1
            yield Note()

    async def other() -> None:
        while sent < 1000:
            ran.append(sent)
            await trio.lowlevel.checkpoint()

    world.client(other)
    await ref.tell_all(numbers())
    await world.settled()
    gaps = [after - before for before, after in pairwise(ran)]
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
