"""The README's guide to the search: each of its steps does what stands there.

Issue: "A guide (README section and docstrings) that takes a reader from a flaky test to
a replay token in ten minutes, on the bank example."
"""

import importlib.util
import inspect
import math
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import trio

from trio_actors import Request, open_actor_system
from trio_actors.testing import World, check, explore, run
from trio_actors.testing._options import Level, Order, Timers

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
HEAD = "## Search for the schedule that breaks it\n"


def guide() -> str:
    """Return the section of the README."""
    _, _, rest = (ROOT / "README.md").read_text().partition(HEAD)
    return rest.partition("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", guide(), re.DOTALL | re.MULTILINE)


(PROGRAM,) = blocks("python")
(SHOWN,) = blocks("console")
REPORT = SHOWN.removeprefix("$ pytest test_bank.py\n")
(DIFF,) = blocks("diff")
BEFORE, AFTER = (line[1:] for line in DIFF.splitlines())
(TOKEN,) = re.findall(r"--actors-replay=(ta1\S+)", REPORT)


def module_of(code: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("guide")
    monkeypatch.setitem(sys.modules, "guide", module)
    exec(compile(code, "README.md", "exec"), vars(module))
    return module


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return module_of(PROGRAM, monkeypatch)


def scenario(module: ModuleType) -> Any:
    return module.test_audit.__wrapped__


def play(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    """Run the guide's program as a reader would: as a file, without configuration."""
    pytester.makepyfile(test_bank=code)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


def told(result: pytest.RunResult) -> str:
    """Return what pytest shows with the exception, without its margin."""
    rows = [line for line in result.outlines if line.startswith("E")]
    return "\n".join(row[8:].rstrip() for row in rows)


# --- The flaky test, and what is found -------------------------------------------


def test_with_a_nursery_it_is_a_flaky_test(
    bank: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guide: "a test that fails three times in ten", on Trio's own clock."""
    monkeypatch.setattr(trio._core._run, "_r", random.Random(0))
    totals: list[int] = []

    async def once() -> None:
        async with open_actor_system("bank") as system:
            giro = await system.spawn(bank.Account, 100)
            savings = await system.spawn(bank.Account, 0)
            teller = await system.spawn(bank.Teller, giro, savings)

            async def audit() -> None:
                first = await giro.ask(bank.Balance())
                totals.append(first + await savings.ask(bank.Balance()))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(teller.ask, bank.Transfer(10))
                nursery.start_soon(audit)

    for _ in range(100):
        trio.run(once)
    assert set(totals) == {100, 110}
    assert 10 <= totals.count(110) <= 50


def test_in_the_order_of_sending_it_always_passes(bank: ModuleType) -> None:
    for seed in range(5):
        run(scenario(bank), seed=seed)


def test_pytest_shows_the_report_that_stands_there(pytester: pytest.Pytester) -> None:
    result = play(pytester, PROGRAM)
    result.assert_outcomes(failed=1)
    assert REPORT.rstrip() in told(result)
    result.stdout.fnmatch_lines(["E*To keep it as a test:"])


def test_the_token_replays_it(pytester: pytest.Pytester) -> None:
    result = play(pytester, PROGRAM, f"--actors-replay={TOKEN}")
    result.assert_outcomes(failed=1)
    assert "found after 1 schedule; 1 deviation from FIFO" in told(result)
    assert REPORT.partition("\n")[2].rstrip() in told(result)


def test_the_test_that_is_to_be_pasted_fails_as_well(
    pytester: pytest.Pytester,
) -> None:
    _, _, pasted = told(play(pytester, PROGRAM)).partition("To keep it as a test:\n")
    result = play(pytester, f"{PROGRAM}\n\n{pasted}", "-k", "again")
    result.assert_outcomes(failed=1, deselected=1)
    assert "assert 110 == 100" in told(result)


# --- Mended ------------------------------------------------------------------------


def test_the_mended_test_is_verified_as_it_says(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PROGRAM.count(BEFORE) == 1
    mended = PROGRAM.replace(BEFORE, AFTER)
    play(pytester, mended).assert_outcomes(passed=1)
    verdict = str(check(scenario(module_of(mended, monkeypatch))))
    assert verdict.endswith(": verified")
    assert f"`{verdict}`" in " ".join(guide().split())


def test_the_token_of_the_broken_test_says_that_this_is_another_one(
    pytester: pytest.Pytester,
) -> None:
    """Guide: it fails the same way "until the program is another one"."""
    mended = PROGRAM.replace(BEFORE, AFTER)
    result = play(pytester, mended, f"--actors-replay={TOKEN}")
    result.assert_outcomes(failed=1)
    assert "was found in another program" in told(result)


@pytest.fixture
def example() -> Iterator[ModuleType]:
    (path,) = (ROOT / "examples").glob("14_*.py")
    spec = importlib.util.spec_from_file_location("example_14", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["example_14"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["example_14"]


def test_the_example_prints_the_same_report_and_the_same_verdict(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main()
    lines = capsys.readouterr().out.splitlines()
    diagram = [line for line in REPORT.splitlines() if re.match(r"[> ] +\d+ ", line)]
    assert len(diagram) == 11
    assert [line for line in lines if re.match(r"[> ] +\d+ ", line)] == diagram
    assert lines[-2] == "found after 1 schedule; 1 deviation from FIFO"
    assert lines[-1] == "2 classes, 2 schedules, 0 redundant: verified"


# --- What it says of options and spaces ----------------------------------------------


def test_every_option_is_explained_with_its_default() -> None:
    rows = [row for row in guide().splitlines() if row.startswith("| `")]
    named = dict(
        re.findall(r"(\w+)=([^`]+)`", "".join(row.split("|")[1] for row in rows))
    )
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(explore).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert set(parameters) <= set(named)
    for name, parameter in parameters.items():
        if name not in {"exhaustive", "faults"}:  # these show what switches them on
            assert eval(named[name]) == parameter.default


def test_every_choice_of_an_option_is_explained() -> None:
    for choices in (Timers, Order, Level):
        default, other = get_args(choices)
        assert f'="{default}"` | ' in guide()
        assert f'`"{other}"`: ' in guide()


def test_every_option_of_pytest_is_named(pytester: pytest.Pytester) -> None:
    shown = "\n".join(pytester.runpytest_inprocess("--help").outlines)
    there = set(re.findall(r"--actors-\w+", shown))
    assert there == set(re.findall(r"--actors-\w+", guide()))


def clients_that(bank: ModuleType, request: Request[int]) -> Any:
    async def program(world: World) -> None:
        giro = await world.spawn(bank.Account, 100)
        for _ in range(4):
            world.client(giro.ask, request)
        await world.settled()

    return program


def test_clients_that_only_look_are_one_order(bank: ModuleType) -> None:
    """Guide: "ten clients that look are then one order, and not 3,628,800"."""
    assert "not 3,628,800" in guide()
    assert math.factorial(10) == 3_628_800
    look = check(clients_that(bank, bank.Balance()), exhaustive=True)
    change = check(clients_that(bank, bank.Add(1)), exhaustive=True)
    assert (look.classes, change.classes) == (1, math.factorial(4))
    assert look.verified
    assert change.verified
