"""A buffer between services: messages are collected and sent on together."""

import attrs
import trio

from trio_actors import Actor, ActorRef, Inbox, handler, open_actor_system


@attrs.frozen
class Said:
    user: str
    text: str


@attrs.frozen
class Flush: ...


@attrs.frozen
class Lines:
    user: str
    texts: tuple[str, ...]


class Buffer(Actor[Said | Flush]):
    """Waits until nobody has said anything for a fifth of a second."""

    def __init__(self, bot: ActorRef[Lines]) -> None:
        self.bot = bot
        self.said: dict[str, list[str]] = {}

    @handler
    def add(self, message: Said) -> None:
        self.said.setdefault(message.user, []).append(message.text)
        self.context.send_after(0.2, Flush())  # replaces the timer before it

    @handler
    async def flush(self, message: Flush) -> None:
        for user, texts in self.said.items():
            await self.bot.tell(Lines(user, tuple(texts)))
        self.said.clear()


async def bot(inbox: Inbox[Lines]) -> None:
    async for lines in inbox:
        print(f"to {lines.user}: I have read {len(lines.texts)} lines from you")


async def main() -> None:
    async with open_actor_system("chatbot") as system:
        buffer = await system.spawn(Buffer, await system.spawn(bot))
        for user, text in (("ada", "hi"), ("ada", "me again"), ("bob", "hello")):
            await buffer.tell(Said(user, text))
            await trio.sleep(0.1)
        await trio.sleep(0.3)
        await buffer.tell(Said("ada", "are you there?"))
        await trio.sleep(0.3)


if __name__ == "__main__":
    trio.run(main)
