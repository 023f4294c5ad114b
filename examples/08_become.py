"""What an actor may do on a message: create actors, send, become another."""

import attrs
import trio

from trio_actors import (
    Actor,
    ActorRef,
    Inbox,
    Reply,
    Request,
    handler,
    open_actor_system,
)


@attrs.frozen
class Order(Request[str]):
    dish: str


@attrs.frozen
class Open: ...


@attrs.frozen
class Close: ...


Message = Order | Open | Close


class Closed(Actor[Message]):
    @handler
    def order(self, message: Order) -> Reply[str]:
        return self.context.stash(message)  # not now, but it is not lost

    @handler
    def open(self, message: Open) -> None:
        self.become(Kitchen())  # the next message is another one's
        self.context.unstash_all()

    @handler
    def close(self, message: Close) -> None: ...


class Kitchen(Actor[Message]):
    @handler
    def order(self, message: Order) -> Reply[str]:
        # An actor for this one order, answering in our place; it ends by itself.
        return self.context.forward(self.context.spawn_nowait(cook), message)

    @handler
    def open(self, message: Open) -> None: ...

    @handler
    def close(self, message: Close) -> None:
        self.unbecome()


async def cook(inbox: Inbox[Order]) -> None:
    order = await inbox.receive()
    await trio.sleep(len(order.dish) / 10)
    inbox.reply(order, f"{order.dish} from {inbox.ref.path}")


async def guest(restaurant: ActorRef[Order], dish: str) -> None:
    print(await restaurant.ask(Order(dish)))


async def main() -> None:
    async with open_actor_system("restaurant") as system:
        restaurant = await system.spawn(Closed, name="restaurant")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest, restaurant, "pancakes")
            await trio.sleep(0.1)
            nursery.start_soon(guest, restaurant, "soup")
            await trio.sleep(1)
            print("opening")
            await restaurant.tell(Open())
        await restaurant.tell(Close())


if __name__ == "__main__":
    trio.run(main)
