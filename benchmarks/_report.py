"""What a person sees: the progress bar, the table, the verdict, the bars.

Rules of this file:

* A row per contender and workload; one that is missing is there, and says why.
* A target stands beside what was measured, met or not.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Literal, Self

import attrs
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from ._records import Workload
from ._results import OURS, PLAIN, Cell, Results, Verdict

Row = tuple[str, str, str, str, str, str]
FIGURES = {"bytes_untold": "untold", "bytes_told": "told once"}


class ProgressBar(AbstractContextManager["ProgressBar"]):
    """Shows which contender is at work, and how much is left."""

    def __init__(self, console: Console, turns: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description:32}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=turns)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def before(self, workload: Workload, contender: str) -> None:
        """Show what begins."""
        self._bar.update(self._task, description=f"{workload.name}: {contender}")

    def after(self, turns: int) -> None:
        """Show what is done."""
        self._bar.advance(self._task, turns)


@attrs.frozen
class Bar:
    """One contender in one panel of the picture."""

    label: str
    ratio: float
    kind: Literal["ours", "another way", "theirs"]


def show_ratio(ratio: float) -> str:
    """Return it with as many digits as mean something."""
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"


def bars(results: Results, base: Workload) -> list[Bar]:
    """Return the bars of one panel: trio_actors, its other ways, and its peers."""
    found: list[Bar] = []
    for workload, contender in results.rows():
        speed = results.speed(workload, contender)
        if workload.base != base.name or contender == PLAIN or speed is None:
            continue
        if contender != OURS:
            found.append(Bar(contender, speed, "theirs"))
        elif workload.like:
            way = workload.title.partition(" ")[2]
            found.append(Bar(way, speed, "another way"))
        else:
            found.append(Bar(OURS, speed, "ours"))
    order = ("ours", "another way", "theirs")
    return sorted(found, key=lambda bar: order.index(bar.kind))


def panels(results: Results) -> list[tuple[str, list[Bar]]]:
    """Return the panels of the picture: a title, and what is compared."""
    return [
        (workload.title, found)
        for workload in results.measured()
        if not workload.like and not workload.limits
        if (found := bars(results, workload))
    ]


def show_verdict(verdict: Verdict) -> str:
    """Return a target, and whether it is met."""
    sign = "<=" if verdict.at_most else ">="
    met = {None: "not measured", True: "[green]met[/]", False: "[red]not met[/]"}
    return f"{sign} {verdict.wanted:g} {met[verdict.met]}"


def _ratio(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def _why(cell: Cell) -> str:
    return f"[dim]{escape(cell.error or cell.missing)}[/]"


def _weight_rows(results: Results, workload: Workload, contender: str) -> Iterator[Row]:
    """Return a row per figure: a workload that is weighed, not timed."""
    cell, ours = results.cell(workload.name, contender), contender == OURS
    plain = results.cell(workload.name, PLAIN)
    targets = {one.against: show_verdict(one) for one in results.verdicts(workload)}
    for name, label in FIGURES.items():
        weight, other = cell.figure(name), plain.figure(name)
        if weight is None:
            continue
        title = f"{workload.title}, {label}" if ours else label
        less = other / weight if other else None
        target = targets.get(name, "") if ours else ""
        yield title, contender, f"{weight:,.0f} B", _ratio(less), "", target


def _time_row(results: Results, workload: Workload, contender: str) -> Row:
    time = results.time(workload, contender)
    name = workload.name if contender == OURS else workload.base
    cell = results.cell(name, contender)
    targets = {one.against: show_verdict(one) for one in results.verdicts(workload)}
    return (
        workload.title if contender == OURS else "",
        contender,
        f"{time:,.3f}{'w' if cell.clock == 'wall' else ' '}",
        _ratio(results.speed(workload, contender)),
        "" if contender == OURS else _ratio(results.ratio(workload, contender)),
        targets.get(contender, ""),
    )


def rows(results: Results, workload: Workload) -> Iterator[Row]:
    """Return the rows of one workload, trio_actors first."""
    contenders = [one for row, one in results.rows() if row is workload]
    if workload.like and results.time(workload, PLAIN) is not None:
        contenders.append(PLAIN)  # measured once, for all ways to do the same
    for contender in contenders:
        name = workload.base if contender == PLAIN else workload.name
        cell = results.cell(name, contender)
        if not cell.samples:
            title = workload.title if contender == OURS else ""
            yield title, contender, "-", "", "", _why(cell)
        elif workload.limits:
            yield from _weight_rows(results, workload, contender)
        else:
            yield _time_row(results, workload, contender)


def table(results: Results) -> Table:
    """Return the table of a run."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("workload")
    made.add_column("contender", no_wrap=True)
    made.add_column("us each", justify="right", no_wrap=True)
    made.add_column("x naive", justify="right", no_wrap=True)
    made.add_column("ours x", justify="right", no_wrap=True)
    made.add_column("target, or why there is nothing")
    for workload in results.measured():
        for row in rows(results, workload):
            made.add_row(*row)
        made.add_section()
    return made


LEGEND = """\
us each: microseconds per operation, CPU time (w: wall time), the median of {} runs{}
x naive: how many times as fast as plain Trio (for bytes: as light)
ours x:  how many times as fast trio_actors is as this contender"""


def summary(results: Results) -> str:
    """Return in one line what the targets have come to."""
    verdicts = results.all_verdicts()
    missed = [one for one in verdicts if one.met is False]
    open_ = sum(one.met is None for one in verdicts)
    names = ", ".join(f"{one.workload.name}/{one.against}" for one in missed)
    return (
        f"{len(verdicts) - len(missed) - open_} of {len(verdicts)} targets are met"
        f"{f', {len(missed)} are not: {names}' if missed else ''}"
        f"{f'; {open_} could not be measured' if open_ else ''}."
        f"{'' if results.complete else ' The run was interrupted.'}"
        f"{' A quick run: its figures are rough.' if results.quick else ''}"
    )


def show(results: Results, console: Console) -> None:
    """Print the table and the verdict."""
    console.print(table(results))
    fewer = ", of slow peers fewer" if results.quick else ""
    legend = LEGEND.format(results.repeat, fewer)
    console.print(legend, highlight=False, soft_wrap=True)
    console.print(summary(results), highlight=False, soft_wrap=True)
