"""What the actors of the chat tell each other."""

from typing import Literal, TypeAlias

import attrs

from trio_actors import ActorRef, MailboxFull, Request, ServiceKey

from .protocol import Refused, Typed, fold

# --- To a session -----------------------------------------------------------


@attrs.frozen
class Line:
    """Show this to the client."""

    text: str
    kind: Literal["notice", "say", "private"] = "notice"
    nick: str = ""

    def __str__(self) -> str:
        """Return the line as a terminal shows it."""
        match self.kind:
            case "say":
                return f"<{self.nick}> {self.text}"
            case "private":
                return f"[{self.nick}] {self.text}"
            case _:
                return f"* {self.text}"


@attrs.frozen
class Tree:
    """Show this picture of the supervision tree (JSON) beside the chat."""

    json: str


@attrs.frozen
class RoomGone:
    """The room you are in has stopped for good."""

    room: str


@attrs.frozen
class Heard(Request[None]):
    """The client has sent this; answered when it is done."""

    line: Typed | Refused


@attrs.frozen
class HungUp:
    """The client sends no more, or is not to."""

    why: str


SessionMessage: TypeAlias = Line | Tree | RoomGone | Heard | HungUp

# --- To a room --------------------------------------------------------------


@attrs.frozen
class Join(Request[tuple[Line, ...]]):
    """Let *session* in; answered with the last lines."""

    nick: str
    session: ActorRef[Line]


@attrs.frozen
class Leave:
    session: ActorRef[Line]


@attrs.frozen
class Renamed:
    nick: str
    session: ActorRef[Line]


@attrs.frozen
class Said:
    text: str
    session: ActorRef[Line]


@attrs.frozen
class Who(Request[tuple[str, ...]]):
    """Answered with the nicknames."""


@attrs.frozen
class Crash:
    """Fail, to show what happens then (``--demo``)."""

    nick: str


@attrs.frozen
class CloseIfEmpty: ...


RoomMessage: TypeAlias = Join | Leave | Renamed | Said | Who | Crash | CloseIfEmpty

# --- To the actor that has the rooms ----------------------------------------


@attrs.frozen
class OpenRoom(Request[ActorRef[RoomMessage]]):
    """Answered with the room of that name."""

    name: str


class NoRoom(Exception):
    """The answer to OpenRoom when there is no place for another one, or none starts."""


@attrs.frozen
class ListRooms(Request[tuple[str, ...]]):
    """Answered with names and numbers of members."""


@attrs.frozen
class Counted:
    """From a room: it has so many members now."""

    room: str
    members: int


@attrs.frozen
class RoomClosed:
    room: str


RoomsMessage: TypeAlias = OpenRoom | ListRooms | Counted | RoomClosed

# --- Names and delivery -----------------------------------------------------

ROOMS = ServiceKey[OpenRoom | ListRooms]("rooms", unique=True)
"""Who opens rooms."""

VIEWERS = ServiceKey[Tree]("viewers")
"""The sessions that show the tree."""


def nick_key(nick: str) -> ServiceKey[Line]:
    """Return the key that the session with this nickname has."""
    return ServiceKey(f"nick/{fold(nick)}", unique=True)


def deliver(line: Line, to: ActorRef[Line]) -> None:
    """Give a line to a session, or end a session that does not take its lines.

    The session's mailbox is its outbox. Waiting for room would let one client that
    does not read stop a whole room.
    """
    try:
        to.tell_nowait(line)
    except MailboxFull:
        to.stop("it does not read: its outbox is full")
