"""Erlang/OTP as programs are written with it: gen_server and supervisor.

What each workload does is in `servers.erl`. A cast is a tell, a call is an ask. Idle
actors are children of a supervisor (simple_one_for_one), and stop with it. A mailbox
has no bound there, and goes with its process: producers call, and an actor that fails
gets its messages one by one, each after the start that came before it.
"""

from functools import partial

from ._beam import run, version as version

tell = partial(run, "servers", "tell")
ask = partial(run, "servers", "ask")
asks = partial(run, "servers", "asks")
spawn = partial(run, "servers", "spawn")
idle = partial(run, "servers", "idle")
ring = partial(run, "servers", "ring")
fan = partial(run, "servers", "fan")
restart = partial(run, "servers", "restart")
producers = partial(run, "servers", "producers")
pingpong = partial(run, "servers", "pingpong")
skynet = partial(run, "servers", "skynet")
big = partial(run, "servers", "big")
storm = partial(run, "servers", "storm")
