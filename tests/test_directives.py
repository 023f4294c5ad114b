"""What is done about a failure: restart, resume, stop, escalate (S0-7, FAIL-1..9)."""

from collections.abc import Mapping
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
    Parent,
    Sleep,
    Worker,
    failures_of,
    found,
    open_system,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Directive,
    Inbox,
    Supervision,
    SupervisorRef,
    handler,
)
from trio_actors._errors import leaves
from trio_actors._policy import ANSWERS, RESTARTS
from trio_actors.testing import World


async def supervised(
    world: World,
    directives: Mapping[type[Exception], Directive] | Any,
    **rules: Any,
) -> SupervisorRef:
    """A supervisor with these directives, called ``top``."""
    rule = Supervision(directives=directives, **rules)
    return await world.spawn_supervisor(name="top", supervision=rule)


# --- The four directives ------------------------------------------------------


@pytest.mark.parametrize("kind", [Counter, Worker])
async def test_restart_begins_anew_and_loses_only_the_failed_message(
    world: World, kind: Any
) -> None:
    """S0-7 restart (initial state), LIFE-1, FAIL-1, FAIL-3: it is the default."""
    top = await supervised(world, {})
    ref = await top.spawn(kind, name="kid")
    await ref.tell(Add(5))
    failed = ref.ask_nowait(Boom())
    await ref.tell(Add(2))
    with pytest.raises(ActorFailed) as caught:
        await failed
    assert isinstance(caught.value.__cause__, ValueError)
    assert await ref.ask(Get()) == 2
    assert top.which_children() == {"kid": ref}
    assert found(world, "/top/kid") == ref


@pytest.mark.parametrize("kind", [Counter, Worker])
async def test_resume_keeps_the_instance_and_does_not_count(
    world: World, kind: Any
) -> None:
    """S0-7 resume (ignore error), FAIL-2: same state, the message is dropped."""
    top = await supervised(world, {ValueError: "resume"}, max_restarts=0)
    ref = await top.spawn(kind)
    for _ in range(10):
        await ref.tell(Add())
        with pytest.raises(ActorFailed):
            await ref.ask(Boom())
    assert await ref.ask(Get()) == 10


async def test_resume_runs_no_hook_and_keeps_timers_children_and_inner_tasks(
    world: World,
) -> None:
    """FAIL-2: nothing but the message in hand is lost."""
    log: list[str] = []

    class Rich(Actor[Note | Boom]):
        async def started(self) -> None:
            log.append("started")
            await self.context.spawn(Worker, log, "child")
            self.context.start_soon(self.tick)
            self.context.send_after(5, Note("timer"))

        async def restarting(self, failure: Exception) -> None:
            log.append("restarting")

        async def tick(self) -> None:
            await trio.sleep(4)
            log.append("task")

        @handler
        def note(self, message: Note) -> None:
            log.append(message.text)

        @handler
        async def boom(self, message: Boom) -> int:
            raise message.error

    top = await supervised(world, {ValueError: "resume"})
    ref = await top.spawn(Rich)
    await ref.tell(Boom())
    await trio.sleep(10)
    assert log == ["started", "child+", "task", "timer"]


async def test_stop_ends_the_actor_as_failed_and_runs_its_stop_hook(
    world: World,
) -> None:
    """S0-7 stop (permanent), FAIL-6: the rest of its messages are dead letters."""
    log: list[str] = []
    top = await supervised(world, {ValueError: "stop"})
    ref = await top.spawn(Worker, log, "kid", name="kid")
    failed = ref.ask_nowait(Boom())
    asked = ref.ask_nowait(Get())
    with pytest.raises(ActorFailed):
        await failed
    with pytest.raises(ActorStopped) as caught:
        await asked
    exit = await ref.wait_stopped()
    assert exit.kind == "failed"
    assert not exit.is_normal
    assert exit.error is not None
    assert str(exit.error) == "boom"
    assert caught.value.reason == exit
    assert log == ["kid+", "kid-"]
    assert [letter.reason for letter in world.dead(Get)] == ["stopped"]
    assert top.which_children() == {"kid": None}


async def test_escalate_fails_the_parent_with_the_original_exception(
    world: World,
) -> None:
    """S0-7 escalate (to the supervisor's supervisor), FAIL-8."""
    log: list[str] = []
    seen: list[Exception] = []

    def decide(error: Exception) -> Directive:
        seen.append(error)
        return "restart"

    top = await supervised(world, decide)
    rules = Supervision(directives={ValueError: "escalate"})
    await top.spawn(Parent, log, "ab", name="p", supervision=rules)
    log.clear()
    error = ValueError("original")
    await found(world, "/top/p/a").tell(Boom(error))
    await world.settled()
    assert log == ["a-", "b-", "parent~", "a+", "b+"]
    assert len(seen) == 1
    assert seen[0] is error
    assert "escalated by /top/p/a" in error.__notes__


def test_escalation_passes_every_level_and_leaves_the_block_as_a_group() -> None:
    """FAIL-8: no level wraps the exception, each one that it passes is named."""
    error = ValueError("deep")

    async def main() -> None:
        rules = Supervision(directives={ValueError: "escalate"})
        async with open_system(supervision=rules) as system:
            outer = await system.spawn_supervisor(name="outer", supervision=rules)
            inner = await outer.spawn_supervisor(name="inner", supervision=rules)
            kid = await inner.spawn(Counter, name="kid")
            await kid.tell(Boom(error))
            await trio.sleep_forever()

    (failure,) = failures_of(main)
    assert failure is error
    notes = [note for note in error.__notes__ if note.startswith("escalated")]
    assert notes == [
        f"escalated by {path}"
        for path in ("/outer/inner/kid", "/outer/inner", "/outer")
    ]


async def test_supervisors_above_match_the_type_of_the_original(world: World) -> None:
    """Design, the table: "supervisors above match its type"."""
    top = await supervised(world, {ValueError: "stop"})
    rules = Supervision(directives={ValueError: "escalate"})
    log: list[str] = []
    parent = await top.spawn(Parent, log, "ab", name="p", supervision=rules)
    sibling = await top.spawn(Counter, name="sibling")
    await found(world, "/top/p/a").tell(Boom())
    exit = await parent.wait_stopped()
    assert exit.kind == "failed"
    assert isinstance(exit.error, ValueError)
    assert await sibling.ask(Add()) == 1


async def test_escalation_interrupts_the_handler_of_the_parent(world: World) -> None:
    """FAIL-8: the parent fails at once; who asked it is told, with the cause."""

    class Patient(Parent, Actor[Note | Get]):
        @handler
        async def get(self, message: Get) -> int:
            await found(world, "/top/p/a").tell(Boom())
            await trio.sleep_forever()
            return 1

    top = await supervised(world, {})
    rules = Supervision(directives={ValueError: "escalate"})
    log: list[str] = []
    ref: ActorRef[Any] = await top.spawn(Patient, log, "a", name="p", supervision=rules)
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Get())
    assert isinstance(caught.value.__cause__, ValueError)


async def test_escalation_while_siblings_handle_lets_them_finish(world: World) -> None:
    """SUP-8: the siblings stop in order, within their own shutdown time."""
    log: list[str] = []
    top = await supervised(world, {})
    rules = Supervision(directives={ValueError: "escalate"})
    await top.spawn(Parent, log, name="p", supervision=rules)
    slow = found(world, "/top/p/c").ask_nowait(Sleep(3))
    await trio.sleep(1)
    log.clear()
    await found(world, "/top/p/a").tell(Boom())
    assert await slow == 0
    assert trio.current_time() == 3
    await world.settled()
    assert log == ["a-", "c-", "b-", "parent~", "a+", "b+", "c+"]


async def test_a_parent_that_is_resumed_after_an_escalation_lives_on_without_the_child(
    world: World,
) -> None:
    """Design 3: "lives on without that child"; the siblings are untouched."""
    log: list[str] = []
    top = await supervised(world, {ValueError: "resume"})
    rules = Supervision(directives={ValueError: "escalate"})
    parent = await top.spawn(Parent, log, "ab", name="p", supervision=rules)
    sibling = found(world, "/top/p/b")
    await sibling.tell(Add(3))
    await found(world, "/top/p/a").tell(Boom())
    await world.settled()
    assert log == ["a+", "b+", "a-"]
    assert world.find("/top/p/a") is None
    assert await sibling.ask(Get()) == 3
    await parent.tell(Note("still here"))
    await world.settled()
    assert log[-1] == "still here"


async def test_a_resumed_supervisor_can_start_the_escalated_child_again(
    world: World,
) -> None:
    """Table, escalate: it ends as failed; a supervisor keeps the spec."""
    top = await supervised(world, {ValueError: "resume"})
    rules = Supervision(directives={ValueError: "escalate"})
    inner = await top.spawn_supervisor(name="inner", supervision=rules)
    await (await inner.spawn(Counter, name="kid")).tell(Boom())
    await world.settled()
    assert inner.which_children() == {"kid": None}
    await inner.restart_child("kid")
    assert await found(world, "/top/inner/kid").ask(Add()) == 1


# --- Which directive ----------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (LookupError("itself"), "stop"),
        (KeyError("nearer"), "resume"),
        (IndexError("only its base"), "stop"),
        (OSError("not there"), "restart"),
    ],
)
async def test_the_nearest_base_class_decides(
    world: World, error: Exception, what: str
) -> None:
    """SUP-12: by MRO, whatever the order of the table; restart by default."""
    log: list[str] = []
    top = await supervised(
        world, {Exception: "restart", LookupError: "stop", KeyError: "resume"}
    )
    ref = await top.spawn(Worker, log, "k")
    await ref.tell(Boom(error))
    await world.settled()
    shown = {"stop": ["k+", "k-"], "resume": ["k+"], "restart": ["k+", "k~", "k+"]}
    assert log == shown[what]


@attrs.frozen
class Both:
    errors: tuple[Exception, ...]


class Wide(Actor[Both | Add]):
    """Fails in several tasks of one handler."""

    def __init__(self) -> None:
        self.total = 0

    @handler
    async def both(self, message: Both) -> None:
        async def fail(error: Exception) -> None:
            raise error

        async with trio.open_nursery() as nursery:
            for error in message.errors:
                nursery.start_soon(fail, error)

    @handler
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total


@pytest.mark.parametrize(
    ("errors", "what"),
    [
        ((KeyError("k"), OSError("o")), "stop"),
        ((KeyError("k"),), "resume"),
        ((KeyError("k"), ValueError("v")), "restart"),
        ((OSError("o"), ValueError("v")), "stop"),
    ],
)
async def test_the_most_severe_leaf_of_a_group_decides(
    world: World, errors: tuple[Exception, ...], what: str
) -> None:
    """TRIO-6: escalate, stop, restart, resume; through the group of a nursery."""
    top = await supervised(world, {KeyError: "resume", OSError: "stop"})
    ref = await top.spawn(Wide)
    await ref.tell(Add(4))
    await ref.tell(Both(errors))
    await world.settled()
    if what == "stop":
        exit = await ref.wait_stopped()
        assert exit.error is not None
        assert exit.error not in errors
        assert set(leaves(exit.error)) == set(errors)
    else:
        assert await ref.ask(Add(0)) == (4 if what == "resume" else 0)


def test_the_worst_leaf_escalates_the_whole_group() -> None:
    """TRIO-6, FAIL-8: the parent fails with the group itself."""
    errors = (KeyError("k"), OSError("o"))

    async def main() -> None:
        rules = Supervision(directives={OSError: "escalate", KeyError: "stop"})
        async with open_system(supervision=rules) as system:
            ref = await system.spawn(Wide)
            await ref.tell(Both(errors))
            await trio.sleep_forever()

    (group,) = failures_of(main)
    assert group not in errors
    assert set(leaves(group)) == set(errors)


async def test_a_function_decides_by_the_exception_itself(world: World) -> None:
    """SUP-12: a decider, asked once for each failure."""
    asked: list[str] = []

    def decide(error: Exception) -> Directive:
        asked.append(str(error))
        return "resume" if "minor" in str(error) else "stop"

    top = await supervised(world, decide)
    ref = await top.spawn(Counter)
    await ref.tell(Add(3))
    await ref.tell(Boom(ValueError("minor")))
    assert await ref.ask(Get()) == 3
    await ref.tell(Boom(ValueError("major")))
    assert (await ref.wait_stopped()).kind == "failed"
    assert asked == ["minor", "major"]


@pytest.mark.parametrize("answer", ["raises", "restrat", None])
async def test_a_failure_of_the_deciding_function_is_the_supervisors(
    world: World, answer: Any
) -> None:
    """Design 3: it fails the supervising actor; the child's failure is its context."""
    seen: list[Exception] = []

    def decide(error: Exception) -> Directive:
        if answer == "raises":
            raise LookupError("no idea")
        return answer  # type: ignore[no-any-return]

    def judge(error: Exception) -> Directive:
        seen.append(error)
        return "stop"

    top = await supervised(world, judge)
    inner = await top.spawn_supervisor(supervision=Supervision(directives=decide))
    kid = await inner.spawn(Counter, name="kid")
    error = ValueError("boom")
    await kid.tell(Boom(error))
    exit = await inner.wait_stopped()
    assert exit.kind == "failed"
    (failure,) = seen
    assert exit.error is failure
    assert isinstance(failure, LookupError if answer == "raises" else ValueError)
    assert failure is not error
    assert failure.__context__ is error
    assert (await kid.wait_stopped()).error is error


# --- Where resume is not possible ---------------------------------------------


async def test_resume_of_a_function_means_restart_with_a_note(world: World) -> None:
    """FAIL-2: there is no instance to go on with; the crash report says so."""
    errors: list[Exception] = []

    def decide(error: Exception) -> Directive:
        errors.append(error)
        return "resume"

    async def serve(inbox: Inbox[Add]) -> None:
        total = 0
        async for message in inbox:
            if message.amount < 0:
                raise ValueError("negative")
            total += message.amount
            inbox.reply(message, total)

    top = await supervised(world, decide)
    ref = await top.spawn(serve)
    assert await ref.ask(Add(2)) == 2
    await ref.tell(Add(-1))
    assert await ref.ask(Add(1)) == 1
    assert any("resume" in note for note in errors[0].__notes__)


async def test_resume_after_a_failed_start_means_restart_with_a_note(
    world: World,
) -> None:
    """FAIL-2: never resume a half-built actor."""
    errors: list[Exception] = []

    def decide(error: Exception) -> Directive:
        errors.append(error)
        return "resume"

    class Fragile(Counter):
        starts = 0

        async def started(self) -> None:
            type(self).starts += 1
            if type(self).starts == 2:
                raise OSError("not yet")

    top = await supervised(world, decide)
    ref = await top.spawn(Fragile)
    ref.restart()
    assert await ref.ask(Get()) == 0
    assert Fragile.starts == 3
    assert [type(error) for error in errors] == [OSError]
    assert any("resume" in note for note in errors[0].__notes__)


# --- The table ----------------------------------------------------------------


class Leaver(Counter, Actor[Add | Get | Boom | Note]):
    """Ends by itself when it gets a note."""

    @handler
    def note(self, message: Note) -> None:
        self.context.stop(message.text)


HOW = {
    "returned": "returned",
    "stopped": "halted",
    "drained": "halted",
    "killed": "halted",
    "terminated": "halted",
    "failed: restart": "restart",
    "failed: stop": "stop",
    "failed: resume": "resume",
    "failed: escalate": "escalate",
}
FAILURES: Mapping[str, type[Exception]] = {
    "failed: restart": RuntimeError,
    "failed: stop": KeyError,
    "failed: resume": ValueError,
    "failed: escalate": OSError,
}


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("how", HOW)
async def test_the_table_of_answers_holds(world: World, how: str, restart: Any) -> None:
    """SUP-3, design 3: each line and column; the last line is in test_supervisor."""
    outer = await world.spawn_supervisor(
        supervision=Supervision(directives={OSError: "resume"})
    )
    table: dict[type[Exception], Directive] = {
        RuntimeError: "restart",
        KeyError: "stop",
        ValueError: "resume",
        OSError: "escalate",
    }
    rules = Supervision(directives=table, max_restarts=1)
    top = await outer.spawn_supervisor(name="top", supervision=rules)
    ref: ActorRef[Any] = await top.spawn(Leaver, name="kid", restart=restart)
    await ref.tell(Add(7))
    await ref.ask(Get())
    if how in FAILURES:
        await ref.tell(Boom(FAILURES[how]("as told")))
    elif how == "terminated":
        await top.terminate_child("kid")
    elif how == "returned":
        await ref.tell(Note("done"))
    else:
        {"stopped": ref.stop, "drained": ref.drain, "killed": ref.kill}[how]()
    await world.settled()

    answer = ANSWERS[HOW[how]][RESTARTS.index(restart)]  # type: ignore[index]
    shown = top.which_children()
    if answer in ("restart", "resume"):
        assert shown == {"kid": ref}
        assert await ref.ask(Get()) == (7 if answer == "resume" else 0)
        # Does it count? One restart is allowed, a second one gives up.
        await ref.tell(Boom(RuntimeError("once more")))
        await world.settled()
        lives = answer == "resume" and restart != "temporary"
        assert top.which_children() == ({"kid": ref} if lives else {})
        return
    exit = await ref.wait_stopped()
    assert exit.is_normal == (HOW[how] in ("returned", "halted") and how != "killed")
    forgotten = answer == "forget" or restart == "temporary"
    assert shown == ({} if forgotten else {"kid": None})


async def test_escalation_at_a_limit_of_none_still_ends_the_child(world: World) -> None:
    """Table: ``temporary`` and ``escalate`` does not hide the failure."""
    top = await supervised(world, {ValueError: "stop"})
    rules = Supervision(directives={ValueError: "escalate"}, max_restarts=None)
    inner = await top.spawn_supervisor(supervision=rules)
    kid = await inner.spawn(Counter, restart="temporary")
    await kid.tell(Boom())
    assert (await inner.wait_stopped()).kind == "failed"


async def test_a_temporary_actor_that_fails_is_over_and_its_parent_lives(
    world: World,
) -> None:
    """SUP-3: never restarted; its failure is logged and in its exit (U1)."""
    top = await supervised(world, {}, max_restarts=0)
    ref = await top.spawn(Counter, restart="temporary")
    await ref.tell(Boom())
    exit = await ref.wait_stopped()
    assert exit.kind == "failed"
    assert isinstance(exit.error, ValueError)
    assert await (await top.spawn(Counter)).ask(Add()) == 1


async def test_every_death_has_a_logged_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """U1, FAIL-10: a crash after a tell is visible, with its traceback and notes."""
    ref = await world.spawn(Worker, name="kid")
    await ref.tell(Boom())
    await world.settled()
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.getMessage() == "/kid failed: ValueError('boom')"
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert error is not None
    assert "actor: /kid, incarnation 1" in error.__notes__[0]
    assert "while handling Boom" in error.__notes__[0]
