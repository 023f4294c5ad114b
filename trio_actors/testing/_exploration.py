"""What a search found: the verdict, and the schedule that broke the program."""

from __future__ import annotations

from typing import Literal, final

import attrs

from ._diagram import diagram
from ._events import Run


@final
@attrs.frozen
class Failure:
    """A schedule that broke the program."""

    token: str
    """Replays it: ``@explore(replay=token)``."""
    error: BaseException
    """What it raised."""
    _run: Run = attrs.field(repr=False, alias="run")
    _report: str = attrs.field(repr=False, alias="report")

    def diagram(self, style: Literal["text", "mermaid"] = "text") -> str:
        """Return the run as a sequence diagram.

        Args:
            style: "text" for a terminal, "mermaid" for a page.
        """
        return diagram(self._run.trace, style)

    def __str__(self) -> str:
        """Return the whole report: what broke it, and how to see it again."""
        return self._report


@final
@attrs.frozen
class Exploration:
    """What a search found; as a text it is the verdict."""

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
    _verdict: str = attrs.field(repr=False, alias="verdict")

    def __str__(self) -> str:
        """Return what is to be said of the search in a line."""
        return self._verdict
