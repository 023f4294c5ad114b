"""One token has one trace: on each Python, in each process.

Issue: "The same token gives the same trace over 100 processes with random hash seeds,
and on 3.11, 3.12 and 3.13": these were written down once, and each Python that the
tests run on must see what they saw. Who changes what a step is makes them anew, and
counts the version of tokens up.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.testing.nightly import NIGHTLY
from tests.testing.searched import Program, forgotten, impatient, overtaken
from trio_actors.testing import Faults, check

PROCESSES = 100 if NIGHTLY else 10


def digest_of(program: Program, token: str, **options: Any) -> str:
    """Return a digest of all that happens under a schedule."""
    failure = check(program, replay=token, **options).failure
    assert failure is not None
    trace = [
        (event.key, event.label, sorted(event.footprint.items()))
        for event in failure._run.trace
    ]
    told = f"{trace} {failure._run.ranks} {type(failure.error).__name__}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@attrs.frozen
class Kept:
    program: Program
    token: str
    digest: str
    options: Any = attrs.field(factory=dict[str, Any])


KEPT = [
    Kept(overtaken, "ta1:32e6a:prd:2-1:hh", "279fd6d3593f"),
    Kept(impatient, "ta1:vqkdj:prd:2-1:sn", "8d312f3f2ba3"),
    Kept(
        forgotten,
        "ta1:wg5yq:prd:xtest_3e/register_231:fifo:7w",
        "80b59df6c295",
        {"exhaustive": True, "faults": Faults(crash=1)},
    ),
]

every_kept = pytest.mark.parametrize("kept", KEPT, ids=lambda one: one.program.__name__)


@every_kept
def test_a_token_that_was_kept_shows_what_it_showed(kept: Kept) -> None:
    assert digest_of(kept.program, kept.token, **kept.options) == kept.digest


def test_it_shows_the_same_in_many_processes_whatever_their_hash_seeds() -> None:
    seeds = [str(seed) for seed in range(1, PROCESSES + 1)]
    told: list[str] = []
    for few in (seeds[at : at + 5] for at in range(0, PROCESSES, 5)):
        started = [started_with(seed) for seed in few]
        told += [process.communicate()[0] for process in started]
    assert told == ["".join(f"{kept.digest}\n" for kept in KEPT)] * PROCESSES


def started_with(hash_seed: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.testing.test_tokens_kept"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


if __name__ == "__main__":
    for one in KEPT:
        print(digest_of(one.program, one.token, **one.options))
