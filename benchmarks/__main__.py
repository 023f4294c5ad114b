"""``python -m benchmarks``: measure, show the table, keep the figures.

Rules of this file:

* An interrupted run shows what it has, and leaves a file that can be read.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from rich.console import Console

from ._compare import Comparison, Workers, turns
from ._file import add_json
from ._publish import publish
from ._report import ProgressBar, show
from ._results import Results, chosen, load, opponents, save

QUICK_BUDGET = 0.25
WIDTH = 110  # of a table that goes into a file
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How fast trio_actors is, beside plain Trio and its peers.",
    )
    made.add_argument("--quick", action="store_true", help="less of all: a minute")
    made.add_argument("--only", default="", metavar="tell,ask", help="these workloads")
    made.add_argument(
        "--against", default="", metavar="naive,pykka", help="these contenders"
    )
    made.add_argument("--repeat", type=int, default=5, help="runs per median: 5")
    add_json(made, "benchmarks.json")
    made.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw it (needs matplotlib)"
    )
    made.add_argument(
        "--publish", action="store_true", help="bring figures and README up to date"
    )
    made.add_argument(
        "--load", type=Path, metavar="FILE", help="measure nothing: show this file"
    )
    return made


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


async def _compare(
    results: Results, options: argparse.Namespace, console: Console
) -> None:
    groups = turns(chosen(_names(options.only)), opponents(_names(options.against)))
    number = results.repeat * sum(map(len, groups))
    async with Workers() as workers:
        with ProgressBar(console, number) as bar:
            comparison = Comparison(
                results,
                workers.perform,
                partial(save, results, options.json),
                bar,
                budget=QUICK_BUDGET if results.quick else math.inf,
            )
            await comparison.run(groups)


def _measure(options: argparse.Namespace, console: Console) -> tuple[Results, int]:
    results = Results(quick=options.quick, repeat=options.repeat)
    interrupted = False
    try:
        trio.run(_compare, results, options, console)
    except* KeyboardInterrupt:
        interrupted = True
    save(results, options.json)
    if interrupted:
        return results, INTERRUPTED
    return results, int(any(cell.error for cell in results.cells.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = parser().parse_args(arguments)
    try:
        chosen(_names(options.only))
        opponents(_names(options.against))
    except ValueError as error:
        parser().error(str(error))
    if options.load:
        results, status = load(options.load), 0
    else:
        results, status = _measure(options, Console(stderr=True))
    show(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    if options.picture:
        from ._picture import draw  # noqa: PLC0415 (nobody else needs matplotlib)

        draw(results, options.picture)
    if options.publish and results.complete:
        publish(results)
    return status


if __name__ == "__main__":
    sys.exit(main())
