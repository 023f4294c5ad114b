"""The pytest plugin: the fixture ``world``, on pytest-trio, and options of searches.

A test that uses ``world`` is run by pytest-trio with our clock, whether or not it is
marked; other async fixtures work beside it. When it fails, the report shows the tree.
A test under ``explore`` is a plain function, which needs no pytest-trio.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from ._run import open_world, run_on_world_clock
from ._settings import SETTINGS
from ._world import World

_TREE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what overrules the options of ``explore``."""
    group = parser.getgroup("actors", "searches for schedules (trio_actors)")
    group.addoption(
        "--actors-replay",
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
        "--actors-seed", type=int, metavar="N", help="the seed of what is drawn"
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def pytest_configure(config: pytest.Config) -> None:
    """Take the options over."""
    SETTINGS.replay = config.getoption("actors_replay")
    SETTINGS.schedules = config.getoption("actors_schedules")
    SETTINGS.seed = config.getoption("actors_seed")


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncGenerator[World, None]:
    """An actor system in virtual time that fails the test on what was lost."""
    async with open_world() as system:
        try:
            yield system
        finally:
            tree = system._tree_at_failure or system.snapshot().render()
            request.node.stash[_TREE] = tree


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
