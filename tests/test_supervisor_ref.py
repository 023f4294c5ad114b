"""The verbs of a supervisor, dynamic children, and auto_shutdown (SUP-8, 9, 10)."""

from typing import Any

import attrs
import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Calls,
    Counter,
    Get,
    Note,
    Sleep,
    Worker,
    found,
)
from trio_actors import (
    Actor,
    ActorRef,
    ActorStopped,
    Backoff,
    ChildSpec,
    Inbox,
    NameTaken,
    StartFailed,
    Supervision,
    SupervisorRef,
    handler,
)
from trio_actors.testing import World, at_every_step

Log = list[str]


@pytest.fixture
async def top(world: World) -> SupervisorRef:
    """``/top`` with the counters a, b and c."""
    specs = [ChildSpec(name, Counter) for name in "abc"]
    return await world.spawn_supervisor(*specs, name="top")


# --- Terminate, restart, delete -----------------------------------------------


async def test_terminate_keeps_the_spec_and_restart_makes_a_new_actor(
    world: World, top: SupervisorRef
) -> None:
    """SUP-10: same name and place, new ref; the old one never reaches it (LIFE-1)."""
    old = found(world, "/top/b")
    await top.terminate_child("b")
    assert (await old.wait_stopped()).kind == "shutdown"
    assert list(top.which_children()) == ["a", "b", "c"]
    assert top.which_children()["b"] is None
    await top.restart_child("b")
    new = found(world, "/top/b")
    assert new != old
    assert list(top.which_children()) == ["a", "b", "c"]
    assert await new.ask(Add()) == 1
    with pytest.raises(ActorStopped):
        await old.ask(Add())
    world.dead()


async def test_terminate_of_a_temporary_child_forgets_it(
    world: World, top: SupervisorRef
) -> None:
    """SUP-10: its spec goes with it."""
    await top.spawn(Counter, name="t", restart="temporary")
    await top.terminate_child("t")
    assert list(top.which_children()) == ["a", "b", "c"]
    with pytest.raises(KeyError, match="has no child 't', but 'a', 'b', 'c'"):
        await top.restart_child("t")


async def test_terminate_returns_when_the_child_has_ended(world: World) -> None:
    """SUP-8: it finishes its message, within its shutdown time."""
    top = await world.spawn_supervisor()
    ref = await top.spawn(Worker, name="slow")
    await ref.tell(Sleep(3))
    await trio.sleep(1)
    await top.terminate_child("slow")
    assert trio.current_time() == 3
    await top.terminate_child("slow")  # again is a no-op
    assert trio.current_time() == 3


async def test_terminate_cancels_a_pending_retry(world: World) -> None:
    """Design 3: also before the very first start has worked."""

    class Never(Counter):
        async def started(self) -> None:
            raise OSError("never")

    rules = Supervision(backoff=Backoff(100, 100, jitter=0))
    top = await world.spawn_supervisor(supervision=rules)
    top.spawn_nowait(Never, name="never")
    await trio.sleep(1)
    await top.terminate_child("never")
    assert trio.current_time() == 1
    assert top.which_children() == {"never": None}
    await top.delete_child("never")
    assert top.which_children() == {}


async def test_only_a_child_that_has_stopped_is_restarted_or_deleted(
    world: World, top: SupervisorRef
) -> None:
    """SUP-10: the texts say what to do instead."""
    with pytest.raises(ValueError, match=r"/top/a runs: restart_child\(\) is for"):
        await top.restart_child("a")
    with pytest.raises(ValueError, match=r"/top/a runs: delete_child\(\) is for"):
        await top.delete_child("a")
    for call in (top.restart_child, top.delete_child, top.terminate_child):
        with pytest.raises(KeyError, match="/top has no child 'x'"):
            await call("x")
    assert await found(world, "/top/a").ask(Add()) == 1


async def test_a_name_is_taken_as_long_as_its_spec_is_kept(
    world: World, top: SupervisorRef
) -> None:
    """SUP-10 ``already_present``: restart it, or forget it."""
    with pytest.raises(NameTaken, match="is already there"):
        await top.spawn(Counter, name="a")
    await top.terminate_child("a")
    with pytest.raises(NameTaken, match=r"restart_child\(\), or forget it"):
        await top.spawn(Counter, name="a")
    with pytest.raises(NameTaken):
        await top.start_child(ChildSpec("a", Counter))
    await top.delete_child("a")
    await top.spawn(Counter, name="a")
    assert list(top.which_children()) == ["b", "c", "a"]


async def test_a_restart_child_that_fails_keeps_the_spec(world: World) -> None:
    """SUP-10: StartFailed for the caller, and it may try again."""
    top = await world.spawn_supervisor()

    class Once(Counter):
        starts = 0

        async def started(self) -> None:
            type(self).starts += 1
            if type(self).starts == 2:
                raise OSError("not now")

    await top.spawn(Once, name="kid")
    await top.terminate_child("kid")
    with pytest.raises(StartFailed):
        await top.restart_child("kid")
    assert top.which_children() == {"kid": None}
    await top.restart_child("kid")
    assert await found(world, "/supervisor-1/kid").ask(Add()) == 1


async def test_two_restarts_of_one_child_at_once_start_it_once(
    world: World, top: SupervisorRef
) -> None:
    """SUP-10: the second one finds it running."""
    await top.terminate_child("a")
    refused: list[ValueError] = []

    async def restart() -> None:
        try:
            await top.restart_child("a")
        except ValueError as error:
            refused.append(error)

    world.client(restart)
    world.client(restart)
    await world.settled()
    assert len(refused) == 1
    assert await found(world, "/top/a").ask(Add()) == 1


def test_a_cancelled_restart_child_keeps_the_spec_at_every_step() -> None:
    """Design 1.3: a half-started child is awaited; its spec stays."""

    async def scenario(world: World, arm: Any) -> None:
        top = await world.spawn_supervisor(ChildSpec("a", Worker), name="top")
        await top.terminate_child("a")
        with trio.CancelScope() as scope:
            arm(scope.cancel)
            await top.restart_child("a")
        runs = top.which_children()["a"] is not None
        assert runs != scope.cancelled_caught
        assert list(top.which_children()) == ["a"]

    assert at_every_step(scenario) >= 3


async def test_a_child_is_found_by_its_spec_while_it_runs(world: World) -> None:
    """``child(spec)`` has the type of the spec; it is not a promise to run."""
    spec = ChildSpec("kid", Counter, 5)
    top = await world.spawn_supervisor(spec, name="top")
    assert await top.child(spec).ask(Add()) == 6
    await top.child(spec).tell(Boom())
    assert await top.child(spec).ask(Get()) == 5
    await top.terminate_child("kid")
    with pytest.raises(KeyError, match="/top/kid has stopped"):
        top.child(spec)
    with pytest.raises(KeyError, match="has no child 'other'"):
        top.child(ChildSpec("other", Counter))


async def test_the_children_are_counted_by_kind(
    world: World, top: SupervisorRef
) -> None:
    """SUP-10 ``count_children``."""
    await top.spawn_supervisor(name="inner")
    await top.terminate_child("a")
    assert top.count_children() == {
        "specs": 4,
        "active": 3,
        "supervisors": 1,
        "workers": 3,
    }
    empty = await world.spawn_supervisor(dynamic=True)
    assert set(empty.count_children().values()) == {0}
    await empty.spawn(Counter)
    assert empty.count_children() == {
        "specs": 1,
        "active": 1,
        "supervisors": 0,
        "workers": 1,
    }


async def test_the_verbs_of_a_child_itself_end_it_and_keep_its_spec(
    world: World, top: SupervisorRef
) -> None:
    """The table: ``ref.stop/drain/kill`` are as final as ``terminate_child``."""
    for name, verb in (("a", "stop"), ("b", "drain"), ("c", "kill")):
        ref = found(world, f"/top/{name}")
        getattr(ref, verb)()
        await ref.wait_stopped()
    assert set(top.which_children().values()) == {None}
    for name in "abc":
        await top.restart_child(name)
    assert top.count_children()["active"] == 3


async def test_a_child_may_call_its_own_supervisor(world: World) -> None:
    """SUP-11: from a handler nothing hangs; to await its own end is a deadlock."""

    class Suicidal(Actor[Note]):
        def __init__(self, top: SupervisorRef) -> None:
            self.top = top

        @handler
        async def note(self, message: Note) -> None:
            await self.top.spawn(Counter, name="sibling")
            await self.top.terminate_child("sibling")
            await self.top.terminate_child("me")

    top = await world.spawn_supervisor()
    ref = await top.spawn(Suicidal, top, name="me", restart="temporary")
    await ref.tell(Note())
    with trio.fail_after(1):
        exit = await ref.wait_stopped()
    assert "can never end" in str(exit.error)


# --- Dynamic ------------------------------------------------------------------


async def test_dynamic_children_come_and_go_and_leave_no_spec(world: World) -> None:
    """SUP-2 ``simple_one_for_one``, SUP-10."""
    top = await world.spawn_supervisor(dynamic=True, name="top")
    kids = [await top.spawn(Counter, number) for number in range(3)]
    await kids[1].tell(Boom())
    assert [await kid.ask(Get()) for kid in kids] == [0, 1, 2]
    await top.terminate_child("counter-1")
    assert list(top.which_children()) == ["counter-2", "counter-3"]
    with pytest.raises(KeyError):
        await top.restart_child("counter-1")
    with pytest.raises(ValueError, match="runs"):
        await top.delete_child("counter-2")
    assert (
        await (await top.start_child(ChildSpec("counter-1", Counter))).ask(Add()) == 1
    )


async def test_max_children_is_the_most_that_run_and_a_restart_keeps_its_place(
    world: World,
) -> None:
    """SUP-10: more is a ValueError for the spawner, not a failure."""
    rules = Supervision(backoff=Backoff(10, 10, jitter=0))
    top = await world.spawn_supervisor(
        dynamic=True, max_children=2, supervision=rules, name="top"
    )
    first = await top.spawn(Counter)
    await top.spawn(Counter)
    await first.tell(Boom())
    await trio.sleep(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="/top has 2 children, as many as its"):
            await top.spawn(Counter)
        await world.settled()
    first.stop()
    await first.wait_stopped()
    assert await (await top.spawn(Counter)).ask(Add()) == 1
    inner = await world.spawn_supervisor(ChildSpec("a", Counter), max_children=1)
    await inner.terminate_child("a")
    await inner.spawn(Counter)
    with pytest.raises(ValueError, match="as many as its"):
        await inner.restart_child("a")


async def test_dynamic_children_that_hang_stop_together_under_one_limit(
    world: World,
) -> None:
    """Design 3: 10,000 of them need one shutdown time, not 10,000."""
    ends = 0

    async def hang(inbox: Inbox[Note]) -> None:
        nonlocal ends
        try:
            await trio.sleep_forever()
        finally:
            ends += 1

    top = await world.spawn_supervisor(dynamic=True, name="top")
    refs = [top.spawn_nowait(hang, shutdown=3) for _ in range(10_000)]
    await trio.sleep(1)
    top.stop()
    await top.wait_stopped()
    assert trio.current_time() == 4
    assert ends == len(refs)
    assert (await refs[0].wait_stopped()).kind == "killed"


async def test_others_stop_one_by_one_each_in_its_own_time(world: World) -> None:
    """SUP-8: three that hang need three times."""
    specs = [ChildSpec(name, Worker, shutdown=2) for name in "abc"]
    top = await world.spawn_supervisor(*specs, name="top")
    for name in "abc":
        await found(world, f"/top/{name}").tell(Sleep(1000))
    await trio.sleep(1)
    top.stop()
    await top.wait_stopped()
    assert trio.current_time() == 1 + 3 * 2


# --- auto_shutdown ------------------------------------------------------------


@attrs.frozen
class Leave:
    """Ask a `Mortal` to end in some way."""

    how: str


class Mortal(Actor[Leave]):
    @handler
    def leave(self, message: Leave) -> None:
        if message.how == "fails":
            raise OSError("fails")
        self.context.stop()


ENDS: dict[str, tuple[bool, bool]] = {
    # how it ends: fires for transient, for temporary
    "returns": (True, True),
    "fails": (False, True),
    "stop": (False, False),
    "drain": (False, False),
    "kill": (False, False),
    "terminate": (False, False),
}


@pytest.mark.parametrize("restart", ["transient", "temporary"])
@pytest.mark.parametrize("how", ENDS)
async def test_only_an_end_by_itself_shuts_down(
    world: World, how: str, restart: Any
) -> None:
    """SUP-9, design 3: never the verbs; a transient one only when it is normal."""
    rules = Supervision(auto_shutdown="any_significant")
    log: Log = []
    top = await world.spawn_supervisor(
        ChildSpec("other", Worker, log, "other"), supervision=rules, name="top"
    )
    kid = await top.spawn(Mortal, name="kid", restart=restart, significant=True)
    if how in ("returns", "fails"):
        await kid.tell(Leave(how))
    elif how == "terminate":
        await top.terminate_child("kid")
    else:
        getattr(kid, how)()
    await world.settled()
    transient, temporary = ENDS[how]
    fires = temporary if restart == "temporary" else transient
    assert (world.find("/top") is None) == fires
    if fires:
        assert (await top.wait_stopped()).kind == "shutdown"
        assert log == ["other+", "other-"]


async def test_all_significant_waits_for_the_last_of_them(world: World) -> None:
    """SUP-9: those that are not significant do not matter."""
    rules = Supervision(auto_shutdown="all_significant")
    top = await world.spawn_supervisor(supervision=rules, name="top")
    await top.spawn(Counter)
    kids: list[ActorRef[Leave]] = [
        await top.spawn(Mortal, significant=True) for _ in range(3)
    ]
    for kid in kids[:2]:
        await kid.tell(Leave("returns"))
        await kid.wait_stopped()
    assert world.find("/top") is not None
    await kids[2].tell(Leave("returns"))
    assert (await top.wait_stopped()).kind == "shutdown"


async def test_the_end_of_a_significant_child_costs_the_same_among_many(
    world: World,
) -> None:
    """All that were left were asked whether they are significant, at each end."""
    rules = Supervision(auto_shutdown="all_significant")
    counts: list[int] = []
    for size in (10, 100):
        top = await world.spawn_supervisor(supervision=rules, dynamic=True)
        kids: list[ActorRef[Leave]] = [
            await top.spawn(Mortal, significant=True) for _ in range(size)
        ]
        with Calls() as calls:
            for kid in kids:
                kid.tell_nowait(Leave("returns"))
            await top.wait_stopped()
        counts.append(calls.count)
    few, many = counts
    assert many < 11 * few


class Name(str):
    """A name that counts how often it is looked up or compared."""

    __slots__ = ()
    looks = 0

    def __hash__(self) -> int:
        Name.looks += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        Name.looks += 1
        return super().__eq__(other)


async def test_a_supervisor_of_many_looks_at_each_as_often_as_one_of_few(
    world: World,
) -> None:
    """Every name was compared with all, and at each stop all were listed again."""
    looks: list[int] = []
    for size in (10, 100):
        before = Name.looks
        specs = [ChildSpec(Name(f"c{number}"), Counter) for number in range(size)]
        top = await world.spawn_supervisor(*specs)
        top.stop()
        await top.wait_stopped()
        looks.append(Name.looks - before)
    few, many = looks
    assert few
    assert many < 11 * few


async def test_a_significant_child_of_a_plain_parent_ends_it(world: World) -> None:
    """Design 3: a parent, plain or not; a permanent parent is started again."""
    log: Log = []

    class Host(Actor[Note]):
        supervision = Supervision(auto_shutdown="any_significant")

        async def started(self) -> None:
            log.append(f"host {self.context.incarnation}")
            await self.context.spawn(Mortal, name="kid", significant=True)

        @handler
        def note(self, message: Note) -> None: ...

    ref = await world.spawn(Host, name="host", restart="permanent")
    await found(world, "/host/kid").tell(Leave("returns"))
    await world.settled()
    assert log == ["host 1", "host 2"]
    ref.stop()


async def test_a_significant_start_that_fails_does_not_shut_down(
    world: World,
) -> None:
    """SUP-9: it is the spawner's matter."""
    rules = Supervision(auto_shutdown="any_significant")
    top = await world.spawn_supervisor(supervision=rules)

    async def bad(inbox: Inbox[Note]) -> None:
        raise OSError("no")

    with pytest.raises(StartFailed):
        await top.spawn(bad, significant=True)
    assert await (await top.spawn(Counter)).ask(Add()) == 1


async def test_at_the_top_a_significant_end_stops_the_system() -> None:
    """SUP-9: the block ends, as by ``system.stop()``."""
    from trio_actors import open_actor_system

    with trio.fail_after(5):
        rules = Supervision(auto_shutdown="any_significant")
        async with open_actor_system("demo", supervision=rules) as system:
            kid = await system.spawn(Mortal, significant=True)
            await kid.tell(Leave("returns"))
            await trio.sleep_forever()
