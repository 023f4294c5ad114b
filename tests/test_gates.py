"""What a message costs in loop passes and task steps, and that it is always the same.

These gates know no noise: they count (see `gates`). The first limits are promises; the
others are what was measured, rounded up, so that a change that costs more is seen.
"""

from contextlib import nullcontext
from typing import Any

import attrs
import pytest
import trio

from benchmarks._meter import Cost
from tests import gates
from tests.gates import KINDS, RINGS, TIRELESS, Kind, Workload
from tests.kit import Add, Counter
from trio_actors import Actor, ActorRef, ActorSystem, Request, handler


def check(cost: Cost, passes: float, steps: float) -> None:
    """Check what one operation took."""
    assert cost.passes <= passes, cost
    assert cost.steps <= steps, cost


# --- The promised limits -----------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_tell_takes_a_fiftieth_of_a_pass(kind: str) -> None:
    """W1: tell_nowait with a checkpoint each 64; two steps for 64 messages."""
    check(gates.measure(gates.tell, KINDS[kind]), 0.02, 0.032)


@pytest.mark.parametrize("workload", [gates.ask, gates.ask_in_time])
@pytest.mark.parametrize("kind", KINDS)
def test_an_ask_takes_two_passes_and_two_steps(kind: str, workload: Workload) -> None:
    """W2: no more with a timeout around it."""
    check(gates.measure(workload, KINDS[kind]), 2.01, 2.01)


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_asks_at_once_each_takes_one_step(kind: str) -> None:
    """W3: the asker's; the actor answers 64 of them in one step of its own."""
    check(gates.measure(gates.asks, KINDS[kind]), 0.02, 1.05)


def test_a_hop_around_a_ring_takes_one_step() -> None:
    """W5."""
    check(gates.measure(gates.ring, RINGS["plain"]), 1.01, 1.05)


@pytest.mark.parametrize("kind", KINDS)
def test_fan_out_and_fan_in_take_half_a_step_a_message(kind: str) -> None:
    """W6: one step for each worker, and one for each 64 messages of the other two."""
    check(gates.measure(gates.fan, KINDS[kind]), 0.01, 0.55)


@pytest.mark.parametrize("workload", [gates.restart, gates.restart_asked])
@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_spawns_no_task(kind: str, workload: Workload) -> None:
    """W7: a restart is another round in the same task."""
    cost = gates.measure(workload, KINDS[kind])
    assert cost.spawns == 0
    check(cost, 1.01, 1.01 if workload is gates.restart else 2.01)


@pytest.mark.parametrize("kind", KINDS)
def test_many_producers_fill_a_bounded_mailbox_in_bursts(kind: str) -> None:
    """W8: a sender that waits is woken once for up to 16 messages."""
    check(gates.measure(gates.producers, KINDS[kind]), 0.02, 0.15)


PROMISES: dict[str, tuple[Workload, Kind, float, float]] = {
    "W1": (gates.tell, Counter, 0.02, 0.032),
    "W2": (gates.ask, Counter, 2.01, 2.01),
    "W3": (gates.asks, Counter, 0.02, 1.05),
    "W5": (gates.ring, RINGS["plain"], 1.01, 1.05),
    "W6": (gates.fan, Counter, 0.02, 0.55),
    "W7": (gates.restart, Counter, 1.01, 1.01),
    "W8": (gates.producers, Counter, 0.02, 0.15),
}


@pytest.mark.parametrize("name", PROMISES)
def test_it_costs_no_more_in_whatever_order_trio_runs_its_tasks(name: str) -> None:
    """Trio tosses a coin at each pass; a few steps more or less are its doing."""
    workload, kind, passes, steps = PROMISES[name]
    for _ in range(3):
        check(gates.measure(workload, kind, nullcontext), passes, steps)


# --- What was measured -------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_awaited_tell_is_a_checkpoint_and_no_more(kind: str) -> None:
    """A pass and a step of the sender, as any checkpoint, and a step of the actor."""
    check(gates.measure(gates.tell_await, KINDS[kind]), 1.01, 2.01)


def test_a_hop_with_an_awaited_tell_takes_two_steps() -> None:
    """The checkpoint of the sender is the second one, in the same pass."""
    check(gates.measure(gates.ring, RINGS["async"]), 1.01, 2.01)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_awaited_spawn_with_its_stop_takes_four_steps_and_one_task(
    kind: str,
) -> None:
    """W4: to start, to be told so, to stop, to be told so."""
    cost = gates.measure(gates.spawn, KINDS[kind])
    check(cost, 3.02, 4.02)
    assert cost.spawns <= 1.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_spawn_that_nobody_awaits_takes_two_steps_and_one_task(kind: str) -> None:
    """W4: a step to start and one to stop."""
    cost = gates.measure(gates.spawn_nowait, KINDS[kind])
    check(cost, 1.02, 2.02)
    assert cost.spawns <= 1.01


def test_the_gates_can_tell_a_step_more() -> None:
    """A handler that waits once takes one pass and one step more per message."""

    class Waits(Counter):
        @handler
        async def add(self, message: Add) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            await trio.lowlevel.checkpoint()
            return super().add(message)

    assert gates.measure(gates.ask, Waits) == Cost(3, 3, 0)


# --- Always the same ---------------------------------------------------------

WORKLOADS: dict[str, tuple[Workload, Kind]] = {
    "tell": (gates.tell, Counter),
    "tell_await": (gates.tell_await, Counter),
    "ask": (gates.ask, Counter),
    "asks": (gates.asks, Counter),
    "ring": (gates.ring, RINGS["plain"]),
    "fan": (gates.fan, Counter),
    "restart": (gates.restart, Counter),
    "restart async": (gates.restart, KINDS["async"]),
    "producers": (gates.producers, Counter),
}


@pytest.mark.parametrize("name", [*WORKLOADS, "spawn"])
def test_it_costs_the_same_among_ten_idle_actors_and_among_a_thousand(
    name: str,
) -> None:
    """Exactly the same passes and steps; `test_scale` goes on to 100,000."""
    workload, kind = WORKLOADS.get(name, (gates.spawn, Counter))

    async def around(system: ActorSystem) -> list[Cost]:
        costs: list[Cost] = []
        idle = 0
        for number in (10, 100, 1000):
            while idle < number:
                await system.spawn(Counter)
                idle += 1
            costs.append(await workload(system, kind))
        return costs

    costs = gates.in_a_system(around)
    assert costs == [costs[0]] * 3


@attrs.frozen
class Grow(Request[Any]):
    """Start a child; the answer is its ref."""

    kind: Kind
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = attrs.field(factory=dict[str, Any])


class Branch(Actor[Grow]):
    """Starts the children it is asked for."""

    supervision = TIRELESS

    @handler
    async def grow(self, message: Grow) -> Any:
        return await self.context.spawn(message.kind, *message.args, **message.options)


@attrs.frozen
class Deep:
    """Spawns under an actor somewhere in the tree."""

    parent: ActorRef[Grow]

    async def spawn(self, kind: Kind, *args: Any, **options: Any) -> ActorRef[Any]:
        found: ActorRef[Any] = await self.parent.ask(Grow(kind, args, options))
        return found


@pytest.mark.parametrize("name", WORKLOADS)
def test_it_costs_the_same_at_the_top_and_a_hundred_levels_below(name: str) -> None:
    """Exactly the same passes and steps, told and asked from the top, and a restart."""
    workload, kind = WORKLOADS[name]

    async def around(system: ActorSystem) -> list[Cost]:
        costs = [await workload(system, kind)]
        branch = await system.spawn(Branch)
        for depth in range(2, 101):
            if depth in (2, 10, 100):
                costs.append(await workload(Deep(branch), kind))
            branch = await branch.ask(Grow(Branch))
        return costs

    costs = gates.in_a_system(around)
    assert costs == [costs[0]] * 4


def test_a_look_at_the_messages_costs_no_step() -> None:
    """A trace and the events are fed in the step in which it happens."""

    async def around(system: ActorSystem) -> list[Cost]:
        costs = [
            await gates.tell(system, Counter),
            await gates.restart(system, Counter),
        ]
        with system.events(), system.dead_letters():
            costs += [
                await gates.tell(Traced(system), Counter),
                await gates.restart(Traced(system), Counter),
            ]
        return costs

    alone, crashed, looked_at, crashed_too = gates.in_a_system(around)
    assert (looked_at, crashed_too) == (alone, crashed)


@attrs.frozen
class Traced:
    """Traces what it spawns; nobody reads the trace."""

    system: ActorSystem

    async def spawn(self, kind: Kind, *args: Any, **options: Any) -> ActorRef[Any]:
        ref: ActorRef[Any] = await self.system.spawn(kind, *args, **options)
        self.system.trace(ref)
        return ref
