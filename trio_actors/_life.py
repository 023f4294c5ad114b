"""What an actor is: its parts, its phase, and how others wait for it.

Rules of this file:

* The cell outlives its incarnations: ref, mailbox, name, watches and registrations are
  the cell's; the instance, its timers, children and inner tasks the incarnation's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from trio.lowlevel import Task, checkpoint

from ._behavior import (
    DEFAULT_MAILBOX,
    DEFAULT_SUPERVISION,
    Actor,
    Recipe,
    give_cell,
)
from ._halts import Halt, Options, Phase, Watch
from ._hand import EMPTY
from ._messages import Event, EventKind, Exit
from ._park import Lot
from ._policy import Supervision
from ._ref import ActorRef
from ._timers import Timer
from ._turn import Turns
from ._waits import CURRENT, Wait

if TYPE_CHECKING:
    import trio
    from trio.lowlevel import Task

    from ._box import Box
    from ._cell import Cell
    from ._runtime import Alarm, Runtime
    from ._supervisor import Family
    from ._system import ActorSystem


class Life(Turns):
    """The part of a cell that others see and wait for."""

    __slots__ = (
        "_context",
        "_lot",
        "_phase_lot",
        "awaited",
        "between",
        "exit",
        "family",
        "halt",
        "incarnation",
        "instance",
        "name",
        "options",
        "phase",
        "recipe",
        "scope",
        "waits_for",
        "was_started",
    )

    detail: str = ""
    restarts: int = 0
    became: list[Actor[Any]] | None = None  # the stack of become()
    previous: Actor[Any] | None = None  # what restarted() may take over from
    failed_start: bool = False
    abandoned_by: bool = False  # its significant children have ended
    swept_for: BaseException | None = None  # the sibling's failure
    go: bool = False
    hung: bool = False
    under: Family | None = None  # its children
    first_failure: BaseException | None = None  # why it is restarted
    upward: BaseException | None = None  # what fails its parent at its end
    extras: list[BaseException] | None = None  # failures of the clean-up
    watchers: dict[Watch, None] | None = None
    watching: dict[Cell, Watch] | None = None
    links: dict[Cell, None] | None = None
    timers: dict[Any, Timer] | None = None
    keys: dict[str, ActorRef[Any]] | None = None
    topics: dict[str, None] | None = None
    alive_at: float = -math.inf  # context.heartbeat()
    _injected: list[BaseException] | None = None
    _resume: bool = False
    _hook_scope: trio.CancelScope | None = None
    _deadline: Alarm | None = None

    def __init__(
        self, family: Family, name: str, recipe: Recipe, options: Options
    ) -> None:
        super().__init__()
        me = self.me
        self.exit: Exit | None = None
        self.awaited: bool = False  # a spawner waits for the first start
        self.between: bool = False  # its old incarnation has ended, or ends
        self.family: Family = family
        self.name: str = name
        self.path: str = f"{family.path}/{name}"
        self.recipe: Recipe = recipe
        self.options: Options = options
        self.system: ActorSystem = family.system
        runtime = family.runtime
        self.runtime: Runtime = runtime
        self.size: int = runtime.batch
        self.ref: ActorRef[Any] = ActorRef(me)
        cls = recipe.cls
        default = DEFAULT_MAILBOX if cls is None else cls.mailbox
        self.box: Box = runtime.box_type(options.mailbox or default, me)
        self._context: Any = None
        self.instance: Actor[Any] | None = None
        self.phase: Phase = "starting"
        self.halt: Halt = Halt.NONE
        self.incarnation: int = 0
        self.was_started: bool = False  # once, in any incarnation
        self.scope: trio.CancelScope | None = None
        self.waits_for: Wait | None = None
        # Who waits for something that `signal()` tells of.
        self._lot: Lot | None = None
        self._phase_lot: Lot | None = None  # who waits for another phase

    @property
    def me(self) -> Cell:
        """The whole of which this class is a part, for type checkers."""
        return self  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    @property
    def context(self) -> Any:
        """What its user calls; made when it is first asked for."""
        if self._context is None:
            self._context = self.family.make_context(self.me)
        return self._context

    # --- What others see ---

    @property
    def supervision(self) -> Supervision:
        """How it supervises its children."""
        source = self.instance or self.recipe.cls
        rules: Supervision = getattr(source, "supervision", DEFAULT_SUPERVISION)
        return self.options.supervision or rules

    @property
    def condition(self) -> str:
        """What it is doing, as in a snapshot."""
        if self.phase == "suspended":
            return "backoff"
        return "starting" if self.phase == "restarting" else self.phase

    @property
    def load(self) -> tuple[bool, int]:
        """What makes another one the better choice for a message."""
        self.runtime.touch("room", self.path, write=False)
        return self.phase != "running", self.box.count + self.handling

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do: no message waits, and no turn runs."""
        if self.phase != "running":
            return self.phase == "stopped"
        busy = self.attention and not self.recipe.is_function
        if busy or self.waits_for is not None:  # a function may ask between messages
            return False
        return not self.box.count and self.current is EMPTY

    def is_found_idle(self) -> bool:
        """Whether it is idle, asked by a step that depends on it."""
        self.read_count()
        return self.is_idle

    def is_drained(self) -> bool:
        """Whether it has handled all there was, and nobody is below it."""
        self.read_count()
        return not self.box.count and self.under is None

    def read_count(self) -> None:
        """Say that this step depends on what waits here: on turns, and on sends."""
        self.runtime.touch("turn", self.path, write=False)
        self.runtime.touch("life", self.path)

    def admits(self) -> bool:
        """Whether the sender of this step may send to it while it drains.

        Those in the tree may while the system settles, those in its subtree when an
        actor drains.
        """
        sender = CURRENT.get()
        draining = [one for one in self.and_above() if one.halt is Halt.DRAIN]
        if sender is None or not draining:
            return sender is not None
        return draining[-1] in sender.and_above()

    def and_above(self) -> list[Cell]:
        """Return the actor and those above it, the nearest first."""
        found: list[Cell] = []
        cell: Cell | None = self.me
        while cell is not None:
            found.append(cell)
            cell = cell.family.owner
        return found

    # --- Waiting for a cell ---

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something holds that `signal()` tells of."""
        while not reached():
            if self._lot is None:
                self._lot = Lot()  # trio.Event wakes its tasks in set order
            await self._lot.park()

    def signal(self) -> None:
        """Let those who wait look again."""
        if self._lot:
            self._lot.unpark_all()

    async def until_phase(self, reached: Callable[[], bool]) -> None:
        """Wait until something holds that only another phase can bring about.

        Whoever waits for an end is not woken by each turn: a step that wakes somebody
        depends on whether he waits already.
        """
        while True:
            self.runtime.touch("life", self.path, write=False)
            if reached():
                return
            if self._phase_lot is None:
                self._phase_lot = Lot()
            await self._phase_lot.park()

    async def wait_idle(self) -> None:
        """Wait until it has nothing to do."""
        await self.until(self.is_found_idle)

    async def wait_for_phase(self, *phases: Phase) -> None:
        """Wait until it is in one of *phases*."""
        await self.until_phase(lambda: self.phase in phases)

    def has_come_up(self) -> bool:
        """Whether its first start has ended, well or not."""
        return self.was_started or self.phase == "stopped"

    def has_ended(self) -> bool:
        """Whether it has stopped for good."""
        return self.phase == "stopped"

    @property
    def is_cut_short(self) -> bool:
        """Whether its turn is cancelled already, or will be: then it waits in vain."""
        doomed = self.halt in (Halt.RESTART, Halt.KILL) or self._injected is not None
        return doomed or self._deadline is not None

    def receive_in(self, task: Task) -> None:
        """Note where a function receives; what it waits for elsewhere holds up none."""
        if self.worker is not task:
            self.worker: Task | None = task
            self.waits_for = None

    async def wait_ended(self) -> Exit:
        """Wait until it has stopped for good. Always a checkpoint."""
        self.runtime.touch("life", self.path, write=False)
        if self.phase == "stopped":
            await checkpoint()
        await self.until_phase(self.has_ended)
        return cast("Exit", self.exit)

    def enter(self, phase: Phase) -> None:
        """Change the phase."""
        self.runtime.touch("life", self.path)
        self.phase = phase
        if self._phase_lot:
            self._phase_lot.unpark_all()

    def announce(
        self, kind: EventKind, error: BaseException | None = None, delay: float = 0.0
    ) -> None:
        """Tell the event stream, and remember it for a crash report."""
        # "started" goes without saying, see remember(); after the end nobody asks.
        if kind not in ("started", "stopped"):
            self.note(kind)
        feed = self.system._event_feed
        if feed.streams:
            feed.emit(Event(kind, self.ref, error, delay))

    # --- Behaviours ---

    def become(self, behavior: Actor[Any] | None) -> None:
        """Change, or with None change back, whose handlers are called."""
        if self.instance is None:
            raise RuntimeError(f"{self.path} does not run: it cannot become anything")
        stack = self.became or []
        if behavior is not None:
            give_cell(behavior, self.me)
            stack = [*stack, behavior]
        elif stack:
            stack = stack[:-1]
        else:
            raise RuntimeError(f"{self.path}: unbecome() without a become() before it")
        self.became = stack
        self.use(stack[-1] if stack else self.instance)
