"""Optimal DPOR: one run for each class, and every outcome that there is."""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import assume, given, settings, strategies as st

from tests.testing.nightly import nightly
from tests.testing.toy import (
    Body,
    Cell,
    Handler,
    Program,
    Toy,
    Turn,
    explore,
    run_once,
)
from tests.testing.toy_programs import (
    FEATURES,
    Compared,
    compare,
    last_zero,
    lost_update,
    philosophers,
    readers,
)
from trio_actors.testing._dpor import Optimal
from trio_actors.testing._events import Blocked, Event, Run
from trio_actors.testing._search import Depth, NotRepeatable

Script: TypeAlias = Callable[[Cell], Turn]

EVERYTHING = "".join(FEATURES)

# --- Numbers that are known -------------------------------------------------------


def check_optimal(program: Program, classes: int) -> None:
    tally = explore(program, Optimal())
    assert tally.complete
    assert len(tally.classes) == classes
    assert (tally.redundant, tally.blocked) == (0, 0)


@pytest.mark.parametrize(
    "count", [*range(1, 9), *(pytest.param(n, marks=nightly) for n in (9, 10))]
)
def test_readers_have_two_classes_each(count: int) -> None:
    """Issue: readers(N) explores exactly 2^N classes for N up to 10."""
    check_optimal(readers(count), 2**count)


def test_last_zero_has_64_classes_of_five() -> None:
    """Issue: 64 for N = 5, with 0 redundant and 0 blocked runs."""
    check_optimal(last_zero(5), 64)


@nightly
def test_last_zero_has_3328_classes_of_ten() -> None:
    """Issue: 3,328 for N = 10 in a nightly session."""
    check_optimal(last_zero(10), 3328)


@pytest.mark.parametrize(("clients", "classes"), [(2, 4), (3, 36), (4, 576)])
def test_lost_updates_have_as_many_classes_as_is_known(
    clients: int, classes: int
) -> None:
    check_optimal(lost_update(clients), classes)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_philosophers_can_choose_all_but_one_way_each(count: int) -> None:
    check_optimal(philosophers(count), (2**count - 1) ** 2)


# --- Nothing is missed: random programs -------------------------------------------


def check(both: Compared) -> None:
    assert both.error is None, both.spec
    assert both.is_sound, both.spec


@settings(max_examples=150)
@given(
    st.randoms(use_true_random=False),
    st.sets(st.sampled_from(EVERYTHING)).map(lambda some: "".join(sorted(some))),
    st.booleans(),
)
def test_it_sees_what_there_is(random: Random, features: str, race: bool) -> None:
    """Issue: the set of outcomes equals that of plain DFS without any reduction."""
    both = compare(random, features, limit=200, race=race)
    assume(both.raw.complete)
    check(both)


def test_it_is_optimal_without_timers_and_bounded_mailboxes() -> None:
    """Issue: "0 redundant, 0 blocked" is demanded there."""
    features, seen = "rsdgxw", 0
    for seed in range(50):
        both = compare(Random(f"{features} {seed}"), features, limit=200)
        if both.raw.complete:
            check(both)
            seen += len(both.raw.classes)
            assert both.optimal is not None
            assert (both.optimal.redundant, both.optimal.blocked) == (0, 0)
    assert seen > 100


# --- The check would find it: planted errors --------------------------------------


@pytest.mark.parametrize(
    ("mistake", "features"),
    [
        ("reads", "rs"),  # what writes says that it reads
        ("life", "x"),  # who sends does not say that it matters who lives
        ("busy", "rs"),  # nobody is in the middle of a turn
        ("ghosts", "x"),  # what was buried, or never came, is not told
        ("clock", "m"),  # who sets a timer does not look at the clock
        ("room", "b"),  # it does not matter who fills a mailbox
        ("sweep", "g"),  # what is done to others is not told
        ("sent", "s"),  # everything was possible from the start
    ],
)
def test_an_error_in_what_depends_on_what_is_caught(
    mistake: str, features: str
) -> None:
    """Issue: five planted errors in the dependence relation are each caught."""
    for seed in range(60):
        random = Random(f"{features} {seed}")
        both = compare(random, features, limit=300, mistakes=frozenset({mistake}))
        # Not by its classes, which would be wrong in the same way.
        seen = both.raw.outcomes if both.optimal is None else both.optimal.outcomes
        if both.error is not None or (both.raw.complete and seen != both.raw.outcomes):
            return
    pytest.fail(f"{mistake}: nobody saw it")


# --- Traps ------------------------------------------------------------------------


def outcomes(program: Program, *, race: bool = True, mistakes: str = "") -> int:
    """Return how many outcomes are found; as many as without any reduction."""
    wrong = frozenset(mistakes.split())
    found = explore(program, Optimal(), race=race, mistakes=wrong)
    raw = explore(program, Depth(), race=race)
    assert found.complete
    assert raw.complete
    if not wrong:
        assert found.outcomes == raw.outcomes
        assert found.classes == raw.classes
    return len(found.outcomes)


def echo(me: Cell, body: Body) -> Body:
    me.state = (me.state, body)
    return body


def tells(dst: str, *bodies: Body) -> Script:
    def client(me: Cell) -> Turn:
        for body in bodies:
            me.tell(dst, body)
        yield from ()

    return client


def asks(dst: str, body: Body) -> Script:
    def client(me: Cell) -> Turn:
        return (yield me.ask(dst, body))

    return client


def stops(dst: str) -> Script:
    def client(me: Cell) -> Turn:
        me.stop(dst)
        yield from ()

    return client


def passes_on(dst: str) -> Handler:
    def handler(me: Cell, body: Body) -> Turn:
        return (yield me.ask(dst, body))

    return handler


def made_of(actors: dict[str, Handler], *clients: Script) -> Program:
    def program(toy: Toy) -> None:
        for name, handler in actors.items():
            toy.actor(name, handler)
        for number, script in enumerate(clients):
            toy.client(f"client-{number}", script)

    return program


def test_whether_the_receiver_lives_is_part_of_what_a_step_reads() -> None:
    """Issue: A is stopped while B looks whether it lives."""

    def look(me: Cell, body: Body) -> str:
        return me.tell("a", body) or "alive"

    program = made_of({"a": echo, "b": look}, asks("b", 1), stops("a"))
    # B has looked too late; a has got it; a was stopped with it in its mailbox.
    assert outcomes(program) == 3


def test_what_a_deadlock_has_left_in_the_mailboxes_could_have_come_first() -> None:
    def handler(other: str) -> Handler:
        def ask_once(me: Cell, body: Body) -> Turn:
            return "end" if body == "inner" else (yield me.ask(other, "inner"))

        return ask_once

    actors = {"a": handler("b"), "b": handler("a")}
    # Both wait for each other, or one after the other has had its answer.
    assert outcomes(made_of(actors, asks("a", 1), asks("b", 2))) == 2


def test_who_finds_a_full_mailbox_is_a_matter_of_order() -> None:
    """Issue: who gets `MailboxFull` in a bounded mailbox."""

    def send(me: Cell) -> Turn:
        return me.tell("a", me.name)
        yield from ()

    def program(toy: Toy) -> None:
        toy.actor("a", echo, room=1)
        for number in range(2):
            toy.client(f"client-{number}", send)

    # One of the two, or neither: in two orders.
    assert outcomes(program) == 4


def test_what_fills_the_mailbox_of_a_busy_actor_races_with_what_takes_from_it() -> None:
    """But it cannot be taken before the turn that goes on has ended."""

    def ask_once(me: Cell, body: Body) -> Turn:
        return "end" if body == "inner" else (yield me.ask("b", body))

    def send_back(me: Cell, body: Body) -> str:
        return me.tell("a", "inner") or "sent"

    def send(me: Cell) -> Turn:
        return me.tell("a", "inner") or "sent"
        yield from ()

    def program(toy: Toy) -> None:
        toy.actor("a", ask_once, room=1)
        toy.actor("b", send_back)
        toy.client("client-0", asks("a", 1))
        toy.client("client-1", send)

    # Both find room, or one of the two.
    assert outcomes(program) == 3


def timer(me: Cell, body: Body) -> None:
    me.state = (me.state, body)
    if body == "set":
        me.after(1, "late")
    elif body == "cancel":
        me.cancel()


def test_a_timer_that_was_cancelled_could_have_come_before() -> None:
    program = made_of({"a": timer}, tells("a", "set", "cancel"))
    assert outcomes(program) == 3
    assert outcomes(program, mistakes="timers") < 3


def test_a_timer_may_be_faster_than_a_message() -> None:
    """Issue: timers that fire only when all is idle never pay twice."""
    program = made_of({"a": timer}, tells("a", "set", "answer"))
    assert outcomes(program) == 2
    assert outcomes(program, race=False) == 1


def test_time_may_pass_to_another_timer_than_it_did() -> None:
    program = made_of({"a": timer, "b": timer}, tells("a", "set"), tells("b", "set"))
    both = explore(program, Optimal())
    assert both.classes == explore(program, Depth()).classes
    assert (both.redundant, both.blocked) == (0, 0)


def test_an_actor_can_be_stopped_in_the_middle_of_a_turn() -> None:
    """Issue: kill in mid-handler was unsound under DPOR."""
    actors = {"a": passes_on("b"), "b": echo}
    program = made_of(actors, asks("a", 1), stops("a"))
    # Before it has asked, before it was answered, and after that.
    assert outcomes(program) == 3


def test_a_group_can_be_swept_in_the_middle_of_a_turn() -> None:
    """Issue: group sweeps were unsound under DPOR."""

    def sweep(me: Cell, body: Body) -> None:
        me.sweep(["a", "b", "c"])

    actors = {"a": passes_on("b"), "b": echo, "c": sweep}
    program = made_of(actors, asks("a", 1), tells("c", 3))
    assert outcomes(program) == 4


@pytest.mark.parametrize("clients", [("gate", "x", "gate"), ("gate", "x", "x")])
def test_a_step_may_touch_less_where_it_comes_earlier(clients: tuple[str, ...]) -> None:
    """The second to arrive sweeps x: whoever is planned to be the first does not."""

    def arrive(me: Cell, body: Body) -> None:
        me.state = [*me.state, body]
        if len(me.state) == 2:
            me.sweep(["x"])

    def pass_on(me: Cell, body: Body) -> None:
        me.state = [*me.state, body]
        me.tell("gate", body)

    def program(toy: Toy) -> None:
        toy.actor("gate", arrive, [])
        toy.actor("x", pass_on, [])
        for number, dst in enumerate(clients):
            toy.client(f"client-{number}", tells(dst, number))

    assert outcomes(program) > 4
    tally = explore(program, Optimal())
    assert (tally.redundant, tally.blocked) == (0, 0)


def test_of_two_messages_of_one_sender_the_first_is_meant() -> None:
    """One was taken for the other: a plan was found to be a part of what it was not."""

    def arrive(me: Cell, body: Body) -> None:
        me.state = [*me.state, body]
        if len(me.state) == 2:
            me.sweep(["x", "y"])

    def pass_on(me: Cell, body: Body) -> None:
        me.state = [*me.state, body]
        me.tell("gate", body)

    def program(toy: Toy) -> None:
        toy.actor("gate", arrive, [])
        for name in ("x", "y"):
            toy.actor(name, pass_on, [])
        for number, script in enumerate((tells("gate", 1), tells("x", 3, 4))):
            toy.client(f"client-{number}", script)
        toy.client("client-2", tells("y", 2))

    found, slept = explore(program, Optimal()), explore(program, Depth(sleep=True))
    assert found.outcomes == slept.outcomes
    assert found.classes == slept.classes
    assert (len(found.classes), found.redundant, found.blocked) == (34, 0, 0)


def test_answers_to_several_asks_come_in_any_order() -> None:
    def ask_both(me: Cell) -> Turn:
        tickets = me.ask("a", 1), me.ask("b", 2)
        me.tell("log", "asked")
        yield tickets[0]
        me.tell("log", "first")
        yield tickets[1]

    program = made_of({"a": echo, "b": echo, "log": echo}, ask_both)
    tally = explore(program, Optimal())
    assert (len(tally.classes), tally.redundant, tally.blocked) == (2, 0, 0)
    assert tally.classes == explore(program, Depth()).classes


def test_what_comes_after_all_is_quiet_never_comes_before() -> None:
    def wait(me: Cell) -> Turn:
        me.tell("a", "before")
        yield me.settled()
        me.tell("a", "after")

    program = made_of({"a": echo}, wait, tells("a", "other"))
    assert outcomes(program) == 2


# --- What is not controlled -------------------------------------------------------


def possible(*names: str) -> list[Event]:
    return [
        Event(("message", name, "a"), "message", "a", {("turn", "a"): True})
        for name in names
    ]


def take(search: Optimal, *steps: list[Event]) -> Run:
    """Run these steps, each with what is possible; the trace is what was chosen."""
    run = Run()
    for enabled in steps:
        run.trace.append(enabled[search.choose(run.trace, enabled)])
    return run


def test_a_planned_step_that_is_impossible_is_told() -> None:
    search = Optimal()
    assert search.learn(take(search, possible("x", "y"), possible("y")))
    with pytest.raises(NotRepeatable, match="step 0 was message y a, and now"):
        take(search, possible("z"))


def test_a_step_that_was_run_and_is_impossible_now_is_told() -> None:
    search = Optimal()
    steps = possible("x"), possible("y", "z"), possible("z")
    assert search.learn(take(search, *steps))
    with pytest.raises(NotRepeatable, match="step 0 was message x a, and now"):
        take(search, possible("z"))


def test_a_run_that_ends_before_its_plan_is_told() -> None:
    search = Optimal()
    assert search.learn(take(search, possible("x"), possible("y", "z"), possible("z")))
    with pytest.raises(NotRepeatable, match="ended after 1 steps"):
        search.learn(take(search, possible("x")))


def test_faults_are_not_chosen() -> None:
    fault = Event(("fault", "drop"), "fault", "a", {})
    search = Optimal()
    assert take(search, [fault, *possible("x")]).trace[0].key == ("message", "x", "a")


def test_a_tick_that_is_impossible_where_it_is_planned_is_given_up() -> None:
    """It fires whatever is due next: that may be something that cannot race."""
    look = Event(("message", "x", "a"), "message", "a", {("clock", ""): False})
    tick = Event(("tick",), "tick", "", {("clock", ""): True})
    search = Optimal()
    assert search.learn(take(search, [look], [tick]))
    run = Run(blocked=True)
    with pytest.raises(Blocked):
        search.choose([], [look])
    assert not search.learn(run)


def test_what_sleeps_is_woken_where_a_plan_for_a_tick_comes_to_nothing() -> None:
    """Nobody knows what else the plan would have woken."""
    look, x, y, tick = (
        Event((name,), "message", name, {("clock" if clock else name, ""): clock != 1})
        for name, clock in (("look", 1), ("x", 0), ("y", 0), ("tick", 2))
    )
    search = Optimal()
    assert search.learn(take(search, [look, x, y], [x, y], [y], [tick]))
    again = take(search, [look, x, y], [look, y], [look], [tick])
    assert [event.key[0] for event in again.trace] == ["x", "y", "look", "tick"]
    # Once more before the look, which is in vain again.
    assert search.learn(again)
    last = take(search, [look, x, y], [look, y])
    with pytest.raises(Blocked):
        search.choose(last.trace, [look])
    last.blocked = True
    assert not search.learn(last)


def test_nothing_but_faults_is_nothing_to_choose_from() -> None:
    fault = Event(("fault", "drop"), "fault", "a", {})
    with pytest.raises(Blocked):
        Optimal().choose([], [fault])


def test_an_empty_run_is_the_only_one() -> None:
    assert not Optimal().learn(Run())


def test_two_searches_of_a_program_make_the_same_runs() -> None:
    def ranks() -> list[list[int]]:
        search, every = Optimal(), list[list[int]]()
        more = True
        while more:
            run = run_once(philosophers(3), search)
            every.append(run.ranks)
            more = search.learn(run)
        return every

    assert ranks() == ranks()
