"""What a supervisor decides. Pure: no trio, no cell; the time is an argument.

Rules of this file:

* Everything that decides what happens after an end lives here, as a table where
  possible; whoever carries it out lives elsewhere.
* `ANSWERS` is the table of the documentation. Its pictures are made from it.
* A decision never depends on the order of a set, on `id()`, or on a clock of its own.

The words: a child *ends* in one of seven ways; the supervisor *answers* in one of six.
A failure is first given a *directive* (by type, or by the user's function); the
directive is then one of the ways of ending.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Literal, TypeAlias, TypeVar, cast

import attrs

from ._errors import add_note, leaves, show

T = TypeVar("T")

Directive: TypeAlias = Literal["restart", "resume", "stop", "escalate"]
"""What a supervisor does with a failed child."""

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
RestartType: TypeAlias = Literal["permanent", "transient", "temporary"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]

# The more severe directive wins in an exception group.
SEVERITY: dict[Directive, int] = {"resume": 0, "restart": 1, "stop": 2, "escalate": 3}
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS: tuple[RestartType, ...] = ("permanent", "transient", "temporary")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")

Ending: TypeAlias = Literal[
    "returned", "halted", "restart", "stop", "resume", "escalate", "swept"
]
"""How a child ended: by itself, by ``stop``/``drain``/``kill``, by a failure with one
of the four directives, or because of a sibling's restart."""

Answer: TypeAlias = Literal["restart", "again", "resume", "end", "escalate", "forget"]
"""``restart`` counts in the window, ``again`` does not; ``end`` keeps the spec,
``forget`` deletes it; ``escalate`` ends it and fails the parent."""

# how it ended:  permanent, transient, temporary
ANSWERS: dict[Ending, tuple[Answer, Answer, Answer]] = {
    "returned": ("restart", "end", "forget"),
    "halted": ("end", "end", "forget"),
    "restart": ("restart", "restart", "forget"),
    "stop": ("end", "end", "forget"),
    "resume": ("resume", "resume", "resume"),
    "escalate": ("escalate", "escalate", "escalate"),
    "swept": ("again", "again", "forget"),
}


def answer_to(ending: Ending, restart: RestartType) -> Answer:
    """Look up what is done about the end of a child of that restart type."""
    return ANSWERS[ending][RESTARTS.index(restart)]


# --- What the user writes ---------------------------------------------------


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise ValueError(text)


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not math.isnan(value)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


@attrs.frozen
class Backoff:
    """Growing pauses between restarts (Akka's backoff, for every strategy)."""

    min: float
    """Seconds before the first restart."""
    max: float
    """The longest pause, jitter included."""
    factor: float = attrs.field(default=2.0, kw_only=True)
    """How much each pause is longer than the last."""
    jitter: float = attrs.field(default=0.2, kw_only=True)
    """Random share that is added or taken away."""
    reset_after: float | None = attrs.field(default=None, kw_only=True)
    """Seconds without a failure that start over; None is ``(min + max) / 2``."""

    def __attrs_post_init__(self) -> None:
        for name in ("min", "max", "factor", "jitter"):
            value = getattr(self, name)
            _check(_is_number(value), f"Backoff: {name} is seconds, not {value!r}.")
        _check(
            0 <= self.min <= self.max < math.inf,
            f"Backoff({self.min}, {self.max}): write 0 <= min <= max, in seconds.",
        )
        _check(self.factor >= 1, f"Backoff: factor is at least 1, not {self.factor}.")
        _check(0 <= self.jitter <= 1, f"Backoff: jitter is 0 to 1, not {self.jitter}.")
        _check(
            self.reset_after is None or self.reset_after >= 0,
            f"Backoff: reset_after is seconds or None, not {self.reset_after}.",
        )

    def _pause(self, failures: int, random: Random) -> float:
        """Return the seconds before the next restart.

        Args:
            failures: How many restarts there were since it last went well.
            random: Where the jitter comes from.
        """
        jitter = 1 + self.jitter * (2 * random.random() - 1)
        try:
            grown = self.min * self.factor**failures
        except OverflowError:  # after about a thousand failures
            return self.max if self.min else 0.0
        return min(self.max, grown * jitter)  # capped after the jitter (FAIL-7)


Directives: TypeAlias = (
    Mapping[type[Exception], Directive] | Callable[[Exception], Directive]
)


@attrs.frozen
class Supervision:
    """How a parent supervises its children (OTP's supervisor flags)."""

    strategy: Strategy = "one_for_one"
    """Who is restarted together with a failed child."""
    directives: Directives = attrs.field(
        factory=dict[type[Exception], Directive], kw_only=True
    )
    """What is done for an exception; the default is "restart"."""
    max_restarts: int | None = attrs.field(default=3, kw_only=True)
    """More restarts than this within *within* seconds give up; None never does."""
    within: float = attrs.field(default=5.0, kw_only=True)
    """The length of the sliding window in seconds, its end included."""
    per_child: bool = attrs.field(default=False, kw_only=True)
    """Whether each child has its own window instead of one for all."""
    backoff: Backoff | None = attrs.field(default=None, kw_only=True)
    """Pauses before restarts."""
    auto_shutdown: AutoShutdown = attrs.field(default="never", kw_only=True)
    """Whether the end of significant children stops the supervisor."""

    def __attrs_post_init__(self) -> None:
        _check(
            self.strategy in STRATEGIES,
            f"Supervision: there is no strategy {self.strategy!r}."
            f" Write one of {', '.join(map(repr, STRATEGIES))}.",
        )
        _check(
            self.auto_shutdown in AUTO_SHUTDOWNS,
            f"Supervision: auto_shutdown is one of"
            f" {', '.join(map(repr, AUTO_SHUTDOWNS))}, not {self.auto_shutdown!r}.",
        )
        _check(
            self.max_restarts is None or _is_count(self.max_restarts),
            "Supervision: max_restarts is a number from 0 or None, not"
            f" {self.max_restarts!r}.",
        )
        _check(
            _is_number(self.within) and self.within > 0,
            f"Supervision: within is seconds, more than 0, not {self.within!r}.",
        )
        if not callable(self.directives):
            for kind, directive in self.directives.items():
                _check_directive(kind, directive)


def _check_directive(kind: object, directive: object) -> None:
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise TypeError(
            f"Supervision: directives maps exception classes, but got {kind!r}."
            ' Write directives={ValueError: "stop"}.'
        )
    _check(
        directive in SEVERITY,
        f"Supervision: there is no directive {directive!r} for {kind.__name__}."
        f" Write one of {', '.join(map(repr, SEVERITY))}.",
    )


@attrs.frozen
class Heartbeat:
    """A child that is silent for too long is restarted."""

    every: float = 0.2
    """Seconds between its signs of life, also when it is idle."""
    timeout: float = 0.5
    """Seconds of silence after which it is restarted."""

    def __attrs_post_init__(self) -> None:
        _check(
            _is_number(self.every)
            and _is_number(self.timeout)
            and 0 < self.every <= self.timeout,
            f"Heartbeat({self.every!r}, {self.timeout!r}): write"
            " 0 < every <= timeout, in seconds.",
        )


def check_child(
    name: str, restart: object, *, significant: bool, auto_shutdown: AutoShutdown
) -> None:
    """Refuse a child that OTP's ``check_childspecs`` would refuse (SUP-9)."""
    _check(
        restart in RESTARTS,
        f"{name}: there is no restart type {restart!r}."
        f" Write one of {', '.join(map(repr, RESTARTS))}.",
    )
    if not significant:
        return
    _check(
        restart != "permanent",
        f"{name} is significant and permanent: it would be started again before its"
        ' end could count. Make it "transient" or "temporary".',
    )
    _check(
        auto_shutdown != "never",
        f'{name} is significant, but its supervisor\'s auto_shutdown is "never".'
        ' Write Supervision(auto_shutdown="any_significant") or "all_significant".',
    )


# --- Decisions --------------------------------------------------------------


def directive_for(directives: Directives, error: BaseException) -> Directive:
    """Return what is to be done; the most severe leaf of a group decides.

    Raises:
        Exception: What the user's function raised, or a ValueError if it returned
            something else than a directive.
    """
    if not directives:
        return "restart"
    found: list[Directive] = [
        _directive_of_leaf(directives, leaf) for leaf in leaves(error)
    ]
    return max(found, key=SEVERITY.__getitem__)


def _directive_of_leaf(directives: Directives, error: BaseException) -> Directive:
    if callable(directives):
        directive = directives(cast("Exception", error))
        if directive not in SEVERITY:
            raise ValueError(
                f"the directives function returned {directive!r} for {show(error)}."
                f" Return one of {', '.join(map(repr, SEVERITY))}."
            )
        return directive
    table = cast("Mapping[Any, Directive]", directives)
    for base in type(error).__mro__:
        if base in table:
            return table[base]
    return "restart"


def judge(
    supervision: Supervision, error: BaseException, *, can_resume: bool
) -> Directive:
    """Return the directive for a failed child.

    Args:
        can_resume: Whether there is a built instance that could go on: not for a
            function, and not after a failure in ``started()`` (FAIL-2).
    """
    directive = directive_for(supervision.directives, error)
    if directive == "resume" and not can_resume:
        add_note(error, 'its directive is "resume", but there is nothing to go on with')
        return "restart"
    return directive


def swept_with(strategy: Strategy, in_start_order: Sequence[T], failed: T) -> list[T]:
    """Return who goes down with *failed*, itself included, in start order (SUP-2)."""
    if strategy == "one_for_one":
        return [failed]
    if strategy == "one_for_all":
        return list(in_start_order)
    return list(in_start_order[in_start_order.index(failed) :])


def shuts_down(auto_shutdown: AutoShutdown, *, significant_left: int) -> bool:
    """Whether the end of a significant child stops its supervisor (SUP-9)."""
    if auto_shutdown == "any_significant":
        return True
    return auto_shutdown == "all_significant" and significant_left == 0


class RestartWindow:
    """The sliding window: strictly more than so many restarts give up (SUP-4)."""

    __slots__ = ("_limit", "_stamps", "_within")

    def __init__(self, supervision: Supervision) -> None:
        self._limit = supervision.max_restarts
        self._within = supervision.within
        self._stamps: deque[float] | None = None  # 760 bytes, and most never restart

    def allows(self, now: float) -> bool:
        """Count a restart at *now*; False if that was one too many.

        Ages up to and including the length of the window count.
        """
        if self._limit is None:
            return True
        stamps = self._stamps
        if stamps is None:
            stamps = self._stamps = deque()
        stamps.append(now)
        while now - stamps[0] > self._within:
            stamps.popleft()
        return len(stamps) <= self._limit


class Pauses:
    """The backoff of one child: how long to wait, and when to start over (FAIL-7)."""

    __slots__ = ("_backoff", "_failures", "_good_since")

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0
        self._good_since = math.inf

    def next(self, now: float, random: Random) -> float:
        """Return the pause before the restart after a failure at *now*."""
        backoff = self._backoff
        reset_after = backoff.reset_after
        if reset_after is None:
            reset_after = (backoff.min + backoff.max) / 2
        if now - self._good_since >= reset_after:
            self._failures = 0
        self._good_since = math.inf
        pause = backoff._pause(self._failures, random)
        self._failures += 1
        return pause

    def restarted(self, now: float) -> None:
        """Note that the restart is complete: the quiet time starts here."""
        self._good_since = now
