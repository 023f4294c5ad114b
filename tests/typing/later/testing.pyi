"""What ``trio_actors.testing`` will have: the search for schedules."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, final

import attrs

from trio_actors.testing import World

P = ParamSpec("P")

@attrs.frozen(kw_only=True)
class Faults:
    """What may go wrong in a run."""

    crash: int = 0
    """How many actors fail, each at one of its messages."""
    drop: int = 0
    """How many messages are lost (between nodes)."""
    duplicate: int = 0
    """How many messages arrive twice (between nodes)."""
    delay: float = 0.0
    """The longest extra time of a message."""

@final
@attrs.frozen
class Failure:
    """A schedule that broke the program."""

    token: str
    """Replays it: ``@explore(replay=token)``."""
    error: BaseException
    """What it raised."""

    def diagram(self, style: Literal["text", "mermaid"] = "text") -> str:
        """Return the run as a sequence diagram."""

@final
@attrs.frozen
class Exploration:
    """What a search found."""

    schedules: int
    """Runs."""
    classes: int
    """Runs that differ in more than the order of independent deliveries."""
    redundant: int
    """Runs that were like another."""
    blocked: int
    """Runs that were given up because they would be like another."""
    verified: bool
    """Whether all orders were tried."""
    failure: Failure | None
    """The first failing schedule, shrunk."""

def explore(
    *,
    schedules: int = 1000,
    exhaustive: bool = False,
    faults: Faults = ...,
    level: Literal["delivery", "checkpoint"] = "delivery",
    timers: Literal["race", "idle"] = "race",
    order: Literal["pairwise", "enqueue"] = "pairwise",
    allow_io: bool = False,
    seed: int = 0,
    replay: str | None = None,
) -> Callable[[Callable[Concatenate[World, P], Awaitable[None]]], Callable[P, None]]:
    """Run a test under many orders of delivery; report the shortest that fails.

    The test's first parameter is the world; further ones are pytest fixtures.
    """

def check(
    program: Callable[[World], Awaitable[None]],
    *,
    schedules: int = 1000,
    exhaustive: bool = False,
    faults: Faults = ...,
    level: Literal["delivery", "checkpoint"] = "delivery",
    timers: Literal["race", "idle"] = "race",
    order: Literal["pairwise", "enqueue"] = "pairwise",
    allow_io: bool = False,
    seed: int = 0,
    replay: str | None = None,
) -> Exploration:
    """Like ``explore``, without pytest."""

class _Model(Protocol):
    def apply(self, request: Any) -> object: ...

def linearizable(
    model: Callable[[], _Model],
    *,
    key: Callable[[Any], Hashable] | None = None,
) -> Callable[
    [Callable[Concatenate[World, P], Awaitable[None]]],
    Callable[Concatenate[World, P], Awaitable[None]],
]:
    """Check that the answers of a test's clients fit one order of the requests.

    Args:
        model: Makes the object whose ``apply(request)`` gives the right answer.
        key: Splits the history into independent parts.
    """
