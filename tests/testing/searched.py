"""Programs that the tests of `check` and `explore` search."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import trio

from trio_actors import (
    Actor,
    ActorError,
    ActorFailed,
    ActorRef,
    Mailbox,
    Request,
    handler,
)
from trio_actors.testing import Failure, World, check

Program = Callable[[World], Awaitable[None]]


def failure_of(program: Program, **options: Any) -> Failure:
    failure = check(program, **options).failure
    assert failure is not None
    return failure


@attrs.frozen
class Read(Request[int]): ...


@attrs.frozen
class Write(Request[int]):
    value: int


class Register(Actor[Read | Write]):
    def __init__(self) -> None:
        self.value = 0

    @handler(reads_only=True)
    def read(self, message: Read) -> int:
        return self.value

    @handler
    def write(self, message: Write) -> int:
        self.value = message.value
        return self.value


async def lost_update(world: World) -> None:
    """Two add one, and the second one may have read before the first one wrote."""
    register = await world.spawn(Register, name="register")

    async def add() -> None:
        value = await register.ask(Read())
        await register.ask(Write(value + 1))

    world.client(add)
    world.client(add)
    await world.settled()
    assert await register.ask(Read()) == 2, "an update was lost"


async def two_writes(world: World) -> None:
    """What is right in every order."""
    register = await world.spawn(Register, name="register")
    world.client(register.ask, Write(1))
    world.client(register.ask, Write(2))
    await world.settled()
    assert await register.ask(Read()) in (1, 2)


async def forgotten(world: World) -> None:
    """A crash forgets what was written."""
    register = await world.spawn(Register, name="register")
    with suppress(ActorFailed):
        await register.ask(Write(1))
        assert await register.ask(Read()) == 1, "it was forgotten"
    with suppress(ActorFailed):
        assert await register.ask(Read()) == 1, "it was forgotten"


# --- What is seen -----------------------------------------------------------------


def seen(
    program: Callable[[World, set[object]], Awaitable[None]],
) -> tuple[Callable[[World], Awaitable[None]], set[object]]:
    """Return a program, and the set in which it will have noted what it saw."""
    notes: set[object] = set()

    async def noting(world: World) -> None:
        await program(world, notes)

    return noting, notes


async def end_of(question: Awaitable[object]) -> object:
    """Return an answer, or the name of the exception."""
    try:
        return await question
    except ActorError as error:
        return type(error).__name__


async def crashed_reader(world: World, notes: set[object]) -> None:
    """The crash of a reader loses what was written before it, and nothing else."""
    register = await world.spawn(Register, name="register")
    ends: list[object] = []

    async def read() -> None:
        ends.append(await end_of(register.ask(Read())))

    async def write() -> None:
        await end_of(register.ask(Write(1)))

    world.client(write)
    world.client(read)
    await world.settled()
    notes.add((ends[0], await end_of(register.ask(Read()))))


@attrs.frozen
class Look(Request[object]):
    at: ActorRef[Read | Write]


class Looker(Actor[Look]):
    @handler
    async def look(self, message: Look) -> object:
        found = self.context.system.find("/register") is not None
        return found, await end_of(message.at.ask(Read()))


async def stopped_meanwhile(world: World, notes: set[object]) -> None:
    """One looks whether the other lives."""
    register = await world.spawn(Register, name="register")
    looker = await world.spawn(Looker, name="looker")
    ends: list[object] = []

    async def look() -> None:
        ends.append(await looker.ask(Look(register)))

    async def stop() -> None:
        register.stop()

    world.client(look)
    world.client(stop)
    await world.settled()
    notes.update(ends)
    world.dead()


class Small(Register):
    mailbox = Mailbox(1, overflow="fail")


async def full(world: World, notes: set[object]) -> None:
    """Two want the one place in a mailbox."""
    register = await world.spawn(Small, name="register")
    ends: dict[str, object] = {}

    async def write(who: str, value: int) -> None:
        ends[who] = await end_of(register.ask(Write(value)))

    world.client(write, "one", 1)
    world.client(write, "two", 2)
    await world.settled()
    notes.add((ends["one"], ends["two"]))


# --- Time, order, checkpoints -------------------------------------------------------


class Till(Actor[Write]):
    """Adds up, each time it is asked."""

    def __init__(self, paid: list[int]) -> None:
        self.paid = paid

    @handler
    def write(self, message: Write) -> int:
        self.paid.append(message.value)
        return message.value


async def impatient(world: World) -> None:
    """Who gets no answer in time asks again: perhaps it was done already."""
    paid: list[int] = []
    till = await world.spawn(Till, paid, name="till")

    async def pay() -> None:
        with trio.move_on_after(1):
            await till.ask(Write(10))
            return
        await till.ask(Write(10))

    world.client(pay)
    await world.settled()
    assert paid == [10], "it was paid twice"


@attrs.frozen
class Pass(Request[None]):
    to: ActorRef[Write]


class Passer(Actor[Pass]):
    @handler
    def hand_on(self, message: Pass) -> None:
        message.to.tell_soon(Write(1))


async def overtaken(world: World) -> None:
    """What goes straight there may come later than what goes round about."""
    paid: list[int] = []
    till = await world.spawn(Till, paid, name="till")
    passer = await world.spawn(Passer, name="passer")

    async def both() -> None:
        passer.tell_nowait(Pass(till))
        till.tell_nowait(Write(2))

    world.client(both)
    await world.settled()
    assert paid == [2, 1], "the long way was the shorter one"


class Hasty(Actor[Write]):
    """Adds one twice, in two tasks of one handler."""

    value = 0

    @handler
    async def write(self, message: Write) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.add, 1)
            nursery.start_soon(self.add, 2)
        return self.value

    async def add(self, checkpoints: int) -> None:
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        value = self.value
        if checkpoints == 1:
            await trio.lowlevel.checkpoint()
        self.value = value + 1


async def two_tasks(world: World) -> None:
    hasty = await world.spawn(Hasty)
    assert await hasty.ask(Write(0)) == 2, "an update was lost"


class Clerk(Actor[Write]):
    """Adds to a total that it shares with others: no actor should."""

    def __init__(self, total: list[int]) -> None:
        self.total = total

    @handler
    async def add(self, message: Write) -> int:
        before = self.total[0]
        await trio.lowlevel.checkpoint()
        self.total[0] = before + message.value
        return self.total[0]


async def shared_total(world: World) -> None:
    """Two actors, each with one handler that is right if it is alone."""
    total = [0]
    for name in ("one", "two"):
        clerk = await world.spawn(Clerk, total, name=name)
        world.client(clerk.ask, Write(1))
    await world.settled()
    assert total == [2], "an update was lost"


class Starter(Actor[Write]):
    """Waits, without sleeping, for what another actor does."""

    def __init__(self, go: list[int]) -> None:
        self.go = go

    @handler
    async def write(self, message: Write) -> int:
        while not self.go:
            await trio.lowlevel.checkpoint()
        return message.value


@attrs.frozen
class Ball:
    by: ActorRef[Any]
    to: ActorRef[Any]


class Player(Actor[Ball]):
    """Whatever it gets, it sends back."""

    @handler
    def play(self, message: Ball) -> None:
        message.to.tell_soon(Ball(message.to, message.by))


async def polled(world: World) -> None:
    go: list[int] = []
    starter = await world.spawn(Starter, go, name="starter")
    till = await world.spawn(Till, go, name="till")
    world.client(starter.ask, Write(1))
    world.client(till.ask, Write(2))
    await world.settled()


async def polled_in_vain(world: World) -> None:
    go: list[int] = []
    starter = await world.spawn(Starter, go)
    await starter.ask(Write(1))
