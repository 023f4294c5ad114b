"""What a test under ``explore`` is given beside the world; by Hypothesis, say.

Rules of this file:

* Hypothesis draws inputs and sizes, ``explore`` looks for the schedule: each example is
  a search, or one run where the schedule is drawn, too.
* Nobody needs Hypothesis: it is imported for those who use it already.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, final

import attrs

from ._shrink import Deviations, deviations

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


INNER = ".hypothesis.inner_test"
"""What was decorated with ``given`` is found there."""

LONGEST = 200
"""Characters of a value that is written into a program."""


@final
@attrs.frozen
class Schedule:
    """One order of events, for a test under ``explore``; made by ``schedules()``."""

    deviations: Deviations = attrs.field(hash=False)
    """Where it does not take the oldest event, but the n-th after it: by step."""


def schedules() -> SearchStrategy[Schedule]:
    """Return a Hypothesis strategy for schedules, drawn beside inputs and sizes.

    A test under ``explore`` that gets one is run once, in this order, and not searched:
    many different inputs in the time of one search. The simplest is FIFO::

        @settings(deadline=None)
        @given(clients=st.integers(1, 4), schedule=schedules())
        @explore()
        async def test_bank(world: World, clients: int, schedule: Schedule) -> None: ...

    A bug that takes long to find is found sooner without it, by the search.
    """
    # Not before: it takes its time, and is no requirement.
    from hypothesis import strategies as st  # noqa: PLC0415

    # Somebody is late for a while, or everything is at random. Of thirty known bugs
    # sixty runs of the one alone find two thirds, and of both together four fifths.
    steps = st.one_of(st.integers(0, 9), st.integers(0, 29), st.integers(0, 99))
    ranks = st.one_of(st.integers(1, 2), st.integers(1, 9))
    lengths = st.one_of(st.just(1), st.integers(1, 4), st.integers(1, 40))
    delays = st.lists(st.tuples(steps, ranks, lengths), max_size=6)
    walk = st.lists(st.integers(0, 9), min_size=20, max_size=60)
    return st.one_of(delays.map(_delayed), walk.map(deviations)).map(Schedule)


def _delayed(delays: Iterable[tuple[int, int, int]]) -> Deviations:
    """Return where others go first: from a step, by how many ranks, how often."""
    ranks: Deviations = {}
    for step, rank, length in delays:
        ranks.update(dict.fromkeys(range(step, step + length), rank))
    return dict(sorted(ranks.items()))


def schedule_of(arguments: Iterable[object]) -> Schedule | None:
    """Return the schedule that a test was given; None if it is to be searched."""
    for argument in arguments:
        if isinstance(argument, Schedule):
            return argument
    return None


def drawing(arguments: Mapping[str, object]) -> str:
    """Return the name of an argument that draws in the test itself: ``st.data()``."""
    hypothesis = sys.modules.get("hypothesis")
    if hypothesis is None:
        return ""
    kind = hypothesis.strategies.DataObject
    return next((name for name, one in arguments.items() if isinstance(one, kind)), "")


def literals(arguments: Mapping[str, object]) -> dict[str, str]:
    """Return those arguments as text that can be written into a program.

    What cannot be written was made by a fixture, and is made by it again.
    """
    texts = {name: _literal(value) for name, value in arguments.items()}
    return {name: text for name, text in texts.items() if text}


def _literal(value: object) -> str:
    if isinstance(value, Schedule):
        return "None"  # what is replayed needs none
    try:
        text = repr(value)
        ast.literal_eval(text)
    except Exception:  # no literal, or its repr() is broken
        return ""
    return text if len(text) <= LONGEST else ""


# --- Hypothesis ---


def is_given(fn: Callable[..., object]) -> bool:
    """Whether a function was decorated with ``given`` already."""
    return bool(getattr(fn, "is_hypothesis_test", False))


def given_again(
    fn: Callable[..., object], decorate: Callable[[Any], Callable[..., None]]
) -> Callable[..., None]:
    """Decorate what is below ``given``: as if that had been written above.

    What was said of the function besides (settings, examples, a seed) is kept.
    """
    import hypothesis  # noqa: PLC0415 # it is there: *fn* was decorated with it

    handle: Any = vars(fn)["hypothesis"]
    strategies = getattr(handle, "_given_kwargs", None)
    if strategies is None:
        raise TypeError(
            "explore: this version of Hypothesis cannot be decorated. Write @given"
            f" above @explore, nearer to the top of {fn.__name__}()."
        )
    made = hypothesis.given(**strategies)(decorate(handle.inner_test))
    for name, value in vars(fn).items():
        if name not in {"hypothesis", "__wrapped__"}:
            setattr(made, name, value)
    return made


def pass_over() -> None:
    """Give up the example that runs; do nothing if there is none."""
    if is_example():
        sys.modules["hypothesis"].reject()


def is_example() -> bool:
    """Whether Hypothesis runs one of its examples."""
    hypothesis = sys.modules.get("hypothesis")
    return hypothesis is not None and bool(hypothesis.currently_in_test_context())


def name_of(fn: Callable[..., object]) -> str:
    """Return how the async function of the test that runs is reached in its module."""
    name = fn.__qualname__
    return f"{name}{INNER if is_example() else ''}.__wrapped__"
