"""The children and inner tasks of one actor: how they come to be.

Rules of this file:

* `adopt` is synchronous: the name and the place in the start order are taken at once.
* Nothing is raised into the nursery of a family: a failure ends its actor in order.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ._behavior import Recipe
from ._cell import Cell
from ._errors import ActorStopped, NameTaken, StartFailed, show
from ._halts import DEFAULT_OPTIONS, Halt, Options, split_cancelled
from ._mailbox import Door
from ._messages import DeadReason, Exit
from ._park import Lot
from ._policy import Pauses, RestartWindow, Supervision, check_child
from ._waits import CURRENT, waiting_for

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._supervisor import Family
    from ._system import ActorSystem


FINAL = (Halt.RETURN, Halt.STOP, Halt.KILL)
"""What ends an actor, and not only its incarnation."""


class InnerTask:
    """A task beside the handlers of an actor."""

    __slots__ = ("args", "fn", "scope", "who")

    def __init__(
        self, fn: Callable[..., Awaitable[object]], args: tuple[Any, ...], who: str
    ) -> None:
        self.who = who  # for whom it acts
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


class Growing:
    """The part of a family that starts children and inner tasks."""

    specs: dict[str, Spec] | None = None  # only a supervisor keeps them
    is_dynamic: bool = False
    forgives: bool = False  # a child that fails too often ends alone
    max_children: float = math.inf
    closing: Halt = Halt.NONE
    done: bool = False
    slit: DeadReason | None = None  # set: children are born with shut doors
    changed: Callable[[Cell], None] | None = None  # with who came, or has gone
    _nursery: trio.Nursery | None = None
    _work_scope: trio.CancelScope | None = None
    _named: int = 0
    _significant: int = 0  # how many of the children are
    _is_guest: bool = False  # it has no task of its own

    def __init__(
        self,
        owner: Cell | None,
        system: ActorSystem,
        supervision: Supervision,
    ) -> None:
        self.owner: Cell | None = owner
        self.system: ActorSystem = system
        self.runtime: Runtime = system._runtime
        self.path: str = owner.path if owner is not None else ""
        self.supervision: Supervision = supervision
        self.children: dict[str, Cell] = {}
        self.failures: list[BaseException] = []  # of children, while it closes
        self._waiting: list[Callable[[], None]] = []  # until there is a nursery
        self._tasks: dict[InnerTask, None] = {}
        # What is to be answered, in the order in which it came: who has failed and
        # sweeps; None for an auto-shutdown. Rarely two, and a deque is 760 bytes.
        self._sweeps: list[Cell | None] = []
        self._lot = Lot()
        self._window = RestartWindow(supervision)
        self._windows: dict[str, RestartWindow] = {}
        self._pauses: dict[str, Pauses] = {}

    def make_context(self, cell: Cell) -> Any:
        """Make what an actor's user calls, which is in a higher layer."""
        return self.system._make_context(cell)

    # --- Growing ---

    def adopt(self, recipe: Recipe, name: str | None, options: Options) -> Cell:
        """Make a child and let it start; its name and place are taken at once."""
        self._check_open(name)
        name = self._name_for(recipe, name)
        if options is not DEFAULT_OPTIONS:
            self._check_options(name, options)
        if self.specs is not None:
            self.specs[name] = Spec(name, recipe, options)
        return self._make(name, recipe, options)

    def _check_options(self, name: str, options: Options) -> None:
        check_child(
            f"{self.path}/{name}",
            options.restart,
            significant=options.significant,
            auto_shutdown=self.supervision.auto_shutdown,
        )
        if not options.shutdown >= 0:
            raise ValueError(
                f"{self.path}/{name}: shutdown is seconds from 0 or math.inf, not"
                f" {options.shutdown!r}."
            )

    def _make(self, name: str, recipe: Recipe, options: Options) -> Cell:
        cell = self.children[name] = Cell(cast("Family", self), name, recipe, options)
        if options.significant:
            self._significant += 1
        if self.slit is not None:
            cell.box.shut(Door.INSIDE, self.slit)
        self.runtime.touch("spawn", self.path)
        self.runtime.touch("name", cell.path)
        self._start_own(cell.run, cell.path)
        if options.heartbeat is not None:
            self.system._watch_heart(cell, options.heartbeat)
        if self.changed is not None:
            self.changed(cell)
        return cell

    @property
    def _owner_ends(self) -> bool:
        """Whether the owner was told to end: nobody is started for it any more."""
        return self.owner is not None and self.owner.halt in FINAL

    def _check_open(self, name: str | None) -> None:
        if self.closing or self._owner_ends:
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
        if not is_name(name):
            raise ValueError(
                f"{name!r} is no name for an actor. Write a text without a slash."
            )
        self.runtime.touch("name", f"{self.path}/{name}", write=False)
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
        spec = self.specs.get(cell.name) if self.specs is not None else None
        try:
            await self.wait_started(cell)
        except BaseException:
            if self.specs is not None and self.specs.get(cell.name) is spec:
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
            if CURRENT.get() is None:  # who is no actor takes part in no deadlock
                await cell.until_phase(cell.has_come_up)
            else:
                with waiting_for(cell, cell.has_come_up):
                    await cell.until_phase(cell.has_come_up)
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

    def _start_in_nursery(
        self, fn: Callable[..., Awaitable[object]], name: str
    ) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(fn, name=name)

    def _start_own(self, fn: Callable[[], Awaitable[object]], name: str) -> None:
        """Start a task of the system's own, in the system's context."""
        if self._nursery is None:
            self._waiting.append(partial(self._start_own, fn, name))
        else:
            # Trio copies the context in which this is called: one copy is enough.
            self.system._context.run(self._start_in_nursery, fn, name)

    def host(self, family: Family) -> None:
        """Start the task of a child's own family, beside the child."""
        self._start_own(family.run, f"{family.path}/*")

    def start_task(
        self, fn: Callable[..., Awaitable[object]], args: tuple[Any, ...]
    ) -> None:
        """Run an inner task: its failure is the owner's, its end the incarnation's."""
        if self.closing:
            raise not_open(self.path, "task")
        inner = InnerTask(fn, args, self.path)
        self._tasks[inner] = None
        # As in trio, a task has the context of who starts it; but it acts as the actor.
        context = copy_context()
        context.run(CURRENT.set, self.owner)
        name = f"{self.path}:{getattr(fn, '__qualname__', fn)}"

        guarded = partial(self._guard, inner)  # no frame that Ctrl-C could hit
        self._start(lambda: context.run(self._start_in_nursery, guarded, name))

    def cancel_tasks(self) -> None:
        """Cancel all inner tasks; it concerns also those that go on already."""
        for inner in list(self._tasks):
            self.runtime.touch("turn", inner.who)
            inner.scope.cancel()

    @enable_ki_protection
    async def _guard(self, inner: InnerTask) -> None:
        try:
            with inner.scope:
                await _unprotected(inner)
        except Exception as error:
            self._task_failed(error)
        except BaseException as error:  # noqa: ASYNC103  # Cancelled is split off
            cancelled, rest = split_cancelled(error)
            if rest is not None:
                self.system._fail(rest)
            if cancelled is not None:  # pragma: no cover  # only if trio tears it down
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


async def settle(cells: Callable[[], Iterable[Cell]]) -> None:
    """Wait until all *cells* are idle at the same moment."""
    waited = True
    while waited:
        waited = False
        for cell in cells():
            if not cell.is_found_idle():
                waited = True
                await cell.wait_idle()
            if cell.under is not None:  # whose children are looked at in this step
                cell.runtime.touch("spawn", cell.path)


def is_name(value: object) -> bool:
    """Whether *value* can be the name of an actor or of a system."""
    return isinstance(value, str) and bool(value) and "/" not in value


def walk(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Iterate over *cells* and all below them, parents first."""
    left = list(reversed(list(cells)))
    while left:
        cell = left.pop()
        yield cell
        if cell.under is not None:
            left.extend(reversed(cell.under.in_order()))


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
        + (f": {show(exit.error)}" if exit.error is not None else f" ({exit.kind})")
        + ". The cause is what its __init__ or started() raised."
    )
    error.__cause__ = exit.error
    return error


@disable_ki_protection
async def _unprotected(inner: InnerTask) -> None:
    """Run an inner task so that Ctrl-C reaches it."""
    await inner.fn(*inner.args)
