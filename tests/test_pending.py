"""Asks in two steps: ASK-D5, the docstring of Pending."""

from typing import Any

import pytest
import trio

from tests.actors import Sleeper
from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Sleep,
    Worker,
    open_system,
    run_main,
    tally,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Inbox,
    Pending,
    Reply,
    handler,
)
from trio_actors._pending import BUNKS
from trio_actors.testing import Probe, World

KINDS: list[Any] = [Counter, Worker, tally]


async def test_a_pending_may_be_awaited_as_often_as_one_likes(world: World) -> None:
    """The docstring of Pending; before and after the answer came."""
    ref = await world.spawn(Counter)
    pending = ref.ask_nowait(Add(3))
    assert [await pending, await pending, await pending] == [3, 3, 3]
    pending = ref.ask_nowait(Add(3))
    await world.settled()
    assert [await pending, await pending] == [6, 6]


async def test_a_pending_that_failed_raises_each_time(world: World) -> None:
    ref = await world.spawn(Counter)
    for settle in (True, False):
        pending = ref.ask_nowait(Boom())
        if settle:
            await world.settled()
        for _ in range(3):
            with pytest.raises(ActorFailed):
                await pending


async def test_a_pending_belongs_to_the_task_that_asked(world: World) -> None:
    ref = await world.spawn(Counter)
    pending = ref.ask_nowait(Add(3))
    refused: list[str] = []

    async def other() -> None:
        with pytest.raises(RuntimeError, match="another task") as caught:
            await pending
        refused.append(str(caught.value))

    world.client(other)
    await world.settled()
    assert "Add(amount=3)" in refused[0]
    assert await pending == 3


async def test_a_pending_may_be_asked_between_two_steps(
    world: World,
) -> None:
    """As from an instrument; it belongs to the task that ran last."""
    ref = await world.spawn(Counter)
    asked: list[Pending[int]] = []

    class Between(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if not asked:
                asked.append(ref.ask_nowait(Add(3)))

    between = Between()
    trio.lowlevel.add_instrument(between)
    await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(between)
    assert await asked[0] == 3


async def test_an_abandoned_request_is_skipped(world: World) -> None:
    """ASK-D3, by hand; twice is once, and too late is nothing."""
    ref = await world.spawn(Counter)
    pending = ref.ask_nowait(Add(3))
    pending.abandon()
    pending.abandon()
    assert not pending.done()
    with pytest.raises(RuntimeError, match=r"Add\(amount=3\) was abandoned"):
        await pending
    answered = ref.ask_nowait(Add(4))
    await world.settled()
    answered.abandon()
    assert await answered == 4
    assert world.statistics()["abandoned"] == 1


async def test_abandoning_ends_a_handler_that_ends_with_its_caller(
    world: World,
) -> None:
    seen: list[str] = []
    ref = await world.spawn(Sleeper, seen)
    pending = ref.ask_nowait(Sleep(10))
    await trio.sleep(1)
    pending.abandon()
    await world.settled()
    assert (seen, trio.current_time()) == (["begun"], 1)


async def test_abandoning_wakes_the_task_that_waits(world: World) -> None:
    """Another task may abandon it; whoever waits must not wait for ever."""
    ref = await world.spawn(Worker)
    asked: list[Pending[int]] = []
    heard: list[str] = []

    async def waits() -> None:
        asked.append(ref.ask_nowait(Sleep(10)))
        with pytest.raises(RuntimeError) as caught:
            await asked[0]
        heard.append(str(caught.value))

    world.client(waits)
    await trio.sleep(1)
    asked[0].abandon()
    await world.settled()
    assert "was abandoned" in heard[0]
    assert trio.current_time() == 10
    assert world._late_replies == 1


async def test_a_pending_whose_wait_was_cancelled_is_abandoned(world: World) -> None:
    ref = await world.spawn(Worker)
    pending = ref.ask_nowait(Sleep(10))
    with trio.move_on_after(1):
        await pending
    with pytest.raises(RuntimeError, match="was abandoned"):
        await pending


async def test_a_pending_ends_with_the_handler_that_asked(world: World) -> None:
    """Design 2, Pending: when the handler ends, it is abandoned."""
    other = Probe[Get](world)

    class Forgetful(Actor[Add | Get]):
        @handler
        def add(self, message: Add) -> int:
            other.ref.ask_nowait(Get())
            return 1

        @handler
        async def get(self, message: Get) -> int:
            other.ref.ask_nowait(Get())
            await trio.sleep(1)
            return 2

    ref = await world.spawn(Forgetful)
    other.ref.tell_nowait(Get())
    assert await ref.ask(Add()) == 1
    ref.tell_nowait(Add())
    assert await ref.ask(Get()) == 2
    await world.settled()
    assert world.statistics()["abandoned"] == 2  # the third had been received


async def test_a_pending_of_a_task_beside_the_handlers_lives_on(world: World) -> None:
    replies: list[Reply[int]] = []

    class Keeper(Actor[Get]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            replies.append(self.context.defer_reply(message))
            return replies[-1]

    keeper = await world.spawn(Keeper)
    got: list[int] = []

    class Asks(Actor[Add]):
        @handler
        def add(self, message: Add) -> int:
            self.context.start_soon(self.work)
            return 1

        async def work(self) -> None:
            pending = keeper.ask_nowait(Get())
            await trio.sleep(5)
            got.append(await pending)

    ref = await world.spawn(Asks)
    assert await ref.ask(Add()) == 1
    assert await ref.ask(Add()) == 1
    await trio.sleep(1)
    for reply in replies:
        reply.send(8)
    await world.settled()
    await trio.sleep(10)
    assert got == [8, 8]


async def test_what_a_hook_asked_ends_with_the_hook(world: World) -> None:
    seen: list[str] = []
    sleeper = await world.spawn(Sleeper, seen)

    class Asks(Actor[Get]):
        async def started(self) -> None:
            sleeper.ask_nowait(Sleep(100))
            await trio.sleep(1)

        async def stopped(self, reason: object) -> None:
            sleeper.ask_nowait(Sleep(100))
            await trio.sleep(1)

        @handler
        def get(self, message: Get) -> int:
            return 0

    ref = await world.spawn(Asks)
    await world.settled()
    assert (seen, trio.current_time()) == (["begun"], 1)
    ref.stop()
    await ref.wait_stopped()
    await world.settled()
    assert (seen, trio.current_time()) == (["begun", "begun"], 2)


async def test_a_function_asks_ahead_within_one_turn(world: World) -> None:
    counter = await world.spawn(Counter)

    async def ahead(inbox: Inbox[Get]) -> None:
        async for message in inbox:
            one, two = counter.ask_nowait(Add()), counter.ask_nowait(Add())
            inbox.reply(message, await two + await one)

    ref = await world.spawn(ahead)
    assert await ref.ask(Get()) == 3


def test_an_ask_after_the_end_of_the_run_is_an_answer_too() -> None:
    """Outside of trio there is no task it could belong to."""

    async def main() -> ActorRef[Any]:
        async with open_system() as system:
            return await system.spawn(Counter)

    pending = run_main(main).ask_nowait(Get())
    assert pending.done()


async def test_askers_sleep_where_others_slept_and_get_their_own_answers(
    world: World,
) -> None:
    """In turns answered and cancelled; what one leaves behind wakes nobody else."""
    ref = await world.spawn(Worker)
    bunks = ref._cell.runtime.bunks
    got: list[int] = []

    async def ask(amount: int, scope: trio.CancelScope) -> None:
        with scope:
            got.append(await ref.ask(Add(amount)))

    for amount in (1, 10, 100):
        ref.tell_nowait(Sleep(1))  # so that both askers sleep
        async with trio.open_nursery() as nursery:
            gone = trio.CancelScope()
            nursery.start_soon(ask, 1000, gone)
            nursery.start_soon(ask, amount, trio.CancelScope())
            await trio.testing.wait_all_tasks_blocked()
            gone.cancel()
    assert got == [1, 11, 111]
    assert len(bunks) == 2
    assert all(bunk.call is None for bunk in bunks)


async def test_no_more_bunks_are_kept_than_are_worth_it(world: World) -> None:
    """A crowd that has asked once weighs nothing afterwards."""
    ref = await world.spawn(Counter)
    bunks = ref._cell.runtime.bunks
    async with trio.open_nursery() as nursery:
        for _ in range(BUNKS + 10):
            nursery.start_soon(ref.ask, Add(1))
    assert len(bunks) == BUNKS
