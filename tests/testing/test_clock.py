"""The clock of a world: what happens next, without a pass of trio's loop for each.

Issue: "50,000 deliveries a second in one run": a pass looks at I/O, at deadlines and at
other threads, and is made where there is something to see.
"""

import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.kit import Add, Counter
from trio_actors import Exit
from trio_actors.testing import Probe, World, run
from trio_actors.testing._clock import WorldClock, in_order
from trio_actors.testing._events import Run
from trio_actors.testing._faults import Rules
from trio_actors.testing._flight import Lab, run_lab
from trio_actors.testing._strategies import Fifo

MANY = 100


class Passes(trio.abc.Instrument):
    """Counts the passes of trio's loop."""

    def __init__(self) -> None:
        self.number = 0

    def before_io_wait(self, timeout: float) -> None:
        self.number += 1


def run_once(
    program: Callable[[World], Awaitable[Any]], rules: Rules | None = None
) -> Run:
    """Run a program in the order of sending."""
    lab = Lab(program, rules or Rules())

    async def once() -> Run:
        return await lab.once(Fifo())

    return run_lab(lab, once)


def passes_of(rules: Rules) -> int:
    """Return how many passes many deliveries take."""

    async def program(world: World) -> int:
        counter = await world.spawn(Counter)
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        for _ in range(MANY):
            await counter.tell(Add())
        await world.settled()
        trio.lowlevel.remove_instrument(passes)
        return passes.number

    run = run_once(program, rules)
    assert run.error is None
    assert len(run.trace) > MANY
    assert isinstance(run.outcome, int)
    return run.outcome


def test_at_rest_no_task_runs() -> None:
    """Also where trio has not yet forgotten the last one."""
    clock = WorldClock()

    async def main() -> tuple[object, object]:
        running = clock.task
        clock._at_rest = True
        resting, clock._at_rest = clock.task, False
        assert running is trio.lowlevel.current_task()
        return running, resting

    assert trio.run(main, clock=clock)[1] is None


def test_what_comes_next_takes_no_pass_of_the_loop() -> None:
    assert passes_of(Rules()) == 0


def test_where_there_may_be_io_the_loop_looks_at_it_each_time() -> None:
    assert passes_of(Rules(allow_io=True)) > MANY


def test_what_another_thread_wants_is_seen_though_a_task_never_waits() -> None:
    async def program(world: World) -> bool:
        called = False

        def call() -> None:
            nonlocal called
            called = True

        await trio.lowlevel.checkpoint()  # the pass in which the run begins
        trio.lowlevel.current_trio_token().run_sync_soon(call)
        while not called:
            await trio.lowlevel.checkpoint()
        await world.settled()
        return called

    assert run_once(program).outcome is True


def test_what_comes_from_outside_while_all_ends_is_waited_for() -> None:
    """No schedule depends on it any more, and Trio ends no task by force."""
    heard = False

    class Stubborn(Counter):
        async def stopped(self, reason: Exit) -> None:
            nonlocal heard
            here, there = socket.socketpair()
            with here, there, trio.CancelScope(shield=True):
                there.send(b"goodbye")
                await trio.lowlevel.wait_readable(here)
                heard = True

    async def program(world: World) -> None:
        await world.spawn(Stubborn)

    assert run_once(program).error is None
    assert heard


def test_who_listens_in_vain_is_told_when_that_time_comes() -> None:
    class Clock(Counter):
        async def started(self) -> None:
            self.context.send_every(1000, Add())

    async def program(world: World) -> float:
        await world.spawn(Clock)
        with pytest.raises(AssertionError):
            await Probe[Add](world).receive()
        return trio.current_time()

    assert run_once(program).outcome == 3000  # the next tick would be too late


def test_time_passes_without_a_pass_of_the_loop() -> None:
    async def program(world: World) -> tuple[float, ...]:
        times: list[float] = []
        await trio.lowlevel.checkpoint()  # the pass in which the run begins
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        for seconds in (2, 0, 1):
            await trio.sleep(seconds)
            times.append(trio.current_time())
        with trio.move_on_after(5) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        times.append(trio.current_time())
        trio.lowlevel.remove_instrument(passes)
        return (*times, passes.number)

    assert run_once(program).outcome == (2, 2, 3, 8, 0)


def test_what_is_watched_is_seen_before_the_next_event_is_chosen() -> None:
    async def program(world: World) -> object:
        seen: dict[tuple[int, int], None] = {}
        pilot: Any = world._runtime
        counter = await world.spawn(Counter)
        instance = counter._cell.instance
        assert isinstance(instance, Counter)

        def look() -> bool:
            seen[len(pilot.run.trace), instance.total] = None
            return True

        world.always(look)
        world.client(counter.tell, Add())
        await world.settled()
        return tuple(seen)

    # After the client has begun nothing is added; after its message was handled, one.
    assert run_once(program).outcome == ((0, 0), (1, 0), (2, 1))


def test_a_thread_that_another_one_starts_is_no_part_of_a_search() -> None:
    with in_order():  # as long as a search goes on
        started = threading.Thread(target=list)
        started.start()
        started.join()
    assert not started.is_alive()


def test_two_threads_do_not_run_worlds_at_once() -> None:
    """What they change of Trio is there once: one took the other's back."""
    began, may_end = threading.Event(), threading.Event()

    async def rests(world: World) -> None:
        began.set()
        may_end.wait()

    other = threading.Thread(target=run, args=[rests])
    other.start()
    began.wait()
    with pytest.raises(RuntimeError, match="another thread runs a world, or a search"):
        run(rests)
    may_end.set()
    other.join()
    run(rests)
