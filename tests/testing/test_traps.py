"""Each trap that is known to make a search miss something, or blame the innocent."""

from contextlib import suppress

import pytest
import trio

from tests.testing.searched import (
    Ball,
    Player,
    Program,
    Register,
    Small,
    Till,
    Write,
    crashed_reader,
    end_of,
    failure_of,
    forgotten,
    full,
    impatient,
    lost_update,
    overtaken,
    polled,
    polled_in_vain,
    seen,
    shared_total,
    stopped_meanwhile,
    two_tasks,
    two_writes,
)
from trio_actors import Actor, ActorError, ActorRef, Mailbox, Terminated, handler
from trio_actors.testing import Faults, World, _engine, _pilot, check


def test_a_planned_crash_beside_readers_has_both_outcomes() -> None:
    """Trap: "a planned crash at the k-th step together with read-only handlers"."""
    program, notes = seen(crashed_reader)
    assert check(program, exhaustive=True, faults=Faults(crash=1)).verified
    assert {("ActorFailed", 0), ("ActorFailed", 1)} <= notes
    assert {(0, 1), (1, 1)} <= notes


def test_who_looks_whether_another_lives_sees_both() -> None:
    """Trap: "A is stopped while B looks whether it lives"."""
    program, notes = seen(stopped_meanwhile)
    assert check(program, exhaustive=True).verified
    assert notes >= {(True, 0), (False, "ActorStopped"), (True, "ActorStopped")}


def test_each_of_two_may_be_the_one_that_gets_mailbox_full() -> None:
    """Trap: "who gets `MailboxFull` in a bounded mailbox"."""
    program, notes = seen(full)
    assert check(program, exhaustive=True).verified
    assert notes == {(1, 2), (1, "MailboxFull"), ("MailboxFull", 2)}


def test_a_late_retry_is_found_only_where_timers_race() -> None:
    """Trap: timers that fire only when all is idle; the verdict says so."""
    assert "paid twice" in str(failure_of(impatient).error)
    idle = check(impatient, timers="idle")
    assert idle.verified
    assert "(timers only at quiescence, those of one moment in one order)" in str(idle)


def test_messages_in_the_order_of_sending_overtake_nobody() -> None:
    """`order` is a part of the verdict: "enqueue" is what one process does."""
    assert "the long way" in str(failure_of(overtaken).error)
    enqueued = check(overtaken, order="enqueue")
    assert enqueued.verified
    assert "in the order of sending" in str(enqueued)


def test_two_tasks_of_a_handler_are_mixed_at_the_level_of_checkpoints() -> None:
    """And it is looked there where something can come in the middle of a step."""
    failure = failure_of(two_tasks)
    assert "an update was lost" in str(failure.error)
    for level in ("delivery", "checkpoint"):
        again = check(two_tasks, level=level, replay=failure.token)
        assert again.failure is not None


def test_handlers_of_two_actors_are_mixed_at_the_level_of_checkpoints() -> None:
    """What they share is seen only there, and what is only sampled is not verified."""
    assert check(shared_total).verified
    failure = failure_of(shared_total, level="checkpoint")
    assert "an update was lost" in str(failure.error)
    again = check(shared_total, level="checkpoint", replay=failure.token)
    assert again.failure is not None
    assert not check(two_writes, level="checkpoint", schedules=20).verified


def test_who_waits_at_checkpoints_holds_up_nobody() -> None:
    """It is not a schedule of trio's that one task goes on for ever, and alone."""
    found = check(polled, level="checkpoint", schedules=30)
    assert found.failure is None
    assert found.schedules == 30


@pytest.mark.parametrize("level", ["delivery", "checkpoint"])
def test_who_waits_at_checkpoints_for_ever_is_given_up(
    monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """Bad input: "a test that never settles"; where it never waits, too."""
    monkeypatch.setattr(_pilot.Pilot, "most", 200)
    error = failure_of(polled_in_vain, level=level, schedules=1).error
    assert "the test does not settle: it has taken 200 steps" in str(error)


async def ping_pong(world: World) -> None:
    """Two pairs that never end, once the second client is before the first one."""
    serving: list[int] = []
    umpire = await world.spawn(Till, serving)
    players = [await world.spawn(Player, name=name) for name in "abcd"]

    async def serve() -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        await umpire.ask(Write(2))
        if serving[0] == 2:
            for one, other in (players[:2], players[2:]):
                one.tell_nowait(Ball(one, other))

    world.client(umpire.ask, Write(1))
    world.client(serve)
    await world.settled()


async def sleeps_again_and_again(world: World) -> None:
    async def client() -> None:
        while True:
            await trio.sleep(1)

    world.client(client)
    await world.settled()


def test_what_does_not_settle_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run takes seconds: it was run again, made small, and run again."""
    monkeypatch.setattr(_pilot.Pilot, "most", 200)
    runs: list[int] = []

    async def program(world: World) -> None:
        runs.append(1)
        await sleeps_again_and_again(world)

    failure = failure_of(program)
    assert len(runs) == 1
    assert "200 steps, and 200 s of its time" in str(failure.error)
    assert "who sleeps again and again" in str(failure.error)
    assert len(str(failure).splitlines()) < 70
    assert "200 steps" in str(failure_of(program, replay=failure.token).error)


@pytest.mark.parametrize("level", ["delivery", "checkpoint"])
def test_of_what_does_not_settle_the_beginning_is_replayed(
    monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    monkeypatch.setattr(_pilot.Pilot, "most", 200)
    failure = failure_of(ping_pong, level=level)
    assert "200 steps" in str(failure.error)
    assert len(failure.token) < 250  # of 77 deviations, or more
    again = failure_of(ping_pong, level=level, replay=failure.token)
    assert "200 steps" in str(again.error)


def test_of_what_settles_with_each_beginning_the_whole_is_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pilot.Pilot, "most", 200)
    monkeypatch.setattr(_engine, "BEGINNINGS", (0,))
    failure = failure_of(ping_pong, level="checkpoint")
    assert len(failure.token) > 250
    again = failure_of(ping_pong, level="checkpoint", replay=failure.token)
    assert "200 steps" in str(again.error)


def test_a_crash_that_is_drawn_is_found_and_can_be_replayed() -> None:
    assert check(forgotten).verified
    failure = failure_of(forgotten, faults=Faults(crash=1))
    again = check(forgotten, faults=Faults(crash=1), replay=failure.token)
    assert again.failure is not None
    planned = failure_of(forgotten, faults=Faults(crash=1), exhaustive=True)
    once = check(
        forgotten, faults=Faults(crash=1), exhaustive=True, replay=planned.token
    )
    assert once.failure is not None


# --- Doubts, and rare ways of a message ---------------------------------------------


async def least_loaded(world: World) -> None:
    paid: list[int] = []
    pool = await world.spawn_pool(Till, paid, size=2, routing="least_loaded")
    world.client(pool.ask, Write(1))
    world.client(pool.ask, Write(2))
    await world.settled()


async def many_at_once(world: World) -> None:
    register = await world.spawn(Register, mailbox=Mailbox(64))

    async def tell() -> None:
        for value in range(70):
            await register.tell(Write(value))

    world.client(tell)
    await world.settled()


async def listened(world: World) -> None:
    with world.events() as events:
        await world.spawn(Register)
        async for _ in events:
            break


@pytest.mark.parametrize(
    ("program", "doubt"),
    [
        (least_loaded, "an actor was chosen by its load"),
        (many_at_once, "the mailbox of /register-1 was full"),
        (listened, "a stream was read"),
    ],
)
def test_what_a_search_does_not_see_through_makes_a_doubt(
    program: Program, doubt: str
) -> None:
    found = check(program, schedules=20)
    assert not found.verified
    assert doubt in str(found)


async def too_late_for_room(world: World) -> None:
    register = await world.spawn(Register, mailbox=Mailbox(1))

    async def tell() -> None:
        with trio.move_on_after(1):
            await register.tell_all([Write(1), Write(2), Write(3)])

    world.client(tell)
    world.client(tell)
    await world.settled()


def test_who_waits_for_room_may_give_up() -> None:
    assert check(too_late_for_room, exhaustive=True).verified


async def made_by_a_function(world: World, notes: set[object]) -> None:
    """Its class says how many messages may wait: known when it was made."""
    register = await world.spawn(lambda: Small(), name="register")
    ends: dict[str, object] = {}

    async def write(who: str, value: int) -> None:
        ends[who] = await end_of(register.ask(Write(value)))

    world.client(write, "one", 1)
    world.client(write, "two", 2)
    await world.settled()
    notes.add((ends["one"], ends["two"]))


def test_who_gets_no_room_depends_on_a_class_that_is_known_late() -> None:
    program, notes = seen(made_by_a_function)
    assert check(program, exhaustive=True).verified
    assert notes == {(1, 2), (1, "MailboxFull"), ("MailboxFull", 2)}


class Watcher(Actor[Write | Terminated]):
    mailbox = Mailbox(1, overflow="drop_oldest")

    def __init__(self, other: ActorRef[Write], seen: list[object]) -> None:
        self.context.watch(other)
        self.seen = seen

    @handler
    def write(self, message: Write) -> int:
        self.seen.append(message.value)
        return 0

    @handler
    def ended(self, message: Terminated) -> None:
        self.seen.append("ended")


async def dropped(world: World, notes: set[object]) -> None:
    """What is dropped stands behind a signal, which never is."""
    paid: list[int] = []
    seen_there: list[object] = []
    other = await world.spawn(Till, paid)
    watcher = await world.spawn(Watcher, other, seen_there)

    async def tell() -> None:
        other.stop()
        await other.wait_stopped()
        watcher.tell_nowait(Write(1))
        watcher.tell_nowait(Write(2))

    world.client(tell)
    await world.settled()
    notes.add(tuple(seen_there))
    world.dead()


def test_what_stands_behind_a_signal_can_be_dropped() -> None:
    program, notes = seen(dropped)
    assert check(program, order="enqueue", exhaustive=True).verified
    assert ("ended", 2) in notes


async def stopped_by_itself(world: World) -> None:
    world.stop()
    await trio.sleep_forever()


def test_a_test_that_stops_its_own_world_has_shown_nothing() -> None:
    assert "stopped its own world" in str(failure_of(stopped_by_itself).error)


async def over_at_once(world: World) -> None:
    world.client(trio.sleep, 1)
    raise LookupError


def test_a_client_need_not_have_begun_when_a_test_fails() -> None:
    assert isinstance(failure_of(over_at_once).error, LookupError)


class Patient(Watcher):
    """Gets a signal and a timer's message, and has another timer when all fails."""

    async def started(self) -> None:
        self.context.send_after(1, Write(1))
        self.context.send_after(90, Write(2))


async def failing_later(world: World) -> None:
    paid: list[int] = []
    seen_there: list[object] = []
    other = await world.spawn(Till, paid, name="other")
    await world.spawn(Patient, other, seen_there, name="patient")
    other.stop()
    await trio.sleep(2)
    assert len(seen_there) < 2


def test_what_a_signal_and_a_timer_bring_is_shown_as_what_it_is() -> None:
    report = str(failure_of(failing_later))
    assert "Terminated(" in report
    assert "Write(value=1)" in report


# --- What ends all, who is weighed, what is drawn ------------------------------------


async def stopped_system(world: World) -> None:
    register = await world.spawn(Register)

    async def use() -> None:
        await register.ask(Write(1))
        raise AssertionError("answered before the stop")

    async def stop() -> None:
        world.stop()

    world.client(stop)
    world.client(use)


def test_the_end_of_the_system_concerns_all_clients() -> None:
    """It was "verified" that nobody is answered before it."""
    failure = failure_of(stopped_system, exhaustive=True)
    assert "answered before the stop" in str(failure.error)


async def weighed(world: World) -> None:
    paid: list[int] = []
    pool = await world.spawn_pool(Till, paid, size=3, routing="least_loaded")

    async def pay(number: int) -> None:
        with suppress(ActorError):
            await pool.ask(Write(number))

    async def kill() -> None:
        pool.workers[0].kill()

    for number in range(3):
        world.client(pay, number)
    world.client(kill)
    await world.settled()
    world.dead()


@pytest.mark.parametrize("exhaustive", [False, True])
def test_who_is_chosen_by_the_load_depends_on_who_was_sent_to(
    exhaustive: bool,
) -> None:
    """A program that is the same each time was told that it is not."""
    found = check(weighed, exhaustive=exhaustive)
    assert found.failure is None
    assert "an actor was chosen by its load" in str(found)


async def lucky(world: World) -> None:
    assert world.random.random() < 0.5, "no luck"


def test_a_seed_is_a_condition_and_stands_where_a_failure_is_to_be_seen_again() -> None:
    """A token alone did not show it again; and other seeds were not tried."""
    seeds = {seed: check(lucky, seed=seed) for seed in range(8)}
    well = next(one for one in seeds.values() if one.verified)
    assert "the random numbers of seed=" in str(well)
    seed = next(seed for seed, one in seeds.items() if one.failure and seed)
    failure = failure_of(lucky, seed=seed)
    assert f" --actors-seed={seed}\n" in str(failure)
    assert f", seed={seed})" in str(failure)
    assert check(lucky, seed=seed, replay=failure.token).failure is not None


async def mistaken(world: World) -> None:
    int("ten")


def test_what_the_run_of_another_program_has_raised_is_shown() -> None:
    """A mistake in a test that was pasted was nowhere to be seen."""
    token = failure_of(lost_update).token
    with pytest.raises(ValueError, match="was found in another program") as caught:
        check(mistaken, replay=token)
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_a_replay_needs_is_said() -> None:
    failure = failure_of(lost_update, allow_io=True)
    assert "allow_io=True" in str(failure)
