"""What errors say, what they hold, and the notes of a crash report."""

import copy
import pickle
from typing import Any

import attrs
import pytest
import trio

import trio_actors
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
    ActorError,
    ActorFailed,
    ActorRef,
    ActorStopped,
    AskDeadlock,
    DeathPact,
    Exit,
    Mailbox,
    MailboxFull,
    NameTaken,
    NoReply,
    NoSystem,
    Request,
    RestartLimit,
    StartFailed,
    Supervision,
    UnhandledMessage,
    handler,
)
from trio_actors._errors import (
    add_crash_notes,
    cut_own_frames,
    is_others_fault,
    leaves,
    show,
)
from trio_actors.testing import World

# --- The family of errors ---------------------------------------------------


def test_every_error_of_the_library_but_one_is_an_actor_error() -> None:
    """One ``except`` for what actors do; NoSystem is a mistake in a program."""
    errors = {
        name: value
        for name, value in vars(trio_actors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    outside = [
        name for name, kind in errors.items() if not issubclass(kind, ActorError)
    ]
    assert outside == ["NoSystem"]
    assert issubclass(NoSystem, RuntimeError)


def test_errors_are_also_what_trio_and_python_call_them() -> None:
    """A user of Trio catches WouldBlock; of Python, ValueError."""
    assert issubclass(ActorStopped, trio.BrokenResourceError)
    assert issubclass(MailboxFull, trio.WouldBlock)
    assert issubclass(NameTaken, ValueError)


def test_a_deadlock_says_the_whole_cycle() -> None:
    error = AskDeadlock(["/a", "/b", "/a"])
    assert error.cycle == ("/a", "/b", "/a")
    assert str(error).startswith("/a waits for /b waits for /a: this can never end.")
    assert "Use tell()" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        ActorFailed("text", path="/a"),
        ActorStopped("text", path="/a", reason=Exit("killed"), message=Add(1)),
        UnhandledMessage("text", message=Add(1)),
        MailboxFull("text", path="/a", message=Add(1)),
        AskDeadlock(["/a", "/a"]),
    ],
)
def test_errors_can_be_copied(error: Exception) -> None:
    """Each asker gets its own exception object; pools of processes pickle them."""
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


# --- Texts, where they arise ------------------------------------------------


async def test_a_full_mailbox_says_what_to_do(world: World) -> None:
    """A text says what happened, where, the likely cause, and what to write."""
    ref = await world.spawn(Worker, mailbox=Mailbox(1), name="w")
    ref.tell_nowait(Sleep(1))
    await trio.sleep(0.5)
    ref.tell_nowait(Note("in"))
    with pytest.raises(MailboxFull) as caught:
        ref.tell_nowait(Note("out"))
    assert caught.value.path == "/w"
    assert caught.value.message == Note("out")
    assert str(caught.value).startswith("the mailbox of /w is full (1 of 1), so")
    assert "Use await tell()" in str(caught.value)


async def test_a_stopped_actor_says_why_it_has_stopped(world: World) -> None:
    """U18: no "Mailbox has closed" without a reason."""
    ref = await world.spawn(Counter, name="c", restart="temporary")
    boom = ValueError("boom")
    ref.tell_nowait(Boom(boom))
    await ref.wait_stopped()
    with pytest.raises(ActorStopped) as caught:
        await ref.ask(Get())
    error = caught.value
    assert str(error).startswith("/c has stopped (failed: ValueError('boom')), so")
    assert (error.path, error.message) == ("/c", Get())
    assert error.reason == Exit("failed", boom)
    assert error.__cause__ is boom
    assert len(world.dead()) == 1


async def test_an_actor_that_is_about_to_stop_says_so(world: World) -> None:
    ref = await world.spawn(Worker, name="w")
    slow = ref.ask_nowait(Sleep(1))
    await trio.sleep(0.5)
    ref.stop()
    with pytest.raises(ActorStopped, match=r"/w is stopping \(shutdown\)"):
        await ref.ask(Get())
    assert await slow == 0
    assert len(world.dead()) == 1


async def test_a_failed_request_has_its_cause(world: World) -> None:
    ref = await world.spawn(Counter, name="c")
    boom = ValueError("boom")
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Boom(boom))
    assert caught.value.path == "/c"
    assert caught.value.__cause__ is boom
    assert str(caught.value).startswith("/c failed while it handled Boom(")


async def test_each_asker_gets_an_exception_object_of_its_own(world: World) -> None:
    """Shared, their tracebacks and notes would mix."""
    ref = await world.spawn(Worker)
    asked = [ref.ask_nowait(Sleep(1)), ref.ask_nowait(Get()), ref.ask_nowait(Get())]
    await trio.sleep(0.5)
    ref.kill()
    errors: list[Exception] = []
    for one in asked:
        with pytest.raises(ActorError) as caught:
            await one
        errors.append(caught.value)
    assert [type(error) for error in errors] == [
        ActorFailed,
        ActorStopped,
        ActorStopped,
    ]
    assert len({id(error) for error in errors}) == 3
    world.dead()


# --- Whose fault ------------------------------------------------------------


def test_what_asks_raise_is_the_fault_of_others() -> None:
    """Also inside of groups, if there is nothing else in them."""
    others = [ActorFailed(""), NoReply(), AskDeadlock(["/a"]), UnhandledMessage("")]
    for error in others:
        assert is_others_fault(error)
    assert is_others_fault(ExceptionGroup("", [others[0], ExceptionGroup("", others)]))
    assert not is_others_fault(ExceptionGroup("", [others[0], ValueError()]))
    mine = [ValueError(), StartFailed(), RestartLimit(), DeathPact(), NameTaken()]
    assert not any(is_others_fault(one) for one in mine)


def test_leaves_of_a_nested_group_come_in_order() -> None:
    one, two, three = ValueError(), KeyError(), SystemExit()
    group = BaseExceptionGroup("", [ExceptionGroup("", [one, two]), three])
    assert list(leaves(group)) == [one, two, three]
    assert list(leaves(one)) == [one]


# --- What is shown ----------------------------------------------------------


def test_a_long_message_is_cut_and_a_broken_repr_is_named() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    assert show("x" * 198) == "'" + "x" * 198 + "'"
    assert show("x" * 199) == "'" + "x" * 196 + "..."
    assert len(show("x" * 9999)) == 200
    assert show(Rude()) == "<Rude, whose repr raised ZeroDivisionError>"


def report(error: BaseException, path: str = "/a", number: int = 1) -> None:
    add_crash_notes(
        error,
        path=path,
        incarnation=number,
        doing="handling Add(amount=1)",
        waiting=3,
        events=["started", "Add"],
    )


def test_a_crash_report_is_a_note_once_for_each_actor() -> None:
    """N-8: path, incarnation, message, mailbox, the last events."""
    error = ValueError("boom")
    report(error)
    report(error)
    report(error, "/b")
    assert error.__notes__[0] == (
        "actor: /a, incarnation 1\nwhile handling Add(amount=1)\nmailbox: 3 waiting"
        "\nlast events: started, Add"
    )
    report(error, number=2)
    report(error, "/a", 11)
    heads = [note.partition("\n")[0] for note in error.__notes__]
    assert heads == ["actor: /b, incarnation 1", "actor: /a, incarnation 11"]


def test_a_crash_without_events_says_so() -> None:
    error = ValueError()
    add_crash_notes(
        error, path="/a", incarnation=1, doing="starting", waiting=0, events=[]
    )
    assert error.__notes__[0].endswith("last events: none")


async def test_an_exception_that_cannot_be_changed_is_supervised_all_the_same(
    world: World,
) -> None:
    """No note can be added to it, no traceback be cut."""

    class Rigid(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    ref = await world.spawn(Counter)
    error = Rigid()
    ref.tell_nowait(Boom(error))
    assert await ref.ask(Add()) == 1
    assert not hasattr(error, "__notes__")


async def test_the_report_shows_who_asked_and_the_last_ten_events(world: World) -> None:
    """Crash reports: path, incarnation, message, asker, mailbox, events; no state."""

    @attrs.frozen
    class Relay(Request[int]):
        to: ActorRef[Any]

    class Asker(Actor[Relay]):
        @handler
        async def relay(self, message: Relay) -> int:
            value: int = await message.to.ask(Boom(ValueError("boom")))
            return value

    secret = 123456789
    ref = await world.spawn(Counter, secret, name="c")
    for _ in range(12):
        await ref.ask(Add())
    asker = await world.spawn(Asker, name="asker")
    with pytest.raises(ActorFailed) as caught:
        await asker.ask(Relay(ref))
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, ValueError):
        cause = cause.__cause__
    assert cause is not None
    (note,) = cause.__notes__
    assert note.startswith("actor: /c, incarnation 1\nwhile handling Boom(")
    assert " from /asker" in note
    assert note.endswith("last events: " + "Add, " * 9 + "Boom")
    assert str(secret) not in note


async def test_the_frames_of_the_library_are_cut(world: World) -> None:
    """The traceback begins in the user's handler."""
    ref = await world.spawn(Worker)
    error = ValueError("boom")
    ref.tell_nowait(Boom(error))
    await world.settled()
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert frames == ["boom"]


def test_an_error_without_a_traceback_is_left_alone() -> None:
    error = ValueError()
    cut_own_frames(error)
    assert error.__traceback__ is None


async def test_an_error_of_the_library_itself_keeps_its_last_frame(
    world: World,
) -> None:
    """Where nothing of the user's is left, something must be."""
    rules = Supervision(directives={DeathPact: "stop"})
    top = await world.spawn_supervisor(supervision=rules)

    class Watching(Counter):
        async def started(self) -> None:
            child = await self.context.spawn(Counter)
            context: Any = self.context  # a checker would refuse the watch
            context.watch(child)
            child.stop()

    ref = await top.spawn(Watching)
    exit = await ref.wait_stopped()
    assert isinstance(exit.error, DeathPact)
    assert exit.error.__traceback__ is not None
