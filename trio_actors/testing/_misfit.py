"""Which operations fit no order, in the fewest of them, and as a timeline.

Rules of this file:

* Whatever is left out makes it easier to fit, never harder: what comes after the return
  that no order came past; the answers of some; whole operations that have changed
  nothing, or nothing that matters to the answers that are left.
* To explain takes a limited number of steps; the rest is then told in more operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from .._errors import show
from ._orders import Finding, Machine, Operation, Outcome, TooLong, find_order
from ._state import Picture, freeze


@attrs.frozen
class Misfit:
    """Operations that fit no order."""

    operations: list[Operation]
    """The fewest that show it."""
    stuck: Operation
    """The last whose answer fits no order of those before."""
    expected: list[Outcome]
    """What the model would have answered to it."""
    total: int
    """How many there are that could matter to each other."""
    part: str = ""
    """Their key, where there is one."""

    def __str__(self) -> str:
        shown = len(self.operations)
        head = (
            f"not linearizable: {shown} of {self.total} operations{self.part} fit no"
            " order in which the model gives these answers"
        )
        rest = self.total - shown
        others = ["", f"(the other {rest} make no difference)"] if rest else []
        return "\n".join([head, "", *self._rows(), *others])

    def _rows(self) -> list[str]:
        moments = sorted(
            moment
            for one in self.operations
            for moment in (one.called, one.returned)
            if moment is not None
        )
        step = max(1, min(4, 60 // len(moments)))
        column = {moment: step * place for place, moment in enumerate(moments)}
        width = step * len(moments) + 1
        name = max(len(one.client) for one in self.operations)
        rows: list[str] = []
        for one in sorted(self.operations, key=lambda one: one.called):
            start = column[one.called]
            if one.returned is None:
                bar = "|" + "-" * (width - start - 2) + ">"
            else:
                bar = "|" + "-" * (column[one.returned] - start - 1) + "|"
            time = (" " * start + bar).ljust(width)
            rows.append(f"  {one.client:{name}}  {time}  {self._told(one)}")
        return rows

    def _told(self, one: Operation) -> str:
        answer = "no answer" if one.outcome is None else _say(one.outcome)
        text = f"{show(one.request)} -> {answer}"
        if one is not self.stuck:
            return text
        expected = list(dict.fromkeys(map(_say, self.expected)))
        more = ["..."] if len(expected) > 4 else []
        return f"{text}   the model: {' or '.join(expected[:4] + more)}"


def _say(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"raised {show(outcome.error)}"
    return show(outcome.value)


# --- The fewest -------------------------------------------------------------

_Part = list[tuple[int, Operation]]


def explain(
    operations: Sequence[Operation], machine: Machine, found: Finding, part: str = ""
) -> Misfit:
    """Return the fewest of *operations* that do not fit, given that they do not.

    Args:
        operations: What happened.
        machine: The model.
        found: What the search for an order has found.
        part: What they are called, for the text.
    """
    end = operations[found.stuck].returned
    assert end is not None
    left = [
        (at, _until(one, end)) for at, one in enumerate(operations) if one.called < end
    ]

    def look(these: _Part) -> Finding | None:
        try:
            return find_order([one for _, one in these], machine, 4 * found.tried + 999)
        except TooLong:
            return None

    left = _without_answers(left, look)
    left = _without_changes(left, look)
    last = look(left)
    if last is None or last.order is not None:
        last, left = found, list(enumerate(operations))
    stuck, _ = left[last.stuck]
    shown = [operations[at] for at, _ in left]
    return Misfit(shown, operations[stuck], last.expected, len(operations), part)


_Look = Callable[[_Part], Finding | None]


def _until(one: Operation, end: int) -> Operation:
    if one.returned is None or one.returned <= end:
        return one
    return attrs.evolve(one, returned=None)


def _free(left: _Part, places: set[int]) -> _Part:
    return [
        (at, attrs.evolve(one, outcome=None) if at in places else one)
        for at, one in left
    ]


def _without_answers(left: _Part, look: _Look) -> _Part:
    """Leave the answers out of account that are not needed."""
    known = [at for at, one in left if one.outcome is not None]
    return _free(left, _most(known, lambda gone: _is_misfit(look(_free(left, gone)))))


def _without_changes(left: _Part, look: _Look) -> _Part:
    """Take out the operations that changed nothing, or nothing that matters."""
    found = look(left)
    if found is None:
        return left
    told = _told(left, found)
    movers = {left[number][0] for number in found.movers}
    core = [at for at, one in left if one.outcome is not None]
    left = [(at, one) for at, one in left if at in movers or one.outcome is not None]

    def are_rest(gone: set[int]) -> bool:
        # Without them as with them: the same does not fit, and each answer is needed.
        rest = [(at, one) for at, one in left if at not in gone]
        return _told(rest, look(rest)) == told and all(
            _fits(look(_free(rest, {at}))) for at in core
        )

    gone = _most([at for at, one in left if one.outcome is None], are_rest)
    return [(at, one) for at, one in left if at not in gone]


def _told(left: _Part, found: Finding | None) -> tuple[int, set[Picture]] | None:
    """Return what is told: whose answer does not fit, and what the model says."""
    if found is None or found.order is not None:
        return None
    says = {freeze((one.value, type(one.error))) for one in found.expected}
    return left[found.stuck][0], says


def _is_misfit(found: Finding | None) -> bool:
    return found is not None and found.order is None


def _fits(found: Finding | None) -> bool:
    return found is not None and found.order is not None


def _most(places: list[int], can_go: Callable[[set[int]], bool]) -> set[int]:
    """Return as many as can go together, tried in ever smaller groups."""
    gone: set[int] = set()
    size = len(places)
    while size:
        for start in range(0, len(places), size):
            more = gone.union(places[start : start + size])
            if more != gone and can_go(more):
                gone = more
        size //= 2
    return gone
