"""at_every_step: one run for each step of a scenario (TST-2)."""

import pytest
import trio

from tests.kit import Add, Counter, Get
from tests.testing.failing import leaves
from trio_actors import ActorFailed, ActorStopped, Inbox
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


def test_it_strikes_once_in_each_run_and_after_another_step_each_time() -> None:
    struck: list[int] = []
    reached: list[int] = []

    async def scenario(world: World, arm: Arm) -> None:
        run = len(reached)
        reached.append(0)
        arm(lambda: struck.append(reached[run]))
        for number in range(5):
            reached[run] = number
            await trio.lowlevel.checkpoint()

    steps = at_every_step(scenario)
    assert len(struck) == steps
    assert len(reached) == steps + 1, "the last run shows that there is no more step"
    assert struck == sorted(struck)
    assert set(struck) == set(range(5))


def test_steps_before_arm_are_not_counted() -> None:
    struck_at: list[float] = []

    async def scenario(world: World, arm: Arm) -> None:
        await trio.sleep(1)
        arm(lambda: struck_at.append(trio.current_time()))
        await trio.sleep(1)

    assert at_every_step(scenario) >= 1
    assert min(struck_at) >= 1


def test_a_scenario_that_never_arms_has_no_steps() -> None:
    async def scenario(world: World, arm: Arm) -> None:
        await trio.sleep(1)

    assert at_every_step(scenario) == 0


def test_it_finds_the_one_step_that_is_wrong_and_names_it() -> None:
    """A program that must not be cancelled between two steps."""

    async def scenario(world: World, arm: Arm) -> None:
        done: list[str] = []
        with trio.CancelScope() as scope:
            arm(scope.cancel)
            await trio.lowlevel.checkpoint()
            done.append("begun")
            await trio.lowlevel.checkpoint()
            done.append("ended")
            await trio.lowlevel.checkpoint()
        assert done != ["begun"]

    with pytest.raises(BaseException) as caught:  # looked at below
        at_every_step(scenario)
    assert any(isinstance(one, AssertionError) for one in leaves(caught.value))
    notes = "".join(caught.value.__notes__)
    assert "at_every_step: struck after step" in notes
    assert not notes.endswith("step 1")


def test_a_strike_that_raises_fails_the_run() -> None:
    """Not: is switched off by trio with a line in the log."""

    async def scenario(world: World, arm: Arm) -> None:
        def strike() -> None:
            raise ArithmeticError("in the strike")

        arm(strike)
        await trio.sleep(1)

    with pytest.raises(BaseException) as caught:  # looked at below
        at_every_step(scenario)
    assert any(isinstance(one, ArithmeticError) for one in leaves(caught.value))


def test_a_scenario_without_an_end_is_given_up() -> None:
    async def scenario(world: World, arm: Arm) -> None:
        arm(lambda: None)
        for _ in range(50):
            await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="more than 20 steps"):
        at_every_step(scenario, limit=20)
    with pytest.raises(AssertionError, match="more than 5 steps"):
        at_every_step(scenario, limit=5)


def test_dead_letters_are_to_be_expected_but_nothing_else_is() -> None:
    async def letters(world: World, arm: Arm) -> None:
        counter = await world.spawn(Counter)
        arm(counter.kill)
        for _ in range(3):
            await counter.tell(Add())

    assert at_every_step(letters) > 3

    async def unbalanced(world: World, arm: Arm) -> None:
        counter = await world.spawn(Counter)

        def strike() -> None:
            counter._cell.handled += 1

        arm(strike)
        await counter.ask(Get())

    with pytest.raises(AssertionError, match="messages were accepted, but"):
        at_every_step(unbalanced)


def test_an_ask_under_a_kill_always_ends_in_one_of_three_ways() -> None:
    """The answer, begun and cut, or not begun: never a hang."""
    ends: set[str] = set()

    async def scenario(world: World, arm: Arm) -> None:
        async def slow(inbox: Inbox[Get]) -> None:
            async for request in inbox:
                await trio.sleep(1)
                inbox.reply(request, 7)

        ref = await world.spawn(slow)
        arm(ref.kill)
        try:
            ends.add(str(await ref.ask(Get())))
        except (ActorFailed, ActorStopped) as error:
            ends.add(type(error).__name__)

    assert at_every_step(scenario) > 3
    assert ends == {"7", "ActorFailed", "ActorStopped"}
