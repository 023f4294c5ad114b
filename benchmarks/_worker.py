"""One process per contender: ``python -m benchmarks._worker pykka``.

Rules of this file:

* It reads lines of JSON, ``{"workload": "tell", "sizes": {"messages": 1000}}``, and
  answers each with one: ``{"sample": ..., "version": ...}``, ``{"missing": why}`` or
  ``{"error": what}``.
* Nothing else is written to its standard output: what a peer prints goes to stderr.
* It ends when its standard input does, or at a Ctrl-C, without a word.
* The garbage collector keeps its default settings, for all; each run begins clean.
"""

import gc
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import attrs

from ._records import CONTENDERS, Missing, Run, Sample


def load(name: str) -> ModuleType:
    """Import the module of a contender.

    Raises:
        Missing: It, or what it needs, is not installed.
    """
    contender = CONTENDERS[name]
    try:
        return importlib.import_module(contender.module)
    except ImportError as error:
        raise Missing(f"{error} (`nox -s bench` has {contender.needs})") from error


def function(module: ModuleType, workload: str) -> Run:
    """Find what runs *workload*.

    Raises:
        Missing: The contender cannot do it, or nobody has written it.
    """
    reasons: Mapping[str, str] = getattr(module, "WITHOUT", {})
    run: Run | None = getattr(module, workload, None)
    if workload in reasons or run is None:
        raise Missing(reasons.get(workload, "not written for this one"))
    return run


def perform(name: str, workload: str, sizes: Mapping[str, int]) -> Sample:
    """Run *workload* once with the contender *name*, in this process.

    Raises:
        Missing: It cannot be run here.
    """
    module = load(name)
    run = function(module, workload)
    at_most: Mapping[str, int] = getattr(module, "AT_MOST", {}).get(workload, {})
    gc.collect()
    return run({key: min(size, at_most.get(key, size)) for key, size in sizes.items()})


@cache
def version(name: str) -> str:
    """Return what a contender says of its version, if it does."""
    say: Callable[[], str] = getattr(load(name), "version", str)
    return say()


def answer(name: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one line."""
    try:
        sample = perform(name, order["workload"], order["sizes"])
    except Missing as missing:
        return {"missing": str(missing)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    return {"sample": attrs.asdict(sample), "version": version(name)}


def serve(name: str) -> None:
    """Answer line by line, until standard input ends."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(json.dumps(answer(name, json.loads(line))) + "\n")
            answers.flush()


def main() -> None:
    """Serve; end quietly at a Ctrl-C, which Trio may raise in a group."""
    (name,) = sys.argv[1:]
    try:
        serve(name)
    except* KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
