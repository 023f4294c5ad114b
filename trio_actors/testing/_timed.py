"""An alarm of a controlled run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._runtime import Alarm

if TYPE_CHECKING:
    from ._footprints import Footprints


class Timed(Alarm):
    """An alarm whose order does not depend on who else has set one."""

    __slots__ = ("armed", "pilot")

    def __init__(
        self,
        pilot: Footprints,
        when: float,
        fire: Callable[[], None],
        owner: str,
        key: object,
    ) -> None:
        super().__init__(when, pilot.count(owner), fire, owner, key)
        self.pilot = pilot
        self.armed = pilot.at  # since which step

    def cancel(self) -> None:
        """Let it not happen, though it could have."""
        if not self.cancelled and self.when < math.inf:
            self.pilot.taken_back(self.armed, self.when, races=self.races)
        super().cancel()

    @property
    def races(self) -> bool:
        """Whether it may come before what else could happen.

        What says that something took too long may not: it would always be too long.
        """
        return bool(self.owner) and self.key not in ("shutdown", "heartbeat")

    def __lt__(self, other: Alarm) -> bool:
        mine = (self.when, self.owner, self.serial)
        return mine < (other.when, other.owner, other.serial)
