"""The family of one actor: its children and inner tasks, started and stopped in order.

Rules of this file:

* The nursery is opened by a task of its own, in the nursery the actor itself lives in,
  when the first child or inner task comes: a handler cannot leave a nursery open. The
  actor awaits it before its own end; there is one per incarnation.
* `adopt` is synchronous: the name and the place in the start order are taken at once.
* Nothing is raised into the nursery: a failure ends its actor in order, and is then
  handed to the parent's cell.
* Who is restarted, and whether that is one restart too many, is decided in `_policy`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

import trio
from trio.lowlevel import (
    ParkingLot,
    disable_ki_protection,
    enable_ki_protection,
)

from ._behavior import Recipe
from ._cell import Cell, Halt, Options, split_cancelled
from ._errors import (
    ActorStopped,
    NameTaken,
    RestartLimit,
    StartFailed,
)
from ._mailbox import Door
from ._messages import DeadReason, Exit
from ._policy import (
    Pauses,
    RestartWindow,
    Supervision,
    answer_to,
    check_child,
    shuts_down,
    swept_with,
)
from ._ref import CURRENT, waiting_for

if TYPE_CHECKING:
    from ._system import ActorSystem


class InnerTask:
    """A task beside the handlers of an actor."""

    __slots__ = ("args", "fn", "scope")

    def __init__(
        self, fn: Callable[..., Awaitable[object]], args: tuple[Any, ...]
    ) -> None:
        self.fn = fn
        self.args = args
        self.scope = trio.CancelScope()


class Spec:
    """What a supervisor keeps of a child, to start it again after its end."""

    __slots__ = ("name", "options", "recipe")

    def __init__(self, name: str, recipe: Recipe, options: Options) -> None:
        self.name = name
        self.recipe = recipe
        self.options = options


class Family:
    """The children and inner tasks of one incarnation of an actor, or of the system."""

    def __init__(
        self,
        owner: Cell | None,
        system: ActorSystem,
        supervision: Supervision,
    ) -> None:
        self.owner = owner
        self.system = system
        self.runtime = system.runtime
        self.path = owner.path if owner is not None else ""
        self.supervision = supervision
        self.children: dict[str, Cell] = {}
        self.specs: dict[str, Spec] | None = None  # only a supervisor keeps them
        self.is_dynamic = False
        self.max_children = math.inf
        self.closing = Halt.NONE
        self.done = False
        self.failures: list[BaseException] = []  # of children, while it closes
        self.slit: DeadReason | None = None  # set: children are born with shut doors
        self.changed: Callable[[], None] | None = None
        self._nursery: trio.Nursery | None = None
        self._waiting: list[Callable[[], None]] = []  # until there is a nursery
        self._tasks: dict[InnerTask, None] = {}
        self._sweeps: deque[Cell] = deque()
        self._lot = ParkingLot()
        self._work_scope: trio.CancelScope | None = None
        self._named = 0
        self._window = RestartWindow(supervision)
        self._windows: dict[str, RestartWindow] = {}
        self._pauses: dict[str, Pauses] = {}

    def make_context(self, cell: Cell) -> Any:
        """Make what an actor's user calls, which is in a higher layer."""
        return self.system.make_context(cell)

    # --- Growing ---

    def adopt(self, recipe: Recipe, name: str | None, options: Options) -> Cell:
        """Make a child and let it start; its name and place are taken at once."""
        self._check_open(name)
        name = self._name_for(recipe, name)
        auto = self.supervision.auto_shutdown
        check_child(
            f"{self.path}/{name}",
            options.restart,
            significant=options.significant,
            auto_shutdown=auto,
        )
        if not options.shutdown >= 0:
            raise ValueError(
                f"{self.path}/{name}: shutdown is seconds from 0 or math.inf, not"
                f" {options.shutdown!r}."
            )
        if self.specs is not None:
            self.specs[name] = Spec(name, recipe, options)
        return self._make(name, recipe, options)

    def _make(self, name: str, recipe: Recipe, options: Options) -> Cell:
        cell = self.children[name] = Cell(self, name, recipe, options)
        if self.slit is not None:
            cell.box.shut(Door.INSIDE, self.slit)
        self.runtime.touch("spawn", self.path)
        context = self.system.fresh_context()
        self._start(lambda: context.run(self._start_in_nursery, cell.run, cell.path))
        if options.heartbeat is not None:
            self.system.watch_heart(cell)
        if self.changed is not None:
            self.changed()
        return cell

    def _check_open(self, name: str | None) -> None:
        final = (Halt.RETURN, Halt.STOP, Halt.KILL)
        if self.closing or (self.owner is not None and self.owner.halt in final):
            raise not_open(self.path, f"child {name or ''!r}")
        if len(self.children) >= self.max_children:
            raise ValueError(
                f"{self.path} has {len(self.children)} children, as many as its"
                " max_children. Wait until one has stopped, or allow more."
            )

    def _name_for(self, recipe: Recipe, name: str | None) -> str:
        taken = self.children if self.specs is None else self.specs
        if name is None:
            while name is None or name in taken:
                self._named += 1
                name = f"{recipe.label}-{self._named}"
            return name
        given: object = name
        if not isinstance(given, str) or not name or "/" in name:
            raise ValueError(
                f"{name!r} is no name for an actor. Write a text without a slash."
            )
        if name in self.children:
            raise NameTaken(
                f"{self.path}/{name} is already there. Choose another name, leave it"
                " away, or wait_stopped() for the old one."
            )
        if name in taken:
            raise NameTaken(
                f"{self.path}/{name} has stopped, but its spec is kept. Start it again"
                " by restart_child(), or forget it by delete_child()."
            )
        return name

    async def spawn(self, recipe: Recipe, name: str | None, options: Options) -> Cell:
        """Make a child and wait until it has started."""
        cell = self.adopt(recipe, name, options)
        try:
            await self.wait_started(cell)
        except BaseException:
            if self.specs is not None and not cell.was_started:
                self.specs.pop(cell.name, None)
            raise
        return cell

    async def start_again(self, name: str) -> None:
        """Start a child that has ended from its spec; a failure keeps the spec."""
        assert self.specs is not None
        self._check_open(name)
        spec = self.specs[name]
        await self.wait_started(self._make(name, spec.recipe, spec.options))

    async def wait_started(self, cell: Cell) -> None:
        """Wait for the first start of a child.

        Raises:
            StartFailed: From what it raised.
        """
        cell.awaited = True
        try:
            with waiting_for(cell):
                await cell.until(lambda: cell.was_started or cell.phase == "stopped")
        except BaseException:
            # As nursery.start() does: no half-started child is left behind.
            cell.request(Halt.KILL)
            with trio.CancelScope(shield=True):
                await cell.wait_ended()
            raise
        finally:
            cell.awaited = False
        if cell.failed_start:
            await cell.wait_ended()
        if cell.failed_start or not cell.was_started:
            raise start_failed(cell)

    # --- Tasks ---

    def _start(self, start: Callable[[], object]) -> None:
        if self._nursery is None:
            self._waiting.append(cast("Callable[[], None]", start))
        else:
            start()

    def _start_in_nursery(self, fn: Callable[..., Awaitable[object]], name: str) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(fn, name=name)

    def host(self, family: Family) -> None:
        """Start the task of a child's own family, beside the child."""
        context = self.system.fresh_context()
        name = f"{family.path}/*"
        self._start(lambda: context.run(self._start_in_nursery, family.run, name))

    def start_task(
        self, fn: Callable[..., Awaitable[object]], args: tuple[Any, ...]
    ) -> None:
        """Run an inner task: its failure is the owner's, its end the incarnation's."""
        if self.closing:
            raise not_open(self.path, "task")
        inner = InnerTask(fn, args)
        self._tasks[inner] = None
        # As in trio, a task has the context of who starts it; but it acts as the actor.
        context = copy_context()
        context.run(CURRENT.set, self.owner)
        name = f"{self.path}:{getattr(fn, '__qualname__', fn)}"

        async def guarded() -> None:
            await self._guard(inner)

        self._start(lambda: context.run(self._start_in_nursery, guarded, name))

    @enable_ki_protection
    async def _guard(self, inner: InnerTask) -> None:
        try:
            with inner.scope:
                await _unprotected(inner)
        except Exception as error:
            self._task_failed(error)
        except BaseException as error:
            cancelled, rest = split_cancelled(error)
            if rest is not None:
                self.system.fail(rest)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self._tasks.pop(inner, None)

    def _task_failed(self, error: Exception) -> None:
        owner = self.owner
        assert owner is not None
        if self.closing:
            owner.report(error)
            owner.add_extra(error)
        else:
            owner.fail(error)

    @enable_ki_protection
    async def run(self) -> None:
        """Host the children: the family's own task."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for start in self._waiting:
                    start()
                self._waiting.clear()
                while not self.closing:
                    if self._sweeps:
                        with trio.CancelScope() as self._work_scope:
                            await self._sweep(self._sweeps.popleft())
                        self._work_scope = None
                    else:
                        await self._lot.park()
                for inner in list(self._tasks):
                    inner.scope.cancel()
                await self._stop_children()
        finally:
            self.done = True
            self._lot.unpark_all()

    # --- Order ---

    def in_order(self) -> list[Cell]:
        """Return the living children in start order."""
        if self.specs is None:
            return list(self.children.values())
        return [self.children[name] for name in self.specs if name in self.children]

    async def _stop_children(self) -> None:
        """Stop in reverse start order (SUP-8); together if dynamic or killed."""
        while self.children:
            together = self.is_dynamic or self.closing is Halt.KILL
            last = list(reversed(self.in_order()))
            stopping = last if together else last[:1]
            for cell in stopping:
                cell.request(self.closing)
            for cell in stopping:
                await cell.wait_ended()

    def close(self, halt: Halt) -> None:
        """Stop all children, or kill them; `wait_closed()` waits for it."""
        if halt <= self.closing:
            return
        self.closing = halt
        if self._work_scope is not None:
            self._work_scope.cancel()
        if halt is Halt.KILL:
            for cell in list(self.children.values()):
                cell.request(Halt.KILL)
            for inner in list(self._tasks):
                inner.scope.cancel()
        self._lot.unpark_all()

    async def wait_closed(self) -> None:
        """Wait until no child and no inner task is left."""
        while not self.done:
            await self._lot.park()

    # --- Restarts ---

    def allows_restart(self, cell: Cell) -> bool:
        """Count a restart of *cell*; False if that was one too many."""
        self.runtime.touch("sup", self.path)
        window = self._window
        if self.supervision.per_child:
            window = self._windows.setdefault(
                cell.name, RestartWindow(self.supervision)
            )
        return window.allows(self.runtime.now())

    def restart_limit(self, cell: Cell) -> RestartLimit:
        """Make the error for a restart too many."""
        rules = self.supervision
        times = "once" if rules.max_restarts == 0 else f"{rules.max_restarts or 0} times"
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
        if failed.phase != "suspended":
            return  # an earlier sweep has restarted it already
        why = cast("BaseException", failed.first_failure)
        if not self.allows_restart(failed):
            failed.give_up(why)
            failed.signal()
            return
        names = list(self.specs if self.specs is not None else self.children)
        names = swept_with(self.supervision.strategy, names, failed.name)
        await self._take_down(names, failed, why)
        delay = self.pause_before_restart(failed)
        failed.announce("restarting", why, delay)
        if delay:
            await self._wait(delay)
        for name in names:
            if not await self._bring_up(name):
                return  # its own sweep is queued, and covers the rest

    async def _take_down(
        self, names: list[str], failed: Cell, why: BaseException
    ) -> None:
        for name in reversed(names):
            cell = self.children.get(name)
            if cell is None or cell is failed:
                continue
            again = answer_to("swept", cell.options.restart) == "again"
            if again and cell.phase == "suspended":
                continue  # it is down already, and comes back with the others
            cell.swept_for = why
            cell.request(Halt.SWEEP if again else Halt.STOP)
            await cell.until(lambda cell=cell: cell.phase in ("suspended", "stopped"))

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

    async def _bring_up(self, name: str) -> bool:
        """Start a child that was swept; False if it failed to start."""
        cell = self.children.get(name)
        if cell is None:
            spec = None if self.specs is None else self.specs.get(name)
            if spec is None:
                return True
            # It had ended before, and is started together with its siblings.
            cell = self._make(name, spec.recipe, spec.options)
        elif cell.phase == "suspended":
            cell.go = True
            cell.enter("restarting")
        await cell.until(
            lambda: cell.phase in ("running", "suspended", "stopped")
        )
        return cell.phase != "suspended"

    # --- The end of a child ---

    def collect(self, failure: BaseException) -> None:
        """Keep the failure of a child that fails while all are stopped."""
        if self.closing:
            self.failures.append(failure)

    def remove(self, cell: Cell) -> None:
        """Free the name of a child that has ended."""
        self.runtime.touch("spawn", self.path, write=False)
        if self.children.get(cell.name) is cell:
            del self.children[cell.name]
        self._windows.pop(cell.name, None)
        self._pauses.pop(cell.name, None)
        if self.changed is not None:
            self.changed()

    def ended(self, cell: Cell, exit: Exit) -> None:
        """Answer the end of a child: who else fails or stops because of it."""
        if self.specs is not None and cell.options.restart == "temporary":
            self.specs.pop(cell.name, None)
        if self.closing:
            self.failures.extend(cell.extras or ())
            return
        if cell.upward is not None:
            self._fail_owner(cell.upward, cell.extras or ())
        elif cell.options.significant and cell.halt <= Halt.RETURN:
            left = sum(one.options.significant for one in self.children.values())
            by_itself = exit.kind != "start_failed"
            if by_itself and shuts_down(
                self.supervision.auto_shutdown, significant_left=left
            ):
                self._shut_down()

    def _fail_owner(
        self, error: BaseException, extras: Iterable[BaseException]
    ) -> None:
        if self.owner is None:
            self.system.fail(error, extras)
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
            one.box.shut(Door.INSIDE, "stopped")
            if one.under is not None:
                one.under.slit = "stopped"
        if cell.under is not None:
            cell.under.start_settling()

    def start_settling(self) -> None:
        """Stop the owner when all below it is idle."""
        owner = self.owner
        assert owner is not None
        inner = InnerTask(self._settle, ())
        self._tasks[inner] = None

        async def guarded() -> None:
            await self._guard(inner)

        self._start(lambda: self._start_in_nursery(guarded, f"{self.path}:drain"))

    async def _settle(self) -> None:
        owner = cast("Cell", self.owner)
        await settle(lambda: walk([owner]))
        owner.request(Halt.STOP)


async def settle(cells: Callable[[], Iterable[Cell]]) -> None:
    """Wait until all *cells* are idle at the same moment."""
    waited = True
    while waited:
        waited = False
        for cell in cells():
            if not cell.is_idle:
                waited = True
                await cell.until(lambda cell=cell: cell.is_idle)


def walk(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Iterate over *cells* and all below them, parents first."""
    left = list(reversed(list(cells)))
    while left:
        cell = left.pop()
        yield cell
        if cell.under is not None:
            left.extend(reversed(cell.under.in_order()))


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


def not_open(path: str, what: str) -> ActorStopped:
    """Make the error for a spawn in an actor that is about to end."""
    return ActorStopped(
        f"{path or 'the system'} is stopping or being restarted: no {what} can be"
        " started in it. Start it from started(), or before.",
        path=path,
        reason=Exit("shutdown"),
        message=None,
    )


def start_failed(cell: Cell) -> StartFailed:
    """Make the error of a spawner whose child did not start."""
    exit = cast("Exit", cell.exit)
    error = StartFailed(
        f"{cell.path} did not start"
        + (f": {exit.error!r}" if exit.error is not None else f" ({exit.kind})")
        + ". The cause is what its __init__ or started() raised."
    )
    error.__cause__ = exit.error
    return error


@disable_ki_protection
async def _unprotected(inner: InnerTask) -> None:
    """Run an inner task so that Ctrl-C reaches it."""
    await inner.fn(*inner.args)

