"""The door for terminals: ``nc 127.0.0.1 7000``."""

from collections.abc import Sequence
from itertools import count

import trio

from trio_actors import Inbox, SupervisorRef

from .doors import Open, attend, peer_name
from .messages import Line, Tree
from .protocol import LineDecoder, Refused, Typed
from .settings import Settings

CHUNK = 4096
"""Bytes read at once: what a client may have sent ahead of its turn."""


class StreamConnection:
    """A client on a byte stream."""

    welcome = "welcome! Choose a name: /nick NAME, then /join lobby; /help tells more"
    shows_tree = False

    def __init__(self, stream: trio.abc.Stream, name: str, peer: str = "") -> None:
        self.stream = stream
        self.name = name
        self.peer = peer
        self._decoder = LineDecoder()
        self._ended = False

    async def receive(self) -> Sequence[Typed | Refused] | None:
        """Wait for lines; what is left when the client hangs up is a line, too."""
        if self._ended:
            return None
        try:
            data = await self.stream.receive_some(CHUNK)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        if data:
            return self._decoder.feed(bytes(data))
        self._ended = True
        return self._decoder.finish()

    async def send(self, lines: Sequence[Line]) -> None:
        """Send lines, all in one write."""
        await self.stream.send_all("".join(f"{line}\n" for line in lines).encode())

    async def send_tree(self, tree: Tree) -> None:
        """A terminal shows no tree."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the stream."""
        await self.stream.aclose()


async def tcp_door(
    inbox: Inbox[Open], listener: trio.SocketListener, settings: Settings
) -> None:
    """Accept clients, once there are sessions for them."""
    numbers = count(1)

    async def accept(sessions: SupervisorRef) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            name = f"tcp-{next(numbers)}"
            connection = StreamConnection(stream, name, peer_name(stream))
            await attend(sessions, connection, settings)

        await trio.serve_listeners(serve, [listener])

    async for message in inbox:
        inbox.start_soon(accept, message.sessions)
