"""All workloads, in the order of the table.

Rules of this file:

* Workloads with the same base stand together, the base first: it is what the others
  are compared with, and what all other contenders run.
"""

from . import (
    ask,
    asks,
    big,
    fan,
    pingpong,
    producers,
    restart,
    ring,
    skynet,
    spawn,
    storm,
    tell,
)

WORKLOADS = (
    *tell.WORKLOADS,
    *ask.WORKLOADS,
    *asks.WORKLOADS,
    *spawn.WORKLOADS,
    *ring.WORKLOADS,
    *fan.WORKLOADS,
    *restart.WORKLOADS,
    *producers.WORKLOADS,
    *pingpong.WORKLOADS,
    *skynet.WORKLOADS,
    *big.WORKLOADS,
    *storm.WORKLOADS,
)
