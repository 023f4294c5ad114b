"""The pytest plugin: the fixture ``world`` in other people's test suites (TST-2)."""

import pytest

pytest_plugins = ["pytester"]

HEAD = """
import pytest, trio, attrs
from trio_actors import Actor, Request, handler, Inbox
from trio_actors.testing import World, Probe, run

@attrs.frozen
class Get(Request[int]):
    pass

class Counter(Actor[Get]):
    def __init__(self, total=0):
        self.total = total
    @handler
    def get(self, message: Get) -> int:
        self.total += 1
        return self.total
"""


def play(
    pytester: pytest.Pytester, test: str, *options: str, conftest: str = ""
) -> pytest.RunResult:
    """Run a test file as a user's project would, without any configuration of ours."""
    pytester.makepyfile(HEAD + test)
    if conftest:
        pytester.makeconftest(conftest)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)


def test_the_fixture_needs_no_mark_and_no_configuration(
    pytester: pytest.Pytester,
) -> None:
    """Neither ``trio_mode`` nor ``@pytest.mark.trio``; both are welcome."""
    result = play(
        pytester,
        """
async def test_plain(world):
    assert await (await world.spawn(Counter)).ask(Get()) == 1

@pytest.mark.trio
async def test_marked(world):
    await trio.sleep(1000)
    assert trio.current_time() == 1000

class TestInAClass:
    async def test_method(self, world: World) -> None:
        assert isinstance(world, World)
""",
    )
    result.assert_outcomes(passed=3)


def test_trio_mode_is_no_hindrance(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntrio_mode = true")
    result = play(
        pytester,
        """
async def test_with(world):
    await trio.sleep(1000)

async def test_without():
    began = trio.current_time()
    await trio.lowlevel.checkpoint()
    assert trio.current_time() - began < 100
""",
    )
    result.assert_outcomes(passed=2)


def test_a_test_without_the_world_is_left_alone(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
def test_plain():
    with pytest.raises(RuntimeError):
        trio.lowlevel.current_clock()

def test_run_inside():
    async def scenario(world):
        return await (await world.spawn(Counter, 4)).ask(Get())
    assert run(scenario) == 5
""",
    )
    result.assert_outcomes(passed=2)


def test_a_failure_is_shown_with_the_tree(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
async def test_it(world):
    top = await world.spawn_supervisor(name="top")
    counter = await top.spawn(Counter, name="low")
    await counter.ask(Get())
    assert await counter.ask(Get()) == 3
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*assert 2 == 3*", "*actors at the failure*", "*top*running*", "*low*running*"]
    )


def test_a_test_that_passes_shows_no_tree(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
async def test_it(world):
    await world.spawn(Counter)
""",
        "-rA",
    )
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*actors at the failure*")


def test_a_dead_letter_that_nobody_took_fails_the_test(
    pytester: pytest.Pytester,
) -> None:
    result = play(
        pytester,
        """
async def test_it(world):
    counter = await world.spawn(Counter)
    counter.kill()
    await counter.wait_stopped()
    await counter.tell(Get())

async def test_taken(world):
    counter = await world.spawn(Counter)
    counter.kill()
    await counter.wait_stopped()
    await counter.tell(Get())
    assert len(world.dead()) == 1
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        ["*dead letters that nobody took*", "*stopped: Get() to /counter-1*"]
    )


def test_a_test_that_stops_its_own_world_is_told(pytester: pytest.Pytester) -> None:
    """What comes after it was not run."""
    result = play(
        pytester,
        """
async def test_it(world):
    world.stop()
    await trio.sleep(1)
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: the program stopped its own world*"])


def test_a_task_that_outlives_the_test_fails_it(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
import contextvars

class Leaking(Actor[Get]):
    @handler
    def get(self, message: Get) -> int:
        trio.lowlevel.spawn_system_task(
            trio.sleep_forever, name="leak", context=contextvars.copy_context())
        return 0

async def test_it(world):
    await (await world.spawn(Leaking)).ask(Get())
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tasks that outlived the test: ?'leak'?*"])


def test_a_client_that_fails_and_a_condition_that_breaks_fail_the_test(
    pytester: pytest.Pytester,
) -> None:
    """They end a test that waits for ever, and say why."""
    result = play(
        pytester,
        """
async def test_client(world):
    async def client():
        await trio.sleep(1)
        raise LookupError("of the client")
    world.client(client)
    await trio.sleep_forever()

async def test_always(world):
    def stays_early():
        return trio.current_time() < 5
    world.always(stays_early)
    for _ in range(100):
        await trio.sleep(1)
    raise AssertionError("the test went on")

async def test_stuck(world):
    class Silent(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            await trio.sleep_forever()
    await (await world.spawn(Silent, name="silent")).ask(Get())
""",
    )
    result.assert_outcomes(failed=3)
    text = result.stdout.str()
    assert "of the client" in text
    assert "stays_early did not hold at a step" in text
    assert "AssertionError: the test went on" not in text
    assert "nothing can happen any more" in text


def test_parameters_and_other_fixtures_work_beside_it(
    pytester: pytest.Pytester,
) -> None:
    result = play(
        pytester,
        """
@pytest.fixture
async def counter(world):
    return await world.spawn(Counter, 10)

@pytest.fixture
async def clock_of_another(world):
    yield trio.current_time()
    await trio.sleep(5)

@pytest.fixture
def plain():
    return 3

@pytest.mark.parametrize("extra", [1, 2])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_it(world, counter, clock_of_another, plain, nursery, extra, times):
    for _ in range(times):
        nursery.start_soon(counter.ask, Get())
    await world.settled()
    assert await counter.ask(Get()) == 11 + times
    assert clock_of_another == 0 and plain == 3 and extra

async def test_by_a_fixture_only(counter):
    assert await counter.ask(Get()) == 11
""",
    )
    result.assert_outcomes(passed=7)


def test_each_test_has_a_world_of_its_own(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
@pytest.mark.parametrize("run", range(3))
async def test_it(world, run):
    assert world.find("/counter") is None
    assert trio.current_time() == 0
    await world.spawn(Counter, name="counter")
    await trio.sleep(7)
    world.first = getattr(world, "first", world.random.random())
    assert world.first == world_numbers.setdefault("first", world.first)

world_numbers = {}
""",
    )
    result.assert_outcomes(passed=3)


def test_a_world_of_a_conftest_is_left_alone(pytester: pytest.Pytester) -> None:
    """A project may have a fixture of that name, sync or async, and keep it."""
    result = play(
        pytester,
        """
def test_sync(world):
    assert world == "hello"

class TestOwn:
    @pytest.fixture
    def world(self, world):
        return world + " again"

    def test_own(self, world):
        assert world == "hello again"
""",
        conftest="import pytest\n\n@pytest.fixture\ndef world():\n    return 'hello'\n",
    )
    result.assert_outcomes(passed=2)


def test_a_parameter_of_that_name_is_left_alone(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
@pytest.mark.parametrize("world", ["old", "new"])
def test_it(world):
    assert world in ("old", "new")
""",
    )
    result.assert_outcomes(passed=2)


def test_a_world_of_a_conftest_can_be_made_of_ours(pytester: pytest.Pytester) -> None:
    """Overriding a fixture by itself is pytest's own custom."""
    result = play(
        pytester,
        """
async def test_it(world):
    assert isinstance(world, World)
    assert trio.current_time() == 3
    await trio.sleep(1000)
""",
        conftest="""
import pytest, trio

@pytest.fixture
async def world(world):
    await trio.sleep(3)
    return world
""",
    )
    result.assert_outcomes(passed=1)


def test_without_pytest_trio_it_says_what_to_install(
    pytester: pytest.Pytester,
) -> None:
    result = play(
        pytester,
        """
async def test_it(world):
    pass
""",
        "-p",
        "no:trio",
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*needs pytest-trio: pip install pytest-trio*"])


def test_without_pytest_trio_other_tests_run(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
def test_it():
    assert run is not None
""",
        "-p",
        "no:trio",
    )
    result.assert_outcomes(passed=1)


def test_a_plain_function_that_wants_the_world_is_told_to_be_async(
    pytester: pytest.Pytester,
) -> None:
    result = play(
        pytester,
        """
def test_it(world):
    assert world
""",
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "async" in result.stdout.str()


def test_generated_examples_run_in_worlds_of_their_own(
    pytester: pytest.Pytester,
) -> None:
    """With Hypothesis: ``run()`` gives each example a world; a fixture cannot."""
    result = play(
        pytester,
        """
from hypothesis import given, settings, strategies as st

@settings(max_examples=20, deadline=None, database=None)
@given(st.integers(0, 100), st.lists(st.integers(1, 5)))
def test_it(start, times):
    async def scenario(world):
        counter = await world.spawn(Counter, start)
        for seconds in times:
            await trio.sleep(seconds)
            await counter.ask(Get())
        assert trio.current_time() == sum(times)
        return await counter.ask(Get())
    assert run(scenario) == start + len(times) + 1
""",
    )
    result.assert_outcomes(passed=1)


def test_the_fixture_beside_given_is_refused_by_hypothesis(
    pytester: pytest.Pytester,
) -> None:
    """Its health check says that the fixture is not made anew for each example."""
    result = play(
        pytester,
        """
from hypothesis import given, settings, strategies as st

@settings(database=None)
@given(number=st.integers())
async def test_it(world, number):
    await world.spawn(Counter)
""",
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "function-scoped fixture" in result.stdout.str()


def test_a_skip_and_an_expected_failure_stay_what_they_are(
    pytester: pytest.Pytester,
) -> None:
    result = play(
        pytester,
        """
async def test_skip(world):
    pytest.skip("not here")

@pytest.mark.skip
async def test_marked(world):
    raise AssertionError

@pytest.mark.xfail(strict=True)
async def test_xfail(world):
    assert await (await world.spawn(Counter)).ask(Get()) == 2
""",
    )
    result.assert_outcomes(skipped=2, xfailed=1)


def test_what_is_printed_and_logged_is_there_too(pytester: pytest.Pytester) -> None:
    result = play(
        pytester,
        """
class Broken(Actor[Get]):
    @handler
    def get(self, message: Get) -> int:
        raise KeyError("the reason")

async def test_it(world):
    await (await world.spawn(Broken, name="broken")).tell(Get())
    await world.settled()
    assert False
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*/broken failed: KeyError('the reason')*"])
