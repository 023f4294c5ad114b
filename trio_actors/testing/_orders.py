"""Whether there is an order in which a model gives the answers that were given.

Rules of this file:

* An operation may stand in the order anywhere between its call and its return; without
  a return, anywhere after its call, or nowhere. (Wing and Gong.)
* What was done and the state that it led to are looked at once. (Lowe.)
* What fits and only reads is taken at once: no order is better without it. That it only
  reads is certain when it was applied in all states there were; if not, all is tried
  again without that.
* A model is applied once to each request in each state. Its states are pictures, and
  each keeps a model of its own that nobody applies anything to.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from ._state import Picture, duplicate, freeze

SURE = 20_000
"""How many times a request is applied to see that it only reads."""

LIMIT = 2_000_000
"""How many times an operation is tried before a search gives up."""


class Model(Protocol):
    """Says what the right answers are."""

    def apply(self, request: Any) -> object:
        """Handle a request: return its answer, or raise what the asker must get."""
        ...


@attrs.frozen(eq=False)
class Outcome:
    """What a request came to."""

    value: object = None
    error: BaseException | None = None

    def fits(self, other: Outcome) -> bool:
        """Whether it is what the model says: the same answer, or such an error.

        A model that returns NotImplemented has nothing to say about the request.
        """
        if other.value is NotImplemented:
            return True
        if self.error is not None or other.error is not None:
            return type(self.error) is type(other.error)
        return self.value is other.value or bool(self.value == other.value)


@attrs.frozen(eq=False)
class Operation:
    """A request of a client, from its call to its return."""

    client: str
    """Who asked."""
    request: object
    """What."""
    called: int
    """When: the place of its call among all the calls and returns."""
    returned: int | None = None
    """When the answer came; None if none came: it may have happened or not."""
    outcome: Outcome | None = None
    """The answer; None if it is not known."""


class TooLong(Exception):
    """There are more orders than anybody can try."""


# --- The model's states -----------------------------------------------------


class Machine:
    """The states of a model, and what leads from one to the next, as far as asked."""

    def __init__(self, make: Callable[[], Model]) -> None:
        first = make()
        picture = freeze(first)
        self._models: list[Model] = [first]
        self._pictures: list[Picture] = [picture]
        self._numbers: dict[Picture, int] = {picture: 0}
        self.steps: dict[tuple[int, int], tuple[Outcome, int]] = {}
        """By a state and a request: the answer, and the state then."""
        self._requests: dict[Picture, int] = {}
        self.moving: set[int] = set()
        """Requests that have changed a state: they do more than read."""

    def number(self, request: object) -> int:
        """Return the same number for requests that look alike."""
        return self._requests.setdefault(freeze(request), len(self._requests))

    def step(self, state: int, number: int, request: object) -> tuple[Outcome, int]:
        """Return what the model answers in a state, and its state then."""
        found = self.steps.get((state, number))
        if found is None:
            found = self.steps[state, number] = self._apply(state, request)
            if found[1] != state:
                self.moving.add(number)
        return found

    def _apply(self, state: int, request: object) -> tuple[Outcome, int]:
        model = duplicate(self._models[state], self._pictures[state])
        try:
            outcome = Outcome(model.apply(request))
        except Exception as error:
            outcome = Outcome(error=error)
        if inspect.iscoroutine(outcome.value):
            outcome.value.close()
            raise TypeError(
                f"apply() of {type(model).__name__} is async, but a model only says"
                " what the answer is. Write def apply(self, request), without async."
            )
        picture = freeze(model)
        after = self._numbers.setdefault(picture, len(self._models))
        if after == len(self._models):
            self._models.append(model)
            self._pictures.append(picture)
        return outcome, after


# --- The search -------------------------------------------------------------


@attrs.define(eq=False)
class Finding:
    """What a search for an order has found."""

    order: list[int] | None = None
    """The places of the operations, in an order that fits; None if there is none."""
    stuck: int = -1
    """Without an order: whose return no order came past."""
    expected: list[Outcome] = attrs.field(factory=list[Outcome])
    """What the model would have answered to it."""
    movers: set[int] = attrs.field(factory=set[int])
    """Which ones may change the state."""
    tried: int = 0


class _Line:
    """The calls and returns that are not yet in the order, in the order of time."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        moments = [(one.called, 2 * at) for at, one in enumerate(operations)]
        moments += [
            (one.returned, 2 * at + 1)
            for at, one in enumerate(operations)
            if one.returned is not None
        ]
        self.head = 2 * len(operations)
        line = [self.head, *(entry for _, entry in sorted(moments)), self.head + 1]
        self.after = [-1] * (self.head + 2)
        self.before = [-1] * (self.head + 2)
        for one, other in itertools.pairwise(line):
            self.after[one], self.before[other] = other, one
        self.rank = {entry: rank for rank, entry in enumerate(line)}

    def take(self, at: int) -> None:
        """Take the call and the return of an operation out."""
        for entry in (2 * at, 2 * at + 1):
            one, other = self.before[entry], self.after[entry]
            if other >= 0:
                self.after[one], self.before[other] = other, one

    def give(self, at: int) -> None:
        """Put them back where they were; the last that were taken first."""
        for entry in (2 * at + 1, 2 * at):
            one, other = self.before[entry], self.after[entry]
            if other >= 0:
                self.after[one] = self.before[other] = entry


class _Search:
    """The orders, tried one after the other."""

    def __init__(
        self, operations: Sequence[Operation], machine: Machine, limit: int
    ) -> None:
        self.operations = operations
        self.machine = machine
        self.steps = machine.steps
        self.limit = limit
        self.numbers = [machine.number(one.request) for one in operations]
        self.line = _Line(operations)
        self.owed = sum(one.returned is not None for one in operations)
        self.taken: list[tuple[int, int, bool]] = []  # the order, each with its past
        self.done = self.state = self.tried = 0
        self.known: set[tuple[int, int]] = set()
        self.states = {0}
        self.rides: set[int] = set()
        self.stuck: dict[int, dict[int, None]] = {}  # by a return: in which states

    def run(self) -> bool:
        """Return whether there is an order, which is what was taken then."""
        entry = self._ride()
        while self.owed:
            at, is_return = divmod(entry, 2)
            if is_return:
                self.stuck.setdefault(entry, {})[self.state] = None
                if not self._back():
                    return False
                entry = self.line.after[2 * self.last]
            elif self._is_new(at, after := self._try(at)):
                self._take(at, after, is_ride=False)
                entry = self._ride()
            else:
                entry = self.line.after[entry]
        return True

    def _try(self, at: int) -> int:
        """Return the state after an operation, -1 if its answer is another one."""
        one = self.operations[at]
        self.tried += 1
        found = self.steps.get((self.state, self.numbers[at]))
        if found is None:
            found = self.machine.step(self.state, self.numbers[at], one.request)
        if one.outcome is None or one.outcome.fits(found[0]):
            return found[1]
        return -1

    def _is_new(self, at: int, after: int) -> bool:
        together = (self.done | 1 << at, after)
        if after < 0 or together in self.known:
            return False
        self.known.add(together)
        self.states.add(after)
        return True

    def _ride(self) -> int:
        """Take what fits and only reads; return the next call."""
        entry = self.line.after[self.line.head]
        while not entry % 2:
            at, number = entry // 2, self.numbers[entry // 2]
            entry = self.line.after[entry]
            if number not in self.machine.moving and self._try(at) == self.state:
                if entry == 2 * at + 1:
                    entry = self.line.after[entry]
                self.rides.add(number)
                self._take(at, self.state, is_ride=True)
        return self.line.after[self.line.head]

    def _take(self, at: int, after: int, *, is_ride: bool) -> None:
        self.taken.append((at, self.state, is_ride))
        self.done |= 1 << at
        self.state = after
        self.owed -= self.operations[at].returned is not None
        self.line.take(at)

    def _back(self) -> bool:
        """Give back the last that another could have been taken for."""
        if self.tried > self.limit:
            raise TooLong
        is_ride = True
        while is_ride and self.taken:
            self.last, self.state, is_ride = self.taken.pop()
            self.done ^= 1 << self.last
            self.owed += self.operations[self.last].returned is not None
            self.line.give(self.last)
        return not is_ride

    def is_sure(self) -> bool:
        """Whether what was taken to read only does so in all states there were."""
        if len(self.rides) * len(self.states) > SURE:
            self.machine.moving |= self.rides
        requests = dict(zip(self.numbers, self.operations, strict=True))
        for number in self.rides - self.machine.moving:
            for state in self.states:
                self.machine.step(state, number, requests[number].request)
        return not self.rides & self.machine.moving

    def finding(self) -> Finding:
        """Return what there is to know if there is no order."""
        entry = max(self.stuck, key=self.line.rank.__getitem__)
        at = entry // 2
        expected: list[Outcome] = []
        for state in self.stuck[entry]:
            request = self.operations[at].request
            outcome, _ = self.machine.step(state, self.numbers[at], request)
            if not any(outcome.fits(other) for other in expected):
                expected.append(outcome)
        movers = {
            at
            for at, number in enumerate(self.numbers)
            if number in self.machine.moving
        }
        return Finding(None, at, expected, movers, self.tried)


def find_order(
    operations: Sequence[Operation], machine: Machine, limit: int = LIMIT
) -> Finding:
    """Find an order in which the machine gives the answers of *operations*.

    Raises:
        TooLong: It is not known whether there is one.
    """
    while True:
        search = _Search(operations, machine, limit)
        if search.run():
            return Finding([at for at, _, _ in search.taken], tried=search.tried)
        if search.is_sure():
            return search.finding()
