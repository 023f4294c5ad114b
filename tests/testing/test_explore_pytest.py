"""Searches in other people's test suites: fixtures, options, reports (TST-2)."""

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest, trio
from tests.testing.searched import Read, Register, Till, Write, lost_update, overtaken
from trio_actors.testing import World, explore

@pytest.fixture
def till():
    return Till

@pytest.mark.parametrize("clients", [1, 2])
@explore()
async def test_right(world, till, clients):
    paid = []
    ref = await world.spawn(till, paid)
    for number in range(clients):
        world.client(ref.ask, Write(number))
    await world.settled()
    assert sorted(paid) == list(range(clients))

@explore()
async def test_overtaken(world: World) -> None:
    await overtaken(world)

class TestInAClass:
    @explore(exhaustive=True)
    async def test_method(self, world):
        await lost_update(world)
"""


def play(
    pytester: pytest.Pytester, tests: str, *options: str, xdist: bool = False
) -> pytest.RunResult:
    pytester.makepyfile(test_it=tests)
    run = pytester.runpytest_subprocess if xdist else pytester.runpytest_inprocess
    return run("-p", "no:cacheprovider", *options)


def token_in(result: pytest.RunResult) -> str:
    line = next(line for line in result.outlines if 'replay="ta1:' in line)
    return line.split('replay="')[1].split('"')[0]


def test_fixtures_and_parameters_work_beside_it(pytester: pytest.Pytester) -> None:
    """`@explore` returns a plain function with the fixtures' signature."""
    result = play(pytester, TESTS, "-k", "right")
    result.assert_outcomes(passed=2, deselected=2)


def test_trio_mode_does_not_run_it_first(pytester: pytest.Pytester) -> None:
    """Issue: "a plain function (pytest-trio must not run it first)"."""
    pytester.makeini("[pytest]\ntrio_mode = true")
    result = play(pytester, TESTS)
    result.assert_outcomes(passed=2, failed=2)


def test_an_async_fixture_beside_it_is_refused(pytester: pytest.Pytester) -> None:
    """It would be of one run, and a search has many."""
    pytester.makeini("[pytest]\ntrio_mode = true")
    tests = """
import pytest
from trio_actors.testing import World, explore

@pytest.fixture
async def number():
    return 1

@explore()
async def test_it(world: World, number: int) -> None:
    pass
"""
    result = play(pytester, tests)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'number' is async, and test_it() is a*"])


def test_the_report_stands_below_the_failure(pytester: pytest.Pytester) -> None:
    result = play(pytester, TESTS, "-k", "overtaken")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "*AssertionError: the long way was the shorter one*",
            "*found after * 1 deviation from FIFO*",
            "*The race*",
            "*@explore(replay=*",
        ]
    )


def test_a_method_of_a_class_is_searched_too(pytester: pytest.Pytester) -> None:
    result = play(pytester, TESTS, "-k", "method")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*an update was lost*"])


def test_replay_runs_the_one_schedule(pytester: pytest.Pytester) -> None:
    token = token_in(play(pytester, TESTS, "-k", "overtaken"))
    result = play(pytester, TESTS, "-k", "overtaken", f"--actors-replay={token}")
    result.assert_outcomes(failed=1, deselected=3)
    assert token_in(result) == token


def test_the_token_of_another_test_is_refused(pytester: pytest.Pytester) -> None:
    token = token_in(play(pytester, TESTS, "-k", "overtaken"))
    result = play(pytester, TESTS, "-k", "method", f"--actors-replay={token}")
    result.assert_outcomes(failed=1, deselected=3)
    result.stdout.fnmatch_lines(["*OtherProgram*was found in another program*"])


def test_schedules_and_seed_overrule_what_the_test_says(
    pytester: pytest.Pytester,
) -> None:
    result = play(
        pytester,
        """
from trio_actors.testing import explore
from tests.testing.searched import Write, Till
runs = 0

@explore(schedules=500)
async def test_many(world):
    global runs
    runs += 1
    till = await world.spawn(Till, [])
    for number in range(8):
        world.client(till.ask, Write(number))
    await world.settled()

def test_number():
    assert runs <= 10
""",
        "--actors-schedules=7",
        "--actors-seed=3",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("option", ["--actors-schedules=0", "--actors-seed=x"])
def test_options_that_make_no_sense_are_usage_errors(
    pytester: pytest.Pytester, option: str
) -> None:
    result = play(pytester, TESTS, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_each_worker_of_xdist_searches(pytester: pytest.Pytester) -> None:
    """Issue: "pytest-xdist works"."""
    pytest.importorskip("xdist")
    result = play(pytester, TESTS, "-n", "2", xdist=True)
    result.assert_outcomes(passed=2, failed=2)


def test_a_mock_clock_of_trio_is_no_clock_of_a_search(
    pytester: pytest.Pytester,
) -> None:
    """Bad input: "uses `MockClock`": time is the world's, and a search has its own."""
    result = play(
        pytester,
        """
import trio
from trio_actors.testing import explore

@explore()
async def test_it(world, autojump_clock):
    began = trio.current_time()
    await trio.sleep(5)
    assert trio.current_time() == began + 5
    assert trio.lowlevel.current_clock() is not autojump_clock
""",
    )
    result.assert_outcomes(passed=1)
