"""Pools: workers that come, fail and go behind one ref (ROU-1, ROU-2)."""

import attrs
import pytest
import trio

from tests.kit import Add, Counter, Note, open_system, run_main
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Exit,
    Inbox,
    Mailbox,
    MailboxFull,
    NameTaken,
    PoolRef,
    Request,
    RestartLimit,
    StartFailed,
    Supervision,
    Terminated,
    UnhandledMessage,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


@attrs.frozen
class Job(Request[int]):
    number: int
    seconds: float = 0.0


class Worker(Actor[Job]):
    """Writes down what it has done; negative jobs crash it."""

    def __init__(self, done: list[int]) -> None:
        self.done = done

    @handler
    async def job(self, message: Job) -> int:
        await trio.sleep(message.seconds)
        if message.number < 0:
            raise ValueError(message.number)
        self.done.append(message.number)
        return message.number


# --- Start ------------------------------------------------------------------


async def test_a_pool_starts_as_many_workers_as_it_is_told(world: World) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=3)
    assert [worker.path for worker in pool.workers] == [
        "/worker-pool-1/worker-1",
        "/worker-pool-1/worker-2",
        "/worker-pool-1/worker-3",
    ]
    assert await pool.ask(Job(7)) == 7


async def test_a_pool_is_found_by_its_path_and_routes(world: World) -> None:
    """Whoever finds the pool gets the ref that routes, not a supervisor's."""
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=2, name="pool")
    assert world.find("/pool") == pool
    found = world.find("/pool")
    assert found is not None
    assert await found.ask(Job(1)) == 1
    assert pool.path == "/pool"
    assert repr(pool).startswith("<PoolRef /pool running")
    assert pool != pool.workers[0]


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "two", None])
async def test_a_size_is_a_whole_number_from_one(world: World, size: object) -> None:
    with pytest.raises(ValueError, match="the size of a pool is a whole number from 1"):
        await world.spawn_pool(Counter, size=size)  # type: ignore[arg-type]
    pool = await world.spawn_pool(Counter, size=1)
    with pytest.raises(ValueError, match="whole number from 1"):
        await pool.resize(size)  # type: ignore[arg-type]
    assert len(pool.workers) == 1


async def test_a_name_that_is_taken_is_refused(world: World) -> None:
    await world.spawn_pool(Counter, size=1, name="pool")
    with pytest.raises(NameTaken):
        await world.spawn_pool(Counter, size=1, name="pool")


async def test_a_worker_that_cannot_start_fails_the_pool_and_leaves_nothing(
    world: World,
) -> None:
    """As a supervisor's first start: StartFailed, never retried, the name is free."""
    log: list[str] = []

    class Third(Actor[Note]):
        async def started(self) -> None:
            log.append("started")
            if len(log) == 3:
                raise OSError("no third")

        async def stopped(self, reason: Exit) -> None:
            log.append("stopped")

        @handler
        def note(self, message: Note) -> None: ...

    with pytest.raises(StartFailed) as caught:
        await world.spawn_pool(Third, size=4, name="pool")
    assert "no third" in str(caught.value)
    assert log == ["started"] * 3 + ["stopped"] * 2
    assert world.find("/pool") is None
    assert world.snapshot().children == ()
    await world.spawn_pool(Counter, size=1, name="pool")


def test_a_spawner_that_is_cancelled_leaves_no_half_started_pool() -> None:
    """At every step: no task, no name, no worker is left."""

    class Slow(Actor[Note]):
        async def started(self) -> None:
            await trio.lowlevel.checkpoint()

        @handler
        def note(self, message: Note) -> None: ...

    async def scenario(world: World, arm: Arm) -> None:
        started: list[PoolRef[Note]] = []
        with trio.CancelScope() as scope:
            arm(scope.cancel)
            started.append(await world.spawn_pool(Slow, size=3, name="pool"))
        assert (world.find("/pool") is not None) is bool(started)
        assert all(len(pool.workers) == 3 for pool in started)

    assert at_every_step(scenario) > 5


async def test_the_options_are_the_workers(world: World) -> None:
    """A pool is a supervisor with its spawner's Supervision."""
    pool = await world.spawn_pool(
        Counter, size=2, mailbox=Mailbox(7), restart="temporary"
    )
    snapshot = world.snapshot().children[0]
    assert [worker.capacity for worker in snapshot.children] == [7, 7]
    world.crash(pool.workers[0])
    await pool.workers[0].tell(Add())
    await world.settled()
    assert len(pool.workers) == 1
    assert pool._cell.exit is None


# --- Workers that fail and go -----------------------------------------------


async def test_a_worker_that_crashes_is_restarted_and_keeps_its_mailbox(
    world: World,
) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=1)
    (worker,) = pool.workers
    asked = pool.ask_nowait(Job(-1, 1.0))
    await pool.tell(Job(2))
    with pytest.raises(ActorFailed):
        await asked
    await world.settled()
    assert done == [2]
    assert pool.workers == (worker,)


async def test_a_worker_that_has_stopped_gets_nothing_more(world: World) -> None:
    """ROU-1: a routee that stops is removed."""
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=2)
    first, second = pool.workers
    first.stop()
    await first.wait_stopped()
    assert pool.workers == (second,)
    for number in range(4):
        await pool.ask(Job(number))
    assert world.dead() == []


@pytest.mark.parametrize("verb", ["stop", "drain", "kill"])
async def test_a_worker_that_is_about_to_go_gets_nothing_more(
    world: World, verb: str
) -> None:
    """From the request on, not from the end: nothing is sent to one that refuses."""
    done: list[int] = []

    class Lingering(Worker):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(5)

    pool = await world.spawn_pool(Lingering, done, size=2)
    first, second = pool.workers
    await first.tell(Job(0, 3.0))
    await trio.sleep(1)
    getattr(first, verb)()
    for number in range(1, 5):
        await pool.tell(Job(number))
    assert pool.workers == (second,)
    await world.settled()
    assert sorted(done) == ([1, 2, 3, 4] if verb == "kill" else [0, 1, 2, 3, 4])
    assert world.dead() == []


async def test_a_pool_without_workers_makes_dead_letters(world: World) -> None:
    pool = await world.spawn_pool(Counter, size=2)
    for worker in pool.workers:
        worker.kill()
        await worker.wait_stopped()
    assert pool.workers == ()
    await pool.tell(Add())
    pool.tell_nowait(Add())
    pool.tell_soon(Add())
    with pytest.raises(ActorStopped):
        await pool.ask(Add())
    letters = world.dead()
    assert [letter.reason for letter in letters] == ["stopped"] * 4
    assert {letter.to for letter in letters} == {pool}
    await pool.resize(1)
    assert await pool.ask(Add()) == 1


async def test_workers_that_crash_too_often_fail_the_pool(world: World) -> None:
    """The limit of the spawner's Supervision holds in the pool."""
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(max_restarts=1), restart="temporary"
    )
    done: list[int] = []
    pool = await supervisor.spawn_pool(Worker, done, size=2)
    for _ in range(6):
        await pool.tell(Job(-1))
    exit = await supervisor.wait_stopped()
    assert isinstance(exit.error, RestartLimit)
    await pool.wait_stopped()
    await world.settled()
    world.dead()


async def test_a_worker_can_be_watched_and_so_can_the_pool(world: World) -> None:
    seen: list[ActorRef[Job]] = []
    done: list[int] = []

    async def watch(inbox: Inbox[Terminated]) -> None:
        inbox.watch(pool)
        inbox.watch(pool.workers[0])
        async for message in inbox:
            seen.append(message.ref)  # noqa: PERF401  # as it comes

    pool = await world.spawn_pool(Worker, done, size=2)
    await world.spawn(watch)
    first = pool.workers[0]
    first.kill()
    await world.settled()
    assert seen == [first]
    pool.stop()
    await world.settled()
    assert seen == [first, pool]


# --- The end of the pool ----------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "drain", "kill"])
async def test_a_pool_takes_its_workers_with_it(world: World, verb: str) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=2)
    workers = pool.workers
    for number in range(6):
        await pool.tell(Job(number, 1.0))
    await trio.sleep(0.5)
    getattr(pool, verb)()
    exit = await pool.wait_stopped()
    assert exit.kind == ("killed" if verb == "kill" else "shutdown")
    assert all(worker._cell.exit is not None for worker in workers)
    letters = world.dead()
    # In reverse order: the first goes on while the second finishes what it has.
    expected = {"stop": [0, 1, 2], "drain": [0, 1, 2, 3, 4, 5], "kill": []}[verb]
    assert sorted(done) == expected
    lost = {"stop": 3, "drain": 0, "kill": 4}[verb]
    assert [letter.reason for letter in letters] == ["stopped"] * lost
    await pool.tell(Job(9))
    with pytest.raises(ActorStopped):
        await pool.ask(Job(9))
    assert len(world.dead()) == 2
    with pytest.raises(ActorStopped):
        await pool.resize(3)


async def test_a_pool_that_drains_refuses_others(world: World) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=2)
    await pool.tell(Job(1, 1.0))
    await trio.sleep(0.5)
    pool.drain()
    await pool.tell(Job(2))
    with pytest.raises(ActorStopped):
        await pool.ask(Job(3))
    assert len(world.dead()) == 2
    await pool.wait_stopped()
    assert done == [1]


def test_messages_between_actors_reach_a_pool_while_the_system_settles() -> None:
    done: list[int] = []

    async def main() -> None:
        async with open_system() as system:
            pool = await system.spawn_pool(Worker, done, size=2)

            class Front(Actor[Note]):
                @handler
                async def note(self, message: Note) -> None:
                    await trio.sleep(0.5)
                    done.append(await pool.ask(Job(1)))
                    await pool.tell(Job(2))

            await (await system.spawn(Front)).tell(Note())

    run_main(main)
    assert done == [1, 1, 2]


# --- Restarts of the pool ---------------------------------------------------


async def test_a_restart_of_the_pool_starts_all_workers_anew(world: World) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(Worker, done, size=2)
    before = pool.workers
    pool.restart()
    await pool.tell(Job(1))
    await world.settled()
    assert len(pool.workers) == 2
    assert set(pool.workers).isdisjoint(before)
    assert await pool.ask(Job(2)) == 2


class SlowStart(Worker):
    """Takes a second to start, and another one to stop."""

    async def started(self) -> None:
        await trio.sleep(1)

    async def stopped(self, reason: Exit) -> None:
        await trio.sleep(1)


async def test_messages_wait_while_the_pool_is_restarted_and_keep_their_order(
    world: World,
) -> None:
    """Its messages wait in its mailbox; one sender's come in the order of sending."""
    done: list[int] = []
    pool = await world.spawn_pool(
        SlowStart, done, size=2, routing=lambda job: "one key"
    )
    pool.restart()
    number = 0
    while not done:
        number += 1
        await pool.tell(Job(number))
        await trio.sleep(0.25)
    await world.settled()
    assert done == list(range(1, number + 1))
    assert world.dead() == []


async def test_asks_wait_while_the_pool_is_restarted(world: World) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(SlowStart, done, size=1)
    pool.restart()
    await trio.sleep(0.5)
    assert await pool.ask(Job(5)) == 5
    assert done == [5]


async def test_more_than_its_mailbox_takes_during_a_restart_is_mailbox_full(
    world: World,
) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(SlowStart, done, size=1)
    pool.restart()
    await trio.sleep(0.5)
    for number in range(1024):
        pool.tell_nowait(Job(number))
    with pytest.raises(MailboxFull) as caught:
        pool.tell_nowait(Job(-9))
    assert caught.value.path == pool.path
    with pytest.raises(MailboxFull):
        await pool.ask(Job(-9))
    await world.settled()
    assert done == list(range(1024))


async def test_what_has_waited_is_more_than_a_small_worker_takes(
    world: World,
) -> None:
    """What cannot be given to a worker after a restart is told, not lost."""
    done: list[int] = []
    pool = await world.spawn_pool(SlowStart, done, size=1, mailbox=Mailbox(2))
    pool.restart()
    await trio.sleep(0.5)
    for number in range(5):
        await pool.tell(Job(number))
    await world.settled()
    lost = [letter.message for letter in world.dead()]
    assert len(done) + len(lost) == 5
    assert done == [0, 1, 2, 3, 4]


async def test_a_pool_whose_worker_escalates_ends_and_its_parent_starts_another(
    world: World,
) -> None:
    rules = Supervision(directives={ValueError: "escalate"})
    done: list[int] = []
    pools: list[PoolRef[Job]] = []

    class Parent(Actor[Note]):
        supervision = rules

        async def started(self) -> None:
            pools.append(await self.context.spawn_pool(Worker, done, size=1))

        @handler
        def note(self, message: Note) -> None: ...

    await world.spawn(Parent)
    (pool,) = pools
    await pool.tell(Job(-1))
    assert (await pool.wait_stopped()).kind == "failed"
    await world.settled()
    assert len(pools) == 2
    assert await pools[1].ask(Job(1)) == 1


async def test_a_key_function_that_fails_for_what_has_waited_harms_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sender has gone on by then: a dead letter, and the pool starts."""
    done: list[int] = []
    pool = await world.spawn_pool(
        SlowStart, done, size=1, routing=lambda job: 1 // job.number
    )
    pool.restart()
    await trio.sleep(0.5)
    await pool.tell(Job(0))
    pending = pool.ask_nowait(Job(0))
    await pool.tell(Job(1))
    await world.settled()
    assert done == [1]
    assert [letter.reason for letter in world.dead()] == ["unhandled"] * 2
    with pytest.raises(UnhandledMessage):
        await pending
    assert "cannot choose who gets Job(number=0" in caplog.text


async def test_a_broadcast_that_has_waited_goes_to_all(world: World) -> None:
    done: list[int] = []
    pool = await world.spawn_pool(SlowStart, done, size=3, routing="broadcast")
    pool.restart()
    await trio.sleep(0.5)
    await pool.tell(Job(1))
    assert await pool.ask(Job(2)) == 2
    await world.settled()
    assert sorted(done) == [1, 1, 1, 2, 2, 2]


async def test_what_has_waited_for_workers_that_do_not_stay_is_a_dead_letter(
    world: World,
) -> None:
    starts: list[int] = []

    class Fleeting(SlowStart):
        async def started(self) -> None:
            starts.append(1)
            if len(starts) > 1:
                self.context.ref.stop()
            await trio.sleep(1)

    done: list[int] = []
    pool = await world.spawn_pool(Fleeting, done, size=1)
    pool.restart()
    await trio.sleep(0.5)
    pending = pool.ask_nowait(Job(1))
    with pytest.raises((ActorStopped, MailboxFull)):
        await pending
    await pool.tell(Job(2))
    await world.settled()
    assert {letter.reason for letter in world.dead()} == {"stopped"}
