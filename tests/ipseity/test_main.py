"""The command, as a user starts it; in virtual time where it need not be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio.testing

from examples.ipseity.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("ids", "first", "lone", "synced", "last"),
    [
        ("plain", "1 2 3", "1", "11", "42"),
        ("pairs", "(0, 1) (0, 2) (0, 3)", "(1, 1)", "(1, 11)", "(0, 42)"),
        ("strided", "3 6 9", "1", "31", "42"),
    ],
)
async def test_three_replicas_keep_in_step(
    ids: str,
    first: str,
    lone: str,
    synced: str,
    last: str,
    autojump_clock: trio.testing.MockClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """S1-2, S1-5, and the note on uniqueness."""
    await main(ids)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"replica-0: {first}")
    assert lines[1:] == [
        f"replica-1 knows nothing yet: {lone}",
        f"replica-1 after a sync: {synced}",
        f"replica-0, as replica-2 was at 41: {last}",
    ]


async def test_the_trace_shows_each_event(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """S1-6: with their types' names, and where they come from."""
    await main(trace=True)
    lines = capsys.readouterr().out.splitlines()
    taken = [
        line.removeprefix("  /replica-0 takes ") for line in lines if "takes" in line
    ]
    assert taken[:11] == ["identityRequest"] * 10 + ["Sync(on=True)"]
    # Three timers are due at the same moment: who is first is left open.
    assert {"syncTimeout 0", "syncReply 41"} <= set(taken[11:])
    for peer in ("/replica-1", "/replica-2"):
        asked = [line for line in taken[11:] if line.endswith(f" from {peer}")]
        assert {line.split()[0] for line in asked} == {"syncRequest"}


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.ipseity", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_runs_as_a_command() -> None:
    answer = run()
    assert answer.returncode == 0
    assert answer.stdout.startswith("replica-0: 1 2 3 4 5 6 7 8 9 10\n")
    assert answer.stderr == ""


def test_an_unknown_kind_of_ids_is_refused() -> None:
    answer = run("--ids", "uuid")
    assert answer.returncode == 2
    assert "invalid choice" in answer.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_cannot_be_written_is_told_in_a_line(unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "examples.ipseity", "--trace"],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert answer.returncode == 1
    assert answer.stderr.startswith("the output cannot be written: ")
    assert len(answer.stderr.splitlines()) == 1
