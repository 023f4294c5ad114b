"""A failure takes one path wherever it happens, whatever is raised (U1, U2)."""

import dataclasses
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
    Worker,
    failures_of,
    found,
    open_system,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    DeathPact,
    Directive,
    Exit,
    Inbox,
    StartFailed,
    Supervision,
    SupervisorRef,
    Terminated,
    handler,
)
from trio_actors._errors import leaves
from trio_actors.testing import World

# --- Every place --------------------------------------------------------------


class Anywhere(Actor[Note | Get | Terminated]):
    """Fails where it is told to, in its first incarnation only."""

    def __init__(self, place: str, error: Exception) -> None:
        self.place = place
        self.error = error
        if place == "__init__" and self.context.incarnation == 1:
            raise error

    def fail_at(self, place: str, incarnation: int = 1) -> None:
        if place == self.place and self.context.incarnation == incarnation:
            raise self.error

    async def started(self) -> None:
        self.fail_at("started")

    async def restarting(self, failure: Exception) -> None:
        self.fail_at("restarting")

    async def restarted(self, failure: Exception, failed: Any) -> None:
        self.fail_at("restarted", 2)

    def unhandled(self, message: object) -> None:
        self.fail_at("unhandled")

    @handler
    def note(self, message: Note) -> None:
        getattr(self, f"do_{message.text}", lambda: None)()
        self.fail_at(message.text)

    @handler
    def get(self, message: Get) -> int:
        return self.context.incarnation

    @handler
    def ended(self, message: Terminated) -> None:
        self.fail_at("watcher")

    def do_timer(self) -> None:
        if self.place == "timer":
            self.context.send_after(1, Note("tick"))
            self.place = "tick"

    def do_inner(self) -> None:
        self.context.start_soon(self.work)
        self.place = "task"

    async def work(self) -> None:
        await trio.sleep(1)
        self.fail_at("task")

    def do_nursery(self) -> None:
        self.context.start_soon(self.deep)
        self.place = "task"

    async def deep(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.work)

    def do_become(self) -> None:
        other = Anywhere.__new__(Anywhere)
        other.place, other.error = "act", self.error
        self.become(other)
        self.place = ""

    def do_watch(self) -> None:
        ended = found(self.context.system, "/ended")
        self.context.watch(ended)
        ended.stop()
        self.place = "watcher"

    def do_restarting(self) -> None:
        raise LookupError("the reason for the restart")

    do_restarted = do_restarting


PLACES = {
    "__init__": [],
    "started": [],
    "handler": ["handler"],
    "timer": ["timer"],
    "inner": ["inner"],
    "nursery": ["nursery"],
    "become": ["become", "act"],
    "watch": ["watch"],
    "restarting": ["restarting"],
    "restarted": ["restarted"],
}


async def recorder(
    world: World, errors: list[Exception], **rules: Any
) -> SupervisorRef:
    """A supervisor that writes down each failure it has to judge."""

    def decide(error: Exception) -> Directive:
        errors.extend(leaf for leaf in leaves(error) if isinstance(leaf, Exception))
        return "restart"

    rule = Supervision(directives=decide, **rules)
    return await world.spawn_supervisor(name="top", supervision=rule)


@pytest.mark.parametrize("place", PLACES)
async def test_a_failure_is_judged_wherever_it_happens(
    world: World, place: str
) -> None:
    """U2: any hook, timer, task, behavior or watcher; the actor is restarted."""
    errors: list[Exception] = []
    top = await recorder(world, errors)
    await world.spawn(Counter, name="ended")
    error = OSError(place)
    ref = top.spawn_nowait(Anywhere, place, error)
    for text in PLACES[place]:
        await ref.tell(Note(text))
    await trio.sleep(2)
    assert await ref.ask(Get()) == (3 if place == "restarted" else 2)
    assert errors[-1] is error
    others = errors[:-1]
    assert [type(one) for one in others] == (
        [LookupError] if place in ("restarting", "restarted") else []
    )


async def test_a_failure_in_unhandled_is_the_actors(world: World) -> None:
    """``UnhandledMessage`` is never the actor's failure; anything else is."""
    errors: list[Exception] = []
    top = await recorder(world, errors)
    ref = await top.spawn(Anywhere, "unhandled", OSError("unhandled"))
    stranger: Any = Add()
    await ref.tell(stranger)
    assert await ref.ask(Get()) == 2
    assert [str(error) for error in errors] == ["unhandled"]


async def test_a_failure_in_the_stop_hook_makes_the_end_a_failure(
    world: World,
) -> None:
    """LIFE-6, design 3; it was to stop, so nobody starts it again."""

    class Rude(Counter):
        async def stopped(self, reason: Exit) -> None:
            assert reason.kind == "shutdown"
            raise OSError("no goodbye")

    ref = await world.spawn(Rude)
    ref.stop()
    exit = await ref.wait_stopped()
    assert exit.kind == "failed"
    assert isinstance(exit.error, OSError)


async def test_a_permanent_actor_whose_goodbye_fails_is_judged(world: World) -> None:
    """U2: its end is no stop, so the failure of the hook goes to the supervisor."""
    errors: list[Exception] = []
    top = await recorder(world, errors)

    class Rude(Counter, Actor[Add | Get | Boom | Note]):
        @handler
        def note(self, message: Note) -> None:
            self.context.stop()

        async def stopped(self, reason: Exit) -> None:
            raise OSError("no goodbye")

    ref: ActorRef[Any] = await top.spawn(Rude, restart="permanent")
    await ref.tell(Note())
    assert await ref.ask(Add()) == 1
    assert [str(error) for error in errors] == ["no goodbye"]
    ref.kill()


async def test_a_link_fails_with_the_reason_of_the_other(world: World) -> None:
    """A link propagates abnormal ends; the cause is kept."""
    errors: list[Exception] = []
    top = await recorder(world, errors)
    other = await world.spawn(Counter, restart="temporary")

    class Linked(Counter):
        async def started(self) -> None:
            if self.context.incarnation == 1:
                self.context.link(other)

    ref = await top.spawn(Linked)
    await other.tell(Boom())
    await world.settled()
    assert await ref.ask(Get()) == 0
    (pact,) = errors
    assert isinstance(pact, DeathPact)
    assert isinstance(pact.__cause__, ValueError)


async def test_an_unhandled_end_of_a_watched_actor_is_a_death_pact(
    world: World,
) -> None:
    """FAIL-8, U2: it is supervised like any failure, with the other's as cause."""
    errors: list[Exception] = []
    top = await recorder(world, errors)
    other = await world.spawn(Counter, restart="temporary")

    class Watcher(Actor[Get]):
        async def started(self) -> None:
            if self.context.incarnation == 1:
                context: Any = self.context
                context.watch(other)

        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    ref = await top.spawn(Watcher)
    await other.tell(Boom())
    await world.settled()
    assert await ref.ask(Get()) == 2
    (pact,) = errors
    assert isinstance(pact, DeathPact)
    assert isinstance(pact.__cause__, ValueError)


async def test_the_failure_of_an_inner_task_cancels_the_running_turn(
    world: World,
) -> None:
    """Its crash is the actor's failure: at once, and the asker is told."""

    class Host(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            if self.context.incarnation == 1:
                self.context.start_soon(self.work)
                await trio.sleep_forever()
            return self.context.incarnation

        async def work(self) -> None:
            await trio.sleep(1)
            raise OSError("inner")

    ref = await world.spawn(Host)
    with pytest.raises(ActorFailed) as caught:
        await ref.ask(Get())
    assert isinstance(caught.value.__cause__, OSError)
    assert trio.current_time() == 1
    assert await ref.ask(Get()) == 2


async def function_that_fails(inbox: Inbox[Note], errors: list[OSError]) -> None:
    async for message in inbox:
        raise errors.pop() if errors else ValueError(message.text)


async def test_a_function_takes_the_same_path(world: World) -> None:
    """U2: a function has no hooks, but the same supervisor."""
    errors: list[Exception] = []
    top = await recorder(world, errors)
    error = OSError("function")
    ref: ActorRef[Note] = await top.spawn(function_that_fails, [error])
    await ref.tell(Note())
    await world.settled()
    assert errors == [error]
    await ref.tell(Note("again"))
    await world.settled()
    assert [str(one) for one in errors] == ["function", "again"]


# --- Strange exceptions -------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class FrozenData(Exception):
    code: int = 1


@attrs.frozen
class FrozenAttrs(Exception):
    code: int = 1


class Slotted(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Mute(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


@pytest.mark.parametrize("kind", [FrozenData, FrozenAttrs, Slotted, Mute])
@pytest.mark.parametrize("directive", ["restart", "resume", "stop"])
async def test_an_exception_that_cannot_be_changed_or_shown_is_supervised(
    world: World, kind: type[Exception], directive: Any
) -> None:
    """U2: notes and cut tracebacks are for readers; supervision needs neither."""
    rules = Supervision(directives={kind: directive})
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Worker)
    sibling = await top.spawn(Counter)
    failed = ref.ask_nowait(Boom(kind()))
    with pytest.raises(ActorFailed) as caught:
        await failed
    assert isinstance(caught.value.__cause__, kind)
    if directive == "stop":
        assert isinstance((await ref.wait_stopped()).error, kind)
    else:
        assert await ref.ask(Add()) == 1
    assert await sibling.ask(Add()) == 1


@pytest.mark.parametrize("kind", [FrozenData, FrozenAttrs, Slotted, Mute])
def test_such_an_exception_escalates_and_leaves_the_block(
    kind: type[Exception],
) -> None:
    """FAIL-8: also the deciding function, a start and a stop hook may raise it."""
    error = kind()

    async def main() -> None:
        rules = Supervision(directives={kind: "escalate"})
        async with open_system(supervision=rules) as system:
            ref = await system.spawn(Counter)
            await ref.tell(Boom(error))
            await trio.sleep_forever()

    assert failures_of(main) == [error]


@pytest.mark.parametrize("kind", [FrozenData, Slotted, Mute])
async def test_such_an_exception_of_a_start_is_the_cause_of_start_failed(
    world: World, kind: type[Exception]
) -> None:
    """SUP-6: the spawner gets StartFailed whatever was raised."""

    class Bad(Counter):
        async def started(self) -> None:
            raise kind()

    with pytest.raises(StartFailed) as caught:
        await world.spawn(Bad)
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize("kind", [FrozenData, FrozenAttrs, Slotted, Mute])
async def test_it_may_be_the_declared_answer_of_a_whole_batch(
    world: World, kind: type[Exception]
) -> None:
    """ASK: each asker gets an exception, his own where it can be copied."""

    class Batched(Actor[Get]):
        @handler(batch=3, raises=(kind,))
        def get(self, messages: list[Get]) -> list[int]:
            raise kind()

    ref = world.spawn_nowait(Batched)
    for pending in [ref.ask_nowait(Get()) for _ in range(3)]:
        with pytest.raises(kind):
            await pending
    assert world.snapshot().children[0].restarts == 0


@pytest.mark.parametrize("kind", [FrozenData, Slotted, Mute])
async def test_a_deciding_function_may_raise_it_too(
    world: World, kind: type[Exception]
) -> None:
    """Design 3: it is the supervisor's failure, nothing worse."""

    def decide(error: Exception) -> Directive:
        raise kind()

    rules = Supervision(directives=decide)
    top = await world.spawn_supervisor(restart="temporary", supervision=rules)
    await (await top.spawn(Counter)).tell(Boom())
    assert isinstance((await top.wait_stopped()).error, kind)
