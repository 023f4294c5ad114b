"""Schedules that are drawn, not searched: which of the enabled events is next.

Rules of this file:

* Pure, as every search is: events come in, a place goes out.
* Run n depends on the seed, on n and on the program, and on nothing else. Each run has
  random numbers of its own; what must be known of the program (how long is a run?) is
  learned from run 0 alone, which is FIFO under every seed.
* No order comes from a hash: keys are looked up, never iterated over.
* A fault is rare: about one in a run, wherever it is possible.
* Who is starved is not starved for ever: a run that gets much longer than run 0 ends
  as a random walk, which is fair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random
from typing import TypeAlias

from ._events import Event, Footprint, Key, Run, dependent

Pick: TypeAlias = Callable[[Sequence[Event]], int]
"""What draws one run: from the events (no faults among them) to a place."""

Kind: TypeAlias = Callable[[Random, int], Pick]
"""Begins a run, with its random numbers; the int is how many choices run 0 had."""


class Replay:
    """FIFO, except for the rank that is given for a step. It has one run."""

    def __init__(self, deviations: Mapping[int, int]) -> None:
        self._deviations = dict(deviations)

    def choose(self, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
        """Return the rank of this step; one beyond the last begins again at 0."""
        return self._deviations.get(len(trace), 0) % len(enabled)

    def learn(self, run: Run) -> bool:
        """Want no other run."""
        return False


class Fifo:
    """The oldest event is next, always; time passes when nothing else can happen."""

    def choose(self, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
        """Return 0."""
        return 0

    def learn(self, run: Run) -> bool:
        """Go on: whoever asks for many runs of the same gets them."""
        return True


class Sampler:
    """Runs that are drawn by one kind or, in turn, by several.

    ``number`` is the run that is next. It may be set between two runs, once run 0 has
    been seen: so several processes share one search.
    """

    def __init__(self, seed: int, kinds: Sequence[Kind]) -> None:
        self.number = 0
        self._seed = seed
        self._kinds = kinds
        self._random = Random()  # of this run; seeded in _begin()
        self._pick: Pick | None = None
        # What run 0 had: steps, steps with a choice, steps with a possible fault.
        self._steps = self._choices = self._chances = 0

    def choose(self, trace: Sequence[Event], enabled: Sequence[Event]) -> int:
        """Return the place of the next event, as this run's kind draws it."""
        if self._pick is None:
            self._pick = self._begin()
        others = len(enabled)
        while others and enabled[others - 1].kind == "fault":
            others -= 1
        if not self.number:
            self._choices += others > 1
            self._chances += 0 < others < len(enabled)
            return 0
        if not others or (others < len(enabled) and self._is_time_for_a_fault()):
            return others + self._random.randrange(len(enabled) - others)
        if len(trace) > 2 * self._steps + 50:
            return self._random.randrange(others)
        return self._pick(enabled[:others])

    def learn(self, run: Run) -> bool:
        """Take the measure of run 0; there is always another run."""
        if not self.number:
            self._steps = len(run.trace)
        self.number += 1
        self._pick = None
        return True

    def _begin(self) -> Pick:
        # A text is hashed with SHA-512 here, never with hash(): no two runs of one
        # seed, and no two neighbouring seeds, have anything to do with each other.
        self._random = Random(f"{self._seed}:{self.number}")
        kind = self._kinds[(self.number - 1) % len(self._kinds)]
        return kind(self._random, self._choices)

    def _is_time_for_a_fault(self) -> bool:
        return self._random.random() * (self._chances + 1) < 1


# --- The kinds ----------------------------------------------------------------


def walk(random: Random, _choices: int) -> Pick:
    """Draw each step alone: a random walk."""
    return lambda events: random.randrange(len(events))


def tilted(random: Random, _choices: int) -> Pick:
    """Draw each step alone, but with a weight for each channel, from 1 to 1,000.

    One that is in the way of all others for long is a matter of luck twice in a walk:
    here once.
    """
    weights: dict[Key, float] = {}

    def pick(events: Sequence[Event]) -> int:
        for event in events:
            if event.key not in weights:
                weights[event.key] = 1000 ** random.random()
        each = [weights[event.key] for event in events]
        return random.choices(range(len(events)), each)[0]

    return pick


def pct(random: Random, choices: int, depth: int) -> Pick:
    """Let channels have priorities, and *depth* - 1 times the first become the last.

    Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding
    bugs": one with *depth* ordering constraints is hit with a probability of at least
    1 / (channels * choices ** (depth - 1)), however unlikely it is in a random walk.
    """
    changes = random.sample(range(choices), min(depth - 1, choices))
    priorities: dict[Key, float] = {}
    at = -1

    def pick(events: Sequence[Event]) -> int:
        nonlocal at
        for event in events:
            if event.key not in priorities:
                priorities[event.key] = random.random()
        first = max(range(len(events)), key=lambda i: priorities[events[i].key])
        at += len(events) > 1
        if len(events) > 1 and at in changes:
            priorities[events[first].key] = -1.0 - changes.index(at)
            first = max(range(len(events)), key=lambda i: priorities[events[i].key])
        return first

    return pick


def pos(random: Random, _choices: int) -> Pick:
    """Let events have priorities, drawn again for those that raced with the one taken.

    Yuan, Yang, Gu, "Partial order aware concurrency sampling": so orders that differ
    in independent events alone share their probability instead of multiplying it.
    """
    priorities: dict[Key, float] = {}

    def pick(events: Sequence[Event]) -> int:
        for event in events:
            if event.key not in priorities:
                priorities[event.key] = random.random()
        first = max(range(len(events)), key=lambda i: priorities[events[i].key])
        taken: Footprint = events[first].footprint
        for event in events:
            if event is events[first] or dependent(event.footprint, taken):
                del priorities[event.key]
        return first

    return pick


class RandomWalk(Sampler):
    """Every event that can be next is next with the same probability."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, [walk])


class Pct(Sampler):
    """Probabilistic concurrency testing: few, but far-reaching decisions."""

    def __init__(self, seed: int, depth: int = 3) -> None:
        super().__init__(seed, [partial(pct, depth=depth)])


class Pos(Sampler):
    """Partial-order sampling: what races is decided anew, the rest is not."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, [pos])


class Portfolio(Sampler):
    """All of them in turn: none is the best for every bug."""

    def __init__(self, seed: int) -> None:
        two, three = partial(pct, depth=2), partial(pct, depth=3)
        # A plain walk found nothing sooner than the tilted one, over many programs.
        super().__init__(seed, [tilted, two, pos, three])
