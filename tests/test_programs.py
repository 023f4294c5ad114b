"""Users' programs, run: each does what it says.

The programs in ``programs/`` use nothing but the public interface.
"""

import errno
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from tests.programs import (
    account,
    bank,
    chat,
    connection,
    counter,
    counter_tests,
    gateway,
    ipseity,
    kvstore,
    pipeline,
    workers,
)
from trio_actors import ActorError, open_actor_system

# The program's own file can be damaged for a test; trio's autojump clock would race
# ahead while a thread writes it, so the programs that use threads run in real time.


async def test_the_counter_says_hello_counts_and_drains(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """S0-2, S3-1, S3-2: the same counter as a class and as a function."""
    await counter.main()
    ten = str(list(range(1, 11)))
    alive, *numbers, end = capsys.readouterr().out.splitlines()
    assert alive == "/counter is alive"
    assert numbers == ["16", ten, ten]
    assert end.startswith("Exit(kind='shutdown'")


@attrs.define
class Client:
    """One end of a chat connection, read line by line."""

    stream: trio.abc.Stream
    buffer: bytes = b""
    lines: deque[str] = attrs.field(factory=deque[str])

    async def says(self, text: str) -> None:
        await self.stream.send_all(text.encode() + b"\n")

    async def hears(self) -> str:
        while not self.lines:
            *lines, self.buffer = (
                self.buffer + await self.stream.receive_some()
            ).split(b"\n")
            self.lines += [line.decode() for line in lines]
        return self.lines.popleft()


async def connect(nursery: trio.Nursery) -> Client:
    """Connect to the chat as a client does; wait for its greeting."""
    here, there = trio.testing.memory_stream_pair()
    # Any stream will do; the program says which one it gets from ``serve_tcp``.
    nursery.start_soon(chat.serve_client, cast("trio.SocketStream", there))
    client = Client(here)
    assert await client.hears() == "* choose a name: /nick NAME"
    return client


async def test_two_people_chat_and_one_leaves(nursery: trio.Nursery) -> None:
    """S0-10: sessions, a room, nicknames, on the program's own wire."""
    async with open_actor_system("chat") as system:
        await system.spawn(chat.Rooms, name="rooms")
        ada, bob = await connect(nursery), await connect(nursery)
        await ada.says("/nick ada")
        await ada.says("/join trio")
        assert await ada.hears() == "* ada is here"
        await bob.says("/nick ada")
        assert await bob.hears() == "* that name is taken"
        await bob.says("/nick bob")
        await bob.says("/join trio")
        assert await bob.hears() == "* ada is here"
        assert await bob.hears() == "* bob is here"
        assert await ada.hears() == "* bob is here"
        await ada.says("hello")
        assert await ada.hears() == await bob.hears() == "<ada> hello"
        await bob.says("/quit")
        assert await ada.hears() == "* bob has left"
        await ada.stream.aclose()


async def test_a_room_that_crashes_keeps_its_members(nursery: trio.Nursery) -> None:
    """S2-2: fault tolerance. The clients stay connected, and hear what happened."""
    async with open_actor_system("chat") as system:
        await system.spawn(chat.Rooms, name="rooms")
        ada = await connect(nursery)
        await ada.says("/nick ada")
        await ada.says("/join trio")
        assert await ada.hears() == "* ada is here"
        room: Any = system.find("/rooms/trio")
        await room.tell(chat.Say("bob", text=Unprintable()))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert "this room has crashed (RuntimeError" in await ada.hears()
        await ada.says("still here")
        assert await ada.hears() == "<ada> still here"
        await ada.stream.aclose()


class Unprintable:
    """What makes a room crash: it cannot be shown."""

    def __format__(self, spec: str) -> str:
        raise RuntimeError("not today")


async def test_the_pool_hashes_every_file_and_counts_the_unreadable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S0-9: reading is offloaded to threads; S0-7: OSError is resumed."""
    for n in range(20):
        (tmp_path / f"{n}.txt").write_text(f"file {n}")
    # A regular file that cannot be read, not even by root.
    (tmp_path / "unreadable").symlink_to("/proc/self/mem")
    await workers.main(tmp_path)
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == sorted(
        f"{hashlib.sha256(f'file {n}'.encode()).hexdigest()} {tmp_path / f'{n}.txt'}"
        for n in range(20)
    )
    assert "20/21, 1 failed" in err
    assert "OSError(5, 'Input/output error')" in err


@attrs.define
class Bus:
    """A bus whose device does one thing per read: a number, an exception, or hang."""

    reads: deque[float | Exception | None]
    connected: list[float] = attrs.field(factory=list[float])

    async def connect(self, device: str) -> None:
        self.connected.append(trio.current_time())
        await trio.lowlevel.checkpoint()

    async def read(self, device: str) -> float:
        await trio.lowlevel.checkpoint()
        match self.reads.popleft():
            case None:
                return await trio.sleep_forever()
            case Exception() as error:
                raise error
            case value:
                return value


async def test_the_gateway_reconnects_a_device_that_hangs_and_drops_a_dead_one(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """S0-10: timers, backoff, heartbeat, alarms of an IoT gateway."""
    gone = OSError(errno.ENODEV, "no such device")
    bus = Bus(deque([50.0, 95.0, OSError("noise"), 60.0, 60.0, 60.0, None, 70.0, gone]))
    start = trio.current_time()
    with trio.move_on_after(60):
        await gateway.main(bus)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "boiler: 95.0"
    assert lines[1] == "60.0"
    tree = lines[2:-2]
    assert any("boiler" in line for line in tree)
    assert any("Alarm" in line or "alarm" in line for line in tree)
    assert lines[-2] == f"/gateway-2/boiler was taken away: {gone!r}"
    assert lines[-1] == "boiler: silent"
    at_first, after_noise, after_hanging = (at - start for at in bus.connected)
    assert at_first == 0
    assert 3.05 <= after_noise <= 3.2
    assert after_hanging > 5


@attrs.define
class Link:
    """A database link that answers at once."""

    open: bool = True

    async def query(self, text: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [f"row of {text}"]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.open = False


@attrs.define
class Dialer:
    """Takes a second to dial."""

    links: list[Link] = attrs.field(factory=list[Link])

    async def dial(self) -> Link:
        await trio.sleep(1)
        self.links.append(Link())
        return self.links[-1]


async def test_queries_wait_for_the_connection_and_it_is_closed(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """S1-1: become, and stash: the state machine as two classes and as a function."""
    dialer = Dialer()
    await connection.main(dialer)
    assert capsys.readouterr().out == "['row of select 1']\n" * 2
    assert [link.open for link in dialer.links] == [False, False]


@pytest.mark.parametrize("form", [connection.Connecting, connection.connection])
async def test_stashed_queries_are_answered_in_order_and_lost_when_closed(
    autojump_clock: trio.testing.MockClock, form: Callable[..., Any]
) -> None:
    answers: list[list[str] | str] = []

    async def ask(ref: Any, text: str) -> None:
        try:
            answers.append(await ref.ask(connection.Query(text)))
        except ActorError as error:
            answers.append(type(error).__name__)

    async with open_actor_system("database") as system, trio.open_nursery() as nursery:
        ref = await system.spawn(form, Dialer())
        for text in ("a", "b"):
            nursery.start_soon(ask, ref, text)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(2)
        closed = await system.spawn(form, Dialer())
        nursery.start_soon(ask, closed, "c")
        await trio.testing.wait_all_tasks_blocked()
        await closed.tell(connection.Close())
        await closed.wait_stopped()
    assert answers == [["row of a"], ["row of b"], "ActorStopped"]


async def test_the_store_survives_its_reset_and_the_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S3-4, S3-5, S3-6: router, writer, reset by hand."""
    path = tmp_path / "data.json"
    await kvstore.main(path)
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "no file yet: starting empty"
    assert rest == ["world", "world", "None"]
    async with store(path):
        assert await kvstore.get("hello") is None
        await kvstore.set("hello", "again")
    async with store(path):
        assert await kvstore.get("hello") == "again"
    path.write_text("{not json")
    async with store(path):
        assert await kvstore.get("hello") is None
    assert "is damaged" in capsys.readouterr().out
    assert path.with_suffix(".damaged").read_text() == "{not json"


@asynccontextmanager
async def store(path: Path) -> AsyncGenerator[None, None]:
    """The kv system of the program, open for a test's own questions."""
    async with open_actor_system("kv") as system:
        router = system.spawn_nowait(kvstore.Router, path, name="router")
        system.register(kvstore.ROUTER, router)
        yield


async def test_replicas_hand_out_rising_numbers_and_keep_in_step(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """S1-2: strictly monotonic per replica; S1-5: the others follow in their sync."""
    await ipseity.main()
    assert capsys.readouterr().out.split() == [str(n) for n in range(1, 12)]


def test_an_event_type_out_of_range_is_unknown() -> None:
    """S1-3: names of the event types."""
    assert [str(kind) for kind in ipseity.EventType] == [
        "unknown",
        "identityRequest",
        "syncTimeout",
        "syncRequest",
        "syncReply",
    ]
    assert str(ipseity.EventType(17)) == "unknown"


async def test_the_pipeline_adds_up_as_specs_and_as_spawns(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """SUP-2 rest_for_one, SUP-10 restart_child; drain is no auto-shutdown (SUP-9)."""
    await pipeline.declared()
    total, children = capsys.readouterr().out.splitlines()
    assert total == "3.5"
    assert children.startswith("{'sink': ")
    assert "'parser': " in children
    assert children.endswith("} 2")
    await pipeline.sequential()
    assert capsys.readouterr().out == "3.5\n"


# --- A user's test file ----------------------------------------------------------


test_a_handler_is_a_method = counter_tests.test_a_handler_is_a_method
test_the_listener_is_told_at_the_limit = (
    counter_tests.test_the_listener_is_told_at_the_limit
)
test_a_crash_is_seen_by_the_asker_and_forgets_the_total = (
    counter_tests.test_a_crash_is_seen_by_the_asker_and_forgets_the_total
)
test_no_restart_after_the_limit = counter_tests.test_no_restart_after_the_limit
test_no_update_is_lost = counter_tests.test_no_update_is_lost
test_the_counter_is_linearizable = counter_tests.test_the_counter_is_linearizable


# --- A bank with a race -----------------------------------------------------------


test_one_transfer_is_right_in_every_order = (
    bank.test_one_transfer_is_right_in_every_order
)


def test_two_tellers_overdraw_an_account() -> None:
    """What the program's own test finds: its transfer asks, and then withdraws."""
    with pytest.raises(AssertionError, match="overdrawn") as caught:
        bank.test_transfers_keep_the_total()
    assert "@explore(replay=" in caught.value.__notes__[0]


def test_the_bank_prints_its_verdict_a_token_and_a_diagram(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bank.main()
    verdict, shown, *_ = capsys.readouterr().out.splitlines()
    assert verdict == "1 classes, 1 schedules, 0 redundant"
    assert shown.startswith("ta1:")


async def test_an_account_survives_the_program_and_counts_each_deposit_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """S3: events, a command repeated, a rejection; the second run is the same."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        await account.main()
        assert capsys.readouterr().out.split() == ["100", "100", "no", "100"]
