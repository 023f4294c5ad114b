"""Dead letters: by reason, as a stream, in the log once per burst (DL-1 to DL-3)."""

import logging
from typing import Any

import attrs
import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
    open_system,
    reasons,
    run_main,
)
from trio_actors import (
    Actor,
    ActorStopped,
    DeadLetter,
    Mailbox,
    MailboxFull,
    Request,
    Subscription,
    UnhandledMessage,
    handler,
)
from trio_actors._letters import BURST
from trio_actors.testing import World


@attrs.frozen
class Unknown(Request[int]):
    """Nobody has a handler for this."""


@attrs.frozen
class Divide(Request[int]):
    by: int


class Divider(Actor[Divide | Note]):
    @handler(raises=(ZeroDivisionError,))
    def divide(self, message: Divide) -> int:
        return 10 // message.by

    @handler
    def note(self, message: Note) -> None:
        self.context.stash(message)


# --- Reasons ----------------------------------------------------------------


async def test_stopped(world: World) -> None:
    """A tell to a stopped actor never raises; the letter says to whom."""
    ref = await world.spawn(Counter)
    ref.stop()
    await ref.wait_stopped()
    await ref.tell(Add())
    ref.tell_nowait(Add())
    ref.tell_soon(Add())
    await ref.tell_all([Add()])
    with pytest.raises(ActorStopped) as caught:
        await ref.ask(Add(7))
    assert caught.value.message == Add(7)
    assert caught.value.path == ref.path
    assert caught.value.reason.kind == "shutdown"
    letters = world.dead()
    assert [letter.reason for letter in letters] == ["stopped"] * 5
    assert {letter.to for letter in letters} == {ref}


async def test_overflow(world: World) -> None:
    ref = await world.spawn(Worker, mailbox=Mailbox(1))
    ref.tell_nowait(Sleep(1))
    await trio.sleep(0.5)
    ref.tell_nowait(Note("in"))
    ref.tell_soon(Note("out"))
    assert world.dead() == [DeadLetter(Note("out"), ref, "overflow")]


async def test_start_failed(world: World) -> None:
    """LIFE-2: queued messages of an actor that does not start."""

    class Broken(Counter):
        async def started(self) -> None:
            raise ValueError

    async def spawn() -> None:
        with pytest.raises(Exception, match="did not start"):
            await world.spawn(Broken, name="broken")

    world.client(spawn)
    await trio.lowlevel.checkpoint()
    ref = world.find("/broken")
    assert ref is not None
    ref.tell_nowait(Add())
    await world.settled()
    assert reasons(world) == ["start_failed"]


async def test_unhandled(world: World) -> None:
    """An asker is told; a tell is a letter; never a failure of the actor."""
    ref: Any = await world.spawn(Counter)
    with pytest.raises(UnhandledMessage, match="Unknown"):
        await ref.ask(Unknown())
    assert reasons(world) == []
    await ref.tell(Note())
    await world.settled()
    assert reasons(world) == ["unhandled"]
    assert world.snapshot().restarts == 0


async def test_unasked_answer(world: World) -> None:
    """A declared answer that nobody had asked for."""
    ref = await world.spawn(Divider)
    with pytest.raises(ZeroDivisionError):
        await ref.ask(Divide(0))
    assert reasons(world) == []
    await ref.tell(Divide(0))
    await world.settled()
    assert reasons(world) == ["unasked_answer"]


def test_shutdown() -> None:
    """The doors of a system that is left."""
    letters: list[DeadLetter] = []

    async def listen(stream: Subscription[DeadLetter], opened: trio.Event) -> None:
        with stream:
            opened.set()
            letters.extend([letter async for letter in stream])

    async def main() -> None:
        async with trio.open_nursery() as nursery, open_system() as system:
            opened = trio.Event()
            nursery.start_soon(listen, system.dead_letters(), opened)
            await opened.wait()
            ref = await system.spawn(Worker)
            ref.tell_nowait(Sleep(2))
            nursery.start_soon(late, ref.tell)

    async def late(tell: Any) -> None:
        await trio.sleep(1)
        await tell(Note("late"))

    run_main(main)
    assert [(one.message, one.reason) for one in letters] == [
        (Note("late"), "shutdown")
    ]


async def test_stash(world: World) -> None:
    """DL-2: what is stashed at the end is not lost in silence."""
    ref = await world.spawn(Divider)
    ref.tell_nowait(Note("stashed"))
    await world.settled()
    ref.stop()
    await ref.wait_stopped()
    assert world.dead() == [DeadLetter(Note("stashed"), ref, "stash")]


# --- The stream -------------------------------------------------------------


async def test_letters_are_streamed(world: World) -> None:
    """DL-1: published, to whoever listens."""
    ref = await world.spawn(Counter)
    ref.kill()
    await ref.wait_stopped()
    ref.tell_nowait(Add(1))  # nobody listens yet
    with world.dead_letters() as letters:
        ref.tell_nowait(Add(2))
        assert await letters.receive() == DeadLetter(Add(2), ref, "stopped")
    ref.tell_nowait(Add(3))
    assert len(world.dead()) == 3


async def test_an_abandoned_request_is_no_dead_letter(world: World) -> None:
    """Its asker has gone away by itself."""
    ref = await world.spawn(Worker)
    ref.tell_nowait(Sleep(5))
    with trio.move_on_after(1):
        await ref.ask(Get())
    ref.stop()
    await ref.wait_stopped()
    assert world.dead() == []


async def test_a_mailbox_that_fails_makes_no_letter(world: World) -> None:
    """The message is given back: its sender knows."""
    ref = await world.spawn(Worker, mailbox=Mailbox(1, "fail"))
    ref.tell_nowait(Sleep(1))
    await trio.sleep(0.5)
    ref.tell_nowait(Note())
    with pytest.raises(MailboxFull):
        await ref.tell(Note("given back"))
    assert world.dead() == []


# --- The log ----------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged at WARNING since the last look."""
    lines = [
        one.getMessage() for one in caplog.records if one.levelno == logging.WARNING
    ]
    caplog.clear()
    return lines


async def test_the_first_letter_of_a_burst_is_logged_with_a_hint(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """DL-1, DL-3: neither noise nor silence."""
    ref = await world.spawn(Counter, name="gone")
    ref.stop()
    await ref.wait_stopped()
    for amount in range(100):
        ref.tell_nowait(Add(amount))
    (line,) = logged(caplog)
    assert line == (
        "Add(amount=0) was not handled by /gone: it has stopped, or is about to:"
        " watch() it to hear of its end. See system.dead_letters()."
    )
    await trio.sleep(BURST)
    ref.tell_nowait(Add(100))
    (line,) = logged(caplog)
    assert line.startswith("Add(amount=100) was not handled by /gone: it has stopped")
    assert "(99 more since the last one)" in line
    await trio.sleep(BURST)
    ref.tell_nowait(Add(101))
    (line,) = logged(caplog)
    assert "more since" not in line
    assert len(world.dead()) == 102


def test_what_was_not_logged_is_counted_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Counter)
            ref.stop()
            await ref.wait_stopped()
            for _ in range(4):
                ref.tell_nowait(Add())

    run_main(main)
    assert logged(caplog)[-1] == "3 more dead letters were not logged"


def test_each_reason_has_a_hint() -> None:
    """The text says the likely cause, for every reason there is."""
    from typing import get_args

    from trio_actors._letters import _HINTS
    from trio_actors._messages import DeadReason

    assert set(_HINTS) == set(get_args(DeadReason))


async def test_a_message_that_cannot_be_shown_is_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken repr harms nobody."""

    class Rude:
        def __repr__(self) -> str:
            raise ValueError

    ref: Any = await world.spawn(Counter)
    ref.stop()
    await ref.wait_stopped()
    ref.tell_nowait(Rude())
    assert "<Rude, whose repr raised ValueError> was not handled" in logged(caplog)[0]
    world.dead()


async def test_a_dead_letter_of_a_failed_asker_names_the_failure(world: World) -> None:
    """U18: ActorStopped has the reason and its cause."""
    ref = await world.spawn(Counter, restart="temporary")
    ref.tell_nowait(Boom(ValueError("why")))
    asked = ref.ask_nowait(Get())
    with pytest.raises(ActorStopped, match="why") as caught:
        await asked
    assert isinstance(caught.value.__cause__, ValueError)
    assert reasons(world) == ["stopped"]
