"""Pools that grow and shrink: a resize drains, and loses nothing (ROU-2)."""

import pytest
import trio

from tests.kit import Add, Calls, Counter, Note
from tests.test_pools import Job, SlowStart, Worker
from trio_actors import (
    Actor,
    ActorStopped,
    Exit,
    Mailbox,
    PoolRef,
    StartFailed,
    handler,
)
from trio_actors.testing import World


async def test_a_pool_grows_and_shrinks(world: World) -> None:
    pool = await world.spawn_pool(Counter, size=2)
    first, second = pool.workers
    await pool.resize(4)
    assert pool.workers[:2] == (first, second)
    assert len(pool.workers) == 4
    await pool.resize(1)
    assert list(pool.workers) == [first]
    assert len(world.snapshot().children[0].children) == 1
    await pool.resize(1)
    assert list(pool.workers) == [first]
    pool.restart()
    await world.settled()
    assert len(pool.workers) == 1


@pytest.mark.parametrize("verb", ["start", "grow", "shrink"])
async def test_a_worker_more_costs_the_same_among_many(world: World, verb: str) -> None:
    """All workers were listed again whenever one had come or gone."""
    counts: list[int] = []
    for size in (10, 100):
        first = {"start": size, "grow": 1, "shrink": size}[verb]
        starting, resizing = Calls(), Calls()
        with starting:
            pool = await world.spawn_pool(Counter, size=first)
        with resizing:
            await pool.resize(size if verb == "grow" else 1)
        counts.append(starting.count if verb == "start" else resizing.count)
    few, many = counts
    assert many < 12 * few


async def test_a_worker_that_is_stopped_while_others_start_is_made_up_for(
    world: World,
) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(SlowStart, done, size=2)

    async def stops() -> None:
        await trio.sleep(0.5)
        pool.workers[0].stop()

    world.client(stops)
    await pool.resize(4)
    assert len(pool.workers) == 4


async def test_a_resize_down_drains_and_loses_nothing(world: World) -> None:
    """ROU DECISION: resize(n) with drain; it returns when they have ended."""
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=4)
    for number in range(20):
        await pool.tell(Job(number, 1.0))
    workers = pool.workers
    await pool.resize(1)
    assert all(worker._cell.exit is not None for worker in workers[1:])
    for number in range(20, 25):
        await pool.tell(Job(number))
    await world.settled()
    assert sorted(done) == list(range(25))
    assert world.dead() == []


async def test_a_resize_down_loses_nothing_of_those_who_wait_for_room(
    world: World,
) -> None:
    """A sender that waits at a worker that is drained goes to another worker."""
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=2, mailbox=Mailbox(1))

    async def send(start: int) -> None:
        for number in range(start, start + 10):
            await pool.tell(Job(number, 1.0))

    async def ask(number: int) -> None:
        assert await pool.ask(Job(number, 1.0)) == number

    for start in (0, 10, 20):
        world.client(send, start)
    for number in range(30, 36):
        world.client(ask, number)
    await trio.sleep(2.5)
    await pool.resize(1)
    await world.settled()
    assert world.dead() == []
    assert sorted(done) == list(range(36))


async def test_a_resize_while_workers_are_asked_answers_all(world: World) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=3, routing=lambda job: job.number)

    async def client(start: int) -> None:
        for number in range(start, start + 10):
            assert await pool.ask(Job(number, 0.1)) == number

    for start in range(0, 50, 10):
        world.client(client, start)
    for size in (5, 1, 4, 2):
        await trio.sleep(0.15)
        await pool.resize(size)
    await world.settled()
    assert sorted(done) == list(range(50))


async def test_two_resizes_at_once_end_with_the_later_size(world: World) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(SlowStart, done, size=2)

    async def later() -> None:
        await trio.sleep(0.5)
        await pool.resize(3)

    world.client(later)
    await pool.resize(6)
    await world.settled()
    assert len(pool.workers) == 3


async def test_a_resize_in_which_a_worker_does_not_start_keeps_the_others(
    world: World,
) -> None:
    made: list[int] = []

    class Picky(Counter):
        async def started(self) -> None:
            made.append(1)
            if len(made) > 3:
                raise OSError("too many")

    pool = await world.spawn_pool(Picky, size=2)
    with pytest.raises(StartFailed, match="too many"):
        await pool.resize(5)
    assert len(pool.workers) == 3
    assert await pool.ask(Add()) == 1


async def test_a_resize_during_a_restart_of_the_pool_is_refused(world: World) -> None:
    done: list[int] = []

    class SlowEnd(Worker):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(1)

    pool = await world.spawn_pool(SlowEnd, done, size=1)
    pool.restart()
    await trio.sleep(0.5)
    with pytest.raises(ActorStopped):
        await pool.resize(2)
    await world.settled()
    assert await pool.ask(Job(1)) == 1


async def test_a_worker_cannot_resize_its_own_pool_away(world: World) -> None:
    """It would wait for its own end: AskDeadlock, and not a hang."""
    pools: list[PoolRef[Note]] = []
    errors: list[str] = []

    class Suicidal(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            try:
                await pools[0].resize(1)
            except Exception as error:
                errors.append(type(error).__name__)

    pools.append(await world.spawn_pool(Suicidal, size=2))
    await pools[0].workers[1].tell(Note())
    await world.settled()
    assert errors == ["AskDeadlock"]
    assert len(pools[0].workers) == 1
