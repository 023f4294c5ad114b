"""The load tool, with small numbers."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import trio

from examples.chat.load import percentile

from .kit import SETTINGS, Server, open_server

ROOT = Path(__file__).parents[2]


async def load(*options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "examples.chat.load", *options]
    with trio.fail_after(120):
        return await trio.run_process(
            command, cwd=ROOT, capture_stdout=True, capture_stderr=True, check=False
        )


def figures(output: bytes) -> dict[str, str]:
    """Return the rows of the printed table."""
    rows = re.findall(r"^│ (.*?) +│ +(.*?) │$", output.decode(), re.MULTILINE)
    return dict(rows)


async def test_fifty_clients_lose_no_line() -> None:
    """S0-10, in small: many connections, each line at each member of its room."""
    answer = await load(
        *("--clients", "50", "--idle", "100"),
        *("--lines", "3", "--rate", "3", "--room-size", "10"),
    )
    assert answer.returncode == 0, answer.stderr.decode()
    table = figures(answer.stdout)
    assert table["talking clients"] == "50"
    assert table["idle connections held"] == "100 of 100"
    assert table["lines sent"] == "150"
    assert table["lines delivered"] == "1,500"
    assert table["lines lost"] == "0"
    assert table["lines delivered twice"] == "0"
    assert table["latency, 99 %"].endswith(" ms")
    assert b"deliver lines" in answer.stderr
    assert b"Traceback" not in answer.stderr


async def test_a_lost_line_is_counted_and_makes_the_run_fail() -> None:
    """A tool that cannot see a loss would show nothing."""
    async with open_server(SETTINGS) as server, trio.open_nursery() as nursery:
        port = await nursery.start(lossy_proxy, server)
        answer = await load(
            *("--clients", "4", "--idle", "2", "--lines", "3", "--rate", "4"),
            *("--patience", "4", "--connect", f"127.0.0.1:{port}"),
        )
        nursery.cancel_scope.cancel()
    assert answer.returncode == 1, answer.stderr.decode()
    table = figures(answer.stdout)
    assert table["lines sent"] == "12"
    assert table["lines delivered"] == "44"
    assert table["lines lost"] == "4"
    assert table["lines delivered twice"] == "4"


async def lossy_proxy(
    server: Server, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Pass all on, but for one line that is lost, and one that comes twice."""

    async def serve(client: trio.SocketStream) -> None:
        upstream = await trio.open_tcp_stream("127.0.0.1", server.tcp_port)
        try:
            async with upstream, trio.open_nursery() as nursery:
                nursery.start_soon(to_server, client, upstream)
                await to_client(upstream, client)
                nursery.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass  # the tool hangs up as it likes

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(serve, listeners)


async def to_server(client: trio.SocketStream, upstream: trio.SocketStream) -> None:
    async for data in client:
        await upstream.send_all(data)
    await upstream.send_eof()


async def to_client(upstream: trio.SocketStream, client: trio.SocketStream) -> None:
    rest = b""
    async for data in upstream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            times = 1
            if line.startswith(b"<u1> 0 "):
                times = 0
            elif line.startswith(b"<u2> 0 "):
                times = 2
            await client.send_all((line + b"\n") * times)


async def test_a_server_that_is_not_there_is_an_error_and_no_traceback() -> None:
    answer = await load("--clients", "1", "--patience", "1", "--connect", "127.0.0.1:1")
    assert answer.returncode == 1
    assert b"Traceback" not in answer.stderr
    assert figures(answer.stdout)["connections dropped"] == "1"


async def test_only_a_server_on_this_machine_is_loaded() -> None:
    answer = await load("--connect", "192.0.2.1:7000")
    assert answer.returncode == 2
    assert b"give HOST:PORT of this machine" in answer.stderr


def test_a_percentile_is_a_value_that_was_measured() -> None:
    in_seconds = [n / 1000 for n in range(1, 101)]
    of = partial(percentile, in_seconds)
    assert [of(50), of(90), of(99), of(100)] == [
        "50.0 ms",
        "90.0 ms",
        "99.0 ms",
        "100.0 ms",
    ]
    assert percentile([0.001], 50) == "1.0 ms"
    assert percentile([], 50) == "-"
