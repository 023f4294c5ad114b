"""trio_actors: the workloads, each from the file that specifies it."""

from .ask import ask as ask
from .asks import asks as asks
from .big import big as big
from .fan import fan as fan
from .pingpong import pingpong as pingpong
from .producers import producers as producers
from .restart import (
    restart as restart,
    restart_async as restart_async,
    restart_logged as restart_logged,
)
from .ring import ring as ring
from .skynet import skynet as skynet
from .spawn import idle as idle, spawn as spawn, spawn_nowait as spawn_nowait
from .storm import storm as storm
from .tell import (
    tell as tell,
    tell_async as tell_async,
    tell_await as tell_await,
    tell_function as tell_function,
)
