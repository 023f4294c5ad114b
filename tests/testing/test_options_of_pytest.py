"""``pytest --actors-...`` in other people's test suites.

Issue: ``pytest --actors-replay=… --actors-schedules=… --actors-seed=…
--actors-jobs=…``; "a sequence diagram in the terminal (and Mermaid to a file)".
"""

import threading
from pathlib import Path

import attrs
import pytest

from trio_actors.testing._files import LONGEST, file_name, keep_diagram, name_of_test
from trio_actors.testing._settings import SETTINGS

pytest_plugins = ["pytester"]

PARTY = """
import os
import pytest
from tests.testing.party import party
from trio_actors.testing import explore

@pytest.mark.parametrize("guests", [4, 6])
@explore()
async def test_party(world, guests):
    await party(world, guests, [3, 2])
"""

LARGE = """
import os
from tests.testing.party import party
from trio_actors.testing import explore

HERE = os.getpid()
runs = []

@explore(schedules=140)
async def test_large(world):
    runs.append(os.getpid() == HERE)
    await party(world, 6, [9])

def test_who_ran_it():
    print("all here:", len(runs) >= 140)
"""


def play(pytester: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


# --- What makes no sense --------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--actors-schedules=0", "0 is too few: write a number from 1"),
        ("--actors-schedules=-3", "-3 is too few: write a number from 1"),
        ("--actors-schedules=many", "'many' is no whole number"),
        ("--actors-jobs=0", "0 is too few: write a number from 1"),
        ("--actors-jobs=1.5", "'1.5' is no whole number"),
        ("--actors-seed=lucky", "'lucky' is no whole number"),
        ("--actors-replay=nonsense", "'nonsense' is no schedule"),
        ("--actors-replay=ta1:abcde:prd:1-1:aa", "is damaged"),
        ("--actors-replay=ta9:abcde:prd:1-1:aa", "another version"),
        ("--actors-diagrams=file", "'file' is a file: write the name of a folder"),
    ],
)
def test_nonsense_is_a_usage_error_that_says_what_to_write(
    pytester: pytest.Pytester, option: str, says: str
) -> None:
    """Before any test runs."""
    Path("file").touch()
    result = play(pytester, PARTY, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    name = option.partition("=")[0]
    result.stderr.fnmatch_lines([f"*error: argument {name}: *"])
    assert says in " ".join(result.stderr.str().split())


# --- What makes sense -----------------------------------------------------------------


def test_schedules_and_seed_overrule_what_the_tests_say(
    pytester: pytest.Pytester,
) -> None:
    result = play(
        pytester,
        """
from tests.testing.party import party
from trio_actors.testing import explore, _settings

runs = []

@explore(schedules=1000, seed=3)
async def test_it(world):
    runs.append(1)
    await party(world, 5, [9])

def test_how_often():
    assert 7 <= len(runs) <= 9
    assert _settings.SETTINGS.seed == 12
""",
        "--actors-schedules=7",
        "--actors-seed=12",
    )
    result.assert_outcomes(passed=2)


def test_a_token_runs_that_schedule_alone(pytester: pytest.Pytester) -> None:
    found = play(pytester, PARTY, "-k", "4").stdout.str()
    token = found.partition("--actors-replay=")[2].split()[0]
    again = play(pytester, PARTY, "-k", "4", f"--actors-replay={token}")
    again.assert_outcomes(failed=1, deselected=1)
    assert "found after 1 schedule;" in again.stdout.str()
    assert token in again.stdout.str()


def test_a_session_gives_the_settings_back_to_the_one_it_was_started_in(
    pytester: pytest.Pytester,
) -> None:
    before = attrs.evolve(SETTINGS)
    play(pytester, PARTY, "--actors-seed=77", "--actors-jobs=2", "--co")
    assert before == SETTINGS


# --- Jobs -----------------------------------------------------------------------------


def test_jobs_run_what_is_drawn_in_other_processes(pytester: pytest.Pytester) -> None:
    """In a session of its own: here others may have left threads."""
    pytester.makepyfile(LARGE)
    result = pytester.runpytest_subprocess(
        "-s", "-p", "no:cacheprovider", "-W", "error", "--actors-jobs=2"
    )
    result.assert_outcomes(passed=2)
    assert "all here: False" in result.stdout.str()
    assert "actors:" not in result.stdout.str()


def test_one_job_is_what_there_is_without_the_option(
    pytester: pytest.Pytester,
) -> None:
    result = play(pytester, LARGE, "-s", "--actors-jobs=1")
    result.assert_outcomes(passed=2)
    assert "all here: True" in result.stdout.str()


def test_where_there_can_be_no_other_process_the_report_says_so(
    pytester: pytest.Pytester,
) -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="a server")
    thread.start()
    try:
        result = play(pytester, LARGE, "-s", "--actors-jobs=2")
    finally:
        go_on.set()
        thread.join()
    result.assert_outcomes(passed=2)
    assert "all here: True" in result.stdout.str()
    result.stdout.fnmatch_lines(
        ["actors: --actors-jobs=2: in one process, for other threads run*a server*"]
    )


def test_beside_xdist_the_report_says_so(pytester: pytest.Pytester) -> None:
    """What stands in for it has the name under which it is known, and nothing else."""
    pytester.makeconftest(
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(object(), 'dsession')\n"
    )
    result = play(pytester, "def test_it(): pass", "--actors-jobs=3")
    result.stdout.fnmatch_lines(
        ["actors: --actors-jobs=3: in one process, for *xdist*"]
    )


# --- Diagrams -------------------------------------------------------------------------


def test_a_diagram_of_each_failing_test_is_written_and_named(
    pytester: pytest.Pytester,
) -> None:
    result = play(pytester, PARTY, "--actors-diagrams=out/diagrams")
    result.assert_outcomes(failed=2)
    folder = pytester.path / "out" / "diagrams"
    (four, six) = sorted(folder.iterdir())
    assert four.name.endswith(".test_party-4.mmd")
    assert six.name.endswith(".test_party-6.mmd")
    assert four.read_text().startswith("sequenceDiagram\n")
    assert "Hello(name=3)" in four.read_text()
    result.stdout.fnmatch_lines(
        ["*The diagram as Mermaid: out/diagrams/*.test_party-4.mmd"]
    )


def test_a_test_that_passes_leaves_no_diagram(pytester: pytest.Pytester) -> None:
    play(pytester, LARGE, "--actors-diagrams=out").assert_outcomes(passed=2)
    assert not (pytester.path / "out").exists()


def test_what_cannot_be_written_hides_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = keep_diagram(tmp_path / "file" / "folder", "sequenceDiagram")
    assert "could not be written" in said
    assert "Not a directory" in said


def test_a_file_is_called_like_the_test() -> None:
    assert file_name("tests/test_a.py::test_b") == "tests.test_a.test_b"
    assert file_name("tests/test_a.py::TestB::test_c[3-x]") == (
        "tests.test_a.TestB.test_c-3-x"
    )


def test_outside_of_pytest_there_is_a_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_of_test().endswith("test_outside_of_pytest_there_is_a_name_too")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert name_of_test() == "test"


def test_no_two_tests_are_called_the_same() -> None:
    nodes = [
        "a.py::test[a/b]",
        "a.py::test[a.b]",
        "a.py::test[a b]",
        "a.py::test[a:b]",
        "a.py::test[\u00fc]",
        "a.py::test[\u00e4]",
        f"a.py::test[{'x' * 300}]",
        f"a.py::test[{'x' * 301}]",
    ]
    names = [file_name(node) for node in nodes]
    assert len(set(names)) == len(nodes)
    assert all(name.isascii() and "/" not in name for name in names)
    assert max(map(len, names)) <= LONGEST + 6
