"""What a supervisor decides: the table of design section 3, without any actor.

The decisions are pure, so nothing here runs a loop or looks at a clock.
`test_policy_machine.py` compares them with a model written from the prose.
"""

import math
from random import Random
from typing import Any

import pytest

from trio_actors._policy import (
    ANSWERS,
    Answer,
    AutoShutdown,
    Backoff,
    Directive,
    Directives,
    Ending,
    Heartbeat,
    Pauses,
    RestartType,
    RestartWindow,
    Strategy,
    Supervision,
    answer_to,
    check_child,
    directive_for,
    judge,
    shuts_down,
    swept_with,
)

# --- The table ----------------------------------------------------------------

# One line for each cell of the design's table, in its own words:
# | how it ended | permanent | transient | temporary |
TABLE: list[tuple[Ending, RestartType, Answer]] = [
    # returned, or stopped itself: restart, counts | ends, spec kept | spec deleted
    ("returned", "permanent", "restart"),
    ("returned", "transient", "end"),
    ("returned", "temporary", "forget"),
    # ref.stop/drain/kill, terminate_child: ends, spec kept | same | spec deleted
    ("halted", "permanent", "end"),
    ("halted", "transient", "end"),
    ("halted", "temporary", "forget"),
    # failed, directive restart: strategy, counts | same | ends, spec deleted
    ("restart", "permanent", "restart"),
    ("restart", "transient", "restart"),
    ("restart", "temporary", "forget"),
    # failed, stop: ends as failed, spec kept | same | ends, spec deleted
    ("stop", "permanent", "end"),
    ("stop", "transient", "end"),
    ("stop", "temporary", "forget"),
    # failed, resume: same instance, does not count | same | same
    ("resume", "permanent", "resume"),
    ("resume", "transient", "resume"),
    ("resume", "temporary", "resume"),
    # failed, escalate: ends as failed; the parent fails | same | same
    ("escalate", "permanent", "escalate"),
    ("escalate", "transient", "escalate"),
    ("escalate", "temporary", "escalate"),
    # terminated by a sibling's sweep: started again | started again | spec deleted
    ("swept", "permanent", "again"),
    ("swept", "transient", "again"),
    ("swept", "temporary", "forget"),
]


@pytest.mark.parametrize(("ending", "restart", "answer"), TABLE)
def test_every_end_is_answered_as_the_table_says(
    ending: Ending, restart: RestartType, answer: Answer
) -> None:
    """SUP-3, S0-7: who is started again, and whose spec is kept."""
    assert answer_to(ending, restart) == answer


def test_the_table_has_no_cell_that_is_not_tested() -> None:
    cells = {(ending, restart) for ending, restart, _ in TABLE}
    assert len(TABLE) == len(cells) == 3 * len(ANSWERS)


# --- Directives ---------------------------------------------------------------


class Problem(Exception):
    """A user's own exception."""


class DiskProblem(Problem):
    """A kind of Problem."""


class NetProblem(Problem):
    """Another kind of Problem."""


class BothProblem(DiskProblem, NetProblem):
    """Two kinds at once."""


def test_an_exception_that_is_not_listed_means_restart() -> None:
    """Directives: exception type -> restart (default)."""
    assert directive_for({}, Problem()) == "restart"
    assert directive_for({DiskProblem: "stop"}, Problem()) == "restart"


def test_the_nearest_class_of_the_mro_decides() -> None:
    """SUP-12: MRO order, whatever the order of the mapping."""
    table: dict[type[Exception], Directive] = {
        Exception: "escalate",
        Problem: "stop",
        DiskProblem: "resume",
    }
    assert directive_for(table, DiskProblem()) == "resume"
    assert directive_for(table, NetProblem()) == "stop"
    assert directive_for(table, KeyError()) == "escalate"
    backwards = dict(reversed(table.items()))
    assert directive_for(backwards, DiskProblem()) == "resume"


def test_the_first_base_class_goes_before_the_second() -> None:
    assert (
        directive_for({NetProblem: "stop", DiskProblem: "resume"}, BothProblem())
        == "resume"
    )
    assert directive_for({NetProblem: "stop", Problem: "resume"}, BothProblem()) == (
        "stop"
    )


@pytest.mark.parametrize("directive", ["restart", "resume", "stop", "escalate"])
def test_a_function_decides_what_it_returns(directive: Directive) -> None:
    seen: list[Exception] = []

    def decide(error: Exception) -> Directive:
        seen.append(error)
        return directive

    error = Problem()
    assert directive_for(decide, error) == directive
    assert seen == [error]


@pytest.mark.parametrize(
    ("leaves", "directive"),
    [
        (["resume", "restart"], "restart"),
        (["restart", "stop"], "stop"),
        (["stop", "escalate", "resume"], "escalate"),
        (["resume", "resume"], "resume"),
        (["resume", None], "restart"),  # not listed is the default, here too
    ],
)
@pytest.mark.parametrize("by_function", [False, True])
def test_the_most_severe_leaf_of_a_group_decides(
    leaves: list[Directive | None], directive: Directive, by_function: bool
) -> None:
    """Through exception groups: escalate > stop > restart > resume."""
    kinds: dict[Directive | None, type[Exception]] = {
        "resume": KeyError,
        "restart": ValueError,
        "stop": OSError,
        "escalate": DiskProblem,
        None: RuntimeError,
    }
    table: dict[type[Exception], Directive] = {
        kind: name for name, kind in kinds.items() if name is not None
    }

    def decide(error: Exception) -> Directive:
        return table.get(type(error), "restart")

    directives: Directives = decide if by_function else table
    errors = [kinds[leaf]() for leaf in leaves]
    flat = ExceptionGroup("flat", errors)
    nested = ExceptionGroup("outer", [ExceptionGroup("inner", errors[1:]), errors[0]])
    for group in (flat, nested, ExceptionGroup("reversed", errors[::-1])):
        assert directive_for(directives, group) == directive


def test_a_group_as_such_is_never_looked_up() -> None:
    """Its leaves decide, whatever is said about groups."""
    table: Directives = {ExceptionGroup: "escalate", KeyError: "resume"}
    assert directive_for(table, ExceptionGroup("g", [KeyError()])) == "resume"


def test_an_exception_in_the_deciding_function_comes_out() -> None:
    """An exception in the deciding function fails the supervising actor."""

    def decide(error: Exception) -> Directive:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        directive_for(decide, Problem())


def test_a_function_that_returns_no_directive_is_told_what_to_return() -> None:
    def decide(error: Exception) -> Any:
        return "ignore"

    with pytest.raises(ValueError, match=r"returned 'ignore'.*Return one of 'resume'"):
        directive_for(decide, Problem())


def test_resume_without_an_instance_that_could_go_on_means_restart() -> None:
    """FAIL-2: resume for a function, or for a failure in started(), is restart."""
    resuming = Supervision(directives={Problem: "resume", OSError: "stop"})
    assert judge(resuming, Problem(), can_resume=True) == "resume"
    assert judge(resuming, Problem(), can_resume=False) == "restart"
    # No other directive needs an instance.
    for can_resume in (True, False):
        assert judge(resuming, OSError(), can_resume=can_resume) == "stop"
        assert judge(resuming, KeyError(), can_resume=can_resume) == "restart"


# --- Strategies ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "failed", "swept"),
    [
        ("one_for_one", "a", "a"),
        ("one_for_one", "c", "c"),
        ("one_for_all", "a", "abcd"),
        ("one_for_all", "c", "abcd"),
        ("rest_for_one", "a", "abcd"),
        ("rest_for_one", "c", "cd"),
        ("rest_for_one", "d", "d"),
    ],
)
def test_the_strategy_says_who_goes_down_together(
    strategy: Strategy, failed: str, swept: str
) -> None:
    """SUP-2, in start order."""
    children = list("abcd")
    assert swept_with(strategy, children, failed) == list(swept)
    assert children == list("abcd")  # only looked at


def test_who_goes_down_is_a_list_of_its_own() -> None:
    """A sweep changes it while the children of the supervisor change."""
    children = list("ab")
    for strategy in ("one_for_one", "one_for_all", "rest_for_one"):
        assert swept_with(strategy, children, "a") is not children


# --- The window ---------------------------------------------------------------


def window(max_restarts: int | None, within: float = 5.0) -> RestartWindow:
    return RestartWindow(Supervision(max_restarts=max_restarts, within=within))


def test_strictly_more_restarts_than_the_limit_give_up() -> None:
    """SUP-4: three are allowed by default, the fourth is one too many."""
    default = RestartWindow(Supervision())
    assert [default.allows(0.0) for _ in range(4)] == [True, True, True, False]


def test_with_a_limit_of_zero_the_first_restart_gives_up() -> None:
    """SUP-4."""
    assert not window(0).allows(0.0)


def test_an_age_of_exactly_the_window_still_counts() -> None:
    """Ages up to and including `within` count."""
    exact = window(1)
    assert exact.allows(0.0)
    assert not exact.allows(5.0)
    later = window(1)
    assert later.allows(0.0)
    assert later.allows(math.nextafter(5.0, 6.0))


def test_the_window_slides_with_every_restart() -> None:
    """It does not begin anew when it is over, as a fixed one would (FAIL-5)."""
    sliding = window(2)
    times = [0.0, 4.0, 6.0, 8.0]
    #                        {4, 6}  {4, 6, 8}
    assert [sliding.allows(time) for time in times] == [True, True, True, False]


def test_restarts_far_apart_go_on_for_ever() -> None:
    patient = window(1)
    assert all(patient.allows(time * 5.5) for time in range(1000))


def test_none_never_gives_up() -> None:
    endless = window(None)
    assert all(endless.allows(0.0) for _ in range(1000))


# --- Backoff ------------------------------------------------------------------


class Loaded(Random):
    """Random numbers that are always the same one."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value

    def random(self) -> float:
        return self._value


MIDDLE = Loaded(0.5)  # neither added nor taken away


def test_pauses_grow_by_the_factor_up_to_the_cap() -> None:
    """FAIL-7: min * factor ** failures, 0 failures for the first."""
    backoff = Backoff(1.0, 10.0, factor=3.0)
    pauses = [backoff._pause(failures, MIDDLE) for failures in range(5)]
    assert pauses == pytest.approx([1.0, 3.0, 9.0, 10.0, 10.0])


def test_the_jitter_is_a_share_that_is_added_or_taken_away() -> None:
    backoff = Backoff(10.0, 100.0, jitter=0.2)
    assert backoff._pause(0, Loaded(0.0)) == pytest.approx(8.0)
    assert backoff._pause(0, Loaded(0.75)) == pytest.approx(11.0)
    assert backoff._pause(0, Loaded(1.0)) == pytest.approx(12.0)


def test_the_cap_comes_after_the_jitter() -> None:
    """No pause is longer than `max`, and a pause near it still varies downwards."""
    backoff = Backoff(1.0, 4.0, jitter=0.5)
    assert backoff._pause(2, Loaded(1.0)) == 4.0
    assert backoff._pause(2, Loaded(0.0)) == pytest.approx(2.0)
    # 1 * 2 ** 10 seconds, half of it taken away, are still more than the cap.
    assert backoff._pause(10, Loaded(0.0)) == 4.0


def test_a_slow_growth_reaches_the_cap_in_spite_of_its_jitter() -> None:
    """A small factor and a large jitter: the formula holds at every count."""
    backoff = Backoff(1.0, 2.0, factor=1.1, jitter=0.5)
    assert backoff._pause(100, Loaded(0.0)) == 2.0


def test_a_million_failures_do_not_overflow() -> None:
    assert Backoff(0.1, 30.0)._pause(1_000_000, MIDDLE) == 30.0
    assert Backoff(0.1, 30.0, jitter=1.0)._pause(1_000_000, Loaded(1.0)) == 30.0


def test_without_growth_or_without_a_minimum_pauses_stay_as_they_are() -> None:
    assert Backoff(2.0, 8.0, factor=1.0)._pause(50, MIDDLE) == 2.0
    assert Backoff(0.0, 8.0)._pause(50, MIDDLE) == 0.0
    assert Backoff(0.0, 8.0)._pause(1_000_000, MIDDLE) == 0.0


def test_the_same_seed_gives_the_same_pauses() -> None:
    backoff = Backoff(1.0, 60.0)
    one, two = Random(7), Random(7)
    assert [backoff._pause(n, one) for n in range(9)] == [
        backoff._pause(n, two) for n in range(9)
    ]


def test_a_quiet_time_after_a_restart_starts_the_pauses_over() -> None:
    """FAIL-7: reset_after is (min + max) / 2 from the completed restart."""
    pauses = Pauses(Backoff(1.0, 9.0, jitter=0.0))
    assert [pauses.next(0.0, MIDDLE), pauses.next(1.0, MIDDLE)] == [1.0, 2.0]
    pauses.restarted(10.0)
    assert pauses.next(14.9, MIDDLE) == 4.0  # 4.9 seconds are not 5
    pauses.restarted(20.0)
    assert pauses.next(25.0, MIDDLE) == 1.0


def test_the_quiet_time_can_be_given() -> None:
    pauses = Pauses(Backoff(1.0, 9.0, jitter=0.0, reset_after=0.0))
    assert pauses.next(0.0, MIDDLE) == 1.0
    pauses.restarted(1.0)
    assert pauses.next(1.0, MIDDLE) == 1.0


def test_time_without_a_completed_restart_is_no_quiet_time() -> None:
    """Attempts that fail one after the other are no success, however slow."""
    pauses = Pauses(Backoff(1.0, 9.0, jitter=0.0))
    assert pauses.next(0.0, MIDDLE) == 1.0
    assert pauses.next(100.0, MIDDLE) == 2.0
    pauses.restarted(200.0)
    assert pauses.next(201.0, MIDDLE) == 4.0
    # The quiet time since 200 was broken at 201; no restart was completed since.
    assert pauses.next(300.0, MIDDLE) == 8.0


# --- Auto-shutdown ------------------------------------------------------------


@pytest.mark.parametrize(
    ("auto_shutdown", "left", "stops"),
    [
        ("never", 0, False),
        ("never", 2, False),
        ("any_significant", 0, True),
        ("any_significant", 2, True),
        ("all_significant", 0, True),
        ("all_significant", 1, False),
    ],
)
def test_the_end_of_a_significant_child_stops_its_supervisor(
    auto_shutdown: AutoShutdown, left: int, stops: bool
) -> None:
    """SUP-9: any at once, all when the last active one has ended."""
    assert shuts_down(auto_shutdown, significant_left=left) is stops


# --- What is refused ----------------------------------------------------------


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize(
    "auto_shutdown", ["never", "any_significant", "all_significant"]
)
def test_a_child_is_refused_only_for_being_significant_in_vain(
    restart: RestartType, auto_shutdown: AutoShutdown
) -> None:
    """SUP-9: not permanent, and not where nothing comes of it."""
    check_child("a", restart, significant=False, auto_shutdown=auto_shutdown)
    if restart == "permanent":
        expected = "a is significant and permanent"
    elif auto_shutdown == "never":
        expected = 'auto_shutdown is "never"'
    else:
        check_child("a", restart, significant=True, auto_shutdown=auto_shutdown)
        return
    with pytest.raises(ValueError, match=expected):
        check_child("a", restart, significant=True, auto_shutdown=auto_shutdown)


def test_an_unknown_restart_type_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"a: .*'always'.*'permanent', 'transient'"):
        check_child("a", "always", significant=False, auto_shutdown="never")


WRONG_SUPERVISIONS: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "all_for_one"}, "no strategy 'all_for_one'. Write one of"),
    ({"auto_shutdown": "always"}, "auto_shutdown is one of .* not 'always'"),
    ({"max_restarts": -1}, "max_restarts is a number from 0 or None, not -1"),
    ({"max_restarts": 2.5}, "max_restarts .* not 2.5"),
    ({"max_restarts": True}, "max_restarts .* not True"),
    ({"within": 0}, "within is seconds, more than 0, not 0"),
    ({"within": math.nan}, "within .* not nan"),
    ({"within": "5"}, "within .* not '5'"),
    ({"within": True}, "within .* not True"),
    ({"directives": {KeyError: "ignore"}}, "no directive 'ignore' for KeyError"),
]


@pytest.mark.parametrize(("options", "text"), WRONG_SUPERVISIONS)
def test_a_wrong_supervision_is_told_what_to_write(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        Supervision(**options)


@pytest.mark.parametrize("kind", ["KeyError", KeyError("x"), int])
def test_directives_are_for_exception_classes(kind: Any) -> None:
    with pytest.raises(TypeError, match=r"Write directives=\{ValueError: \"stop\"\}"):
        Supervision(directives={kind: "stop"})


WRONG_BACKOFFS: list[tuple[tuple[Any, Any], dict[str, Any], str]] = [
    ((2.0, 1.0), {}, r"Backoff\(2.0, 1.0\): write 0 <= min <= max"),
    ((-1.0, 1.0), {}, "write 0 <= min <= max"),
    ((1.0, math.inf), {}, "write 0 <= min <= max"),
    ((math.nan, 1.0), {}, "min is seconds, not nan"),
    (("1", 2.0), {}, "min is seconds, not '1'"),
    ((1.0, 2.0), {"factor": 0.5}, "factor is at least 1, not 0.5"),
    ((1.0, 2.0), {"jitter": 1.5}, "jitter is 0 to 1, not 1.5"),
    ((1.0, 2.0), {"jitter": -0.1}, "jitter is 0 to 1, not -0.1"),
    ((1.0, 2.0), {"reset_after": -1.0}, "reset_after is seconds or None, not -1.0"),
]


@pytest.mark.parametrize(("pauses", "options", "text"), WRONG_BACKOFFS)
def test_a_wrong_backoff_is_told_what_to_write(
    pauses: tuple[Any, Any], options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        Backoff(*pauses, **options)


@pytest.mark.parametrize(
    ("every", "timeout"),
    [(0.0, 0.5), (-0.2, 0.5), (0.6, 0.5), (math.nan, 0.5), (0.2, "soon")],
)
def test_a_wrong_heartbeat_is_told_what_to_write(every: Any, timeout: Any) -> None:
    with pytest.raises(ValueError, match="write 0 < every <= timeout"):
        Heartbeat(every, timeout)


def test_what_is_right_is_taken() -> None:
    """The limits themselves are no mistakes."""
    Supervision("rest_for_one", max_restarts=None, within=math.inf)
    Supervision(max_restarts=0, directives=lambda error: "stop")
    Supervision(directives={Problem: "resume", OSError: "escalate"})
    Backoff(0.0, 0.0, factor=1.0, jitter=0.0, reset_after=0.0)
    Backoff(1, 2, jitter=1.0)
    Heartbeat(0.5, 0.5)
