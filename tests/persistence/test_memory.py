"""The journal in memory does what every journal does."""

import pytest
import trio
from trio.testing import MockClock

from tests.persistence.conformance import TESTS, Test
from trio_actors.persistence import MemoryJournal, WriteFailed


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
async def test_as_every_journal(test: Test) -> None:
    journal = MemoryJournal()
    await test(lambda: journal)


async def test_faults_are_placed_at_writes() -> None:
    journal = MemoryJournal()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        journal.fail_next(skip=1)
        await journal.append("s", epoch, 0, [b"a"])
        with pytest.raises(WriteFailed, match="was told to fail"):
            await journal.append("s", epoch, 1, [b"b"])
        journal.fail_next(2, after_commit=True)
        for seq in (1, 2):
            with pytest.raises(WriteFailed):
                await journal.append("s", epoch, seq, [b"c"])
        await journal.append("s", epoch, 3, [b"d"])
        found = [body async for _, body in journal.read("s", 0)]
        assert found == [b"a", b"c", b"c", b"d"]
        assert journal.statistics() == {"writes": 5, "streams": 1, "events": 4}


async def test_a_write_takes_as_long_as_it_is_told_and_is_not_cut_short(
    autojump_clock: MockClock,
) -> None:
    journal = MemoryJournal()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        journal.delay(5)
        with trio.move_on_after(1):
            await journal.append("s", epoch, 0, [b"a"])
        assert trio.current_time() == 5
        assert [body async for _, body in journal.read("s", 0)] == [b"a"]


async def test_it_is_used_only_while_it_is_open() -> None:
    journal = MemoryJournal()
    with pytest.raises(RuntimeError, match="this MemoryJournal is not open"):
        await journal.claim("s")
    with pytest.raises(RuntimeError, match="is not open"):
        await journal.pending("")
