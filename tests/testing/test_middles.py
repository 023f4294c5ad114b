"""What could have come in the middle of a step is tried there, too."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from tests.testing.fuzz import compare, program_of, rules_for, search
from tests.testing.searched import Register, Write
from trio_actors import (
    Actor,
    ActorStopped,
    ChildSpec,
    Mailbox,
    MailboxFull,
    Request,
    ServiceKey,
    handler,
    tagged,
)
from trio_actors.persistence import EventSourced, applies
from trio_actors.testing import World, _engine, _pilot, check
from trio_actors.testing._dpor import Optimal
from trio_actors.testing._events import Event, Footprint, Part, Run
from trio_actors.testing._middles import in_the_middle

Program = Callable[[World], Awaitable[None]]


@attrs.frozen
class Row:
    number: int


@attrs.frozen
class Seen(Request[tuple[Any, ...]]): ...


class Sink(Actor[Row | Seen]):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    @handler
    def row(self, message: Row) -> None:
        self.seen.append(message.number)

    @handler
    def tell(self, message: Seen) -> tuple[int, ...]:
        return tuple(self.seen)


class Batches(Actor[Row | Seen]):
    """Keeps how many rows came at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @handler(batch=10)
    def rows(self, messages: list[Row]) -> None:
        self.sizes.append(len(messages))

    @handler
    def tell(self, message: Seen) -> tuple[int, ...]:
        return tuple(self.sizes)


async def block(world: World) -> None:
    sink = await world.spawn(Sink, mailbox=Mailbox(1))

    async def feed(*numbers: int) -> None:
        for number in numbers:
            await sink.tell(Row(number))

    world.client(feed, 1, 2)
    world.client(feed, 3)
    await world.settled()
    assert await sink.ask(Seen()) != (1, 3, 2)


async def fail(world: World) -> None:
    sink = await world.spawn(Sink, mailbox=Mailbox(1, "fail"))

    async def feed() -> None:
        try:
            await sink.tell(Row(1))
            await sink.tell(Row(2))
        except MailboxFull:
            return
        raise AssertionError("both were accepted")

    world.client(feed)
    await world.settled()


async def drop(world: World) -> None:
    sink = await world.spawn(Sink, mailbox=Mailbox(1, "drop_oldest"))

    async def feed() -> None:
        await sink.tell(Row(1))
        await sink.tell(Row(2))

    world.client(feed)
    await world.settled()
    world.dead()
    assert await sink.ask(Seen()) == (2,)


async def batch(world: World) -> None:
    sink = await world.spawn(Batches)

    async def feed() -> None:
        await sink.tell(Row(1))
        await sink.tell(Row(2))

    world.client(feed)
    await world.settled()
    assert await sink.ask(Seen()) == (2,)


@attrs.frozen
class Quit: ...


KEY = ServiceKey[Quit]("leaves")


class Leaver(Actor[Quit]):
    async def started(self) -> None:
        self.context.register(KEY)

    @handler
    def quit(self, message: Quit) -> None:
        self.context.stop()


async def looked_up(what: Any, world: World) -> None:
    leaver = await world.spawn(Leaver, name="leaver")

    async def leave() -> None:
        await leaver.tell(Quit())
        assert world.find(what) is not None, "it has gone"

    world.client(leave)
    await world.settled()


async def replaced(world: World) -> None:
    old = await world.spawn(Sink, name="session")

    async def reconnect() -> None:
        old.stop()
        await old.wait_stopped()
        await world.spawn(Sink, name="session")

    async def use() -> None:
        assert world.find("/session") is not None, "nobody is there"

    world.client(reconnect)
    world.client(use)
    await world.settled()


SPEC = ChildSpec("child", Sink)


async def restarted(world: World) -> None:
    top = await world.spawn_supervisor(SPEC, name="top")

    async def renew() -> None:
        await top.terminate_child("child")
        await top.restart_child("child")

    async def use() -> None:
        top.child(SPEC)  # KeyError: it has stopped

    world.client(renew)
    world.client(use)
    await world.settled()


async def resized(world: World) -> None:
    pool = await world.spawn_pool(Sink, size=1, name="pool")
    world.client(pool.resize, 3)
    world.client(pool.resize, 2)  # StartFailed: the other one drains its third
    await world.settled()


@attrs.frozen
class Move(Request[None]): ...


class Teller(Actor[Move]):
    """Tells one, and then the other one."""

    def __init__(self, *sinks: Any) -> None:
        self.sinks = sinks

    @handler
    async def move(self, message: Move) -> None:
        for sink in self.sinks:
            await sink.tell(Row(1))


async def killed(world: World) -> None:
    sinks = [await world.spawn(Sink, name=name) for name in "ab"]
    teller = await world.spawn(Teller, *sinks, name="teller")

    async def kill() -> None:
        teller.kill()

    world.client(teller.tell, Move())
    world.client(kill)
    await world.settled()
    world.dead()
    one, other = [await sink.ask(Seen()) for sink in sinks]
    assert one == other, "half of it was done"


@attrs.frozen
class Deposit(Request[int]):
    amount: int


@tagged("middles.deposited@1")
@attrs.frozen
class Deposited:
    amount: int


class Account(EventSourced[Deposit, Deposited, int]):
    initial = 0

    @handler
    async def deposit(self, message: Deposit) -> int:
        await self.persist(Deposited(message.amount))
        return self.state

    @applies
    def deposited(self, event: Deposited) -> int:
        return self.state + event.amount


async def killed_while_it_writes(world: World) -> None:
    account = await world.spawn(Account, name="account")

    async def use() -> None:
        with suppress(ActorStopped):  # not begun; ActorFailed: it was cut short
            await account.ask(Deposit(5))

    async def kill() -> None:
        account.kill()

    world.client(use)
    world.client(kill)
    await world.settled()
    world.dead()


@attrs.frozen
class Add(Request[None]): ...


class Inner(Actor[Add]):
    """Two of its tasks read, and write a checkpoint later."""

    def __init__(self, sink: Any) -> None:
        self.sink = sink
        self.total = 0

    async def add(self) -> None:
        total = self.total
        await self.sink.tell(Row(total))
        self.total = total + 1

    @handler
    async def begin(self, message: Add) -> None:
        self.context.start_soon(self.beside)
        await self.sink.ask(Seen())
        await self.add()

    async def beside(self) -> None:
        await self.sink.ask(Seen())
        await self.add()


async def inner_task(world: World) -> None:
    sink = await world.spawn(Sink)
    inner = await world.spawn(Inner, sink)
    await inner.ask(Add())
    await world.settled()
    assert await sink.ask(Seen()) != (0, 0), "one of the two was lost"


PROGRAMS: dict[str, Program] = {
    "a mailbox that blocks": block,
    "a mailbox that fails": fail,
    "a mailbox that drops": drop,
    "a batch": batch,
    "a key": partial(looked_up, KEY),
    "a path": partial(looked_up, "/leaver"),
    "a name that is free for a moment": replaced,
    "a child that is down for a moment": restarted,
    "two resizes": resized,
    "a kill between two messages": killed,
    "a kill while it writes": killed_while_it_writes,
    "two tasks of an actor": inner_task,
}

every_program = pytest.mark.parametrize("name", PROGRAMS)


@every_program
@pytest.mark.parametrize("exhaustive", [False, True])
def test_what_comes_in_the_middle_of_a_step_is_found(
    name: str, exhaustive: bool
) -> None:
    """Each of them fails in production, and was "verified"."""
    found = check(PROGRAMS[name], exhaustive=exhaustive)
    assert found.failure is not None, str(found)
    assert ":prc:" in found.failure.token
    again = check(PROGRAMS[name], replay=found.failure.token)
    assert again.failure is not None
    assert type(again.failure.error) is type(found.failure.error)
    assert 'level="checkpoint"' in str(found.failure)


async def two_writers(world: World) -> None:
    """What comes at a checkpoint here makes no difference to anybody."""
    registers = [await world.spawn(Register) for _ in range(2)]

    async def write() -> None:
        for register in registers:
            await register.tell(Write(1))

    world.client(write)
    world.client(write)
    await world.settled()


def test_where_it_makes_no_difference_nobody_looks_closer() -> None:
    found = check(two_writers, exhaustive=True)
    assert str(found) == "4 classes, 4 schedules, 0 redundant: verified"


def test_where_time_passes_only_at_rest_steps_are_whole_and_the_verdict_says_so() -> (
    None
):
    found = check(fail, exhaustive=True, timers="idle")
    assert found.verified
    assert "in whole steps, though a message" in str(found)


def test_a_closer_look_that_passes_says_so() -> None:
    async def program(world: World) -> None:
        sink = await world.spawn(Sink, mailbox=Mailbox(1))
        for number in (1, 2):
            await sink.tell(Row(number))
        await world.settled()
        assert await sink.ask(Seen()) == (1, 2)

    found = check(program, exhaustive=True)
    assert found.verified
    assert str(found).endswith("verified (from checkpoint to checkpoint)")


def test_without_schedules_for_a_closer_look_there_is_a_doubt() -> None:
    found = check(fail, schedules=1)
    assert found.failure is None
    assert not found.verified
    assert "could come at a checkpoint" in str(found)


def test_without_an_end_of_the_first_search_there_is_no_closer_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_engine, "MOST", 2)
    found = check(block, exhaustive=True)
    assert found.failure is None
    assert not found.verified
    assert "stopped after 2 schedules" in str(found)
    assert "could come at a checkpoint" in str(found)


def test_a_closer_look_that_does_not_repeat_itself_leaves_a_doubt() -> None:
    runs: list[int] = []

    async def program(world: World) -> None:
        runs.append(1)
        sink = await world.spawn(Sink, mailbox=Mailbox(1))
        if len(runs) > 3:  # the first search takes a run, and another one to be sure
            return
        for number in (1, 2):
            await sink.tell(Row(number))
        await world.settled()

    found = check(program, exhaustive=True)
    assert len(runs) > 3
    assert not found.verified
    assert "could come at a checkpoint" in str(found)


def test_a_closer_look_has_the_other_half_of_the_schedules() -> None:
    async def program(world: World) -> None:
        sinks = [await world.spawn(Sink, mailbox=Mailbox(1)) for _ in range(2)]

        async def feed() -> None:
            for number in range(3):
                for sink in sinks:
                    await sink.tell(Row(number))

        for _ in range(3):
            world.client(feed)
        await world.settled()

    found = check(program, schedules=40)
    assert found.failure is None
    assert not found.verified
    assert found.schedules == 20
    assert "from checkpoint to checkpoint" in str(found)


def test_all_orders_of_task_steps_are_tried_on_demand() -> None:
    async def program(world: World) -> None:
        world.client(trio.lowlevel.checkpoint)
        register = await world.spawn(Register)
        await register.tell(Write(1))
        await world.settled()

    found = check(program, exhaustive=True, level="checkpoint")
    assert found.verified, str(found)
    assert "from checkpoint to checkpoint" in str(found)


@pytest.mark.parametrize(
    "letters", ["tarnL", "tabL", "taxwL", "tkiL", "tfgxL", "tchxL"]
)
def test_no_outcome_is_missed_where_each_task_step_is_a_step(letters: str) -> None:
    report = compare(letters, range(12), limit=800, size=3)
    assert report.different == [], report
    assert report.equal > 5, report
    assert report.blocked == report.redundant == 0, report


def test_what_did_not_happen_comes_behind_what_did_not_happen_either() -> None:
    """Two tasks ask, and a kill comes before both: they keep their order."""
    report = compare("tYkL", [22], limit=3000, size=3)
    assert report.equal == 1, report


def test_a_deadline_that_is_over_concerns_who_goes_on_already() -> None:
    """It wakes nobody then, and five of 44 classes were not tried."""
    report = compare("tmoL", [6010], limit=3000, size=3)
    assert report.equal == 1, report
    assert report.runs == report.classes == 44


def test_who_waits_for_an_end_that_has_come_depends_on_it() -> None:
    """It goes on a checkpoint later, and so had not looked yet."""
    report = compare("taxwL", [30_000], limit=2000, size=3)
    assert report.equal == 1, report


@pytest.mark.parametrize(("letters", "seed"), [("tPx", 4008), ("tfgx", 4039)])
def test_who_is_cancelled_while_it_goes_on_already_is_concerned(
    letters: str, seed: int
) -> None:
    """A drain that is about to go on when its family closes: it need not be woken."""
    program = program_of(letters, seed, 4)
    assert search(program, Optimal(), 6000, rules_for("L")).complete


def test_who_waits_for_a_thread_goes_on_at_its_end() -> None:
    async def program(world: World) -> None:
        await trio.to_thread.run_sync(str)
        await trio.lowlevel.checkpoint()

    found = check(program, level="checkpoint", allow_io=True, schedules=5)
    assert found.failure is None


def test_who_goes_on_and_on_after_the_end_of_a_run_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pilot.Pilot, "most", 200)

    async def slow() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(300):
                    await trio.lowlevel.checkpoint()

    async def fails() -> None:
        raise KeyError("first")

    async def program(world: World) -> None:
        world.client(slow)
        world.client(fails)
        await world.settled()

    failure = check(program).failure
    assert failure is not None
    assert isinstance(failure.error, KeyError)


# --- What is looked at ----------------------------------------------------------------

KILL = ("control", "client", "/a")


def event(kind: Any, dst: str, touched: Footprint, **more: Any) -> Event:
    return Event((kind, "client", dst), kind, dst, touched, src="client", **more)


def middle(parts: list[Part], *later: Event, missed: list[Event] | None = None) -> str:
    """Return what could come in the middle of the first step of a run."""
    first = event("start", "client", {("turn", "client"): True})
    trace = [first, *later]
    return in_the_middle(Run(trace=trace, parts={0: parts}, missed=missed or []))


ROOM, TURN = ("room", "/a"), ("turn", "/a")


def test_who_is_in_the_way_of_two_parts_comes_between_them() -> None:
    parts = [Part({ROOM: True}, 0), Part({ROOM: True}, 1)]
    free = event("message", "/a", {ROOM: True})
    assert "a message from client to /a could come" in middle(parts, free)
    assert "in a step of client" in middle(parts, free)


def test_who_is_in_the_way_of_one_part_comes_before_or_after_all() -> None:
    parts = [Part({ROOM: True}, 0), Part({}, 1)]
    assert not middle(parts, event("message", "/a", {ROOM: True}))
    assert not middle(parts, event("message", "/a", {("room", "/b"): True}))


def test_what_a_part_has_sent_comes_before_the_next_one() -> None:
    parts = [Part({}, 0), Part({ROOM: True}, 1)]
    assert middle(parts, event("message", "/a", {ROOM: True}, sent=0, part=0))
    assert not middle(parts, event("message", "/a", {ROOM: True}, sent=0, part=1))


def test_a_message_waits_for_the_end_of_a_turn() -> None:
    parts = [Part({TURN: True}, 0), Part({TURN: True}, 1)]
    assert not middle(parts, event("message", "/a", {TURN: True}))
    assert middle(parts, event("control", "/a", {TURN: True}, label="kill"))
    assert not middle(parts, event("control", "/a", {TURN: True}, label="stop"))
    assert not middle(parts, event("tick", "/a", {TURN: True}, barrier=True))


def test_what_comes_behind_something_that_comes_behind_is_no_middle() -> None:
    parts = [Part({ROOM: True}, 0), Part({ROOM: True}, 1)]
    settled = event("settled", "test", {}, barrier=True)
    assert not middle(parts, settled, event("message", "/a", {ROOM: True}, sent=1))


def test_two_parts_of_which_neither_comes_of_the_other_change_places() -> None:
    assert "in any order" in middle([Part({ROOM: True}, 0), Part({ROOM: True}, 0)])
    assert not middle([Part({ROOM: False}, 0), Part({ROOM: False}, 0)])


def test_what_was_possible_only_in_the_middle_of_a_step_is_told() -> None:
    assert "could come" in middle([], missed=[event("message", "/a", {}, sent=0)])
