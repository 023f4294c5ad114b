"""What a step of a controlled run depends on: what it touches, and time.

Rules of this file:

* A footprint is what a step did touch: what the core says by `touch()`, and the turn
  of each task that ran in it.
* What can no longer happen is kept as a ghost: the search has to know of it.
* Names and counts are an owner's own: they are the same in every schedule.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from .._errors import AskDeadlock, leaves
from .._runtime import Alarm, Resource
from .._waits import CURRENT
from ._circles import Circles, Known
from ._clock import WorldClock
from ._events import CLOCK, SEEN, Event, Ghost, Run
from ._faults import Rules
from ._parts import Parts
from ._seam import WHO, WorldRuntime
from ._timed import Timed

if TYPE_CHECKING:
    import trio
    from trio.lowlevel import Task

    from .._cell import Cell
    from ._senders import Senders

HISTORY = ("history", "")
"""What clients were answered before others asked; a checker of histories looks at it.
"""

_SPECIAL = ("rng", "room", "stream")

RACES = 5
"""How often in a run time may pass before what else could happen: what repeats could go
on for ever."""


class Footprints(WorldRuntime):
    """The part of a pilot that sees what steps touch, and when time may pass."""

    most = 100_000
    """A run of more steps than that never ends, nor one step of so many turns of trio's
    loop."""
    sees_waits = True

    def __init__(self, clock: WorldClock, rules: Rules) -> None:
        super().__init__(rules.seed, clock)
        self.rules: Rules = rules
        self.run: Run = Run()
        self.circles: Circles | None = None  # with the first wait of an actor
        self.known_circles: Known = {}
        self.senders: Senders  # the pilot sets it
        self.failed: Callable[[Exception], None]  # the world sets it
        self.step: Event | None = None  # the one that goes on
        self.parts: Parts | None = None  # of that, where somebody wants to know
        self.caveats: dict[str, None] = {}  # why not every order was tried
        self.recording: bool = True
        self.at: int = -1  # the step that goes on; -1 before the first
        self.watched: bool = False  # somebody looks after each step
        self.looked: bool = False  # somebody looks at one, in this run or another
        self.many: bool = False  # somebody has several tasks that send
        self.weighs: bool = False  # somebody is chosen by its load, here or before
        self.drew: bool = False  # somebody took a random number
        self._counts: dict[str, int] = {}
        # Deadlines: in which step each was set, and by whom.
        self._armed: dict[trio.CancelScope, tuple[int, str]] = {}
        self._races = 0
        self.turns = 0  # of trio's loop, since the last step
        self._may_expire = self._expires = False

    def open(self) -> None:
        """Bind to the loop that runs."""
        super().open()
        # What the core notes for itself is no look at the clock of a handler's.
        self.now = self.clock.read

    # --- What steps touch ---

    def touch(self, resource: Resource, owner: str, *, write: bool = True) -> None:
        """Note what the step that goes on reads or writes."""
        step = self.step
        if resource == "all":
            self._look()
        elif step is not None:
            footprint, touched = step.footprint, (resource, owner)
            if write or touched not in footprint:
                footprint[touched] = write
            if self.parts is not None:
                self.parts.touch(touched, write=write)
        if resource in _SPECIAL:
            self._touch_special(resource, write=write)

    def _touch_special(self, resource: Resource, *, write: bool) -> None:
        """Note what an order may hang on beside what the footprint tells."""
        if resource == "stream":
            self.note("a stream was read, in whatever order its values came")
        elif resource == "room" and not write:
            self.weighs = True
            self.note("an actor was chosen by its load")
        elif resource == "rng":
            self.drew = True

    def _look(self) -> None:
        """Note that this step looks at all there is, of which each has a part."""
        if self.watched or not self.recording:
            return  # all do, or it is over
        self.looked = True
        for event in self.run.trace:
            event.footprint.setdefault(SEEN, False)
        if self.step is not None:
            self.step.footprint[SEEN] = True

    def see(self, event: Event) -> None:
        """Note who looks at an event, besides those who have to do with it."""
        if self.watched:
            event.footprint[SEEN] = True
        elif self.looked:
            event.footprint.setdefault(SEEN, False)

    def running(self, tasks: Sequence[Task]) -> None:
        """Note that tasks run in the step that goes on.

        A task that goes on and on in it, and never waits, is ended.
        """
        self.turns += 1
        if self.turns == self.most:
            self.goes_on_and_on()
        step = self.step
        if step is None:
            return
        footprint, writes = step.footprint, step.kind != "message"
        if self.parts is not None and len(tasks) > 1:
            self.parts.begin_crowd(footprint)
        for task in tasks:
            cell = task.context.get(CURRENT)
            touched = ("turn", _outside(task) if cell is None else cell.path)
            if writes or touched not in footprint:
                footprint[touched] = True

    def part_ends(
        self, task: Task, others: Collection[Task], woken: Collection[Task]
    ) -> None:
        """Note that a task has come to a checkpoint, and who goes on now."""
        parts = self.parts
        if parts is None or self.step is None or not (others or woken or parts.done):
            return
        parts.end(task, whose(task), others, woken, self.step.footprint)

    def end_parts(self) -> None:
        """Keep the parts of the step that ends, if it had several."""
        if self.parts is not None and (done := self.parts.done):
            while not self.many and done and done[-1].is_idle:
                done.pop()
            if len(done) > 1:
                self.run.parts[self.at] = done
            self.parts = Parts()

    @property
    def moment(self) -> tuple[int, int]:
        """The step, and the turn of trio's loop in it."""
        return self.at, self.turns

    def goes_on_and_on(self) -> None:
        """End a step that comes to no end."""

    def see_wait(self, asker: Cell, target: Cell) -> None:
        """Note who waits for whom."""
        if self.circles is None:
            self.circles = Circles(self, self.known_circles)
        self.circles.begin(asker, target)

    def see_failed_turn(self, failure: BaseException | str) -> None:
        """Fail on a deadlock that its actor does not catch, whoever else may."""
        if isinstance(failure, BaseException) and self.recording:
            for error in leaves(failure):
                if isinstance(error, AskDeadlock):
                    self.failed(AssertionError(f"deadlock: {error}"))

    def record(self, *, answered: bool) -> None:
        """Note that a client asks, or has an answer, and that somebody writes it down.

        Who asks first matters to no checker of histories: only who is answered before.
        """
        if self.step is not None:
            footprint = self.step.footprint
            footprint[HISTORY] = answered or footprint.get(HISTORY, False)

    def watch(self) -> None:
        """Note that from here on somebody looks after each step.

        There no two steps may change places. Those before would have been looked at
        had they come later.
        """
        self.watched = self.looked = True
        for event in self.run.trace:
            event.footprint.setdefault(SEEN, False)
        if self.step is not None:
            self.step.footprint[SEEN] = True

    def note(self, caveat: str) -> None:
        """Note why a search of all orders is not one of all orders."""
        self.caveats[caveat] = None

    def who(self) -> str:
        """Return who acts: the path of an actor, the name of a client."""
        cell = CURRENT.get()
        return WHO.get() if cell is None else cell.path

    def count(self, owner: str) -> int:
        """Count what an owner does, for names that no schedule changes."""
        self._counts[owner] = number = self._counts.get(owner, 0) + 1
        return number

    # --- Ghosts ---

    def haunt(self, event: Event) -> None:
        """Remember what could have happened until this step."""
        if self.recording and event.sent < self.at:
            self.add_ghost(event)
        elif self.parts is not None and event.part < len(self.parts.done):
            self.run.missed.append(event)

    def add_ghost(self, event: Event) -> None:
        """Remember what can no longer happen, with what it would have touched."""
        if any(one.place < 0 for one in event.after):
            return  # it comes behind what did not happen either
        self.foresee(event)
        self.see(event)
        self.run.ghosts.append(Ghost(event, self.at))

    def foresee(self, event: Event) -> None:
        """Say what an event will touch at least, as everything is now."""

    # --- Time ---

    def call_at(
        self, when: float, fire: Callable[[], None], owner: str, key: object = None
    ) -> Alarm:
        """Call *fire* at a time; which comes next depends on the time of this step."""
        alarm = Timed(self, when, fire, owner, key)
        heapq.heappush(self.alarms, alarm)
        self.look_at_clock()
        return alarm

    def look_at_clock(self) -> None:
        """Note that the step depends on what time it is."""
        self.touch("clock", "", write=False)

    def deadline_set(self, scope: trio.CancelScope) -> tuple[str, int]:
        """Note a deadline of trio's; return its place among those of one moment."""
        self.look_at_clock()
        who = self.who()
        self._armed[scope] = self.at, who
        return who, self.count(who)

    def deadline_gone(self, scope: trio.CancelScope, deadline: float) -> None:
        """Note that a deadline was taken back, or has expired."""
        armed, who = self._armed.pop(scope, (self.at, self.who()))
        if self._expires:
            self.touch("turn", who)  # though it may go on already, and need no waking
        else:
            self.taken_back(armed, deadline, races=True)
        self._expires = False

    def may_expire(self) -> bool:
        """Whether a deadline may expire now: one, when time has passed to it."""
        may, self._may_expire = self._may_expire, False
        self._expires = may
        return may

    def taken_back(self, armed: int, when: float, *, races: bool) -> None:
        """Note that something will not come, to which time could have passed."""
        self.look_at_clock()
        if races and self._may_wait(when):
            self.haunt(self._time_passes(self._since({armed})))

    def miss_ticks(self) -> None:
        """Remember that time could have passed further than it passes now.

        What says that something took too long stands before what may race.
        """
        if self.rules.race and (self._racing() or self._armed):
            self.haunt(self._time_passes(self._since(set())))

    def _racing(self) -> list[Timed]:
        """Return the alarms that may come before what else could happen."""
        every = (one for one in self.alarms if isinstance(one, Timed))
        return [one for one in every if one.races and not one.cancelled]

    def _since(self, armed: set[int]) -> int:
        """Return the step before which time could not pass to anything.

        If more than one step has set something it is not known: time might pass to
        what another one has set.
        """
        armed.update(at for at, _ in self._armed.values())
        armed.update(one.armed for one in self._racing())
        return armed.pop() if len(armed) == 1 else -1

    def _time_passes(self, armed: int) -> Event:
        return Event(("tick",), "tick", "", {CLOCK: True}, armed)

    def next_tick(self, deadline: float, *, alone: bool) -> tuple[Event, float] | None:
        """Return the passing of time to what is due next, and when that is.

        Args:
            deadline: The next one of trio's.
            alone: Nothing else can happen.
        """
        due = self.next_alarm() if self.alarms else math.inf
        when = min(deadline, due)
        if when == math.inf:
            return None
        alarm = self.alarms[0] if due <= deadline else None
        races = self._may_wait(when) and (not isinstance(alarm, Timed) or alarm.races)
        if races and self._races >= RACES:
            self.note(
                f"time passed early only {RACES} times in a run; with timers='idle' it"
                " passes when nothing else can happen"
            )
            races = False
        if not races and not alone:
            return None
        tick = self._time_passes(self._since(set()))
        tick.barrier = not races
        if isinstance(alarm, Timed):
            tick.dst = alarm.owner
        tick.label = f"time {when:g}"
        return tick, when

    def _may_wait(self, when: float) -> bool:
        """Whether what could happen may be as late as that."""
        late = when - self.clock.time
        return self.rules.race or late <= self.rules.faults.delay

    def pass_time(self, when: float, deadline: float) -> None:
        """Move the clock, and fire one alarm; a deadline is trio's to see."""
        self.clock.time = max(self.clock.time, when)
        if self.next_alarm() <= min(deadline, self.clock.time):
            alarm = heapq.heappop(self.alarms)
            fire, alarm.fire = alarm.fire, _nothing
            alarm.cancelled = True
            fire()
        else:
            self._may_expire = True


def whose(task: Task) -> str:
    """Return who a task acts for: the path of an actor, the name of a client."""
    cell = task.context.get(CURRENT)
    return _outside(task) if cell is None else cell.path


def _outside(task: Task) -> str:
    """Return who a task acts for that is no actor's."""
    if task.name.startswith(("/", "trio_actors ")):
        return task.name  # an actor's first step; a family; the system's own
    return task.context.get(WHO) or "test"


def _nothing() -> None:
    """What has happened."""
