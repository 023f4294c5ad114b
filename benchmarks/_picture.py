"""The picture: for each workload, how many times as fast as plain Trio everybody is.

Rules of this file:

* It shows what the JSON says, and nothing else; matplotlib draws it, and only here is
  it needed.
* A logarithmic axis on which every bar begins at plain Trio, the line at one: to the
  right is faster, to the left slower, and as far for "twice" as for "half".
"""

# matplotlib's own annotations are open at their ends.
# pyright: reportUnknownMemberType=false

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._report import Bar, panels, show_ratio
from ._results import Results

COLUMNS = 3
TICKS = (0.001, 0.01, 0.1, 1, 10, 100)
COLOURS = {"ours": "#2a6f97", "another way": "#7fb2d1", "theirs": "#b8c4cc"}


def _draw_panel(axes: Axes, title: str, found: list[Bar]) -> None:
    found.reverse()
    axes.barh(
        [bar.label for bar in found],
        [bar.ratio - 1 for bar in found],
        left=1,
        color=[COLOURS[bar.kind] for bar in found],
        height=0.7,
    )
    for index, bar in enumerate(found):
        axes.annotate(
            show_ratio(bar.ratio),
            (max(bar.ratio, 1), index),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.axvline(1, color="#444444", linewidth=0.8)
    axes.set_title(title, loc="left", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw(results: Results, path: Path) -> None:
    """Draw the picture of a run."""
    shown = panels(results)
    lines = -(-len(shown) // COLUMNS)
    tallest = max((len(found) for _, found in shown), default=1)
    # The same file for the same figures: no date, no random names of parts.
    style: dict[Any, Any] = {"svg.hashsalt": "trio_actors", "svg.fonttype": "none"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(13, lines * (0.5 + 0.2 * tallest)))
        figure.set_layout_engine("constrained")
        grid = figure.subplots(max(lines, 1), COLUMNS, sharex=True, squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for axes, (title, found) in zip(grid.flat, shown, strict=False):
            axes.set_visible(True)
            _draw_panel(axes, title, found)
        figure.suptitle("times as fast as plain Trio (logarithmic)", fontsize=11)
        figure.savefig(path, format="svg", metadata={"Date": None})
