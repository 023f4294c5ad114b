"""What a run has measured so far: medians, ratios, targets, and the JSON of it all.

Rules of this file:

* A ratio says how many times as fast trio_actors is; every figure that is shown comes
  from the medians of the same run.
* The file is written after each cell.
* Nothing tells whose machine it was: versions and sizes, no names, no paths.
"""

import json
import os
import platform
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import attrs

from ._file import write
from ._records import CONTENDERS, Clock, Sample, Workload
from ._workloads import WORKLOADS

OURS = "trio_actors"
PLAIN = "naive"
PACKAGES = ("trio-actors", "trio", "attrs")  # contenders tell theirs themselves
BY_NAME = {workload.name: workload for workload in WORKLOADS}


@attrs.define
class Cell:
    """One contender in one workload."""

    samples: list[Sample] = attrs.field(factory=list[Sample])
    missing: str = ""
    """Why there are none."""
    error: str = ""
    """What went wrong."""

    @property
    def microseconds(self) -> float | None:
        """The median, per operation."""
        if not self.samples:
            return None
        return median(sample.microseconds for sample in self.samples)

    @property
    def clock(self) -> Clock:
        """Which clock it was."""
        return self.samples[0].clock

    def figure(self, name: str) -> float | None:
        """The median of another figure."""
        figures = [sample.figures.get(name) for sample in self.samples]
        known = [figure for figure in figures if figure is not None]
        return median(known) if known else None


@attrs.frozen
class Verdict:
    """A target, and what was measured."""

    workload: Workload
    against: str
    """A contender, or a figure."""
    wanted: float
    measured: float | None
    """None if it could not be measured."""
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is met."""
        if self.measured is None:
            return None
        if self.at_most:
            return self.measured <= self.wanted
        return self.measured >= self.wanted


def facts() -> dict[str, Any]:
    """Return what somebody has to know to compare this run with another."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@attrs.define
class Results:
    """A run."""

    quick: bool
    repeat: int
    facts: dict[str, Any] = attrs.field(factory=facts)
    complete: bool = False
    cells: dict[tuple[str, str], Cell] = attrs.field(
        factory=dict[tuple[str, str], Cell]
    )
    """By the names of a workload and a contender."""

    def cell(self, workload: str, contender: str) -> Cell:
        """Return a cell; it is made if it was not there."""
        return self.cells.setdefault((workload, contender), Cell())

    def time(self, workload: Workload, contender: str) -> float | None:
        """Return the microseconds of a contender in a workload, or in its base."""
        name = workload.name if contender == OURS else workload.base
        cell = self.cells.get((name, contender))
        return cell.microseconds if cell is not None else None

    def ratio(self, workload: Workload, contender: str) -> float | None:
        """Return how many times as fast as *contender* trio_actors is."""
        ours, theirs = self.time(workload, OURS), self.time(workload, contender)
        return theirs / ours if ours and theirs else None

    def speed(self, workload: Workload, contender: str) -> float | None:
        """Return how many times as fast as plain Trio *contender* is."""
        plain, time = self.time(workload, PLAIN), self.time(workload, contender)
        return plain / time if plain and time else None

    def verdicts(self, workload: Workload) -> Iterator[Verdict]:
        """Compare what was measured with what is wanted."""
        for contender, wanted in workload.targets.items():
            measured = self.ratio(workload, contender)
            yield Verdict(workload, contender, wanted, measured)
        cell = self.cells.get((workload.name, OURS), Cell())
        for figure, wanted in workload.limits.items():
            measured = cell.figure(figure)
            yield Verdict(workload, figure, wanted, measured, at_most=True)

    def measured(self) -> list[Workload]:
        """Return the workloads of this run, in the order of the table."""
        names = {name for name, _ in self.cells}
        return [workload for workload in WORKLOADS if workload.name in names]

    def rows(self) -> list[tuple[Workload, str]]:
        """Return who was measured at what, in the order of the table."""
        return [
            (workload, contender)
            for workload in self.measured()
            for contender in CONTENDERS
            if (workload.name, contender) in self.cells
        ]

    def all_verdicts(self) -> list[Verdict]:
        """Return those of all workloads of this run."""
        return [one for each in self.measured() for one in self.verdicts(each)]


# --- JSON -------------------------------------------------------------------


def _cell_to_json(cell: Cell) -> dict[str, Any]:
    if not cell.samples:
        return {"error": cell.error} if cell.error else {"missing": cell.missing}
    return {
        "microseconds": cell.microseconds,
        "samples": [attrs.asdict(sample) for sample in cell.samples],
        **({"error": cell.error} if cell.error else {}),
    }


def _cell_from_json(fields: dict[str, Any]) -> Cell:
    samples = [Sample.of(sample) for sample in fields.get("samples", ())]
    return Cell(samples, fields.get("missing", ""), fields.get("error", ""))


def _workload_to_json(results: Results, workload: Workload) -> dict[str, Any]:
    return {
        "title": workload.title,
        "unit": workload.unit,
        "sizes": dict(workload.quick if results.quick else workload.sizes),
        "contenders": {
            contender: _cell_to_json(results.cell(workload.name, contender))
            for row, contender in results.rows()
            if row is workload
        },
        "targets": [
            attrs.asdict(verdict, filter=lambda field, _: field.name != "workload")
            | {"met": verdict.met}
            for verdict in results.verdicts(workload)
        ],
    }


def to_json(results: Results) -> dict[str, Any]:
    """Return the run as JSON has it."""
    return {
        "complete": results.complete,
        "quick": results.quick,
        "repeat": results.repeat,
        "facts": results.facts,
        "workloads": {
            workload.name: _workload_to_json(results, workload)
            for workload in results.measured()
        },
    }


def from_json(fields: dict[str, Any]) -> Results:
    """Return the run that `to_json()` wrote down."""
    cells = {
        (name, contender): _cell_from_json(cell)
        for name, workload in fields["workloads"].items()
        for contender, cell in workload["contenders"].items()
    }
    return Results(
        fields["quick"], fields["repeat"], fields["facts"], fields["complete"], cells
    )


def save(results: Results, path: Path) -> None:
    """Write the file anew: all of it or nothing."""
    write(to_json(results), path)


def load(path: Path) -> Results:
    """Read a file that `save()` wrote."""
    return from_json(json.loads(path.read_text()))


def _known(kind: str, names: Iterable[str], known: Collection[str]) -> set[str]:
    wanted = set(names)
    if unknown := wanted.difference(known):
        raise ValueError(
            f"there is no {kind} {', '.join(sorted(unknown))}. Write some of"
            f" {', '.join(known)}."
        )
    return wanted


def chosen(names: Iterable[str]) -> list[Workload]:
    """Return the workloads with these names, their bases, and other ways to do them.

    Raises:
        ValueError: There is none with that name.
    """
    wanted = _known("workload", names, BY_NAME)
    wanted |= {BY_NAME[name].base for name in wanted}
    return [each for each in WORKLOADS if not wanted or {each.name, each.base} & wanted]


def opponents(names: Iterable[str]) -> list[str]:
    """Return the contenders with these names; all if there are none.

    Raises:
        ValueError: There is none with that name.
    """
    wanted = _known("contender", names, CONTENDERS)
    return [name for name in CONTENDERS if not wanted or name in wanted | {OURS}]
