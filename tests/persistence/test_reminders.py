"""Reminders: timers that outlive the process."""

import math
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import trio

from tests.persistence.ledger import Added, Do, Ledger, Read, add
from trio_actors import ActorFailed, ActorRef, Heartbeat, Supervision, handler
from trio_actors.persistence import DurableState, Entities, MemoryJournal, Reminder
from trio_actors.testing import World

Ref = ActorRef[Any]


@pytest.fixture
def journal(world: World) -> MemoryJournal:
    journal = MemoryJournal()
    world.use(journal)
    return journal


def remind(name: str, delay: float, every: float | None = None) -> Do:
    async def act(ledger: Ledger) -> None:
        await ledger.remind(name, delay, every=every)

    return Do(act)


def cancel(name: str) -> Do:
    async def act(ledger: Ledger) -> None:
        await ledger.cancel_reminder(name)

    return Do(act)


class Keeps(Ledger):
    """Stores what it was reminded of, and when, and how often that was missed."""

    @handler
    async def on_reminder(self, message: Reminder) -> None:
        at = int(self.context.system._runtime.wall())
        await self.persist(Added(f"{message.name} at {at} missed {message.missed}"))


async def spawn(world: World, cls: Any = Keeps) -> Ref:
    return await world.spawn(cls, name="ledger")


async def come_back(ledger: Ref, after: float, world: World, cls: Any = Keeps) -> Ref:
    """Let the program end, and start again *after* seconds."""
    ledger.kill()
    await ledger.wait_stopped()
    await trio.sleep(after)
    return await spawn(world, cls)


async def test_one_comes_when_it_is_due_and_once(world: World) -> None:
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    await ledger.ask(remind("b", 5))
    await trio.sleep(100)
    assert await ledger.ask(Read()) == ("b at 5 missed 0", "a at 10 missed 0")
    ledger.restart()
    await trio.sleep(100)
    assert len(await ledger.ask(Read())) == 2


async def test_one_that_is_still_to_come_outlives_the_program(
    world: World, journal: MemoryJournal
) -> None:
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    ledger = await come_back(ledger, 4, world)
    await trio.sleep(7)
    assert await ledger.ask(Read()) == ("a at 10 missed 0",)


async def test_one_that_is_overdue_comes_at_once_and_once(
    world: World, journal: MemoryJournal
) -> None:
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    ledger = await come_back(ledger, 40, world)
    await trio.sleep(0.1)
    assert await ledger.ask(Read()) == ("a at 40 missed 1",)
    ledger = await come_back(ledger, 40, world)
    assert len(await ledger.ask(Read())) == 1


async def test_one_that_repeats_says_how_often_it_was_missed(
    world: World, journal: MemoryJournal
) -> None:
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10, every=10))
    await trio.sleep(21)
    ledger = await come_back(ledger, 44, world)  # due at 30, 40, 50, 60
    await trio.sleep(10)
    assert await ledger.ask(Read()) == (
        "a at 10 missed 0",
        "a at 20 missed 0",
        "a at 65 missed 4",
        "a at 70 missed 0",
    )


async def test_one_that_repeats_is_not_made_up_for_while_the_actor_is_busy(
    world: World, journal: MemoryJournal
) -> None:
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10, every=10))
    await ledger.ask(Do(lambda _: trio.sleep(35)))
    await trio.sleep(10)
    assert await ledger.ask(Read()) == (
        "a at 35 missed 0",
        "a at 35 missed 2",
        "a at 40 missed 0",
    )


async def test_one_of_the_same_name_is_replaced(world: World) -> None:
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    await ledger.ask(remind("a", 20))
    await trio.sleep(100)
    assert await ledger.ask(Read()) == ("a at 20 missed 0",)


async def test_one_that_is_taken_back_never_comes(world: World) -> None:
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    await ledger.ask(cancel("a"))
    await ledger.ask(cancel("unknown"))
    ledger.restart()
    await trio.sleep(100)
    assert await ledger.ask(Read()) == ()


async def test_one_on_its_way_lapses_when_it_is_taken_back(world: World) -> None:
    async def act(ledger: Ledger) -> None:
        await trio.sleep(5)  # it is due meanwhile, and waits in the mailbox
        await ledger.cancel_reminder("a")

    ledger = await spawn(world)
    await ledger.ask(remind("a", 1))
    await ledger.ask(Do(act))
    await world.settled()
    assert await ledger.ask(Read()) == ()


async def test_a_command_that_fails_reminds_of_nothing(
    world: World, journal: MemoryJournal
) -> None:
    async def act(ledger: Ledger) -> None:
        await ledger.remind("a", 1)
        raise RuntimeError

    ledger = await spawn(world)
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    await trio.sleep(10)
    assert await ledger.ask(Read()) == ()
    assert await journal.notes("/ledger") == []


@pytest.mark.parametrize("directive", ["restart", "resume"])
@pytest.mark.parametrize("every", [None, 10])
async def test_one_whose_handler_fails_comes_again(
    every: float | None, directive: Any, world: World
) -> None:
    """At least once: it is taken away by the append of the handler, or not at all."""
    failing = [True, True]

    class Fails(Keeps):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            if failing:
                failing.pop()
                await self.persist(Added("lost"))
                raise KeyError
            await self.persist(Added(message.name))

    rules = Supervision(directives={KeyError: directive})
    supervisor = await world.spawn_supervisor(supervision=rules)
    ledger = await supervisor.spawn(Fails)
    await ledger.ask(remind("a", 10, every))
    await trio.sleep(15)
    assert await ledger.ask(Read()) == ("a",)
    assert failing == []


async def test_one_whose_handler_always_fails_does_not_end_the_program(
    world: World,
) -> None:
    """It would end it again each time it starts: within its restarts it goes on."""

    class Fails(Keeps):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            raise KeyError

    ledger = await spawn(world, Fails)
    await ledger.ask(remind("a", 10))
    await trio.sleep(100)
    assert await ledger.ask(Read()) == ()


@pytest.mark.parametrize(("away", "missed"), [(5.5, 0), (7, 1)])
async def test_one_that_is_a_moment_late_was_not_missed(
    away: float, missed: int, world: World
) -> None:
    """An entity that is passive has to wake first, and that takes a moment."""
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    await trio.sleep(5)
    ledger = await come_back(ledger, away, world)
    await trio.sleep(1)
    (said,) = await ledger.ask(Read())
    assert said.endswith(f"missed {missed}")


async def test_one_that_is_stashed_is_not_lost(
    world: World, journal: MemoryJournal
) -> None:
    class Stashes(Keeps):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            self.context.stash(message)

    ledger = await spawn(world, Stashes)
    await ledger.ask(remind("a", 10))
    await trio.sleep(20)
    ledger = await come_back(ledger, 10, world)
    assert len(world.dead()) == 1
    await trio.sleep(0.1)
    assert await ledger.ask(Read()) == ("a at 30 missed 1",)


async def test_one_that_its_own_handler_sets_anew_comes_then(world: World) -> None:
    class Again(Ledger):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            await self.persist(Added(message.name))
            if len(self.state) < 3:
                await self.remind(message.name, 5)
            if len(self.state) == 2:
                await trio.sleep(1)  # stored already, when the handler ends

    ledger = await spawn(world, Again)
    await ledger.ask(remind("a", 5))
    await trio.sleep(100)
    assert await ledger.ask(Read()) == ("a", "a", "a")


@pytest.mark.parametrize("reads_only", [True, False])
async def test_a_plain_handler_takes_one_too(reads_only: bool, world: World) -> None:
    """Also one that says it only reads: the reminder is taken away all the same."""
    seen: list[Reminder] = []

    class Plain(Ledger):
        @handler(reads_only=reads_only)
        def on_reminder(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            self, message: Reminder
        ) -> None:
            seen.append(message)

    ledger = await spawn(world, Plain)
    await ledger.ask(remind("a", 5))
    await trio.sleep(10)
    ledger.restart()
    await trio.sleep(10)
    assert [one.name for one in seen] == ["a"]


async def test_its_id_is_the_same_each_time_it_comes(world: World) -> None:
    seen: list[str] = []

    class Fails(Ledger):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            seen.append(message.command_id)
            if len(seen) == 1:
                raise KeyError

    ledger = await spawn(world, Fails)
    await ledger.ask(remind("a", 5, every=5))
    await trio.sleep(11)
    assert seen == ["a@5.0", "a@5.0", "a@10.0"]


async def test_a_clock_that_is_set_back_moves_nothing_while_the_actor_lives(
    world: World, journal: MemoryJournal
) -> None:
    runtime: Any = world._runtime
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    runtime.wall = lambda: trio.current_time() - 3_600
    await trio.sleep(11)
    assert await ledger.ask(Read()) == ("a at -3590 missed 0",)


async def test_after_a_clock_was_set_back_one_comes_when_the_clock_says_so(
    world: World, journal: MemoryJournal
) -> None:
    runtime: Any = world._runtime
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10))
    runtime.wall = lambda: trio.current_time() - 100
    ledger = await come_back(ledger, 1, world)
    await trio.sleep(120)
    assert await ledger.ask(Read()) == ("a at 10 missed 0",)


async def test_a_clock_that_is_set_forth_makes_it_overdue_at_the_next_start(
    world: World, journal: MemoryJournal
) -> None:
    runtime: Any = world._runtime
    ledger = await spawn(world)
    await ledger.ask(remind("a", 10, every=10))
    runtime.wall = lambda: trio.current_time() + 100
    ledger = await come_back(ledger, 1, world)
    await trio.sleep(0.1)
    assert await ledger.ask(Read()) == ("a at 101 missed 10",)


@pytest.mark.parametrize("delay", [-1, math.nan, math.inf])
async def test_a_delay_out_of_range_is_refused(delay: float, world: World) -> None:
    ledger = await spawn(world)
    with pytest.raises(ActorFailed, match="the delay of a reminder is seconds from 0"):
        await ledger.ask(remind("a", delay))


@pytest.mark.parametrize("every", [0, -1, math.nan, math.inf])
async def test_a_repeat_out_of_range_is_refused(every: float, world: World) -> None:
    ledger = await spawn(world)
    with pytest.raises(ActorFailed, match="every= is seconds, more than 0"):
        await ledger.ask(remind("a", 1, every))


async def test_what_is_no_name_and_what_are_no_seconds_are_refused(
    world: World,
) -> None:
    no_name: Any = 5
    no_seconds: Any = timedelta(seconds=1)
    ledger = await spawn(world)
    with pytest.raises(ActorFailed, match="the name of a reminder is a text"):
        await ledger.ask(remind(no_name, 1))
    for delay, every in ((no_seconds, None), (1, no_seconds)):
        with pytest.raises(ActorFailed, match=r"write .total_seconds\(\)"):
            await ledger.ask(remind("a", delay, every))


async def test_who_has_no_handler_is_told_so(world: World) -> None:
    class Deaf(DurableState[Do, int]):
        initial = 0

        @handler
        async def do(self, message: Do) -> Any:
            await self.remind("a", 1)

    deaf = await world.spawn(Deaf)
    with pytest.raises(ActorFailed, match="has no handler for Reminder"):
        await deaf.ask(Do(add()))


async def test_one_that_its_failed_handler_has_taken_back_comes_no_more(
    world: World,
) -> None:
    seen: list[Reminder] = []

    class Stops(Ledger):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            seen.append(message)
            await self.cancel_reminder("a")
            await trio.sleep(1)
            raise KeyError

    rules = Supervision(directives={KeyError: "resume"})
    supervisor = await world.spawn_supervisor(supervision=rules)
    ledger = await supervisor.spawn(Stops)
    await ledger.ask(remind("a", 5, every=5))
    await trio.sleep(100)
    assert len(seen) == 1


# --- Several that are overdue, of which some fail ------------------------------


def failing(*names: str, how: str = "fails") -> Any:
    """Return a ledger that never handles some of its reminders, and what it saw."""
    seen: list[tuple[str, float]] = []

    class Fails(Ledger):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            seen.append((message.name, trio.current_time()))
            if message.name in names:
                if how == "hangs":
                    await trio.sleep_forever()
                raise KeyError

    return Fails, seen


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_one_that_always_fails_keeps_no_other_from_coming(
    how: str, world: World
) -> None:
    """Whichever is due first; and those that fail take turns."""
    cls, seen = failing("bad", "worse", how=how)
    ledger = await world.spawn(cls, name="ledger", heartbeat=Heartbeat())
    for name in ("bad", "worse", "good", "late"):
        await ledger.ask(remind(name, 12 if name == "late" else 10))
    await trio.sleep(40)
    names = [name for name, _ in seen]
    assert names.count("good") == names.count("late") == 1
    assert set(names[:4]) == {"bad", "worse", "good", "late"}
    assert abs(names.count("bad") - names.count("worse")) <= 1
    tries = [at for name, at in seen if name in ("bad", "worse")]
    assert all(two - one >= 2 for one, two in pairwise(tries))


@pytest.mark.parametrize("idle_after", [0.1, 100])
async def test_one_that_always_fails_keeps_its_turn_while_its_entity_is_passive(
    idle_after: float, world: World
) -> None:
    cls, seen = failing("bad")
    ledger = Entities(world, cls, name="ledger", idle_after=idle_after).get("one")
    for name in ("bad", "good"):
        await ledger.ask(remind(name, 10))
    await trio.sleep(25)
    assert [name for name, _ in seen] == ["bad", "good", *["bad"] * 7]
    assert [at for _, at in seen[1:]] == [12, 12, 14, 16, 18, 20, 22, 24]


async def test_one_that_failed_and_is_not_there_any_more_is_forgotten(
    world: World, journal: MemoryJournal
) -> None:
    """It was taken away by a write of which nobody knew the end."""

    class Fails(Ledger):
        @handler
        async def on_reminder(self, message: Reminder) -> None:
            journal.fail_next(after_commit=True)

    ledger = await spawn(world, Fails)
    await ledger.ask(remind("bad", 10))
    await trio.sleep(20)
    assert await ledger.ask(Read()) == ()
    assert ledger._cell.retries == {}


# --- One that is set at each start ----------------------------------------------


def at_start(delay: float, every: float | None) -> Any:
    class AtStart(Keeps):
        async def started(self) -> None:
            await self.remind("a", delay, every=every)

    return AtStart


async def test_one_that_is_due_is_not_put_off_by_the_start_that_it_leads_to(
    world: World,
) -> None:
    """An entity sets it whenever it is activated, and it is what activates it."""
    entities = Entities(world, at_start(10, 10), name="ledger", idle_after=1)
    ledger = entities.get("one")
    await ledger.ask(Read())
    await trio.sleep(35)
    assert await ledger.ask(Read()) == tuple(
        f"a at {at} missed 0" for at in (10, 20, 30)
    )


@pytest.mark.parametrize("every", [None, 10])
async def test_one_that_was_missed_comes_also_if_the_start_sets_it(
    every: float | None, world: World, journal: MemoryJournal
) -> None:
    cls = at_start(10, every)
    ledger = await come_back(await spawn(world, cls), 35, world, cls)
    await trio.sleep(0.1)
    writes = journal.statistics()["writes"]
    assert await ledger.ask(Read()) == (f"a at 35 missed {3 if every else 1}",)
    assert writes == 2  # the first start, and the handler


async def test_starts_do_not_put_one_off_that_is_still_to_come(
    world: World, journal: MemoryJournal
) -> None:
    cls = at_start(10, 100)
    ledger = await come_back(await spawn(world, cls), 6, world, cls)
    ledger.restart()
    await trio.sleep(6)
    assert await ledger.ask(Read()) == ("a at 10 missed 0",)


@pytest.mark.parametrize(("delay", "every"), [(10, 50), (1, 100)])
async def test_a_start_sets_one_anew_that_comes_sooner_or_in_another_interval(
    delay: float, every: float, world: World, journal: MemoryJournal
) -> None:
    ledger = await spawn(world, at_start(10, 100))
    ledger = await come_back(ledger, 6, world, at_start(delay, every))
    await trio.sleep(12)
    at = 6 + delay
    assert await ledger.ask(Read()) == (f"a at {at} missed 0",)


async def test_a_start_may_take_one_back_and_set_it_anew(
    world: World, journal: MemoryJournal
) -> None:
    class Anew(Keeps):
        async def started(self) -> None:
            await self.cancel_reminder("a")
            await self.remind("a", 10)

    ledger = await come_back(await spawn(world, Anew), 35, world, Anew)
    await trio.sleep(20)
    assert await ledger.ask(Read()) == ("a at 45 missed 0",)
