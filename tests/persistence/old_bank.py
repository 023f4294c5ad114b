"""The bank as its first version wrote it, and the journals that it left behind.

``python -m tests.persistence.old_bank`` writes them into ``data/``. It is kept as it
was, so that they can be looked into and made again; run it only to add a file: what is
there was written by an earlier version of the library, and shall stay so.
"""

import base64
import json
from pathlib import Path
from typing import Any

import attrs
import trio

from trio_actors import Request, handler, open_actor_system, tagged
from trio_actors.persistence import EventSourced, Reminder, SQLiteJournal, applies

DATA = Path(__file__).parent / "data"


@attrs.frozen
class Deposit(Request[int]):
    amount: int
    command_id: str = ""


@attrs.frozen
class Withdraw(Request[int]):
    amount: int
    command_id: str = ""


@tagged("old-deposited@1")
@attrs.frozen
class Deposited:
    amount: int


@tagged("old-withdrawn@1")
@attrs.frozen
class Withdrawn:
    sum: int


@tagged("old-account@1")
@attrs.frozen
class State:
    balance: int = 0


class Account(
    EventSourced[Deposit | Withdraw | Reminder, Deposited | Withdrawn, State]
):
    initial = State()
    snapshot_every = 4

    @handler
    async def deposit(self, message: Deposit) -> int:
        await self.persist(Deposited(message.amount))
        return self.state.balance

    @handler
    async def withdraw(self, message: Withdraw) -> int:
        await self.persist(Withdrawn(message.amount))
        await self.remind("statement", 3_153_600_000)  # in a hundred years
        return self.state.balance

    @handler
    def statement(self, message: Reminder) -> None: ...

    @applies
    def deposited(self, event: Deposited) -> State:
        return State(self.state.balance + event.amount)

    @applies
    def withdrawn(self, event: Withdrawn) -> State:
        return State(self.state.balance - event.sum)


async def write(path: Path) -> None:
    """Write a journal in SQLite, and a dump of it beside."""
    journal = SQLiteJournal(path)
    async with open_actor_system("old", journal=journal) as system:
        for name, deposits in (("ada", 6), ("bob", 1)):
            account = await system.spawn(Account, name=name)
            for number in range(deposits):
                await account.ask(Deposit(100, f"d{number}"))
            await account.ask(Withdraw(30, "w"))
    async with journal.__open_journal__():
        dump = {name: await read(journal, f"/{name}") for name in ("ada", "bob")}
    path.with_suffix(".json").write_text(json.dumps(dump, indent=1) + "\n")


async def read(journal: SQLiteJournal, stream: str) -> dict[str, Any]:
    """Return what is in a stream."""

    def text(body: bytes) -> str:
        return base64.b64encode(body).decode()

    return {
        "events": [text(body) async for _, body in journal.read(stream, 0)],
        "notes": [
            [note.kind, note.key, note.at, text(note.body or b"")]
            for note in await journal.notes(stream)
        ],
    }


if __name__ == "__main__":
    trio.run(write, DATA / "bank-1.sqlite")
