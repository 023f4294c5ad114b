"""No outcome is missed: random programs, searched with and without reduction.

"For programs with at most 5,000 raw schedules the set of observable outcomes of DPOR
equals that of plain DFS without any reduction: 10,000 programs once, 300 in every CI
run." Here they are small; ``python -m tests.testing.fuzz`` compares more, and larger
ones.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, get_args

import attrs
import pytest

from tests.testing.fuzz import Report, compare, compare_one, program_of
from tests.testing.hands import Do, Look, Op, Part, Program, Quick, Tied
from tests.testing.maker import FEATURES, VERBS, make
from tests.testing.players import perform
from trio_actors import Actor, ActorStopped, Request, Supervision, handler
from trio_actors._runtime import Resource
from trio_actors.testing import World, check as explored
from trio_actors.testing._events import Event
from trio_actors.testing._footprints import Footprints
from trio_actors.testing._held import HeldBox
from trio_actors.testing._pilot import Pilot

EACH = 24
"""Programs of a set of features: with 17 sets there are 408 of them."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Failures are what some of the programs are made of: nobody reads their log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def compared(letters: str, seeds: int = EACH, limit: int = 60) -> Report:
    return compare(letters, range(seeds), limit, size=4)


def check(letters: str, limit: int = 60) -> Report:
    report = compared(letters, limit=limit)
    wrong = [(why, program_of(letters, seed, 4)) for seed, why in report.different]
    assert wrong == [], report
    assert report.equal > EACH // 3, report  # the others have too many schedules
    print(report)
    if not {"m", "o"} & set(letters):  # where time passes, runs to no purpose are few
        assert report.redundant == 0, report
        # What a handler will touch is not known where the test may have crashed it.
        assert not report.blocked or "C" in letters, report
    return report


# --- 300 programs -----------------------------------------------------------------


def test_no_outcome_is_missed_of_tells_and_asks_of_all_kinds() -> None:
    """Nested, several in flight, deferred, read-only: "0 redundant, 0 blocked"."""
    check("tarnsd")


def test_no_outcome_is_missed_where_messages_are_stashed_and_forwarded() -> None:
    check("tazBF")


def test_no_outcome_is_missed_of_functions_pools_and_plain_actors() -> None:
    check("taqQP")


def test_no_outcome_is_missed_where_actors_are_watched_and_stopped() -> None:
    check("taxw")


def test_no_outcome_is_missed_of_families_that_grow() -> None:
    check("tchx")


def test_no_outcome_is_missed_of_bounded_mailboxes() -> None:
    check("tab")


def test_no_outcome_is_missed_of_timers_and_deadlines() -> None:
    check("tmo")


def test_no_outcome_is_missed_where_actors_are_killed_in_mid_handler() -> None:
    check("taki")


def test_no_outcome_is_missed_where_a_crash_is_planned() -> None:
    """Together with read-only handlers, where "the k-th step" is not enough."""
    check("tarnp")


def test_no_outcome_is_missed_where_the_test_crashes_actors() -> None:
    """Also in mid-handler: then it is the next message that fails."""
    check("taC")


def test_no_outcome_is_missed_of_restarts() -> None:
    check("tRfH")


def test_no_outcome_is_missed_of_sweeps_and_limits() -> None:
    check("tfgx")


def test_no_outcome_is_missed_of_pauses_before_restarts() -> None:
    check("tfgG")


def test_no_outcome_is_missed_in_the_order_of_sending() -> None:
    check("tabE")


def test_no_outcome_is_missed_where_time_passes_only_at_rest() -> None:
    check("tmoI")


def test_no_outcome_is_missed_of_links_and_watches_of_what_fails() -> None:
    check("tflw")


def test_no_outcome_is_missed_of_keys_topics_and_chance() -> None:
    check("tKTN")


def test_circles_of_questions_and_who_is_the_last() -> None:
    check("anx")


def test_tasks_side_by_side() -> None:
    check("tYk", limit=400)


ONCE_WRONG = {
    "each turn woke who waits for the end": Program(
        parts=(Part("a"),),
        phases=(
            (
                (("wait", "a"),),
                (("tell_now", "a", Do(1)), ("tell_now", "a", Do(2, (("fail",),)))),
                (("wait", "a"),),
            ),
        ),
    ),
    "who drains did not know that a watched end is on its way": Program(
        parts=(Part("a"), Part("b", start=(("watch", "a"),))),
        phases=(
            (
                (("ask", "a", Quick(1, (("leave",), ("watch", "a")))),),
                (("drain", "b"),),
                (("tell", "b", Do(2)),),
            ),
        ),
    ),
    "who is told to end did not say that somebody may watch him": Program(
        parts=(Part("a"), Part("b", start=(("watch", "a"),))),
        phases=(
            (
                (("ask", "b", Quick(1, (("watch", "b"), ("stop", "b")))),),
                (("ask", "a", Do(2)),),
                (("drain", "a"),),
            ),
        ),
    ),
    "a run was given up where not all that was possible had been tried": Program(
        parts=(Part("a"), Part("b")),
        phases=(
            (
                (("drain", "/sup"),),
                (("tell", "a", Quick(1, (("fail",),))),),
                (("tell_now", "b", Do(2)),),
            ),
        ),
        rules=Supervision("rest_for_one"),
    ),
    "who settles did not say whose children it looks at": Program(
        parts=(Part("a", restart="permanent"), Part("b")),
        phases=(
            (
                (("drain", "/sup"), ("tell_now", "/sup", Quick(1, (("leave",),)))),
                (("drain", "b"), ("tell_now", "a", Do(2))),
            ),
        ),
        rules=Supervision("rest_for_one", max_restarts=0),
    ),
}


@pytest.mark.parametrize("name", ONCE_WRONG)
def test_what_was_wrong_once_stays_right(name: str) -> None:
    report = Report("")
    assert compare_one(ONCE_WRONG[name], report, limit=5000) == ""
    assert report.equal == 1, report
    assert (report.blocked, report.redundant) == (0, 0)


def test_a_run_that_is_given_up_is_counted_and_hinders_no_proof() -> None:
    """Where time passes a plan may turn out to be of no use."""
    later = Do(1, (("after", 2, Quick(2), "v"),))
    clients = (("tell", "a", later),), (("sleep", 2),)
    play = perform(Program((Part("a"),), (clients,), rest=10.0))

    async def program(world: World) -> None:
        await play(world)

    found = explored(program)
    assert found.verified
    assert found.blocked == 1
    assert found.redundant == 0


@attrs.frozen
class Arm(Request[None]): ...


@attrs.frozen
class Go(Request[None]): ...


class Armed(Actor[Arm | Go]):
    is_armed = False

    @handler
    def arm(self, message: Arm) -> None:
        self.is_armed = True

    @handler
    def go(self, message: Go) -> None:
        if self.is_armed:
            self.context.stop()


async def stopped_when_armed(world: World) -> None:
    armed = await world.spawn(Armed)

    async def ask(message: Arm | Go) -> None:
        with suppress(ActorStopped):
            await armed.ask(message)

    for message in (Arm(), Go(), Go()):
        world.client(ask, message)
    await world.settled()
    world.dead()


def test_a_run_may_be_given_up_also_where_no_time_passes() -> None:
    """What a handler touches depends on the state: a plan may not know. No doubt."""
    found = explored(stopped_when_armed)
    assert found.verified
    assert (found.blocked, found.redundant) == (2, 0)


# --- The fuzz itself: planted errors ------------------------------------------------


def forget(resource: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Let nobody say that a resource is touched."""
    touch = Footprints.touch

    def touch_others(self: Footprints, touched: Any, *args: Any, **more: Any) -> None:
        if touched != resource:
            touch(self, touched, *args, **more)

    return lambda patch: patch.setattr(Footprints, "touch", touch_others)


def take_all_for_readers(patch: pytest.MonkeyPatch) -> None:
    def reads_only(_box: HeldBox, _item: object) -> bool:
        return True

    patch.setattr(HeldBox, "reads_only", reads_only)


def see_no_ghosts(patch: pytest.MonkeyPatch) -> None:
    def haunt(_footprints: Footprints, _event: Event) -> None:
        pass

    patch.setattr(Footprints, "haunt", haunt)


def take_nobody_for_busy(patch: pytest.MonkeyPatch) -> None:
    choose = Pilot.choose

    def chosen(self: Pilot, enabled: list[Event]) -> Event:
        event = choose(self, enabled)
        event.busy = frozenset()
        return event

    patch.setattr(Pilot, "choose", chosen)


FORGOTTEN = {
    "turn": "ao",
    "life": "tx",
    "room": "tb",
    "watch": "twxk",
    "name": "th",
    "key": "tKT",
    "spawn": "tcxk",
    "clock": "tmo",
    "rng": "tN",
}
"""Each resource, and in which programs it shows that nobody touches it any more."""

PLANTED = {
    "handlers that write are said to read": (take_all_for_readers, "ta"),
    "what could have happened": (see_no_ghosts, "tx"),
    "who is in the middle of a turn": (take_nobody_for_busy, "na"),
    **{name: (forget(name), letters) for name, letters in FORGOTTEN.items()},
}


def test_there_is_an_error_for_each_resource() -> None:
    """Design: "Resources: ..."; for a supervisor's queue see below."""
    # Who reads a stream is told that nothing is proved; for the last two, who looks at
    # all there is and at a journal's faults, see test_touched.
    without = {"sup", "stream", "all", "journal"}
    assert {*get_args(Resource)} == {*FORGOTTEN, *without}


@pytest.mark.parametrize("error", PLANTED)
def test_an_error_in_what_depends_on_what_is_caught(
    error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There must be five of them, and each must be caught by the fuzz."""
    plant, letters = PLANTED[error]
    plant(monkeypatch)
    assert any(
        compare(letters, [seed], limit=100, size=4).different for seed in range(60)
    )


def failing(number: int) -> Quick:
    return Quick(number, (("fail",),))


QUEUE = Program(
    parts=(Part("a"), Part("b"), Part("c"), Part("d")),
    phases=(
        (
            (
                ("tell_now", "d", Do(1, (("sleep", 1),))),
                ("tell_now", "c", failing(2)),
            ),
            (("tell_now", "a", failing(3)), ("tell_now", "b", failing(4))),
        ),
    ),
    rules=Supervision("rest_for_one", max_restarts=2),
)
"""While d, in mid-turn, holds up the restart of c and d, a and b fail, too.

If a is the first, b is restarted with it; if b is, there is one restart too many. By
nothing but the supervisor's queue do these two know of each other.
"""


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_what_waits_for_a_supervisor_waits_in_an_order(
    is_forgotten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No random program needs it: whoever fails takes his siblings along, or down."""
    if is_forgotten:
        forget("sup")(monkeypatch)
    report = Report("I")  # so that d sleeps until nothing else happens
    assert bool(compare_one(QUEUE, report, limit=500)) is is_forgotten
    assert report.equal == (not is_forgotten)


# --- The programs -----------------------------------------------------------------


def verbs_of(ops: tuple[Op, ...]) -> Iterator[str]:
    """Return all that is done, however deep in messages."""
    for verb, *arguments in ops:
        yield verb
        for argument in arguments:
            if isinstance(argument, (Do, Tied, Quick)):
                yield from verbs_of(argument.ops)
            elif isinstance(argument, Look):
                yield "look"
            elif verb == "beside":
                yield from verbs_of(argument)


@pytest.mark.parametrize("letter", VERBS)
def test_a_feature_is_in_its_programs(letter: str) -> None:
    found = {
        verb
        for seed in range(60)
        for clients in make(f"tan{letter}", seed).phases
        for ops in clients
        for verb in verbs_of(ops)
    }
    assert {verb for verb, _ in VERBS[letter]} <= found, FEATURES[letter]


def test_the_same_seed_makes_the_same_program() -> None:
    assert [make("tarw", seed) for seed in range(9)] == [
        make("tarw", seed) for seed in range(9)
    ]
    assert len({make("tarw", seed) for seed in range(9)}) == 9
