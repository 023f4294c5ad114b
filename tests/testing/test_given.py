"""``explore`` beside Hypothesis: sizes are shrunk by it, schedules by us.

Issue: "A hypothesis strategy for inputs and sizes together with schedules."
"""

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
from hypothesis import Phase, given, settings, strategies as st

from tests.testing.party import party
from trio_actors.testing import Schedule, World, check, explore, schedules
from trio_actors.testing._given import drawing, literals
from trio_actors.testing._search import NotRepeatable
from trio_actors.testing._token import OtherProgram, decode

# Not explaining: it traces each line of what fails.
quick = settings(
    deadline=None,
    database=None,
    derandomize=True,
    print_blob=False,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


def explore_anything(**options: Any) -> Callable[[Any], Callable[..., None]]:
    """Explore what ``given`` has made: it does not say that it is async."""
    decorate: Any = explore(**options)
    return decorate  # type: ignore[no-any-return]


def failing(test: Callable[..., object]) -> str:
    """Run a test that must fail; return all that it has to say."""
    with pytest.raises(AssertionError) as caught:
        test()
    return "\n".join(caught.value.__notes__)


def deviations_in(report: str) -> int:
    line = next(line for line in report.splitlines() if "actors-replay=" in line)
    return len(decode(line.partition("=")[2]).deviations)


# --- A search for each example --------------------------------------------------------


@quick
@given(guests=st.integers(1, 6))
@explore(schedules=60)
async def above(world: World, guests: int) -> None:
    await party(world, guests, [2, 1])


@explore_anything(schedules=60)
@quick
@given(guests=st.integers(1, 6))
async def below(world: World, guests: int) -> None:
    await party(world, guests, [2, 1])


@quick
@explore_anything(schedules=60)
@given(guests=st.integers(1, 6))
async def between(world: World, guests: int) -> None:
    await party(world, guests, [2, 1])


@quick
@given(guests=st.integers(1, 6))
def checked(guests: int) -> None:
    async def program(world: World) -> None:
        await party(world, guests, [2, 1])

    failure = check(program, schedules=60).failure
    if failure is not None:
        failure.error.add_note(str(failure))
        raise failure.error


each_way = pytest.mark.parametrize(
    "test", [above, below, between, checked], ids=lambda one: one.__name__
)


@each_way
def test_a_bug_of_three_guests_and_an_order_is_shrunk_to_three_and_that_order(
    test: Callable[..., object],
) -> None:
    report = failing(test)
    assert "guests=3" in report
    assert deviations_in(report) <= 2


@pytest.mark.parametrize("test", [above, checked], ids=lambda one: one.__name__)
def test_each_time_it_is_the_same(test: Callable[..., object]) -> None:
    """And so never "flaky": a search with a seed finds what it has found before."""
    assert failing(test) == failing(test)


def test_what_passes_passes_in_each_example() -> None:
    sizes: list[int] = []

    @settings(quick, max_examples=30)
    @given(guests=st.integers(1, 4), unwanted=st.lists(st.just(9), min_size=1))
    @explore(schedules=5)
    async def test(world: World, guests: int, unwanted: list[int]) -> None:
        sizes.append(guests)
        await party(world, guests, unwanted)

    test()
    assert set(sizes) == {1, 2, 3, 4}


def test_what_else_was_said_of_a_test_is_kept_when_it_is_below() -> None:
    sizes: list[int] = []

    @explore_anything(schedules=1)
    @hypothesis.seed(5)
    @settings(quick, max_examples=3)
    @hypothesis.example(guests=6)
    @given(guests=st.integers(1, 4))
    async def test(world: World, guests: int) -> None:
        """Do it."""
        sizes.append(guests)
        await party(world, guests, [9])

    test()
    assert sizes[0] == 6
    assert len(set(sizes)) <= 4
    assert test.__doc__ == "Do it."
    assert vars(test)["_hypothesis_internal_use_seed"] == 5


def test_what_is_drawn_in_the_test_itself_is_named_if_no_run_can_be_repeated() -> None:
    @settings(quick, max_examples=5)
    @given(data=st.data())
    @explore(schedules=60)
    async def test(world: World, data: st.DataObject) -> None:
        await party(world, data.draw(st.integers(1, 6)), [9])

    with pytest.raises(NotRepeatable) as caught:
        test()
    assert "data.draw() draws anew in each run" in "\n".join(caught.value.__notes__)


def test_what_cannot_be_repeated_for_another_reason_has_no_such_note() -> None:
    sizes = itertools.cycle([1, 2])

    @explore(schedules=60)
    async def test(world: World, guests: int) -> None:
        await party(world, guests + next(sizes), [9])

    with pytest.raises(NotRepeatable) as caught:
        test(guests=1)
    assert not hasattr(caught.value, "__notes__")


def test_nothing_draws_where_there_is_no_hypothesis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "hypothesis")
    assert drawing({"data": 1}) == ""


def test_a_hypothesis_that_keeps_its_strategies_to_itself_is_said_to_be_above() -> None:
    async def fn(world: World, guests: int) -> None: ...

    other: Any = fn
    other.is_hypothesis_test = True
    other.hypothesis = SimpleNamespace(inner_test=fn)
    with pytest.raises(TypeError, match="Write @given above @explore"):
        explore()(fn)


# --- A run for each example -----------------------------------------------------------


def test_a_schedule_is_drawn_beside_a_size_and_both_are_shrunk() -> None:
    @settings(quick, max_examples=300)
    @given(guests=st.integers(1, 6), schedule=schedules())
    @explore()
    async def test(world: World, guests: int, schedule: Schedule) -> None:
        await party(world, guests, [2])

    report = failing(test)
    assert "found after 1 schedule" in report
    assert "guests=3" in report
    assert deviations_in(report) == 1


def test_where_a_schedule_is_drawn_there_is_one_run_and_it_is_that() -> None:
    runs: list[list[int]] = []

    @explore()
    async def test(world: World, schedule: Schedule) -> None:
        runs.append([])
        await party(world, 3, [9])

    test(Schedule({}))
    test(schedule=Schedule({0: 1}))
    assert len(runs) == 2


@quick
@given(schedules())
def test_a_schedule_says_at_which_steps_it_is_not_fifo(schedule: Schedule) -> None:
    assert list(schedule.deviations) == sorted(schedule.deviations)
    assert all(rank > 0 for rank in schedule.deviations.values())
    assert isinstance(hash(schedule), int)


def test_the_simplest_schedule_is_fifo() -> None:
    assert hypothesis.find(schedules(), lambda _: True, settings=quick) == Schedule({})


def test_hypothesis_is_imported_by_nobody_who_does_not_use_it() -> None:
    text = (
        "import sys, trio_actors.testing\n"
        "from trio_actors.testing._given import pass_over\n"
        "pass_over()\n"
        "assert 'hypothesis' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)


# --- To see it again ------------------------------------------------------------------


class Odd:
    def __repr__(self) -> str:
        raise LookupError


def test_values_that_can_be_written_are_written() -> None:
    arguments: dict[str, Any] = {
        "size": 3,
        "names": ["a", "b"],
        "nothing": None,
        "schedule": Schedule({1: 2}),
        "host": object(),
        "odd": Odd(),
        "long": "x" * 1000,
    }
    texts = {"size": "3", "names": "['a', 'b']", "nothing": "None", "schedule": "None"}
    assert literals(arguments) == texts


def test_the_report_has_a_test_to_paste_with_the_values_in_it() -> None:
    @explore()
    async def test_it(world: World, guests: int, unwanted: Sequence[int]) -> None:
        await party(world, guests, unwanted)

    report = failing(lambda: test_it(3, (2,)))
    assert "(world: World) -> None:" in report
    assert "test_it.__wrapped__(world, guests=3, unwanted=(2,))" in report


def test_what_a_fixture_made_stays_a_parameter_of_it() -> None:
    @explore()
    async def test_it(world: World, odd: Odd, guests: int) -> None:
        await party(world, guests, [2])

    report = failing(lambda: test_it(Odd(), 3))
    assert "async def test_it_again(world: World, odd) -> None:" in report
    assert "await test_it.__wrapped__(world, odd=odd, guests=3)" in report


@pytest.mark.parametrize("test", [above, below, between])
def test_the_test_to_paste_fails_as_it_was_found(test: Callable[..., object]) -> None:
    report = failing(test)
    name = test.__name__
    text = report[report.index("from trio_actors.testing import") :]
    text = text[: text.index("guests=3)") + len("guests=3)")]
    names: dict[str, Any] = {name: test}
    exec(text, names)
    again = failing(names[f"test_{name}_again"])
    assert "found after 1 schedule; 2 deviations" in again


def test_a_token_passes_over_the_examples_to_which_it_does_not_belong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report of a failing example says: run pytest with --actors-replay."""
    token = next(
        line.partition("=")[2]
        for line in failing(above).splitlines()
        if "actors-replay" in line
    )
    monkeypatch.setattr("trio_actors.testing._options.SETTINGS.replay", token)
    assert "guests=3" in failing(above)
    monkeypatch.undo()

    @explore(replay=token)
    async def test(world: World, guests: int) -> None:
        await party(world, guests, [2, 1])

    with pytest.raises(OtherProgram):
        test(5)
