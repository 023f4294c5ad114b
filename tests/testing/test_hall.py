"""Where the worlds of many runs live, one after the other: what one leaves to the next.

Issue: "at least 1,000 schedules a second": what a run needs of trio is opened once.
"""

import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from tests.kit import Add, Counter, Get, no_collector
from trio_actors import Actor, ActorRef, Exit, Request, Terminated, handler
from trio_actors._errors import leaves
from trio_actors.testing import World
from trio_actors.testing._events import Run
from trio_actors.testing._flight import Lab, run_lab
from trio_actors.testing._hall import Hall
from trio_actors.testing._strategies import Fifo


def run_all(
    *programs: Callable[[World], Awaitable[Any]],
) -> list[tuple[Run, Hall, int]]:
    """Run programs in one lab; after each the run, where it was, and how many tasks."""
    lab = Lab(programs[0])

    async def every() -> list[tuple[Run, Hall, int]]:
        found: list[tuple[Run, Hall, int]] = []
        for program in programs:
            lab.program = program
            run = await lab.once(Fifo())
            for _ in range(3):
                await trio.lowlevel.checkpoint()  # who was cancelled comes to its end
            assert lab._hall is not None
            tasks = trio.lowlevel.current_statistics().tasks_living
            found.append((run, lab._hall, tasks))
        return found

    return run_lab(lab, every)


async def passes(world: World) -> int:
    counter = await world.spawn(Counter)
    await counter.tell(Add())
    return await counter.ask(Get())


async def fails(world: World) -> None:
    async def fail() -> None:
        raise LookupError("mine")

    world.client(fail)
    await world.settled()


async def leaves_a_client(world: World) -> None:
    world.client(trio.sleep_forever)
    await trio.lowlevel.checkpoint()


def test_what_passes_leaves_its_place_to_the_next() -> None:
    (_, first, tasks), *rest = run_all(passes, passes, passes)
    for run, hall, left in rest:
        assert (run.error, run.outcome) == (None, 1)
        assert hall is first
        assert left == tasks


def test_a_client_that_fails_ends_its_run_alone() -> None:
    (failed, first, _), (run, second, tasks), (_, third, _) = run_all(
        fails, passes, passes
    )
    assert isinstance(failed.error, LookupError)
    assert (run.error, run.outcome) == (None, 1)
    assert first is not second is third
    assert tasks == run_all(passes)[0][2]  # nothing is left of the first


def test_each_failure_of_several_clients_is_raised() -> None:
    async def program(world: World) -> None:
        async def wait_and_fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("second")

        async def fail() -> None:
            raise LookupError("first")

        world.client(wait_and_fail)
        world.client(fail)
        await world.settled()

    (run, _, _), (after, _, _) = run_all(program, passes)
    assert run.error is not None
    assert {type(one) for one in leaves(run.error)} == {KeyError, LookupError}
    assert after.error is None


def test_clients_that_still_run_at_the_end_are_cancelled_and_waited_for() -> None:
    ended: list[float] = []

    async def program(world: World) -> None:
        async def say_goodbye() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                ended.append(trio.current_time())

        world.client(say_goodbye)
        await trio.sleep(2)

    (run, _, _), (after, _, _), (_, _, tasks) = run_all(
        program, leaves_a_client, passes
    )
    assert run.error is None
    assert after.error is None
    assert ended == [3]
    assert tasks == run_all(passes)[0][2]


def test_clients_outlive_a_world_that_is_stopped_by_its_program() -> None:
    ended: list[str] = []

    async def program(world: World) -> None:
        counter = await world.spawn(Counter)

        async def ask() -> None:
            await trio.sleep(1)
            await counter.tell(Add())
            ended.append(counter.path)

        world.client(ask)
        await world.settled()
        world.stop()
        await trio.sleep_forever()

    (run, _, _), (after, _, _) = run_all(program, passes)
    assert ended == ["/counter-1"]
    assert isinstance(run.error, AssertionError)  # it has not returned
    assert (after.error, after.outcome) == (None, 1)


def test_a_run_that_is_cancelled_leaves_nothing_behind() -> None:
    lab = Lab(passes)

    async def forever(world: World) -> None:
        world.client(trio.sleep_forever)
        await trio.sleep_forever()

    async def every() -> tuple[int, int]:
        await lab.once(Fifo())
        before = trio.lowlevel.current_statistics().tasks_living
        lab.program = forever
        with trio.CancelScope() as scope:
            scope.cancel()
            await lab.once(Fifo())
        lab.program = passes
        run = await lab.once(Fifo())
        assert run.outcome == 1
        return before, trio.lowlevel.current_statistics().tasks_living

    before, after = run_lab(lab, every)
    assert before == after


@attrs.frozen
class Look(Request[str]):
    """Watch somebody."""

    at: ActorRef[Any]


class Parent(Actor[Get | Look | Terminated | None]):
    """Has a child, a timer, and an eye on others."""

    def __init__(self) -> None:
        self.me = self.context.ref

    @handler
    async def get(self, message: Get) -> int:
        child = await self.context.spawn(Counter)
        self.context.send_after(1, None)
        return await child.ask(message)

    @handler
    def look(self, message: Look) -> str:
        self.context.watch(message.at)
        return message.at.path

    @handler
    def note(self, message: Terminated | None) -> None:
        """Look who it was."""
        assert message is None or message.ref.path


def left_to_the_collector(program: Callable[[World], Awaitable[Any]]) -> int:
    """Run a program twice; how many objects of the second run has it to look for?"""
    lab = Lab(program)

    async def twice() -> int:
        await lab.once(Fifo())
        with no_collector():
            run = await lab.once(Fifo())
            assert run.error is None
            del run
            return gc.collect()

    return run_lab(lab, twice)


async def uses_all(world: World) -> None:
    """Actors that know themselves, clients, questions, a child, a watch, a timer."""
    parent, watcher = await world.spawn(Parent), await world.spawn(Parent)

    async def talk() -> None:
        await watcher.ask(Look(parent))
        await parent.ask(Get())

    world.client(talk)
    world.client(talk)
    await world.settled()
    parent.stop()
    await parent.wait_stopped()
    await world.settled()


def test_a_run_that_passes_leaves_nothing_to_the_garbage_collector() -> None:
    """It was a tenth of the smallest run, and came in the middle of another one."""
    assert left_to_the_collector(passes) == 0
    assert left_to_the_collector(uses_all) == 0


@pytest.mark.parametrize("use", ["tell", "ask", "watch"])
def test_an_actor_of_another_run_says_so_when_it_is_used(
    use: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[ActorRef[Any]] = []

    async def program(world: World) -> None:
        watcher = await world.spawn(Parent)
        kept.append(await world.spawn(Counter, name=f"counter-{len(kept)}"))
        if use == "tell":
            await kept[0].tell(Add())
        elif use == "ask":
            await kept[0].ask(Get())
        else:
            await watcher.ask(Look(kept[0]))

    (first, _, _), (second, _, _) = run_all(program, program)
    assert first.error is None
    assert kept[0].path == "/counter-0"
    assert "was used after its run was over" in f"{second.error} {caplog.text}"


def test_clients_that_have_not_begun_when_a_run_ends_never_do() -> None:
    begun: list[str] = []

    async def program(world: World) -> None:
        async def note() -> None:
            begun.append("it")

        world.client(note)
        raise LookupError("at once")

    (run, first, _), (after, second, _) = run_all(program, passes)
    assert isinstance(run.error, LookupError)
    assert begun == []
    assert (after.error, second) == (None, first)  # nobody had to be cancelled


def test_ctrl_c_while_a_world_ends_is_raised_when_it_has_ended() -> None:
    ended: list[str] = []

    @trio.lowlevel.enable_ki_protection
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)  # it is for the test, not for the actor

    class Slow(Counter):
        async def stopped(self, reason: Exit) -> None:
            interrupt()
            await trio.sleep(1)
            ended.append(reason.kind)

    async def program(world: World) -> None:
        await world.spawn(Slow)

    with pytest.raises(KeyboardInterrupt):
        run_all(program)
    assert ended == ["shutdown"]


@pytest.mark.parametrize("shielded", [False, True])
def test_a_client_that_fails_before_others_begin_ends_the_run(shielded: bool) -> None:
    """Those who wait for their turn never begin; nobody waits for their end."""
    begun: list[str] = []

    async def program(world: World) -> None:
        async def fail() -> None:
            raise LookupError("mine")

        async def note() -> None:
            begun.append("it")

        world.client(fail)
        world.client(note)
        with trio.CancelScope(shield=shielded):
            await world.settled()

    (run, first, _), (after, second, _) = run_all(program, passes)
    assert isinstance(run.error, LookupError)
    assert begun == []
    assert after.error is None
    assert first is not second
