"""The end of an incarnation, and of an actor.

Rules of this file:

* Children first, then the actor's own goodbye, then the rest of its mailbox, then its
  parent, then its watchers (LIFE-6).
* A hook is shielded and bounded by the actor's ``shutdown``; what it raises is a
  failure that never hides the first one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

import trio

from ._behavior import Actor, overrides
from ._errors import add_crash_notes, cut_own_frames, show
from ._halts import Halt, Phase, Watch, death_pact, failed_exit
from ._hand import EMPTY, STASHED
from ._incarnation import Incarnation
from ._mailbox import Door
from ._messages import DeadReason, Exit
from ._timers import cancel_timers

if TYPE_CHECKING:
    from ._cell import Cell
    from ._pending import Call
    from ._supervisor import Family

log = logging.getLogger("trio_actors")


class Ending(Incarnation):
    """The part of a cell that ends."""

    __slots__ = ()

    # Of the other parts, and written here: the types are complete for each class.
    became: list[Actor[Any]] | None
    behavior: Actor[Any] | None
    between: bool
    exit: Exit | None
    instance: Actor[Any] | None
    links: dict[Cell, None] | None
    owed: dict[Call[Any], None] | None
    phase: Phase
    under: Family | None
    watchers: dict[Watch, None] | None
    watching: dict[Cell, Watch] | None

    # --- Reports ---

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
        if log.isEnabledFor(logging.ERROR):
            log.error("%s failed: %s", self.path, show(failure), exc_info=failure)
        if isinstance(failure, Exception):
            self.family.collect(failure)

    # --- Incarnations ---

    async def _end_incarnation(
        self, hook: Literal["restarting", "stopped"], why: object
    ) -> BaseException | None:
        """Take the old incarnation down; return what its hook raised."""
        was_up = self.begin_end()
        if self.under is not None:
            await self._close_children(self.under, Halt.STOP)
        trouble = await self._call_hook(hook, why) if was_up else None
        self.take_down(why, was_up=was_up)
        return trouble

    def begin_end(self) -> bool:
        """Begin to take the incarnation down; return whether it was up."""
        was_up = self.phase == "running"
        self.phase = "restarting"
        self.runtime.touch("turn", self.path)
        self.between = True
        if self._resume:
            self._resume = False  # there was more to do than to go on
        if self.timers is not None:
            cancel_timers(self.me)
        return was_up

    def take_down(self, why: object, *, was_up: bool) -> None:
        """Let go of what was the incarnation's; its messages wait for the next."""
        if was_up:
            self.previous = self.instance
        if self.owed is not None:
            self.fail_owed(why if isinstance(why, BaseException) else "ended")
        if self.stash is not None:
            self.unstash()

    async def _close_children(self, family: Family, halt: Halt) -> None:
        family.close(Halt.KILL if self.halt is Halt.KILL else halt)
        await family.wait_closed()
        for failure in family.failures:
            self.add_extra(failure)
        self.under = None

    def has_hook(self, hook: str) -> bool:
        """Whether what is left of the instance has its own version of a hook."""
        if self.became is not None:
            return any(overrides(one, hook) for one in self._behaviors())
        return self.instance is not None and overrides(self.instance, hook)

    def _behaviors(self) -> list[Actor[Any]]:
        """Return what the actor has become, the last first, then the instance."""
        first = [] if self.instance is None else [self.instance]
        return [*reversed(self.became or ()), *first]

    async def _call_hook(self, hook: str, argument: object) -> BaseException | None:
        """Run a hook of what is left of the instance; return what it raised.

        Where the actor has become something else, that runs its hook first.
        """
        error: BaseException | None = None
        for one in self._behaviors():
            if overrides(one, hook):
                found = await self._call_bounded(getattr(one, hook), argument)
                if found is not None and error is not None:
                    self.add_extra(found)
                error = error or found
        return error

    async def _call_bounded(
        self, hook: Callable[[object], Awaitable[None]], argument: object
    ) -> BaseException | None:
        seconds = self.options.shutdown
        scope = trio.CancelScope(shield=True)
        alarm = self.runtime.call_at(
            self.runtime.now() + seconds, scope.cancel, self.path, "shutdown"
        )
        error: BaseException | None = None
        try:
            with scope:
                self._hook_scope = scope
                if self.halt is Halt.KILL:
                    scope.cancel()
                await hook(argument)
            if scope.cancelled_caught and self.halt is not Halt.KILL:
                log.warning(
                    "%s() of %s took longer than its %g seconds and was cancelled",
                    hook.__name__,
                    self.path,
                    seconds,
                )
        except Exception as caught:
            error = caught
        except BaseException as caught:  # noqa: ASYNC103  # _fatal() raises Cancelled
            error = self._fatal(caught)
        finally:
            alarm.cancel()
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
        cancel_timers(self.me)
        if self._deadline is None and exit.kind not in ("killed", "shutdown"):
            self._set_deadline()
        if self.under is not None:
            halt = Halt.KILL if exit.kind == "killed" else Halt.STOP
            await self._close_children(self.under, halt)
        if was_up and self.halt is not Halt.KILL and self.has_hook("stopped"):
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
        """The last step: nothing of it is left, and everybody is told.

        What is at its default is left alone: the first attribute that is changed makes
        a dict, and this is the end of 100,000 at once.
        """
        me, family = self.me, self.family
        self.exit = exit
        self._cancel_deadline()
        self.box.shut(Door.CLOSED, self.box.refusal)
        if self.current is not EMPTY:
            self.fail_turn("was killed")
        reason: DeadReason = (
            "start_failed" if exit.kind == "start_failed" else "stopped"
        )
        self.bury_all(reason)
        self.fail_owed(exit.error or "ended")
        self.system._forget(me)
        family.remove(me)  # the name is free before anybody is told
        self.runtime.touch("watch", self.path)
        self.enter("stopped")
        self.signal()  # who waits until it is idle waits no more
        self.announce("stopped", exit.error)
        self._tell_watchers()
        self._tell_links(exit)
        if self.tracer is not None:
            self.tracer.end()
        self.instance = self.behavior = None
        if self.previous is not None or self.became is not None:
            self.previous = self.became = None
        family.ended(me, exit)

    def _tell_watchers(self) -> None:
        watching, watchers = self.watching, self.watchers
        if watching is not None:
            self.watching = None
            for target, watch in watching.items():
                self.runtime.touch("watch", target.path)
                if target.watchers is not None:
                    target.watchers.pop(watch, None)
        if watchers is not None:
            self.watchers = None
            for watch in watchers:
                watch.watcher.box.put_signal(watch)

    def _tell_links(self, exit: Exit) -> None:
        links = self.links
        if links is None:
            return
        self.links = None
        for other in links:
            self.runtime.touch("watch", other.path)
            assert other.links is not None  # a link has two ends
            other.links.pop(self.me, None)
            if not exit.is_normal and not self.system._closing:
                other.fail(death_pact(self.me))
