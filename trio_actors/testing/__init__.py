"""Deterministic tests of actor programs, in virtual time."""

from ._probe import Probe as Probe
from ._run import run as run
from ._steps import at_every_step as at_every_step
from ._world import World as World

__all__ = [
    "Probe",
    "World",
    "at_every_step",
    "run",
]
