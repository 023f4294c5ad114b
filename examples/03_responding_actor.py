"""A responding actor: every message is answered, if its asker is still there."""

import attrs
import trio

from trio_actors import Actor, ActorRef, Request, handler, open_actor_system


@attrs.frozen
class Add(Request[int]):
    value: int
    takes: float = 0.0


class Adder(Actor[Add]):
    def __init__(self) -> None:
        self.state = 0

    @handler
    async def add(self, message: Add) -> int:
        await trio.sleep(message.takes)
        self.state += message.value
        return self.state


async def impatient(actor: ActorRef[Add]) -> None:
    with trio.move_on_after(0.1):
        await actor.ask(Add(0, takes=0.5))
    print("the asker has gone; the actor finishes, and drops the answer")


async def main() -> None:
    async with open_actor_system("responding") as system:
        actor = await system.spawn(Adder)
        print([await actor.ask(Add(value)) for value in range(10)])
        await impatient(actor)
        print(await actor.ask(Add(55)))


if __name__ == "__main__":
    trio.run(main)
