"""What the benchmarks talk about: samples, workloads and contenders.

Rules of this file:

* A contender is a module with one plain function per workload, named like it:
  ``def tell(sizes: Mapping[str, int]) -> Sample``. It runs its own loop, sets up,
  measures only the work, checks that the work was done, and returns a `Sample`.
* What a contender cannot do stands in its dict ``WITHOUT``: workload -> why. What it
  can do, but not at full size within a reasonable time, stands in ``AT_MOST``:
  workload -> the sizes it gets at most. Both are optional; so is ``version()``.
* What is not there at run time (a package, a program) is `Missing`, with the reason.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, TypeAlias

import attrs

Clock: TypeAlias = Literal["cpu", "wall"]
Run: TypeAlias = Callable[[Mapping[str, int]], "Sample"]


class Missing(Exception):
    """A contender cannot run here; the text says why."""


@attrs.frozen
class Sample:
    """What one run of one workload took."""

    operations: int
    """How many operations were done: messages, asks, actors, as the workload says."""
    seconds: float
    """For all of them."""
    clock: Clock = "cpu"
    """"cpu": the CPU time of the whole process. "wall": where the work is done in other
    processes, or in a virtual machine of its own."""
    figures: Mapping[str, float] = attrs.field(factory=dict[str, float])
    """What else was measured, as ``bytes_untold``."""

    @property
    def microseconds(self) -> float:
        """Per operation."""
        return self.seconds / self.operations * 1e6

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Make a sample of what ``attrs.asdict()`` made of it."""
        return cls(**fields)


@attrs.frozen
class Workload:
    """What is measured. Its module's docstring is its specification."""

    name: str
    """The name of the function in each contender."""
    title: str
    """What the table calls it."""
    unit: str
    """What one operation is."""
    sizes: Mapping[str, int]
    """How much is done."""
    quick: Mapping[str, int]
    """How much is done with ``--quick``."""
    targets: Mapping[str, float] = attrs.field(factory=dict[str, float])
    """Contender -> how many times as fast trio_actors has to be, at least."""
    limits: Mapping[str, float] = attrs.field(factory=dict[str, float])
    """Figure -> how much it may be, at most."""
    like: str = ""
    """For another way to do it in trio_actors: the workload that all others run."""
    fresh: bool = False
    """Each run in a new process: memory that was used before would be used again."""

    @property
    def base(self) -> str:
        """The workload that this one is compared with."""
        return self.like or self.name


@attrs.frozen
class Contender:
    """A system that runs the workloads."""

    name: str
    module: str
    needs: str
    """What to install."""


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("trio_actors", "benchmarks.library", "trio_actors"),
        Contender("naive", "benchmarks.naive", "trio"),
        Contender("lean", "benchmarks.lean", "trio"),
        Contender("asyncio", "benchmarks.peers.asyncio_queue", "nothing"),
        Contender("pykka", "benchmarks.peers.pykka_actors", "pykka"),
        Contender("thespian", "benchmarks.peers.thespian_actors", "thespian"),
        Contender("thespian_tcp", "benchmarks.peers.thespian_tcp", "thespian"),
        Contender("triotp", "benchmarks.peers.triotp_actors", "triotp"),
        Contender("erlang", "benchmarks.peers.erlang", "erlang-base"),
        Contender("otp", "benchmarks.peers.otp", "erlang-base"),
    )
}
