"""The library's own programs: each must hold in every order, and with every crash."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from tests.testing.selftest import asking, restarts, stopping
from trio_actors.testing import World

Program: TypeAlias = Callable[[World], Awaitable[None]]

PROGRAMS: list[Program] = [
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
