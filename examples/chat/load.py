"""Load the chat server: ``python -m examples.chat.load --clients 1000 --idle 10000``.

Connects real clients from this machine, to a server of its own or to the one that
``--connect`` names; lets them talk; counts each line at each member of its room.
The exit code is 1 if a line was lost or a connection dropped.
"""

import argparse
import ipaddress
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn
from rich.table import Table

from .clients import Client, Idler, Talker, Tally, connect
from .limits import affordable, how_to_afford

ROOT = Path(__file__).parents[2]
AT_ONCE = 200
"""Connections that are opened at the same time."""
SOURCES = 20
"""Loopback addresses the clients come from."""


class LoadFailed(Exception):
    """The run could not be made; the text says why."""


@attrs.frozen
class Server:
    host: str
    port: int
    process: trio.Process | None = None


@attrs.define
class Run:
    """One run: what was asked for, and what came of it."""

    options: argparse.Namespace
    server: Server
    progress: Progress
    tally: Tally = attrs.field(factory=Tally)
    talkers: list[Talker] = attrs.field(factory=list[Talker])
    idlers: list[Idler] = attrs.field(factory=list[Idler])
    memory: int | None = None
    """Bytes the server had when all were connected."""

    @property
    def held(self) -> int:
        """Idle connections that were alive at the end."""
        return sum(idler.answered for idler in self.idlers)

    @property
    def good(self) -> bool:
        """Whether nothing was lost."""
        wanted: int = self.options.idle
        return not (self.tally.lost or self.tally.dropped) and self.held == wanted


# --- The server -------------------------------------------------------------


@asynccontextmanager
async def own_server(clients: int) -> AsyncGenerator[Server, None]:
    """Start a server for this run, and end it as Ctrl-C would."""
    command = [sys.executable, "-m", "examples.chat", "--tcp-port", "0"]
    command += ["--web-port", "0", "--max-clients", str(clients), "--quiet"]
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process, command, cwd=ROOT, stdout=subprocess.PIPE, check=False
        )
        process: trio.Process = await nursery.start(start)
        host, port = await printed_address(process.stdout)
        yield Server(host, port, process)
        process.send_signal(signal.SIGINT)
        if code := await process.wait():
            raise LoadFailed(f"the server ended with exit code {code}")


async def printed_address(output: trio.abc.ReceiveStream | None) -> tuple[str, int]:
    seen = b""
    if output is None:
        raise LoadFailed("the server's output is not to be read")
    async for data in output:
        seen += data
        if b"\n" in seen:
            address = seen.split()[0].decode()
            host, _, port = address.removeprefix("tcp://").rpartition(":")
            return host, int(port)
    raise LoadFailed("the server did not start; see above")


def memory_of(process: trio.Process | None) -> int | None:
    """Return the bytes of memory that a process has, where that can be read."""
    if process is None:
        return None
    try:
        pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


# --- The run ----------------------------------------------------------------


async def load(run: Run) -> None:
    """Do a whole run."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refresh, run.progress)
        await connect_all(run)
        run.memory = memory_of(run.server.process)
        for talker in run.talkers:
            nursery.start_soon(talker.listen)
        await talk(run)
        await each("wake the idle", run, [idler.wake for idler in run.idlers])
        nursery.cancel_scope.cancel()


async def refresh(progress: Progress) -> None:
    while True:
        progress.refresh()
        await trio.sleep(0.2)


async def connect_all(run: Run) -> None:
    async def open_client(number: int) -> Client:
        source = source_address(run.server.host, number)
        return await connect(run.server.host, run.server.port, source)

    async def idle(number: int) -> None:
        run.idlers.append(Idler(await open_client(number)))

    async def enter(number: int) -> None:
        room = f"load-{number // run.options.room_size}"
        client = await open_client(number)
        talker = Talker(client, f"u{number}", room, run.tally)
        await talker.enter()
        run.talkers.append(talker)

    idle_jobs = [partial(idle, number) for number in range(run.options.idle)]
    await each("connect the idle", run, idle_jobs)
    talk_jobs = [partial(enter, number) for number in range(run.options.clients)]
    await each("connect the talkers", run, talk_jobs)


async def each(
    title: str, run: Run, jobs: Sequence[Callable[[], Awaitable[None]]]
) -> None:
    """Do many jobs, some at a time; a broken connection is counted, not raised."""
    bar = run.progress.add_task(title, total=len(jobs))
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with limit:
            try:
                await job()
            except (OSError, trio.BrokenResourceError):
                run.tally.dropped += 1
        run.progress.advance(bar)

    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(one, job)


def source_address(host: str, number: int) -> str | None:
    """Return one of several loopback addresses, where the system has them."""
    if ":" in host or sys.platform != "linux":
        return None
    return f"127.0.0.{2 + number % SOURCES}"


async def talk(run: Run) -> None:
    """Let all talkers say their lines; wait until each has arrived everywhere."""
    members: dict[str, int] = {}
    for talker in run.talkers:
        members[talker.room] = members.get(talker.room, 0) + 1
    total = run.options.lines * sum(n * n for n in members.values())
    bar = run.progress.add_task("deliver lines", total=total)
    async with trio.open_nursery() as nursery:
        for talker in run.talkers:
            pauses = even_pauses(1 / run.options.rate)
            size = members[talker.room]
            nursery.start_soon(talker.talk, run.options.lines, pauses, size)
        await wait_delivered(run, bar, total)


def even_pauses(interval: float) -> Iterator[float]:
    """Yield pauses that spread the clients evenly over the time."""
    yield random.uniform(0, interval)
    while True:
        yield interval


async def wait_delivered(run: Run, bar: TaskID, total: int) -> None:
    seen, since = -1, trio.current_time()
    patience = run.options.patience + 1 / run.options.rate
    while run.tally.delivered < total:
        if run.tally.delivered > seen:
            seen, since = run.tally.delivered, trio.current_time()
        elif trio.current_time() > since + patience:
            return
        await trio.sleep(0.05)
        run.progress.update(bar, completed=run.tally.delivered)
    run.progress.update(bar, completed=total)


# --- The report -------------------------------------------------------------


def report(run: Run) -> Table:
    table = Table("figure", title="Load on the chat server", title_justify="left")
    table.add_column("value", justify="right")
    tally = run.tally
    table.add_row("talking clients", f"{len(run.talkers):,}")
    table.add_row("idle connections held", f"{run.held:,} of {run.options.idle:,}")
    table.add_row("connections dropped", f"{tally.dropped:,}")
    table.add_row("lines sent", f"{tally.sent:,}")
    table.add_row("lines delivered", f"{tally.delivered:,}")
    table.add_row("lines lost", f"{tally.lost:,}")
    table.add_row("lines delivered twice", f"{tally.repeated:,}")
    for percent in (50, 90, 99, 100):
        title = "latency, worst" if percent == 100 else f"latency, {percent} %"
        table.add_row(title, percentile(tally.latencies, percent))
    if run.memory is not None:
        table.add_row("memory of the server", f"{run.memory / 2**20:,.0f} MiB")
    return table


def percentile(values: list[float], percent: int) -> str:
    """Return what *percent* of the values do not exceed, in milliseconds."""
    if not values:
        return "-"
    rank = max(0, -(-len(values) * percent // 100) - 1)
    return f"{1000 * sorted(values)[rank]:,.1f} ms"


# --- The command ------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.chat.load", description="Load the chat server."
    )
    number = partial(parser.add_argument, metavar="N")
    number("--clients", type=int, default=100, help="that talk (%(default)s)")
    number("--idle", type=int, default=0, help="that are only there (%(default)s)")
    number("--lines", type=int, default=10, help="each talker says (%(default)s)")
    number("--rate", type=float, default=0.2, help="lines a second (%(default)s)")
    number("--room-size", type=int, default=20, help="talkers a room (%(default)s)")
    number(
        "--patience",
        type=float,
        default=20.0,
        help="seconds without any line "
        "after which those that are missing count as lost (%(default)s)",
    )
    parser.add_argument(
        "--connect",
        type=loopback,
        metavar="HOST:PORT",
        help="a server that runs already, on this machine",
    )
    return parser.parse_args()


def loopback(text: str) -> tuple[str, int]:
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host, int(port)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("give HOST:PORT of this machine: 127.0.0.1:7000")


async def main(options: argparse.Namespace) -> int:
    console = Console(stderr=True)
    progress = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,  # by a task, not by a thread
    )
    async with start_or_find(options) as server:
        with progress:
            run = Run(options, server, progress)
            await load(run)
    Console().print(report(run))
    return 0 if run.good else 1


@asynccontextmanager
async def start_or_find(options: argparse.Namespace) -> AsyncGenerator[Server, None]:
    wanted = options.clients + options.idle
    if affordable(wanted) < wanted:
        raise LoadFailed(how_to_afford(wanted))
    if options.connect is not None:
        yield Server(*options.connect)
        return
    async with own_server(wanted) as server:
        yield server


def run_to_the_end() -> int:
    """Return the exit code of a run."""
    code = 1
    try:
        code = trio.run(main, arguments())
    except* LoadFailed as failures:
        print(*failures.exceptions, sep="\n", file=sys.stderr)
    except* KeyboardInterrupt:
        code = 130
    return code


if __name__ == "__main__":
    sys.exit(run_to_the_end())
