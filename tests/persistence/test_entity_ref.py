"""The ref of an entity: how it is told and asked, and what it is equal to."""

import logging
from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.persistence.bank import Account, Deposit, Deposited, State
from tests.persistence.ledger import Added, Do as Store, Ledger
from tests.persistence.people import (
    Do,
    Message,
    Person,
    Say,
    Town,
    asking,
    sleeping,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ActorSystem,
    AskDeadlock,
    Context,
    DeadLetter,
    Mailbox,
    MailboxFull,
    Reply,
    Request,
    ServiceKey,
    Topic,
    handler,
    open_actor_system,
)
from trio_actors.persistence import (
    Entities,
    EventSourced,
    MemoryJournal,
    SQLiteJournal,
    applies,
)
from trio_actors.testing import World

VAR: ContextVar[str] = ContextVar("VAR")

# --- Keys ---------------------------------------------------------------------

KEYS = [
    "",
    "%",
    ".",
    "..",
    "/",
    "a/b",
    "/a",
    "a%2Fb",
    "é",
    "e\u0301",
    " ",
    "\0",
    "\n",
    "🎭",
    "_",
    "a" * 100_000,
]


async def test_every_text_is_a_key(world: World) -> None:
    journal = MemoryJournal()
    world.use(journal)
    accounts = Entities(world, Account)
    for number, key in enumerate(KEYS, 1):
        ref = accounts.get(key)
        assert await ref.ask(Deposit(number)) == number
        assert world.find(ref.path) == ref
        assert ref.path.count("/") == 2
    assert journal.statistics()["streams"] == len(KEYS)


async def test_every_text_is_a_key_in_sqlite(tmp_path: Path) -> None:
    """Each has its own history, also in the next run of the program."""
    for run in (1, 2):
        journal = SQLiteJournal(tmp_path / "journal.db")
        async with open_actor_system("test", journal=journal) as system:
            accounts = Entities(system, Account)
            for number, key in enumerate(KEYS, 1):
                assert await accounts.get(key).ask(Deposit(number)) == run * number


async def test_what_is_no_key(world: World) -> None:
    accounts = Entities(world, Account)
    with pytest.raises(ValueError, match="is no key"):
        accounts.get("\ud800")
    for key in (1, None, b"a"):
        with pytest.raises(TypeError, match="the key of an entity is a text"):
            accounts.get(key)  # type: ignore[arg-type]


# --- As a value ---------------------------------------------------------------


async def test_refs_of_one_key_are_equal(world: World) -> None:
    people = Entities(world, Town(), name="p")
    others = Entities(world, Town(), name="q")
    ada = people.get("ada")
    assert ada == people.get("ada")
    assert len({ada, people.get("ada"), people.get("bob")}) == 2
    keeper = world.find("/p")
    assert keeper is not None
    for other in (people.get("bob"), others.get("ada"), keeper, "ada"):
        assert ada != other
        assert other != ada
    await ada.ask(Say())
    assert repr(ada) == "<EntityRef /p/ada running>"


async def test_the_own_ref_stays_good(world: World) -> None:
    """What an entity gives away of itself is the ref of all its activations."""
    people = Entities(world, Town(), name="p")

    async def ref(context: Context[Message]) -> ActorRef[Message]:
        return context.ref

    given: ActorRef[Message] = await people.get("ada").ask(Do(ref))
    assert given == people.get("ada")
    given.stop()
    await given.wait_stopped()
    assert await given.ask(Say()) == 2
    keeper = world.find("/p")
    assert keeper is not None
    assert keeper._cell.context.children == {"ada": given}


@pytest.mark.parametrize("verb", ["watch", "unwatch", "link", "unlink"])
async def test_there_is_no_end_to_watch(verb: str, world: World) -> None:
    """To watch its keeper instead would be to wait for ever."""
    people = Entities(world, Town(), name="p")
    ada = people.get("ada")
    seen: list[str] = []

    async def look(context: Context[Any]) -> None:
        with pytest.raises(TypeError) as caught:
            getattr(context, verb)(ada)
        seen.append(str(caught.value))

    await people.get("bob").ask(Do(look))
    assert seen[0].startswith(
        f"{verb}() wants the ref of one actor, but got <EntityRef"
    )
    assert "there is no end to wait for" in seen[0]
    with pytest.raises(TypeError, match="crash"):
        world.crash(ada)
    with pytest.raises(TypeError, match="trace"):
        world.trace(ada)


async def test_who_waits_for_its_end_waits_for_this_activation(world: World) -> None:
    people = Entities(world, Town(goodbye=1), name="p")
    ada = people.get("ada")
    await ada.ask(Say())
    ada.stop("enough")
    exit = await ada.wait_stopped()
    assert (exit.kind, exit.detail) == ("shutdown", "enough")

    async def wait(context: Context[Any]) -> None:
        await ada.wait_stopped()

    with pytest.raises(ActorFailed) as caught:
        await ada.ask(Do(wait))
    assert isinstance(caught.value.__cause__, AskDeadlock)


# --- Two of a kind, and without a journal -------------------------------------


async def test_there_is_one_house_for_a_kind(world: World) -> None:
    Entities(world, Account)
    with pytest.raises(Exception, match="/account is already there"):
        Entities(world, Account)
    second = Entities(world, Account, name="second")
    assert await second.get("ada").ask(Deposit(1)) == 1


@pytest.mark.parametrize("idle_after", [0, -1, float("nan")])
async def test_numbers_are_checked(idle_after: float, world: World) -> None:
    with pytest.raises(ValueError, match="idle_after"):
        Entities(world, Account, idle_after=idle_after)
    with pytest.raises(ValueError, match="limit"):
        Entities(world, Account, limit=0)


async def test_what_a_function_makes_is_given_a_name(world: World) -> None:
    """Its own is no name for a history: another function would begin it anew."""
    world.use(MemoryJournal())
    assert await Entities(world, Account).get("ada").ask(Deposit(1)) == 1
    for make in (lambda: Account(), partial(lambda: Account()), Town()):
        factory: Any = make
        with pytest.raises(TypeError, match="and no name for the streams"):
            Entities(world, factory)
    world.find("/account").stop()  # type: ignore[union-attr]
    await world.settled()
    again = Entities(world, partial(Account))
    assert await again.get("ada").ask(Deposit(1)) == 2


async def test_without_a_journal_only_plain_actors_are_entities(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_actor_system("test") as system:
        with pytest.raises(RuntimeError, match="Account is durable, but the actor"):
            Entities(system, Account)
        people = Entities(system, Town(), name="p")
        assert await people.get("ada").ask(Say()) == 1
        made = Entities(system, lambda: Person(Town()), name="made")
        assert await made.get("ada").ask(Say()) == 1


# --- Telling and asking -------------------------------------------------------


async def test_a_request_is_forwarded_to_an_entity(world: World) -> None:
    people = Entities(world, Town(goodbye=1), name="p")
    ada = people.get("ada")

    class Desk(Actor[Say]):
        @handler
        def say(self, message: Say) -> Reply[int]:
            return self.context.forward(ada, message)

    desk = await world.spawn(Desk)
    assert await desk.ask(Say()) == 1
    ada.stop()
    assert await desk.ask(Say()) == 2
    ada.stop()
    await desk.tell(Say())
    await trio.sleep(2)
    assert await desk.ask(Say()) == 3


async def test_a_deadlock_through_entities_is_found(world: World) -> None:
    people = Entities(world, Town(), name="p")
    ada, bob = people.get("ada"), people.get("bob")
    with pytest.raises(ActorFailed) as caught:
        await ada.ask(asking(bob, asking(ada, Say())))
    assert isinstance(caught.value.__cause__, ActorFailed)
    cause = caught.value.__cause__.__cause__
    assert isinstance(cause, AskDeadlock)
    assert "/p/ada" in str(cause)


async def test_a_goodbye_that_waits_for_the_next_activation_is_cut_short(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its shutdown time bounds that, and whoever has asked gets an answer."""
    answers: list[object] = []
    people: Entities[Message]

    class Polite(Person):
        async def stopped(self, reason: object) -> None:
            if self.context.ref.path == "/p/ada" and not answers:
                answers.append("asked")
                answers.append(await people.get("bob").ask(hello))

    town = Town()
    people = Entities(world, lambda: Polite(town), name="p")
    ada = people.get("ada")
    hello = asking(ada, Say("hello"))
    await ada.ask(Say())
    ada.stop()
    caplog.set_level(logging.CRITICAL, "trio_actors")
    await trio.sleep(6)
    assert town.said("/p/ada") == ["", "hello"]
    assert answers == ["asked"]


async def test_an_asker_that_is_cancelled_on_the_way_out_is_skipped(
    world: World,
) -> None:
    town = Town(goodbye=1)
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    await ada.ask(Say("0"))
    ada.stop()
    with trio.move_on_after(0.5):
        await ada.ask(Say("cancelled"))
    assert await ada.ask(Say("1")) == 2
    assert town.said("/p/ada") == ["0", "1"]


async def test_who_waits_for_room_is_let_in(world: World) -> None:
    """However the entity ends meanwhile; MBX-2 holds for entities."""
    town = Town(mailbox=Mailbox(1))
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    for verb in ("stop", "kill", "drain", "restart"):
        town.seen.clear()
        busy = ada.ask_nowait(sleeping(1))
        await trio.sleep(0.5)
        await ada.tell(Say("1"))
        with pytest.raises(MailboxFull):
            ada.tell_nowait(Say("too many"))
        world.client(ada.tell, Say("2"))
        await trio.sleep(0.1)
        getattr(ada, verb)()
        await trio.sleep(5)
        assert town.said("/p/ada") == ["1", "2"], verb
        busy.abandon()


async def test_a_full_mailbox_that_drops_makes_dead_letters(world: World) -> None:
    town = Town(mailbox=Mailbox(1, overflow="drop_new"))
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    busy = ada.ask_nowait(sleeping(1))
    await trio.sleep(0.5)
    for text in "12":
        await ada.tell(Say(text))
    await busy
    await world.settled()
    assert town.said("/p/ada") == ["1"]
    assert [one.reason for one in world.dead()] == ["overflow"]


async def test_an_entity_offers_a_service(world: World) -> None:
    """It has the key for good, and is activated by who asks for it."""
    key = ServiceKey[Message]("people")
    town = Town(goodbye=1, mailbox=Mailbox(1))
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    world.register(key, ada)
    service = world.service(key)
    assert world.find(key) == ada
    assert await service.ask(Say("0")) == 1
    ada.stop()
    await service.tell(Say("1"))
    assert await service.ask(Say("2")) == 2
    busy = service.ask_nowait(sleeping(1))
    await trio.sleep(0.5)
    for text in "345":
        await service.tell(Say(text))
    await busy
    await world.settled()
    assert town.said("/p/ada") == list("012345")


async def test_who_stops_a_service_stops_the_entity_and_not_its_house(
    world: World,
) -> None:
    key = ServiceKey[Message]("people")
    people = Entities(world, Town(), name="p")
    world.register(key, people.get("ada"))
    assert await people.get("bob").ask(Say()) == 1
    assert await world.service(key).ask(Say()) == 1
    world.service(key).stop()
    await world.settled()
    assert await people.get("bob").ask(Say()) == 1
    assert await people.get("ada").ask(Say()) == 2


async def test_an_entity_registers_itself(world: World) -> None:
    key = ServiceKey[Message]("people", unique=True)

    class Registered(Person):
        async def started(self) -> None:
            await super().started()
            self.context.register(key)

    town = Town()
    people = Entities(world, lambda: Registered(town), name="p")
    held = world.service(key).ask_nowait(Say())
    await people.get("ada").tell(Say())
    assert await held == 1
    people.get("ada").stop()
    assert await world.service(key).ask(Say()) == 2


async def test_threads_tell_entities(
    autojump_clock: trio.testing.MockClock,
) -> None:
    town = Town()
    async with open_actor_system("test") as system:
        ada = Entities(system, town, name="p").get("ada")

        def tell() -> None:
            for number in range(100):
                ada.tell_from_thread(Say(str(number)))

        await trio.to_thread.run_sync(tell)
    assert town.said("/p/ada") == [str(number) for number in range(100)]


# --- Guarded systems ----------------------------------------------------------


async def test_what_travels_with_a_message_still_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """``propagate=`` holds for what waits for the next activation."""
    town = Town(goodbye=0.01)
    seen: list[str] = []

    async def note(context: Context[Any]) -> None:
        seen.append(VAR.get("unset"))

    async with open_actor_system("test", propagate=[VAR]) as system:
        ada = Entities(system, town, name="p").get("ada")
        await ada.ask(Do(note))
        token = VAR.set("first")
        first = ada.ask_nowait(Do(note))
        ada.stop()
        VAR.set("second")
        second = ada.ask_nowait(Do(note))
        VAR.reset(token)
        third = ada.ask_nowait(Do(note))
        await first
        await second
        await third
    assert seen == ["unset", "first", "second", "unset"]


@attrs.define
class Changing:
    text: str = ""


async def test_what_can_be_changed_is_refused_at_its_sender(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """``check_messages=`` holds whether the entity is there or not."""
    town = Town(goodbye=1)
    async with open_actor_system("test", check_messages=True) as system:
        ada: ActorRef[Any] = Entities(system, town, name="p").get("ada")
        keeper = system.find("/p")
        assert keeper is not None
        await ada.ask(Say())
        for halt in (ada.stop, keeper.restart):
            halt()
            await trio.sleep(0.5)
            with pytest.raises(TypeError, match="can be changed"):
                ada.tell_nowait(Changing())
            ada.tell_nowait(Say())
            await ada.ask(Say())
    assert town.starts == {"/p/ada": 3}


# --- Durable senders ----------------------------------------------------------


@attrs.frozen
class Transfer(Request[int]):
    amount: int
    to: ActorRef[Any]
    wait: bool = False


class Bank(EventSourced[Transfer, Deposited, State]):
    """Tells others what it has done; that leaves when it is durable."""

    initial = State()

    @handler
    async def transfer(self, message: Transfer) -> int:
        message.to.tell_soon(Say(f"told {message.amount}"))
        if message.wait:
            await trio.sleep(100)  # as long as a passivation takes, and longer
            return await message.to.ask(Say(f"asked {message.amount}"))
        await self.persist(Deposited(message.amount))
        message.to.tell_nowait(Say(f"done {message.amount}"))
        return 0

    @applies
    def deposited(self, event: Deposited) -> State:
        return State(self.state.balance + event.amount)


async def test_what_is_held_back_reaches_the_next_activation(world: World) -> None:
    """PER-3: it is told when it is durable, to whoever is there then."""
    journal = MemoryJournal()
    world.use(journal)
    town = Town()
    ada = Entities(world, town, name="p", idle_after=10).get("ada")
    bank = await world.spawn(Bank)
    await ada.ask(Say("0"))
    journal.delay(100)
    await bank.ask(Transfer(1, ada))
    await world.settled()
    assert town.said("/p/ada") == ["0", "told 1", "done 1"]
    assert town.starts == {"/p/ada": 2}


async def test_a_question_does_not_overtake_what_was_told(world: World) -> None:
    town = Town()
    ada = Entities(world, town, name="p", idle_after=10).get("ada")
    bank = await world.spawn(Bank)
    await ada.ask(Say("0"))
    assert await bank.ask(Transfer(1, ada, wait=True)) == 2
    await world.settled()
    assert town.said("/p/ada") == ["0", "told 1", "asked 1"]


@pytest.mark.parametrize("verb", ["stop", "kill", "drain"])
async def test_what_is_not_durable_does_not_reach_it(
    verb: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """PER-3, also for an entity that is on its way out."""
    journal = MemoryJournal()
    world.use(journal)
    town = Town(goodbye=1)
    ada = Entities(world, town, name="p").get("ada")
    bank = await world.spawn(Bank)
    await ada.ask(Say("0"))
    getattr(ada, verb)()
    journal.fail_next()
    caplog.set_level(logging.CRITICAL, "trio_actors")
    with pytest.raises(ActorFailed):
        await bank.ask(Transfer(1, ada))
    await trio.sleep(2)
    assert await ada.ask(Say("1")) == 2
    assert town.said("/p/ada") == ["0", "1"]


@pytest.mark.parametrize("fails", [True, False])
async def test_it_is_stopped_when_that_is_durable(fails: bool, world: World) -> None:
    journal = MemoryJournal()
    world.use(journal)
    town = Town()
    ada = Entities(world, town, name="p").get("ada")

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        ada.tell_soon(Say("told"))
        ada.drain()

    assert await ada.ask(Say("first")) == 1
    ledger = await world.spawn(Ledger, name="ledger")
    if fails:
        journal.fail_next()
    with pytest.raises(ActorFailed) if fails else nullcontext():
        await ledger.ask(Store(act))
    await world.settled()
    assert await ada.ask(Say("last")) == 2 - fails
    assert town.said("/p/ada") == ["first", *["told"] * (not fails), "last"]


# --- The end ------------------------------------------------------------------


async def test_leaving_lets_entities_finish(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What is told between actors while the system settles is handled."""
    town = Town(goodbye=0.01)
    async with open_actor_system("test") as system:
        people = Entities(system, town, name="p", limit=1)
        ada, bob = people.get("ada"), people.get("bob")

        async def begin(context: Context[Any]) -> None:
            await trio.sleep(0.02)
            await bob.tell(Say("1"))  # not active yet: it becomes so
            await context.ref.tell(Say("2"))
            bob.drain()
            await bob.tell(Say("3"))

        await ada.tell(Do(begin))
    assert town.said("/p/bob") == ["1", "3"]
    assert town.said("/p/ada") == ["2"]


async def test_leaving_while_an_entity_ends_loses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    town = Town(goodbye=0.01)
    async with open_actor_system("test") as system:
        ada = Entities(system, town, name="p").get("ada")
        await ada.ask(Say("0"))
        ada.stop()
        await ada.tell(Say("1"))
        asked = ada.ask_nowait(Say("2"))
    assert await asked == 2
    assert town.said("/p/ada") == ["0", "1", "2"]


async def test_who_comes_too_late_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """From outside of the tree, while the system settles; nobody is activated."""
    town = Town()
    refused: list[ActorStopped] = []
    async with trio.open_nursery() as nursery, open_actor_system("test") as system:
        people = Entities(system, town, name="p")
        ada, bob = people.get("ada"), people.get("bob")

        async def late() -> None:
            await trio.sleep(1)
            for one in (ada, bob):
                with pytest.raises(ActorStopped) as caught:
                    await one.ask(Say("late"))
                refused.append(caught.value)
                one.tell_soon(Say("late"))

        nursery.start_soon(late)
        await ada.tell(sleeping(2))
    assert [one.path for one in refused] == ["/p/ada", "/p/bob"]
    assert all("While its system is open" in str(one) for one in refused)
    assert town.starts == {"/p/ada": 1}
    assert system.statistics()["dead_lettered"] == 4


async def test_what_is_durable_too_late_is_a_dead_letter(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The system stops while a sender waits for the disk: nobody is activated."""
    journal = MemoryJournal()
    town = Town()
    async with open_actor_system("test", journal=journal) as system:
        bank = await system.spawn(Bank)  # it is stopped after those that came later
        ada = Entities(system, town, name="p").get("ada")
        await ada.ask(Say("0"))
        journal.delay(1)
        await bank.tell(Transfer(1, ada))
        await trio.sleep(0.5)
        system.stop()
    assert town.said("/p/ada") == ["0"]
    assert town.starts == {"/p/ada": 1}
    assert system.statistics()["dead_lettered"] == 2


async def test_news_for_one_that_ends_too_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What is published from outside, while the system settles, wakes nobody."""
    topic = Topic[Message]("news")

    class Reader(Person):
        async def started(self) -> None:
            await super().started()
            self.context.subscribe(topic)

    town = Town(goodbye=2)
    async with trio.open_nursery() as nursery, open_actor_system("test") as system:
        ada = Entities(system, lambda: Reader(town), name="p").get("ada")

        async def publish() -> None:
            system.publish(topic, Say("1"))
            await trio.sleep(1)
            system.publish(topic, Say("2"))

        await ada.ask(Say("0"))
        ada.stop()
        nursery.start_soon(publish)
        await trio.sleep(0.5)
    assert town.said("/p/ada") == ["0", "1"]
    assert system.statistics()["dead_lettered"] == 1


async def test_what_waits_at_the_end_is_a_dead_letter(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And its asker is told; the books agree."""
    town = Town(goodbye=1)
    letters: list[DeadLetter] = []

    async def listen(system: ActorSystem) -> None:
        with system.dead_letters() as stream:
            letters.extend([one async for one in stream])

    async with trio.open_nursery() as nursery:
        async with open_actor_system("test") as system:
            nursery.start_soon(listen, system)
            ada = Entities(system, town, name="p").get("ada")
            await ada.ask(Say("0"))
            ada.stop()
            await ada.tell(Say("1"))
            asked = ada.ask_nowait(Say("2"))
            system.stop()
        with pytest.raises(ActorStopped, match="/p/ada"):
            await asked
    books = dict(system.statistics())
    assert books.pop("accepted") == sum(books.values())
    assert books["dead_lettered"] == 2
    assert [(one.to, one.reason) for one in letters] == [(ada, "stopped")] * 2
