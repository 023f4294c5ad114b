"""What a step touches by way of the library: no order is left out for it.

In each program one order fails. A search of all orders finds it, as one does in which
no two steps are taken for independent.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import pytest

from tests.kit import Add, Counter, Get, Note
from tests.testing.searched import Program
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ChildSpec,
    Mailbox,
    Reply,
    Request,
    Supervision,
    handler,
    tagged,
)
from trio_actors.persistence import EventSourced, MemoryJournal, Reminder, applies
from trio_actors.testing import Faults, World, check

# --- Questions that nobody waits for any more --------------------------------------


async def abandoned(world: World) -> None:
    one, other = await world.spawn(Counter), await world.spawn(Counter)

    async def client() -> None:
        question = one.ask_nowait(Add())
        await other.ask(Get())
        question.abandon()  # it may have been answered by now, or not

    world.client(client)
    await world.settled()
    assert await one.ask(Get()) == 1


class Forgetful(Actor[Get]):
    """Asks two, and waits for one of them."""

    def __init__(self, one: ActorRef[Add], other: ActorRef[Get]) -> None:
        self.one, self.other = one, other

    @handler
    async def get(self, message: Get) -> int:
        self.one.ask_nowait(Add())
        return await self.other.ask(Get())


async def forgotten(world: World) -> None:
    one, other = await world.spawn(Counter), await world.spawn(Counter)
    await (await world.spawn(Forgetful, one, other)).ask(Get())
    await world.settled()
    assert await one.ask(Get()) == 1


async def raced(world: World) -> None:
    pool = await world.spawn_pool(Counter, size=2, routing="first")
    await pool.ask(Add())
    await world.settled()
    assert sum([await one.ask(Get()) for one in pool.workers]) == 2


# --- Who is in a pool ---------------------------------------------------------------


async def resized(world: World) -> None:
    pool = await world.spawn_pool(Counter, size=1)
    answers: list[int] = []

    async def ask(number: int) -> None:
        answers.append(await pool.ask(Add(number)))

    world.client(pool.resize, 2)
    world.client(ask, 1)
    world.client(ask, 10)
    await world.settled()
    assert sorted(answers) == [1, 10]  # each by a worker of its own


async def keyed(world: World) -> None:
    def key(message: Any) -> int:
        return message.amount if isinstance(message, Add) else 0

    pool = await world.spawn_pool(Counter, size=2, routing=key)
    lost: list[int] = []

    async def ask(number: int) -> None:
        try:
            await pool.ask(Add(number))
        except ActorStopped:
            lost.append(number)

    for number in (1, 2, 3):
        world.client(ask, number)
    world.client(stop, pool.workers[0])
    await world.settled()
    world.dead()
    assert not lost


async def stop(ref: ActorRef[Any]) -> None:
    ref.stop()


# --- Handlers that only read, and do something --------------------------------------


class Log(Actor[Note]):
    def __init__(self) -> None:
        self.seen: list[str] = []

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)


@attrs.frozen
class Pass(Request[int]):
    text: str


class Router(Actor[Pass | Add]):
    """Changes nothing of its own."""

    def __init__(self, log: ActorRef[Note], counter: ActorRef[Add]) -> None:
        self.log, self.counter = log, counter

    @handler(reads_only=True)
    def on_pass(self, message: Pass) -> int:
        self.log.tell_soon(Note(message.text))
        return 0

    @handler(reads_only=True)
    def add(self, message: Add) -> Reply[int]:
        return self.context.forward(self.counter, message)


class Dice(Actor[Get]):
    @handler(reads_only=True)
    def get(self, message: Get) -> int:
        return self.context.random.randrange(10**6)


async def passed_on(world: World) -> None:
    log = await world.spawn(Log)
    router = await world.spawn(Router, log, await world.spawn(Counter))
    world.client(router.ask, Pass("1"))
    world.client(router.ask, Pass("2"))
    await world.settled()
    instance: Any = log._cell.instance
    assert instance.seen == ["1", "2"]


async def forwarded(world: World) -> None:
    counter = await world.spawn(Counter)
    router = await world.spawn(Router, await world.spawn(Log), counter)

    async def first() -> None:
        assert await router.ask(Add(1)) == 1

    world.client(first)
    world.client(router.ask, Add(10))
    await world.settled()


# --- Who looks at the whole ---------------------------------------------------------


def looks(look: Callable[[World], bool]) -> Program:
    async def program(world: World) -> None:
        counter, gone = await world.spawn(Counter), await world.spawn(Counter)
        gone.stop()
        await gone.wait_stopped()

        async def client() -> None:
            assert look(world)

        async def tell(ref: ActorRef[Any]) -> None:
            await ref.tell(Add())

        world.client(tell, counter)
        world.client(tell, gone)
        world.client(client)
        await world.settled()
        world.dead()

    return program


async def workers_seen(world: World) -> None:
    pool = await world.spawn_pool(Counter, size=2)

    async def look() -> None:
        assert len(pool.workers) == 2

    world.client(stop, pool.workers[0])
    world.client(look)
    await world.settled()


# --- A journal that fails -----------------------------------------------------------


@tagged("touched-added@1")
@attrs.frozen
class Added:
    amount: int


class Account(EventSourced[Add | Reminder, Added, int]):
    initial = 0

    @handler
    async def add(self, message: Add) -> int:
        await self.persist(Added(message.amount))
        await self.remind("statement", 10)
        return self.state

    @handler
    def due(self, message: Reminder) -> None: ...

    @applies
    def added(self, event: Added) -> int:
        return self.state + event.amount


async def failing_journal(world: World) -> None:
    journal = MemoryJournal()
    world.use(journal)
    account, other = await world.spawn(Account), await world.spawn(Counter)

    async def ask() -> None:
        try:
            await account.ask(Add())
        except ActorFailed:
            raise AssertionError from None

    async def trouble() -> None:
        await other.ask(Get())
        journal.fail_next()

    world.client(ask)
    world.client(trouble)
    await world.settled()


def looks_into(look: Callable[[MemoryJournal], Awaitable[bool]]) -> Program:
    """Return a program in which somebody looks into the journal, not too early."""

    async def program(world: World) -> None:
        journal = MemoryJournal()
        world.use(journal)
        account = await world.spawn(Account, name="account")
        other = await world.spawn(Counter)

        async def ask() -> None:
            await other.ask(Get())
            assert await look(journal)

        world.client(account.ask, Add())
        world.client(ask)
        await world.settled()

    program.__qualname__ = look.__qualname__
    return program


async def all_is_written(journal: MemoryJournal) -> bool:
    return journal.statistics()["events"] == 1


async def all_is_read(journal: MemoryJournal) -> bool:
    return len([event async for event in journal.read("/account", 0)]) == 1


async def all_is_kept(journal: MemoryJournal) -> bool:
    return len(await journal.notes("/account")) == 1


async def one_is_due(journal: MemoryJournal) -> bool:
    return len(await journal.pending("/")) == 1


# --- Crashes that the test asks for --------------------------------------------------


class Asker(Actor[Get]):
    """Waits for another one, in the middle of its turn."""

    def __init__(self, other: ActorRef[Get]) -> None:
        self.other = other

    @handler
    async def get(self, message: Get) -> int:
        return await self.other.ask(Get())


async def crashed_while_busy(world: World) -> None:
    asker = await world.spawn(Asker, await world.spawn(Counter))
    ends: list[str] = []

    async def ask() -> None:
        for _ in range(2):
            try:
                await asker.ask(Get())
            except ActorFailed:
                ends.append("crashed")

    async def crash() -> None:
        world.crash(asker)

    world.client(ask)
    world.client(crash)
    await world.settled()
    assert ends, "the crash came after both"


FAILING: Sequence[Program] = [
    *(abandoned, forgotten, raced, resized, keyed, passed_on, forwarded),
    *(workers_seen, failing_journal, crashed_while_busy),
    *map(looks_into, (all_is_written, all_is_read, all_is_kept, one_is_due)),
    looks(lambda world: world.statistics()["handled"] == 0),
    looks(lambda world: world.snapshot().handled == 0),
    looks(lambda world: not world.dead()),
]


@pytest.mark.parametrize("program", FAILING, ids=lambda one: one.__qualname__)
def test_the_order_that_fails_is_found(program: Program) -> None:
    async def without_reduction(world: World) -> None:
        world.always(lambda: True)
        await program(world)

    for one in (program, without_reduction):
        found = check(one, exhaustive=True)
        assert found.failure is not None, f"{one}: {found}"
        assert isinstance(found.failure.error, AssertionError)


def test_the_numbers_of_an_actor_that_only_reads_come_in_an_order() -> None:
    seen: set[tuple[int, int]] = set()

    async def program(world: World) -> None:
        dice, got = await world.spawn(Dice), dict[str, int]()

        async def throw(name: str) -> None:
            got[name] = await dice.ask(Get())

        world.client(throw, "a")
        world.client(throw, "b")
        await world.settled()
        seen.add((got["a"], got["b"]))

    assert check(program, exhaustive=True).verified
    assert len(seen) == 2


# --- Who is left under a supervisor -------------------------------------------------


async def significant(world: World) -> None:
    await world.spawn_supervisor(
        ChildSpec("x", Counter, restart="temporary", significant=True),
        ChildSpec("y", Counter, restart="temporary", significant=True),
        name="s",
        supervision=Supervision(auto_shutdown="all_significant"),
    )
    one, other = world.find("/s/x"), world.find("/s/y")
    assert one is not None
    assert other is not None
    seen: list[object] = []

    async def look() -> None:
        seen.append((world.find("/s") is not None, world.find("/s/x") is None))

    async def ask() -> None:
        try:
            await one.ask(Get())
        except ActorFailed:
            seen.append("failed")
        except ActorStopped:
            return

    world.client(stop, one)
    world.client(stop, other)
    world.client(look)
    world.client(ask)
    await world.settled()
    world.dead()
    assert not ("failed" in seen and (True, True) in seen)


def test_the_last_significant_child_depends_on_how_the_others_have_ended() -> None:
    """SUP-9: who was stopped does not count, and who has crashed does."""
    found = check(significant, exhaustive=True, faults=Faults(crash=1))
    assert found.failure is not None, found


# --- Batches -------------------------------------------------------------------------


class Together(Actor[Add]):
    """Answers how many came together."""

    @handler(batch=3)
    def add(self, messages: list[Add]) -> list[int]:
        return [len(messages)] * len(messages)


@pytest.mark.parametrize(
    ("mailbox", "expected"),
    [
        (Mailbox(), {(1, 1, 1), (1, 2, 2), (3, 3, 3)}),
        (Mailbox(1), {(1, 1, 1)}),  # there is never more than one
    ],
)
def test_who_is_in_a_batch_depends_on_who_has_sent(
    mailbox: Mailbox, expected: set[tuple[int, ...]]
) -> None:
    """It was taken for a program that nobody controls."""
    seen: set[tuple[int, ...]] = set()

    async def program(world: World) -> None:
        ref = await world.spawn(Together, mailbox=mailbox)
        sizes: list[int] = []

        async def ask() -> None:
            sizes.append(await ref.ask(Add()))

        for _ in range(3):
            world.client(ask)
        await world.settled()
        seen.add(tuple(sorted(sizes)))

    found = check(program, exhaustive=True)
    assert found.verified, found
    assert seen == expected


class Single(Actor[Add]):
    """Becomes one who takes batches, with the second message."""

    added = 0

    @handler
    def add(self, message: Add) -> int:
        self.added += 1
        if self.added == 2:
            self.become(Together())
        return 0


def test_who_is_in_a_batch_of_what_an_actor_becomes_depends_on_who_has_sent() -> None:
    seen: set[tuple[int, ...]] = set()

    async def program(world: World) -> None:
        ref = await world.spawn(Single)
        sizes: list[int] = []

        async def ask() -> None:
            sizes.append(await ref.ask(Add()))

        for _ in range(4):
            world.client(ask)
        await world.settled()
        seen.add(tuple(sorted(sizes)))

    found = check(program, exhaustive=True)
    assert found.verified, found
    assert seen == {(0, 0, 1, 1), (0, 0, 2, 2)}


def test_a_program_that_stops_its_world_before_clients_begin_has_one_order() -> None:
    async def program(world: World) -> None:
        counter = await world.spawn(Counter)
        world.client(counter.ask, Get())
        world.stop()

    assert check(program, exhaustive=True).verified
