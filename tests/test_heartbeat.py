"""Who hangs is restarted, and nobody else (S3-6 and its defects (a) to (d))."""

from typing import Any

import pytest
import trio

from tests.kit import Add, Boom, Counter, Get, Note, Sleep, Worker, found
from trio_actors import (
    Actor,
    ActorError,
    ActorFailed,
    Backoff,
    Heartbeat,
    Inbox,
    Mailbox,
    StartFailed,
    Supervision,
    handler,
)
from trio_actors.testing import World

HEART = Heartbeat(every=0.2, timeout=0.5)


async def test_a_hung_handler_is_cancelled_and_the_actor_restarted(
    world: World,
) -> None:
    """S3-6: silent for 500 ms; requests sent meanwhile queue and are served after."""
    failures: list[Exception] = []

    class Told(Worker):
        async def restarting(self, failure: Exception) -> None:
            failures.append(failure)

    ref = await world.spawn(Told, name="kid", heartbeat=HEART)
    hung = ref.ask_nowait(Sleep(100))
    queued = ref.ask_nowait(Add())
    with pytest.raises(ActorFailed):
        await hung
    assert trio.current_time() == pytest.approx(0.6)
    assert await queued == 1
    (failure,) = failures
    assert isinstance(failure, ActorError)
    assert str(failure).startswith("/kid was silent for 0.6 s while handling Sleep")
    assert "limit 0.5 s" in str(failure)
    assert world.snapshot().children[0].restarts == 1


async def test_an_idle_actor_is_alive(world: World) -> None:
    """S3-6: even when idle; for as long as you like."""
    ref = await world.spawn(Worker, heartbeat=HEART)
    await trio.sleep(100)
    assert await ref.ask(Add()) == 1
    assert world.snapshot().children[0].restarts == 0


async def test_a_busy_actor_is_alive(world: World) -> None:
    """Defect (a): a message every 100 ms, and no moment of rest, is no silence."""
    ref = await world.spawn(Worker, heartbeat=HEART)
    for _ in range(50):
        ref.tell_nowait(Sleep(0.1))
    assert await ref.ask(Add()) == 1
    assert trio.current_time() == pytest.approx(5)


async def test_all_that_hang_at_once_are_restarted(world: World) -> None:
    """Defect (b): the checker lives when everybody is dead."""
    kids = [await world.spawn(Worker, heartbeat=HEART) for _ in range(3)]
    for kid in kids:
        await kid.tell(Sleep(100))
    assert [await kid.ask(Add()) for kid in kids] == [1, 1, 1]
    assert trio.current_time() == pytest.approx(0.6)


async def test_who_hangs_in_its_start_is_seen(world: World) -> None:
    """Defect (c): it is watched from its spawn on."""

    class Hangs(Counter):
        async def started(self) -> None:
            if self.context.incarnation < 3:
                await trio.sleep_forever()

    ref = world.spawn_nowait(Hangs, heartbeat=HEART)
    assert await ref.ask(Add()) == 1
    assert trio.current_time() == pytest.approx(1.2)
    with pytest.raises(StartFailed) as caught:
        await world.spawn(Hangs, heartbeat=HEART)
    assert "silent for 0.6 s while starting" in str(caught.value.__cause__)


async def test_a_full_mailbox_silences_nobody(world: World) -> None:
    """Defect (d): neither the beat nor the restart is a message."""
    ref = await world.spawn(Worker, heartbeat=HEART, mailbox=Mailbox(1), name="full")
    await ref.tell(Sleep(100))
    await trio.sleep(0.1)
    await ref.tell(Note("fills it"))
    world.client(ref.tell, Note("waits for room"))
    await trio.sleep(0.1)
    assert await ref.ask(Add()) == 1
    assert trio.current_time() < 1


async def test_who_says_that_it_is_not_hung_is_not(world: World) -> None:
    """``context.heartbeat()`` in the middle of a long handler."""

    class Long(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            for _ in range(20):
                await trio.sleep(0.4)
                self.context.heartbeat()
            await trio.sleep_forever()
            return 1

    ref = await world.spawn(Long, heartbeat=HEART)
    with pytest.raises(ActorFailed):
        await ref.ask(Get())
    assert 8.5 < trio.current_time() < 8.9


async def test_a_hang_counts_as_a_restart_whatever_the_directives_say(
    world: World,
) -> None:
    """Design 2, the verbs: hung counted. There is nothing to resume."""
    rules = Supervision(directives={ActorError: "resume"}, max_restarts=1)
    top = await world.spawn_supervisor(supervision=rules, restart="temporary")
    ref = await top.spawn(Worker, heartbeat=HEART)
    for _ in range(2):
        with pytest.raises(ActorFailed):
            await ref.ask(Sleep(100))
    assert (await top.wait_stopped()).kind == "restart_limit"


async def test_a_failure_and_a_hang_at_the_same_moment_are_not_confused(
    world: World,
) -> None:
    """The directive of the failure is asked, since it came first."""

    class Both(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            self.context.start_soon(self.fails)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)  # the cancellation comes later than the hang
            return 1

        async def fails(self) -> None:
            raise OSError("first")

    rules = Supervision(directives={OSError: "stop"})
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Both, heartbeat=HEART)
    await ref.tell(Get())
    exit = await ref.wait_stopped()
    assert isinstance(exit.error, OSError)


async def test_a_hang_joins_the_strategy(world: World) -> None:
    """SUP-2: as any failure; the heart goes on beating afterwards."""
    log: list[str] = []
    top = await world.spawn_supervisor(supervision=Supervision("one_for_all"))
    await top.spawn(Worker, log, "a")
    ref = await top.spawn(Worker, log, "b", heartbeat=HEART)
    for _ in range(2):
        log.clear()
        with pytest.raises(ActorFailed):
            await ref.ask(Sleep(100))
        await ref.ask(Add())
        assert log == ["b~", "a~", "a+", "b+"]


async def test_a_function_that_does_not_come_back_for_messages_hangs(
    world: World,
) -> None:
    """The same for a function; it is alive while it waits in its inbox."""
    runs: list[int] = []

    async def serve(inbox: Inbox[Sleep]) -> None:
        runs.append(inbox.incarnation)
        async for message in inbox:
            await trio.sleep(message.seconds)
            inbox.reply(message, inbox.incarnation)

    ref = await world.spawn(serve, heartbeat=HEART)
    await trio.sleep(10)
    with pytest.raises(ActorFailed):
        await ref.ask(Sleep(1))
    assert await ref.ask(Sleep(0.3)) == 2
    assert runs == [1, 2]


async def test_time_in_backoff_and_in_hooks_is_no_silence(world: World) -> None:
    """Only a turn or a start can hang; hooks are bounded by ``shutdown``."""

    class Slow(Worker):
        async def restarting(self, failure: Exception) -> None:
            await trio.sleep(2)

    rules = Supervision(backoff=Backoff(3, 3, jitter=0), max_restarts=1)
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Slow, heartbeat=HEART)
    await ref.tell(Boom())
    assert await ref.ask(Add()) == 1
    assert trio.current_time() == 5


async def test_a_checker_that_is_late_starts_all_clocks_anew(world: World) -> None:
    """Design 3: what held it up held up everybody, also those who are healthy."""

    class Blocks(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            clock: Any = trio.lowlevel.current_clock()
            clock.time += 0.7  # as a time.sleep(0.7) would

    ref = await world.spawn(Worker, heartbeat=HEART)
    blocker = await world.spawn(Blocks)
    healthy = ref.ask_nowait(Sleep(0.9))
    await trio.sleep(0.1)
    await blocker.tell(Note())
    assert await healthy == 0
    assert world.snapshot().children[0].restarts == 0
    with pytest.raises(ActorFailed):  # a real hang is still seen
        await ref.ask(Sleep(100))


class Swallows(Actor[Note | Get]):
    """Swallows its cancellation, and ends later; then it can hang again."""

    @handler
    async def note(self, message: Note) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)

    @handler
    async def get(self, message: Get) -> int:
        if self.context.incarnation < 4:
            await trio.sleep_forever()
        return self.context.incarnation


async def test_who_swallows_its_cancellation_is_reported_once_as_stuck(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Design 3: it cannot be replaced, because no task is ever abandoned."""
    ref = await world.spawn(Swallows, name="kid", heartbeat=HEART)
    await ref.tell(Note("hang"))
    await trio.sleep(1.9)
    stuck = [one.getMessage() for one in caplog.records if "stuck" in one.msg]
    assert len(stuck) == 1
    assert stuck[0].startswith("/kid is stuck: it was told to end handling Note(")
    assert world.snapshot().children[0].restarts == 0
    await trio.sleep(0.2)
    assert world.snapshot().children[0].restarts == 1


async def test_who_was_stuck_once_is_watched_again_after_its_restart(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """S3-6: a hang of the next incarnation is a hang."""
    rules = Supervision(max_restarts=None)
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Swallows, heartbeat=HEART)
    for _ in range(2):
        await ref.tell(Note("hang"))
    with trio.fail_after(20):
        with pytest.raises(ActorFailed):
            await ref.ask(Get())
        assert await ref.ask(Get()) == 4
    stuck = [one for one in caplog.records if "stuck" in one.msg]
    assert len(stuck) == 2


async def test_the_heart_of_an_actor_that_has_stopped_is_silent(world: World) -> None:
    """No timer is left that beats for nobody."""
    ref = await world.spawn(Worker, name="kid", heartbeat=HEART)
    ref.stop()
    await ref.wait_stopped()
    again = await world.spawn(Worker, name="kid", heartbeat=HEART)
    await trio.sleep(1)
    assert found(world, "/kid") == again
    alarms = [one for one in world._runtime.alarms if one.key == "heartbeat"]
    assert len(alarms) == 1


async def test_reset_by_hand_and_hang_do_not_fire_twice(world: World) -> None:
    """S3-6: no double fire; after the reset it starts with a clean slate."""
    ref = await world.spawn(Worker, heartbeat=HEART)
    hung = ref.ask_nowait(Sleep(100))
    await trio.sleep(0.55)
    ref.restart()
    with pytest.raises(ActorFailed):
        await hung
    assert await ref.ask(Sleep(0.45)) == 0
    assert world.snapshot().children[0].restarts == 1
