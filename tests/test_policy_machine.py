"""The decisions of `_policy.py` against a model that was written from the prose.

`Family` is a supervisor without tasks: it carries out what the policy says. `Prose` is
the same from the text of design section 3, with nothing but lists and ifs. Hypothesis
ends children in every way, lets time pass, and compares the two after each step.
"""

import itertools
from random import Random
from typing import Any, cast

import attrs
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from trio_actors._policy import (
    AutoShutdown,
    Backoff,
    Directive,
    Ending,
    Pauses,
    RestartType,
    RestartWindow,
    Strategy,
    Supervision,
    answer_to,
    judge,
    shuts_down,
    swept_with,
)

# --- What can happen ----------------------------------------------------------


class Mild(Exception):
    """At the top of the users' exceptions."""


class Worse(Mild):
    """In the middle."""


class Worst(Worse):
    """At the bottom."""


class Other(Exception):
    """None of them."""


KINDS: tuple[type[Exception], ...] = (Mild, Worse, Worst, Other)
DIRECTIVES: tuple[Directive, ...] = ("restart", "resume", "stop", "escalate")

single = st.sampled_from(KINDS).map(lambda kind: kind("boom"))
errors = st.recursive(
    single,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda leaves: ExceptionGroup("several", leaves)
    ),
    max_leaves=4,
)
tables = st.dictionaries(
    st.sampled_from((*KINDS, Exception)), st.sampled_from(DIRECTIVES)
)
families = st.fixed_dictionaries(
    {
        "strategy": st.sampled_from(("one_for_one", "one_for_all", "rest_for_one")),
        "table": tables,
        "by_function": st.booleans(),
        "limit": st.tuples(
            st.none() | st.integers(0, 3), st.sampled_from((0.5, 1.0, 2.0))
        ),
        "auto_shutdown": st.sampled_from(
            ("never", "any_significant", "all_significant")
        ),
        "backoff": st.none() | st.sampled_from(((0.5, 1.5), (1.0, 1.0), (0.5, 60.0))),
        "kids": st.lists(
            st.tuples(
                st.sampled_from(("permanent", "transient", "temporary")), st.booleans()
            ),
            min_size=1,
            max_size=5,
        ),
        "seed": st.integers(0, 99),
    }
)


@attrs.define
class Kid:
    """A child, as far as decisions look at it."""

    name: str
    restart: RestartType
    significant: bool
    running: bool = True
    starts: int = 1


# --- Carried out with the policy ----------------------------------------------


class Family:
    """What a supervisor does, with every decision left to `_policy.py`."""

    def __init__(self, supervision: Supervision, kids: list[Kid], seed: int) -> None:
        self.supervision = supervision
        self.kids = kids
        self.over = ""
        self.paused: list[float] = []
        self._window = RestartWindow(supervision)
        self._random = Random(seed)
        self._pauses = {
            kid.name: Pauses(supervision.backoff)
            for kid in kids
            if supervision.backoff is not None
        }

    def end(self, name: str, ending: Ending, now: float) -> None:
        kid = next(kid for kid in self.kids if kid.name == name)
        answer = answer_to(ending, kid.restart)
        if answer == "resume":
            return
        kid.running = False
        if answer == "restart":
            self._restart(kid, now)
        elif answer == "escalate":
            self.over = "escalated"
        else:
            if answer == "forget":
                self.kids.remove(kid)
            left = sum(one.significant and one.running for one in self.kids)
            if (
                kid.significant
                and ending != "halted"
                and shuts_down(self.supervision.auto_shutdown, significant_left=left)
            ):
                self.over = "auto_shutdown"

    def _restart(self, kid: Kid, now: float) -> None:
        if not self._window.allows(now):
            self.over = "gave_up"
            return
        if kid.name in self._pauses:
            pauses = self._pauses[kid.name]
            self.paused.append(pauses.next(now, self._random))
            pauses.restarted(now)
        for swept in swept_with(self.supervision.strategy, self.kids, kid):
            if swept is not kid and answer_to("swept", swept.restart) == "forget":
                self.kids.remove(swept)
                continue
            swept.running = True
            swept.starts += 1

    def fail(
        self, name: str, error: Exception, now: float, *, can_resume: bool
    ) -> None:
        self.end(name, judge(self.supervision, error, can_resume=can_resume), now)


# --- Written from the prose ---------------------------------------------------


class Prose:
    """The same, sentence by sentence; it uses nothing of `_policy.py`."""

    def __init__(
        self,
        strategy: Strategy,
        table: dict[type[Exception], Directive],
        limit: tuple[int | None, float],
        auto_shutdown: AutoShutdown,
        backoff: tuple[float, float] | None,
        kids: list[Kid],
        seed: int,
    ) -> None:
        self.strategy = strategy
        self.table = table
        self.max_restarts, self.within = limit
        self.auto_shutdown = auto_shutdown
        self.backoff = backoff
        self.kids = kids
        self.over = ""
        self.paused: list[float] = []
        self.restarts: list[float] = []
        self.random = Random(seed)
        self.failures = {kid.name: list[float]() for kid in kids}

    def returned(self, name: str, now: float) -> None:
        kid = self.take_down(name)
        if kid.restart == "permanent":
            self.start_over(kid, now)
        else:
            self.ended_by_itself(kid)

    def halted(self, name: str) -> None:
        # "ref.stop/drain/kill never trigger auto-shutdown."
        kid = self.take_down(name)
        if kid.restart == "temporary":
            self.kids.remove(kid)

    def failed(
        self, name: str, error: Exception, now: float, *, can_resume: bool
    ) -> None:
        verdicts = [self.verdict(leaf) for leaf in self.flat(error)]
        # "The most severe leaf wins (escalate > stop > restart > resume)."
        for verdict in ("escalate", "stop", "restart", "resume"):
            if verdict in verdicts:
                break
        if verdict == "resume" and can_resume:
            return
        kid = self.take_down(name)
        if verdict == "escalate":
            self.over = "escalated"
        elif verdict == "stop" or kid.restart == "temporary":
            self.ended_by_itself(kid)
        else:
            self.start_over(kid, now)

    def flat(self, error: Exception) -> list[Exception]:
        if not isinstance(error, ExceptionGroup):
            return [error]
        inner = cast("ExceptionGroup[Exception]", error).exceptions
        return [leaf for one in inner for leaf in self.flat(one)]

    def verdict(self, error: Exception) -> str:
        # All classes here have one base, so the nearest is the one that is listed and
        # has no listed class between itself and the error.
        listed = [kind for kind in self.table if isinstance(error, kind)]
        for kind in listed:
            if not any(issubclass(other, kind) for other in listed if other != kind):
                return self.table[kind]
        return "restart"

    def take_down(self, name: str) -> Kid:
        (kid,) = (kid for kid in self.kids if kid.name == name)
        kid.running = False
        return kid

    def ended_by_itself(self, kid: Kid) -> None:
        if kid.restart == "temporary":
            self.kids.remove(kid)
        if not kid.significant:
            return
        others = [one for one in self.kids if one.significant and one.running]
        if self.auto_shutdown == "any_significant" or (
            self.auto_shutdown == "all_significant" and not others
        ):
            self.over = "auto_shutdown"

    def start_over(self, kid: Kid, now: float) -> None:
        # "Ages up to and including `within` count, strictly more than the limit gives
        # up"; a sweep counts once.
        self.restarts.append(now)
        young = [time for time in self.restarts if now - time <= self.within]
        if self.max_restarts is not None and len(young) > self.max_restarts:
            self.over = "gave_up"
            return
        if self.backoff is not None:
            self.paused.append(self.pause(kid, now))
        place = self.kids.index(kid)
        for other in list(self.kids):
            together = other is kid or (
                self.strategy == "one_for_all"
                or (self.strategy == "rest_for_one" and self.kids.index(other) > place)
            )
            if together:
                other.running = True
                other.starts += 1
        self.kids = [
            other
            for index, other in enumerate(self.kids)
            if other is kid
            or other.restart != "temporary"
            or self.strategy == "one_for_one"
            or (self.strategy == "rest_for_one" and index < place)
        ]

    def pause(self, kid: Kid, now: float) -> float:
        # "reset_after=None is (min+max)/2 from the completed restart": here every
        # restart is completed at the time of its failure.
        assert self.backoff is not None
        least, most = self.backoff
        history = self.failures[kid.name]
        if history and now - history[-1] >= (least + most) / 2:
            history.clear()
        pause = least
        for _ in history:
            pause *= 2
        history.append(now)
        share = self.random.random() * 2 - 1
        return min(most, pause + pause * 0.2 * share)


# --- The machine --------------------------------------------------------------


class Decisions(RuleBasedStateMachine):
    """Two supervisors that must decide the same."""

    @initialize(family=families)
    def found(self, family: dict[str, Any]) -> None:
        self.now = 0.0
        self.build(**family)

    @precondition(lambda self: self.prose.over)
    @rule(family=families)
    def found_another(self, family: dict[str, Any]) -> None:
        self.build(**family)

    def build(
        self,
        strategy: Strategy,
        table: dict[type[Exception], Directive],
        by_function: bool,
        limit: tuple[int | None, float],
        auto_shutdown: AutoShutdown,
        backoff: tuple[float, float] | None,
        kids: list[tuple[RestartType, bool]],
        seed: int,
    ) -> None:
        def decide(error: Exception) -> Directive:
            for kind in type(error).__mro__:
                if kind in table:
                    return table[kind]
            return "restart"

        def children() -> list[Kid]:
            return [
                Kid(name, restart, significant)
                for name, (restart, significant) in zip("abcde", kids, strict=False)
            ]

        supervision = Supervision(
            strategy,
            directives=decide if by_function else table,
            max_restarts=limit[0],
            within=limit[1],
            auto_shutdown=auto_shutdown,
            backoff=None if backoff is None else Backoff(*backoff),
        )
        self.real = Family(supervision, children(), seed)
        self.prose = Prose(
            strategy, table, limit, auto_shutdown, backoff, children(), seed
        )

    def somebody(self, choice: int) -> str | None:
        running = [kid.name for kid in self.prose.kids if kid.running]
        return running[choice % len(running)] if running else None

    @precondition(lambda self: not self.prose.over)
    @rule(choice=st.integers(0, 4))
    def returns(self, choice: int) -> None:
        if name := self.somebody(choice):
            self.real.end(name, "returned", self.now)
            self.prose.returned(name, self.now)

    @precondition(lambda self: not self.prose.over)
    @rule(choice=st.integers(0, 4))
    def is_halted(self, choice: int) -> None:
        if name := self.somebody(choice):
            self.real.end(name, "halted", self.now)
            self.prose.halted(name)

    @precondition(lambda self: not self.prose.over)
    @rule(choice=st.integers(0, 4), error=errors, can_resume=st.booleans())
    def fails(self, choice: int, error: Exception, can_resume: bool) -> None:
        if name := self.somebody(choice):
            self.real.fail(name, error, self.now, can_resume=can_resume)
            self.prose.failed(name, error, self.now, can_resume=can_resume)

    @rule(halves=st.integers(1, 4))
    def time_passes(self, halves: int) -> None:
        self.now += halves / 2

    @rule()
    def exactly_the_window_passes(self) -> None:
        self.now += self.prose.within

    @invariant()
    def they_decide_the_same(self) -> None:
        assert self.real.over == self.prose.over
        assert self.real.kids == self.prose.kids
        for real, prose in itertools.zip_longest(self.real.paused, self.prose.paused):
            assert abs(real - prose) <= 1e-9 * prose


TestDecisions = Decisions.TestCase
TestDecisions.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None
)
