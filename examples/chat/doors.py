"""What the doors have in common: they give each client a session."""

import logging

import attrs
import trio

from trio_actors import ActorError, Mailbox, SupervisorRef

from .messages import Line
from .sessions import GOODBYE_SECONDS, Connection, Session
from .settings import Settings

log = logging.getLogger(__name__)

STOP_SECONDS = 60.0
"""How long all sessions together may take to stop: ten thousand take some seconds."""


@attrs.frozen
class Open:
    """To a door: let clients in, to these sessions."""

    sessions: SupervisorRef


def peer_name(stream: trio.SocketStream) -> str:
    """Return where a client is, as far as one can still tell."""
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:
        return "already gone"
    return f"{host} port {port}"


async def attend(
    sessions: SupervisorRef, connection: Connection, settings: Settings
) -> None:
    """Give a client its session; return when that is over."""
    try:
        session = await sessions.spawn(
            Session,
            connection,
            settings,
            name=connection.name,
            restart="temporary",  # a client can connect again, a socket cannot
            mailbox=Mailbox(settings.outbox),
            shutdown=STOP_SECONDS,
        )
    except ValueError:
        await turn_away(connection, "the server is full; come back later")
        return
    except ActorError:
        await turn_away(connection, "the server is going down")
        return
    reason = await session.wait_stopped()
    log.info("%s (%s): %s", session.path, connection.peer, reason.detail or reason.kind)


async def turn_away(connection: Connection, why: str) -> None:
    log.info("%s (%s) was turned away: %s", connection.name, connection.peer, why)
    with trio.move_on_after(GOODBYE_SECONDS):
        try:
            await connection.send([Line(why)])
            await connection.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it did not wait for our excuse
