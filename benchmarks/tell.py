"""W1 tell: one sender, one receiver.

A task sends *messages* small integers to one actor, which adds one to a number for
each. The clock runs from before the first message is sent until the actor has handled
the last. The mailbox holds at most 1024 messages; a sender that is faster has to wait.

An operation is a message. Four ways to do it in trio_actors: ``tell_nowait`` with a
checkpoint each 64 messages (the base), ``await tell`` (a full checkpoint each), and the
first one to an actor with an async handler, and to a function actor.
"""

from collections.abc import Awaitable, Callable, Mapping
from time import process_time
from typing import TypeAlias

import attrs
import trio
from trio.lowlevel import checkpoint

from trio_actors import (
    Actor,
    ActorRef,
    Inbox,
    MailboxFull,
    Request,
    handler,
    open_actor_system,
)

from ._books import check, check_books
from ._records import Sample, Workload

FULL = {"messages": 200_000}
QUICK = {"messages": 5_000}

WORKLOADS = (
    Workload(
        name="tell",
        title="W1 tell",
        unit="message",
        sizes=FULL,
        quick=QUICK,
        targets={"naive": 12, "pykka": 5, "asyncio": 1.2, "otp": 0.25},
    ),
    Workload(
        name="tell_await",
        title="W1 await tell",
        unit="message",
        sizes=FULL,
        quick=QUICK,
        targets={"naive": 1.3},
        like="tell",
    ),
    Workload(
        name="tell_async",
        title="W1 tell, async handler",
        unit="message",
        sizes=FULL,
        quick=QUICK,
        like="tell",
    ),
    Workload(
        name="tell_function",
        title="W1 tell, function actor",
        unit="message",
        sizes=FULL,
        quick=QUICK,
        like="tell",
    ),
)


@attrs.frozen
class Total(Request[int]):
    """How many messages were handled?"""


Messages: TypeAlias = int | Total
Send: TypeAlias = Callable[[ActorRef[Messages], int], Awaitable[None]]


class Sink(Actor[Messages]):
    """Counts, in plain handlers."""

    def __init__(self) -> None:
        self.total = 0

    @handler
    def take(self, message: int) -> None:
        """Count one."""
        self.total += 1

    @handler
    def report(self, message: Total) -> int:
        """Tell how many there were."""
        return self.total


class AsyncSink(Actor[Messages]):
    """Counts, in async handlers."""

    def __init__(self) -> None:
        self.total = 0

    @handler
    async def take(self, message: int) -> None:
        """Count one."""
        self.total += 1

    @handler
    async def report(self, message: Total) -> int:
        """Tell how many there were."""
        return self.total


async def sink(inbox: Inbox[Messages]) -> None:
    """Count, in a function."""
    total = 0
    async for message in inbox:
        if isinstance(message, Total):
            inbox.reply(message, total)
        else:
            total += 1


async def send_nowait(ref: ActorRef[Messages], messages: int) -> None:
    """Send with a checkpoint each 64 messages; wait only where there is no room."""
    for message in range(messages):
        try:
            ref.tell_nowait(message)
        except MailboxFull:  # on a busy machine its turns end before 64 messages
            await ref.tell(message)
        if not message & 63:
            await checkpoint()


async def send_await(ref: ActorRef[Messages], messages: int) -> None:
    """Send with a checkpoint each."""
    for message in range(messages):
        await ref.tell(message)


async def _measure(
    actor: type[Actor[Messages]] | Callable[[Inbox[Messages]], Awaitable[None]],
    send: Send,
    messages: int,
) -> Sample:
    async with open_actor_system("tell") as system:
        ref: ActorRef[Messages] = await system.spawn(actor, name="sink")
        begin = process_time()
        await send(ref, messages)
        total = await ref.ask(Total())
        seconds = process_time() - begin
    check("messages", total, messages)
    check("handled", check_books(system)["handled"], messages + 1)
    return Sample(messages, seconds)


def tell(sizes: Mapping[str, int]) -> Sample:
    """Tell an actor with plain handlers."""
    return trio.run(_measure, Sink, send_nowait, sizes["messages"])


def tell_await(sizes: Mapping[str, int]) -> Sample:
    """Tell it with a full checkpoint each."""
    return trio.run(_measure, Sink, send_await, sizes["messages"])


def tell_async(sizes: Mapping[str, int]) -> Sample:
    """Tell an actor with async handlers."""
    return trio.run(_measure, AsyncSink, send_nowait, sizes["messages"])


def tell_function(sizes: Mapping[str, int]) -> Sample:
    """Tell a function actor."""
    return trio.run(_measure, sink, send_nowait, sizes["messages"])
