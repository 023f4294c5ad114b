"""The run that the README shows: its figures, its picture, its table.

Rules of this file:

* What stands in the README between its two marks is written by this file alone, from
  the same figures as the picture beside it; a test compares them.
"""

from collections.abc import Iterator
from pathlib import Path

from ._records import Workload
from ._report import show_ratio, summary
from ._results import OURS, Results, save

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "benchmarks" / "results.json"
PICTURE = ROOT / "benchmarks" / "picture.svg"
README = ROOT / "README.md"
BEGIN, END = "<!-- begin: figures -->\n", "<!-- end: figures -->\n"

COLUMNS = {
    "naive": "plain Trio",
    "asyncio": "asyncio",
    "pykka": "Pykka",
    "otp": "OTP",
}


def _machine(results: Results) -> str:
    facts = results.facts
    versions = [f"Trio {facts['versions']['trio']}"]
    versions += [
        facts["versions"][name] for name in COLUMNS if name in facts["versions"]
    ]
    python = f"{facts['implementation']} {facts['python']}"
    where = f"{facts['system']}, {facts['machine']}, {facts['cpus']} processors"
    return ", ".join([python, *versions, where])


def _row(results: Results, workload: Workload) -> str:
    ours = results.time(workload, OURS)
    cells = [workload.title, workload.unit, "" if ours is None else f"{ours:,.2f}"]
    for contender in COLUMNS:
        ratio = results.ratio(workload, contender)
        cells.append("" if ratio is None else show_ratio(ratio))
    return f"| {' | '.join(cells)} |"


def _weights(results: Results) -> Iterator[str]:
    for workload, contender in results.rows():
        untold = results.cell(workload.name, contender).figure("bytes_untold")
        told = results.cell(workload.name, contender).figure("bytes_told")
        if untold is not None and told is not None:
            yield f"{COLUMNS.get(contender, contender)} {untold:,.0f} and {told:,.0f}"


def markdown(results: Results) -> str:
    """Return the table of a run, as the README has it."""
    timed = [workload for workload in results.measured() if not workload.limits]
    weights = ", ".join(_weights(results))
    lines = [
        f"| | | us each | {' | '.join(f'x {name}' for name in COLUMNS.values())} |",
        f"|---|---|{'--:|' * (1 + len(COLUMNS))}",
        *(_row(results, workload) for workload in timed),
        "",
        f"Bytes per idle actor, before its first message and after it: {weights}.",
        "",
        f"{summary(results)} ({_machine(results)}.)",
    ]
    return "\n".join(lines) + "\n"


def shown(readme: str) -> str:
    """Return what stands between the marks."""
    return readme.partition(BEGIN)[2].partition(END)[0]


def publish(results: Results) -> None:
    """Keep the figures of a complete run, draw the picture, write the table."""
    from ._picture import draw  # noqa: PLC0415 (nobody else needs matplotlib)

    save(results, FIGURES)
    draw(results, PICTURE)
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(before + BEGIN + markdown(results) + END + after)
