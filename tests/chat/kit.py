"""What the tests of the chat share: clients that a test plays line by line."""

import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

import attrs
import trio
from trio.testing import memory_stream_pair

from examples.chat.doors import attend
from examples.chat.protocol import MAX_LINE
from examples.chat.rooms import Room
from examples.chat.server import Sockets, bind, start_chat
from examples.chat.settings import Settings
from examples.chat.tcp import StreamConnection
from trio_actors import ActorSystem, Backoff, SupervisorRef, open_actor_system
from trio_actors.persistence import Journal

# A test client types faster than a person.
SETTINGS = Settings(rate=1000, burst=1000, pause=Backoff(0.5, 0.5, jitter=0))
"""Nothing in the way of what most tests look at."""


class Visitor:
    """A client of the line protocol."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.unread: list[str] = []
        self._rest = b""

    async def type(self, *lines: str) -> None:
        """Send lines, as typed."""
        await self.send("".join(f"{line}\n" for line in lines).encode())

    async def send(self, data: bytes) -> None:
        """Send bytes, as they are."""
        await self.stream.send_all(data)

    async def line(self) -> str:
        """Wait for the next line."""
        while not self.unread:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError("the server has hung up")
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.unread += [line.decode() for line in lines]
        return self.unread.pop(0)

    async def expect(self, text: str) -> str:
        """Wait for a line with this text; return it."""
        while text not in (line := await self.line()):
            pass
        return line

    async def until_closed(self) -> list[str]:
        """Return all lines up to the end."""
        lines: list[str] = []
        while True:
            try:
                lines.append(await self.line())
            except EOFError:
                return lines

    async def enter(self, nick: str, room: str = "lobby") -> None:
        """Take a name and go into a room."""
        await self.type(f"/nick {nick}", f"/join {room}")
        await self.expect(f"* {nick} is here")


@attrs.define
class Chat:
    """A chat in this process, without doors: clients come in by hand."""

    system: ActorSystem
    sessions: SupervisorRef
    settings: Settings
    nursery: trio.Nursery
    numbers: Iterator[int] = attrs.field(factory=lambda: count(1))

    async def visit(self, stream: trio.abc.Stream | None = None) -> Visitor:
        """Let a client in, on a pair of memory streams or on a given one."""
        theirs: trio.abc.Stream | None = None
        if stream is None:
            theirs, stream = memory_stream_pair()
        connection = StreamConnection(stream, f"mem-{next(self.numbers)}", "memory")
        self.nursery.start_soon(attend, self.sessions, connection, self.settings)
        visitor = Visitor(theirs or stream)
        if theirs is not None:
            await visitor.expect("welcome")
        return visitor

    async def guest(self, nick: str, room: str = "lobby") -> Visitor:
        """Let a client in and take it into a room."""
        visitor = await self.visit()
        await visitor.enter(nick, room)
        return visitor


@asynccontextmanager
async def open_chat(
    settings: Settings = SETTINGS,
    *,
    room: type[Room] = Room,
    journal: Journal | None = None,
) -> AsyncGenerator[Chat, None]:
    """Run a chat in memory; at the end all is over, and every message accounted for."""
    with trio.fail_after(3600):  # of virtual time: a test that hangs ends at once
        async with open_actor_system("chat", journal=journal) as system:
            sessions = await start_chat(system, settings, room=room)
            async with trio.open_nursery() as nursery:
                yield Chat(system, sessions, settings, nursery)
                sessions.stop()
            figures = dict(system.statistics())
            assert figures.pop("accepted") == sum(figures.values())


@attrs.frozen
class Server:
    """A chat in this process, with its doors on free ports."""

    system: ActorSystem
    tcp_port: int
    web_port: int
    streams: AsyncExitStack
    """Closes the connections when the server has gone."""

    async def visit(self) -> Visitor:
        """Connect by TCP."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.tcp_port)
        await self.streams.enter_async_context(stream)
        visitor = Visitor(stream)
        await visitor.expect("welcome")
        return visitor

    async def guest(self, nick: str, room: str = "lobby") -> Visitor:
        """Connect by TCP and go into a room."""
        visitor = await self.visit()
        await visitor.enter(nick, room)
        return visitor


def port_of(sock: socket.socket) -> int:
    """Return the port a socket is bound to."""
    number: int = sock.getsockname()[1]
    return number


@asynccontextmanager
async def open_server(settings: Settings = SETTINGS) -> AsyncGenerator[Server, None]:
    """Run a chat on free loopback ports; at the end all is over."""
    with trio.fail_after(30):
        tcp, web = (bind("127.0.0.1", 0) for _ in range(2))
        ports = port_of(tcp), port_of(web)
        async with AsyncExitStack() as stack, open_actor_system("chat") as system:
            await start_chat(system, settings, Sockets(tcp, web))
            yield Server(system, *ports, stack)
            system.stop()


async def talk_until(visitor: Visitor, text: str) -> None:
    """Say long lines, and read what comes back, until somebody else does not.

    The system's own buffers take some megabytes.
    """
    line = ""
    for number in range(10_000):
        await visitor.type(f"{number} " + "x" * (MAX_LINE - 10))
        while not (line := await visitor.line()).endswith("xxx"):
            if line == text:
                return
    raise AssertionError(f"{line[:100]} instead of {text!r}")
