"""What may go wrong on purpose: it is found, and nothing else goes wrong."""

import pytest
import trio

from tests.testing.searched import (
    Pass,
    Passer,
    Program,
    Read,
    Register,
    Till,
    Write,
    failure_of,
)
from trio_actors import ActorFailed, Mailbox, MailboxFull, handler
from trio_actors.testing import Faults, Probe, World, check
from trio_actors.testing._faults import read_plan, write_plan


async def told_once(world: World) -> None:
    """A client tells, and believes that it has come."""
    paid: list[int] = []
    till = await world.spawn(Till, paid, name="till")
    world.client(till.tell, Write(1))
    await world.settled()
    assert paid == [1], f"paid {paid}"


async def asked_once(world: World) -> None:
    """A client asks, and waits as long as it takes."""
    paid: list[int] = []
    till = await world.spawn(Till, paid, name="till")
    world.client(till.ask, Write(1))
    await world.settled()


class NotingPasser(Passer):
    def __init__(self, passed: list[int]) -> None:
        self.passed = passed

    @handler
    def hand_on(self, message: Pass) -> None:
        self.passed.append(1)
        message.to.tell_soon(Write(1))


async def told_inside(world: World) -> None:
    """One actor tells another one: both are in one process, and nothing is lost."""
    paid: list[int] = []
    passed: list[int] = []
    till = await world.spawn(Till, paid, name="till")
    passer = await world.spawn(NotingPasser, passed, name="passer")
    with trio.move_on_after(1):
        await passer.ask(Pass(till))
    await world.settled()
    assert paid == passed


async def bounded(world: World) -> None:
    """What is lost, or comes twice, takes no room for ever."""
    register = await world.spawn(Register, mailbox=Mailbox(2, overflow="fail"))
    for request in (Write(1), Read(), Read()):
        with trio.move_on_after(1):
            assert await register.ask(request) in (0, 1)


async def in_time(world: World) -> None:
    """An answer is expected within a second."""
    paid: list[int] = []
    till = await world.spawn(Till, paid, name="till")
    with trio.fail_after(1):
        await till.ask(Write(1))


@pytest.mark.parametrize(
    ("program", "faults", "says"),
    [
        (told_once, Faults(drop=1), "paid []"),
        (told_once, Faults(duplicate=1), "paid [1, 1]"),
        (asked_once, Faults(drop=1), "still waiting: client-1"),
        (in_time, Faults(delay=1), "TooSlowError"),
    ],
)
def test_what_goes_wrong_on_the_way_is_found(
    program: Program, faults: Faults, says: str
) -> None:
    options = {"timers": "idle", "faults": faults}
    assert check(program, timers="idle").verified
    failure = failure_of(program, **options)
    assert says in repr(failure.error)
    again = check(program, timers="idle", faults=faults, replay=failure.token)
    assert again.failure is not None


@pytest.mark.parametrize("faults", [Faults(drop=1), Faults(duplicate=1)])
@pytest.mark.parametrize("program", [told_inside, bounded])
def test_what_stays_in_one_process_comes_once(program: Program, faults: Faults) -> None:
    found = check(program, timers="idle", faults=faults, schedules=50)
    assert found.failure is None, found.failure
    assert not found.verified


async def full_in_time(world: World) -> None:
    """Of what comes twice the second one takes the room of the next."""
    register = await world.spawn(Register, mailbox=Mailbox(1, overflow="fail"))
    for request in (Write(1), Read(), Read()):
        with trio.move_on_after(1):
            await register.ask(request)


def test_a_deadline_of_one_run_is_not_compared_with_that_of_another() -> None:
    """What trio keeps of a scope that was left looked like that of the next run."""
    faults = Faults(duplicate=1)
    failure = failure_of(full_in_time, timers="idle", faults=faults, schedules=50)
    assert isinstance(failure.error, MailboxFull)


def test_as_many_messages_are_lost_as_are_said() -> None:
    lost: set[int] = set()

    async def count(world: World) -> None:
        paid: list[int] = []
        till = await world.spawn(Till, paid, name="till")
        for number in range(3):
            world.client(till.tell, Write(number))
        await world.settled()
        lost.add(3 - len(paid))

    check(count, faults=Faults(drop=2), schedules=100)
    assert lost == {0, 1, 2}


# --- Planned crashes ----------------------------------------------------------------


async def asked_again(world: World) -> None:
    """A client asks once more if the actor has failed."""
    till = await world.spawn(Till, list[int](), name="till")
    try:
        await till.ask(Write(1))
    except ActorFailed:
        await till.ask(Write(1))


def test_a_crash_is_planned_at_what_is_sent_only_because_of_another_one() -> None:
    """The message that is sent again was in no run without a crash."""
    assert check(asked_again, faults=Faults(crash=1), exhaustive=True).verified
    options = {"faults": Faults(crash=2), "exhaustive": True}
    failure = failure_of(asked_again, **options)
    assert isinstance(failure.error, ActorFailed)
    again = failure_of(asked_again, replay=failure.token, **options)
    assert isinstance(again.error, ActorFailed)


def test_no_plan_of_crashes_is_tried_twice() -> None:
    """Two actors, a message each: no crash, one of the two, or both."""
    runs: list[tuple[bool, ...]] = []

    async def program(world: World) -> None:
        ends: list[bool] = []
        for name in ("b", "a"):
            till = await world.spawn(Till, list[int](), name=name)
            try:
                await till.ask(Write(1))
            except ActorFailed:
                ends.append(False)
            else:
                ends.append(True)
        runs.append(tuple(ends))

    assert check(program, faults=Faults(crash=3), exhaustive=True).verified
    assert len(set(runs)) == 4
    assert len(runs) == 4 + 1  # the first one is run again: is it the same?


@pytest.mark.parametrize("exhaustive", [False, True])
def test_a_probe_is_the_test_itself_and_does_not_crash(exhaustive: bool) -> None:
    async def program(world: World) -> None:
        probe = Probe[int](world)
        world.client(probe.ref.tell, 1)
        assert await probe.receive() == 1

    faults = Faults(crash=1)
    found = check(program, faults=faults, exhaustive=exhaustive, schedules=20)
    assert found.failure is None, found.failure


# --- A plan in a token --------------------------------------------------------------


def test_a_plan_is_read_as_it_was_written() -> None:
    plan = (("client-1", "/a", 1), ("/a", "/b", 12))
    assert write_plan(plan) == "client-1>/a#1;/a>/b#12"
    assert read_plan(write_plan(plan)) == plan
    assert read_plan("") == ()


@pytest.mark.parametrize("name", ["a;b", "a>b#1", "100%", "%3b", "x#1;y", "\xe4 b"])
def test_an_actor_of_a_plan_may_have_any_name(name: str) -> None:
    async def program(world: World) -> None:
        till = await world.spawn(Till, list[int](), name=name)
        await till.ask(Write(1))

    options = {"faults": Faults(crash=1), "exhaustive": True}
    failure = failure_of(program, **options)
    again = failure_of(program, replay=failure.token, **options)
    assert isinstance(again.error, ActorFailed)


@pytest.mark.parametrize("text", ["a>b", "a>b#x", "a#1", ">b#1", "a>#1"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no plan of crashes"):
        read_plan(text)
