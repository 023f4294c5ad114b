"""Several ways to do the same, side by side: for all that ask for no other system.

Rules of this file:

* All ways run in this process, on one thread. In each round every one has its turn, in
  the opposite order each time; a figure is the median of the rounds.
* The file is written after each turn.
"""

import argparse
import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol, TypeAlias

import attrs
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ._file import add_json, write
from ._records import Sample
from ._results import facts

INTERRUPTED = 130
Way: TypeAlias = Callable[[], Sample]


@attrs.define
class Row:
    """The same work, done in several ways."""

    title: str
    ways: Mapping[str, Way]
    samples: dict[str, list[Sample]] = attrs.field(
        factory=dict[str, list[Sample]], init=False
    )

    def take(self, way: str) -> None:
        """Let one way have its turn."""
        gc.collect()
        self.samples.setdefault(way, []).append(self.ways[way]())

    def per_second(self, way: str) -> float | None:
        """Return how many operations that way does in a second of CPU time."""
        samples = self.samples.get(way)
        if not samples:
            return None
        return 1e6 / median(sample.microseconds for sample in samples)

    def ratio(self, way: str, other: str) -> float | None:
        """Return how many times as fast one way is as another."""
        ours, theirs = self.per_second(way), self.per_second(other)
        return ours / theirs if ours and theirs else None


class RowMaker(Protocol):
    """Makes the rows of a benchmark."""

    def __call__(self, *, quick: bool) -> Sequence[Row]:
        """Return them; with less work each, and fewer, if it shall be quick."""
        ...


@attrs.frozen
class Goal:
    """What one figure is to be at least."""

    row: str
    least: float
    against: str = ""
    """The way that it is compared with; without one it is operations a second."""
    ours: str = "actor"
    """The way that has the goal."""

    def told(self, row: Row) -> str:
        """Return the goal, what was measured, and whether that is enough."""
        if self.against:
            number, unit = row.ratio(self.ours, self.against), f"x {self.against}"
            form = ".2f"
        else:
            number, form, unit = row.per_second(self.ours), ",.0f", "a second"
        if number is None:
            return f"{self.row}: not measured"
        verdict = "met" if number >= self.least else "missed"
        return (
            f"{self.row}: {number:{form}} {unit}, goal {self.least:{form}}: {verdict}"
        )


@attrs.define
class Trial:
    """A benchmark of this kind: ``python -m`` runs its `main()`."""

    name: str
    title: str
    """What the table is about."""
    rows_for: RowMaker
    against: Sequence[str]
    """The ways that ours is compared with."""
    ours: str = "actor"
    """The way that is ours."""
    second: str = "second of CPU time"
    """What a second is."""
    rows: Sequence[Row] = attrs.field(default=(), init=False)
    complete: bool = attrs.field(default=False, init=False)

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Do what the command line says; return the exit status."""
        options = self._parser().parse_args(arguments)
        self.rows, self.complete = self.rows_for(quick=options.quick), False
        turns = list(self.turns(options.repeat))
        status = 0
        try:
            for row, way in track(turns, self.name, console=Console(stderr=True)):
                row.take(way)
                self.save(options.json)
            self.complete = True
        except* KeyboardInterrupt:
            status = INTERRUPTED
        self.save(options.json)
        Console().print(self.table())
        return status

    def turns(self, repeat: int) -> Iterator[tuple[Row, str]]:
        """Return who is measured when."""
        for row in self.rows:
            for number in range(repeat):
                for way in list(row.ways)[:: -1 if number % 2 else 1]:
                    yield row, way

    def table(self) -> Table:
        """Return what was measured."""
        ways = list(self.rows[0].ways)
        made = Table(
            title=self.title,
            caption=f"operations per {self.second};"
            f" vs: how many times as fast the {self.ours} is",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        made.add_column("", no_wrap=True)
        for way in [*ways, *(f"vs {way}" for way in self.against)]:
            made.add_column(way, justify="right", no_wrap=True)
        for row in self.rows:
            speeds = [_show(row.per_second(way), ",.0f") for way in ways]
            ratios = [_show(row.ratio(self.ours, way), ".2f") for way in self.against]
            made.add_row(row.title, *speeds, *ratios)
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON has it."""
        return {
            "benchmark": self.name,
            "complete": self.complete,
            "facts": facts(),
            "rows": [
                {
                    "title": row.title,
                    "per_second": {way: row.per_second(way) for way in row.ways},
                    "samples": {
                        way: [attrs.asdict(sample) for sample in samples]
                        for way, samples in row.samples.items()
                    },
                }
                for row in self.rows
            ],
        }

    def save(self, path: Path) -> None:
        """Write the file anew: all of it or nothing."""
        write(self.to_json(), path)

    def _parser(self) -> argparse.ArgumentParser:
        made = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{self.name}", description=self.title
        )
        made.add_argument("--quick", action="store_true", help="less of all")
        made.add_argument("--repeat", type=int, default=5, help="runs per median: 5")
        add_json(made, f"{self.name}.json")
        return made


def _show(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def run(trial: Trial) -> None:
    """Run one as a program."""
    sys.exit(trial.main())
