"""The library's own programs: each must hold in every order, and with every crash."""

from tests.testing.selftest import asking, restarts, stopping

PROGRAMS = [
    restarts.restart,
    restarts.escalation,
    restarts.sweep,
    restarts.sweep_of_the_rest,
    asking.ask_cancellation,
    asking.watch,
    asking.stash,
    stopping.settle,
    stopping.ordered_stop,
]
