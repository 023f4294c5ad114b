"""One incarnation of an actor: its start, and what interrupts it.

Rules of this file:

* What ends an incarnation from outside is a `Halt`: it acts at once, never behind
  messages, and a more final one replaces a less final one.
* The ``except`` stands outside of the ``with CancelScope()``, so that the scope has
  taken its own ``Cancelled`` out of a mixed group.
* The scope is entered before the first async handler runs; an actor with only plain
  handlers has none.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import trio
from trio.lowlevel import Task, disable_ki_protection

from ._batches import Batches
from ._behavior import NO_SHAPE, Actor, Shape
from ._deep import Steps, do_all
from ._halts import VERBS, Halt, Phase, split_cancelled
from ._mailbox import Door
from ._messages import DeadReason
from ._timers import cancel_timers

log = logging.getLogger("trio_actors")

NO_SCOPE = nullcontext()


class Incarnation(Batches):
    """The part of a cell that runs."""

    __slots__ = ()

    # Of the other parts, and written here: the types are complete for each class.
    attention: bool
    between: bool
    became: list[Actor[Any]] | None
    behavior: Actor[Any] | None
    busy_since: float
    _context: Any
    detail: str
    first_failure: BaseException | None
    halt: Halt
    incarnation: int
    phase: Phase
    previous: Actor[Any] | None
    restarts: int
    scope: trio.CancelScope | None
    shape: Shape
    worker: Task | None

    # --- Asked from outside ---

    def command(self, verb: str, detail: str = "") -> None:
        """Do what a verb of the ref says."""
        self.request(VERBS[verb], detail)

    def request(self, halt: Halt, detail: str = "") -> None:
        """End the incarnation; never waits, never queues behind messages."""
        do_all(self.requesting(halt, detail))

    def requesting(self, halt: Halt, detail: str = "") -> Steps:
        """Do what `request()` does; those below are killed in between."""
        if self.phase == "stopped" or halt <= self.halt:
            self.runtime.touch("life", self.path, write=False)
            return
        self.runtime.touch("life", self.path)
        self.runtime.touch("turn", self.path)
        # Who watches may be told at once, or later if something waits here still.
        self.runtime.touch("watch", self.path, write=False)
        self.halt = halt
        if detail:
            self.detail = detail
        if halt >= Halt.DRAIN:
            cancel_timers(self.me)
        if halt is Halt.DRAIN:
            self.family.drain(self.me)
        if halt >= Halt.STOP:
            self.box.shut(Door.CLOSED, self.box.refusal)
            self.bury_all("stopped")  # their askers need not wait for our goodbye
        if halt is Halt.KILL and self.under is not None:
            yield self.under.closing_down(Halt.KILL)
        if halt in (Halt.KILL, Halt.RESTART):
            self._cancel(halt)
        elif halt in (Halt.STOP, Halt.SWEEP) and self.phase != "suspended":
            self._set_deadline()
        self.rouse()

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
            self.hung = hung
        self._injected.append(error)
        self.runtime.touch("turn", self.path)
        if self.scope is not None:
            self.scope.cancel()
        self.rouse()

    def rouse(self) -> None:
        """Let the loop, and those who wait for the actor, look again."""
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
        else:
            log.warning(
                "%s did not stop within its %g seconds and is killed%s. Give it a"
                " larger shutdown, or look for what it waits for.",
                self.path,
                self.options.shutdown,
                f" while {self.me.doing()}",
            )
            self.request(Halt.KILL)

    def refuse(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter of a message that does not get into the mailbox."""
        heir = None if reason == "overflow" else self.heir
        if heir is not None and heir.take_late(self.me, item):
            return
        if self.phase == "stopped":
            self.system._count_refused()
            self._dead_letter(item, reason)
        else:
            self.box.accepted += 1
            self.bury(item, reason)

    # --- Running ---

    def _sets_out(self) -> bool:
        """Begin an incarnation, or go on with it in a scope; False if it ends."""
        if self.phase == "running":  # what has become asynchronous needs a scope
            return self.scope is None and not self._must_end()
        if self.halt and self.halt is Halt.RESTART and not self._resume:
            if self.incarnation and not self.between:
                return False  # its start was cut short: what that has made has to end
            self.halt = Halt.NONE  # this is the new incarnation it asked for
        if self._must_end():
            return False
        self._build()
        return True

    def _open_scope(self) -> AbstractContextManager[object]:
        """Make a cancel scope, if something in the incarnation may wait."""
        self.attention = True
        if self.recipe.is_function or self.shape.is_async:
            self.scope = trio.CancelScope()
            return self.scope
        return NO_SCOPE

    def _first_of(self, failure: BaseException | None) -> BaseException | None:
        """Return the failure that came first; the others are kept as extras."""
        injected, self._injected = self._injected or [], None
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
        if rest is None:  # pragma: no cover  # only if trio itself tears the tree down
            raise error
        del cancelled
        self.system._fail(rest)
        return rest

    @property
    def _waits_at_start(self) -> bool:
        """Whether it must be awaited until it has begun, or a function has ended."""
        if self.phase == "running":
            return False  # it became asynchronous in the middle of its life
        return self.shape.has_start or self.recipe.is_function

    # --- Start ---

    def _build(self) -> None:
        self.phase = "restarting" if self.was_started else "starting"
        if self._resume:
            return
        self.incarnation += 1
        self.behavior = self.instance = None
        self.shape = NO_SHAPE
        if self.incarnation > 1:
            self.between = False
            if self.became is not None:
                self.became = None
        if not self.recipe.is_function:
            instance = self.recipe.build(self.me)
            self.instance = instance
            self.use(instance)
            if self.options.mailbox is None and self.recipe.cls is None:
                self.box.configure(instance.mailbox)

    async def _start(self) -> None:
        """Run what comes before the first message, or the function of a function."""
        if self.shape.has_start and not self._resume:
            instance = cast("Actor[Any]", self.instance)
            self.busy_since = self.runtime.now()
            failure, previous = self.first_failure, self.previous
            if self.shape.prepares:
                await instance._prepare()
            if self.was_started and failure is not None and previous is not None:
                await instance.restarted(cast("Exception", failure), previous)
            else:
                await instance.started()
            self.busy_since = math.inf
            if self.asked is not None:
                self.abandon_asked()
        self._begin()
        if self.recipe.is_function:
            await self._serve()

    def _begin(self) -> None:
        if self.phase == "running":
            return
        again, resumed = self.was_started, self._resume
        self.was_started = True
        self.enter("running")
        if resumed:
            self.announce("resumed", self.first_failure)
        elif again:
            self.restarts += 1
            self.announce("restarted", self.first_failure)
        else:
            self.announce("started")
        if again and not resumed and self.family.supervision.backoff is not None:
            self.family.restarted(self.me)
        if again or self.incarnation > 1:
            self.first_failure = self.previous = None
            if resumed or self.extras is not None:
                self._resume, self.extras = False, None

    async def _serve(self) -> None:
        """Run the function of a function actor."""
        self.busy_since = self.runtime.now()
        inbox = self._context = self.family.make_context(self.me)
        self.worker = self.task
        await _unprotected(self.recipe.run, inbox)
        self.end_function_turn("returned")


@disable_ki_protection
async def _unprotected(run: Callable[[Any], Awaitable[None]], inbox: Any) -> None:
    """Run a function actor so that Ctrl-C reaches it."""
    await run(inbox)
