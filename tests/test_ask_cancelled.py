"""Asks whose asker goes away, or whose actor ends, at every step.

Rules: ASK-D3, ASK-D4, N-6, design 2 ("Cancellation is a property of a message").
"""

from typing import Any

import pytest
import trio

from tests.actors import Chain, Sleeper, Via
from tests.kit import (
    Add,
    Counter,
    Get,
    Sleep,
    Worker,
    tally,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    Mailbox,
    Reply,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm

KINDS: list[Any] = [Counter, Worker, tally]


async def test_a_cancelled_ask_is_skipped_when_it_was_not_started(
    world: World,
) -> None:
    """ASK-D3, ASK-5: not handled, counted as abandoned, no dead letter."""
    ref = await world.spawn(Worker)
    await ref.tell(Sleep(5))
    with trio.move_on_after(1) as scope:
        await ref.ask(Add(100))
    assert scope.cancelled_caught
    assert await ref.ask(Get()) == 0
    assert world.statistics()["abandoned"] == 1


async def test_an_ask_in_a_cancelled_scope_is_never_handled(world: World) -> None:
    ref = await world.spawn(Counter)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ref.ask(Add(100))
    assert scope.cancelled_caught
    assert await ref.ask(Get()) == 0


async def test_a_late_answer_is_counted_and_dropped(world: World) -> None:
    """ASK-D4: the handler finishes, and its answer reaches nobody."""
    ref = await world.spawn(Worker)
    with trio.move_on_after(1):
        await ref.ask(Sleep(5))
    assert world._late_replies == 0
    assert await ref.ask(Get()) == 0
    assert trio.current_time() == 5
    assert world._late_replies == 1
    assert world.statistics()["handled"] == 2


async def test_an_answer_in_the_step_of_the_cancellation_is_late(world: World) -> None:
    """ASK-D4: it must not reschedule a task that no longer waits there."""
    replies: list[Reply[int]] = []

    class Keeper(Actor[Get]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            replies.append(self.context.defer_reply(message))
            return replies[-1]

    ref = await world.spawn(Keeper)
    scope = trio.CancelScope()

    async def ask() -> None:
        with scope:
            await ref.ask(Get())
        await trio.sleep(3)  # here the answer would wake it

    world.client(ask)
    await trio.sleep(1)
    scope.cancel()
    replies[0].send(7)
    await world.settled()
    assert scope.cancelled_caught
    assert world._late_replies == 1
    assert trio.current_time() == 4


async def test_an_answer_before_the_cancellation_wins(world: World) -> None:
    """Trio's manners: a value that was handed over is not lost to a cancel."""
    replies: list[Reply[int]] = []

    class Keeper(Actor[Get]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            replies.append(self.context.defer_reply(message))
            return replies[-1]

    ref = await world.spawn(Keeper)
    scope = trio.CancelScope()
    got: list[int] = []

    async def ask() -> None:
        with scope:
            got.append(await ref.ask(Get()))

    world.client(ask)
    await trio.sleep(1)
    replies[0].send(7)
    scope.cancel()
    await world.settled()
    assert got == [7]
    assert not scope.cancelled_caught


async def test_a_handler_may_end_with_its_caller(world: World) -> None:
    """ASK-D3, N-6: `cancel_with_caller`; the actor lives on, nothing failed."""
    seen: list[str] = []
    ref = await world.spawn(Sleeper, seen)
    with trio.move_on_after(1):
        await ref.ask(Sleep(1000))
    assert await ref.ask(Get()) == 1
    assert trio.current_time() == 1
    assert seen == ["begun"]
    books = world.statistics()
    assert (books["abandoned"], books["failed"], books["handled"]) == (1, 0, 1)


async def test_a_caller_that_stays_gets_its_answer(world: World) -> None:
    ref = await world.spawn(Sleeper)
    assert await ref.ask(Sleep(2)) == 2
    await ref.tell(Sleep(2))  # nobody can go away
    assert await ref.ask(Get()) == 4


async def test_a_handler_that_swallows_the_callers_cancellation_has_finished(
    world: World,
) -> None:
    class Stubborn(Actor[Sleep]):
        @handler(cancel_with_caller=True)
        async def sleep(self, message: Sleep) -> int:
            with trio.CancelScope(shield=True):
                await trio.sleep(message.seconds)
            return 1

    ref = await world.spawn(Stubborn)
    with trio.move_on_after(1):
        await ref.ask(Sleep(5))
    await world.settled()
    assert trio.current_time() == 5
    assert world.statistics()["handled"] == 1
    assert world._late_replies == 1


async def test_a_failure_while_the_callers_cancellation_unwinds_is_a_failure(
    world: World,
) -> None:
    class Clumsy(Actor[Sleep | Get]):
        @handler(cancel_with_caller=True)
        async def sleep(self, message: Sleep) -> int:
            try:
                await trio.sleep(message.seconds)
            finally:
                raise ValueError("while it cleaned up")

        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    ref = await world.spawn(Clumsy)
    with trio.move_on_after(1):
        await ref.ask(Sleep(5))
    assert await ref.ask(Get()) == 2
    assert world.statistics()["failed"] == 1


async def test_the_end_of_the_caller_ends_a_whole_chain(world: World) -> None:
    """N-6, ASK-D7: the nested asks of a cancelled handler are cancelled too."""
    ended: list[str] = []
    links = [await world.spawn(Chain, ended, name=name) for name in "abc"]
    seen: list[str] = []
    last = await world.spawn(Sleeper, seen)
    with trio.move_on_after(1):
        await links[0].ask(Via((*links[1:], last), Sleep(1000)))
    await world.settled()
    assert ended == ["/a", "/b", "/c"]
    assert seen == ["begun"]
    assert trio.current_time() == 1
    assert world.statistics()["abandoned"] == 4
    assert await links[0].ask(Via((*links[1:], last))) == 1


async def test_a_nested_ask_that_waits_in_a_queue_is_taken_back(world: World) -> None:
    busy = await world.spawn(Worker)
    link = await world.spawn(Chain, list[str]())
    await busy.tell(Sleep(10))
    with trio.move_on_after(1):
        await link.ask(Via((busy,), Add(5)))
    assert await busy.ask(Get()) == 0


# --- At every step ----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_ask_may_be_cancelled_at_every_step(kind: Any) -> None:
    """Design 2: the reply slot is cancel-safe."""
    seen: set[bool] = set()

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(kind)
        scope = trio.CancelScope()
        arm(scope.cancel)
        answers: list[int] = []
        with scope:
            while len(answers) < 3:
                answers.append(await ref.ask(Add()))
        seen.add(scope.cancelled_caught)
        assert answers == [1, 2, 3][: len(answers)]
        before = await ref.ask(Get())
        assert len(answers) <= before <= len(answers) + 1
        assert await ref.ask(Add(1)) == before + 1

    assert at_every_step(scenario) > 3
    assert seen == {True, False}


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_in_two_steps_may_be_cancelled_at_every_step(kind: Any) -> None:
    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(kind)
        scope = trio.CancelScope()
        arm(scope.cancel)
        with scope:
            pending = ref.ask_nowait(Add())
            await trio.lowlevel.checkpoint()
            assert await pending == 1
        assert await ref.ask(Get()) in (0, 1)

    assert at_every_step(scenario) > 3


def test_an_ask_that_waits_for_room_may_be_cancelled_at_every_step() -> None:
    """Section 1.7: waiting senders wait without their message."""

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(Worker, mailbox=Mailbox(capacity=1))
        scope = trio.CancelScope()
        arm(scope.cancel)

        async def busy() -> None:
            for _ in range(3):
                await ref.tell(Add())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)
            nursery.start_soon(busy)
            with scope:
                for _ in range(3):
                    await ref.ask(Add(10))
        total = await ref.ask(Get())
        assert total % 10 == 6
        assert total <= 36

    assert at_every_step(scenario) > 10


def test_a_handler_that_ends_with_its_caller_may_be_cancelled_at_every_step() -> None:
    class Both(Actor[Add | Get]):
        total = 0

        @handler(cancel_with_caller=True)
        async def add(self, message: Add) -> int:
            await trio.lowlevel.checkpoint()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.lowlevel.checkpoint)
                nursery.start_soon(trio.lowlevel.checkpoint)
            self.total += 1
            return self.total

        @handler
        def get(self, message: Get) -> int:
            assert self.context.incarnation == 1
            return self.total

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(Both)
        scope = trio.CancelScope()
        arm(scope.cancel)
        with scope:
            await ref.ask(Add())
            await ref.ask(Add())
        assert await ref.ask(Get()) <= 2
        assert world.statistics()["failed"] == 0

    assert at_every_step(scenario) > 10


def test_a_chain_may_be_cancelled_at_every_step() -> None:
    """N-6: cancelled anywhere, it leaves every link ready for the next request."""

    async def scenario(world: World, arm: Arm) -> None:
        links = [await world.spawn(Chain, list[str]()) for _ in range(3)]
        last = await world.spawn(Worker)
        scope = trio.CancelScope()
        arm(scope.cancel)
        with scope:
            await links[0].ask(Via((*links[1:], last), Add(1)))
        await world.settled()
        assert await links[0].ask(Via((*links[1:], last), Get())) in (0, 1)
        assert world.statistics()["failed"] == 0

    assert at_every_step(scenario) > 10


@pytest.mark.parametrize("verb", ["kill", "stop", "restart", "drain"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_answerer_may_end_at_every_step_of_an_ask(kind: Any, verb: str) -> None:
    """Design 2, verbs: an ask never hangs, and says whether it was begun."""
    seen: set[str] = set()

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(kind)
        arm(getattr(ref, verb))
        try:
            for _ in range(3):
                await ref.ask(Add())
            seen.add("answered")
        except (ActorStopped, ActorFailed) as error:
            seen.add(type(error).__name__)

    at_every_step(scenario)
    assert "answered" in seen
    assert "ActorStopped" in seen or verb == "restart"
