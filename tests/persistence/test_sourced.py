"""Event-sourced actors: what has happened makes the state, now and after a restart."""

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
from trio_actors import (
    ActorFailed,
    ActorRef,
    Supervision,
    handler,
    open_actor_system,
)
from trio_actors.persistence import Entities, Fenced, MemoryJournal, WriteFailed
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
        accounts = Entities(world, Account)
        ada = accounts.get("ada")
        world.client(ada.ask, Deposit(1))
        world.client(ada.ask, Deposit(2))
        await world.settled()
        assert await ada.ask(Balance()) == 3

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
