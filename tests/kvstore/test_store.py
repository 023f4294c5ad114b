"""The store in a world: what the book's chapter promises (S3-4, S3-5, S3-6)."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from examples.kvstore import api
from examples.kvstore.files import NotStored, Uncertain, Unusable
from examples.kvstore.messages import Command, Delete, Get, Set, Since, changed
from examples.kvstore.store import GIVE_UP, HEARTBEAT, Router, Store
from trio_actors import ActorError, ActorFailed, ActorStopped, open_actor_system
from trio_actors.testing import Faults, World, explore, linearizable

from .kit import MemoryDisk, restarts, start


class Model:
    """What a store is: a map."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}

    def apply(self, request: Command) -> object:
        match request:
            case Set() | Delete():
                self.data = changed(self.data, request)
                return None
            case Get(key):
                return self.data.get(key)
            case _:
                return NotImplemented


# --- S3-4: the router ---------------------------------------------------------


async def test_s3_4_the_output_of_the_book(world: World) -> None:
    """S3-4: "world", then None."""
    await start(world, MemoryDisk())
    await api.set("hello", "world")
    assert await api.get("hello") == "world"
    await api.delete("hello")
    assert await api.get("hello") is None


async def test_s3_4_the_functions_reach_it_four_levels_deep(world: World) -> None:
    """S3-4: no ref is passed to any of them."""

    async def one() -> str | None:
        async def two() -> str | None:
            async def three() -> str | None:
                async def four() -> str | None:
                    await api.set("deep", "down")
                    return await api.get("deep")

                return await four()

            return await three()

        return await two()

    await start(world, MemoryDisk())
    assert await one() == "down"


async def test_s3_4_what_is_sent_before_the_router_runs_is_queued(
    world: World,
) -> None:
    """S3-4: and served in order once it is there."""
    values: list[str | None] = []

    async def early() -> None:
        await api.set("hello", "world")
        values.append(await api.get("hello"))

    world.client(early)
    await trio.testing.wait_all_tasks_blocked()
    assert values == []
    await start(world, MemoryDisk())
    await world.settled()
    assert values == ["world"]


async def test_s3_4_the_router_has_a_channel_of_32_and_made_the_store(
    world: World,
) -> None:
    """S3-4: the router creates the kv actor itself."""
    await start(world, MemoryDisk())
    (router,) = world.snapshot().children
    assert router.capacity == 32
    assert [child.path for child in router.children] == ["/router/store"]


# --- S3-5: the writer ---------------------------------------------------------


async def test_s3_5_a_restart_brings_the_data_back(world: World) -> None:
    """S3-5: the writer loads, the store asks it for the map."""
    disk = MemoryDisk({"hello": "world"})
    router = await start(world, disk)
    assert await api.get("hello") == "world"
    await api.set("more", "data")
    router.stop()
    await router.wait_stopped()
    assert not disk.is_open
    await start(world, disk)
    assert [await api.get(key) for key in ("hello", "more")] == ["world", "data"]


async def test_s3_5_the_whole_map_is_written_before_the_store_has_it(
    world: World,
) -> None:
    """S3-5: the writer keeps its own map, and writes all of it."""
    disk = MemoryDisk({"a": "1"})
    await start(world, disk)
    await api.set("b", "2")
    await api.delete("a")
    assert disk.written == [{"a": "1", "b": "2"}, {"b": "2"}]


async def test_a_change_that_changes_nothing_is_not_written(world: World) -> None:
    disk = MemoryDisk({"a": "1"})
    await start(world, disk)
    await api.set("a", "1")
    await api.delete("b")
    assert disk.written == []


async def test_a_change_that_cannot_be_written_is_refused_and_all_lives_on(
    world: World,
) -> None:
    """A full disk is the asker's business; nobody fails."""
    disk = MemoryDisk({"a": "1"})
    disk.faults = [NotStored("no space"), NotStored("no space")]
    await start(world, disk)
    with pytest.raises(NotStored, match="no space"):
        await api.set("a", "2")
    with pytest.raises(NotStored, match="no space"):
        await api.delete("a")
    assert await api.get("a") == "1"
    await api.set("a", "3")
    assert await api.get("a") == "3"
    assert set(restarts(world).values()) == {0}


async def test_a_change_that_nobody_is_sure_of_is_read_again(world: World) -> None:
    """The store answers what the file says, not what it would like to be there."""
    disk = MemoryDisk({"a": "1"})
    disk.faults = [Uncertain("no sync")]
    await start(world, disk)
    with pytest.raises(ActorFailed) as caught:
        await api.set("a", "2")
    assert "Uncertain('no sync')" in str(caught.value)
    assert await api.get("a") == disk.stored["a"] == "2"
    assert restarts(world)["/router/store"] == 1


async def test_a_store_that_cannot_be_opened_ends_the_system_with_its_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Starting anew would not mend it: the error leaves the block, as it was raised."""
    disk = MemoryDisk()
    disk.is_open = True  # somebody has it
    with pytest.raises(ExceptionGroup) as caught:
        async with open_actor_system("kv", supervision=GIVE_UP) as system:
            await system.spawn(Router, lambda: Store(disk), name="router")
            await api.get("hello")
    first, *others = [type(error) for error in caught.value.exceptions]
    assert first is Unusable
    assert set(others) == {ActorStopped}  # for who had asked
    assert disk.opened_at == []


async def test_a_store_that_has_ended_for_good_ends_the_system(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nobody would answer any more; an earlier router's store is none of ours."""
    with pytest.raises(ExceptionGroup) as caught:
        async with open_actor_system("kv", supervision=GIVE_UP) as system:
            router = await system.spawn(
                Router, lambda: Store(MemoryDisk()), name="router"
            )
            router.restart()
            assert await api.get("hello") is None
            store = system.find("/router/store")
            assert store is not None
            store.stop()
            with trio.fail_after(60):
                await trio.sleep_forever()
    (first,) = caught.value.exceptions
    assert isinstance(first, Unusable)
    assert str(first).startswith("the store has ended: ")


# --- S3-6: the heartbeat ------------------------------------------------------


def test_s3_6_the_figures_of_the_book() -> None:
    """S3-6: at least every 200 ms; silent for 500 ms is a reset."""
    assert (HEARTBEAT.every, HEARTBEAT.timeout) == (0.2, 0.5)


async def test_s3_6_who_hangs_is_reset_once_and_the_queue_is_served(
    world: World,
) -> None:
    """S3-6: requests sent meanwhile queue; both are forgotten until they report."""
    disk = MemoryDisk({"hello": "world"})
    disk.hangs_at_write = 1
    await start(world, disk)
    values: list[str | None] = []

    async def hung() -> None:
        with pytest.raises(ActorFailed, match=r"silent for 0\.6 s"):
            await api.set("hello", "nobody")

    async def queued() -> None:
        values.append(await api.get("hello"))
        await api.set("hello", "again")

    world.client(hung)
    await trio.sleep(0.1)
    for _ in range(10):
        world.client(queued)
    await world.settled()
    assert values == ["world"] * 10
    assert await api.get("hello") == "again"
    assert disk.opened_at == [0, *disk.closed_at]
    assert disk.closed_at == [pytest.approx(0.6)]
    await trio.sleep(10)  # no double fire
    assert restarts(world) == {
        "/router": 0,
        "/router/store": 1,
        "/router/store/writer": 0,
    }


async def test_s3_6_a_reset_by_hand_brings_a_new_writer_and_no_trace_of_the_old(
    world: World,
) -> None:
    """S3-6: ``get`` still gives the value, and the timestamp differs."""
    disk = MemoryDisk()
    await start(world, disk)
    seen: list[str] = []

    async def listen() -> None:
        with world.events() as events:
            async for event in events:
                seen.append(f"{event.ref.path} {event.kind}")  # noqa: PERF401

    world.client(listen)
    await api.set("hello", "world")
    before = await api.writer_since()
    await trio.sleep(1)
    await api.reset()
    assert await api.get("hello") == "world"
    assert (before, await api.writer_since()) == (0, 1)
    assert disk.opened_at == [0, 1]
    assert disk.closed_at == [1]
    (router,) = world.snapshot().children
    (store,) = router.children
    assert [child.path for child in store.children] == ["/router/store/writer"]
    writers = [line for line in seen if line.startswith("/router/store/writer")]
    kinds = [line.rpartition(" ")[2] for line in writers]
    assert kinds == ["started", "stopped", "started"]


async def test_s3_6_a_reset_in_the_middle_of_a_write_waits_for_its_end(
    world: World,
) -> None:
    """S3-6: who was being served is told that it is not known."""
    disk = MemoryDisk()
    disk.seconds = 0.3
    await start(world, disk)
    outcome: list[object] = []

    async def client() -> None:
        try:
            await api.set("hello", "world")
        except ActorFailed as error:
            outcome.append(error)

    world.client(client)
    await trio.sleep(0.1)
    await api.reset()
    assert await api.get("hello") == "world"
    assert disk.opened_at == [0, 0.3]
    assert len(outcome) == 1


async def test_s3_6_resets_by_hand_are_not_counted(world: World) -> None:
    await start(world, MemoryDisk())
    for _ in range(10):
        await api.reset()
        assert await api.get("hello") is None


async def test_s3_6_a_writer_that_crashes_takes_the_store_along(world: World) -> None:
    """Both start over, and agree on what is stored."""
    disk = MemoryDisk()
    await start(world, disk)
    await api.set("a", "1")
    ref = world.find("/router/store/writer")
    assert ref is not None
    world.crash(ref)
    with pytest.raises(ActorFailed):
        await api.set("a", "2")
    assert await api.get("a") == "1"
    assert restarts(world)["/router/store"] == 1


# --- In every order -----------------------------------------------------------


async def attempt(fn: Callable[..., Awaitable[Any]], *args: str) -> None:
    """Do it, or be told that nobody knows whether it was done."""
    with suppress(ActorError):
        await fn(*args)


@explore(schedules=300, faults=Faults(crash=2))
@linearizable(Model)
async def test_the_history_is_linearizable_over_crashes_and_resets(
    world: World,
) -> None:
    """S3-5, S3-6: with what was being done when somebody failed."""
    disk = MemoryDisk()
    await start(world, disk)
    at_most_one_writer(world, disk)

    async def client(value: str) -> None:
        await attempt(api.set, "k", value)
        await attempt(api.get, "k")
        await attempt(api.delete, "k")

    world.client(client, "1")
    world.client(client, "2")
    world.client(attempt, api.get, "k")
    world.client(api.reset)
    await world.settled()
    await attempt(api.get, "k")
    world.dead()


@explore(schedules=200)
@linearizable(Model, key=lambda request: getattr(request, "key", None))
async def test_the_history_is_linearizable_while_the_disk_hangs(world: World) -> None:
    """S3-6: heartbeats, resets and writes in any order, a late write included."""
    disk = MemoryDisk()
    disk.hangs_at_write = 1
    disk.seconds = 0.3
    await start(world, disk)
    at_most_one_writer(world, disk)

    async def client(value: str) -> None:
        await attempt(api.set, "a", value)
        await attempt(api.set, "b", value)
        await attempt(api.get, "a")

    world.client(client, "1")
    world.client(client, "2")
    world.client(attempt, api.get, "b")
    await world.settled()
    await attempt(api.get, "a")
    await attempt(api.get, "b")
    world.dead()


@explore(schedules=200, faults=Faults(crash=1))
async def test_what_was_acknowledged_is_on_the_disk_at_every_step(
    world: World,
) -> None:
    """S3-5 and defect (h), whenever somebody crashes."""
    disk = MemoryDisk()
    await start(world, disk)

    async def client(key: str) -> None:
        for value in ("1", "2"):
            try:
                await api.set(key, value)
            except ActorError:
                return
            assert disk.stored[key] == value

    world.client(client, "a")
    world.client(client, "b")
    world.client(api.reset)
    await world.settled()
    world.dead()


def at_most_one_writer(world: World, disk: MemoryDisk) -> None:
    """Check that no writer opens the file that another one has."""
    world.always(lambda: 0 <= len(disk.opened_at) - len(disk.closed_at) <= 1)


def test_the_model_knows_what_is_not_its_business() -> None:
    assert Model().apply(Since()) is NotImplemented
