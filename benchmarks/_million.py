"""The figures of `million`: records, targets, JSON, the table.

Rules of this file:

* A target stands beside what was measured, met or not; what could not be measured is
  neither.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table

from ._file import write
from ._meter import Cost
from ._results import facts

UNTOLD = 2800.0
TOLD = 4700.0
WHOLE = 3e9
"""Bytes of the process with a million that were never told anything."""
MILLION = 1_000_000
GROWTH = 2.5
STOP = 2.0
LARGE = 10_000
"""Fewer actors say nothing about memory: the process grows in larger pieces."""


@attrs.frozen
class Stage:
    """So many actors, and what a message costs among them."""

    actors: int
    started: int
    """How many of them are new."""
    start_seconds: float
    """For the new ones."""
    bytes_untold: float | None
    """For each of the new ones, before it was told anything."""
    resident: int | None
    """Bytes of the whole process."""
    tell: float
    """Microseconds."""
    ask: float
    """Microseconds."""
    costs: Mapping[str, Cost]


@attrs.frozen
class Target:
    """What is wanted at most, and what was measured."""

    what: str
    wanted: float
    measured: float | None
    scale: float = 1
    """What both are divided by in the table."""

    @property
    def met(self) -> bool | None:
        """Whether it is met; None if that is not known."""
        return None if self.measured is None else self.measured <= self.wanted


@attrs.define
class Report:
    """A run."""

    actors: int
    stages: list[Stage] = attrs.field(factory=list[Stage])
    bytes_more_told: float | None = None
    """What the first message adds to the weight of an actor."""
    collect_seconds: float | None = None
    """A full garbage collection, with all of them alive."""
    stop_seconds: float | None = None
    complete: bool = False

    @property
    def reached(self) -> int:
        """The size of the last stage."""
        return self.stages[-1].actors if self.stages else 0

    @property
    def start_seconds(self) -> float:
        """How long it took to start all of them."""
        return sum(stage.start_seconds for stage in self.stages)

    @property
    def same_costs(self) -> bool:
        """Whether passes and steps are the same at each stage."""
        return all(stage.costs == self.stages[0].costs for stage in self.stages)

    @property
    def untold(self) -> float | None:
        """What one weighs that was never told anything."""
        if not self.stages or self.stages[-1].started < LARGE:
            return None
        return self.stages[-1].bytes_untold

    def growth(self, name: str) -> float:
        """Return how many times as long a tell or an ask takes, at most."""
        times: list[float] = [getattr(stage, name) for stage in self.stages]
        return max(times) / times[0]

    def targets(self) -> list[Target]:
        """Compare what was measured with what is wanted."""
        untold, more = self.untold, self.bytes_more_told
        last = self.stages[-1]
        told = None if untold is None or more is None else untold + more
        whole = last.resident if last.actors == MILLION else None
        return [
            Target("bytes per actor", UNTOLD, untold),
            Target("bytes per actor that was told something", TOLD, told),
            Target("MB for a million", WHOLE, whole, 1e6),
            Target("growth of a tell", GROWTH, self.growth("tell")),
            Target("growth of an ask", GROWTH, self.growth("ask")),
            Target("seconds to stop", STOP * self.start_seconds, self.stop_seconds),
        ]


# --- JSON --------------------------------------------------------------------


def to_json(report: Report) -> dict[str, Any]:
    """Return the run as JSON has it."""
    targets = report.targets() if report.stages else []
    return {
        "facts": facts(),
        **attrs.asdict(report),
        "same_costs": report.same_costs,
        "targets": [
            {"what": one.what, "wanted": one.wanted, "measured": one.measured}
            | {"met": one.met}
            for one in targets
        ],
    }


def save(report: Report, path: Path) -> None:
    """Write the file anew: all of it or nothing."""
    write(to_json(report), path)


def load(path: Path) -> Report:
    """Read a file that `save()` wrote."""
    written = json.loads(path.read_text())
    fields: dict[str, Any] = {
        field.name: written[field.name] for field in attrs.fields(Report)
    }
    fields["stages"] = [_stage_from_json(stage) for stage in written["stages"]]
    return Report(**fields)


def _stage_from_json(fields: dict[str, Any]) -> Stage:
    costs = {name: Cost(**cost) for name, cost in fields["costs"].items()}
    known: dict[str, Any] = {**fields, "costs": costs}
    return Stage(**known)


# --- What a person sees ------------------------------------------------------


COUNTED = {"tell": "64 tells", "ask": "an ask", "restart": "a restart"}


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _stages(report: Report) -> Table:
    title = "Among so many actors: µs, bytes, and passes and steps"
    table = Table(title=title, title_justify="left")
    columns = ("actors", "to start one", "bytes", "a tell", "an ask")
    for column in (*columns, *COUNTED.values()):
        table.add_column(column, justify="right")
    for stage in report.stages:
        table.add_row(
            _number(stage.actors),
            _number(stage.start_seconds / stage.started * 1e6, 1),
            _number(stage.bytes_untold if stage.started >= LARGE else None),
            _number(stage.tell, 2),
            _number(stage.ask, 2),
            *(_cost(stage.costs[name]) for name in COUNTED),
        )
    return table


def _cost(cost: Cost) -> str:
    return f"{cost.passes:g} and {cost.steps:g}"


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    if not report.stages:
        return
    console.print(_stages(report))
    table = Table(title="At most", title_justify="left")
    for column in ("", "wanted", "measured", ""):
        table.add_column(column, justify="right" if column else "left")
    met = {None: "not measured", True: "[green]met[/]", False: "[red]not met[/]"}
    for one in report.targets():
        digits = 0 if one.wanted / one.scale >= 100 else 2
        wanted = _number(one.wanted / one.scale, digits)
        measured = None if one.measured is None else one.measured / one.scale
        table.add_row(one.what, wanted, _number(measured, digits), met[one.met])
    console.print(table)
    same = "the same" if report.same_costs else "[red]not the same[/]"
    console.print(f"Passes and steps are {same} at each stage.")
    if report.collect_seconds is not None:
        seconds = _number(report.collect_seconds, 3)
        console.print(f"A full garbage collection takes {seconds} seconds.")
    if not report.complete:
        console.print("[red]The run was interrupted.[/]")
