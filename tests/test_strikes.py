"""Strikes at every step of a busy tree: verbs, ends of the block, spawners, asks."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Get,
    Note,
    Worker,
    found,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    ActorError,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Backoff,
    Exit,
    Mailbox,
    Supervision,
    handler,
)
from trio_actors._errors import leaves
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm, _Steps

ESCALATE = Supervision(directives={Exception: "escalate"})


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of crashes would fill the log."""
    caplog.set_level(logging.CRITICAL, "trio_actors")


# --- A busy tree ------------------------------------------------------------


class Busy(Actor[Note]):
    """Has two workers and a task, crashes the one and asks the other."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def started(self) -> None:
        self.context.start_soon(trio.sleep_forever)
        for name in "ab":
            await self.context.spawn(Worker, self.log, name, name=name)

    async def stopped(self, reason: Exit) -> None:
        await trio.lowlevel.checkpoint()
        assert not self.context.children
        self.log.append("busy-")

    @handler
    async def note(self, message: Note) -> None:
        children = self.context.children
        first = found(self.context.system, children["a"].path)
        second = found(self.context.system, children["b"].path)
        await first.tell(Boom())
        await second.ask(Add())


class OneForAll(Busy):
    supervision = Supervision("one_for_all", max_restarts=50)


class RestForOne(Busy):
    supervision = Supervision("rest_for_one", max_restarts=50)


class Pausing(Busy):
    supervision = Supervision(
        "one_for_all", max_restarts=50, backoff=Backoff(1, 1, jitter=0)
    )


class Escalating(Busy):
    supervision = ESCALATE


KINDS = [Busy, OneForAll, RestForOne, Pausing, Escalating]


def ends_are_in_order(log: list[str]) -> bool:
    """Whether nobody runs when its parent says goodbye."""
    return "busy-" not in log or set(log[log.index("busy-") + 1 :]) <= {"a+", "b+"}


@pytest.mark.parametrize("verb", ["stop", "drain", "kill", "restart"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_verb_at_every_step_of_a_busy_tree(kind: type[Busy], verb: str) -> None:
    """Each verb, whatever goes on: start, sweep, pause, escalation, ask."""

    async def scenario(world: World, arm: Arm) -> None:
        log: list[str] = []
        ref = world.spawn_nowait(kind, log)
        arm(getattr(ref, verb))
        for _ in range(2):
            await ref.tell(Note())
        await world.settled()
        ref.stop()
        exit = await ref.wait_stopped()
        assert exit.kind in ("shutdown", "killed", "failed", "start_failed")
        assert world.find(ref.path) is None
        assert ends_are_in_order(log)

    assert at_every_step(scenario) > 25


@pytest.mark.parametrize("verb", ["stop", "drain", "kill", "restart"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_verb_to_a_child_at_every_step(kind: type[Busy], verb: str) -> None:
    """The struck child is the sibling of one that crashes and is swept."""

    async def scenario(world: World, arm: Arm) -> None:
        log: list[str] = []
        ref = await world.spawn(kind, log)
        child = found(world, f"{ref.path}/b")
        arm(getattr(child, verb))
        for _ in range(2):
            await ref.tell(Note())
        await world.settled()
        ref.stop()
        await ref.wait_stopped()
        await child.wait_stopped()

    assert at_every_step(scenario) > 20


# --- The end of the block   -------------------------------------------------


def strike_main(scenario: Callable[[Arm], Awaitable[object]], limit: int = 500) -> int:
    """Strike after every step of a program that opens its own system."""
    for at in range(1, limit):
        steps = _Steps(at)

        async def main(steps: _Steps = steps) -> None:
            trio.lowlevel.add_instrument(steps)

            def arm(strike: Callable[[], object]) -> None:
                steps.strike = strike

            try:
                await scenario(arm)
            finally:
                trio.lowlevel.remove_instrument(steps)

        try:
            run_main(main)
        except BaseException as error:
            error.add_note(f"struck after step {at}")
            raise
        if steps.steps < at:
            return at
    raise AssertionError(f"more than {limit} steps")


@pytest.mark.parametrize("strike", ["cancel", "stop"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_end_of_the_block_at_every_step(kind: type[Busy], strike: str) -> None:
    """Point 1: an ordered stop, whatever goes on; only what failed leaves."""

    async def scenario(arm: Arm) -> None:
        log: list[str] = []
        seen: list[type] = []
        try:
            with trio.CancelScope() as scope:
                async with open_system() as system:
                    ref = await system.spawn(kind, log)
                    arm(scope.cancel if strike == "cancel" else system.stop)
                    for _ in range(2):
                        await ref.tell(Note())
                        await trio.sleep(3)
        except ExceptionGroup as group:
            seen = [type(leaf) for leaf in leaves(group)]
        assert set(seen) <= {ValueError, ActorStopped, ActorFailed}
        # Everybody who has started has said goodbye: as a stop, or as a restart.
        for name in "ab":
            ends = log.count(f"{name}-") + log.count(f"{name}~")
            assert log.count(f"{name}+") == ends
        assert ends_are_in_order(log)

    assert strike_main(scenario) > 25


@pytest.mark.parametrize("signals", [True, False])
def test_a_cancellation_at_every_step_of_the_way_in(signals: bool) -> None:
    """What was opened is closed, also if the body is never reached."""

    async def scenario(arm: Arm) -> None:
        with trio.CancelScope() as scope:
            arm(scope.cancel)
            async with open_system(signals=signals) as system:
                await system.spawn(Worker)

    assert strike_main(scenario) > 5


# --- Spawners ---------------------------------------------------------------


class SlowStart(Worker):
    """Needs several steps to start, a child among them."""

    async def started(self) -> None:
        await trio.lowlevel.checkpoint()
        await self.context.spawn(Worker)
        await trio.sleep(1)
        await super().started()


def test_a_spawner_that_is_cancelled_at_every_step_leaves_nothing_half() -> None:
    """Point 3: as ``nursery.start()``: the child is there, or gone with all of it."""

    async def scenario(world: World, arm: Arm) -> None:
        log: list[str] = []
        with trio.CancelScope() as scope:
            arm(scope.cancel)
            await world.spawn(SlowStart, log, name="s")
        ref = world.find("/s")
        assert (ref is None) == scope.cancelled_caught
        if ref is None:  # the name is free again
            await world.spawn(Worker, name="s")
        else:
            assert await ref.ask(Get()) == 0

    assert at_every_step(scenario) > 5


def test_a_handler_that_spawns_and_is_killed_at_every_step() -> None:
    """The half-started child is the spawner's: it ends with it."""

    class Spawner(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await self.context.spawn(SlowStart, name="s")

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(Spawner, name="p")
        arm(ref.kill)
        await ref.tell(Note())
        await world.settled()
        ref.stop()
        await ref.wait_stopped()
        assert world.find("/p/s") is None

    assert at_every_step(scenario) > 5


def test_a_spawn_under_a_parent_that_is_stopped_at_every_step() -> None:
    """ActorStopped, or a child that is stopped in order: nothing between."""

    class Spawner(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            try:
                await self.context.spawn(SlowStart, name="s")
            except ActorError:
                assert self.context.ref is not None

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(Spawner, name="p")
        arm(ref.stop)
        await ref.tell(Note())
        await world.settled()
        ref.stop()
        assert (await ref.wait_stopped()).kind == "shutdown"

    assert at_every_step(scenario) > 5


# --- Asks -------------------------------------------------------------------


def test_an_ask_that_is_cancelled_at_every_step_confuses_nobody() -> None:
    """The reply slot is cancel-safe; the next ask gets its own answer."""

    async def scenario(world: World, arm: Arm) -> None:
        ref = await world.spawn(Worker)
        with trio.CancelScope() as scope:
            arm(scope.cancel)
            assert await ref.ask(Add(5)) == 5
        await world.settled()
        total = await ref.ask(Get())
        assert total in (0, 5)
        assert total == 5 or scope.cancelled_caught

    assert at_every_step(scenario) >= 5


@pytest.mark.parametrize("verb", ["stop", "drain", "kill", "restart"])
def test_an_ask_of_an_actor_that_is_struck_at_every_step(verb: str) -> None:
    """Every asker is told, and the words are true: begun, or not begun."""

    class Noted(Worker):
        begun = 0

        @handler
        async def add(self, message: Add) -> int:
            type(self).begun += 1
            await trio.lowlevel.checkpoint()
            return message.amount

    async def scenario(world: World, arm: Arm) -> None:
        Noted.begun = 0
        ref = await world.spawn(Noted)
        arm(getattr(ref, verb))
        try:
            assert await ref.ask(Add(5)) == 5
        except ActorStopped:
            assert Noted.begun == 0
        except ActorFailed:
            assert Noted.begun == 1

    assert at_every_step(scenario) >= 3


@pytest.mark.parametrize("struck", ["sender", "receiver"])
@pytest.mark.parametrize("verb", ["stop", "drain", "kill", "restart"])
def test_a_full_mailbox_when_either_end_is_struck_at_every_step(
    struck: str, verb: str
) -> None:
    """Blocked in a full mailbox's ``tell``: nothing is lost in silence."""

    class Pusher(Actor[Note]):
        def __init__(self, to: ActorRef[Note]) -> None:
            self.to = to

        @handler
        async def note(self, message: Note) -> None:
            await self.to.tell_all(Note(str(number)) for number in range(5))

    async def scenario(world: World, arm: Arm) -> None:
        log: list[str] = []
        sink = await world.spawn(Worker, log, mailbox=Mailbox(1))
        pusher = await world.spawn(Pusher, sink)
        arm(getattr(pusher if struck == "sender" else sink, verb))
        await pusher.tell(Note())
        await world.settled()
        told = [line for line in log if line.isdigit()]
        assert told == sorted(told)
        if struck == "sender" and verb in ("stop", "drain"):
            letters = [one for one in world.dead() if one.to == sink]
            assert len(told) in (0, 5)
            assert letters == []

    assert at_every_step(scenario) > 10
