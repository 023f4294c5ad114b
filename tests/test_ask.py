"""Asks: their answers, and what is raised instead.

Rules: ASK-D1 and ASK-D2, design 2 ("Whose fault", "Verbs").
"""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from tests.actors import (
    Sleeper,
)
from tests.kit import (
    Add,
    Boom,
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
    MailboxFull,
    Request,
    handler,
)
from trio_actors.testing import World

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
    class Echoed(Request[object]):
        value: object

    class Echo(Actor[Echoed]):
        @handler
        def echo(self, message: Echoed) -> object:
            return message.value

    ref = await world.spawn(Echo)
    error = ValueError("as a value")
    values: list[object] = [None, error, [], (), Get(), NotImplemented, ref]
    for value in values:
        assert await ref.ask(Echoed(value)) is value


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
    assert trio.current_time() == 0


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
    assert trio.current_time() == 1
    assert await slow == 0
    assert trio.current_time() == 50
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
