"""W5 ring: one message goes round, from actor to actor.

*actors* actors stand in a ring; each knows the next. A message is a number: the actor
that gets it passes on the number less one, and at zero it says that the run is over.
The first one is told ``actors * laps``. The clock runs from then until the end is said.

An operation is a hop. *pingpong* is the same with two actors and ``2 * rounds`` hops.
"""

from collections.abc import Mapping
from time import process_time

import attrs
import trio

from trio_actors import Actor, ActorRef, Request, handler, open_actor_system

from ._books import check, check_books
from ._records import Sample, Workload

WORKLOADS = (
    Workload(
        name="ring",
        title="W5 ring",
        unit="hop",
        sizes={"actors": 1000, "laps": 100},
        quick={"actors": 100, "laps": 30},
        targets={"naive": 1.8, "pykka": 5},
    ),
)


@attrs.frozen
class Link(Request[None]):
    """The next one in the ring."""

    next: "ActorRef[int]"


class Node(Actor[int | Link]):
    """Passes on what it gets."""

    def __init__(self, over: trio.Event) -> None:
        self.over = over
        self.next: ActorRef[int] = self.context.ref  # a ring of one

    @handler
    def link(self, message: Link) -> None:
        """Take the place in the ring."""
        self.next = message.next

    @handler
    def hop(self, left: int) -> None:
        """Pass it on, or end the run."""
        if left:
            self.next.tell_nowait(left - 1)
        else:
            self.over.set()


async def measure(actors: int, hops: int) -> Sample:
    """Let one message make *hops* hops between *actors* actors."""
    over = trio.Event()
    async with open_actor_system("ring") as system:
        refs = [await system.spawn(Node, over) for _ in range(actors)]
        for ref, following in zip(refs, [*refs[1:], refs[0]], strict=True):
            await ref.ask(Link(following))
        begin = process_time()
        refs[0].tell_nowait(hops)
        await over.wait()
        seconds = process_time() - begin
    check("handled", check_books(system)["handled"], actors + hops + 1)
    return Sample(hops, seconds)


def ring(sizes: Mapping[str, int]) -> Sample:
    """Go round."""
    return trio.run(measure, sizes["actors"], sizes["actors"] * sizes["laps"])
