"""Copies that should be equal, and caches."""

from collections.abc import Awaitable, Callable

import attrs

from tests.zoo.animal import Add, Animal, Clerk, Get, Number, Put, after
from trio_actors import (
    Actor,
    ActorRef,
    Request,
    handler,
)
from trio_actors.testing import World

# --- A register of which readers agree on what is new: without writing back ---


@attrs.frozen
class Value:
    stamp: int
    text: str


@attrs.frozen
class Read(Request[Value]): ...


@attrs.frozen
class Write(Request[None]):
    value: Value


class Replica(Actor[Read | Write]):
    value = Value(0, "")

    @handler
    def read(self, message: Read) -> Value:
        return self.value

    @handler
    def write(self, message: Write) -> None:
        if message.value.stamp > self.value.stamp:
            self.value = message.value


Quorum = list[ActorRef[Read | Write]]


async def read_and_write_back(quorum: Quorum) -> Value:
    values = [await one.ask(Read()) for one in quorum]
    newest = max(values, key=lambda value: value.stamp)
    for one in quorum:
        await one.ask(Write(newest))
    return newest


async def read_only(quorum: Quorum) -> Value:
    values = [await one.ask(Read()) for one in quorum]
    return max(values, key=lambda value: value.stamp)


async def no_write_back(
    world: World, part: Callable[[Quorum], Awaitable[Value]]
) -> None:
    replicas = [await world.spawn(Replica) for _ in range(3)]

    async def write() -> None:
        for one in replicas:
            await one.ask(Write(Value(1, "new")))

    async def read_twice() -> None:
        first = await part(replicas[:2])
        second = await part(replicas[1:])
        assert first.stamp <= second.stamp, "it was new, and is old again"

    world.client(write)
    world.client(read_twice)
    await world.settled()


# --- A cache that is filled with what was just replaced -----------------------


@attrs.frozen
class Found:
    value: int | None
    changes: int


@attrs.frozen
class Lookup(Request[Found]): ...


@attrs.frozen
class Fill:
    value: int
    seen: Found


@attrs.frozen
class Invalidate(Request[None]): ...


class Cache(Actor[Lookup | Fill | Invalidate]):
    def __init__(self) -> None:
        self.value: int | None = None
        self.changes = 0

    @handler
    def lookup(self, message: Lookup) -> Found:
        return Found(self.value, self.changes)

    @handler
    def fill(self, message: Fill) -> None:
        if message.seen.changes == self.changes:
            self.value = message.value

    @handler
    def invalidate(self, message: Invalidate) -> None:
        self.value = None
        self.changes += 1


class CredulousCache(Cache):
    @handler
    def fill(self, message: Fill) -> None:
        self.value = message.value


async def stale_cache(world: World, part: type[Cache]) -> None:
    source, cache = await world.spawn(Number, 1), await world.spawn(part)

    async def read() -> int:
        found = await cache.ask(Lookup())
        if found.value is not None:
            return found.value
        value = await source.ask(Get())
        await cache.tell(Fill(value, found))
        return value

    async def write() -> None:
        await source.ask(Put(2))
        await cache.ask(Invalidate())

    world.client(read)
    world.client(write)
    await world.settled()
    assert await read() == 2


# --- Not to read what one has written -----------------------------------------


class Primary(Actor[Put]):
    """Answers when the replica has it, too."""

    def __init__(self, replica: ActorRef[Put]) -> None:
        self.replica = replica

    @handler
    async def put(self, message: Put) -> None:
        await self.replica.ask(message)


class FastPrimary(Primary):
    @handler
    async def put(self, message: Put) -> None:
        await self.replica.tell(message)


async def read_your_writes(world: World, part: type[Primary]) -> None:
    replica = await world.spawn(Number)
    primary = await world.spawn(part, replica)

    async def write_and_read() -> None:
        await primary.ask(Put(5))
        assert await replica.ask(Get()) == 5

    world.client(write_and_read)
    await world.settled()


# --- A merge that takes back what the other has not seen ----------------------


@attrs.frozen
class Merge:
    who: int
    counts: tuple[int, int]


class Half(Actor[Add | Merge | Get]):
    """One half of a counter: knows how much each half has counted."""

    def __init__(self, me: int) -> None:
        self.me = me
        self.counts = [0, 0]

    @handler
    def add(self, message: Add) -> None:
        self.counts[self.me] += message.amount
        other = self.context.system.find(f"/half-{1 - self.me}")
        assert other is not None
        other.tell_soon(Merge(self.me, (self.counts[0], self.counts[1])))

    @handler
    def merge(self, message: Merge) -> None:
        self.counts[message.who] = message.counts[message.who]

    @handler
    def get(self, message: Get) -> int:
        return sum(self.counts)


class LastWriteWins(Half):
    @handler
    def merge(self, message: Merge) -> None:
        self.counts = [*message.counts]


async def lossy_merge(world: World, part: type[Half]) -> None:
    clerk = await world.spawn(Clerk)
    halves = [
        await world.spawn(part, number, name=f"half-{number}") for number in (0, 1)
    ]
    world.client(halves[0].ask, Add(1))
    world.client(after, clerk, 1, halves[1].ask, Add(1))
    await world.settled()
    assert [await half.ask(Get()) for half in halves] == [2, 2]


ANIMALS = [
    Animal(
        scene=no_write_back,
        right=read_and_write_back,
        wrong=read_only,
        bug="One reads the new value, and after that another the old one.",
        needs=3,
    ),
    Animal(
        scene=stale_cache,
        right=Cache,
        wrong=CredulousCache,
        bug="The old value is put into the cache after the new one is written.",
        needs=3,
    ),
    Animal(
        scene=read_your_writes,
        right=Primary,
        wrong=FastPrimary,
        bug="The replica is read before it has what was written.",
        needs=2,
    ),
    Animal(
        scene=lossy_merge,
        right=Half,
        wrong=LastWriteWins,
        bug="A merge takes back what the sender has not seen.",
        needs=2,
    ),
]
