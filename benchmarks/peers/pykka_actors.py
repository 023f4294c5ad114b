"""Pykka: an actor is a thread, an answer is a future.

Rules of this file:

* Plain actors with ``on_receive()``: Pykka's proxies are slower.
* Wall time: what it costs is that threads wait for each other, and no thread's CPU
  time shows that. Clients and producers are threads, as actors are; there are fewer of
  them, and of the actors, where thousands would be. That is to Pykka's good: what it
  costs to start and stop an actor grows with their number.
* A mailbox has no bound: each producer waits until its message was handled, so that of
  100 producers at most 100 messages wait.
* No environment but that of the benchmarks has Pykka: here it has no types.
"""

# mypy: disallow-subclassing-any=False
# pyright: reportUntypedBaseClass=false, reportUnknownMemberType=false

import importlib
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version as installed
from time import perf_counter
from typing import Any, TypeAlias

import attrs

from benchmarks._books import check
from benchmarks._memory import Growth
from benchmarks._records import Sample

from ._pykka_crowds import big as big, skynet as skynet

pykka: Any = importlib.import_module("pykka")

WITHOUT = {
    "restart": "Pykka has no supervision",
    "storm": "Pykka has no supervision",
}
AT_MOST = {
    "asks": {"clients": 100},
    "spawn": {"actors": 2000},
    "idle": {"actors": 1000},
    "ring": {"laps": 20},
    "fan": {"rounds": 10},
    "producers": {"each": 200},
    "pingpong": {"rounds": 10_000},
    "skynet": {"leaves": 1000},
    "big": {"actors": 100, "pings": 99},
}

Ref: TypeAlias = Any


def version() -> str:
    """Return which Pykka this is."""
    return f"Pykka {installed('pykka')}"


def _in_threads(number: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- W1 tell, W8 producers --------------------------------------------------


class Total:
    """How many messages were handled?"""


class Sink(pykka.ThreadingActor):
    """Counts."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: int | Total) -> int | None:
        """Count one, or tell how many there were."""
        if isinstance(message, Total):
            return self.total
        self.total += 1
        return None


def tell(sizes: Mapping[str, int]) -> Sample:
    """Tell from this thread."""
    messages = sizes["messages"]
    sink = Sink.start()
    begin = perf_counter()
    for message in range(messages):
        sink.tell(message)
    total: int = sink.ask(Total(), block=True)
    seconds = perf_counter() - begin
    sink.stop()
    check("messages", total, messages)
    return Sample(messages, seconds, clock="wall")


def producers(sizes: Mapping[str, int]) -> Sample:
    """Ask, to wait: a tell never does."""
    each = sizes["each"]
    sink = Sink.start()

    def producer() -> None:
        for message in range(each):
            sink.ask(message)

    begin = perf_counter()
    _in_threads(sizes["producers"], producer)
    total: int = sink.ask(Total(), block=True)
    seconds = perf_counter() - begin
    sink.stop()
    check("messages", total, sizes["producers"] * each)
    return Sample(total, seconds, clock="wall")


# --- W2 ask, W3 asks --------------------------------------------------------


class Server(pykka.ThreadingActor):
    """Answers."""

    def on_receive(self, message: int) -> int:
        """Count one on."""
        return message + 1


def _ask_all(server: Ref, asks: int) -> int:
    total = 0
    for value in range(asks):
        total += server.ask(value, block=True)
    return total


def ask(sizes: Mapping[str, int]) -> Sample:
    """Ask from this thread."""
    asks = sizes["asks"]
    server = Server.start()
    begin = perf_counter()
    total = _ask_all(server, asks)
    seconds = perf_counter() - begin
    server.stop()
    check("answers", total, asks * (asks + 1) // 2)
    return Sample(asks, seconds, clock="wall")


def asks(sizes: Mapping[str, int]) -> Sample:
    """Ask from many threads."""
    clients, each = sizes["clients"], sizes["each"]
    server = Server.start()
    totals: list[int] = []
    begin = perf_counter()
    _in_threads(clients, lambda: totals.append(_ask_all(server, each)))
    seconds = perf_counter() - begin
    server.stop()
    check("answers", sum(totals), clients * each * (each + 1) // 2)
    return Sample(clients * each, seconds, clock="wall")


# --- W4 spawn, idle ---------------------------------------------------------


class Idle(pykka.ThreadingActor):
    """Has little to do."""

    def on_receive(self, message: int) -> None:
        """Do nothing."""


def spawn(sizes: Mapping[str, int]) -> Sample:
    """Start them, and stop all."""
    actors = sizes["actors"]
    begin = perf_counter()
    refs: list[Ref] = [Idle.start() for _ in range(actors)]
    stopped = [ref.stop(block=False) for ref in refs]
    pykka.get_all(stopped)
    seconds = perf_counter() - begin
    check("actors left", len(pykka.ActorRegistry.get_all()), 0)
    return Sample(actors, seconds, clock="wall")


def idle(sizes: Mapping[str, int]) -> Sample:
    """Weigh them."""
    actors = sizes["actors"]
    first = Idle.start()  # it brings what all of them share
    begin, growth = perf_counter(), Growth(actors)
    refs: list[Ref] = [Idle.start() for _ in range(actors)]
    growth.read("bytes_untold")
    for ref in refs:
        ref.tell(1)
    pykka.get_all([ref.ask(1, block=False) for ref in refs])
    growth.read("bytes_told")
    seconds = perf_counter() - begin
    pykka.get_all([ref.stop(block=False) for ref in [first, *refs]])
    return Sample(actors, seconds, clock="wall", figures=growth.figures)


# --- W5 ring, and ping-pong -------------------------------------------------


@attrs.frozen
class Link:
    """The next one in the ring."""

    next: Ref


class Node(pykka.ThreadingActor):
    """Passes on what it gets."""

    def __init__(self, over: threading.Event) -> None:
        super().__init__()
        self.over = over
        self.next: Ref = self.actor_ref

    def on_receive(self, message: int | Link) -> None:
        """Pass it on, or end the run."""
        if isinstance(message, Link):
            self.next = message.next
        elif message:
            self.next.tell(message - 1)
        else:
            self.over.set()


def _hops(actors: int, hops: int) -> Sample:
    over = threading.Event()
    refs: list[Ref] = [Node.start(over) for _ in range(actors)]
    for ref, following in zip(refs, [*refs[1:], refs[0]], strict=True):
        ref.ask(Link(following))
    begin = perf_counter()
    refs[0].tell(hops)
    over.wait()
    seconds = perf_counter() - begin
    pykka.ActorRegistry.stop_all()
    return Sample(hops, seconds, clock="wall")


def ring(sizes: Mapping[str, int]) -> Sample:
    """Go round."""
    return _hops(sizes["actors"], sizes["actors"] * sizes["laps"])


def pingpong(sizes: Mapping[str, int]) -> Sample:
    """Go back and forth."""
    return _hops(2, 2 * sizes["rounds"])


# --- W6 fan -----------------------------------------------------------------


@attrs.frozen
class Round:
    """Set *sum*, when that many have been heard."""

    workers: int
    sum: Any  # a future


class Collector(pykka.ThreadingActor):
    """Adds up, and tells when a round is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.left = 0
        self.sum: Any = None

    def on_receive(self, message: int | Round) -> None:
        """Begin a round, or add one up."""
        if isinstance(message, Round):
            self.left, self.sum = message.workers, message.sum
            return
        self.total += message
        self.left -= 1
        if not self.left and self.sum is not None:
            self.sum.set(self.total)


class Worker(pykka.ThreadingActor):
    """Passes on what it gets."""

    def __init__(self, back: Ref) -> None:
        super().__init__()
        self.back = back

    def on_receive(self, message: int) -> None:
        """Pass it on."""
        self.back.tell(message)


def fan(sizes: Mapping[str, int]) -> Sample:
    """Out to all, and back to one."""
    workers, rounds = sizes["workers"], sizes["rounds"]
    collector = Collector.start()
    refs: list[Ref] = [Worker.start(collector) for _ in range(workers)]
    total = 0
    begin = perf_counter()
    for number in range(rounds):
        heard = pykka.ThreadingFuture()
        collector.tell(Round(workers, heard))
        for ref in refs:
            ref.tell(number)
        total = heard.get()
    seconds = perf_counter() - begin
    pykka.ActorRegistry.stop_all()
    check("sum", total, workers * rounds * (rounds - 1) // 2)
    return Sample(2 * workers * rounds, seconds, clock="wall")
