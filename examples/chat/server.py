"""The tree of the chat, put together in the order in which it is to stop.

    chat
    ├─ rooms       one_for_one: a room that crashes comes back alone
    │  └─ lobby
    ├─ tree        shows all this to the web pages
    ├─ web, tcp    the doors
    └─ sessions    dynamic: one child for each client

It stops from the bottom: every client is told goodbye while the doors still hold its
connection, then the doors close, then the rooms.
"""

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from trio_actors import ActorRef, ActorSystem, SupervisorRef, open_actor_system

from .doors import Open
from .rooms import Room, Rooms, rooms_supervision
from .settings import Settings
from .tcp import tcp_door
from .tree import TreeWatcher
from .web import web_door

if TYPE_CHECKING:
    from trio_actors.persistence import SQLiteJournal

SHUTDOWN = 70.0
"""Seconds in which all is over after Ctrl-C, whatever clients do."""

BACKLOG = 4096
"""Clients that may wait to be accepted."""


@attrs.frozen
class Sockets:
    """Where clients come in: bound, not yet listened on."""

    tcp: socket.socket
    web: socket.socket


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to *port*, or to a free one if that is 0."""
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        probe_the_silent(sock)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def probe_the_silent(sock: socket.socket) -> None:
    """Let the system find out, in two minutes, that the other end is gone.

    A session notices when it has something to send. In a quiet room it has not.
    Connections have these options from the socket that accepted them.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    probes = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
    for option, value in probes.items():
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def url(scheme: str, sock: socket.socket) -> str:
    """Return the address of a socket as a person would type it."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def start_chat(
    system: ActorSystem,
    settings: Settings,
    sockets: Sockets | None = None,
    *,
    room: type[Room] = Room,
) -> SupervisorRef:
    """Start the chat; return the supervisor of the sessions."""
    rules = rooms_supervision(settings)
    await system.spawn(Rooms, settings, room, name="rooms", supervision=rules)
    await system.spawn(TreeWatcher, settings, name="tree")
    doors: list[ActorRef[Open]] = []
    if sockets is not None:
        doors = await spawn_doors(system, settings, sockets)
    sessions = await system.spawn_supervisor(
        name="sessions", dynamic=True, max_children=settings.max_clients
    )
    for door in doors:
        await door.tell(Open(sessions))
    return sessions


async def spawn_doors(
    system: ActorSystem, settings: Settings, sockets: Sockets
) -> list[ActorRef[Open]]:
    return [
        await system.spawn(web_door, listen(sockets.web), settings, name="web"),
        await system.spawn(tcp_door, listen(sockets.tcp), settings, name="tcp"),
    ]


def listen(sock: socket.socket) -> trio.SocketListener:
    """Let clients come; they wait until the door is open."""
    sock.listen(BACKLOG)
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


async def run_chat(settings: Settings, sockets: Sockets, data: Path | None) -> None:
    """Run the server until it is told to stop.

    Args:
        settings: What may differ.
        sockets: Where clients come in.
        data: The directory in which the rooms keep what is said; None if they do not.
    """
    room, journal = (Room, None) if data is None else kept_in(data)
    async with open_actor_system(
        "chat", signals=True, shutdown=SHUTDOWN, journal=journal
    ) as system:
        await start_chat(system, settings, sockets, room=room)
        print(url("tcp", sockets.tcp), url("http", sockets.web), sep="\n")
        sys.stdout.flush()
        await trio.sleep_forever()


def kept_in(data: Path) -> "tuple[type[Room], SQLiteJournal]":
    """Return the rooms whose lines survive, and where these are kept."""
    # Only a server that is to remember needs what it takes.
    from trio_actors.persistence import SQLiteJournal  # noqa: PLC0415

    from .history import KeptRoom  # noqa: PLC0415

    data.mkdir(exist_ok=True)
    return KeptRoom, SQLiteJournal(data / "rooms.db")
