"""Tasks beside the handlers of an actor: they are its own, to the end (TSK-1 ...)."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import attrs
import pytest
import trio

from tests.kit import Add, Counter, Get, Note, Worker, open_system, run_main
from trio_actors import (
    Actor,
    ActorRef,
    ActorStopped,
    Exit,
    Inbox,
    Request,
    StartFailed,
    Supervision,
    current_system,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm


@attrs.frozen
class Go(Request[None]):
    """Start the task."""


class Host(Actor[Go | Note]):
    """Starts a task when it is told to."""

    def __init__(self, log: list[str], work: "Callable[[Host], None]") -> None:
        self.log = log
        self.work = work

    async def restarting(self, failure: Exception) -> None:
        self.log.append(f"restarting {type(failure).__name__}")

    async def stopped(self, reason: Exit) -> None:
        self.log.append(f"stopped {reason.kind}")

    @handler
    def go(self, message: Go) -> None:
        self.work(self)

    @handler
    def note(self, message: Note) -> None:
        self.log.append(message.text)

    async def last(self, seconds: float, goodbye: float = 0.0) -> None:
        """Wait; say when it is cancelled, and need some time for that."""
        try:
            await trio.sleep(seconds)
            self.log.append("done")
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(goodbye)
            self.log.append("cancelled")
            raise

    async def fail(self, error: BaseException) -> None:
        await trio.lowlevel.checkpoint()
        raise error


def lasting(seconds: float, goodbye: float = 0.0) -> Callable[[Host], None]:
    return lambda host: host.context.start_soon(host.last, seconds, goodbye)


def running(work: "Callable[[Host], Awaitable[None]]") -> Callable[[Host], None]:
    return lambda host: host.context.start_soon(work, host)


def failing(error: BaseException) -> Callable[[Host], None]:
    return lambda host: host.context.start_soon(host.fail, error)


# --- Beside the handlers ----------------------------------------------------


async def test_a_task_runs_beside_the_handlers(world: World) -> None:
    log: list[str] = []
    host = await world.spawn(Host, log, lasting(2))
    await host.ask(Go())
    await trio.sleep(1)
    await host.tell(Note("meanwhile"))
    await trio.sleep(2)
    assert log == ["meanwhile", "done"]


async def test_a_task_may_tell_its_actor_what_it_found(world: World) -> None:
    """TSK-1 pipe-to-self."""
    log: list[str] = []

    async def find(host: Host) -> None:
        await trio.sleep(1)
        await host.context.ref.tell(Note("found"))

    host = await world.spawn(Host, log, running(find))
    await host.ask(Go())
    await trio.sleep(2)
    assert log == ["found"]


async def test_a_task_may_ask_its_own_actor(world: World) -> None:
    """It is no deadlock: the actor's own task goes on."""
    answers: list[object] = []

    class Asked(Counter):
        async def started(self) -> None:
            self.context.start_soon(self.ask)

        async def ask(self) -> None:
            answers.append(await self.context.ref.ask(Add(5)))

    await world.spawn(Asked)
    await world.settled()
    assert answers == [5]


async def test_a_task_knows_the_system_and_may_spawn_children(world: World) -> None:
    async def work(host: Host) -> None:
        assert current_system() is world
        child = await host.context.spawn(Counter, name="child")
        assert await child.ask(Add(2)) == 2
        host.log.append(child.path)

    log: list[str] = []
    host = await world.spawn(Host, log, running(work))
    await host.ask(Go())
    await world.settled()
    assert log == ["/host-1/child"]


async def test_a_task_can_be_started_from_init_and_by_another_task(
    world: World,
) -> None:
    log: list[str] = []

    class Early(Actor[Note]):
        def __init__(self) -> None:
            self.context.start_soon(self.first)

        async def first(self) -> None:
            log.append("first")
            self.context.start_soon(self.second, "second")

        async def second(self, word: str) -> None:
            log.append(word)

        @handler
        def note(self, message: Note) -> None: ...

    await world.spawn(Early)
    await world.settled()
    assert log == ["first", "second"]


async def test_a_function_actor_has_tasks_too(world: World) -> None:
    log: list[str] = []

    async def run(inbox: Inbox[Note]) -> None:
        async def beside() -> None:
            try:
                await trio.sleep_forever()
            finally:
                log.append("cancelled")

        inbox.start_soon(beside)
        async for message in inbox:
            log.append(message.text)  # noqa: PERF401  # as it comes

    runner = await world.spawn(run)
    await runner.tell(Note("hello"))
    await world.settled()
    runner.stop()
    await runner.wait_stopped()
    assert log == ["hello", "cancelled"]


# --- Its crash is the actor's -----------------------------------------------


async def test_a_crash_of_a_task_is_the_failure_of_the_actor(world: World) -> None:
    """TSK DECISION: a crash of such a task is supervised."""
    log: list[str] = []
    host = await world.spawn(Host, log, failing(KeyError("x")))
    await host.tell(Go())
    await world.settled()
    assert log == ["restarting KeyError"]
    assert world.snapshot().children[0].restarts == 1


async def test_a_crash_of_a_task_interrupts_the_handler(world: World) -> None:
    log: list[str] = []

    class Busy(Worker):
        async def started(self) -> None:
            await super().started()
            if self.context.incarnation == 1:
                self.context.start_soon(self.crash)

        async def crash(self) -> None:
            await trio.sleep(1)
            raise KeyError("x")

        @handler
        async def note(self, message: Note) -> None:
            try:
                await trio.sleep(5)
            finally:
                self.log.append(f"{trio.current_time():g}")

    busy = await world.spawn(Busy, log)
    await busy.tell(Note())
    await world.settled()
    assert log == ["+", "1", "~", "+"]
    assert world.statistics()["failed"] == 1


async def test_a_group_of_failures_is_judged_by_its_worst(world: World) -> None:
    """TRIO-6: nurseries in a task raise groups."""

    async def fail_now(error: Exception) -> None:
        raise error

    async def both(host: Host) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_now, KeyError("mild"))
            nursery.start_soon(fail_now, ValueError("severe"))

    log: list[str] = []
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(directives={ValueError: "stop"})
    )
    host = await supervisor.spawn(Host, log, running(both))
    await host.tell(Go())
    exit = await host.wait_stopped()
    assert isinstance(exit.error, ExceptionGroup)
    assert log == ["stopped failed"]


async def test_the_other_tasks_of_a_failed_actor_are_cancelled_and_awaited(
    world: World,
) -> None:
    log: list[str] = []

    def work(host: Host) -> None:
        host.context.start_soon(host.last, 60.0, 2.0)
        host.context.start_soon(host.fail, KeyError("x"))

    host = await world.spawn(Host, log, work)
    await host.tell(Go())
    await world.settled()
    assert log == ["cancelled", "restarting KeyError"]
    assert trio.current_time() == 2


async def test_a_task_that_fails_on_the_way_out_makes_the_end_a_failure(
    world: World,
) -> None:
    """A failure in the clean-up is reported, never lost."""

    async def bad(host: Host) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise KeyError("in the clean-up") from None

    log: list[str] = []
    with world.events() as events:
        host = await world.spawn(Host, log, running(bad))
        await host.ask(Go())
        host.stop()
        await host.wait_stopped()
        found = [await events.receive() for _ in range(3)]
    assert "failed" in [event.kind for event in found]


# --- It ends with its incarnation -------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "drain", "kill", "restart"])
async def test_a_task_is_cancelled_and_awaited_before_its_actor_ends(
    world: World, verb: str
) -> None:
    """Structured: no task outlives its incarnation; the hook comes after it."""
    log: list[str] = []
    host = await world.spawn(Host, log, lasting(60, 2))
    await host.ask(Go())
    await trio.sleep(1)
    getattr(host, verb)()
    if verb != "restart":
        await host.wait_stopped()
    await world.settled()
    assert trio.current_time() == 3
    hook = {
        "stop": ["stopped shutdown"],
        "drain": ["stopped shutdown"],
        "kill": [],
        "restart": ["restarting ActorError"],
    }[verb]
    assert log == ["cancelled", *hook]


async def test_a_task_that_takes_too_long_is_waited_for_all_the_same(
    world: World,
) -> None:
    """Trio ends no task by force: a shielded one is awaited beyond ``shutdown``."""
    log: list[str] = []
    host = await world.spawn(Host, log, lasting(60, 20), shutdown=1.0)
    await host.ask(Go())
    await world.settled()
    host.stop()
    await host.wait_stopped()
    assert trio.current_time() == 20
    assert log == ["cancelled"]


async def test_a_cancelled_that_leaves_a_task_is_not_swallowed(world: World) -> None:
    """A scope around a task's own cancellation catches what is its own, no more."""
    ends: list[bool] = []

    async def work() -> None:
        with trio.CancelScope() as inner:
            await trio.sleep_forever()
        ends.append(inner.cancelled_caught)

    class Owner(Actor[Note]):
        async def started(self) -> None:
            self.context.start_soon(work)

        @handler
        def note(self, message: Note) -> None: ...

    owner = await world.spawn(Owner)
    owner.kill()
    await owner.wait_stopped()
    assert ends == []


async def test_a_task_that_is_cancelled_by_its_own_scope_is_no_failure(
    world: World,
) -> None:
    async def work(host: Host) -> None:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        host.log.append("moved on")

    log: list[str] = []
    host = await world.spawn(Host, log, running(work))
    await host.ask(Go())
    await trio.sleep(2)
    assert log == ["moved on"]
    assert world.snapshot().children[0].restarts == 0


def test_a_task_is_gone_with_its_actor_at_every_step() -> None:
    """The world finds tasks that outlive the test; the log finds half-done ends."""

    def scenario_of(verb: str) -> Callable[[World, Arm], object]:
        async def scenario(world: World, arm: Arm) -> None:
            log: list[str] = []
            host = await world.spawn(Host, log, lasting(0.5, 0.25))
            arm(getattr(host, verb))
            for _ in range(2):
                host.tell_soon(Go())
                await trio.lowlevel.checkpoint()
            await trio.sleep(5)
            if host._cell.exit is not None:
                assert host._cell.under is None

        return scenario

    for verb in ("stop", "kill", "restart", "drain"):
        assert at_every_step(scenario_of(verb)) > 5  # type: ignore[arg-type]


# --- Wrong uses -------------------------------------------------------------


async def test_a_coroutine_instead_of_a_function_is_refused(world: World) -> None:
    """The error says what to write; and no "was never awaited" follows it."""
    texts: list[str] = []

    async def work(number: int) -> None:
        raise AssertionError(number)

    async def misuse(inbox: Inbox[Note]) -> None:
        with pytest.raises(TypeError) as caught:
            inbox.start_soon(work(1))  # type: ignore[arg-type]
        texts.append(str(caught.value))
        with pytest.raises(TypeError, match="wants an async function, but got 5"):
            inbox.start_soon(5)  # type: ignore[arg-type]

    await world.spawn(misuse)
    assert "Probably you wrote\n    context.start_soon(work(1))" in texts[0]
    assert "context.start_soon(work, 1)" in texts[0]


async def test_a_plain_function_is_a_failure_of_the_actor(world: World) -> None:
    log: list[str] = []

    def plain() -> None: ...

    def work(host: Host) -> None:
        host.context.start_soon(cast("Any", plain))

    host = await world.spawn(Host, log, work)
    await host.tell(Go())
    await world.settled()
    assert log == ["restarting TypeError"]


@pytest.mark.parametrize("hook", ["stopped", "restarting"])
async def test_no_task_can_be_started_on_the_way_out(world: World, hook: str) -> None:
    refused: list[str] = []

    class Late(Actor[Note]):
        async def stopped(self, reason: Exit) -> None:
            self.late()

        async def restarting(self, failure: Exception) -> None:
            self.late()

        def late(self) -> None:
            with pytest.raises(ActorStopped, match="is stopping or being restarted"):
                self.context.start_soon(trio.sleep, 1)
            with pytest.raises(ActorStopped):
                self.context.spawn_nowait(Counter)
            refused.append("both")

        @handler
        def note(self, message: Note) -> None: ...

    late = await world.spawn(Late)
    if hook == "stopped":
        late.stop()
    else:
        late.restart()
    await world.settled()
    assert refused == ["both"]


async def test_a_task_cannot_start_another_when_its_actor_ends(world: World) -> None:
    refused: list[str] = []

    class Ending(Actor[Note]):
        async def started(self) -> None:
            self.context.start_soon(self.work)

        async def work(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with pytest.raises(ActorStopped, match="no task can be started"):
                    self.context.start_soon(trio.sleep, 1)
                refused.append("yes")

        @handler
        def note(self, message: Note) -> None: ...

    ending = await world.spawn(Ending)
    ending.stop()
    await ending.wait_stopped()
    assert refused == ["yes"]


async def test_a_task_that_fails_while_its_actor_starts_fails_the_start(
    world: World,
) -> None:
    class Broken(Actor[Note]):
        async def started(self) -> None:
            self.context.start_soon(self.work)
            await trio.sleep(1)

        async def work(self) -> None:
            raise OSError("no")

        @handler
        def note(self, message: Note) -> None: ...

    with pytest.raises(StartFailed, match="no"):
        await world.spawn(Broken)
    assert world.snapshot().children == ()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_ctrl_c_in_a_task_leaves_the_block(error: BaseException) -> None:
    """Design 1.6: nobody supervises these; the tree is stopped in order."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            host = await system.spawn(Host, log, failing(error))
            await host.tell(Go())
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        run_main(main)
    assert caught.group_contains(type(error))
    assert log == ["stopped shutdown"]


def test_the_tasks_of_a_busy_system_are_cancelled_when_the_block_is_left() -> None:
    """Tasks do not keep a system from settling: only messages and turns do."""
    log: list[str] = []

    async def main() -> float:
        async with open_system() as system:
            hosts: list[ActorRef[Go | Note]] = [
                await system.spawn(Host, log, lasting(60)) for _ in range(3)
            ]
            for host in hosts:
                await host.tell(Go())
        return trio.current_time()

    assert run_main(main) == 0
    assert log == ["cancelled", "stopped shutdown"] * 3


async def test_asks_of_a_task_are_its_own(world: World) -> None:
    """A question that a task asked does not end with a handler's turn."""
    answers: list[int] = []

    class Asker(Actor[Note]):
        def __init__(self, to: ActorRef[Get]) -> None:
            self.to = to

        async def started(self) -> None:
            self.context.start_soon(self.ask)

        async def ask(self) -> None:
            pending = self.to.ask_nowait(Get())
            await self.context.ref.tell(Note())
            await trio.sleep(1)
            answers.append(await pending)

        @handler
        def note(self, message: Note) -> None: ...

    counter = await world.spawn(Counter, 7)
    await world.spawn(Asker, counter)
    await trio.sleep(2)
    assert answers == [7]
