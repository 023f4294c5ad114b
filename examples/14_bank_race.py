"""A race between a transfer and an audit: found, shown, mended, verified."""

import attrs

from trio_actors import Actor, ActorRef, Request, handler
from trio_actors.testing import World, check


@attrs.frozen
class Balance(Request[int]): ...


@attrs.frozen
class Add(Request[int]):
    amount: int


class Account(Actor[Balance | Add]):
    def __init__(self, money: int) -> None:
        self.money = money

    @handler(reads_only=True)
    def balance(self, message: Balance) -> int:
        return self.money

    @handler
    def add(self, message: Add) -> int:
        self.money += message.amount
        return self.money


@attrs.frozen
class Transfer(Request[None]):
    amount: int


@attrs.frozen
class Total(Request[int]): ...


class Teller(Actor[Transfer | Total]):
    def __init__(self, *accounts: ActorRef[Balance | Add]) -> None:
        self.giro, self.savings = accounts

    @handler
    async def transfer(self, message: Transfer) -> None:
        await self.giro.ask(Add(-message.amount))
        await self.savings.ask(Add(message.amount))

    @handler
    async def total(self, message: Total) -> int:
        return await self.giro.ask(Balance()) + await self.savings.ask(Balance())


async def impatient(world: World) -> None:
    """The audit asks the accounts: it may look in the middle of a transfer."""
    giro = await world.spawn(Account, 100, name="giro")
    savings = await world.spawn(Account, 0, name="savings")
    teller = await world.spawn(Teller, giro, savings, name="teller")

    async def audit() -> None:
        total = await giro.ask(Balance()) + await savings.ask(Balance())
        assert total == 100, f"the audit has found {total}"

    world.client(teller.ask, Transfer(10))
    world.client(audit)
    await world.settled()


async def patient(world: World) -> None:
    """The audit asks the teller, who handles one message at a time, to its end."""
    giro = await world.spawn(Account, 100, name="giro")
    savings = await world.spawn(Account, 0, name="savings")
    teller = await world.spawn(Teller, giro, savings, name="teller")

    async def audit() -> None:
        assert await teller.ask(Total()) == 100

    world.client(teller.ask, Transfer(10))
    world.client(audit)
    await world.settled()


def main() -> None:
    found = check(impatient)
    assert found.failure is not None
    print(found.failure)
    print(check(impatient, replay=found.failure.token))
    print(check(patient, exhaustive=True))


if __name__ == "__main__":
    main()
