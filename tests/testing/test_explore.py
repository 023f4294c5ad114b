"""Searches as a user sees them: options, verdicts, tokens, traps and refusals."""

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from unittest import SkipTest

import pytest
import trio
import trio.testing

from tests.testing.searched import (
    Program,
    Read,
    Register,
    Till,
    Write,
    failure_of,
    lost_update,
    overtaken,
    two_writes,
)
from trio_actors import Actor, ActorFailed, handler
from trio_actors.testing import Faults, World, _engine, _pilot, check, explore
from trio_actors.testing._search import NotRepeatable

# --- Options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"schedules": 0}, "schedules is how many runs there are at most, from 1"),
        ({"schedules": True}, "not True"),
        ({"schedules": 1.5}, "not 1.5"),
        ({"level": "line"}, "no level='line'. Write one of 'delivery', 'checkpoint'"),
        ({"timers": "never"}, "no timers='never'. Write one of 'race', 'idle'"),
        ({"order": "fifo"}, "no order='fifo'. Write one of 'pairwise', 'enqueue'"),
        ({"exhaustive": True, "faults": Faults(drop=1)}, "is only sampled"),
        ({"seed": "x"}, "seed is a number, not 'x'"),
        ({"exhaustive": "no"}, "exhaustive is True or False, not 'no'"),
        ({"allow_io": 1}, "allow_io is True or False, not 1"),
        ({"replay": b"x"}, "replay is the token of a schedule, as a text, not b'x'"),
        ({"replay": []}, "not []. Copy it from the report of a failure."),
        ({"replay": True}, "not True"),
    ],
)
def test_wrong_options_are_refused_at_once(options: Any, says: str) -> None:
    """Bad input: "asks for zero schedules"."""
    with pytest.raises(ValueError) as caught:
        check(two_writes, **options)
    assert says in str(caught.value)
    with pytest.raises(ValueError):
        explore(**options)


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ({"crash": -1}, "crash is how many, from 0"),
        ({"delay": -1.0}, "seconds from 0"),
        ({"delay": "x"}, "seconds from 0, not 'x'"),
    ],
)
def test_wrong_faults_are_refused_at_once(faults: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Faults(**faults)


def test_what_is_no_faults_is_refused_at_once() -> None:
    faults: Any = 1
    with pytest.raises(TypeError, match=r"Write faults=Faults\(crash=1\)"):
        check(two_writes, faults=faults)


def test_a_test_that_is_not_async_is_refused_at_once() -> None:
    def test_it(world: World) -> None: ...

    with pytest.raises(TypeError, match=r"not async, and .* Write async def test_it"):
        explore()(test_it)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_decorator_without_parentheses_is_refused_at_once() -> None:
    async def test_it(world: World) -> None: ...

    with pytest.raises(TypeError, match=r"write @explore\(\), with parentheses"):
        explore(test_it)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_program_that_is_not_async_is_told_so() -> None:
    def program(world: World) -> None: ...

    found = check(program)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert found.failure is not None
    assert "Write async def program" in str(found.failure.error)


def test_a_test_without_a_parameter_is_refused_at_once() -> None:
    async def test_it() -> None: ...

    with pytest.raises(
        TypeError, match=r"no first parameter for the world. Write async def"
    ):
        explore()(test_it)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_a_decorator_above_another_kind_of_method_is_refused_at_once(kind: Any) -> None:
    async def test_it(world: World) -> None: ...

    with pytest.raises(TypeError, match=rf"Write @explore\(\) below @{kind.__name__}"):
        explore()(kind(test_it))


class Methods:
    ran: ClassVar[list[type]] = []

    @classmethod
    @explore()
    async def test_of_class(cls, world: World, value: int) -> None:
        cls.ran.append(cls)
        await two_writes(world)
        assert value == 1

    @staticmethod
    @explore()
    async def test_of_nobody(world: World, value: int) -> None:
        await two_writes(world)
        assert value == 1


def test_a_test_may_be_a_class_method_or_a_static_one() -> None:
    Methods.test_of_class(value=1)
    assert set(Methods.ran) == {Methods}
    Methods.test_of_nobody(value=1)
    with pytest.raises(AssertionError):
        Methods.test_of_class(value=2)


def test_a_class_method_without_a_parameter_is_refused_at_once() -> None:
    async def test_it(cls: type) -> None: ...

    with pytest.raises(TypeError, match="no first parameter for the world"):
        explore()(test_it)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- Verdicts -----------------------------------------------------------------------


def test_a_search_with_too_many_orders_ends_and_is_not_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Issue: "a space that is too big says how far it came and never verified"."""
    monkeypatch.setattr(_engine, "MOST", 20)

    async def many(world: World) -> None:
        register = await world.spawn(Register)
        for number in range(5):
            world.client(register.ask, Write(number))
        await world.settled()

    found = check(many, exhaustive=True)
    assert (found.schedules, found.failure) == (20, None)
    assert not found.verified
    assert "not verified" in str(found)
    with pytest.raises(AssertionError, match="not verified"):
        explore(exhaustive=True)(many)()


def test_what_was_tried_in_every_order_is_verified() -> None:
    """Success: "36 classes, 36 schedules, 0 redundant: verified"."""
    found = check(two_writes, exhaustive=True)
    assert found.verified
    assert found.failure is None
    assert found.classes == found.schedules == 2
    assert str(found) == "2 classes, 2 schedules, 0 redundant: verified"


def test_a_small_space_is_verified_without_being_asked_for() -> None:
    assert check(two_writes).verified


def test_a_space_that_is_too_big_is_never_verified() -> None:
    async def crowd(world: World) -> None:
        register = await world.spawn(Register)
        for number in range(8):
            world.client(register.ask, Write(number))
        await world.settled()

    found = check(crowd, schedules=50)
    assert not found.verified
    assert found.schedules == 50
    assert "verified" not in str(found).replace("not verified", "")


def test_the_failure_says_how_to_see_it_again() -> None:
    """Issue: verdict, racing pair, diagram, token, and a regression test to paste."""
    found = check(overtaken)
    failure = found.failure
    assert failure is not None
    report = str(failure)
    assert "found after" in report
    assert "1 deviation from FIFO" in report
    assert f'replay="{failure.token}"' in report
    assert "The race" in report
    assert "Write(value=2)" in failure.diagram()
    assert "sequenceDiagram" in failure.diagram("mermaid")
    assert not found.verified
    assert isinstance(failure.error, AssertionError)


def test_a_token_shows_the_failure_again() -> None:
    failure = failure_of(lost_update)
    again = check(lost_update, replay=failure.token)
    assert again.schedules == 1
    assert again.failure is not None
    assert again.failure.token == failure.token
    assert again.failure.diagram() == failure.diagram()


def test_a_token_of_another_program_is_refused() -> None:
    """Issue 6: a token of another version, program or fault plan says so."""
    token = failure_of(lost_update).token
    with pytest.raises(ValueError, match="was found in another program"):
        check(two_writes, replay=token)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"order": "enqueue"}, 'order="pairwise", this test has order="enqueue"'),
        ({"timers": "idle"}, 'timers="race", this test has timers="idle"'),
        ({"faults": Faults(drop=1)}, "faults that are drawn"),
    ],
)
def test_a_token_found_with_other_options_is_refused(options: Any, says: str) -> None:
    token = failure_of(lost_update).token
    with pytest.raises(ValueError) as caught:
        check(lost_update, replay=token, **options)
    assert says in str(caught.value)


def test_what_is_no_token_is_refused() -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        check(lost_update, replay="4-1")


def test_the_same_seed_finds_the_same() -> None:
    def search(seed: int) -> tuple[str, int]:
        found = check(lost_update, seed=seed)
        assert found.failure is not None
        return found.failure.token, found.schedules

    assert search(3) == search(3)


# --- What a search cannot have ------------------------------------------------------


async def thread(world: World) -> None:
    await trio.to_thread.run_sync(os.getpid)


async def raw_thread(world: World) -> None:
    threading.Thread(target=os.getpid).start()


async def raw_thread_in_an_actor(world: World) -> None:
    class Starter(Register):
        @handler
        def write(self, message: Write) -> int:
            started = threading.Thread(target=os.getpid)
            started.start()
            started.join()
            return 0

    await (await world.spawn(Starter)).tell(Write(1))
    await world.settled()


async def pool_of_threads(world: World) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(os.getpid).result()


async def real_io(world: World) -> None:
    one, other = socket.socketpair()
    with one, other:
        await trio.lowlevel.wait_readable(one)


async def real_io_in_time(world: World) -> None:
    with trio.move_on_after(1):
        await real_io(world)


async def own_clock(world: World) -> None:
    clock: Any = trio.lowlevel.current_clock()
    clock.jump(3)


async def own_autojump(world: World) -> None:
    clock: Any = trio.lowlevel.current_clock()
    clock.autojump_threshold = 0


async def blocked(world: World) -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (thread, "a thread, which no schedule controls"),
        (raw_thread, "starts a thread, which no schedule controls"),
        (raw_thread_in_an_actor, "starts a thread, which no schedule controls"),
        (pool_of_threads, "starts a thread, which no schedule controls"),
        (real_io, "I/O, which no schedule controls"),
        (real_io_in_time, "I/O, which no schedule controls"),
        (blocked, "Write `await world.settled()`"),
    ],
)
def test_what_nobody_controls_is_an_error(program: Program, says: str) -> None:
    """Bad input: "starts a thread, does real I/O, wait_all_tasks_blocked"."""
    error = failure_of(program, schedules=3).error
    assert isinstance(error, AssertionError)
    assert says in str(error)


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (own_clock, "the clock of a world has no jump: it is no MockClock"),
        (own_autojump, "has no autojump_threshold: it is no MockClock"),
    ],
)
def test_who_takes_the_clock_for_a_mock_clock_is_told(
    program: Program, says: str
) -> None:
    """Bad input: "uses `MockClock`"."""
    failure = failure_of(program)
    assert isinstance(failure.error, AttributeError)
    assert says in str(failure.error)
    assert "\n\n\nTo see it again" not in str(failure)  # no steps, no diagram


@pytest.mark.parametrize("program", [thread, raw_thread, pool_of_threads])
def test_a_thread_is_allowed_on_demand_and_the_verdict_says_so(
    program: Program,
) -> None:
    found = check(program, allow_io=True)
    assert found.failure is None
    assert "I/O as it happened to be" in str(found)


class Ping(Actor[Write]):
    """Answers each message with another one."""

    @handler
    def write(self, message: Write) -> int:
        self.context.ref.tell_soon(message)
        return 0


async def for_ever(world: World) -> None:
    ping = await world.spawn(Ping)
    await ping.tell(Write(1))
    await world.settled()


def test_a_test_that_never_settles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pilot.Pilot, "most", 200)
    error = failure_of(for_ever, schedules=1).error
    assert "the test does not settle: it has taken 200 steps" in str(error)


async def stuck(world: World) -> None:
    for one, other in (("c", "a"), ("a", "b"), ("b", "a")):
        await world.spawn(Asker, f"/{other}", name=one)
    for name in "abc":
        ref: Any = world.find(f"/{name}")
        world.client(ref.ask, Read())
    await world.settled()


class Asker(Actor[Read]):
    def __init__(self, other: str) -> None:
        self.other = other

    @handler
    async def read(self, message: Read) -> int:
        other: Any = self.context.system.find(self.other)
        value: int = await other.ask(message)
        return value


def test_a_deadlock_is_told_with_its_circle() -> None:
    error = failure_of(stuck).error  # of a and b, b is the last
    assert "deadlock: /b waits for /a waits for /b" in str(error)


def test_what_a_monitor_raises_is_the_failure() -> None:
    """Bad input: "raises in a monitor"."""

    async def watched(world: World) -> None:
        register = await world.spawn(Register)

        def look() -> bool:
            raise LookupError("the monitor is broken")

        world.always(look)
        await register.ask(Write(1))

    error = failure_of(watched).error
    assert isinstance(error, LookupError)


def test_what_always_holds_is_checked_after_each_step_of_each_run() -> None:
    async def watched(world: World) -> None:
        paid: list[int] = []
        till = await world.spawn(Till, paid)
        world.always(lambda: paid != [2, 1])
        world.client(till.ask, Write(1))
        world.client(till.ask, Write(2))
        await world.settled()

    error = failure_of(watched).error
    assert "did not hold at a step" in str(error)


def test_a_program_that_goes_another_way_each_time_is_named() -> None:
    """Issue 6: divergence names the first differing step."""
    runs = 0

    async def fickle(world: World) -> None:
        nonlocal runs
        runs += 1
        register = await world.spawn(Register, name=f"register-{runs}")
        await register.ask(Write(1))

    with pytest.raises(NotRepeatable) as caught:
        check(fickle)
    assert "step 0 was message test /register-1" in str(caught.value)
    assert "message test /register-2" in str(caught.value)


def test_a_program_that_fails_only_once_is_named() -> None:
    runs = 0

    async def fickle(world: World) -> None:
        nonlocal runs
        runs += 1
        assert runs > 1

    with pytest.raises(NotRepeatable, match="0 steps and AssertionError.*0 steps and"):
        check(fickle)


def raise_skip_test(why: str) -> None:
    raise SkipTest(why)


def test_ctrl_c_says_what_was_found_so_far() -> None:
    """Ctrl-C in a search prints what was found."""
    runs = 0

    async def interrupted(world: World) -> None:
        nonlocal runs
        runs += 1
        if runs == 5:
            raise KeyboardInterrupt
        await lost_update_fixed(world)

    with pytest.raises(KeyboardInterrupt) as caught:
        check(interrupted)
    (note,) = caught.value.__notes__
    assert "interrupted after" in note
    assert "not verified" in note


async def takes_nothing() -> None: ...


async def takes_two(world: World, more: int) -> None: ...


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (takes_nothing, r"takes_nothing\(\) does not take a world, and nothing else"),
        (takes_two, r"Write async def takes_two\(world: World\)"),
        (5, "5 is no program. Write an async function of a world"),
    ],
)
def test_what_does_not_take_a_world_is_no_program(program: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        check(program)


def test_what_does_not_say_what_it_takes_is_tried() -> None:
    """A callable made in C, say."""

    class Unsaid:
        __signature__ = "none"

        def __call__(self, world: World) -> Any:
            return lost_update_fixed(world)

    assert check(Unsaid()).failure is None


def test_the_world_is_the_first_parameter() -> None:
    async def second(number: int, world: World) -> None: ...

    decorate: Any = explore()
    with pytest.raises(TypeError, match="no first parameter for the world"):
        decorate(second)


@pytest.mark.parametrize("ends", [pytest.skip, raise_skip_test])
@pytest.mark.parametrize("where", ["test", "client"])
def test_a_test_that_is_skipped_in_the_middle_has_not_failed(
    ends: Any, where: str
) -> None:
    async def program(world: World) -> None:
        async def client() -> None:
            ends("not here")

        if where == "client":
            world.client(client)
        else:
            await client()
        await world.settled()

    with pytest.raises((pytest.skip.Exception, SkipTest), match="not here") as caught:
        explore()(program)()
    assert not hasattr(caught.value, "__notes__")


async def lost_update_fixed(world: World) -> None:
    register = await world.spawn(Register)
    for number in range(5):
        world.client(register.ask, Write(number))
    await world.settled()


class Liar(Register):
    @handler(reads_only=True)
    def read(self, message: Read) -> int:
        self.value += 1
        return self.value


def test_a_handler_that_says_it_only_reads_is_checked() -> None:
    """In tests a `reads_only` handler is checked (state compared before and after)."""

    async def program(world: World) -> None:
        register = await world.spawn(Liar, name="register")
        await register.ask(Read())

    text = str(failure_of(program).error)
    assert "reads_only" in text
    assert "/register" in text or "Liar" in text


class Broken(Register):
    @handler(reads_only=True)
    def read(self, message: Read) -> int:
        raise LookupError


def test_a_handler_that_only_reads_may_fail() -> None:
    async def program(world: World) -> None:
        register = await world.spawn(Broken, name="register")
        with pytest.raises(ActorFailed):
            await register.ask(Read())

    assert check(program).failure is None


def test_a_dead_letter_that_nobody_took_is_a_failure() -> None:
    async def program(world: World) -> None:
        register = await world.spawn(Register, name="register")
        register.stop()
        register.tell_soon(Write(1))

    assert "dead letters that nobody took" in str(failure_of(program).error)


def test_a_search_is_not_run_inside_of_a_trio_program() -> None:
    async def main() -> None:
        check(two_writes)

    with pytest.raises(RuntimeError, match=r"inside|nested|run\(\)"):
        trio.run(main)
