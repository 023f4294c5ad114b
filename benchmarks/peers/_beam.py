"""Erlang's virtual machine: a new one for each run, which prints what it took.

Rules of this file:

* The programs are compiled once per process, into a folder that goes with it.
* One scheduler (``+S 1:1``), since all others here have one core, too. Wall time: the
  machine's own, without its start.
* Crashes are not reported: no contender writes a log.
"""

import atexit
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from benchmarks._records import Missing, Sample

HERE = Path(__file__).parent
SECONDS = 100  # after that a run is given up

VERSION = """
File = filename:join([code:root_dir(), "releases",
                      erlang:system_info(otp_release), "OTP_VERSION"]),
{ok, Text} = file:read_file(File),
io:put_chars(string:trim(Text)),
halt(0).
"""


def run(module: str, workload: str, sizes: Mapping[str, int]) -> Sample:
    """Run one function of one of the programs.

    Raises:
        Missing: There is no Erlang here.
        RuntimeError: The program failed: what it wrote is in the text.
    """
    arguments = [f"{name}={size}" for name, size in sizes.items()]
    program = ["-run", "measure", "main", module, workload, *arguments]
    line = _start("erl", "+S", "1:1", "-noshell", "-pa", str(_compiled()), *program)
    return Sample(**json.loads(line), clock="wall")


def version() -> str:
    """Return which Erlang this is, as ``OTP 25.2.3``."""
    return f"OTP {_start('erl', '-noshell', '-eval', VERSION)}"


@cache
def _compiled() -> Path:
    """Compile all programs; return the folder they are in."""
    folder = tempfile.mkdtemp(prefix="benchmarks-beam-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _start("erlc", "-o", folder, *map(str, sorted(HERE.glob("*.erl"))))
    return Path(folder)


def _start(name: str, *arguments: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise Missing(f"{name} is not here: on Debian, apt-get install erlang-base")
    done = subprocess.run(
        [program, *arguments],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr or done.stdout}")
    return done.stdout
