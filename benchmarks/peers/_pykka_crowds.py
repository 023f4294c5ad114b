"""Pykka: the two workloads with many actors, for `pykka_actors.py`.

Rules of this file:

* No environment but that of the benchmarks has Pykka: here it has no types.
"""

# mypy: disallow-subclassing-any=False
# pyright: reportUntypedBaseClass=false, reportUnknownMemberType=false

import importlib
import threading
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, TypeAlias

import attrs

from benchmarks._books import check
from benchmarks._records import Sample
from benchmarks.skynet import BRANCHES, actors_in

pykka: Any = importlib.import_module("pykka")

Ref: TypeAlias = Any


# --- Skynet -----------------------------------------------------------------


class Branch(pykka.ThreadingActor):
    """A leaf, or the sum of ten others."""

    def __init__(
        self, report: Callable[[int], object], first: int, leaves: int
    ) -> None:
        super().__init__()
        self.report = report
        self.first = first
        self.leaves = leaves
        self.left = BRANCHES
        self.total = 0

    def on_start(self) -> None:
        """Start ten others; a leaf tells its number."""
        if self.leaves == 1:
            self._end(self.first)
            return
        share = self.leaves // BRANCHES
        for first in range(self.first, self.first + self.leaves, share):
            Branch.start(self.actor_ref.tell, first, share)

    def on_receive(self, message: int) -> None:
        """Add one up; after the tenth tell the sum."""
        self.total += message
        self.left -= 1
        if not self.left:
            self._end(self.total)

    def _end(self, number: int) -> None:
        self.report(number)
        self.stop()


def skynet(sizes: Mapping[str, int]) -> Sample:
    """Build the tree."""
    leaves = sizes["leaves"]
    sum_of_all = pykka.ThreadingFuture()
    begin = perf_counter()
    Branch.start(sum_of_all.set, 0, leaves)
    total = sum_of_all.get()
    pykka.ActorRegistry.stop_all()  # waits for those that still end
    seconds = perf_counter() - begin
    check("sum", total, leaves * (leaves - 1) // 2)
    return Sample(actors_in(leaves), seconds, clock="wall")


# --- Big --------------------------------------------------------------------


@attrs.frozen
class Begin:
    """Write to these."""

    others: tuple[Ref, ...]


@attrs.frozen
class Ping:
    """Answer me."""

    sender: Ref


class Pong:
    """The answer."""


class Member(pykka.ThreadingActor):
    """Writes to the others, and answers."""

    def __init__(self, ready: threading.Semaphore) -> None:
        super().__init__()
        self.ready = ready
        self.left = 0

    def on_receive(self, message: Begin | Ping | Pong) -> None:
        """Write, answer, or count an answer."""
        if isinstance(message, Ping):
            message.sender.tell(Pong())
        elif isinstance(message, Pong):
            self.left -= 1
            if not self.left:
                self.ready.release()
        else:
            self.left = len(message.others)
            for other in message.others:
                other.tell(Ping(self.actor_ref))


def big(sizes: Mapping[str, int]) -> Sample:
    """Let them write."""
    actors, pings = sizes["actors"], sizes["pings"]
    ready = threading.Semaphore(0)
    refs: list[Ref] = [Member.start(ready) for _ in range(actors)]
    circle = refs * 2
    begin = perf_counter()
    for index, ref in enumerate(refs):
        ref.tell(Begin(tuple(circle[index + 1 : index + 1 + pings])))
    for _ in refs:
        ready.acquire()
    seconds = perf_counter() - begin
    pykka.ActorRegistry.stop_all()
    return Sample(2 * actors * pings, seconds, clock="wall")
