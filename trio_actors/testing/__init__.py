"""Deterministic tests of actor programs: one schedule, many, or all of them.

In virtual time: nothing sleeps, and what happens next is never left to chance.
"""

from ._exploration import Exploration as Exploration, Failure as Failure
from ._explore import check as check, explore as explore
from ._faults import Faults as Faults
from ._given import Schedule as Schedule, schedules as schedules
from ._linear import linearizable as linearizable
from ._probe import Probe as Probe
from ._run import run as run
from ._steps import at_every_step as at_every_step
from ._world import World as World

__all__ = [
    "Exploration",
    "Failure",
    "Faults",
    "Probe",
    "Schedule",
    "World",
    "at_every_step",
    "check",
    "explore",
    "linearizable",
    "run",
    "schedules",
]
