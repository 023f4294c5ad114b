"""What makes a test fail: broken conditions, and what was lost (TST-2)."""

import contextvars
import logging
import math
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio

from tests.kit import Add, Boom, Counter, Get, Note, Sleep, Worker
from tests.testing.failing import failing, leaves
from tests.testing.searched import Program
from trio_actors import Actor, ActorRef, ActorStopped, Request, handler
from trio_actors.persistence import MemoryJournal
from trio_actors.testing import World, check, run

# --- always() and eventually() ----------------------------------------------


async def test_always_looks_after_every_step(world: World) -> None:
    looks: list[int] = []

    def holds() -> bool:
        looks.append(1)
        return True

    world.always(holds)
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert len(looks) >= 10


async def test_several_conditions_are_all_looked_at(world: World) -> None:
    looks: list[str] = []

    def look(name: str) -> bool:
        looks.append(name)
        return True

    for name in "abc":
        world.always(partial(look, name))
    await trio.lowlevel.checkpoint()
    assert looks[:3] == ["a", "b", "c"]


def test_always_fails_the_test_at_the_step_in_which_it_does_not_hold() -> None:
    """It is broken for one step only, and nobody else looks then."""
    at: list[float] = []

    async def scenario(world: World) -> None:
        value = [0]

        def stays_small() -> bool:
            return value[0] < 5

        async def work() -> None:
            for number in range(10):
                await trio.sleep(1)
                value[0] = number
                at.append(trio.current_time())
                await trio.lowlevel.checkpoint()
                value[0] = 0

        world.always(stays_small)
        world.client(work)
        await world.settled()

    text = failing(scenario, AssertionError)
    assert "stays_small did not hold at a step" in text
    assert at == [1, 2, 3, 4, 5, 6]


def test_a_condition_that_raises_fails_the_test() -> None:
    """Not: is switched off with a line in the log, so that the test passes."""

    async def scenario(world: World) -> None:
        def broken() -> bool:
            raise LookupError("in the condition")

        world.always(broken)
        await trio.sleep(5)

    assert "in the condition" in failing(scenario, LookupError)

    async def hopeful(world: World) -> None:
        def broken() -> bool:
            raise LookupError("in the hope")

        world.eventually(broken, within=10)
        await trio.sleep(20)

    assert "in the hope" in failing(hopeful, LookupError)


def test_a_condition_that_calls_pytest_fail_fails_the_test() -> None:
    """That is no Exception: it ended in a KeyError of Trio's."""

    async def scenario(world: World) -> None:
        def solvent() -> bool:
            pytest.fail("the balance is negative")

        world.always(solvent)
        await trio.sleep(1)

    assert "is negative" in failing(scenario, pytest.fail.Exception)
    failure = check(scenario).failure
    assert failure is not None
    assert isinstance(failure.error, pytest.fail.Exception)
    assert "is negative" in str(failure)


@pytest.mark.parametrize("start", [run, check])
def test_ctrl_c_is_raised_in_a_condition_which_may_never_end(
    start: Callable[[Program], object],
) -> None:
    ended: list[bool] = []

    async def scenario(world: World) -> None:
        def loops() -> bool:
            signal.raise_signal(signal.SIGINT)
            ended.append(True)
            return True

        world.always(loops)
        await trio.sleep(1)

    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)) as caught:
        start(scenario)
    assert [type(one) for one in leaves(caught.value)] == [KeyboardInterrupt]
    assert not ended


async def no_condition() -> bool:
    return False


@pytest.mark.parametrize("holds", [no_condition, True, None])
async def test_what_is_no_condition_is_refused_at_once(
    world: World, holds: Any
) -> None:
    with pytest.raises(TypeError, match=r"Write world.always\(lambda: "):
        world.always(holds)
    with pytest.raises(TypeError, match="a condition is a plain function"):
        world.eventually(holds, within=1)


@pytest.mark.parametrize("within", [math.nan, -1, "soon", None])
async def test_a_condition_needs_seconds_in_which_it_holds(
    world: World, within: Any
) -> None:
    with pytest.raises(ValueError, match=r"within is seconds from 0, not"):
        world.eventually(lambda: True, within=within)


@pytest.mark.parametrize("journal", [5, "file.db", MemoryJournal])
async def test_what_is_no_journal_is_refused_at_once(
    world: World, journal: Any
) -> None:
    with pytest.raises(TypeError, match=r"use: a world takes a journal, not .* Write"):
        world.use(journal)


async def test_always_ends_with_the_test_and_not_with_its_actors(
    world: World,
) -> None:
    """What holds while the test runs need not hold while the world is taken down."""
    await world.spawn(Counter, name="counter")
    world.always(lambda: world.find("/counter") is not None)
    await world.settled()


async def test_eventually_is_content_when_it_was_true_once(world: World) -> None:
    counter = await world.spawn(Counter)
    total = [0]

    async def client() -> None:
        await trio.sleep(3)
        total[0] = await counter.ask(Add(5))
        await trio.lowlevel.checkpoint()
        total[0] = 0

    world.eventually(lambda: total[0] == 5, within=10)
    world.client(client)
    await trio.sleep(20)
    assert total == [0]


def test_eventually_fails_when_its_time_is_over() -> None:
    async def scenario(world: World) -> None:
        def comes_true() -> bool:
            return trio.current_time() > 10

        world.eventually(comes_true, within=5)
        await trio.sleep(20)

    text = failing(scenario, AssertionError)
    assert "comes_true did not become true in 5 s" in text


def test_eventually_fails_when_the_test_ends_before_it_was_true() -> None:
    async def scenario(world: World) -> None:
        world.eventually(lambda: False, within=5)
        await trio.sleep(1)

    assert "was not true at the end of the test" in failing(scenario, AssertionError)


# --- What nobody took -------------------------------------------------------


def test_a_dead_letter_that_nobody_took_fails_the_test() -> None:
    async def scenario(world: World) -> None:
        counter = await world.spawn(Counter)
        counter.stop()
        await counter.wait_stopped()
        await counter.tell(Add(7))

    text = failing(scenario, AssertionError)
    assert "dead letters that nobody took" in text
    assert "stopped: Add(amount=7) to /counter-1" in text


async def test_dead_takes_by_class_and_leaves_the_others(world: World) -> None:
    counter = await world.spawn(Counter)
    counter.kill()
    await counter.wait_stopped()
    await counter.tell(Add(1))
    await counter.tell(Get())
    await counter.tell(Add(2))
    assert [letter.message for letter in world.dead(Add)] == [Add(1), Add(2)]
    (letter,) = world.dead()
    assert (letter.message, letter.to, letter.reason) == (Get(), counter, "stopped")
    assert world.dead() == []


def test_taking_some_leaves_those_that_are_equal_but_of_another_class() -> None:
    """``1 == True``: what is not taken must not go with what is."""

    async def scenario(world: World) -> None:
        any_ref: ActorRef[Any] = await world.spawn(Counter)
        any_ref.kill()
        await any_ref.wait_stopped()
        await any_ref.tell(1)
        await any_ref.tell(True)  # noqa: FBT003  # a message
        assert len(world.dead(bool)) == 1

    assert "stopped: 1 to /counter-1" in failing(scenario, AssertionError)


async def test_what_is_left_in_the_mailboxes_at_the_end_is_no_failure(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """In the ordered stop dead letters are to be expected."""
    worker = await world.spawn(Worker, shutdown=1.0)
    await worker.tell(Sleep(1_000_000))
    await worker.tell(Note())
    caplog.set_level(logging.CRITICAL)


def test_a_task_that_outlives_the_test_is_found() -> None:
    async def scenario(world: World) -> None:
        class Leaking(Actor[Note]):
            @handler
            def note(self, message: Note) -> None:
                trio.lowlevel.spawn_system_task(
                    trio.sleep_forever,
                    name="the leak",
                    context=contextvars.copy_context(),
                )

        leaking = await world.spawn(Leaking)
        await leaking.tell(Note())
        await world.settled()

    text = failing(scenario, AssertionError)
    assert "tasks that outlived the test: ['the leak']" in text


def test_books_that_do_not_add_up_fail_the_test() -> None:
    """The conservation law is checked at the end of every test."""

    async def scenario(world: World) -> None:
        counter = await world.spawn(Counter)
        await counter.ask(Get())
        counter._cell.handled += 1

    assert "messages were accepted, but" in failing(scenario, AssertionError)


def test_the_error_of_the_test_is_not_hidden_by_what_it_left_behind() -> None:
    """Dead letters are a consequence: the failure comes first."""

    async def scenario(world: World) -> None:
        counter = await world.spawn(Counter)
        counter.kill()
        await counter.wait_stopped()
        await counter.tell(Get())
        raise LookupError("the cause")

    text = failing(scenario, LookupError)
    assert "the cause" in text


def test_a_failure_that_escalates_out_of_the_world_fails_the_test() -> None:
    async def scenario(world: World) -> None:
        counter = await world.spawn(Counter)
        for _ in range(4):
            await counter.tell(Boom(KeyError("again")))
        await world.settled()
        await trio.sleep_forever()

    with pytest.raises(BaseException) as caught:  # looked at below
        run(scenario)
    causes = [one.__cause__ for one in leaves(caught.value)]
    assert any(isinstance(cause, KeyError) for cause in causes)


async def test_asks_after_the_end_of_an_actor_are_taken_too(world: World) -> None:
    counter = await world.spawn(Counter)
    counter.stop()
    await counter.wait_stopped()
    with pytest.raises(ActorStopped):
        await counter.ask(Get())
    assert len(world.dead(Request)) == 1
