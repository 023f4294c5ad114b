"""One actor's life, in one task: incarnation after incarnation, until the end.

Rules of this file:

* Nothing is ever raised into the nursery the task lives in: a failure is judged here,
  and what must go up is handed to the parent's cell when this one has ended.
* A restart is a new incarnation in the same task; nothing is spawned for it.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import copy_context
from operator import is_not
from typing import Any, Literal, TypeAlias, cast

from trio import CancelScope
from trio.lowlevel import (
    Task,
    checkpoint,
    current_task,
    enable_ki_protection,
)

from ._ending import Ending
from ._errors import ActorError, add_note, cut_own_frames
from ._halts import Halt, Phase, failed_exit
from ._hand import EMPTY
from ._messages import Exit
from ._park import park
from ._policy import answer_to, judge
from ._waits import CURRENT

log = logging.getLogger("trio_actors")

Hook: TypeAlias = Literal["restarting", "stopped"]
Step: TypeAlias = "Exit | Coroutine[Any, Any, Exit | None] | None"
"""What comes after an incarnation: the actor's end, or None for another one; what must
be awaited to know is a coroutine."""


async def _known(step: Step) -> Exit | None:
    return step if step is None or isinstance(step, Exit) else await step


class Cell(Ending):
    """An actor, from its spawn to its end."""

    __slots__ = ()

    # Of the other parts, and written here: the types are complete for each class.
    abandoned_by: bool
    first_failure: BaseException | None
    go: bool
    halt: Halt
    hung: bool
    left: int
    phase: Phase
    scope: CancelScope | None
    task: Task | None
    upward: BaseException | None
    worker: Task | None

    # --- The task ---

    @enable_ki_protection
    async def run(self) -> None:
        """Live: the actor's task.

        All in one coroutine with few variables, because a parked actor keeps them: as
        four coroutines they were 700 bytes more, and 10 % of the time of a ring.
        """
        exit: Exit | None = None
        step: Any  # what is awaited, and what came of it
        try:
            self.task = self.worker = current_task()
            CURRENT.set(self)
            box = self.box
            self.begin_batch()
            while exit is None:
                failure: BaseException | None = None
                try:
                    while self._sets_out():
                        with self._open_scope():
                            if self._waits_at_start:
                                await self._start()
                                box.mark()
                            else:
                                self._begin()
                            while not self.attention or self._look_up():
                                if box.hand or box.tail:
                                    step = self._handle()
                                    if step is not None:
                                        self.end_wait(await step)
                                        continue
                                    if self.attention:
                                        continue
                                if box.waiting:
                                    box.grant()
                                if not self.left:
                                    self.end_batch()
                                if box.hand or box.tail:
                                    await checkpoint()
                                    box.mark()  # what came meanwhile waits behind
                                elif not (self.halt or self._lot) or self._may_rest():
                                    box.consumer = self.task
                                    await park(box.trap or box.make_trap())
                                    while self._handle_only():
                                        box.consumer = self.task
                                        await park(box.trap)
                                self.begin_batch()
                except Exception as error:
                    failure = error
                except BaseException as error:  # noqa: ASYNC103  # _fatal() raises it
                    failure = self._fatal(error)
                step = self._conclude(failure)
                exit = step if step is None or isinstance(step, Exit) else await step
            exit = await self._clean_up(exit)
        except BaseException as error:  # noqa: ASYNC103
            # A mistake of ours, or Cancelled, if trio itself tears the tree down.
            # In the nursery it would cancel the siblings.
            self._fatal(error)
        finally:
            # Without an exit only if trio itself tears the tree down.
            self._finish(exit or Exit("killed", None, self.detail))

    # --- After an incarnation ---

    def _conclude(self, failure: BaseException | None) -> Step:
        """Return how the actor ends; None if it goes on with another incarnation."""
        self.scope = None
        if self.asked is not None:
            self.abandon_asked()
        if self._injected is not None:
            failure = self._first_of(failure)
        if failure is not None:
            return self._answer_failure(failure)
        halt = self.halt
        if self.current is not EMPTY:
            how = {Halt.KILL: "was killed", Halt.RESTART: "was restarted"}
            self.fail_turn(how.get(halt, "was cut short"))
        if halt is Halt.KILL:
            return Exit("killed", None, self.detail)
        if halt in (Halt.STOP, Halt.DRAIN):
            return Exit("shutdown", None, self.detail)
        if halt is Halt.SWEEP:
            return self._wait_for_go(self.swept_for)
        if halt is Halt.RESTART:
            detail = f" ({self.detail})" if self.detail else ""
            by_hand = ActorError(f"{self.path} was restarted by hand{detail}")
            return self._start_over(by_hand, counts=False)
        return self._answer_return()

    def _answer_return(self) -> Step:
        normal = Exit("shutdown" if self.abandoned_by else "normal", None, self.detail)
        answer = answer_to("returned", self.options.restart)
        if answer != "restart" or self.family.closing:
            return normal
        self.halt, self.abandoned_by = Halt.NONE, False
        why = ActorError(f"{self.path} ended by itself, and it is permanent")
        return self._start_over(why, counts=True, hook="stopped")

    def _answer_failure(self, failure: BaseException) -> Step:
        """Judge a failure, wherever it came from."""
        counted = self._is_quiet(failure)
        if counted and self.family.allows_restart(self):
            with suppress(Exception):  # it is frozen
                failure.__traceback__ = None  # nobody looks, and it may be raised again
            self.fail_turn(failure)
            self.note("failed")
            if self.under is not None:
                return self._replace(failure, counts=True)
            self.first_failure = failure
            return self._replace_now(failure, counts=True)
        starting = self.phase != "running"
        cut_own_frames(failure)
        self._annotate(failure)
        self.fail_turn(failure)
        if self.awaited and (starting or self.recipe.is_function):
            self.announce("failed", failure)
            self.failed_start = True
            return Exit("start_failed", failure)
        self.report(failure)
        if counted:
            return self.give_up(failure)
        if not isinstance(failure, Exception) or self._is_final():
            return failed_exit(failure, self.detail)
        answer = self._judge(failure, starting=starting)
        if answer == "resume":
            self._resume = True
            self.phase = "restarting"
            self.first_failure = failure
            return self._let_others_run()
        if answer == "restart":
            if self.halt is Halt.SWEEP:  # it joins the sweep that was under way
                return self._wait_for_go(failure)
            return self._start_over(failure, counts=True)
        if answer == "escalate":
            add_note(failure, f"escalated by {self.path}")
            self.upward = failure
        return failed_exit(failure, self.detail)

    def _is_quiet(self, failure: BaseException) -> bool:
        """Whether the answer is a restart, and nobody looks at the failure.

        What it would be told, in notes and in the log, is half of a restart (W7).
        """
        rules = self.family.supervision
        return (
            self.phase == "running"
            and not self.halt  # a member of an enum takes longer to find
            and self.owes is None
            and not self.owed
            and rules.strategy == "one_for_one"
            and self.options.restart != "temporary"
            and isinstance(failure, Exception)
            and getattr(failure, "_directive", None) is None
            and not (self.shape.has_hooks or self.became or self.recipe.is_function)
            and not (rules.directives or self.family.closing or self.hung)
            and not self.system._event_feed.streams
            and not log.isEnabledFor(logging.ERROR)
        )

    def _is_final(self) -> bool:
        return self.halt >= Halt.STOP or bool(self.family.closing)

    def _judge(self, failure: Exception, *, starting: bool) -> str:
        hung, self.hung = self.hung, False
        instance = self.instance
        can_resume = not starting and instance is not None and instance._can_resume
        try:
            directive = judge(self.family.supervision, failure, can_resume=can_resume)
        except Exception as error:
            # The deciding function belongs to the parent: it is the parent's failure.
            with suppress(Exception):  # a frozen one has no context
                error.__context__ = failure
            self.upward = error
            return "end"
        except BaseException as error:  # noqa: ASYNC103  # nothing is awaited in there
            self._fatal(error)
            return "end"
        if isinstance(failure, ActorError) and failure._directive is not None:
            directive = failure._directive
        return answer_to("restart" if hung else directive, self.options.restart)

    # --- Another incarnation ---

    def _start_over(
        self, why: BaseException, *, counts: bool, hook: Hook = "restarting"
    ) -> Step:
        """Restart, alone or with its siblings; None when the way is free."""
        if self.halt is Halt.RETURN:
            self.halt = Halt.NONE  # the failure came after context.stop(), and wins
        sweeps = counts and self.family.supervision.strategy != "one_for_one"
        if counts and not sweeps and not self.family.allows_restart(self):
            return self.give_up(why)
        return self._replace(why, counts=counts, hook=hook, sweeps=sweeps)

    def _replace(
        self,
        why: BaseException,
        *,
        counts: bool,
        hook: Hook = "restarting",
        sweeps: bool = False,
    ) -> Step:
        """Take the old incarnation down, and let a new one come."""
        self.first_failure = why if hook == "restarting" else None
        if self.under is not None or self.has_hook(hook):
            return self._replace_later(why, counts=counts, hook=hook, sweeps=sweeps)
        return self._replace_now(why, counts=counts, sweeps=sweeps)

    def _replace_now(
        self, why: BaseException, *, counts: bool, sweeps: bool = False
    ) -> Step:
        """Do so where there is nothing to wait for."""
        self.take_down(self.first_failure, was_up=self.begin_end())
        return self._begin_again(why, counts=counts, sweeps=sweeps)

    async def _replace_later(
        self, why: BaseException, *, counts: bool, hook: Hook, sweeps: bool
    ) -> Exit | None:
        reason = Exit("normal", None, self.detail)
        trouble = await self._end_incarnation(
            hook, why if hook == "restarting" else reason
        )
        if trouble is None:
            step = self._begin_again(why, counts=counts, sweeps=sweeps)
        else:
            if counts:
                self.add_extra(why)
            step = self._answer_failure(trouble)
        return await _known(step)

    def _begin_again(self, why: BaseException, *, counts: bool, sweeps: bool) -> Step:
        if sweeps:
            return self._wait_for_go(why, sweeps=True)
        family, delay = self.family, 0.0
        if counts and family.supervision.backoff is not None:
            delay = family.pause_before_restart(self)
        self.announce("restarting", self.first_failure, delay)
        is_fresh = self._renew_context()
        if delay > 0:
            return self._pause(delay)
        # With more messages at hand it is one batch, of which a restart is a part. An
        # even number is left, so that one in a few is where to look at the clock.
        self.left = self.left - 1 & -2
        if is_fresh and counts and self.left > 0 and (self.box.hand or self.box.tail):
            return None
        return self._let_others_run()

    async def _let_others_run(self) -> Exit | None:
        """A crash loop starves nobody for longer than any other batch."""
        if self.left <= 0:
            self.end_batch()
        await checkpoint()
        self.begin_batch()
        return self._ended_meanwhile()

    async def _pause(self, delay: float) -> Exit | None:
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
        return self._ended_meanwhile()

    def _renew_context(self) -> bool:
        """Let a restart start fresh; return whether this step is fresh already.

        A new context is taken up by trio when the task is next scheduled.
        """
        now, base = copy_context(), self.system._context
        other = sum(map(is_not, map(now.get, base), base.values()))
        if other == 1 and len(now) == len(base):  # CURRENT alone is another
            return True
        fresh = self.system._fresh_context()
        fresh.run(CURRENT.set, self)
        cast("Any", self.task).context = fresh
        return False

    async def _wait_for_go(
        self, why: BaseException | None, *, sweeps: bool = False
    ) -> Exit | None:
        """Wait until the supervisor, which sweeps, says go."""
        self.first_failure = why
        if not sweeps:
            trouble = await self._end_incarnation("restarting", why)
            if trouble is not None:
                if why is not None and why is not self.swept_for:
                    self.add_extra(why)
                return await _known(self._answer_failure(trouble))
            self.announce("restarting", why)
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
        self.box.mark()  # what came meanwhile waits behind what was left
        if self.upward is not None:
            return failed_exit(cast("BaseException", self.first_failure), self.detail)
        if self.halt is Halt.KILL:
            return Exit("killed", None, self.detail)
        if self.halt is Halt.STOP:
            return Exit("shutdown", None, self.detail)
        return None

    def give_up(self, why: BaseException) -> Exit:
        """One restart too many: this actor ends, and its parent fails."""
        if not self.family.forgives:
            limit = self.family.restart_limit(self)
            limit.__cause__ = why
            self.upward = limit
        self.announce("gave_up", why)
        return failed_exit(why, self.detail)
