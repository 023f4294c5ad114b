"""One actor's life, in one task: incarnations, failure, the end.

Rules of this file:

* The cell outlives its incarnations: ref, mailbox, name, watches and registrations are
  the cell's; the instance, its timers, children and inner tasks the incarnation's.
* What ends an incarnation from outside is a `Halt`: it acts at once, never behind
  messages, and a more final one replaces a less final one.
* Nothing is ever raised into the nursery the task lives in: a failure is judged here,
  and what must go up is handed to the parent's cell when this one has ended.
* The ``except`` stands outside of the ``with CancelScope()``, so that the scope has
  taken its own ``Cancelled`` out of a mixed group.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import trio
from trio.lowlevel import (
    ParkingLot,
    checkpoint,
    current_task,
    disable_ki_protection,
    enable_ki_protection,
    wait_task_rescheduled,
)

from ._behavior import (
    DEFAULT_MAILBOX,
    DEFAULT_SUPERVISION,
    Actor,
    Recipe,
    give_context,
    overrides,
)
from ._errors import (
    ActorError,
    DeathPact,
    RestartLimit,
    add_crash_notes,
    cut_own_frames,
    show,
)
from ._mailbox import Door, Mailbox
from ._messages import DeadReason, Event, EventKind, Exit, Signal, Terminated
from ._policy import Heartbeat, RestartType, Supervision, answer_to, judge
from ._ref import CURRENT, ActorRef, Pending, Wait
from ._timers import Timer, cancel_timers
from ._turn import NO_FAST, RING, STASHED, Turns

if TYPE_CHECKING:
    from ._runtime import Alarm
    from ._supervisor import Family

log = logging.getLogger("trio_actors")

Phase: TypeAlias = Literal[
    "starting", "running", "backoff", "suspended", "restarting", "stopping", "stopped"
]
"""``suspended``: it has failed or was swept, and its supervisor will say go."""


class Halt(IntEnum):
    """What ends an incarnation from outside; a higher one replaces a lower one."""

    NONE = 0
    RESTART = 1
    SWEEP = 2
    RETURN = 3
    DRAIN = 4
    STOP = 5
    KILL = 6


VERBS = {
    "restart": Halt.RESTART,
    "return": Halt.RETURN,
    "drain": Halt.DRAIN,
    "stop": Halt.STOP,
    "kill": Halt.KILL,
}


class Watch(Signal):
    """A watch, and at the end of the watched actor its message on the way."""

    __slots__ = ("message", "target", "watcher")

    def __init__(self, watcher: Cell, target: Cell, message: object | None) -> None:
        super().__init__()
        self.watcher = watcher
        self.target = target
        self.message = message

    def open(self) -> object | None:
        """Return the message, None if the watch was taken back."""
        watching = self.watcher.watching
        if watching is None or watching.get(self.target) is not self:
            return None
        del watching[self.target]
        if self.message is not None:
            return self.message
        return Terminated(self.target.ref, cast("Exit", self.target.exit))


class Options:
    """The options of a spawn, with their defaults."""

    __slots__ = (
        "heartbeat",
        "mailbox",
        "restart",
        "shutdown",
        "significant",
        "supervision",
    )

    def __init__(
        self,
        restart: RestartType = "transient",
        shutdown: float = 5.0,
        supervision: Supervision | None = None,
        mailbox: Mailbox | None = None,
        heartbeat: Heartbeat | None = None,
        significant: bool = False,
    ) -> None:
        self.restart: RestartType = restart
        self.shutdown = shutdown
        self.supervision = supervision
        self.mailbox = mailbox
        self.heartbeat = heartbeat
        self.significant = significant


class Cell(Turns):
    """An actor, from its spawn to its end."""

    __slots__ = (
        "_deadline",
        "_hook_scope",
        "_injected",
        "_lot",
        "_resume",
        "abandoned_by",
        "alive_at",
        "awaited",
        "became",
        "between",
        "context",
        "detail",
        "exit",
        "extras",
        "failed_start",
        "family",
        "first_failure",
        "go",
        "halt",
        "hung",
        "incarnation",
        "instance",
        "keys",
        "links",
        "name",
        "options",
        "phase",
        "previous",
        "recipe",
        "restarts",
        "scope",
        "swept_for",
        "timers",
        "topics",
        "under",
        "upward",
        "waits_for",
        "was_started",
        "watchers",
        "watching",
    )

    def __init__(
        self, family: Family, name: str, recipe: Recipe, options: Options
    ) -> None:
        super().__init__()
        self.family = family
        self.name = name
        self.path = f"{family.path}/{name}"
        self.recipe = recipe
        self.options = options
        self.system = family.system
        runtime = self.runtime = family.runtime
        self.uid = runtime.next_id()
        self.ref: ActorRef[Any] = ActorRef(self)
        mailbox = options.mailbox or getattr(recipe.cls, "mailbox", DEFAULT_MAILBOX)
        self.box = runtime.box_type(mailbox, self)
        self.context: Any = None
        self.instance: Actor[Any] | None = None
        self.became: list[Actor[Any]] | None = None  # the stack of become()
        self.previous: Actor[Any] | None = None  # what restarted() may take over from
        self.phase: Phase = "starting"
        self.halt = Halt.NONE
        self.detail = ""
        self.exit: Exit | None = None
        self.incarnation = self.restarts = 0
        self.was_started = False  # once, in any incarnation
        self.awaited = False  # a spawner waits for the first start
        self.failed_start = False
        self.between = False  # its old incarnation has ended, or ends
        self.abandoned_by = False  # its significant children have ended
        self.swept_for: BaseException | None = None  # the sibling's failure
        self.go = False
        self.hung = False
        self.scope: trio.CancelScope | None = None
        self.under: Family | None = None  # its children
        self.first_failure: BaseException | None = None  # why it is restarted
        self.upward: BaseException | None = None  # what fails its parent at its end
        self.extras: list[BaseException] | None = None  # failures of the clean-up
        self.waits_for: Wait | None = None
        self.watchers: dict[Watch, None] | None = None
        self.watching: dict[Cell, Watch] | None = None
        self.links: dict[Cell, None] | None = None
        self.timers: dict[Any, Timer] | None = None
        self.keys: dict[str, ActorRef[Any]] | None = None
        self.topics: dict[str, None] | None = None
        self.alive_at = -math.inf  # context.heartbeat()
        self._injected: list[BaseException] | None = None
        self._resume = False
        self._lot: ParkingLot | None = None
        self._hook_scope: trio.CancelScope | None = None
        self._deadline: Alarm | None = None

    # --- What others see ---

    @property
    def supervision(self) -> Supervision:
        """How it supervises its children."""
        source = self.instance or self.recipe.cls
        return self.options.supervision or getattr(
            source, "supervision", DEFAULT_SUPERVISION
        )

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
        return not self.box.count and self.current is None and not busy

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
        cell: Cell | None = self
        while cell is not None:
            found.append(cell)
            cell = cell.family.owner
        return found

    # --- Asked from outside ---

    def command(self, verb: str, detail: str = "") -> None:
        """Do what a verb of the ref says."""
        self.request(VERBS[verb], detail)

    def request(self, halt: Halt, detail: str = "") -> None:
        """End the incarnation; never waits, never queues behind messages."""
        if self.phase == "stopped" or halt <= self.halt:
            return
        self.runtime.touch("life", self.path)
        self.halt = halt
        self.detail = detail or self.detail
        if halt >= Halt.DRAIN:
            cancel_timers(self)
        if halt is Halt.DRAIN:
            self.family.drain(self)
        if halt >= Halt.STOP:
            self.box.shut(Door.CLOSED, self.box.refusal)
            self.bury_all("stopped")  # their askers need not wait for our goodbye
        if halt is Halt.KILL and self.under is not None:
            self.under.close(Halt.KILL)
        if halt in (Halt.KILL, Halt.RESTART):
            self._cancel(halt)
        elif halt in (Halt.STOP, Halt.SWEEP) and self.phase != "suspended":
            self._set_deadline()
        self._rouse()

    def shut_down_by_children(self) -> None:
        """End because significant children have ended (SUP-9)."""
        self.abandoned_by = True
        self.request(Halt.RETURN)

    def fail(self, error: BaseException, *, hung: bool = False) -> None:
        """Let the incarnation fail for something outside of its handlers."""
        if self.phase in ("stopping", "stopped"):
            return
        if self._injected is None:
            self._injected = []
        self._injected.append(error)
        self.hung = hung
        self.runtime.touch("turn", self.path)
        if self.scope is not None:
            self.scope.cancel()
        self._rouse()

    def _rouse(self) -> None:
        self.attention = True
        self.box.wake()
        self.signal()

    def _cancel(self, halt: Halt) -> None:
        if self.scope is not None:
            self.scope.cancel()
        if halt is Halt.KILL and self._hook_scope is not None:
            self._hook_scope.cancel()

    def _set_deadline(self) -> None:
        seconds = self.options.shutdown
        busy = self.scope is not None or self.under is not None
        if busy and seconds < math.inf and self._deadline is None:
            self._deadline = self.runtime.call_at(
                self.runtime.now() + seconds, self._cut, self.path, "shutdown"
            )

    def _cut(self) -> None:
        """Its shutdown time is over."""
        if self.halt is Halt.SWEEP:  # cut short, and started again all the same
            if self.scope is not None:
                self.scope.cancel()
            if self._hook_scope is not None:
                self._hook_scope.cancel()
            if self.under is not None:
                self.under.close(Halt.KILL)
        elif self.phase != "stopped":
            log.warning(
                "%s did not stop within its %g seconds and is killed%s. Give it a"
                " larger shutdown, or look for what it waits for.",
                self.path,
                self.options.shutdown,
                f" while {self.doing()}",
            )
            self.request(Halt.KILL)

    def refuse(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of a message that does not get into the mailbox."""
        if self.phase == "stopped":
            self.system.count_refused()
            self._dead_letter(item, reason)
        else:
            self.box.accepted += 1
            self.bury(item, reason)

    # --- Waiting for a cell ---

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something holds that `signal()` tells of."""
        while not reached():
            if self._lot is None:
                self._lot = ParkingLot()  # trio.Event wakes its tasks in set order
            await self._lot.park()

    def signal(self) -> None:
        """Let those who wait look again."""
        if self._lot is not None:
            self._lot.unpark_all()

    async def wait_ended(self) -> Exit:
        """Wait until it has stopped for good. Always a checkpoint."""
        if self.phase == "stopped":
            await checkpoint()
        await self.until(lambda: self.phase == "stopped")
        return cast("Exit", self.exit)

    def enter(self, phase: Phase) -> None:
        """Change the phase."""
        self.runtime.touch("life", self.path)
        self.phase = phase
        self.signal()

    def announce(
        self, kind: EventKind, error: BaseException | None = None, delay: float = 0.0
    ) -> None:
        """Tell the event stream, and remember it for a crash report."""
        self.note(kind)
        if self.system.event_feed:
            self.system.event_feed.emit(Event(kind, self.ref, error, delay))

    # --- The task ---

    @enable_ki_protection
    async def run(self) -> None:
        """Live: the actor's task."""
        self.task = current_task()
        CURRENT.set(self)
        self.context = self.family.make_context(self)
        exit: Exit | None = None
        try:
            while exit is None:
                exit = await self._conclude(await self._incarnation())
            exit = await self._clean_up(exit)
        except trio.Cancelled:  # only if trio itself tears the tree down
            exit = Exit("killed", None, self.detail)
            raise
        finally:
            self._finish(exit or Exit("killed", None, self.detail))

    async def _incarnation(self) -> BaseException | None:
        """Start and run once; return what it failed with, if it failed."""
        failure: BaseException | None = None
        try:
            if self.halt is Halt.RESTART:
                self.halt = Halt.NONE  # this is the new incarnation it asked for
            if not self._must_end():
                self._build()
                await self._live()
        except trio.Cancelled:
            raise
        except Exception as error:
            failure = error
        except BaseException as error:
            failure = self._fatal(error)
        finally:
            self.scope = None
            if self.asked is not None:
                self.abandon_asked()
        return self._first_of(failure)

    async def _live(self) -> None:
        """Start and handle messages; with a cancel scope only if something awaits."""
        if not (self.recipe.is_function or self._wants_scope):
            self._begin_to_run()
            await self._drain()
            if self._must_end():
                return
        with trio.CancelScope() as self.scope:
            await self._start()
            await (self._serve() if self.recipe.is_function else self._drain())

    def _first_of(self, failure: BaseException | None) -> BaseException | None:
        """Return the failure that came first; the others are kept as extras."""
        injected, self._injected = self._injected, None
        if not injected:
            return failure
        first, *others = injected
        if failure is not None and failure is not first:
            others.append(failure)
        for other in others:
            self.add_extra(other)
        return first

    def add_extra(self, error: BaseException) -> None:
        """Keep a failure of the clean-up: it never hides the first one."""
        if self.extras is None:
            self.extras = []
        self.extras.append(error)

    def _fatal(self, error: BaseException) -> BaseException:
        """KeyboardInterrupt and its kin: nobody supervises these."""
        cancelled, rest = split_cancelled(error)
        if rest is None:
            raise error
        del cancelled
        self.system.fail(rest)
        return rest

    @property
    def _wants_scope(self) -> bool:
        return self.shape is not None and self.shape.is_async

    # --- Start ---

    def _build(self) -> None:
        self.phase = "restarting" if self.was_started else "starting"
        if self._resume:
            return
        self.between = False
        self.incarnation += 1
        self.behavior = self.shape = self.instance = self.became = None
        if not self.recipe.is_function:
            instance = self.recipe.build(self.context)
            self.instance = instance
            self.use(instance)
            if self.recipe.cls is None and self.options.mailbox is None:
                self.box.configure(instance.mailbox)

    async def _start(self) -> None:
        if self.phase == "running":
            return  # it became asynchronous in the middle of its life
        if not self._resume and self.instance is not None:
            self.busy_since = self.runtime.now()
            failure, previous = self.first_failure, self.previous
            if self.was_started and failure is not None and previous is not None:
                await self.instance.restarted(cast("Exception", failure), previous)
            else:
                await self.instance.started()
            self.busy_since = math.inf
            if self.asked is not None:
                self.abandon_asked()
        self._begin_to_run()

    def _begin_to_run(self) -> None:
        if self.phase == "running":
            return
        again, resumed = self.was_started, self._resume
        self.was_started = True
        self._resume = False
        self.enter("running")
        if resumed:
            self.announce("resumed", self.first_failure)
        elif again:
            self.restarts += 1
            self.announce("restarted", self.first_failure)
        else:
            self.announce("started")
        if again and not resumed:
            self.family.restarted(self)
        self.first_failure = self.previous = self.extras = None

    async def _serve(self) -> None:
        """Run the function of a function actor."""
        self.busy_since = self.runtime.now()
        inbox = self.context = self.family.make_context(self)
        await _unprotected(self.recipe.run, inbox)
        self.end_function_turn()

    # --- The loop ---

    def _must_end(self) -> bool:
        """Whether the incarnation ends before its next message."""
        if self.asked is not None and self.current is None:
            self.abandon_asked()
        if self._injected is not None or self.halt not in (Halt.NONE, Halt.DRAIN):
            return True
        drained = self.halt is Halt.DRAIN and not self.box.count
        return drained and self.under is None

    def ends_receiving(self) -> bool:
        """Whether a function's ``async for`` ends here."""
        if self.halt is Halt.DRAIN:
            return not self.box.count and self.under is None
        return self.halt is not Halt.NONE

    async def _drain(self) -> None:
        """Handle messages, until something ends the incarnation."""
        box, runtime = self.box, self.runtime
        size = runtime.batch
        while True:
            self.attention = False
            if self._must_end() or (self._wants_scope and self.scope is None):
                return
            if box.count:
                box.mark()
                began = time.perf_counter()
                if await self._handle(size):
                    # So that nobody is starved for more than the budget again.
                    size = runtime.next_batch(size, time.perf_counter() - began)
                if self.attention:
                    continue
            if box.waiting:
                box.grant()
            if box.count:
                await checkpoint()
            else:
                if self._lot is not None:
                    self.signal()  # somebody may wait until we are idle
                # Own park and wake: half the time of a ParkingLot's on a ring.
                box.consumer = self.task
                await wait_task_rescheduled(box.abort_wait)

    async def _handle(self, budget: int) -> bool:
        """Handle a batch of messages; return whether it took all of *budget*.

        Told messages for plain handlers are handled right here. `done` is written
        back once per batch (per message it cost 4 % of a tell), and before anybody
        else can run.
        """
        box, behavior = self.box, self.behavior
        take = box.take
        looked_at = self.tracer is not None or self.sabotage is not None
        fast = NO_FAST if looked_at or self.shape is None else self.shape.fast
        if self._recent is None:
            self._recent = [None] * RING
        recent = self._recent
        done = noted = self._noted
        self.batching = True
        try:
            while box.count and budget and not self.attention:
                budget -= 1
                item = self.current = take()
                kind = type(item)
                call = fast.get(kind)
                if call is not None:
                    recent[done & 15] = kind
                    call(behavior, item)
                    done += 1
                else:
                    self.handled += done - noted
                    noted = self._noted = done
                    self.batching = False
                    work = self.begin(item)
                    if work is not None:
                        await work
                        box.mark()
                    done = noted = self._noted
                    self.batching = True
            self.current = None
        finally:
            if done != noted:
                self.handled += done - noted
                self._noted = done
            self.batching = False
        return not budget

    # --- After an incarnation ---

    async def _conclude(self, failure: BaseException | None) -> Exit | None:
        """Return how the actor ends; None if it goes on with another incarnation."""
        halt = self.halt
        if failure is not None:
            return await self._answer_failure(failure)
        if self.current is not None:
            how = {Halt.KILL: "was killed", Halt.RESTART: "was restarted"}
            self.fail_turn(how.get(halt, "was cut short"))
        if halt is Halt.KILL:
            return Exit("killed", None, self.detail)
        if halt in (Halt.STOP, Halt.DRAIN):
            return Exit("shutdown", None, self.detail)
        if halt is Halt.SWEEP:
            return await self._wait_for_go(self.swept_for)
        if halt is Halt.RESTART:
            detail = f" ({self.detail})" if self.detail else ""
            by_hand = ActorError(f"{self.path} was restarted by hand{detail}")
            return await self._start_over(by_hand, counts=False)
        return await self._answer_return()

    async def _answer_return(self) -> Exit | None:
        normal = Exit("shutdown" if self.abandoned_by else "normal", None, self.detail)
        answer = answer_to("returned", self.options.restart)
        if answer != "restart" or self.family.closing:
            return normal
        self.halt, self.abandoned_by = Halt.NONE, False
        why = ActorError(f"{self.path} ended by itself, and it is permanent")
        return await self._start_over(why, counts=True, hook="stopped")

    async def _answer_failure(self, failure: BaseException) -> Exit | None:
        """Judge a failure, wherever it came from."""
        starting = self.phase != "running"
        hung, self.hung = self.hung, False
        cut_own_frames(failure)
        self._annotate(failure)
        self.fail_turn(failure)
        if self.awaited and (starting or self.recipe.is_function):
            self.announce("failed", failure)
            self.failed_start = True
            return Exit("start_failed", failure)
        self.report(failure)
        if not isinstance(failure, Exception) or self._is_final():
            return failed_exit(failure, self.detail)
        answer = self._judge(failure, starting=starting, hung=hung)
        if answer == "resume":
            self._resume = True
            self.first_failure = failure
            await checkpoint()
            return None
        if answer == "restart":
            if self.halt is Halt.SWEEP:  # it joins the sweep that was under way
                return await self._wait_for_go(failure)
            return await self._start_over(failure, counts=True)
        if answer == "escalate":
            failure.add_note(f"escalated by {self.path}")
            self.upward = failure
        return failed_exit(failure, self.detail)

    def _is_final(self) -> bool:
        return self.halt >= Halt.STOP or bool(self.family.closing)

    def _judge(self, failure: Exception, *, starting: bool, hung: bool) -> str:
        can_resume = not starting and not self.recipe.is_function
        try:
            directive = judge(
                self.family.supervision, failure, can_resume=can_resume
            )
        except Exception as error:
            # The deciding function belongs to the parent: it is the parent's failure.
            error.__context__ = failure
            self.upward = error
            return "end"
        return answer_to("restart" if hung else directive, self.options.restart)

    def _annotate(self, failure: BaseException) -> None:
        add_crash_notes(
            failure,
            path=self.path,
            incarnation=self.incarnation,
            doing=self.doing(),
            waiting=self.box.count,
            events=self.last_events(),
        )

    def doing(self) -> str:
        """Say what it does, for reports."""
        hand = [
            show(message)
            + (f" from {one.asker.path}" if one is not None and one.asker else "")
            for one, message in self._in_hand()
        ]
        if hand:
            return f"handling {', '.join(hand[:3])}" + " ..." * (len(hand) > 3)
        if self.current is STASHED:
            return "handling a message that it stashed"
        return "starting" if self.phase in ("starting", "restarting") else "idle"

    def report(self, failure: BaseException) -> None:
        """Say that it failed: an event, a line in the log, and at the end the group."""
        self.announce("failed", failure)
        log.error("%s failed: %r", self.path, failure, exc_info=failure)
        if isinstance(failure, Exception):
            self.family.collect(failure)

    # --- Another incarnation ---

    async def _start_over(
        self,
        why: BaseException,
        *,
        counts: bool,
        hook: Literal["restarting", "stopped"] = "restarting",
    ) -> Exit | None:
        """Restart, alone or with its siblings; None when the way is free."""
        family = self.family
        if self.halt is Halt.RETURN:
            self.halt = Halt.NONE  # the failure came after context.stop(), and wins
        sweeps = counts and family.supervision.strategy != "one_for_one"
        if counts and not sweeps and not family.allows_restart(self):
            return self.give_up(why)
        if hook == "stopped":
            self.first_failure = None
            trouble = await self._end_incarnation(
                "stopped", Exit("normal", None, self.detail)
            )
        else:
            self.first_failure = why
            trouble = await self._end_incarnation("restarting", why)
        if trouble is not None:
            return await self._answer_failure(trouble)
        if sweeps:
            return await self._wait_for_go(why, sweeps=True)
        delay = family.pause_before_restart(self) if counts else 0.0
        self.announce("restarting", self.first_failure, delay)
        await self._pause(delay)
        return self._ended_meanwhile()

    async def _pause(self, delay: float) -> None:
        self._renew_context()
        if delay <= 0:
            await checkpoint()  # a crash loop must let others run
            return
        self.enter("backoff")
        over = False

        def end() -> None:
            nonlocal over
            over = True
            self.signal()

        alarm = self.runtime.call_at(
            self.runtime.now() + delay, end, self.path, "backoff"
        )
        ends = (Halt.RESTART, Halt.STOP, Halt.KILL)
        await self.until(lambda: over or self.halt in ends)
        alarm.cancel()

    def _renew_context(self) -> None:
        # Taken up by trio when the task is next scheduled: a restart starts fresh.
        context = self.system.fresh_context()
        context.run(CURRENT.set, self)
        cast("Any", self.task).context = context

    async def _wait_for_go(
        self, why: BaseException | None, *, sweeps: bool = False
    ) -> Exit | None:
        """Wait until the supervisor, which sweeps, says go."""
        self.first_failure = why
        if not sweeps:
            trouble = await self._end_incarnation("restarting", why)
            if trouble is not None:
                self.report(trouble)
        self._cancel_deadline()
        if self.halt is Halt.SWEEP:
            self.halt = Halt.NONE
        self._renew_context()
        self.go = False
        self.enter("suspended")
        if sweeps:
            self.family.sweep_for(self)
        await self.until(
            lambda: self.go or self.upward is not None or self.halt >= Halt.STOP
        )
        self.go = False
        return self._ended_meanwhile()

    def _ended_meanwhile(self) -> Exit | None:
        if self.upward is not None:
            return failed_exit(cast("BaseException", self.first_failure), self.detail)
        if self.halt is Halt.KILL:
            return Exit("killed", None, self.detail)
        if self.halt is Halt.STOP:
            return Exit("shutdown", None, self.detail)
        return None

    def give_up(self, why: BaseException) -> Exit:
        """One restart too many: this actor ends, and its parent fails."""
        limit = self.family.restart_limit(self)
        limit.__cause__ = why
        self.upward = limit
        self.announce("gave_up", why)
        return failed_exit(why, self.detail)

    async def _end_incarnation(
        self, hook: Literal["restarting", "stopped"], why: object
    ) -> BaseException | None:
        """Take the old incarnation down; return what its hook raised."""
        was_up = self.phase == "running"
        self.phase = "restarting"
        self.between = True
        cancel_timers(self)
        await self._close_children(Halt.STOP)
        trouble = await self._call_hook(hook, why) if was_up else None
        if was_up:
            self.previous = self.instance
        failure = why if isinstance(why, BaseException) else "ended"
        self.fail_owed(failure)
        self.unstash()
        return trouble

    async def _close_children(self, halt: Halt) -> None:
        family = self.under
        if family is not None:
            family.close(Halt.KILL if self.halt is Halt.KILL else halt)
            await family.wait_closed()
            for failure in family.failures:
                self.add_extra(failure)
            self.under = None

    async def _call_hook(self, hook: str, argument: object) -> BaseException | None:
        """Run a hook of what is left of the instance; return what it raised.

        Where the actor has become something else, that runs its hook first.
        """
        if self.instance is None:
            return None
        error: BaseException | None = None
        for one in [*reversed(self.became or ()), self.instance]:
            if overrides(one, hook):
                found = await self._call_bounded(hook, getattr(one, hook)(argument))
                if found is not None and error is not None:
                    self.add_extra(found)
                error = error or found
        return error

    async def _call_bounded(
        self, hook: str, work: Awaitable[None]
    ) -> BaseException | None:
        seconds = self.options.shutdown
        deadline = self.runtime.now() + seconds
        error: BaseException | None = None
        try:
            with trio.CancelScope(shield=True, deadline=deadline) as scope:
                self._hook_scope = scope
                if self.halt is Halt.KILL:
                    scope.cancel()
                await work
            if scope.cancelled_caught and self.halt is not Halt.KILL:
                log.warning(
                    "%s() of %s took longer than its %g seconds and was cancelled",
                    hook,
                    self.path,
                    seconds,
                )
        except trio.Cancelled:
            raise
        except Exception as caught:
            error = caught
        except BaseException as caught:
            error = self._fatal(caught)
        finally:
            self._hook_scope = None
            if self.asked is not None:
                self.abandon_asked()
        if error is not None:
            cut_own_frames(error)
            self._annotate(error)
        return error

    # --- The end ---

    async def _clean_up(self, exit: Exit) -> Exit:
        """Children first, then the actor's own goodbye (LIFE-6)."""
        was_up = self.phase == "running"
        self.enter("stopping")
        self.between = True
        self.box.shut(Door.CLOSED, self.box.refusal)
        cancel_timers(self)
        if self._deadline is None and exit.kind not in ("killed", "shutdown"):
            self._set_deadline()
        await self._close_children(
            Halt.KILL if exit.kind == "killed" else Halt.STOP
        )
        if was_up and self.halt is not Halt.KILL:
            error = await self._call_hook("stopped", exit)
            if error is not None:
                self.report(error)
                if exit.error is None:
                    exit = failed_exit(error, self.detail)
                else:
                    self.add_extra(error)
        if self.halt is Halt.KILL and exit.is_normal:
            exit = Exit("killed", exit.error, self.detail)
        return exit

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _finish(self, exit: Exit) -> None:
        """The last step: nothing of it is left, and everybody is told."""
        self.exit = exit
        self._cancel_deadline()
        self.box.shut(Door.CLOSED, self.box.refusal)
        if self.current is not None:
            self.fail_turn("was killed")
        reason: DeadReason = "start_failed" if exit.kind == "start_failed" else "stopped"
        self.bury_all(reason)
        self.fail_owed(exit.error or "ended")
        self.system.forget(self)
        self.family.remove(self)  # the name is free before anybody is told
        self.runtime.touch("watch", self.path)
        self.enter("stopped")
        self.announce("stopped", exit.error)
        self._tell_watchers()
        self._tell_links(exit)
        self.instance = self.behavior = self.previous = self.became = None
        self.family.ended(self, exit)

    def _tell_watchers(self) -> None:
        for target, watch in (self.watching or {}).items():
            if target.watchers is not None:
                target.watchers.pop(watch, None)
        self.watching = None
        for watch in self.watchers or ():
            watch.watcher.box.put_signal(watch)
        self.watchers = None

    def _tell_links(self, exit: Exit) -> None:
        for other in self.links or ():
            if other.links is not None:
                other.links.pop(self, None)
            if not exit.is_normal and not self.system.closing:
                other.fail(death_pact(self))
        self.links = None

    # --- Behaviours ---

    def become(self, behavior: Actor[Any] | None) -> None:
        """Change, or with None change back, whose handlers are called."""
        if self.instance is None:
            raise RuntimeError(f"{self.path} does not run: it cannot become anything")
        stack = self.became or []
        if behavior is not None:
            give_context(behavior, self.context)
            stack = [*stack, behavior]
        elif stack:
            stack = stack[:-1]
        else:
            raise RuntimeError(f"{self.path}: unbecome() without a become() before it")
        self.became = stack
        self.use(stack[-1] if stack else self.instance)


def failed_exit(failure: BaseException, detail: str) -> Exit:
    """Return the exit of an actor that failed for good."""
    kind = "restart_limit" if isinstance(failure, RestartLimit) else "failed"
    return Exit(kind, failure, detail)


def death_pact(cell: Cell) -> DeathPact:
    """Make the failure of an actor whose linked actor has ended abnormally."""
    exit = cast("Exit", cell.exit)
    pact = DeathPact(
        f"{cell.path}, which is linked, ended abnormally ({exit.kind}). Use watch()"
        " instead of link() to be told of it as a message."
    )
    pact.__cause__ = exit.error
    return pact


def split_cancelled(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Split an exception into its ``Cancelled`` and the rest."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)


@disable_ki_protection
async def _unprotected(run: Callable[[Any], Awaitable[None]], inbox: Any) -> None:
    """Run a function actor so that Ctrl-C reaches it."""
    await run(inbox)
