"""One stream, as its writer: what is staged is stored in one append, or forgotten."""

import pytest
import trio

from trio_actors.persistence import MemoryJournal, Note, WriteFailed
from trio_actors.persistence._store import Store
from trio_actors.testing import World


async def a_store(journal: MemoryJournal) -> Store:
    return Store(journal, "stream", await journal.claim("stream"))


async def test_what_is_staged_is_one_append(world: World) -> None:
    async with (journal := MemoryJournal()).__open_journal__():
        store = await a_store(journal)
        assert not store.staged
        store.events += [b"a", b"b"]
        store.note(Note("state", "", body=b"s"))
        assert (store.staged, store.seq, store.next_seq) == (True, 0, 3)
        await store.commit()
        assert (store.staged, store.seq) == (False, 3)
        assert journal.statistics()["writes"] == 1


async def test_a_failed_append_is_forgotten_and_counts_nothing(world: World) -> None:
    async with (journal := MemoryJournal()).__open_journal__():
        store = await a_store(journal)
        store.events.append(b"a")
        journal.fail_next()
        with pytest.raises(WriteFailed):
            await store.commit()
        assert (store.staged, store.seq) == (False, 0)


async def test_one_append_at_a_time_in_their_order(world: World) -> None:
    async with (journal := MemoryJournal()).__open_journal__():
        store = await a_store(journal)
        journal.delay(1)
        ends: list[float] = []

        async def append(body: bytes) -> None:
            await store.append([body], [])
            ends.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for body in (b"a", b"b", b"c"):
                nursery.start_soon(append, body)
        assert ends == [1, 2, 3]
        assert store.seq == 3


async def test_a_name_is_never_used_again(world: World) -> None:
    async with (journal := MemoryJournal()).__open_journal__():
        first, second = await a_store(journal), await a_store(journal)
        names = [first.new_name(), first.new_name(), second.new_name()]
        assert names == ["1-1", "1-2", "2-1"]
