"""Messages that come in another order than they were thought to come in."""

from contextlib import suppress

import attrs

from tests.zoo.animal import Animal, Clerk, Get, Hello, after
from trio_actors import (
    Actor,
    ActorRef,
    ActorStopped,
    Reply,
    Request,
    handler,
)
from trio_actors.testing import World

# --- A start-up race ----------------------------------------------------------


@attrs.frozen
class Configure:
    rate: int


@attrs.frozen
class Price(Request[int]): ...


class Shop(Actor[Configure | Price]):
    rate = 0

    @handler
    def configure(self, message: Configure) -> None:
        self.rate = message.rate
        self.context.unstash_all()

    @handler
    def price(self, message: Price) -> int | Reply[int]:
        return self.rate * 3 if self.rate else self.context.stash(message)


class EarlyShop(Shop):
    @handler
    def price(self, message: Price) -> int | Reply[int]:
        return self.rate * 3


async def start_up_race(world: World, part: type[Shop]) -> None:
    shop = await world.spawn(part)

    async def buy() -> None:
        assert await shop.ask(Price()) == 21

    world.client(shop.tell, Configure(7))
    world.client(buy)
    await world.settled()


# --- Events that are applied as they arrive -----------------------------------


@attrs.frozen
class Changed(Request[None]):
    version: int


class View(Actor[Changed | Get]):
    version = 0

    @handler
    def changed(self, message: Changed) -> None:
        self.version = max(self.version, message.version)

    @handler
    def get(self, message: Get) -> int:
        return self.version


class CredulousView(View):
    @handler
    def changed(self, message: Changed) -> None:
        self.version = message.version


class Relay(Actor[Changed]):
    """Answers at once, and tells others."""

    def __init__(self, to: ActorRef[Changed]) -> None:
        self.to = to

    @handler
    def changed(self, message: Changed) -> None:
        self.to.tell_soon(message)


async def out_of_order(world: World, part: type[View]) -> None:
    view = await world.spawn(part)
    one, two = await world.spawn(Relay, view), await world.spawn(Relay, view)

    async def change_twice() -> None:
        await one.ask(Changed(1))
        await two.ask(Changed(2))

    world.client(change_twice)
    await world.settled()
    assert await view.ask(Get()) == 2


# --- It becomes what it should no longer become -------------------------------


@attrs.frozen
class Login: ...


@attrs.frozen
class Logout: ...


@attrs.frozen
class Allowed: ...


@attrs.frozen
class Check:
    session: ActorRef[Allowed]


@attrs.frozen
class IsIn(Request[bool]): ...


class Doorman(Actor[Check]):
    @handler
    def check(self, message: Check) -> None:
        message.session.tell_soon(Allowed())


Visit = Login | Logout | Allowed | IsIn


class Guest(Actor[Visit]):
    def __init__(self, doorman: ActorRef[Check]) -> None:
        self.doorman = doorman
        self.wants_in = False

    @handler
    def login(self, message: Login) -> None:
        self.wants_in = True
        self.doorman.tell_soon(Check(self.context.ref))

    @handler
    def logout(self, message: Logout) -> None:
        self.wants_in = False

    @handler
    def allowed(self, message: Allowed) -> None:
        if self.wants_in:
            self.become(Member())

    @handler
    def is_in(self, message: IsIn) -> bool:
        return False


class Member(Actor[Visit]):
    @handler
    def no_news(self, message: Login | Allowed) -> None: ...

    @handler
    def logout(self, message: Logout) -> None:
        self.unbecome()

    @handler
    def is_in(self, message: IsIn) -> bool:
        return True


class StubbornGuest(Guest):
    @handler
    def allowed(self, message: Allowed) -> None:
        self.become(Member())


async def late_become(world: World, part: type[Guest]) -> None:
    clerk, doorman = await world.spawn(Clerk), await world.spawn(Doorman)
    guest = await world.spawn(part, doorman)

    async def come_and_go() -> None:
        await guest.tell(Login())
        await clerk.ask(Hello())
        await guest.tell(Logout())

    world.client(come_and_go)
    await world.settled()
    assert not await guest.ask(IsIn())


# --- Shuttle's figure 5: one is early, after a long way -----------------------


@attrs.frozen
class Close: ...


@attrs.frozen
class Use(Request[bool]): ...


class Resource(Actor[Use | Close]):
    """Whoever closes it waits until it was used."""

    is_open = True
    was_used = False

    @handler
    def use(self, message: Use) -> bool:
        self.was_used = True
        self.context.unstash_all()
        return self.is_open

    @handler
    def close(self, message: Close) -> None:
        if not self.was_used:
            self.context.stash(message)
            return
        self.is_open = False


class ReadyResource(Resource):
    @handler
    def close(self, message: Close) -> None:
        self.is_open = False


async def figure_five(world: World, part: type[Resource]) -> None:
    clerk, resource = await world.spawn(Clerk), await world.spawn(part)

    async def use() -> None:
        assert await resource.ask(Use())

    world.client(use)
    world.client(after, clerk, 10, resource.tell, Close())
    await world.settled()


# --- A stop that overtakes a message ------------------------------------------


@attrs.frozen
class Make(Request[None]): ...


@attrs.frozen
class Item(Request[None]): ...


class Consumer(Actor[Item]):
    @handler
    def item(self, message: Item) -> None: ...


class Producer(Actor[Make]):
    def __init__(self, consumer: ActorRef[Item]) -> None:
        self.consumer = consumer

    @handler
    async def make(self, message: Make) -> None:
        await self.consumer.ask(Item())


class HastyProducer(Producer):
    @handler
    async def make(self, message: Make) -> None:
        await self.consumer.tell(Item())


async def overtaking_stop(world: World, part: type[Producer]) -> None:
    consumer = await world.spawn(Consumer)
    producer = await world.spawn(part, consumer)

    async def make_one_and_stop() -> None:
        await producer.ask(Make())
        consumer.stop()

    world.client(make_one_and_stop)
    await world.settled()
    assert not world.dead(), "the last item was lost"


# --- A watch whose message comes too early ------------------------------------


@attrs.frozen
class Hire:
    who: ActorRef[Hello]


@attrs.frozen
class Gone:
    who: ActorRef[Hello]


class Office(Actor[Hire | Gone | Get]):
    """Knows who works here. Each is asked first, in a task of its own."""

    def __init__(self) -> None:
        self.staff: list[ActorRef[Hello]] = []

    @handler
    def hire(self, message: Hire) -> None:
        self.context.start_soon(self.welcome, message.who)

    async def welcome(self, who: ActorRef[Hello]) -> None:
        with suppress(ActorStopped):
            await who.ask(Hello())
            self.staff.append(who)
            self.context.watch(who, Gone(who))

    @handler
    def gone(self, message: Gone) -> None:
        if message.who in self.staff:
            self.staff.remove(message.who)

    @handler
    def get(self, message: Get) -> int:
        return len(self.staff)


class HastyOffice(Office):
    async def welcome(self, who: ActorRef[Hello]) -> None:
        self.context.watch(who, Gone(who))
        with suppress(ActorStopped):
            await who.ask(Hello())
            self.staff.append(who)


async def missed_watch(world: World, part: type[Office]) -> None:
    clerk, who = await world.spawn(Clerk), await world.spawn(Clerk)
    office = await world.spawn(part)

    async def leave() -> None:
        who.stop()

    world.client(office.tell, Hire(who))
    world.client(after, clerk, 1, leave)
    await world.settled()
    world.dead(Hello)
    assert await office.ask(Get()) == 0


ANIMALS = [
    Animal(
        scene=start_up_race,
        right=Shop,
        wrong=EarlyShop,
        bug="The first question comes before the configuration.",
        needs=1,
    ),
    Animal(
        scene=out_of_order,
        right=View,
        wrong=CredulousView,
        bug="The older of two changes comes last, and stays.",
        needs=3,
    ),
    Animal(
        scene=late_become,
        right=Guest,
        wrong=StubbornGuest,
        bug="The permission comes after the logout: a member that has left.",
        needs=1,
    ),
    Animal(
        scene=figure_five,
        right=Resource,
        wrong=ReadyResource,
        bug="It is closed after a long way, and yet before it is used.",
        needs=3,
    ),
    Animal(
        scene=overtaking_stop,
        right=Producer,
        wrong=HastyProducer,
        bug="The consumer is stopped before the last item is there.",
        needs=2,
    ),
    Animal(
        scene=missed_watch,
        right=Office,
        wrong=HastyOffice,
        bug="The news of an end comes before what it is about is noted.",
        needs=2,
    ),
]
