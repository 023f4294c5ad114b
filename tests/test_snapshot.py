"""The tree as values and as text, the event stream, the trace of one actor."""

import math
import sys
from textwrap import dedent
from typing import Any

import attrs
import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Grow,
    Note,
    Sleep,
    Worker,
    grown,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    ActorRef,
    Backoff,
    Event,
    Exit,
    Mailbox,
    Request,
    Snapshot,
    Subscription,
    Supervision,
    handler,
)
from trio_actors.testing import World

PAUSE = Supervision(backoff=Backoff(10, 10, jitter=0))


@attrs.frozen
class AskFor(Request[int]):
    """Ask another actor, and wait."""

    other: ActorRef[Any]


class Asker(Actor[AskFor]):
    @handler
    async def ask_for(self, message: AskFor) -> int:
        value: int = await message.other.ask(Sleep(5))
        return value


# --- Values -----------------------------------------------------------------


async def test_a_snapshot_has_the_numbers_of_an_actor(world: World) -> None:
    """OBS-2, S0-11: queue lengths, high water, handled, failed, restarts."""
    ref = await world.spawn(Worker, mailbox=Mailbox(8), name="w")
    ref.tell_nowait(Boom())
    await world.settled()
    ref.tell_nowait(Sleep(4))
    await trio.sleep(1)
    for _ in range(3):
        ref.tell_nowait(Add())
    await trio.sleep(1)
    (found,) = world.snapshot().children
    assert found == Snapshot(
        path="/w",
        state="running",
        queued=3,
        capacity=8,
        high_water=3,
        handled=0,
        failed=1,
        restarts=1,
        handling="Sleep",
        handling_for=2.0,
        waits_for=None,
        children=(),
    )
    await world.settled()
    (found,) = world.snapshot().children
    assert (found.queued, found.high_water, found.handled) == (0, 3, 4)
    assert (found.handling, found.handling_for) == (None, 0.0)


async def test_the_top_of_a_snapshot_has_the_sums_of_all(world: World) -> None:
    class Parent(Counter):
        async def started(self) -> None:
            await self.context.spawn(Counter, name="child")

    parent = await world.spawn(Parent, name="p")
    child = world.find("/p/child")
    assert child is not None
    await parent.ask(Add())
    await child.ask(Add())
    child.tell_nowait(Add())
    top = world.snapshot()
    assert (top.path, top.state, top.capacity) == ("world", "running", math.inf)
    assert (top.handled, top.queued, top.high_water) == (2, 1, 1)
    assert [one.path for one in top.children] == ["/p"]
    assert [one.path for one in top.children[0].children] == ["/p/child"]


async def test_a_snapshot_says_whom_an_actor_waits_for(world: World) -> None:
    """N-1: what is less than certain is shown, not raised."""
    worker = await world.spawn(Worker, name="worker", mailbox=Mailbox(1))
    asker = await world.spawn(Asker, name="asker")
    pending = asker.ask_nowait(AskFor(worker))
    await trio.sleep(1)
    assert [one.waits_for for one in world.snapshot().children] == [None, "/worker"]
    assert await pending == 0
    assert [one.waits_for for one in world.snapshot().children] == [None, None]


async def test_a_snapshot_says_who_waits_for_room_or_for_an_end(world: World) -> None:
    class Waiter(Actor[Note]):
        def __init__(self, other: ActorRef[Any]) -> None:
            self.other = other

        @handler
        async def note(self, message: Note) -> None:
            if message.text:
                await self.other.wait_stopped()
            else:
                await self.other.tell_all([Note(), Note()])

    worker = await world.spawn(Worker, name="worker", mailbox=Mailbox(1))
    worker.tell_nowait(Sleep(5))
    await trio.sleep(1)
    for text in ("", "wait"):
        waiter = await world.spawn(Waiter, worker)
        waiter.tell_nowait(Note(text))
    await trio.sleep(1)
    found = [one.waits_for for one in world.snapshot().children]
    assert found == [None, "/worker", "/worker"]
    worker.kill()
    await world.settled()
    assert len(world.dead()) == 2


def test_the_states_of_a_life() -> None:
    """Starting, running, backoff, stopping, stopped."""
    seen: list[str] = []

    class Slow(Counter):
        async def started(self) -> None:
            await trio.sleep(1)

        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(1)

    async def main() -> None:
        async with open_system(supervision=PAUSE) as system:

            def look() -> None:
                seen.extend(one.state for one in system.snapshot().children)

            ref = system.spawn_nowait(Slow)
            await trio.sleep(0.5)
            look()
            await trio.sleep(1)
            look()
            await ref.tell(Boom())
            await trio.sleep(1)
            look()
            await trio.sleep(9.7)
            look()
            await trio.sleep(1)
            ref.stop()
            await trio.sleep(0.5)
            look()
            await ref.wait_stopped()
            assert system.snapshot().children == ()
            assert repr(ref) == f"<ActorRef {ref.path} stopped, 0/1024 waiting>"
            ref = await system.spawn(Slow)
            system.stop()
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            assert system.snapshot().state == "stopping"
        assert system.snapshot().state == "stopped"

    run_main(main)
    assert seen == ["starting", "running", "backoff", "starting", "stopping"]


async def test_a_swept_sibling_is_shown_as_waiting(world: World) -> None:
    """What the supervisor holds back is in its backoff, too."""
    rules = Supervision("one_for_all", backoff=Backoff(10, 10, jitter=0))
    top = await world.spawn_supervisor(supervision=rules, name="top")
    first = await top.spawn(Counter, name="a")
    await top.spawn(Counter, name="b")
    first.tell_nowait(Boom())
    await trio.sleep(1)
    states = [one.state for one in world.snapshot().children[0].children]
    assert states == ["backoff", "backoff"]


@pytest.mark.parametrize("children", [0, 1, 2, 3])
async def test_a_snapshot_shows_itself_as_any_record(
    world: World, children: int
) -> None:
    """One can paste it."""
    branch, *_ = await grown(world, 2)
    for number in range(children):
        await branch.ask(Grow(f"child-{number}"))
    found = world.snapshot()
    known = {"Snapshot": Snapshot, "inf": math.inf}
    assert eval(repr(found), known) == found
    assert repr(found).startswith("Snapshot(path='world', state='running', queued=0, ")
    plain = attrs.make_class("Snapshot", [one.name for one in attrs.fields(Snapshot)])
    assert repr(found) == repr(attrs_twin(found, plain))


def attrs_twin(one: Snapshot, kind: type) -> object:
    """Return it as a record whose repr is not its own."""
    values = attrs.asdict(one, recurse=False)
    values["children"] = tuple(attrs_twin(child, kind) for child in one.children)
    return kind(**values)


async def test_a_tree_deeper_than_the_stack_of_python_can_be_looked_at() -> None:
    """OBS-2: nothing goes down the tree by recursion."""
    depth = sys.getrecursionlimit() + 200
    async with open_system() as system:
        refs = await grown(system, depth)
        found = system.snapshot()
        assert found.handled == depth - 1
        lines = found.render().splitlines()
        assert len(lines) == depth + 1
        assert lines[-1].startswith("   " * (depth - 1) + "└─ x")
        assert repr(found).count("Snapshot(path=") == depth + 1
        for ref in refs:
            (found,) = found.children
            assert found.path == ref.path
        assert found.children == ()


# --- Text -------------------------------------------------------------------


def node(path: str, *children: Snapshot, **changes: Any) -> Snapshot:
    plain = Snapshot(path, "running", 0, 1024, 0, 0, 0, 0, None, 0.0, None, children)
    return attrs.evolve(plain, **changes)


def test_a_snapshot_is_drawn_as_a_tree() -> None:
    """OBS-2: an ASCII tree; a line for each actor, with what is not usual."""
    tree = node(
        "demo",
        node("/bank", node("/bank/teller-1", handled=7), node("/bank/t"), queued=2),
        node("/web", node("/web/s", capacity=math.inf, state="backoff", restarts=2)),
        node("/last", failed=1, handling="Sleep", handling_for=0.25, waits_for="/web"),
        capacity=math.inf,
    )
    assert tree.render() == dedent(
        """\
        demo            running   0 waiting  0 handled
        ├─ bank         running   2/1024 waiting  0 handled
        │  ├─ teller-1  running   0/1024 waiting  7 handled
        │  └─ t         running   0/1024 waiting  0 handled
        ├─ web          running   0/1024 waiting  0 handled
        │  └─ s         backoff   0 waiting  0 handled  2 restarts
        └─ last         running   0/1024 waiting  0 handled  1 failed  handling Sleep"""
        " for 0.25 s  waits for /web"
    )


def test_an_empty_system_is_one_line() -> None:
    assert node("demo").render() == "demo  running   0/1024 waiting  0 handled"


# --- Events -----------------------------------------------------------------


async def collect(events: Subscription[Event], into: list[tuple[str, str]]) -> None:
    with events:
        async for event in events:
            error = f" {event.error!r}" if event.error is not None else ""
            delay = f" in {event.delay:g}" if event.delay else ""
            into.append((event.ref.path, event.kind + error + delay))


def test_events_tell_the_life_of_all_actors() -> None:
    """SUP-14: started, failed, restarting, restarted, resumed, gave_up, stopped."""
    seen: list[tuple[str, str]] = []
    rules = Supervision(
        max_restarts=1,
        backoff=Backoff(2, 2, jitter=0),
        directives={KeyError: "resume"},
    )

    async def main() -> None:
        nursery = trio.open_nursery()
        async with nursery as tasks, open_system(supervision=rules) as system:
            tasks.start_soon(collect, system.events(), seen)
            await trio.sleep(0)
            ref = await system.spawn(Counter, name="c")
            for error in (KeyError("k"), ValueError("v"), OSError("o")):
                await ref.tell(Boom(error))
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup):
        run_main(main)
    assert [what for path, what in seen if path == "/c"] == [
        "started",
        "failed KeyError('k')",
        "resumed KeyError('k')",
        "failed ValueError('v')",
        "restarting ValueError('v') in 2",
        "restarted ValueError('v')",
        "failed OSError('o')",
        "gave_up OSError('o')",
        "stopped OSError('o')",
    ]


async def test_a_stream_holds_what_comes_between_with_and_its_end(world: World) -> None:
    """No event of before or after."""
    await world.spawn(Counter, name="before")
    with world.events() as events:
        await world.spawn(Counter, name="during")
        event = await events.receive()
        assert (event.kind, event.ref.path) == ("started", "/during")
    with pytest.raises(trio.ClosedResourceError):
        await events.receive()


# --- Traces -----------------------------------------------------------------


async def test_a_trace_streams_the_messages_in_the_order_they_are_taken(
    world: World,
) -> None:
    """S1-6: a serial trace; told, asked, from timers, and over a restart."""
    seen: list[object] = []

    class Traced(Counter):
        async def started(self) -> None:
            self.context.send_after(1, Add(100))

    ref = await world.spawn(Traced)

    async def listen() -> None:
        with world.trace(ref) as messages:
            async for message in messages:
                seen.append(message)
                if message == Get():
                    return

    world.client(listen)
    await trio.sleep(0)
    await ref.tell(Add(1))
    boom = Boom()
    ref.tell_nowait(boom)
    await trio.sleep(2)
    await ref.ask(Get())
    ref.tell_nowait(Add(9))
    await world.settled()
    assert seen == [Add(1), boom, Add(100), Get()]


async def test_a_trace_shows_each_message_of_a_batch(world: World) -> None:
    class Batching(Actor[Note]):
        @handler(batch=10)
        def notes(self, messages: list[Note]) -> None:
            pass

    ref = await world.spawn(Batching)
    with world.trace(ref) as messages:
        for text in "abc":
            ref.tell_nowait(Note(text))
        await world.settled()
        assert [await messages.receive() for _ in "abc"] == [Note(t) for t in "abc"]
