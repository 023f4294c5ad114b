"""What a search has found so far: how many runs, of which classes, and what fails."""

from __future__ import annotations

from collections.abc import Hashable

import attrs

from ._events import Run
from ._faults import Crash, Plan
from ._search import canonical
from ._shrink import Deviations


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
    messages: dict[Crash, None] = attrs.field(factory=dict[Crash, None])
    """Those that were met where all crashes of the plan were: where one more can be."""

    @property
    def redundant(self) -> int:
        """How many runs were like another."""
        return self.schedules - self.blocked - len(self.met)

    def note(self, run: Run, plan: Plan = ()) -> None:
        """Take note of a run, in which crashes were planned."""
        self.last = run
        if run.blocked:
            self.schedules += 1
            self.blocked += 1
            return
        self.count(canonical(run.trace))
        number: dict[tuple[str, str], int] = {}
        met: dict[Crash, None] = {}
        for event in run.trace:
            if event.kind == "message" and event.dst not in run.by_hand:
                pair = event.src, event.dst
                number[pair] = number.get(pair, 0) + 1
                met[*pair, number[pair]] = None
        if all(crash in met for crash in plan):  # else it is a run of a shorter plan
            self.messages.update(met)

    def count(self, name: Hashable) -> None:
        """Count a run of a class."""
        self.schedules += 1
        self.met[name] = self.met.get(name, 0) + 1
