"""What the tests of the store share: a disk in memory, and a store in a world."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import trio

from examples.kvstore.files import NotStored, Uncertain, Unusable
from examples.kvstore.messages import Command, Reset
from examples.kvstore.store import Router, Store
from examples.kvstore.writer import Disk
from trio_actors import ActorRef
from trio_actors.testing import World


class MemoryDisk:
    """A disk whose times and faults a test decides.

    A write that has begun is not abandoned, as a thread is not; one that hangs is.
    """

    def __init__(self, stored: Mapping[str, str] | None = None) -> None:
        self.stored: Mapping[str, str] = stored or {}
        self.is_open = False
        self.opened_at: list[float] = []
        self.closed_at: list[float] = []
        self.written: list[Mapping[str, str]] = []
        self.seconds = 0.0  # that a write takes
        self.hangs_at_open = 0  # how many times
        self.hangs_at_write = 0
        self.faults: list[Exception] = []  # of the next writes

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Mapping[str, str], None]:
        await trio.lowlevel.checkpoint()
        if self.hangs_at_open:
            self.hangs_at_open -= 1
            await trio.sleep_forever()
        if self.is_open:
            raise Unusable("two writers at once")
        self.is_open = True
        self.opened_at.append(trio.current_time())
        try:
            yield self.stored
        finally:
            self.is_open = False
            self.closed_at.append(trio.current_time())

    async def write(self, data: Mapping[str, str]) -> None:
        assert self.is_open
        if self.hangs_at_write:
            self.hangs_at_write -= 1
            await trio.sleep_forever()
        with trio.CancelScope(shield=True):
            await trio.sleep(self.seconds)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, NotStored):
            raise fault
        self.stored = data
        self.written.append(data)
        if fault is not None:
            assert isinstance(fault, Uncertain)
            raise fault


async def start(world: World, disk: Disk) -> ActorRef[Command | Reset]:
    """Start a store on that disk; the functions of the api reach it."""
    return await world.spawn(Router, lambda: Store(disk), name="router")


def restarts(world: World) -> dict[str, int]:
    """Return how often each actor was restarted, by its path."""
    found: dict[str, int] = {}
    waiting = list(world.snapshot().children)
    while waiting:
        one = waiting.pop()
        found[one.path] = one.restarts
        waiting += one.children
    return found
