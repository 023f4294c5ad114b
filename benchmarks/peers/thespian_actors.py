"""Thespian's simpleSystemBase: all actors in this thread, each message a call.

It is a loop over one list, inside ``tell()`` and ``ask()``: nothing runs at the same
time as anything else, and nothing ever waits.
"""

from functools import partial
from importlib.metadata import version as installed

from . import _thespian, _thespian_crowds
from ._thespian import Thespian

WITHOUT = {
    "asks": "one thread asks, and waits: no two asks are ever under way",
    "restart": "an actor that fails goes on with its state: nothing is restarted",
    "producers": "a mailbox has no bound, and no sender waits",
    "storm": "an actor that fails goes on with its state: nothing is restarted",
}
AT_MOST = {
    "tell": {"messages": 50_000},
    "spawn": {"actors": 5000},
    "idle": {"actors": 5000},
    "fan": {"rounds": 20},
    "skynet": {"leaves": 1000},
    "big": {"actors": 100, "pings": 99},
}

SIMPLE = Thespian("simpleSystemBase", "cpu")


def version() -> str:
    """Return which Thespian this is."""
    return f"Thespian {installed('thespian')}"


tell = partial(_thespian.tell, SIMPLE)
ask = partial(_thespian.ask, SIMPLE)
spawn = partial(_thespian.spawn, SIMPLE)
idle = partial(_thespian.idle, SIMPLE)
ring = partial(_thespian.ring, SIMPLE)
fan = partial(_thespian.fan, SIMPLE)
pingpong = partial(_thespian.pingpong, SIMPLE)
skynet = partial(_thespian_crowds.skynet, SIMPLE)
big = partial(_thespian_crowds.big, SIMPLE)
