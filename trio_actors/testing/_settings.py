"""What the command line says about all searches: ``pytest --actors-schedules=...``."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.define
class Settings:
    """Overrules what tests say, where it is not None."""

    replay: str | None = None
    schedules: int | None = None
    seed: int | None = None
    jobs: int | None = None
    """In how many processes schedules are drawn."""
    diagrams: Path | None = None
    """The folder for the diagrams of what has failed."""
    endings: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)
    """What ends a search at once, and says nothing of the schedule: a skip, say."""
    remarks: dict[str, None] = attrs.field(factory=dict[str, None])
    """What could not be done as it was wanted; for the end of the report."""


SETTINGS = Settings()
"""Set by the plugin, before the first test."""
