"""All scenarios, in the order in which they are recorded."""

from tests.otp.exits import BY_HAND, ONE_EXIT, SWEEPS, WINDOW
from tests.otp.random_families import BY_CHANCE
from tests.otp.starts import BY_NAME, FAILING
from tests.otp.stops import DYNAMIC, STOPPING
from tests.otp.trees import NESTED, SIGNIFICANT

SCENARIOS = [
    *ONE_EXIT,
    *BY_HAND,
    *SWEEPS,
    *WINDOW,
    *FAILING,
    *BY_NAME,
    *SIGNIFICANT,
    *NESTED,
    *STOPPING,
    *DYNAMIC,
    *BY_CHANCE,
]
