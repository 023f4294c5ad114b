"""A client: a task that uses the actors from outside.

Rules of this file:

* It is one of the world's clients from the step in which it is asked for: `settled()`
  in that very step waits for it. Whether it has a task already is another matter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import attrs
import trio
from trio.lowlevel import Task, current_task

from ._seam import WHO

if TYPE_CHECKING:
    from ._held import Held
    from ._world import World

NO_SCOPE = nullcontext()


@attrs.define(eq=False)
class Client:
    """What it does, and for which test."""

    world: World
    name: str
    fn: Callable[..., Awaitable[object]]
    args: tuple[Any, ...]
    nursery: trio.Nursery
    context: Context = attrs.field(factory=copy_context)  # of who has asked for it
    scope: trio.CancelScope | None = None
    """To end it alone; in a controlled world all are ended together: it is 4 us."""
    waits: Held | None = None
    """What has to be chosen before it begins."""
    task: Task | None = None

    def begin(self, held: object = None) -> None:
        """Begin; in a controlled world, when that is chosen."""
        del held
        self.waits = None
        if self.nursery.cancel_scope.cancel_called:
            self.world._has_left(self)  # another one has failed
        else:
            self.context.run(self._begin)

    def _begin(self) -> None:
        WHO.set(self.name)
        self.nursery.start_soon(self.run, name=self.name)

    async def run(self) -> None:
        """Do it; an exception fails the test."""
        self.task = current_task()
        try:
            with self.scope or NO_SCOPE:
                await self.fn(*self.args)
        except BaseException:
            self.world._client_fails()
            raise
        finally:
            self.world._has_left(self)
