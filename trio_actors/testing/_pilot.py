"""The seam under control: it holds back what could happen, and does what was chosen.

Rules of this file:

* An actor takes one message at a time; a message is enabled while it waits for one.
  Of two with the same key the first comes first: that is what is promised (ORD-1).
* A fault is another way in which what is enabled can go, chosen like an event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

import attrs
import trio
import trio.testing
from trio.lowlevel import Task

from .._halts import Watch
from .._messages import Signal
from ._clock import BLOCKED, WorldClock
from ._events import Event, Key, Over, Search, endless
from ._faults import Plan, Rules, can_go_wrong
from ._footprints import Footprints, whose
from ._held import Held, HeldBox, HeldCall
from ._readers import Reader
from ._senders import Senders
from ._world import crash

_IO = "Keep it out of the test, or write allow_io=True."
_INSTEAD = {BLOCKED: "Write `await world.settled()`."}


class Pilot(Footprints):
    """The runtime of one run under control."""

    box_type = HeldBox
    call_type = HeldCall

    def __init__(
        self, search: Search, clock: WorldClock, rules: Rules, plan: Plan = ()
    ) -> None:
        super().__init__(clock, rules)
        self.run.by_hand = self.by_hand
        self.search: Search = search
        self.plan: Plan = plan
        self.boxes: dict[str, HeldBox] = {}
        self.senders: Senders = Senders(self)
        self.spawned: Callable[[Task, Task], None] = self.senders.spawned
        self.over: bool = False  # the program has ended
        self._channels: dict[Key, deque[Held]] = {}
        self._serial = 0
        self._commands: dict[str, list[Held]] = {}  # that have not acted, by receiver
        self.main: Task | None = None  # the test's own task
        self.reader: Reader | None = None  # the handler that goes on, if it only reads
        self._taken: dict[tuple[str, str], int] = {}  # messages delivered, by pair
        faults = rules.faults
        self._budget = {
            "crash": faults.crash if rules.sampled else 0,
            "drop": faults.drop,
            "duplicate": faults.duplicate,
        }
        self.may_go_wrong: bool = any(self._budget.values())

    def open(self) -> None:
        """Bind to the loop that runs."""
        super().open()
        self.clock.observer = self

    # --- What is held back ---

    def hold(self, held: Held) -> None:
        """Hold back what could happen, behind what has the same key."""
        held.serial = self._serial = self._serial + 1
        if self.parts is not None:
            held.part = len(self.parts.done)
        queue = self._channels.get(held.key)
        if queue is None:
            self._channels[held.key] = deque((held,))
        else:
            queue.append(held)

    def sent(self) -> Iterable[Event]:
        """Return what was sent so far, in this order for each sender and receiver."""
        return chain(self.run.trace, *self._channels.values())

    def begin(self, who: str, apply: Callable[[Held], None]) -> Held:
        """Let a client begin when it is chosen."""
        key, touched = ("start", who), {("turn", who): True}
        self.hold(held := Held(key, "start", who, touched, self.at, who, apply=apply))
        return held

    def mail(self, box: HeldBox, item: Any) -> None:
        """Hold a message until its actor takes it."""
        dst = box.path
        if isinstance(item, Signal):
            src = item.target.path if isinstance(item, Watch) else "clock"
        else:
            who = self.who()
            src = self.senders.name(who) if self.many else who
            # Who only reads, and sends: in which order, is more than to read.
            self.touch("turn", who)
            if self._commands:
                self._obey_first(dst)
        # In the order of sending there is one queue, whoever sends.
        key = ("message", "" if self.rules.enqueue else src, dst)
        held = Held(
            key, "message", dst, {}, self.at, src, apply=box.deliver, item=item, box=box
        )
        if self.rules.enqueue:
            self.touch("room", dst)
        elif self.many and not isinstance(item, Signal):
            self.senders.order(held)
        box.held[held] = None
        self.hold(held)

    def reply(self, call: HeldCall[Any], value: Any, error: Any) -> None:
        """Hold an answer until it arrives."""
        src, dst, who = call.target.path, call.asked_by, call.asked_for
        held = Held(
            ("reply", src, dst),
            "reply",
            dst,
            {("turn", who): True},
            self.at,
            src,
            apply=call.arrive,
            item=value,
            error=error,
        )
        self.hold(held)

    def control(self, apply: Callable[[], None], path: str, verb: str) -> None:
        """Let a command act when it is chosen."""
        src = self.senders.name(self.who()) if self.many else self.who()
        footprint = {("turn", path): True, ("life", path): True}
        key = ("control", src, path)

        def act(_: Held) -> None:
            apply()

        held = Held(key, "control", path, footprint, self.at, src, verb, apply=act)
        if self.many:
            self.senders.order(held)
        self._commands.setdefault(path, []).append(held)
        self.hold(held)

    def _obey_first(self, path: str) -> None:
        """Let commands act before what the same sender sends after them."""
        for held in self._commands.get(path, [])[:]:
            if self.senders.is_behind(held):
                self.miss(held)
                held.apply(held)

    def miss(self, held: Held) -> None:
        """Take out what can no longer happen; its ghost is kept, if it could have."""
        if self._channels[held.key][0] is held:
            self.haunt(held)
        self._leave(held)

    def foresee(self, event: Event) -> None:
        """Say what a message will touch at least, as its receiver is now."""
        if not isinstance(event, Held) or event.box is None:
            return
        box = event.box
        if box.cell.shape.has_batch and not box.tight:
            # It has become who takes batches: nobody knew when it was sent to.
            box.take_batches()
            self.touch("all", "")
        writes = not box.reads_only(event.item) or self._crashes(event)
        event.footprint = {("turn", event.dst): writes}
        event.reads = not writes
        event.foreseen = box.cell.shape
        if box.tight:
            event.footprint["room", event.dst] = True

    def _crashes(self, held: Held) -> bool:
        """Whether it is planned that this message is the last of its actor's turn."""
        if not self.plan:
            return False
        number = self._taken.get((held.src, held.dst), 0) + 1
        return (held.src, held.dst, number) in self.plan

    # --- Steps ---

    def enabled(self) -> list[Event]:
        """Return what can happen next, the oldest first."""
        found: list[Any] = []
        for queue in self._channels.values():
            held = queue[0]
            if held.after and any(
                one in self._channels.get(one.key, ()) for one in held.after
            ):
                continue
            box = held.box
            if box is not None:
                if box.consumer is None or box.hand:
                    continue
                if held.foreseen is not box.cell.shape:
                    self.foresee(held)
            found.append(held)
        if len(found) > 1:
            found.sort(key=_SERIAL)
        return found

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held back."""
        return not self._channels

    def faults(self, enabled: list[Event]) -> list[Event]:
        """Return what may go wrong with what is enabled."""
        own = self.by_hand
        return [
            Held(
                (fault, *held.key),
                "fault",
                held.dst,
                {("turn", held.dst): True},
                held.sent,
                held.src,
                fault,
                apply=partial(self._go_wrong, fault, held),
                item=held.item,
            )
            for held in enabled
            for fault, left in self._budget.items()
            if left and isinstance(held, Held) and can_go_wrong(fault, held, own)
        ]

    def _go_wrong(self, fault: str, held: Held, _: Held) -> None:
        self._budget[fault] -= 1
        box = held.box
        if fault == "crash" and box is not None:
            crash(box.cell)
            self.do(held)
        elif fault == "duplicate" and box is not None:
            copy = attrs.evolve(held)
            box.double(copy)
            self.hold(copy)
            self.do(held)
        else:
            self._leave(held)
            if box is not None and held in box.held:
                box.lose(held)

    def choose(self, enabled: list[Event]) -> Event:
        """Let the search choose, and note the step that begins."""
        if not self.recording:
            return enabled[0]
        if self.at >= self.most:
            raise endless(self.at, self.clock.time)
        self.turns = 0
        run = self.run
        rank = self.search.choose(run.trace, enabled)
        chosen = enabled[rank]
        for path, box in self.boxes.items():
            if (box.consumer is None or box.hand) and box.cell.phase != "stopped":
                chosen.busy |= {path}
        if chosen.kind == "tick":
            if chosen.barrier:
                self.miss_ticks()
            elif len(enabled) > 1 or self.over:
                self._races += 1
        self.end_parts()
        self.at = chosen.place = self.at + 1
        run.trace.append(chosen)
        run.ranks.append(rank)
        self.step = chosen
        if self.looked:
            self.see(chosen)
        return chosen

    def goes_on_and_on(self) -> None:
        """End a step that comes to no end."""
        if self.recording:
            self.failed(endless(self.most, self.clock.time))

    def hold_back(self, tasks: list[Task] | deque[Task]) -> None:
        """Let each task wait until it is chosen, where that is decided each time.

        Who was woken by what was chosen goes on in that step, if it was nobody else.
        """
        if len(tasks) == 1 and not self.turns:
            return
        if self.rules.allow_io and trio.testing.active_thread_count():
            return  # who waits for a thread goes on when that has ended
        root = trio.lowlevel.current_root_task()
        at_once = [
            task
            for task in tasks
            if self.senders.is_host(task)
            or (_parent(task) is root and task is not self.main)  # Trio's own
        ]
        for task in tasks:
            if task in at_once:
                continue
            who = whose(task)
            key = ("step", who, self.senders.name_of(task, who))
            footprint = {("turn", who): True}
            go_on = partial(self.clock.go_on, task)
            self.hold(Held(key, "step", who, footprint, self.at, who, apply=go_on))
        tasks.clear()
        tasks.extend(at_once)

    def ended(self, task: Task) -> None:
        """Note what depends on the end of a task: what goes on after its nursery."""
        parent = _parent(task)
        if self.clock.splits and parent is not None:
            self.touch("turn", whose(parent), write=False)

    def allows(self, what: str) -> bool:
        """Whether that may be which nobody controls: "waits for I/O", say."""
        if self.rules.allow_io or not self.recording:
            return True
        self.failed(
            AssertionError(
                f"the test {what}, which no schedule controls: it would not"
                f" be the same in the next run. {_INSTEAD.get(what, _IO)}"
            )
        )
        return False

    def do(self, held: Held) -> None:
        """Let what was chosen happen."""
        if self.plan and held.box is not None and held.kind == "message":
            if self._crashes(held):
                crash(held.box.cell)
            pair = held.src, held.dst
            self._taken[pair] = self._taken.get(pair, 0) + 1
        if held.reads:
            self.reader = Reader(held, self.boxes[held.dst].cell)
        if held.kind != "fault":
            self._leave(held)
        held.apply(held)

    def check_reader(self) -> None:
        """Check that a handler that says so has changed nothing."""
        reader, self.reader = self.reader, None
        assert reader is not None
        reader.check(self.note)

    def _leave(self, held: Held) -> None:
        """Take out what happens, or never will."""
        if held.kind == "control":
            self._commands[held.dst].remove(held)
        queue = self._channels[held.key]
        if queue[0] is held:
            queue.popleft()
        else:
            queue.remove(held)
        if not queue:
            del self._channels[held.key]

    def let_go(self) -> None:
        """Cut the circles of a run that is over.

        To find them takes the garbage collector a tenth of the smallest run, and it
        would come to them in the middle of another one.
        """
        over: Any = Over()
        self.step = self.circles = self.senders = self.spawned = over
        for box in self.boxes.values():
            box.let_go(over)
        self.boxes.clear()
        self.alarms.clear()
        del self.failed, self.run

    def end(self, deadline: float) -> None:
        """End the run: what could still have happened becomes a ghost."""
        if not self.recording:
            return
        for queue in self._channels.values():
            self.add_ghost(queue[0])
        tick = self.next_tick(deadline, alone=False)
        if tick is not None:
            self.add_ghost(tick[0])
        self.end_parts()
        self.recording = self.clock.splits = self.clock.sees_parts = False
        self.step = None


_SERIAL = attrgetter("serial")


def _parent(task: Task) -> Task | None:
    nursery = task.parent_nursery
    return None if nursery is None else nursery.parent_task
