"""Refs: what they are, every way to tell, and mistakes with them.

Rules: LIFE-1, MBX-4, ORD-1, ASK-D1, section 2 of the design.
"""

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from tests.actors import Log
from tests.kit import Add, Counter, Get, Note, Sleep, Worker, found
from trio_actors import Actor, ActorRef, Mailbox, ServiceKey, Topic, handler
from trio_actors.testing import World


async def test_a_ref_is_a_value(world: World) -> None:
    """LIFE-1: equal refs are the same life of the same actor."""
    ref = await world.spawn(Counter, name="a")
    other = await world.spawn(Counter, name="b")
    assert found(world, "/a") == ref
    assert hash(found(world, "/a")) == hash(ref)
    assert ref != other
    assert ref != "/a"
    assert len({ref, found(world, "/a"), other}) == 2
    ref.stop()
    await ref.wait_stopped()
    again = await world.spawn(Counter, name="a")
    assert again.path == ref.path
    assert again != ref


async def test_a_ref_shows_what_its_actor_does(world: World) -> None:
    ref = await world.spawn(Worker, name="w")
    assert repr(ref) == "<ActorRef /w running, 0/1024 waiting>"
    ref.tell_nowait(Sleep(5))
    await trio.sleep(1)
    ref.tell_nowait(Add())
    assert repr(ref) == "<ActorRef /w running, 1/1024 waiting>"
    ref.stop()
    assert "stopp" in repr(ref) or "running" in repr(ref)
    await ref.wait_stopped()
    assert repr(ref) == "<ActorRef /w stopped, 0/1024 waiting>"
    world.dead()


async def test_a_ref_of_a_pool_or_a_service_is_no_ref_of_one_actor(
    world: World,
) -> None:
    key = ServiceKey[Any]("k")
    service, same = world.service(key), world.service(key)
    other = world.service(key, "random")
    assert service == same
    assert hash(service) == hash(same)
    assert service != other
    ref = await world.spawn(Counter)
    world.register(key, ref)
    assert service != ref
    pool = await world.spawn_pool(Counter, size=1)
    assert pool != pool.workers[0]


# --- Telling ----------------------------------------------------------------


Way = Callable[[ActorRef[Any], list[Note]], Any]


async def tell(ref: ActorRef[Any], notes: list[Note]) -> None:
    for note in notes:
        await ref.tell(note)


async def tell_all(ref: ActorRef[Any], notes: list[Note]) -> None:
    await ref.tell_all(notes)


async def tell_nowait(ref: ActorRef[Any], notes: list[Note]) -> None:
    for note in notes:
        ref.tell_nowait(note)


async def tell_soon(ref: ActorRef[Any], notes: list[Note]) -> None:
    for note in notes:
        ref.tell_soon(note)


async def tell_from_thread(ref: ActorRef[Any], notes: list[Note]) -> None:
    def work() -> None:
        for note in notes:
            ref.tell_from_thread(note)

    await trio.to_thread.run_sync(work)


async def mixed(ref: ActorRef[Any], notes: list[Note]) -> None:
    ways = [tell, tell_nowait, tell_all, tell_soon]
    for number, note in enumerate(notes):
        await ways[number % 4](ref, [note])


WAYS: list[Way] = [tell, tell_all, tell_nowait, tell_soon, tell_from_thread, mixed]


@pytest.mark.parametrize("way", WAYS)
async def test_what_one_task_tells_arrives_in_order(world: World, way: Way) -> None:
    """ORD-1: FIFO per sending task, whatever it sends with."""
    seen: list[str] = []
    ref = await world.spawn(Log, seen)
    texts = [str(number) for number in range(100)]
    await way(ref, [Note(text) for text in texts])
    await world.settled()
    assert seen == texts


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_told_to_a_stopped_actor_is_a_dead_letter(
    world: World, way: Way
) -> None:
    """Design 2: nothing is raised; to whom and why is told."""
    ref = await world.spawn(Counter)
    ref.stop()
    await ref.wait_stopped()
    await way(ref, [Note("a"), Note("b")])
    await world.settled()
    dead = world.dead()
    assert [(one.message, one.to, one.reason) for one in dead] == [
        (Note("a"), ref, "stopped"),
        (Note("b"), ref, "stopped"),
    ]
    books = world.statistics()
    assert books["accepted"] == books["dead_lettered"] == 2


@pytest.mark.parametrize("state", ["running", "full", "stopped"])
async def test_telling_is_a_checkpoint(world: World, state: str) -> None:
    """Trio's manners: always, also where nothing is waited for."""
    ref = await world.spawn(Log, list[str](), mailbox=Mailbox(1))
    if state == "stopped":
        ref.stop()
        await ref.wait_stopped()
    elif state == "full":
        ref.tell_nowait(Sleep(1))
        await trio.lowlevel.checkpoint()
        ref.tell_nowait(Note())
    with trio.testing.assert_checkpoints():
        await ref.tell(Note())
    with trio.testing.assert_checkpoints():
        await ref.tell_all([])
    with trio.testing.assert_checkpoints():
        await ref.tell_all([Note()])
    world.dead()


@pytest.mark.parametrize("way", [tell, tell_all])
async def test_a_cancelled_tell_sends_nothing(world: World, way: Way) -> None:
    """To be cancelled means that it was not sent; to return, that it was."""
    seen: list[str] = []
    ref = await world.spawn(Log, seen)
    with trio.CancelScope() as scope:
        scope.cancel()
        await way(ref, [Note("a")])
    assert scope.cancelled_caught
    await world.settled()
    assert seen == []
    assert world.statistics()["accepted"] == 0


async def test_tasks_keep_each_its_own_order(world: World) -> None:
    seen: list[str] = []
    ref = await world.spawn(Log, seen)

    async def send(name: str) -> None:
        for number in range(20):
            await ref.tell(Note(f"{name}{number}"))

    for name in "abc":
        world.client(send, name)
    await world.settled()
    for name in "abc":
        mine = [one for one in seen if one[0] == name]
        assert mine == [f"{name}{number}" for number in range(20)]


# --- Waiting for the end ----------------------------------------------------


async def test_waiting_for_the_end_is_a_checkpoint(world: World) -> None:
    ref = await world.spawn(Counter)
    ref.stop()
    first = await ref.wait_stopped()
    with trio.testing.assert_checkpoints():
        assert await ref.wait_stopped() is first


async def test_many_may_wait_for_the_end(world: World) -> None:
    ref = await world.spawn(Counter)
    kinds: list[str] = []

    async def wait() -> None:
        kinds.append((await ref.wait_stopped()).kind)

    for _ in range(3):
        world.client(wait)
    await trio.sleep(1)
    ref.kill()
    await world.settled()
    assert kinds == ["killed"] * 3


# --- Mistakes ---------------------------------------------------------------


@attrs.frozen
class Plain:
    """A message that is not answered."""


@pytest.mark.parametrize("way", ["ask", "ask_nowait"])
@pytest.mark.parametrize("target", ["actor", "pool", "service"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Plain(), r"Plain\(\) cannot be asked.*tell.*class Plain\(Request\[\.\.\.\]\)"),
        ("text", "'text' cannot be asked, because str does not say"),
        (None, "None cannot be asked"),
        (Get, r"Get is a class, and the message is an instance.*ask\(Get\(\.\.\.\)\)"),
    ],
)
async def test_only_a_request_can_be_asked(
    world: World, way: str, target: str, wrong: Any, words: str
) -> None:
    """A TypeError in the asker, which says what to write; nothing is sent."""
    ref: ActorRef[Any] = await world.spawn(Counter)
    if target == "pool":
        ref = await world.spawn_pool(Counter, size=2)
    elif target == "service":
        key = ServiceKey[Any]("k")
        world.register(key, ref)
        ref = world.service(key)
    with pytest.raises(TypeError, match=words):
        if way == "ask":
            await ref.ask(wrong)
        else:
            ref.ask_nowait(wrong)
    assert world.statistics()["accepted"] == 0


async def test_many_messages_are_an_iterable(world: World) -> None:
    ref: ActorRef[Any] = await world.spawn(Counter)
    with pytest.raises(TypeError, match="not iterable"):
        await ref.tell_all(Add())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_ref_cannot_be_watched_as_what_it_is_not(world: World) -> None:
    """A service is no actor that could end; a topic is no key."""
    seen: list[str] = []

    class Wrong(Actor[Get]):
        @handler
        def get(self, message: Get) -> int:
            context: Any = self.context
            for verb in ("watch", "unwatch", "link", "unlink"):
                for wrong in (world.service(ServiceKey[Any]("k")), "/path", None):
                    with pytest.raises(TypeError) as caught:
                        getattr(context, verb)(wrong)
                    seen.append(str(caught.value))
            return 1

    ref = await world.spawn(Wrong)
    assert await ref.ask(Get()) == 1
    assert len(seen) == 12
    assert seen[0].startswith("watch() wants the ref of one actor, but got <ServiceRef")


def test_keys_and_topics_are_values() -> None:
    assert ServiceKey[int]("a") == ServiceKey[int]("a", unique=True)
    assert Topic[int]("a") == Topic[int]("a")
    assert Topic[int]("a") != Topic[int]("b")
