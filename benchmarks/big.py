"""Big: everybody writes to everybody.

Each of *actors* actors is told to begin, and sends a ping, with its own address, to
each of the *pings* actors that follow it in a circle (at most all others). Who gets a
ping answers it with a pong, which is a message as any other; who has got all its pongs
says so. The clock runs from before the first is told to begin until all have said so.

An operation is a ping or a pong: ``2 * actors * pings``. A mailbox holds at most 1024
messages; *pings* is at most 500, so that nobody ever has to wait for room.
"""

from collections.abc import Callable, Mapping
from time import process_time

import attrs
import trio

from trio_actors import Actor, ActorRef, handler, open_actor_system

from ._books import check, check_books
from ._records import Sample, Workload

WORKLOADS = (
    Workload(
        name="big",
        title="big (all to all)",
        unit="message",
        sizes={"actors": 300, "pings": 299},
        quick={"actors": 40, "pings": 39},
    ),
)


@attrs.frozen
class Begin:
    """Write to these."""

    others: "tuple[ActorRef[Message], ...]"


@attrs.frozen
class Ping:
    """Answer me."""

    sender: "ActorRef[Message]"


@attrs.frozen
class Pong:
    """The answer."""


Message = Begin | Ping | Pong
PONG = Pong()


class Member(Actor[Message]):
    """Writes to the others, and answers."""

    def __init__(self, ready: Callable[[], None]) -> None:
        self.ready = ready
        self.left = 0

    @handler
    def begin(self, message: Begin) -> None:
        """Write to all of them."""
        self.left = len(message.others)
        ping = Ping(self.context.ref)
        for other in message.others:
            other.tell_nowait(ping)

    @handler
    def ping(self, message: Ping) -> None:
        """Answer."""
        message.sender.tell_nowait(PONG)

    @handler
    def pong(self, message: Pong) -> None:
        """Count an answer."""
        self.left -= 1
        if not self.left:
            self.ready()


class Counter:
    """Sets an event when that many have come."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.over = trio.Event()

    def ready(self) -> None:
        """Count one."""
        self.left -= 1
        if not self.left:
            self.over.set()


async def _measure(actors: int, pings: int) -> Sample:
    counter = Counter(actors)
    async with open_actor_system("big") as system:
        refs = [await system.spawn(Member, counter.ready) for _ in range(actors)]
        circle = refs * 2
        begin = process_time()
        for index, ref in enumerate(refs):
            ref.tell_nowait(Begin(tuple(circle[index + 1 : index + 1 + pings])))
        await counter.over.wait()
        seconds = process_time() - begin
    messages = 2 * actors * pings
    check("handled", check_books(system)["handled"], messages + actors)
    return Sample(messages, seconds)


def big(sizes: Mapping[str, int]) -> Sample:
    """Let them write."""
    return trio.run(_measure, sizes["actors"], sizes["pings"])
