"""The options of a search, checked, and what they mean for its runs and its tokens.

Rules of this file:

* A wrong option is an error at once, which says what to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

import attrs

from .._errors import show
from ._engine import Job
from ._faults import NO_FAULTS, Faults, Rules
from ._jobs import obstacle
from ._linear import place_of_world
from ._settings import SETTINGS
from ._world import World

Program: TypeAlias = Callable[[World], Awaitable[Any]]
Level: TypeAlias = Literal["delivery", "checkpoint"]
Timers: TypeAlias = Literal["race", "idle"]
Order: TypeAlias = Literal["pairwise", "enqueue"]

P = ParamSpec("P")
S = TypeVar("S")


class Decorator(Protocol):
    """Makes a plain test of an async one: of a function, or of a method."""

    @overload
    def __call__(
        self, fn: Callable[Concatenate[World, P], Awaitable[None]], /
    ) -> Callable[P, None]: ...
    @overload
    def __call__(
        self, fn: Callable[Concatenate[S, World, P], Awaitable[None]], /
    ) -> Callable[Concatenate[S, P], None]: ...


@attrs.frozen(kw_only=True)
class Options:
    """The options of a search, checked."""

    schedules: int = 1000
    exhaustive: bool = False
    faults: Faults = NO_FAULTS
    level: Level = "delivery"
    timers: Timers = "race"
    order: Order = "pairwise"
    allow_io: bool = False
    seed: int = 0
    replay: str | None = None
    jobs: int = 1

    def __attrs_post_init__(self) -> None:
        if type(self.schedules) is not int or self.schedules < 1:
            raise ValueError(
                f"explore: schedules is how many runs there are at most, from 1, not"
                f" {show(self.schedules)}."
            )
        if type(self.seed) is not int:
            raise ValueError(f"explore: seed is a number, not {show(self.seed)}.")
        if not isinstance(cast("object", self.replay), str | None):
            raise ValueError(
                "explore: replay is the token of a schedule, as a text, not"
                f" {show(self.replay)}. Copy it from the report of a failure."
            )
        for name, value in [
            ("exhaustive", self.exhaustive),
            ("allow_io", self.allow_io),
        ]:
            if type(value) is not bool:
                raise ValueError(
                    f"explore: {name} is True or False, not {show(value)}."
                )
        if type(self.faults) is not Faults:
            raise TypeError(
                f"explore: faults is a Faults, not {show(self.faults)}. Write"
                " faults=Faults(crash=1), say."
            )
        _check_choice("level", self.level, ("delivery", "checkpoint"))
        _check_choice("timers", self.timers, ("race", "idle"))
        _check_choice("order", self.order, ("pairwise", "enqueue"))
        if self.exhaustive and (self.faults.drop or self.faults.duplicate):
            raise ValueError(
                "explore: with exhaustive=True crashes are planned; what is lost or"
                " comes twice is only sampled. Leave away exhaustive=True, or drop= and"
                " duplicate=."
            )

    def overruled(self) -> Options:
        """Return what they are with what the command line says."""
        given: dict[str, Any] = {
            "replay": SETTINGS.replay,
            "schedules": SETTINGS.schedules,
            "seed": SETTINGS.seed,
            "jobs": _jobs(SETTINGS.jobs),
        }
        return attrs.evolve(
            self, **{name: value for name, value in given.items() if value is not None}
        )

    @property
    def written(self) -> list[str]:
        """How those are written that a token depends on."""
        every = {
            'order="enqueue"': self.order == "enqueue",
            'timers="idle"': self.timers == "idle",
            'level="checkpoint"': self.level == "checkpoint",
            f"faults={self.faults!r}": self.faults != NO_FAULTS,
            "exhaustive=True": self.exhaustive and self.faults != NO_FAULTS,
            "allow_io=True": self.allow_io,
            f"seed={self.seed}": self.seed != 0,
        }
        return [text for text, holds in every.items() if holds]

    @property
    def rules(self) -> Rules:
        """What is possible in a run."""
        return Rules(
            seed=self.seed,
            race=self.timers == "race",
            checkpoints=self.level == "checkpoint",
            enqueue=self.order == "enqueue",
            allow_io=self.allow_io,
            faults=self.faults,
            sampled=not self.exhaustive,
        )

    def job(self, program: Program) -> Job:
        """Return what there is to do for a program."""
        return Job(
            program=program,
            rules=self.rules,
            schedules=self.schedules,
            exhaustive=self.exhaustive,
            seed=self.seed,
            jobs=self.jobs,
        )

    @property
    def letters(self) -> str:
        """What of them a token depends on, in letters."""
        faults = self.faults
        samples = "" if self.exhaustive or faults == NO_FAULTS else "f"
        return f"{self.order[0]}{self.timers[0]}{self.level[0]}{samples}"

    @property
    def conditions(self) -> list[str]:
        """Under which conditions a verdict holds."""
        every = {
            "timers only at quiescence, those of one moment in one order": (
                self.timers == "idle"
            ),
            "messages in the order of sending": self.order == "enqueue",
            "from checkpoint to checkpoint": self.level == "checkpoint",
            f"up to {self.faults.crash} planned crashes": self.faults.crash > 0,
            "I/O as it happened to be": self.allow_io,
        }
        return [text for text, holds in every.items() if holds]


def check_program(program: object) -> None:
    """Refuse what cannot be called with a world.

    Raises:
        TypeError: It is no function, or takes none, or more than that.
    """
    if not callable(program):
        raise TypeError(
            f"check: {show(program)} is no program. Write an async function of a world."
        )
    try:
        signature = inspect.signature(program)
    except (TypeError, ValueError):
        return  # it does not say what it takes
    try:
        signature.bind(None)
    except TypeError:
        name = getattr(program, "__name__", "program")
        raise TypeError(
            f"check: {name}() does not take a world, and nothing else. Write async def"
            f" {name}(world: World), and give it more by functools.partial()."
        ) from None


def parameters_of(fn: Callable[..., object]) -> list[inspect.Parameter]:
    """Return the parameters of a test; refuse what cannot be searched.

    Raises:
        TypeError: It is not async, or has no first parameter for the world.
    """
    name = getattr(fn, "__name__", "test")
    for kind in ("classmethod", "staticmethod"):
        if type(fn).__name__ == kind:
            raise TypeError(
                f"{name}() is a {kind} already. Write @explore() below @{kind}, nearer"
                " to the function."
            )
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(
            f"{name}() is not async, and a search runs it in Trio. Write"
            f" async def {name}(world: World)."
        )
    place_of_world(fn)  # it must have one
    return list(inspect.signature(fn).parameters.values())


def _jobs(wanted: int | None) -> int | None:
    """Return how many processes there can be now; tell if they are not as many."""
    if wanted is None or wanted == 1:
        return wanted
    why = obstacle()
    if not why:
        return wanted
    SETTINGS.remarks[f"--actors-jobs={wanted}: in one process, for {why}"] = None
    return 1


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(
            f"explore: there is no {name}={show(value)}. Write one of"
            f" {', '.join(map(repr, choices))}."
        )
