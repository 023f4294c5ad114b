"""The workloads in Thespian, for whichever of its systems.

Rules of this file:

* What is outside of the actors asks and tells through the actor system; actors send,
  and an answer is a message, too: only the outside can wait for one. So it is the
  outside that asks in W2.
* Thespian has no types: neither have these actors, for the checkers.
"""

# mypy: disallow-subclassing-any=False
# pyright: reportUntypedBaseClass=false

import importlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import Any

import attrs

from benchmarks._books import check
from benchmarks._memory import Growth
from benchmarks._records import Clock, Sample

thespian: Any = importlib.import_module("thespian.actors")

# After that many seconds without an answer a run has failed.
PATIENCE = 60
QUIET = {"version": 1, "disable_existing_loggers": False}


@attrs.frozen
class Thespian:
    """One of Thespian's kinds of systems."""

    base: str
    clock: Clock
    capabilities: Mapping[str, Any] = attrs.field(factory=dict[str, Any])

    @contextmanager
    def open(self) -> Generator[Any]:
        """Open a system that belongs to this block."""
        system = thespian.ActorSystem(
            self.base, dict(self.capabilities), logDefs=QUIET, transientUnique=True
        )
        try:
            yield system
        finally:
            system.shutdown()

    def now(self) -> float:
        """Read the clock."""
        return process_time() if self.clock == "cpu" else perf_counter()

    def sample(self, operations: int, begin: float, **figures: float) -> Sample:
        """Take the time since *begin*."""
        return Sample(operations, self.now() - begin, self.clock, figures)


def request(system: Any, actor: Any, message: object) -> Any:
    """Ask from outside; an answer that does not come is an error."""
    answer = system.ask(actor, message, PATIENCE)
    if answer is None:
        raise RuntimeError(f"no answer to {message!r} within {PATIENCE} seconds")
    return answer


# --- W1 tell ----------------------------------------------------------------


class Sink(thespian.Actor):
    """Counts."""

    total = 0

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Count one, or tell how many there were."""
        if isinstance(message, int):
            self.total += 1
        elif message == "total":
            self.send(sender, self.total)


def tell(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Tell from outside."""
    messages = sizes["messages"]
    with kind.open() as system:
        sink = system.createActor(Sink)
        begin = kind.now()
        for message in range(messages):
            system.tell(sink, message)
        total = request(system, sink, "total")
        sample = kind.sample(messages, begin)
    check("messages", total, messages)
    return sample


# --- W2 ask -----------------------------------------------------------------


class Server(thespian.Actor):
    """Answers."""

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Count one on."""
        if isinstance(message, int):
            self.send(sender, message + 1)


def ask(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Ask from outside."""
    asks = sizes["asks"]
    total = 0
    with kind.open() as system:
        server = system.createActor(Server)
        begin = kind.now()
        for value in range(asks):
            total += request(system, server, value)
        sample = kind.sample(asks, begin)
    check("answers", total, asks * (asks + 1) // 2)
    return sample


# --- W4 spawn, idle ---------------------------------------------------------


class Starter(thespian.Actor):
    """Starts others, and answers when it has heard from all that they have ended."""

    left = 0
    home: Any = None

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Start and stop that many, or count one that has ended."""
        if isinstance(message, int):
            self.left, self.home = message, sender
            actors = [self.createActor(Server) for _ in range(message)]
            for actor in actors:
                self.send(actor, thespian.ActorExitRequest())
        elif isinstance(message, thespian.ChildActorExited):
            self.left -= 1
            if not self.left:
                self.send(self.home, "ended")


def spawn(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Start them, and stop all."""
    actors = sizes["actors"]
    with kind.open() as system:
        starter = system.createActor(Starter)
        begin = kind.now()
        check("ended", request(system, starter, actors) == "ended", expected=True)
        return kind.sample(actors, begin)


def idle(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Weigh them."""
    actors = sizes["actors"]
    with kind.open() as system:
        request(
            system, system.createActor(Server), 1
        )  # it brings what all of them share
        begin, growth = kind.now(), Growth(actors)
        refs = [system.createActor(Server) for _ in range(actors)]
        growth.read("bytes_untold")
        for ref in refs:
            check("answer", request(system, ref, 1), 2)
        growth.read("bytes_told")
        return kind.sample(actors, begin, **growth.figures)


# --- W5 ring, and ping-pong -------------------------------------------------


@attrs.frozen
class Link:
    """The next one in the ring."""

    next: Any


@attrs.frozen
class Run:
    """Begin; answer when it is over."""

    hops: int


@attrs.frozen
class Hop:
    """Pass it on; tell *home* when none is left."""

    left: int
    home: Any


class Node(thespian.Actor):
    """Passes on what it gets."""

    next: Any = None

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Pass it on, or end the run."""
        if isinstance(message, Hop):
            if message.left:
                self.send(self.next, Hop(message.left - 1, message.home))
            else:
                self.send(message.home, "over")
        elif isinstance(message, Run):
            self.send(self.next, Hop(message.hops - 1, sender))
        elif isinstance(message, Link):
            self.next = message.next
            self.send(sender, "linked")


def _hops(kind: Thespian, actors: int, hops: int) -> Sample:
    with kind.open() as system:
        refs = [system.createActor(Node) for _ in range(actors)]
        for ref, following in zip(refs, [*refs[1:], refs[0]], strict=True):
            request(system, ref, Link(following))
        begin = kind.now()
        check("over", request(system, refs[0], Run(hops)) == "over", expected=True)
        return kind.sample(hops, begin)


def ring(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Go round."""
    return _hops(kind, sizes["actors"], sizes["actors"] * sizes["laps"])


def pingpong(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Go back and forth."""
    return _hops(kind, 2, 2 * sizes["rounds"])


# --- W6 fan -----------------------------------------------------------------


@attrs.frozen
class Round:
    """Tell the sum when that many have been heard."""

    workers: int


class Collector(thespian.Actor):
    """Adds up, and answers when a round is complete."""

    total = 0
    left = 0
    home: Any = None

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Begin a round, or add one up."""
        if isinstance(message, int):
            self.total += message
            self.left -= 1
        elif isinstance(message, Round):
            self.left += message.workers
            self.home = sender
        if self.home is not None and not self.left:
            self.send(self.home, self.total)
            self.home = None


@attrs.frozen
class Back:
    """Whom to pass it on to."""

    to: Any


class Worker(thespian.Actor):
    """Passes on what it gets."""

    back: Any = None

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Pass it on."""
        if isinstance(message, int):
            self.send(self.back, message)
        elif isinstance(message, Back):
            self.back = message.to
            self.send(sender, "known")


def fan(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Out to all, and back to one."""
    workers, rounds = sizes["workers"], sizes["rounds"]
    total = 0
    with kind.open() as system:
        collector = system.createActor(Collector)
        refs = [system.createActor(Worker) for _ in range(workers)]
        for ref in refs:
            request(system, ref, Back(collector))
        begin = kind.now()
        for number in range(rounds):
            for ref in refs:
                system.tell(ref, number)
            # What came before this question makes its count negative.
            total = request(system, collector, Round(workers))
        sample = kind.sample(2 * workers * rounds, begin)
    check("sum", total, workers * rounds * (rounds - 1) // 2)
    return sample
