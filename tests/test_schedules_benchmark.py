"""The benchmark of the search: both ways run the same schedules, and all of them.

Issue: "Speed on the smallest program with the real library underneath: at least 40 % of
the same schedule on bare Trio tasks measured in the same run, and at least 1,000
schedules a second; 50,000 deliveries a second in one run; a benchmark prints both."
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks import schedules
from benchmarks._records import Sample
from benchmarks._variants import Goal, Row
from benchmarks.schedules import (
    FIFO,
    GOALS,
    Summary,
    check_runs,
    lost_update,
    main,
    measure_actors,
    measure_bare,
    measure_bare_throws,
    measure_orders,
    measure_throws,
    rows,
    run_bare,
    search,
    summary_of,
)
from trio_actors.testing._events import Run, Search
from trio_actors.testing._strategies import Fifo, RandomWalk

NINE = (0,) * 9  # the ranks of a complete run


def test_each_way_runs_so_many_schedules() -> None:
    ways = (partial(measure_actors, Fifo), partial(measure_bare, Fifo))
    for way in ways:
        sample = way(5)
        assert sample.operations == 5
        assert sample.seconds > 0


def test_both_ways_lose_the_update_when_what_was_sent_first_comes_first() -> None:
    """Both questions come before both writes."""

    def kinds(run: Run) -> tuple[list[str], object]:
        return [event.kind for event in run.trace], run.outcome

    expected = ["start"] * 2 + ["message"] * 2 + ["reply"] * 2 + ["message"] * 2
    expected.append("settled")
    assert search(lost_update, Fifo(), 1, kinds)[0] == [(expected, 1)]
    assert run_bare(Fifo(), 1, kinds)[0] == [(expected, 1)]


@pytest.mark.parametrize("how", [Fifo, partial(RandomWalk, 1)], ids=["fifo", "walk"])
def test_both_ways_run_the_same_schedules(how: Callable[[], Search]) -> None:
    """Issue: "at least 40 % of the same schedule on bare Trio tasks"."""
    runs, _ = search(lost_update, how(), 30, summary_of)
    assert run_bare(how(), 30, summary_of)[0] == runs


def test_a_random_walk_finds_both_outcomes() -> None:
    runs, _ = search(lost_update, RandomWalk(1), 30, summary_of)
    assert {outcome for _, outcome in runs} == {1, 2}


def test_a_long_run_has_so_many_throws() -> None:
    assert measure_throws(50).operations == measure_bare_throws(50).operations == 50


def test_all_orders_of_three_readers_are_eight() -> None:
    assert measure_orders(3).operations == 8


@pytest.mark.parametrize(
    "runs",
    [[(NINE, 1)], [(NINE, 1), (NINE[1:], 1)], [(NINE, 1), (NINE, 3)]],
    ids=["one too few", "cut short", "not possible"],
)
def test_runs_that_are_wrong_end_the_benchmark(runs: list[Summary]) -> None:
    check_runs([(NINE, 1), (NINE, 2)], 2)
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
