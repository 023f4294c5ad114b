"""Run a program under many schedules, until one breaks it or all were tried.

Rules of this file:

* What fails is run again before it is believed: a program that goes another way under
  the same schedule is reported as such. Not what does not settle: that takes seconds.
* "Verified" is said of a search that came to its end, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any

import attrs
from trio.lowlevel import checkpoint

from .._errors import leaves
from ._dpor import Optimal
from ._events import Run, Search, Unsettled
from ._faults import Faults, Plan, Rules, longer
from ._findings import Findings
from ._flight import Lab, run_lab
from ._jobs import Crew
from ._middles import in_the_middle
from ._same import check_same, is_like
from ._search import canonical, not_repeatable
from ._settings import SETTINGS
from ._shrink import Deviations, Shrinker, deviations
from ._strategies import Portfolio, Replay
from ._world import World

FEW = 100
"""A search begins with as many orders one after the other: most spaces are smaller."""
AGAIN = 50
"""One passing run in so many is run again, to see whether it is the same."""
MOST = 50_000
"""The most runs of a search of all orders."""
BEGINNINGS = (0, 10, 30, 100, 1000)
"""Of a run that does not settle: how many steps of its schedule may be enough."""


@attrs.frozen(kw_only=True)
class Job:
    """A program, and how to look for what breaks it."""

    program: Callable[[World], Awaitable[Any]]
    rules: Rules
    schedules: int = 1000
    exhaustive: bool = False
    seed: int = 0
    jobs: int = 1
    """In how many processes schedules are drawn."""


@attrs.frozen
class Drawn:
    """What another process has to say of a run that was drawn."""

    name: Hashable
    """Its class."""
    caveats: tuple[str, ...] = ()
    trouble: str = ""
    """What it raised. Then it is run here, too: an exception does not travel well."""


async def test(fn: Callable[[], Awaitable[None]]) -> None:
    """Call it: so the task of a test has one name, whatever it is run for."""
    await fn()


class Explorer:
    """One search for a schedule that breaks a program.

    Args:
        task: The program, and how to search.
        before: For a closer look: how many schedules there were before it.
    """

    def __init__(self, task: Job, before: int = 0) -> None:
        self.task: Job = task
        self.lab: Lab = Lab(task.program, task.rules)
        self.found: Findings = Findings()
        self._one_by_one = Optimal()
        self._drawn = Portfolio(task.seed)
        # What tasks share behind our back is only found by drawing: README says so.
        self._more = bool(before) or not task.rules.checkpoints
        self._crew: Crew[Drawn] | None = None
        self.middle: str = ""  # what could come in the middle of a step, if anything
        self._before = before

    def explore(self) -> Findings:
        """Search, and make what was found small."""
        task = self.task
        if task.exhaustive:
            self._in_trio(self._try_all)
        else:
            # Run 0 is drawn here: what it shows of the program goes along in a fork,
            # and there is none where few orders were all.
            alone = task.schedules if task.jobs == 1 else 1
            self._in_trio(partial(self._try_many, alone))
            if not self._is_over:
                self._try_together()
        self.make_small()
        return self.found

    def make_small(self) -> None:
        """Look for a smaller schedule if there is one that fails."""
        if self.found.failed is not None:
            self._in_trio(partial(self._make_small, self.found.failed))

    def closer(self) -> Explorer | None:
        """Return a search in which each task step is a step, if it may see more.

        It is where something could come in the middle of a step: between two messages
        of one handler, say. None, too, if nothing is left of the schedules.
        """
        task, found = self.task, self.found
        left = task.schedules - (0 if task.exhaustive else found.schedules)
        if not self.middle or self._takes_whole_steps or found.failed is not None:
            return None
        if left < 1 or (task.exhaustive and not found.complete):
            return None
        rules = attrs.evolve(task.rules, checkpoints=True)
        task = attrs.evolve(task, rules=rules, schedules=left)
        closer = Explorer(task, before=found.schedules)
        closer.lab.circles.update(self.lab.circles)
        closer.lab.caveats.update(self.lab.caveats)
        return closer

    @property
    def _takes_whole_steps(self) -> bool:
        """Who wants fewer orders of time wants no orders within a step either."""
        return not self.task.rules.race

    @property
    def doubts(self) -> list[str]:
        """Why not every order was tried."""
        middle = self.middle and not self._takes_whole_steps
        return [*self.lab.caveats, *([self.middle] if middle else [])]

    @property
    def conditions(self) -> list[str]:
        """Under which conditions the verdict holds, besides the options."""
        every = {
            f"in whole steps, though {self.middle}": (
                bool(self.middle) and self._takes_whole_steps
            ),
            f"the random numbers of seed={self.task.seed}": self.lab.drew,
        }
        return [text for text, holds in every.items() if holds]

    def replay(self, schedule: Deviations, plan: Plan) -> Findings:
        """Run one schedule."""

        async def replay() -> None:
            run = await self._again(schedule, plan)
            self.found.note(run)
            if run.error is not None:
                self._remember(run, plan)

        self._in_trio(replay)
        return self.found

    def _in_trio(self, fn: Callable[[], Awaitable[None]]) -> None:
        run_lab(self.lab, partial(test, fn))

    async def _make_small(self, failed: Run) -> None:
        if isinstance(failed.error, Unsettled):  # seconds for each run
            await self._begin_only(self.found.smallest)
        else:
            await self._confirm(failed, self.found.plan)
            await self._shrink(failed)

    # --- All orders ---

    async def _try_all(self) -> None:
        """Try all orders without a crash, with one, with two ...

        What is sent only because of a crash (a retry, say) is met with that crash: each
        plan is made of a shorter one, and of what was met under that.
        """
        found = self.found
        plans: list[Plan] = [()]
        for _ in range(1 + self.task.rules.faults.crash):
            more: dict[Plan, None] = {}
            for plan in plans:
                found.messages.clear()
                if not await self._exhaust(plan):
                    return
                more.update(dict.fromkeys(longer(plan, found.messages)))
            plans = sorted(more)
        found.complete = True

    async def _exhaust(self, plan: Plan) -> bool:
        """Try all orders with a plan; False if one fails, or if there are too many."""
        search = Optimal()
        more = True
        while more:
            if self.found.schedules >= MOST:
                return False
            more = await self._run(search, plan)
            if self.found.failed is not None:
                return False
        return True

    # --- Many orders ---

    @property
    def _is_over(self) -> bool:
        found = self.found
        most = self.task.schedules
        if self.middle and not self._takes_whole_steps:
            most = (most + 1) // 2  # the rest is for a closer look
        return found.complete or found.schedules >= most or found.failed is not None

    async def _try_many(self, most: int) -> None:
        """Try the orders one after the other; soon, in between, some that are drawn.

        A small space is soon at its end; in a large one the search goes deep before it
        goes far, and a draw finds more.

        Args:
            most: How many are drawn at most.
        """
        found = self.found
        while not self._is_over and self._drawn.number < most:
            if not self._more or (found.schedules > FEW and found.schedules % 2):
                await self._draw()
            else:
                self._more = await self._run(self._one_by_one, ())
                found.complete = (
                    not self._more
                    and self.task.rules.faults == Faults()
                    and found.failed is None
                )

    # --- In several processes ---

    def _try_together(self) -> None:
        """Go on, and let other processes run what is drawn."""
        numbers = range(self._drawn.number, self.task.schedules)
        crew = self._crew = Crew(self._work, numbers, self.task.jobs)
        try:
            crew.start()
            self._in_trio(partial(self._try_many, self.task.schedules))
        finally:
            crew.end()

    async def _draw(self) -> None:
        if self._crew is None:
            await self._run(self._drawn, ())
            return
        while not self._crew.is_ready(0.2):
            await checkpoint()  # where Ctrl-C is raised that came at another moment
        drawn = self._crew.take()
        if not drawn.trouble:
            self._drawn.number += 1
            self.lab.caveats.update(dict.fromkeys(drawn.caveats))
            self.found.count(drawn.name)
            return
        await self._run(self._drawn, ())
        if self.found.failed is None:
            raise not_repeatable(
                f"it passes, and in another process it raised {drawn.trouble}"
            )

    def _work(self, numbers: range, tell: Callable[[Drawn], None]) -> None:
        """Do the share of one process; it ends with what fails."""

        async def work() -> None:
            for number in numbers:
                self._drawn.number = number
                drawn = await self._at_work(sure=number % AGAIN != 0)
                tell(drawn)
                if drawn.trouble:
                    return

        self._in_trio(work)

    async def _at_work(self, *, sure: bool) -> Drawn:
        try:
            run = await self._once(self._drawn, ())
            if run.error is None and not sure:
                await self._confirm(run, ())
        except BaseException as error:  # noqa: ASYNC103  # skipped, say: it is told
            return Drawn(None, trouble=repr(error))
        if run.error is not None:
            return Drawn(None, trouble=repr(run.error))
        self._drawn.learn(run)
        return Drawn(canonical(run.trace), tuple(self.lab.caveats))

    # --- One run ---

    async def _once(self, search: Search, plan: Plan) -> Run:
        tried = isinstance(search, Optimal) and not self.task.rules.checkpoints
        self.lab.sees_parts = tried and not self.middle
        run = await self.lab.once(search, plan)
        for error in leaves(run.error) if run.error is not None else ():
            if isinstance(error, SETTINGS.endings):
                raise error
        return run

    async def _run(self, search: Search, plan: Plan) -> bool:
        run = await self._once(search, plan)
        self.found.note(run, plan)
        if run.error is not None:
            self._remember(run, plan)
            return False
        if not run.blocked and self.found.schedules % AGAIN == 1:
            await self._confirm(run, plan)
        self.middle = self.middle or in_the_middle(run)
        return search.learn(run)

    def _remember(self, run: Run, plan: Plan) -> None:
        found = self.found
        found.failed, found.failed_after = run, self._before + found.schedules
        found.plan, found.smallest = plan, deviations(run.ranks)

    async def _again(self, schedule: Deviations, plan: Plan) -> Run:
        return await self._once(Replay(schedule), plan)

    async def _confirm(self, run: Run, plan: Plan) -> None:
        """Run a schedule again: it must be the same run.

        Raises:
            NotRepeatable: It is another one.
        """
        for _ in range(2 if run.error is not None else 1):
            again = await self._again(deviations(run.ranks), plan)
            check_same(run, again)

    async def _begin_only(self, schedule: Deviations) -> None:
        """Take the beginning of a schedule if that does not settle either.

        To cut the run itself makes no smaller schedule, and to run it again would show
        nothing new.
        """
        found = self.found
        for steps in BEGINNINGS:
            fewer = {at: rank for at, rank in schedule.items() if at < steps}
            if fewer == schedule:
                return
            run = await self._again(fewer, found.plan)
            if isinstance(run.error, Unsettled):
                found.failed, found.smallest = run, deviations(run.ranks)
                return

    async def _shrink(self, failed: Run) -> None:
        """Look for a smaller schedule that fails in the same way.

        There is no smaller plan of crashes: those were searched before.
        """
        found = self.found
        shrinker = Shrinker(failed)
        for proposal in shrinker:
            run = await self._again(proposal, found.plan)
            shrinker.tell(run, failed=is_like(run.error, failed.error))
        found.smallest = shrinker.best
        found.failed = await self._again(shrinker.best, found.plan)
        if shrinker.best:
            *fewer, _ = sorted(shrinker.best.items())
            found.nearest = await self._again(dict(fewer), found.plan)
