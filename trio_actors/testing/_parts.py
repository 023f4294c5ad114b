"""The parts of a step: what each task does in it, from checkpoint to checkpoint.

Rules of this file:

* Most steps have one part: of them nothing is written down.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs
from trio.lowlevel import Task

from ._events import Footprint, Part, Touched


@attrs.define
class Parts:
    """The parts of the step that goes on."""

    now: Footprint | None = None
    """What the part that goes on has touched; None in the first one of a step."""
    done: list[Part] = attrs.field(factory=list[Part])
    _woken: dict[Task, int] = attrs.field(factory=dict[Task, int])
    _last: dict[Task, int] = attrs.field(factory=dict[Task, int])

    def touch(self, touched: Touched, *, write: bool) -> None:  # hot
        """Note what the part that goes on has touched."""
        if self.now is not None and (write or touched not in self.now):
            self.now[touched] = write

    def begin_crowd(self, begun: Footprint) -> None:
        """Note that several tasks go on, after what was touched so far."""
        if self.now is None:
            self.now = begun.copy()

    def end(
        self,
        task: Task,
        who: str,
        others: Collection[Task],
        woken: Collection[Task],
        first: Footprint,
    ) -> None:
        """Note that a task has come to a checkpoint, or waits.

        Args:
            task: Who has.
            who: For whom that one acts.
            others: Who goes on in any case, next.
            woken: Who goes on after them.
            first: What the step has touched so far, if this is its first part.
        """
        number = len(self.done)
        causes = 0
        for part in (self._woken.pop(task, -1), self._last.get(task, -1)):
            if part >= 0:
                causes |= self.done[part].causes | 1 << part
        touched = first.copy() if self.now is None else self.now
        touched["turn", who] = True
        self.done.append(Part(touched, causes))
        self._last[task] = number
        for one in others:
            self._woken.setdefault(one, -1)
        for one in woken:
            self._woken.setdefault(one, number)
        self.now = {}
