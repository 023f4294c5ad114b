"""Replicas: each counts upwards, and they keep in step (S1-2, S1-3, S1-5, S1-6)."""

from itertools import pairwise

import pytest
import trio

from examples.ipseity.events import (
    Event,
    EventType,
    Identity,
    Next,
    NextIdentity,
    ReplicaMessage,
    Sync,
    UnknownEvent,
    Update,
)
from examples.ipseity.replica import Replica
from trio_actors import ActorFailed, ActorRef, Inbox
from trio_actors.testing import Faults, Probe, World, explore, linearizable

EVERY = 1.0


class Model:
    """What a replica is: a number that only grows."""

    def __init__(self) -> None:
        self.counter = 0

    def apply(self, request: Next | Update) -> object:
        match request:
            case Next():
                self.counter += 1
                return self.counter
            case Update(counter):
                self.counter = max(self.counter, counter)
                return NotImplemented


async def three(world: World, stride: int = 1) -> list[ActorRef[ReplicaMessage]]:
    return [
        await world.spawn(Replica, EVERY, pid, stride, name=f"replica-{pid}")
        for pid in range(3)
    ]


async def number_from(replica: ActorRef[ReplicaMessage]) -> int:
    """Ask for a number; who has crashed at that is back, and asked again."""
    try:
        return await replica.ask(Next())
    except ActorFailed:
        return await replica.ask(Next())


# --- One replica --------------------------------------------------------------


async def test_next_counts_from_one(world: World) -> None:
    """S1-2: Next() increments the local counter and returns it."""
    replica = await world.spawn(Replica, EVERY)
    assert [await replica.ask(Next()) for _ in range(3)] == [1, 2, 3]


async def test_update_only_raises(world: World) -> None:
    """S1-2: Update(id) sets the counter iff id > counter."""
    replica = await world.spawn(Replica, EVERY)
    for counter, following in ((10, 11), (5, 12), (12, 13), (-1, 14), (15, 16)):
        await replica.tell(Update(counter))
        assert await replica.ask(Next()) == following


@explore(schedules=300, faults=Faults(crash=1))
async def test_the_counter_never_decreases_in_any_order_nor_over_a_crash(
    world: World,
) -> None:
    """S1-2: strictly monotonic per replica, whatever comes between."""
    replica = await world.spawn(Replica, EVERY, name="replica")
    given: list[int] = []

    async def client() -> None:
        mine = [await number_from(replica) for _ in range(3)]
        assert all(one < two for one, two in pairwise(mine))
        given.extend(mine)

    async def updater() -> None:
        await replica.tell(Update(5))
        await replica.tell(Event(EventType.SYNC_REPLY, 2))

    world.client(client)
    world.client(client)
    world.client(updater)
    await world.settled()
    assert len(set(given)) == 6
    assert await number_from(replica) > max(given)


@explore(exhaustive=True, faults=Faults(crash=1))
@linearizable(Model)
async def test_a_replica_is_one_counter_for_all(world: World) -> None:
    """S1-2: every order of two clients, and a crash at each of the messages."""
    replica = await world.spawn(Replica, EVERY, name="replica")

    async def client() -> None:
        await number_from(replica)
        await number_from(replica)

    world.client(client)
    world.client(client)
    await world.settled()


async def test_after_a_crash_it_counts_and_syncs_on(world: World) -> None:
    """The timer ended with the incarnation, and is set again."""
    first, second, _ = await three(world)
    await first.tell(Sync(on=True))
    await second.tell(Update(7))
    await world.settled()
    world.crash(first)
    await first.tell(Update(3))  # goes with the crash
    await trio.sleep(1.5 * EVERY)
    assert await first.ask(Next()) == 8


# --- Events -------------------------------------------------------------------


def test_an_event_type_has_a_name_and_out_of_range_is_unknown() -> None:
    """S1-3: String() of the event types."""
    assert [str(kind) for kind in EventType] == [
        "unknown",
        "identityRequest",
        "syncTimeout",
        "syncRequest",
        "syncReply",
    ]
    assert str(EventType(17)) == "unknown"
    assert EventType(2**16 - 1) is EventType.UNKNOWN


async def test_an_identity_request_is_answered_to_its_source(world: World) -> None:
    """S1-3: the source of an event is where to reply."""
    replica = await world.spawn(Replica, EVERY)
    source = Probe[Event](world)
    await replica.tell(Event(EventType.IDENTITY_REQUEST))  # from nobody: it counts
    await replica.tell(Event(EventType.IDENTITY_REQUEST, source=source.ref))
    assert await source.expect(Event) == Event(EventType.IDENTITY_REQUEST, 2)


async def test_a_sync_request_is_learnt_from_and_answered(world: World) -> None:
    """S1-5: the peer answers SyncReply(its counter) after Update."""
    replica = await world.spawn(Replica, EVERY)
    source = Probe[Event](world)
    await replica.tell(Event(EventType.SYNC_REQUEST, 41, source.ref))
    assert await source.expect(Event) == Event(EventType.SYNC_REPLY, 41)
    await replica.tell(Event(EventType.SYNC_REQUEST, 50))  # from nobody: it learns
    assert await replica.ask(Next()) == 51


async def test_an_unknown_event_is_an_error_and_costs_no_number(world: World) -> None:
    """S1-4: no handler identified for event ...; the counter survives it."""
    replica = await world.spawn(Replica, EVERY, name="replica")
    failures: list[BaseException | None] = []

    async def listen() -> None:
        with world.events() as events:
            async for event in events:
                if event.kind == "failed":
                    failures.append(event.error)  # noqa: PERF401  # as it comes

    world.client(listen)
    await trio.testing.wait_all_tasks_blocked()
    assert await replica.ask(Next()) == 1
    await replica.tell(Event(EventType(17)))
    assert await replica.ask(Next()) == 2
    await trio.testing.wait_all_tasks_blocked()
    (failure,) = failures
    assert isinstance(failure, UnknownEvent)
    assert str(failure) == "no handler identified for event unknown"


async def test_the_trace_of_a_replica_is_serial(world: World) -> None:
    """S1-6: its events, one after the other, as it took them."""
    first, second, _ = await three(world)
    taken: list[str] = []

    async def trace() -> None:
        with world.trace(first) as messages:
            async for message in messages:
                taken.append(str(message))  # noqa: PERF401  # as it comes

    world.client(trace)
    await trio.testing.wait_all_tasks_blocked()
    await first.ask(Next())
    await second.tell(Update(41))
    await first.tell(Event(EventType.SYNC_TIMEOUT))
    await trio.testing.wait_all_tasks_blocked()
    assert taken == ["Next()", "syncTimeout 0", "syncReply 41", "syncReply 1"]


async def test_the_mailbox_takes_1024_events_and_dispatch_waits_only_then(
    world: World,
) -> None:
    """S1-4: a buffered mailbox of 1024."""
    replica = await world.spawn(Replica, EVERY)
    for value in range(1024):
        replica.tell_nowait(Event(EventType.SYNC_REPLY, value))
    with trio.move_on_after(1) as scope:
        await replica.tell(Event(EventType.SYNC_REPLY, 1024))
    assert not scope.cancelled_caught
    assert await replica.ask(Next()) == 1025


# --- Three replicas -----------------------------------------------------------


async def test_the_others_follow_within_a_sync(world: World) -> None:
    """S1-5: a timer, a request to each peer, an answer from each."""
    replicas = await three(world)
    for replica in replicas:
        await replica.tell(Sync(on=True))
    for _ in range(10):
        await replicas[0].ask(Next())
    await trio.sleep(1.5 * EVERY)
    assert [await replica.ask(Next()) for replica in replicas] == [11, 11, 11]


async def test_one_that_asks_is_enough(world: World) -> None:
    """S1-5: the request carries a number, and so does the answer."""
    first, second, third = await three(world)
    await second.tell(Update(20))
    await first.tell(Update(10))
    await first.tell(Sync(on=True))
    await trio.sleep(2.5 * EVERY)
    assert await first.ask(Next()) == 21
    assert await third.ask(Next()) == 21


async def test_sync_can_be_stopped(world: World) -> None:
    """S1-5: start and stop messages."""
    first, second, _ = await three(world)
    await first.tell(Sync(on=True))
    await trio.sleep(1.5 * EVERY)
    await first.tell(Sync(on=False))
    await second.tell(Update(20))
    await trio.sleep(10 * EVERY)
    assert await first.ask(Next()) == 1


async def test_a_replica_that_has_gone_holds_up_nobody(world: World) -> None:
    first, second, third = await three(world)
    third.stop()
    await third.wait_stopped()
    await first.tell(Sync(on=True))
    await second.tell(Update(20))
    await trio.sleep(1.5 * EVERY)
    assert await first.ask(Next()) == 21


@explore(schedules=200, faults=Faults(crash=1))
async def test_all_get_there_in_every_order(world: World) -> None:
    """S1-2: eventually consistent, also when one of them crashes."""
    replicas = await three(world)

    world.client(number_from, replicas[0])
    world.client(number_from, replicas[0])
    await world.settled()
    for _ in range(3):  # a crash may cost a sync
        for replica in replicas:
            await replica.tell(Event(EventType.SYNC_TIMEOUT))
        await world.settled()
    following = [await number_from(replica) for replica in replicas]
    assert len(set(following)) == 1


# --- Unique among all ---------------------------------------------------------


async def test_plain_numbers_are_unique_per_replica_only(world: World) -> None:
    """The note on S1-2: two peers hand out the same number between syncs."""
    first, second, _ = await three(world)
    assert await first.ask(Next()) == await second.ask(Next())


async def test_pairs_are_unique(world: World) -> None:
    replicas = await three(world)
    pairs = [await one.ask(NextIdentity()) for one in replicas for _ in range(3)]
    assert len(set(pairs)) == 9
    assert pairs[0] == Identity(pid=0, seq=1)


async def test_strided_numbers_are_unique_and_rise(world: World) -> None:
    replicas = await three(world, stride=3)
    numbers: list[list[int]] = [[], [], []]
    for counter in (0, 7, 5, 100):
        for one, mine in zip(replicas, numbers, strict=True):
            await one.tell(Update(counter))
            mine += [await one.ask(Next()), await one.ask(Next())]
    every = [number for mine in numbers for number in mine]
    assert len(every) == len(set(every)) == 24
    for pid, mine in enumerate(numbers):
        assert mine == sorted(mine)
        assert {number % 3 for number in mine} == {pid}
    assert max(every) < 110  # nothing more is skipped than must be


@pytest.mark.parametrize(("pid", "stride"), [(3, 3), (-1, 3), (0, 0), (0, -1)])
def test_a_stride_that_is_not_unique_is_refused(pid: int, stride: int) -> None:
    with pytest.raises(ValueError, match="write a stride from 1"):
        Replica(EVERY, pid, stride)


async def test_a_counter_that_starts_again_is_seen_by_the_model(
    world: World,
) -> None:
    """The model is no rubber stamp."""

    async def forgetful(inbox: Inbox[Next]) -> None:
        async for message in inbox:
            inbox.reply(message, 1)

    ref = await world.spawn(forgetful)

    @linearizable(Model)
    async def test(world: World) -> None:
        await ref.ask(Next())
        await ref.ask(Next())

    with pytest.raises(AssertionError, match="linearizable"):
        await test(world)
