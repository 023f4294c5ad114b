"""Pauses between restarts, with each strategy (U7, FAIL-7, SUP-13)."""

from typing import Any

import pytest
import trio

from tests.kit import Add, Boom, Worker, found
from trio_actors import Backoff, ChildSpec, Event, Supervision, SupervisorRef
from trio_actors.testing import World, run

STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]


async def family(
    world: World, strategy: Any, backoff: Backoff, *, actor: Any = Worker
) -> SupervisorRef:
    rules = Supervision(strategy, backoff=backoff, max_restarts=None)
    specs = [ChildSpec(name, actor) for name in "ab"]
    return await world.spawn_supervisor(*specs, name="s", supervision=rules)


async def pause(world: World, name: str = "a") -> float:
    """Let a child fail; return the seconds until it is back."""
    ref = found(world, f"/s/{name}")
    before = trio.current_time()
    await ref.tell(Boom())
    await ref.ask(Add())
    return trio.current_time() - before


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_pauses_grow_up_to_the_longest(world: World, strategy: Any) -> None:
    """FAIL-7: min, times factor, at most max."""
    await family(world, strategy, Backoff(1, 20, factor=3, jitter=0))
    assert [await pause(world) for _ in range(5)] == [1, 3, 9, 20, 20]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("reset_after", "quiet"), [(None, 5.0), (2, 2.0), (0, 0.0)])
async def test_a_quiet_time_from_the_completed_restart_starts_over(
    world: World, strategy: Any, reset_after: float | None, quiet: float
) -> None:
    """FAIL-7: (min + max) / 2 by default; not a moment less."""
    backoff = Backoff(2, 8, jitter=0, reset_after=reset_after)
    await family(world, strategy, backoff)
    if quiet:
        assert [await pause(world), await pause(world)] == [2, 4]
        await trio.sleep(quiet - 0.25)
        assert await pause(world) == 8
    await trio.sleep(quiet)
    assert await pause(world) == 2


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_failed_attempts_grow_the_pause_too(world: World, strategy: Any) -> None:
    """FAIL-7: what is measured starts with a *completed* restart."""

    class Fragile(Worker):
        starts = 0

        async def started(self) -> None:
            type(self).starts += 1
            if 3 <= type(self).starts <= 5 and self.context.ref.path == "/s/a":
                raise OSError("still down")

    await family(world, strategy, Backoff(1, 100, jitter=0), actor=Fragile)
    assert await pause(world) == 1 + 2 + 4 + 8


async def test_one_for_one_pauses_only_the_child_that_failed(world: World) -> None:
    """FAIL-7: the others are not affected, and have pauses of their own."""
    await family(world, "one_for_one", Backoff(10, 100, jitter=0))
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    assert await found(world, "/s/b").ask(Add()) == 1
    assert trio.current_time() == 1
    assert await pause(world, "b") == 10


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_sweep_is_delayed_as_a_whole_by_the_offenders_pause(
    world: World, strategy: Any
) -> None:
    """FAIL-7, eep 28: all are down meanwhile; the pauses are the offender's own."""
    await family(world, strategy, Backoff(10, 100, jitter=0))
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    assert await found(world, "/s/b").ask(Add()) == 1
    assert trio.current_time() == 10
    assert await pause(world, "b") == 10
    assert await pause(world, "a") == 20


def delays(seed: int) -> list[float]:
    """The pauses that the events of a run tell of."""

    async def main(world: World) -> list[float]:
        found_delays: list[float] = []
        with world.events() as events:
            await family(world, "one_for_one", Backoff(1, 4, jitter=0.5))
            for _ in range(6):
                await pause(world)
            while len(found_delays) < 6:
                event: Event = await events.receive()
                if event.kind == "restarting":
                    found_delays.append(event.delay)
        return found_delays

    return run(main, seed=seed)


def test_the_jitter_is_seeded_and_capped_and_told() -> None:
    """FAIL-7: the cap comes after the jitter; the system's random numbers."""
    assert delays(1) == delays(1) != delays(2)
    for delay, base in zip(delays(1), [1, 2, 4, 4, 4, 4], strict=True):
        assert base / 2 <= delay <= min(4, base * 1.5)


async def test_a_pause_does_not_hold_up_the_stop_of_the_family(world: World) -> None:
    """SUP-8: what waits for its restart has nothing to finish."""
    for strategy in STRATEGIES:
        top = await family(world, strategy, Backoff(100, 100, jitter=0))
        await found(world, "/s/a").tell(Boom())
        await trio.sleep(1)
        before = trio.current_time()
        top.stop()
        await top.wait_stopped()
        assert trio.current_time() == before
