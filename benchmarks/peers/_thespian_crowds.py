"""Thespian: the two workloads with many actors. See `_thespian.py`."""

# mypy: disallow-subclassing-any=False
# pyright: reportUntypedBaseClass=false

from collections.abc import Mapping
from typing import Any

import attrs

from benchmarks._books import check
from benchmarks._records import Sample
from benchmarks.skynet import BRANCHES, actors_in

from ._thespian import Thespian, request, thespian

# --- Skynet -----------------------------------------------------------------


@attrs.frozen
class Grow:
    """Add up so many leaves."""

    first: int
    leaves: int


class Branch(thespian.Actor):
    """A leaf, or the sum of ten others."""

    parent: Any = None
    left = BRANCHES
    total = 0

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Start ten others, or add one up; after the tenth tell the sum."""
        if isinstance(message, Grow):
            self.parent = sender
            self._grow(message.first, message.leaves)
        elif isinstance(message, int):
            self.total += message
            self.left -= 1
            if not self.left:
                self._end(self.total)

    def _grow(self, first: int, leaves: int) -> None:
        if leaves == 1:
            self._end(first)
            return
        share = leaves // BRANCHES
        for number in range(first, first + leaves, share):
            self.send(self.createActor(Branch), Grow(number, share))

    def _end(self, number: int) -> None:
        self.send(self.parent, number)
        self.send(self.myAddress, thespian.ActorExitRequest())


def skynet(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Build the tree."""
    leaves = sizes["leaves"]
    with kind.open() as system:
        begin = kind.now()
        total = request(system, system.createActor(Branch), Grow(0, leaves))
        system.listen(0)  # those that still end
        sample = kind.sample(actors_in(leaves), begin)
    check("sum", total, leaves * (leaves - 1) // 2)
    return sample


# --- Big --------------------------------------------------------------------


@attrs.frozen
class Begin:
    """Write to these."""

    others: tuple[Any, ...]


class Member(thespian.Actor):
    """Writes to the others, and answers."""

    home: Any = None
    left = 0

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Write, answer, or count an answer."""
        if message == "ping":
            self.send(sender, "pong")
        elif message == "pong":
            self.left -= 1
            if not self.left:
                self.send(self.home, "done")
        elif isinstance(message, Begin):
            self.home, self.left = sender, len(message.others)
            for other in message.others:
                self.send(other, "ping")


@attrs.frozen
class Start:
    """Let so many write to so many."""

    actors: int
    pings: int


class Organiser(thespian.Actor):
    """Lets all begin, and answers when all are done."""

    circle: Any = ()
    home: Any = None
    left = 0

    def receiveMessage(self, message: object, sender: Any) -> None:  # noqa: N802
        """Start them, let them begin, or count one that is done."""
        if isinstance(message, int):
            self.circle = [self.createActor(Member) for _ in range(message)] * 2
            self.send(sender, "started")
        elif isinstance(message, Start):
            self.home, self.left = sender, message.actors
            for index in range(message.actors):
                others = self.circle[index + 1 : index + 1 + message.pings]
                self.send(self.circle[index], Begin(tuple(others)))
        elif message == "done":
            self.left -= 1
            if not self.left:
                self.send(self.home, "over")


def big(kind: Thespian, sizes: Mapping[str, int]) -> Sample:
    """Let them write."""
    actors, pings = sizes["actors"], sizes["pings"]
    with kind.open() as system:
        organiser = system.createActor(Organiser)
        request(system, organiser, actors)
        begin = kind.now()
        over = request(system, organiser, Start(actors, pings))
        sample = kind.sample(2 * actors * pings, begin)
    check("over", over == "over", expected=True)
    return sample
