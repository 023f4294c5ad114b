"""A room whose lines survive the process (``--data``).

Rules of this file:

* What was said is shown when it is durable, and not before.
* Who came and went is not worth a write: it is forgotten with the process.
"""

import attrs

from trio_actors import handler, tagged
from trio_actors.persistence import EventSourced, applies

from .messages import Line, RoomMessage, Said
from .rooms import Room


@tagged("chat-said@1")
@attrs.frozen
class WasSaid:
    nick: str
    text: str


@tagged("chat-lines@1")
@attrs.frozen
class Lines:
    """The last lines, oldest first."""

    said: tuple[WasSaid, ...] = ()


class KeptRoom(Room, EventSourced[RoomMessage, WasSaid, Lines]):
    """A room that reads, when it is opened again, what was said in it."""

    initial = Lines()

    async def started(self) -> None:
        self.history.extend(Line(one.text, "say", one.nick) for one in self.state.said)

    # A handler may await or not, and nobody but the actor's turns calls it.
    @handler
    async def said(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, message: Said
    ) -> None:
        if nick := self.members.get(message.session):
            await self.persist(WasSaid(nick, message.text))
            await self.persist()  # until it is durable: then the others see it
            self.show(Line(message.text, "say", nick))

    @applies
    def was_said(self, event: WasSaid) -> Lines:
        return Lines((*self.state.said, event)[-self.settings.history :])
