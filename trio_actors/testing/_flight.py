"""A world under control: at rest, what happens next is chosen.

Rules of this file:

* trio asks its clock what to do exactly when no task can run: there one event is
  chosen and done.
* Nothing may be raised through trio's loop: it would be an internal error of trio.
* A run ends when nothing is on its way any more, or with the first failure.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule

from .._errors import leaves, show
from .._halts import Halt
from .._open import SystemBlock
from .._park import WOKEN
from .._policy import Supervision
from .._system import ActorSystem
from ._circles import Known
from ._client import Client
from ._events import CLOCK, Blocked, Event, Run, Search
from ._faults import Plan, Rules
from ._hall import Hall
from ._held import Held
from ._parts import Parts
from ._pilot import Pilot
from ._run import STOPPED, check_books, run_on_world_clock, world_clock
from ._world import World

T = TypeVar("T")

RULES = Rules()
RULES_OF_ALL = Supervision(per_child=True)  # as the top of a system is


class ControlledWorld(World):
    """A world in which each event is chosen by a search."""

    def __init__(self, pilot: Pilot, supervision: Supervision) -> None:
        super().__init__(pilot, supervision)
        self._pilot = pilot
        self._last: Task | None = None  # waits for the end of the run
        pilot.failed = self._failed

    def _let_begin(self, client: Client) -> None:
        """Let a client begin when it is chosen; until then it has no task."""
        client.waits = self._pilot.begin(client.name, client.begin)

    # --- At rest ---

    def _on_idle(self, deadline: float) -> float | None:
        pilot = self._pilot
        try:
            if pilot.reader is not None:
                pilot.check_reader()
            enabled = pilot.enabled()
            if not enabled and self._settlers and pilot.is_empty and self._is_quiet():
                enabled = [self._rest("all is quiet")]
            if not enabled or pilot.may_go_wrong or pilot.alarms or deadline < math.inf:
                return self._act_in_time(enabled, deadline)
            return self._do(pilot.choose(enabled), self._clock.time, deadline)
        except Exception as error:  # of a search, of a monitor
            self._failed(error)
        return None

    def _failed(self, error: Exception) -> None:
        """End the run: nothing may be raised through trio's loop."""
        run = self._pilot.run
        if isinstance(error, Blocked):
            run.blocked = True
        else:
            run.error = run.error or error
        self._pilot.end(math.inf)
        self._body.cancel()

    def _act_in_time(self, enabled: list[Event], deadline: float) -> float | None:
        """Let something happen where time may pass, or something go wrong."""
        pilot = self._pilot
        faults = pilot.faults(enabled) if pilot.may_go_wrong else []
        when = self._clock.time
        if deadline < math.inf or pilot.alarms:
            # After the end of the program only what could have come before it still
            # comes.
            alone = not enabled and self._last is None
            tick = pilot.next_tick(deadline, alone=alone)
            if tick is not None:
                self._check_io()
                enabled.append(tick[0])
                when = tick[1]
        if not enabled and self._last is not None:
            pilot.end(deadline)
            task, self._last = self._last, None
            reschedule(task, WOKEN)
            return None
        if not enabled:
            self._check_io()
            pilot.choose([self._rest("nothing can happen any more")])
            return self._nothing_comes()
        return self._do(pilot.choose(enabled + faults), when, deadline)

    def _check_io(self) -> None:
        """Fail if somebody waits for what comes from outside, where time would pass."""
        if not self._is_stuck() and not self._closing:
            self._pilot.allows("waits for I/O")

    def _rest(self, label: str) -> Event:
        """Return the step in which those who wait for rest go on."""
        rest = Event(("settled",), "settled", "test", {CLOCK: True}, self._pilot.at)
        rest.label, rest.barrier = label, True
        return rest

    def _do(self, chosen: Event, when: float, deadline: float) -> float | None:
        if isinstance(chosen, Held):
            self._pilot.do(chosen)
        elif chosen.kind == "tick":
            if not self._tell_listeners(when):
                self._pilot.pass_time(when, deadline)
            return self._clock.time
        else:
            self._wake_settlers()
        return None

    async def _end_clients(self) -> None:
        """Cancel the clients that still run, with their nursery."""
        for client in list(self._clients):
            if client.waits is not None:
                self._pilot.miss(client.waits)
                del self._clients[client]
        if self._clients and self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            await self._wait_for_clients()

    def _client_fails(self) -> None:
        """End the program, which is not in the nursery of its clients."""
        self._body.cancel()

    def _watch_steps(self) -> None:
        """Let what is watched see each step before the next event is chosen."""
        super()._watch_steps()
        self._pilot.watch()
        self._clock.in_haste = False

    def _begin_stop(self, seconds: float | None = None) -> None:
        """Stop, though the test may go on; no picture of the tree: a tenth of a run."""
        if not self._closing:
            self._pilot.touch("all", "")  # it ends the test, and all its clients
            ActorSystem._begin_stop(self, seconds)
            self._context.run(self._root.close_by_itself)

    async def _wait_closed(self) -> None:
        """Wait for the end of all; in a shield (5 us) only where it is needed."""
        try:
            await self._root.wait_closed()
        finally:
            await super()._wait_closed()

    def _let_go(self) -> None:
        """Cut the circles of what is over."""
        self._pilot.let_go()
        del self._context, self._root.system, self._registry._system

    async def _run_out(self) -> None:
        """Wait until nothing is on its way any more."""
        self._last = current_task()
        self._pilot.over = True

        def abort(_: object) -> Abort:
            self._last = None
            return Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class Lab:
    """Runs a program again and again, in one run of trio."""

    def __init__(
        self, program: Callable[[World], Awaitable[Any]], rules: Rules = RULES
    ) -> None:
        self.program = program
        self.rules = rules
        self.caveats: dict[str, None] = {}
        self.circles: Known = {}
        self.pilot: Pilot | None = None  # of the run that goes on
        self._has_returned = False
        self._hall: Hall | None = None
        self._bunks: list[Any] = []
        self._looked = self._weighs = False
        self.sees_parts: bool = False  # runs tell what each task did in a step
        self.drew: bool = False  # somebody took a random number

    async def once(self, search: Search, plan: Plan = ()) -> Run:
        """Run the program as *search* chooses, with the crashes of *plan*."""
        clock = world_clock()
        clock.time = 0.0
        clock.in_haste = not self.rules.allow_io
        pilot = self.pilot = Pilot(search, clock, self.rules, plan)
        pilot.bunks = self._bunks
        pilot.looked, pilot.weighs = self._looked, self._weighs
        pilot.known_circles = self.circles
        run = pilot.run
        self._has_returned = False
        try:
            await self._run(ControlledWorld(pilot, RULES_OF_ALL), run)
        except (BaseExceptionGroup, AssertionError) as error:  # also the world's books
            if run.error is None and not run.blocked:
                run.error = _only(error)
        finally:
            clock.observer = None
            clock.in_haste = False
            self.pilot = None
        self.caveats.update(pilot.caveats)
        self._looked, self._weighs = pilot.looked, pilot.weighs
        self.drew = self.drew or pilot.drew
        if not (self._has_returned or run.blocked or run.error):
            run.error = AssertionError(STOPPED)
        return run

    async def _run(self, world: ControlledWorld, run: Run) -> None:
        hall = self._hall
        if hall is None or not hall.is_open:
            if hall is not None:
                hall.close()
            hall = self._hall = Hall()
            await hall.open()
        world._nursery = hall.clients
        try:
            async with SystemBlock(lambda: world, host=hall.host):
                world._clock.on_idle = world._on_idle
                await self._fly(world, run)
                await world._end_clients()
            await world._end_clients()  # if the program was cancelled
            await hall.check()
        except BaseException:
            hall.close()
            with trio.CancelScope(shield=True):
                await world._end_clients()
            raise
        world._clock.on_idle = None
        check_books(world)
        if run.error is None:  # what failed will be looked at
            world._let_go()

    async def _fly(self, world: ControlledWorld, run: Run) -> None:
        try:
            world._clock.splits = self.rules.checkpoints
            world._clock.sees_parts = self.sees_parts
            if self.sees_parts:  # also what the test begins with has parts
                world._pilot.parts = Parts()
                world._pilot.step = Event(("opening",), "start", "test", {})
            world._pilot.main = current_task()
            running: Any = self.program(world)
            if not inspect.isawaitable(running):
                raise TypeError(
                    f"a program is async, but this one gave {show(running)}. Write"
                    " async def program(world: World)."
                )
            run.outcome = await running
            self._has_returned = True
            await world._run_out()
        except Exception as error:
            run.error = error
        finally:
            world._pilot.end(math.inf)
            if run.error is not None or run.blocked:
                world.dead()
                world._root.close(Halt.KILL)
            # All is at rest: there is nothing to settle, and who comes next waits.
            ActorSystem._begin_stop(world)


def _only(error: BaseException) -> BaseException:
    """Return the one exception in a group of one, of one ..."""
    every = list(leaves(error))
    return every[0] if len(every) == 1 else error


def run_lab(lab: Lab, fn: Callable[[], Awaitable[T]]) -> T:
    """Run *fn*, which runs the lab's program, in trio."""
    return run_on_world_clock(fn, in_haste=True, ends=lab.rules.checkpoints)
