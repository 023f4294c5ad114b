"""Timers, deadlines and failures that come at the wrong moment."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import attrs
import trio

from tests.zoo.animal import Add, Animal, Get
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Reply,
    Request,
    handler,
)
from trio_actors.testing import Faults, World

R = TypeVar("R")

# --- Paid twice, after a retry ------------------------------------------------


@attrs.frozen
class Pay(Request[None]):
    number: int
    amount: int


@attrs.frozen
class Sum(Request[int]): ...


class Cashier(Actor[Pay | Sum]):
    def __init__(self) -> None:
        self.sum = 0
        self.paid: list[int] = []

    @handler
    def pay(self, message: Pay) -> None:
        if message.number not in self.paid:
            self.paid.append(message.number)
            self.sum += message.amount

    @handler
    def get_sum(self, message: Sum) -> int:
        return self.sum


class TrustfulCashier(Cashier):
    @handler
    def pay(self, message: Pay) -> None:
        self.sum += message.amount


async def double_execution(world: World, part: type[Cashier]) -> None:
    cashier = await world.spawn(part)

    async def pay_with_patience() -> None:
        with trio.move_on_after(1):
            await cashier.ask(Pay(1, 10))
            return
        await cashier.ask(Pay(1, 10))

    world.client(pay_with_patience)
    await world.settled()
    assert await cashier.ask(Sum()) == 10


# --- A stale timer ------------------------------------------------------------


@attrs.frozen
class Order: ...


@attrs.frozen
class Paid(Request[bool]): ...


@attrs.frozen
class TimeIsUp: ...


@attrs.frozen
class Expired(Request[bool]): ...


class Orders(Actor[Order | Paid | TimeIsUp | Expired]):
    """An order must be paid within its time."""

    was_paid = False
    expired = False

    @handler
    def order(self, message: Order) -> None:
        self.context.send_after(60, TimeIsUp())

    @handler
    def paid(self, message: Paid) -> bool:
        self.was_paid = not self.expired
        return self.was_paid

    @handler
    def time_is_up(self, message: TimeIsUp) -> None:
        if not self.was_paid:
            self.expired = True

    @handler
    def is_expired(self, message: Expired) -> bool:
        return self.expired


class StrictOrders(Orders):
    @handler
    def time_is_up(self, message: TimeIsUp) -> None:
        self.expired = True


async def stale_timer(world: World, part: type[Orders]) -> None:
    orders = await world.spawn(part)
    paid: list[bool] = []

    async def buy() -> None:
        await orders.tell(Order())
        paid.append(await orders.ask(Paid()))

    world.client(buy)
    await world.settled()
    await trio.sleep(100)
    assert await orders.ask(Expired()) is not paid[0]


# --- A permit that is granted to somebody who has gone ------------------------


@attrs.frozen
class Acquire(Request[None]):
    who: str


@attrs.frozen
class Release:
    who: str


class Permits(Actor[Acquire | Release]):
    """One permit; whoever has none gives none back."""

    def __init__(self) -> None:
        self.holder = ""
        self.waiting: list[tuple[str, Reply[None]]] = []

    @handler
    def acquire(self, message: Acquire) -> Reply[None]:
        reply = self.context.defer_reply(message)
        self.waiting.append((message.who, reply))
        self._grant()
        return reply

    @handler
    def release(self, message: Release) -> None:
        if message.who == self.holder:
            self.holder = ""
        self._grant()

    def _grant(self) -> None:
        while not self.holder and self.waiting:
            who, reply = self.waiting.pop(0)
            if not reply.abandoned:
                self.holder = who
            reply.send(None)


async def work(permits: ActorRef[Acquire | Release], who: str) -> None:
    try:
        with trio.move_on_after(1):
            await permits.ask(Acquire(who))
    finally:
        permits.tell_nowait(Release(who))


async def work_if_granted(permits: ActorRef[Acquire | Release], who: str) -> None:
    with trio.move_on_after(1):
        await permits.ask(Acquire(who))
        permits.tell_nowait(Release(who))


async def leak_on_cancel(
    world: World, part: Callable[[ActorRef[Acquire | Release], str], Awaitable[None]]
) -> None:
    permits = await world.spawn(Permits)

    async def work_patiently() -> None:
        await permits.ask(Acquire("b"))
        await permits.tell(Release("b"))

    world.client(part, permits, "a")
    world.client(work_patiently)
    await world.settled()


# --- A restart that loses the state -------------------------------------------


class Tally(Actor[Add | Get]):
    """Counts, and keeps the sum where a restart does not reach it."""

    def __init__(self, disk: dict[str, int]) -> None:
        self.disk = disk
        self.total = disk.get("total", 0)

    @handler
    def add(self, message: Add) -> None:
        self.total += message.amount
        self.save()

    def save(self) -> None:
        self.disk["total"] = self.total

    @handler
    def get(self, message: Get) -> int:
        return self.total


class FreshTally(Tally):
    def save(self) -> None: ...


async def insist(ask: Callable[[], Awaitable[R]]) -> R:
    try:
        return await ask()
    except ActorFailed:  # the crash comes before the message is handled
        return await ask()


async def restart_loses_state(world: World, part: type[Tally]) -> None:
    tally = await world.spawn(part, dict[str, int]())

    async def add_two() -> None:
        for _ in range(2):
            await insist(lambda: tally.ask(Add(1)))

    world.client(add_two)
    await world.settled()
    assert await insist(lambda: tally.ask(Get())) == 2


# --- A permit that dies with its holder ---------------------------------------


@attrs.frozen
class Lend(Request[None]):
    to: ActorRef[Any]


@attrs.frozen
class Back:
    by: ActorRef[Any]


class Tools(Actor[Lend | Back]):
    """One tool; it comes back when its holder has ended, too."""

    def __init__(self) -> None:
        self.holder: ActorRef[Any] | None = None
        self.waiting: list[tuple[ActorRef[Any], Reply[None]]] = []

    @handler
    def lend(self, message: Lend) -> Reply[None]:
        reply = self.context.defer_reply(message)
        self.waiting.append((message.to, reply))
        self._grant()
        return reply

    @handler
    def back(self, message: Back) -> None:
        if self.holder == message.by:
            self.holder = None
            self._grant()

    def _grant(self) -> None:
        while self.holder is None and self.waiting:
            to, reply = self.waiting.pop(0)
            if not reply.abandoned:
                self.hand_out(to)
            reply.send(None)

    def hand_out(self, to: ActorRef[Any]) -> None:
        self.holder = to
        self.context.watch(to, Back(to))


class UnwatchedTools(Tools):
    def hand_out(self, to: ActorRef[Any]) -> None:
        self.holder = to


@attrs.frozen
class Dig(Request[None]): ...


class Miner(Actor[Dig]):
    def __init__(self, tools: ActorRef[Lend | Back]) -> None:
        self.tools = tools

    @handler
    async def dig(self, message: Dig) -> None:
        await self.tools.ask(Lend(self.context.ref))
        await self.tools.tell(Back(self.context.ref))


async def lost_permit(world: World, part: type[Tools]) -> None:
    tools = await world.spawn(part)
    one, two = await world.spawn(Miner, tools), await world.spawn(Miner, tools)

    async def kill() -> None:
        one.kill()

    world.client(one.tell, Dig())
    world.client(kill)
    world.client(two.ask, Dig())
    await world.settled()
    world.dead(Dig)  # it may have been killed before


ANIMALS = [
    Animal(
        scene=double_execution,
        right=Cashier,
        wrong=TrustfulCashier,
        bug="The answer is late, the client tries again, and has paid twice.",
        needs=1,
    ),
    Animal(
        scene=stale_timer,
        right=Orders,
        wrong=StrictOrders,
        bug="The time is up for what has been paid already.",
        needs=0,
    ),
    Animal(
        scene=leak_on_cancel,
        right=work,
        wrong=work_if_granted,
        bug="A permit is granted to somebody who does not wait any more.",
        needs=1,
    ),
    Animal(
        scene=restart_loses_state,
        right=Tally,
        wrong=FreshTally,
        bug="A restart forgets what was counted before.",
        needs=1,
        options={"faults": Faults(crash=1)},
    ),
    Animal(
        scene=lost_permit,
        right=Tools,
        wrong=UnwatchedTools,
        bug="The holder is killed, and its permit is lost.",
        needs=1,
    ),
]
