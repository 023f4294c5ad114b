"""The README's programs run, and print what stands below them."""

import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import trio
import trio.testing

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs() -> list[tuple[str, str | None]]:
    """Return each python block, with the text block right after it if there is one."""
    blocks = BLOCK.findall(README.read_text())
    following = [*blocks[1:], ("", "")]
    return [
        (code, output if kind == "text" else None)
        for (language, code), (kind, output) in zip(blocks, following, strict=True)
        if language == "python"
    ]


def execute(code: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Run a program as a module of its own, in virtual time if it needs no thread."""
    if "SQLiteJournal" not in code:  # days would pass while a file is written
        clock = trio.testing.MockClock(autojump_threshold=0)
        monkeypatch.setattr(trio, "run", partial(trio.run, clock=clock))
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, f"{README}:{name}", "exec"), vars(module))
    return module


RUN = [(code, output) for code, output in programs() if output is not None]
IMPORTED = [code for code, output in programs() if output is None]


@pytest.mark.parametrize(("code", "output"), RUN)
def test_a_program_prints_what_stands_below_it(
    code: str,
    output: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    execute(code, "readme_program", monkeypatch)
    assert capsys.readouterr().out == output


def test_the_readme_opens_with_ten_lines_that_run() -> None:
    first, _ = programs()[0]
    assert len([line for line in first.splitlines() if line]) == 10
    assert README.read_text().index("```python") < 200


with pytest.MonkeyPatch.context() as _patch:
    # The second is the guide to the search: tests/testing/test_guide.py runs it.
    (_code, _) = IMPORTED
    _tests = execute(_code, "readme_tests", _patch)

test_the_listener_is_told_at_the_limit = _tests.test_the_listener_is_told_at_the_limit
test_a_crash_forgets_the_total = _tests.test_a_crash_forgets_the_total


def test_all_tests_of_the_readme_are_run_here() -> None:
    tests = {name for name in vars(_tests) if name.startswith("test_")}
    assert tests <= set(globals())


def test_two_commands_set_everything_up() -> None:
    """The first starts the chat server, the second (run by .ci/run) the tests."""
    commands = [
        line
        for line in README.read_text().splitlines()
        if line.startswith("python3 -m venv")
    ]
    server, tests = commands
    assert "-m examples.chat --tcp-port 7000 --web-port 8000" in server
    assert tests.endswith("/nox")
