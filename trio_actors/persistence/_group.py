"""Group commit: what many write at once is one transaction of the store.

Rules of this file:

* One task feeds one worker thread. What is queued while the store is busy is its next
  batch: a commit costs the same for one append as for two thousand.
* When the store fails, every write of the batch fails, each with an exception of its
  own; an append that is refused costs the others nothing.
* The task that feeds the store outlives everything but the block: leaving that lets it
  write what is queued, and close the store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from .._park import Lot
from ._errors import Damaged, WriteFailed
from ._jobs import Append, Claim, Job, Queue, Read, wake
from ._journal import Journal, Note, check_name, checked, not_open

T = TypeVar("T")
P = TypeVar("P")

WRITES = 2000
"""How many writes are in a batch at most: beyond, a commit is a small part of it."""
READS = 10
"""How many reads are between two batches at most, so that writes do not wait long."""


class Store(Protocol[P]):
    """What is done in the worker thread; no two calls at once, in whichever thread."""

    def open(self) -> None:
        """Open it; what this raises, the block raises."""
        ...

    def close(self) -> None:
        """Close it; what this raises, the block raises when it is left."""
        ...

    def commit(self, batch: Sequence[Claim | Append]) -> None:
        """Do all that is right, in order, in one transaction.

        Each job gets a ``result``, or an ``error`` when it is refused. A stream may
        be in the batch several times. An exception means that none of it is known
        to be stored.
        """
        ...

    def page(
        self, stream: str, after: int, place: P | None
    ) -> tuple[Iterable[tuple[int, bytes]], P | None]:
        """Return the next events after a sequence number, and where the rest begins.

        Args:
            place: Where the last page ended, or None for the first one.
        """
        ...

    def notes(self, stream: str) -> Sequence[Note]:
        """Return the notes of a stream. As in `Journal`."""
        ...

    def pending(self, prefix: str) -> Sequence[tuple[str, Note]]:
        """Return what is to be delivered, and what is due. As in `Journal`."""
        ...


class Group(AbstractAsyncContextManager[None, None]):
    """The queue before a store, while that is open.

    A class, so that Ctrl-C cannot tear its ends apart.
    """

    def __init__(self, store: Store[Any]) -> None:
        self._store = store
        self._lot = Lot()
        self._writes: Queue[Claim | Append] = Queue(self._lot)
        self._reads: Queue[Read] = Queue(self._lot)
        self._limiter = trio.CapacityLimiter(1)
        self._manager = trio.open_nursery()
        self.is_open = False
        self._failure: Exception | None = None

    @enable_ki_protection
    async def __aenter__(self) -> None:
        await trio.to_thread.run_sync(self._store.open, limiter=self._limiter)
        self.is_open = True
        nursery = await self._manager.__aenter__()
        nursery.start_soon(self._run, name=f"trio_actors {type(self._store).__name__}")

    @enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_open = False
        self._lot.unpark_all()
        # Without what left the block: that is nothing of this nursery's, and so it is
        # not wrapped. The wait cannot be cancelled, for the task is shielded.
        await self._manager.__aexit__(None, None, None)
        if self._failure is not None:
            raise self._failure

    def write(self, job: Claim | Append) -> Awaitable[Any]:
        """Queue a write when it is awaited, and wait for its end. A checkpoint."""
        return self._writes.wait(job)

    async def read(self, function: Callable[[], T]) -> T:
        """Call a function in the worker thread, between two batches. A checkpoint."""
        result: T = await self._reads.wait(Read(function))
        return result

    async def _run(self) -> None:
        """Feed the store until the block is left."""
        with trio.CancelScope(shield=True):
            while True:
                while self._writes or self._reads:
                    await self._next_batch()
                if not self.is_open:
                    break
                await self._lot.park()
            try:
                await trio.to_thread.run_sync(self._store.close, limiter=self._limiter)
            except Exception as error:
                self._failure = error

    async def _next_batch(self) -> None:
        writes, reads = self._writes.take(WRITES), self._reads.take(READS)
        try:
            await trio.to_thread.run_sync(
                self._work, writes, reads, limiter=self._limiter
            )
        except Exception as error:  # there is no thread to be had
            _fail([*writes, *reads], error)
        wake((*writes, *reads))

    def _work(self, writes: Sequence[Claim | Append], reads: Sequence[Read]) -> None:
        """Write, then read; in the worker thread."""
        if writes:
            try:
                self._store.commit(writes)
            except Exception as error:
                _fail(writes, error)
        for job in reads:
            job.run()


def _fail(jobs: Iterable[Job], cause: Exception) -> None:
    """Let all of a batch fail."""
    text = str(cause).removesuffix(".")
    for job in jobs:
        if isinstance(cause, Damaged):
            job.error = Damaged(*cause.args)
        elif isinstance(job, Claim | Append):
            job.error = WriteFailed(
                f"{job.unknown()}, because the journal failed: {text}. Read what"
                " there is before anything else is written."
            )
        else:
            job.error = RuntimeError(f"the journal could not be read: {text}.")
        job.error.__cause__ = cause


class GroupJournal(Journal, Generic[P]):
    """A journal with a store behind a group commit."""

    def __init__(self, store: Store[P]) -> None:
        self._store = store
        self._group: Group | None = None

    def __open_journal__(self) -> AbstractAsyncContextManager[object]:
        """Open the store. As in `Journal`."""
        return _Opened(self)

    def _opened(self) -> Group:
        if self._group is None or not self._group.is_open:
            raise not_open(self)
        return self._group

    async def claim(self, stream: str) -> int:
        """Become the writer of a stream. As in `Journal`."""
        check_name(stream)
        epoch: int = await self._opened().write(Claim(stream))
        return epoch

    async def append(
        self,
        stream: str,
        epoch: int,
        after: int,
        events: Sequence[bytes],
        notes: Sequence[Note] = (),
    ) -> None:
        """Append events and notes. As in `Journal`."""
        check_name(stream)
        kept = tuple(map(checked, notes)) if notes else ()
        job = Append(stream, epoch, after, tuple(events), kept)
        await self._opened().write(job)

    async def read(self, stream: str, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """Iterate over the events after a sequence number. As in `Journal`."""
        check_name(stream)
        place: P | None = None
        while True:
            function = partial(self._store.page, stream, after, place)
            events, place = await self._opened().read(function)
            for event in events:
                yield event
            if place is None:
                return

    async def notes(self, stream: str) -> Sequence[Note]:
        """Return the notes of a stream. As in `Journal`."""
        check_name(stream)
        return await self._opened().read(partial(self._store.notes, stream))

    async def pending(self, prefix: str) -> Sequence[tuple[str, Note]]:
        """Return what is to be delivered and what is due. As in `Journal`."""
        check_name(prefix)
        return await self._opened().read(partial(self._store.pending, prefix))


class _Opened(AbstractAsyncContextManager[object, None]):
    """The block in which a journal is open."""

    def __init__(self, journal: GroupJournal[Any]) -> None:
        self._journal = journal
        self._group = Group(journal._store)

    @enable_ki_protection
    async def __aenter__(self) -> object:
        if self._journal._group is not None:
            raise RuntimeError(
                f"this {type(self._journal).__name__} is open already: make another"
                " one of the same place, which shares the store with this one."
            )
        self._journal._group = self._group  # nobody else opens it meanwhile
        try:
            await self._group.__aenter__()
        except BaseException:
            self._journal._group = None
            raise
        return self._journal

    @enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, traceback)
        finally:
            self._journal._group = None
