"""No failure hides another: n failures are n leaves of what leaves the block."""

from typing import Any

import pytest
import trio
import trio.testing

from tests.kit import (
    Boom,
    Get,
    Note,
    Parent,
    Worker,
    fail_late,
    failures_of,
    found,
    open_system,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    Directive,
    Exit,
    RestartLimit,
    Supervision,
    handler,
)
from trio_actors.testing import World


def test_a_failing_goodbye_is_raised_beside_the_first_failure() -> None:
    """LIFE-6: two failures, two leaves, the first one first."""

    class Rude(Worker):
        async def stopped(self, reason: Exit) -> None:
            raise OSError("no goodbye")

    async def main() -> None:
        rules = Supervision(directives={ValueError: "escalate"})
        async with open_system(supervision=rules) as system:
            await (await system.spawn(Rude)).tell(Boom())
            await trio.sleep_forever()

    assert [repr(one) for one in failures_of(main)] == [
        "ValueError('boom')",
        "OSError('no goodbye')",
    ]


def test_a_failing_restarting_hook_does_not_hide_why_it_ran() -> None:
    """Design 3: the hook's failure escalates, and the first one goes with it."""

    class Rude(Worker):
        async def restarting(self, failure: Exception) -> None:
            raise OSError("while cleaning up")

    async def main() -> None:
        rules = Supervision(directives={OSError: "escalate"})
        async with open_system(supervision=rules) as system:
            await (await system.spawn(Rude)).tell(Boom())
            await trio.sleep_forever()

    assert {repr(one) for one in failures_of(main)} == {
        "ValueError('boom')",
        "OSError('while cleaning up')",
    }


def test_n_failures_are_n_leaves_with_their_causes() -> None:
    """Design 1.4: the children that fail while all are stopped are collected."""
    log: list[str] = []

    class Rude(Worker):
        async def stopped(self, reason: Exit) -> None:
            raise OSError(self.name) from LookupError(f"why {self.name}")

    async def main() -> None:
        rules = Supervision(directives={ValueError: "escalate"})
        async with open_system(supervision=rules) as system:
            for name in "abc":
                await system.spawn(Rude, log, name, name=name)
            parent = await system.spawn_supervisor(name="p")
            await parent.spawn(Rude, log, "nested")
            await found(system, "/b").tell(Boom())
            await trio.sleep_forever()

    errors = failures_of(main)
    shown = sorted(repr(one) for one in errors)
    assert shown == [
        "OSError('a')",
        "OSError('b')",
        "OSError('c')",
        "OSError('nested')",
        "ValueError('boom')",
    ]
    causes = {str(one): repr(one.__cause__) for one in errors[1:]}
    assert causes["nested"] == "LookupError('why nested')"
    assert all(isinstance(one.__cause__, LookupError) for one in errors[1:])


def test_the_failing_cleanup_of_an_inner_task_is_raised_too() -> None:
    """Design 1.4: what a task raises while it is cancelled is no less a failure."""

    class Host(Worker):
        async def started(self) -> None:
            self.context.start_soon(fail_late, OSError("cleanup"))

    async def main() -> None:
        rules = Supervision(directives={ValueError: "escalate"})
        async with open_system(supervision=rules) as system:
            ref = await system.spawn(Host)
            await trio.testing.wait_all_tasks_blocked()
            await ref.tell(Boom())
            await trio.sleep_forever()

    errors = failures_of(main)
    assert [repr(one) for one in errors] == ["ValueError('boom')", "OSError('cleanup')"]


def test_an_inner_task_and_the_handler_that_fail_together_are_both_kept() -> None:
    """The first is judged; the second is beside it, not lost."""

    class Host(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            self.context.start_soon(self.work)
            await fail_late(LookupError("handler"))

        async def work(self) -> None:
            await trio.sleep(1)
            raise OSError("inner")

    async def main() -> None:
        rules = Supervision(directives={OSError: "escalate"})
        async with open_system(supervision=rules) as system:
            ref = await system.spawn(Host)
            with pytest.raises(ActorFailed):
                await ref.ask(Get())
            await trio.sleep_forever()

    assert [repr(one) for one in failures_of(main)] == [
        "OSError('inner')",
        "LookupError('handler')",
    ]


@pytest.mark.parametrize("directive", ["escalate", "restart"])
def test_a_failure_on_its_way_up_is_not_lost_when_the_block_is_cancelled(
    directive: Any,
) -> None:
    """Design 1.4: the child is still saying goodbye when everybody is stopped."""

    class Slow(Worker):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(2)

    async def main() -> None:
        rules = Supervision(directives={ValueError: directive}, max_restarts=0)
        with trio.move_on_after(1):
            async with open_system(supervision=rules) as system:
                ref = await system.spawn(Slow)
                await ref.tell(Boom())
                await trio.sleep_forever()

    (error,) = failures_of(main)
    if directive == "restart":
        assert isinstance(error, RestartLimit)
        error = error.__cause__  # type: ignore[assignment]
    assert repr(error) == "ValueError('boom')"


def test_a_failure_on_its_way_up_is_not_lost_when_its_parent_is_stopped() -> None:
    """The same, one level deeper, and both actors have failures of their own."""

    class Slow(Worker):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(2)

    async def main() -> None:
        rules = Supervision(directives={ValueError: "escalate"})
        with trio.move_on_after(1):
            async with open_system(supervision=rules) as system:
                parent = await system.spawn_supervisor(supervision=rules)
                ref = await parent.spawn(Slow)
                await ref.tell(Boom())
                await trio.sleep_forever()

    assert [repr(one) for one in failures_of(main)] == ["ValueError('boom')"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    "place", ["handler", "task", "started", "stopped", "restarting", "decide"]
)
def test_what_nobody_supervises_leaves_the_block_after_the_stop_hooks(
    kind: type[BaseException], place: str
) -> None:
    """FAIL-9: no directive is asked; all are stopped in order first."""
    log: list[str] = []

    class Fatal(Worker):
        async def started(self) -> None:
            if place == "started":
                raise kind
            self.context.start_soon(self.work)

        async def work(self) -> None:
            if place == "task":
                raise kind

        async def restarting(self, failure: Exception) -> None:
            if place == "restarting":
                raise kind

        async def stopped(self, reason: Exit) -> None:
            if place == "stopped":
                raise kind

        @handler
        async def note(self, message: Note) -> None:
            if place == "stopped":
                self.context.stop()
            raise (kind if place == "handler" else ValueError)

    def decide(error: Exception) -> Directive:
        if place == "decide":
            raise kind
        return "stop" if place == "stopped" else "restart"

    async def main() -> None:
        async with open_system(supervision=Supervision(directives=decide)) as system:
            await system.spawn(Worker, log, "a")
            ref = system.spawn_nowait(Fatal)
            await ref.tell(Note())
            await trio.sleep_forever()

    errors = failures_of(main)
    assert [type(one) for one in errors if not isinstance(one, Exception)] == [kind]
    assert log == ["a+", "a-"]


async def test_a_kill_that_meets_a_failing_cleanup_keeps_the_failure(
    world: World,
) -> None:
    """TRIO-6: the scope takes its own Cancelled out of the group; the rest is kept."""

    class Messy(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_late, OSError("cleanup"))
                nursery.start_soon(trio.sleep_forever)
            return 1

    ref = await world.spawn(Messy)
    asked = ref.ask_nowait(Get())
    await trio.sleep(1)
    ref.kill()
    exit = await ref.wait_stopped()
    error = exit.error
    assert error is not None
    assert (
        repr(error)
        == "ExceptionGroup('Exceptions from Trio nursery', [OSError('cleanup')])"
    )
    with pytest.raises(ActorFailed):
        await asked


async def test_a_child_that_crashes_while_its_parent_stops_is_reported_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """SUP-8: the stop goes on; nobody is restarted any more."""
    log: list[str] = []
    ref = await world.spawn(Parent, log, "ab", name="p")
    b = found(world, "/p/b")
    asked = b.ask_nowait(Boom())
    ref.stop()
    await ref.wait_stopped()
    with pytest.raises((ActorFailed, ActorStopped)):
        await asked
    assert log == ["a+", "b+", "b-", "a-", "parent-"]
    assert len(caplog.records) <= 1
    world.dead()
