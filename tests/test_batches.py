"""Batch handlers: what they get, how they answer, and that they fail as a whole.

Rules: MBX-8, S0-11, design 2 (``@handler(batch=...)``), section 4.
"""

from typing import Any

import attrs
import pytest
import trio

from tests.kit import Add, Boom, Get, Note, Sleep, check_books
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Mailbox,
    NoReply,
    Pending,
    Reply,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


class Plain(Actor[Add | Note | Get | Sleep]):
    """Takes up to five additions at once."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen
        self.total = 0

    @handler(batch=5)
    def add(self, messages: list[Add]) -> list[int]:
        self.seen.append([message.amount for message in messages])
        answers: list[int] = []
        for message in messages:
            self.total += message.amount
            answers.append(self.total)
        return answers

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)

    @handler
    def get(self, message: Get) -> int:
        return self.total

    @handler
    async def sleep(self, message: Sleep) -> int:
        await trio.sleep(message.seconds)
        return 0


class Async(Plain):
    """The same, with a handler that waits."""

    @handler(batch=5)
    async def add(self, messages: list[Add]) -> list[int]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        await trio.lowlevel.checkpoint()
        return super().add(messages)


KINDS: list[Any] = [Plain, Async]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_takes_what_waits_up_to_its_size(world: World, kind: Any) -> None:
    """MBX-8: what is queued, in order; never waiting for more."""
    seen: list[Any] = []
    ref = await world.spawn(kind, seen)
    for number in range(12):
        ref.tell_nowait(Add(number))
    assert await ref.ask(Get()) == 66
    assert seen == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]
    assert world.statistics()["handled"] == 13


@pytest.mark.parametrize("kind", KINDS)
async def test_another_message_ends_a_batch(world: World, kind: Any) -> None:
    """Consecutive messages only: order is kept."""
    seen: list[Any] = []
    ref = await world.spawn(kind, seen)
    for message in (Add(1), Add(2), Note("a"), Add(3), Note("b"), Note("c"), Add(4)):
        ref.tell_nowait(message)
    await world.settled()
    assert seen == [[1, 2], "a", [3], "b", "c", [4]]


@pytest.mark.parametrize("kind", KINDS)
async def test_told_and_asked_messages_share_a_batch(world: World, kind: Any) -> None:
    """Each asker gets the answer at its own place."""
    seen: list[Any] = []
    ref = await world.spawn(kind, seen)
    ref.tell_nowait(Add(1))
    first = ref.ask_nowait(Add(2))
    ref.tell_nowait(Add(3))
    second = ref.ask_nowait(Add(4))
    assert [await second, await first] == [10, 3]
    assert seen == [[1, 2, 3, 4]]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_abandoned_request_is_not_in_the_batch(
    world: World, kind: Any
) -> None:
    seen: list[Any] = []
    ref = await world.spawn(kind, seen)
    pendings = [ref.ask_nowait(Add(number)) for number in range(5)]
    pendings[0].abandon()
    pendings[3].abandon()
    assert [await pendings[n] for n in (1, 2, 4)] == [1, 3, 7]
    assert seen == [[1, 2, 4]]
    books = world.statistics()
    assert (books["handled"], books["abandoned"]) == (3, 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_object_may_be_in_a_batch_twice(world: World, kind: Any) -> None:
    ref = await world.spawn(kind, list[Any]())
    one = Add(1)
    pendings = [ref.ask_nowait(one) for _ in range(4)]
    assert [await pending for pending in pendings] == [1, 2, 3, 4]


async def test_a_signal_ends_a_batch(world: World) -> None:
    """It has a turn of its own, in its place."""

    class Ticks(Plain):
        async def started(self) -> None:
            self.context.send_after(1, Add(100))

    seen: list[Any] = []
    ref = await world.spawn(Ticks, seen)
    ref.tell_nowait(Sleep(2))
    await trio.sleep(0.5)
    ref.tell_nowait(Add(1))
    ref.tell_nowait(Add(2))
    await trio.sleep(1)
    ref.tell_nowait(Add(3))
    ref.tell_nowait(Add(4))
    await world.settled()
    assert seen == [[1, 2], [100, 3, 4]]
    assert world.statistics()["handled"] == 6


async def test_a_signal_that_lapsed_ends_a_batch_and_is_expired(world: World) -> None:
    class Ticks(Plain):
        @handler
        async def sleep(self, message: Sleep) -> int:
            self.context.send_after(1, Add(100))
            await trio.sleep(message.seconds)
            return 0

        @handler
        def note(self, message: Note) -> None:
            self.context.cancel_timer(Add(100))

    seen: list[Any] = []
    ref = await world.spawn(Ticks, seen)
    ref.tell_nowait(Sleep(3))
    await trio.sleep(0.5)
    ref.tell_nowait(Note())
    ref.tell_nowait(Add(1))
    await trio.sleep(1)
    ref.tell_nowait(Add(2))
    await world.settled()
    assert seen == [[1], [2]]
    assert world.statistics()["expired"] == 1


async def test_a_batch_leaves_room_for_those_who_wait(world: World) -> None:
    seen: list[Any] = []
    ref = await world.spawn(Async, seen, mailbox=Mailbox(2))
    await ref.tell_all(Add(1) for _ in range(20))
    assert await ref.ask(Get()) == 20
    assert max(len(batch) for batch in seen) <= 5


# --- Failure ----------------------------------------------------------------


class Fails(Actor[Boom | Get]):
    """A batch that contains a KeyError answers with it; else it fails."""

    @handler(batch=10, raises=(KeyError,))
    def boom(self, messages: list[Boom]) -> list[int]:
        raise messages[0].error

    @handler
    def get(self, message: Get) -> int:
        return self.context.incarnation


async def errors_of(pendings: list[Pending[int]]) -> list[Exception]:
    found: list[Exception] = []
    for pending in pendings:
        with pytest.raises((ActorFailed, KeyError)) as caught:
            await pending
        found.append(caught.value)
    return found


async def test_a_batch_fails_as_a_whole(world: World) -> None:
    """Design 2: each asker hears it with an error of its own; the rest is kept."""
    ref = await world.spawn(Fails)
    pendings = [ref.ask_nowait(Boom(ValueError("v"))) for _ in range(3)]
    ref.tell_nowait(Boom())
    after = ref.ask_nowait(Get())
    errors = await errors_of(pendings)
    assert [type(error) for error in errors] == [ActorFailed] * 3
    assert len({id(error) for error in errors}) == 3
    assert len({id(error.__cause__) for error in errors}) == 1
    assert await after == 2
    assert world.statistics()["failed"] == 4


async def test_a_declared_answer_is_that_of_the_whole_batch(world: World) -> None:
    """Each asker gets its own exception object; told ones are dead letters."""
    ref = await world.spawn(Fails)
    error = KeyError("k")
    error.add_note("noted")
    pendings = [ref.ask_nowait(Boom(error)) for _ in range(3)]
    ref.tell_nowait(Boom(error))
    errors = await errors_of(pendings)
    assert [repr(one) for one in errors] == ["KeyError('k')"] * 3
    assert len({id(one) for one in errors}) == 3
    assert [one.__notes__ for one in errors] == [["noted"]] * 3
    errors[1].add_note("more")
    assert errors[2].__notes__ == ["noted"]
    assert await ref.ask(Get()) == 1
    assert [one.reason for one in world.dead()] == ["unasked_answer"]
    books = world.statistics()
    assert (books["handled"], books["dead_lettered"], books["failed"]) == (4, 1, 0)


async def test_a_declared_answer_that_cannot_be_copied_is_shared(world: World) -> None:
    class Stubborn(KeyError):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(one + two)

    ref = await world.spawn(Fails)
    error = Stubborn(1, 2)
    pendings = [ref.ask_nowait(Boom(error)) for _ in range(2)]
    assert await errors_of(pendings) == [error, error]


async def test_the_fault_of_another_is_passed_on_to_the_whole_batch(
    world: World,
) -> None:
    other = await world.spawn(Fails)

    class Asks(Actor[Add | Get]):
        @handler(batch=5)
        async def add(self, messages: list[Add]) -> list[int]:
            await other.ask(Boom())
            return []

        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    ref = await world.spawn(Asks)
    errors = await errors_of([ref.ask_nowait(Add()) for _ in range(3)])
    assert [type(error.__cause__) for error in errors] == [ActorFailed] * 3
    assert await ref.ask(Get()) == 1


@attrs.frozen
class Answer:
    """What the next batch is answered with."""

    value: Any


class Answers(Actor[Add | Answer | Get]):
    def __init__(self) -> None:
        self.value: Any = None

    @handler
    def answer(self, message: Answer) -> None:
        self.value = message.value

    @handler(batch=5)
    def add(self, messages: list[Add]) -> list[int]:
        return self.value  # type: ignore[no-any-return]

    @handler
    def get(self, message: Get) -> int:
        return self.context.incarnation


@pytest.mark.parametrize("value", [None, 3, [1], [1, 2, 3], (1, 2), {}, "ab"])
async def test_a_batch_is_answered_with_a_list_of_its_length(
    world: World, value: object
) -> None:
    """A wrong number of answers is the actor's failure, and says what to write."""
    ref = await world.spawn(Answers)
    ref.tell_nowait(Answer(value))
    errors = await errors_of([ref.ask_nowait(Add()) for _ in range(2)])
    for error in errors:
        assert isinstance(error.__cause__, TypeError)
        text = str(error.__cause__)
        assert "a batch of 2 messages of /answers-1 was answered with" in text
        assert "one answer for each message, in their order" in text
    assert await ref.ask(Get()) == 2
    assert world.statistics()["failed"] == 2


async def test_a_batch_that_was_only_told_needs_no_answers(world: World) -> None:
    ref = await world.spawn(Answers)
    for _ in range(3):
        ref.tell_nowait(Add())
    assert await ref.ask(Get()) == 1
    assert world.statistics()["handled"] == 4


async def test_a_reply_among_the_answers_is_none(world: World) -> None:
    """As of a single request: NoReply, not a Reply object as the answer."""
    kept: list[Reply[int]] = []

    class Mixed(Actor[Add]):
        @handler(batch=5)
        def add(self, messages: list[Add]) -> list[Reply[int]]:
            kept.append(self.context.defer_reply(messages[0]))
            return [kept[0] for _ in messages]

    ref = await world.spawn(Mixed)
    first, second = ref.ask_nowait(Add(1)), ref.ask_nowait(Add(2))
    with pytest.raises(NoReply, match="returned a Reply to another request"):
        await second
    kept[0].send(5)
    assert await first == 5


# --- Other ways to answer ---------------------------------------------------


async def test_answers_of_a_batch_may_be_deferred_one_by_one(world: World) -> None:
    kept: list[Reply[int]] = []

    class Defers(Actor[Add | Note]):
        @handler(batch=5)
        def add(self, messages: list[Add]) -> list[Any]:
            answers: list[Any] = []
            for message in messages:
                if message.amount % 2:
                    kept.append(self.context.defer_reply(message))
                    answers.append(kept[-1])
                else:
                    answers.append(message.amount)
            return answers

        @handler
        def note(self, message: Note) -> None:
            for number, reply in enumerate(kept):
                reply.send(number + 10)

    ref = await world.spawn(Defers)
    pendings = [ref.ask_nowait(Add(number)) for number in range(4)]
    assert [await pendings[n] for n in (0, 2)] == [0, 2]
    assert not pendings[1].done()
    ref.tell_nowait(Note())
    assert [await pendings[n] for n in (1, 3)] == [10, 11]


async def test_the_same_object_may_be_deferred_as_often_as_it_was_asked(
    world: World,
) -> None:
    kept: list[Reply[int]] = []
    refused: list[str] = []

    class Defers(Actor[Get]):
        @handler(batch=5)
        def get(self, messages: list[Get]) -> list[Reply[int]]:
            kept.extend(self.context.defer_reply(message) for message in messages)
            return kept

    class Once(Actor[Get]):
        @handler(batch=5)
        def get(self, messages: list[Get]) -> list[Reply[int]]:
            replies = [self.context.defer_reply(message) for message in messages]
            try:
                self.context.defer_reply(messages[0])
            except RuntimeError as error:
                refused.append(str(error))
            for reply in replies:
                reply.send(1)
            return replies

    ref = await world.spawn(Defers)
    one = Get()
    first = ref.ask_nowait(one)
    ref.tell_nowait(one)
    second = ref.ask_nowait(one)
    await world.settled()
    for number, reply in enumerate(kept):
        reply.send(number)
    assert [await first, await second] == [0, 1]
    once = await world.spawn(Once)
    pendings = [once.ask_nowait(one) for _ in range(2)]
    assert [await pending for pending in pendings] == [1, 1]
    assert "already given or taken over" in refused[0]


async def test_a_batch_can_be_neither_stashed_nor_forwarded(world: World) -> None:
    refused: list[str] = []
    elsewhere: ActorRef[Any] = await world.spawn(Plain, list[Any]())

    class Tries(Actor[Note]):
        @handler(batch=5)
        def note(self, messages: list[Note]) -> None:
            for attempt in (
                lambda: self.context.stash(messages[0]),
                lambda: self.context.forward(elsewhere, Add()),
            ):
                try:
                    attempt()
                except RuntimeError as error:
                    refused.append(str(error))

    ref = await world.spawn(Tries)
    ref.tell_nowait(Note())
    ref.tell_nowait(Note())
    await world.settled()
    assert "a message of a batch cannot be stashed alone" in refused[0]
    assert "has 2 in hand" in refused[1]


# --- Ends -------------------------------------------------------------------


async def test_what_was_taken_out_and_not_handled_counts_once(world: World) -> None:
    """Section 4: the conservation law, in the middle of a batch."""
    middle: list[dict[str, int]] = []

    class Looks(Plain):
        @handler(batch=5)
        async def add(self, messages: list[Add]) -> list[int]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            check_books(world)
            middle.append(dict(world.statistics()))
            return [0 for _ in messages]

    ref = await world.spawn(Looks, list[Any]())
    for message in (Add(), Add(), Note(), Add()):
        ref.tell_nowait(message)
    await world.settled()
    assert [(one["handling"], one["queued"]) for one in middle] == [(2, 2), (1, 0)]


def test_a_batch_may_be_cut_at_every_step() -> None:
    """Killed, restarted, cancelled: every message ends in one counter."""
    for verb in ("kill", "restart", "stop", "drain"):

        async def scenario(world: World, arm: Arm, verb: str = verb) -> None:
            seen: list[Any] = []
            ref = await world.spawn(Async, seen)
            arm(getattr(ref, verb))
            pendings: list[Pending[int]] = []
            for number in range(7):
                pendings.append(ref.ask_nowait(Add(number)))
                ref.tell_nowait(Add(number))
            await world.settled()
            assert all(pending.done() for pending in pendings)
            check_books(world)

        assert at_every_step(scenario) >= 3
