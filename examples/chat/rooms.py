"""Rooms: where lines are said, and the actor that starts and supervises them."""

from collections import deque
from typing import Self

from trio_actors import Actor, ActorRef, StartFailed, Supervision, handler

from .messages import (
    ROOMS,
    CloseIfEmpty,
    Counted,
    Crash,
    Join,
    Leave,
    Line,
    ListRooms,
    NoRoom,
    OpenRoom,
    Renamed,
    RoomClosed,
    RoomMessage,
    RoomsMessage,
    Said,
    Who,
    deliver,
)
from .protocol import fold
from .settings import Settings


class Room(Actor[RoomMessage]):
    """Gives what one member says to all members, and remembers the last lines."""

    def __init__(self, name: str, rooms: ActorRef[Counted], settings: Settings) -> None:
        self.name = name
        self.rooms = rooms
        self.settings = settings
        self.members: dict[ActorRef[Line], str] = {}
        self.history: deque[Line] = deque(maxlen=settings.history)

    async def restarted(self, failure: Exception, failed: Self) -> None:
        """Take over the members and the lines: they did not cause the failure.

        The lines that were said meanwhile are still in the mailbox. The watches on
        the members stay with the room, too; its timers do not.
        """
        self.members = failed.members
        self.history = failed.history
        self.show(Line(f"the room has crashed and is back ({failure})"))
        self.close_if_empty()

    def show(self, line: Line) -> None:
        """Give *line* to every member."""
        self.history.append(line)
        for session in self.members:
            deliver(line, session)

    def members_changed(self) -> None:
        """Tell how many there are, and start or stop the clock of an empty room."""
        self.rooms.tell_soon(Counted(self.name, len(self.members)))
        self.context.cancel_timer(CloseIfEmpty())
        self.close_if_empty()

    def close_if_empty(self) -> None:
        if not self.members:
            self.context.send_after(self.settings.keep_empty, CloseIfEmpty())

    @handler
    def join(self, message: Join) -> tuple[Line, ...]:
        lines = tuple(self.history)
        self.members[message.session] = message.nick
        self.context.watch(message.session, Leave(message.session))
        self.members_changed()
        self.show(Line(f"{message.nick} is here"))
        return lines

    @handler
    def leave(self, message: Leave) -> None:
        """A member goes; it also comes when a session has ended."""
        self.context.unwatch(message.session)
        if nick := self.members.pop(message.session, None):
            self.members_changed()
            self.show(Line(f"{nick} has left"))

    @handler
    def renamed(self, message: Renamed) -> None:
        if before := self.members.get(message.session):
            self.members[message.session] = message.nick
            self.show(Line(f"{before} is now {message.nick}"))

    @handler
    def said(self, message: Said) -> None:
        # The name is the room's, not the message's: nobody speaks for another.
        if nick := self.members.get(message.session):
            self.show(Line(message.text, "say", nick))

    @handler(reads_only=True)
    def who(self, message: Who) -> tuple[str, ...]:
        return tuple(self.members.values())

    @handler
    def crash(self, message: Crash) -> None:
        raise RuntimeError(f"{message.nick} pressed the button")

    @handler
    def close(self, message: CloseIfEmpty) -> None:
        if not self.members:
            self.context.stop("nobody is here any more")


class Rooms(Actor[RoomsMessage]):
    """Opens rooms and supervises them: one that crashes comes back, alone.

    A room never gives up for good: its members and lines have survived, and what it
    stumbled over is gone with the message that made it fail. The growing pause keeps
    one that crashes again and again from wasting time.
    """

    def __init__(self, settings: Settings, room: type[Room]) -> None:
        self.settings = settings
        self.room = room
        self.rooms: dict[str, ActorRef[RoomMessage]] = {}
        self.sizes: dict[str, int] = {}

    async def started(self) -> None:
        self.context.register(ROOMS)

    @handler(raises=(NoRoom,))
    async def open_room(self, message: OpenRoom) -> ActorRef[RoomMessage]:
        name = fold(message.name)
        room = self.rooms.get(name)
        if room is not None:
            return room
        if len(self.rooms) >= self.settings.max_rooms:
            raise NoRoom(f"there are {len(self.rooms)} rooms; join one of them")
        try:
            room = await self.context.spawn(
                self.room, name, self.context.ref, self.settings, name=name
            )
        except StartFailed as error:  # its history cannot be read
            raise NoRoom(f"{name} does not open: {error.__cause__}") from error
        self.context.watch(room, RoomClosed(name))
        self.rooms[name] = room
        return room

    @handler(reads_only=True)
    def list_rooms(self, message: ListRooms) -> tuple[str, ...]:
        return tuple(
            f"{name} ({self.sizes.get(name, 0)})" for name in sorted(self.rooms)
        )

    @handler
    def counted(self, message: Counted) -> None:
        if message.room in self.rooms:
            self.sizes[message.room] = message.members

    @handler
    def closed(self, message: RoomClosed) -> None:
        self.rooms.pop(message.room, None)
        self.sizes.pop(message.room, None)


def rooms_supervision(settings: Settings) -> Supervision:
    """Return how Rooms supervises its rooms."""
    return Supervision("one_for_one", max_restarts=None, backoff=settings.pause)
