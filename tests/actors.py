"""Actors that several tests of messages share."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from tests.kit import Add, Get, Note, Sleep
from trio_actors import (
    Actor,
    ActorRef,
    AskDeadlock,
    Context,
    Inbox,
    Mailbox,
    Reply,
    Request,
    Terminated,
    handler,
)
from trio_actors._mailbox import Overflow
from trio_actors.testing import World


@attrs.frozen
class Run(Request[Any]):
    """What a node shall do in its handler."""

    work: Callable[[Context[Any]], Awaitable[Any]]


class Node(Actor[Run | Get | Note]):
    """Does what it is asked to; a deadlock is an answer."""

    def __init__(self, seen: list[str] | None = None) -> None:
        self.seen: list[str] = [] if seen is None else seen

    @handler(raises=(AskDeadlock,))
    async def run(self, message: Run) -> Any:
        return await message.work(self.context)

    @handler
    def get(self, message: Get) -> int:
        return self.context.incarnation

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)


async def node_function(inbox: Inbox[Run | Get | Note]) -> None:
    """The same as a function."""
    async for message in inbox:
        match message:
            case Run(work):
                try:
                    inbox.reply(message, await work(inbox))
                except AskDeadlock as error:
                    inbox.fail(message, error)
            case Get():
                inbox.reply(message, inbox.incarnation)
            case Note():
                pass


def asks(to: ActorRef[Any], request: Request[Any] = Get()) -> Run:  # noqa: B008
    """Make a node ask another."""
    return Run(lambda _: to.ask(request))


class Sleeper(Actor[Sleep | Get]):
    """Counts what it began and what it finished."""

    def __init__(self, seen: list[str] | None = None) -> None:
        self.seen: list[str] = [] if seen is None else seen

    @handler(cancel_with_caller=True)
    async def sleep(self, message: Sleep) -> int:
        self.seen.append("begun")
        await trio.sleep(message.seconds)
        self.seen.append("finished")
        return len(self.seen)

    @handler
    def get(self, message: Get) -> int:
        return len(self.seen)


@attrs.frozen
class Via(Request[int]):
    """Ask the next of *refs* for the rest of the way."""

    refs: tuple[ActorRef[Any], ...]
    last: Request[int] = attrs.field(factory=Get)


class Chain(Actor[Via]):
    """One link; it ends with its caller."""

    def __init__(self, ended: list[str]) -> None:
        self.ended = ended

    @handler(cancel_with_caller=True)
    async def via(self, message: Via) -> int:
        try:
            to, *rest = message.refs
            if rest:
                return await to.ask(Via(tuple(rest), message.last))
            return await to.ask(message.last)
        except trio.Cancelled:
            self.ended.append(self.context.ref.path)
            raise


class Log(Actor[Note | Sleep | Get | Terminated]):
    """Writes down what it handles; Sleep keeps it busy."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)

    @handler
    async def sleep(self, message: Sleep) -> int:
        self.seen.append("sleep")
        await trio.sleep(message.seconds)
        return 0

    @handler
    def get(self, message: Get) -> int:
        self.seen.append("get")
        return len(self.seen)

    @handler
    def terminated(self, message: Terminated) -> None:
        self.seen.append("terminated")


async def busy_log(
    world: World, seen: list[str], capacity: float, overflow: Overflow = "block"
) -> ActorRef[Note | Sleep | Get | Terminated]:
    """A Log that sleeps for ten seconds, from second 0."""
    ref = await world.spawn(Log, seen, mailbox=Mailbox(capacity, overflow))
    ref.tell_nowait(Sleep(10))
    await trio.sleep(1)
    seen.clear()
    return ref


class Mixing(Actor[Get | Add]):
    """Answers each Add with the Reply that it owes to a Get."""

    kept: Reply[int]

    @handler
    def get(self, message: Get) -> Reply[int]:
        self.kept = self.context.defer_reply(message)
        return self.kept

    @handler
    def add(self, message: Add) -> Reply[int]:
        return self.kept


class StashAndFail(Actor[Note]):
    """Stashes a message and fails in the same turn; well from then on."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @handler
    def note(self, message: Note) -> None:
        if self.context.incarnation == 1:
            self.context.stash(message)
            raise self.error
