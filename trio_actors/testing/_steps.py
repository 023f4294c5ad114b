"""Strike a scenario after each of its task steps, one run for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio
from trio.lowlevel import Task

from ._run import run
from ._world import World

Arm: TypeAlias = Callable[[Callable[[], object]], None]
"""Given to a scenario: ``arm(strike)`` starts the counting of steps."""


class _Steps(trio.abc.Instrument):
    """Counts task steps and strikes after one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.fail: Callable[[BaseException], object] | None = None
        self.steps = 0
        self.strike: Callable[[], object] | None = None

    def after_task_step(self, task: Task) -> None:
        if self.strike is not None:
            self.steps += 1
            if self.steps == self.at:
                self._strike(self.strike)

    def _strike(self, strike: Callable[[], object]) -> None:
        try:
            strike()
        except Exception as error:
            # trio would log it, and switch the instrument off.
            assert self.fail is not None
            self.fail(error)


def at_every_step(
    scenario: Callable[[World, Arm], Awaitable[object]], *, limit: int = 1000
) -> int:
    """Run a scenario once for each of its task steps, and strike after that step.

    Each run has a world of its own, which checks at the end that no task is left and
    that the conservation law holds; dead letters are to be expected.

    Args:
        scenario: Gets the world, and a function ``arm``: ``arm(strike)`` starts the
            counting, and ``strike()`` (a ``scope.cancel``, a ``ref.kill``) is called
            once, between two steps, whoever's they are.
        limit: The most runs.

    Returns:
        How many steps were struck.

    Raises:
        AssertionError: What a run raised has a note that names its step.
    """
    for at in range(1, limit + 1):
        steps = _Steps(at)

        async def one(world: World, steps: _Steps = steps) -> None:
            steps.fail = world._fail
            trio.lowlevel.add_instrument(steps)

            def arm(strike: Callable[[], object]) -> None:
                steps.strike = strike

            try:
                await scenario(world, arm)
                await world.settled()
            finally:
                trio.lowlevel.remove_instrument(steps)
                world.dead()

        try:
            run(one)
        except BaseException as error:
            error.add_note(f"at_every_step: struck after step {at}")
            raise
        if steps.steps < at:
            return at - 1
    raise AssertionError(f"the scenario has more than {limit} steps")
