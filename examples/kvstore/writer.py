"""The writer: the only one that has the file, for as long as it lives.

Rules of this file:

* A change is answered when it is durable, and not before.
* The file is open as long as the writer lives: the next one opens it when this one has
  closed it, whatever has ended this one.
* No call here blocks the loop.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import trio

from trio_actors import Inbox

from .files import NotStored, Unusable, lock, read, write
from .messages import Delete, Load, Loaded, Set, WriterMessage, changed

LOCK = "store.lock"
"""The file that is locked; its own, for the other one is replaced."""


class Disk(Protocol):
    """Where a writer keeps the map: a file, or something else in a test."""

    def opened(self) -> AbstractAsyncContextManager[Mapping[str, str]]:
        """Open it for one alone; what was there is what one gets.

        Raises:
            Unusable: It cannot be opened, or somebody has it.
        """
        ...

    async def write(self, data: Mapping[str, str]) -> None:
        """Replace all that is there; it is durable at the return.

        Raises:
            NotStored: It could not be written.
            Uncertain: Nobody knows.
        """
        ...


class JsonFile:
    """A JSON file in a directory, and beside it the file that is locked."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "store.json"
        self.lock = directory / LOCK

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Mapping[str, str], None]:
        """Open it for one alone. As in `Disk`."""
        with await trio.to_thread.run_sync(lock, self.lock):
            yield await trio.to_thread.run_sync(read, self.path)

    async def write(self, data: Mapping[str, str]) -> None:
        """Replace all that is there. As in `Disk`."""
        # A thread is not abandoned: who is cancelled here still waits for its end.
        await trio.to_thread.run_sync(write, self.path, data)


async def writer(inbox: Inbox[WriterMessage], disk: Disk) -> None:
    """Write the whole map at each change of it."""
    since = trio.current_time()
    try:
        async with disk.opened() as stored:
            await write_changes(inbox, disk, Loaded(stored, since))
    except Unusable as error:
        # The store asks for the map: it learns why there is none.
        async for message in inbox:
            inbox.fail(message, error)


async def write_changes(
    inbox: Inbox[WriterMessage], disk: Disk, loaded: Loaded
) -> None:
    """Answer until the end, while the file is open."""
    async for message in inbox:
        match message:
            case Load():
                inbox.reply(message, loaded)
            case Set() | Delete():
                data = changed(loaded.data, message)
                try:
                    if data != loaded.data:
                        await disk.write(data)
                except NotStored as error:
                    inbox.fail(message, error)
                else:
                    loaded = Loaded(data, loaded.since)
                    inbox.reply(message, None)
