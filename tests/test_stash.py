"""Messages that are put aside: order, asks, restarts, bounds, context variables.

Rules: STA-1, ORD-4, section 4 of the design.
"""

from contextvars import ContextVar
from typing import Any

import pytest
import trio

from tests.kit import Add, Boom, Get, Note, Sleep, check_books, open_system, run_main
from trio_actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    Inbox,
    Mailbox,
    MailboxFull,
    Reply,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


class Gate(Actor[Add | Note | Boom | Get]):
    """Stashes additions until it is opened by a note."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen
        self.open = False
        self.total = 0

    @handler
    def add(self, message: Add) -> int | Reply[int]:
        if not self.open:
            return self.context.stash(message)
        self.seen.append(str(message.amount))
        self.total += message.amount
        return self.total

    @handler
    def note(self, message: Note) -> None:
        if message.text in ("open", "shut"):
            self.open = message.text == "open"
            self.context.unstash_all()
        self.seen.append(message.text)

    @handler
    def boom(self, message: Boom) -> int:
        raise message.error

    @handler
    def get(self, message: Get) -> int:
        return self.context.incarnation


async def test_the_stash_comes_back_in_order_before_what_waits(world: World) -> None:
    """STA-1: in order, before any new message; and not before the turn ends."""
    seen: list[str] = []
    ref = await world.spawn(Gate, seen)
    for message in (Add(1), Note("a"), Add(2), Note("open"), Add(3), Note("b")):
        ref.tell_nowait(message)
    await world.settled()
    assert seen == ["a", "open", "1", "2", "3", "b"]


async def test_a_stashed_request_is_answered_when_it_is_handled(world: World) -> None:
    seen: list[str] = []
    ref = await world.spawn(Gate, seen)
    pendings = [ref.ask_nowait(Add(number)) for number in (1, 2, 3)]
    await world.settled()
    assert not any(pending.done() for pending in pendings)
    assert world.statistics()["stashed"] == 3
    check_books(world)
    ref.tell_nowait(Note("open"))
    assert [await pending for pending in pendings] == [1, 3, 6]
    assert world.statistics()["handled"] == 4


async def test_a_message_may_be_stashed_again(world: World) -> None:
    """Each time it keeps its place among the others."""
    seen: list[str] = []
    ref = await world.spawn(Gate, seen)
    for message in (Add(1), Add(2), Note("shut"), Add(3), Note("shut"), Note("open")):
        ref.tell_nowait(message)
    await world.settled()
    assert seen == ["shut", "shut", "open", "1", "2", "3"]
    assert world.statistics()["handled"] == 6


async def test_an_abandoned_request_in_the_stash_is_skipped(world: World) -> None:
    seen: list[str] = []
    ref = await world.spawn(Gate, seen)
    with trio.move_on_after(1):
        await ref.ask(Add(100))
    ref.tell_nowait(Note("open"))
    await world.settled()
    assert seen == ["open"]
    assert world.statistics()["abandoned"] == 1


async def test_a_restart_puts_the_stash_in_front(world: World) -> None:
    """ORD-4; the asks in it are still answered, by the new incarnation."""

    class Learns(Gate):
        @handler
        def add(self, message: Add) -> int | Reply[int]:
            if self.context.incarnation == 1:
                return self.context.stash(message)
            self.seen.append(str(message.amount))
            return self.context.incarnation

    seen: list[str] = []
    ref = await world.spawn(Learns, seen)
    first = ref.ask_nowait(Add(1))
    ref.tell_nowait(Add(2))
    ref.tell_nowait(Boom())
    ref.tell_nowait(Note("x"))
    assert await first == 2
    await world.settled()
    assert seen == ["1", "2", "x"]


async def test_a_failure_after_the_stash_was_put_back_loses_none(world: World) -> None:
    """FAIL-3: if one of them fails again, the rest must survive."""

    class Fragile(Actor[Add | Note]):
        def __init__(self, seen: list[int]) -> None:
            self.seen = seen

        @handler
        def add(self, message: Add) -> int | Reply[int]:
            if self.context.incarnation == 1:
                return self.context.stash(message)
            if message.amount % 2:
                raise ValueError(message.amount)
            self.seen.append(message.amount)
            return 0

        @handler
        def note(self, message: Note) -> None:
            raise ValueError("to begin with")

    seen: list[int] = []
    ref = await world.spawn(Fragile, seen)
    for number in range(5):
        ref.tell_nowait(Add(number))
    ref.tell_nowait(Note())
    await world.settled()
    assert seen == [0, 2, 4]
    assert world.statistics()["failed"] == 3


async def test_a_handler_that_fails_after_it_stashed_keeps_the_message(
    world: World,
) -> None:
    """In the stash it is in nobody's hand: it is handled after the restart."""

    class Clumsy(Actor[Add]):
        @handler
        async def add(self, message: Add) -> int | Reply[int]:
            if self.context.incarnation == 1:
                self.context.stash(message)
                await trio.lowlevel.checkpoint()
                check_books(world)
                raise ValueError("after the stash")
            return message.amount

    ref = await world.spawn(Clumsy)
    assert await ref.ask(Add(3)) == 3
    assert world.statistics()["failed"] == 0
    assert world.statistics()["handled"] == 1


async def test_the_end_buries_the_stash(world: World) -> None:
    """Section 4: dead letters `stash`, asks ActorStopped: they were not begun."""
    ref = await world.spawn(Gate, list[str]())
    pending = ref.ask_nowait(Add(1))
    ref.tell_nowait(Add(2))
    await world.settled()
    ref.stop()
    with pytest.raises(ActorStopped):
        await pending
    assert [(one.message, one.reason) for one in world.dead()] == [
        (Add(1), "stash"),
        (Add(2), "stash"),
    ]


async def test_the_stash_is_as_large_as_the_mailbox(world: World) -> None:
    """STA-1: bounded; MailboxFull gives the message back, and is the actor's own."""
    seen: list[str] = []
    ref = await world.spawn(Gate, seen, mailbox=Mailbox(2))
    pendings = [ref.ask_nowait(Add(number)) for number in (1, 2)]
    await world.settled()
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Add(3))
    error = caught.value.__cause__
    assert isinstance(error, MailboxFull)
    assert error.message == Add(3)
    assert "the stash of /gate-1 is full (2 messages" in str(error)
    assert await ref.ask(Get()) == 1
    ref.tell_nowait(Note("open"))
    assert [await pending for pending in pendings] == [1, 3]


async def test_only_the_message_in_hand_is_stashed(world: World) -> None:
    refused: list[str] = []

    class Tries(Actor[Add]):
        @handler
        def add(self, message: Add) -> Reply[int]:
            for other in (Add(message.amount), Get()):
                try:
                    self.context.stash(other)
                except RuntimeError as error:
                    refused.append(str(error))
            reply = self.context.stash(message)
            try:
                self.context.stash(message)
            except RuntimeError as error:
                refused.append(str(error))
            with pytest.raises(RuntimeError, match="forwarded or stashed"):
                reply.send(1)
            return reply

    ref = await world.spawn(Tries)
    ref.tell_nowait(Add())
    await world.settled()
    assert len(refused) == 3
    assert all("is for the message in hand" in text for text in refused)
    assert world.statistics()["stashed"] == 1
    ref.kill()
    await ref.wait_stopped()
    world.dead()


async def test_an_answered_request_cannot_be_stashed(world: World) -> None:
    refused: list[str] = []

    class Tries(Actor[Add]):
        @handler
        def add(self, message: Add) -> Reply[int]:
            reply = self.context.defer_reply(message)
            try:
                self.context.stash(message)
            except RuntimeError as error:
                refused.append(str(error))
            reply.send(5)
            return reply

    ref = await world.spawn(Tries)
    assert await ref.ask(Add()) == 5
    assert "already given or taken over" in refused[0]
    assert world.statistics()["stashed"] == 0


async def test_a_function_may_stash(world: World) -> None:
    seen: list[int] = []

    async def function(inbox: Inbox[Add | Note]) -> None:
        is_open = False
        async for message in inbox:
            if isinstance(message, Note):
                is_open = True
                inbox.unstash_all()
            elif is_open:
                seen.append(message.amount)
                inbox.reply(message, message.amount)
            else:
                inbox.stash(message)

    ref = await world.spawn(function)
    pending = ref.ask_nowait(Add(1))
    ref.tell_nowait(Add(2))
    ref.tell_nowait(Note())
    ref.tell_nowait(Add(3))
    assert await pending == 1
    await world.settled()
    assert seen == [1, 2, 3]
    assert world.statistics()["handled"] == 4


async def test_nothing_stashed_is_nothing_unstashed(world: World) -> None:
    seen: list[str] = []
    ref = await world.spawn(Gate, seen)
    ref.tell_nowait(Note("open"))
    ref.tell_nowait(Note("open"))
    await world.settled()
    assert seen == ["open", "open"]


async def test_a_signal_that_was_stashed_comes_back_as_a_message(world: World) -> None:
    """A tick that was taken is an ordinary message from then on."""

    class Ticks(Gate):
        async def started(self) -> None:
            self.context.send_after(1, Add(7), key="tick")

    seen: list[str] = []
    ref = await world.spawn(Ticks, seen)
    await trio.sleep(2)
    assert world.statistics()["stashed"] == 1
    ref.tell_nowait(Note("open"))
    await world.settled()
    assert seen == ["open", "7"]


def test_context_variables_wait_in_the_stash_with_their_message() -> None:
    """Section 1.8: they travel with a message; the stash is part of the way."""
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[tuple[int, str]] = []

    class Door(Actor[Add | Note]):
        open = False

        @handler
        async def add(self, message: Add) -> int | Reply[int]:
            if not self.open:
                return self.context.stash(message)
            await trio.lowlevel.checkpoint()
            seen.append((message.amount, who.get()))
            return message.amount

        @handler
        def note(self, message: Note) -> None:
            seen.append((0, who.get()))
            self.open = True
            self.context.unstash_all()

    async def main() -> None:
        async with open_system(propagate=[who]) as system:
            ref = await system.spawn(Door)
            who.set("Ann")
            first = ref.ask_nowait(Add(1))
            who.set("Bob")
            ref.tell_nowait(Add(2))
            abandoned = ref.ask_nowait(Add(3))
            await trio.sleep(1)
            abandoned.abandon()
            await ref.tell(Note())
            assert await first == 1

    run_main(main)
    assert seen == [(0, "Bob"), (1, "Ann"), (2, "Bob")]


def test_a_stash_may_be_cut_at_every_step() -> None:
    """Killed, stopped, restarted: no message is in two places, or in none."""
    for verb in ("kill", "stop", "restart", "drain"):

        async def scenario(world: World, arm: Arm, verb: str = verb) -> None:
            ref = await world.spawn(Gate, list[str]())
            arm(getattr(ref, verb))
            pendings: list[Any] = []
            for message in (Add(1), Note("shut"), Add(2), Note("open"), Add(3)):
                if isinstance(message, Add):
                    pendings.append(ref.ask_nowait(message))
                else:
                    ref.tell_nowait(message)
                await trio.lowlevel.checkpoint()
                check_books(world)
            await world.settled()
            check_books(world)
            for pending in pendings:
                if not pending.done():  # opened for the incarnation before
                    assert verb == "restart"
                    pending.abandon()

        assert at_every_step(scenario) > 3


async def test_sleeping_in_between_keeps_what_is_stashed(world: World) -> None:
    class Later(Actor[Sleep | Note]):
        @handler
        async def sleep(self, message: Sleep) -> Reply[int] | int:
            if message.seconds and self.context.incarnation == 1:
                await trio.sleep(message.seconds)
                return self.context.stash(message)
            return self.context.incarnation

        @handler
        def note(self, message: Note) -> None:
            self.context.ref.restart()

    ref = await world.spawn(Later)
    pendings = [ref.ask_nowait(Sleep(seconds)) for seconds in (1, 2, 3)]
    ref.tell_nowait(Note())
    assert [await pending for pending in pendings] == [2, 2, 2]
    assert trio.current_time() == 6
