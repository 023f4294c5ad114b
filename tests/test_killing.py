"""Kill and restart; ends in hooks, in a pause, and while somebody waits for room."""

import sys
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.kit import (
    Add,
    Boom,
    Counter,
    Do,
    Doer,
    Go,
    Note,
    Sleep,
    Worker,
    fail_late,
    grown,
    open_system,
    reasons,
    run_main,
)
from trio_actors import (
    Actor,
    ActorError,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Backoff,
    Exit,
    Inbox,
    Mailbox,
    Request,
    Supervision,
    handler,
)
from trio_actors._halts import Halt
from trio_actors._runtime import Resource
from trio_actors.testing import World

# --- Kill -------------------------------------------------------------------


async def test_kill_cancels_the_turn_and_runs_no_stop_hook(world: World) -> None:
    """The verbs: cancelled now, ActorFailed; no ``stopped()``."""
    log: list[str] = []
    ref = await world.spawn(Doer, log)
    ref.tell_nowait(Go())
    queued = ref.ask_nowait(Do(lambda _: None))
    await trio.sleep(1)
    ref.kill("enough")
    with pytest.raises(ActorStopped):
        await queued
    assert await ref.wait_stopped() == Exit("killed", None, "enough")
    assert log == ["going", "cancelled"]
    assert reasons(world) == ["stopped"]
    assert world.statistics()["failed"] == 1


async def test_kill_cancels_a_stop_hook_that_runs(world: World) -> None:
    """The verbs: a running ``stopped()`` is cancelled."""
    log: list[str] = []

    class Clinging(Counter):
        async def stopped(self, reason: Exit) -> None:
            log.append("stopping")
            await trio.sleep(4)
            log.append("never")

    ref = await world.spawn(Clinging)
    ref.stop()
    await trio.sleep(1)
    ref.kill()
    assert (await ref.wait_stopped()).kind == "killed"
    assert trio.current_time() == 1
    assert log == ["stopping"]


async def test_kill_of_a_parent_kills_all_below_at_once(world: World) -> None:
    """No hook of any child runs, and the parent ends last."""
    log: list[str] = []

    class Parent(Counter):
        async def started(self) -> None:
            for name in "ab":
                child = await self.context.spawn(Worker, log, name)
                child.tell_nowait(Sleep(100))

    ref = await world.spawn(Parent)
    await trio.sleep(1)
    ref.kill()
    assert (await ref.wait_stopped()).kind == "killed"
    assert log == ["a+", "b+"]
    assert trio.current_time() == 1


@pytest.mark.parametrize("verb", ["kill", "stop"])
def test_a_tree_deeper_than_the_stack_of_python_ends(verb: str) -> None:
    """SUP-8, whatever its depth: kill went down by recursion, and then hung."""
    depth = sys.getrecursionlimit() + 200

    async def main() -> None:
        async with open_system() as system:
            ends: list[str] = []
            refs = await grown(system, depth)
            async with trio.open_nursery() as nursery:
                for ref in refs:
                    nursery.start_soon(note_end, ref, ends)
                await trio.testing.wait_all_tasks_blocked()
                getattr(refs[0], verb)()
            kind = {"kill": "killed", "stop": "shutdown"}[verb]
            assert ends == [f"{ref.path} {kind}" for ref in reversed(refs)]

    async def note_end(ref: ActorRef[Any], ends: list[str]) -> None:
        exit = await ref.wait_stopped()
        ends.append(f"{ref.path} {exit.kind}")

    run_main(main)


async def test_a_kill_reaches_all_below_before_it_returns(world: World) -> None:
    """The verbs: at once, at all levels, from the top down, each written down."""
    touched: list[str] = []
    refs = await grown(world, 5)
    touch = world._runtime.touch

    def note(resource: Resource, owner: str, *, write: bool = True) -> None:
        touch(resource, owner, write=write)
        touched.append(f"{resource} {owner}")

    world._runtime.touch = note  # type: ignore[method-assign]
    refs[0]._cell.request(Halt.KILL)
    lives = [one for one in touched if one.startswith("life ")]
    assert lives == [f"life {ref.path}" for ref in refs]
    assert {ref._cell.halt for ref in refs} == {Halt.KILL}


async def test_a_failed_handler_of_a_killed_actor_is_still_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure is never lost behind a ``Cancelled``."""

    class Tidy(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await fail_late(ValueError("in the cleanup"))

    ref = await world.spawn(Tidy)
    ref.tell_nowait(Note())
    await trio.sleep(1)
    ref.kill()
    exit = await ref.wait_stopped()
    assert isinstance(exit.error, ValueError)
    assert "in the cleanup" in caplog.text


# --- Restart by hand --------------------------------------------------------


async def test_restart_cancels_the_turn_and_keeps_the_queue(world: World) -> None:
    """The verbs: ``restarting()``, the queue kept, not counted."""
    log: list[str] = []
    ref = await world.spawn(Doer, log)
    for _ in range(10):  # more often than max_restarts
        ref.tell_nowait(Go())
        ref.tell_nowait(Note("kept"))
        await trio.sleep(0.1)
        ref.restart()
        await world.settled()
    turn = ["going", "cancelled", "restarting ActorError", "kept"]
    assert log == turn * 10
    assert world.snapshot().restarts == 10


async def test_restart_tells_the_asker_of_the_turn(world: World) -> None:
    """``ActorFailed`` that it was begun."""
    ref = await world.spawn(Worker)
    slow = ref.ask_nowait(Sleep(9))
    await trio.sleep(1)
    ref.restart()
    with pytest.raises(ActorFailed, match="was restarted while it handled Sleep"):
        await slow


async def test_restarting_is_told_who_wanted_it_and_why(world: World) -> None:
    """``restarting(failure)`` after a restart by hand gets an ActorError."""
    failures: list[Exception] = []

    class Curious(Counter):
        async def restarting(self, failure: Exception) -> None:
            failures.append(failure)

    ref = await world.spawn(Curious, name="curious")
    ref.restart("new keys")
    await world.settled()
    assert type(failures[0]) is ActorError
    assert str(failures[0]) == "/curious was restarted by hand (new keys)"


async def test_restart_of_an_idle_function_calls_it_again(world: World) -> None:
    """The verbs: a function sees ``Cancelled``, then is called again."""
    log: list[str] = []

    async def listen(inbox: Inbox[Note]) -> None:
        log.append(f"called {inbox.incarnation}")
        try:
            async for _ in inbox:
                pass
        except trio.Cancelled:
            log.append("cancelled")
            raise

    ref = await world.spawn(listen)
    await world.settled()
    ref.restart()
    await world.settled()
    assert log == ["called 1", "cancelled", "called 2"]


async def test_a_restart_that_is_asked_for_before_the_start_is_done(
    world: World,
) -> None:
    """In ``started()`` too, the incarnation is replaced."""
    log: list[int] = []

    class Slow(Counter):
        async def started(self) -> None:
            log.append(self.context.incarnation)
            await trio.sleep(1)

    ref = world.spawn_nowait(Slow)
    await trio.sleep(0.5)
    ref.restart()
    await world.settled()
    assert log == [1, 2]
    assert await ref.ask(Add()) == 1
    assert trio.current_time() == 1.5


# --- In the hooks -----------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("stop", "shutdown"), ("drain", "shutdown"), ("kill", "killed")],
)
async def test_a_verb_while_started_runs(world: World, verb: str, kind: str) -> None:
    """A start that is not done: stop lets it finish, kill cancels it."""
    log: list[str] = []

    class Slow(Worker):
        async def started(self) -> None:
            await trio.sleep(1)
            log.append("started")

        async def stopped(self, reason: Exit) -> None:
            log.append("stopped")

    ref = world.spawn_nowait(Slow)
    await trio.sleep(0.5)
    getattr(ref, verb)()
    assert (await ref.wait_stopped()).kind == kind
    assert log == ([] if verb == "kill" else ["started", "stopped"])
    assert trio.current_time() == (0.5 if verb == "kill" else 1)


async def test_an_actor_that_stops_itself_in_started(world: World) -> None:
    """``context.stop()`` in ``started()``: it starts, and then ends normally."""
    log: list[str] = []

    class Brief(Worker):
        async def started(self) -> None:
            log.append("started")
            self.context.stop("nothing to do")

        async def stopped(self, reason: Exit) -> None:
            log.append("stopped")

    ref = await world.spawn(Brief)
    assert await ref.wait_stopped() == Exit("normal", None, "nothing to do")
    assert log == ["started", "stopped"]


@pytest.mark.parametrize("verb", ["stop", "drain", "restart"])
async def test_a_softer_verb_while_stopped_runs_changes_nothing(
    world: World, verb: str
) -> None:
    """Stop is final."""
    log: list[str] = []

    class Clinging(Counter):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(1)
            log.append(reason.kind)

    ref = await world.spawn(Clinging)
    ref.stop()
    await trio.sleep(0.5)
    getattr(ref, verb)()
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert log == ["shutdown"]
    assert trio.current_time() == 1


async def test_stopped_is_shielded_and_bounded_by_shutdown(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """LIFE-6: the stop hook runs shielded, under its own time."""

    class Endless(Counter):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep_forever()

    ref = await world.spawn(Endless, name="endless", shutdown=2)
    ref.stop()
    exit = await ref.wait_stopped()
    assert trio.current_time() == 2
    assert exit.kind in ("shutdown", "killed")
    assert "/endless" in caplog.text
    assert "2 seconds" in caplog.text


async def test_an_exception_in_stopped_makes_the_end_a_failure(world: World) -> None:
    """LIFE-6: the exception is logged, and reported in the exit reason."""

    class Clumsy(Counter):
        async def stopped(self, reason: Exit) -> None:
            raise LookupError("in the hook")

    ref = await world.spawn(Clumsy)
    ref.stop()
    exit = await ref.wait_stopped()
    assert exit.kind == "failed"
    assert isinstance(exit.error, LookupError)
    assert any("/clumsy" in note for note in exit.error.__notes__)


async def test_an_exception_in_stopped_never_hides_the_first_failure(
    world: World,
) -> None:
    """LIFE-6: it never masks the original one."""

    class Clumsy(Counter):
        async def stopped(self, reason: Exit) -> None:
            assert isinstance(reason.error, ValueError)
            raise LookupError("in the hook")

    ref = await world.spawn(Clumsy, restart="temporary")
    ref.tell_nowait(Boom())
    exit = await ref.wait_stopped()
    assert isinstance(exit.error, ValueError)


async def test_stopped_gets_the_reason(world: World) -> None:
    """``stopped(reason)`` runs for every end but a kill."""
    reasons: list[Exit] = []

    class Curious(Counter):
        async def stopped(self, reason: Exit) -> None:
            reasons.append(reason)

    first = await world.spawn(Curious)
    second = await world.spawn(Curious, restart="temporary")
    first.stop("bye")
    await first.wait_stopped()
    second.tell_nowait(Boom())
    ended = await second.wait_stopped()
    assert reasons == [Exit("shutdown", None, "bye"), ended]


# --- Backoff ----------------------------------------------------------------


PATIENT = Supervision(backoff=Backoff(10, 10, jitter=0))


class Patient(Actor[Note]):
    """Supervises with a long pause before a restart."""

    supervision = PATIENT

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def started(self) -> None:
        await self.context.spawn(Worker, self.log, "w", name="w")

    @handler
    def note(self, message: Note) -> None:
        pass


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("stop", "shutdown"), ("drain", "shutdown"), ("kill", "killed")],
)
async def test_a_verb_in_a_backoff(world: World, verb: str, kind: str) -> None:
    """FAIL-7: in the pause there is no instance; the end does not wait for one.

    Drain handles what is queued, and so waits for the restart.
    """
    log: list[str] = []
    await world.spawn(Patient, log, name="p")
    ref = world.find("/p/w")
    assert ref is not None
    ref.tell_nowait(Boom())
    await trio.sleep(1)
    assert world.snapshot().children[0].children[0].state == "backoff"
    ref.tell_nowait(Note("queued"))
    getattr(ref, verb)()
    assert (await ref.wait_stopped()).kind == kind
    if verb == "drain":
        assert log == ["w+", "w~", "w+", "queued", "w-"]
        assert trio.current_time() == 10
    else:
        assert log == ["w+", "w~"]
        assert trio.current_time() == 1
        assert reasons(world) == ["stopped"]


async def test_a_restart_by_hand_ends_the_backoff(world: World) -> None:
    """``ref.restart()`` in the pause: now."""
    log: list[str] = []
    await world.spawn(Patient, log, name="p")
    ref = world.find("/p/w")
    assert ref is not None
    ref.tell_nowait(Boom())
    await trio.sleep(1)
    ref.tell_nowait(Note("queued"))
    ref.restart()
    await world.settled()
    assert log == ["w+", "w~", "w+", "queued"]
    assert trio.current_time() == 1


# --- Blocked in another's mailbox -------------------------------------------


@attrs.frozen
class Push(Request[int]):
    to: ActorRef[Note]


class Pusher(Actor[Push]):
    """Sends more than there is room for."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    @handler
    async def push(self, message: Push) -> int:
        for _ in range(3):
            await message.to.tell(Note())
        self.log.append("pushed")
        return 3


@pytest.mark.parametrize(
    ("verb", "kind", "at"),
    [("stop", "killed", 3), ("drain", None, None), ("kill", "killed", 1)],
)
async def test_a_verb_to_an_actor_that_waits_for_room(
    world: World, verb: str, kind: str | None, at: float | None
) -> None:
    """Stop waits for the turn up to ``shutdown``, drain for as long as it takes."""
    log: list[str] = []
    full = await world.spawn(Worker, mailbox=Mailbox(1))
    full.tell_nowait(Sleep(100))
    pusher = await world.spawn(Pusher, log, shutdown=2)
    pending = pusher.ask_nowait(Push(full))
    await trio.sleep(1)
    getattr(pusher, verb)()
    if kind is None:
        assert await pending == 3
        assert (await pusher.wait_stopped()).kind == "shutdown"
        assert trio.current_time() == 100
        assert log == ["pushed"]
    else:
        with pytest.raises(ActorFailed):
            await pending
        assert (await pusher.wait_stopped()).kind == kind
        assert trio.current_time() == at
        assert log == []
        assert full._cell.box.count == 1  # what waited outside was not sent
    full.kill()
    await full.wait_stopped()
    world.dead()


@pytest.mark.parametrize("verb", ["stop", "drain", "kill"])
async def test_a_sender_that_waits_for_room_is_let_go_when_the_receiver_ends(
    world: World, verb: str
) -> None:
    """TRIO-4: blocked senders get no error: their message is a dead letter."""
    log: list[str] = []
    full = await world.spawn(Worker, mailbox=Mailbox(1), shutdown=50)
    slow = full.ask_nowait(Sleep(20))
    await trio.sleep(1)
    pusher = await world.spawn(Pusher, log)
    pending = pusher.ask_nowait(Push(full))
    await trio.sleep(1)
    assert full._cell.box.count == 1
    getattr(full, verb)()
    assert await pending == 3
    assert trio.current_time() == 2
    assert log == ["pushed"]
    if verb == "kill":
        with pytest.raises(ActorFailed):
            await slow
    else:
        assert await slow == 0
    await full.wait_stopped()
    assert reasons(world) == ["stopped"] * (2 if verb == "drain" else 3)


async def test_a_sender_outside_that_waits_in_a_burst_is_let_go_too(
    world: World,
) -> None:
    """``tell_all()`` waits for room for several; all become dead letters."""
    full = await world.spawn(Worker, mailbox=Mailbox(1))
    full.tell_nowait(Sleep(20))
    await trio.sleep(1)
    world.client(full.tell_all, [Note()] * 40)
    await trio.sleep(1)
    full.kill()
    await full.wait_stopped()
    await world.settled()
    assert reasons(world) == ["stopped"] * 40
