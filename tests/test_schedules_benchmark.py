"""The benchmark of the search: both ways run the same schedules, and all of them.

Issue: "Speed on the smallest program with the real library underneath: at least 40 % of
the same schedule on bare Trio tasks measured in the same run, and at least 1,000
schedules a second; 50,000 deliveries a second in one run; a benchmark prints both."
"""

import json
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from benchmarks import schedules
from benchmarks._bare import BareClock, bare_update
from benchmarks._records import Sample
from benchmarks._variants import Goal, Row
from benchmarks.schedules import (
    FIFO,
    GOALS,
    check_runs,
    first,
    lost_update,
    main,
    measure_actors,
    measure_bare,
    measure_bare_throws,
    measure_orders,
    measure_throws,
    rows,
    search,
)
from trio_actors.testing._strategies import Fifo, RandomWalk


def test_each_way_runs_so_many_schedules() -> None:
    ways = (partial(measure_actors, Fifo), partial(measure_bare, first))
    for way in ways:
        sample = way(5)
        assert sample.operations == 5
        assert sample.seconds > 0


def test_both_ways_lose_the_update_when_what_was_sent_first_comes_first() -> None:
    """Both questions come before both writes, in the same order."""
    (run,), _ = search(lost_update, Fifo(), 1)
    clock = BareClock(first)
    assert trio.run(bare_update, clock, clock=clock) == run.outcome == 1
    assert clock.ranks == run.ranks
    assert [event.kind for event in run.trace] == [
        *("start", "start", "message", "message", "reply", "reply"),
        *("message", "message", "settled"),
    ]


def test_a_random_walk_finds_both_outcomes_in_both_ways() -> None:
    runs, _ = search(lost_update, RandomWalk(1), 30)
    assert {run.outcome for run in runs} == {1, 2}
    clock = BareClock(Random(1).randrange)
    assert {trio.run(bare_update, clock, clock=clock) for _ in range(30)} == {1, 2}


def test_a_long_run_has_so_many_throws() -> None:
    assert measure_throws(50).operations == measure_bare_throws(50).operations == 50


def test_all_orders_of_three_readers_are_eight() -> None:
    assert measure_orders(3).operations == 8


@pytest.mark.parametrize(
    "runs",
    [[(9, 1)], [(9, 1), (8, 1)], [(9, 1), (9, 3)]],
    ids=["one too few", "cut short", "not possible"],
)
def test_runs_that_are_wrong_end_the_benchmark(runs: list[tuple[int, object]]) -> None:
    check_runs([(9, 1), (9, 2)], 2)
    with pytest.raises(RuntimeError):
        check_runs(runs, 2)


def test_every_goal_is_of_a_row_that_is_measured() -> None:
    for quick in (True, False):
        titles = {row.title: row for row in rows(quick=quick)}
        for goal in GOALS:
            assert {"actor", goal.against} - {""} <= set(titles[goal.row].ways)


def test_a_goal_says_whether_it_is_met() -> None:
    row = Row(FIFO, {})
    assert Goal(FIFO, 1000).told(row) == f"{FIFO}: not measured"
    row.samples["actor"], row.samples["bare"] = [Sample(900, 1)], [Sample(1800, 1)]
    assert Goal(FIFO, 1000).told(row).endswith("900 a second, goal 1,000: missed")
    assert Goal(FIFO, 900).told(row).endswith("900 a second, goal 900: met")
    ratio = Goal(FIFO, 0.4, "bare").told(row)
    assert ratio.endswith("0.50 x bare, goal 0.40: met")


def test_a_run_prints_its_figures_and_its_goals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("QUICK_SCHEDULES", "QUICK_THROWS", "QUICK_READERS"):
        monkeypatch.setattr(schedules, size, 2)
    file = tmp_path / "schedules.json"
    assert main(["--quick", "--repeat", "1", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "vs bare" in shown
    assert shown.count("goal") == len(GOALS)
    kept = json.loads(file.read_text())
    assert kept["complete"]
    for row in kept["rows"]:
        assert row["title"] in shown
        assert all(number > 0 for number in row["per_second"].values())
