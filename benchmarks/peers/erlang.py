"""Erlang with nothing but its processes: spawn, send, receive, monitors.

What each workload does is in `processes.erl`. A mailbox has no bound there, and goes
with its process: producers wait for an answer to each message, and an actor that fails
gets its messages one by one, each after the start that came before it.
"""

from functools import partial

from ._beam import run, version as version

tell = partial(run, "processes", "tell")
ask = partial(run, "processes", "ask")
asks = partial(run, "processes", "asks")
spawn = partial(run, "processes", "spawn")
idle = partial(run, "processes", "idle")
ring = partial(run, "processes", "ring")
fan = partial(run, "processes", "fan")
restart = partial(run, "processes", "restart")
producers = partial(run, "processes", "producers")
pingpong = partial(run, "processes", "pingpong")
skynet = partial(run, "processes", "skynet")
big = partial(run, "processes", "big")
storm = partial(run, "processes", "storm")
