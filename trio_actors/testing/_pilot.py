"""The seam under control: it holds back what could happen, and does what was chosen.

Rules of this file:

* An actor takes one message at a time; a message is enabled while it waits for one.
  Of two with the same key the first comes first: that is what is promised (ORD-1).
* A footprint is what a step did touch: what the core says by `touch()`, and the turn
  of each task that ran in it.
* What can no longer happen is kept as a ghost: the search has to know of it.
* Names and counts are an owner's own: they are the same in every schedule.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from .._halts import Watch
from .._messages import Signal
from .._runtime import Alarm, Resource
from .._waits import CURRENT
from ._clock import WorldClock
from ._events import Event, Ghost, Key, Run, Search
from ._faults import NO_FAULTS, Faults, Plan
from ._held import WHO, Held, HeldBox, HeldCall, Timed
from ._world import WorldRuntime, crash

if TYPE_CHECKING:
    import trio
    from trio.lowlevel import Task

CLOCK = ("clock", "")
RACES = 5
"""How often in a run time may pass before what else could happen: what repeats could go
on for ever."""


@attrs.frozen(kw_only=True)
class Rules:
    """What is possible in a run."""

    seed: int = 0
    race: bool = True
    """Time may pass before what else could happen."""
    enqueue: bool = False
    """Messages are taken in the order in which they were sent, whoever sent them."""
    allow_io: bool = False
    faults: Faults = NO_FAULTS
    sampled: bool = True
    """Faults come unplanned, as events of their own."""


class Pilot(WorldRuntime):
    """The runtime of one run under control."""

    box_type = HeldBox
    call_type = HeldCall
    finds_cycles = False  # that reads the state of others; a deadlock is found at rest
    batch = 1

    def __init__(
        self, search: Search, clock: WorldClock, rules: Rules, plan: Plan = ()
    ) -> None:
        super().__init__(rules.seed, clock)
        self.search: Search = search
        self.rules: Rules = rules
        self.plan: Plan = plan
        self.run: Run = Run()
        self.step: Event | None = None  # the one that goes on
        self.boxes: dict[str, HeldBox] = {}
        self.caveats: dict[str, None] = {}  # why not every order was tried
        self.recording: bool = True
        self._channels: dict[Key, deque[Held]] = {}
        self._serial = 0
        self._counts: dict[str, int] = {}
        self._taken: dict[Key, int] = {}  # how many messages of a key were delivered
        self._armed: dict[trio.CancelScope, int] = {}
        self._races = 0
        self._may_expire = self._expires = False

    def open(self) -> None:
        """Bind to the loop that runs."""
        super().open()
        # What the core notes for itself is no look at the clock of a handler's.
        self.now = lambda: self.clock.time
        self.clock.observer = self

    # --- What steps touch ---

    @property
    def at(self) -> int:
        """The step that goes on; -1 before the first."""
        return len(self.run.trace) - 1

    def touch(self, resource: Resource, owner: str, *, write: bool = True) -> None:
        """Note what the step that goes on reads or writes."""
        if self.step is not None:
            touched = (resource, owner)
            if write or touched not in self.step.footprint:
                self.step.footprint[touched] = write
        if resource == "room" and not write:
            self.note("an actor was chosen by its load")

    def ran(self, task: Task) -> None:
        """Note that a task runs in the step that goes on."""
        step = self.step
        if step is None:
            return
        cell = task.context.get(CURRENT)
        if cell is not None:
            path = cell.path
        elif task.name.startswith(("/", "trio_actors ")):
            path = task.name  # an actor's first step; a family; the system's own
        else:
            path = task.context.get(WHO) or "test"
        touched = ("turn", path)
        if touched not in step.footprint or step.kind != "message":
            step.footprint[touched] = True

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

    # --- What is held back ---

    def hold(self, held: Held) -> None:
        """Hold back what could happen, behind what has the same key."""
        self._serial += 1
        held.serial = self._serial
        self._channels.setdefault(held.key, deque()).append(held)

    def begin(self, who: str, apply: Callable[[], None]) -> None:
        """Let a client begin when it is chosen."""
        key, footprint = ("start", who), {("turn", who): True}
        self.hold(Held(key, "start", who, footprint, self.at, who, apply=apply))

    def mail(self, box: HeldBox, item: Any) -> None:
        """Hold a message until its actor takes it."""
        dst = box.cell.path
        if isinstance(item, Signal):
            src = item.target.path if isinstance(item, Watch) else "clock"
        else:
            src = self.who()
            self._obey_first(src, dst)
        held = Held(
            ("message", src, dst),
            "message",
            dst,
            {},
            self.at,
            src,
            apply=lambda: box.deliver(held),
            item=item,
        )
        box.held[held] = None
        if self.rules.enqueue:
            self.touch("room", dst)
        self.hold(held)

    def reply(self, call: HeldCall[Any], value: Any, error: Any) -> None:
        """Hold an answer until it arrives."""
        src, dst = call.target.path, call.asked_by
        held = Held(
            ("reply", src, dst),
            "reply",
            dst,
            {("turn", dst): True},
            self.at,
            src,
            apply=lambda: call.arrive(value, error),
            item=value if error is None else error,
        )
        self.hold(held)

    def control(self, apply: Callable[[], None], path: str, verb: str) -> None:
        """Let a command act when it is chosen."""
        src = self.who()
        footprint = {("turn", path): True, ("life", path): True}
        key = ("control", src, path)
        self.hold(
            Held(key, "control", path, footprint, self.at, src, verb, apply=apply)
        )

    def _obey_first(self, src: str, dst: str) -> None:
        """Let commands act before what the same sender sends after them."""
        key = ("control", src, dst)
        while key in self._channels:
            held = self._channels[key][0]
            self.miss(held)
            held.apply()

    def miss(self, held: Held) -> None:
        """Take out what can no longer happen; its ghost is kept, if it could have."""
        queue = self._channels[held.key]
        if queue[0] is held:
            self._haunt(held)
        queue.remove(held)
        if not queue:
            del self._channels[held.key]

    def _haunt(self, event: Event) -> None:
        if self.recording and event.sent < self.at:
            self._foresee(event)
            self.run.ghosts.append(Ghost(event, self.at))

    def _foresee(self, event: Event) -> None:
        """Say what a message will touch at least, as its receiver is now."""
        if isinstance(event, Held) and event.kind == "message":
            reads = self.boxes[event.dst].reads_only(event.item)
            event.footprint = {("turn", event.dst): not reads or self._crashes(event)}

    def _crashes(self, held: Held) -> bool:
        """Whether it is planned that this message is the last of its actor's turn."""
        if not self.plan:
            return False
        return (held.src, held.dst, self._taken.get(held.key, 0) + 1) in self.plan

    # --- Time ---

    def call_at(
        self, when: float, fire: Callable[[], None], owner: str, key: object = None
    ) -> Alarm:
        """Call *fire* at a time; which comes next depends on the time of this step."""
        alarm = Timed(self, when, fire, owner, key)
        heapq.heappush(self._alarms, alarm)
        self.look_at_clock()
        return alarm

    def look_at_clock(self) -> None:
        """Note that the step depends on what time it is."""
        self.touch("clock", "", write=False)

    def deadline_set(self, scope: trio.CancelScope) -> tuple[str, int]:
        """Note a deadline of trio's; return its place among those of one moment."""
        self.look_at_clock()
        self._armed[scope] = self.at
        who = self.who()
        return who, self.count(who)

    def deadline_gone(self, scope: trio.CancelScope) -> None:
        """Note that a deadline was taken back, or has expired."""
        armed = self._armed.pop(scope, self.at)
        if not self._expires:
            self.taken_back(armed, races=True)
        self._expires = False

    def may_expire(self) -> bool:
        """Whether a deadline may expire now: one, when time has passed to it."""
        may, self._may_expire = self._may_expire, False
        self._expires = may
        return may

    def taken_back(self, armed: int, *, races: bool) -> None:
        """Note that something will not come, to which time could have passed."""
        self.look_at_clock()
        if races and self.rules.race:
            self._haunt(self._time_passes(armed))

    def _time_passes(self, armed: int) -> Event:
        return Event(("tick",), "tick", "", {CLOCK: True}, armed)

    def next_tick(self, deadline: float, *, alone: bool) -> tuple[Event, float] | None:
        """Return the passing of time to what is due next, and when that is.

        Args:
            deadline: The next one of trio's.
            alone: Nothing else can happen.
        """
        due = self.next_alarm()
        when = min(deadline, due)
        if when == math.inf:
            return None
        alarm = self._alarms[0] if due <= deadline else None
        races = self._may_wait(when) and (not isinstance(alarm, Timed) or alarm.races)
        if races and self._races >= RACES:
            self.note(f"time passed early only {RACES} times in a run")
            races = False
        if not races and not alone:
            return None
        tick = self._time_passes(-1)
        tick.barrier = not races
        if alarm is None:
            armed = [at for scope, at in self._armed.items() if scope.deadline == when]
            tick.sent = min(armed, default=-1)
        elif isinstance(alarm, Timed):
            tick.sent, tick.dst = alarm.armed, alarm.owner
        tick.label = f"time {when:g}"
        return tick, when

    def _may_wait(self, when: float) -> bool:
        """Whether what could happen may be as late as that."""
        late = when - self.clock.time
        return self.rules.race or late <= self.rules.faults.delay

    # --- Steps ---

    def enabled(self) -> list[Event]:
        """Return what can happen next, the oldest first."""
        heads = [queue[0] for queue in self._channels.values()]
        found = [
            held for held in heads if held.kind != "message" or self._is_next(held)
        ]
        found.sort(key=lambda held: held.serial)
        for held in found:
            self._foresee(held)
        return [*found]

    def _is_next(self, held: Held) -> bool:
        """Whether the actor waits for this message."""
        box = self.boxes[held.dst]
        if not box.is_free:
            return False
        return not self.rules.enqueue or next(iter(box.held)) is held

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held back."""
        return not self._channels

    def choose(self, enabled: list[Event], *, alone: bool) -> Event:
        """Let the search choose, and note the step that begins."""
        if not self.recording:
            return enabled[0]
        rank = self.search.choose(self.run.trace, enabled)
        chosen = enabled[rank]
        if chosen.kind == "tick" and not alone:
            self._races += 1
        chosen.busy = frozenset(
            path
            for path, box in self.boxes.items()
            if not box.is_free and box.cell.phase != "stopped"
        )
        self.run.trace.append(chosen)
        self.run.ranks.append(rank)
        self.step = chosen
        return chosen

    def do(self, held: Held) -> None:
        """Let what was chosen happen."""
        if held.kind == "message":
            if self._crashes(held):
                crash(self.boxes[held.dst].cell)
            self._taken[held.key] = self._taken.get(held.key, 0) + 1
        queue = self._channels[held.key]
        queue.popleft()
        if not queue:
            del self._channels[held.key]
        held.apply()

    def pass_time(self, when: float, deadline: float) -> None:
        """Move the clock, and fire one alarm; a deadline is trio's to see."""
        self.clock.time = max(self.clock.time, when)
        if self.next_alarm() <= min(deadline, self.clock.time):
            alarm = heapq.heappop(self._alarms)
            fire, alarm.fire = alarm.fire, _nothing
            alarm.cancelled = True
            fire()
        else:
            self._may_expire = True

    def end(self, deadline: float) -> None:
        """End the run: what could still have happened becomes a ghost."""
        if not self.recording:
            return
        for queue in self._channels.values():
            self._foresee(queue[0])
            self.run.ghosts.append(Ghost(queue[0], self.at))
        tick = self.next_tick(deadline, alone=False)
        if tick is not None:
            self.run.ghosts.append(Ghost(tick[0], self.at))
        self.recording = False
        self.step = None


def _nothing() -> None:
    """What has happened."""
