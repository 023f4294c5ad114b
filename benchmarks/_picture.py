"""The picture: for each workload, how many times as fast as plain Trio everybody is.

Rules of this file:

* It shows what the JSON says, and nothing else; matplotlib draws it, and only here is
  it needed.
* A logarithmic axis, since a bar twice as long should not mean twice a doubling; plain
  Trio is the line at one.
"""

# matplotlib's own annotations are open at their ends.
# pyright: reportUnknownMemberType=false

from pathlib import Path
from typing import Any

import attrs
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._records import Workload
from ._results import OURS, PLAIN, Results

COLUMNS = 2
OUR_COLOUR = "#2a6f97"
OTHER_COLOUR = "#7fb2d1"
THEIR_COLOUR = "#b8c4cc"


@attrs.frozen
class Bar:
    """One contender in one panel."""

    label: str
    ratio: float
    colour: str


def bars(results: Results, base: Workload) -> list[Bar]:
    """Return the bars of one panel: trio_actors, its other ways, and its peers."""
    found: list[Bar] = []
    for workload, contender in results.rows():
        speed = results.speed(workload, contender)
        if workload.base != base.name or contender == PLAIN or speed is None:
            continue
        if contender != OURS:
            found.append(Bar(contender, speed, THEIR_COLOUR))
        elif workload.like:
            way = workload.title.partition(" ")[2]
            found.append(Bar(f"{OURS}: {way}", speed, OTHER_COLOUR))
        else:
            found.append(Bar(OURS, speed, OUR_COLOUR))
    return found


def _draw_panel(axes: Axes, title: str, found: list[Bar]) -> None:
    found.reverse()
    axes.barh(
        [bar.label for bar in found],
        [bar.ratio for bar in found],
        color=[bar.colour for bar in found],
        height=0.7,
    )
    for index, bar in enumerate(found):
        axes.annotate(
            f"{bar.ratio:.2g}" if bar.ratio < 10 else f"{bar.ratio:.0f}",
            (max(bar.ratio, 1), index),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.axvline(1, color="#444444", linewidth=0.8)
    axes.set_title(title, loc="left", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw(results: Results, path: Path) -> None:
    """Draw the picture of a run."""
    panels = [
        (each.title, found)
        for each in results.measured()
        if not each.like and not each.limits and (found := bars(results, each))
    ]
    lines = -(-len(panels) // COLUMNS)
    tallest = max((len(found) for _, found in panels), default=1)
    # The same file for the same figures: no date, no random names of parts.
    style: dict[Any, Any] = {"svg.hashsalt": "trio_actors", "svg.fonttype": "none"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(11, lines * (0.5 + 0.24 * tallest)))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(max(lines, 1), COLUMNS, sharex=True, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for axes, (title, found) in zip(grid.flat, panels, strict=False):
            axes.set_visible(True)
            _draw_panel(axes, title, found)
        figure.suptitle("times as fast as plain Trio (logarithmic)", fontsize=11)
        figure.savefig(path, format="svg", metadata={"Date": None})
