"""The shape of the code: short modules, short functions, every public name told."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

import trio_actors
import trio_actors.testing

PACKAGE = Path(trio_actors.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FACES = (trio_actors, trio_actors.testing)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Return the name and the length of each function of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_has_at_most_400_lines(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_function_has_at_most_60_lines(path: Path) -> None:
    assert [(name, length) for name, length in functions(path) if length > 60] == []


def test_the_median_function_is_near_ten_lines() -> None:
    lengths = [length for path in MODULES for _, length in functions(path)]
    assert median(lengths) <= 12


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_the_public_names_are_sorted_and_there(face: object) -> None:
    names = list(getattr(face, "__all__"))  # noqa: B009
    assert names == sorted(names, key=lambda name: (name.lower() == name, name))
    assert all(hasattr(face, name) for name in names)


def public_things() -> Iterator[tuple[str, object]]:
    """Return every public class and function, and the public methods of the classes."""
    for face in FACES:
        for name in face.__all__:
            thing = getattr(face, name)
            if not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            yield name, thing
            for method, value in vars(thing).items() if inspect.isclass(thing) else ():
                if not method.startswith("_") and (
                    inspect.isfunction(value) or isinstance(value, property)
                ):
                    yield f"{name}.{method}", value


@pytest.mark.parametrize(("name", "thing"), list(public_things()))
def test_a_public_name_has_a_docstring(name: str, thing: object) -> None:
    assert inspect.getdoc(thing), name


def test_the_core_needs_nothing_but_trio_and_attrs() -> None:
    """Optional libraries are imported only in the files that need them."""
    known = {"trio", "attr", "attrs", "outcome", "sniffio", "idna", "sortedcontainers"}
    program = (
        "import sys; before = set(sys.modules); import trio_actors; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    assert loaded - known == {"trio_actors"}
