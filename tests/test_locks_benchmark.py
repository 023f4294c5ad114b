"""The second benchmark of the mission (S3-3): a mutex against an actor."""

import json
from pathlib import Path

import pytest
import trio

from benchmarks._meter import Meter
from benchmarks.locks import LAYOUTS, TRIAL, Open, _measure, measure, other_work

PAIRS = [(layout, way) for layout, ways in LAYOUTS.items() for way in ways]


@pytest.mark.parametrize(("layout", "way"), PAIRS)
def test_every_layout_adds_up(layout: str, way: str) -> None:
    """S3-3: N concurrent increments (the sums are checked after each run)."""
    sample = measure(layout, way, 50)
    assert sample.operations == 50
    assert sample.seconds > 0


def tasks(way: Open, increments: int) -> int:
    meter = Meter()
    trio.run(_measure, way, increments, instruments=[meter])
    return meter.spawns


def tasks_per_increment(layout: str, way: str) -> float:
    open_, few, many = LAYOUTS[layout][way], 10, 30
    return (tasks(open_, many) - tasks(open_, few)) / (many - few)


def test_the_book_starts_two_tasks_for_the_mutex_and_one_for_the_actor() -> None:
    """S3-3: "theirs spawns two tasks per mutex op and one per actor op"."""
    assert tasks_per_increment("the book's layout", "mutex") == 2
    assert tasks_per_increment("the book's layout", "actor") == 1


def test_the_fair_layout_starts_one_task_for_both() -> None:
    """S3-3: "report both the book's layout and a fair one"."""
    assert tasks_per_increment("a fair layout", "mutex") == 1
    assert tasks_per_increment("a fair layout", "actor") == 1


def test_other_work_meanwhile_costs_the_mutex_a_task() -> None:
    """S3-3: "the caller does other work while waiting (mutex needs an extra task)"."""
    assert tasks_per_increment("other work meanwhile", "mutex") == 2
    assert tasks_per_increment("other work meanwhile", "actor") == 1


@pytest.mark.parametrize("way", ["mutex", "actor"])
def test_the_other_work_is_done_for_each_increment(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    async def work() -> None:
        await other_work()
        done.append(way)

    monkeypatch.setattr("benchmarks.locks.other_work", work)
    measure("other work meanwhile", way, 30)
    assert len(done) == 30


def test_a_quick_run_shows_a_table_and_leaves_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "locks.json"
    assert TRIAL.main(["--quick", "--repeat", "1", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    kept = json.loads(file.read_text())
    assert kept["complete"]
    assert [row["title"] for row in kept["rows"]] == list(LAYOUTS)
    for row in kept["rows"]:
        assert row["title"] in shown
        assert all(number > 0 for number in row["per_second"].values())
