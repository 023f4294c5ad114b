"""A failing schedule, made small: fewer deviations from FIFO.

Rules of this file:

* Pure: it proposes, somebody else runs. It never waits, and draws no random numbers.
* What counts is what a run *did*: a rank beyond the enabled events, or a step that was
  never reached, is no deviation.
* The smallest known failure has the fewest deviations; then the smallest ranks; then
  the earliest steps. It only ever gets smaller, so there is an end without a limit,
  too.
* No schedule is run twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ._events import Run

Deviations: TypeAlias = dict[int, int]
"""Which event was taken at which step (its rank), where it was not the oldest."""


def deviations(ranks: Sequence[int]) -> Deviations:
    """Return the ranks that are not FIFO's, by step."""
    return {step: rank for step, rank in enumerate(ranks) if rank}


class Shrinker:
    """Looks for the smallest schedule that fails like a given one.

    Each proposal is run, and answered before the next one is taken::

        shrinker = Shrinker(failed_run)
        for proposal in shrinker:
            run = run_with(Replay(proposal))
            shrinker.tell(run, failed=fails_in_the_same_way(run))
        print(shrinker.best)
    """

    def __init__(self, run: Run, limit: int = 100) -> None:
        self.best = deviations(run.ranks)
        """The smallest failing schedule so far."""
        self.runs = 0
        """How many proposals were made; at most *limit*."""
        self._limit = limit
        self._tried = {_mark(self.best)}

    def __iter__(self) -> Iterator[Deviations]:
        for candidate in self._candidates():
            # What was tried and is smaller than the best has passed.
            if _size(candidate) >= _size(self.best) or _mark(candidate) in self._tried:
                continue
            if self.runs == self._limit:
                return
            self.runs += 1
            self._tried.add(_mark(candidate))
            yield dict(candidate)

    def tell(self, run: Run, *, failed: bool) -> None:
        """Answer the last proposal: its run, and whether it failed in the same way."""
        done = deviations(run.ranks)
        self._tried.add(_mark(done))
        if failed and _size(done) < _size(self.best):
            self.best = done

    def _candidates(self) -> Iterator[Deviations]:
        yield {}
        before: Deviations | None = None
        while before != self.best:
            before = self.best
            yield from self._without_some()
            yield from self._with_smaller_ranks()
            if before == self.best:
                yield from self._moved()

    def _without_some(self) -> Iterator[Deviations]:
        """Leave out a half, a quarter, ... and at last each one alone (ddmin).

        The late ones first: the failure may have been done before them, and what comes
        after a step that is left out is no longer the step that it was.
        """
        size = (len(self.best) + 1) // 2
        while size:
            end = len(self.best)
            while end > 0:
                steps = list(self.best.items())
                yield dict(steps[: max(0, end - size)] + steps[end:])
                end = min(end - size, len(self.best))
            size //= 2

    def _with_smaller_ranks(self) -> Iterator[Deviations]:
        for step in list(self.best):
            for rank in range(1, self.best.get(step, 0)):
                yield {**self.best, step: rank}

    def _moved(self) -> Iterator[Deviations]:
        """Leave one out and let another one make good for it, nearby.

        For without the one, the other stands at another step, or has another rank.
        """
        for steps, ranks in _NEARBY:
            for left_out in list(self.best):
                rest = {at: rank for at, rank in self.best.items() if at != left_out}
                for at, rank in rest.items():
                    others = {one: rest[one] for one in rest if one != at}
                    there, other = at + steps, rank + ranks
                    if there >= 0 and other > 0 and there not in others:
                        yield dict(sorted({**others, there: other}.items()))


# How far, in steps and in ranks: the nearest first.
_NEARBY = (
    *((-1, 0), (1, 0), (0, 1), (-1, 1), (1, 1)),
    *((-2, 0), (2, 0), (0, 2), (1, -1), (-1, -1)),
)


def _mark(some: Deviations) -> tuple[tuple[int, int], ...]:
    return tuple(some.items())


def _size(some: Deviations) -> tuple[int, int, int]:
    return len(some), sum(some.values()), sum(some)
