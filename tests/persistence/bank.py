"""A bank account, as the tests of durable actors use it."""

import attrs

from trio_actors import ActorRef, Request, handler, tagged
from trio_actors.persistence import EventSourced, Reminder, applies


class Overdrawn(Exception):
    """There is not enough money."""


@attrs.frozen
class Deposit(Request[int]):
    amount: int
    command_id: str = ""


@attrs.frozen
class Withdraw(Request[int]):
    amount: int
    command_id: str = ""


@attrs.frozen
class Balance(Request[int]): ...


@attrs.frozen
class Crash: ...


@tagged("bank-deposited@1")
@attrs.frozen
class Deposited:
    amount: int


@tagged("bank-withdrawn@1")
@attrs.frozen
class Withdrawn:
    amount: int


@tagged("bank-account@1")
@attrs.frozen
class State:
    balance: int = 0


Command = Deposit | Withdraw | Balance | Crash | Reminder


class Account(EventSourced[Command, Deposited | Withdrawn, State]):
    """An account; it tells its listener the balance, if it has one."""

    initial = State()

    def __init__(self, listener: ActorRef[int] | None = None) -> None:
        self.listener = listener

    @handler
    async def deposit(self, message: Deposit) -> int:
        if self.listener is not None:
            self.listener.tell_soon(self.state.balance + message.amount)
        await self.persist(Deposited(message.amount))
        return self.state.balance

    @handler(raises=(Overdrawn,))
    async def withdraw(self, message: Withdraw) -> int:
        if message.amount > self.state.balance:
            raise Overdrawn(self.key, message.amount)
        await self.persist(Withdrawn(message.amount))
        return self.state.balance

    @handler(reads_only=True)
    def balance(self, message: Balance) -> int:
        return self.state.balance

    @handler
    async def crash(self, message: Crash) -> None:
        await self.persist(Deposited(1_000))
        raise RuntimeError("crashed")

    @handler
    async def reminded(self, message: Reminder) -> None:
        await self.persist(Deposited(message.missed or 1))

    @applies
    def deposited(self, event: Deposited) -> State:
        return attrs.evolve(self.state, balance=self.state.balance + event.amount)

    @applies
    def withdrawn(self, event: Withdrawn) -> State:
        return attrs.evolve(self.state, balance=self.state.balance - event.amount)
