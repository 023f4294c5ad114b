"""The pytest plugin: the fixture ``world``, on pytest-trio, and options of searches.

A test that uses ``world`` is run by pytest-trio with our clock, whether or not it is
marked; other async fixtures work beside it. When it fails, the report shows the tree.
A test under ``explore`` is a plain function, which needs no pytest-trio.
"""

from __future__ import annotations

import inspect
from argparse import ArgumentTypeError
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any
from unittest import SkipTest

import attrs
import pytest

from ._jobs import XDIST
from ._run import STOPPED, open_world, run_on_world_clock
from ._settings import SETTINGS, Settings
from ._token import decode
from ._world import World

_TREE = pytest.StashKey[str]()
_BEFORE = pytest.StashKey[Settings]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what overrules the options of ``explore``."""
    group = parser.getgroup("actors", "searches for schedules (trio_actors)")
    group.addoption(
        "--actors-replay",
        type=_token,
        metavar="TOKEN",
        help="run this one schedule in each test under @explore: choose one with -k",
    )
    group.addoption(
        "--actors-schedules",
        type=_count,
        metavar="N",
        help="how many schedules a search runs at most",
    )
    group.addoption(
        "--actors-seed", type=_seed, metavar="N", help="the seed of what is drawn"
    )
    group.addoption(
        "--actors-jobs",
        type=_count,
        metavar="N",
        help="in how many processes a search runs what is drawn; with pytest-xdist in"
        " one, since its workers are processes",
    )
    group.addoption(
        "--actors-diagrams",
        type=_folder,
        metavar="DIR",
        help="write a Mermaid diagram of each failing schedule to a file there",
    )


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no whole number") from None


def _count(text: str) -> int:
    number = _seed(text)
    if number < 1:
        raise ArgumentTypeError(f"{text} is too few: write a number from 1")
    return number


def _token(text: str) -> str:
    try:
        decode(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def _folder(text: str) -> Path:
    folder = Path(text)
    if folder.exists() and not folder.is_dir():
        raise ArgumentTypeError(f"{text!r} is a file: write the name of a folder")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Take the options over."""
    config.stash[_BEFORE] = attrs.evolve(SETTINGS)
    SETTINGS.replay = config.getoption("actors_replay")
    SETTINGS.schedules = config.getoption("actors_schedules")
    SETTINGS.seed = config.getoption("actors_seed")
    SETTINGS.jobs = config.getoption("actors_jobs")
    SETTINGS.diagrams = config.getoption("actors_diagrams")
    SETTINGS.remarks = {}
    SETTINGS.endings += (pytest.skip.Exception, pytest.exit.Exception, SkipTest)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give them back: a session may have been started within another one."""
    before = config.stash[_BEFORE]
    for name, value in attrs.asdict(before, recurse=False).items():
        setattr(SETTINGS, name, value)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell what was not done as it was wanted."""
    jobs = SETTINGS.jobs or 1
    if jobs > 1 and config.pluginmanager.hasplugin("dsession"):
        # What its workers have to say does not come here.
        SETTINGS.remarks[f"--actors-jobs={jobs}: in one process, for {XDIST}"] = None
    for remark in SETTINGS.remarks:
        terminalreporter.write_line(f"actors: {remark}", yellow=True)


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncGenerator[World, None]:
    """An actor system in virtual time that fails the test on what was lost."""
    async with open_world() as system:
        try:
            yield system
        finally:
            tree = system._tree_at_failure or system.snapshot().render()
            request.node.stash[_TREE] = tree
        return
    raise AssertionError(STOPPED)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Let tests with a world run on its clock."""
    for item in items:
        if "world" in getattr(item, "fixturenames", ()) and _is_ours(item):
            if not config.pluginmanager.hasplugin("trio"):
                raise pytest.UsageError(
                    "the fixture `world` needs pytest-trio: pip install pytest-trio"
                )
            mark = pytest.mark.trio(run=run_on_world_clock)
            item.add_marker(mark, append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> None:
    """Refuse an async fixture beside a search, before pytest-trio does."""
    fn = fixturedef.func
    is_async = inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)
    if is_async and hasattr(getattr(request.node, "obj", None), "__explored__"):
        raise TypeError(
            f"the fixture {fixturedef.argname!r} is async, and {request.node.name}() is"
            " a search: it runs the test many times, and each needs a new one. Let the"
            " test itself await what the fixture does."
        )


def _is_ours(item: Any) -> bool:
    """Whether the test gets our fixture, and not one of a conftest with that name."""
    found = item._fixtureinfo.name2fixturedefs.get("world", ())
    # One that takes a `world` is made of the one before it.
    made_anew = [one for one in found if "world" not in one.argnames]
    return bool(made_anew) and made_anew[-1].func.__module__ == __name__


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the tree below the failure."""
    report = yield
    tree = item.stash.get(_TREE, "")
    if call.when == "call" and report.failed and tree:
        report.sections.append(("actors at the failure", tree))
    return report
