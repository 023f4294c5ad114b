"""Who sends, where a client, a test or an actor has several tasks at work.

Order is promised of what one task sends to one actor. What tasks side by side send in
one step may come in any order: trio does not say which of them runs first.

Rules of this file:

* A task is named by who has started it, and as its how-many-th: no schedule changes it.
* What a task sends comes behind what was sent before it began, by a task that has ended
  since, or in an earlier step: in one process it could not overtake that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import attrs
from trio.lowlevel import Task

from .._waits import CURRENT
from ._seam import WHO

if TYPE_CHECKING:
    from ._events import Event, Key
    from ._pilot import Pilot

Moment = tuple[int, int]
"""A step, and a turn of trio's loop in it."""


@attrs.frozen
class Sender:
    """A task that some other one has started, and works for the same."""

    name: str
    who: str
    """The client, the test or the actor it works for."""
    born: Moment


class _Sent(NamedTuple):
    task: Task | None
    who: str
    moment: Moment


class Senders:
    """The tasks that send in a run, besides one for each client and actor."""

    _names: dict[str, list[str]]  # with the first of them: most runs have none
    _sent: dict[Event, _Sent]
    _last: dict[Key, list[Event]]

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._found: dict[Task, Sender] = {}
        self._hosts: dict[Task, None] = {}  # of children, which have not begun

    def spawned(self, task: Task, by: Task) -> None:
        """Note that a task was started, if it works for the same as its starter."""
        mine, its = task.context, by.context
        cell = mine.get(CURRENT)
        if cell is not None:  # beside its handlers; their nursery is the family's
            if task.parent_nursery is by.parent_nursery:
                return  # it writes what the handler stores, and sends for it
            who = cell.path
        elif task.name.startswith("/") or its.get(CURRENT) is not None:
            if task.name.endswith("/*"):
                self._hosts[task] = None
            return  # an actor
        else:
            who = mine.get(WHO) or "test"
        starter = self._found.get(by)
        if starter is None or starter.who != who:
            name = f"{who} task"
        else:
            name = f"{starter.name} task"
        name = f"{name} {self._pilot.count(name)}"
        if not self._pilot.many:
            self._pilot.many = True
            self._names, self._sent, self._last = {}, {}, {}
            for event in self._pilot.sent():
                self._note(event)
        self._found[task] = Sender(name, who, self._pilot.moment)
        self._names.setdefault(who, [who]).append(name)

    def name(self, who: str) -> str:
        """Return which task of *who* it is that sends now."""
        return self.name_of(cast("Task", self._pilot.clock.task), who)

    def is_host(self, task: Task) -> bool:
        """Whether it begins to host children, who may be waiting for that."""
        return self._hosts.pop(task, task) is None

    def name_of(self, task: Task, who: str) -> str:
        """Return which task of *who* that is."""
        found = self._found.get(task)
        return who if found is None else found.name

    def order(self, held: Event) -> None:
        """Say what an event comes behind, of what other tasks have sent."""
        self._note(held)
        kind, src, dst = held.key
        now = self._sent[held] = self._now()
        for name in self._names.get(now.who, ()):
            if name != src:
                theirs = self._last.get((kind, name, dst), ())
                behind = [one for one in theirs if self.is_behind(one)]
                held.after += tuple(behind[-1:])

    def _note(self, event: Event) -> None:
        mine = self._last.setdefault(event.key, [])
        if mine and mine[-1].sent != event.sent:
            del mine[:-1]  # what is behind the last one is behind those before it
        mine.append(event)

    def is_behind(self, other: Event) -> bool:
        """Whether what is sent now comes behind what was sent before."""
        if not self._pilot.many:
            return other.src == self._pilot.who()
        now, sent = self._now(), self._sent.get(other)
        if sent is None:  # it was sent when all had one task
            return other.src == now.who
        return sent.who == now.who and not self._races(now, sent)

    def _now(self) -> _Sent:
        pilot = self._pilot
        return _Sent(pilot.clock.task, pilot.who(), pilot.moment)

    def _races(self, now: _Sent, sent: _Sent) -> bool:
        """Whether a task could have sent before what another one has sent."""
        if sent.moment[0] != now.moment[0] or sent.task in (now.task, None):
            return False
        mine, its = self._found.get(cast("Task", now.task)), self._found.get(sent.task)
        if mine is its:
            return False  # neither is one of several
        if mine is not None and mine.born >= sent.moment:
            return False
        nursery = None if its is None else sent.task.parent_nursery
        return nursery is None or sent.task in nursery.child_tasks
