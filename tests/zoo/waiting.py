"""Whoever waits for what does not come: deadlock, livelock, a lost wake-up."""

from collections import deque
from collections.abc import Callable

import attrs

from tests.zoo.animal import Add, Animal, Clerk, after
from trio_actors import (
    Actor,
    ActorRef,
    Reply,
    Request,
    handler,
)
from trio_actors.testing import World

# --- Two ask each other -------------------------------------------------------


@attrs.frozen
class Move(Request[None]):
    amount: int
    to: ActorRef[Add]


class Vault(Actor[Move | Add]):
    gold = 100

    @handler
    async def move(self, message: Move) -> None:
        self.gold -= message.amount
        await message.to.tell(Add(message.amount))

    @handler
    def add(self, message: Add) -> None:
        self.gold += message.amount


class AskingVault(Vault):
    @handler
    async def move(self, message: Move) -> None:
        self.gold -= message.amount
        await message.to.ask(Add(message.amount))


async def mutual_ask(world: World, part: type[Vault]) -> None:
    clerk = await world.spawn(Clerk)
    one, two = await world.spawn(part), await world.spawn(part)
    world.client(one.ask, Move(5, two))
    world.client(after, clerk, 1, two.ask, Move(7, one))
    await world.settled()


# --- Dining philosophers ------------------------------------------------------


@attrs.frozen
class Take(Request[None]): ...


@attrs.frozen
class Lay: ...


class Fork(Actor[Take | Lay]):
    def __init__(self) -> None:
        self.is_free = True
        self.hungry: deque[Reply[None]] = deque()

    @handler
    def take(self, message: Take) -> Reply[None]:
        reply = self.context.defer_reply(message)
        self.hungry.append(reply)
        self._give()
        return reply

    @handler
    def lay(self, message: Lay) -> None:
        self.is_free = True
        self._give()

    def _give(self) -> None:
        if self.is_free and self.hungry:
            self.is_free = False
            self.hungry.popleft().send(None)


def lowest_first(left: int, right: int) -> list[int]:
    return sorted([left, right])


def left_first(left: int, right: int) -> list[int]:
    return [left, right]


async def philosophers(world: World, part: Callable[[int, int], list[int]]) -> None:
    forks = [await world.spawn(Fork, name=f"fork-{number}") for number in range(3)]

    async def dine(left: int, right: int) -> None:
        for number in part(left, right):
            await forks[number].ask(Take())
        for number in (left, right):
            await forks[number].tell(Lay())

    for place in range(3):
        world.client(dine, place, (place + 1) % 3)
    await world.settled()


# --- Livelock: after you ------------------------------------------------------


@attrs.frozen
class Try(Request[bool]): ...


class Lock(Actor[Try | Lay]):
    is_free = True

    @handler
    def try_it(self, message: Try) -> bool:
        was_free, self.is_free = self.is_free, False
        return was_free

    @handler
    def lay(self, message: Lay) -> None:
        self.is_free = True


async def livelock(world: World, part: Callable[[int, int], list[int]]) -> None:
    locks = [await world.spawn(Lock, name=f"lock-{number}") for number in range(2)]
    done: list[int] = []

    async def work(*mine: int) -> None:
        for _ in range(3):  # polite, and not for ever
            one, two = (locks[number] for number in part(*mine))
            if await one.ask(Try()):
                if await two.ask(Try()):
                    done.append(mine[0])
                    await two.tell(Lay())
                    await one.tell(Lay())
                    return
                await one.tell(Lay())

    world.client(work, 0, 1)
    world.client(work, 1, 0)
    await world.settled()
    assert done, "all were busy, and none came on"


# --- A lost wake-up -----------------------------------------------------------


@attrs.frozen
class Size(Request[int]): ...


@attrs.frozen
class WaitForOne(Request[None]): ...


@attrs.frozen
class Push(Request[None]): ...


class Queue(Actor[Size | WaitForOne | Push]):
    def __init__(self) -> None:
        self.size = 0
        self.waiting: list[Reply[None]] = []

    @handler
    def get_size(self, message: Size) -> int:
        return self.size

    @handler
    def wait(self, message: WaitForOne) -> Reply[None]:
        reply = self.context.defer_reply(message)
        self.waiting.append(reply)
        if self.size:
            self._wake()
        return reply

    @handler
    def push(self, message: Push) -> None:
        self.size += 1
        self._wake()

    def _wake(self) -> None:
        while self.waiting:
            self.waiting.pop().send(None)


class ForgetfulQueue(Queue):
    @handler
    def wait(self, message: WaitForOne) -> Reply[None]:
        reply = self.context.defer_reply(message)
        self.waiting.append(reply)
        return reply


async def lost_wake_up(world: World, part: type[Queue]) -> None:
    clerk, queue = await world.spawn(Clerk), await world.spawn(part)

    async def consume() -> None:
        if not await queue.ask(Size()):
            await queue.ask(WaitForOne())

    world.client(consume)
    world.client(after, clerk, 1, queue.ask, Push())
    await world.settled()


# --- What is stashed, and never unstashed -------------------------------------


@attrs.frozen
class Query(Request[int]): ...


@attrs.frozen
class Pause(Request[None]): ...


@attrs.frozen
class Resume(Request[None]): ...


class Server(Actor[Query | Pause | Resume]):
    pauses = False

    @handler
    def query(self, message: Query) -> int | Reply[int]:
        return self.context.stash(message) if self.pauses else 1

    @handler
    def pause(self, message: Pause) -> None:
        self.pauses = True

    @handler
    def resume(self, message: Resume) -> None:
        self.pauses = False
        self.context.unstash_all()


class HoardingServer(Server):
    @handler
    def resume(self, message: Resume) -> None:
        self.pauses = False


async def never_unstashed(world: World, part: type[Server]) -> None:
    clerk, server = await world.spawn(Clerk), await world.spawn(part)

    async def maintain() -> None:
        await server.ask(Pause())
        await server.ask(Resume())

    world.client(server.ask, Query())
    world.client(after, clerk, 1, maintain)
    await world.settled()


# --- Priority inversion -------------------------------------------------------


@attrs.frozen
class Acquire(Request[None]):
    priority: int


@attrs.frozen
class Release: ...


@attrs.frozen
class Inverted(Request[bool]): ...


class Processor(Actor[Acquire | Release | Inverted]):
    """Busy at first; then it is for the most important of those who wait."""

    def __init__(self) -> None:
        self.is_free = False
        self.inverted = False
        self.waiting: list[tuple[int, Reply[None]]] = []

    @handler
    def acquire(self, message: Acquire) -> Reply[None]:
        reply = self.context.defer_reply(message)
        self.waiting.append((message.priority, reply))
        self._grant()
        return reply

    @handler
    def release(self, message: Release) -> None:
        self.is_free = True
        self._grant()

    def _grant(self) -> None:
        if self.is_free and self.waiting:
            self.is_free = False
            priority, reply = self.waiting.pop(self.choose())
            self.inverted |= any(other > priority for other, _ in self.waiting)
            reply.send(None)

    def choose(self) -> int:
        priorities = [priority for priority, _ in self.waiting]
        return priorities.index(max(priorities))

    @handler
    def get_inverted(self, message: Inverted) -> bool:
        return self.inverted


class FairProcessor(Processor):
    def choose(self) -> int:
        return 0


async def priority_inversion(world: World, part: type[Processor]) -> None:
    clerk, processor = await world.spawn(Clerk), await world.spawn(part)

    async def work(priority: int) -> None:
        await processor.ask(Acquire(priority))
        await processor.tell(Release())

    world.client(work, 9)
    world.client(work, 5)
    world.client(after, clerk, 1, processor.tell, Release())
    await world.settled()
    assert not await processor.ask(Inverted())


ANIMALS = [
    Animal(
        scene=mutual_ask,
        right=Vault,
        wrong=AskingVault,
        bug="Two actors ask each other: neither can answer.",
        needs=2,
    ),
    Animal(
        scene=philosophers,
        right=lowest_first,
        wrong=left_first,
        bug="Each has one fork, and waits for the other.",
        needs=0,
    ),
    Animal(
        scene=livelock,
        right=lowest_first,
        wrong=left_first,
        bug="Each gives way to the other, again and again.",
        needs=0,
    ),
    Animal(
        scene=lost_wake_up,
        right=Queue,
        wrong=ForgetfulQueue,
        bug="It was empty; the wake-up comes before the wait.",
        needs=1,
    ),
    Animal(
        scene=never_unstashed,
        right=Server,
        wrong=HoardingServer,
        bug="What came in the pause is never handled.",
        needs=3,
    ),
    Animal(
        scene=priority_inversion,
        right=Processor,
        wrong=FairProcessor,
        bug="The one who came first goes first, and the important one waits.",
        needs=1,
    ),
]
