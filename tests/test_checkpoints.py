"""Public async functions are checkpoints, whatever they find; the others are none.

TRIO manners: "always a checkpoint", also when there is nothing to wait for, and also
when it raises; a cancelled caller finds out at once.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from tests import checkpoints
from tests.kit import Add, Boom, Counter, Get, Note, Sleep, Worker, reasons
from tests.persistence.ledger import Added, Do, Ledger
from trio_actors import (
    Actor,
    ActorError,
    ActorRef,
    ChildSpec,
    Inbox,
    Mailbox,
    MailboxFull,
    ServiceKey,
    SupervisorRef,
    Topic,
    current_system,
    handler,
    open_actor_system,
)
from trio_actors.persistence import DurableState, MemoryJournal
from trio_actors.testing import Probe, World


@attrs.frozen
class Stage:
    """What the calls below are made upon."""

    world: World
    ref: ActorRef[Any]
    gone: ActorRef[Any]
    full: ActorRef[Any]
    top: SupervisorRef
    probe: Probe[Any]


class Broken(Counter):
    async def started(self) -> None:
        raise ValueError


Call = Callable[[Stage], Awaitable[object]]
SPEC = ChildSpec("child", Counter)
NO_REQUEST: Any = Note()

CALLS: dict[str, Call] = {
    "tell": lambda on: on.ref.tell(Add()),
    "tell to the dead": lambda on: on.gone.tell(Add()),
    "tell_all": lambda on: on.ref.tell_all([Add(), Add()]),
    "tell_all of nothing": lambda on: on.ref.tell_all([]),
    "tell_all to the dead": lambda on: on.gone.tell_all([Add()] * 100),
    "ask": lambda on: on.ref.ask(Add()),
    "wait_stopped": lambda on: on.gone.wait_stopped(),
    "spawn": lambda on: on.world.spawn(Counter),
    "spawn_pool": lambda on: on.world.spawn_pool(Counter, size=2),
    "spawn_supervisor": lambda on: on.world.spawn_supervisor(),
    "start_child": lambda on: on.top.start_child(ChildSpec("more", Counter)),
    "terminate_child": lambda on: on.top.terminate_child("child"),
    "settled": lambda on: on.world.settled(),
    "expect_no_message": lambda on: on.probe.expect_no_message(),
}

RAISING: dict[str, Call] = {
    "ask the dead": lambda on: on.gone.ask(Get()),
    "ask what fails": lambda on: on.ref.ask(Boom()),
    "ask what is no request": lambda on: on.ref.ask(NO_REQUEST),
    "tell the full": lambda on: on.full.tell(Note()),
    "tell_all the full": lambda on: on.full.tell_all([Note()]),
    "ask the full": lambda on: on.full.ask(Get()),
    "spawn what breaks": lambda on: on.world.spawn(Broken),
}


async def stage(world: World) -> Stage:
    gone = await world.spawn(Counter)
    gone.stop()
    await gone.wait_stopped()
    full = await world.spawn(Worker, mailbox=Mailbox(1, "fail"))
    full.tell_nowait(Sleep(50))
    await trio.sleep(1)
    full.tell_nowait(Note())
    top = await world.spawn_supervisor(SPEC)
    ref = await world.spawn(Counter, name="ref")
    probe: Probe[Any] = Probe(world)
    return Stage(world, ref, gone, full, top, probe)


@pytest.mark.parametrize("name", CALLS)
async def test_it_is_a_checkpoint(world: World, name: str) -> None:
    """Each public async function, with and without something to wait for."""
    on = await stage(world)
    with trio.testing.assert_checkpoints():
        await CALLS[name](on)
    world.dead()


@pytest.mark.parametrize("name", RAISING)
async def test_it_is_a_checkpoint_also_when_it_raises(world: World, name: str) -> None:
    """A loop that catches what others cause must not starve them.

    What is wrong in the call itself, as a name that is taken, is said at once.
    """
    on = await stage(world)
    with trio.testing.assert_checkpoints(), pytest.raises((ActorError, TypeError)):
        await RAISING[name](on)
    world.dead()


@pytest.mark.parametrize("name", [*CALLS, *RAISING])
async def test_it_finds_out_at_once_that_its_caller_is_cancelled(
    world: World, name: str
) -> None:
    """A cancelled caller does not wait, whatever there is to do."""
    on = await stage(world)
    before = trio.current_time()
    with trio.CancelScope() as scope:
        scope.cancel()
        with suppress(TypeError):  # a wrong call is wrong, cancelled or not
            await {**CALLS, **RAISING}[name](on)
    assert scope.cancelled_caught
    assert trio.current_time() == before
    world.dead()


async def test_a_cancelled_tell_has_sent_nothing(world: World) -> None:
    """As trio's channels: Cancelled means that it did not happen."""
    ref = await world.spawn(Counter)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ref.tell(Add())
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await ref.tell_all([Add(), Add()])
    assert scope.cancelled_caught
    assert await ref.ask(Get()) == 0


async def test_restart_and_delete_of_a_stopped_child_are_checkpoints(
    world: World,
) -> None:
    top = await world.spawn_supervisor(SPEC)
    await top.terminate_child("child")
    with trio.testing.assert_checkpoints():
        await top.restart_child("child")
    await top.terminate_child("child")
    with trio.testing.assert_checkpoints():
        await top.delete_child("child")


async def test_a_resize_to_the_same_size_is_a_checkpoint(world: World) -> None:
    pool = await world.spawn_pool(Counter, size=2)
    for size in (2, 3, 1):
        with trio.testing.assert_checkpoints():
            await pool.resize(size)


async def test_streams_and_probes_are_checkpoints(world: World) -> None:
    """Also when the next value is there already."""
    topic = Topic[int]("numbers")
    probe: Probe[Note] = Probe(world)
    with world.subscribe(topic) as numbers:
        world.publish(topic, 1)
        with trio.testing.assert_checkpoints():
            assert await numbers.receive() == 1
    await probe.ref.tell(Note("one"))
    await probe.ref.tell(Note("two"))
    await world.settled()
    with trio.testing.assert_checkpoints():
        assert await probe.receive() == Note("one")
    with trio.testing.assert_checkpoints():
        assert await probe.expect(Note) == Note("two")


async def test_an_answer_that_is_there_is_a_checkpoint(world: World) -> None:
    """``await pending``, twice."""
    ref = await world.spawn(Counter)
    pending = ref.ask_nowait(Add(4))
    await world.settled()
    assert pending.done()
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            assert await pending == 4


async def test_an_inbox_is_a_checkpoint_for_each_message_or_batch(world: World) -> None:
    """A function that never waits must not starve others."""
    others: list[int] = []

    async def listen(inbox: Inbox[Note]) -> None:
        with trio.testing.assert_checkpoints():
            await inbox.receive()
        async for _ in inbox:
            pass

    async def count() -> None:
        while True:
            others.append(0)
            await trio.lowlevel.checkpoint()

    ref = await world.spawn(listen)
    async with trio.open_nursery() as nursery:
        ref.tell_nowait(Note())
        await world.settled()
        for _ in range(500):
            ref.tell_nowait(Note())
        nursery.start_soon(count)
        ref.stop()
        await ref.wait_stopped()
        nursery.cancel_scope.cancel()
    assert others
    world.dead()


# --- What is not async never yields -----------------------------------------


async def test_what_is_not_async_lets_nobody_else_run(world: World) -> None:
    """The plain verbs may be called anywhere, in the middle of anything."""
    topic = Topic[int]("numbers")
    key = ServiceKey[Add]("counter")
    ref = await world.spawn(Counter)
    worker = await world.spawn(Worker)
    with trio.testing.assert_no_checkpoints():
        ref.tell_nowait(Add())
        ref.tell_soon(Add())
        pending = ref.ask_nowait(Add())
        world.spawn_nowait(Counter)
        world.register(key, ref)
        assert world.find(key) == ref
        assert world.find_all(key) == (ref,)
        world.service(key).tell_nowait(Add())
        world.unregister(key, ref)
        world.publish(topic, 1)
        world.snapshot().render()
        world.statistics()
        assert current_system() is world
        worker.restart()
        worker.drain()
        worker.stop()
        worker.kill()
    assert await pending == 3
    await worker.wait_stopped()
    assert reasons(world) == []


# --- A journal, and what stores in it ---------------------------------------

JOURNAL: dict[str, Callable[[MemoryJournal], Awaitable[object]]] = {
    "claim": lambda journal: journal.claim("s"),
    "append": lambda journal: journal.append("s", 1, 0, []),
    "notes": lambda journal: journal.notes("s"),
    "pending": lambda journal: journal.pending(""),
}
STORING: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "persist": lambda ledger: ledger.persist(Added("a")),
    "persist nothing": lambda ledger: ledger.persist(),
    "save": lambda whole: cast("Any", whole).save(1),
    "remind": lambda ledger: ledger.remind("a", 1),
    "cancel_reminder": lambda ledger: ledger.cancel_reminder("a"),
    "post": lambda ledger: ledger.post(Added("a")),
}


class Whole(DurableState[Do, int]):
    initial = 0

    @handler
    async def do(self, message: Do) -> Any:
        return await message.act(cast("Ledger", self))


@pytest.mark.parametrize("name", JOURNAL)
async def test_each_call_of_a_journal_is_a_checkpoint(name: str) -> None:
    async with (journal := MemoryJournal()).__open_journal__():
        assert await journal.claim("s") == 1
        with trio.testing.assert_checkpoints():
            await JOURNAL[name](journal)
        with trio.CancelScope() as scope:
            scope.cancel()
            await JOURNAL[name](journal)
        assert scope.cancelled_caught


@pytest.mark.parametrize("name", STORING)
async def test_who_stores_finds_out_at_once_that_it_was_cancelled(
    name: str, world: World
) -> None:
    """Others run when the command is stored, so that one append is enough for it."""
    caught: list[bool] = []

    async def act(ledger: Ledger) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await STORING[name](ledger)
        caught.append(scope.cancelled_caught)

    ref: ActorRef[Do] = await world.spawn(Whole if name == "save" else Ledger)
    await ref.ask(Do(act))
    assert caught == [True]


def test_every_public_async_function_is_in_this_file() -> None:
    """What is added must be added here: no public async function without a test."""
    here = {name.split()[0] for name in [*CALLS, *JOURNAL, *STORING]} | {
        "delete_child",
        "expect",
        "receive",
        "resize",
        "restart_child",
    }
    assert checkpoints.public_names() - here <= {"run"}


def test_the_block_is_a_checkpoint_on_its_way_in_and_out() -> None:
    async def main() -> None:
        block = open_actor_system("demo")
        with trio.testing.assert_checkpoints():
            await block.__aenter__()
        with trio.testing.assert_checkpoints():
            await block.__aexit__(None, None, None)

    trio.run(main)


async def test_a_plain_actor_that_is_flooded_lets_others_run(world: World) -> None:
    """MBX-5: at least once per 64 messages."""
    turns: list[str] = []

    class Plain(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            turns.append("actor")

    async def other() -> None:
        for _ in range(10):
            turns.append("other")
            await trio.lowlevel.checkpoint()

    ref = await world.spawn(Plain)
    for _ in range(640):
        ref.tell_nowait(Note())
    world.client(other)
    await world.settled()
    longest = max(map(len, "".join(turn[0] for turn in turns).split("o")))
    assert longest <= 64


async def test_mailbox_full_is_raised_before_anything_is_sent(world: World) -> None:
    ref = await world.spawn(Worker, mailbox=Mailbox(1))
    ref.tell_nowait(Sleep(1))
    await trio.sleep(0.5)
    ref.tell_nowait(Note())
    with trio.testing.assert_no_checkpoints(), pytest.raises(MailboxFull):
        ref.ask_nowait(Get())
    assert world.statistics()["accepted"] == 2
