"""Actors beside ordinary async code: old code is isolated, and moved step by step."""

import attrs
import trio

from trio_actors import (
    Actor,
    ActorRef,
    Inbox,
    Request,
    handler,
    open_actor_system,
)


class LegacyStore:
    """Old code that breaks when two tasks use it at once."""

    busy = False

    def __init__(self) -> None:
        self.rows: list[str] = []

    async def insert(self, row: str) -> int:
        if self.busy:
            raise RuntimeError("two at once")
        self.busy = True
        await trio.sleep(0.1)
        self.rows.append(row)
        self.busy = False
        return len(self.rows)


@attrs.frozen
class Insert(Request[int]):
    row: str


class Store(Actor[Insert]):
    """The actor in front of it: one at a time, and restarted with a new one."""

    def __init__(self) -> None:
        self.legacy = LegacyStore()

    @handler
    async def insert(self, message: Insert) -> int:
        return await self.legacy.insert(message.row)


async def fake(inbox: Inbox[Insert]) -> None:
    """What stands for the store in a test."""
    async for message in inbox:
        inbox.reply(message, 1000)


async def import_rows(store: ActorRef[Insert], rows: list[str]) -> int:
    """Ordinary Trio code: a nursery, tasks, a deadline. It only knows a ref."""
    counts: list[int] = []

    async def one(row: str) -> None:
        counts.append(await store.ask(Insert(row)))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(one, row)
    return max(counts)


async def main() -> None:
    legacy = LegacyStore()
    print("called directly, by one task:", await legacy.insert("a"))
    async with open_actor_system("hybrid") as system:
        store = await system.spawn(Store)
        print("by many, through the actor:", await import_rows(store, list("abcdef")))
        print("in a test:", await import_rows(await system.spawn(fake), list("ab")))


if __name__ == "__main__":
    trio.run(main)
