"""Asks: answers, failures, cancellation at every step, and requests in two steps.

Rules: ASK-D1 to ASK-D5, design 2 ("Cancellation is a property of a message").
"""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from tests.kit import Add, Boom, Counter, Get, Sleep, Worker, tally
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Inbox,
    Mailbox,
    MailboxFull,
    Pending,
    Reply,
    Request,
    handler,
)
from trio_actors.testing import Probe, World, at_every_step
from trio_actors.testing._steps import Arm

KINDS: list[Any] = [Counter, Worker, tally]


# --- Answers ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_told_before_is_in_the_answer(world: World, kind: Any) -> None:
    """ORD-1: an ask comes after what the same task told before."""
    ref = await world.spawn(kind)
    await ref.tell(Add(4))
    await ref.tell(Add(5))
    assert await ref.ask(Add()) == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_may_be_awaited_later(world: World, kind: Any) -> None:
    """ASK-D5: ask, do something else, await the answer."""
    ref = await world.spawn(kind)
    pendings = [ref.ask_nowait(Add(n)) for n in (1, 2, 3)]
    assert not any(pending.done() for pending in pendings)
    await world.settled()
    assert all(pending.done() for pending in pendings)
    assert [await pending for pending in reversed(pendings)] == [6, 3, 1]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_that_is_told_needs_no_asker(world: World, kind: Any) -> None:
    """Design 2: `inbox.reply` to a message that was told is a no-op."""
    ref = await world.spawn(kind)
    ref.tell_nowait(Add(2))
    ref.tell_soon(Get())
    assert await ref.ask(Get()) == 2


async def test_an_answer_may_be_none_or_an_exception_or_anything(world: World) -> None:
    @attrs.frozen
    class Any_(Request[object]):
        value: object

    class Echo(Actor[Any_]):
        @handler
        def echo(self, message: Any_) -> object:
            return message.value

    ref = await world.spawn(Echo)
    error = ValueError("as a value")
    values: list[object] = [None, error, [], (), Get(), NotImplemented, ref]
    for value in values:
        assert await ref.ask(Any_(value)) is value


async def test_every_way_to_ask_is_a_checkpoint(world: World) -> None:
    """Trio's manners: a checkpoint always, whatever becomes of the request."""
    ref = await world.spawn(Counter)
    full = await world.spawn(
        Sleeper, mailbox=Mailbox(capacity=1, overflow="drop_new"), name="full"
    )
    full.tell_nowait(Sleep(5))
    await trio.sleep(1)
    full.tell_nowait(Sleep(5))
    gone = await world.spawn(Counter)
    gone.stop()
    await gone.wait_stopped()
    done = ref.ask_nowait(Get())
    await done

    async def again() -> int:
        return await done

    attempts: list[tuple[Callable[[], Awaitable[int]], type[Exception] | None]] = [
        (lambda: ref.ask(Get()), None),
        (lambda: gone.ask(Get()), ActorStopped),
        (lambda: full.ask(Get()), MailboxFull),
        (again, None),
        (lambda: ref.ask(Boom()), ActorFailed),
    ]
    for attempt, error in attempts:
        with trio.testing.assert_checkpoints():
            if error is None:
                await attempt()
            else:
                with pytest.raises(error):
                    await attempt()
    world.dead()


class Sleeper(Actor[Sleep | Get]):
    """Counts what it began and what it finished."""

    def __init__(self, seen: list[str] | None = None) -> None:
        self.seen: list[str] = [] if seen is None else seen

    @handler(cancel_with_caller=True)
    async def sleep(self, message: Sleep) -> int:
        self.seen.append("begun")
        await trio.sleep(message.seconds)
        self.seen.append("finished")
        return len(self.seen)

    @handler
    def get(self, message: Get) -> int:
        return len(self.seen)


# --- Failure ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failed_handler_fails_its_ask_at_once(world: World, kind: Any) -> None:
    """ASK-D2: ActorFailed from the exception, and the others stay queued."""
    ref = await world.spawn(kind)
    bad, good = ref.ask_nowait(Boom(KeyError("k"))), ref.ask_nowait(Add(3))
    with pytest.raises(ActorFailed, match=r"Boom\(error=KeyError\('k'\)\)") as caught:
        await bad
    assert caught.value.path == ref.path
    assert isinstance(caught.value.__cause__, KeyError)
    assert await good == 3
    assert world.runtime.now() == 0


async def test_each_asker_gets_an_exception_of_its_own(world: World) -> None:
    """Design 2: two tasks that share one would write into each other's traceback."""
    ref = await world.spawn(Worker, restart="temporary")
    begun, *queued = (ref.ask_nowait(Sleep(9)) for _ in range(3))
    await trio.sleep(1)
    ref.kill()
    errors: list[BaseException] = []
    for pending in (begun, *queued):
        with pytest.raises((ActorFailed, ActorStopped)) as caught:
            await pending
        errors.append(caught.value)
    assert len({id(error) for error in errors}) == 3
    world.dead()


async def test_an_ask_of_a_stopped_actor_gives_the_message_back(world: World) -> None:
    """ASK-D2, ASK-3: at once, with the reason and the message."""
    ref = await world.spawn(Counter)
    ref.stop("enough")
    await ref.wait_stopped()
    request = Get()
    with pytest.raises(ActorStopped) as caught:
        await ref.ask(request)
    assert caught.value.message is request
    assert caught.value.path == ref.path
    assert (caught.value.reason.kind, caught.value.reason.detail) == (
        "shutdown",
        "enough",
    )
    assert [one.reason for one in world.dead()] == ["stopped"]
    with pytest.raises(ActorStopped):
        await ref.ask_nowait(Get())
    assert [one.reason for one in world.dead(Get)] == ["stopped"]


async def test_the_cause_of_an_end_is_the_cause_of_the_answer(world: World) -> None:
    ref = await world.spawn(Counter, restart="temporary")
    with pytest.raises(ActorFailed):
        await ref.ask(Boom(KeyError("why")))
    await ref.wait_stopped()
    with pytest.raises(ActorStopped, match="KeyError") as caught:
        await ref.ask(Get())
    assert isinstance(caught.value.__cause__, KeyError)
    world.dead()


async def test_a_queued_ask_fails_at_the_stop_request(world: World) -> None:
    """Design 2, verbs: asks `ActorStopped` at once, not after the slow goodbye."""
    ref = await world.spawn(Worker, shutdown=100)
    slow = ref.ask_nowait(Sleep(50))
    await trio.sleep(1)
    queued = ref.ask_nowait(Get())
    ref.stop()
    with pytest.raises(ActorStopped):
        await queued
    assert world.runtime.now() == 1
    assert await slow == 0
    assert world.runtime.now() == 50
    world.dead()


async def test_a_killed_turn_is_a_failure_and_the_queue_was_not_begun(
    world: World,
) -> None:
    """Design 2: `ActorStopped` means not begun, `ActorFailed` that it was."""
    ref = await world.spawn(Worker)
    begun = ref.ask_nowait(Sleep(50))
    queued = ref.ask_nowait(Sleep(50))
    await trio.sleep(1)
    ref.kill()
    with pytest.raises(ActorFailed, match="was killed"):
        await begun
    with pytest.raises(ActorStopped):
        await queued
    world.dead()


# --- Cancellation -----------------------------------------------------------


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
    assert world.late_replies == 0
    assert await ref.ask(Get()) == 0
    assert world.runtime.now() == 5
    assert world.late_replies == 1
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
    assert world.late_replies == 1
    assert world.runtime.now() == 4


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
    assert world.runtime.now() == 1
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
    assert world.runtime.now() == 5
    assert world.statistics()["handled"] == 1
    assert world.late_replies == 1


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


@attrs.frozen
class Via(Request[int]):
    """Ask the next of *refs* for the rest of the way."""

    refs: tuple[ActorRef[Any], ...]
    last: Request[int] = Get()


class Chain(Actor[Via]):
    """One link; it ends with its caller."""

    def __init__(self, ended: list[str]) -> None:
        self.ended = ended

    @handler(cancel_with_caller=True)
    async def via(self, message: Via) -> int:
        try:
            to, *rest = message.refs
            if rest:
                return await to.ask(Via(tuple(rest), message.last))
            return await to.ask(message.last)
        except trio.Cancelled:
            self.ended.append(self.context.ref.path)
            raise


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
    assert world.runtime.now() == 1
    assert world.statistics()["abandoned"] == 4
    assert await links[0].ask(Via((*links[1:], last))) == 1


async def test_a_nested_ask_that_waits_in_a_queue_is_taken_back(world: World) -> None:
    busy = await world.spawn(Worker)
    link = await world.spawn(Chain, [])
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
            for _ in range(3):
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
        links = [await world.spawn(Chain, []) for _ in range(3)]
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


# --- Pending ----------------------------------------------------------------


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


async def test_a_pending_without_a_task_belongs_to_whoever_awaits_it(
    world: World,
) -> None:
    """It was asked between two steps, as from an instrument."""
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
    assert (seen, world.runtime.now()) == (["begun"], 1)


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
    assert world.runtime.now() == 10
    assert world.late_replies == 1


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
    assert (seen, world.runtime.now()) == (["begun"], 1)
    ref.stop()
    await ref.wait_stopped()
    await world.settled()
    assert (seen, world.runtime.now()) == (["begun", "begun"], 2)


async def test_a_function_asks_ahead_within_one_turn(world: World) -> None:
    counter = await world.spawn(Counter)

    async def ahead(inbox: Inbox[Get]) -> None:
        async for message in inbox:
            one, two = counter.ask_nowait(Add()), counter.ask_nowait(Add())
            inbox.reply(message, await two + await one)

    ref = await world.spawn(ahead)
    assert await ref.ask(Get()) == 3
