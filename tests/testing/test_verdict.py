"""The texts at the end of a search.

Issue 4: "verdict ("found after 2 of 4 schedules; 1 deviation from FIFO"), the racing
pair of deliveries, a sequence diagram, the token, and a regression test to paste.
Success: "36 classes, 36 schedules, 0 redundant: verified", or an estimate of what is
left; a space that is too big says how far it came and never "verified"".
"""

import ast
import math
import random
from collections import Counter
from collections.abc import Hashable
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings, strategies as st

from tests.testing.searched import forgotten
from tests.testing.traces import message, reply, run, start, step, tick
from trio_actors.testing import Faults, World, explore
from trio_actors.testing._events import Event, Footprint, Ghost, Run, dependent
from trio_actors.testing._verdict import (
    failure_report,
    found,
    race_of,
    race_text,
    regression_test,
    replay_text,
    sampled,
    stopped,
    told,
    unseen_classes,
    verified,
)

# --- The race ---------------------------------------------------------------


def bank(*order: str) -> Run:
    """A teller takes from /a and gives to /b, an auditor looks at both."""
    made = {
        "t": start("teller"),
        "u": start("auditor"),
        "a-": message("teller", "/a", "Add(amount=-10)"),
        "b+": message("teller", "/b", "Add(amount=10)"),
        "a?": message("auditor", "/a", "Balance()"),
        "b?": message("auditor", "/b", "Balance()"),
        "a!": reply("/a", "auditor", "100"),
        "b!": reply("/b", "auditor", "110"),
        "at": reply("/a", "teller", "90"),
    }
    causes = {"a-": "t", "at": "a-", "b+": "at", "a?": "u", "a!": "a?", "b?": "a!"}
    causes["b!"] = "b?"
    for name, cause in causes.items():
        made[name].sent = order.index(cause) if cause in order else -1
    return run(*(made[name] for name in order))


RIGHT = bank("t", "u", "a-", "at", "a?", "a!", "b+", "b?", "b!")
WRONG = bank("t", "u", "a?", "a!", "a-", "at", "b+", "b?", "b!")


def test_the_race_is_the_pair_that_stands_the_other_way_round_where_it_passes() -> None:
    """Reference D: "`A <- balance(audit)` before `A <- add(-10)`"."""
    assert race_of(WRONG, RIGHT) == (2, 4)
    assert race_text(WRONG, (2, 4)) == (
        "  /a <- Balance() from auditor  (step 2)\n"
        "  came before\n"
        "  /a <- Add(amount=-10) from teller  (step 4)"
    )
    assert race_of(RIGHT, WRONG) == (2, 4)


def test_runs_that_differ_in_nothing_that_matters_have_no_race() -> None:
    same = bank("u", "t", "a-", "a?", "at", "b+", "a!", "b?", "b!")
    assert race_of(same, RIGHT) is None
    assert race_of(RIGHT, RIGHT) is None


def test_without_a_passing_run_it_is_who_overtook_what_was_sent_before() -> None:
    assert race_of(WRONG, None) == (2, 4)
    assert race_of(RIGHT, None) is None


def test_of_two_races_it_is_the_last_that_does_not_come_from_another() -> None:
    first = [message("x", "/a"), message("y", "/a")]
    last = [message("x", "/b"), message("y", "/b")]
    passing = run(*first, *last)
    assert race_of(run(*first[::-1], *last[::-1]), passing) == (2, 3)
    # Who came too late at /a comes too late at /b for that reason.
    chained = [message("x", "/b", sent=1), message("y", "/b", sent=0)]
    assert race_of(run(*first[::-1], *chained[::-1]), passing) == (0, 1)


def test_a_race_at_one_receiver_comes_before_one_for_something_else() -> None:
    """Two clients spawn: who was first is seen in the names, and is no delivery."""
    family: Footprint = {("family", "/"): True}
    early = [message("x", "/a"), message("y", "/a")]
    late = [
        step("message", "x", "/b", touches=family),
        step("message", "y", "/c", touches=family),
    ]
    passing = run(*early, *late)
    assert race_of(run(*early[::-1], *late[::-1]), passing) == (0, 1)
    assert race_of(run(*early, *late[::-1]), passing) == (2, 3)


def test_two_clients_that_begin_are_no_race_at_one_receiver() -> None:
    begin = step("start", "x", "x", touches={("family", "/"): True})
    other = step("start", "y", "y", touches={("family", "/"): True})
    assert race_of(run(other, begin), run(begin, other)) == (0, 1)


def test_readers_do_not_race_with_each_other() -> None:
    reads: Footprint = {("turn", "/a"): False}
    one, two = (step("message", who, "/a", touches=reads) for who in "xy")
    write = message("z", "/a", "Set()")
    assert race_of(run(two, one, write), run(one, two, write)) is None
    # The nearest of those that have read before it was written.
    assert race_of(run(one, two, write), run(write, one, two)) == (1, 2)


def test_what_did_not_come_any_more_was_too_late_too() -> None:
    """The run ends at the first failure: what it overtook may still be on its way."""
    early, late = message("x", "/a", "Add()"), message("y", "/a", "Balance()")
    failing = run(late, ghosts=(Ghost(early, 0),))
    race = race_of(failing, run(early, late))
    assert race is not None
    assert race == (0, 1)
    assert race_text(failing, race) == (
        "  /a <- Balance() from y  (step 0)\n"
        "  came before\n"
        "  /a <- Add() from x  (did not come any more)"
    )
    # A stop buries what waits; in the passing run it was taken before.
    stop = step("control", "y", "/a", "stop")
    buried = run(stop, message("y", "/b"), ghosts=(Ghost(early, 0),))
    assert race_of(buried, run(early, stop, message("y", "/b"))) == (0, 2)
    # And the other way round.
    assert race_of(run(early, stop), buried) == (0, 1)


def test_a_ghost_before_the_first_step_races_with_none() -> None:
    early, late = message("x", "/a"), message("y", "/a")
    failing = run(late, ghosts=(Ghost(early, -1),))
    assert race_of(failing, run(late, early)) == (1, 0)
    assert race_of(failing, run(early, late)) is None


def test_time_that_passed_before_a_message_came_is_a_race() -> None:
    """A retry: time is up while the answer is on its way."""
    answer = reply("/server", "client-1", "7")
    due = tick("time 5", "client-1")
    due.footprint = {("clock", ""): True, ("turn", "client-1"): True}
    race = race_of(run(due, answer), run(answer, due))
    assert race == (0, 1)
    assert race_of(run(due, answer), None) == (0, 1)
    assert race_of(run(answer, due), None) is None


def test_a_tick_that_did_not_come_is_not_known_by_name() -> None:
    """All ticks have one key: the ghost may be one that came later."""
    due = tick(owner="/a")
    due.footprint = {("turn", "/a"): True}
    one = message("x", "/a")
    assert race_of(run(one, ghosts=(Ghost(due, 0),)), run(due, one)) is None


def test_events_are_told_in_words() -> None:
    assert told(message("client-1", "/a", "Add()")) == "/a <- Add() from client-1"
    assert told(message("", "/a", "Add()")) == "/a <- Add()"
    assert told(reply("/a", "client-1", "7")) == "client-1 <- 7 from /a"
    assert told(step("control", "client-1", "/a", "stop")) == "/a <- stop from client-1"
    assert told(start("client-1")) == "client-1 begins"
    assert told(step("fault", "", "/a", "crash")) == "/a ! crash"
    assert told(step("fault", "", "", "cut")) == "! cut"
    assert told(tick("time 5", "/a")) == "time 5"
    assert told(step("settled", "", "test")) == "settled"
    assert told(message("a\nb", "/c\n", "d\ne")) == r"/c\n <- d e from a\nb"


# --- The race, against what is said of it -----------------------------------

TOUCHED = st.dictionaries(
    st.sampled_from([("turn", "/a"), ("turn", "/b"), ("family", "/"), ("clock", "")]),
    st.booleans(),
    max_size=2,
)


def shuffled(trace: list[Event], chance: random.Random) -> Run:
    """The same events in another order that respects what was sent by what."""
    waiting = list(range(len(trace)))
    places: dict[int, int] = {}
    events: list[Event] = []
    while waiting:
        ready = [at for at in waiting if trace[at].sent in {-1, *places}]
        at = chance.choice(ready)
        waiting.remove(at)
        one = trace[at]
        touched = dict(one.footprint)
        again = step(one.kind, one.src, one.dst, sent=-1, touches=touched)
        again.sent = places.get(one.sent, -1)
        places[at] = len(events)
        events.append(again)
    return run(*events)


@st.composite
def two_runs(draw: st.DrawFn) -> tuple[Run, Run]:
    trace: list[Event] = []
    for number in range(draw(st.integers(2, 9))):
        dst = draw(st.sampled_from(["/a", "/b"]))
        touched: Footprint = {("turn", dst): draw(st.booleans()), **draw(TOUCHED)}
        sent = draw(st.integers(-1, number - 1))
        trace.append(step("message", f"{number}", dst, sent=sent, touches=touched))
    chance = random.Random(draw(st.integers(0, 1 << 30)))
    return shuffled(trace, chance), shuffled(trace, chance)


def must_precede(trace: list[Event]) -> list[list[int]]:
    """For each step those that it must stay behind, by the definition."""
    return [
        [
            one
            for one in range(other)
            if dependent(trace[one].footprint, trace[other].footprint)
        ]
        for other in range(len(trace))
    ]


@settings(max_examples=500)
@given(two_runs())
def test_a_race_is_found_exactly_where_two_runs_differ(runs: tuple[Run, Run]) -> None:
    """By the definition, in all pairs: it has changed places, and comes from none."""
    failing, passing = runs
    order = {event.key: at for at, event in enumerate(passing.trace)}
    spot = [order[event.key] for event in failing.trace]
    behind = must_precede(failing.trace)
    swapped = [
        (one, other)
        for other, before in enumerate(behind)
        for one in before
        if spot[other] < spot[one]
    ]
    race = race_of(failing, passing)
    assert (race is None) == (swapped == [])
    if race is None:
        return
    assert race in swapped
    near = [pair for pair in swapped if not between(failing.trace, *pair)]
    here = [pair for pair in near if shares_receiver(failing, pair)]
    if here:
        assert shares_receiver(failing, race)
    # Nothing that it comes from has changed places with something at its receiver.
    past = {race[1]}
    for at in range(race[1], -1, -1):
        if at in past:
            past.update([*behind[at], failing.trace[at].sent])
    rivals = here if shares_receiver(failing, race) else near
    assert [pair for pair in rivals if pair[1] in past - {race[1]}] == []


def shares_receiver(run: Run, pair: tuple[int, int]) -> bool:
    one, other = pair
    return run.trace[one].dst == run.trace[other].dst


def between(trace: list[Event], one: int, other: int) -> bool:
    """Whether something stands between two steps that neither may pass."""
    return any(
        dependent(trace[one].footprint, trace[at].footprint)
        and dependent(trace[at].footprint, trace[other].footprint)
        for at in range(one + 1, other)
    )


# --- A failure --------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedules", "deviations", "of", "text"),
    [
        (2, 1, 4, "found after 2 of 4 schedules; 1 deviation from FIFO"),
        (1, 2, 1, "found after 1 of 1 schedule; 2 deviations from FIFO"),
        (1000, 3, None, "found after 1,000 schedules; 3 deviations from FIFO"),
        (1, 0, None, "found after 1 schedule; it fails in FIFO order"),
    ],
)
def test_the_verdict_says_when_it_was_found_and_how_far_from_fifo(
    schedules: int, deviations: int, of: int | None, text: str
) -> None:
    assert found(schedules, deviations, of) == text


def test_the_whole_report_of_a_failure() -> None:
    WRONG.error = AssertionError("auditor saw total [110]")
    report = failure_report(
        "found after 2 of 4 schedules; 1 deviation from FIFO",
        WRONG,
        token="ta1:4-1",
        program="transfer",
        passing=RIGHT,
    )
    assert (
        report
        == """\
found after 2 of 4 schedules; 1 deviation from FIFO
AssertionError: auditor saw total [110]

The race, marked with > below:
  /a <- Balance() from auditor  (step 2)
  came before
  /a <- Add(amount=-10) from teller  (step 4)

        teller    auditor      a         b
   0       o         |         |         |      begins
   1       |         o         |         |      begins
>  2       |         |-------->|         |      Balance()
   3       |         |<........|         |      100
>  4       |------------------>|         |      Add(amount=-10)
   5       |<..................|         |      90
   6       |---------------------------->|      Add(amount=10)
   7       |         |------------------>|      Balance()
   8       |         |<..................|      110

To see it again:
  pytest --actors-replay=ta1:4-1
  @explore(replay="ta1:4-1")

To keep it as a test:

from trio_actors.testing import World, explore


@explore(replay="ta1:4-1")
async def test_transfer_again(world: World) -> None:
    await transfer(world)
"""
    )


class Broken(Exception):
    def __str__(self) -> NoReturn:
        raise LookupError


def test_a_report_does_without_what_there_is_not() -> None:
    """No race in FIFO order; an error without a text, or with a broken one."""
    RIGHT.error = TimeoutError()
    report = failure_report("verdict", RIGHT, token="ta1:", program="transfer")
    assert report.startswith("verdict\nTimeoutError\n\n        teller ")
    RIGHT.error = Broken()
    report = failure_report("verdict", RIGHT, token="ta1:", program="transfer")
    assert "\nBroken: <its text raised LookupError>\n" in report
    RIGHT.error = None
    report = failure_report("verdict", RIGHT, token="ta1:", program="transfer")
    assert report.startswith("verdict\n\n        teller ")
    assert ">  2" not in report


def test_a_replay_is_told_for_the_shell_and_for_the_file() -> None:
    assert replay_text("ta1:3") == (
        'To see it again:\n  pytest --actors-replay=ta1:3\n  @explore(replay="ta1:3")'
    )


def test_what_a_replay_needs_beside_its_token_is_pasted_with_it() -> None:
    """A token of another order, or with other timers, would be refused."""
    options = ['timers="idle"', 'order="enqueue"']
    line = '@explore(replay="ta1:3", timers="idle", order="enqueue")'
    assert replay_text("ta1:3", options).endswith(f"\n  {line}")
    assert f"\n{line}\n" in regression_test("bank", "ta1:3", (), options)
    RIGHT.error = None
    report = failure_report(
        "verdict", RIGHT, token="ta1:3", program="bank", options=options
    )
    assert report.count(line) == 2


@pytest.mark.parametrize(
    ("program", "name", "call"),
    [
        ("transfer", "test_transfer_again", "transfer"),
        ("test_bank.__wrapped__", "test_bank_again", "test_bank.__wrapped__"),
        ("zoo.bank.run", "test_zoo_bank_run_again", "zoo.bank.run"),
        ("test_it.<locals>.bank", "test_bank_again", "bank"),
        ("test_it.<locals>.<lambda>", "test_program_again", "program"),
        ("functools.partial(bank, 3)", "test_program_again", "program"),
        ("", "test_program_again", "program"),
    ],
)
@pytest.mark.parametrize("arguments", [[], ["tmp_path", "amount"]])
def test_the_regression_test_is_python_and_calls_the_program(
    program: str, name: str, call: str, arguments: list[str]
) -> None:
    (imports, test) = ast.parse(regression_test(program, "ta1:4-1", arguments)).body
    assert ast.unparse(imports) == "from trio_actors.testing import World, explore"
    assert isinstance(test, ast.AsyncFunctionDef)
    assert test.name == name
    given = ", ".join(["world", *arguments])
    assert [ast.unparse(line) for line in test.body] == [f"await {call}({given})"]
    (decorator,) = test.decorator_list
    assert ast.unparse(decorator) == "explore(replay='ta1:4-1')"
    assert [one.arg for one in test.args.args] == ["world", *arguments]


WITH_A_CRASH: Any = explore(faults=Faults(crash=1))  # its type knows no methods


class InAClass:
    @WITH_A_CRASH  # type: ignore[untyped-decorator]
    async def test_method(self, world: World) -> None:
        assert isinstance(self, InAClass)
        await forgotten(world)


def test_the_regression_test_of_a_method_has_what_it_needs() -> None:
    """An object of its class, and the name of what its options are made with."""
    with pytest.raises(AssertionError, match="it was forgotten") as caught:
        InAClass().test_method()
    (report,) = caught.value.__notes__
    names: dict[str, Any] = {"InAClass": InAClass}
    exec(report[report.index("from trio_actors.testing import") :], names)
    with pytest.raises(AssertionError, match="it was forgotten"):
        names["test_InAClass_test_method_again"]()


# --- No failure -------------------------------------------------------------


def test_all_orders_were_tried() -> None:
    assert verified(36, 36, 0) == "36 classes, 36 schedules, 0 redundant: verified"
    assert verified(1, 1, 0) == "1 class, 1 schedule, 0 redundant: verified"
    assert verified(1234, 1230, 2, 2) == (
        "1,230 classes, 1,234 schedules, 2 redundant, 2 blocked: verified"
    )


def test_conditions_are_told_beside_it() -> None:
    """A retry that pays twice was "verified": `timers="idle"` has to be told."""
    caveats = ["timers only at quiescence", 'order="enqueue"']
    told_so = '(timers only at quiescence; order="enqueue")'
    assert verified(4, 4, 0, caveats=caveats).endswith(f": verified {told_so}")
    assert f"no failure found {told_so};" in sampled(4, {1: 4}, caveats=caveats)
    assert f"so far {told_so};" in stopped(4, 4, caveats=caveats)


def test_a_doubt_is_never_verified() -> None:
    """H 9: "A run in which a shared restart budget was reached is not exhaustive"."""
    doubts = ["a shared restart budget was reached"]
    assert verified(4, 4, 0, doubts=doubts) == (
        "4 classes, 4 schedules, 0 redundant: no failure found, but not verified"
        " (a shared restart budget was reached)"
    )


def test_a_sample_says_how_much_it_has_probably_not_seen() -> None:
    once: list[Hashable] = [*range(360)]
    met = {**dict.fromkeys(once, 1), "often": 590, "less": 50}
    assert sampled(1000, met) == (
        "1,000 schedules, 362 classes: no failure found; about 204 classes unseen"
        " (Good-Turing)"
    )
    assert sampled(2, {"a": 2}).endswith("; about 0 classes unseen (Good-Turing)")
    assert sampled(3, {"a": 1, "b": 1}).endswith(
        "no failure found; no class was met twice: most are unseen"
    )


def test_what_was_stopped_is_not_verified_and_says_how_far_it_came() -> None:
    assert stopped(20_000, 8_112) == (
        "stopped after 20,000 schedules, 8,112 classes: not verified, no failure found"
        " so far; to come to an end: more schedules=, fewer clients or messages, or"
        " reads_only=True where a handler changes nothing"
    )
    assert stopped(3, 1, word="interrupted").startswith(
        "interrupted after 3 schedules, 1 class: not verified, no failure found"
    )


# --- The estimate -----------------------------------------------------------


def test_what_was_met_once_says_how_much_was_not_met() -> None:
    """Good-Turing: the share of the runs that were the only one of their class."""
    assert unseen_classes([]) == 0
    assert unseen_classes([2, 5, 9]) == 0
    assert unseen_classes([1, 1, 1]) == math.inf
    # One run in ten was new: a tenth of all classes is not known.
    assert unseen_classes([1, 3, 6]) == pytest.approx(3 * 0.1 / 0.9)


@settings(max_examples=50)
@given(st.integers(20, 200), st.integers(0, 1 << 30))
def test_the_estimate_is_near_the_truth_where_classes_are_equally_likely(
    classes: int, seed: int
) -> None:
    chance = random.Random(seed)
    met = Counter(chance.randrange(classes) for _ in range(2 * classes))
    unseen = classes - len(met)
    assert abs(unseen_classes(list(met.values())) - unseen) <= 4 * math.sqrt(classes)
