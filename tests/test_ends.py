"""Ends in odd moments: parts of a system, clean-ups that fail, kills in between."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.lowlevel import Task

from tests.actors import StashAndFail
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
    open_system,
    run_main,
)
from trio_actors import Exit, Mailbox, open_actor_system
from trio_actors._errors import leaves
from trio_actors.testing import World

# --- Parts: a journal, a cluster --------------------------------------------


class Part:
    """A journal or a cluster that notes when it is opened and closed."""

    def __init__(self, log: list[str], name: str, *, fails: bool = False) -> None:
        self.log = log
        self.name = name
        self.fails = fails

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[None, None]:
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise OSError(self.name)
        self.log.append(f"{self.name} opened")
        try:
            yield
        finally:
            self.log.append(f"{self.name} closed")

    def __open_journal__(self) -> AbstractAsyncContextManager[object]:
        return self._opened()

    def __open_cluster__(self) -> AbstractAsyncContextManager[object]:
        return self._opened()


def test_journal_and_cluster_are_open_as_long_as_there_are_actors() -> None:
    """Opened before the first actor, closed after the last, in reverse."""
    log: list[str] = []

    async def main() -> None:
        journal, cluster = Part(log, "journal"), Part(log, "cluster")
        async with open_system(journal=journal, cluster=cluster) as system:
            await system.spawn(Worker, log, "a")

    run_main(main)
    opened = ["journal opened", "cluster opened"]
    assert log == [*opened, "a+", "a-", "cluster closed", "journal closed"]


def test_a_part_that_cannot_be_opened_closes_those_before_it() -> None:
    """Nothing half-open is left behind, and the error is the part's own."""
    log: list[str] = []

    async def main() -> None:
        journal, cluster = Part(log, "journal"), Part(log, "cluster", fails=True)
        with pytest.raises(OSError, match="cluster"):
            async with open_actor_system("demo", journal=journal, cluster=cluster):
                raise AssertionError("not reached")

    run_main(main)
    assert log == ["journal opened", "journal closed"]


def test_a_part_that_fails_to_close_hides_no_other_failure() -> None:
    """N failures give n leaves, the part's among them."""

    class Leaking(Part):
        @asynccontextmanager
        async def _opened(self) -> AsyncGenerator[None, None]:
            yield
            await trio.lowlevel.checkpoint()
            raise OSError("not flushed")

    class Clumsy(Counter):
        async def stopped(self, reason: Exit) -> None:
            raise KeyError("clumsy")

    async def main() -> None:
        async with open_system(journal=Leaking([], "journal")) as system:
            await system.spawn(Clumsy)

    assert [type(one) for one in failures_of(main)] == [KeyError, OSError]


def test_a_part_that_is_cancelled_as_it_closes_hides_no_failure() -> None:
    """A failure is never lost behind a ``Cancelled``."""

    class Slow(Part):
        @asynccontextmanager
        async def _opened(self) -> AsyncGenerator[None, None]:
            yield
            await trio.sleep(10)

    async def main(*, fails: bool) -> None:
        with trio.move_on_after(1) as scope:
            async with open_system(journal=Slow([], "journal")):
                if fails:
                    raise KeyError("body")
        assert scope.cancelled_caught
        assert trio.current_time() == 1

    run_main(partial(main, fails=False))
    failures = failures_of(partial(main, fails=True))
    assert [type(one) for one in failures] == [KeyError]


# --- Clean-ups that fail ----------------------------------------------------


def test_a_body_that_fails_when_the_system_stops_it_raises_the_failure() -> None:
    """Point 4: the body's scope takes its own ``Cancelled`` out, no more."""

    async def main() -> None:
        async with open_system() as system, trio.open_nursery() as nursery:
            nursery.start_soon(fail_late, KeyError("late"))
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            system.stop()

    (group,) = failures_of(main)
    assert [type(leaf) for leaf in leaves(group)] == [KeyError]


def test_an_inner_task_that_fails_at_the_end_is_raised_once() -> None:
    """N failures give n leaves: the task's own clean-up has failed."""

    class Tidy(Counter):
        async def started(self) -> None:
            self.context.start_soon(fail_late, KeyError("inner"))

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Tidy)

    assert [repr(one) for one in failures_of(main)] == ["KeyError('inner')"]


def test_stop_hooks_of_all_behaviours_run_and_all_their_failures_leave() -> None:
    """Where an actor has become something else, that says goodbye first."""
    log: list[str] = []

    class Second(Counter):
        async def stopped(self, reason: Exit) -> None:
            log.append("second")
            raise KeyError("second")

    class First(Counter):
        async def started(self) -> None:
            self.become(Second())

        async def stopped(self, reason: Exit) -> None:
            log.append("first")
            raise OSError("first")

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(First)

    assert {type(one) for one in failures_of(main)} == {KeyError, OSError}
    assert log == ["second", "first"]


async def test_a_crash_after_a_stash_says_so(world: World) -> None:
    """The message is safe in the stash; the report does not show another."""
    error = ValueError("after the stash")
    ref = await world.spawn(StashAndFail, error)
    ref.tell_nowait(Note())
    await world.settled()
    assert "while handling a message that it stashed" in error.__notes__[0]
    assert world.statistics()["handled"] == 1


# --- Kills in between -------------------------------------------------------


async def test_a_kill_while_a_restart_waits_for_the_children(world: World) -> None:
    """The new incarnation never comes; the hook gets no time."""
    log: list[str] = []

    class Slow(Counter):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(3)

    class Parent(Counter):
        async def started(self) -> None:
            log.append(f"parent {self.context.incarnation}")
            await self.context.spawn(Slow)

        async def restarting(self, failure: Exception) -> None:
            await trio.lowlevel.checkpoint()
            log.append("never")

    ref = await world.spawn(Parent)
    ref.restart()
    await trio.sleep(1)
    ref.kill()
    assert (await ref.wait_stopped()).kind == "killed"
    assert log == ["parent 1"]
    assert trio.current_time() == 1


async def test_a_kill_while_a_restarting_hook_runs(world: World) -> None:
    class Slow(Counter):
        async def restarting(self, failure: Exception) -> None:
            await trio.sleep(3)

    ref = await world.spawn(Slow)
    ref.tell_nowait(Boom())
    ref.tell_nowait(Add())
    await trio.sleep(1)
    ref.kill()
    assert (await ref.wait_stopped()).kind == "killed"
    assert trio.current_time() == 1
    assert [letter.message for letter in world.dead()] == [Add()]


async def test_a_restarting_hook_that_takes_too_long_is_cut(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Bounded by the actor's ``shutdown``; the restart goes on."""

    class Slow(Counter):
        async def restarting(self, failure: Exception) -> None:
            await trio.sleep_forever()

    ref = await world.spawn(Slow, name="slow", shutdown=2)
    ref.tell_nowait(Boom())
    assert await ref.ask(Add()) == 1
    assert trio.current_time() == 2
    assert "restarting() of /slow took longer than its 2 seconds" in caplog.text


# --- Who is named -----------------------------------------------------------


def test_a_parent_that_does_not_stop_is_named_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """SHUT-1: the report names who holds up the end, not only who waits below."""

    class Parent(Worker):
        async def started(self) -> None:
            await self.context.spawn(Counter, name="child")

    async def main() -> None:
        async with open_system(shutdown=4) as system:
            ref = await system.spawn(Parent, name="p", shutdown=1000)
            await ref.tell(Sleep(10_000))

    run_main(main)
    assert "/p (handling Sleep(seconds=10000))" in caplog.text


def test_twenty_are_named_and_the_others_hinted_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with open_system(shutdown=4) as system:
            for number in range(25):
                ref = await system.spawn(Worker, name=f"w{number}", shutdown=99)
                await ref.tell(Sleep(10_000))

    run_main(main)
    (line,) = [one.message for one in caplog.records if "killed:" in one.message]
    assert line.count("handling") == 20
    assert line.endswith(" ...")


# --- Messages that are refused while they wait for room ---------------------


def test_a_bad_message_in_a_burst_takes_no_room_away() -> None:
    """``check_messages=``: what was granted for it is free again."""

    async def main() -> None:
        async with open_system(check_messages=True) as system:
            ref: Any = await system.spawn(Worker, mailbox=Mailbox(2))
            ref.tell_nowait(Sleep(1))
            await trio.sleep(0.5)
            await ref.tell_all([Note("one"), Note("two")])
            with pytest.raises(TypeError, match="no message"):
                await ref.tell_all([Note("three"), [], Note("never")])
            assert await ref.ask(Get()) == 0
            slow = ref.ask_nowait(Sleep(1))
            await trio.sleep(0.5)
            ref.tell_nowait(Note())
            ref.tell_nowait(Note())
            assert await slow == 0

    run_main(main)


# --- Those who wait for an end ----------------------------------------------


class _StepsOf(trio.abc.Instrument):
    def __init__(self, task: Task) -> None:
        self.task = task
        self.steps = 0

    def after_task_step(self, task: Task) -> None:
        self.steps += task is self.task


async def test_who_waits_for_an_end_sleeps_through_the_turns(world: World) -> None:
    """A turn that woke him would depend on whether he waits already."""
    ref = await world.spawn(Counter)
    found: list[_StepsOf] = []

    async def wait() -> None:
        found.append(_StepsOf(trio.lowlevel.current_task()))
        trio.lowlevel.add_instrument(found[0])
        await ref.wait_stopped()

    world.client(wait)
    for _ in range(9):
        await ref.tell(Add(1))
        assert await ref.ask(Get()) > 0
    ref.stop()
    await world.settled()
    trio.lowlevel.remove_instrument(found[0])
    assert found[0].steps == 2  # it begins; it goes on when that has stopped
