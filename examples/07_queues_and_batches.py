"""Watch the queues, and take what waits in batches instead of one by one."""

import attrs
import trio

from trio_actors import Actor, ActorRef, Mailbox, handler, open_actor_system


@attrs.frozen
class Row:
    number: int


class OneByOne(Actor[Row]):
    mailbox = Mailbox(1000)

    @handler
    async def store(self, row: Row) -> None:
        await trio.sleep(0.125)  # a round trip to a database


class InBatches(Actor[Row]):
    mailbox = Mailbox(1000)

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @handler(batch=100)
    async def store(self, rows: list[Row]) -> None:
        await trio.sleep(0.125)  # the same round trip, for up to a hundred rows
        self.sizes.append(len(rows))

    async def stopped(self, reason: object) -> None:
        print("batches of", self.sizes)


def feed(ref: ActorRef[Row]) -> None:
    for number in range(450):
        ref.tell_nowait(Row(number))  # there is room, or MailboxFull


async def main() -> None:
    async with open_actor_system("queues") as system:
        slow = await system.spawn(OneByOne, name="one-by-one")
        fast = await system.spawn(InBatches, name="in-batches")
        feed(slow)
        feed(fast)
        for _ in range(3):
            await trio.sleep(0.3)
            for queue in system.snapshot().children:
                print(f"{queue.path}: {queue.queued}/{queue.capacity} wait")
        slow.kill()


if __name__ == "__main__":
    trio.run(main)
