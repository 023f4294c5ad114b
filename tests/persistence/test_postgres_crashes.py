"""What is acknowledged is there, whoever was killed; two writers never interleave.

Each round kills at a moment that is drawn: after a time, for no step of a database
can be waited for from outside.
"""

import signal
from random import Random

import pytest
import trio

from tests.testing.nightly import NIGHTLY
from trio_actors.persistence import Fenced, PostgresJournal, WriteFailed

from .appender import STREAMS, Writer, body_of, last_of, open_writer
from .server import Server

CLIENTS = 1000 if NIGHTLY else 50
SERVERS = 200 if NIGHTLY else 8
FROZEN = 100 if NIGHTLY else 5


async def history(journal: PostgresJournal, stream: str, after: int) -> list[bytes]:
    """Return the events after a sequence number, which have no gap."""
    events = [event async for event in journal.read(stream, after)]
    assert [seq for seq, _ in events] == [*range(after + 1, after + len(events) + 1)]
    return [body for _, body in events]


@pytest.fixture
def random() -> Random:
    """Moments; the same ones each time, as far as this goes."""
    return Random(5)


async def test_a_writer_that_is_killed_loses_nothing_that_was_acknowledged(
    conninfo: str, random: Random
) -> None:
    """S3-5: SIGKILL at random moments: nothing lost, no gap, no other order."""
    journal = PostgresJournal(conninfo)
    seen = dict.fromkeys(STREAMS, 0)

    async def look(stream: str) -> None:
        # Whatever the server still does for the dead one comes first.
        await journal.claim(stream)
        first = seen[stream] + 1
        bodies = await history(journal, stream, seen[stream])
        seen[stream] += len(bodies)
        numbers = range(first, seen[stream] + 1)
        assert bodies == [body_of(name, stream, seq) for seq in numbers]
        # One that was on its way may be there, or not.
        assert 0 <= seen[stream] - writer.stored[stream] <= 1

    async with journal.__open_journal__():
        with open_writer("PostgresJournal", conninfo) as writer:
            for number in range(CLIENTS):
                writer.start(name := f"writer-{number}")
                writer.listen_for(random.uniform(0, 0.05))
                writer.kill()
                async with trio.open_nursery() as nursery:
                    for stream in STREAMS:
                        nursery.start_soon(look, stream)
    assert min(seen.values()) > CLIENTS / 5  # they did write


async def test_a_server_that_is_killed_loses_nothing_that_was_acknowledged(
    server: Server, conninfo: str, random: Random
) -> None:
    """The same for all processes of the server, at once; it recovers by itself."""
    stored = dict.fromkeys(STREAMS, 0)
    failures: list[WriteFailed] = []

    async def feed(stream: str, epoch: int) -> None:
        while True:
            last = stored[stream]
            body = body_of("one", stream, last + 1)
            try:
                await journal.append(stream, epoch, last, [body])
            except WriteFailed as error:
                failures.append(error)
                return
            stored[stream] += 1

    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        for _ in range(SERVERS):
            epochs = [await journal.claim(stream) for stream in STREAMS]
            async with trio.open_nursery() as nursery:
                for stream, epoch in zip(STREAMS, epochs, strict=True):
                    nursery.start_soon(feed, stream, epoch)
                await trio.sleep(random.uniform(0, 0.1))
                await trio.to_thread.run_sync(server.kill)
            await trio.to_thread.run_sync(server.start)
            for stream in STREAMS:
                bodies = await history(journal, stream, 0)
                assert bodies == [
                    body_of("one", stream, seq) for seq in range(1, len(bodies) + 1)
                ]
                assert 0 <= len(bodies) - stored[stream] <= 1
                stored[stream] = len(bodies)
    assert len(failures) == SERVERS * len(STREAMS)
    assert not any(isinstance(error, Fenced) for error in failures)
    assert min(stored.values()) > SERVERS


async def take_over(journal: PostgresJournal, writer: Writer, number: int) -> None:
    """Claim every stream, and append to it while its writer is frozen."""
    for stream in STREAMS:
        epoch = await journal.claim(stream)
        last = await last_of(journal, stream)
        assert 0 <= last - writer.stored[stream] <= 1
        for seq in range(last + 1, last + 4):
            body = body_of(f"heir-{number}", stream, seq)
            await journal.append(stream, epoch, seq - 1, [body])


async def test_a_writer_that_was_frozen_and_replaced_is_fenced_when_it_thaws(
    conninfo: str, random: Random
) -> None:
    """Two writers, one frozen and thawed: they never interleave, the loser stops."""
    journal = PostgresJournal(conninfo)
    expected: dict[str, list[str]] = {stream: [] for stream in STREAMS}
    async with journal.__open_journal__():
        with open_writer("PostgresJournal", conninfo) as writer:
            for number in range(FROZEN):
                writer.start(f"owner-{number}")
                writer.listen_for(random.uniform(0, 0.05))
                writer.send(signal.SIGSTOP)
                writer.listen_for(0.01)  # what it had told before
                await take_over(journal, writer, number)
                writer.send(signal.SIGCONT)
                writer.wait()
                assert writer.fenced == set(STREAMS)
                for stream in STREAMS:
                    expected[stream] += [f"owner-{number}", f"heir-{number}"]
        for stream in STREAMS:
            bodies = await history(journal, stream, 0)
            writers = [body.decode().split()[0] for body in bodies]
            changes = [
                name
                for place, name in enumerate(writers)
                if not place or writers[place - 1] != name
            ]
            # An owner may have been frozen before its first event.
            assert [name for name in expected[stream] if name in changes] == changes
            assert bodies == [
                body_of(name, stream, seq) for seq, name in enumerate(writers, 1)
            ]
