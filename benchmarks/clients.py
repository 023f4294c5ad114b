"""Four ways to hand out numbers (S1-7): ``python -m benchmarks.clients [--quick]``.

A service gives each request the next number, and builds a response with it: a line of
JSON, which it writes, so that another task may run meanwhile. *clients* tasks send
their requests one after the other, *requests* in all. It is written four times:

* Simple: one lock, held from the request until the response is written;
* Sequence: the lock is held only while the number is taken;
* Actor: the number is kept by an actor with a mailbox of 1024 messages, which is asked;
* Locker: the interface of an actor (a message, a table of handlers), but whoever sends
  the message takes a lock and runs the handler itself.

After each run the numbers are checked: from 1, each once, and growing for each client.
The clock runs from before the first client is started until the last has ended; an
operation is a request with its response.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import pairwise
from time import process_time
from typing import TypeAlias

import attrs
import trio
from trio.lowlevel import checkpoint

from trio_actors import Actor, Mailbox, Request, handler, open_actor_system

from ._books import check, check_books
from ._records import Sample
from ._variants import Row, Trial, run

CLIENTS = (1, 10, 100, 1000)
REQUESTS = 20_000
QUICK_CLIENTS = (1, 100)
QUICK_REQUESTS = 2000

Ask: TypeAlias = Callable[[], Awaitable[bytes]]
Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Ask]]


async def respond(number: int) -> bytes:
    """Build the response, and write it."""
    response = json.dumps({"sequence": number}).encode()
    await checkpoint()
    return response


class Counter:
    """The number before the next."""

    def __init__(self) -> None:
        self.value = 0

    def next(self) -> int:
        """Count one on."""
        self.value += 1
        return self.value


@attrs.frozen
class Next(Request[int]):
    """The next number."""


# --- The four services ------------------------------------------------------


@asynccontextmanager
async def simple() -> AsyncGenerator[Ask]:
    """Hold the lock until the response is written."""
    counter, lock = Counter(), trio.Lock()

    async def ask() -> bytes:
        async with lock:
            return await respond(counter.next())

    yield ask


@asynccontextmanager
async def sequence() -> AsyncGenerator[Ask]:
    """Hold the lock while the number is taken."""
    counter, lock = Counter(), trio.Lock()

    async def ask() -> bytes:
        async with lock:
            number = counter.next()
        return await respond(number)

    yield ask


class Numbers(Actor[Next]):
    """Keeps the number."""

    mailbox = Mailbox(1024)

    def __init__(self) -> None:
        self.counter = Counter()

    @handler
    def next(self, message: Next) -> int:
        """Give the next."""
        return self.counter.next()


@asynccontextmanager
async def actor() -> AsyncGenerator[Ask]:
    """Ask an actor for the number."""
    async with open_actor_system("clients") as system:
        numbers = await system.spawn(Numbers)

        async def ask() -> bytes:
            return await respond(await numbers.ask(Next()))

        yield ask
    check_books(system)


class Locker:
    """Looks like an actor, and is a lock."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.lock = trio.Lock()
        self.handlers: Mapping[type, Callable[[Next], int]] = {Next: self.next}

    def next(self, message: Next) -> int:
        """Give the next."""
        return self.counter.next()

    async def ask(self, message: Next) -> int:
        """Take the lock, and run the handler."""
        async with self.lock:
            return self.handlers[type(message)](message)


@asynccontextmanager
async def locker() -> AsyncGenerator[Ask]:
    """Ask what looks like an actor."""
    numbers = Locker()

    async def ask() -> bytes:
        return await respond(await numbers.ask(Next()))

    yield ask


SERVICES: Mapping[str, Open] = {
    "simple": simple,
    "sequence": sequence,
    "actor": actor,
    "locker": locker,
}


# --- The run ----------------------------------------------------------------


def check_numbers(responses: Sequence[Sequence[bytes]]) -> None:
    """Check that each number was given once, and that they grow for each client.

    Raises:
        RuntimeError: The service does not do what it is for.
    """
    numbers = [[json.loads(one)["sequence"] for one in each] for each in responses]
    every = sorted(number for each in numbers for number in each)
    check("the last number", every[-1], len(every))
    check("different numbers", len(set(every)), len(every))
    backwards = sum(b <= a for each in numbers for a, b in pairwise(each))
    check("numbers that did not grow", backwards, 0)


async def _measure(service: Open, clients: int, requests: int) -> Sample:
    responses: list[list[bytes]] = [[] for _ in range(clients)]
    async with service() as ask:

        async def client(mine: list[bytes]) -> None:
            mine.extend([await ask() for _ in range(requests // clients)])

        begin = process_time()
        async with trio.open_nursery() as nursery:
            for mine in responses:
                nursery.start_soon(client, mine)
        seconds = process_time() - begin
    check_numbers(responses)
    return Sample(sum(map(len, responses)), seconds)


def measure(name: str, clients: int, requests: int) -> Sample:
    """Let so many clients send so many requests to one of the services."""
    return trio.run(_measure, SERVICES[name], clients, requests)


def rows(*, quick: bool) -> list[Row]:
    """Return one row per number of clients."""
    requests = QUICK_REQUESTS if quick else REQUESTS
    return [
        Row(
            f"{clients} client{'s' if clients > 1 else ''}",
            {name: partial(measure, name, clients, requests) for name in SERVICES},
        )
        for clients in (QUICK_CLIENTS if quick else CLIENTS)
    ]


TRIAL = Trial(
    "clients",
    "Four ways to hand out numbers",
    rows,
    against=("simple", "sequence"),
)

if __name__ == "__main__":
    run(TRIAL)
