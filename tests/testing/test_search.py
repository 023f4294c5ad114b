"""Searches of all orders, depth first; and what two runs have in common."""

from collections.abc import Sequence

import pytest

from tests.testing.toy import Cell, Toy, Turn, explore, run_once
from tests.testing.toy_programs import lost_update, philosophers, readers
from trio_actors.testing._events import Blocked, Event, Footprint, Run
from trio_actors.testing._search import Depth, NotRepeatable, canonical, place_of


def step(name: str, **touches: bool) -> Event:
    footprint: Footprint = {(what, ""): writes for what, writes in touches.items()}
    return Event(("message", name, "/a"), "message", "/a", footprint)


def same(one: Sequence[Event], other: Sequence[Event]) -> bool:
    return canonical(one) == canonical(other)


# --- Classes ----------------------------------------------------------------------


def test_steps_that_touch_nothing_in_common_can_change_places() -> None:
    x, y = step("x", one=True), step("y", two=True)
    assert same([x, y], [y, x])


def test_steps_that_write_the_same_cannot() -> None:
    x, y = step("x", one=True), step("y", one=True)
    assert not same([x, y], [y, x])


def test_readers_can_change_places_but_not_with_a_writer() -> None:
    x, y, z = step("x", one=False), step("y", one=False), step("z", one=True)
    assert same([x, y, z], [y, x, z])
    assert not same([x, y, z], [x, z, y])
    assert same([z, x, y], [z, y, x])
    assert not same([z, x, y], [x, z, y])


def test_the_second_of_a_key_is_another_event_than_the_first() -> None:
    x, y = step("x", one=True), step("y", one=True)
    assert not same([x, x, y], [x, y, x])
    assert not same([x], [x, x])


def test_a_step_that_touches_nothing_is_there_all_the_same() -> None:
    x, y = step("x", one=True), step("y")
    assert not same([x], [x, y])
    assert same([x, y], [y, x])


def test_writing_and_reading_are_not_the_same() -> None:
    assert not same([step("x", one=True)], [step("x", one=False)])


def test_names_do_not_run_into_each_other() -> None:
    x = Event(("message", "a b", "c"), "message", "c", {})
    y = Event(("message", "a", "b c"), "message", "b c", {})
    assert not same([x], [y])


# --- Depth first ------------------------------------------------------------------


def test_without_reduction_each_order_is_run_once() -> None:
    """lost_update(2) has 252 of them, in 4 classes."""
    tally = explore(lost_update(2), Depth())
    assert tally.complete
    assert (tally.runs, len(tally.classes), tally.blocked) == (252, 4, 0)


def test_sleep_sets_complete_one_run_for_each_class() -> None:
    """n philosophers: (2**n - 1)**2 classes. The other runs are given up."""
    for program, classes in (
        (lost_update(2), 4),
        (lost_update(3), 36),
        (philosophers(2), 9),
    ):
        tally = explore(program, Depth(sleep=True))
        assert tally.complete
        assert tally.redundant == 0
        assert len(tally.classes) == classes
        assert tally.blocked > 0


def test_both_see_the_same() -> None:
    raw, slept = explore(readers(2), Depth()), explore(readers(2), Depth(sleep=True))
    assert raw.classes == slept.classes
    assert raw.outcomes == slept.outcomes
    assert raw.runs > slept.runs


def test_sleep_sets_go_by_what_a_step_did_touch() -> None:
    """A message to b touches, when it is handled, whether a lives."""

    def send_on(me: Cell, body: str) -> None:
        me.tell("a", body)

    def program(toy: Toy) -> None:
        toy.actor("a", lambda me, body: body)
        toy.actor("b", send_on)
        toy.client("client-0", lambda me: tell(me, "b"))
        toy.client("client-1", lambda me: stop(me, "a"))

    def tell(me: Cell, dst: str) -> Turn:
        me.tell(dst, "hello")
        yield from ()

    def stop(me: Cell, dst: str) -> Turn:
        me.stop(dst)
        yield from ()

    slept, raw = explore(program, Depth(sleep=True)), explore(program, Depth())
    assert slept.outcomes == raw.outcomes
    assert slept.classes == raw.classes
    # It is stopped before it has got it, after that, or before it was sent.
    assert len(raw.classes) == 3


def test_nothing_but_faults_is_nothing_to_choose_from() -> None:
    fault = Event(("fault", "drop"), "fault", "/a", {})
    with pytest.raises(Blocked):
        Depth().choose([], [fault])


def test_faults_are_not_chosen() -> None:
    fault = Event(("fault", "drop"), "fault", "/a", {})
    assert Depth().choose([], [fault, step("x")]) == 1


# --- What is not controlled -------------------------------------------------------


def test_an_event_that_is_gone_when_its_schedule_is_run_again_is_told() -> None:
    """Issue, 6: divergence names the first differing step."""
    search = Depth()
    first = run_once(lost_update(2), search)
    assert search.learn(first)
    with pytest.raises(NotRepeatable, match="step 0 was start client-0, and now") as e:
        search.choose([], [step("x")])
    assert "random numbers" in str(e.value)


def test_the_error_lists_what_is_possible_instead() -> None:
    with pytest.raises(NotRepeatable, match=r"step 0 was a b, .* only message x /a\."):
        place_of(("a", "b"), [], [step("x")])


def test_a_run_that_is_shorter_than_it_was_is_told() -> None:
    search = Depth()
    run_once(lost_update(1), search)
    with pytest.raises(NotRepeatable, match="ended after 0 steps and not, as before"):
        search.learn(Run())


def test_what_was_found_in_a_run_is_raised_when_it_is_learned() -> None:
    """The world ends a run with whatever its search has raised."""
    search = Depth()
    run = run_once(lost_update(1), search)
    run.error = NotRepeatable("as it was told")
    with pytest.raises(NotRepeatable, match="as it was told"):
        search.learn(run)
