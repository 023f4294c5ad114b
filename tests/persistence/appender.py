"""A process that appends until it is killed: ``python -m tests.persistence.appender``.

It imports what it needs once, and then forks: a fresh process for each line that it
reads, so that fifty are killed in the time in which a few are started. Each tells on
the standard output what was acknowledged, as soon as it was.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from selectors import EVENT_READ, DefaultSelector
from time import monotonic

import attrs
import trio

from trio_actors import persistence
from trio_actors.persistence import Fenced, Journal, WriteFailed, _postgres

STREAMS = [f"/bank/account-{number}" for number in range(8)]


def body_of(writer: str, stream: str, seq: int) -> bytes:
    """Return what a writer appends as the event of that number."""
    return f"{writer} {stream} {seq}".encode()


async def last_of(journal: Journal, stream: str) -> int:
    """Return the number of the last event."""
    last = 0
    async for seq, _ in journal.read(stream, 0):
        last = seq
    return last


def say(*words: object) -> None:
    """Write a line; nothing of it is kept back when the process is killed."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def feed(journal: Journal, stream: str, writer: str) -> None:
    """Append to a stream for ever, or until it is somebody else's."""
    epoch = await journal.claim(stream)
    last = await last_of(journal, stream)
    say("claimed", stream, last)
    with suppress(Fenced):
        while True:
            try:
                body = body_of(writer, stream, last + 1)
                await journal.append(stream, epoch, last, [body])
            except Fenced:
                raise
            except WriteFailed:
                last = await last_of(journal, stream)
            else:
                last += 1
                say("stored", stream, last)
    say("fenced", stream, last)


async def feed_all(journal: Journal, writer: str) -> None:
    """Append to all streams at once."""
    async with journal.__open_journal__(), trio.open_nursery() as nursery:
        for stream in STREAMS:
            nursery.start_soon(feed, journal, stream, writer)


def main(kind: str, place: str) -> None:
    """Fork a writer for each line, which is its name."""
    _postgres.HELD_MS = 300  # a test waits for what a frozen one holds
    for line in sys.stdin:
        child = os.fork()
        if not child:
            trio.run(feed_all, getattr(persistence, kind)(place), line.strip())
            os._exit(0)
        say("process", child)
        os.waitpid(child, 0)
        say("ended")


@attrs.define
class Writer:
    """A writer that runs, as its test sees it."""

    process: "subprocess.Popen[bytes]"
    pid: int = 0
    stored: dict[str, int] = attrs.Factory(dict[str, int])
    """The last event of each stream that is known to be stored."""
    claimed: set[str] = attrs.Factory(set[str])
    fenced: set[str] = attrs.Factory(set[str])
    ended: bool = False
    _rest: bytes = b""

    def start(self, name: str) -> None:
        """Start a writer of that name; return when it has claimed all streams."""
        assert self.process.stdin is not None
        self.claimed, self.fenced, self.ended = set(), set(), False
        self.process.stdin.write(f"{name}\n".encode())
        self.process.stdin.flush()
        while len(self.claimed) < len(STREAMS):
            self.listen(60)

    def listen(self, seconds: float) -> None:
        """Take what it tells, for so long at most; less if it ends, or tells much."""
        assert self.process.stdout is not None
        with DefaultSelector() as selector:
            selector.register(self.process.stdout, EVENT_READ)
            if not selector.select(seconds):
                return
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        assert data, "the process has ended"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(*line.decode().split())

    def _take(self, word: str, what: str = "", last: str = "0") -> None:
        if word == "process":
            self.pid = int(what)
        elif word == "ended":
            self.ended = True
        elif word in ("claimed", "stored"):
            self.stored[what] = int(last)
            self.claimed.add(what)
        else:
            assert word == "fenced", word
            self.fenced.add(what)

    def listen_for(self, seconds: float) -> None:
        """Take what it tells, for so long."""
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            self.listen(left)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, and take the last of what it told."""
        self.send(signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Take what it tells until it has ended."""
        while not self.ended:
            self.listen(60)


@contextmanager
def open_writer(kind: str, place: str) -> Generator[Writer]:
    """Have a process that starts writers for a journal of that class and place."""
    command: Sequence[str] = [sys.executable, "-m", __name__, kind, place]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        writer = Writer(process)
        try:
            yield writer
        finally:
            if writer.pid and not writer.ended:
                with suppress(ProcessLookupError):
                    writer.send(signal.SIGKILL)
            process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
