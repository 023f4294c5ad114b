"""Who of several workers gets a message (ROU-1 ... ROU-3)."""

import math
import subprocess
import sys
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st

from tests.kit import Calls, Note
from trio_actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    Exit,
    Inbox,
    Mailbox,
    MailboxFull,
    PoolRef,
    Reply,
    Request,
    handler,
)
from trio_actors._keys import KEYS, KEYS_EACH, key_hash
from trio_actors._routing import ROUTINGS
from trio_actors.testing import World


@attrs.frozen
class Work(Request[str]):
    """Takes so many seconds; answered with the name of the worker."""

    seconds: float = 0.0
    key: object = None


@attrs.frozen
class Fail(Request[str]):
    seconds: float = 0.0


class Named(Actor[Work | Fail]):
    def __init__(self, log: list[str] | None = None) -> None:
        self.log: list[str] = [] if log is None else log

    @property
    def name(self) -> str:
        return self.context.ref.path.rpartition("/")[2]

    @handler
    async def work(self, message: Work) -> str:
        if message.seconds:
            await trio.sleep(message.seconds)
        self.log.append(self.name)
        return self.name

    @handler
    async def fail(self, message: Fail) -> str:
        await trio.sleep(message.seconds)
        raise ValueError(self.name)


def tally(log: list[str]) -> list[int]:
    return sorted(Tally(log).values())


# --- One of many ------------------------------------------------------------


async def test_round_robin_gives_each_worker_its_turn(world: World) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Named, log, size=3)
    for _ in range(9):
        await pool.tell(Work())
    await world.settled()
    assert tally(log) == [3, 3, 3]
    assert [await pool.ask(Work()) for _ in range(3)] == log[:3]


async def test_random_repeats_with_the_seed_and_reaches_all(world: World) -> None:
    """No hidden randomness: a pool's choices follow from the seed and its path."""

    async def choices(name: str) -> list[str]:
        pool = await world.spawn_pool(Named, size=3, routing="random", name=name)
        got = [await pool.ask(Work()) for _ in range(30)]
        pool.stop()
        await pool.wait_stopped()
        return got

    first = await choices("pool")
    assert await choices("pool") == first
    assert await choices("other") != first
    assert len(set(first)) == 3


async def test_least_loaded_goes_around_a_busy_worker(world: World) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Named, log, size=2, routing="least_loaded")
    await pool.tell(Work(10.0))
    await trio.sleep(1)
    for _ in range(5):
        await pool.ask(Work())
    assert len(set(log)) == 1
    await world.settled()
    assert len(set(log)) == 2


async def test_least_loaded_takes_turns_among_equals(world: World) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Named, log, size=3, routing="least_loaded")
    for _ in range(6):
        pool.tell_nowait(Work())
    await world.settled()
    assert tally(log) == [2, 2, 2]


async def test_least_loaded_goes_around_a_worker_that_is_restarted(
    world: World,
) -> None:
    """ROU DECISION: a routee in restart is skipped by least_loaded."""

    class Slow(Named):
        async def started(self) -> None:
            if self.context.incarnation > 1:
                await trio.sleep(10)

    pool = await world.spawn_pool(Slow, size=2, routing="least_loaded")
    first, second = pool.workers
    first.restart()
    await trio.sleep(1)
    for _ in range(3):
        assert second.path.endswith(await pool.ask(Work()))


async def test_messages_of_one_key_go_to_one_worker_in_order(world: World) -> None:
    """ROU-2: key-persistent."""
    got: list[tuple[str, str, int]] = []

    @attrs.frozen
    class Order:
        user: str
        number: int

    class Keeper(Actor[Order]):
        @handler
        async def order(self, message: Order) -> None:
            await trio.lowlevel.checkpoint()
            got.append((self.context.ref.path, message.user, message.number))

    pool = await world.spawn_pool(Keeper, size=4, routing=lambda order: order.user)
    for number in range(40):
        await pool.tell(Order(f"user-{number % 8}", number))
    await world.settled()
    for user in range(8):
        of_user = [one for one in got if one[1] == f"user-{user}"]
        assert len({path for path, _, _ in of_user}) == 1
        assert [number for _, _, number in of_user] == list(range(user, 40, 8))
    assert len({path for path, _, _ in got}) > 1


def owners(pool: PoolRef[Work | Fail], keys: range) -> dict[object, str]:
    """Ask the pool itself who has a key."""
    return {key: pool._router.pick(Work(key=key), pool.workers)[0].path for key in keys}


async def test_only_the_keys_of_those_that_came_or_went_move(world: World) -> None:
    """Consistent hashing: a resize leaves most keys where they are."""
    pool = await world.spawn_pool(
        Named, size=4, routing=lambda work: getattr(work, "key", None)
    )
    before = owners(pool, range(1000))
    await pool.resize(5)
    more = owners(pool, range(1000))
    newcomer = pool.workers[-1].path
    moved = {key for key in before if before[key] != more[key]}
    assert {more[key] for key in moved} == {newcomer}
    assert 100 < len(moved) < 300
    await pool.resize(4)
    assert owners(pool, range(1000)) == before
    sizes = Tally(before.values())
    assert min(sizes.values()) > 150, f"one worker has hardly anything: {sizes}"


@given(st.text())
def test_any_text_is_a_key_and_equal_texts_are_one(text: str) -> None:
    again = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert key_hash(text) == key_hash(again)


def test_a_key_leads_to_the_same_number_in_every_process() -> None:
    """Text is salted by Python's own hash: a cluster could not agree on it."""
    keys = ("user-1", b"bytes", ("room", 7, ("deep", b"x")), 12, "\udcff")
    program = f"from trio_actors._keys import key_hash\nprint(*map(key_hash, {keys!r}))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {" ".join(str(key_hash(key)) for key in keys) + "\n"}


def test_keys_that_are_equal_have_equal_numbers() -> None:
    assert key_hash(1) == key_hash(1 + 0j)
    assert key_hash((1, "a")) == key_hash((1.0, "a"))
    assert len({key_hash(f"user-{number}") for number in range(1000)}) == 1000


async def test_a_key_that_cannot_be_made_is_the_senders_failure(world: World) -> None:
    """Neither the pool nor a worker fails for it."""

    def key(work: Work | Fail) -> str:
        raise LookupError("no key")

    pool = await world.spawn_pool(Named, size=2, routing=key)
    sends: list[Callable[[], Awaitable[object]]] = [
        lambda: pool.tell(Work()),
        lambda: pool.ask(Work()),
    ]
    for send in sends:
        with pytest.raises(LookupError, match="no key"):
            await send()
    with pytest.raises(LookupError, match="no key"):
        pool.tell_nowait(Work())
    await world.settled()
    assert [worker.restarts for worker in world.snapshot().children[0].children] == [
        0,
        0,
    ]


async def test_an_unhashable_key_is_a_type_error(world: World) -> None:
    pool = await world.spawn_pool(Named, size=2, routing=lambda work: [work])  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="unhashable"):
        await pool.tell(Work())


@pytest.mark.parametrize("routing", ["robin", "", None, 3])
async def test_a_wrong_routing_is_refused_before_anything_is_started(
    world: World, routing: object
) -> None:
    with pytest.raises(ValueError, match="there is no routing") as caught:
        await world.spawn_pool(Named, size=2, routing=routing)  # type: ignore[arg-type]
    for known in ROUTINGS:
        assert known in str(caught.value)
    assert world.snapshot().children == ()


# --- Among many -------------------------------------------------------------


def by_key(work: Work | Fail) -> object:
    return getattr(work, "key", None)


@pytest.mark.parametrize("routing", ["round_robin", "random", "least_loaded", by_key])
async def test_a_message_costs_the_same_among_ten_workers_and_among_a_thousand(
    world: World, routing: Any
) -> None:
    """All workers were looked at for each message: a thousand cost 10 asks."""
    counts: list[int] = []
    for size in (10, 1000):
        pool = await world.spawn_pool(Named, size=size, routing=routing)
        calls = Calls()
        for _ in range(2):  # a key that comes for the first time costs more
            with calls:
                for key in range(5):
                    pool.tell_nowait(Work(key=key))
            await world.settled()
        counts.append(calls.count)
    few, many = counts
    assert few > 5
    assert many < 2 * few


async def test_a_new_key_costs_two_calls_a_worker(world: World) -> None:
    """The path of each was hashed by calls in Python; there is no way around a look."""
    pool = await world.spawn_pool(Named, size=100, routing=by_key)
    pool.tell_nowait(Work(key=-1))
    with Calls() as calls:
        for key in range(10):
            pool.tell_nowait(Work(key=key))
    assert calls.count < 10 * 200


async def test_a_pool_remembers_few_keys_and_who_has_all(world: World) -> None:
    """Remembering changes nothing: neither a key's worker, nor for how long."""
    pool = await world.spawn_pool(Named, size=7, routing=by_key)
    crew = pool._pool.workers()
    for _ in range(2):
        got = {key: crew.owner(key).path for key in range(KEYS + 100)}
        assert got == owners(pool, range(KEYS + 100))
    assert len(crew._owners) == KEYS


async def test_a_few_keys_too_many_are_no_new_keys_all_the_time(world: World) -> None:
    """All that was known was forgotten at once, so that each key was new each time."""
    pool = await world.spawn_pool(Named, size=7, routing=by_key)
    crew = pool._pool.workers()
    counts: list[int] = []
    for keys in (KEYS, KEYS + 76):
        calls = Calls()
        for _ in range(3):
            with calls:
                for key in range(keys):
                    crew.owner(key)
        counts.append(calls.count)
    few, many = counts
    assert many < 5 * few


async def test_a_large_pool_remembers_more_keys(world: World) -> None:
    pool = await world.spawn_pool(Named, size=40, routing=by_key)
    crew = pool._pool.workers()
    for key in range(2000):
        crew.owner(key)
    assert len(crew._owners) == 40 * KEYS_EACH


class Leaving(Named):
    """Takes its time to go."""

    async def stopped(self, reason: Exit) -> None:
        await trio.sleep(1000)


@pytest.mark.parametrize("routing", ROUTINGS[:3])
async def test_those_that_stay_share_what_one_on_its_way_out_does_not_take(
    world: World, routing: Any
) -> None:
    """A worker that drains or has ended gets nothing more; nobody gets it twice."""
    log: list[str] = []
    pool = await world.spawn_pool(
        Leaving, log, size=5, routing=routing, shutdown=math.inf
    )
    for ref in pool.workers[1:3]:
        ref.stop()
    await trio.sleep(1)
    for _ in range(300):
        pool.tell_nowait(Work())
    await trio.sleep(1)
    shares = tally(log)
    assert sum(shares) == 300
    assert len(shares) == 3
    assert shares == [100] * 3 or routing == "random"


async def test_the_keys_of_one_on_its_way_out_go_where_they_will_be(
    world: World,
) -> None:
    """And those of the others stay where they are."""
    pool = await world.spawn_pool(Leaving, size=5, routing=by_key, shutdown=math.inf)
    workers = pool.workers
    before = owners(pool, range(200))
    workers[2].stop()
    await trio.sleep(1)
    during = {key: await pool.ask(Work(key=key)) for key in range(200)}
    moved = {key for key in during if not before[key].endswith(f"/{during[key]}")}
    assert moved == {key for key in before if before[key] == workers[2].path}
    workers[2].kill()
    await workers[2].wait_stopped()
    after = owners(pool, range(200))
    assert [path.rpartition("/")[2] for path in after.values()] == [*during.values()]


# --- All of them ------------------------------------------------------------


async def test_a_broadcast_is_told_to_all(world: World) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Named, log, size=3, routing="broadcast")
    await pool.tell(Work())
    pool.tell_nowait(Work())
    pool.tell_soon(Work())
    await pool.tell_all([Work(), Work()])
    await world.settled()
    assert tally(log) == [5, 5, 5]


@pytest.mark.parametrize("routing", ["broadcast", "first"])
async def test_one_worker_alone_answers_a_broadcast(world: World, routing: str) -> None:
    pool = await world.spawn_pool(Named, size=1, routing=routing)  # type: ignore[arg-type]
    (worker,) = pool.workers
    assert worker.path.endswith(await pool.ask(Work()))
    with pytest.raises(ActorFailed):
        await pool.ask(Fail())


class Uneven(Actor[Work]):
    """The n-th worker takes n seconds; some have a bad answer."""

    def __init__(self, log: list[str], failing: str) -> None:
        self.log = log
        self.failing = failing

    @handler(raises=(ValueError,))
    async def work(self, message: Work) -> str:
        name = self.context.ref.path[-1]
        await trio.sleep(int(name))
        self.log.append(name)
        if name in self.failing:
            raise ValueError(name)
        return name


async def test_first_takes_the_first_good_answer_and_abandons_the_rest(
    world: World,
) -> None:
    """Those who had not begun never begin."""
    log: list[str] = []
    pool = await world.spawn_pool(Uneven, log, "1", size=3, routing="first")
    await pool.workers[2].tell(Work())  # busy for three seconds
    assert await pool.ask(Work()) == "2"
    assert trio.current_time() == 2
    await world.settled()
    assert log == ["1", "2", "3"]
    assert world.statistics()["abandoned"] == 1


async def test_a_broadcast_takes_the_first_good_answer_and_lets_the_others_work(
    world: World,
) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Uneven, log, "1", size=3, routing="broadcast")
    await pool.workers[2].tell(Work())
    assert await pool.ask(Work()) == "2"
    await world.settled()
    assert log == ["1", "2", "3", "3"]
    assert world.statistics()["abandoned"] == 0


@pytest.mark.parametrize("routing", ["broadcast", "first"])
async def test_when_all_fail_the_last_error_is_raised(
    world: World, routing: str
) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Uneven, log, "123", size=3, routing=routing)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3"):
        await pool.ask(Work())
    assert log == ["1", "2", "3"]


@pytest.mark.parametrize("routing", ["broadcast", "first"])
async def test_an_asker_that_goes_takes_all_its_requests_with_it(
    world: World, routing: str
) -> None:
    """Cancellation is a property of a message, also of one that was sent to many."""
    log: list[str] = []
    pool = await world.spawn_pool(Uneven, log, "", size=3, routing=routing)  # type: ignore[arg-type]
    for worker in pool.workers:
        await worker.tell(Work())
    with trio.move_on_after(0.5):
        await pool.ask(Work())
    pool.ask_nowait(Work()).abandon()
    await world.settled()
    assert log == ["1", "2", "3"]
    assert world.statistics()["abandoned"] == 6


async def test_cancel_with_caller_reaches_all_workers_that_race(world: World) -> None:
    """``first``: a good answer cancels the handlers that ask for it."""
    ended: list[str] = []

    class Racer(Actor[Work]):
        @handler(cancel_with_caller=True)
        async def work(self, message: Work) -> str:
            name = self.context.ref.path[-1]
            try:
                await trio.sleep(int(name))
            except trio.Cancelled:
                ended.append(name)
                raise
            return name

    pool = await world.spawn_pool(Racer, size=3, routing="first")
    assert await pool.ask(Work()) == "1"
    await world.settled()
    assert trio.current_time() == 1
    assert ended == ["2", "3"]
    with trio.move_on_after(0.5):
        await pool.ask(Work())
    await world.settled()
    assert ended == ["2", "3", "1", "2", "3"]


async def test_a_worker_without_room_or_on_its_way_out_does_not_spoil_the_race(
    world: World,
) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(
        Uneven, log, "", size=3, routing="first", mailbox=Mailbox(1, "fail")
    )
    one, two, _ = pool.workers
    for _ in range(2):
        await one.tell(Work())
        await trio.lowlevel.checkpoint()
    two.kill()
    assert await pool.ask(Work()) == "3"
    await world.settled()
    world.dead()


async def test_a_broadcast_that_some_cannot_take_is_raised_and_reaches_the_others(
    world: World,
) -> None:
    """``tell_nowait``: in a broadcast the others get the message nevertheless."""
    log: list[str] = []
    pool = await world.spawn_pool(
        Named, log, size=2, routing="broadcast", mailbox=Mailbox(1)
    )
    pool.workers[0].tell_nowait(Work())
    with pytest.raises(MailboxFull) as caught:
        pool.tell_nowait(Work())
    assert caught.value.path == pool.workers[0].path
    await world.settled()
    assert tally(log) == [1, 1]


async def test_an_ask_that_no_worker_can_take_is_mailbox_full(world: World) -> None:
    pool = await world.spawn_pool(Named, size=2, routing="first", mailbox=Mailbox(1))
    for worker in pool.workers:
        worker.tell_nowait(Work())
    with pytest.raises(MailboxFull):
        await pool.ask(Work())


async def test_a_race_in_which_all_workers_die_ends(world: World) -> None:
    pool = await world.spawn_pool(Named, size=2, routing="first")

    async def kill() -> None:
        await trio.sleep(1)
        for worker in pool.workers:
            worker.kill()

    world.client(kill)
    with pytest.raises(ActorFailed):
        await pool.ask(Work(10.0))
    with pytest.raises(ActorStopped):
        await pool.ask(Work())
    world.dead()


# --- Waiting for room -------------------------------------------------------


async def test_a_tell_waits_for_room_at_the_chosen_worker(world: World) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Named, log, size=2, mailbox=Mailbox(1))
    for _ in range(10):
        await pool.tell(Work(1.0))
    await pool.tell_all([Work(1.0)] * 2)
    await world.settled()
    assert tally(log) == [6, 6]
    assert world.dead() == []


async def test_tell_soon_without_room_is_a_dead_letter(world: World) -> None:
    pool = await world.spawn_pool(Named, size=1, mailbox=Mailbox(1))
    pool.tell_soon(Work())
    pool.tell_soon(Work())
    (letter,) = world.dead()
    assert letter.reason == "overflow"
    assert letter.to == pool.workers[0]


async def test_telling_all_nothing_is_a_checkpoint(world: World) -> None:
    pool = await world.spawn_pool(Named, size=1)
    with trio.testing.assert_checkpoints():
        await pool.tell_all([])
    with trio.testing.assert_checkpoints():
        await pool.tell(Work())


async def test_a_cancelled_tell_sends_nothing(world: World) -> None:
    log: list[str] = []
    pool = await world.spawn_pool(Named, log, size=2, routing="broadcast")
    with trio.CancelScope() as scope:
        scope.cancel()
        await pool.tell(Work())
    await world.settled()
    assert log == []


async def test_an_actor_forwards_to_a_pool(world: World) -> None:
    """The answer goes straight to the asker; a told request is told on."""
    log: list[str] = []
    one = await world.spawn_pool(Named, log, size=2)
    every = await world.spawn_pool(Named, log, size=2, routing="broadcast")

    class Front(Actor[Work | Fail]):
        @handler
        def work(self, message: Work) -> Reply[str]:
            return self.context.forward(one, message)

        @handler
        def fail(self, message: Fail) -> Reply[str]:
            return self.context.forward(every, Work(message.seconds))

    front = await world.spawn(Front)
    assert await front.ask(Work()) in {"named-1", "named-2"}
    assert await front.ask(Fail()) in {"named-1", "named-2"}
    await world.settled()
    assert len(log) == 3
    await front.tell(Work())
    await front.tell(Fail())
    await world.settled()
    assert len(log) == 6


async def test_what_no_worker_knows_is_unhandled(world: World) -> None:
    pool = await world.spawn_pool(Named, size=2)
    await pool.tell(Note())  # type: ignore[arg-type]
    await world.settled()
    assert [letter.reason for letter in world.dead()] == ["unhandled"]


async def test_function_actors_can_be_a_pool(world: World) -> None:
    async def run(inbox: Inbox[Work], word: str) -> None:
        async for message in inbox:
            inbox.reply(message, word + inbox.ref.path[-1])

    pool = await world.spawn_pool(run, "worker ", size=2)
    assert await pool.ask(Work()) == "worker 1"
    assert await pool.ask_nowait(Work()) == "worker 2"
