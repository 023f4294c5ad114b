"""W8 many producers: all of them want to send to one small mailbox.

*producers* tasks each send *each* integers to one actor, in order, which adds one to a
number for each. Its mailbox holds at most *capacity* messages; who finds it full waits.
The clock runs from before the first producer is started until the actor has handled the
last message. In trio_actors each producer calls ``tell_all`` once.

An operation is a message.
"""

from collections.abc import Mapping
from time import process_time

import trio

from trio_actors import Mailbox, open_actor_system

from ._books import check, check_books
from ._records import Sample, Workload
from .tell import Sink, Total

WORKLOADS = (
    Workload(
        name="producers",
        title="W8 many producers",
        unit="message",
        sizes={"producers": 100, "each": 2000, "capacity": 100},
        quick={"producers": 50, "each": 100, "capacity": 100},
        targets={"naive": 8, "asyncio": 2},
    ),
)


async def _measure(producers: int, each: int, capacity: int) -> Sample:
    async with open_actor_system("producers") as system:
        ref = await system.spawn(Sink, name="sink", mailbox=Mailbox(capacity))
        begin = process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(producers):
                nursery.start_soon(ref.tell_all, range(each))
        total = await ref.ask(Total())
        seconds = process_time() - begin
    check("messages", total, producers * each)
    check("handled", check_books(system)["handled"], producers * each + 1)
    return Sample(producers * each, seconds)


def producers(sizes: Mapping[str, int]) -> Sample:
    """Send from all of them."""
    return trio.run(_measure, sizes["producers"], sizes["each"], sizes["capacity"])
