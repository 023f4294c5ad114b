"""The twelve defects of the book's version, each shown not to be in ours."""

import os
import threading
from pathlib import Path

import pytest
import trio

from examples.kvstore import api, files
from examples.kvstore.files import decode
from examples.kvstore.store import Store
from examples.kvstore.writer import JsonFile
from trio_actors import ActorFailed, MailboxFull
from trio_actors.testing import World

from .kit import MemoryDisk, restarts, start


async def test_a_who_is_busy_all_the_time_is_not_reset(world: World) -> None:
    """Defect (a): a message every 100 ms, and no moment of rest, is no silence."""
    disk = MemoryDisk()
    disk.seconds = 0.1
    await start(world, disk)

    async def client(name: str) -> None:
        for number in range(25):
            await api.set(name, str(number))

    for name in "abcd":
        world.client(client, name)
    await world.settled()
    assert trio.current_time() == pytest.approx(10)
    assert len(disk.written) == 100
    assert set(restarts(world).values()) == {0}


async def test_b_when_everybody_is_dead_somebody_still_looks(world: World) -> None:
    """Defect (b): store and writer both hang, and nobody else reports."""
    disk = MemoryDisk()
    disk.hangs_at_write = 1
    await start(world, disk)
    with pytest.raises(ActorFailed, match="silent"):
        await api.set("hello", "world")
    assert trio.current_time() == pytest.approx(0.6)
    assert await api.get("hello") is None


async def test_c_who_hangs_before_its_first_heartbeat_is_reset(world: World) -> None:
    """Defect (c): it is watched from its spawn on."""
    disk = MemoryDisk({"hello": "world"})
    disk.hangs_at_open = 2
    await start(world, disk)
    assert await api.get("hello") == "world"
    assert trio.current_time() == pytest.approx(1.2)


async def test_d_a_reset_is_seen_behind_a_full_store(world: World) -> None:
    """Defect (d): the router never waits for room, so it sees the reset at once."""
    disk = MemoryDisk({"hello": "world"})
    disk.hangs_at_write = 1
    capacity = 1024
    assert Store.mailbox.capacity == capacity
    refused: list[MailboxFull] = []
    values: list[str | None] = []

    async def hung() -> None:
        with pytest.raises(ActorFailed, match="was restarted while"):
            await api.set("hello", "nobody")
        assert trio.current_time() == pytest.approx(0.2)

    async def client() -> None:
        try:
            values.append(await api.get("hello"))
        except MailboxFull as error:
            refused.append(error)

    await start(world, disk)
    world.client(hung)
    await trio.sleep(0.1)
    for _ in range(capacity + 100):
        world.client(client)
    await trio.sleep(0.1)
    assert len(refused) == 100  # at once: they hold up nobody
    await api.reset()
    await world.settled()
    assert trio.current_time() == pytest.approx(0.6)  # the hung writer was awaited
    assert values == ["world"] * capacity


async def test_e_what_waits_in_the_mailbox_survives_the_reset(world: World) -> None:
    """Defect (e): in order, and each is answered."""
    disk = MemoryDisk()
    disk.hangs_at_write = 1
    await start(world, disk)

    async def hung() -> None:
        with pytest.raises(ActorFailed):
            await api.set("hello", "nobody")

    world.client(hung)
    await trio.sleep(0.1)
    for number in range(50):
        world.client(api.set, "hello", str(number))
    await api.reset()
    await world.settled()
    assert [data["hello"] for data in disk.written] == [str(n) for n in range(50)]
    assert await api.get("hello") == "49"


async def test_f_the_old_writer_has_gone_before_the_new_one_opens_the_file(
    world: World,
) -> None:
    """Defect (f): awaited, not slept for, however long its last write takes."""
    disk = MemoryDisk()
    disk.seconds = 3
    await start(world, disk)
    for number in range(3):
        with pytest.raises(ActorFailed):  # silent, while it writes
            await api.set("hello", str(number))
    disk.seconds = 0
    assert await api.get("hello") == "2"
    assert disk.opened_at == [0, *disk.closed_at]
    assert disk.closed_at == [3, 6, 9]


async def test_f_nor_while_a_thread_still_writes(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect (f), with the real file: the lock would refuse a second one."""
    gate, is_writing = threading.Event(), threading.Event()
    replaced = files.write

    def slow(path: Path, data: dict[str, str]) -> None:
        is_writing.set()
        assert gate.wait(30)
        replaced(path, data)

    await start(world, JsonFile(tmp_path))
    await api.set("hello", "world")
    monkeypatch.setattr("examples.kvstore.writer.write", slow)

    async def client() -> None:
        with pytest.raises(ActorFailed, match="was restarted while"):
            await api.set("hello", "again")

    world.client(client)
    while not is_writing.is_set():
        await trio.lowlevel.checkpoint()
    await api.reset()
    gate.set()
    assert await api.get("hello") == "again"
    assert restarts(world)["/router/store"] == 1


STEPS = ["write", "fsync of the file", "rename", "fsync of the directory"]


@pytest.mark.parametrize("step", range(4), ids=STEPS)
def test_g_a_crash_between_any_two_steps_leaves_the_old_or_the_new(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect (g): nothing is ever truncated in place. SIGKILL: see test_main.py."""
    path = tmp_path / "store.json"
    old, new = {"hello": "world"}, {"hello": "again", "more": "x" * 100_000}
    files.write(path, old)

    class Killed(BaseException):
        """Nobody cleans up after this."""

    steps = iter(range(4))

    def dies(name: str, real: object) -> object:
        def call(*args: object) -> object:
            if next(steps) == step:
                raise Killed(name)
            assert callable(real)
            return real(*args)

        return call

    def half(data: dict[str, str]) -> bytes:
        if next(steps) == step:
            raise Killed("write")
        return encode(data)

    encode = files.encode
    monkeypatch.setattr(files, "encode", half)
    monkeypatch.setattr("os.fsync", dies("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", dies("replace", Path.replace))
    with pytest.raises(Killed):
        files.write(path, new)
    monkeypatch.undo()
    assert decode(path.read_bytes()) == ((new if step == 3 else old), True)
    assert files.read(path) == (new if step == 3 else old)
    assert [one.name for one in tmp_path.iterdir()] == ["store.json"]


async def test_h_set_is_acknowledged_when_it_is_durable(world: World) -> None:
    """Defect (h): the answer waits for the disk."""
    disk = MemoryDisk()
    disk.seconds = 0.3
    await start(world, disk)
    await api.set("hello", "world")
    assert trio.current_time() == pytest.approx(0.3)
    assert disk.stored == {"hello": "world"}
    await api.delete("hello")
    assert trio.current_time() == pytest.approx(0.6)
    assert disk.stored == {}


async def test_h_the_file_and_its_name_are_synced_before_the_answer(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect (h), with the real file: written, synced, renamed, synced, in order."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").resolve()
        calls.append(f"fsync {target.relative_to(tmp_path.resolve())}")
        fsync(descriptor)

    def replaced(self: Path, target: Path) -> Path:
        calls.append(f"rename {self.name} to {target.name}")
        return replace(self, target)

    await start(world, JsonFile(tmp_path))
    assert await api.get("hello") is None
    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    await api.set("hello", "world")
    assert calls == [
        "fsync store.json.new",
        "rename store.json.new to store.json",
        "fsync .",
    ]


async def test_i_a_damaged_file_is_set_aside_and_never_overwritten(
    tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Defect (i): each under a name of its own, with a message."""
    path = tmp_path / "store.json"
    for number in (1, 2, 3):
        text = f"{{not json {number}"
        path.write_text(text)
        router = await start(world, JsonFile(tmp_path))
        assert await api.get("hello") is None
        await api.set("hello", "world")
        router.stop()
        await router.wait_stopped()
        aside = tmp_path / f"store.json.damaged-{number}"
        assert aside.read_text() == text
        assert f"kept as {aside}" in caplog.text
    assert decode(path.read_bytes()) == ({"hello": "world"}, True)


async def test_j_get_writes_nothing(tmp_path: Path, world: World) -> None:
    """Defect (j): the file is the same one, also after it was loaded."""
    await start(world, JsonFile(tmp_path))
    await api.set("hello", "world")
    before = (tmp_path / "store.json").stat()
    assert await api.get("hello") == "world"
    assert await api.get("nobody") is None
    await api.reset()
    assert await api.get("hello") == "world"
    after = (tmp_path / "store.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_k_the_first_half_second_of_a_clock_is_no_silence(world: World) -> None:
    """Defect (k): the clock starts at 0 here, and 0 - 500 ms underflows nothing."""
    assert trio.current_time() == 0
    disk = MemoryDisk()
    disk.seconds = 0.45
    await start(world, disk)
    await api.set("hello", "world")
    assert trio.current_time() == pytest.approx(0.45)
    assert set(restarts(world).values()) == {0}
    disk.hangs_at_write = 1  # and yet who hangs is reset, by the clock of the test
    with pytest.raises(ActorFailed, match="silent"):
        await api.set("hello", "again")
    assert trio.current_time() < 1.3


async def test_l_nothing_blocks_the_loop(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect (l): opening, reading and writing are done in threads; others run on."""
    loop = threading.get_ident()
    called: dict[str, int] = {}

    def note(name: str) -> None:
        real = getattr(files, name)

        def call(*args: object) -> object:
            called[name] = threading.get_ident()
            return real(*args)

        monkeypatch.setattr(f"examples.kvstore.writer.{name}", call)

    for name in ("lock", "read", "write"):
        note(name)
    await start(world, JsonFile(tmp_path))
    await api.set("hello", "world")
    assert set(called) == {"lock", "read", "write"}
    assert loop not in called.values()


async def test_l_others_run_while_the_disk_is_slow(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect (l): a write that waits for the loop ends, so the loop goes on."""
    gate = threading.Event()
    real = os.fsync

    def slow(descriptor: int) -> None:
        assert gate.wait(30)
        real(descriptor)

    await start(world, JsonFile(tmp_path))
    await api.get("hello")
    monkeypatch.setattr("os.fsync", slow)
    world.client(api.set, "hello", "world")
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    assert gate.is_set() is False  # and yet here we are
    gate.set()
    await world.settled()
    assert await api.get("hello") == "world"
