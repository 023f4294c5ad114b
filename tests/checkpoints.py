"""Check that every public async function is a checkpoint on every path.

flake8-async finds the paths without one (ASYNC910, ASYNC911). It is asked about the
whole package, and heard about the public functions: an inner one may return at once,
as part of one that does not. Run it as ``python -m tests.checkpoints``.
"""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import trio_actors
import trio_actors.persistence
import trio_actors.testing

FOUND = re.compile(r"^(.+?):(\d+):\d+: (ASYNC91[01] .*)$", re.MULTILINE)
HOOKS = {"started", "restarting", "restarted", "stopped", "deliver"}


def public_names() -> set[str]:
    """Return the names of the async functions and methods a user may call."""
    return {
        name
        for face in (trio_actors, trio_actors.testing, trio_actors.persistence)
        for public in face.__all__
        for name, value in [
            (public, getattr(face, public)),
            *inspect.getmembers(getattr(face, public)),
        ]
        if inspect.iscoroutinefunction(value) and not name.startswith("_")
    } - HOOKS


def enclosing(path: str, line: int) -> str:
    """Return the name of the innermost function around a line."""
    around = [
        node
        for node in ast.walk(ast.parse(Path(path).read_text()))
        if isinstance(node, ast.AsyncFunctionDef)
        if node.lineno <= line <= (node.end_lineno or 0)
    ]
    return max(around, key=lambda node: node.lineno).name


def complaints() -> Iterator[str]:
    """Return where a public function may return without a checkpoint."""
    package = Path(trio_actors.__file__).parent
    command = ["flake8", "--isolated", "--select=ASYNC910,ASYNC911", str(package)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False
    )
    if done.stderr:
        raise RuntimeError(done.stderr)
    public = public_names()
    for path, line, text in FOUND.findall(done.stdout):
        if (name := enclosing(path, int(line))) in public:
            yield f"{path}:{line}: {name}: {text}"


if __name__ == "__main__":
    bad = list(complaints())
    print(*bad, f"{len(bad)} public functions without a checkpoint", sep="\n")
    sys.exit(bool(bad))
