"""Actors that store their whole state: with a revision, compared before it is set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from trio_actors import (
    ActorFailed,
    ActorRef,
    Request,
    StartFailed,
    handler,
    open_actor_system,
    tagged,
)
from trio_actors.persistence import (
    DurableState,
    EventSourced,
    Fenced,
    Journal,
    MemoryJournal,
    Note,
    PostgresJournal,
    SQLiteJournal,
    WriteFailed,
    applies,
)
from trio_actors.persistence._plan import plan_of
from trio_actors.testing import World


@attrs.frozen
class Set(Request[int]):
    value: Any
    command_id: str = ""


@attrs.frozen
class Get(Request[int]): ...


@tagged("whole-counted@1")
@attrs.frozen
class Counted:
    number: int


@attrs.frozen
class Together(Request[int]):
    """Save several values from tasks of one handler."""

    values: tuple[int, ...]


class Cell(DurableState[Set | Get | Together, int]):
    initial = 0

    @handler
    async def set(self, message: Set) -> int:
        await self.save(message.value)
        return self.state

    @handler
    async def together(self, message: Together) -> int:
        async with trio.open_nursery() as nursery:
            for value in message.values:
                nursery.start_soon(self.save, value)
            await self.save(message.values[0])
        return self.state

    @handler(reads_only=True)
    def get(self, message: Get) -> int:
        return self.state


@pytest.fixture
def journal(world: World) -> MemoryJournal:
    journal = MemoryJournal()
    world.use(journal)
    return journal


def revision(journal: MemoryJournal) -> int:
    return journal._streams["/cell"].last


async def test_what_was_saved_last_is_there_after_a_restart_of_the_program() -> None:
    journal = MemoryJournal()
    for start, value in enumerate((5, 6, 7)):
        async with open_actor_system("run", journal=journal) as system:
            cell = await system.spawn(Cell, name="cell")
            assert await cell.ask(Get()) == (0, 5, 6)[start]
            assert await cell.ask(Set(value)) == value
    assert journal.statistics()["events"] == 0


class Forgetful(DurableState[Set | Get, dict[str, list[int]]]):
    """Changes its state in place, without saving it."""

    initial: dict[str, list[int]] = {"values": []}  # noqa: RUF012  # that is the test

    @handler
    def set(self, message: Set) -> int:
        self.state["values"].append(message.value)
        return len(self.state["values"])

    @handler
    def get(self, message: Get) -> int:
        return len(self.state["values"])


async def test_an_initial_state_changed_in_place_is_that_of_one_start(
    world: World,
) -> None:
    forgetful = await world.spawn(Forgetful, name="a")
    other = await world.spawn(Forgetful, name="b")
    assert await forgetful.ask(Set(1)) == 1
    assert await other.ask(Get()) == 0
    world.crash(forgetful)
    with pytest.raises(ActorFailed):
        await forgetful.ask(Get())
    assert await forgetful.ask(Get()) == 0


async def test_each_save_is_a_revision(world: World, journal: MemoryJournal) -> None:
    cell = await world.spawn(Cell, name="cell")
    for value in range(1, 4):
        await cell.ask(Set(value))
    assert revision(journal) == 3
    (note,) = await journal.notes("/cell")
    assert (note.kind, note.at) == ("state", 3.0)


async def test_a_failed_save_is_read_again(
    world: World, journal: MemoryJournal
) -> None:
    cell = await world.spawn(Cell, name="cell")
    await cell.ask(Set(1))
    for after_commit, expected in ((False, 1), (True, 2)):
        journal.fail_next(after_commit=after_commit)
        with pytest.raises(ActorFailed) as caught:
            await cell.ask(Set(2))
        assert isinstance(caught.value.__cause__, WriteFailed)
        assert await cell.ask(Get()) == expected
    assert await cell.ask(Set(3)) == 3


async def test_tasks_that_save_at_once_make_a_revision_each(
    world: World, journal: MemoryJournal
) -> None:
    journal.delay(1)
    cell = await world.spawn(Cell, name="cell")
    saved = await cell.ask(Together((1, 2, 3)))
    (note,) = await journal.notes("/cell")
    assert note.at == revision(journal)
    cell.restart()
    assert await cell.ask(Get()) == saved
    assert await cell.ask(Set(9)) == 9


async def test_two_writers_never_overwrite_each_other() -> None:
    journal = MemoryJournal()
    async with (
        open_actor_system("first", journal=journal) as one,
        open_actor_system("second", journal=journal) as two,
    ):
        early = await one.spawn(Cell, name="cell")
        late = await two.spawn(Cell, name="cell")
        await late.ask(Set(1))
        with pytest.raises(ActorFailed) as caught:
            await early.ask(Set(2))
        assert isinstance(caught.value.__cause__, Fenced)
        assert (await early.wait_stopped()).kind == "failed"
        assert await late.ask(Get()) == 1


async def test_a_revision_that_was_not_seen_is_not_overwritten(
    world: World, journal: MemoryJournal
) -> None:
    """Compare-and-set: even with the right epoch."""
    cell: ActorRef[Any] = await world.spawn(Cell, name="cell")
    journal._streams["/cell"].last += 1
    with pytest.raises(ActorFailed, match="the last event is 1, not 0"):
        await cell.ask(Set(1))


async def test_a_repeated_save_is_done_once(
    world: World, journal: MemoryJournal
) -> None:
    cell = await world.spawn(Cell, name="cell")
    assert await cell.ask(Set(1, "x")) == 1
    assert await cell.ask(Set(2)) == 2
    assert await cell.ask(Set(1, "x")) == 1
    cell.restart()
    assert await cell.ask(Set(1, "x")) == 1
    assert await cell.ask(Get()) == 2


class Tally(EventSourced[Set | Get, Counted, int]):
    """Has been a ``Cell`` before, or will be one."""

    initial = 0

    @handler
    async def set(self, message: Set) -> int:
        await self.persist(Counted(message.value))
        return self.state

    @handler(reads_only=True)
    def get(self, message: Get) -> int:
        return self.state

    @applies
    def counted(self, event: Counted) -> int:
        return event.number


Open = Callable[[], Journal]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def of_any_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Every journal that there is; the same one each time."""
    if request.param == "memory":
        memory = MemoryJournal()
        return lambda: memory
    if request.param == "sqlite":
        return lambda: SQLiteJournal(tmp_path / "cell.db")
    conninfo: str = request.getfixturevalue("conninfo")
    return lambda: PostgresJournal(conninfo)


@pytest.mark.parametrize(("then", "now"), [(Cell, Tally), (Tally, Cell)])
async def test_what_another_kind_of_actor_has_written_is_not_read(
    then: Any, now: Any, of_any_kind: Open
) -> None:
    """Never a state that is wrong without a word: the one before has another one."""
    async with open_actor_system("then", journal=of_any_kind()) as system:
        cell = await system.spawn(then, name="cell")
        assert await cell.ask(Set(7)) == 7
    async with open_actor_system("now", journal=of_any_kind()) as system:
        with pytest.raises(StartFailed) as caught:
            await system.spawn(now, name="cell")
    kind, other = now.__bases__[0].__name__, then.__bases__[0].__name__
    text = (
        f"{now.__name__}, which is of the kind {kind}: one of the kind {other} has"
        f" written it. Let {now.__name__} be of that kind again"
    )
    assert text in str(caught.value.__cause__)
    async with open_actor_system("again", journal=of_any_kind()) as system:
        cell = await system.spawn(then, name="cell")
        assert await cell.ask(Get()) == 7
        assert await cell.ask(Set(8)) == 8


async def test_events_before_a_state_may_be_there(of_any_kind: Open) -> None:
    """As a program leaves them that has made a state of them."""
    async with open_actor_system("then", journal=of_any_kind()) as system:
        tally = await system.spawn(Tally, name="cell")
        await tally.ask(Set(7))
    async with (journal := of_any_kind()).__open_journal__():
        body = plan_of(Cell, DurableState).state_codec.encode(7)
        epoch = await journal.claim("/cell")
        await journal.append("/cell", epoch, 1, [], [Note("state", "", 2.0, body)])
    async with open_actor_system("now", journal=of_any_kind()) as system:
        cell = await system.spawn(Cell, name="cell")
        assert await cell.ask(Get()) == 7
        assert await cell.ask(Set(8)) == 8


@pytest.mark.parametrize("wrong", ["text", None, 1.5])
async def test_what_is_no_state_is_not_saved(
    wrong: Any, world: World, journal: MemoryJournal
) -> None:
    cell = await world.spawn(Cell, name="cell")
    with pytest.raises(ActorFailed, match="Cell: what is saved is a int"):
        await cell.ask(Set(wrong))
    assert await cell.ask(Get()) == 0
    assert journal.statistics()["writes"] == 0


async def test_a_state_is_not_changed_in_place(world: World) -> None:
    class Words(DurableState[Set | Get, dict[str, int]]):
        initial: dict[str, int] = {}  # noqa: RUF012  # never changed in place

        @handler
        async def set(self, message: Set) -> int:
            state = self.state if message.value else dict(self.state)
            state["a"] = 1
            await self.save(state)
            return len(self.state)

        @handler
        def get(self, message: Get) -> int:
            return len(self.state)

    words = await world.spawn(Words)
    assert await words.ask(Set(0)) == 1
    assert Words.initial == {}
    with pytest.raises(ActorFailed, match="never changed in place"):
        await words.ask(Set(1))
