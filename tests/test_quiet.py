"""A restart that nobody is told of is the restart that everybody is told of.

Where the log is off and no one subscribes to events, an actor that fails is started
again with fewer words. What it does must be the same: here programs are played twice,
with the log on and with the log off, and all that can be seen of both is compared.
(LIFE-4, SUP-4, FAIL-1 to FAIL-7, ORD-5.)
"""

from collections.abc import Generator
from itertools import pairwise
from typing import Any

import pytest
import trio
from hypothesis import given, settings, strategies as st

from tests.otp.scenarios import SCENARIOS
from tests.otp.table import Child, Family, Log, Scenario
from tests.tapes import (
    Act,
    Hooked,
    Mixed,
    Plain,
    Play,
    Slow,
    Tape,
    ask,
    books_hold,
    both,
    described,
    log_is,
    played,
    start,
    tell,
)
from tests.test_otp import Crash, Journal, Leave, Player, comparable, expected
from trio_actors import (
    Actor,
    Backoff,
    ChildSpec,
    Exit,
    Mailbox,
    Supervision,
    handler,
)
from trio_actors.testing import World, at_every_step, run
from trio_actors.testing._steps import Arm


@pytest.fixture
def quiet() -> Generator[None]:
    with log_is(on=False):
        yield


# --- Any program ----------------------------------------------------------------

VERBS = [
    "note", "crash", "crash", "crash", "stash", "unstash", "defer", "reply", "set",
    "timer", "watch", "become", "unbecome", "self", "stop", "set&crash", "stop&crash",
    "stash&crash", "self&crash", "drain&crash", "restart&crash", "become&crash",
]  # fmt: skip
OPS = st.one_of(
    st.tuples(
        st.sampled_from(["tell", "tell", "ask", "slow", "ask_slow"]),
        st.sampled_from(["a", "a", "b"]),
        st.sampled_from(VERBS),
    ),
    st.tuples(
        st.sampled_from(["settle", "sleep", "restart", "kill", "drain"]),
        st.sampled_from(["a", "b"]),
        st.just(""),
    ),
)
RULES = st.builds(
    Supervision,
    st.sampled_from(["one_for_one", "one_for_one", "one_for_one", "one_for_all"]),
    max_restarts=st.sampled_from([0, 1, 3, 100, None]),
    within=st.sampled_from([0.5, 5.0]),
    per_child=st.booleans(),
    backoff=st.sampled_from([None, None, Backoff(0.1, 1), Backoff(0, 0)]),
    directives=st.sampled_from([{}, {}, {}, {ValueError: "resume"}]),
)


async def do(world: World, tape: Tape, number: int, op: tuple[str, str, str]) -> None:
    how, name, verb = op
    ref: Any = world.find(f"/top/{name}")
    if how == "settle":
        await world.settled()
    elif how == "sleep":
        await trio.sleep(1)
    elif how.startswith("ask"):
        message = Slow(verb, number) if how == "ask_slow" else Act(verb, number)
        ask(world, tape, name, message)
    elif ref is not None and how in ("restart", "kill", "drain"):
        getattr(ref, how)()
    elif ref is not None:
        ref.tell_nowait((Slow if how == "slow" else Act)(verb, number))


@settings(max_examples=150)
@given(
    st.sampled_from([Plain, Mixed, Hooked]),
    st.sampled_from(["permanent", "transient", "temporary"]),
    st.sets(st.integers(2, 5), max_size=2).map(tuple),
    RULES,
    st.lists(OPS, min_size=1, max_size=30),
)
def test_any_program_does_the_same_whether_or_not_somebody_listens(
    cls: type[Plain],
    restart: Any,
    fails: tuple[int, ...],
    rules: Supervision,
    program: list[tuple[str, str, str]],
) -> None:
    """Answers, failures with their notes, books, the tree, the times: all is equal."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape, cls=cls, fails=fails, restart=restart, rules=rules)
        for number, op in enumerate(program):
            await do(world, tape, number, op)
            tape.write(op, dict(world.statistics()), repr(world.snapshot()))
        await world.settled()

    assert played(play, loud=False).lines == played(play, loud=True).lines


# --- Window and limit -----------------------------------------------------------


def crashing(*times: float, name: str = "a", **options: Any) -> Play:
    """A program: it fails at each of these times."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape, **options)
        for at in times:
            await trio.sleep_until(at)
            tell(world, name, "crash")
            await world.settled()

    return play


def test_one_failure_too_many_gives_up_and_the_cause_has_its_notes() -> None:
    """SUP-4, CRASH-1: the last failure is told of in full, although it was counted."""

    async def play(world: World, tape: Tape) -> None:
        watcher = await world.spawn(Plain, tape, "watcher")
        await crashing(1, 2, 3, 4, rules=Supervision(max_restarts=3))(world, tape)
        tape.write(described(tape.crashes[-1]))
        tape.write(watcher.path, [one.path for one in world.snapshot().children])

    seen = both(play, unsaid=3)
    _, text, notes, _, _ = seen[-3][0]
    assert text == "a 0"
    assert notes[0].startswith("actor: /top/a, incarnation 4\nwhile handling Act(")
    assert [line for line in seen if line[1:2] == ("built",)][-1][:3] == (
        "b",
        "built",
        2,
    )  # the supervisor itself was restarted


@pytest.mark.parametrize("per_child", [False, True])
def test_the_window_slides_and_is_each_childs_own_if_so_said(
    per_child: bool,
) -> None:
    """SUP-4: three are allowed at any time; with `per_child`, three of each."""
    rules = Supervision(max_restarts=3, within=5.0, per_child=per_child)
    # At 6.5 that of second 1 is forgotten, and at 7.5 that of 2.
    assert both(crashing(1, 2, 3, 6.5, 7.5, rules=rules), unsaid=5)

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape, rules=rules)
        for name in "abab":
            tell(world, name, "crash")
            await world.settled()

    built = [one for one in both(play, unsaid=4 if per_child else 3) if "built" in one]
    assert len(built) == (6 if per_child else 7)  # else the supervisor starts both anew


def test_no_restart_allowed_is_the_first_failure_told() -> None:
    both(crashing(1, rules=Supervision(max_restarts=0)), unsaid=0)


def test_any_number_is_allowed_with_none() -> None:
    both(crashing(*range(50), rules=Supervision(max_restarts=None)), unsaid=50)


def test_backoff_pauses_before_each() -> None:
    """FAIL-7: and the times are the same."""
    rules = Supervision(max_restarts=None, backoff=Backoff(1, 8, jitter=0.5))
    both(crashing(1, 2, 3, rules=rules), unsaid=3)


def test_a_failing_init_at_a_restart_is_another_failure() -> None:
    """FAIL-2: each counts."""
    seen = both(crashing(1, fails=(2, 3)), unsaid=1)
    assert [one[2] for one in seen if one[:2] == ("a", "built")] == [1, 2, 3, 4]


@pytest.mark.parametrize("directive", ["restart", "resume", "stop", "escalate"])
def test_where_there_are_directives_they_decide(directive: Any) -> None:
    """FAIL-1: a failure with a directive is judged, and told of."""
    rules = Supervision(max_restarts=5, directives={ValueError: directive})
    both(crashing(1, 2, rules=rules), unsaid=0)


@pytest.mark.parametrize(
    ("options", "unsaid"),
    [
        ({"restart": "permanent"}, 2),
        ({"restart": "temporary"}, 0),
        ({"cls": Mixed}, 2),
        ({"cls": Hooked}, 0),
        ({"rules": Supervision("one_for_all", max_restarts=9)}, 0),
        ({"rules": Supervision("rest_for_one", max_restarts=9)}, 0),
    ],
)
def test_it_is_only_without_words_where_there_is_one_answer(
    options: dict[str, Any], unsaid: int
) -> None:
    both(crashing(1, 2, **options), unsaid=unsaid)


@pytest.mark.parametrize(
    ("verb", "unsaid"),
    [
        ("set", 1),
        ("stash", 2),  # it comes back, and fails again
        ("self", 1),
        ("become", 0),
        ("stop", 0),  # the failure wins
        ("end", 0),
        ("kill", 0),
        ("restart", 0),
        ("drain", 0),
    ],
)
@pytest.mark.parametrize("kind", [Act, Slow])
def test_who_does_something_before_it_fails(
    verb: str, unsaid: int, kind: type[Act]
) -> None:
    """What it was told besides decides first, or the failure does."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape, cls=Mixed)
        tell(world, "a", "note")
        ref: Any = world.find("/top/a")
        ref.tell_nowait(kind(f"{verb}&crash", 5))
        tell(world, "a", "note", "note")
        await world.settled()

    both(play, unsaid=unsaid)


# --- What a restart takes along, and what it does not ---------------------------


def test_state_variables_and_behaviour_are_fresh() -> None:
    """LIFE-4: the state, the variables and become() end with the incarnation."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape)
        tell(world, "a", "set", "note", "crash", "note", "become", "unbecome", "crash")
        await world.settled()
        tell(world, "a", "note", "become", "note", "crash", "note")
        await world.settled()

    seen = both(play, unsaid=2)  # what has become something else is looked at
    assert seen[-2][0:3:2] == ("a", 1)


def test_a_variable_that_was_set_is_gone_in_the_next_message() -> None:
    async def play(world: World, tape: Tape) -> None:
        await start(world, tape)
        ref: Any = world.find("/top/a")
        ref.tell_nowait(Act("set", 7))
        tell(world, "a", "note", "crash", "note", "note")
        await world.settled()

    seen = both(play, unsaid=1)
    assert [one[3] for one in seen if one[0] == "a" and one[1] == Act("note", 0)] == [7]
    assert [one[3] for one in seen[-3:-1]] == [0, 0]


def test_what_was_stashed_comes_first_and_its_askers_are_answered() -> None:
    """STA-1, FAIL-4: before what waits."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape)
        tell(world, "a", "stash", "stash")
        ask(world, tape, "a", Act("stash", 8))
        await trio.sleep(0.1)
        tell(world, "a", "crash", "note", "note", "note", "unstash")
        await world.settled()

    seen = both(play, unsaid=1)
    mine = [one[1] for one in seen if one[0] == "a"]
    again = mine.index("built", 1)
    assert mine[again + 1 : again + 4] == [
        Act("stash", 0),
        Act("stash", 1),
        Act("stash", 8),
    ]


def test_who_waits_for_a_deferred_answer_is_told_of_the_failure_in_full() -> None:
    """CRASH-1: somebody does look at it, and so it has its notes."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape)
        ask(world, tape, "a", Act("defer"))
        await trio.sleep(0.1)
        tell(world, "a", "crash", "note")
        await world.settled()
        tell(world, "a", "crash")  # nobody waits any more
        await world.settled()

    answers = [one[2] for one in both(play, unsaid=1) if one[1:2] == ("answered",)]
    ((kind, _, _, cause, _),) = answers
    assert (kind, cause[0]) == ("ActorFailed", "ValueError")
    assert cause[2][0].startswith("actor: /top/a, incarnation 1")


def test_timers_end_and_watches_stay() -> None:
    """TIM-1, WATCH-1."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape)
        tell(world, "a", "watch", "timer", "crash")
        await trio.sleep(2)
        tell(world, "b", "crash", "stop")
        await trio.sleep(1)

    seen = both(play, unsaid=2)
    assert Act("note", -1) not in [one[1] for one in seen if len(one) > 1]
    assert [one for one in seen if one[:2] == ("a", "saw")] == [
        ("a", "saw", "/top/b", "normal")
    ]


def test_two_failures_of_one_step_are_two() -> None:
    async def play(world: World, tape: Tape) -> None:
        await start(world, tape)
        tell(world, "a", *["crash", "note"] * 100)
        await world.settled()

    seen = both(play, unsaid=100)
    assert seen[-1][2]["handled"] == seen[-1][2]["failed"] == 100


# --- Others -----------------------------------------------------------------------


def test_who_waits_for_room_gets_it_from_an_actor_that_always_fails() -> None:
    """MBX-2: nothing is lost, and each sender's messages keep their order."""

    async def play(world: World, tape: Tape) -> None:
        await start(world, tape, mailbox=Mailbox(4))
        ref: Any = world.find("/top/a")

        async def send(base: int) -> None:
            verbs = ["note", "crash", "note"] * 10
            await ref.tell_all(
                Act(verb, base + number) for number, verb in enumerate(verbs)
            )

        for base in (0, 100, 200):
            world.client(send, base)
        await world.settled()

    seen = both(play, unsaid=30)
    numbers = [one[1].number for one in seen if one[0] == "a" and one[1] != "built"]
    for base in (0, 100, 200):
        mine = [one for one in numbers if base <= one < base + 100]
        assert mine == list(range(base, base + 30))


def test_an_actor_that_always_fails_starves_nobody(quiet: None) -> None:
    """A crash loop is a batch as any other: a restart is one of its 64 steps."""
    tape = Tape()
    ran: list[int] = []

    async def main(world: World) -> None:
        rules = Supervision(max_restarts=None)
        await start(world, tape, rules=rules, mailbox=Mailbox(5000))
        tell(world, "a", *["crash"] * 2000)
        while len(tape.crashes) < 2000:
            ran.append(len(tape.crashes))
            await trio.lowlevel.checkpoint()

    run(main)
    assert tape.unsaid == 2000
    assert max(after - before for before, after in pairwise(ran)) <= 32


@pytest.mark.parametrize("verb", ["kill", "stop", "restart", "drain"])
@pytest.mark.parametrize("cls", [Plain, Mixed])
def test_a_verb_at_every_step_of_many_failures(
    quiet: None, verb: str, cls: type[Plain]
) -> None:
    """A world checks at its end that no task is left and that the books are right."""
    unsaid: list[int] = []

    async def scenario(world: World, arm: Arm) -> None:
        tape = Tape()
        await start(world, tape, cls=cls, mailbox=Mailbox(4))
        ref: Any = world.find("/top/a")

        async def send(base: int) -> None:
            kinds = [Act, Slow, Act]
            verbs = ["note", "crash", "stash", "set", "crash", "timer"]
            await ref.tell_all(
                kinds[number % 3](verb, base + number)
                for number, verb in enumerate(verbs)
            )

        world.client(send, 0)
        world.client(send, 100)
        ask(world, tape, "a", Act("defer"))
        ask(world, tape, "a", Slow("crash"))
        arm(getattr(ref, verb))
        await world.settled()
        assert books_hold(world)
        unsaid.append(tape.unsaid)

    assert at_every_step(scenario) > 10
    assert max(unsaid) >= 2


# --- As OTP does it ---------------------------------------------------------------


class QuietKid(Actor[Leave]):
    """A child of OTP's scenarios without hooks that are told of a failure."""

    def __init__(self, child: Child, journal: Journal, tape: Tape) -> None:
        self.child = child
        self.journal = journal
        self.tape = tape
        self.leaves = "shutdown"
        if not journal.starts(child):
            raise Crash

    @handler
    def leave(self, message: Leave) -> None:
        if message.how == "failed":
            self.leaves = ""
            self.journal.write("stop", self.child.name, "failed")
            raise self.tape.crash("as it was told")
        self.leaves = "normal"
        self.context.stop(message.how)

    async def stopped(self, reason: Exit, /) -> None:
        if self.leaves:
            self.journal.write("stop", self.child.name, self.leaves)


class QuietPlayer(Player):
    """Plays without looking at the events."""

    def __init__(self, world: World, scenario: Scenario, tape: Tape) -> None:
        super().__init__(world, scenario)
        self.tape = tape

    async def play(self) -> list[Log]:
        return await self.play_steps()

    def spec(self, child: Child) -> ChildSpec[Leave]:
        return ChildSpec(
            child.name,
            QuietKid,
            child,
            self.journal,
            self.tape,
            restart=child.restart,
            shutdown=child.shutdown,
            significant=child.significant,
        )


def is_plain(family: Family) -> bool:
    """Whether each child is restarted alone, and says goodbye at once."""
    return family.strategy == "one_for_one" and all(
        child.at_stop == "obeys" and (child.family is None or is_plain(child.family))
        for child in family.children
    )


PLAIN = [one for one in SCENARIOS if is_plain(one.top) and "timed" not in str(one)]


def test_the_same_happens_as_in_otp_when_nobody_listens(quiet: None) -> None:
    """SUP-1 to SUP-11. What supervisors do is not seen without their events."""
    tape = Tape()

    async def main(world: World, scenario: Scenario) -> None:
        seen = comparable(await QuietPlayer(world, scenario, tape).play(), scenario)
        wanted = comparable(expected(scenario), scenario)
        assert [kids for kids, _ in seen] == [kids for kids, _ in wanted], scenario.name
        world.dead()

    for scenario in PLAIN:
        run(main, scenario)
    assert len(PLAIN) > 50
    assert tape.unsaid > 20
