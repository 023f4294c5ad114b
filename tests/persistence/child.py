"""Processes that write to a journal, for tests that kill, freeze and hinder them.

``python -m tests.persistence.child PATH`` starts one process for each line that it
reads, the name of a function here, so that none of them has to import anything. What
they say is on its output, a line at a time.
"""

import os
import sys
from collections.abc import Callable, Mapping

import trio

from trio_actors.persistence import (
    Damaged,
    Fenced,
    Journal,
    Note,
    SQLiteJournal,
    WriteFailed,
)

STREAMS = 5


def say(*words: object) -> None:
    """Write a line in one piece."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def last_of(journal: Journal, stream: str) -> int:
    """Read a stream; return its last sequence number."""
    seqs = [seq async for seq, _ in journal.read(stream, 0)]
    return seqs[-1] if seqs else 0


async def write(journal: Journal, stream: str) -> None:
    """Append to a stream for ever; say each sequence number when it is acknowledged."""
    epoch = await journal.claim(stream)
    last = await last_of(journal, stream)
    while True:
        count = 1 + last % 3
        events = [b"%d:%s" % (last + n, stream.encode()) for n in range(1, count + 1)]
        note = Note("outcome", "last", 0.0, b"%d" % (last + count))
        await journal.append(stream, epoch, last, events, [note])
        last += count
        say("stored", stream, last)


async def writers(path: str) -> None:
    """Append to several streams at once."""
    journal = SQLiteJournal(path)
    async with journal.__open_journal__(), trio.open_nursery() as nursery:
        for number in range(STREAMS):
            nursery.start_soon(write, journal, f"s{number}")


async def writer(path: str) -> None:
    """Append to one stream, until another writer takes over."""
    journal = SQLiteJournal(path)
    async with journal.__open_journal__():
        try:
            await write(journal, "s")
        except Fenced:
            say("fenced")


async def ordinary(path: str) -> None:
    """Open, claim, append and read as an ordinary user; say how far that came."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    journal = SQLiteJournal(path)
    try:
        async with journal.__open_journal__():
            say("opened")
            epoch = await journal.claim("s")
            last = await last_of(journal, "s")
            await journal.append("s", epoch, last, [b"e"])
            say("stored s", last + 1)
    except (OSError, WriteFailed, Damaged) as error:
        say(type(error).__name__, str(error).replace("\n", " "))


PROGRAMS: Mapping[str, Callable[[str], object]] = {
    "writers": lambda path: trio.run(writers, path),
    "writer": lambda path: trio.run(writer, path),
    "ordinary": lambda path: trio.run(ordinary, path),
}


def main(path: str) -> None:
    """Start a process for each line; say its number, and what becomes of it."""
    for line in sys.stdin:
        program = PROGRAMS[line.strip()]
        pid = os.fork()
        if not pid:
            say("pid", os.getpid())
            program(path)
            os._exit(0)
        while os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]):
            say("frozen")
        say("ended")


if __name__ == "__main__":
    main(sys.argv[1])
