"""Strategies, sweeps, the window of restarts, and who stops with whom (SUP-1..9)."""

from itertools import combinations, permutations
from typing import Any

import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Parent,
    Sleep,
    Worker,
    found,
)
from trio_actors import (
    Actor,
    ActorError,
    ActorFailed,
    ActorRef,
    Backoff,
    ChildSpec,
    Exit,
    StartFailed,
    Supervision,
    SupervisorRef,
    Terminated,
    handler,
)
from trio_actors.testing import World

Log = list[str]


async def family(
    world: World, log: Log, rules: Supervision, names: str = "abc", **options: Any
) -> SupervisorRef:
    """A supervisor ``/s`` of workers, one for each letter; then an empty log."""
    specs = [ChildSpec(name, Worker, log, name, **options) for name in names]
    top = await world.spawn_supervisor(*specs, name="s", supervision=rules)
    log.clear()
    return top


# --- The three strategies -----------------------------------------------------

SWEEPS = {
    ("one_for_one", "b"): ["b~", "b+"],
    ("one_for_all", "a"): ["a~", "c~", "b~", "a+", "b+", "c+"],
    ("one_for_all", "b"): ["b~", "c~", "a~", "a+", "b+", "c+"],
    ("rest_for_one", "a"): ["a~", "c~", "b~", "a+", "b+", "c+"],
    ("rest_for_one", "b"): ["b~", "c~", "b+", "c+"],
    ("rest_for_one", "c"): ["c~", "c+"],
}


@pytest.mark.parametrize(("strategy", "who"), SWEEPS)
async def test_siblings_stop_in_reverse_order_and_start_in_order(
    world: World, strategy: Any, who: str
) -> None:
    """SUP-2, and SUP-8 at the end: who failed says goodbye first."""
    log: Log = []
    top = await family(world, log, Supervision(strategy))
    await found(world, f"/s/{who}").tell(Boom())
    await world.settled()
    assert log == SWEEPS[strategy, who]
    log.clear()
    top.stop()
    await top.wait_stopped()
    assert log == ["c-", "b-", "a-"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_plain_parent_sweeps_its_children_too(
    world: World, strategy: Any
) -> None:
    """Design 3: a parent, plain or not, supervises its children."""
    log: Log = []
    await world.spawn(Parent, log, name="p", supervision=Supervision(strategy))
    log.clear()
    await found(world, "/p/b").tell(Boom())
    await world.settled()
    assert log == SWEEPS[strategy, "b"]


async def test_each_child_is_up_before_the_next_one_starts(world: World) -> None:
    """SUP-6, in a sweep as at the start: each start is awaited."""
    log: Log = []

    class Slow(Worker):
        async def started(self) -> None:
            log.append(f"{self.name}...")
            await trio.sleep(1)
            await super().started()

        async def restarting(self, failure: Exception) -> None:
            await trio.sleep(1)
            await super().restarting(failure)

    specs = [ChildSpec(name, Slow, log, name) for name in "ab"]
    await world.spawn_supervisor(
        *specs, name="s", supervision=Supervision("one_for_all")
    )
    assert trio.current_time() == 2
    await found(world, "/s/b").tell(Boom())
    await world.settled()
    assert log[4:] == ["b~", "a~", "a...", "a+", "b...", "b+"]
    assert trio.current_time() == 6


async def test_innocents_are_told_of_the_offender(world: World) -> None:
    """Design 3: ``restarting``/``restarted`` get the offender's exception."""
    told: list[tuple[str, Exception]] = []

    class Told(Worker):
        async def restarting(self, failure: Exception) -> None:
            told.append((f"{self.name}~", failure))

        async def restarted(self, failure: Exception, failed: Any) -> None:
            told.append((f"{self.name}+", failure))

    log: Log = []
    specs = [ChildSpec(name, Told, log, name) for name in "ab"]
    await world.spawn_supervisor(
        *specs, name="s", supervision=Supervision("one_for_all")
    )
    error = ValueError("offender")
    await found(world, "/s/a").tell(Boom(error))
    await world.settled()
    assert [what for what, _ in told] == ["a~", "b~", "a+", "b+"]
    assert all(failure is error for _, failure in told)


async def test_the_sweep_for_a_permanent_child_that_ended_by_itself(
    world: World,
) -> None:
    """SUP-3: its end counts as a failure does; the siblings are told by an error."""
    told: list[Exception] = []

    class Leaver(Counter, Actor[Add | Get | Boom | Note]):
        async def restarting(self, failure: Exception) -> None:
            told.append(failure)

        @handler
        def note(self, message: Note) -> None:
            self.context.stop()

    rules = Supervision("one_for_all", max_restarts=1)
    top = await world.spawn_supervisor(supervision=rules, restart="temporary")
    first: ActorRef[Any] = await top.spawn(Leaver, restart="permanent")
    await top.spawn(Leaver)
    await first.tell(Note())
    await world.settled()
    (failure,) = told
    assert isinstance(failure, ActorError)
    assert "ended by itself, and it is permanent" in str(failure)
    await first.tell(Note())
    exit = await top.wait_stopped()
    assert exit.kind == "restart_limit"


# --- Who is swept -------------------------------------------------------------


async def test_a_temporary_sibling_is_swept_away_for_good(world: World) -> None:
    """SUP-3, the table: its spec goes, watchers are told, no auto-shutdown."""
    seen: list[Exit] = []

    class Watcher(Actor[Terminated]):
        def __init__(self, *refs: ActorRef[Any]) -> None:
            for ref in refs:
                self.context.watch(ref)

        @handler
        def ended(self, message: Terminated) -> None:
            seen.append(message.reason)

    rules = Supervision("one_for_all", auto_shutdown="any_significant")
    log: Log = []
    top = await family(world, log, rules, "ab")
    temporary = await top.spawn(
        Worker, log, "t", name="t", restart="temporary", significant=True
    )
    await world.spawn(Watcher, found(world, "/s/a"), temporary)
    log.clear()
    await found(world, "/s/b").tell(Boom())
    await world.settled()
    assert log == ["b~", "t-", "a~", "a+", "b+"]
    assert list(top.which_children()) == ["a", "b"]
    assert [exit.kind for exit in seen] == ["shutdown"]


async def test_a_child_that_had_ended_before_is_started_again_by_a_sweep(
    world: World,
) -> None:
    """SUP-3, the table: also if it had ended before; it is a new actor."""
    log: Log = []
    top = await family(world, log, Supervision("one_for_all"))
    old = found(world, "/s/b")
    await top.terminate_child("b")
    log.clear()
    await found(world, "/s/c").tell(Boom())
    await world.settled()
    assert log == ["c~", "a~", "a+", "b+", "c+"]
    new = found(world, "/s/b")
    assert new != old
    assert new.path == old.path
    await old.tell(Note("to the old one"))
    assert len(world.dead()) == 1


async def test_rest_for_one_leaves_one_that_had_ended_before_the_offender(
    world: World,
) -> None:
    """SUP-2: only those after it in start order, whether they run or not."""
    log: Log = []
    top = await family(world, log, Supervision("rest_for_one"))
    await top.terminate_child("a")
    await top.terminate_child("c")
    log.clear()
    await found(world, "/s/b").tell(Boom())
    await world.settled()
    assert log == ["b~", "b+", "c+"]
    assert top.which_children()["a"] is None


async def test_the_order_of_a_sweep_is_the_start_order_also_after_a_restart_by_name(
    world: World,
) -> None:
    """SUP-8: a child keeps its place when it ends and is started again."""
    log: Log = []
    top = await family(world, log, Supervision("rest_for_one"))
    await top.terminate_child("a")
    await top.restart_child("a")
    log.clear()
    await found(world, "/s/a").tell(Boom())
    await world.settled()
    assert log == ["a~", "c~", "b~", "a+", "b+", "c+"]
    assert list(top.which_children()) == ["a", "b", "c"]


async def test_a_sweep_waits_for_a_sibling_in_the_middle_of_a_message(
    world: World,
) -> None:
    """Design 3: it is asked to stop, not cancelled."""
    log: Log = []
    await family(world, log, Supervision("one_for_all"), "ab")
    slow = found(world, "/s/b").ask_nowait(Sleep(2))
    await trio.sleep(1)
    await found(world, "/s/a").tell(Boom())
    assert await slow == 0
    await world.settled()
    assert log == ["a~", "b~", "a+", "b+"]


async def test_a_sibling_that_is_swept_past_its_shutdown_is_cut_short_and_restarted(
    world: World,
) -> None:
    """Design 3: in a handler, in a hook, and in its own children."""

    class Hangs(Worker):
        async def restarting(self, failure: Exception) -> None:
            await trio.sleep_forever()

    class Deep(Parent):
        async def started(self) -> None:
            kid = await self.context.spawn(Worker, shutdown=1000)
            await kid.tell(Sleep(1000))

    log: Log = []
    top = await family(world, log, Supervision("one_for_all"), "a")
    b = await top.spawn(Worker, log, "b", name="b", shutdown=2)
    c = await top.spawn(Hangs, log, "c", name="c", shutdown=3)
    d = await top.spawn(Deep, log, name="d", shutdown=4)
    slow = b.ask_nowait(Sleep(1000))
    await trio.sleep(1)
    log.clear()
    await found(world, "/s/a").tell(Boom())
    with pytest.raises(ActorFailed, match="cut short"):
        await slow
    assert await b.ask(Add()) == 1
    assert trio.current_time() == 1 + 4 + 3 + 2
    assert log == ["a~", "parent~", "b~", "a+", "b+", "c+"]
    assert top.which_children() == {"a": found(world, "/s/a"), "b": b, "c": c, "d": d}
    found(world, "/s/d").kill()


async def test_a_message_to_a_sibling_that_is_swept_waits_for_it(world: World) -> None:
    """FAIL-3: the mailboxes of all stay."""
    log: Log = []
    rules = Supervision("one_for_all", backoff=Backoff(3, 3, jitter=0))
    await family(world, log, rules)
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    assert await found(world, "/s/c").ask(Add(5)) == 5
    assert trio.current_time() == 3


# --- Two at once --------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "first", "second"),
    [("one_for_all", *pair) for pair in permutations("abc", 2)]
    + [("rest_for_one", *pair) for pair in combinations("abc", 2)],
)
async def test_two_failures_in_one_sweep_cost_one_restart(
    world: World, strategy: Any, first: str, second: str
) -> None:
    """Design 3; one restart is allowed, a second would give up."""
    log: Log = []
    top = await family(world, log, Supervision(strategy, max_restarts=1))
    for name in (first, second):
        found(world, f"/s/{name}").tell_nowait(Boom())
    await world.settled()
    assert top.which_children().keys() == {"a", "b", "c"}
    assert [one.restarts for one in world.snapshot().children[0].children] == (
        [1, 1, 1] if strategy == "one_for_all" or first == "a" else [0, 1, 1]
    )
    assert log[-1] == "c+"
    assert len(log) == len(set(log))


async def test_a_sibling_that_fails_while_it_is_swept_joins_the_sweep(
    world: World,
) -> None:
    """Design 3 and eep 28: a failure under way adds nothing to the count."""
    log: Log = []
    top = await family(world, log, Supervision("one_for_all", max_restarts=1), "ab")
    b = found(world, "/s/b")

    class Fails(Worker):
        @handler
        async def sleep(self, message: Sleep) -> int:
            await trio.sleep(message.seconds)
            raise OSError("during the sweep")

    c = await top.spawn(Fails, log, "c", name="c")
    await c.tell(Sleep(2))
    await trio.sleep(1)
    log.clear()
    await b.tell(Boom())
    await world.settled()
    assert trio.current_time() == 2
    assert log == ["b~", "c~", "a~", "a+", "b+", "c+"]
    assert await c.ask(Get()) == 0


async def test_a_failing_hook_of_an_innocent_is_judged(world: World) -> None:
    """U2: a failure in ``restarting()`` takes the same path when it is swept."""

    class Rude(Worker):
        async def restarting(self, failure: Exception) -> None:
            raise OSError("in the hook")

    rules = Supervision("one_for_all", directives={OSError: "stop"})
    log: Log = []
    top = await family(world, log, rules, "a")
    rude = await top.spawn(Rude, name="rude")
    await found(world, "/s/a").tell(Boom())
    exit = await rude.wait_stopped()
    assert isinstance(exit.error, OSError)
    await world.settled()
    assert log == ["a~", "a+"]


async def test_a_sibling_that_is_stopped_during_a_sweep_stays_stopped(
    world: World,
) -> None:
    """The verbs of design 2: ``stop()`` and ``terminate_child()`` are final."""
    log: Log = []
    rules = Supervision("one_for_all", backoff=Backoff(10, 10, jitter=0))
    top = await family(world, log, rules)
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    await top.terminate_child("b")
    assert trio.current_time() == 1
    await world.settled()
    assert log == ["a~", "c~", "b~", "a+", "c+"]
    assert top.which_children()["b"] is None


async def test_to_terminate_the_failed_child_cancels_its_pending_retry(
    world: World,
) -> None:
    """Design 3: requests are served between attempts; the siblings come back."""
    log: Log = []
    rules = Supervision("one_for_all", backoff=Backoff(10, 10, jitter=0))
    top = await family(world, log, rules)
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    await top.terminate_child("a")
    await world.settled()
    assert log == ["a~", "c~", "b~", "b+", "c+"]
    assert top.which_children()["a"] is None


async def test_a_supervisor_that_is_stopped_in_the_middle_of_a_sweep_stops(
    world: World,
) -> None:
    """SUP-8: nothing more is started."""

    class Slow(Worker):
        async def started(self) -> None:
            await super().started()
            if self.context.incarnation == 2:
                await trio.sleep_forever()

    log: Log = []
    top = await family(world, log, Supervision("one_for_all"), "a")
    await top.spawn(Slow, log, "b")
    await top.spawn(Worker, log, "c")
    log.clear()
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    assert log == ["a~", "c~", "b~", "a+", "b+"]
    top.stop()
    await top.wait_stopped()
    assert log[5:] == ["a-"]
    assert trio.current_time() == 6  # what hangs in its start has its 5 seconds


async def test_a_sweep_while_another_child_starts_waits_and_then_starts_it_again(
    world: World,
) -> None:
    """Design 3: the spawner gets its ref once, of the second start."""
    log: Log = []

    class Slow(Worker):
        async def started(self) -> None:
            log.append("s...")
            await trio.sleep(3)
            await super().started()

    top = await family(world, log, Supervision("one_for_all"), "a")

    async def spawn() -> None:
        ref = await top.spawn(Slow, log, "s")
        log.append("spawned")
        assert await ref.ask(Add()) == 1

    world.client(spawn)
    await trio.sleep(1)
    await found(world, "/s/a").tell(Boom())
    await world.settled()
    log.remove("spawned")
    assert log == ["s...", "a~", "s+", "s~", "a+", "s...", "s+"]


async def test_a_start_that_fails_under_a_sweep_is_the_spawners(world: World) -> None:
    """SUP-6: it is a failed first start; the sweep goes on without it."""
    log: Log = []

    class Bad(Worker):
        async def started(self) -> None:
            await trio.sleep(3)
            raise OSError("bad")

    top = await family(world, log, Supervision("one_for_all", max_restarts=1), "a")

    async def spawn() -> None:
        with pytest.raises(StartFailed):
            await top.spawn(Bad, name="bad")

    world.client(spawn)
    await trio.sleep(1)
    await found(world, "/s/a").tell(Boom())
    await world.settled()
    assert log == ["a~", "a+"]
    assert list(top.which_children()) == ["a"]
