"""Cancellation from outside, failures in the middle of something, shields."""

import logging

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
    fail_late,
    failures_of,
    found,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    Backoff,
    Exit,
    Inbox,
    Supervision,
    handler,
)
from trio_actors._errors import leaves

ESCALATE = Supervision(directives={Exception: "escalate"})


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of crashes would fill the log."""
    caplog.set_level(logging.CRITICAL, "trio_actors")


# --- Cancelled from outside ------------------------------------------------


def test_an_outer_cancellation_stops_in_order_in_a_shielded_grace() -> None:
    """Leaving, (3): stop hooks may await; the scope sees only its own end."""
    log: list[str] = []

    class Goodbye(Worker):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(1)
            self.log.append(f"{self.name}-")

    async def main() -> None:
        with trio.move_on_after(5) as scope:
            async with open_system() as system:
                for name in "abc":
                    await system.spawn(Goodbye, log, name)
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() == 8

    run_main(main)
    assert log == ["a+", "b+", "c+", "c-", "b-", "a-"]


def test_an_outer_cancellation_is_bounded_by_shutdown() -> None:
    """Leaving, (4)."""

    async def main() -> None:
        with trio.move_on_after(5):
            async with open_system(shutdown=3) as system:
                ref = await system.spawn(Worker, shutdown=1000)
                await ref.tell(Sleep(10_000))
                await trio.sleep_forever()
        assert trio.current_time() == 8

    run_main(main)


def test_an_outer_cancellation_while_the_block_is_left_cuts_the_settling() -> None:
    """The body is done; then the caller gives up: (3) at once."""

    async def main() -> None:
        with trio.move_on_after(2) as scope:
            async with open_system(shutdown=100) as system:
                ref = await system.spawn(Worker, shutdown=1)
                await ref.tell(Sleep(10_000))
                await trio.sleep(1)
        assert scope.cancelled_caught
        assert trio.current_time() == 3

    run_main(main)


def test_an_outer_cancellation_in_a_backoff_waits_for_no_restart() -> None:
    """In the pause nothing runs: the end is immediate."""
    pause = Supervision(backoff=Backoff(100, 100, jitter=0))
    log: list[str] = []

    async def main() -> None:
        with trio.move_on_after(5):
            async with open_system(supervision=pause) as system:
                ref = await system.spawn(Worker, log)
                await ref.tell(Boom())
                await trio.sleep_forever()
        assert trio.current_time() == 5

    run_main(main)
    assert log == ["+", "~"]


def test_a_failure_and_an_outer_cancellation_together_keep_the_failure() -> None:
    """Point 4: a failure is never lost behind a ``Cancelled``."""

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with open_system(supervision=ESCALATE) as system:
                ref = await system.spawn(Counter)
                ref.tell_nowait(Boom())
                scope.cancel()
                await trio.sleep_forever()

    assert [type(one) for one in failures_of(main)] == [ValueError]


def test_a_mixed_group_in_the_body_loses_neither_half() -> None:
    """Point 4: the scope takes its own ``Cancelled`` out, the rest leaves."""

    async def main() -> None:
        with trio.move_on_after(1) as scope:
            async with open_system(), trio.open_nursery() as nursery:
                nursery.start_soon(fail_late, KeyError("late"))
                nursery.start_soon(trio.sleep_forever)
        assert not scope.cancelled_caught

    (group,) = failures_of(main)
    assert [type(leaf) for leaf in leaves(group)] == [KeyError]


def test_a_cancelled_nursery_in_a_handler_with_a_failure_is_a_failure() -> None:
    """Point 4 in an actor: Cancelled is split off, the rest is judged."""
    log: list[str] = []

    class Mixed(Worker):
        @handler
        async def note(self, message: Note) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_late, KeyError("late"))
                await trio.sleep_forever()

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Mixed, log)
            await ref.tell(Note())
            await trio.sleep(1)
            ref.kill()
            exit = await ref.wait_stopped()
            assert exit.error is not None
            assert {type(leaf) for leaf in leaves(exit.error)} == {KeyError}

    run_main(main)
    assert log == ["+"]


# --- Ends in the middle of something ----------------------------------------


def test_an_escalation_while_a_sibling_is_in_mid_handler() -> None:
    """Point 4: the sibling finishes its turn and its stop hook, then the parent."""
    log: list[str] = []

    class Parent(Actor[Note]):
        supervision = ESCALATE

        async def started(self) -> None:
            log.append(f"parent {self.context.incarnation}")
            slow = await self.context.spawn(Worker, log, "slow", name="slow")
            bad = await self.context.spawn(Counter, name="bad")
            if self.context.incarnation == 1:
                slow.tell_nowait(Sleep(2))
                slow.tell_nowait(Note("never"))
                bad.tell_nowait(Boom())

        async def restarting(self, failure: Exception) -> None:
            log.append(f"restarting {failure!r} at {trio.current_time():g}")

        @handler
        def note(self, message: Note) -> None:
            log.append(message.text)

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Parent)
            await trio.sleep(5)
            await ref.tell(Note("served"))

    run_main(main)
    assert log == [
        "parent 1",
        "slow+",
        "slow-",
        "restarting ValueError('boom') at 2",
        "parent 2",
        "slow+",
        "served",
        "slow-",
    ]


def test_an_escalation_during_a_sweep_ends_the_sweep() -> None:
    """A sibling's stop in the sweep fails with what escalates: the parent fails."""
    log: list[str] = []

    class Touchy(Worker):
        async def restarting(self, failure: Exception) -> None:
            raise KeyError("touchy")

    class Parent(Counter):
        supervision = Supervision("one_for_all", directives={KeyError: "escalate"})

        async def started(self) -> None:
            log.append(f"parent {self.context.incarnation}")
            await self.context.spawn(Worker, log, "a", name="a")
            await self.context.spawn(Touchy, log, "b", name="b")

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Parent)
            await found(system, f"{ref.path}/a").tell(Boom())
            await trio.sleep(5)
            assert await ref.ask(Get()) == 0

    run_main(main)
    assert log[0] == "parent 1"
    assert log.count("a+") + log.count("b+") >= 3


def test_a_crash_in_started_of_a_restart_is_supervised() -> None:
    """SUP-7: a failed restart attempt counts, and is tried again."""
    log: list[int] = []

    class Shaky(Counter):
        async def started(self) -> None:
            log.append(self.context.incarnation)
            if self.context.incarnation in (2, 3):
                raise OSError("not yet")

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Shaky)
            await ref.tell(Boom())
            assert await ref.ask(Add()) == 1

    run_main(main)
    assert log == [1, 2, 3, 4]


def test_the_tree_is_shielded_from_what_a_user_cancels_around_a_handler() -> None:
    """A scope in a handler that spawns does not own the child (point 2)."""

    class Careful(Actor[Note | Get]):
        @handler
        async def note(self, message: Note) -> None:
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    await self.context.spawn(Worker, name="w")
                    self.context.start_soon(trio.sleep, 5)
                    nursery.start_soon(trio.sleep_forever)

        @handler
        def get(self, message: Get) -> int:
            return len(self.context.children)

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Careful, name="c")
            await ref.tell(Note())
            assert await ref.ask(Get()) == 1
            assert trio.current_time() == 1
            assert await found(system, "/c/w").ask(Add()) == 1

    run_main(main)


def test_a_function_that_swallows_its_cancellation_is_waited_for() -> None:
    """No task is ever abandoned: the end comes when the function does."""

    async def stubborn(inbox: Inbox[Note]) -> None:
        for _ in range(3):
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(stubborn)
            await trio.sleep(1)
            ref.kill()
            assert (await ref.wait_stopped()).kind == "killed"
            assert trio.current_time() == 4

    run_main(main)


def test_ten_thousand_dynamic_children_that_hang_stop_within_one_limit() -> None:
    """SUP-2: simple_one_for_one: all are shut down together, with one timer."""

    class Hanging(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep_forever()

    async def main() -> None:
        async with open_system() as system:
            top = await system.spawn_supervisor(dynamic=True, name="many")
            refs = [top.spawn_nowait(Hanging, shutdown=3) for _ in range(10_000)]
            for ref in refs:
                ref.tell_nowait(Note())
            await trio.sleep(1)
            top.stop()
            assert (await top.wait_stopped()).kind == "shutdown"
            assert trio.current_time() == 4
            assert (await refs[-1].wait_stopped()).kind == "killed"

    run_main(main)
