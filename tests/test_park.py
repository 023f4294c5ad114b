"""How an actor sleeps: woken, cancelled, both at once, again and again.

`_park` makes what trio's own `wait_task_rescheduled()` makes, but once per sleeper. So
it depends on how trio treats that, and is tested on the oldest and the newest trio.
"""

import gc
import weakref
from typing import Any

import pytest
import trio
from trio.lowlevel import Abort, Task, current_task, reschedule

from tests.kit import Add, Counter, Get, Note, Worker, tally
from trio_actors import Inbox
from trio_actors._park import WOKEN, make_trap, park
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


class Bed:
    """Where one task at a time sleeps."""

    def __init__(self) -> None:
        self.sleeper: Task | None = None
        self.aborts = 0
        self.trap: Any = make_trap(self.abort)

    def abort(self, raise_cancel: object) -> Abort:
        self.sleeper = None
        self.aborts += 1
        return Abort.SUCCEEDED

    async def sleep(self) -> None:
        self.sleeper = current_task()
        await park(self.trap)

    def wake(self) -> None:
        assert self.sleeper is not None
        task, self.sleeper = self.sleeper, None
        reschedule(task, WOKEN)


async def test_one_trap_is_good_for_many_sleeps_of_many_tasks() -> None:
    """By turns woken and cancelled, in one task and in others."""
    bed = Bed()
    how: list[str] = []

    async def sleeper(scope: trio.CancelScope) -> None:
        with scope:
            await bed.sleep()
        how.append("cancelled" if scope.cancelled_caught else "woken")

    async with trio.open_nursery() as nursery:
        for number in range(40):
            scope = trio.CancelScope()
            nursery.start_soon(sleeper, scope)
            await trio.testing.wait_all_tasks_blocked()
            if number % 2:
                scope.cancel()
            else:
                bed.wake()
            await trio.testing.wait_all_tasks_blocked()
    assert how == ["woken", "cancelled"] * 20
    assert bed.aborts == 20


async def test_who_is_woken_and_cancelled_in_one_step_was_woken() -> None:
    """As with trio's own: what has been rescheduled cannot be aborted any more."""
    bed = Bed()
    how: list[str] = []

    async def sleeper() -> None:
        with trio.CancelScope() as scopes[0]:
            await bed.sleep()
            how.append("woken")
            await trio.lowlevel.checkpoint()
            how.append("never")

    scopes: list[trio.CancelScope] = [trio.CancelScope()]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        await trio.testing.wait_all_tasks_blocked()
        bed.wake()
        scopes[0].cancel()
    assert (how, bed.aborts) == (["woken"], 0)


async def test_who_is_cancelled_and_then_to_be_woken_was_cancelled() -> None:
    """The abort function takes the sleeper away in the step of the cancellation."""
    bed = Bed()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bed.sleep)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            assert bed.sleeper is None
    assert bed.aborts == 1


async def test_who_is_cancelled_already_does_not_fall_asleep() -> None:
    bed = Bed()
    with trio.CancelScope() as scope:
        scope.cancel()
        await bed.sleep()
    assert scope.cancelled_caught
    assert (bed.sleeper, bed.aborts) == (None, 1)


async def test_a_sleep_is_a_checkpoint() -> None:
    """A schedule point even when it is woken by itself, in the very step before."""
    bed = Bed()
    bed.sleeper = current_task()
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")
        bed.wake()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        with trio.testing.assert_checkpoints():
            await bed.sleep()
    assert ran == ["other"]


async def test_a_trap_keeps_nobody_alive() -> None:
    """Neither who slept, nor how it was woken."""

    class Kept:
        pass

    bed, refs = Bed(), list[weakref.ref[Kept]]()

    async def sleeper() -> None:
        kept = Kept()
        refs.append(weakref.ref(kept))
        await bed.sleep()
        del kept

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        await trio.testing.wait_all_tasks_blocked()
        bed.wake()
    gc.collect()
    assert [ref() for ref in refs] == [None]


# --- Actors that sleep --------------------------------------------------------


@pytest.mark.parametrize("actor", [Counter, Worker, tally])
async def test_an_actor_sleeps_and_wakes_again_and_again(
    world: World, actor: Any
) -> None:
    """One message at a time; each finds it asleep."""
    ref = await world.spawn(actor)
    traps: list[object] = []
    for number in range(1, 200):
        assert await ref.ask(Add(1)) == number
        await world.settled()
        assert ref._cell.box.consumer is not None
        traps.append(ref._cell.box.trap)
    assert all(trap is traps[0] for trap in traps)


@pytest.mark.parametrize("verb", ["kill", "stop", "restart", "drain"])
@pytest.mark.parametrize("actor", [Counter, Worker, tally])
def test_a_verb_between_the_message_and_the_wake_up(actor: Any, verb: str) -> None:
    """Told and cut short in one step, at every step; nothing is lost without a word."""

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(actor)
        await world.settled()

        told: list[Add] = []

        def tell(amount: int) -> None:
            told.append(Add(amount))
            ref.tell_nowait(told[-1])

        def strike() -> None:
            tell(1)
            getattr(ref, verb)()
            tell(2)

        arm(strike)
        for number in range(3, 6):
            tell(number)
            await world.settled()
        books = world.statistics()
        ended = books["handled"] + books["failed"] + len(world.dead())
        assert ended == len(told) >= 3

    assert at_every_step(scenario) > 5


def test_a_function_that_is_cancelled_while_it_receives_gets_the_next() -> None:
    """A scope of its own around `receive()`, cancelled at every step: none is lost."""

    async def scenario(world: World, arm: Arm) -> None:
        seen: list[str] = []
        scopes = [trio.CancelScope()]

        async def listen(inbox: Inbox[Note]) -> None:
            while True:
                with trio.CancelScope() as scopes[0]:
                    message = await inbox.receive()
                    seen.append(message.text)

        ref = await world.spawn(listen)
        arm(lambda: scopes[0].cancel())
        for number in range(6):
            ref.tell_nowait(Note(str(number)))
            await world.settled()
        assert seen == [str(number) for number in range(6)]
        ref.kill()

    assert at_every_step(scenario) > 5


async def test_two_receivers_of_one_inbox_are_one_too_many(world: World) -> None:
    """Also if the other begins while the first one lets others run between messages."""
    seen: list[str] = []

    async def listen(inbox: Inbox[Note]) -> None:
        async def other() -> None:
            seen.append("other " + (await inbox.receive()).text)
            seen.append("other " + (await anext(inbox)).text)

        async with trio.open_nursery() as nursery:
            await inbox.receive()
            for _ in range(63):  # its batch is over with the next
                await anext(inbox)
            nursery.start_soon(other)
            await trio.lowlevel.checkpoint()
            with pytest.raises(trio.BusyResourceError):
                await anext(inbox)
            seen.append("busy")

    ref = await world.spawn(listen)
    for number in range(65):
        ref.tell_nowait(Note(str(number)))
    await world.settled()
    ref.tell_nowait(Note("next"))
    await world.settled()
    assert seen == ["other 64", "busy", "other next"]


async def test_a_sleeping_actor_that_is_looked_at_sleeps_on(world: World) -> None:
    ref = await world.spawn(Counter)
    await ref.ask(Get())
    await world.settled()
    task = ref._cell.box.consumer
    world.snapshot()
    world.statistics()
    assert ref._cell.box.consumer is task is ref._cell.task
