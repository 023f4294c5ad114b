"""Steps that belong together, and others come in between."""

from collections.abc import Awaitable, Callable

import attrs

from tests.zoo.animal import Add, Animal, Clerk, Get, Hello, Number, Put, after
from trio_actors import (
    Actor,
    ActorRef,
    NameTaken,
    Reply,
    Request,
    ServiceKey,
    handler,
)
from trio_actors.testing import World

Numbered = ActorRef[Get | Put | Add]

# --- A lost update ------------------------------------------------------------


async def increment(number: Numbered) -> None:
    await number.ask(Add(1))


async def increment_in_two_steps(number: Numbered) -> None:
    await number.ask(Put(await number.ask(Get()) + 1))


async def lost_update(
    world: World, part: Callable[[Numbered], Awaitable[None]]
) -> None:
    number = await world.spawn(Number)
    world.client(part, number)
    world.client(part, number)
    await world.settled()
    assert await number.ask(Get()) == 2


# --- Check, then act ----------------------------------------------------------


@attrs.frozen
class Withdraw(Request[bool]):
    amount: int


class Account(Number, Actor[Get | Put | Add | Withdraw]):
    @handler
    def withdraw(self, message: Withdraw) -> bool:
        if self.value < message.amount:
            return False
        self.value -= message.amount
        return True


async def withdraw(account: ActorRef[Get | Add | Withdraw], amount: int) -> None:
    await account.ask(Withdraw(amount))


async def check_and_withdraw(
    account: ActorRef[Get | Add | Withdraw], amount: int
) -> None:
    if await account.ask(Get()) >= amount:
        await account.ask(Add(-amount))


async def overdraft(world: World, part: Callable[..., Awaitable[None]]) -> None:
    clerk, account = await world.spawn(Clerk), await world.spawn(Account, 100)
    world.client(part, account, 60)
    world.client(after, clerk, 2, part, account, 60)
    await world.settled()
    assert await account.ask(Get()) == 40


# --- ABA ----------------------------------------------------------------------


@attrs.frozen
class Top:
    """The top of a stack, what is below it, and how often the top has changed."""

    node: str
    below: str
    changes: int


@attrs.frozen
class Look(Request[Top]): ...


@attrs.frozen
class Swap(Request[bool]):
    """Let what was below the top be the top, if that is what it was."""

    seen: Top


@attrs.frozen
class Pop(Request[str]): ...


@attrs.frozen
class Push(Request[None]):
    node: str


class Stack(Actor[Look | Swap | Pop | Push]):
    """A stack as linked nodes."""

    def __init__(self) -> None:
        self.top = "a"
        self.below = {"a": "b", "b": "c", "c": "", "": ""}
        self.changes = 0

    @handler
    def look(self, message: Look) -> Top:
        return Top(self.top, self.below[self.top], self.changes)

    @handler
    def swap(self, message: Swap) -> bool:
        same = self.top == message.seen.node and self.changes == message.seen.changes
        if same:
            self._set_top(message.seen.below)
        return same

    @handler
    def pop(self, message: Pop) -> str:
        node = self.top
        self._set_top(self.below[node])
        return node

    @handler
    def push(self, message: Push) -> None:
        self.below[message.node] = self.top
        self._set_top(message.node)

    def _set_top(self, node: str) -> None:
        self.top = node
        self.changes += 1


class StackWithoutCount(Stack):
    @handler
    def swap(self, message: Swap) -> bool:
        same = self.top == message.seen.node
        if same:
            self._set_top(message.seen.below)
        return same


async def aba(world: World, part: type[Stack]) -> None:
    stack = await world.spawn(part)
    taken: list[str] = []

    async def pop_in_two_steps() -> None:
        top = await stack.ask(Look())
        if await stack.ask(Swap(top)):
            taken.append(top.node)

    async def pop_two_and_push_one() -> None:
        one = await stack.ask(Pop())
        taken.append(await stack.ask(Pop()))
        await stack.ask(Push(one))

    world.client(pop_in_two_steps)
    world.client(pop_two_and_push_one)
    await world.settled()
    while node := await stack.ask(Pop()):
        taken.append(node)
    assert sorted(taken) == ["a", "b", "c"], "a node is in two hands, or in none"


# --- Two register as the only one ---------------------------------------------

ONLY_ONE = ServiceKey[Get]("settings", unique=True)


class Settings(Actor[Get]):
    def __init__(self, source: Numbered) -> None:
        self.source = source

    async def started(self) -> None:
        self.value = await self.source.ask(Get())

    @handler
    def get(self, message: Get) -> int:
        return self.value


async def find_or_start(world: World, source: Numbered) -> None:
    if world.find(ONLY_ONE) is None:
        mine = await world.spawn(Settings, source)
        try:
            world.register(ONLY_ONE, mine)
        except NameTaken:
            mine.stop()


async def find_or_start_alone(world: World, source: Numbered) -> None:
    if world.find(ONLY_ONE) is None:
        mine = await world.spawn(Settings, source)
        world.register(ONLY_ONE, mine)


async def registration_race(
    world: World, part: Callable[[World, Numbered], Awaitable[None]]
) -> None:
    clerk, source = await world.spawn(Clerk), await world.spawn(Number, 7)
    world.client(part, world, source)
    world.client(after, clerk, 1, part, world, source)
    await world.settled()
    found = world.find(ONLY_ONE)
    assert found is not None
    assert await found.ask(Get()) == 7


# --- A round through what changes meanwhile -----------------------------------


@attrs.frozen
class Join(Request[None]):
    member: ActorRef[Hello]


@attrs.frozen
class Greet(Request[None]): ...


class Room(Actor[Join | Greet]):
    """Greets in a task of its own: others may join meanwhile."""

    def __init__(self, *members: ActorRef[Hello]) -> None:
        self.members = dict.fromkeys(members)

    @handler
    def join(self, message: Join) -> None:
        self.members[message.member] = None

    @handler
    def greet(self, message: Greet) -> Reply[None]:
        reply = self.context.defer_reply(message)
        self.context.start_soon(self.go_round, reply)
        return reply

    async def go_round(self, reply: Reply[None]) -> None:
        for member in tuple(self.members):
            await member.ask(Hello())
        reply.send(None)


class LiveRoom(Room):
    async def go_round(self, reply: Reply[None]) -> None:
        for member in self.members:
            await member.ask(Hello())
        reply.send(None)


async def joins_in_the_round(world: World, part: type[Room]) -> None:
    one, two, three = [await world.spawn(Clerk) for _ in range(3)]
    room = await world.spawn(part, one, two)
    world.client(room.ask, Greet())
    world.client(after, three, 2, room.ask, Join(three))
    await world.settled()


# --- A barrier that counts one of them twice ----------------------------------


@attrs.frozen
class Arrive(Request[None]):
    who: str


@attrs.frozen
class Opened(Request[tuple[str, ...]]): ...


class Barrier(Actor[Arrive | Opened]):
    """Opens when two are there."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.opened: tuple[str, ...] = ()

    @handler
    def arrive(self, message: Arrive) -> None:
        if message.who not in self.there:
            self.there.append(message.who)
        if not self.opened and len(self.there) == 2:
            self.opened = tuple(self.there)

    @handler
    def get_opened(self, message: Opened) -> tuple[str, ...]:
        return self.opened


class CountingBarrier(Barrier):
    @handler
    def arrive(self, message: Arrive) -> None:
        self.there.append(message.who)
        if not self.opened and len(self.there) == 2:
            self.opened = tuple(self.there)


async def counted_twice(world: World, part: type[Barrier]) -> None:
    barrier = await world.spawn(part)

    async def arrive_and_say_so_again() -> None:
        await barrier.ask(Arrive("a"))
        await barrier.ask(Arrive("a"))

    world.client(arrive_and_say_so_again)
    world.client(barrier.ask, Arrive("b"))
    await world.settled()
    assert sorted(await barrier.ask(Opened())) == ["a", "b"]


ANIMALS = [
    Animal(
        scene=lost_update,
        right=increment,
        wrong=increment_in_two_steps,
        bug="Two read the same value, and the second write takes the first back.",
        needs=0,
    ),
    Animal(
        scene=overdraft,
        right=withdraw,
        wrong=check_and_withdraw,
        bug="The balance is checked, and another withdraws before it is used.",
        needs=3,
    ),
    Animal(
        scene=aba,
        right=Stack,
        wrong=StackWithoutCount,
        bug="The top is what it was, but has been another one meanwhile.",
        needs=3,
    ),
    Animal(
        scene=registration_race,
        right=find_or_start,
        wrong=find_or_start_alone,
        bug="Two find nobody, and both register as the only one.",
        needs=1,
    ),
    Animal(
        scene=joins_in_the_round,
        right=Room,
        wrong=LiveRoom,
        bug="A member joins while a task goes through the members.",
        needs=1,
    ),
    Animal(
        scene=counted_twice,
        right=Barrier,
        wrong=CountingBarrier,
        bug="One who arrives twice is counted as two.",
        needs=2,
    ),
]
