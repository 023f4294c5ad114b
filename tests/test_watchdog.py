"""A thread says which actor blocks the loop, and where (TRIO-9, S0-9, S3 (l))."""

import threading
import time

import pytest
import trio

from tests.kit import Note
from trio_actors import Actor, handler, open_actor_system
from trio_actors._cell import Cell
from trio_actors._watchdog import Watchdog


class Blocking(Actor[Note]):
    @handler
    def note(self, message: Note) -> None:
        self.compute()

    def compute(self) -> None:
        time.sleep(1)  # in real time: that is what the watchdog is for


def watchdogs() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if "watchdog" in one.name]


def test_an_actor_that_blocks_the_loop_is_named_with_its_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once for one block; whoever blocks and is no actor is not accused."""

    async def main() -> None:
        async with open_actor_system("demo") as system:
            assert len(watchdogs()) == 1
            time.sleep(1)  # the body of the block is no actor
            await trio.sleep(0)
            assert not caplog.records
            ref = await system.spawn(Blocking, name="blocking")
            await ref.tell(Note())

    trio.run(main)
    (record,) = caplog.records
    text = record.getMessage()
    assert text.startswith("/blocking blocks all others: for 0.5 s")
    assert "test_watchdog.py:" in text
    assert "in compute()" in text
    assert "to_thread.run_sync" in text
    assert watchdogs() == []


def test_there_is_none_under_a_test_clock() -> None:
    """Virtual time has no late moments."""

    async def main() -> None:
        async with open_actor_system("demo"):
            assert watchdogs() == []

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_it_ends_with_the_run_even_if_nobody_stops_it() -> None:
    """The loop that it looks at is gone: so is it."""

    async def main() -> Watchdog:
        dog = Watchdog(Cell.run.__code__)
        dog.start()
        return dog

    dog = trio.run(main)
    dog._thread.join(timeout=5)
    assert not dog._thread.is_alive()


def test_it_can_be_stopped_while_the_loop_is_blocked() -> None:
    """Nobody waits for it, and it accuses nobody any more."""

    async def main() -> None:
        dog = Watchdog(Cell.run.__code__)
        dog.start()
        time.sleep(0.3)  # it waits for this loop by now
        dog.stop()
        assert watchdogs() == []

    trio.run(main)
