"""The benchmark of journals: what is durable in a second, beside the store alone."""

import json
from pathlib import Path

import pytest

from benchmarks import journals
from benchmarks._records import Sample
from benchmarks._variants import Goal, Row
from benchmarks.journals import (
    APPEND,
    GOALS,
    main,
    measure_actors,
    measure_journal,
    measure_raw,
    measure_raw_replay,
    measure_recovery,
    measure_replay,
    rows,
    told,
)


def test_every_way_stores_so_many_events() -> None:
    """They are counted, and read, after each run."""
    samples = measure_journal(3, 4), measure_actors(3, 4), measure_raw(3, 4, 5)
    for sample in samples:
        assert sample.operations == 12
        assert sample.seconds > 0
        assert sample.clock == "wall"


def test_every_way_reads_so_many_events() -> None:
    assert measure_replay(1500).operations == 1500
    assert measure_recovery(1500).operations == 1500
    assert measure_raw_replay(1500).operations == 1500


def test_every_goal_is_of_ways_that_are_measured() -> None:
    for quick in (True, False):
        titles = {row.title: row for row in rows(quick=quick)}
        for goal in GOALS:
            assert {goal.ours, goal.against} - {""} <= set(titles[goal.row].ways)


def test_a_group_of_commits_need_pay_only_where_one_of_them_is_slow() -> None:
    row = Row(APPEND, {})
    goal = Goal(APPEND, 25, "single", ours="journal")
    assert told(goal, row) == f"{APPEND}: not measured"
    row.samples["journal"] = [Sample(30_000, 1)]
    row.samples["single"] = [Sample(1000, 1)]
    assert told(goal, row) == (
        f"{APPEND}: 30.00 x single, goal 25.00: met (one commit takes 1.00 ms here)"
    )
    row.samples["single"] = [Sample(4000, 1)]
    assert told(goal, row) == (
        f"{APPEND}: 7.50 x single, goal 25.00: for slower disks only (one commit"
        " takes 0.25 ms here)"
    )
    assert told(GOALS[0], row).endswith("not measured")
    row.samples["raw"] = [Sample(200_000, 1)]
    row.samples["actors"] = [Sample(10_000, 1)]
    assert told(GOALS[3], row) == (
        f"{APPEND}, by actors: 0.05 x raw, goal 0.30: missed"
    )


def test_a_run_prints_its_figures_and_its_goals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("QUICK_STREAMS", "QUICK_EVENTS", "QUICK_SINGLE", "QUICK_REPLAYED"):
        monkeypatch.setattr(journals, size, 3)
    file = tmp_path / "journals.json"
    assert main(["--quick", "--repeat", "1", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "operations per second; vs: how many times as fast the journal is" in shown
    assert shown.count("goal") == len(GOALS)
    kept = json.loads(file.read_text())
    assert kept["complete"]
    for row in kept["rows"]:
        assert row["title"] in shown
        assert all(number > 0 for number in row["per_second"].values())
