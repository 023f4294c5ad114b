"""Event-sourced actors: what has happened makes the state, now and after a restart."""

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
import trio

from tests.persistence.bank import (
    Account,
    Balance,
    Command,
    Crash,
    Deposit,
    Deposited,
    Overdrawn,
    Withdraw,
)
from tests.persistence.ledger import Added, Do, Ledger, Read, add, stored
from trio_actors import (
    ActorFailed,
    ActorRef,
    StartFailed,
    Supervision,
    handler,
    open_actor_system,
    tagged,
)
from trio_actors.persistence import (
    Entities,
    EventSourced,
    Fenced,
    MemoryJournal,
    Note,
    WriteFailed,
    applies,
)
from trio_actors.persistence._plan import plan_of
from trio_actors.testing import Probe, World, check


async def test_the_state_is_there_after_a_restart_of_the_program() -> None:
    """S3-5: a restart of the program brings the data back."""
    journal = MemoryJournal()
    async with open_actor_system("first", journal=journal) as system:
        account = await system.spawn(Account, name="account")
        assert await account.ask(Deposit(100)) == 100
        assert await account.ask(Withdraw(30)) == 70
    async with open_actor_system("second", journal=journal) as system:
        account = await system.spawn(Account, name="account")
        assert await account.ask(Balance()) == 70


async def test_a_failed_handler_has_stored_nothing(world: World) -> None:
    """PER-1: what was persisted by a turn that failed is forgotten."""
    account = await world.spawn(Account, name="account")
    await account.ask(Deposit(1))
    await account.tell(Crash())
    assert await account.ask(Balance()) == 1


@pytest.mark.parametrize("directive", ["restart", "resume"])
async def test_a_failed_write_is_read_again(directive: str, world: World) -> None:
    """PER-1: a write whose end is not known is never resumed."""
    journal = MemoryJournal()
    world.use(journal)
    rules = Supervision(directives={WriteFailed: directive})  # type: ignore[dict-item]
    supervisor = await world.spawn_supervisor(supervision=rules)
    account = await supervisor.spawn(Account, name="account")
    await account.ask(Deposit(1))
    journal.fail_next()
    with pytest.raises(ActorFailed) as caught:
        await account.ask(Deposit(10))
    assert isinstance(caught.value.__cause__, WriteFailed)
    assert await account.ask(Balance()) == 1
    journal.fail_next(after_commit=True)
    with pytest.raises(ActorFailed):
        await account.ask(Deposit(100))
    assert await account.ask(Balance()) == 101


async def test_what_is_told_leaves_after_it_is_durable(world: World) -> None:
    """PER-3: the output gate."""
    journal = MemoryJournal()
    world.use(journal)
    listener = Probe[int](world)
    account = await world.spawn(Account, listener.ref)
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await account.ask(Deposit(1))
    await listener.expect_no_message()
    await account.ask(Deposit(2))
    assert await listener.receive() == 2


async def test_a_command_is_done_once() -> None:
    journal = MemoryJournal()
    async with open_actor_system("first", journal=journal) as system:
        account = await system.spawn(Account, name="account")
        assert await account.ask(Deposit(100, "d1")) == 100
        await account.ask(Deposit(1))
        assert await account.ask(Deposit(100, "d1")) == 100
        with pytest.raises(Overdrawn):
            await account.ask(Withdraw(500, "w1"))
        await account.ask(Deposit(900))
        with pytest.raises(Overdrawn) as caught:
            await account.ask(Withdraw(500, "w1"))
        assert caught.value.args == ("/account", 500)
    async with open_actor_system("second", journal=journal) as system:
        account = await system.spawn(Account, name="account")
        assert await account.ask(Deposit(100, "d1")) == 100
        assert await account.ask(Balance()) == 1001


async def test_an_answer_that_was_lost_is_given_again(world: World) -> None:
    journal = MemoryJournal()
    world.use(journal)
    account = await world.spawn(Account, name="account")
    journal.fail_next(after_commit=True)
    with pytest.raises(ActorFailed):
        await account.ask(Deposit(5, "d1"))
    assert await account.ask(Deposit(5, "d1")) == 5
    assert await account.ask(Balance()) == 5


async def test_the_later_of_two_writers_wins() -> None:
    journal = MemoryJournal()
    async with (
        open_actor_system("first", journal=journal) as one,
        open_actor_system("second", journal=journal) as two,
    ):
        early = await one.spawn(Account, name="account")
        await early.ask(Deposit(1))
        late = await two.spawn(Account, name="account")
        assert await late.ask(Deposit(10)) == 11
        with pytest.raises(ActorFailed) as caught:
            await early.ask(Deposit(100))
        assert isinstance(caught.value.__cause__, Fenced)
        exit = await early.wait_stopped()
        assert exit.kind == "failed"
        assert await late.ask(Balance()) == 11


async def test_reminders_come(world: World) -> None:
    class Clock(Account):
        async def started(self) -> None:
            await self.remind("tick", 10, every=10)

    account = await world.spawn(Clock)
    await world.settled()
    await trio.sleep(35)
    assert await account.ask(Balance()) == 3


async def test_entities_come_and_go(world: World) -> None:
    journal = MemoryJournal()
    world.use(journal)
    accounts = Entities(world, Account, idle_after=60)
    ada: ActorRef[Command] = accounts.get("ada/é")
    assert await ada.ask(Deposit(7)) == 7
    assert world.find("/account/ada%2F%C3%A9") == ada
    await trio.sleep(100)
    assert world.find("/account/ada%2F%C3%A9") is None
    assert await accounts.get("ada/é").ask(Balance()) == 7


def test_explored() -> None:
    async def program(world: World) -> None:
        listener = Probe[int](world)
        ada = await world.spawn(Account, listener.ref)
        world.client(ada.ask, Deposit(1))
        world.client(ada.ask, Deposit(2))
        await world.settled()
        assert await ada.ask(Balance()) == 3
        told = [await listener.receive() for _ in range(2)]
        assert told in ([1, 3], [2, 3])

    found = check(program)
    print(found)
    assert found.verified


async def test_a_scope_in_the_handler_that_ends_leaves_nothing_half_stored(
    world: World,
) -> None:
    """What could not be stored in time is stored at the end of the command."""

    class Hasty(Account):
        @handler
        async def deposit(self, message: Deposit) -> int:
            await self.persist(Deposited(message.amount))
            with trio.move_on_after(0) as scope:
                await trio.sleep(1)
            assert scope.cancelled_caught
            return self.state.balance

    journal = MemoryJournal()
    world.use(journal)
    account = await world.spawn(Hasty, name="account")
    assert await account.ask(Deposit(3)) == 3
    account.restart()
    assert await account.ask(Balance()) == 3
    assert journal.statistics()["events"] == 1


# --- Snapshots ---


class Often(Ledger):
    snapshot_every = 3


async def notes_of(journal: MemoryJournal, kind: str) -> list[Note]:
    return [one for one in await journal.notes("/ledger") if one.kind == kind]


def folds(cls: type[Ledger]) -> list[str]:
    """Count what is folded from now on."""
    plan = plan_of(cls, EventSourced)
    fold, seen = plan.folds[Added], list[str]()

    def count(self: Any, event: Added) -> Any:
        seen.append(event.word)
        return fold(self, event)

    plan.folds[Added] = count
    return seen


async def test_a_snapshot_is_made_every_so_many_events_and_two_are_kept(
    world: World,
) -> None:
    journal = MemoryJournal()
    world.use(journal)
    ledger = await world.spawn(Often, name="ledger")
    for number, words in enumerate(["ab", "c", "defghij", "k", "l"]):
        await ledger.ask(Do(add(*words)))
        keys = [note.key for note in await notes_of(journal, "snapshot")]
        assert keys == [[], ["3"], ["3", "10"], ["3", "10"], ["10", "12"]][number]


async def restarted(world: World, ledger: Any) -> tuple[tuple[str, ...], list[str]]:
    """Start it again; return its state, and which events it read for that."""

    class Again(Often): ...

    seen = folds(Again)
    ledger.kill()
    await ledger.wait_stopped()
    again = await world.spawn(Again, name="ledger")
    return await again.ask(Read()), seen


@pytest.mark.parametrize(
    ("damaged", "read"), [((), "gh"), (("6",), "defgh"), (("3", "6"), "abcdefgh")]
)
@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\xa0\x00\x07"])
async def test_a_snapshot_that_cannot_be_read_costs_time_only(
    damaged: tuple[str, ...],
    read: str,
    body: bytes,
    world: World,
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = MemoryJournal()
    world.use(journal)
    ledger = await world.spawn(Often, name="ledger")
    for word in "abcdefgh":
        await ledger.ask(Do(add(word)))
    notes = journal._streams["/ledger"].notes
    for key in damaged:
        notes["snapshot", key] = attrs.evolve(notes["snapshot", key], body=body)
    state, seen = await restarted(world, ledger)
    assert state == tuple("abcdefgh")
    assert seen == list(read)
    assert caplog.text.count("its snapshot after event") == len(damaged)


@attrs.frozen
class Line:
    count: int


@tagged("sourced-lines@1")
@attrs.frozen
class Lines:
    words: float = 0
    lines: tuple[Line, ...] = ()


@attrs.frozen
class LongLine:
    count: int
    words: int = 1


@tagged("sourced-lines@1")
@attrs.frozen
class MoreLines:
    words: float = 0
    lines: tuple[Line, ...] = ()
    number: int = 0


@tagged("sourced-lines@1")
@attrs.frozen
class LongLines:
    words: float = 0
    lines: tuple[LongLine, ...] = ()


@tagged("sourced-lines@1")
@attrs.frozen
class FewLines:
    words: float = 0


@tagged("sourced-lines@2", upcast=lambda old: {**old, "number": 0})
@attrs.frozen
class NumberedLines:
    words: float = 0
    lines: tuple[Line, ...] = ()
    number: int = 0


@pytest.mark.parametrize(
    ("then", "read"),
    [
        (Lines, "g"),
        (NumberedLines, "g"),  # an upcast says what becomes of each field
        (MoreLines, "abcdefg"),
        (LongLines, "abcdefg"),
        (FewLines, "abcdefg"),
    ],
)
async def test_a_snapshot_of_a_state_with_other_fields_is_not_used(
    then: Any, read: str, world: World
) -> None:
    """S3: a snapshot saves time, and nothing else, also when a field is new."""
    seen: list[str] = []

    def ledger(state: Any) -> Any:
        class Counted(EventSourced[Do, Added, state]):
            initial = state()
            snapshot_every = 3

            @handler
            async def do(self, message: Do) -> Any:
                return await message.act(self)  # type: ignore[arg-type]

            @applies
            def added(self, event: Added) -> Any:
                seen.append(event.word)
                now: Any = self.state
                changes: dict[str, Any] = {"words": now.words or 1}  # an int at first
                if hasattr(now, "lines"):
                    of = LongLine if state is LongLines else Line
                    changes["lines"] = (*now.lines, of(1))
                if hasattr(now, "number"):
                    changes["number"] = now.number + 1
                return attrs.evolve(now, **changes)

        return Counted

    first = await world.spawn(ledger(Lines), name="ledger")
    for word in "abcdefg":
        await first.ask(Do(add(word)))
    first.kill()
    await first.wait_stopped()
    seen.clear()
    again = await world.spawn(ledger(then), name="ledger")
    await world.settled()
    assert "".join(seen) == read
    await again.ask(Do(add("h")))
    actor: Any = again._cell.instance
    state: Any = actor.state
    assert getattr(state, "number", 8) == (2 if then is NumberedLines else 8)
    assert len(getattr(state, "lines", "12345678")) == 8


async def test_a_state_that_cannot_be_encoded_goes_on_without_snapshots(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and nothing is lost: all events are read at the next start."""
    journal = MemoryJournal()
    world.use(journal)

    class Odd(Often):
        @applies
        def added(self, event: Added) -> tuple[str, ...]:
            return (*self.state, 7)  # type: ignore[arg-type]

    ledger = await world.spawn(Odd, name="ledger")
    await ledger.ask(Do(add(*"abcd")))
    assert "/ledger: no snapshot could be made of its state" in caplog.text
    assert await notes_of(journal, "snapshot") == []
    assert await stored(journal) == tuple("abcd")
    ledger.restart()
    state: Any = await ledger.ask(Read())
    assert state == (7, 7, 7, 7)


async def test_a_snapshot_of_a_write_that_fails_is_none(world: World) -> None:
    journal = MemoryJournal()
    world.use(journal)
    ledger = await world.spawn(Often, name="ledger")
    for after_commit in (False, True):
        journal.fail_next(after_commit=after_commit)
        with pytest.raises(ActorFailed):
            await ledger.ask(Do(add(*"abc")))
        kept = await stored(journal)
        assert await ledger.ask(Read()) == kept
        assert len(await notes_of(journal, "snapshot")) == len(kept) // 3


# --- Bad input ---


async def test_a_handler_that_changes_its_event_changes_nothing_that_is_stored(
    world: World,
) -> None:
    """What is folded is what was stored, now as after a restart."""

    @tagged("sourced-loose@1")
    @attrs.frozen
    class Loose:
        words: list[str]

    class Holds(EventSourced[Do | Read, Loose, tuple[str, ...]]):
        initial = ()

        @handler
        async def do(self, message: Do) -> None:
            event = Loose(["a"])
            await self.persist(event)
            event.words.append("b")
            await trio.sleep(1)
            event.words.append("c")

        @handler
        def read(self, message: Read) -> tuple[str, ...]:
            return self.state

        @applies
        def loose(self, event: Loose) -> tuple[str, ...]:
            return (*self.state, *event.words)

    holds = await world.spawn(Holds, name="ledger")
    await holds.ask(Do(add()))
    assert await holds.ask(Read()) == ("a",)
    holds.restart()
    assert await holds.ask(Read()) == ("a",)


async def test_an_event_of_two_megabytes_is_stored(world: World) -> None:
    word = "é" * 1_000_000
    ledger = await world.spawn(Ledger, name="ledger")
    await ledger.ask(Do(add(word)))
    ledger.restart()
    assert await ledger.ask(Read()) == (word,)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x93\xabledger-added\x09\x80"])
async def test_an_event_that_cannot_be_read_fails_the_start(
    body: bytes, world: World
) -> None:
    """Of an unknown version, or no event at all: never a wrong value, never a gap."""
    journal = MemoryJournal()
    world.use(journal)
    journal.stay_open()
    epoch = await journal.claim("/ledger")
    await journal.append("/ledger", epoch, 0, [body])
    with pytest.raises(StartFailed) as caught:
        await world.spawn(Ledger, name="ledger")
    assert "Ledger" in str(caught.value.__cause__)
    assert journal.statistics()["events"] == 1


KEYS = ["ä/b", "a%2Fb", "../..", "a b\n\0c", "🙂" * 50, "-", "x" * 500]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
async def test_an_entity_has_any_key(key: str, world: World) -> None:
    accounts = Entities(world, Account)
    await accounts.get(key).ask(Deposit(1))
    assert await accounts.get(key).ask(Balance()) == 1
    assert await accounts.get(key + "'").ask(Balance()) == 0


async def test_a_journal_may_read_by_any_iterator(world: World) -> None:
    """It need not be a generator, nor one of those that are here."""

    class Plain:
        def __init__(self, journal: MemoryJournal) -> None:
            self.journal = journal

        def __getattr__(self, name: str) -> Any:
            return getattr(self.journal, name)

        def read(self, stream: str, after: int) -> AsyncIterator[tuple[int, bytes]]:
            events = self.journal._streams[stream].events

            class Each:
                def __init__(self) -> None:
                    self.left = iter(events)

                def __aiter__(self) -> Any:
                    return self

                async def __anext__(self) -> tuple[int, bytes]:
                    await trio.lowlevel.checkpoint()
                    for seq, body in self.left:
                        return seq, body
                    raise StopAsyncIteration

            return Each()

    journal = MemoryJournal()
    journal.stay_open()
    plain: Any = Plain(journal)
    world.use(plain)
    ledger = await world.spawn(Ledger, name="ledger")
    await ledger.ask(Do(add("a", "b")))
    ledger.restart()
    assert await ledger.ask(Read()) == ("a", "b")
