"""What the command line says about all searches: ``pytest --actors-schedules=...``."""

from __future__ import annotations

import attrs


@attrs.define
class Settings:
    """Overrules what tests say, where it is not None."""

    replay: str | None = None
    schedules: int | None = None
    seed: int | None = None


SETTINGS = Settings()
"""Set by the plugin, before the first test."""
