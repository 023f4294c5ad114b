"""Plain Trio: what a good Trio user writes by hand, without an actor library.

Rules of this file:

* An actor is a task that iterates over a memory channel of 1024 messages, the same
  capacity as a mailbox; senders ``await send()``; an ask brings a reply channel.
* The work per message is that of the library's version, to the letter.
"""

from collections.abc import Mapping
from time import process_time

import trio
from trio.lowlevel import checkpoint

from ._books import check
from ._records import Sample

CAPACITY = 1024


def tell(sizes: Mapping[str, int]) -> Sample:
    """W1: one sender, one receiver."""
    return trio.run(_tell, sizes["messages"])


async def _tell(messages: int) -> Sample:
    send, receive = trio.open_memory_channel[int](CAPACITY)
    total = 0

    async def actor() -> None:
        nonlocal total
        async for _ in receive:
            total += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(actor)
        await checkpoint()
        begin = process_time()
        for message in range(messages):
            await send.send(message)
        send.close()
    seconds = process_time() - begin
    check("messages", total, messages)
    return Sample(messages, seconds)
