"""Requests that are handed on to another actor: ASK-D6, design 2."""

from typing import Any

import attrs
import pytest
import trio

from tests.actors import Sleeper
from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Inbox,
    Mailbox,
    MailboxFull,
    Reply,
    ServiceKey,
    UnhandledMessage,
    handler,
)
from trio_actors.testing import World


@attrs.frozen
class To:
    """Where a Forwarder sends what it gets."""

    ref: ActorRef[Any]


class Forwarder(Actor[To | Get | Add | Sleep | Boom]):
    def __init__(self, to: ActorRef[Any] | None = None) -> None:
        self.to: Any = to

    @handler
    def switch(self, message: To) -> None:
        self.to = message.ref

    @handler
    def pass_on(self, message: Get | Add | Boom) -> Reply[Any]:
        return self.context.forward(self.to, message)

    @handler
    async def later(self, message: Sleep) -> Reply[Any]:
        await trio.sleep(1)
        return self.context.forward(self.to, message)


async def test_a_forwarded_request_is_answered_by_the_other(world: World) -> None:
    """ASK-D6: the answer does not pass through the one between."""
    counter = await world.spawn(Counter, 5)
    ref = await world.spawn(Forwarder, counter)
    assert await ref.ask(Get()) == 5
    assert await ref.ask(Add(2)) == 7
    assert world.statistics()["handled"] == 4


async def test_a_forwarded_request_goes_through_a_chain(world: World) -> None:
    to: ActorRef[Any] = await world.spawn(Worker)
    for _ in range(5):
        to = await world.spawn(Forwarder, to)
    assert await to.ask(Sleep(3)) == 0
    assert trio.current_time() == 8
    assert await to.ask(Add(1)) == 1


async def test_a_forwarded_message_that_was_told_is_told_on(world: World) -> None:
    counter = await world.spawn(Counter)
    ref = await world.spawn(Forwarder, counter)
    ref.tell_nowait(Add(4))
    assert await ref.ask(Get()) == 4


async def test_a_request_may_be_forwarded_as_another(world: World) -> None:
    counter = await world.spawn(Counter, 2)

    class Doubles(Actor[Add]):
        @handler
        def add(self, message: Add) -> Reply[int]:
            return self.context.forward(counter, Add(message.amount * 2))

    ref = await world.spawn(Doubles)
    assert await ref.ask(Add(5)) == 12


async def test_a_request_may_be_forwarded_to_oneself(world: World) -> None:
    """It comes again, behind what is queued."""

    class Again(Actor[Get | Note]):
        seen = 0

        @handler
        def get(self, message: Get) -> Reply[int] | int:
            if not self.seen:
                return self.context.forward(self.context.ref, message)
            return self.seen

        @handler
        def note(self, message: Note) -> None:
            self.seen += 1

    ref = await world.spawn(Again)
    pending = ref.ask_nowait(Get())
    ref.tell_nowait(Note())
    assert await pending == 1


async def test_a_circle_of_forwards_goes_on_until_somebody_answers(
    world: World,
) -> None:
    """No turn waits in it: that is no deadlock, and other messages get through."""
    a = await world.spawn(Forwarder, name="a")
    b = await world.spawn(Forwarder, a, name="b")
    counter = await world.spawn(Counter, 3)
    await a.tell(To(b))
    pending = a.ask_nowait(Get())
    for _ in range(20):
        await trio.lowlevel.checkpoint()
    assert not pending.done()
    await a.tell(To(counter))
    assert await pending == 3


async def test_a_circle_of_forwards_ends_when_the_asker_leaves(world: World) -> None:
    a = await world.spawn(Forwarder, name="a")
    b = await world.spawn(Forwarder, a, name="b")
    await a.tell(To(b))
    with trio.CancelScope() as scope:

        async def leave() -> None:
            for _ in range(50):
                await trio.lowlevel.checkpoint()
            scope.cancel()

        world.client(leave)
        await a.ask(Sleep())
    assert scope.cancelled_caught
    await world.settled()
    assert world.statistics()["abandoned"] == 1


async def test_a_request_may_be_forwarded_to_a_pool(world: World) -> None:
    pool = await world.spawn_pool(Counter, 5, size=2)
    ref = await world.spawn(Forwarder, pool)
    assert [await ref.ask(Add()) for _ in range(4)] == [6, 6, 7, 7]
    race = await world.spawn_pool(Counter, 8, size=3, routing="broadcast")
    await ref.tell(To(race))
    assert await ref.ask(Get()) == 8
    await ref.tell(Add())
    assert await ref.ask(Get()) == 9


async def test_a_request_may_be_forwarded_to_a_service(world: World) -> None:
    """Also while nobody offers it: then it waits there."""
    key = ServiceKey[Get | Add | Boom]("counter")
    ref = await world.spawn(Forwarder, world.service(key))
    pending = ref.ask_nowait(Get())
    await world.settled()
    assert not pending.done()
    counter = await world.spawn(Counter, 4)
    world.register(key, counter)
    assert await pending == 4
    assert await ref.ask(Add()) == 5


async def test_a_request_that_is_forwarded_to_a_stopped_actor_fails(
    world: World,
) -> None:
    counter = await world.spawn(Counter)
    ref = await world.spawn(Forwarder, counter)
    counter.stop()
    await counter.wait_stopped()
    with pytest.raises(ActorStopped, match="/counter-1 has stopped"):
        await ref.ask(Get())
    assert [one.to for one in world.dead()] == [counter]


async def test_a_request_that_is_forwarded_without_room_fails(world: World) -> None:
    """Design 2: no room there is MailboxFull here, for the asker."""
    sleeper = await world.spawn(Sleeper, mailbox=Mailbox(1))
    ref = await world.spawn(Forwarder, sleeper)
    sleeper.tell_nowait(Sleep(3))
    await trio.sleep(1)
    sleeper.tell_nowait(Get())
    with pytest.raises(MailboxFull) as caught:
        await ref.ask(Get())
    assert caught.value.path == sleeper.path
    await ref.tell(Add())  # told on: a dead letter
    await world.settled()
    assert [(one.message, one.reason) for one in world.dead()] == [(Add(), "overflow")]


async def test_a_forwarded_request_fails_with_the_one_that_handles_it(
    world: World,
) -> None:
    counter = await world.spawn(Counter)
    ref = await world.spawn(Forwarder, counter)
    with pytest.raises(ActorFailed, match="^/counter-1 failed"):
        await ref.ask(Boom())
    other: ActorRef[Any] = await world.spawn(Counter)
    await ref.tell(To(other))
    with pytest.raises(UnhandledMessage, match="^/counter-"):
        await ref.ask(Sleep())


async def test_a_forwarded_request_survives_the_end_of_the_one_between(
    world: World,
) -> None:
    """Handed on, it is no longer owed here: a restart or a stop changes nothing."""
    worker = await world.spawn(Worker)
    ref = await world.spawn(Forwarder, worker)
    pending = ref.ask_nowait(Sleep(5))
    await trio.sleep(2)
    ref.restart()
    await trio.sleep(1)
    ref.stop()
    await ref.wait_stopped()
    assert await pending == 0


async def test_a_cancelled_asker_takes_a_forwarded_request_with_it(
    world: World,
) -> None:
    """N-6: `cancel_with_caller` where it is handled, two actors away."""
    seen: list[str] = []
    sleeper = await world.spawn(Sleeper, seen)
    ref = await world.spawn(Forwarder, sleeper)
    with trio.move_on_after(3):
        await ref.ask(Sleep(100))
    assert await sleeper.ask(Get()) == 1
    assert trio.current_time() == 3


async def test_what_was_forwarded_cannot_be_answered_here(world: World) -> None:
    counter = await world.spawn(Counter, 7)
    seen: list[str] = []

    class Both(Actor[Get]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            reply = self.context.forward(counter, message)
            for attempt in (
                lambda: reply.send(1),
                lambda: reply.fail(ValueError()),
                lambda: self.context.forward(counter, message),
                lambda: self.context.defer_reply(message),
                lambda: self.context.stash(message),
            ):
                with pytest.raises(RuntimeError) as caught:
                    attempt()
                seen.append(str(caught.value))
            return reply

    ref = await world.spawn(Both)
    assert await ref.ask(Get()) == 7
    assert "already answered, forwarded or stashed" in seen[0]
    assert all("was already given or taken over" in text for text in seen[2:])


async def test_nothing_in_hand_cannot_be_forwarded(world: World) -> None:
    counter = await world.spawn(Counter)
    seen: list[str] = []

    class Idle(Actor[Get]):
        async def started(self) -> None:
            try:
                self.context.forward(counter, Get())
            except RuntimeError as error:
                seen.append(str(error))

        @handler
        def get(self, message: Get) -> int:
            return 0

    await world.spawn(Idle, name="idle-1")
    assert "one message in hand, but /idle-1 has 0 in hand" in seen[0]


async def test_a_function_may_forward_and_defer(world: World) -> None:
    counter = await world.spawn(Counter, 3)
    kept: list[Reply[int]] = []

    async def function(inbox: Inbox[Get | Add | Note]) -> None:
        async for message in inbox:
            match message:
                case Get():
                    inbox.forward(counter, message)
                case Add():
                    kept.append(inbox.defer_reply(message))
                case Note():
                    kept.pop().send(8)

    ref = await world.spawn(function)
    pending = ref.ask_nowait(Add())
    assert await ref.ask(Get()) == 3
    await ref.tell(Note())
    assert await pending == 8
