"""The first benchmark of the mission (S1-7): four services, any number of clients."""

import json
from functools import partial
from pathlib import Path

import pytest
import trio

from benchmarks._meter import Meter
from benchmarks._records import Sample
from benchmarks._variants import INTERRUPTED, Row, Trial, Way
from benchmarks.clients import (
    CLIENTS,
    SERVICES,
    TRIAL,
    _measure,
    check_numbers,
    measure,
    rows,
)


@pytest.mark.parametrize("clients", [1, 3, 20])
@pytest.mark.parametrize("service", SERVICES)
def test_every_service_gives_each_number_once(service: str, clients: int) -> None:
    """S1-7: Simple, Sequence, Actor, Locker (checked after each run)."""
    sample = measure(service, clients, 60)
    assert sample.operations == 60
    assert sample.seconds > 0


def responses(*clients: list[int]) -> list[list[bytes]]:
    return [
        [json.dumps({"sequence": one}).encode() for one in each] for each in clients
    ]


def test_numbers_that_grow_for_each_client_are_right() -> None:
    check_numbers(responses([1, 4], [2, 3]))


@pytest.mark.parametrize(
    "wrong",
    [responses([1, 2], [2, 3]), responses([1, 2, 4]), responses([1, 3], [4, 2])],
    ids=["twice", "left out", "backwards"],
)
def test_numbers_that_are_wrong_end_the_run(wrong: list[list[bytes]]) -> None:
    with pytest.raises(RuntimeError):
        check_numbers(wrong)


def passes(service: str) -> int:
    meter = Meter()
    trio.run(_measure, SERVICES[service], 20, 100, instruments=[meter])
    return meter.passes


def test_simple_makes_the_others_wait_for_the_response_too() -> None:
    """S1-7: "lock the whole server incl. building the response" against the counter."""
    assert passes("simple") > 1.5 * passes("sequence")


def test_an_actor_needs_fewer_loop_passes_than_a_lock_for_many_clients() -> None:
    """S1-7: "the actor variant isn't penalised". Without noise: passes, not seconds."""
    assert passes("actor") < passes("sequence") / 2
    assert passes("locker") == passes("sequence")


def test_the_number_of_clients_goes_from_one_to_a_thousand() -> None:
    """S1-7: "vary number of clients"."""
    assert (CLIENTS[0], CLIENTS[-1]) == (1, 1000)
    assert len(rows(quick=False)) == len(CLIENTS)


def test_a_quick_run_shows_a_table_and_leaves_its_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S1-7: "report ops/s"."""
    file = tmp_path / "clients.json"
    assert TRIAL.main(["--quick", "--repeat", "1", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "vs sequence" in shown
    kept = json.loads(file.read_text())
    assert kept["complete"]
    for row in kept["rows"]:
        assert row["title"] in shown
        assert set(row["per_second"]) == set(SERVICES)
        assert all(number > 0 for number in row["per_second"].values())


def two_ways(actor: list[Sample], lock: list[Sample]) -> Trial:
    """Two ways that took what the samples say."""
    ways = {"actor": lambda: actor.pop(0), "lock": lambda: lock.pop(0)}
    return Trial(
        "two", "Two ways", lambda quick: [Row("a row", ways)], against=("lock",)
    )


def test_a_figure_is_the_median_of_the_rounds(tmp_path: Path) -> None:
    trial = two_ways(
        [Sample(10, seconds) for seconds in (1.0, 5.0, 2.0)],
        [Sample(10, seconds) for seconds in (4.0, 9.0, 1.0)],
    )
    assert trial.main(["--repeat", "3", "--json", str(tmp_path / "two.json")]) == 0
    (row,) = trial.rows
    assert row.per_second("actor") == pytest.approx(5)
    assert row.ratio("actor", "lock") == pytest.approx(2)


def test_each_way_has_its_turn_in_each_round_in_opposite_orders() -> None:
    trial = two_ways([], [])
    trial.rows = trial.rows_for(quick=True)
    assert [way for _, way in trial.turns(3)] == [
        *("actor", "lock"),
        *("lock", "actor"),
        *("actor", "lock"),
    ]


def test_an_interrupted_run_leaves_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted() -> Sample:
        async with trio.open_nursery():
            raise KeyboardInterrupt

    ways: dict[str, Way] = {
        "actor": lambda: Sample(10, 1.0),
        "lock": partial(trio.run, interrupted),
    }
    trial = Trial(
        "two", "Two ways", lambda quick: [Row("a row", ways)], against=("lock",)
    )
    file = tmp_path / "two.json"
    assert trial.main(["--json", str(file)]) == INTERRUPTED
    kept = json.loads(file.read_text())
    assert not kept["complete"]
    assert kept["rows"][0]["per_second"] == {"actor": 10, "lock": None}
    assert "a row" in capsys.readouterr().out
