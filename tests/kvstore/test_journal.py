"""The store on a journal: the same router, and the same promises."""

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from examples.kvstore import api
from examples.kvstore.files import NotStored, Unusable
from examples.kvstore.journal import JournalStore
from examples.kvstore.messages import Command, Reset
from examples.kvstore.store import Router
from trio_actors import ActorError, ActorFailed, ActorRef
from trio_actors.persistence import Damaged, MemoryJournal
from trio_actors.testing import Faults, World, explore, linearizable

from .kit import restarts
from .test_store import Model, attempt


async def start(
    world: World, journal: MemoryJournal | None = None
) -> ActorRef[Command | Reset]:
    """Start a store on a journal in memory."""
    world.use(journal or MemoryJournal())
    return await world.spawn(Router, JournalStore, name="router")


async def test_s3_4_the_output_of_the_book(world: World) -> None:
    """S3-4: "world", then None."""
    await start(world)
    await api.set("hello", "world")
    assert await api.get("hello") == "world"
    await api.delete("hello")
    assert await api.get("hello") is None


async def test_s3_5_a_restart_of_the_program_brings_the_data_back(
    tmp_path: Path,
) -> None:
    """S3-5: with the real journal, in a real file."""
    for number in range(3):
        async with api.open_kvstore(tmp_path, "sqlite"):
            before = None if number == 0 else str(number - 1)
            assert await api.get("hello") == before
            await api.set("hello", str(number))
            await api.set(f"key-{number}", "kept")
            await api.delete("nobody")
    async with api.open_kvstore(tmp_path, "sqlite"):
        assert [await api.get(f"key-{number}") for number in range(3)] == ["kept"] * 3


async def test_s3_6_a_reset_brings_a_new_instance_with_the_same_data(
    world: World,
) -> None:
    """S3-6: the timestamp differs, the value does not."""
    await start(world)
    await api.set("hello", "world")
    await trio.sleep(1)
    await api.reset()
    assert await api.get("hello") == "world"
    assert await api.writer_since() == 1
    (router,) = world.snapshot().children
    assert [child.path for child in router.children] == ["/router/store"]


async def test_s3_6_who_waits_too_long_for_the_disk_is_reset(world: World) -> None:
    """S3-6: what is asked meanwhile waits, and is answered from what was stored."""
    journal = MemoryJournal()
    await start(world, journal)
    await api.set("hello", "world")
    journal.delay(2)
    values: list[str | None] = []

    async def queued() -> None:
        values.append(await api.get("hello"))

    world.client(api.set, "hello", "again")  # its end is awaited, and is known
    await trio.sleep(0.1)
    for _ in range(10):
        world.client(queued)
    await world.settled()
    assert values == ["again"] * 10
    assert restarts(world)["/router/store"] == 1


async def test_h_set_is_acknowledged_when_it_is_durable(world: World) -> None:
    """Defect (h): the answer waits for the journal."""
    journal = MemoryJournal()
    journal.delay(0.3)
    await start(world, journal)
    await api.set("hello", "world")
    assert trio.current_time() == pytest.approx(0.3)
    assert journal.statistics()["events"] == 1


async def test_j_get_writes_nothing_nor_does_a_change_that_changes_nothing(
    world: World,
) -> None:
    """Defect (j)."""
    journal = MemoryJournal()
    await start(world, journal)
    await api.set("hello", "world")
    await api.set("hello", "world")
    await api.delete("nobody")
    assert await api.get("hello") == "world"
    assert journal.statistics()["writes"] == 1


async def test_a_write_that_failed_is_read_again(world: World) -> None:
    journal = MemoryJournal()
    await start(world, journal)
    await api.set("hello", "world")
    for after_commit, value in ((False, "world"), (True, "again")):
        journal.fail_next(after_commit=after_commit)
        with pytest.raises(ActorFailed):
            await api.set("hello", "again")
        assert await api.get("hello") == value


@pytest.mark.parametrize(("key", "value"), [("\ud800", "x"), ("x", "\udfff")])
async def test_what_is_no_text_is_refused_and_fails_nobody(
    key: str, value: str, world: World
) -> None:
    await start(world)
    with pytest.raises(NotStored, match="is no text: surrogates not allowed"):
        await api.set(key, value)
    await api.delete(key)
    assert await api.get(key) is None
    assert restarts(world)["/router/store"] == 0


async def test_i_a_damaged_journal_is_set_aside_and_never_overwritten(
    tmp_path: Path,
) -> None:
    """Defect (i): an error that says where it is; then it begins empty."""
    async with api.open_kvstore(tmp_path, "sqlite"):
        await api.set("hello", "world")
    content = (tmp_path / "store.db").read_bytes()
    damaged = content.replace(b"world", b"wurld")
    assert damaged != content
    (tmp_path / "store.db").write_bytes(damaged)
    with pytest.raises(ExceptionGroup) as caught:
        async with api.open_kvstore(tmp_path, "sqlite"):
            raise AssertionError
    (first,) = caught.value.exceptions
    assert isinstance(first, Unusable)
    assert isinstance(first.__cause__, Damaged)
    assert "set aside as" in str(first)
    aside = tmp_path / "store.db.damaged-1"
    assert b"wurld" in aside.read_bytes()
    async with api.open_kvstore(tmp_path, "sqlite"):
        assert await api.get("hello") is None


async def test_the_directory_is_for_one_whatever_it_keeps(tmp_path: Path) -> None:
    async with api.open_kvstore(tmp_path, "sqlite"):
        with pytest.raises(Unusable, match="in use by process"):
            async with api.open_kvstore(tmp_path, "sqlite"):
                raise AssertionError
        with pytest.raises(ExceptionGroup) as caught:
            async with api.open_kvstore(tmp_path):
                raise AssertionError
        assert [type(error) for error in caught.value.exceptions] == [Unusable]


@explore(schedules=200, faults=Faults(crash=2))
@linearizable(Model)
async def test_the_history_is_linearizable_over_crashes_and_resets(
    world: World,
) -> None:
    """S3-5, S3-6: with what was being done when somebody failed."""
    await start(world)

    async def client(value: str) -> None:
        await attempt(api.set, "k", value)
        await attempt(api.get, "k")
        await attempt(api.delete, "k")

    world.client(client, "1")
    world.client(client, "2")
    world.client(api.reset)
    await world.settled()
    await attempt(api.get, "k")
    world.dead()


@explore(schedules=200)
@linearizable(Model, key=lambda request: getattr(request, "key", None))
async def test_the_history_is_linearizable_over_failing_writes(world: World) -> None:
    """With writes that fail before they are stored, and after."""
    journal = MemoryJournal()
    journal.fail_next(after_commit=True, skip=1)
    await start(world, journal)

    async def client(value: str) -> None:
        await attempt(api.set, "a", value)
        await attempt(api.set, "b", value)
        with suppress(ActorError):
            await api.get("a")

    world.client(client, "1")
    world.client(client, "2")
    await world.settled()
    await attempt(api.get, "a")
    await attempt(api.get, "b")
    world.dead()
