"""W3 concurrent asks: many askers, one actor.

*clients* tasks ask the same actor *each* questions, each client one after the other, as
in W2. The clock runs from before the first client is started until the last has ended.

An operation is a question with its answer.
"""

from collections.abc import Mapping
from time import process_time

import trio

from trio_actors import open_actor_system

from ._books import check, check_books
from ._records import Sample, Workload
from .ask import Next, Server

WORKLOADS = (
    Workload(
        name="asks",
        title="W3 concurrent asks",
        unit="ask",
        sizes={"clients": 1000, "each": 100},
        quick={"clients": 100, "each": 20},
        targets={"naive": 6, "pykka": 8, "asyncio": 0.9},
    ),
)


async def _measure(clients: int, each: int) -> Sample:
    total = 0

    async def client() -> None:
        nonlocal total
        for value in range(each):
            answer = await server.ask(Next(value))
            total += answer  # after the wait: others add meanwhile

    async with open_actor_system("asks") as system:
        server = await system.spawn(Server, name="server")
        begin = process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(client)
        seconds = process_time() - begin
    check("answers", total, clients * each * (each + 1) // 2)
    check("handled", check_books(system)["handled"], clients * each)
    return Sample(clients * each, seconds)


def asks(sizes: Mapping[str, int]) -> Sample:
    """Ask from many tasks at once."""
    return trio.run(_measure, sizes["clients"], sizes["each"])
