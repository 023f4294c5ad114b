"""Parents and children at the end: order, times, shields, rebels, watchers."""

import math

import pytest
import trio

from tests.kit import (
    Add,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
    reasons,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    AskDeadlock,
    Exit,
    Supervision,
    handler,
)
from trio_actors.testing import Probe, World

# --- Families ---------------------------------------------------------------


class Nest(Actor[Note]):
    """Has three workers; its log shows who ends when."""

    def __init__(self, log: list[str], seconds: float = 0) -> None:
        self.log = log
        self.seconds = seconds

    async def started(self) -> None:
        for name in "abc":
            await self.context.spawn(Worker, self.log, name, name=name)

    async def stopped(self, reason: Exit) -> None:
        assert not self.context.children
        self.log.append(f"nest {reason.kind}")

    @handler
    def note(self, message: Note) -> None:
        self.context.stop()


@pytest.mark.parametrize("how", ["stop", "drain", "from inside"])
async def test_children_stop_in_reverse_order_before_their_parents_hook(
    world: World, how: str
) -> None:
    """LIFE-6, SUP-8: a stop hook can rely on "my children are gone"."""
    log: list[str] = []
    ref = await world.spawn(Nest, log)
    if how == "from inside":
        ref.tell_nowait(Note())
    else:
        getattr(ref, how)()
    exit = await ref.wait_stopped()
    assert log == ["a+", "b+", "c+", "c-", "b-", "a-", f"nest {exit.kind}"]


async def test_children_are_stopped_one_by_one_each_within_its_own_time(
    world: World,
) -> None:
    """SUP-8: reverse start order, one by one, each up to its shutdown time."""
    log: list[tuple[str, float]] = []

    class Slow(Counter):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(2)
            log.append((self.name, trio.current_time()))

    class Parent(Counter):
        async def started(self) -> None:
            await self.context.spawn(Slow, "a")
            await self.context.spawn(Slow, "b", shutdown=1)  # cut after one second
            await self.context.spawn(Slow, "c")

    ref = await world.spawn(Parent, shutdown=math.inf)
    ref.stop()
    await ref.wait_stopped()
    assert log == [("c", 2), ("a", 5)]


async def test_a_parent_whose_time_is_over_takes_its_children_with_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """SUP-5: the parent's own time bounds its children's."""
    log: list[str] = []

    class Parent(Counter):
        async def started(self) -> None:
            child = await self.context.spawn(Worker, log, "child", shutdown=1000)
            child.tell_nowait(Sleep(500))

    ref = await world.spawn(Parent, name="parent", shutdown=2)
    await trio.sleep(1)
    ref.stop()
    assert (await ref.wait_stopped()).kind == "killed"
    assert trio.current_time() == 3
    assert log == ["child+"]
    assert "/parent did not stop within its 2 seconds" in caplog.text


async def test_a_grandchild_that_shields_itself_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Trio ends no task by force; and no parent ends before its children."""
    log: list[str] = []

    class Stubborn(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
            log.append("stubborn done")

    class Parent(Counter):
        async def started(self) -> None:
            child = await self.context.spawn(Stubborn, name="s", shutdown=1)
            await child.tell(Note())

    class Grandparent(Counter):
        async def started(self) -> None:
            await self.context.spawn(Parent)

    ref = await world.spawn(Grandparent)
    await trio.sleep(1)
    ref.kill()
    assert (await ref.wait_stopped()).kind == "killed"
    assert log == ["stubborn done"]
    assert trio.current_time() == 60


async def test_a_child_may_stop_its_parent(world: World) -> None:
    """From a child: the parent waits for the child's turn, not the other way."""
    log: list[str] = []

    class Rebel(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            parent = self.context.parent
            assert parent is not None
            parent.stop("by my child")
            await trio.sleep(1)
            log.append("rebel done")

    class Parent(Counter):
        async def started(self) -> None:
            child = await self.context.spawn(Rebel)
            child.tell_nowait(Note())

        async def stopped(self, reason: Exit) -> None:
            log.append("parent-")

    ref = await world.spawn(Parent)
    assert await ref.wait_stopped() == Exit("shutdown", None, "by my child")
    assert log == ["rebel done", "parent-"]


async def test_a_child_that_waits_for_its_parents_end_is_a_deadlock(
    world: World,
) -> None:
    """The parent waits for the child's turn: it can never end."""
    errors: list[str] = []

    class Rebel(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            parent = self.context.parent
            assert parent is not None
            parent.stop()
            try:
                await parent.wait_stopped()
            except AskDeadlock as error:
                errors.append(str(error))

    class Parent(Counter):
        async def started(self) -> None:
            child = await self.context.spawn(Rebel, name="rebel")
            child.tell_nowait(Note())

    ref = await world.spawn(Parent, name="parent")
    assert (await ref.wait_stopped()).kind == "shutdown"
    # Bounded by its shutdown time at the worst; known at once at the best.
    assert trio.current_time() == 0
    assert errors


@pytest.mark.parametrize("verb", ["kill", "restart"])
async def test_a_child_may_kill_or_restart_its_parent(world: World, verb: str) -> None:
    """The child that asks for it is itself cancelled."""
    log: list[str] = []

    class Rebel(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            parent = self.context.parent
            assert parent is not None
            getattr(parent, verb)()
            await trio.sleep(1)
            log.append("rebel done")

        async def stopped(self, reason: Exit) -> None:
            log.append(f"rebel {reason.kind}")

    class Parent(Counter):
        async def started(self) -> None:
            log.append(f"parent {self.context.incarnation}")
            child = await self.context.spawn(Rebel)
            if self.context.incarnation == 1:
                child.tell_nowait(Note())

    ref = await world.spawn(Parent)
    await world.settled()
    if verb == "kill":
        assert (await ref.wait_stopped()).kind == "killed"
        assert log == ["parent 1"]
    else:
        # A restart stops the children as any stop does: in order, and awaited.
        assert log == ["parent 1", "rebel done", "rebel shutdown", "parent 2"]


async def test_a_child_that_crashes_while_its_parent_stops(world: World) -> None:
    """Nothing is restarted any more, and the siblings still stop in order."""
    log: list[str] = []

    class Parent(Counter):
        supervision = Supervision(strategy="one_for_all")

        async def started(self) -> None:
            for name in "abc":
                child = await self.context.spawn(Worker, log, name, name=name)
                if name == "b":
                    self.child = child

        async def stopped(self, reason: Exit) -> None:
            log.append("parent-")

    ref = await world.spawn(Parent)
    b = world.find(f"{ref.path}/b")
    assert b is not None
    b.tell_nowait(Sleep(1))
    ref.stop()
    asked = world.find(f"{ref.path}/c")
    assert asked is not None
    await trio.sleep(0)
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert log == ["a+", "b+", "c+", "c-", "b-", "a-", "parent-"]


async def test_a_turn_that_fails_while_all_are_stopped_is_not_restarted(
    world: World,
) -> None:
    """No restart while the family closes; the asker is told."""
    log: list[str] = []

    class Late(Actor[Note | Get]):
        async def stopped(self, reason: Exit) -> None:
            log.append(f"late {reason.kind}")

        @handler
        def note(self, message: Note) -> None:
            pass

        @handler
        async def get(self, message: Get) -> int:
            await trio.sleep(1)
            raise ValueError("late")

    class Parent(Counter):
        async def started(self) -> None:
            await self.context.spawn(Worker, log, "a", name="a")
            await self.context.spawn(Late, name="late")

    ref = await world.spawn(Parent)
    late = world.find(f"{ref.path}/late")
    assert late is not None
    asked = late.ask_nowait(Get())
    await trio.sleep(0.5)
    ref.stop()
    with pytest.raises(ActorFailed, match="late"):
        await asked
    assert (await late.wait_stopped()).kind == "failed"
    await ref.wait_stopped()
    assert log == ["a+", "late failed", "a-"]


# --- Watchers, links, names -------------------------------------------------


async def test_a_watcher_hears_of_the_end_when_the_name_is_free(world: World) -> None:
    """LIFE-9: a watcher may spawn the same name again at once."""
    probe: Probe[object] = Probe(world)
    names: list[str] = []

    class Watcher(Actor[Note]):
        async def started(self) -> None:
            ref = await self.context.system.spawn(Counter, name="w")
            self.context.watch(ref, Note("ended"))
            ref.stop()

        @handler
        async def note(self, message: Note) -> None:
            again = await self.context.system.spawn(Counter, name="w")
            names.append(again.path)
            await probe.ref.tell(message)

    await world.spawn(Watcher)
    assert await probe.receive() == Note("ended")
    assert names == ["/w"]


async def test_a_ref_of_a_stopped_actor_never_reaches_a_later_one(world: World) -> None:
    """LIFE-1: a ref names one life."""
    old = await world.spawn(Counter, name="x")
    old.stop()
    await old.wait_stopped()
    new = await world.spawn(Counter, name="x")
    assert old != new
    await old.tell(Add())
    with pytest.raises(ActorStopped):
        await old.ask(Add())
    assert await new.ask(Get()) == 0
    assert reasons(world) == ["stopped", "stopped"]


async def test_wait_stopped_may_be_called_by_many_and_after_the_end(
    world: World,
) -> None:
    """All get the same exit; cancelling one harms nobody."""
    ref = await world.spawn(Counter)
    exits: list[Exit] = []

    async def wait() -> None:
        exits.append(await ref.wait_stopped())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        with trio.move_on_after(1):
            await ref.wait_stopped()
        ref.stop()
    exits.append(await ref.wait_stopped())
    assert exits == [Exit("shutdown")] * 4
