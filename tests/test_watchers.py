"""What becomes of watches: restarts, ends of watchers, the pact (WAT-2)."""

from typing import Any, cast

import pytest
import trio

from tests.kit import Boom, Counter, Get, Note, Worker
from tests.test_watch import Seen, Watch, Watcher, ends
from trio_actors import (
    Actor,
    ActorRef,
    DeathPact,
    Exit,
    Inbox,
    Supervision,
    Terminated,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm

# --- Restarts and ends of the watcher ---------------------------------------


@pytest.mark.parametrize("how", ["crash", "restart"])
async def test_a_watch_survives_restarts_of_both(world: World, how: str) -> None:
    """Design 3: watches in both directions stay; ``started()`` may watch again."""
    seen: Seen = []

    class Again(Watcher):
        async def started(self) -> None:
            self.context.watch(target)

    target = await world.spawn(Counter)
    again = await world.spawn(Again, seen)
    refs: list[ActorRef[Any]] = [target, again]
    for ref in refs:
        if how == "crash":
            world.crash(ref)
            await ref.tell(cast("Any", Get() if ref is target else Note()))
        else:
            ref.restart()
        await world.settled()
    target.stop()
    await world.settled()
    assert ends(seen) == [("/counter-1", "shutdown")]


async def test_an_end_during_the_watchers_restart_is_told_afterwards(
    world: World,
) -> None:
    """``Terminated`` is a message: it waits in the mailbox as others do."""
    seen: Seen = []

    class Slow(Watcher):
        async def started(self) -> None:
            await trio.sleep(1)

    target = await world.spawn(Counter)
    slow = await world.spawn(Slow, seen)
    await slow.tell(Watch(target))
    await world.settled()
    slow.restart()
    await trio.sleep(0.5)
    target.kill()
    await world.settled()
    assert ends(seen) == [("/counter-1", "killed")]


async def test_the_end_of_a_watcher_ends_its_watches(world: World) -> None:
    """WAT DECISION: watcher death removes its watches."""
    seen: Seen = []
    target = await world.spawn(Counter)
    watcher = await world.spawn(Watcher, seen)
    await watcher.tell(Watch(target))
    await world.settled()
    watcher.stop()
    await watcher.wait_stopped()
    assert target._cell.watchers == {}
    target.kill()
    await world.settled()
    assert seen == []
    assert world.dead() == []


async def test_two_that_watch_each_other_and_stop_together(world: World) -> None:
    seen: Seen = []
    one = await world.spawn(Watcher, seen)
    two = await world.spawn(Watcher, seen)
    await one.tell(Watch(two))
    await two.tell(Watch(one))
    await world.settled()
    one.kill()
    two.kill()
    await world.settled()
    assert len(seen) < 2
    assert world.dead() == []


def test_a_watch_at_every_step_of_an_end_is_told_exactly_once() -> None:
    """Before, in the middle of, and after the end: one message, never none or two."""

    async def scenario(world: World, arm: Arm) -> None:
        seen: Seen = []

        class Busy(Worker):
            async def stopped(self, reason: Exit) -> None:
                await trio.lowlevel.checkpoint()

        watcher = await world.spawn(Watcher, seen)
        target = await world.spawn(Busy)
        struck: list[int] = []

        def strike() -> None:
            struck.append(1)
            watcher.tell_nowait(Watch(target))

        arm(strike)
        target.tell_nowait(Note())
        await trio.lowlevel.checkpoint()
        target.stop()
        await target.wait_stopped()
        await world.settled()
        assert len(ends(seen)) == len(struck)

    assert at_every_step(scenario) > 5


# --- The pact ---------------------------------------------------------------


async def test_an_end_without_a_handler_is_a_death_pact(world: World) -> None:
    """WAT-2: unhandled ``Terminated`` fails the watcher, with the cause."""

    class Careless(Actor[Note]):
        async def started(self) -> None:
            if self.context.incarnation == 1:
                cast("Any", self.context).watch(target)  # both checkers refuse this

        async def restarting(self, failure: Exception) -> None:
            failures.append(failure)

        @handler
        def note(self, message: Note) -> None: ...

    failures: list[Exception] = []
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(directives={KeyError: "stop"})
    )
    target = await supervisor.spawn(Worker)
    careless = await world.spawn(Careless)
    await target.tell(Boom(KeyError("why")))
    await world.settled()
    (pact,) = failures
    assert isinstance(pact, DeathPact)
    assert target.path in str(pact)
    assert careless.path in str(pact)
    assert isinstance(pact.__cause__, KeyError)
    assert world.snapshot().children[1].restarts == 1


async def test_a_function_actor_gets_the_end_as_a_message(world: World) -> None:
    seen: Seen = []

    async def run(inbox: Inbox[Terminated | Note]) -> None:
        inbox.watch(target)
        async for message in inbox:
            match message:
                case Terminated(ref, reason):
                    seen.append((ref, reason.kind))
                case Note():
                    seen.append("note")

    target = await world.spawn(Counter)
    runner = await world.spawn(run)
    await runner.tell(Note())
    target.kill()
    await world.settled()
    assert seen == ["note", (target, "killed")]


async def test_those_outside_of_actors_wait_for_an_end(world: World) -> None:
    """``await ref.wait_stopped()`` for plain trio code, also after the end."""
    target = await world.spawn(Counter)
    ends: list[Exit] = []

    async def wait() -> None:
        ends.append(await target.wait_stopped())

    for _ in range(3):
        world.client(wait)
    await trio.sleep(1)
    assert ends == []
    target.stop("done")
    await world.settled()
    world.client(wait)
    await world.settled()
    assert ends == [Exit("shutdown", None, "done")] * 4


async def test_the_ref_of_an_end_is_the_ref_that_was_watched(world: World) -> None:
    """Also a supervisor's and a pool's, however they were found."""
    same: list[bool] = []

    async def watch(inbox: Inbox[Terminated], ref: ActorRef[Any]) -> None:
        inbox.watch(ref)
        message = await inbox.receive()
        same.append(message.ref == ref and hash(message.ref) == hash(ref))

    supervisor = await world.spawn_supervisor(name="supervisor")
    pool = await world.spawn_pool(Counter, size=1, name="pool")
    counter = await world.spawn(Counter, name="counter")
    refs: list[ActorRef[Any]] = [supervisor, pool, counter]
    for ref in refs:
        assert world.find(ref.path) == ref
        await world.spawn(watch, ref)
        ref.stop()
    await world.settled()
    assert same == [True] * 3
    assert supervisor != pool
    assert supervisor != supervisor.path
