"""open_actor_system: the ways out of its block, and what leaves it."""

import contextvars
import gc
import math
import weakref
from typing import Any

import pytest
import trio
import trio.testing

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
    failures_of,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    ActorRef,
    ActorStopped,
    ActorSystem,
    Backoff,
    DeadLetter,
    Exit,
    RestartLimit,
    ServiceKey,
    StartFailed,
    Subscription,
    Supervision,
    current_system,
    handler,
    open_actor_system,
)

ESCALATE = Supervision(directives={Exception: "escalate"})


# --- The name and the options -----------------------------------------------


def test_a_wrong_name_or_time_is_refused_before_anything_starts() -> None:
    names: list[Any] = ["", "a/b", 3]
    for name in names:
        with pytest.raises(ValueError, match="no name for a system"):
            open_actor_system(name)
    for seconds in (-1, math.nan):
        with pytest.raises(ValueError, match="shutdown is seconds"):
            open_actor_system("demo", shutdown=seconds)


def test_a_system_says_what_it_is() -> None:
    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Counter)
            assert system.name == "demo"
            assert repr(system) == "<ActorSystem 'demo', 1 actors at the top>"

    run_main(main)


# --- Leaving the block normally ---------------------------------------------


def test_leaving_the_block_handles_what_is_queued() -> None:
    """SHUT-2: nobody's messages are dropped by a normal end (settle)."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Worker, log)
            for number in range(200):
                await ref.tell(Note(str(number)))
        assert system.statistics()["handled"] == 200

    run_main(main)
    assert log == ["+", *map(str, range(200)), "-"]


def test_entering_and_leaving_the_block_are_checkpoints() -> None:
    async def main() -> None:
        block = open_actor_system("demo")
        with trio.testing.assert_checkpoints():
            await block.__aenter__()
        with trio.testing.assert_checkpoints():
            await block.__aexit__(None, None, None)
        with trio.CancelScope() as scope:
            scope.cancel()
            async with open_actor_system("never"):
                raise AssertionError("not reached")

    run_main(main)


def test_doors_refuse_those_outside_and_admit_those_inside() -> None:
    """Leaving, step 1: dead letter ``shutdown``; asks fail."""
    log: list[str] = []

    class Talker(Actor[Note]):
        def __init__(self, to: ActorRef[Note]) -> None:
            self.to = to

        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(1)
            await self.to.tell(Note("from inside"))

    async def outside(ref: ActorRef[Note | Get]) -> None:
        await trio.sleep(0.5)
        await ref.tell(Note("from outside"))
        with pytest.raises(ActorStopped):
            await ref.ask(Get())
        with pytest.raises(ActorStopped):
            await current_system().spawn(Counter)

    async def main() -> None:
        async with trio.open_nursery() as nursery, open_system() as system:
            worker = await system.spawn(Worker, log)
            talker = await system.spawn(Talker, worker)
            await talker.tell(Note())
            context = contextvars.copy_context()
            context.run(nursery.start_soon, outside, worker)
            letters = system.dead_letters()
            nursery.start_soon(listen, letters)
            await trio.sleep(0.1)

    async def listen(letters: Subscription[DeadLetter]) -> None:
        with letters as stream:
            log.extend([letter.reason async for letter in stream])

    run_main(main)
    assert log == ["+", "from inside", "-", "shutdown", "shutdown"]


def test_timers_stop_when_the_block_is_left() -> None:
    """Leaving, step 1: or the tree would never settle."""
    log: list[str] = []

    class Ticking(Worker):
        async def started(self) -> None:
            self.context.send_every(0.5, Note("tick"))

    async def main() -> None:
        async with open_system(shutdown=100) as system:
            ref = await system.spawn(Ticking, log)
            await trio.sleep(1.2)
            ref.tell_nowait(Sleep(5))
        assert trio.current_time() == 6.2

    run_main(main)
    assert log == ["tick", "tick", "-"]


def test_failures_are_supervised_while_the_tree_settles() -> None:
    """Leaving, step 2: messages behind a crash are still handled."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Worker, log)
            await ref.tell(Boom())
            await ref.tell(Note("after the crash"))

    run_main(main)
    assert log == ["+", "~", "+", "after the crash", "-"]


def test_a_backoff_is_waited_for_while_the_tree_settles() -> None:
    """Leaving, step 2: until no mailbox holds a message and no turn runs."""
    log: list[str] = []
    pause = Supervision(backoff=Backoff(3, 3, jitter=0))

    async def main() -> None:
        async with open_system(shutdown=20, supervision=pause) as system:
            ref = await system.spawn(Worker, log)
            await ref.tell(Boom())
            await ref.tell(Note("after the pause"))
        assert trio.current_time() == 3

    run_main(main)
    assert log == ["+", "~", "+", "after the pause", "-"]


def test_settling_takes_at_most_half_of_shutdown() -> None:
    """Leaving, step 2; then (3) the ordered stop lets turns finish."""
    log: list[str] = []

    class Endless(Worker):
        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(0.25)
            await self.context.ref.tell(message)

    async def main() -> None:
        async with open_system(shutdown=10) as system:
            ref = await system.spawn(Endless, log)
            await ref.tell(Note())
        assert trio.current_time() == pytest.approx(5, abs=0.3)
        assert system.statistics()["dead_lettered"] == 1

    run_main(main)
    assert log == ["+", "-"]


def test_what_does_not_stop_in_time_is_killed_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Leaving, step 4; SHUT-1: report who had to be killed."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(shutdown=4) as system:
            await system.spawn(Worker, log, "good", name="good")
            bad = await system.spawn(Worker, log, "bad", name="bad", shutdown=1000)
            await bad.tell(Sleep(10_000))
            await trio.sleep(1)
        assert trio.current_time() == 5

    run_main(main)
    assert log == ["good+", "bad+"]
    assert "'demo' did not stop within its 4 seconds; killed:" in caplog.text
    assert "/bad (handling Sleep(seconds=10000))" in caplog.text


def test_each_actor_has_its_own_shutdown_within_that_of_the_tree() -> None:
    """Leaving, step 3: the slow one is killed, the rest still stop in order."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(shutdown=20) as system:
            await system.spawn(Worker, log, "a")
            slow = await system.spawn(Worker, log, "b", shutdown=2)
            await system.spawn(Worker, log, "c")
            await slow.tell(Sleep(10_000))
            await trio.sleep(1)
        assert trio.current_time() == 13  # 1, half of 20, and 2

    run_main(main)
    assert log == ["a+", "b+", "c+", "c-", "a-"]


def test_actors_stop_in_reverse_start_order_depth_first() -> None:
    """Leaving, step 3; SUP-8."""
    log: list[str] = []

    class Parent(Worker):
        async def started(self) -> None:
            await super().started()
            for child in "12":
                await self.context.spawn(Worker, self.log, self.name + child)

    async def main() -> None:
        async with open_system() as system:
            for name in "ab":
                await system.spawn(Parent, log, name)

    run_main(main)
    begun = ["a+", "a1+", "a2+", "b+", "b1+", "b2+"]
    assert log == [*begun, "b2-", "b1-", "b-", "a2-", "a1-", "a-"]


def test_system_stop_ends_the_block_at_once_and_in_order() -> None:
    """``system.stop()``: from inside of an actor, the body sees its end."""
    log: list[str] = []

    class Stopper(Worker):
        @handler
        async def note(self, message: Note) -> None:
            self.context.system.stop()
            self.context.system.stop()

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            ref = await system.spawn(Stopper, log, "b")
            await ref.tell(Note())
            await trio.sleep_forever()
        log.append("left")

    run_main(main)
    assert log == ["a+", "b+", "b-", "a-", "left"]


def test_a_body_that_goes_on_after_stop_finds_a_closed_system() -> None:
    """The body may clean up, shielded; spawns are refused, tells dead letters."""

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Counter)
            system.stop()
            with trio.CancelScope(shield=True):
                assert (await ref.wait_stopped()).kind == "shutdown"
                await ref.tell(Add())
                with pytest.raises(ActorStopped, match="the system is stopping"):
                    await system.spawn(Counter)
                with pytest.raises(ActorStopped):
                    system.spawn_nowait(Counter)

    run_main(main)


def test_significant_children_at_the_top_end_the_system() -> None:
    """SUP-9 at the top: auto-shutdown leaves the block."""
    rules = Supervision(auto_shutdown="any_significant")

    async def main() -> None:
        async with open_system(supervision=rules) as system:
            ref = await system.spawn(Brief, significant=True)
            await ref.tell(Note())
            await trio.sleep_forever()

    class Brief(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            self.context.stop()

    run_main(main)


def test_after_the_end_nothing_is_left() -> None:
    """No actor, no registry entry, no stream, no reference to an instance."""
    key = ServiceKey[Add]("counter")
    instances: list[weakref.ref[Counter]] = []

    class Registered(Counter):
        async def started(self) -> None:
            self.context.register(key)
            instances.append(weakref.ref(self))

    async def main() -> ActorSystem:
        async with open_system() as system:
            ref = await system.spawn(Registered, name="x")
            assert system.find(key) == ref == system.find("/x")
            ref.restart()
        assert system.find(key) is None
        assert system.find("/x") is None
        assert system.find_all(key) == ()
        assert system.snapshot().children == ()
        assert system.snapshot().state == "stopped"
        return system

    system = run_main(main)
    gc.collect()
    assert system.name == "demo"
    assert [instance() for instance in instances] == [None, None]


def test_streams_end_with_the_system() -> None:
    """Programs that listen need no stop of their own."""
    seen: list[str] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery, open_system() as system:
            opened = trio.Event()
            nursery.start_soon(listen, system, opened)
            await opened.wait()
            ref = await system.spawn(Counter)
            await ref.tell(Boom())

    async def listen(system: ActorSystem, opened: trio.Event) -> None:
        with system.events() as events:
            opened.set()
            seen.extend([event.kind async for event in events])

    run_main(main)
    assert seen == ["started", "failed", "restarting", "restarted", "stopped"]


# --- What leaves the block --------------------------------------------------


def test_a_failure_at_the_top_leaves_as_a_strict_group_after_the_stop_hooks() -> None:
    """FAIL-8: escalated to the top, the original exception leaves, with notes."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(supervision=ESCALATE) as system:
            await system.spawn(Worker, log, "a")
            ref = await system.spawn(Worker, log, "b", name="b")
            await ref.tell(Boom(ValueError("original")))
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup, match="actor system 'demo'") as caught:
        run_main(main)
    (failure,) = caught.value.exceptions
    assert isinstance(failure, ValueError)
    assert any("escalated by /b" in note for note in failure.__notes__)
    assert log == ["a+", "b+", "b-", "a-"]


def test_a_restart_limit_at_the_top_leaves_with_its_cause() -> None:
    """SUP-4; at the top it leaves the block."""
    rules = Supervision(max_restarts=1)

    async def main() -> None:
        async with open_system(supervision=rules) as system:
            ref = await system.spawn(Counter)
            for number in range(5):
                await ref.tell(Boom(ValueError(str(number))))
            await trio.sleep_forever()

    (failure,) = failures_of(main)
    assert isinstance(failure, RestartLimit)
    assert str(failure.__cause__) == "1"


def test_four_unrelated_crashes_do_not_end_a_program() -> None:
    """The top is always per child."""

    async def main() -> None:
        async with open_system() as system:
            for _ in range(4):
                ref = await system.spawn(Counter)
                await ref.tell(Boom())
                assert await ref.ask(Add()) == 1

    run_main(main)


def test_an_exception_in_the_body_is_a_group_and_the_actors_stop_in_order() -> None:
    """Leaving by an exception: (3) and (4)."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            ref = await system.spawn(Worker, log, "b")
            ref.tell_nowait(Sleep(2))
            await trio.sleep(1)
            ref.tell_nowait(Note("not handled: it does not settle"))
            raise LookupError("body")

    assert [type(one) for one in failures_of(main)] == [LookupError]
    assert log == ["a+", "b+", "b-", "a-"]


def test_a_failed_body_and_failed_stop_hooks_are_all_raised() -> None:
    """N failures give n leaves; a cleanup never masks the first one."""

    class Clumsy(Counter):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        async def stopped(self, reason: Exit) -> None:
            raise self.error

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Clumsy, KeyError("first"))
            await system.spawn(Clumsy, OSError("second"))
            raise LookupError("body")

    failures = [type(one) for one in failures_of(main)]
    assert failures == [OSError, KeyError, LookupError]


def test_stop_hooks_that_fail_deep_in_the_tree_are_raised_once_each() -> None:
    """Failures are collected and raised at the end, never multiplied."""

    class Clumsy(Counter):
        def __init__(self, depth: int) -> None:
            super().__init__()
            self.depth = depth

        async def started(self) -> None:
            if self.depth:
                await self.context.spawn(Clumsy, self.depth - 1)

        async def stopped(self, reason: Exit) -> None:
            raise ValueError(str(self.depth))

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Clumsy, 2)

    assert sorted(str(error) for error in failures_of(main)) == ["0", "1", "2"]


def test_a_turn_that_fails_in_the_ordered_stop_is_raised() -> None:
    """From (3) on nothing is restarted, and failures are raised at the end."""

    class Late(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(8)
            raise ValueError("late")

    async def main() -> None:
        async with open_system(shutdown=10) as system:
            ref = await system.spawn(Late)
            await ref.tell(Note())
            await trio.sleep(1)
        raise AssertionError("not reached")

    assert [type(one) for one in failures_of(main)] == [ValueError]


def test_a_handled_start_failure_leaves_nothing_behind() -> None:
    """SUP-6: StartFailed in the spawner, and only there."""

    class Broken(Counter):
        async def started(self) -> None:
            raise ValueError("broken")

    async def main() -> None:
        async with open_system() as system:
            with pytest.raises(StartFailed, match="broken"):
                await system.spawn(Broken)

    run_main(main)


def test_system_exit_in_a_handler_leaves_after_the_stop_hooks() -> None:
    """FAIL-9: never handled by supervision; point 6."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            ref = await system.spawn(Worker, log, "b")
            await ref.tell(Boom(SystemExit(3)))
            await trio.sleep_forever()

    assert [type(one) for one in failures_of(main)] == [SystemExit]
    assert log == ["a+", "b+", "b-", "a-"]


def test_an_end_while_the_system_settles_is_seen() -> None:
    """SHUT: leaving waits for who is at work, not for who has ended by itself."""

    class Brief(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(0.1)
            self.context.stop()

        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(0.1)

    async def main() -> None:
        began = trio.current_time()
        async with open_system() as system:
            await (await system.spawn(Brief)).tell(Note())
        assert trio.current_time() - began == pytest.approx(0.2)

    run_main(main)
