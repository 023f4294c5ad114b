"""See what an actor takes, message by message, and what happens to actors."""

import attrs
import trio

from trio_actors import (
    Actor,
    ActorRef,
    ActorSystem,
    Request,
    handler,
    open_actor_system,
)


@attrs.frozen
class Next(Request[int]): ...


@attrs.frozen
class Update:
    counter: int


class Ipseity(Actor[Next | Update]):
    def __init__(self) -> None:
        self.counter = 0

    @handler
    def next(self, message: Next) -> int:
        self.counter += 1
        return self.counter

    @handler
    def update(self, message: Update) -> None:
        if message.counter < 0:
            raise ValueError(message.counter)
        self.counter = max(self.counter, message.counter)


async def show_messages(system: ActorSystem, ref: ActorRef[Next | Update]) -> None:
    with system.trace(ref) as messages:
        async for message in messages:
            print(f"{ref.path} takes {message}")


async def show_events(system: ActorSystem) -> None:
    with system.events() as events:
        async for event in events:
            print(f"{event.ref.path} {event.kind} {event.error or ''}".rstrip())


async def main() -> None:
    async with open_actor_system("trace") as system, trio.open_nursery() as nursery:
        nursery.start_soon(show_events, system)
        await trio.sleep(0.1)
        replica = await system.spawn(Ipseity, name="replica")
        nursery.start_soon(show_messages, system, replica)
        await trio.sleep(0.1)
        await replica.ask(Next())
        await replica.tell(Update(41))
        await replica.ask(Next())
        await replica.tell(Update(-1))
        await trio.sleep(0.1)
        print(system.snapshot().render())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
