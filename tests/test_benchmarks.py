"""The workloads of the benchmarks do their work, in this process and in their own."""

import json
import mmap
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

import attrs
import pytest
import trio
import trio.testing

from benchmarks import _worker
from benchmarks._books import check, check_books
from benchmarks._compare import Worker, Workers
from benchmarks._memory import Growth, resident
from benchmarks._records import CONTENDERS, Contender, Sample
from benchmarks._results import BY_NAME
from benchmarks._workloads import WORKLOADS
from tests.test_shape import functions
from trio_actors import Actor, handler, open_actor_system

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "benchmarks").rglob("*.py"))
IN_PROCESS = ("trio_actors", "naive", "asyncio")

TINY: dict[str, dict[str, int]] = {
    "tell": {"messages": 3000},
    "ask": {"asks": 50},
    "asks": {"clients": 7, "each": 9},
    "spawn": {"actors": 40},
    "idle": {"actors": 50},
    "ring": {"actors": 5, "laps": 6},
    "fan": {"workers": 70, "rounds": 3},
    "restart": {"crashes": 30},
    "producers": {"producers": 5, "each": 90, "capacity": 10},
    "pingpong": {"rounds": 30},
    "skynet": {"leaves": 100},
    "big": {"actors": 6, "pings": 4},
    "storm": {"workers": 3, "crashes": 5},
}
"""Small, and yet more than a mailbox holds, or than one turn handles."""

OPERATIONS = {
    "tell": 3000,
    "ask": 50,
    "asks": 63,
    "spawn": 40,
    "idle": 50,
    "ring": 30,
    "fan": 420,
    "restart": 30,
    "producers": 450,
    "pingpong": 60,
    "skynet": 111,
    "big": 48,
    "storm": 15,
}


# --- The workloads ----------------------------------------------------------


def test_every_workload_is_small_enough_for_a_test_and_for_a_quick_look() -> None:
    for workload in WORKLOADS:
        tiny = TINY[workload.base]
        assert workload.sizes.keys() == workload.quick.keys() == tiny.keys()
        assert all(workload.quick[key] <= workload.sizes[key] for key in tiny)


RUNS = [
    (contender, workload.name)
    for contender in IN_PROCESS
    for workload in WORKLOADS
    if contender == "trio_actors" or not workload.like
]


@pytest.mark.parametrize(("contender", "name"), RUNS)
def test_a_workload_does_its_work(contender: str, name: str) -> None:
    """It checks so itself: a count, a sum, and the conservation law of the library."""
    workload = BY_NAME[name]
    sample = _worker.perform(contender, workload.name, TINY[workload.base])
    assert sample.operations == OPERATIONS[workload.base]
    assert sample.seconds > 0
    assert sample.clock == "cpu"


@pytest.mark.parametrize("contender", IN_PROCESS)
def test_what_is_idle_is_weighed_before_and_after_its_first_message(
    contender: str,
) -> None:
    sample = _worker.perform(contender, "idle", {"actors": 300})
    known = {"bytes_untold", "bytes_told"} if resident() is not None else set[str]()
    assert sample.figures.keys() == known


@pytest.mark.skipif(resident() is None, reason="there is no /proc here")
def test_growth_is_told_per_thing() -> None:
    growth = Growth(100)
    kept: list[mmap.mmap] = []
    for _ in range(100):  # pages of their own: Python's heap may have room from before
        block = mmap.mmap(-1, 1_000_000)
        block.write(b"x" * 1_000_000)
        kept.append(block)
    growth.read("bytes")
    assert 0.8 < growth.figures["bytes"] / 1_000_000 < 1.6
    for block in kept:
        block.close()


def test_books_that_still_hold_a_message_are_refused() -> None:
    class Sink(Actor[int]):
        @handler
        def take(self, message: int) -> None: ...

    async def run() -> None:
        async with open_actor_system("books") as system:
            ref = await system.spawn(Sink)
            ref.tell_nowait(1)
            with pytest.raises(RuntimeError, match="'queued': 1"):
                check_books(system)
        assert check_books(system)["handled"] == 1

    trio.run(run)


def test_work_that_was_not_done_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="messages: 2 expected, but got 1"):
        check("messages", 1, 2)


def test_the_targets_are_those_that_were_promised() -> None:
    targets = {each.name: dict(each.targets) for each in WORKLOADS if each.targets}
    assert targets == {
        "tell": {"naive": 12, "pykka": 5, "asyncio": 1.2, "otp": 0.25},
        "tell_await": {"naive": 1.3},
        "ask": {"naive": 2, "pykka": 3, "asyncio": 0.8},
        "asks": {"naive": 6, "pykka": 8, "asyncio": 0.9},
        "spawn": {"naive": 1.3, "pykka": 25},
        "spawn_nowait": {"naive": 2.2, "pykka": 25},
        "ring": {"naive": 1.8, "pykka": 5},
        "fan": {"naive": 4, "pykka": 15},
        "restart": {"naive": 5, "otp": 10},
        "restart_async": {"naive": 2.5},
        "producers": {"naive": 8, "asyncio": 2},
    }
    limits = {each.name: dict(each.limits) for each in WORKLOADS if each.limits}
    assert limits == {"idle": {"bytes_untold": 2800, "bytes_told": 4700}}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_benchmarks_is_short_and_so_are_its_functions(
    path: Path,
) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert [name for name, length in functions(path) if length > 60] == []


def test_the_median_function_of_the_benchmarks_is_near_ten_lines() -> None:
    assert median(length for path in MODULES for _, length in functions(path)) <= 12


def test_a_workload_is_specified_where_it_is_written() -> None:
    """S2-4: so that somebody could implement it elsewhere."""
    for base in {workload.base for workload in WORKLOADS}:
        name = "spawn" if base == "idle" else base
        text = (ROOT / "benchmarks" / f"{name}.py").read_text().partition('\n"""\n')[0]
        assert "n operation is" in text
        for size in BY_NAME[base].sizes:
            assert f"*{size}*" in text or f"{size}``" in text


# --- Contenders, in this process and in their own ---------------------------


@pytest.mark.parametrize("contender", IN_PROCESS)
def test_whoever_is_always_here_can_do_everything(contender: str) -> None:
    module = _worker.load(contender)
    for workload in WORKLOADS:
        if not workload.like or contender == "trio_actors":
            assert _worker.function(module, workload.name) is not None


def test_a_contender_that_is_not_installed_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ghost = Contender("ghost", "benchmarks.peers.ghost", "boo")
    monkeypatch.setitem(CONTENDERS, "ghost", ghost)
    reply = _worker.answer("ghost", {"workload": "tell", "sizes": {}})
    assert reply == {
        "missing": "No module named 'benchmarks.peers.ghost' (`nox -s bench` has boo)"
    }


def test_a_workload_that_nobody_has_written_is_missing() -> None:
    reply = _worker.answer("naive", {"workload": "juggle", "sizes": {}})
    assert reply == {"missing": "not written for this one"}


def test_what_a_contender_cannot_do_is_missing_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = _worker.load("naive")
    monkeypatch.setattr(module, "WITHOUT", {"ask": "too shy"}, raising=False)
    assert _worker.answer("naive", {"workload": "ask", "sizes": {"asks": 1}}) == {
        "missing": "too shy"
    }


def test_a_slow_contender_gets_less_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _worker.load("naive")
    at_most = {"asks": {"clients": 2}}
    monkeypatch.setattr(module, "AT_MOST", at_most, raising=False)
    assert _worker.perform("naive", "asks", {"clients": 9, "each": 3}).operations == 6


def test_what_goes_wrong_is_an_answer_too(capsys: pytest.CaptureFixture[str]) -> None:
    reply = _worker.answer("naive", {"workload": "ask", "sizes": {}})
    assert reply == {"error": "KeyError: 'asks'"}
    assert "Traceback" in capsys.readouterr().err


LOUD = """
import os, sys, types
from benchmarks import _records, _worker
from benchmarks._records import Contender, Sample

def tell(sizes):
    print("I print")
    os.system("echo so do I")
    return Sample(sizes["messages"], 1.0)

module = types.ModuleType("loud")
module.tell, module.version = tell, lambda: "Loud 3"
sys.modules["loud"] = module
_records.CONTENDERS["loud"] = Contender("loud", "loud", "")
sys.argv[1:] = ["loud"]
_worker.main()
"""


def test_what_a_contender_prints_is_no_answer() -> None:
    order = json.dumps({"workload": "tell", "sizes": {"messages": 7}})
    done = subprocess.run(
        [sys.executable, "-c", LOUD],
        input=f"{order}\n{order}\n",
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert (
        first
        == second
        == {
            "sample": attrs.asdict(Sample(7, 1.0)),
            "version": "Loud 3",
        }
    )
    assert done.stderr.count("so do I") == 2


async def test_a_process_stays_unless_memory_is_measured() -> None:
    """And one that ends by itself, or never answers, ends nothing else."""
    async with Workers() as workers:
        perform = partial(workers.perform, "asyncio")
        tell, idle = BY_NAME["tell"], BY_NAME["idle"]
        first = await perform(tell, {"messages": 10})
        assert Sample.of(first["sample"]).operations == 10
        worker = workers._workers["asyncio"]
        process = worker._process
        await perform(tell, {"messages": 10})
        assert worker._process is process
        await perform(idle, {"actors": 10})
        assert worker._process is not process
        assert process is not None
        assert process.returncode == 0
        assert worker._process is not None
        worker._process.kill()
        assert await perform(tell, {"messages": 10}) == {
            "error": f"its process ended with -{signal.SIGKILL}"
        }
        assert "sample" in await perform(tell, {"messages": 10})
        last = worker._process
    assert last is not None
    assert last.returncode == 0


async def test_who_takes_too_long_is_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In virtual time, which passes while everybody waits for the process."""
    worker = Worker("asyncio")
    reply = await worker.perform(BY_NAME["tell"], {"messages": 10**9})
    assert reply == {"missing": "it took longer than 120 s"}
    assert worker._process is None
