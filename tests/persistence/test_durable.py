"""What all durable actors do: state in memory is what a replay gives, whatever ends."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.persistence.bank import Deposited
from tests.persistence.ledger import Added, Do, DoForMe, Ledger, Read, add, stored
from trio_actors import (
    ActorFailed,
    ActorRef,
    Directive,
    Exit,
    StartFailed,
    Supervision,
    handler,
    open_actor_system,
)
from trio_actors.persistence import Fenced, MemoryJournal, SQLiteJournal, WriteFailed
from trio_actors.testing import World

Ref = ActorRef[Any]


@pytest.fixture
def journal(world: World) -> MemoryJournal:
    journal = MemoryJournal()
    world.use(journal)
    return journal


async def spawn(world: World, **rules: Any) -> Ref:
    if not rules:
        return await world.spawn(Ledger, name="ledger")
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(**rules), name="top"
    )
    return await supervisor.spawn(Ledger, name="ledger")


def instance(ref: Ref) -> Ledger:
    found = ref._cell.instance
    assert isinstance(found, Ledger)
    return found


# --- A command is a transaction ---


async def test_several_persists_in_one_handler_are_one_append(
    world: World, journal: MemoryJournal
) -> None:
    ledger = await spawn(world)
    assert await ledger.ask(Do(add("a", "b", "c"))) == ("a", "b", "c")
    assert journal.statistics() == {"writes": 1, "streams": 1, "events": 3}


async def test_what_is_stored_before_a_wait_stays_when_the_handler_fails_later(
    world: World, journal: MemoryJournal
) -> None:
    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("kept"))
        await trio.sleep(1)
        await ledger.persist(Added("lost"))
        raise RuntimeError

    ledger = await spawn(world)
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    assert await ledger.ask(Read()) == await stored(journal) == ("kept",)


async def test_a_handler_that_fails_and_is_resumed_has_the_state_of_before(
    world: World, journal: MemoryJournal
) -> None:
    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("lost"), Added("too"))
        raise KeyError

    ledger = await spawn(world, directives={KeyError: "resume"})
    await ledger.ask(Do(add("a")))
    before = instance(ledger)
    await ledger.tell(Do(act))
    assert await ledger.ask(Read()) == ("a",)
    assert instance(ledger) is before
    assert await ledger.ask(Do(add("b"))) == ("a", "b")
    assert await stored(journal, "/top/ledger") == ("a", "b")


async def test_a_wrong_event_is_said_and_stores_nothing(
    world: World, journal: MemoryJournal
) -> None:
    """All or none: also those before it in the same call."""

    async def act(ledger: Ledger) -> None:
        wrong: Any = Deposited(1)
        with pytest.raises(TypeError, match="Deposited is not among what is stored"):
            await ledger.persist(Added("a"), wrong)
        assert ledger.state == ()
        await ledger.persist(Added("b"))

    ledger = await spawn(world)
    await ledger.ask(Do(act))
    assert await ledger.ask(Read()) == await stored(journal) == ("b",)


async def test_a_state_is_no_event(world: World) -> None:
    async def act(ledger: Ledger) -> None:
        state: Any = ("a",)
        with pytest.raises(TypeError, match=r"tuple is not among what is stored here"):
            await ledger.persist(state)

    await (await spawn(world)).ask(Do(act))


async def test_persist_without_events_waits_until_all_is_durable(
    world: World, journal: MemoryJournal
) -> None:
    durable: list[tuple[str, ...]] = []

    async def act(ledger: Ledger) -> None:
        await ledger.persist()
        await ledger.persist(Added("a"))
        durable.append(await stored(journal))
        await ledger.persist(Added("b"))
        await ledger.persist()
        durable.append(await stored(journal))

    ledger = await spawn(world)
    await ledger.ask(Do(act))
    assert durable[1] == ("a", "b")


async def test_tasks_of_a_handler_store_at_once_what_they_store(
    world: World, journal: MemoryJournal
) -> None:
    """Each waits for its own, in any order, and snapshots are of what they say."""

    class Often(Ledger):
        snapshot_every = 1

    async def act(ledger: Ledger) -> None:
        async def one(word: str) -> None:
            await ledger.persist(Added(word))
            assert word in await stored(journal)
            await ledger.persist()

        async with trio.open_nursery() as nursery:
            for word in "abc":
                nursery.start_soon(one, word)
            await ledger.persist(Added("d"))
        assert len(await stored(journal)) == 4

    journal.delay(1)
    ledger = await world.spawn(Often, name="ledger")
    await ledger.ask(Do(act, "id"))
    state = await ledger.ask(Read())
    assert state == await stored(journal)
    ledger.restart()
    assert await ledger.ask(Read()) == state


@pytest.mark.parametrize("verb", ["persist", "remind", "cancel_reminder", "post"])
async def test_only_the_handler_stores(verb: str, world: World) -> None:
    found: list[BaseException] = []
    arguments: dict[str, tuple[Any, ...]] = {
        "persist": (Added("a"),),
        "remind": ("name", 1),
        "cancel_reminder": ("name",),
        "post": (Added("a"),),
    }

    async def aside(ledger: Ledger) -> None:
        try:
            await getattr(ledger, verb)(*arguments[verb])
        except RuntimeError as error:
            found.append(error)

    async def act(ledger: Ledger) -> None:
        ledger.context.start_soon(aside, ledger)

    ledger = await spawn(world)
    await ledger.ask(Do(act))
    await world.settled()
    await aside(instance(ledger))
    for error in found:
        assert f"{verb}() is for the handlers, and for started(), of /ledger" in str(
            error
        )
    assert len(found) == 2


async def test_before_it_is_read_it_has_its_initial_state_and_stores_nothing() -> None:
    class Early(Ledger):
        def __init__(self) -> None:
            super().__init__()
            assert self.state == ()
            assert self.key == "/ledger"

    async with open_actor_system("early", journal=MemoryJournal()) as system:
        await system.spawn(Early, name="ledger")
    by_hand = Ledger()
    assert by_hand.state == ()
    with pytest.raises(RuntimeError, match="made by hand"):
        await by_hand.persist(Added("a"))


async def test_hooks_store_too(world: World, journal: MemoryJournal) -> None:
    class Hooked(Ledger):
        async def started(self) -> None:
            await self.persist(Added("started"))
            assert await stored(journal) == self.state

        async def restarting(self, failure: Exception, /) -> None:
            await self.persist(Added("restarting"))

        async def restarted(self, failure: Exception, failed: Any, /) -> None:
            await self.persist(Added("restarted"))

        async def stopped(self, reason: Exit, /) -> None:
            await self.persist(Added("stopped"))

    hooked = await world.spawn(Hooked, name="ledger")
    hooked.restart()
    expected = ("started", "restarting", "restarted")
    assert await hooked.ask(Read()) == expected
    hooked.stop()
    await hooked.wait_stopped()
    assert await stored(journal) == (*expected, "stopped")


async def test_become_is_refused(world: World) -> None:
    async def act(ledger: Ledger) -> None:
        ledger.become(Ledger())

    ledger = await spawn(world)
    with pytest.raises(ActorFailed, match="Decide by self.state"):
        await ledger.ask(Do(act))


async def test_without_a_journal_nothing_durable_starts() -> None:
    async with open_actor_system("none") as system:
        with pytest.raises(StartFailed) as caught:
            await system.spawn(Ledger, name="ledger")
    assert "/ledger is durable, but the actor system 'none' has no journal" in str(
        caught.value.__cause__
    )


def test_the_path_of_a_journal_is_no_journal() -> None:
    wrong: list[Any] = ["bank.db", SQLiteJournal, 3]
    for journal in wrong:
        with pytest.raises(TypeError, match=r"journal=SQLiteJournal\(path\)"):
            open_actor_system("demo", journal=journal)


async def test_an_instance_is_one_actor_once(world: World) -> None:
    """What it knows of one history is never written to another."""
    shared = Ledger()
    first = await world.spawn(lambda: shared, name="first")
    assert await first.ask(Do(add("one"))) == ("one",)
    with pytest.raises(StartFailed) as caught:
        await world.spawn(lambda: shared, name="second")
    assert "make a new one each time" in str(caught.value.__cause__)


# --- A write that fails ---


async def swallow(ledger: Ledger) -> None:
    """Take no notice of anything that goes wrong."""
    await ledger.persist(Added("lost"))
    for _ in range(3):
        try:
            await ledger.persist()
        except BaseException:
            continue


async def in_a_task(ledger: Ledger) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.persist, Added("lost"))


async def in_a_task_that_swallows(ledger: Ledger) -> None:
    async def task() -> None:
        with pytest.raises(WriteFailed):
            await ledger.persist(Added("lost"))
        with pytest.raises(WriteFailed):
            await ledger.persist(Added("lost"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)


async def then_waits(ledger: Ledger) -> None:
    await ledger.persist(Added("lost"))
    await trio.sleep(math.inf)


async def then_waits_shielded(ledger: Ledger) -> None:
    await ledger.persist(Added("lost"))
    with trio.CancelScope(shield=True):
        await trio.sleep(1)
        with pytest.raises(WriteFailed):
            await ledger.persist(Added("more"))


async def in_tasks_that_wait_for_each_other(ledger: Ledger) -> None:
    async def second() -> None:
        await trio.lowlevel.checkpoint()
        with pytest.raises(WriteFailed):
            await ledger.persist(Added("more"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.persist, Added("lost"))
        nursery.start_soon(second)


FAILING = [
    add("lost"),
    swallow,
    in_a_task,
    in_a_task_that_swallows,
    then_waits,
    then_waits_shielded,
    in_tasks_that_wait_for_each_other,
]


def resume_all(error: Exception) -> Directive:
    return "resume"


@pytest.mark.parametrize("after_commit", [True, False])
@pytest.mark.parametrize("directive", ["resume", "restart", resume_all])
@pytest.mark.parametrize("act", FAILING)
async def test_a_write_that_fails_is_never_resumed(
    act: Any, directive: Any, after_commit: bool, world: World, journal: MemoryJournal
) -> None:
    """PER-1: nobody knows whether it is stored; whatever the handler does."""
    rules = directive if callable(directive) else {Exception: directive}
    ledger = await spawn(world, directives=rules)
    await ledger.ask(Do(add("a")))
    before = instance(ledger)
    journal.fail_next(after_commit=after_commit)
    with pytest.raises(ActorFailed) as caught:
        await ledger.ask(Do(act))
    assert isinstance(caught.value.__cause__, WriteFailed)
    state = await ledger.ask(Read())
    assert instance(ledger) is not before
    assert state == await stored(journal, "/top/ledger")
    assert state == (("a", "lost") if after_commit else ("a",))
    assert await ledger.ask(Do(add("b"))) == (*state, "b")


@pytest.mark.parametrize("swallows", [True, False])
async def test_a_write_that_fails_in_started_fails_the_start(
    swallows: bool, world: World, journal: MemoryJournal
) -> None:
    starts = 0

    async def start(ledger: Ledger) -> None:
        nonlocal starts
        starts += 1
        if starts > 1:
            return
        try:
            await ledger.persist(Added("lost"))
        except WriteFailed:
            if not swallows:
                raise

    journal.fail_next()
    if swallows:
        ledger = await world.spawn(Ledger, start, name="ledger")
        assert await ledger.ask(Read()) == ()
        assert starts == 2
    else:
        with pytest.raises(StartFailed):
            await world.spawn(Ledger, start, name="ledger")


async def test_an_error_of_the_journal_that_is_no_write_failed_is_as_bad(
    world: World,
) -> None:
    class Broken(MemoryJournal):
        async def append(self, *args: Any, **kwargs: Any) -> None:
            await super().append(*args, **kwargs)
            raise OSError("the cable")

    journal = Broken()
    world.use(journal)
    ledger = await spawn(world, directives={OSError: "resume"})
    before = instance(ledger)
    with pytest.raises(ActorFailed, match="the cable"):
        await ledger.ask(Do(add("a")))
    assert await ledger.ask(Read()) == ("a",)
    assert instance(ledger) is not before


# --- Who was replaced ---


@pytest.mark.parametrize("act", FAILING)
@pytest.mark.parametrize("directive", ["restart", "resume", "escalate", "stop"])
async def test_who_was_fenced_ends_whatever_the_directive(
    directive: Any, act: Any, autojump_clock: trio.testing.MockClock
) -> None:
    """The loser never claims the stream again: it would be a fight without end."""
    journal = MemoryJournal()
    async with (
        open_actor_system("first", journal=journal) as one,
        open_actor_system("second", journal=journal) as two,
    ):
        rules = Supervision(directives={Exception: directive})
        early = await (await one.spawn_supervisor(supervision=rules, name="top")).spawn(
            Ledger, name="ledger"
        )
        late = await (await two.spawn_supervisor(name="top")).spawn(
            Ledger, name="ledger"
        )
        await late.ask(Do(add("late")))
        with pytest.raises(ActorFailed) as caught:
            await early.ask(Do(act))
        assert isinstance(caught.value.__cause__, Fenced)
        exit = await early.wait_stopped()
        assert exit.kind == "failed"
        assert isinstance(exit.error, Fenced)
        assert await late.ask(Do(add("later"))) == ("late", "later")


async def test_who_was_fenced_ends_also_when_nobody_looks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the restart that is quick because nobody logs or listens."""
    caplog.set_level("CRITICAL", logger="trio_actors")
    journal = MemoryJournal()
    async with (
        open_actor_system("first", journal=journal) as one,
        open_actor_system("second", journal=journal) as two,
    ):
        early = await one.spawn(Ledger, name="ledger")
        await two.spawn(Ledger, name="ledger")
        await early.tell(Do(add("a")))
        assert (await early.wait_stopped()).kind == "failed"


# --- Cut short at every step ---


async def busy(ledger: Ledger) -> None:
    """Store, wait, store, ask; in the end store twice."""
    await ledger.persist(Added("1"))
    await trio.sleep(1)
    await ledger.persist(Added("2"))
    await ledger.persist()
    with trio.move_on_after(0.5):
        await ledger.persist(Added("3"))
        await trio.sleep(5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.persist, Added("4"))
        nursery.start_soon(ledger.persist, Added("5"))
    await ledger.persist(Added("6"))
    await ledger.persist(Added("7"))


Cut = Callable[[Ref, trio.CancelScope], None]


def kill(ledger: Ref, asker: trio.CancelScope) -> None:
    ledger.kill()


def stop(ledger: Ref, asker: trio.CancelScope) -> None:
    ledger.stop()


def drain(ledger: Ref, asker: trio.CancelScope) -> None:
    ledger.drain()


def restart(ledger: Ref, asker: trio.CancelScope) -> None:
    ledger.restart()


def leave(ledger: Ref, asker: trio.CancelScope) -> None:
    asker.cancel()


@pytest.mark.parametrize("message", [Do(busy), Do(busy, "id"), DoForMe(busy)])
@pytest.mark.parametrize("cut", [kill, stop, drain, restart, leave])
async def test_cut_short_at_any_time_memory_is_what_a_replay_gives(
    cut: Cut, message: Any, world: World, journal: MemoryJournal
) -> None:
    """Each tenth of a second of a command whose writes take 0.25 seconds each."""
    journal.delay(0.25)
    for tenth in range(40):
        name = f"ledger{tenth}"
        ledger: Ref = await world.spawn(Ledger, name=name)
        asker = trio.CancelScope()
        async with trio.open_nursery() as nursery:

            async def ask(asker: trio.CancelScope = asker, to: Ref = ledger) -> None:
                with asker:
                    try:
                        await to.ask(message)
                    except ActorFailed:
                        return

            nursery.start_soon(ask)
            await trio.sleep(tenth / 10 + 0.01)
            cut(ledger, asker)
            seen = instance(ledger)
        await world.settled()
        kept = await stored(journal, f"/{name}")
        assert kept == tuple("1234567"[: len(kept)])
        if cut is not restart:
            assert seen.state == kept
        if cut in (restart, leave):
            assert await ledger.ask(Read()) == kept
            assert await ledger.ask(Do(add("more"))) == (*kept, "more")


async def test_a_scope_that_ends_while_it_is_stored_loses_nothing(
    world: World, journal: MemoryJournal
) -> None:
    """What was persisted inside of it is stored, and what comes then, too."""

    async def act(ledger: Ledger) -> None:
        with trio.move_on_after(0):
            await ledger.persist(Added("never"))
        with trio.CancelScope() as scope:
            await ledger.persist(Added("a"))
            scope.cancel()
            await ledger.persist()
        await ledger.persist(Added("b"))

    ledger = await spawn(world)
    with trio.CancelScope():
        await ledger.ask(Do(act))
    state = await ledger.ask(Read())
    assert state == await stored(journal)
    assert state[-2:] == ("a", "b")


class Queued(MemoryJournal):
    """Lets a write wait a second, in which it could be taken back."""

    async def append(self, *args: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await trio.sleep(1)
        await super().append(*args)


async def test_what_is_staged_is_not_taken_back_while_it_waits_for_its_write(
    world: World,
) -> None:
    """It is in the state already, so it is stored; at the end all is taken back."""
    world.use(journal := Queued())

    async def act(ledger: Ledger) -> None:
        async def task() -> None:
            with trio.move_on_after(0.5):
                await ledger.persist(Added("a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
        assert ledger.state == await stored(journal) == ("a",)
        await ledger.persist(Added("b"))

    ledger = await spawn(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.tell, Do(act))
        await trio.sleep(1.5)
        ledger.restart()
    assert await ledger.ask(Read()) == await stored(journal) == ("a",)


async def test_what_is_awaited_may_be_of_another_library(
    world: World, journal: MemoryJournal
) -> None:
    """Trio's error comes out where the handler waits, as without a journal."""

    class Foreign:
        def __await__(self) -> Any:
            yield "asyncio"

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        with pytest.raises(TypeError, match="asyncio"):
            await Foreign()
        await ledger.persist(Added("b"))

    ledger = await spawn(world)
    await ledger.ask(Do(act))
    assert await ledger.ask(Read()) == await stored(journal) == ("a", "b")


# --- Classes of all kinds ---


async def test_a_class_may_be_made_by_attrs_and_frozen(
    world: World, journal: MemoryJournal
) -> None:
    @attrs.frozen
    class Frozen(Ledger):
        start: Any = None
        reminders: list[Any] = attrs.field(factory=list[Any])

    @attrs.define
    class Defined(Ledger):
        start: Any = None
        reminders: list[Any] = attrs.field(factory=list[Any])

    for cls in (Frozen, Defined):
        ref = await world.spawn(cls, name=cls.__name__)
        await ref.ask(Do(add("a")))
        journal.fail_next()
        with pytest.raises(ActorFailed):
            await ref.ask(Do(add("b")))
        assert await ref.ask(Do(add("c"))) == ("a", "c")


async def test_a_subclass_may_handle_a_command_in_another_way(world: World) -> None:
    class Loud(Ledger):
        @handler
        async def do(self, message: Do) -> Any:
            await self.persist(Added("LOUD"))
            return self.state

    assert await (await world.spawn(Loud)).ask(Do(add("a"))) == ("LOUD",)
