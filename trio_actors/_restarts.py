"""Restarts in a family: counted, delayed, alone or together with siblings.

Rules of this file:

* Who is restarted, and whether that is one too many, is decided in `_policy`.
* A sweep takes down in reverse start order, each awaited, and brings up in start order;
  two failures during one sweep cost one restart.
"""

from __future__ import annotations

from typing import cast

from trio.lowlevel import ParkingLot

from ._cell import Cell
from ._errors import RestartLimit
from ._family import Growing
from ._halts import Halt
from ._policy import Pauses, RestartWindow, answer_to, swept_with


class Restarting(Growing):
    """The part of a family that restarts children."""

    # --- Restarts ---

    def allows_restart(self, cell: Cell) -> bool:
        """Count a restart of *cell*; False if that was one too many."""
        self.runtime.touch("sup", self.path)
        if self.supervision.max_restarts is None:
            return True
        window: RestartWindow | None = self._window
        if self.supervision.per_child:
            window = self._windows.get(cell.name)
        if window is None:
            window = self._windows[cell.name] = RestartWindow(self.supervision)
        self.runtime.touch("clock", "", write=False)
        return window.allows(self.runtime.now())

    def restart_limit(self, cell: Cell) -> RestartLimit:
        """Make the error for a restart too many."""
        rules = self.supervision
        times = "once" if rules.max_restarts == 1 else f"{rules.max_restarts} times"
        allowed = (
            f"{cell.path} failed, and {self.path or 'the system'} allows no restart"
            if rules.max_restarts == 0
            else f"{cell.path} failed: more than {times} within {rules.within:g} s"
        )
        return RestartLimit(
            f"{allowed}. The last failure is the cause. Mend that, raise max_restarts,"
            ' or make the child "temporary".'
        )

    def pause_before_restart(self, cell: Cell) -> float:
        """Return the seconds of backoff before a restart of *cell*."""
        backoff = self.supervision.backoff
        if backoff is None:
            return 0.0
        pauses = self._pauses.setdefault(cell.name, Pauses(backoff))
        return pauses.next(self.runtime.now(), self.system.random)

    def restarted(self, cell: Cell) -> None:
        """Note that a restart is complete."""
        pauses = self._pauses.get(cell.name)
        if pauses is not None:
            pauses.restarted(self.runtime.now())

    def sweep_for(self, cell: Cell) -> None:
        """Restart the siblings together with *cell*, which has failed."""
        self.runtime.touch("sup", self.path)
        self._sweeps.append(cell)
        self._lot.unpark_all()

    async def _sweep(self, failed: Cell) -> None:
        self.runtime.touch("life", failed.path, write=False)
        if failed.phase != "suspended":
            return  # an earlier sweep has restarted it already
        why = cast("BaseException", failed.first_failure)
        if not self.allows_restart(failed):
            failed.give_up(why)
            failed.signal()
            return
        names = list(self.specs if self.specs is not None else self.children)
        names = swept_with(self.supervision.strategy, names, failed.name)
        ended = {name for name in names if name not in self.children}
        await self._take_down(names, failed, why)
        delay = self.pause_before_restart(failed)
        failed.announce("restarting", why, delay)
        if delay:
            await self._wait(delay)
        for name in names:
            if not await self._bring_up(name, again=name in ended):
                return  # its own sweep is queued, and covers the rest

    async def _take_down(
        self, names: list[str], failed: Cell, why: BaseException
    ) -> None:
        self.runtime.touch("spawn", self.path)
        for name in reversed(names):
            cell = self.children.get(name)
            if cell is None or cell is failed:
                continue
            again = answer_to("swept", cell.options.restart) == "again"
            self.runtime.touch("life", cell.path, write=False)
            if again and cell.phase == "suspended":
                # It is down already, and joins this sweep: one restart for both.
                if cell in self._sweeps:
                    self._sweeps.remove(cell)
                continue
            cell.swept_for = why
            cell.request(Halt.SWEEP if again else Halt.STOP)
            await cell.wait_for_phase("suspended", "stopped")

    async def _wait(self, delay: float) -> None:
        lot = ParkingLot()
        over = False

        def end() -> None:
            nonlocal over
            over = True
            lot.unpark_all()

        alarm = self.runtime.call_at(
            self.runtime.now() + delay, end, self.path, "sweep"
        )
        try:
            while not over:
                await lot.park()
        finally:
            alarm.cancel()

    async def _bring_up(self, name: str, *, again: bool) -> bool:
        """Start a child that was swept; False if it failed to start.

        One that had ended before is started *again*; one that was stopped since is not.
        """
        if self._owner_ends:
            return False
        self.runtime.touch("spawn", self.path)
        cell = self.children.get(name)
        if cell is None:
            spec = None if self.specs is None else self.specs.get(name)
            if spec is None or not again:
                return True
            cell = self._make(name, spec.recipe, spec.options)
        elif cell.phase == "suspended":
            cell.go = True
            cell.enter("restarting")
            cell.signal()
        await cell.wait_for_phase("running", "suspended", "stopped")
        return cell.phase != "suspended"
