"""The sweeper: who has something to do is activated, though nobody writes to him.

Issue item: on start, entities with an unsent outbox row or a due reminder are
activated.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from trio_actors import Request, handler, open_actor_system, tagged
from trio_actors.persistence import (
    Entities,
    EventSourced,
    MemoryJournal,
    Reminder,
    SQLiteJournal,
    applies,
)
from trio_actors.persistence._journal import Journal, Note
from trio_actors.testing import World


@attrs.frozen
class Wake(Request[int]):
    """Lets it be reminded."""

    delay: float
    every: float | None = None


@attrs.frozen
class Post(Request[int]):
    pass


@tagged("sweeper-letter@1")
@attrs.frozen
class Letter:
    pass


@tagged("sweeper-nothing@1")
@attrs.frozen
class Nothing:
    pass


class Clock(EventSourced[Wake | Post | Reminder, Nothing, int]):
    """Is reminded of things, and delivers letters."""

    initial = 0
    seen: list[tuple[str, int]]
    delivered: list[str]
    post_is_open = True
    is_broken = False

    @handler
    async def wake(self, message: Wake) -> int:
        await self.remind("tick", message.delay, every=message.every)
        return 1

    @handler
    async def send(self, message: Post) -> int:
        await self.post(Letter())
        return 1

    @handler
    def reminded(self, message: Reminder) -> None:
        self.seen.append((self.key, message.missed))
        if self.is_broken:
            raise ValueError("broken")

    @applies
    def nothing(self, event: Nothing) -> int:
        return 0

    async def deliver(self, effect: Letter, key: str, /) -> None:
        if not self.post_is_open:
            await trio.sleep_forever()
        self.delivered.append(self.key)


def clock_class(**values: Any) -> type[Clock]:
    """A class of its own for a test: what it has seen is its own, too."""

    class Own(Clock):
        seen: list[tuple[str, int]] = []  # noqa: RUF012
        delivered: list[str] = []  # noqa: RUF012

    for name, value in values.items():
        setattr(Own, name, value)
    return Own


class Wall:
    """The clock on the wall, which somebody may set."""

    def __init__(self, world: World) -> None:
        self.offset = 0.0
        now = world._runtime.wall
        world._runtime.wall = lambda: now() + self.offset


def passive(world: World) -> bool:
    return not world.snapshot().children[0].children


async def first_run(journal: Journal, kind: type[Clock], *requests: Any) -> None:
    """A run of the program that ends before anything is due, or delivered."""
    async with open_actor_system("first", journal=journal, shutdown=1) as system:
        clocks = Entities(system, kind, name="clock")
        for number, request in enumerate(requests):
            await clocks.get(f"{number}/%_é").ask(request)
        system.stop()


async def test_who_is_due_is_activated_at_the_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And those who are due later, later; those who are not, not at all."""
    journal = MemoryJournal()
    kind = clock_class(post_is_open=False)
    await first_run(
        journal, kind, Wake(10), Wake(100), Wake(10_000), Post(), Wake(5, 10)
    )
    await trio.sleep(30)
    kind.post_is_open = True
    async with open_actor_system("second", journal=journal) as system:
        Entities(system, kind, name="clock", idle_after=5)
        await trio.sleep(1)
        assert sorted(kind.seen) == [("0/%_é", 1), ("4/%_é", 3)]
        assert kind.delivered == ["3/%_é"]
        await trio.sleep(100)
        assert kind.seen[2:].count(("4/%_é", 0)) >= 9
        assert ("1/%_é", 0) in kind.seen
        assert all(who != "2/%_é" for who, _ in kind.seen)
        await trio.sleep(10_000)
        assert ("2/%_é", 0) in kind.seen


async def test_a_reminder_wakes_who_is_passive(world: World) -> None:
    """In time, while the process runs, again and again."""
    kind = clock_class()
    clocks = Entities(world, kind, name="clock", idle_after=10)
    await clocks.get("ada").ask(Wake(100, 100))
    await trio.sleep(50)
    assert passive(world)
    await trio.sleep(51)
    assert kind.seen == [("ada", 0)]
    assert not passive(world)
    await trio.sleep(40)
    assert passive(world)
    await trio.sleep(210)
    assert kind.seen == [("ada", 0)] * 3


async def test_an_earlier_reminder_is_not_hidden_by_a_later_one(world: World) -> None:
    journal = MemoryJournal()
    world.use(journal)
    journal.stay_open()
    epoch = await journal.claim("clock/ada")
    now = world._runtime.wall()
    for name, delay in (("b", 50.0), ("a", 20.0), ("c", 90.0)):
        note = Note("reminder", name, now + delay, b"0.0")
        await journal.append("clock/ada", epoch, 0, [], [note])
    kind = clock_class()
    Entities(world, kind, name="clock", idle_after=5)
    await trio.sleep(21)
    assert kind.seen == [("ada", 0)]
    await trio.sleep(30)
    assert kind.seen == [("ada", 0)] * 2
    await trio.sleep(40)
    assert kind.seen == [("ada", 0)] * 3


async def test_a_clock_that_is_set_back_loses_nothing(world: World) -> None:
    """What is due is due by the clock on the wall: it comes once, and not before."""
    wall = Wall(world)
    kind = clock_class()
    clocks = Entities(world, kind, name="clock", idle_after=10)
    await clocks.get("ada").ask(Wake(100))
    await trio.sleep(50)
    assert passive(world)
    wall.offset = -3600.0
    await trio.sleep(3640)
    assert kind.seen == []
    await trio.sleep(20)
    assert kind.seen == [("ada", 0)]
    await trio.sleep(10_000)
    assert kind.seen == [("ada", 0)]


async def test_a_reminder_that_always_fails_does_not_run_hot(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes again after a pause, in which its entity stays within its restarts."""
    caplog.set_level(logging.CRITICAL, "trio_actors")
    kind = clock_class(is_broken=True)
    clocks = Entities(world, kind, name="clock")
    await clocks.get("ada").ask(Wake(10))
    await trio.sleep(19)
    assert len(kind.seen) == 5
    await trio.sleep(60)
    assert len(kind.seen) == 35
    assert not passive(world)
    kind.is_broken = False
    await trio.sleep(2)
    assert len(kind.seen) == 36
    await trio.sleep(1000)
    assert len(kind.seen) == 36
    world.dead()


async def test_who_cannot_recover_when_due_is_tried_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "trio_actors")

    class Broken(MemoryJournal):
        works = True

        async def claim(self, stream: str) -> int:
            if not self.works:
                raise OSError("the disk is gone")
            return await super().claim(stream)

    journal = Broken()
    world.use(journal)
    kind = clock_class()
    clocks = Entities(world, kind, name="clock", idle_after=10)
    await clocks.get("ada").ask(Wake(100))
    await trio.sleep(50)
    journal.works = False
    await trio.sleep(100)
    journal.works = True
    await trio.sleep(60)
    assert [who for who, _ in kind.seen] == ["ada"]


async def test_a_sweep_that_fails_is_done_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The entities are there meanwhile."""

    class Broken(MemoryJournal):
        works = False

        async def pending(self, prefix: str) -> Sequence[tuple[str, Note]]:
            if not self.works:
                raise OSError("the disk is gone")
            return await super().pending(prefix)

    journal = Broken()
    kind = clock_class(post_is_open=False)
    await first_run(journal, kind, Post())
    kind.post_is_open = True
    world.use(journal)
    clocks = Entities(world, kind, name="clock")
    assert await clocks.get("ada").ask(Wake(1000)) == 1
    assert "/clock cannot see which entities have something to do" in caplog.text
    journal.works = True
    await trio.sleep(61)
    assert kind.delivered == ["0/%_é"]


async def test_whoever_is_active_already_is_left_alone(world: World) -> None:
    kind = clock_class(post_is_open=False)
    journal = MemoryJournal()
    await first_run(journal, kind, Post())
    kind.post_is_open = True
    world.use(journal)
    clocks = Entities(world, kind, name="clock")
    assert await clocks.get("0/%_é").ask(Wake(math.pi)) == 1
    await world.settled()
    assert kind.delivered == ["0/%_é"]


async def test_nobody_is_woken_on_the_way_out(world: World) -> None:
    kind = clock_class()
    clocks = Entities(world, kind, name="clock", idle_after=10)
    await clocks.get("ada").ask(Wake(100))
    await trio.sleep(50)
    world.find("/clock").stop()  # type: ignore[union-attr]
    await trio.sleep(100)
    assert kind.seen == []


# --- Streams of other kinds -----------------------------------------------------


@pytest.mark.parametrize("name", ["a", "a%", "a_", "_", "%", "a b", "é"])
async def test_a_kind_sees_its_own_streams_only(tmp_path: Path, name: str) -> None:
    """In SQLite a prefix is a text, and no pattern."""
    journal = SQLiteJournal(tmp_path / "journal.db")
    kinds = ["a", "ab", "a%", "a_", "axb", "_", "%", "a b", "é", "e"]
    async with journal.__open_journal__():
        for kind in kinds:
            for key in ("x", "b/x", "%", "_"):
                stream = f"{kind}/{key}"
                epoch = await journal.claim(stream)
                note = Note("outbox", "1", body=b"")
                await journal.append(stream, epoch, 0, [], [note])
        found = await journal.pending(f"{name}/")
    assert sorted(stream for stream, _ in found) == sorted(
        f"{name}/{key}" for key in ("x", "b/x", "%", "_")
    )
