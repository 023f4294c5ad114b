"""Where the worlds of many runs live, one after the other.

Rules of this file:

* What a run needs of trio for its clients and its tree, two nurseries, is opened once:
  for each run it would be a sixth of the smallest one.
* A client that fails closes it, as it would close a nursery of one run: the next run
  has another one.
"""

from __future__ import annotations

import trio
from trio.lowlevel import spawn_system_task

from .._halts import split_cancelled
from .._park import Lot
from .._system import ActorSystem


class Hall:
    """A nursery for clients, and one for a tree."""

    clients: trio.Nursery
    _trees: trio.Nursery

    def __init__(self) -> None:
        self.is_open = False
        self._failure: BaseException | None = None
        self._has_trees = False
        self._changes = Lot()

    async def open(self) -> None:
        """Open it; a system task has no nursery that could be left too early."""
        spawn_system_task(self._host_trees, name="trio_actors world")
        spawn_system_task(self._host_clients, name="trio_actors clients")
        while not (self.is_open and self._has_trees):
            await self._changes.park()

    async def _host_clients(self) -> None:
        try:
            async with trio.open_nursery() as self.clients:
                self.is_open = True
                self._changes.unpark_all()
                await trio.sleep_forever()
        except BaseExceptionGroup as group:
            _, self._failure = split_cancelled(group)
        finally:
            self.is_open = False
            self._changes.unpark_all()

    async def _host_trees(self) -> None:
        async with trio.open_nursery() as self._trees:
            self._has_trees = True
            self._changes.unpark_all()
            await trio.sleep_forever()

    def host(self, system: ActorSystem) -> None:
        """Let the tree of a system live here."""
        system._root.be_guest_of(self._trees)

    async def check(self) -> None:
        """Raise what clients have raised, when all of them have ended."""
        if self.clients.cancel_scope.cancel_called:
            while self.is_open:
                await self._changes.park()
            if self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Let nobody in any more, and cancel who is still here."""
        self.is_open = False
        self.clients.cancel_scope.cancel()
        self._trees.cancel_scope.cancel()
