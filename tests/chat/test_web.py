"""The door for browsers: HTTP and WebSocket clients on real loopback sockets."""

import base64
import contextlib
import hashlib
import json
import logging
import re
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from attrs import evolve
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    open_websocket_url,
)

from examples.chat.protocol import MAX_LINE
from examples.chat.settings import Settings
from examples.chat.tree import MAX_CHILDREN
from examples.chat.web import MAX_MESSAGE, may_connect
from trio_actors import Backoff

from .kit import SETTINGS, Server, Visitor, open_server, talk_until

QUICK = evolve(SETTINGS, refresh=0.02)


HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def frame(data: bytes) -> bytes:
    """Return a text frame, masked with zeros."""
    size = len(data)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return b"\x81" + length + bytes(4) + data


async def raw_websocket(
    server: Server, handshake: bytes = HANDSHAKE
) -> trio.SocketStream:
    """Open a WebSocket that one can misuse."""
    stream = await trio.open_tcp_stream("127.0.0.1", server.web_port)
    await stream.send_all(handshake)
    seen = b""
    while not re.search(b"welcome|permessage", seen):
        data = await stream.receive_some(65536)
        assert data
        seen += data
    return stream


class Page:
    """What the page's script does, without a browser."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.unread: list[dict[str, Any]] = []

    async def say(self, text: str) -> None:
        await self.socket.send_message(text)

    async def update(self) -> dict[str, Any]:
        update: dict[str, Any] = json.loads(await self.socket.get_message())
        self.unread += update.get("lines", [])
        return update

    async def expect(self, text: str) -> dict[str, Any]:
        """Wait for a line with this text."""
        while True:
            while self.unread:
                if text in (line := self.unread.pop(0))["text"]:
                    return line
            await self.update()

    async def enter(self, nick: str, room: str = "lobby") -> None:
        await self.say(f"/nick {nick}\n/join {room}")
        await self.expect(f"{nick} is here")

    async def tree(self) -> dict[str, Any]:
        """Wait for the next picture of the tree; return its actors by path."""
        while "tree" not in (update := await self.update()):
            pass
        return dict(flatten(update["tree"]))

    async def event(self, text: str) -> str:
        while True:
            event: str = (await self.update()).get("event", "")
            if text in event:
                return event


def flatten(node: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [(node["path"], node)]
    for child in node["children"]:
        found += flatten(child)
    return found


@asynccontextmanager
async def open_page(
    server: Server, origin: str | None = None
) -> AsyncGenerator[Page, None]:
    headers = [(b"Origin", origin.encode())] if origin is not None else []
    url = f"ws://127.0.0.1:{server.web_port}/chat"
    async with open_websocket_url(url, extra_headers=headers) as socket:
        yield Page(socket)


# --- Talking ----------------------------------------------------------------


async def test_a_page_and_a_terminal_meet_in_the_same_room() -> None:
    async with open_server() as server, open_page(server) as page:
        hello = await page.update()
        assert hello == {"you": "web-1", "demo": False}
        await page.expect("welcome")
        ada = await server.guest("ada")
        await page.enter("bob")
        await ada.expect("* bob is here")
        await page.say("hello ada")
        await ada.expect("<bob> hello ada")
        await ada.type("hello bob", "/msg bob psst")
        assert await page.expect("hello bob") == {
            "text": "hello bob",
            "kind": "say",
            "nick": "ada",
        }
        assert (await page.expect("psst"))["kind"] == "private"
        await ada.type("/nick bob")
        await ada.expect("* bob is taken")


async def test_a_page_is_told_goodbye_when_the_server_stops() -> None:
    async with open_server() as server, open_page(server) as page:
        await page.enter("bob")
        server.system.stop()
        await page.expect("goodbye: the server is going down")
        with pytest.raises(ConnectionClosed) as caught:
            await page.expect("more")
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1001


async def test_a_page_that_is_closed_has_left() -> None:
    async with open_server() as server:
        ada = await server.guest("ada")
        async with open_page(server) as page:
            await page.enter("bob")
        await ada.expect("* bob has left")


# --- Bad input --------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (b"\x00\x01", "that was a binary message; send text"),
        (b"", "that was a binary message; send text"),
        ("", "an empty line says nothing"),
        ("x" * (MAX_LINE + 1), "longer than 4096 bytes"),
        ("é" * (MAX_LINE // 2 + 1), "longer than 4096 bytes"),
        ("x" * MAX_MESSAGE, "longer than 4096 bytes"),
        ("\x1b[2J", "control character (U+001B)"),
        ("/fly", "there is no command /fly"),
        ("/nick <script>", "a name has 1 to 20 letters"),
    ],
)
async def test_a_bad_message_is_answered_and_the_page_goes_on(
    message: str | bytes, answer: str
) -> None:
    async with open_server() as server, open_page(server) as page:
        await page.socket.send_message(message)
        await page.expect(answer)
        await page.enter("bob")


async def test_a_message_may_hold_several_lines() -> None:
    async with open_server() as server, open_page(server) as page:
        await page.say("/nick bob\n/join lobby\none\n\ntwo\n")
        await page.expect("one")
        await page.expect("an empty line says nothing")
        await page.expect("two")


async def test_a_huge_message_ends_its_connection_and_no_other() -> None:
    async with open_server() as server:
        ada = await server.guest("ada")
        async with await raw_websocket(server) as stream:
            await stream.send_all(frame(b"/nick bob\n/join lobby"))
            await ada.expect("* bob is here")
            await stream.send_all(frame(b"x" * (20 * MAX_MESSAGE)))
            seen = b"".join([bytes(data) async for data in stream])
            assert seen.endswith(b"\x88\x02" + (1009).to_bytes(2, "big"))
        await ada.expect("* bob has left")
        await all_is_well(server, ada)


async def test_a_small_message_that_unfolds_to_a_huge_one_is_huge() -> None:
    async with open_server() as server:
        ada = await server.guest("ada")
        deflate = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        compress = zlib.compressobj(wbits=-15)
        packed = compress.compress(b"x" * 50_000_000)
        packed += compress.flush(zlib.Z_SYNC_FLUSH).removesuffix(b"\x00\x00\xff\xff")
        async with await raw_websocket(server, HANDSHAKE[:-2] + deflate) as stream:
            await stream.send_all(b"\xc1" + frame(packed)[1:])
            seen = b"".join([bytes(data) async for data in stream])
            assert seen.endswith(b"\x88\x02" + (1009).to_bytes(2, "big"))
        await all_is_well(server, ada)


async def test_text_that_is_not_utf8_ends_its_connection_and_no_other() -> None:
    async with open_server() as server:
        ada = await server.guest("ada")
        async with await raw_websocket(server) as stream:
            await stream.send_all(frame(b"\xff\xff"))
            async for _ in stream:
                pass
        await all_is_well(server, ada)


@pytest.mark.parametrize(
    "data",
    [
        HANDSHAKE + frame(b"too early"),
        HANDSHAKE.replace(b"13", b"12") + frame(b"x"),
        HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X"),
        HANDSHAKE.replace(b"GET", b"PUT"),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a browser that tries TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000,
        b"\x00" * 100_000,
        b"",
    ],
    ids=lambda data: f"{data[:12]!r}",
)
async def test_what_is_not_http_ends_its_connection_and_no_other(data: bytes) -> None:
    async with open_server(evolve(SETTINGS, patience=0.2)) as server:
        ada = await server.guest("ada")
        async with await trio.open_tcp_stream("127.0.0.1", server.web_port) as stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(data)
                await stream.send_eof()
                async for _ in stream:
                    pass
        await all_is_well(server, ada)


async def all_is_well(server: Server, visitor: Visitor) -> None:
    """Both doors are open, and who was there still is."""
    async with open_page(server) as page:
        await page.enter("witness")
        await page.say("all is well")
        await visitor.expect("<witness> all is well")


async def test_a_flood_from_a_page_waits_and_it_may_close_meanwhile() -> None:
    settings = evolve(SETTINGS, rate=30, burst=5)
    async with open_server(settings) as server:
        ada = await server.guest("ada")
        async with open_page(server) as page:
            await page.enter("bob")
            for n in range(50):
                await page.say(f"flood {n}")
            await page.expect("slow down: more than 30 lines a second")
            await ada.type("in between")
            await page.expect("in between")
        # Leaving this block shows that no task of Hypercorn waits for ever.


async def test_a_page_that_never_reads_is_cut_off_and_the_reason_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    settings = evolve(
        SETTINGS, outbox=100, rate=1e6, burst=10_000, patience=1.0, refresh=60.0
    )
    async with open_server(settings) as server:
        ada = await server.guest("ada")
        async with await raw_websocket(server) as sleeper:
            await sleeper.send_all(frame(b"/nick bob\n/join lobby"))
            await ada.expect("* bob is here")
            await talk_until(ada, "* bob has left")
            await all_is_well(server, ada)
    assert re.search(r"/sessions/web-1 .*(does not read|took nothing)", caplog.text)


# --- Who may connect --------------------------------------------------------


async def test_a_page_from_elsewhere_is_turned_away() -> None:
    settings = evolve(SETTINGS, origins=("https://chat.example",))
    async with open_server(settings) as server:
        ours = f"http://127.0.0.1:{server.web_port}"
        for good in (ours, "https://chat.example", None):
            async with open_page(server, good) as page:
                await page.expect("welcome")
        for bad in ("https://evil.example", "http://127.0.0.1:1", "null", "http://["):
            assert await refused(server, "/chat", bad) == 403


async def refused(server: Server, path: str, origin: str) -> int:
    """Ask for a WebSocket that is not given; return the status code."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Origin": origin,
    }
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{server.web_port}{path}"
        return (await client.get(url, headers=headers)).status_code


@pytest.mark.parametrize(
    ("origin", "host", "may"),
    [
        (None, "127.0.0.1:8000", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://127.0.0.1:8000", None, False),
        ("http://127.0.0.1:8001", "127.0.0.1:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        # Whoever owns a name can let it mean 127.0.0.1 ("DNS rebinding").
        ("http://evil.example:8000", "evil.example:8000", False),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
        ("", "", False),
        ("null", "null", False),
    ],
)
def test_a_page_is_ours_if_it_comes_from_here_by_number(
    origin: str | None, host: str | None, may: bool
) -> None:
    assert may_connect(origin, host, Settings()) is may


async def test_the_page_runs_its_own_script_and_no_other() -> None:
    async with open_server() as server, httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{server.web_port}/")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        [script] = re.findall("<script>(.*?)</script>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in policy
        assert "innerHTML" not in answer.text
        assert not re.search(r"(src|href)=\"(?!data:)", answer.text)


async def test_there_is_nothing_else_on_the_web_port() -> None:
    async with open_server() as server, httpx.AsyncClient() as client:
        base = f"http://127.0.0.1:{server.web_port}"
        assert (await client.get(base + "/../../etc/passwd")).status_code == 404
        assert (await client.post(base + "/")).status_code == 405
        assert await refused(server, "/other", base) == 403


# --- The tree ---------------------------------------------------------------


async def test_a_page_is_shown_the_live_supervision_tree() -> None:
    async with open_server(QUICK) as server, open_page(server) as page:
        await page.enter("bob", "attic")
        tree = await page.tree()
        for path in ("/rooms", "/rooms/attic", "/tree", "/web", "/tcp", "/sessions"):
            assert tree[path]["state"] == "running"
        assert tree["/rooms/attic"]["handled"] >= 1
        assert "/sessions/web-1" in tree
        ada = await server.visit()
        while "/sessions/tcp-1" not in await page.tree():
            pass
        await ada.type("/quit")
        while "/sessions/tcp-1" in await page.tree():
            pass


async def test_a_page_sees_a_room_crash_and_come_back() -> None:
    settings = evolve(QUICK, demo=True, pause=Backoff(1.0, 1.0, jitter=0))
    async with open_server(settings) as server, open_page(server) as page:
        assert (await page.update())["demo"]
        await page.tree()
        await page.enter("bob")
        await page.say("/crash")
        event = await page.event("/rooms/lobby failed")
        assert event == "/rooms/lobby failed: bob pressed the button"
        tree = await page.tree()
        assert tree["/rooms/lobby"]["state"] == "backoff"
        await page.event("/rooms/lobby restarted")
        tree = await page.tree()
        assert tree["/rooms/lobby"]["state"] == "running"
        assert tree["/rooms/lobby"]["restarts"] == 1
        await page.expect("the room has crashed and is back")


async def test_of_very_many_sessions_only_the_newest_are_shown() -> None:
    async with open_server(QUICK) as server:
        visitors = [await server.visit() for _ in range(MAX_CHILDREN + 9)]
        async with open_page(server) as page:
            tree = await page.tree()
            assert len(tree["/sessions"]["children"]) == MAX_CHILDREN
            assert tree["/sessions"]["hidden"] == 10
            assert "/sessions/web-1" in tree
            assert "/sessions/tcp-1" not in tree
        for visitor in visitors:
            await visitor.stream.aclose()
