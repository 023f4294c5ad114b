"""What many equal things weigh, by the growth of this process.

Rules of this file:

* Resident memory, since that is what runs out: not the sum of what objects say of
  themselves.
* Where there is no ``/proc`` nothing is measured, and nothing is guessed.
"""

import gc
import os
from pathlib import Path

STATM = Path("/proc/self/statm")


def resident() -> int | None:
    """Return the bytes of this process that are in memory; None if nobody knows."""
    if not STATM.exists():
        return None
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Growth:
    """How much bigger the process got for each of *number* things."""

    def __init__(self, number: int) -> None:
        gc.collect()
        self._number = number
        self._before = resident()
        self.figures: dict[str, float] = {}

    def read(self, figure: str) -> None:
        """Keep the growth up to now as *figure*, without what waits to be collected."""
        gc.collect()
        now = resident()
        if self._before is not None and now is not None:
            self.figures[figure] = (now - self._before) / self._number
