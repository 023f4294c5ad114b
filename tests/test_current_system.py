"""current_system() everywhere; context variables, random numbers, threads."""

import logging
import threading
from contextvars import ContextVar

import pytest
import trio

from tests.kit import (
    Add,
    Counter,
    Get,
    Note,
    Worker,
    check_books,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    ActorRef,
    ActorSystem,
    Exit,
    Inbox,
    NoSystem,
    current_system,
    handler,
    open_actor_system,
)
from trio_actors.testing import World

# --- Which system -----------------------------------------------------------


def test_outside_of_a_system_there_is_none() -> None:
    with pytest.raises(NoSystem, match="async with open_actor_system"):
        current_system()


async def test_current_system_is_known_everywhere_inside(world: World) -> None:
    """From any task: handlers, hooks, functions, inner tasks, threads, nurseries."""
    found: dict[str, ActorSystem] = {"body": current_system()}

    class Curious(Actor[Note]):
        def __init__(self) -> None:
            found["init"] = current_system()

        async def started(self) -> None:
            found["started"] = current_system()
            self.context.start_soon(self.inner)

        async def inner(self) -> None:
            found["inner"] = current_system()

        async def stopped(self, reason: Exit) -> None:
            found["stopped"] = current_system()

        @handler
        async def note(self, message: Note) -> None:
            found["handler"] = current_system()
            found["thread"] = await trio.to_thread.run_sync(current_system)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.child)

        async def child(self) -> None:
            found["nursery"] = current_system()

    async def listen(inbox: Inbox[Note]) -> None:
        found["function"] = current_system()

    ref = await world.spawn(Curious)
    await world.spawn(listen)
    await ref.tell(Note())
    await world.settled()
    ref.stop()
    await ref.wait_stopped()
    assert len(found) == 9
    assert set(found.values()) == {world}


def test_after_the_end_there_is_no_system() -> None:
    late: list[str] = []

    async def look(gate: trio.Event) -> None:
        assert current_system().name == "demo"
        await gate.wait()
        with pytest.raises(NoSystem, match="'demo' has ended"):
            current_system()
        late.append("looked")

    async def main() -> None:
        gate = trio.Event()
        async with trio.open_nursery() as nursery:
            async with open_system():
                nursery.start_soon(look, gate)
                await trio.sleep(0)
            with pytest.raises(NoSystem, match="there is no actor system here"):
                current_system()
            gate.set()

    run_main(main)
    assert late == ["looked"]


def test_systems_nest_and_stand_side_by_side() -> None:
    """U15: no global; the inner one is current, then the outer one again."""

    async def main() -> None:
        async with open_actor_system("outer") as outer:
            ref = await outer.spawn(Counter, name="x")
            async with open_actor_system("inner") as inner:
                assert current_system() is inner
                twin = await inner.spawn(Counter, name="x")
                assert twin != ref
                assert await twin.ask(Add(1)) + await ref.ask(Add(10)) == 11
            assert current_system() is outer
            assert (await twin.wait_stopped()).kind == "shutdown"
            assert await ref.ask(Add(10)) == 20
        check_books(inner)
        check_books(outer)

    run_main(main)


def test_an_actor_may_open_a_system_of_its_own() -> None:
    """A system inside of a handler ends with the handler."""
    log: list[str] = []

    class Host(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            async with open_system() as inner:
                ref = await inner.spawn(Worker, log, "inner")
                await ref.tell(Note("told"))
                assert current_system() is inner
            assert current_system() is self.context.system

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Host)
            await ref.tell(Note())

    run_main(main)
    assert log == ["inner+", "told", "inner-"]


# --- Context variables ------------------------------------------------------


USER: ContextVar[str] = ContextVar("user", default="nobody")
UNSET: ContextVar[str] = ContextVar("unset")


class Reader(Actor[Note | Get]):
    """Says which user it sees."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        log.append(f"init {USER.get()}")

    @handler
    async def note(self, message: Note) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append(USER.get())
        USER.set("changed by the handler")

    @handler
    def get(self, message: Get) -> int:
        self.log.append(USER.get())
        return 1


def test_an_actor_starts_in_the_systems_context_not_the_spawners() -> None:
    """Point 8: a copy of the *system's* context."""
    log: list[str] = []

    async def main() -> None:
        USER.set("at the opening")
        async with open_system() as system:
            USER.set("at the spawn")
            ref = await system.spawn(Reader, log)
            await ref.ask(Get())
        assert USER.get() == "at the spawn"

    run_main(main)
    assert log == ["init at the opening", "at the opening"]


def test_propagated_variables_travel_with_each_message() -> None:
    """``propagate=``: for this turn only, told or asked."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(propagate=[USER, UNSET]) as system:
            ref = await system.spawn(Reader, log)
            for user in ("ann", "bob"):
                USER.set(user)
                await ref.tell(Note())
                await ref.ask(Get())

    run_main(main)
    assert log == ["init nobody", "ann", "ann", "bob", "bob"]


def test_a_restart_starts_in_a_fresh_context() -> None:
    """Point 8: what the old incarnation has set is gone."""
    log: list[str] = []

    class Spoiled(Reader):
        @handler
        async def note(self, message: Note) -> None:
            USER.set("spoiled")
            raise ValueError

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Spoiled, log)
            await ref.tell(Note())
            await ref.ask(Get())

    run_main(main)
    assert log == ["init nobody", "init nobody", "nobody"]


# --- Random numbers ---------------------------------------------------------


def test_a_seed_repeats_all_random_numbers() -> None:
    """``seed=``; one stream per actor, independent of the others' use."""

    def numbers(seed: int | None, *, disturb: bool = False) -> list[float]:
        async def main() -> list[float]:
            async with open_system(seed=seed) as system:
                contexts: list[float] = []

                class Roller(Counter):
                    async def started(self) -> None:
                        contexts.append(self.context.random.random())

                if disturb:
                    await system.spawn(Roller, name="other")
                    contexts.clear()
                await system.spawn(Roller, name="roller")
                return [system.random.random(), *contexts]

        return run_main(main)

    assert numbers(7) == numbers(7) == numbers(7, disturb=True)
    assert numbers(7) != numbers(8)
    assert numbers(None) != numbers(None)


# --- Threads ----------------------------------------------------------------


async def test_a_thread_tells_and_keeps_its_order(world: World) -> None:
    """TRIO-10: ``tell_from_thread``."""
    log: list[str] = []
    ref = await world.spawn(Worker, log)

    def work() -> None:
        for number in range(100):
            ref.tell_from_thread(Note(str(number)))

    await trio.to_thread.run_sync(work)
    await world.settled()
    assert log == ["+", *map(str, range(100))]


async def test_a_thread_that_tells_a_stopped_actor_makes_a_dead_letter(
    world: World,
) -> None:
    ref = await world.spawn(Counter)
    ref.stop()
    await ref.wait_stopped()
    await trio.to_thread.run_sync(ref.tell_from_thread, Add())
    await world.settled()
    assert [letter.reason for letter in world.dead()] == ["stopped"]


def test_a_thread_that_outlives_the_run_is_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the end of the run it is logged that the message was not sent."""

    async def main() -> ActorRef[Add]:
        async with open_system() as system:
            return await system.spawn(Counter)

    ref = run_main(main)
    thread = threading.Thread(target=ref.tell_from_thread, args=(Add(41),))
    with caplog.at_level(logging.WARNING):
        thread.start()
        thread.join()
    assert "Add(amount=41)" in caplog.text
