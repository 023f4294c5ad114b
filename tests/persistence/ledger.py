"""A durable list of words whose handlers do what a test says."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from trio_actors import Request, handler, tagged
from trio_actors.persistence import EventSourced, MemoryJournal, Reminder, applies
from trio_actors.persistence._plan import plan_of

Act = Callable[["Ledger"], Awaitable[Any]]


@attrs.frozen
class Do(Request[Any]):
    """Run *act* as a handler of the ledger."""

    act: Act
    command_id: str = ""


@attrs.frozen
class DoForMe(Request[Any]):
    """As ``Do``, and only as long as somebody waits."""

    act: Act


@attrs.frozen
class Read(Request[tuple[str, ...]]): ...


class Refused(Exception):
    """A declared answer."""


@tagged("ledger-added@1")
@attrs.frozen
class Added:
    word: str


class Ledger(
    EventSourced[Do | DoForMe | Read | Reminder, Added, tuple[str, ...]],
):
    initial = ()
    reminded: Callable[[Reminder], None]

    def __init__(self, start: Act | None = None) -> None:
        self.start = start
        self.reminders: list[Reminder] = []

    async def started(self) -> None:
        if self.start is not None:
            await self.start(self)

    @handler(raises=(Refused,))
    async def do(self, message: Do) -> Any:
        return await message.act(self)

    @handler(cancel_with_caller=True)
    async def do_for_me(self, message: DoForMe) -> Any:
        return await message.act(self)

    @handler(reads_only=True)
    def read(self, message: Read) -> tuple[str, ...]:
        return self.state

    @handler
    async def on_reminder(self, message: Reminder) -> None:
        self.reminders.append(message)

    @applies
    def added(self, event: Added) -> tuple[str, ...]:
        return (*self.state, event.word)


def add(*words: str) -> Act:
    """Store words, all in one command."""

    async def act(ledger: Ledger) -> tuple[str, ...]:
        for word in words:
            await ledger.persist(Added(word))
        return ledger.state

    return act


async def stored(journal: MemoryJournal, stream: str = "/ledger") -> tuple[str, ...]:
    """Return the words in the journal."""
    codec = plan_of(Ledger, EventSourced).codec
    return tuple([codec.decode(body).word async for _, body in journal.read(stream, 0)])
