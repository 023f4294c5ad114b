"""A counter service: many counters by key, found by name from any task."""

import attrs
import trio

from trio_actors import (
    Actor,
    Request,
    ServiceKey,
    current_system,
    handler,
    open_actor_system,
)


@attrs.frozen
class Increment(Request[int]):
    key: str
    amount: int


@attrs.frozen
class GetValue(Request[int]):
    key: str


COUNTERS = ServiceKey[Increment | GetValue]("counters", unique=True)


class Counters(Actor[Increment | GetValue]):
    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    async def started(self) -> None:
        self.context.register(COUNTERS)

    @handler
    def increment(self, message: Increment) -> int:
        value = self.values.get(message.key, 0) + message.amount
        self.values[message.key] = value
        return value

    @handler(reads_only=True)
    def get_value(self, message: GetValue) -> int:
        return self.values.get(message.key, 0)


async def visitor(page: str) -> None:
    """Any code, four calls deep: no ref was passed to it."""
    await current_system().service(COUNTERS).ask(Increment(page, 1))


async def main() -> None:
    async with open_actor_system("counters") as system:
        await system.spawn(Counters)
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(visitor, f"page-{n % 3}")
        counters = system.service(COUNTERS)
        for page in ("page-0", "page-1", "page-2", "page-3"):
            print(page, await counters.ask(GetValue(page)))


if __name__ == "__main__":
    trio.run(main)
