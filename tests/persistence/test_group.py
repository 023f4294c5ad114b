"""Group commit: what many write at once is one transaction of the store.

The store here keeps its events in a list, and waits in the worker thread until a test
lets it go on: so what is queued meanwhile is known.
"""

import signal
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest
import trio
from trio.lowlevel import enable_ki_protection
from trio.testing import wait_all_tasks_blocked

from trio_actors import open_actor_system
from trio_actors.persistence import Damaged, Fenced, Note, WriteFailed
from trio_actors.persistence._group import (
    READS,
    WRITES,
    GroupJournal,
)
from trio_actors.persistence._jobs import Append, Claim
from trio_actors.persistence._journal import checked


class Lists:
    """A store in lists, with a gate before each commit."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.calls: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[Exception | None] = []
        self.opening: Exception | None = None
        self.closing: Exception | None = None
        self.threads: set[str] = set()

    def open(self) -> None:
        self.calls.append("open")
        if self.opening is not None:
            raise self.opening

    def close(self) -> None:
        self.calls.append("close")
        if self.closing is not None:
            raise self.closing

    def commit(self, batch: Sequence[Claim | Append]) -> None:
        self.gate.wait()
        self.calls.append("commit")
        self.threads.add(threading.current_thread().name)
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        for job in batch:
            if isinstance(job, Claim):
                job.result = len(self.batches) + 1
            elif job.epoch < 1:
                job.error = Fenced(f"{job.stream}: refused")
        self.batches.append(
            [
                event
                for job in batch
                if isinstance(job, Append) and job.error is None
                for event in job.events
            ]
        )

    def page(
        self, stream: str, after: int, place: int | None
    ) -> tuple[list[tuple[int, bytes]], int | None]:
        self.calls.append("page")
        begin = place or 0
        events = list(enumerate([e for batch in self.batches for e in batch], 1))
        return events[begin : begin + 2], begin + 2 if begin + 2 < len(events) else None

    def notes(self, stream: str) -> Sequence[Note]:
        self.gate.wait()
        self.calls.append("notes")
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        return [Note("state", stream)]

    def pending(self, prefix: str) -> Sequence[tuple[str, Note]]:
        return [(prefix, Note("outbox", ""))]


class ListJournal(GroupJournal[int]):
    """A journal on that store."""

    def __init__(self) -> None:
        self.store = Lists()
        super().__init__(self.store)


@asynccontextmanager
async def busy(journal: ListJournal) -> AsyncGenerator[trio.Nursery]:
    """A journal that writes a first batch, until the block is left."""
    gate = journal.store.gate
    async with journal.__open_journal__(), trio.open_nursery() as nursery:
        gate.clear()
        nursery.start_soon(journal.append, "first", 1, 0, [b"first"])
        await wait_all_tasks_blocked()
        try:
            yield nursery
        finally:
            gate.set()


async def test_what_is_queued_meanwhile_is_one_transaction_in_order() -> None:
    journal = ListJournal()
    epochs: list[int] = []

    async def claim() -> None:
        epochs.append(await journal.claim("c"))

    async with busy(journal) as nursery:
        for number in range(5):
            nursery.start_soon(journal.append, "s", 1, 0, [b"%d" % number, b"+"])
            await wait_all_tasks_blocked()
        nursery.start_soon(claim)
        await wait_all_tasks_blocked()
    assert journal.store.batches[0] == [b"first"]
    assert b"".join(journal.store.batches[1]) == b"0+1+2+3+4+"
    assert epochs == [2]
    assert journal.store.calls == ["open", "commit", "commit", "close"]


async def test_a_batch_has_a_limit_and_reads_come_between() -> None:
    """Each way is bounded: neither waits for all of the other."""
    journal = ListJournal()
    async with busy(journal) as nursery:
        for _ in range(WRITES + 1):
            nursery.start_soon(journal.append, "s", 1, 0, [b"."])
        for _ in range(READS + 1):
            nursery.start_soon(journal.notes, "s")
        await wait_all_tasks_blocked()
    assert [len(batch) for batch in journal.store.batches] == [1, WRITES, 1]
    assert journal.store.calls == [
        *("open", "commit", "commit", *["notes"] * READS, "commit", "notes", "close")
    ]


async def test_an_append_cancelled_before_its_batch_is_taken_back() -> None:
    """S3-4: a cancelled append is stored or it is not, and which of them is known."""
    journal = ListJournal()
    async with busy(journal) as nursery:
        for event in (b"taken back", b"kept"):
            scope = trio.CancelScope()

            async def append(scope: trio.CancelScope, event: bytes) -> None:
                with scope:
                    await journal.append("s", 1, 0, [event])

            nursery.start_soon(append, scope, event)
            await wait_all_tasks_blocked()
            if event == b"taken back":
                scope.cancel()
    assert journal.store.batches == [[b"first"], [b"kept"]]


async def test_the_end_of_an_append_that_has_begun_is_waited_for() -> None:
    """From then on it is shielded: it returns, as it is stored."""
    journal = ListJournal()
    ends: list[str] = []
    gate = journal.store.gate

    async def append() -> None:
        with trio.CancelScope() as scopes[0]:
            await journal.append("s", 1, 0, [b"e"])
            ends.append("stored")
            await trio.lowlevel.checkpoint()
            ends.append("never")

    scopes: list[trio.CancelScope] = [trio.CancelScope()]
    async with journal.__open_journal__(), trio.open_nursery() as nursery:
        gate.clear()
        nursery.start_soon(append)
        await wait_all_tasks_blocked()
        scopes[0].cancel()
        await wait_all_tasks_blocked()
        assert ends == []
        gate.set()
    assert ends == ["stored"]
    assert journal.store.batches == [[b"e"]]


async def test_an_append_that_is_cancelled_already_stores_nothing() -> None:
    journal = ListJournal()
    async with journal.__open_journal__():
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.append("s", 1, 0, [b"e"])
        assert scope.cancelled_caught
    assert journal.store.batches == []


async def test_a_read_is_taken_back_as_well() -> None:
    journal = ListJournal()
    async with busy(journal):
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.notes("s")
    assert "notes" not in journal.store.calls


@pytest.mark.parametrize("kind", [OSError, Damaged])
async def test_when_the_store_fails_all_of_the_batch_fail_and_none_after(
    kind: type[Exception],
) -> None:
    """Each has an exception of its own; the writer goes on."""
    journal = ListJournal()
    failure = kind("no luck")
    met: list[Exception] = []

    async def append(stream: str) -> None:
        try:
            await journal.append(stream, 1, 0, [b"e"])
        except (WriteFailed, Damaged) as error:
            met.append(error)

    async def claim() -> None:
        try:
            await journal.claim("c")
        except (WriteFailed, Damaged) as error:
            met.append(error)

    async with busy(journal) as nursery:
        for stream in "ab":
            nursery.start_soon(append, stream)
        nursery.start_soon(claim)
        await wait_all_tasks_blocked()
        journal.store.failures += [None, failure]
    async with journal.__open_journal__():
        await journal.append("later", 1, 0, [b"later"])
    assert len(set(map(id, met))) == len(met)
    assert all(error.__cause__ is failure for error in met)
    assert all("no luck" in str(error) for error in met)
    assert journal.store.batches[-1] == [b"later"]
    expected = Damaged if kind is Damaged else WriteFailed
    assert {type(error) for error in met} == {expected}


async def test_an_append_that_is_refused_costs_the_others_nothing() -> None:
    journal = ListJournal()
    met: list[str] = []

    async def append(stream: str, epoch: int) -> None:
        try:
            await journal.append(stream, epoch, 0, [stream.encode()])
        except Fenced as error:
            met.append(str(error))

    async with busy(journal) as nursery:
        for stream, epoch in (("a", 1), ("b", 0), ("c", 1)):
            nursery.start_soon(append, stream, epoch)
            await wait_all_tasks_blocked()
    assert met == ["b: refused"]
    assert journal.store.batches == [[b"first"], [b"a", b"c"]]


async def test_a_read_that_fails_fails_alone() -> None:
    journal = ListJournal()
    async with journal.__open_journal__():
        journal.store.failures.append(OSError("unreadable"))
        with pytest.raises(OSError, match="unreadable"):
            await journal.notes("s")
        assert await journal.notes("s") == [Note("state", "s")]
        assert await journal.pending("p") == [("p", Note("outbox", ""))]


async def test_a_stream_is_read_page_by_page() -> None:
    journal = ListJournal()
    async with journal.__open_journal__():
        await journal.append("s", 1, 0, [b"a", b"b", b"c", b"d", b"e"])
        events = [event async for event in journal.read("s", 0)]
    assert events == [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d"), (5, b"e")]
    assert journal.store.calls.count("page") == 3


async def test_when_no_thread_can_be_started_the_batch_fails_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = ListJournal()

    async def none(*args: object, **options: object) -> None:
        raise RuntimeError("can't start new thread")

    async with journal.__open_journal__():
        with monkeypatch.context() as patch:
            patch.setattr(trio.to_thread, "run_sync", none)
            with pytest.raises(WriteFailed, match="can't start new thread"):
                await journal.append("s", 1, 0, [b"e"])
            with pytest.raises(RuntimeError, match="could not be read: can't start"):
                await journal.notes("s")
        await journal.append("s", 1, 0, [b"e"])
    assert journal.store.batches == [[b"e"]]


# --- The block ---


async def test_leaving_the_block_writes_what_is_queued_and_closes_the_store() -> None:
    """Also when it is left by a cancellation."""
    journal = ListJournal()
    gate = journal.store.gate
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with journal.__open_journal__():
                gate.clear()
                for event in (b"1", b"2"):
                    nursery.start_soon(journal.append, "s", 1, 0, [event])
                    await wait_all_tasks_blocked()
                scope.cancel()
                gate.set()
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert journal.store.batches == [[b"1"], [b"2"]]
    assert journal.store.calls == ["open", "commit", "commit", "close"]


async def test_what_leaves_the_block_is_not_wrapped() -> None:
    journal = ListJournal()
    with pytest.raises(KeyError, match="mine"):
        async with journal.__open_journal__():
            raise KeyError("mine")
    assert journal.store.calls == ["open", "close"]


async def test_what_opening_and_closing_raise_is_not_wrapped() -> None:
    """And it can be opened again."""
    journal = ListJournal()
    journal.store.opening = OSError("cannot be opened")
    with pytest.raises(OSError, match="cannot be opened"):
        async with journal.__open_journal__():
            raise AssertionError
    journal.store.opening = None
    journal.store.closing = OSError("cannot be closed")
    with pytest.raises(OSError, match="cannot be closed"):
        async with journal.__open_journal__():
            pass
    journal.store.closing = None
    async with AsyncExitStack() as stack:
        assert await stack.enter_async_context(journal.__open_journal__()) is journal


async def test_a_system_opens_and_closes_it() -> None:
    """As `open_actor_system(journal=)` does; its errors are those of the system."""
    journal = ListJournal()
    async with open_actor_system("bank", journal=journal):
        await journal.append("s", 1, 0, [b"e"])
    assert journal.store.calls == ["open", "commit", "close"]
    journal.store.closing = OSError("cannot be closed")
    with pytest.raises(ExceptionGroup) as caught:
        async with open_actor_system("bank", journal=journal):
            pass
    assert [str(error) for error in caught.value.exceptions] == ["cannot be closed"]


async def test_a_journal_that_is_not_open_refuses_everything() -> None:
    """As in `Journal`: RuntimeError, before and after."""
    journal = ListJournal()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="this ListJournal is not open"):
            await journal.append("s", 1, 0, [])
        with pytest.raises(RuntimeError, match="not open"):
            await journal.claim("s")
        with pytest.raises(RuntimeError, match="not open"):
            await journal.notes("s")
        async with journal.__open_journal__():
            with pytest.raises(RuntimeError, match="is open already"):
                async with journal.__open_journal__():
                    raise AssertionError
            await journal.claim("s")


def test_ctrl_c_leaves_nothing_half_done() -> None:
    """What was queued is stored, the store is closed, and KeyboardInterrupt raised."""
    journal = ListJournal()

    async def main() -> None:
        async with journal.__open_journal__():
            journal.store.gate.clear()
            signal.raise_signal(signal.SIGINT)
            threading.Timer(0.01, journal.store.gate.set).start()
            with trio.CancelScope(shield=True):
                await journal.append("s", 1, 0, [b"e"])
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert journal.store.calls[-1] == "close"


def test_ctrl_c_while_the_block_is_left_is_raised_when_it_is_left() -> None:
    journal = ListJournal()
    journal.store.gate.clear()

    @enable_ki_protection
    async def interrupt() -> None:
        await wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)
        journal.store.gate.set()

    async def main() -> None:
        async with trio.open_nursery() as nursery, journal.__open_journal__():
            nursery.start_soon(journal.append, "s", 1, 0, [b"e"])
            await wait_all_tasks_blocked()
            nursery.start_soon(interrupt)

    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        trio.run(main)
    assert journal.store.batches == [[b"e"]]
    assert journal.store.calls[-1] == "close"


# --- What no store can keep ---


async def test_what_no_store_can_keep_is_refused_before_it_is_queued() -> None:
    journal = ListJournal()
    async with journal.__open_journal__():
        with pytest.raises(ValueError, match="half a surrogate pair"):
            await journal.claim("\ud800")
        with pytest.raises(ValueError, match="half a surrogate pair"):
            await journal.append("s", 1, 0, [], [Note("outbox", "\ud800", 0, b"")])
        with pytest.raises(ValueError, match="no kind of note"):
            await journal.append("s", 1, 0, [], [Note(cast("Any", "other"), "k")])
        with pytest.raises(ValueError, match="a time cannot be nan"):
            await journal.append("s", 1, 0, [], [Note("reminder", "k", float("nan"))])
    assert journal.store.batches == []


def test_a_time_is_kept_as_every_store_gives_it_back() -> None:
    """A store that knows numbers gives back 5.0 for 5, and 0.0 for -0.0."""
    assert repr(checked(Note("reminder", "k", 5)).at) == "5.0"
    assert repr(checked(Note("reminder", "k", -0.0)).at) == "0.0"
