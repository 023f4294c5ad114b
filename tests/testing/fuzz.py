"""Random programs, and whether two searches see the same outcomes of them.

``python -m tests.testing.fuzz tarnsd 0 1000`` compares 1,000 programs with what these
letters stand for, and prints those that differ. A fourth argument says how many
schedules without reduction are too many; a fifth, how much happens in a program.

Rules of this file:

* Two searches are compared by what can be observed: their classes alone would be wrong
  in the same way if the dependence between steps was. Where they differ, a step depends
  on something that the other one of the two does not touch.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Hashable, Iterable

import attrs

from tests.testing.hands import Program
from tests.testing.maker import make
from tests.testing.players import perform
from trio_actors._errors import leaves
from trio_actors.testing._circles import Known
from trio_actors.testing._dpor import Optimal
from trio_actors.testing._events import Run, Search
from trio_actors.testing._faults import Rules
from trio_actors.testing._flight import Lab, run_lab
from trio_actors.testing._middles import in_the_middle
from trio_actors.testing._search import Depth, NotRepeatable, canonical


@attrs.define
class Seen:
    """What a search has seen of a program."""

    outcomes: dict[Hashable, Run] = attrs.field(factory=dict[Hashable, Run])
    """Each with the first run that had it."""
    classes: dict[Hashable, Hashable] = attrs.field(factory=dict[Hashable, Hashable])
    """The outcome of each class of runs."""
    split: list[Hashable] = attrs.field(factory=list[Hashable])
    """Classes with more than one outcome: their steps depend on more than is known."""
    runs: int = 0
    blocked: int = 0
    complete: bool = False
    middle: str = ""
    """What could have come in the middle of a step: then there are more outcomes."""
    doubts: tuple[str, ...] = ()
    """Why not every order was tried: such programs prove nothing."""
    circles: Known = attrs.field(factory=Known)
    """Who may be in a circle of those who wait: from then on it is part of a class."""

    def note(self, run: Run) -> None:
        self.runs += 1
        if run.blocked:
            self.blocked += 1
            return
        outcome, name = outcome_of(run), canonical(run.trace)
        self.outcomes.setdefault(outcome, run)
        if self.classes.setdefault(name, outcome) != outcome:
            self.split.append(name)


def search(
    program: Program,
    how: Search,
    limit: int,
    rules: Rules | None = None,
    circles: Known | None = None,
) -> Seen:
    """Run a program until the search has come to its end, or has had enough."""
    lab = Lab(perform(program), rules or Rules(sampled=False))
    seen = Seen(circles=lab.circles)
    lab.circles.update(circles or {})
    lab.sees_parts = not lab.rules.checkpoints

    async def every() -> None:
        more = True
        while more and seen.runs < limit:
            run = await lab.once(how, program.plan)
            seen.note(run)
            seen.middle = seen.middle or in_the_middle(run)
            more = how.learn(run)
        seen.complete = not more

    run_lab(lab, every)
    seen.doubts = tuple(lab.caveats)
    return seen


def outcome_of(run: Run) -> Hashable:
    """Return what is observed of a run, also of one that has failed."""
    if run.error is None:
        return run.outcome
    return "failed", tuple(f"{type(one).__name__}: {one}" for one in leaves(run.error))


@attrs.define
class Report:
    """What came of comparing many programs."""

    letters: str
    equal: int = 0
    cut: int = 0
    """Programs with too many runs, or with orders that are never tried."""
    raw: int = 0
    """Runs of the search without any reduction."""
    classes: int = 0
    runs: int = 0
    """Runs of the optimal search, for the same programs."""
    blocked: int = 0
    different: list[tuple[int, str]] = attrs.field(factory=list[tuple[int, str]])
    """The seeds of programs of which a search has missed something, and which one."""

    @property
    def redundant(self) -> int:
        """How many runs of the optimal search there were to no purpose."""
        return self.runs - self.blocked - self.classes

    def __str__(self) -> str:
        return (
            f"{self.letters}: {self.equal} equal, {len(self.different)} different,"
            f" {self.cut} cut, {self.raw} raw runs, {self.classes} classes,"
            f" {self.runs} runs, {self.blocked} blocked, {self.redundant} redundant"
        )


def rules_for(letters: str) -> Rules:
    """Return what is possible in a run."""
    return Rules(
        enqueue="E" in letters,
        race="I" not in letters,
        checkpoints="L" in letters,
        sampled=False,
    )


def program_of(letters: str, seed: int, size: int = 6) -> Program:
    """Make a program; with a ``p`` one of its actors crashes at a message."""
    program = make(letters, seed, size)
    if "p" not in letters:
        return program
    (run,) = search(program, Depth(), 1, rules_for(letters)).outcomes.values()
    messages = [event.key[1:] for event in run.trace if event.kind == "message"]
    crashes = [
        (src, dst, messages[: at + 1].count((src, dst)))
        for at, (src, dst) in enumerate(messages)
    ]
    plans = [(), *((crash,) for crash in crashes)]
    return attrs.evolve(program, plan=random.Random(seed).choice(plans))


def compare(
    letters: str, seeds: Iterable[int], limit: int = 5000, size: int = 6
) -> Report:
    """Compare what the searches see of random programs.

    Args:
        letters: The features of the programs.
        seeds: One for each.
        limit: Programs with more runs, without reduction, are left out.
        size: How many things happen in a program, about.
    """
    report = Report(letters)
    for seed in seeds:
        missed = compare_one(program_of(letters, seed, size), report, limit)
        if missed:
            report.different.append((seed, missed))
    return report


def compare_one(program: Program, report: Report, limit: int) -> str:
    """Compare what the searches see of a program; return what is wrong."""
    try:
        return _compare(program, report, limit)
    except NotRepeatable:
        return "a planned step was not possible"


def _compare(program: Program, report: Report, limit: int) -> str:
    rules = rules_for(report.letters)
    raw = search(program, Depth(sleep=False), limit, rules)
    report.raw += raw.runs
    if raw.doubts or not raw.complete:
        report.cut += 1
        return ""
    outcomes = raw.outcomes.keys()
    if raw.circles:  # learnt on the way, and in another order in each search
        learning = search(program, Optimal(), 2 * limit, rules)
        if not learning.complete or learning.outcomes.keys() != outcomes:
            return "missed by an optimal search that learns of circles"
        raw = search(program, Depth(sleep=False), limit, rules, raw.circles)
    if raw.split:
        return "one class with two outcomes"
    asleep = search(program, Depth(sleep=True), 2 * limit, rules, raw.circles)
    if not asleep.complete or asleep.outcomes.keys() != outcomes:
        return "missed with sleep sets"
    best = search(program, Optimal(), 2 * limit, rules, raw.circles)
    report.classes += len(raw.classes)
    report.runs += best.runs
    report.blocked += best.blocked
    if not best.complete or best.outcomes.keys() != outcomes:
        return "missed by the optimal search"
    if best.classes.keys() != raw.classes.keys():
        return "other classes in the optimal search"
    report.equal += 1
    return ""


def main() -> None:
    """Compare, and print what differs."""
    logging.disable(logging.CRITICAL)
    letters = sys.argv[1]
    first, last, *more = (int(argument) for argument in sys.argv[2:])
    report = compare(letters, range(first, last), *more)
    for seed, missed in report.different:
        print(f"{missed}: {letters} {seed}\n{program_of(letters, seed, *more[1:])}")
    print(report)


if __name__ == "__main__":
    main()
