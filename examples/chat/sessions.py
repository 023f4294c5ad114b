"""Sessions: one client each, whatever door it came in by."""

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import attrs
import trio

from trio_actors import (
    Actor,
    ActorError,
    ActorRef,
    ActorStopped,
    Exit,
    NameTaken,
    handler,
)

from .messages import (
    ROOMS,
    VIEWERS,
    Crash,
    Heard,
    HungUp,
    Join,
    Leave,
    Line,
    ListRooms,
    NoRoom,
    OpenRoom,
    Renamed,
    RoomGone,
    RoomMessage,
    Said,
    SessionMessage,
    Tree,
    Who,
    deliver,
    nick_key,
)
from .protocol import (
    DEMO_HELP,
    HELP,
    BadInput,
    Command,
    CrashRoom,
    EnterRoom,
    Help,
    LeaveRoom,
    Quit,
    Refused,
    Say,
    ShowMembers,
    ShowRooms,
    TakeNick,
    TokenBucket,
    Typed,
    Whisper,
    fold,
    parse,
    wrapped,
)
from .settings import Settings

GOODBYE_SECONDS = 1.0
"""How long a client may take to take our last line."""

T = TypeVar("T")


class Connection(Protocol):
    """What a session needs of a door."""

    name: str
    """Unique; the last part of the session's path."""
    peer: str
    """Where the client is."""
    welcome: str
    """The first line it is shown."""
    shows_tree: bool
    """Whether it wants pictures of the supervision tree."""

    async def receive(self) -> Sequence[Typed | Refused] | None:
        """Wait for lines from the client; None when it sends no more."""

    async def send(self, lines: Sequence[Line]) -> None:
        """Show lines to the client."""

    async def send_tree(self, tree: Tree) -> None:
        """Show the tree to the client."""

    async def aclose(self) -> None:
        """Close the connection."""


@attrs.frozen
class Place:
    """Where a session is."""

    name: str
    room: ActorRef[RoomMessage]


class Session(Actor[SessionMessage]):
    """One client: does what it types, and shows it what others say.

    Its mailbox is the client's outbox: while the client takes nothing, lines wait
    there, and a client for whom too many wait is sent away.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.connection = connection
        self.settings = settings
        self.nick = ""
        self.place: Place | None = None
        # Whether all that we sent so far has gone out whole: nothing can follow half
        # a line, not even a goodbye.
        self.intact = True
        self.bucket = TokenBucket(settings.rate, settings.burst, trio.current_time())
        self.too_fast_since = math.inf

    async def started(self) -> None:
        """Never waits for the client: others want to get in, too."""
        self.context.ref.tell_soon(Line(self.connection.welcome))
        if self.connection.shows_tree:
            self.context.register(VIEWERS)
        self.context.start_soon(self.read)

    async def read(self) -> None:
        """Hand on what the client types, line by line, but not faster than it may.

        A client that sends too fast is not read for a while: nothing of it is lost,
        and it costs the others nothing. Each line is done before the next is handed
        on, so that its own lines never fill a client's outbox.
        """
        with suppress(ActorError):  # the session ends; so does this task, with it
            why = await self.hand_on()
            await self.context.ref.tell(HungUp(why))

    async def hand_on(self) -> str:
        """Hand on lines as long as there are any; return why there are no more."""
        while (lines := await self.connection.receive()) is not None:
            for line in lines:
                await self.keep_pace()
                if self.too_fast_for() > self.settings.flood:
                    return f"it was too fast for {self.settings.flood:g} seconds"
                await self.context.ref.ask(Heard(line))
        return "the client hung up"

    async def keep_pace(self) -> None:
        """Wait until the client may send its next line; say so once."""
        pause = self.bucket.take(trio.current_time())
        if not pause:
            self.too_fast_since = math.inf
        elif self.too_fast_since == math.inf:
            self.too_fast_since = trio.current_time()
            await self.context.ref.ask(Heard(self.slow_down()))
        await trio.sleep(pause)

    def too_fast_for(self) -> float:
        """Return for how many seconds the client has been too fast."""
        return trio.current_time() - self.too_fast_since

    def slow_down(self) -> Refused:
        return Refused(
            f"slow down: more than {self.settings.rate:g} lines a second "
            "have to wait, and so do yours"
        )

    # --- To the client ------------------------------------------------------

    async def send(self, *lines: Line) -> None:
        """Show lines to the client."""
        await self.write(self.connection.send, lines)

    async def write(self, write: Callable[[T], Awaitable[None]], what: T) -> None:
        """Write to the client, or give it up."""
        if not self.intact:
            return
        self.intact = False
        why = f"it took nothing for {self.settings.patience:g} s"
        try:
            with trio.move_on_after(self.settings.patience):
                await write(what)
                self.intact = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            why = "the connection is lost"
        finally:
            if not self.intact:
                self.context.stop(why)

    async def notice(self, text: str) -> None:
        await self.send(Line(text))

    @handler(batch=64)
    async def show(self, lines: list[Line]) -> None:
        await self.send(*lines)

    @handler
    async def show_tree(self, tree: Tree) -> None:
        await self.write(self.connection.send_tree, tree)

    @handler
    async def room_gone(self, message: RoomGone) -> None:
        if self.place is not None and self.place.name == message.room:
            self.place = None
            await self.notice(f"{message.room} is closed; you may /join it again")

    async def stopped(self, reason: Exit) -> None:
        with trio.move_on_after(GOODBYE_SECONDS):
            await self.notice(f"goodbye: {farewell(reason)}")
        await self.connection.aclose()

    # --- From the client ----------------------------------------------------

    @handler
    async def heard(self, message: Heard) -> None:
        match message.line:
            case Refused(why):
                await self.notice(why)
            case Typed(text):
                await self.typed(text)

    @handler
    def hung_up(self, message: HungUp) -> None:
        self.context.stop(message.why)

    async def typed(self, text: str) -> None:
        """Do what a line means; whatever goes wrong is answered, too."""
        try:
            with trio.fail_after(self.settings.patience):
                await self.obey(parse(text))
        except BadInput as mistake:
            await self.notice(str(mistake))
        except (ActorError, trio.TooSlowError):
            await self.notice("there is no answer now; try again later")

    async def obey(self, command: Command) -> None:
        match command:
            case Say(text):
                await self.here().room.tell(Said(text, self.context.ref))
            case TakeNick(nick):
                await self.take(nick)
            case EnterRoom(name):
                await self.enter(name)
            case LeaveRoom():
                await self.leave(self.here())
            case ShowMembers():
                await self.show_members(self.here())
            case ShowRooms():
                await self.show_rooms()
            case Whisper(nick, text):
                await self.whisper(nick, text)
            case Help():
                await self.help()
            case Quit():
                self.context.stop("you said /quit")
            case CrashRoom() if self.settings.demo:
                await self.here().room.tell(Crash(self.nick))
            case CrashRoom():
                raise BadInput("/crash works only on a server started with --demo")

    def named(self) -> str:
        """Return the nickname, or refuse."""
        if not self.nick:
            raise BadInput("first choose a name: /nick NAME")
        return self.nick

    def here(self) -> Place:
        """Return where the client is, or refuse."""
        self.named()
        if self.place is None:
            raise BadInput("you are in no room: /join ROOM")
        return self.place

    async def take(self, nick: str) -> None:
        """Take a nickname: the registry lets only one session have it."""
        key = nick_key(nick)
        try:
            self.context.register(key)
        except NameTaken:
            raise BadInput(f"{nick} is taken; choose another name") from None
        if self.nick and nick_key(self.nick) != key:
            self.context.unregister(nick_key(self.nick))
        self.nick = nick
        await self.notice(f"you are {nick}")
        if self.place is not None:
            await self.place.room.tell(Renamed(nick, self.context.ref))

    async def enter(self, name: str) -> None:
        self.named()
        name = fold(name)
        if self.place is not None:
            if self.place.name == name:
                raise BadInput(f"you are in {name}")
            await self.leave(self.place)
        try:
            lines = await self.join(name)
        except NoRoom as error:
            raise BadInput(str(error)) from None
        await self.send(*lines)

    async def join(self, name: str) -> tuple[Line, ...]:
        rooms = self.context.system.service(ROOMS)
        while True:
            room = await rooms.ask(OpenRoom(name))
            try:
                lines = await room.ask(Join(self.nick, self.context.ref))
            except ActorStopped:
                # It was empty for long and closed while we came in: open it again.
                await room.wait_stopped()
            else:
                self.context.watch(room, RoomGone(name))
                self.place = Place(name, room)
                return lines

    async def leave(self, place: Place) -> None:
        await place.room.tell(Leave(self.context.ref))
        self.context.unwatch(place.room)
        self.place = None
        await self.notice(f"you have left {place.name}")

    async def show_members(self, place: Place) -> None:
        nicks = await place.room.ask(Who())
        title = f"{len(nicks)} in {place.name}:"
        await self.send(*map(Line, wrapped(title, tuple(sorted(nicks)))))

    async def show_rooms(self) -> None:
        names = await self.context.system.service(ROOMS).ask(ListRooms())
        title = f"{len(names)} rooms:" if names else "no rooms yet: /join ROOM"
        await self.send(*map(Line, wrapped(title, names)))

    async def whisper(self, nick: str, text: str) -> None:
        to = self.context.system.find(nick_key(nick))
        if to is None:
            raise BadInput(f"{nick} is not here")
        deliver(Line(text, "private", f"{self.named()} to you"), to)
        await self.send(Line(text, "private", f"you to {nick}"))

    async def help(self) -> None:
        more = (DEMO_HELP,) if self.settings.demo else ()
        await self.send(*map(Line, HELP + more))


def farewell(reason: Exit) -> str:
    """Return what a client is told when its session ends."""
    if reason.detail:
        return reason.detail
    if reason.kind == "shutdown":
        return "the server is going down"
    return "something went wrong here; please connect again"
