"""A crash before, during and after every single write, and at every handler.

S3, defect (l): what was acknowledged is there after any crash, what was not may be.
The history of the clients, with the requests whose end is not known, stays
linearizable in each order of messages that is tried; what is in memory is what the
journal gives; each journal call and each handler is among the points.
"""

import ast
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from unittest.mock import ANY

import attrs
import pytest
import trio

import trio_actors.persistence
from examples import kvstore
from examples.kvstore import messages as kv
from examples.kvstore.journal import JournalStore
from trio_actors import ActorError, ActorRef, Request, handler, tagged
from trio_actors.persistence import (
    Entities,
    EventSourced,
    MemoryJournal,
    Note,
    Reminder,
    applies,
)
from trio_actors.persistence._plan import plan_of
from trio_actors.testing import Faults, World, check, linearizable

FOLDER = Path(trio_actors.persistence.__file__).parent
MODULES = ["_store", "_durable", "_sourced"]
HANDLERS: set[str] = set()
"""Which handlers have run, over all runs."""

# --- A key-value store ------------------------------------------------------


@attrs.frozen
class Put(Request[None]):
    key: str
    value: str
    command_id: str = ""


@attrs.frozen
class Get(Request[str | None]):
    key: str


@attrs.frozen
class Swap(Request[str | None]):
    """Put a value, look around, put it again; answer what was there before."""

    key: str
    value: str


@tagged("crash-put@1")
@attrs.frozen
class WasPut:
    key: str
    value: str


class KeyValue(EventSourced[Put | Get | Swap, WasPut, dict[str, str]]):
    initial: dict[str, str] = {}  # noqa: RUF012  # a new one is made for each event
    snapshot_every = 2

    @handler
    async def put(self, message: Put) -> None:
        HANDLERS.add("KeyValue.put")
        await self.persist(WasPut(message.key, message.value))

    @handler(reads_only=True)
    def get(self, message: Get) -> str | None:
        HANDLERS.add("KeyValue.get")
        return self.state.get(message.key)

    @handler
    async def swap(self, message: Swap) -> str | None:
        HANDLERS.add("KeyValue.swap")
        before = self.state.get(message.key)
        await self.persist(WasPut(message.key, message.value))
        await trio.lowlevel.checkpoint()  # the first of two appends is made here
        await self.persist(WasPut(message.key, message.value))
        return before

    @applies
    def was_put(self, event: WasPut) -> dict[str, str]:
        return {**self.state, event.key: event.value}


class KeyValueModel:
    def __init__(self) -> None:
        self.data: dict[str, str] = {}

    def apply(self, request: Put | Get | Swap) -> object:
        match request:
            case Put(key, value):
                self.data = {**self.data, key: value}
                return None
            case Swap(key, value):
                before = self.data.get(key)
                self.data = {**self.data, key: value}
                return before
            case Get(key):
                return self.data.get(key)


# --- The key-value store of the examples ------------------------------------


class Example(JournalStore):
    """It as it is; notes which handlers have run."""

    snapshot_every = 2

    @handler(reads_only=True)
    def get(self, message: kv.Get) -> str | None:
        HANDLERS.add("Example.get")
        return super().get(message)

    @handler(raises=(kvstore.NotStored,))
    async def set(self, message: kv.Set) -> None:
        HANDLERS.add("Example.set")
        await super().set(message)

    @handler
    async def delete(self, message: kv.Delete) -> None:
        HANDLERS.add("Example.delete")
        await super().delete(message)

    @handler(reads_only=True)
    def since(self, message: kv.Since) -> float:
        HANDLERS.add("Example.since")
        return super().since(message)


class ExampleModel:
    def __init__(self) -> None:
        self.data: Mapping[str, str] = {}

    def apply(self, request: kv.Command) -> object:
        match request:
            case kv.Get(key):
                return self.data.get(key)
            case kv.Since():
                return ANY  # when its store has started is nobody's promise
            case _:
                self.data = kv.changed(self.data, request)
                return None


# --- A bank account ---------------------------------------------------------


class Overdrawn(Exception):
    """There is not enough money."""


@attrs.frozen
class Deposit(Request[int]):
    amount: int
    command_id: str = ""


@attrs.frozen
class Withdraw(Request[int]):
    amount: int


@attrs.frozen
class Balance(Request[int]): ...


@tagged("crash-moved@1")
@attrs.frozen
class Moved:
    amount: int


@tagged("crash-receipt@1")
@attrs.frozen
class Receipt:
    amount: int


class Account(EventSourced[Deposit | Withdraw | Balance | Reminder, Moved, int]):
    initial = 0

    @handler
    async def deposit(self, message: Deposit) -> int:
        HANDLERS.add("Account.deposit")
        await self.persist(Moved(message.amount))
        await self.post(Receipt(message.amount))
        return self.state

    @handler(raises=(Overdrawn,))
    async def withdraw(self, message: Withdraw) -> int:
        HANDLERS.add("Account.withdraw")
        if message.amount > self.state:
            raise Overdrawn
        await self.persist(Moved(-message.amount))
        await self.remind("statement", 1)
        return self.state

    @handler(reads_only=True)
    def balance(self, message: Balance) -> int:
        HANDLERS.add("Account.balance")
        return self.state

    @handler
    async def statement(self, message: Reminder) -> None:
        HANDLERS.add("Account.statement")

    async def deliver(self, effect: Receipt, key: str, /) -> None:
        await trio.lowlevel.checkpoint()

    @applies
    def moved(self, event: Moved) -> int:
        return self.state + event.amount


class AccountModel:
    """Deposits with an id are counted once."""

    def __init__(self) -> None:
        self.balance = 0
        self.done: dict[str, int] = {}

    def apply(self, request: Deposit | Withdraw | Balance) -> object:
        match request:
            case Deposit(_, command_id) if command_id in self.done:
                return self.done[command_id]
            case Deposit(amount, command_id):
                self.balance += amount
                if command_id:
                    self.done = {**self.done, command_id: self.balance}
            case Withdraw(amount):
                if amount > self.balance:
                    raise Overdrawn
                self.balance -= amount
            case Balance():
                pass
        return self.balance


# --- A journal that crashes -------------------------------------------------

Mode = Literal["fails before", "fails after", "killed before", "killed after", "killed"]
MODES: tuple[Mode, ...] = (
    "fails before",
    "fails after",
    "killed before",
    "killed after",
    "killed",
)


class Crashing(MemoryJournal):
    """Lets one of its writes fail, or its actor be killed while it is under way."""

    sites: set[tuple[str, int]] = set()  # noqa: RUF012  # of all runs

    def __init__(self, at: int | None, mode: Mode) -> None:
        super().__init__()
        self.at = at
        self.mode = mode
        self.kill: Callable[[], object] = int

    def note_site(self) -> None:
        """Note from where in the library this is called."""
        frame = sys._getframe(2)
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.parent == FOLDER and path.stem in MODULES:
                self.sites.add((path.stem, frame.f_lineno))
            frame = frame.f_back  # type: ignore[assignment]

    async def claim(self, stream: str) -> int:
        self.note_site()
        return await super().claim(stream)

    async def notes(self, stream: str) -> Sequence[Note]:
        self.note_site()
        return await super().notes(stream)

    def read(self, stream: str, after: int) -> Any:
        self.note_site()
        return super().read(stream, after)

    async def append(self, *args: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.note_site()
        if self.statistics()["writes"] == self.at:
            if self.mode != "killed":
                self.fail_next(after_commit=self.mode.endswith("after"))
            if self.mode.startswith("killed"):
                self.kill()
        await super().append(*args)


def call_sites() -> set[tuple[str, int]]:
    """Return where in the library the journal is called."""
    verbs = {"claim", "notes", "read", "append", "commit"}
    return {
        (stem, node.lineno)
        for stem in MODULES
        for node in ast.walk(ast.parse((FOLDER / f"{stem}.py").read_text()))
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr in verbs
        if ast.unparse(node.func.value).split(".")[-1]
        in {"journal", "store", "_writer"}
    }


# --- The programs -----------------------------------------------------------

Program = Callable[[World], Awaitable[None]]
Programs = Callable[[Crashing], Program]


async def insist(ref: ActorRef[Any], request: Any) -> None:
    """Ask again what has an id, until there is an answer."""
    for _ in range(3):
        with suppress(ActorError):
            await ref.ask(request)
            return


async def attempt(ref: ActorRef[Any], request: Any) -> None:
    with suppress(ActorError, Overdrawn):
        await ref.ask(request)


async def in_step(ref: ActorRef[Any], journal: Crashing) -> None:
    """Check that what is in memory is what a replay gives."""
    routed: Any = ref
    (live,) = [one._cell.instance for one in routed._actors()] or [None]
    if live is None or live._store is None:
        return  # time has passed, and it is passive
    cls: Any = live.__class__
    plan: Any = plan_of(cls, EventSourced)
    reader, state = cls(), cls.initial
    async for _, body in journal.read(live._store.stream, 0):
        object.__setattr__(reader, "_live", state)
        event: Any = plan.codec.decode(body)
        state = plan.folds[type(event)](reader, event)
    assert live.state == state


def key_value(journal: Crashing) -> Program:
    @linearizable(KeyValueModel)
    async def program(world: World) -> None:
        world.use(journal)
        store = Entities(world, KeyValue).get("one")
        journal.kill = store.kill
        world.client(attempt, store, Put("k", "a"))
        world.client(attempt, store, Swap("k", "b"))
        await world.settled()
        await attempt(store, Get("k"))
        await attempt(store, Put("k", "c"))
        await attempt(store, Get("k"))
        await in_step(store, journal)

    return program


def example(journal: Crashing) -> Program:
    @linearizable(ExampleModel)
    async def program(world: World) -> None:
        world.use(journal)
        store = Entities(world, Example).get("one")
        journal.kill = store.kill
        world.client(attempt, store, kv.Set("k", "a"))
        world.client(attempt, store, kv.Delete("k"))
        await world.settled()
        await attempt(store, kv.Get("k"))
        await attempt(store, kv.Set("k", "b"))
        await attempt(store, kv.Delete("k"))
        await attempt(store, kv.Get("k"))
        await attempt(store, kv.Since())
        await in_step(store, journal)

    return program


def account(journal: Crashing) -> Program:
    @linearizable(AccountModel)
    async def program(world: World) -> None:
        world.use(journal)
        one = Entities(world, Account).get("one")
        journal.kill = one.kill
        world.client(insist, one, Deposit(5, "first"))
        world.client(attempt, one, Withdraw(2))
        await world.settled()
        await attempt(one, Deposit(5, "first"))
        await attempt(one, Withdraw(3))
        await trio.sleep(5)
        await attempt(one, Balance())
        await in_step(one, journal)

    return program


PROGRAMS = [key_value, example, account]


def writes_of(make: Programs) -> int:
    """Return how many writes a run has in which nothing fails, at most."""
    most = 0

    async def program(world: World) -> None:
        nonlocal most
        journal = Crashing(None, "killed")
        await make(journal)(world)
        most = max(most, journal.statistics()["writes"])

    assert check(program, exhaustive=True, timers="idle").verified
    return most


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)
def test_a_crash_at_every_write(make: Programs) -> None:
    """Before it, after it, and with its actor killed while it is under way.

    In every order of the messages.
    """
    points = runs = 0
    for at in range(writes_of(make) + 1):
        for mode in MODES:

            async def program(world: World, at: int = at, mode: Mode = mode) -> None:
                await make(Crashing(at, mode))(world)

            found = check(program, exhaustive=True, timers="idle")
            assert found.verified, (at, mode, found)
            points += 1
            runs += found.schedules
    print(f"{make.__name__}: {points} crash points, {runs} runs")
    assert points >= 5 * 5


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)
def test_a_crash_at_every_handler(make: Programs) -> None:
    """Each message in turn is the last of an incarnation, in every order of them.

    Then some of the orders in which time passes meanwhile: reminders that are late,
    entities that become passive at any moment.
    """

    async def program(world: World) -> None:
        await make(Crashing(None, "killed"))(world)

    found = check(program, exhaustive=True, faults=Faults(crash=1), timers="idle")
    print(f"{make.__name__}: {found}")
    assert found.verified
    found = check(program, faults=Faults(crash=1), schedules=100)
    print(f"{make.__name__}: {found}")
    assert found.failure is None


def test_every_journal_call_and_every_handler_was_among_the_points() -> None:
    """Run after the others, it says that they have left nothing out."""
    if not Crashing.sites:
        for make in PROGRAMS:
            test_a_crash_at_every_write(make)
    assert call_sites() <= Crashing.sites
    assert len(call_sites()) == 6
    names = {
        f"{cls.__name__}.{info.name}"
        for cls in (KeyValue, Example, Account)
        for info in cls.__handlers__.values()
    }
    assert names == HANDLERS
    assert len(names) == 11
