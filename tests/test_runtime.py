"""The seam in production: timers, random numbers, the time budget of a batch."""

import math
import random
import time
from functools import partial
from itertools import pairwise

import trio
import trio.testing
from hypothesis import given, strategies as st

from tests.kit import Add, Note, open_system, run_main
from trio_actors import Actor, handler, open_actor_system
from trio_actors._bursts import BATCH
from trio_actors._runtime import Runtime

# --- Timers -----------------------------------------------------------------


def test_alarms_fire_in_the_order_they_are_due_then_as_they_were_set() -> None:
    """TIM-1, and no global order: two of one moment keep their order."""

    async def main() -> None:
        fired: list[str] = []
        runtime = Runtime(0)
        runtime.open()
        for name, when in [("late", 9), ("a", 2), ("b", 2), ("first", 1), ("c", 2)]:
            runtime.call_at(when, partial(fired.append, name), "/x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.run_timers)
            await trio.sleep(5)
            assert fired == ["first", "a", "b", "c"]
            nursery.cancel_scope.cancel()

    run_main(main)


def test_an_earlier_alarm_wakes_the_timers_up() -> None:
    """The task sleeps until the next one; an earlier one shortens its sleep."""

    async def main() -> None:
        fired: list[float] = []
        runtime = Runtime(0)
        runtime.open()

        def note() -> None:
            fired.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.run_timers)
            await trio.testing.wait_all_tasks_blocked()
            runtime.call_at(50, note, "/x")
            await trio.sleep(1)
            runtime.call_at(2, note, "/x")
            runtime.call_at(60, note, "/x")
            await trio.sleep(55)
            assert fired == [2, 50]
            nursery.cancel_scope.cancel()

    run_main(main)


def test_a_cancelled_alarm_never_fires_and_an_alarm_may_set_another() -> None:
    async def main() -> None:
        fired: list[str] = []
        runtime = Runtime(0)
        runtime.open()
        never = runtime.call_at(1, lambda: fired.append("never"), "/x")

        def again() -> None:
            runtime.call_at(0, lambda: fired.append("again"), "/x")

        runtime.call_at(2, again, "/x")
        never.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.run_timers)
            await trio.sleep(3)
            assert fired == ["again"]
            nursery.cancel_scope.cancel()

    run_main(main)


def test_timers_that_are_set_anew_all_the_time_leave_nothing_behind() -> None:
    """An idle timeout that each message moves must not fill the memory."""

    class Idle(Actor[Add | Note]):
        @handler
        def add(self, message: Add) -> int:
            self.context.send_after(3600, Note("idle"))
            return 0

        @handler
        def note(self, message: Note) -> None:
            self.context.stop()

    async def main() -> None:
        async with open_system() as system:
            refs = [await system.spawn(Idle) for _ in range(3)]
            for _ in range(2000):
                for ref in refs:
                    await ref.tell(Add())
            assert len(system._runtime.alarms) < 200
            assert [(await ref.wait_stopped()).kind for ref in refs] == ["normal"] * 3
            assert trio.current_time() == 3600

    run_main(main)


@given(st.lists(st.tuples(st.floats(0, 9), st.booleans()), max_size=200))
def test_sweeping_loses_no_alarm_that_lives(plan: list[tuple[float, bool]]) -> None:
    """Whatever is cancelled: exactly the others fire, by their time."""
    runtime = Runtime(0)
    fired: list[float] = []
    for when, lives in plan:
        alarm = runtime.call_at(when, partial(fired.append, when), "/x")
        if not lives:
            alarm.cancel()
    runtime.fire_until(math.inf)
    assert fired == sorted(when for when, lives in plan if lives)
    assert runtime.alarms == []


# --- Random numbers ---------------------------------------------------------


def test_each_owner_has_a_stream_of_its_own() -> None:
    """One random stream per actor: what others draw does not matter."""
    one, other = Runtime(3), Runtime(3)
    other.random("/b").random()
    assert one.random("/a").random() == other.random("/a").random()
    assert one.random("/a").random() != one.random("/b").random()
    assert isinstance(one.random(""), random.Random)


def test_without_a_seed_each_run_has_another() -> None:
    assert Runtime(None).seed != Runtime(None).seed


# --- The budget of a batch --------------------------------------------------


def test_a_slow_batch_is_made_smaller_and_recovers() -> None:
    """MBX-5: fairness by time, from 1 to the full size."""
    runtime = Runtime(0)
    assert runtime.next_batch(BATCH, 0.0) == BATCH
    assert runtime.next_batch(BATCH, 0.0005) == BATCH
    assert runtime.next_batch(64, 0.002) == 32
    assert runtime.next_batch(64, 1000.0) == 1
    assert runtime.next_batch(1, 0.0001) == 2  # twice as many, not more
    assert runtime.next_batch(32, 0.00001) == BATCH


def test_under_a_test_clock_a_batch_is_a_count() -> None:
    """So that runs repeat (design, the seam)."""

    async def main() -> None:
        runtime = Runtime(0)
        assert not math.isinf(runtime.slice)
        runtime.open()
        assert math.isinf(runtime.slice)
        assert runtime.next_batch(1, 99.0) == BATCH

    run_main(main)


def test_on_the_real_clock_a_slow_actor_lets_others_run_in_between() -> None:
    """MBX-5: a handler that never awaits must not starve others."""
    turns: list[int] = []

    class Slow(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            turns.append(1)
            until = time.perf_counter() + 0.002
            while time.perf_counter() < until:
                pass

    async def main() -> None:
        async with open_actor_system("demo") as system:
            ref = await system.spawn(Slow)
            await ref.tell_all([Note()] * 100)
            seen: list[int] = []
            while len(turns) < 100:
                seen.append(len(turns))
                await trio.lowlevel.checkpoint()
            steps = [after - before for before, after in pairwise(seen)]
            assert max(steps[2:]) < 20

    trio.run(main)


def test_a_command_acts_at_once() -> None:
    """The seam's ``control``: in production it is a call."""
    done: list[str] = []
    Runtime(0).control(lambda: done.append("stop"), "/x", "stop")
    Runtime(0).touch("life", "/x")
    assert done == ["stop"]


def test_on_the_real_clock_time_is_the_loops() -> None:
    async def main() -> None:
        async with open_actor_system("demo") as system:
            before = trio.current_time()
            assert before <= system._runtime.now() <= trio.current_time()
            assert not system._runtime.is_test_clock

    trio.run(main)
