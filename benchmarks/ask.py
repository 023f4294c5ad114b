"""W2 ask: one question after the other.

A task asks one actor *asks* questions, each a small integer, and waits for the answer,
the integer plus one, before it asks the next. An answer belongs to its question: it
comes by a way of its own (a reply slot, a reply channel, a future), not in a mailbox
where it could be mixed up with others. The clock runs from before the first question
until the last answer.

An operation is a question with its answer.
"""

from collections.abc import Mapping
from time import process_time

import attrs
import trio

from trio_actors import Actor, Request, handler, open_actor_system

from ._books import check, check_books
from ._records import Sample, Workload

WORKLOADS = (
    Workload(
        name="ask",
        title="W2 ask",
        unit="ask",
        sizes={"asks": 20_000},
        quick={"asks": 1_500},
        targets={"naive": 2, "pykka": 3, "asyncio": 0.8},
    ),
)


@attrs.frozen
class Next(Request[int]):
    """Which number comes after this one?"""

    value: int


class Server(Actor[Next]):
    """Answers."""

    @handler
    def answer(self, message: Next) -> int:
        """Count one on."""
        return message.value + 1


async def _measure(asks: int) -> Sample:
    async with open_actor_system("ask") as system:
        server = await system.spawn(Server, name="server")
        total = 0
        begin = process_time()
        for value in range(asks):
            total += await server.ask(Next(value))
        seconds = process_time() - begin
    check("answers", total, asks * (asks + 1) // 2)
    check("handled", check_books(system)["handled"], asks)
    return Sample(asks, seconds)


def ask(sizes: Mapping[str, int]) -> Sample:
    """Ask an actor with a plain handler."""
    return trio.run(_measure, sizes["asks"])
