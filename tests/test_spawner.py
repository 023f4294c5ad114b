"""Starting children: what is refused, fails, is undone (SUP-5, SUP-6, LIFE-2..9)."""

import math
from typing import Any

import attrs
import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
    found,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    ActorStopped,
    AskDeadlock,
    Backoff,
    ChildSpec,
    Exit,
    Inbox,
    NameTaken,
    Reply,
    RestartLimit,
    StartFailed,
    Supervision,
    handler,
)
from trio_actors.testing import World, at_every_step

Log = list[str]


@attrs.define
class Switch:
    """Whether a `Picky` actor can start."""

    works: bool = False


class Picky(Worker):
    """Starts only if its switch says so."""

    def __init__(self, switch: Switch, log: Log | None = None, name: str = "") -> None:
        super().__init__(log, name)
        self.switch = switch

    async def started(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.switch.works:
            raise OSError("not now")
        await super().started()


# --- The first start ----------------------------------------------------------


@pytest.mark.parametrize("place", ["__init__", "started", "function"])
async def test_a_failed_first_start_is_the_spawners_and_is_never_retried(
    world: World, place: str
) -> None:
    """LIFE-2, FAIL-4, SUP-6: StartFailed with the cause; the name is free again."""
    starts: list[str] = []

    class Bad(Counter):
        def __init__(self) -> None:
            super().__init__()
            starts.append("__init__")
            if place == "__init__":
                raise OSError("no")

        async def started(self) -> None:
            raise OSError("no")

    async def bad(inbox: Inbox[Note]) -> None:
        starts.append("function")
        raise OSError("no")

    actor: Any = bad if place == "function" else Bad
    with pytest.raises(StartFailed, match="/kid did not start: OSError") as caught:
        await world.spawn(actor, name="kid")
    assert isinstance(caught.value.__cause__, OSError)
    assert len(starts) == 1
    assert await (await world.spawn(Counter, name="kid")).ask(Add()) == 1


async def test_a_start_that_is_stopped_or_killed_is_a_failed_start(
    world: World,
) -> None:
    """LIFE-2: the spawner never gets a ref of an actor that did not start."""

    class Slow(Counter):
        async def started(self) -> None:
            await trio.sleep(1)

    async def spawn(verb: str) -> None:
        with pytest.raises(StartFailed, match=r"did not start \(killed\)"):
            await world.spawn(Slow, name=verb)

    world.client(spawn, "kill")
    await trio.sleep(0.5)
    found(world, "/kill").kill()
    await world.settled()
    assert world.find("/kill") is None


async def test_what_is_told_to_a_failed_start_is_a_dead_letter(world: World) -> None:
    """LIFE-2: asks fail, tells are dead letters with that reason."""
    top = await world.spawn_supervisor(supervision=Supervision(max_restarts=0))

    async def spawn() -> None:
        with pytest.raises(StartFailed):
            await top.spawn(Picky, Switch(), name="kid")

    async def ask() -> None:
        kid = found(world, "/supervisor-1/kid")
        await kid.tell(Add())
        with pytest.raises(ActorStopped) as caught:
            await kid.ask(Add())
        assert caught.value.reason.kind == "start_failed"

    world.client(spawn)
    world.client(ask)
    await world.settled()
    assert [letter.reason for letter in world.dead()] == ["start_failed"] * 2


async def test_spawn_nowait_goes_through_supervision(world: World) -> None:
    """LIFE-2, design 3: it is retried, counts, and what was sent waits for it."""
    switch = Switch()
    rules = Supervision(backoff=Backoff(1, 1, jitter=0), max_restarts=None)
    top = await world.spawn_supervisor(supervision=rules)
    ref = top.spawn_nowait(Picky, switch)
    asked = ref.ask_nowait(Add())
    await trio.sleep(3.5)
    switch.works = True
    assert await asked == 1
    assert trio.current_time() == 4


async def test_spawn_nowait_of_one_that_never_starts_reaches_the_limit(
    world: World,
) -> None:
    """FAIL-4, SUP-4: each attempt counts."""
    top = await world.spawn_supervisor(restart="temporary")
    ref = top.spawn_nowait(Picky, Switch(), name="kid")
    asked = ref.ask_nowait(Add())
    exit = await top.wait_stopped()
    assert isinstance(exit.error, RestartLimit)
    assert isinstance(exit.error.__cause__, OSError)
    with pytest.raises(ActorStopped):
        await asked
    world.dead()


async def test_a_temporary_spawn_nowait_that_does_not_start_is_over(
    world: World,
) -> None:
    """SUP-3: it is never retried; whoever waits for its end hears why."""
    ref = world.spawn_nowait(Picky, Switch(), restart="temporary")
    exit = await ref.wait_stopped()
    assert exit.kind == "failed"
    assert isinstance(exit.error, OSError)


async def test_the_specs_of_a_supervisor_are_unwound_in_reverse(world: World) -> None:
    """SUP-6: no restart is tried; the StartFailed of the supervisor has the cause."""
    log: Log = []
    specs = [ChildSpec(name, Worker, log, name) for name in "ab"]
    bad = ChildSpec("bad", Picky, Switch(), log, "bad")
    last = ChildSpec("z", Worker, log, "z")
    with pytest.raises(StartFailed) as caught:
        await world.spawn_supervisor(*specs, bad, last, name="top")
    assert log == ["a+", "b+", "b-", "a-"]
    inner = caught.value.__cause__
    assert isinstance(inner, StartFailed)
    assert isinstance(inner.__cause__, OSError)
    assert world.find("/top") is None


async def test_a_failed_start_child_forgets_the_spec(world: World) -> None:
    """SUP-10: and the name is free again."""
    switch = Switch()
    top = await world.spawn_supervisor()
    spec = ChildSpec("kid", Picky, switch)
    with pytest.raises(StartFailed):
        await top.start_child(spec)
    assert top.which_children() == {}
    switch.works = True
    kid = await top.start_child(spec)
    assert top.which_children() == {"kid": kid}
    assert top.child(spec) == kid


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_cancelled_start_leaves_nothing_or_a_running_child(dynamic: bool) -> None:
    """Design 1.3: no half-started child, and no spec of one, at any step."""

    async def scenario(world: World, arm: Any) -> None:
        top = await world.spawn_supervisor(name="top", dynamic=dynamic)
        spec = ChildSpec("kid", Picky, Switch(works=True))
        with trio.CancelScope() as scope:
            arm(scope.cancel)
            await top.start_child(spec)
        ended = scope.cancelled_caught
        assert list(top.which_children()) == ([] if ended else ["kid"])
        assert (world.find("/top/kid") is None) == ended

    assert at_every_step(scenario) >= 4


async def test_the_start_of_a_child_of_a_cancelled_start_is_awaited(
    world: World,
) -> None:
    """Design 1.3: with all below it."""
    log: Log = []

    class Deep(Counter):
        async def started(self) -> None:
            await self.context.spawn(Worker, log, "inner")
            try:
                await trio.sleep_forever()
            finally:
                log.append("cancelled")

    with trio.move_on_after(1):
        await world.spawn(Deep, name="deep")
    assert set(log) == {"inner+", "cancelled"}
    assert world.find("/deep") is None


async def test_messages_are_handled_after_the_start_and_in_order(world: World) -> None:
    """LIFE-2, LIFE-4: what it sends to itself in its start comes first."""
    log: Log = []

    class Eager(Worker):
        async def started(self) -> None:
            self.context.ref.tell_nowait(Note("own"))
            await trio.sleep(1)
            log.append("started")

    ref = world.spawn_nowait(Eager, log)
    await trio.sleep(0.5)
    await ref.tell(Note("external"))
    await world.settled()
    assert log == ["started", "own", "external"]


async def test_a_child_that_asks_the_parent_that_starts_it_is_a_deadlock(
    world: World,
) -> None:
    """SUP-11: OTP hangs here; we say who waits for whom."""

    class Child(Counter):
        async def started(self) -> None:
            await found(self.context.system, "/parent").ask(Get())

    class Starter(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            with pytest.raises(StartFailed) as caught:
                await self.context.spawn(Child, name="child")
            cause = caught.value.__cause__
            assert isinstance(cause, AskDeadlock)
            assert "/parent/child" in cause.cycle
            return 1

    ref = await world.spawn(Starter, name="parent")
    with trio.fail_after(1):
        assert await ref.ask(Get()) == 1


async def test_the_parent_starts_children_in_its_own_start(world: World) -> None:
    """LIFE-2: nested starts are awaited from the inside out."""

    class Adder(Actor[Get]):
        async def started(self) -> None:
            kid = await self.context.spawn(Counter, 5)
            self.value = await kid.ask(Add())

        @handler
        def get(self, message: Get) -> int | Reply[int]:
            return self.value

    assert await (await world.spawn(Adder)).ask(Get()) == 6


# --- Names --------------------------------------------------------------------


async def test_names_are_unique_among_siblings_and_free_when_the_end_is_told(
    world: World,
) -> None:
    """LIFE-9: released before anybody hears of the end."""

    class Slow(Worker):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(2)

    ref = await world.spawn(Slow, name="kid")
    with pytest.raises(NameTaken, match="/kid is already there"):
        await world.spawn(Counter, name="kid")
    ref.stop()
    with pytest.raises(NameTaken):
        await world.spawn(Counter, name="kid")
    await ref.wait_stopped()
    again = await world.spawn(Counter, name="kid")
    assert again != ref
    assert again.path == ref.path


async def test_a_name_is_made_from_the_class_or_the_function(world: World) -> None:
    """Design 5: from the spawner's own count; a taken one is passed over."""

    async def serve(inbox: Inbox[Note]) -> None:
        async for _ in inbox:
            pass

    await world.spawn(Counter, name="counter-2")
    refs = [await world.spawn(Counter) for _ in range(2)]
    assert [ref.path for ref in refs] == ["/counter-1", "/counter-3"]
    assert (await world.spawn(serve)).path.startswith("/serve-")


# --- What is refused before anything is made ----------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"strat": 1}, TypeError, "there is no option 'strat'. Write one of restart"),
        ({"shutdown": "5"}, TypeError, "shutdown is a int or float, but got '5'"),
        ({"shutdown": -1}, ValueError, "shutdown is seconds from 0 or math.inf"),
        ({"shutdown": math.nan}, ValueError, "shutdown is seconds from 0"),
        ({"restart": "always"}, ValueError, "there is no restart type 'always'"),
        ({"heartbeat": 0.5}, TypeError, "heartbeat is a Heartbeat"),
        ({"mailbox": 5}, TypeError, "mailbox is a Mailbox"),
        ({"supervision": {}}, TypeError, "supervision is a Supervision"),
        ({"significant": 1}, TypeError, "significant is a bool"),
        ({"significant": True}, ValueError, 'auto_shutdown is "never"'),
        ({"name": "a/b"}, ValueError, "is no name for an actor"),
        ({"name": ""}, ValueError, "is no name for an actor"),
        ({"name": 7}, ValueError, "7 is no name for an actor"),
    ],
)
async def test_wrong_options_are_refused_with_what_to_write(
    world: World, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """SUP-5: and nobody has been started."""
    with pytest.raises(error) as caught:
        await world.spawn(Counter, **options)
    assert text in str(caught.value)
    with pytest.raises(error):
        world.spawn_nowait(Counter, **options)
    assert world.snapshot().children == ()


async def test_a_permanent_child_cannot_be_significant(world: World) -> None:
    """SUP-9: it would be started again before its end could count."""
    rules = Supervision(auto_shutdown="any_significant")
    top = await world.spawn_supervisor(supervision=rules)
    with pytest.raises(ValueError, match="significant and permanent"):
        await top.spawn(Counter, restart="permanent", significant=True)
    spec = ChildSpec("kid", Counter, restart="permanent", significant=True)
    with pytest.raises(ValueError, match="kid is significant and permanent"):
        await world.spawn_supervisor(spec, supervision=rules)
    assert top.which_children() == {}


async def test_specs_are_checked_before_the_supervisor_is_made(world: World) -> None:
    """SUP-5, SUP-10: duplicates, a strategy for dynamic children, too many."""
    spec = ChildSpec("a", Counter)
    with pytest.raises(ValueError, match="two children are named 'a'"):
        await world.spawn_supervisor(spec, ChildSpec("b", Counter), spec)
    with pytest.raises(ValueError, match="a dynamic supervisor is one_for_one"):
        await world.spawn_supervisor(
            dynamic=True, supervision=Supervision("one_for_all")
        )
    for number in (0, -1):
        with pytest.raises(ValueError, match="leaves no room"):
            await world.spawn_supervisor(max_children=number)
    with pytest.raises(ValueError, match="leaves no room"):
        await world.spawn_supervisor(spec, ChildSpec("b", Counter), max_children=1)
    with pytest.raises(TypeError, match="no option 'colour'"):
        ChildSpec("c", Counter, colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert world.snapshot().children == ()
    assert repr(spec) == "<ChildSpec 'a': counter>"
    assert spec.name == "a"


async def test_nobody_is_started_by_an_actor_that_ends(world: World) -> None:
    """Design 3, start: ActorStopped, after ``context.stop()`` and in ``stopped()``."""
    errors: list[str] = []

    class Leaver(Worker):
        async def try_all(self) -> None:
            with pytest.raises(ActorStopped) as caught:
                self.context.spawn_nowait(Counter)
            errors.append(str(caught.value))
            with pytest.raises(ActorStopped) as caught:
                await self.context.spawn(Counter)
            errors.append(str(caught.value))

        @handler
        async def note(self, message: Note) -> None:
            await self.context.spawn(Counter)
            self.context.stop()
            await self.try_all()

        async def stopped(self, reason: Exit) -> None:
            await self.try_all()
            with pytest.raises(ActorStopped) as caught:
                self.context.start_soon(trio.sleep_forever)
            errors.append(str(caught.value))

    ref = await world.spawn(Leaver, name="leaver")
    await ref.tell(Note())
    assert (await ref.wait_stopped()).kind == "normal"
    assert len(errors) == 5
    assert all("/leaver is stopping or being restarted" in text for text in errors)


async def test_nobody_is_started_in_a_supervisor_that_stops_or_has_stopped(
    world: World,
) -> None:
    """Design 3, start: while its children still stop, and afterwards."""
    top = await world.spawn_supervisor()
    ref = await top.spawn(Worker)
    await ref.tell(Sleep(2))
    await trio.sleep(1)
    top.stop()
    for _ in range(2):
        with pytest.raises(ActorStopped):
            await top.spawn(Counter)
        with pytest.raises(ActorStopped):
            top.spawn_nowait(Counter)
        with pytest.raises(ActorStopped):
            await top.start_child(ChildSpec("kid", Counter))
        await top.wait_stopped()
    with pytest.raises(ActorStopped):
        top.which_children()
    with pytest.raises(ActorStopped):
        await top.terminate_child("worker-1")


def test_a_system_that_has_ended_starts_nobody() -> None:
    """Design 2: the block is over."""

    async def main() -> None:
        async with open_system() as system:
            top = await system.spawn_supervisor()
        with pytest.raises(ActorStopped, match="the system is stopping"):
            system.spawn_nowait(Counter)
        with pytest.raises(ActorStopped):
            await system.spawn(Counter)
        with pytest.raises(ActorStopped):
            await top.spawn(Counter)

    run_main(main)


# --- The options reach the child ----------------------------------------------


async def test_a_supervisor_has_an_infinite_shutdown_and_a_worker_five_seconds(
    world: World,
) -> None:
    """SUP-5: its children have their own; it is never killed over theirs."""
    top = await world.spawn_supervisor()
    for seconds in (4, 7):
        ref = await top.spawn(Worker, shutdown=seconds)
        await ref.tell(Sleep(1000))
    await trio.sleep(1)
    top.stop()
    exit = await top.wait_stopped()
    assert exit.kind == "shutdown"
    assert trio.current_time() == 1 + 7 + 4


async def test_shutdown_zero_kills_at_once(world: World) -> None:
    """SUP-5 ``brutal_kill``."""
    top = await world.spawn_supervisor()
    ref = await top.spawn(Worker, shutdown=0)
    await ref.tell(Sleep(1000))
    await trio.sleep(1)
    top.stop()
    await top.wait_stopped()
    assert trio.current_time() == 1
    assert (await ref.wait_stopped()).kind == "killed"


async def test_supervision_of_a_spawn_goes_before_that_of_the_class(
    world: World,
) -> None:
    """Design 3: an option, else the class attribute, else the default."""

    class Strict(Actor[Get]):
        supervision = Supervision(directives={ValueError: "stop"})

        async def started(self) -> None:
            self.kid = await self.context.spawn(Counter, name="kid")

        @handler
        async def get(self, message: Get) -> int:
            await self.kid.tell(Boom())
            return self.context.incarnation

    lax = Supervision(directives={ValueError: "resume"})
    for number, options in enumerate(({}, {"supervision": lax})):
        ref = await world.spawn(Strict, name=f"p{number}", **options)  # type: ignore[arg-type]
        await ref.ask(Get())
        await world.settled()
        assert (world.find(f"/p{number}/kid") is None) == (number == 0)


async def test_a_factory_is_called_again_for_each_start(world: World) -> None:
    """LIFE-7: any callable that makes an actor."""
    made: list[Counter] = []

    def factory() -> Counter:
        made.append(Counter(len(made)))
        return made[-1]

    ref = await world.spawn(factory)
    assert await ref.ask(Get()) == 0
    await ref.tell(Boom())
    assert await ref.ask(Get()) == 1
    assert len(made) == 2
