"""Stop, drain, and an end from inside: who finishes, who is told (LIFE-5)."""

import math
from typing import Any

import attrs
import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Do,
    Doer,
    Get,
    Note,
    Sleep,
    Worker,
    reasons,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    AskDeadlock,
    Exit,
    Inbox,
    Mailbox,
    handler,
)
from trio_actors.testing import World

# --- An idle actor ----------------------------------------------------------


@pytest.mark.parametrize("shape", ["plain", "async", "function"])
@pytest.mark.parametrize(
    ("verb", "kind"),
    [("stop", "shutdown"), ("drain", "shutdown"), ("kill", "killed")],
)
async def test_an_idle_actor_ends_at_once_and_says_why(
    world: World, shape: str, verb: str, kind: str
) -> None:
    """LIFE-8, and the column "reason" of the verbs."""

    async def listen(inbox: Inbox[Note]) -> None:
        async for _ in inbox:
            pass

    actor: Any = {"plain": Counter, "async": Worker, "function": listen}[shape]
    ref: ActorRef[Note] = await world.spawn(actor)
    getattr(ref, verb)()
    assert (await ref.wait_stopped()).kind == kind
    assert world.find(ref.path) is None
    assert trio.current_time() == 0


async def test_the_detail_of_a_verb_is_in_the_exit(world: World) -> None:
    """LIFE-8: ``Shutdown(detail)``."""
    first, second = await world.spawn(Counter), await world.spawn(Counter)
    first.stop("bye")
    second.kill("now")
    assert (await first.wait_stopped()).detail == "bye"
    assert await second.wait_stopped() == Exit("killed", None, "now")


async def test_an_exit_is_normal_if_it_was_asked_for() -> None:
    """LIFE-8: ``reason.is_normal`` drives ``transient``."""
    kinds = ["normal", "shutdown", "failed", "killed", "start_failed", "restart_limit"]
    assert [Exit(kind).is_normal for kind in kinds] == [True] * 2 + [False] * 4  # type: ignore[arg-type]


async def test_a_second_verb_is_harmless_and_the_harder_one_holds(world: World) -> None:
    """DL-1: a stop of an actor that is stopping already is benign."""
    ref = await world.spawn(Worker)
    pending = ref.ask_nowait(Sleep(3))
    await trio.sleep(1)
    ref.stop("one")
    ref.stop("two")
    ref.drain()
    ref.restart()
    assert await pending == 0
    assert await ref.wait_stopped() == Exit("shutdown", None, "one")
    for verb in ("stop", "drain", "kill", "restart"):
        getattr(ref, verb)()
    assert await ref.wait_stopped() == Exit("shutdown", None, "one")


# --- Stop -------------------------------------------------------------------


async def test_stop_lets_the_turn_finish_and_buries_the_queue_at_once(
    world: World,
) -> None:
    """LIFE-5 b: the message in hand is finished, the rest are dead letters."""
    log: list[str] = []
    ref = await world.spawn(Worker, log)
    slow = ref.ask_nowait(Sleep(2))
    ref.tell_nowait(Note("never"))
    queued = ref.ask_nowait(Get())
    await trio.sleep(1)
    ref.stop()
    with pytest.raises(ActorStopped, match="Get"):
        await queued
    assert trio.current_time() == 1  # its asker need not wait for the slow turn
    assert reasons(world) == ["stopped", "stopped"]
    ref.tell_nowait(Note("late"))
    with pytest.raises(ActorStopped):
        await ref.ask(Get())
    assert reasons(world) == ["stopped", "stopped"]
    assert await slow == 0
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert log == ["+", "-"]


async def test_stop_cuts_a_turn_that_takes_longer_than_shutdown(world: World) -> None:
    """The verbs: cancelled after ``shutdown``; its ask gets ActorFailed."""
    log: list[str] = []
    ref = await world.spawn(Worker, log, shutdown=3)
    slow = ref.ask_nowait(Sleep(100))
    await trio.sleep(1)
    ref.stop()
    with pytest.raises(ActorFailed, match="killed while it handled Sleep"):
        await slow
    assert trio.current_time() == 4
    assert (await ref.wait_stopped()).kind == "killed"
    assert log == ["+"]  # a kill runs no stopped()


async def test_a_shutdown_of_zero_seconds_kills_at_once(world: World) -> None:
    """SUP-5: ``brutal_kill``."""
    ref = await world.spawn(Worker, shutdown=0)
    slow = ref.ask_nowait(Sleep(100))
    await trio.sleep(1)
    ref.stop()
    with pytest.raises(ActorFailed):
        await slow
    assert (await ref.wait_stopped()).kind == "killed"
    assert trio.current_time() == 1


async def test_an_infinite_shutdown_waits_as_long_as_it_takes(world: World) -> None:
    """SUP-5: ``infinity``."""
    ref = await world.spawn(Worker, shutdown=math.inf)
    slow = ref.ask_nowait(Sleep(1000))
    await trio.sleep(1)
    ref.stop()
    assert await slow == 0
    assert (await ref.wait_stopped()).kind == "shutdown"


async def test_stop_lets_a_plain_batch_end_at_the_message_in_hand(
    world: World,
) -> None:
    """The rest of what was queued is not handled, although it is in one batch."""
    log: list[str] = []
    ref = await world.spawn(Doer, log)
    stop = ref.ask_nowait(Do(lambda context: context.ref.stop()))
    ref.tell_nowait(Note("never"))
    assert await stop == 1
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert log == ["done", "stopped shutdown"]
    assert reasons(world) == ["stopped"]


# --- From inside ------------------------------------------------------------


async def test_context_stop_ends_normally_after_the_message_in_hand(
    world: World,
) -> None:
    """LIFE-5 a; the verbs: reason normal, ``stopped()`` runs."""
    log: list[str] = []
    ref = await world.spawn(Doer, log)
    asked = ref.ask_nowait(Do(lambda context: context.stop("enough")))
    ref.tell_nowait(Note("never"))
    assert await asked == 1
    assert await ref.wait_stopped() == Exit("normal", None, "enough")
    assert log == ["done", "stopped normal"]
    assert reasons(world) == ["stopped"]


async def test_context_stop_of_a_permanent_actor_keeps_the_queue(world: World) -> None:
    """The verbs: the queue is kept if it is restarted; SUP-3: permanent."""
    log: list[str] = []
    ref = await world.spawn(Doer, log, restart="permanent")
    ref.tell_nowait(Do(lambda context: context.stop()))
    ref.tell_nowait(Note("kept"))
    await world.settled()
    assert log == ["done", "stopped normal", "kept"]
    assert ref.path in {child.path for child in world.snapshot().children}


async def test_a_function_that_returns_ends_normally(world: World) -> None:
    """The verbs: a function that returns."""

    async def once(inbox: Inbox[Note | Get]) -> None:
        await inbox.receive()

    ref = await world.spawn(once)
    ref.tell_nowait(Note())
    left = ref.ask_nowait(Get())
    assert (await ref.wait_stopped()).kind == "normal"
    with pytest.raises(ActorStopped, match=r"normal"):
        await left
    assert reasons(world) == ["stopped"]


@pytest.mark.parametrize("verb", ["stop", "drain", "kill", "restart"])
async def test_a_verb_upon_itself_in_a_plain_handler(world: World, verb: str) -> None:
    """From inside: a plain handler cannot be cancelled, and is finished."""
    log: list[str] = []
    ref = await world.spawn(Doer, log)
    asked = ref.ask_nowait(Do(lambda context: getattr(context.ref, verb)()))
    ref.tell_nowait(Note("next"))
    assert await asked == 1
    await world.settled()
    ends = {
        "stop": ["done", "stopped shutdown"],
        "drain": ["done", "next", "stopped shutdown"],
        "kill": ["done"],
        "restart": ["done", "restarting ActorError", "next"],
    }
    assert log == ends[verb]
    assert reasons(world) == {"stop": ["stopped"], "kill": ["stopped"]}.get(verb, [])
    assert (world.find(ref.path) == ref) is (verb == "restart")


class AsyncDoer(Actor[Do | Note]):
    """Does what it is told, and then awaits."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def restarting(self, failure: Exception) -> None:
        self.log.append(f"restarting: {failure}")

    async def stopped(self, reason: Exit) -> None:
        self.log.append(f"stopped {reason.kind}")

    @handler
    async def do(self, message: Do) -> int:
        message.what(self.context)
        try:
            await trio.sleep(1)
        except trio.Cancelled:
            self.log.append("cancelled")
            raise
        self.log.append("done")
        return 1

    @handler
    async def note(self, message: Note) -> None:
        self.log.append(message.text)


@pytest.mark.parametrize(
    ("verb", "ends", "letters"),
    [
        ("stop", ["done", "stopped shutdown"], ["stopped"]),
        ("drain", ["done", "next", "stopped shutdown"], []),
        ("kill", ["cancelled"], ["stopped"]),
        (
            "restart",
            ["cancelled", "restarting: /doer was restarted by hand", "next"],
            [],
        ),
    ],
)
async def test_a_verb_upon_itself_in_an_async_handler(
    world: World, verb: str, ends: list[str], letters: list[str]
) -> None:
    """From inside: kill and restart cancel at the next checkpoint."""
    log: list[str] = []
    ref = await world.spawn(AsyncDoer, log, name="doer")
    asked = ref.ask_nowait(Do(lambda context: getattr(context.ref, verb)()))
    ref.tell_nowait(Note("next"))
    if verb in ("kill", "restart"):
        with pytest.raises(ActorFailed, match=rf"/doer was {verb}ed while it handled"):
            await asked
    else:
        assert await asked == 1
    await world.settled()
    assert log == ends
    assert reasons(world) == letters


async def test_to_stop_itself_and_wait_for_it_is_a_deadlock(world: World) -> None:
    """Certain deadlocks: ``wait_stopped`` is an edge of the turn."""

    class Suicidal(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            self.context.ref.stop()
            with pytest.raises(AskDeadlock):
                await self.context.ref.wait_stopped()

    ref = await world.spawn(Suicidal)
    ref.tell_nowait(Note())
    assert (await ref.wait_stopped()).kind == "shutdown"


# --- Drain ------------------------------------------------------------------


async def test_drain_handles_the_queue_and_refuses_what_comes_later(
    world: World,
) -> None:
    """LIFE-5: process what is queued now, reject new."""
    log: list[str] = []
    ref = await world.spawn(Worker, log)
    ref.tell_nowait(Sleep(1))
    ref.tell_nowait(Note("one"))
    last = ref.ask_nowait(Add(5))
    await world.spawn(Counter)  # the worker is at work now
    ref.drain()
    await ref.tell(Note("late"))
    with pytest.raises(ActorStopped):
        await ref.ask(Get())
    assert await last == 5
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert log == ["+", "one", "-"]
    assert reasons(world) == ["stopped", "stopped"]


async def test_drain_ends_a_function_when_its_mailbox_is_empty(world: World) -> None:
    """The verbs: ``async for`` ends when empty."""
    log: list[str] = []

    async def listen(inbox: Inbox[Note]) -> None:
        async for message in inbox:
            await trio.sleep(1)
            log.append(message.text)
        log.append("end")

    ref = await world.spawn(listen)
    ref.tell_nowait(Note("one"))
    ref.tell_nowait(Note("two"))
    await trio.sleep(0.5)
    ref.drain()
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert log == ["one", "two", "end"]


async def test_drain_lets_senders_that_already_wait_for_room_find_the_door_shut(
    world: World,
) -> None:
    """Messages from outside are refused, also those not yet in."""
    log: list[str] = []
    ref = await world.spawn(Worker, log, mailbox=Mailbox(1))
    ref.tell_nowait(Sleep(2))
    await trio.sleep(0)
    ref.tell_nowait(Note("in"))
    world.client(ref.tell, Note("out"))
    await trio.sleep(1)
    ref.drain()
    await ref.wait_stopped()
    assert log == ["+", "in", "-"]
    assert reasons(world) == ["stopped"]


@attrs.frozen
class Pass:
    """Go on from actor to actor so many times."""

    times: int


class Leaf(Actor[Pass]):
    def __init__(self, log: list[str], up: ActorRef[Pass]) -> None:
        self.log = log
        self.up = up

    async def stopped(self, reason: Exit) -> None:
        self.log.append("leaf-")

    @handler
    async def go_on(self, message: Pass) -> None:
        await trio.sleep(1)
        self.log.append(f"leaf {message.times}")
        if message.times:
            await self.up.tell(Pass(message.times - 1))


class Trunk(Actor[Pass]):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def started(self) -> None:
        self.leaf = await self.context.spawn(Leaf, self.log, self.context.ref)

    async def stopped(self, reason: Exit) -> None:
        self.log.append("trunk-")

    @handler
    async def go_on(self, message: Pass) -> None:
        self.log.append(f"trunk {message.times}")
        await self.leaf.tell(message)


async def test_drain_lets_messages_flow_within_the_subtree(world: World) -> None:
    """``ref.drain()``: inside they flow until the subtree is idle."""
    log: list[str] = []
    trunk = await world.spawn(Trunk, log)
    leaf = world.find(f"{trunk.path}/leaf-1")
    assert leaf is not None
    trunk.tell_nowait(Pass(2))
    trunk.drain()
    leaf.tell_nowait(Pass(9))  # from outside, to one below: refused too
    assert (await trunk.wait_stopped()).kind == "shutdown"
    passed = [f"{who} {times}" for times in (2, 1, 0) for who in ("trunk", "leaf")]
    assert log == [*passed, "leaf-", "trunk-"]
    assert reasons(world) == ["stopped"]


async def test_an_actor_that_drains_may_still_spawn_helpers(world: World) -> None:
    """Spawning while draining is allowed from inside the subtree."""
    log: list[str] = []

    class Parent(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            child = await self.context.spawn(Worker, log, "child")
            await child.tell(Note(message.text))

    ref = await world.spawn(Parent)
    ref.tell_nowait(Note("one"))
    ref.tell_nowait(Note("two"))
    ref.drain()
    assert (await ref.wait_stopped()).kind == "shutdown"
    assert log == ["child+", "one", "child+", "two", "child-", "child-"] or (
        sorted(log) == sorted(["child+", "child+", "one", "two", "child-", "child-"])
    )


async def test_drain_stops_the_timers(world: World) -> None:
    """``ref.drain()``: its timers stop, or it would never be idle."""
    log: list[str] = []

    class Ticking(Actor[Note | Sleep]):
        async def started(self) -> None:
            self.context.send_every(1, Note("tick"))

        @handler
        def note(self, message: Note) -> None:
            log.append(message.text)

        @handler
        async def sleep(self, message: Sleep) -> int:
            await trio.sleep(message.seconds)
            return 0

    ref = await world.spawn(Ticking)
    await trio.sleep(1.5)
    ref.tell_nowait(Sleep(10))
    await trio.sleep(0.1)
    ref.drain()
    await ref.wait_stopped()
    assert log == ["tick"]
    assert trio.current_time() == pytest.approx(11.5)


async def test_a_failure_while_draining_is_not_restarted_but_ends_it(
    world: World,
) -> None:
    """Drain is final: no restart type starts the actor again."""
    ref = await world.spawn(Counter, restart="permanent")
    asked = ref.ask_nowait(Add())
    ref.drain()
    assert await asked == 1
    assert (await ref.wait_stopped()).kind == "shutdown"


async def test_a_failure_while_draining_is_supervised_and_the_rest_is_handled(
    world: World,
) -> None:
    """Handle what is queued, then stop: a crash loses its own message only."""
    ref = await world.spawn(Counter)
    ref.tell_nowait(Boom())
    last = ref.ask_nowait(Add(3))
    ref.drain()
    assert await last == 3
    assert (await ref.wait_stopped()).kind == "shutdown"
