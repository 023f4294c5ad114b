"""A model of actor programs, in plain Python: what a search decides, without a library.

Rules of this file:

* Actors share nothing but messages, their life, room and time; each of these is a
  resource, and a step notes what it touches of them.
* A handler is a function, or a generator that yields what it waits for.
* Nothing is drawn, nothing depends on an order of a set: a schedule is a run.

``Toy.mistakes`` names what is done wrong on purpose: what a search then finds must
differ from what there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Hashable
from inspect import GEN_RUNNING, getgeneratorstate
from typing import Any, TypeAlias

import attrs

from trio_actors.testing._events import (
    Blocked,
    Event,
    Footprint,
    Ghost,
    Key,
    Kind,
    Run,
    Search,
)
from trio_actors.testing._search import canonical

Body: TypeAlias = Any
Turn: TypeAlias = Generator["Ticket", Any, Any]
Handler: TypeAlias = Callable[["Cell", Body], Any]
Program: TypeAlias = Callable[["Toy"], None]

DEFER = object()
"""Returned by a handler that will answer later."""


@attrs.define(eq=False)
class Ticket:
    """What a turn waits for: an answer, a time."""

    owner: Cell
    turn: Turn | None
    done: bool = False
    value: Any = None


@attrs.define(eq=False)
class Held(Event):
    """An event, and what happens in its step."""

    apply: Callable[[], None] = attrs.field(kw_only=True)
    body: Body = None
    ticket: Ticket | None = None
    serial: int = 0


@attrs.define(eq=False)
class Timer:
    """Something that is due at a time."""

    when: int
    owner: Cell
    number: int
    armed: int
    fire: Callable[[], object]
    body: Body = None


@attrs.define(eq=False)
class Cell:
    """An actor, or a client: its state, and what its handler can do."""

    toy: Toy
    name: str
    handler: Handler
    reads: Callable[[Body], bool]
    first: Any
    room: int | None = None
    state: Any = None
    phase: str = "idle"
    turn: Turn | None = None
    waiting: Ticket | None = None
    request: Ticket | None = None
    deferred: list[Ticket] = attrs.field(factory=list[Ticket])
    watchers: list[str] = attrs.field(factory=list[str])
    stored: int = 0

    def tell(self, dst: str, body: Body) -> str:
        """Send a message; say what became of it."""
        return self.toy.send(self, dst, body, None)

    def ask(self, dst: str, body: Body) -> Ticket:
        """Send a request, whose answer is waited for by ``yield``."""
        ticket = Ticket(self, self.turn)
        refused = self.toy.send(self, dst, body, ticket)
        if refused:
            ticket.done, ticket.value = True, refused
        return ticket

    def answer(self, ticket: Ticket, value: Any) -> None:
        """Answer a request."""
        self.toy.reply(self, ticket, value)

    def stop(self, dst: str) -> None:
        """Let an actor be stopped, whatever it does, at some time."""
        self.toy.control(self, dst)

    def sweep(self, names: list[str]) -> None:
        """Let actors start over, at once."""
        for name in names:
            self.toy.restart(name)

    def watch(self, dst: str) -> None:
        """Be told of the end of an actor."""
        self.toy.watch(self, dst)

    def after(self, delay: int, body: Body) -> None:
        """Send oneself a message after a time."""
        self.toy.arm(
            self, delay, lambda: self.toy.send(self, self.name, body, None, "clock")
        )

    def sleep(self, delay: int) -> Ticket:
        """Wait for a time to pass."""
        ticket = Ticket(self, self.turn)
        self.toy.arm(self, delay, lambda: self.toy.wake(ticket, None))
        return ticket

    def cancel(self) -> None:
        """Take the newest timer back."""
        self.toy.disarm(self)

    def now(self) -> int:
        """Return the time."""
        self.toy.touch("clock", "", write=False)
        return self.toy.time

    def settled(self) -> Ticket:
        """Wait until nothing can happen but that time passes."""
        ticket = Ticket(self, self.turn)
        self.toy.settling.append(ticket)
        return ticket


class Toy:
    """The world of one run."""

    def __init__(
        self, *, race: bool = True, mistakes: frozenset[str] = frozenset()
    ) -> None:
        self.race = race
        self.mistakes = mistakes
        self.run = Run()
        self.time = 0
        self.cells: dict[str, Cell] = {}
        self.timers: list[Timer] = []
        self.settling: list[Ticket] = []
        self.dead: list[tuple[str, str]] = []
        self.results: dict[str, Any] = {}
        self._channels: dict[Key, deque[Held]] = {}
        self._serial = 0

    # --- What a program is made of ---

    def actor(
        self,
        name: str,
        handler: Handler,
        state: Any = 0,
        *,
        reads: Callable[[Body], bool] = lambda body: False,
        room: int | None = None,
    ) -> None:
        """Start an actor."""
        self.cells[name] = Cell(self, name, handler, reads, state, room, state)
        self.touch("life", name)

    def client(self, name: str, script: Callable[[Cell], Turn]) -> None:
        """Start a client when it is chosen; what it returns is its result."""
        cell = Cell(self, name, lambda me, body: script(me), lambda body: False, None)
        self.cells[name] = cell
        footprint = {("turn", name): True}
        self._hold(("start", name), "start", name, footprint, lambda: self._go(cell, 0))

    # --- What steps touch ---

    @property
    def at(self) -> int:
        return len(self.run.trace) - 1

    def touch(self, resource: str, owner: str, *, write: bool = True) -> None:
        if self.run.trace and resource not in self.mistakes:
            footprint, touched = self.run.trace[-1].footprint, (resource, owner)
            footprint[touched] = write or footprint.get(touched, False)

    # --- What is sent ---

    def _hold(
        self,
        key: Key,
        kind: Kind,
        dst: str,
        footprint: Footprint,
        apply: Callable[[], None],
        body: Body = None,
        ticket: Ticket | None = None,
    ) -> None:
        sent = -1 if "sent" in self.mistakes else self.at
        held = Held(
            key, kind, dst, footprint, sent, apply=apply, body=body, ticket=ticket
        )
        self._serial += 1
        held.serial = self._serial
        self._channels.setdefault(key, deque()).append(held)

    def send(
        self, me: Cell, dst: str, body: Body, ticket: Ticket | None, src: str = ""
    ) -> str:
        cell = self.cells.get(dst)
        self.touch("life", dst, write=False)
        if cell is None or cell.phase == "stopped":
            self.dead.append((dst, repr(body)))
            return "gone"
        if cell.room is not None:
            self.touch("room", dst)
            if cell.stored >= cell.room:
                return "full"
        cell.stored += 1
        writes = not cell.reads(body) and "reads" not in self.mistakes
        key = ("message", src or me.name, dst)
        footprint = {("turn", dst): writes}

        def apply() -> None:
            cell.stored -= 1
            if cell.room is not None:
                self.touch("room", dst)
            cell.request = ticket
            self._go(cell, body)

        self._hold(key, "message", dst, footprint, apply, body, ticket)
        return ""

    def reply(self, me: Cell, ticket: Ticket, value: Any) -> None:
        owner = ticket.owner
        key = ("reply", me.name, owner.name)
        footprint = {("turn", owner.name): True}
        self._hold(
            key, "reply", owner.name, footprint, lambda: self.wake(ticket, value), value
        )

    def control(self, me: Cell, dst: str) -> None:
        key = ("control", me.name, dst)
        footprint = {("turn", dst): True, ("life", dst): True}
        self._hold(key, "control", dst, footprint, lambda: self.end(dst))

    # --- Turns ---

    def _go(self, cell: Cell, body: Body) -> None:
        cell.phase = "busy"
        result = cell.handler(cell, body)
        if isinstance(result, Generator):
            cell.turn = result
            self._step(cell, None)
        else:
            self._finish(cell, result)

    def _step(self, cell: Cell, value: Any) -> None:
        self.touch("turn", cell.name)
        assert cell.turn is not None
        while True:
            try:
                ticket = cell.turn.send(value)
            except StopIteration as end:
                self._finish(cell, end.value)
                return
            if not ticket.done:
                cell.waiting = ticket
                return
            value = ticket.value

    def _finish(self, cell: Cell, value: Any) -> None:
        cell.turn = cell.waiting = None
        request, cell.request = cell.request, None
        if cell.name not in self.results and cell.name.startswith("client"):
            cell.phase = "stopped"
            self.results[cell.name] = value
            return
        cell.phase = "idle"
        if value is DEFER:
            if request is not None:
                cell.deferred.append(request)
        elif request is not None:
            self.reply(cell, request, value)

    def wake(self, ticket: Ticket, value: Any) -> None:
        """Let what was waited for be there."""
        ticket.done, ticket.value = True, value
        cell = ticket.owner
        if cell.waiting is ticket:
            cell.waiting = None
            self._step(cell, value)

    # --- Ends ---

    def _drop_turn(self, cell: Cell, why: str) -> None:
        turn, cell.turn, cell.waiting = cell.turn, None, None
        if turn is not None:
            turn.close()
        if cell.request is not None:
            self.reply(cell, cell.request, why)
        for ticket in cell.deferred:
            self.reply(cell, ticket, why)
        cell.request, cell.deferred = None, []
        self.touch("clock", "", write=False)
        for timer in [one for one in self.timers if one.owner is cell]:
            self._take_back(timer)

    def restart(self, name: str) -> None:
        """Let an actor start over, with the messages it has."""
        cell = self.cells[name]
        self.touch("life", name, write=False)
        if cell.phase == "stopped" or _is_running(cell):
            return
        if "sweep" not in self.mistakes:
            self.touch("turn", name)
        self._drop_turn(cell, "failed")
        cell.state, cell.phase = cell.first, "idle"

    def end(self, name: str) -> None:
        """End an actor; what it has not handled is dead."""
        cell = self.cells[name]
        if cell.phase == "stopped":
            return
        self._drop_turn(cell, "gone")
        cell.phase = "stopped"
        for key in [key for key in self._channels if key[0] == "message"]:
            if key[2] == name:
                self._bury(cell, self._channels.pop(key))
        for watcher in cell.watchers:
            self.send(cell, watcher, ("ended", name), None)

    def _bury(self, cell: Cell, queue: deque[Held]) -> None:
        if queue[0].sent < self.at and "ghosts" not in self.mistakes:
            self.run.ghosts.append(Ghost(queue[0], self.at))
        for held in queue:
            self.dead.append((cell.name, repr(held.body)))
            if held.ticket is not None:
                self.reply(cell, held.ticket, "gone")

    def watch(self, me: Cell, dst: str) -> None:
        self.touch("life", dst, write=False)
        cell = self.cells[dst]
        if cell.phase == "stopped":
            self.send(cell, me.name, ("ended", dst), None)
        elif me.name not in cell.watchers:
            # Who watches is told in the order of names: no order of watching matters.
            cell.watchers = sorted([*cell.watchers, me.name])

    # --- Time ---

    def arm(self, cell: Cell, delay: int, fire: Callable[[], object]) -> None:
        self.touch("clock", "", write=False)
        number = sum(1 for timer in self.timers if timer.owner is cell)
        self.timers.append(Timer(self.time + delay, cell, number, self.at, fire))
        self.timers.sort(key=lambda one: (one.when, one.owner.name, one.number))

    def disarm(self, cell: Cell) -> None:
        # Also if there is none any more: that depends on the time.
        self.touch("clock", "", write=False)
        mine = [timer for timer in self.timers if timer.owner is cell]
        if mine:
            self._take_back(mine[-1])

    def _take_back(self, timer: Timer) -> None:
        self.timers.remove(timer)
        if self.race and timer.armed < self.at and "timers" not in self.mistakes:
            self.run.ghosts.append(Ghost(self._tick(timer.armed), self.at))

    def _tick(self, armed: int) -> Held:
        footprint = {("clock", ""): True}
        return Held(("tick",), "tick", "", footprint, armed, apply=self._pass_time)

    def _pass_time(self) -> None:
        timer = self.timers.pop(0)
        self.time = max(self.time, timer.when)
        timer.fire()

    # --- The run ---

    def enabled(self) -> list[Held]:
        heads = [queue[0] for queue in self._channels.values() if queue]
        heads.sort(key=lambda held: held.serial)
        found = [
            held
            for held in heads
            if held.kind != "message" or self.cells[held.dst].phase == "idle"
        ]
        if not found and self.settling:
            found.append(self._settled())
        if self.timers and (self.race or not found):
            tick = self._tick(self.timers[0].armed)
            tick.barrier = not self.race
            found.append(tick)
        return found

    def _settled(self) -> Held:
        def apply() -> None:
            waiting, self.settling = self.settling, []
            for ticket in sorted(waiting, key=lambda one: one.owner.name):
                self.wake(ticket, None)

        footprint = {("clock", ""): True}
        rest = Held(("settled",), "settled", "test", footprint, self.at, apply=apply)
        rest.barrier = True
        return rest

    def do(self, held: Held, rank: int) -> None:
        held.busy = frozenset(
            cell.name for cell in self.cells.values() if cell.phase == "busy"
        )
        if "busy" in self.mistakes:
            held.busy = frozenset()
        self.run.trace.append(held)
        self.run.ranks.append(rank)
        if held.kind in ("message", "reply", "control", "start"):
            queue = self._channels[held.key]
            assert queue[0] is held
            queue.popleft()
            if not queue:
                del self._channels[held.key]
        held.apply()

    def finish(self) -> None:
        for queue in self._channels.values():
            if "ghosts" not in self.mistakes:
                self.run.ghosts.append(Ghost(queue[0], self.at))
        self.run.outcome = (
            tuple(sorted((name, repr(one)) for name, one in self.results.items())),
            tuple((one.name, one.phase, repr(one.state)) for one in self._actors()),
            tuple(sorted(self.dead)),
        )

    def _actors(self) -> list[Cell]:
        return [self.cells[name] for name in sorted(self.cells)]


def run_once(
    program: Program,
    search: Search,
    *,
    race: bool = True,
    mistakes: frozenset[str] = frozenset(),
) -> Run:
    """Run a program as a search chooses."""
    toy = Toy(race=race, mistakes=mistakes)
    program(toy)
    while enabled := toy.enabled():
        try:
            rank = search.choose(toy.run.trace, enabled)
        except Blocked:
            toy.run.blocked = True
            return toy.run
        toy.do(enabled[rank], rank)
    toy.finish()
    return toy.run


def _is_running(cell: Cell) -> bool:
    """Whether it is in its own step."""
    return cell.turn is not None and getgeneratorstate(cell.turn) == GEN_RUNNING


@attrs.define
class Tally:
    """What a search has seen."""

    runs: int = 0
    blocked: int = 0
    steps: int = 0
    complete: bool = False
    classes: set[Hashable] = attrs.field(factory=set[Hashable])
    outcomes: set[Hashable] = attrs.field(factory=set[Hashable])

    @property
    def redundant(self) -> int:
        return self.runs - len(self.classes)

    def note(self, run: Run) -> None:
        if run.blocked:
            self.blocked += 1
            return
        self.runs += 1
        self.steps += len(run.trace)
        self.classes.add(canonical(run.trace))
        self.outcomes.add(run.outcome)

    def __str__(self) -> str:
        return f"{len(self.classes)} + {self.redundant} + {self.blocked}"


def explore(
    program: Program,
    search: Search,
    *,
    limit: int = 100_000,
    race: bool = True,
    mistakes: frozenset[str] = frozenset(),
) -> Tally:
    """Run a program until the search has come to its end, or has had enough."""
    tally = Tally()
    more = True
    while more and tally.runs + tally.blocked < limit:
        run = run_once(program, search, race=race, mistakes=mistakes)
        tally.note(run)
        more = search.learn(run)
    tally.complete = not more
    return tally
