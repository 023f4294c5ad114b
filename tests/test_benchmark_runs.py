"""A run of the benchmarks: its order, its verdicts, its file, its end at a Ctrl-C."""

import io
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
import trio
from rich.console import Console

from benchmarks.__main__ import INTERRUPTED, main
from benchmarks._compare import Comparison, Reply, turns
from benchmarks._publish import BEGIN, END, FIGURES, PICTURE, README, markdown, shown
from benchmarks._records import CONTENDERS, Clock, Sample, Workload
from benchmarks._report import panels, show, show_ratio, summary
from benchmarks._results import (
    BY_NAME,
    Results,
    chosen,
    facts,
    load,
    opponents,
    save,
    to_json,
)
from benchmarks._workloads import WORKLOADS

ROOT = Path(__file__).parents[1]


# --- Who is measured, and in which order ------------------------------------


def named(groups: list[list[tuple[Workload, str]]]) -> list[list[tuple[str, str]]]:
    return [[(workload.name, who) for workload, who in group] for group in groups]


def test_other_ways_to_do_it_are_compared_with_the_same_base() -> None:
    workloads = chosen(["restart_async", "ask"])
    assert named(turns(workloads, ["trio_actors", "naive"])) == [
        [("ask", "trio_actors"), ("ask", "naive")],
        [
            ("restart", "trio_actors"),
            ("restart_async", "trio_actors"),
            ("restart_logged", "trio_actors"),
            ("restart", "naive"),
        ],
    ]


def test_all_are_chosen_where_nobody_says_which() -> None:
    assert chosen([]) == list(WORKLOADS)
    assert opponents([]) == list(CONTENDERS)
    assert opponents(["pykka"]) == ["trio_actors", "pykka"]


@attrs.define
class Script:
    """Answers as it is told to, and writes down who was asked."""

    answers: Mapping[tuple[str, str], Reply]
    takes: float = 0.0
    asked: list[str] = attrs.field(factory=list[str])
    sizes: list[Mapping[str, int]] = attrs.field(factory=list[Mapping[str, int]])
    saved: int = 0
    turns: int = 0
    told: list[str] = attrs.field(factory=list[str])
    interrupt_at: float = math.inf

    async def perform(
        self, contender: str, workload: Workload, sizes: Mapping[str, int]
    ) -> Reply:
        self.asked.append(contender)
        self.sizes.append(sizes)
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        await trio.sleep(self.takes)
        key = workload.name, contender
        return self.answers.get(key, {"sample": attrs.asdict(Sample(10, 1.0))})

    def save(self) -> None:
        self.saved += 1

    def before(self, workload: Workload, contender: str) -> None:
        self.told.append(f"{workload.name}: {contender}")

    def after(self, turns: int) -> None:
        self.turns += turns

    def compare(self, results: Results, budget: float = math.inf) -> Comparison:
        return Comparison(results, self.perform, self.save, self, budget)


THREE = ["trio_actors", "naive", "pykka"]


async def test_contenders_take_turns_in_opposite_orders() -> None:
    script, results = Script({}), Results(quick=False, repeat=3)
    await script.compare(results).run(turns(chosen(["ask"]), THREE))
    assert script.asked == [*THREE, *THREE[::-1], *THREE]
    assert script.told[:2] == ["ask: trio_actors", "ask: naive"]
    assert script.turns == 9
    assert script.sizes[0] == {"asks": 20_000}
    assert all(len(cell.samples) == 3 for cell in results.cells.values())
    assert results.complete


async def test_the_file_is_written_after_each_cell_and_at_the_end() -> None:
    script = Script({})
    comparison = script.compare(Results(quick=True, repeat=2))
    await comparison.run(turns(chosen(["ask", "ring"]), ["trio_actors", "naive"]))
    assert script.saved == 2 * 2 * 2 + 1
    assert script.sizes[0] == BY_NAME["ask"].quick


@pytest.mark.parametrize("kind", ["missing", "error"])
async def test_what_is_missing_or_fails_is_noted_and_not_tried_again(
    kind: str,
) -> None:
    script, results = (
        Script({("ask", "pykka"): {kind: "no"}}),
        Results(quick=True, repeat=4),
    )
    await script.compare(results).run(turns(chosen(["ask"]), THREE))
    assert script.asked.count("pykka") == 1
    assert script.asked.count("naive") == 4
    assert script.turns == 12
    cell = results.cell("ask", "pykka")
    assert (cell.samples, getattr(cell, kind)) == ([], "no")


async def test_a_slow_peer_is_asked_less_often_but_plain_trio_is_not(
    autojump_clock: object,
) -> None:
    script, results = Script({}, takes=0.4), Results(quick=True, repeat=5)
    comparison = script.compare(results, budget=0.5)
    await comparison.run(turns(chosen(["ask", "ring"]), THREE))
    assert len(results.cell("ask", "pykka").samples) == 2
    assert len(results.cell("ring", "pykka").samples) == 2
    assert len(results.cell("ring", "naive").samples) == 5
    assert script.turns == 30


async def test_the_version_of_a_peer_is_kept() -> None:
    reply = {"sample": attrs.asdict(Sample(1, 1.0)), "version": "OTP 99"}
    script, results = Script({("ask", "otp"): reply}), Results(quick=True, repeat=1)
    await script.compare(results).run(turns(chosen(["ask"]), ["trio_actors", "otp"]))
    assert results.facts["versions"]["otp"] == "OTP 99"


# --- What it comes to -------------------------------------------------------


def run_of(*cells: tuple[str, str, float], clock: Clock = "cpu") -> Results:
    """Return a complete run in which an operation took so many microseconds."""
    results = Results(quick=False, repeat=3, complete=True)
    for workload, contender, microseconds in cells:
        results.cell(workload, contender).samples = [
            Sample(1000, microseconds * factor / 1000, clock)
            for factor in (9, 1, 0.5)  # the median is what counts
        ]
    return results


def test_a_ratio_is_how_many_times_as_fast_trio_actors_is() -> None:
    results = run_of(
        ("tell", "trio_actors", 0.5), ("tell", "naive", 7), ("tell", "pykka", 2)
    )
    tell = BY_NAME["tell"]
    assert results.ratio(tell, "naive") == pytest.approx(14)
    assert results.ratio(tell, "pykka") == pytest.approx(4)
    assert results.ratio(tell, "asyncio") is None
    assert results.speed(tell, "pykka") == pytest.approx(3.5)
    found = {one.against: one.met for one in results.verdicts(tell)}
    assert found == {"naive": True, "pykka": False, "asyncio": None, "otp": None}


def test_another_way_is_compared_with_what_the_others_do() -> None:
    results = run_of(
        ("tell", "trio_actors", 1),
        ("tell_await", "trio_actors", 5),
        ("tell", "naive", 7),
    )
    (verdict,) = results.verdicts(BY_NAME["tell_await"])
    assert verdict.measured == pytest.approx(1.4)
    assert verdict.met


def test_bytes_have_a_limit() -> None:
    results = Results(quick=False, repeat=1)
    figures = {"bytes_untold": 2800.0, "bytes_told": 4701.0}
    results.cell("idle", "trio_actors").samples = [Sample(1, 1.0, figures=figures)]
    found = {one.against: one.met for one in results.verdicts(BY_NAME["idle"])}
    assert found == {"bytes_untold": True, "bytes_told": False}


def some_run() -> Results:
    results = run_of(
        ("tell", "trio_actors", 0.5),
        ("tell_await", "trio_actors", 6.5),
        ("tell", "naive", 7),
        ("ask", "trio_actors", 3),
        ("ask", "naive", 12),
    )
    results.cell("tell", "pykka").missing = "pykka is [not] here"
    results.cell("tell", "thespian").error = "ValueError: oh"
    results.cell("tell", "otp").samples = [Sample(1000, 0.0002, "wall")]
    for who, bytes_ in (("trio_actors", 2000.0), ("naive", 5000.0)):
        figures = {"bytes_untold": bytes_, "bytes_told": bytes_ + 100}
        results.cell("idle", who).samples = [Sample(1, 1.0, figures=figures)]
    return results


def printed(results: Results, width: int = 120) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    show(results, console)
    return console.export_text()


def test_the_table_has_a_row_for_each_and_says_which_targets_are_met() -> None:
    lines = [" ".join(line.split()) for line in printed(some_run()).splitlines()]
    begin = lines.index("W1 tell trio_actors 0.500 14.00")
    assert lines[begin + 1 : begin + 5] == [
        "naive 7.000 1.00 14.00 >= 12 met",
        "pykka - pykka is [not] here",
        "thespian - ValueError: oh",
        "otp 0.200w 35.00 0.40 >= 0.25 met",
    ]
    begin = lines.index("W1 await tell trio_actors 6.500 1.08")
    assert lines[begin + 1] == "naive 7.000 1.00 1.08 >= 1.3 not met"
    assert (
        "W4 bytes per idle actor, untold trio_actors 2,000 B 2.50 <= 2800 met" in lines
    )
    assert "told once naive 5,100 B 1.00" in lines


def test_the_last_line_counts_the_targets() -> None:
    results = some_run()
    assert summary(results) == (
        "5 of 10 targets are met, 1 are not: tell_await/naive; 4 could not be measured."
    )
    results.complete, results.quick = False, True
    assert summary(results).endswith(
        "measured. The run was interrupted. A quick run: its figures are rough."
    )


def test_the_picture_shows_every_contender_that_was_measured() -> None:
    shown_panels = {
        title: [(bar.label, bar.kind, round(bar.ratio, 2)) for bar in bars]
        for title, bars in panels(some_run())
    }
    assert shown_panels == {
        "W1 tell": [
            ("trio_actors", "ours", 14.0),
            ("await tell", "another way", 1.08),
            ("otp", "theirs", 35.0),
        ],
        "W2 ask": [("trio_actors", "ours", 4.0)],
    }


# --- The file ---------------------------------------------------------------


def test_a_file_that_is_read_shows_the_same_run(tmp_path: Path) -> None:
    results, path = some_run(), tmp_path / "folder" / "run.json"
    save(results, path)
    assert to_json(load(path)) == to_json(results) == json.loads(path.read_text())
    assert printed(load(path)) == printed(results)
    assert [each.name for each in path.parent.iterdir()] == ["run.json"]


def test_the_file_says_versions_and_the_machine_but_not_whose_it_is() -> None:
    found = facts()
    assert found.keys() == {
        "python",
        "implementation",
        "compiler",
        "system",
        "machine",
        "cpus",
        "versions",
    }
    assert {"trio-actors", "trio", "attrs"} <= found["versions"].keys()
    assert "/" not in json.dumps(found)


async def test_a_run_that_is_interrupted_leaves_what_it_has(tmp_path: Path) -> None:
    path, results = tmp_path / "run.json", Results(quick=True, repeat=2)
    script = Script({}, interrupt_at=4)
    comparison = script.compare(results)
    comparison.save = lambda: save(results, path)
    with pytest.raises(KeyboardInterrupt):
        await comparison.run(turns(chosen(["ask"]), ["trio_actors", "naive"]))
    found = load(path)
    assert not found.complete
    assert [len(cell.samples) for cell in found.cells.values()] == [1, 2]


# --- The command ------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", *arguments]


def test_a_quick_run_measures_and_shows(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    chosen_ones = ("--only", "ask", "--against", "asyncio", "--repeat", "1")
    done = subprocess.run(
        command("--quick", *chosen_ones, "--json", str(path)),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    results = load(path)
    assert results.complete
    assert list(results.cells) == [("ask", "trio_actors"), ("ask", "asyncio")]
    assert "W2 ask" in done.stdout
    assert "A quick run" in done.stdout


def wait_for(path: Path) -> None:
    for _ in range(1000):
        if path.exists():
            return
        time.sleep(0.02)  # another process writes it
    raise AssertionError(f"{path.name} never came")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_ends_a_run_with_a_table_and_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    many = ("--only", "ask", "--against", "naive", "--repeat", "1000000")
    with subprocess.Popen(
        command("--quick", *many, "--json", str(path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        wait_for(path)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == INTERRUPTED
    assert "The run was interrupted." in out
    assert "Traceback" not in err
    found = load(path)
    assert not found.complete
    assert found.cell("ask", "trio_actors").samples


def test_a_saved_run_is_shown_without_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(some_run(), tmp_path / "run.json")
    assert main(["--load", str(tmp_path / "run.json")]) == 0
    assert "5 of 10 targets are met" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--only", "juggle"], "there is no workload juggle. Write some of tell,"),
        (["--against", "akka"], "there is no contender akka. Write some of trio_a"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert text in capsys.readouterr().err


# --- What the README shows --------------------------------------------------


def test_the_readme_shows_the_figures_that_stand_in_the_repository() -> None:
    assert shown(README.read_text()) == markdown(load(FIGURES))


def test_the_picture_is_of_the_same_run() -> None:
    text = PICTURE.read_text()
    for title, bars in panels(load(FIGURES)):
        assert f">{title}<" in text
        for bar in bars:
            assert f">{bar.label}<" in text
            assert f">{show_ratio(bar.ratio)}<" in text


def test_the_table_of_the_readme_has_a_row_per_workload() -> None:
    lines = markdown(some_run()).splitlines()
    names = "x plain Trio | x asyncio | x Pykka | x OTP"
    assert lines[0] == f"| | | us each | {names} |"
    assert lines[2:5] == [
        "| W1 tell | message | 0.50 | 14 |  |  | 0.4 |",
        "| W1 await tell | message | 6.50 | 1.1 |  |  | 0.031 |",
        "| W2 ask | ask | 3.00 | 4 |  |  |  |",
    ]
    assert lines[6] == (
        "Bytes per idle actor, before its first message and after it:"
        " trio_actors 2,000 and 2,100, plain Trio 5,000 and 5,100."
    )
    assert lines[8].startswith("5 of 10 targets are met, 1 are not: tell_await/naive;")


def test_what_stands_between_the_marks_is_found() -> None:
    assert shown(f"before\n{BEGIN}a\nb\n{END}after\n") == "a\nb\n"
