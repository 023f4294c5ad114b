"""Whose fault it is: declared answers, errors of others, messages without a handler.

Rules: design 2 ("Whose fault"), ASK-D2, ASK-6, FAIL-1.
"""

from typing import Any

import attrs
import pytest
import trio

from tests.actors import Mixing, Node, Run, Sleeper, asks
from tests.kit import Add, Boom, Counter, Get, Note, Sleep, tally
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Mailbox,
    MailboxFull,
    NoReply,
    Reply,
    Request,
    Supervision,
    UnhandledMessage,
    handler,
)
from trio_actors.testing import World

# --- Declared answers -------------------------------------------------------


class Bank(Actor[Boom | Add | Get]):
    """Declares some of its errors as answers."""

    def __init__(self) -> None:
        self.total = 0

    @handler(raises=(LookupError, ValueError))
    def boom(self, message: Boom) -> int:
        raise message.error

    @handler(raises=(ValueError,))
    async def add(self, message: Add) -> int:
        await trio.lowlevel.checkpoint()
        if message.amount < 0:
            raise ValueError(message.amount)
        self.total += message.amount
        return self.total

    @handler
    def get(self, message: Get) -> int:
        return self.context.incarnation


async def test_a_declared_exception_is_an_answer(world: World) -> None:
    """Design 2: raised in the asker, the same object; no failure."""
    ref = await world.spawn(Bank)
    error = KeyError("k")  # a subclass counts
    with pytest.raises(KeyError) as caught:
        await ref.ask(Boom(error))
    assert caught.value is error
    with pytest.raises(ValueError, match="-3"):
        await ref.ask(Add(-3))
    assert await ref.ask(Add(3)) == 3
    assert await ref.ask(Get()) == 1
    books = world.statistics()
    assert (books["handled"], books["failed"]) == (4, 0)


async def test_an_undeclared_exception_is_a_failure(world: World) -> None:
    ref = await world.spawn(Bank)
    with pytest.raises(ActorFailed):
        await ref.ask(Boom(TypeError("t")))
    assert await ref.ask(Get()) == 2


async def test_a_declared_answer_that_nobody_asked_is_a_dead_letter(
    world: World,
) -> None:
    """`handler(raises=)`: for a message that was told it is a dead letter."""
    ref = await world.spawn(Bank)
    ref.tell_nowait(Boom(KeyError("k")))
    ref.tell_nowait(Add(-1))
    assert await ref.ask(Get()) == 1
    assert [one.reason for one in world.dead(Boom)] == ["unasked_answer"]
    assert [one.message for one in world.dead()] == [Add(-1)]
    books = world.statistics()
    assert (books["handled"], books["dead_lettered"]) == (1, 2)


async def test_a_declared_answer_after_the_reply_was_given_is_late(
    world: World,
) -> None:
    class Hasty(Actor[Boom | Get]):
        @handler(raises=(ValueError,))
        def boom(self, message: Boom) -> int:
            self.context.defer_reply(message).send(1)
            raise message.error

        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    ref = await world.spawn(Hasty)
    assert await ref.ask(Boom()) == 1
    assert await ref.ask(Get()) == 1


async def test_a_declared_answer_of_a_stashed_message_leaves_it_in_the_stash(
    world: World,
) -> None:
    class Odd(Actor[Boom | Note]):
        full = False

        @handler(raises=(ValueError,))
        def boom(self, message: Boom) -> int | Reply[int]:
            if self.full:
                return 5
            self.full = True
            self.context.stash(message)
            raise message.error

        @handler
        def note(self, message: Note) -> None:
            self.context.unstash_all()

    ref = await world.spawn(Odd)
    pending = ref.ask_nowait(Boom())
    await world.settled()
    assert not pending.done()
    ref.tell_nowait(Note())
    assert await pending == 5


# --- The fault of others ----------------------------------------------------


class Front(Actor[Run | Get]):
    """Asks others in its handlers, and declares nothing."""

    @handler
    async def run(self, message: Run) -> Any:
        return await message.work(self.context)

    @handler
    def get(self, message: Get) -> int:
        return self.context.incarnation


async def gone(world: World) -> ActorRef[Any]:
    ref = await world.spawn(Counter)
    ref.stop()
    await ref.wait_stopped()
    return ref


async def full(world: World) -> ActorRef[Any]:
    ref = await world.spawn(Sleeper, mailbox=Mailbox(1, "fail"))
    ref.tell_nowait(Sleep(1))
    await trio.lowlevel.checkpoint()
    ref.tell_nowait(Get())
    return ref


async def failing(world: World) -> ActorRef[Any]:
    class Failing(Actor[Get]):
        @handler
        def get(self, message: Get) -> int:
            raise ValueError("not mine")

    return await world.spawn(Failing)


async def without_handler(world: World) -> ActorRef[Any]:
    return await world.spawn(Sleeper2)


class Sleeper2(Actor[Sleep]):
    @handler
    def sleep(self, message: Sleep) -> int:
        return 1


async def without_reply(world: World) -> ActorRef[Any]:
    async def forgetful(inbox: Any) -> None:
        async for _ in inbox:
            pass

    return await world.spawn(forgetful)


OTHERS = [
    (gone, ActorStopped),
    (full, MailboxFull),
    (failing, ActorFailed),
    (without_handler, UnhandledMessage),
    (without_reply, NoReply),
]


@pytest.mark.parametrize(("make", "kind"), OTHERS)
async def test_the_fault_of_another_is_passed_on(
    world: World, make: Any, kind: type[Exception]
) -> None:
    """Design 2: ActorFailed with the cause chain, and no restart."""
    other = await make(world)
    front = await world.spawn(Front, name="front")
    with pytest.raises(ActorFailed, match="^/front failed while it handled") as caught:
        await front.ask(asks(other))
    assert isinstance(caught.value.__cause__, kind)
    assert caught.value.path == "/front"
    assert await front.ask(Get()) == 1
    world.dead()


@pytest.mark.parametrize(("make", "kind"), OTHERS)
async def test_the_fault_of_another_fails_who_owes_nothing(
    world: World, make: Any, kind: type[Exception]
) -> None:
    """Design 2: leaving a handler that owes no reply it is a failure."""
    other = await make(world)
    front = await world.spawn(Front)
    await front.tell(asks(other))
    assert await front.ask(Get()) == 2
    assert world.statistics()["failed"] >= 1
    world.dead()


async def test_the_fault_of_others_in_a_group_is_passed_on(world: World) -> None:
    """Whose fault: also inside of exception groups, if all of it is others'."""
    other, front = await failing(world), await world.spawn(Front)

    async def both(_: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.ask, Get())
            nursery.start_soon(other.ask, Get())

    with pytest.raises(ActorFailed) as caught:
        await front.ask(Run(both))
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert await front.ask(Get()) == 1


async def test_a_group_with_a_fault_of_its_own_is_a_failure(world: World) -> None:
    other, front = await failing(world), await world.spawn(Front)

    async def own() -> None:
        raise ValueError("mine")

    async def both(_: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(own)
            nursery.start_soon(other.ask, Get())

    with pytest.raises(ActorFailed):
        await front.ask(Run(both))
    assert await front.ask(Get()) == 2


async def test_the_fault_of_a_full_mailbox_elsewhere_is_passed_on(
    world: World,
) -> None:
    """`tell_nowait` in a plain handler that owes an answer."""
    other = await full(world)

    class Plain(Actor[Get | Add]):
        @handler
        def add(self, message: Add) -> int:
            other.tell_nowait(message)
            return 1

        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    ref = await world.spawn(Plain)
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Add())
    assert isinstance(caught.value.__cause__, MailboxFull)
    assert await ref.ask(Get()) == 1


async def test_tells_to_a_stopped_actor_are_nobodys_fault(world: World) -> None:
    """Design 2: four closed browser tabs must not crash a room."""
    other = await gone(world)

    class Room(Actor[Note | Get]):
        @handler
        def note(self, message: Note) -> None:
            other.tell_nowait(message)
            other.tell_soon(message)

        @handler
        async def get(self, message: Get) -> int:
            await other.tell(Note("told"))
            await other.tell_all([Note("all")])
            return self.context.incarnation

    room = await world.spawn(Room)
    room.tell_nowait(Note("plain"))
    assert await room.ask(Get()) == 1
    dead = world.dead()
    assert [one.message for one in dead] == [
        Note("plain"),
        Note("plain"),
        Note("told"),
        Note("all"),
    ]
    assert {one.reason for one in dead} == {"stopped"}
    assert {one.to for one in dead} == {other}


async def test_a_failing_message_is_lost_and_the_next_is_handled(world: World) -> None:
    """FAIL-1: not handled again; a poisonous message cannot loop."""
    ref = await world.spawn(Counter, supervision=Supervision())
    for _ in range(3):
        ref.tell_nowait(Boom())
    ref.tell_nowait(Add(2))
    assert await ref.ask(Get()) == 2
    assert world.statistics()["failed"] == 3


async def test_a_failure_that_comes_with_a_sabotaged_message(world: World) -> None:
    """The test kit's `crash`: its asker hears of it as of any other."""
    for kind in (Counter, tally):
        spawned: Any = kind
        ref = await world.spawn(spawned)
        world.crash(ref)
        with pytest.raises(ActorFailed, match="was crashed by the test"):
            await ref.ask(Get())
        assert await ref.ask(Get()) == 0


# --- Messages without a handler ---------------------------------------------


async def test_a_message_without_a_handler_is_nobodys_failure(world: World) -> None:
    """ASK-6: an answer to an asker, a dead letter if it was told."""
    ref: ActorRef[Any] = await world.spawn(Counter)
    with pytest.raises(UnhandledMessage) as caught:
        await ref.ask(Sleep(3))
    assert caught.value.message == Sleep(3)
    text = str(caught.value)
    assert "/counter-1 has no handler for Sleep(seconds=3)" in text
    assert "Add Sleep to the messages of Counter" in text
    await ref.tell(Note("?"))
    assert await ref.ask(Get()) == 0
    assert [(one.message, one.reason) for one in world.dead()] == [
        (Note("?"), "unhandled")
    ]
    books = world.statistics()
    assert (books["handled"], books["failed"], books["dead_lettered"]) == (1, 1, 1)


async def test_unhandled_may_answer_otherwise(world: World) -> None:
    """Its own UnhandledMessage is the answer."""

    class Picky(Counter):
        def unhandled(self, message: object) -> None:
            raise UnhandledMessage(f"not {message}", message=message)

    ref: ActorRef[Any] = await world.spawn(Picky)
    with pytest.raises(UnhandledMessage, match="not Sleep"):
        await ref.ask(Sleep())


async def test_unhandled_that_returns_has_handled_it(world: World) -> None:
    """But an asker is owed more than that: NoReply."""
    seen: list[object] = []

    class Silent(Counter):
        def unhandled(self, message: object) -> None:
            seen.append(message)

    ref: ActorRef[Any] = await world.spawn(Silent)
    await ref.tell(Note("a"))
    with pytest.raises(NoReply, match=r"/silent-1 .*Sleep\(seconds=1"):
        await ref.ask(Sleep())
    assert seen == [Note("a"), Sleep()]
    assert world.statistics()["handled"] == 2


async def test_unhandled_may_forward_and_defer(world: World) -> None:
    other = await world.spawn(Sleeper2)

    class Forwards(Counter):
        def unhandled(self, message: Any) -> None:
            if isinstance(message, Sleep):
                self.context.forward(other, message)
            else:
                self.context.defer_reply(message).send(9)

    class Query(Request[int]):
        pass

    ref: ActorRef[Any] = await world.spawn(Forwards)
    assert await ref.ask(Sleep()) == 1
    assert await ref.ask(Query()) == 9


async def test_unhandled_may_stash(world: World) -> None:
    class Learns(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            later: Any = Counter()
            self.become(later)
            self.context.unstash_all()

        def unhandled(self, message: object) -> None:
            self.context.stash(message)

    ref: ActorRef[Any] = await world.spawn(Learns)
    pending = ref.ask_nowait(Add(4))
    await ref.tell(Note())
    assert await pending == 4


async def test_an_error_in_unhandled_is_the_actors_own(world: World) -> None:
    class Broken(Counter):
        def unhandled(self, message: object) -> None:
            raise KeyError("in unhandled")

    ref: ActorRef[Any] = await world.spawn(Broken)
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Sleep())
    assert isinstance(caught.value.__cause__, KeyError)
    await world.settled()
    assert world.snapshot().children[0].restarts == 1


# --- Owed answers -----------------------------------------------------------


async def test_a_handler_that_returns_a_reply_to_another_request(
    world: World,
) -> None:
    """NoReply, at once, instead of a Reply object as the answer."""
    ref = await world.spawn(Mixing)
    first = ref.ask_nowait(Get())
    with pytest.raises(NoReply, match="returned a Reply to another request"):
        await ref.ask(Add())
    first.abandon()


async def test_a_function_that_takes_the_next_message_owes_no_more(
    world: World,
) -> None:
    """ASK-D2: NoReply at once, never a timeout."""

    async def forgetful(inbox: Any) -> None:
        async for message in inbox:
            if isinstance(message, Add):
                inbox.reply(message, 1)

    ref: ActorRef[Any] = await world.spawn(forgetful)
    with pytest.raises(NoReply, match=r"/forgetful-1 .* instead of an answer to Get"):
        await ref.ask(Get())
    assert await ref.ask(Add()) == 1
    assert trio.current_time() == 0


@attrs.frozen
class Marked(Request[str]):
    text: str


async def test_equal_requests_get_each_its_own_answer(world: World) -> None:
    class Echo(Actor[Marked]):
        @handler
        async def marked(self, message: Marked) -> str:
            await trio.lowlevel.checkpoint()
            return message.text

    ref = await world.spawn(Echo)
    pendings = [ref.ask_nowait(Marked(text)) for text in "abcabc"]
    assert [await pending for pending in pendings] == list("abcabc")


# --- Messages of odd kinds --------------------------------------------------


@pytest.mark.parametrize("message", [[1, 2, 3], [], None, 0, "", (), {}, Ellipsis])
@pytest.mark.parametrize("way", ["plain", "async", "function", "failing"])
async def test_anything_may_be_told(world: World, message: Any, way: str) -> None:
    """Section 4: whatever it is, it is counted once."""
    seen: list[object] = []

    class Plain(Actor[object]):
        @handler
        def any(self, message: object) -> None:
            seen.append(message)

    class Async(Actor[object]):
        @handler
        async def any(self, message: object) -> None:
            await trio.lowlevel.checkpoint()
            assert world.statistics()["handling"] == 1
            seen.append(message)

    class Failing(Actor[object]):
        @handler
        async def any(self, message: object) -> None:
            seen.append(message)
            raise ValueError("on purpose")

    async def function(inbox: Any) -> None:
        async for received in inbox:
            await trio.lowlevel.checkpoint()
            seen.append(received)

    kinds: dict[str, Any] = {
        "plain": Plain,
        "async": Async,
        "function": function,
        "failing": Failing,
    }
    ref: ActorRef[Any] = await world.spawn(kinds[way])
    await ref.tell(message)
    await world.settled()
    assert len(seen) == 1
    assert seen[0] is message
    books = world.statistics()
    counter = "failed" if way == "failing" else "handled"
    assert (books["accepted"], books[counter]) == (1, 1)


class Node2(Node):
    """So that a subclass of an actor is seen to inherit its handlers."""


async def test_handlers_are_inherited(world: World) -> None:
    assert await (await world.spawn(Node2)).ask(Get()) == 1
