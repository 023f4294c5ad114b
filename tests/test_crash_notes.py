"""Crash reports: what stands on the exception, and what never does.

Rules: section 4 of the design ("Crash reports are notes on the exception").
"""

import logging
import traceback
from typing import Any

import attrs
import pytest
import trio

from tests.actors import StashAndFail
from tests.kit import Add, Boom, Counter, Get, Note, Worker, tally
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Request,
    StartFailed,
    Supervision,
    handler,
)
from trio_actors._errors import NOTES, add_crash_notes, cut_own_frames, show
from trio_actors.testing import World


async def failure_of(ref: ActorRef[Any], request: Request[Any]) -> BaseException:
    """Ask, and return what the actor failed with."""
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(request)
    cause = caught.value.__cause__
    assert cause is not None
    return cause


def note_of(error: BaseException) -> list[str]:
    (note,) = error.__notes__
    return note.split("\n")


@pytest.mark.parametrize("kind", [Counter, Worker, tally])
async def test_a_failure_says_where_it_happened(world: World, kind: Any) -> None:
    """Path, incarnation, message, mailbox, the last events."""
    ref: ActorRef[Any] = await world.spawn(kind, name="a")
    await ref.ask(Add(1))
    ref.tell_nowait(Get())
    failing = ref.ask_nowait(Boom(KeyError("k")))
    ref.tell_nowait(Get())
    ref.tell_nowait(Get())
    with pytest.raises(ActorFailed) as caught:
        await failing
    cause = caught.value.__cause__
    assert cause is not None
    assert note_of(cause) == [
        "actor: /a, incarnation 1",
        "while handling Boom(error=KeyError('k'))",
        "mailbox: 2 waiting",
        "last events: started, Add, Get, Boom",
    ]


@pytest.mark.parametrize("kind", [Counter, Worker, tally])
async def test_a_told_message_that_fails_is_among_the_events(
    world: World, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ref: ActorRef[Any] = await world.spawn(kind, name="a")
    error = ValueError("told")
    for message in (Add(), Add(), Boom(error)):
        ref.tell_nowait(message)
    await world.settled()
    assert note_of(error)[1] == "while handling Boom(error=ValueError('told'))"
    assert note_of(error)[3] == "last events: started, Add, Add, Boom"
    assert "/a failed: ValueError('told')" in caplog.text


async def test_only_the_last_ten_events_are_shown(world: World) -> None:
    ref = await world.spawn(Counter)
    for number in range(30):
        ref.tell_nowait(Add(number))
    error = await failure_of(ref, Boom())
    events = note_of(error)[3].removeprefix("last events: ").split(", ")
    assert events == [*["Add"] * 9, "Boom"]


async def test_the_events_go_on_over_restarts(world: World) -> None:
    ref = await world.spawn(Counter)
    await failure_of(ref, Boom())
    error = await failure_of(ref, Boom())
    first, _, _, events = note_of(error)
    assert first.endswith("incarnation 2")
    assert events == ("last events: started, Boom, failed, restarting, restarted, Boom")


@attrs.frozen
class Via(Request[int]):
    to: ActorRef[Any]


async def test_the_asker_is_named_if_it_is_an_actor(world: World) -> None:
    """Which of a hundred clients sent the message that kills?"""

    class Asks(Actor[Via]):
        @handler
        async def via(self, message: Via) -> int:
            return int(await message.to.ask(Boom(error)))

    error = ValueError("v")
    counter = await world.spawn(Counter, name="counter")
    asks = await world.spawn(Asks, name="asks")
    with pytest.raises(ActorFailed, match="^/asks failed") as caught:
        await asks.ask(Via(counter))
    assert note_of(error)[1] == (
        "while handling Boom(error=ValueError('v')) from /asks"
    )
    inner = caught.value.__cause__
    assert isinstance(inner, ActorFailed)
    assert inner.__cause__ is error
    assert not getattr(inner, "__notes__", None), "passed on, it is no failure"


async def test_a_failure_outside_of_turns_says_what_was_done(world: World) -> None:
    class Beside(Actor[Note]):
        async def started(self) -> None:
            self.context.start_soon(self.fail)

        async def fail(self) -> None:
            await trio.sleep(1)
            raise error

        @handler
        def note(self, message: Note) -> None: ...

    class Broken(Counter):
        async def started(self) -> None:
            raise start

    error, start = ValueError("beside"), ValueError("start")
    await world.spawn(Beside)
    await trio.sleep(2)
    assert note_of(error)[1] == "while idle"
    with pytest.raises(StartFailed):
        await world.spawn(Broken)
    assert note_of(start)[1] == "while starting"
    assert note_of(start)[3] == "last events: none"


async def test_a_failure_after_stashing_says_so(world: World) -> None:
    error = ValueError("v")
    ref = await world.spawn(StashAndFail, error)
    await ref.tell(Note())
    await world.settled()
    assert note_of(error)[1] == "while handling a message that it stashed"


async def test_a_batch_shows_its_first_three_messages(world: World) -> None:
    class Many(Actor[Add]):
        @handler(batch=10)
        def add(self, messages: list[Add]) -> list[int]:
            raise error

    error = ValueError("v")
    ref = await world.spawn(Many)
    for number in range(5):
        ref.tell_nowait(Add(number))
    await world.settled()
    shown = ", ".join(f"Add(amount={number})" for number in range(3))
    assert note_of(error)[1] == f"while handling {shown} ..."


def heads_of(error: BaseException) -> list[str]:
    return [note.partition("\n")[0] for note in error.__notes__]


async def test_each_actor_notes_a_failure_once(world: World) -> None:
    """The same exception object again: the last incarnation's note alone stays."""
    error = ValueError("again and again")
    error.add_note("a user's own")
    ref = await world.spawn(Counter, name="a")
    other = await world.spawn(Counter, name="b")
    for asked in (ref, ref, other):
        assert await failure_of(asked, Boom(error)) is error
    assert heads_of(error) == [
        "a user's own",
        "actor: /a, incarnation 2",
        "actor: /b, incarnation 1",
    ]
    add_crash_notes(error, path="/b", incarnation=1, doing="idle", waiting=0, events=[])
    assert len(error.__notes__) == 3


async def test_an_exception_that_many_actors_raise_keeps_few_notes(
    world: World,
) -> None:
    """A constant of a module may be raised for as long as the program runs."""
    error = ValueError("out of stock")
    error.add_note("a user's own")
    refs = [await world.spawn(Counter, name=f"{number}") for number in range(NOTES + 2)]
    for ref in refs:
        await failure_of(ref, Boom(error))
    last = [f"actor: /{number}, incarnation 1" for number in range(2, NOTES + 2)]
    assert heads_of(error) == ["a user's own", *last]


def down(levels: int, error: Exception) -> int:
    """Raise an error, from below."""
    if levels:
        return down(levels - 1, error)
    raise error


class Deep(Actor[Get]):
    """Raises one and the same object, from below its handler."""

    error = ValueError("out of stock")

    @handler
    def get(self, message: Get) -> int:
        return down(2, self.error)


class AsyncDeep(Actor[Get]):
    """The same, in an async handler."""

    error = ValueError("out of stock")

    @handler
    async def get(self, message: Get) -> int:
        return down(2, self.error)


@pytest.mark.parametrize("kind", [Deep, AsyncDeep])
async def test_an_exception_that_is_raised_again_has_the_last_traceback_alone(
    world: World, kind: Any
) -> None:
    """Python hangs the old one behind the new one: each crash would show all before."""
    ref: ActorRef[Get] = await world.spawn(kind)
    for _ in range(3):
        error = await failure_of(ref, Get())
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names == ["get", "down", "down", "down"]
        error.add_note("a user's own")


async def test_a_recursion_is_shown_as_it_was_also_the_second_time(
    world: World,
) -> None:
    class Recursive(Actor[Get]):
        error = ValueError("out of stock")
        levels = 2

        @handler
        def get(self, message: Get) -> int:
            self.levels -= 1
            if self.levels >= 0:
                return self.get(message)
            raise self.error

    class AsyncRecursive(Actor[Get]):
        error = ValueError("out of stock")
        levels = 2

        @handler
        async def get(self, message: Get) -> int:
            self.levels -= 1
            if self.levels >= 0:
                return await self.get(message)
            raise self.error

    kinds: list[Any] = [Recursive, AsyncRecursive]
    for kind in kinds:
        ref = await world.spawn(kind)
        for _ in range(3):
            error = await failure_of(ref, Get())
            frames = traceback.extract_tb(error.__traceback__)
            assert [frame.name for frame in frames] == ["get", "get", "get"]


ESCALATES = Supervision(directives={Exception: "escalate"})


class Nested(Actor[Boom]):
    """Has one below it, which fails; it lets that climb."""

    def __init__(self, levels: int) -> None:
        self.levels = levels

    async def started(self) -> None:
        if self.levels:
            await self.context.spawn(
                Nested, self.levels - 1, name="n", supervision=ESCALATES
            )

    @handler
    def boom(self, message: Boom) -> int:
        raise message.error


async def test_a_failure_that_climbs_keeps_the_note_of_where_it_was(
    world: World,
) -> None:
    """Each level adds two: of another ascent the oldest go, of this one none."""
    error = ValueError("deep down")
    await world.spawn(
        Nested, NOTES, name="n", restart="temporary", supervision=ESCALATES
    )
    leaf = world.find("/n" * (NOTES + 1))
    assert leaf is not None
    await leaf.tell(Boom(error))
    await world.settled()
    path = "/n" * (NOTES + 1)
    assert heads_of(error)[0] == f"actor: {path}, incarnation 1"
    assert len(error.__notes__) > NOTES


async def test_what_is_raised_again_and_nobody_looks_at_does_not_grow(
    world: World,
) -> None:
    """W7: such a failure has no notes, and its traceback goes at once."""
    error = ValueError("out of stock")
    logging.disable(logging.CRITICAL)
    rules = Supervision(max_restarts=100)
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Counter)
    for _ in range(20):
        await ref.tell(Boom(error))
    await world.settled()
    logging.disable(logging.NOTSET)
    assert len(traceback.extract_tb(error.__traceback__)) <= 3


async def test_state_is_never_shown(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Design 4: it may hold secrets, and it may be large."""

    class Secret(Counter):
        def __init__(self) -> None:
            super().__init__()
            self.password = "hunter2"

        def __repr__(self) -> str:
            return f"Secret({self.password})"

    ref = await world.spawn(Secret)
    with caplog.at_level(logging.DEBUG):
        error = await failure_of(ref, Boom())
        await world.settled()
    everything = "".join(traceback.format_exception(error)) + caplog.text
    assert "hunter2" not in everything
    assert "hunter2" not in world.snapshot().render()


@pytest.mark.parametrize("kind", [Counter, Worker, tally])
async def test_the_traceback_begins_with_the_users_code(
    world: World, kind: Any
) -> None:
    """Design 4: frames of our own loop are cut."""
    ref: ActorRef[Any] = await world.spawn(kind)
    error = await failure_of(ref, Boom())
    frames = traceback.extract_tb(error.__traceback__)
    assert [frame.filename.rpartition("/")[2] for frame in frames] == ["kit.py"]


async def test_frames_between_the_users_own_are_kept(world: World) -> None:
    """Only the front is cut: what the user called is part of the story."""

    class Calls(Actor[Get]):
        @handler
        def get(self, message: Get) -> int:
            self.context.send_after(-1, message)
            return 0

    ref = await world.spawn(Calls)
    error = await failure_of(ref, Get())
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[0] == "get"
    assert "send_after" in names


def test_an_error_of_the_library_alone_keeps_its_last_frame() -> None:
    nothing: Any = None
    with pytest.raises(AttributeError) as caught:
        nothing.fails()
    cut_own_frames(caught.value)
    assert caught.value.__traceback__ is not None
    never = ValueError("was never raised")
    cut_own_frames(never)
    assert never.__traceback__ is None


# --- Showing a message ------------------------------------------------------


class Rude:
    """A message whose repr raises."""

    def __repr__(self) -> str:
        raise ValueError("no")


@attrs.frozen(repr=False)
class RudeRequest(Request[int]):
    def __repr__(self) -> str:
        raise ValueError("no")


def test_a_message_is_shown_in_200_characters() -> None:
    assert show(Add(3)) == "Add(amount=3)"
    assert show(Rude()) == "<Rude, whose repr raised ValueError>"
    assert show("x" * 198) == repr("x" * 198)
    long = show("x" * 500)
    assert len(long) == 200
    assert long.endswith("xxx...")


async def test_a_message_that_cannot_be_shown_breaks_nothing(world: World) -> None:
    """Whatever is said about it: a note, a dead letter, an error."""

    class Fails(Actor[RudeRequest]):
        @handler
        def rude(self, message: RudeRequest) -> int:
            raise ValueError("v")

    ref: ActorRef[Any] = await world.spawn(Fails)
    shown = "<RudeRequest, whose repr raised ValueError>"
    with pytest.raises(ActorFailed, match=shown) as caught:
        await ref.ask(RudeRequest())
    cause = caught.value.__cause__
    assert cause is not None
    assert note_of(cause)[1] == f"while handling {shown}"
    await ref.tell(Rude())
    await world.settled()
    assert [one.reason for one in world.dead()] == ["unhandled"]
    ref.stop()
    await ref.wait_stopped()
    await ref.tell(Rude())
    assert [one.reason for one in world.dead()] == ["stopped"]
