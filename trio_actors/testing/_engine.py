"""Run a program under many schedules, until one breaks it or all were tried.

Rules of this file:

* What fails is run again before it is believed: a program that goes another way under
  the same schedule is reported as such.
* "Verified" is said of a search that came to its end, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Any

import attrs

from ._dpor import Optimal
from ._events import Run, Search
from ._faults import Faults, Plan, plans_of
from ._flight import Lab, run_lab
from ._footprints import Rules
from ._search import NotRepeatable, canonical
from ._shrink import Deviations, Shrinker, deviations
from ._strategies import Portfolio, Replay
from ._world import World

FEW = 100
"""A search begins with as many orders one after the other: most spaces are smaller."""
AGAIN = 50
"""One passing run in so many is run again, to see whether it is the same."""
MOST = 50_000
"""The most runs of a search of all orders."""


@attrs.define
class Findings:
    """What a search has found so far."""

    schedules: int = 0
    blocked: int = 0
    met: dict[Hashable, int] = attrs.field(factory=dict[Hashable, int])
    """How often each class was run."""
    complete: bool = False
    last: Run | None = None
    failed: Run | None = None
    nearest: Run | None = None
    """What passes, without the last deviation of what fails."""
    failed_after: int = 0
    plan: Plan = ()
    smallest: Deviations = attrs.field(factory=dict[int, int])
    messages: dict[tuple[str, str, int], None] = attrs.field(
        factory=dict[tuple[str, str, int], None]
    )
    """The messages that were met: where an actor can be crashed."""

    @property
    def redundant(self) -> int:
        """How many runs were like another."""
        return self.schedules - self.blocked - len(self.met)

    def note(self, run: Run) -> None:
        """Take note of a run."""
        self.schedules += 1
        self.last = run
        if run.blocked:
            self.blocked += 1
            return
        name = canonical(run.trace)
        self.met[name] = self.met.get(name, 0) + 1
        number: dict[tuple[str, str], int] = {}
        for event in run.trace:
            if event.kind == "message":
                pair = event.src, event.dst
                number[pair] = number.get(pair, 0) + 1
                self.messages[*pair, number[pair]] = None


@attrs.frozen(kw_only=True)
class Job:
    """A program, and how to look for what breaks it."""

    program: Callable[[World], Awaitable[Any]]
    rules: Rules
    schedules: int = 1000
    exhaustive: bool = False
    seed: int = 0


class Explorer:
    """One search for a schedule that breaks a program."""

    def __init__(self, task: Job) -> None:
        self.task: Job = task
        self.lab: Lab = Lab(task.program, task.rules)
        self.found: Findings = Findings()

    def explore(self) -> Findings:
        """Search, and make what was found small."""
        run_lab(self.lab, self._explore)
        return self.found

    def replay(self, schedule: Deviations, plan: Plan) -> Findings:
        """Run one schedule."""

        async def replay() -> None:
            run = await self._again(schedule, plan)
            self.found.note(run)
            if run.error is not None:
                self._remember(run, plan)

        run_lab(self.lab, replay)
        return self.found

    async def _explore(self) -> None:
        if self.task.exhaustive:
            await self._try_all()
        else:
            await self._try_many()
        if self.found.failed is not None:
            await self._confirm(self.found.failed)
            await self._shrink(self.found.failed)

    # --- All orders ---

    async def _try_all(self) -> None:
        found = self.found
        if not await self._exhaust(()):
            return
        for plan in plans_of(found.messages, self.task.rules.faults.crash):
            if not await self._exhaust(plan):
                return
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

    async def _try_many(self) -> None:
        """Try the orders one after the other; soon, in between, some that are drawn.

        A small space is soon at its end; in a large one the search goes deep before it
        goes far, and a draw finds more.
        """
        found, faults = self.found, self.task.rules.faults
        one_by_one, drawn = Optimal(), Portfolio(self.task.seed)
        more = not self.task.rules.checkpoints
        while found.schedules < self.task.schedules and found.failed is None:
            if not more or (found.schedules > FEW and found.schedules % 2):
                await self._run(drawn, ())
            else:
                more = await self._run(one_by_one, ())
                if not more and faults == Faults() and found.failed is None:
                    found.complete = True
                    return

    # --- One run ---

    async def _run(self, search: Search, plan: Plan) -> bool:
        run = await self.lab.once(search, plan)
        self.found.note(run)
        if run.error is not None:
            self._remember(run, plan)
            return False
        if not run.blocked and self.found.schedules % AGAIN == 1:
            await self._confirm(run, plan)
        return search.learn(run)

    def _remember(self, run: Run, plan: Plan) -> None:
        found = self.found
        found.failed, found.failed_after = run, found.schedules
        found.plan, found.smallest = plan, deviations(run.ranks)

    async def _again(self, schedule: Deviations, plan: Plan) -> Run:
        return await self.lab.once(Replay(schedule), plan)

    async def _confirm(self, run: Run, plan: Plan | None = None) -> None:
        """Run a schedule again: it must be the same run.

        Raises:
            NotRepeatable: It is another one.
        """
        plan = self.found.plan if plan is None else plan
        for _ in range(2 if run.error is not None else 1):
            again = await self._again(deviations(run.ranks), plan)
            check_same(run, again)

    async def _shrink(self, failed: Run) -> None:
        """Look for a smaller schedule that fails in the same way."""
        found = self.found
        if found.plan:
            run = await self._again({}, ())
            if is_like(run.error, failed.error):
                found.failed, found.plan, found.smallest = run, (), {}
                return
        shrinker = Shrinker(failed)
        for proposal in shrinker:
            run = await self._again(proposal, found.plan)
            shrinker.tell(run, failed=is_like(run.error, failed.error))
        found.smallest = shrinker.best
        found.failed = await self._again(shrinker.best, found.plan)
        if shrinker.best:
            *fewer, _ = sorted(shrinker.best.items())
            found.nearest = await self._again(dict(fewer), found.plan)


def is_like(one: BaseException | None, other: BaseException | None) -> bool:
    """Whether two runs failed in the same way: of one type, and at one place."""
    if one is None or other is None:
        return one is other
    return type(one) is type(other) and _place(one) == _place(other)


def _place(error: BaseException) -> object:
    places = list(_places(error))
    return places[-1] if places else None


def _places(error: BaseException) -> Iterator[tuple[str, int]]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
        traceback = traceback.tb_next


def check_same(run: Run, again: Run) -> None:
    """Compare two runs of one schedule.

    Raises:
        NotRepeatable: They differ; the text says where first.
    """
    for number, (one, other) in enumerate(zip(run.trace, again.trace, strict=False)):
        if one.key != other.key:
            raise NotRepeatable(
                f"the same schedule gave another run: step {number} was"
                f" {' '.join(one.key)}, and then {' '.join(other.key)}. Something is"
                " not controlled: random numbers that are not the system's, an order"
                " of a set, id(), real time, a thread."
            )
    if len(run.trace) != len(again.trace) or not is_like(run.error, again.error):
        raise NotRepeatable(
            f"the same schedule gave another run: {len(run.trace)} steps and"
            f" {run.error!r}, and then {len(again.trace)} steps and {again.error!r}."
            " Something is not controlled: state that outlives the test, random"
            " numbers that are not the system's, real time."
        )
