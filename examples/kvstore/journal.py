"""The store on a journal: each change is an event, and there is no writer.

Rules of this file:

* A change is answered when its event is durable: the journal sees to that.
* What cannot be an event is refused, and fails nobody.
"""

from collections.abc import Mapping
from typing import TypeAlias

import attrs
import trio

from trio_actors import Mailbox, handler, tagged
from trio_actors.persistence import EventSourced, applies

from .files import NotStored
from .messages import Command, Delete, Get, Set, Since, changed


@tagged("kv-set@1")
@attrs.frozen
class WasSet:
    key: str
    value: str


@tagged("kv-deleted@1")
@attrs.frozen
class WasDeleted:
    key: str


@tagged("kv-map@1")
@attrs.frozen
class Map:
    data: Mapping[str, str] = attrs.field(factory=dict[str, str])


Changed: TypeAlias = WasSet | WasDeleted


def check_texts(*texts: str) -> None:
    """Refuse what is no text, such as a half of a character."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise NotStored(f"{text!r} is no text: {error.reason}") from None


class JournalStore(EventSourced[Command, Changed, Map]):
    """Answers from memory what its events have made of it."""

    mailbox = Mailbox(1024)
    initial = Map()

    async def started(self) -> None:
        self.started_at = trio.current_time()

    @handler(reads_only=True)
    def get(self, message: Get) -> str | None:
        return self.state.data.get(message.key)

    @handler(raises=(NotStored,))
    async def set(self, message: Set) -> None:
        check_texts(message.key, message.value)
        if self.state.data.get(message.key) != message.value:
            await self.persist(WasSet(message.key, message.value))

    @handler
    async def delete(self, message: Delete) -> None:
        if message.key in self.state.data:
            await self.persist(WasDeleted(message.key))

    @handler(reads_only=True)
    def since(self, message: Since) -> float:
        return self.started_at

    @applies
    def was_set(self, event: WasSet) -> Map:
        return Map(changed(self.state.data, Set(event.key, event.value)))

    @applies
    def was_deleted(self, event: WasDeleted) -> Map:
        return Map(changed(self.state.data, Delete(event.key)))
