"""W6 fan-out and fan-in: from one to many, and back to one.

In each of *rounds* rounds a task sends the round's number to each of *workers* actors,
each passes it on to one that adds up what it gets, and when that one has heard from
all the next round begins. The task has a checkpoint after each 64 messages. The clock
runs from the first message of the first round to the end of the last.

An operation is a message: two per worker and round.
"""

from collections.abc import Mapping
from time import process_time

import attrs
import trio
from trio.lowlevel import checkpoint

from trio_actors import Actor, ActorRef, Reply, Request, handler, open_actor_system

from ._books import check, check_books
from ._records import Sample, Workload

WORKLOADS = (
    Workload(
        name="fan",
        title="W6 fan-out, fan-in",
        unit="message",
        sizes={"workers": 1000, "rounds": 100},
        quick={"workers": 100, "rounds": 15},
        targets={"naive": 4, "pykka": 15},
    ),
)


@attrs.frozen
class Round(Request[int]):
    """What is the sum, when all have been heard?"""

    workers: int


class Collector(Actor[int | Round]):
    """Adds up, and answers when a round is complete."""

    def __init__(self) -> None:
        self.total = 0
        self.left = 0
        self.reply: Reply[int] | None = None

    @handler
    def begin(self, message: Round) -> Reply[int]:
        """Wait for that many."""
        self.left = message.workers
        self.reply = self.context.defer_reply(message)
        return self.reply

    @handler
    def take(self, message: int) -> None:
        """Add one up."""
        self.total += message
        self.left -= 1
        if not self.left and self.reply is not None:
            self.reply.send(self.total)


class Worker(Actor[int]):
    """Passes on what it gets."""

    def __init__(self, back: ActorRef[int]) -> None:
        self.back = back

    @handler
    def work(self, message: int) -> None:
        """Pass it on."""
        self.back.tell_nowait(message)


async def _measure(workers: int, rounds: int) -> Sample:
    total = 0
    async with open_actor_system("fan") as system:
        collector = await system.spawn(Collector, name="collector")
        refs = [await system.spawn(Worker, collector) for _ in range(workers)]
        begin = process_time()
        for number in range(rounds):
            complete = collector.ask_nowait(Round(workers))
            for index, ref in enumerate(refs):
                ref.tell_nowait(number)
                if not index & 63:
                    await checkpoint()
            total = await complete
        seconds = process_time() - begin
    messages = 2 * workers * rounds
    check("sum", total, workers * rounds * (rounds - 1) // 2)
    check("handled", check_books(system)["handled"], messages + rounds)
    return Sample(messages, seconds)


def fan(sizes: Mapping[str, int]) -> Sample:
    """Send out, and collect."""
    return trio.run(_measure, sizes["workers"], sizes["rounds"])
