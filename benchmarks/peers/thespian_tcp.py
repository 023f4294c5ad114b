"""Thespian's multiprocTCPBase: an actor is a process, a message goes by TCP.

Wall time, since the work is done in all of those processes. There are few of them: a
start takes milliseconds. They speak over the loopback interface.
"""

import os
import socket
from contextlib import closing
from functools import partial

from . import _thespian, _thespian_crowds
from ._thespian import Thespian
from .thespian_actors import WITHOUT as NOT_IN_THESPIAN, version as version

WITHOUT = {**NOT_IN_THESPIAN, "idle": "an actor is a process of its own"}
AT_MOST = {
    "tell": {"messages": 500},
    "ask": {"asks": 300},
    "spawn": {"actors": 10},
    "ring": {"actors": 10, "laps": 20},
    "fan": {"workers": 10, "rounds": 10},
    "pingpong": {"rounds": 100},
    "skynet": {"leaves": 10},
    "big": {"actors": 6, "pings": 5},
}


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _processes() -> Thespian:
    os.environ["THESPIAN_BASE_IPADDR"] = "127.0.0.1"
    port = _free_port()
    here = {"Admin Port": port, "Convention Address.IPv4": f"127.0.0.1:{port}"}
    return Thespian("multiprocTCPBase", "wall", here)


TCP = _processes()

tell = partial(_thespian.tell, TCP)
ask = partial(_thespian.ask, TCP)
spawn = partial(_thespian.spawn, TCP)
ring = partial(_thespian.ring, TCP)
fan = partial(_thespian.fan, TCP)
pingpong = partial(_thespian.pingpong, TCP)
skynet = partial(_thespian_crowds.skynet, TCP)
big = partial(_thespian_crowds.big, TCP)
