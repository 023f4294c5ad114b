"""Failing schedules made small: what comes out fails, is minimal, and was soon found.

"Shrinking: median at most 2 deviations over the zoo, at most 100 runs."
"""

from collections.abc import Callable, Sequence
from random import Random
from statistics import mean

from hypothesis import assume, given, strategies as st

from tests.testing.channels import Program, late, run, runs, unless_all
from trio_actors.testing._events import Run
from trio_actors.testing._shrink import Deviations, Shrinker, deviations
from trio_actors.testing._strategies import Portfolio, Replay

Fails = Callable[[Sequence[int]], bool]

widths = st.lists(st.integers(1, 5), min_size=1, max_size=30)
"""How many events are enabled at each step."""


def run_of(proposal: Deviations, widths: list[int]) -> Run:
    """What Replay does where the choices are always the same."""
    return Run(ranks=[proposal.get(at, 0) % width for at, width in enumerate(widths)])


def drawn(widths: list[int], seed: int) -> Run:
    random = Random(seed)
    return Run(ranks=[random.randrange(width) for width in widths])


def shrink(first: Run, widths: list[int], fails: Fails) -> tuple[Shrinker, int]:
    """Shrink to the end. What is true of all proposals is checked on the way."""
    shrinker, runs = Shrinker(first), 0
    proposals: list[Deviations] = []
    for proposal in shrinker:
        runs += 1
        assert proposal not in proposals, "run twice"
        assert len(proposal) <= len(shrinker.best)
        assert all(rank > 0 for rank in proposal.values())
        assert list(proposal) == sorted(proposal)
        proposals.append(proposal)
        done = run_of(proposal, widths)
        shrinker.tell(done, failed=fails(done.ranks))
    assert runs == shrinker.runs <= 100
    return shrinker, runs


def without_one(some: Deviations) -> list[Deviations]:
    return [{at: rank for at, rank in some.items() if at != one} for one in some]


def with_smaller_rank(some: Deviations) -> list[Deviations]:
    return [{**some, at: less} for at, rank in some.items() for less in range(1, rank)]


def check_minimal(
    shrinker: Shrinker, widths: list[int], fails: Fails, first: Run
) -> None:
    best = shrinker.best
    assert fails(run_of(best, widths).ranks), "it does not fail any more"
    assert len(best) <= len(deviations(first.ranks))
    if shrinker.runs < 100:
        for smaller in without_one(best) + with_smaller_rank(best):
            assert not fails(run_of(smaller, widths).ranks)


def test_deviations_are_the_ranks_that_are_not_fifos() -> None:
    assert deviations([0, 2, 0, 1, 0]) == {1: 2, 3: 1}
    assert deviations([]) == {}


@given(widths=widths, seed=st.integers(0, 9999), data=st.data())
def test_where_less_fails_less_is_found_exactly(
    widths: list[int], seed: int, data: st.DataObject
) -> None:
    """Monotone: it fails if some steps have at least a certain rank."""
    first = drawn(widths, seed)
    all_of_them = list(deviations(first.ranks).items())
    needed = dict(
        data.draw(st.lists(st.sampled_from(all_of_them), max_size=4))
        if all_of_them
        else []
    )
    least = {at: data.draw(st.integers(1, rank)) for at, rank in needed.items()}

    def fails(ranks: Sequence[int]) -> bool:
        return all(ranks[at] >= rank for at, rank in least.items())

    shrinker, _ = shrink(first, widths, fails)
    assert shrinker.best == dict(sorted(least.items()))


@given(widths=widths, seed=st.integers(0, 9999), share=st.sampled_from([2, 5, 9]))
def test_where_anything_may_fail_the_result_is_minimal(
    widths: list[int], seed: int, share: int
) -> None:
    """Not monotone at all: each schedule fails or not, by chance."""
    first = drawn(widths, seed)

    def fails(ranks: Sequence[int]) -> bool:
        by_chance = Random(f"{seed} {ranks}").randrange(10) < share
        return list(ranks) == first.ranks or by_chance

    shrinker, _ = shrink(first, widths, fails)
    check_minimal(shrinker, widths, fails, first)


def first_failure(program: Program) -> Run | None:
    every = runs(program, Portfolio(2), 200)
    return next((done for done in every if done.error is not None), None)


def shrink_in(program: Program, first: Run) -> Shrinker:
    shrinker = Shrinker(first)
    for proposal in shrinker:
        done = run(program, Replay(proposal))
        shrinker.tell(done, failed=done.error is not None)
    return shrinker


def shrunk(program: Program) -> Shrinker:
    first = first_failure(program)
    assert first is not None
    return shrink_in(program, first)


@given(
    st.lists(
        st.tuples(*[st.sampled_from(["00", "01", "02", "10", "11", "20", "21"])] * 2),
        min_size=1,
        max_size=3,
    )
)
def test_programs_fail_with_less(pairs: list[tuple[str, str]]) -> None:
    """Where what is left out changes all that comes after it."""
    program = unless_all(*pairs, senders=3, words=3)
    first = first_failure(program)
    assume(first is not None)
    assert first is not None  # for the checkers
    shrinker = shrink_in(program, first)
    assert run(program, Replay(shrinker.best)).error is not None
    assert len(shrinker.best) <= len(deviations(first.ranks))
    assert shrinker.runs <= 100
    if shrinker.runs < 100:
        for smaller in without_one(shrinker.best):
            assert run(program, Replay(smaller)).error is None


def test_two_are_made_one_that_stands_elsewhere() -> None:
    """Each of both can be left out only if the other one moves."""

    def fails(ranks: Sequence[int]) -> bool:
        return ranks in ([0, 2, 0, 2, 0], [0, 0, 1, 0, 0])

    widths = [3] * 5
    shrinker, _ = shrink(Run(ranks=[0, 2, 0, 2, 0]), widths, fails)
    assert shrinker.best == {2: 1}


def test_what_cannot_be_smaller_is_left_as_it_is() -> None:
    """A word that waits for 5 steps needs 5 deviations."""
    assert shrunk(late(5)).best == dict.fromkeys(range(1, 6), 1)


def test_fifo_fails_at_once_where_it_fails() -> None:
    first = Run(ranks=[1, 2, 1])
    shrinker, runs = shrink(first, [3, 3, 3], lambda ranks: True)
    assert shrinker.best == {}
    assert runs == 1


def test_a_schedule_that_is_fifo_is_as_small_as_can_be() -> None:
    assert list(Shrinker(Run(ranks=[0, 0]))) == []


def test_what_was_not_answered_did_not_fail() -> None:
    shrinker = Shrinker(Run(ranks=[1, 1]))
    assert len(list(shrinker)) == shrinker.runs >= 3
    assert shrinker.best == {0: 1, 1: 1}


def test_the_limit_is_kept() -> None:
    shrinker = Shrinker(Run(ranks=[4] * 200), limit=7)
    assert len(list(shrinker)) == 7


def test_programs_get_small_soon() -> None:
    """Of a pair in the wrong order little is left, in few runs."""
    ends = [
        shrunk(unless_all(pair, senders=4, words=4))
        for pair in (("30", "03"), ("21", "10"), ("11", "00"), ("31", "22"))
    ]
    assert mean(len(one.best) for one in ends) <= 2
    assert mean(one.runs for one in ends) <= 30
