"""What a program calls: from anywhere below ``open_kvstore()``, without any ref."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import trio

from trio_actors import ActorStopped, ActorSystem, current_system, open_actor_system

from .files import lock
from .messages import ROUTER, Delete, Get, Reset, Set, Since
from .store import GIVE_UP, Router, Store
from .writer import LOCK, JsonFile

Kind: TypeAlias = Literal["json", "sqlite"]
"""How the store is kept: one JSON file, or a journal of what has changed."""


@asynccontextmanager
async def open_kvstore(
    directory: Path, kind: Kind = "json"
) -> AsyncGenerator[ActorSystem, None]:
    """Open a system with a store in it; at the end of the block it is closed.

    Args:
        directory: Where it is kept; made if it is not there. Each kind has a file of
            its own in there.
        kind: How it is kept.

    Raises:
        Unusable: It cannot be opened, or somebody else has it. In a group, where it is
            the store that finds out.
        ImportError: What a journal needs is not installed.
        Damaged: The journal is none; it was set aside.
        OSError: The journal cannot be opened.
    """
    if kind == "json":
        file = JsonFile(directory)
        async with open_actor_system("kvstore", supervision=GIVE_UP) as system:
            await system.spawn(Router, lambda: Store(file), name="router")
            await until_open()
            yield system
        return
    # Only who wants a journal needs what it is made of.
    from trio_actors.persistence import SQLiteJournal  # noqa: PLC0415

    from .journal import JournalStore  # noqa: PLC0415

    journal = SQLiteJournal(directory / "store.db")
    with await trio.to_thread.run_sync(lock, directory / LOCK):
        async with open_actor_system(
            "kvstore", supervision=GIVE_UP, journal=journal
        ) as system:
            await system.spawn(Router, JournalStore, name="router")
            await until_open()
            yield system


async def until_open() -> None:
    """Wait until the store answers."""
    try:
        await writer_since()
    except ActorStopped:
        # It will not. The router is being told, and ends the system, and so this wait,
        # with the reason.
        await trio.sleep_forever()


async def set(key: str, value: str) -> None:
    """Store a value; when this returns, it is durable.

    Raises:
        NotStored: It is not: what was there before is there still.
        ActorFailed: Meanwhile there was a reset, and it may be stored or not.
    """
    await current_system().service(ROUTER).ask(Set(key, value))


async def get(key: str) -> str | None:
    """Return the value of a key, None if there is none."""
    return await current_system().service(ROUTER).ask(Get(key))


async def delete(key: str) -> None:
    """Delete a key, if it is there; raises as ``set()`` does."""
    await current_system().service(ROUTER).ask(Delete(key))


async def reset() -> None:
    """Let the store start over with a new writer; it does so on its own if it hangs."""
    await current_system().service(ROUTER).tell(Reset())


async def writer_since() -> float:
    """Return when the writer was started, on Trio's clock."""
    return await current_system().service(ROUTER).ask(Since())
