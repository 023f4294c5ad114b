"""Pools: equal workers behind one ref.

Rules of this file (ROU-1 ...):

* A pool is a supervisor; its ref chooses a worker at the sender's side, so that neither
  a message nor its answer passes through the pool's own task.
* A worker that drains or has ended gets nothing more.
* While the pool itself is being restarted its messages wait in its mailbox.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Never, TypeVar

import attrs
from trio.lowlevel import checkpoint

from ._behavior import Actor, Recipe
from ._cell import Cell
from ._complaints import mailbox_full
from ._errors import MailboxFull, StartFailed
from ._gate import let_wait_here
from ._halts import Halt, Options
from ._keys import Crew
from ._policy import Supervision
from ._ref import ActorRef
from ._routing import RoutedRef, Router, Routing, takes
from ._supervisor import Family, family_of

M_contra = TypeVar("M_contra", contravariant=True)


class Pool:
    """What a pool keeps over its own restarts."""

    __slots__ = ("crew", "family", "hands_over", "options", "recipe", "router", "size")

    def __init__(self, recipe: Recipe, options: Options, size: int) -> None:
        self.recipe: Recipe = recipe
        self.options: Options = options
        self.size: int = size
        self.family: Family | None = None
        self.crew: Crew | None = Crew()  # None: it has changed since it was listed
        self.hands_over: bool = False  # its workers get what has waited for them
        self.router: Router | None = None

    def workers(self) -> Crew:
        """Return who gets messages now; listed when somebody wants to know."""
        if self.crew is None:
            assert self.family is not None
            self.crew = Crew(cell.ref for cell in self.family.in_order())
        return self.crew


class PoolActor(Actor[Never]):
    """The supervisor of the workers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def started(self) -> None:
        """Start the workers, and give them what has waited for them."""
        cell: Cell = self.context._cell
        family = family_of(cell)
        family.changed = lambda _: refresh(self._pool, family)
        for _ in range(self._pool.size):
            await family.spawn(self._pool.recipe, None, self._pool.options)
        self._pool.hands_over = True
        while cell.box.count:
            cell.handled += 1
            cell.ref._put_over(cell.box.take())
        self._pool.hands_over = False


def refresh(pool: Pool, family: Family) -> None:
    """Note that others get messages now."""
    family.runtime.touch("key", family.path)
    pool.family, pool.crew = family, None


class PoolRef(RoutedRef[M_contra]):
    """The ref of a pool: told like one actor."""

    __slots__ = ("_pool",)

    def __init__(self, cell: Cell, pool: Pool) -> None:
        super().__init__(cell)
        self._pool = pool
        assert pool.router is not None
        self._router: Router = pool.router

    @property
    def workers(self) -> tuple[ActorRef[M_contra], ...]:
        """The refs of the workers, but for those that were told to stop."""
        cell = self._cell
        cell.runtime.touch("key", cell.path, write=False)
        crew = self._pool.workers()
        for ref in crew:
            cell.runtime.touch("life", ref.path, write=False)
        return tuple(ref for ref in crew if ref._cell.halt < Halt.RETURN)

    async def resize(self, size: int) -> None:
        """Start or drain workers until there are *size*. Always a checkpoint.

        The youngest are drained: they handle what they have, and get nothing more.
        Returns when they have ended.

        Raises:
            ValueError: *size* is less than 1.
            StartFailed: A worker did not start.
            ActorStopped: The pool has stopped.
        """
        check_size(size)
        await checkpoint()
        pool = self._pool
        family = family_of(self._cell)
        self._set_size(size)
        try:
            await self._grow(family)
        except StartFailed:
            self._set_size(len(self.workers))
            raise
        leaving = self.workers[pool.size :]
        for ref in leaving:
            ref.drain()
        for ref in leaving:  # all at once, also from a turn that is not durable yet
            let_wait_here(ref.path)
        try:
            for ref in leaving:
                await ref.wait_stopped()
        except BaseException:
            self._set_size(len(self.workers))  # if they are not told after all
            raise

    def _set_size(self, size: int) -> None:
        self._cell.runtime.touch("key", self._cell.path)  # others resize it, too
        self._pool.size = size

    async def _grow(self, family: Family) -> None:
        """Start workers until there are as many as the last resize said."""
        pool = self._pool
        while (missing := pool.size - len(self.workers)) > 0:
            # Others may come and go meanwhile: only then all are counted anew.
            size, there = pool.size, len(family.children)
            whole = there + missing
            while there < whole and len(family.children) == there and pool.size == size:
                await family.spawn(pool.recipe, None, pool.options)
                self._cell.runtime.touch("key", self._cell.path, write=False)
                there += 1

    def _actors(self) -> Sequence[ActorRef[Any]]:
        """Return the workers, if the pool is open."""
        pool, cell = self._pool, self._cell
        if not (pool.hands_over or (cell.phase == "running" and takes(cell))):
            return ()
        cell.runtime.touch("key", cell.path, write=False)
        return pool.crew or pool.workers()

    def _put_nobody(self, item: Any) -> bool:
        """Keep a message for the workers to come; without any it is a dead letter."""
        if self._cell.phase == "running" and takes(self._cell):
            self._cell.refuse(item, "stopped")
            return True
        return self._cell.box.put(item)

    def _full(self, message: Any) -> MailboxFull:
        """Make the error for a message that even the pool cannot keep."""
        return mailbox_full(self._cell, message)


def check_size(size: object) -> None:
    """Refuse a size that is no number of workers."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"the size of a pool is a whole number from 1, not {size!r}.")


async def open_pool(
    family: Family,
    recipe: Recipe,
    size: int,
    routing: Routing | Callable[[Any], Hashable],
    name: str | None,
    options: Options,
) -> PoolRef[Any]:
    """Start a pool in *family*."""
    check_size(size)
    pool = Pool(recipe, attrs.evolve(options, significant=False), size)
    label = f"{recipe.label}-pool"
    rules: Supervision = attrs.evolve(family.supervision, auto_shutdown="never")
    own = Options(shutdown=math.inf, supervision=rules, significant=options.significant)
    cell = family.adopt(Recipe(PoolActor, (pool,), label=label), name, own)
    random = partial(cell.runtime.random, cell.path)
    pool.router = Router(routing, random, cell.path)
    # Whoever finds the pool, by its path or as a child, gets the ref that routes.
    cell.ref = ref = PoolRef[Any](cell, pool)
    await family.wait_started(cell)
    return ref
