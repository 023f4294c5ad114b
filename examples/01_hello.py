"""Hello, three times: a hook, a typed question, a function as an actor."""

import attrs
import trio

from trio_actors import Actor, Inbox, Request, handler, open_actor_system


@attrs.frozen
class Ping(Request[int]):  # a message that is answered with an int
    id: int


class MyActor(Actor[Ping]):
    def __init__(self) -> None:
        self.count = 0

    async def started(self) -> None:
        print("Actor is alive")

    @handler
    def ping(self, message: Ping) -> int:
        self.count += 1
        return self.count


@attrs.frozen
class Greeting(Request[str]):
    name: str


class Greeter(Actor[Greeting]):
    @handler
    async def greet(self, message: Greeting) -> str:
        await trio.sleep(0.1)  # an async handler may wait for anything
        return f"Hello, {message.name}!"


async def echo(inbox: Inbox[Greeting]) -> None:
    async for message in inbox:
        inbox.reply(message, f"{message.name}, {message.name}!")


async def main() -> None:
    async with open_actor_system("hello") as system:
        pinged = await system.spawn(MyActor)
        print(await pinged.ask(Ping(1)), await pinged.ask(Ping(2)))
        greeter = await system.spawn(Greeter)
        print(await greeter.ask(Greeting("World")))
        print(await (await system.spawn(echo)).ask(Greeting("Hello")))


if __name__ == "__main__":
    trio.run(main)
