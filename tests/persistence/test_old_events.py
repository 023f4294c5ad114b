"""Journals that earlier versions of the bank have written still recover.

Of each there is a database and a dump, in ``data/``; ``old_bank.py`` wrote them. Here
the bank is what it is today: a withdrawal has another field, and a fee.
"""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.persistence.old_bank import DATA, Deposit, Deposited, Withdraw
from trio_actors import (
    ActorError,
    Request,
    StartFailed,
    handler,
    open_actor_system,
    tagged,
)
from trio_actors.persistence import (
    EventSourced,
    Journal,
    MemoryJournal,
    Note,
    Reminder,
    SQLiteJournal,
    applies,
)

FILES = sorted(DATA.glob("*.sqlite"))


@attrs.frozen
class Look(Request[tuple[int, int]]): ...


@tagged("old-withdrawn@2", upcast=lambda old: {"amount": old["sum"], "fee": 0})
@attrs.frozen
class Withdrawn:
    amount: int
    fee: int


@tagged("old-account@2", upcast=lambda old: {**old, "fees": 0})
@attrs.frozen
class State:
    balance: int = 0
    fees: int = 0


class Account(
    EventSourced[Deposit | Withdraw | Look | Reminder, Deposited | Withdrawn, State]
):
    initial = State()

    @handler
    async def deposit(self, message: Deposit) -> int:
        await self.persist(Deposited(message.amount))
        return self.state.balance

    @handler
    async def withdraw(self, message: Withdraw) -> int:
        await self.persist(Withdrawn(message.amount, fee=1))
        return self.state.balance

    @handler(reads_only=True)
    def look(self, message: Look) -> tuple[int, int]:
        return self.state.balance, self.state.fees

    @handler
    def statement(self, message: Reminder) -> None: ...

    @applies
    def deposited(self, event: Deposited) -> State:
        return attrs.evolve(self.state, balance=self.state.balance + event.amount)

    @applies
    def withdrawn(self, event: Withdrawn) -> State:
        balance = self.state.balance - event.amount - event.fee
        return State(balance, self.state.fees + event.fee)


async def from_database(file: Path, folder: Path) -> Journal:
    """Open a copy of a database, with what lies beside it."""
    for part in DATA.glob(f"{file.name}*"):
        shutil.copy(part, folder)
    return SQLiteJournal(folder / file.name)


async def from_dump(file: Path, folder: Path) -> Journal:
    """Make a journal in memory of a dump."""
    journal = MemoryJournal()
    dump: dict[str, Any] = json.loads(file.with_suffix(".json").read_text())
    async with journal.__open_journal__():
        for name, kept in dump.items():
            epoch = await journal.claim(f"/{name}")
            events = [base64.b64decode(one) for one in kept["events"]]
            notes = [
                Note(kind, key, at, base64.b64decode(body))
                for kind, key, at, body in kept["notes"]
            ]
            await journal.append(f"/{name}", epoch, 0, events, notes)
    return journal


@pytest.mark.parametrize("make", [from_database, from_dump])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
async def test_an_old_journal_recovers(file: Path, make: Any, tmp_path: Path) -> None:
    """Its events, its snapshots, its answers, its reminders; and it goes on."""
    journal = await make(file, tmp_path)
    async with open_actor_system("today", journal=journal) as system:
        ada = await system.spawn(Account, name="ada")
        bob = await system.spawn(Account, name="bob")
        assert await ada.ask(Look()) == (570, 0)
        assert await bob.ask(Look()) == (70, 0)
        assert await bob.ask(Deposit(100, "d0")) == 100
        assert await ada.ask(Withdraw(30, "w")) == 570
        assert await ada.ask(Withdraw(30, "w2")) == 539
        assert ada._cell.due > 3_000_000_000
    async with open_actor_system("again", journal=journal) as system:
        ada = await system.spawn(Account, name="ada")
        assert await ada.ask(Look()) == (539, 1)


async def test_without_an_upcast_an_old_event_is_an_error(tmp_path: Path) -> None:
    """Never a wrong value: the text says which tag, and what to write."""

    @tagged("old-withdrawn@3")
    @attrs.frozen
    class Later:
        other: int

    class Forgetful(EventSourced[Look, Deposited | Later, State]):
        initial = State()

        @handler
        def look(self, message: Look) -> tuple[int, int]:
            return 0, 0

        @applies
        def any(self, event: Deposited | Later) -> State:
            return self.state

    journal = await from_database(FILES[0], tmp_path)
    async with open_actor_system("today", journal=journal) as system:
        with pytest.raises(StartFailed) as caught:
            await system.spawn(Forgetful, name="bob")
    cause = caught.value.__cause__
    assert isinstance(cause, ActorError)
    assert "old-withdrawn" in str(cause)


def test_there_are_old_journals() -> None:
    assert [file.name for file in FILES] == ["bank-1.sqlite"]
