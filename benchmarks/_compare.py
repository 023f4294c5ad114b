"""The run: who is measured when, and the processes that do it.

Rules of this file:

* Interleaved: in each round of a workload every contender has its turn, in the opposite
  order each time, so that a machine that slows down slows all of them down.
* A contender's process stays alive over its runs; workloads that measure memory get a
  new one each time.
* What is missing or fails is noted once and not tried again. Nothing that one contender
  does ends the run, also not by never coming back.
* Each process leads a group of its own: a Ctrl-C reaches us alone, and what a contender
  started ends with it.
"""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias, cast

import attrs
import trio

from ._records import Sample, Workload
from ._results import OURS, PLAIN, Results

HERE = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # seconds for one run
# A process whose input has ended gets so many seconds, and then this.
FAREWELLS = ((0.5, signal.SIGINT), (3.0, signal.SIGKILL))

Reply: TypeAlias = Mapping[str, Any]
Turn: TypeAlias = tuple[Workload, str]


class Watcher(Protocol):
    """Who wants to know how far the run is."""

    def before(self, workload: Workload, contender: str) -> None:
        """It begins with this."""
        ...

    def after(self, turns: int) -> None:
        """So many turns more are done, or will never be."""
        ...


class Worker:
    """The process of one contender, started when it is first needed."""

    def __init__(self, contender: str) -> None:
        self._contender = contender
        self._process: trio.Process | None = None

    async def perform(self, workload: Workload, sizes: Mapping[str, int]) -> Reply:
        """Let it run *workload* once."""
        if workload.fresh:
            await self.close()
        process = self._process = self._process or await self._start()
        assert process.stdin is not None
        order = {"workload": workload.name, "sizes": dict(sizes)}
        with trio.move_on_after(PATIENCE):
            try:
                await process.stdin.send_all(json.dumps(order).encode() + b"\n")
                line = await self._line(process)
            except trio.BrokenResourceError:
                line = b""
            if line:
                return cast("Reply", json.loads(line))
            await self.close()
            return {"error": f"its process ended with {process.returncode}"}
        await self.close()
        return {"missing": f"it took longer than {PATIENCE:g} s"}

    async def _start(self) -> trio.Process:
        return await trio.lowlevel.open_process(
            [sys.executable, "-m", "benchmarks._worker", self._contender],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=HERE,
            start_new_session=True,
        )

    async def _line(self, process: trio.Process) -> bytes:
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            some = await process.stdout.receive_some()
            if not some:
                return b""
            line += some
        return line

    async def close(self) -> None:
        """End the process: by the end of its input, by Ctrl-C, or by force."""
        process, self._process = self._process, None
        if process is None:
            return
        with trio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            for seconds, signum in FAREWELLS:
                with trio.move_on_after(seconds):
                    await process.wait()
                if process.returncode is None:
                    os.killpg(process.pid, signum)
            await process.wait()


class Workers:
    """The processes of all contenders, by name."""

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers.values():
            await worker.close()

    async def perform(
        self, contender: str, workload: Workload, sizes: Mapping[str, int]
    ) -> Reply:
        """Let one of them run a workload."""
        worker = self._workers.setdefault(contender, Worker(contender))
        return await worker.perform(workload, sizes)


def turns(workloads: Sequence[Workload], contenders: Sequence[str]) -> list[list[Turn]]:
    """Return who is compared with whom: one list per base workload.

    trio_actors does each workload its own way; all others do the base.
    """
    bases = dict.fromkeys(workload.base for workload in workloads)
    return [
        [
            (workload, contender)
            for contender in contenders
            for workload in workloads
            if workload.base == base and (contender == OURS or not workload.like)
        ]
        for base in bases
    ]


def note(results: Results, turn: Turn, reply: Reply) -> bool:
    """Note what came back; return whether it is worth another try."""
    workload, contender = turn
    cell = results.cell(workload.name, contender)
    if "sample" in reply:
        cell.samples.append(Sample.of(reply["sample"]))
        if reply.get("version"):
            results.facts["versions"][contender] = reply["version"]
        return True
    cell.missing, cell.error = reply.get("missing", ""), reply.get("error", "")
    return False


@attrs.define
class Comparison:
    """One run over all workloads."""

    results: Results
    perform: Callable[[str, Workload, Mapping[str, int]], Awaitable[Reply]]
    save: Callable[[], None]
    watcher: Watcher
    budget: float = math.inf
    """Seconds after which nobody is asked again, except for the two that every row
    needs: they are asked as often as was wanted, unless it is their memory that is
    measured, which is the same each time."""
    _spent: dict[str, float] = attrs.field(factory=dict[str, float], init=False)

    async def run(self, groups: Sequence[Sequence[Turn]]) -> None:
        """Measure all there is to measure."""
        for group in groups:
            await self._run_group(group)
        self.results.complete = True
        self.save()

    async def _run_group(self, group: Sequence[Turn]) -> None:
        left = list(group)
        self._spent.clear()
        for number in range(self.results.repeat):
            for turn in left[:: -1 if number % 2 else 1]:
                again = await self._take(turn)
                self.watcher.after(1)
                if not again:
                    left.remove(turn)
                    self.watcher.after(self.results.repeat - number - 1)

    async def _take(self, turn: Turn) -> bool:
        """Let one have its turn; return whether it shall have another."""
        workload, contender = turn
        self.watcher.before(workload, contender)
        sizes = workload.quick if self.results.quick else workload.sizes
        began = trio.current_time()
        reply = await self.perform(contender, workload, sizes)
        spent = self._spent.get(contender, 0) + trio.current_time() - began
        self._spent[contender] = spent
        good = note(self.results, turn, reply)
        self.save()
        needed = contender in {OURS, PLAIN} and not workload.fresh
        return good and (needed or spent < self.budget)
