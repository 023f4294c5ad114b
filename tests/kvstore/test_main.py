"""The command, as a user starts it; two processes, and one that is killed."""

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import get_args

import pytest
import trio

from examples.kvstore import api
from examples.kvstore.files import encode

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "examples.kvstore"]


KINDS = pytest.mark.parametrize("kind", ["json", "sqlite"])


def run(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--data", str(data), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_set_is_there_in_the_next_process(tmp_path: Path) -> None:
    """S3-5: restart of the program brings the data back."""
    data = tmp_path / "new"
    answer = run(data, "set", "hello", "world")
    assert (answer.returncode, answer.stdout) == (0, "")
    assert answer.stderr == f"there is no {data / 'store.json'} yet: starting empty\n"
    answer = run(data, "get", "hello")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "world\n", "")
    assert run(data, "delete", "hello").returncode == 0
    answer = run(data, "get", "hello")
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "None\n", "")
    assert run(data, "delete", "hello").returncode == 0


@KINDS
def test_the_demo_prints_what_the_book_prints_and_resets_the_writer(
    kind: str, tmp_path: Path
) -> None:
    """S3-4: "world", then None; S3-6: a reset by hand, and another writer."""
    answer = run(tmp_path, "--journal", kind, "demo")
    assert answer.returncode == 0
    first, reset, last = answer.stdout.splitlines()
    assert (first, last) == ("world", "None")
    times = re.fullmatch(
        r"reset: the writer of (\S+) has gone, that of (\S+) still has 'world'", reset
    )
    assert times is not None
    assert float(times[1]) < float(times[2])


def test_a_journal_keeps_it_too_and_the_two_know_nothing_of_each_other(
    tmp_path: Path,
) -> None:
    """S3-5: restart of the program brings the data back."""
    assert run(tmp_path, "--journal", "sqlite", "set", "hello", "world").returncode == 0
    answer = run(tmp_path, "--journal", "sqlite", "get", "hello")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "world\n", "")
    assert run(tmp_path, "get", "hello").returncode == 1


def test_bytes_that_are_no_text_come_out_as_they_went_in(tmp_path: Path) -> None:
    words = [*COMMAND, "--data", str(tmp_path)]
    subprocess.run([*words, "set", "k", b"\xff"], cwd=ROOT, check=True)
    answer = subprocess.run(
        [*words, "get", "k"], cwd=ROOT, check=True, capture_output=True
    )
    assert answer.stdout == b"\xff\n"
    refused = run(tmp_path, "--journal", "sqlite", "set", "k", "\udcff")
    assert refused.returncode == 2
    assert refused.stderr.endswith("is no text: surrogates not allowed\n")


def test_what_the_output_cannot_show_is_written_in_another_way(tmp_path: Path) -> None:
    """And bytes that are no text as they are; the exit code says that it is there."""
    words = [*COMMAND, "--data", str(tmp_path)]
    subprocess.run([*words, "set", "k", "é\udcff!"], cwd=ROOT, check=True)
    answer = subprocess.run(
        [*words, "get", "k"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert answer.stdout == b"\\xe9\xff!\n"


@pytest.mark.parametrize("output", [">&-", ">/dev/full"])
def test_without_an_output_it_stores_what_it_shall(output: str, tmp_path: Path) -> None:
    def shell(*words: str) -> subprocess.CompletedProcess[str]:
        command = shlex.join([*COMMAND, "--data", str(tmp_path), *words])
        return subprocess.run(
            f"{command} {output}",
            shell=True,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    assert shell("set", "k", "v").returncode == 0
    assert run(tmp_path, "get", "k").stdout == "v\n"
    answer = shell("get", "k")
    if output == ">&-":
        assert (answer.returncode, answer.stderr) == (0, "")
    else:
        assert answer.returncode == 2
        assert re.fullmatch("the output cannot be written: .*\n", answer.stderr)


def test_without_what_a_journal_needs_it_says_what_to_install(tmp_path: Path) -> None:
    blocker = "raise ModuleNotFoundError(name='msgspec')"
    (tmp_path / "msgspec.py").write_text(blocker)
    answer = subprocess.run(
        [*COMMAND, "--data", str(tmp_path), "--journal", "sqlite", "get", "k"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "pip install 'trio_actors[persistence]'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_damaged_file_is_told_and_set_aside(tmp_path: Path) -> None:
    """S3-5: a message, and an empty map."""
    (tmp_path / "store.json").write_bytes(encode({"hello": "world"})[:-1])
    answer = run(tmp_path, "get", "hello")
    assert (answer.returncode, answer.stdout) == (1, "None\n")
    assert re.fullmatch(
        r"\S+ is damaged \(the checksum does not fit\): kept as \S+damaged-1;"
        r" starting empty\n",
        answer.stderr,
    )


@pytest.mark.parametrize("words", [[], ["get"], ["set", "a"], ["clear"]])
def test_a_wrong_command_is_told_how_to_write_it(
    words: list[str], tmp_path: Path
) -> None:
    answer = run(tmp_path, *words)
    assert answer.returncode == 2
    assert answer.stderr.startswith("usage: python -m examples.kvstore")


def test_the_help_says_what_the_exit_codes_are(tmp_path: Path) -> None:
    answer = run(tmp_path, "--help")
    assert answer.returncode == 0
    assert "or None if there is none" in answer.stdout
    assert '1 if "get" finds nothing; 2 if the store cannot be used' in answer.stdout


def test_a_directory_that_cannot_be_made_is_an_error_in_one_line(
    tmp_path: Path,
) -> None:
    answer = run(tmp_path / "no" / "such", "get", "hello")
    assert (answer.returncode, answer.stdout) == (2, "")
    where = tmp_path / "no" / "such"
    assert answer.stderr == f"cannot create {where}: No such file or directory\n"


# --- Two processes, and one that is killed ------------------------------------

SETTER = """\
import sys, trio
from pathlib import Path
from examples import kvstore

async def main(data, kind, start):
    async with kvstore.open_kvstore(Path(data), kind):
        for number in range(int(start), 1_000_000):
            await kvstore.set(f"key-{number % 50}", str(number))
            print(number, flush=True)

trio.run(main, *sys.argv[1:])
"""


def setter(data: Path, kind: str, start: int) -> subprocess.Popen[str]:
    """Start a process that sets keys, and prints what is acknowledged."""
    return subprocess.Popen(
        [sys.executable, "-c", SETTER, str(data), kind, str(start)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@KINDS
def test_a_second_process_is_told_that_the_store_is_in_use(
    kind: str, tmp_path: Path
) -> None:
    with setter(tmp_path, kind, 0) as first:
        assert first.stdout is not None
        first.stdout.readline()
        answer = run(tmp_path, "--journal", kind, "get", "key-0")
        first.kill()
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr == (
        f"{tmp_path} is in use by process {first.pid}: only one at a time may have it."
        " Wait for its end, or name another directory.\n"
    )
    # It has gone, and its lock with it.
    assert run(tmp_path, "--journal", kind, "get", "key-0").returncode == 0


@pytest.mark.parametrize("kind", get_args(api.Kind))
def test_what_was_acknowledged_is_there_after_a_kill(
    kind: api.Kind, tmp_path: Path
) -> None:
    """S3-5, defects (g) and (h): ten rounds of SIGKILL at random moments."""
    random = Random(0)
    number = 0
    for _ in range(10):
        with setter(tmp_path, kind, number) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline())]
            with suppress(subprocess.TimeoutExpired):  # it has a clock of its own
                process.wait(random.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            acknowledged += [int(line) for line in process.stdout if line[-1] == "\n"]
        assert acknowledged == list(range(number, number + len(acknowledged)))
        stored = trio.run(all_numbers, tmp_path, kind)
        # The one after the last may have been stored, and not told.
        assert max(stored) - acknowledged[-1] in {0, 1}
        assert sorted(stored) == list(range(max(stored) + 1))[-50:]
        number = max(stored) + 1
    assert not list(tmp_path.glob("*.damaged-*"))


async def all_numbers(data: Path, kind: api.Kind) -> list[int]:
    """Return all that is stored."""
    async with api.open_kvstore(data, kind):
        values = [await api.get(f"key-{number}") for number in range(50)]
    return [int(value) for value in values if value is not None]
