"""Ping-pong: two actors tell each other.

The ring (W5) with two actors: a number goes back and forth, less one at each hop, and
at zero the run is over. The first one is told ``2 * rounds``. The clock runs from then
until the end.

An operation is a message.
"""

from collections.abc import Mapping

import trio

from ._records import Sample, Workload
from .ring import measure

WORKLOADS = (
    Workload(
        name="pingpong",
        title="ping-pong",
        unit="message",
        sizes={"rounds": 25_000},
        quick={"rounds": 1_000},
    ),
)


def pingpong(sizes: Mapping[str, int]) -> Sample:
    """Go back and forth."""
    return trio.run(measure, 2, 2 * sizes["rounds"])
