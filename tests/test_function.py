"""Function actors: receiving, replying, several tasks, and how they end."""

# ruff: noqa: PERF401

from contextvars import ContextVar
from itertools import pairwise
from typing import Any

import pytest
import trio

from tests.kit import Add, Boom, Get, Note, check_books, open_system, run_main, tally
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Inbox,
    NoReply,
    StartFailed,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


async def test_a_function_may_receive_one_by_one(world: World) -> None:
    """`receive()` beside `async for`."""
    seen: list[str] = []

    async def pairs(inbox: Inbox[Note]) -> None:
        async for first in inbox:
            second = await inbox.receive()
            seen.append(first.text + second.text)

    ref = await world.spawn(pairs)
    for text in "abcd":
        ref.tell_nowait(Note(text))
    await world.settled()
    assert seen == ["ab", "cd"]
    assert world.statistics()["handled"] == 4


async def test_a_function_ends_with_what_it_returns_from(world: World) -> None:
    """Verbs: a function that returns ends normally; the queue is dead letters."""

    async def once(inbox: Inbox[Note]) -> None:
        await inbox.receive()

    ref = await world.spawn(once)
    ref.tell_nowait(Note("a"))
    ref.tell_nowait(Note("b"))
    assert (await ref.wait_stopped()).kind == "normal"
    assert [one.message for one in world.dead()] == [Note("b")]
    assert world.statistics()["handled"] == 1


async def test_a_function_that_returns_with_a_request_in_hand(world: World) -> None:
    """ASK-D2: NoReply at once, and the text does not speak of a next message."""

    async def rude(inbox: Inbox[Get]) -> None:
        await inbox.receive()

    ref = await world.spawn(rude)
    with pytest.raises(NoReply, match=r"/rude-1 returned instead of an answer to Get"):
        await ref.ask(Get())
    assert (await ref.wait_stopped()).kind == "normal"


async def test_a_function_that_never_receives_is_idle(world: World) -> None:
    async def deaf(inbox: Inbox[Note]) -> None:
        await trio.sleep(5)

    ref = await world.spawn(deaf)
    ref.tell_nowait(Note())
    assert (await ref.wait_stopped()).kind == "normal"
    assert trio.current_time() == 5
    world.dead()


async def test_receiving_ends_when_the_actor_is_stopped(world: World) -> None:
    """Verbs: a function sees the end of its `async for`; receive() raises."""
    seen: list[str] = []

    async def loops(inbox: Inbox[Note]) -> None:
        async for message in inbox:
            seen.append(message.text)
        seen.append("after the loop")
        with pytest.raises(trio.EndOfChannel):
            await inbox.receive()
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(inbox))
        seen.append("the end")

    ref = await world.spawn(loops)
    ref.tell_nowait(Note("a"))
    await world.settled()
    ref.stop()
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert seen == ["a", "after the loop", "the end"]


@pytest.mark.parametrize(
    ("verb", "kind"), [("stop", "shutdown"), ("drain", "shutdown"), ("restart", None)]
)
async def test_a_loop_around_receive_may_let_the_end_through(
    world: World, verb: str, kind: str | None
) -> None:
    """As trio's users write it: the actor failed with EndOfChannel at each stop."""
    seen: list[str] = []

    async def loops(inbox: Inbox[Note]) -> None:
        while True:
            seen.append((await inbox.receive()).text)

    ref = await world.spawn(loops)
    ref.tell_nowait(Note("a"))
    await world.settled()
    getattr(ref, verb)()
    if kind is None:
        await ref.tell(Note("b"))
        await world.settled()
        assert seen == ["a", "b"]
    else:
        assert (await ref.wait_stopped()).kind == kind


async def test_the_end_may_come_out_of_a_nursery(world: World) -> None:
    async def loops(inbox: Inbox[Note]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            while True:
                await inbox.receive()

    ref = await world.spawn(loops)
    ref.tell_nowait(Note("a"))
    await world.settled()
    ref.stop()
    assert (await ref.wait_stopped()).kind == "shutdown"


async def test_the_end_beside_a_failure_is_a_failure(world: World) -> None:
    async def fails(_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("beside it")

    async def loops(inbox: Inbox[Note]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, inbox)
            while True:
                await inbox.receive()

    ref = await world.spawn(loops, restart="temporary")
    await world.settled()
    ref.stop()
    exit = await ref.wait_stopped()
    assert exit.kind == "failed"
    assert "beside it" in repr(exit.error)


async def test_the_end_of_another_channel_is_a_failure(world: World) -> None:
    async def reads(inbox: Inbox[Note]) -> None:
        await inbox.receive()
        send, receive = trio.open_memory_channel[int](1)
        send.close()
        await receive.receive()

    ref = await world.spawn(reads, restart="temporary")
    ref.tell_nowait(Note("a"))
    exit = await ref.wait_stopped()
    assert exit.kind == "failed"
    assert isinstance(exit.error, trio.EndOfChannel)


async def test_two_tasks_cannot_wait_for_the_next_message(world: World) -> None:
    """Trio's manners: BusyResourceError."""
    seen: list[str] = []

    async def two(inbox: Inbox[Note]) -> None:
        async def other() -> None:
            with pytest.raises(trio.BusyResourceError, match="another task receives"):
                await inbox.receive()
            seen.append("busy")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            async for message in inbox:
                seen.append(message.text)

    ref = await world.spawn(two)
    await world.settled()
    assert seen == ["busy"]
    await ref.tell(Note("a"))
    await world.settled()
    assert seen == ["busy", "a"]
    ref.stop()
    await ref.wait_stopped()


async def test_several_tasks_may_take_turns(world: World) -> None:
    """Whoever receives next ends the turn of the one before."""
    seen: list[str] = []

    async def relay(inbox: Inbox[Note]) -> None:
        for name in "xyz":

            async def one(name: str = name) -> None:
                message = await inbox.receive()
                seen.append(name + message.text)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)

    ref = await world.spawn(relay)
    for text in "123":
        ref.tell_nowait(Note(text))
    assert (await ref.wait_stopped()).kind == "normal"
    assert seen == ["x1", "y2", "z3"]
    assert world.statistics()["handled"] == 3


def test_variables_that_came_with_a_message_stay_in_the_task_that_took_it() -> None:
    """Section 1.8: another task of the function may end the turn."""
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[str] = []

    async def relay(inbox: Inbox[Note]) -> None:
        async def one() -> None:
            await inbox.receive()
            seen.append(who.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
        seen.append(who.get())
        await inbox.receive()
        seen.append(who.get())

    async def main() -> None:
        async with open_system(propagate=[who]) as system:
            ref = await system.spawn(relay)
            for name in ("Ann", "Bob"):
                who.set(name)
                ref.tell_nowait(Note())
            assert (await ref.wait_stopped()).kind == "normal"

    run_main(main)
    assert seen == ["Ann", "nobody", "Bob"]


async def test_a_cancelled_receive_loses_no_message(world: World) -> None:
    seen: list[str] = []

    async def patient(inbox: Inbox[Note]) -> None:
        while True:
            with trio.move_on_after(1) as scope:
                message = await inbox.receive()
                seen.append(message.text)
            if scope.cancelled_caught:
                seen.append("nothing")
            if len(seen) == 6:
                return

    ref = await world.spawn(patient)
    await trio.sleep(1.5)
    for text in "abc":
        ref.tell_nowait(Note(text))
    assert (await ref.wait_stopped()).kind == "normal"
    assert seen == ["nothing", "a", "b", "c", "nothing", "nothing"]


def test_a_receive_may_be_cancelled_at_every_step() -> None:
    async def scenario(world: World, arm: Arm) -> None:
        seen: list[str] = []
        scope = trio.CancelScope()

        async def function(inbox: Inbox[Note]) -> None:
            with scope:
                async for message in inbox:
                    seen.append(message.text)
            async for message in inbox:
                seen.append(message.text)

        ref = await world.spawn(function)
        arm(scope.cancel)
        for number in range(5):
            await ref.tell(Note(str(number)))
        await world.settled()
        assert seen == list("01234")

    assert at_every_step(scenario) > 5


async def test_a_receive_is_a_checkpoint(world: World) -> None:
    seen: list[str] = []

    async def function(inbox: Inbox[Note]) -> None:
        for _ in range(3):
            with trio.testing.assert_checkpoints():
                message = await inbox.receive()
            seen.append(message.text)

    ref = await world.spawn(function)
    for text in "abc":
        ref.tell_nowait(Note(text))
    await ref.wait_stopped()
    assert seen == ["a", "b", "c"]


async def test_a_busy_function_lets_others_run(world: World) -> None:
    """MBX-5: a checkpoint at least each 64 messages."""
    handled: list[int] = []
    count = 0

    async def busy(inbox: Inbox[Note]) -> None:
        nonlocal count
        async for _ in inbox:
            count += 1

    async def watch() -> None:
        while count < 640:
            handled.append(count)
            await trio.lowlevel.checkpoint()

    ref = await world.spawn(busy)
    for _ in range(640):
        ref.tell_nowait(Note())
    world.client(watch)
    await world.settled()
    steps = [b - a for a, b in pairwise(handled)]
    assert max(steps) <= 64


# --- Replies ----------------------------------------------------------------


async def test_only_the_request_in_hand_is_answered(world: World) -> None:
    """Design 2: to a message that is not in hand it is an error; twice, too."""
    refused: list[str] = []

    async def wrong(inbox: Inbox[Get]) -> None:
        kept: Get | None = None
        async for message in inbox:
            for other in (Get(), kept):
                if other is not None:
                    with pytest.raises(RuntimeError) as caught:
                        inbox.reply(other, 1)
                    refused.append(str(caught.value))
            inbox.reply(message, 2)
            with pytest.raises(RuntimeError) as caught:
                inbox.reply(message, 3)
            refused.append(str(caught.value))
            with pytest.raises(RuntimeError) as caught:
                inbox.fail(message, ValueError())
            refused.append(str(caught.value))
            kept = message

    ref = await world.spawn(wrong)
    assert await ref.ask(Get()) == 2
    assert await ref.ask(Get()) == 2
    assert len(refused) == 7
    assert "reply() is for the message in hand" in refused[0]
    assert "reply(): the answer to Get() was already given" in refused[1]
    assert "fail(): the answer to Get() was already given" in refused[2]


async def test_a_message_that_was_told_is_answered_to_nobody(world: World) -> None:
    async def polite(inbox: Inbox[Get]) -> None:
        async for message in inbox:
            inbox.reply(message, 1)
            inbox.fail(message, ValueError("also to nobody"))

    ref = await world.spawn(polite)
    ref.tell_nowait(Get())
    await world.settled()
    assert world.statistics()["handled"] == 1


async def test_a_function_may_fail_a_request(world: World) -> None:
    """The exception is an answer: the function goes on."""

    async def picky(inbox: Inbox[Get | Boom]) -> None:
        async for message in inbox:
            if isinstance(message, Boom):
                inbox.fail(message, KeyError("no"))
            else:
                inbox.reply(message, inbox.incarnation)

    ref = await world.spawn(picky)
    with pytest.raises(KeyError):
        await ref.ask(Boom())
    assert await ref.ask(Get()) == 1


async def test_a_function_may_answer_early_and_go_on(world: World) -> None:
    seen: list[str] = []

    async def early(inbox: Inbox[Get]) -> None:
        async for message in inbox:
            inbox.reply(message, 1)
            await trio.sleep(5)
            seen.append("work is done")

    ref = await world.spawn(early)
    assert await ref.ask(Get()) == 1
    assert trio.current_time() == 0
    await world.settled()
    assert seen == ["work is done"]


async def test_a_failing_function_fails_its_request_and_is_called_again(
    world: World,
) -> None:
    """With its first arguments: the state is that of the start."""
    ref = await world.spawn(tally, 5)
    await ref.tell(Add(10))
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Boom(KeyError("k")))
    assert isinstance(caught.value.__cause__, KeyError)
    assert await ref.ask(Get()) == 5


async def test_an_abandoned_request_is_not_received(world: World) -> None:
    seen: list[object] = []

    async def function(inbox: Inbox[Add | Get]) -> None:
        async for message in inbox:
            seen.append(message)

    ref = await world.spawn(function)
    ref.ask_nowait(Get()).abandon()
    ref.tell_nowait(Add())
    await world.settled()
    assert seen == [Add()]
    assert world.statistics()["abandoned"] == 1


async def test_a_tick_that_lapsed_is_not_received(world: World) -> None:
    seen: list[str] = []

    async def function(inbox: Inbox[Note]) -> None:
        inbox.send_after(1, Note("tick"))
        await trio.sleep(2)
        inbox.cancel_timer(Note("tick"))
        async for message in inbox:
            seen.append(message.text)

    ref = world.spawn_nowait(function)
    await trio.sleep(3)
    ref.tell_nowait(Note("a"))
    await world.settled()
    assert seen == ["a"]
    assert world.statistics()["expired"] == 1


async def test_the_fault_of_another_ends_a_function(world: World) -> None:
    """It has no handler that could pass it on: its asker hears it all the same."""

    class Failing(Actor[Get]):
        @handler
        def get(self, message: Get) -> int:
            raise ValueError("v")

    other = await world.spawn(Failing)

    async def asks(inbox: Inbox[Get | Add]) -> None:
        async for message in inbox:
            if isinstance(message, Add):
                inbox.reply(message, inbox.incarnation)
            else:
                inbox.reply(message, await other.ask(Get()))

    ref = await world.spawn(asks)
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Get())
    assert isinstance(caught.value.__cause__, ActorFailed)
    assert await ref.ask(Add()) == 2


async def test_a_function_that_fails_before_it_waits_did_not_start(
    world: World,
) -> None:
    async def broken(inbox: Inbox[Get]) -> None:
        raise ValueError("at once")

    with pytest.raises(StartFailed) as caught:
        await world.spawn(broken)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_function_keeps_its_books_at_every_step() -> None:
    for verb in ("kill", "stop", "restart", "drain"):

        async def scenario(world: World, arm: Arm, verb: str = verb) -> None:
            ref: ActorRef[Any] = await world.spawn(tally)
            arm(getattr(ref, verb))
            pendings = [ref.ask_nowait(Add()) for _ in range(3)]
            ref.tell_nowait(Add())
            await world.settled()
            assert all(pending.done() for pending in pendings)
            check_books(world)

        assert at_every_step(scenario) >= 2


async def test_a_function_owes_nothing_to_an_asker_that_has_left(world: World) -> None:
    async def slow(inbox: Inbox[Get]) -> None:
        async for _ in inbox:
            await trio.sleep(5)

    ref = await world.spawn(slow)
    with trio.move_on_after(1):
        await ref.ask(Get())
    await world.settled()
    assert world._late_replies == 0
    assert world.statistics()["handled"] == 1
