"""The door for browsers: one page, one WebSocket (Starlette on Hypercorn)."""

import base64
import hashlib
import ipaddress
import json
import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from trio_actors import Inbox, SupervisorRef

from .doors import Open, attend, peer_name
from .messages import Line, Tree
from .protocol import LineDecoder, Refused, Typed
from .sessions import GOODBYE_SECONDS
from .settings import Settings
from .tcp import CHUNK

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

MAX_MESSAGE = 64 * 1024
"""Characters of a WebSocket message; a longer one ends the connection."""

BINARY = Refused("that was a binary message; send text")


class WebConnection:
    """A client on a WebSocket: it sends text and is sent JSON."""

    welcome = "welcome! You may also type what a terminal would: /help tells more"
    shows_tree = True

    def __init__(self, websocket: WebSocket, name: str) -> None:
        self.websocket = websocket
        self.name = name
        client = websocket.client
        self.peer = f"{client.host} port {client.port}" if client else "unknown"
        self._decoder = LineDecoder()

    async def receive(self) -> Sequence[Typed | Refused] | None:
        """Wait for a message; it may hold several lines."""
        message = await self.websocket.receive()
        if message["type"] != "websocket.receive":
            return None
        text: str | None = message.get("text")
        if text is None:
            return [BINARY]
        return self._decoder.feed(text.encode() + b"\n")

    async def send(self, lines: Sequence[Line]) -> None:
        """Send lines, all in one message."""
        await self._send(json.dumps({"lines": [attrs.asdict(line) for line in lines]}))

    async def send_tree(self, tree: Tree) -> None:
        """Send a picture of the supervision tree."""
        await self._send(tree.json)

    async def _send(self, text: str) -> None:
        try:
            await self.websocket.send_text(text)
        except (WebSocketDisconnect, RuntimeError) as error:  # it has closed meanwhile
            raise trio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Say that this was all."""
        with suppress(WebSocketDisconnect, RuntimeError):  # the client was faster
            await self.websocket.close(1001)


def may_connect(origin: str | None, host: str | None, settings: Settings) -> bool:
    """Whether a page of *origin* may open a WebSocket here.

    A browser lets any page connect to any server, and tells where the page is from.
    Ours is from this very server, reached by number or as localhost: a name could be
    made to mean this machine by whoever owns it. What is no browser sends no origin.
    """
    if origin is None or origin in settings.origins:
        return True
    try:
        name = urlsplit(origin).hostname or ""
        same = urlsplit(origin).netloc == host
    except ValueError:
        return False
    return same and (name == "localhost" or is_number(name))


def is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def page_headers() -> dict[str, str]:
    """Return headers that let the page run its own script and style, and no other."""

    def hash_of(tag: str) -> str:
        inside = PAGE.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = hashlib.sha256(inside.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    policy = (
        f"default-src 'none'; script-src {hash_of('script')}; "
        f"style-src {hash_of('style')}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def build_app(sessions: SupervisorRef, settings: Settings) -> Starlette:
    """Return the web application: the page and its WebSocket."""
    numbers = count(1)
    headers = page_headers()

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE, headers=headers)

    async def chat(websocket: WebSocket) -> None:
        origin, host = map(websocket.headers.get, ("origin", "host"))
        if not may_connect(origin, host, settings):
            log.info("a page from %s was turned away", origin)
            await websocket.close()  # before it was accepted: 403
            return
        await websocket.accept()
        name = f"web-{next(numbers)}"
        await websocket.send_text(json.dumps({"you": name, "demo": settings.demo}))
        await attend(sessions, WebConnection(websocket, name), settings)
        await finish(websocket)

    return Starlette(routes=[Route("/", page), WebSocketRoute("/chat", chat)])


async def finish(websocket: WebSocket) -> None:
    """Read what the client still sends, for a moment, until it says goodbye, too.

    Hypercorn would else wait for somebody to read it.
    """
    with trio.move_on_after(GOODBYE_SECONDS), suppress(RuntimeError):
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass


CLOSE = b"\x88"
"""The first byte of a WebSocket frame that says goodbye."""


class PatientStream:
    """A socket whose other side does not have for ever.

    Hypercorn shields its writes from being cancelled, and after a message that is too
    long it waits for the client to close. A browser that sleeps would keep its
    session, and a server that wants to end, for as long as it likes.
    """

    def __init__(self, stream: trio.SocketStream, patience: float) -> None:
        self.stream = stream
        self.socket = stream.socket
        self.patience = patience
        self.read_until = math.inf

    async def send_all(self, data: bytes) -> None:
        try:
            with trio.fail_after(self.patience):
                await self.stream.send_all(data)
        except trio.TooSlowError:
            await trio.aclose_forcefully(self.stream)
            raise trio.BrokenResourceError("it took nothing for too long") from None
        if data.startswith(CLOSE):
            self.read_until = trio.current_time() + GOODBYE_SECONDS

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        if self.read_until < math.inf:
            with trio.move_on_at(self.read_until):
                while await self.stream.receive_some(max_bytes):
                    pass  # nobody listens any more
            return b""
        # In small pieces: what is compressed may become a thousand times as long.
        return await self.stream.receive_some(min(max_bytes, CHUNK))

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def aclose(self) -> None:
        await self.stream.aclose()


def hypercorn_config(settings: Settings) -> Config:
    config = Config()
    config.errorlog = logging.getLogger(f"{__name__}.hypercorn")
    config.keep_alive_timeout = settings.patience
    config.websocket_max_message_size = MAX_MESSAGE
    return config


async def web_door(
    inbox: Inbox[Open], listener: trio.SocketListener, settings: Settings
) -> None:
    """Let browsers in, once there are sessions for them.

    The connections are those of Hypercorn's trio worker. Its own ``serve()`` would end
    with the first one that fails, and some can be made to: by sending frames before
    the WebSocket is open, for one.
    """
    config = hypercorn_config(settings)
    context = WorkerContext(max_requests=None)

    async def accept(sessions: SupervisorRef) -> None:
        # Hypercorn's types are more exact than Starlette's, and know no other stream.
        app = ASGIWrapper(cast("Any", build_app(sessions, settings)))

        async def serve(stream: trio.SocketStream) -> None:
            patient: Any = PatientStream(stream, settings.patience)
            try:
                await TCPServer(app, config, context, ConnectionState({}), patient)
            except Exception as error:
                log.info("%s made a connection fail: %r", peer_name(stream), error)

        await trio.serve_listeners(serve, [listener])

    async for message in inbox:
        inbox.start_soon(accept, message.sessions)
