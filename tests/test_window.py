"""How often children are restarted, and what is told of it (SUP-4, SUP-7, SUP-14)."""

from typing import Any

import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Worker,
    failures_of,
    found,
    open_system,
    run_main,
)
from trio_actors import (
    ActorRef,
    ChildSpec,
    Exit,
    RestartLimit,
    Supervision,
    SupervisorRef,
)
from trio_actors.testing import World, at_every_step

Log = list[str]


async def family(
    world: World, log: Log, rules: Supervision, names: str = "abc", **options: Any
) -> SupervisorRef:
    """A supervisor ``/s`` of workers, one for each letter; then an empty log."""
    specs = [ChildSpec(name, Worker, log, name, **options) for name in names]
    top = await world.spawn_supervisor(*specs, name="s", supervision=rules)
    log.clear()
    return top


# --- Failed attempts ----------------------------------------------------------


class Fragile(Worker):
    """Fails in those of its starts that are given."""

    starts: dict[str, int]

    def __init__(self, log: Log, name: str, starts: dict[str, int], *bad: int) -> None:
        super().__init__(log, name)
        self.starts = starts
        self.bad = bad

    async def started(self) -> None:
        self.starts[self.name] = self.starts.get(self.name, 0) + 1
        if self.starts[self.name] in self.bad:
            self.log.append(f"{self.name}!")
            raise OSError("not yet")
        await super().started()


ATTEMPTS = {
    "one_for_one": ["b~", "b!", "b!", "b+"],
    "one_for_all": ["b~", "c~", "a~"] + ["a+", "b!", "a~"] * 2 + ["a+", "b+", "c+"],
    "rest_for_one": ["b~", "c~", "b!", "b!", "b+", "c+"],
}


@pytest.mark.parametrize("limit", [2, 3])
@pytest.mark.parametrize("strategy", ATTEMPTS)
async def test_a_failed_attempt_counts_and_is_repeated(
    world: World, strategy: Any, limit: int
) -> None:
    """SUP-7, SUP-4: one_for_all begins again, rest_for_one leaves the good ones."""
    log: Log = []
    starts: dict[str, int] = {}
    specs = [ChildSpec(name, Fragile, log, name, starts) for name in "ac"]
    specs.insert(1, ChildSpec("b", Fragile, log, "b", starts, 2, 3))
    top = await world.spawn_supervisor(
        *specs,
        name="s",
        restart="temporary",
        supervision=Supervision(strategy, max_restarts=limit),
    )
    log.clear()
    await found(world, "/s/b").tell(Boom())
    await world.settled()
    if limit == 3:
        assert log == ATTEMPTS[strategy]
    else:
        exit = await top.wait_stopped()
        assert exit.kind == "restart_limit"
        assert isinstance(exit.error, RestartLimit)
        assert isinstance(exit.error.__cause__, OSError)


async def test_another_child_than_the_offender_fails_in_the_sweep(
    world: World,
) -> None:
    """SUP-7: its own sweep follows, and covers the rest."""
    log: Log = []
    starts: dict[str, int] = {}
    specs = [ChildSpec(name, Fragile, log, name, starts) for name in "ac"]
    specs.insert(1, ChildSpec("b", Fragile, log, "b", starts, 2))
    rules = Supervision("rest_for_one", max_restarts=2)
    await world.spawn_supervisor(*specs, name="s", supervision=rules)
    log.clear()
    await found(world, "/s/a").tell(Boom())
    await world.settled()
    assert log == ["a~", "c~", "b~", "a+", "b!", "b+", "c+"]


async def test_requests_to_the_supervisor_are_served_between_attempts(
    world: World,
) -> None:
    """SUP-4, SUP-11: a child that never comes up does not block its supervisor."""

    class Never(Counter):
        async def started(self) -> None:
            if self.context.incarnation > 1:
                await trio.sleep(1)
                raise OSError("never")

    rules = Supervision(max_restarts=None)
    top = await world.spawn_supervisor(supervision=rules)
    never = await top.spawn(Never, name="never")
    await never.tell(Boom())
    await trio.sleep(10.5)
    assert await (await top.spawn(Counter)).ask(Add()) == 1
    assert top.which_children()["never"] == never
    await top.terminate_child("never")
    assert top.which_children()["never"] is None
    assert trio.current_time() == 11


# --- The window ---------------------------------------------------------------


async def crash(ref: ActorRef[Any], at: float) -> None:
    """Let *ref* fail at a time."""
    await trio.sleep_until(at)
    await ref.tell(Boom())


@pytest.mark.parametrize(
    ("times", "gives_up"),
    [
        ([0, 1, 2], False),
        ([0, 1, 2, 3], True),
        ([0, 1, 2, 5], True),  # ages up to and including the window count
        ([0, 1, 2, 5.001], False),
        ([0, 1, 2, 5.5, 5.9], True),
        ([0, 2, 4, 6, 8, 10, 12], False),
    ],
)
async def test_strictly_more_than_the_limit_within_the_window_gives_up(
    world: World, times: list[float], gives_up: bool
) -> None:
    """SUP-4: 3 in 5 s, the ages from 0 to 5 s included."""
    top = await world.spawn_supervisor(restart="temporary", name="s")
    ref = await top.spawn(Counter)
    for at in times:
        await crash(ref, at)
    await world.settled()
    assert (world.find("/s") is None) == gives_up


async def test_the_window_is_shared_by_all_children(world: World) -> None:
    """SUP-4: per supervisor, not per child."""
    rules = Supervision(max_restarts=2)
    top = await world.spawn_supervisor(supervision=rules, restart="temporary")
    for _ in range(3):
        await (await top.spawn(Counter)).tell(Boom())
    assert (await top.wait_stopped()).kind == "restart_limit"


async def test_per_child_gives_each_child_its_own_window(world: World) -> None:
    """SUP-4, design 3: it changes what is counted, not who fails."""
    rules = Supervision(max_restarts=2, per_child=True)
    top = await world.spawn_supervisor(supervision=rules, restart="temporary")
    kids = [await top.spawn(Counter) for _ in range(5)]
    for kid in kids * 2:
        await kid.tell(Boom())
    await world.settled()
    assert await kids[0].ask(Add()) == 1
    await kids[3].tell(Boom())
    exit = await top.wait_stopped()
    assert exit.kind == "restart_limit"
    assert kids[3].path in str(exit.error)


async def test_a_child_that_is_started_anew_has_an_empty_window(world: World) -> None:
    """Design 3: what is started again after its end is a new cell."""
    rules = Supervision(max_restarts=1, per_child=True)
    top = await world.spawn_supervisor(supervision=rules)
    for _ in range(4):
        ref = await top.spawn(Counter, name="kid")
        await ref.tell(Boom())
        await ref.ask(Add())
        await top.terminate_child("kid")
        await top.delete_child("kid")


def test_the_top_counts_per_child() -> None:
    """Design 3: four unrelated crashes must not end a program; four of one do."""

    async def main() -> None:
        async with open_system() as system:
            kids = [await system.spawn(Counter) for _ in range(10)]
            for kid in kids * 3:
                await kid.tell(Boom())
            for kid in kids:
                assert await kid.ask(Add()) == 1
            await kids[0].tell(Boom(KeyError("the fourth")))
            await trio.sleep_forever()

    (limit,) = failures_of(main)
    assert isinstance(limit, RestartLimit)
    assert isinstance(limit.__cause__, KeyError)


async def test_a_supervisor_that_gave_up_is_restarted_by_its_own_with_its_specs(
    world: World,
) -> None:
    """SUP-4: an abnormal end, so that a transient supervisor comes back."""
    log: Log = []
    outer = await world.spawn_supervisor(supervision=Supervision(max_restarts=2))
    specs = [ChildSpec(name, Worker, log, name) for name in "ab"]
    rules = Supervision(max_restarts=1)
    inner = await outer.spawn_supervisor(*specs, name="s", supervision=rules)
    for _ in range(2):
        log.clear()
        for _ in range(2):
            await inner.child(specs[0]).tell(Boom())
            await world.settled()
        assert log == ["a~", "a+", "a-", "b-", "a+", "b+"]
    assert world.snapshot().children[0].children[0].restarts == 2


def test_sweeps_struck_at_every_step_by_another_failure() -> None:
    """Design 3: whenever the second failure comes, all children come back."""

    async def scenario(world: World, arm: Any) -> None:
        rules = Supervision("one_for_all", max_restarts=4)
        top = await family(world, [], rules)
        b = found(world, "/s/b")
        sweeping = True
        arm(lambda: b._cell.fail(OSError("struck")) if sweeping else None)
        await found(world, "/s/a").tell(Boom())
        await found(world, "/s/c").tell(Add())
        await world.settled()
        sweeping = False
        assert None not in top.which_children().values()
        for name in "abc":
            assert await found(world, f"/s/{name}").ask(Add(0)) in {0, 1}

    assert at_every_step(scenario) > 15


# --- Events -------------------------------------------------------------------


async def test_what_happens_is_told_in_order(world: World) -> None:
    """SUP-14: started, failed, restarting, restarted, resumed, gave_up, stopped."""
    rules = Supervision(directives={KeyError: "resume"}, max_restarts=1)
    seen: list[tuple[str, str]] = []
    with world.events() as events:
        top = await world.spawn_supervisor(supervision=rules, restart="temporary")
        kid = await top.spawn(Counter)
        for error in (KeyError("one"), ValueError("two"), ValueError("three")):
            await kid.tell(Boom(error))
        async for event in events:
            if event.ref == kid:
                seen.append((event.kind, str(event.error or "")))
            if event.kind == "stopped":
                break
    assert seen == [
        ("started", ""),
        ("failed", "'one'"),
        ("resumed", "'one'"),
        ("failed", "two"),
        ("restarting", "two"),
        ("restarted", "two"),
        ("failed", "three"),
        ("gave_up", "three"),
        ("stopped", "three"),
    ]


# --- A limit is an abnormal end -----------------------------------------------


def test_the_limit_names_the_child_and_has_its_failure_as_cause() -> None:
    """SUP-4: abnormal, so that a transient supervisor is restarted."""

    async def main() -> None:
        async with open_system() as system:
            top = await system.spawn_supervisor(
                name="top",
                restart="temporary",
                supervision=Supervision(max_restarts=1, within=9),
            )
            ref = await top.spawn(Counter, name="kid")
            for text in ("one", "two"):
                await ref.tell(Boom(ValueError(text)))
            exit = await top.wait_stopped()
            assert exit.kind == "restart_limit"
            limit = exit.error
            assert isinstance(limit, RestartLimit)
            assert str(limit.__cause__) == "two"
            assert str(limit).startswith(
                "/top/kid failed: more than once within 9 s. The last failure"
            )

    run_main(main)


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (Supervision(max_restarts=0), "/top/kid failed, and /top allows no restart."),
        (Supervision(max_restarts=2), "more than 2 times within 5 s."),
    ],
)
async def test_the_text_of_a_limit_says_what_was_allowed(
    world: World, rules: Supervision, text: str
) -> None:
    """SUP-4: ``max_restarts=0`` means that the first restart gives up."""
    top = await world.spawn_supervisor(
        name="top", restart="temporary", supervision=rules
    )
    ref = await top.spawn(Counter, name="kid")
    for _ in range((rules.max_restarts or 0) + 1):
        await ref.tell(Boom())
    exit: Exit = await top.wait_stopped()
    assert text in str(exit.error)
