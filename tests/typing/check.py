"""Check users' programs and wrong uses with mypy and pyright, both in strict mode.

``programs/`` must be accepted whole. In ``wrong/`` a line marked ``# E`` must be
refused by both checkers (``# E-1``: there or on the line before), and no other line.

Both are checked against the library's own sources. What is yet to come (other
machines) is taken from the stubs in ``later/``, name by name, until the library has it.

Run it as ``python -m tests.typing.check``.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARK = re.compile(r"# (E(?:-1)?) ")
# Complaints about the style of the wrong uses, not about their use of the library.
STYLE = {
    "reportUnusedExpression",
    "reportUnusedVariable",
    "reportUnknownVariableType",
    "reportUnknownMemberType",
    "reportUnknownArgumentType",
    "reportUnknownLambdaType",
}
Refused = dict[Path, set[int]]


def compose(folder: Path) -> None:
    """Put the library, the stubs of what it lacks, and all the uses into *folder*."""
    package = folder / "trio_actors"
    shutil.copytree(
        ROOT / "trio_actors", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for stub in sorted((HERE / "later").glob("*.pyi")):
        if stub.stem == "testing":
            lend(stub, package / "testing")
        elif not (package / stub.stem).is_dir():
            shutil.copy(stub, package)
    shutil.copytree(HERE.parent / "programs", folder / "programs")
    shutil.copytree(HERE / "wrong", folder / "wrong")
    shutil.copy(HERE / "right.py", folder / "programs")


def lend(stub: Path, package: Path) -> None:
    """Let *package* export the names of *stub* that it does not have itself."""
    face = package / "__init__.py"
    there = {
        alias.asname or alias.name
        for node in ast.parse(face.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    missing = [
        node.name
        for node in ast.parse(stub.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        if node.name not in there and not node.name.startswith("_")
    ]
    if missing:
        shutil.copy(stub, package / "_later.pyi")
        names = ", ".join(f"{name} as {name}" for name in missing)
        with face.open("a") as file:
            file.write(f"\nfrom trio_actors.testing._later import {names}\n")


def mypy(folder: Path) -> Refused:
    """Return the lines that mypy refuses."""
    (folder / "mypy.ini").write_text(
        "[mypy]\nstrict = True\npython_version = 3.11\nexplicit_package_bases = True\n"
    )
    command = ["-m", "mypy", "--no-error-summary", "--hide-error-context"]
    done = run(folder, *command, "--cache-dir", "/dev/null", "programs", "wrong")
    if done.stderr:
        raise RuntimeError(done.stderr)
    found: Refused = {}
    for path, line in re.findall(r"^(.*?):(\d+): error", done.stdout, re.MULTILINE):
        found.setdefault(folder / path, set()).add(int(line))
    return found


def pyright(folder: Path) -> Refused:
    """Return the lines that pyright refuses."""
    config = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "include": ["programs", "wrong"],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    done = run(folder, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable)
    found: Refused = {}
    for item in json.loads(done.stdout)["generalDiagnostics"]:
        if item["severity"] == "error" and item.get("rule") not in STYLE:
            line = item["range"]["start"]["line"] + 1
            found.setdefault(Path(item["file"]), set()).add(line)
    return found


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this environment in *folder*."""
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )


def complaints(folder: Path, refused: Refused) -> Iterator[str]:
    """Say where a checker refuses what is right or lets pass what is wrong."""
    for path in sorted((folder / "programs").glob("*.py")):
        for line in sorted(refused.get(path, ())):
            yield f"{path.name}:{line}: refused: {source(path, line)}"
    for path in sorted((folder / "wrong").glob("*.py")):
        found = set(refused.get(path, ()))
        wanted = wrong_lines(path)
        for line, mark in wanted.items():
            if mark == "E-1" and line - 1 in found:
                found = found - {line - 1} | {line}
            if line not in found:
                yield f"{path.name}:{line}: not refused: {source(path, line)}"
        for line in sorted(found - set(wanted)):
            yield f"{path.name}:{line}: refused: {source(path, line)}"


def wrong_lines(path: Path) -> dict[int, str]:
    """Return the marked lines of a wrong use, with their marks."""
    lines = enumerate(path.read_text().splitlines(), 1)
    return {n: mark[1] for n, text in lines if (mark := MARK.search(text + " "))}


def source(path: Path, line: int) -> str:
    """Return a line of a file."""
    return path.read_text().splitlines()[line - 1].strip()


CHECKERS: dict[str, Callable[[Path], Refused]] = {"mypy": mypy, "pyright": pyright}


def check(checker: str) -> list[str]:
    """Return what *checker* does not see as it should; an empty list is right."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        compose(folder)
        return list(complaints(folder, CHECKERS[checker](folder)))


def main() -> int:
    """Check with both; print what is not as it should be."""
    bad = [f"{name}: {text}" for name in CHECKERS for text in check(name)]
    for text in bad:
        print(text)
    marked = sum(len(wrong_lines(path)) for path in (HERE / "wrong").glob("*.py"))
    print(f"{marked} wrong uses, {len(bad)} complaints")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
