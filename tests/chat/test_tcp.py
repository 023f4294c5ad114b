"""The door for terminals, on real loopback sockets."""

import logging
import socket
import struct

import pytest
import trio
from attrs import evolve

from examples.chat.server import bind, url

from .kit import SETTINGS, open_server, talk_until


async def test_two_terminals_talk() -> None:
    async with open_server() as server:
        ada, bob = await server.guest("ada"), await server.guest("bob")
        await ada.type("hello\r")
        assert await bob.expect("hello") == "<ada> hello"
        await bob.type("/quit")
        assert (await bob.until_closed())[-1] == "* goodbye: you said /quit"


async def test_every_client_is_told_goodbye_when_the_server_stops() -> None:
    async with open_server() as server:
        guests = [await server.guest(f"guest-{n}") for n in range(10)]
        server.system.stop()
        for guest in guests:
            assert (await guest.until_closed())[-1] == (
                "* goodbye: the server is going down"
            )


async def test_a_connection_that_is_cut_off_harms_nobody() -> None:
    async with open_server() as server:
        ada, bob = await server.guest("ada"), await server.guest("bob")
        assert isinstance(bob.stream, trio.SocketStream)
        reset = struct.pack("ii", 1, 0)
        bob.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        bob.stream.socket.close()
        await ada.expect("* bob has left")
        await server.guest("bob")
        await ada.expect("* bob is here")


async def test_a_client_that_is_gone_before_it_is_greeted_harms_nobody() -> None:
    async with open_server() as server:
        for _ in range(20):
            with socket.socket() as sock:
                reset = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                sock.connect(("127.0.0.1", server.tcp_port))
        ada = await server.guest("ada")
        await ada.type("hello")
        await ada.expect("<ada> hello")


async def test_a_client_that_never_reads_is_sent_away_for_real(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    settings = evolve(SETTINGS, outbox=100, rate=1e6, burst=10_000, patience=1.0)
    async with open_server(settings) as server:
        ada = await server.guest("ada")
        await server.guest("sleeper")
        await ada.expect("* sleeper is here")
        await talk_until(ada, "* sleeper has left")
        await ada.type("all is well")
        await ada.expect("all is well")
    assert "/sessions/tcp-2" in caplog.text
    assert "it does not read: its outbox is full" in caplog.text


@pytest.mark.skipif(
    not hasattr(socket, "TCP_KEEPIDLE"), reason="this system has fixed times for it"
)
async def test_the_system_looks_for_half_open_connections() -> None:
    """What an accepted connection has from the socket that accepted it."""
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                tcp = socket.IPPROTO_TCP
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert accepted.getsockopt(tcp, socket.TCP_KEEPIDLE) == 60
                assert accepted.getsockopt(tcp, socket.TCP_KEEPINTVL) == 10


def test_an_address_is_printed_as_one_types_it() -> None:
    with bind("127.0.0.1", 0) as sock:
        assert url("tcp", sock) == f"tcp://127.0.0.1:{sock.getsockname()[1]}"
    if socket.has_dualstack_ipv6():
        with bind("::1", 0) as sock:
            assert url("http", sock) == f"http://[::1]:{sock.getsockname()[1]}"


def test_a_port_that_is_taken_leaves_no_socket_open() -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", first.getsockname()[1])
