"""trio_actors: the workloads, each from the file that specifies it."""

from .tell import (
    tell as tell,
    tell_async as tell_async,
    tell_await as tell_await,
    tell_function as tell_function,
)
