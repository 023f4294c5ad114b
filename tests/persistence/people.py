"""Entities of a plain actor, as the tests of entities use them."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from trio_actors import (
    Actor,
    ActorRef,
    Context,
    Exit,
    Mailbox,
    Reply,
    Request,
    handler,
)


@attrs.frozen
class Say(Request[int]):
    """Is written down, and answered with the number of the activation."""

    text: str = ""


@attrs.frozen
class Do(Request[Any]):
    """What a person shall do in its handler."""

    work: Callable[[Context[Any]], Awaitable[Any]]


@attrs.frozen
class Later(Request[str]):
    """Is answered by the next ``Answer``, or put aside until then."""

    stashed: bool = False


@attrs.frozen
class Answer:
    pass


@attrs.frozen
class Fail(Request[int]):
    pass


Message = Say | Do | Later | Answer | Fail


class Town:
    """What its people do can be seen, and hindered, from outside."""

    def __init__(self, *, goodbye: float = 0.0, mailbox: Mailbox | None = None) -> None:
        self.seen: list[tuple[str, str]] = []  # who, and what
        self.starts: dict[str, int] = {}
        self.failing: set[str] = set()  # who cannot start
        self.goodbye = goodbye
        self.mailbox = mailbox or Mailbox()

    def __call__(self) -> "Person":
        return Person(self)

    def said(self, path: str) -> list[str]:
        return [what for who, what in self.seen if who == path]


class Person(Actor[Message]):
    def __init__(self, town: Town) -> None:
        self.town = town
        self.mailbox = town.mailbox  # type: ignore[misc]
        self.replies: list[Reply[str]] = []

    async def started(self) -> None:
        path = self.context.ref.path
        self.town.starts[path] = self.town.starts.get(path, 0) + 1
        if path in self.town.failing:
            raise OSError(f"{path} cannot start")

    async def stopped(self, reason: Exit) -> None:
        await trio.sleep(self.town.goodbye)

    @handler
    def say(self, message: Say) -> int:
        path = self.context.ref.path
        self.town.seen.append((path, message.text))
        return self.town.starts[path]

    @handler
    async def do(self, message: Do) -> Any:
        return await message.work(self.context)

    @handler
    def later(self, message: Later) -> Reply[str]:
        if message.stashed and not self.replies:
            return self.context.stash(message)
        self.replies.append(self.context.defer_reply(message))
        return self.replies[-1]

    @handler
    def answer(self, message: Answer) -> None:
        for reply in self.replies:
            reply.send("at last")
        self.replies.clear()

    @handler
    def fail(self, message: Fail) -> int:
        raise ValueError("failed")


def asking(to: ActorRef[Any], request: Request[Any]) -> Do:
    """Let a person ask another."""
    return Do(lambda _: to.ask(request))


def sleeping(seconds: float) -> Do:
    """Let a person be at work for so long."""
    return Do(lambda _: trio.sleep(seconds))
