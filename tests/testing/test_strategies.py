"""Schedules that are drawn: what each strategy finds, and that it draws the same again.

The programs are rules without actors, see `channels.py`.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given, strategies as st

from tests.testing.channels import (
    Program,
    endless_until_told,
    fails_at,
    late,
    run,
    runs,
    unless_all,
)
from trio_actors.testing._events import Event, Run, Search
from trio_actors.testing._strategies import (
    Fifo,
    Pct,
    Portfolio,
    Pos,
    RandomWalk,
    Replay,
    Sampler,
    tilted,
)


def tilted_walk(seed: int) -> Sampler:
    return Sampler(seed, [tilted])


def pct_2(seed: int) -> Sampler:
    return Pct(seed, depth=2)


SAMPLERS: list[Callable[[int], Sampler]] = [
    RandomWalk,
    tilted_walk,
    pct_2,
    Pct,
    Pos,
    Portfolio,
]
all_samplers = pytest.mark.parametrize("sampler", SAMPLERS)

BOTH_BEFORE = unless_all(("10", "01"), ("11", "02"), senders=3, words=4)


def ranks(program: Program, search: Search, count: int) -> list[list[int]]:
    return [done.ranks for done in runs(program, search, count)]


# --- One schedule ---------------------------------------------------------------


def test_fifo_takes_the_oldest_always() -> None:
    every = ranks(BOTH_BEFORE, Fifo(), 3)
    assert every == [[0] * 12] * 3


def test_replay_is_fifo_but_for_what_it_is_given() -> None:
    (done,) = runs(BOTH_BEFORE, Replay({2: 1, 5: 2}), 9)  # it wants no second run
    assert [step for step, rank in enumerate(done.ranks) if rank] == [2, 5]
    assert (done.ranks[2], done.ranks[5]) == (1, 2)


def test_a_rank_beyond_the_enabled_events_begins_again_at_0() -> None:
    done = run(BOTH_BEFORE, Replay({0: 4, 1: 3, 99: 1}))
    assert done.ranks == [1, 0, *[0] * 10]


@given(seed=st.integers(0, 999), number=st.integers(0, 9))
def test_the_ranks_of_a_run_replay_it(seed: int, number: int) -> None:
    *_, drawn = runs(BOTH_BEFORE, Portfolio(seed), number + 1)
    again = run(BOTH_BEFORE, Replay(dict(enumerate(drawn.ranks))))
    assert again.ranks == drawn.ranks
    assert again.outcome == drawn.outcome


# --- Drawn again, it is the same --------------------------------------------------


@all_samplers
def test_run_0_is_fifo_under_every_seed(sampler: Callable[[int], Sampler]) -> None:
    assert all(not any(run(BOTH_BEFORE, sampler(seed)).ranks) for seed in range(9))


@all_samplers
def test_run_n_depends_on_the_seed_and_on_n_alone(
    sampler: Callable[[int], Sampler],
) -> None:
    """Who knows run 0 may begin anywhere."""
    program = unless_all(("03", "30"), senders=4, words=4)
    every = ranks(program, sampler(5), 30)
    for number in (1, 2, 17, 29):
        search = sampler(5)
        search.learn(run(program, search))
        search.number = number
        assert run(program, search).ranks == every[number]


@all_samplers
def test_another_seed_and_another_number_give_other_schedules(
    sampler: Callable[[int], Sampler],
) -> None:
    program = unless_all(("03", "30"), senders=4, words=4)
    every = [
        tuple(one) for seed in range(5) for one in ranks(program, sampler(seed), 20)[1:]
    ]
    assert len(set(every)) > 60, "of 95; a pair of channels is drawn twice sometimes"


PROGRAM = """
from tests.testing.channels import unless_all
from tests.testing.test_strategies import SAMPLERS, ranks
program = unless_all(("03", "30"), senders=4, words=4)
print([ranks(program, sampler(3), 12) for sampler in SAMPLERS])
"""


def test_no_order_comes_from_a_hash() -> None:
    """The same seed draws the same in processes with different hash seeds."""
    told = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].count("[") > 60


def test_it_draws_the_same_on_every_python() -> None:
    """Were Python's random numbers to change, a seed would find something else."""
    program = unless_all(("01", "10"), senders=3, words=2)
    drawn = ["".join(map(str, one)) for one in ranks(program, Portfolio(1), 9)]
    assert drawn[0] == "000000"
    assert drawn[1:5] == ["120100", "020100", "111000", "021000"]
    assert drawn[5:9] == ["002100", "220100", "012000", "121100"]


# --- What they find -----------------------------------------------------------------

# Sender 1, then sender 0, then 1, then 0: the lowest priority must change hands twice.
DEPTH_3 = unless_all(("10", "01"), ("02", "11"), ("12", "03"), senders=2, words=4)


def test_pct_finds_a_bug_of_depth_3_as_often_as_it_promises() -> None:
    """At least once in channels * choices**2 runs: 2 * 7**2."""
    found = sum(done.error is not None for done in runs(DEPTH_3, Pct(1), 2000))
    assert found >= 2000 / (2 * 7**2)


def test_pct_finds_nothing_deeper_than_its_depth() -> None:
    assert fails_at(DEPTH_3, Pct(1, depth=2), 1000) == 1000


@given(
    seed=st.integers(0, 9999),
    pair=st.sampled_from([("33", "00"), ("21", "03"), ("32", "01"), ("12", "11")]),
)
def test_pct_2_finds_every_pair_in_the_wrong_order(
    seed: int, pair: tuple[str, str]
) -> None:
    """Of depth 1: at least once in as many runs as there are channels, 4."""
    program = unless_all(pair, senders=4, words=4)
    possible = pair != ("12", "11")  # one channel keeps its order
    assert (fails_at(program, pct_2(seed), 120) < 120) is possible


@pytest.mark.parametrize("sampler", [tilted_walk, pct_2, Pct, Pos, Portfolio])
def test_what_a_walk_misses_is_found(sampler: Callable[[int], Sampler]) -> None:
    """One word must wait for 20 steps: a walk lets it wait once in a million runs."""
    program = late(20)
    assert fails_at(program, RandomWalk(1), 300) == 300
    assert mean(fails_at(program, sampler(seed), 300) for seed in range(8)) < 60


def test_partial_order_sampling_does_not_redraw_what_does_not_race() -> None:
    """The waiting word is compared with the last one that races, not with all."""
    found = [
        sum(done.error is not None for done in runs(late(5), search, 1500))
        for search in (RandomWalk(1), Pos(1))
    ]
    walk, pos = found
    assert 0 < 4 * walk < pos


def test_a_portfolio_takes_its_kinds_in_turn() -> None:
    """Run n is the run n of that kind."""
    program = unless_all(("03", "30"), senders=4, words=4)
    every = ranks(program, Portfolio(8), 9)
    kinds: list[Callable[[int], Sampler]] = [tilted_walk, pct_2, Pos, Pct]
    for place, kind in enumerate(kinds, 1):
        alone = ranks(program, kind(8), 9)
        assert every[place::4] == alone[place::4]


HARD = [
    unless_all(("33", "03"), ("03", "20"), senders=4, words=4),
    unless_all(("30", "20"), ("20", "10"), ("10", "00"), senders=4, words=4),
    unless_all(("05", "10"), ("15", "20"), senders=3, words=6),
    DEPTH_3,
    late(20),
]


@pytest.mark.parametrize("program", HARD)
def test_a_portfolio_finds_what_is_hard_for_each_of_its_kinds(program: Program) -> None:
    assert mean(fails_at(program, Portfolio(seed), 500) for seed in range(8)) < 100


# --- Nobody is starved for ever -------------------------------------------------------


@all_samplers
def test_a_run_that_does_not_end_by_itself_ends(
    sampler: Callable[[int], Sampler],
) -> None:
    lengths = [len(done.trace) for done in runs(endless_until_told(), sampler(2), 40)]
    assert max(lengths) < 200


def test_priorities_do_starve_before() -> None:
    """Otherwise the test above would show nothing."""
    lengths = [len(done.trace) for done in runs(endless_until_told(), pct_2(2), 40)]
    assert max(lengths) > 50


# --- Faults -------------------------------------------------------------------------


def lossy(losses: int) -> Program:
    program = unless_all(("03", "30"), senders=4, words=10)
    return Program(program.first, lambda texts: True, losses=losses)


def lost_at(done: Run) -> list[int]:
    return [at for at, event in enumerate(done.trace) if event.kind == "fault"]


@all_samplers
def test_about_one_thing_goes_wrong_in_a_run(sampler: Callable[[int], Sampler]) -> None:
    """Faults are rare, spread over the length of the runs; in run 0 there is none."""
    first, *others = runs(lossy(99), sampler(4), 300)
    assert not lost_at(first)
    assert 0.8 < mean(len(lost_at(done)) for done in others) < 1.2
    places = Counter(at // 10 for done in others for at in lost_at(done))
    assert all(places[tenth] > 40 for tenth in range(4))


def test_there_are_no_more_faults_than_enabled() -> None:
    every = list(runs(lossy(1), RandomWalk(4), 200))
    assert {len(lost_at(done)) for done in every} == {0, 1}


def fault(name: str) -> Event:
    return Event(("crash", name), "fault", name, {})


def test_where_there_are_only_faults_one_is_taken() -> None:
    search = RandomWalk(0)
    assert search.choose([], [fault("a"), fault("b")]) == 0, "run 0 is FIFO"
    taken: set[int] = set()
    for _ in range(20):
        search.learn(Run())
        taken.add(search.choose([], [fault("a"), fault("b")]))
    assert taken == {0, 1}


def test_a_run_without_a_choice_is_a_run() -> None:
    """A program that does nothing is counted like others; its length is 0."""
    search = Portfolio(0)
    assert all(search.learn(Run()) for _ in range(5))
    assert search.number == 5
    alone = [Event(("message", "a", "b"), "message", "b", {})]
    for _ in range(4):
        assert search.choose([], alone) == 0
        search.learn(Run(trace=alone, ranks=[0]))


def test_a_run_that_was_broken_off_is_not_counted() -> None:
    """It is drawn anew only by learn(): whoever stops in a run has learned nothing."""
    search = RandomWalk(0)
    run(BOTH_BEFORE, search)
    assert search.number == 0
