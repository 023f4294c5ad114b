"""A basic actor: it is told numbers, adds them up and shows its state."""

import attrs
import trio

from trio_actors import Inbox, open_actor_system


@attrs.frozen
class Number:
    value: int


async def adder(inbox: Inbox[Number]) -> None:
    state = 0
    async for message in inbox:
        state += message.value
        print(f"Received: {message.value}  State: {state}")
    print(f"Final state: {state}")


async def main() -> None:
    async with open_actor_system("basic") as system:
        actor = await system.spawn(adder)
        for value in range(10):
            await actor.tell(Number(value))
        actor.drain()  # handle what is queued, then stop
        await actor.wait_stopped()


if __name__ == "__main__":
    trio.run(main)
