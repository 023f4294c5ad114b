"""The family of one actor: its children and inner tasks, started and stopped in order.

Rules of this file:

* The nursery is opened by a task of its own, in the nursery the actor itself lives in,
  when the first child or inner task comes: a handler cannot leave a nursery open. The
  actor awaits it before its own end; there is one per incarnation.
* A failure ends its actor in order, and is then handed to the parent's cell.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import cast

import trio
from trio.lowlevel import enable_ki_protection

from ._cell import Cell
from ._deep import Steps, do_all
from ._family import InnerTask, not_open, settle, walk
from ._halts import Halt
from ._mailbox import Door
from ._messages import Exit
from ._policy import shuts_down
from ._restarts import Restarting


class Family(Restarting):
    """The children and inner tasks of one incarnation of an actor, or of the system."""

    @enable_ki_protection
    async def run(self) -> None:
        """Host the children: the family's own task."""
        try:
            async with trio.open_nursery() as nursery:
                await self._host(nursery)
        finally:
            self._has_closed()

    async def run_in(self, nursery: trio.Nursery) -> None:
        """Host the children in a nursery; there are no inner tasks."""
        try:
            await self._host(nursery)
        finally:
            self._has_closed()

    def be_guest_of(self, nursery: trio.Nursery) -> None:
        """Have the children there, and no task: who waits for their end stops them."""
        self._is_guest = True
        self._open(nursery)

    def close_by_itself(self) -> None:
        """Stop the children, though nobody waits for it yet."""
        assert self._nursery is not None
        self._nursery.start_soon(
            self.wait_closed, name=f"trio_actors {self.system.name}"
        )

    async def _host(self, nursery: trio.Nursery) -> None:
        self._open(nursery)
        while not self._is_closing():
            if self._sweeps and not self._owner_ends:
                await self._answer(self._sweeps.pop(0))
            else:
                await self._lot.park()
        self.cancel_tasks()
        await self._stop_children()

    def _is_closing(self) -> bool:
        self.runtime.touch("sup", self.path, write=False)
        return bool(self.closing)

    def _has_closed(self) -> None:
        self.runtime.touch("sup", self.path)
        self.done = True
        self._lot.unpark_all()

    def _open(self, nursery: trio.Nursery) -> None:
        """Start who has waited for the nursery."""
        self._nursery = nursery
        for start in self._waiting:
            start()
        self._waiting.clear()

    async def _answer(self, failed: Cell | None) -> None:
        """Sweep for a child that has failed, or shut down."""
        if failed is None:
            self._shut_down()
            return
        with trio.CancelScope() as self._work_scope:
            await self._sweep(failed)
        self._work_scope = None

    # --- Order ---

    def in_order(self) -> list[Cell]:
        """Return the living children in start order."""
        if self.specs is None:
            return list(self.children.values())
        return [self.children[name] for name in self.specs if name in self.children]

    async def _stop_children(self) -> None:
        """Stop in reverse start order (SUP-8); together if dynamic or killed."""
        while self.children:
            # Listed once, since nobody comes any more: to look for the last key of a
            # dict is a walk over all that were taken out behind it.
            stopping = self.in_order()
            if self.is_dynamic or self.closing is Halt.KILL:
                for cell in reversed(stopping):
                    cell.request(self.closing)
            while stopping:
                cell = stopping.pop()
                if self.children.get(cell.name) is cell:
                    cell.request(self.closing)
                    await cell.wait_ended()

    def close(self, halt: Halt) -> None:
        """Stop all children, or kill them; `wait_closed()` waits for it."""
        do_all(self.closing_down(halt))

    def closing_down(self, halt: Halt) -> Steps:
        """Do what `close()` does; the children are killed in between."""
        if halt <= self.closing:
            return
        self.runtime.touch("spawn", self.path)
        self.runtime.touch("sup", self.path)
        self.closing = halt
        if self._work_scope is not None:
            self._work_scope.cancel()
        if halt is Halt.KILL:
            for cell in list(self.children.values()):
                yield cell.requesting(Halt.KILL)
            self.cancel_tasks()
        self._lot.unpark_all()

    async def wait_closed(self) -> None:
        """Wait until no child and no inner task is left."""
        if self._is_guest:
            self._is_guest = False
            try:
                await self._stop_children()
            except BaseException:
                self._is_guest = True  # Ctrl-C: it is tried again
                raise
            self._has_closed()
        self.runtime.touch("sup", self.path, write=False)
        while not self.done:
            await self._lot.park()

    # --- The end of a child ---

    def collect(self, failure: BaseException) -> None:
        """Keep the failure of a child that fails while all are stopped."""
        if self.closing:
            self.failures.append(failure)

    def remove(self, cell: Cell) -> None:
        """Free the name of a child that has ended."""
        self.runtime.touch("spawn", self.path, write=False)
        self.runtime.touch("name", cell.path)
        del self.children[cell.name]
        self._windows.pop(cell.name, None)
        self._pauses.pop(cell.name, None)
        if cell.options.significant:
            self._significant -= 1
        if self.changed is not None:
            self.changed(cell)

    def ended(self, cell: Cell, exit: Exit) -> None:
        """Answer the end of a child: who else fails or stops because of it."""
        if self.specs is not None and cell.options.restart == "temporary":
            self.specs.pop(cell.name, None)
        if cell.options.significant:  # of the others it matters how many are left
            self.runtime.touch("sup", self.path)
        if self.closing:
            if cell.upward is not None:
                self.failures.append(cell.upward)
            self.failures.extend(cell.extras or ())
            return
        if cell.upward is not None:
            self._fail_owner(cell.upward, cell.extras or ())
        elif cell.options.significant and cell.halt <= Halt.RETURN:
            by_itself = exit.kind != "start_failed"
            if by_itself and shuts_down(
                self.supervision.auto_shutdown, significant_left=self._significant
            ):
                self._sweeps.append(None)
                self._lot.unpark_all()

    def _fail_owner(
        self, error: BaseException, extras: Iterable[BaseException]
    ) -> None:
        if self.owner is None:
            self.system._fail(error, extras)
            return
        self.owner.fail(error)
        for extra in extras:
            self.owner.add_extra(extra)

    def _shut_down(self) -> None:
        if self.owner is None:
            self.system.stop()
        else:
            self.owner.shut_down_by_children()

    # --- Draining ---

    def drain(self, cell: Cell) -> None:
        """Let *cell* and all below it finish; then stop it."""
        for one in walk([cell]):
            self.runtime.touch("spawn", one.path)
            one.box.shut(Door.INSIDE, "stopped")
            if one.under is not None:
                one.under.slit = "stopped"
        if cell.under is not None:
            cell.under.start_settling()

    def start_settling(self) -> None:
        """Stop the owner when all below it is idle."""
        if self.closing:
            return  # the owner ends, or is being restarted: its next family settles
        name = f"{self.path}:drain"
        inner = InnerTask(self._settle, (), name)
        self._tasks[inner] = None

        guarded = partial(self._guard, inner)
        self._start(lambda: self._start_in_nursery(guarded, name))

    async def _settle(self) -> None:
        owner = cast("Cell", self.owner)
        await settle(lambda: walk([owner]))
        owner.request(Halt.STOP)


def family_of(cell: Cell) -> Family:
    """Return the children of an actor; the family's task starts with the first.

    Raises:
        ActorStopped: The actor stops, or waits for its restart.
    """
    if cell.under is None:
        if cell.between:
            raise not_open(cell.path, "child or task")
        family = cell.under = Family(cell, cell.system, cell.supervision)
        family.slit = cell.box.refusal if cell.box.door else None
        cell.family.host(family)
        if cell.halt is Halt.DRAIN:
            family.start_settling()
    return cell.under
