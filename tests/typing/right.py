"""Right uses, with the types that both checkers must infer. Never run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import attrs

from trio_actors import (
    Actor,
    ActorRef,
    ActorSystem,
    ChildSpec,
    Context,
    DeadLetter,
    Event,
    Exit,
    Inbox,
    Pending,
    PoolRef,
    Reply,
    Request,
    ServiceKey,
    Snapshot,
    Subscription,
    SupervisorRef,
    Terminated,
    Topic,
    handler,
    tagged,
)
from trio_actors.persistence import (
    DurableState,
    Entities,
    EventSourced,
    Journal,
    MemoryJournal,
    Reminder,
    SQLiteJournal,
    applies,
)
from trio_actors.testing import Probe, World, explore


@attrs.frozen
class Get(Request[str]): ...


@attrs.frozen
class Count(Request[int]): ...


@attrs.frozen
class Put:
    value: str


KEY = ServiceKey[Get | Put]("store")
PUTS = Topic[Put]("puts")


class Store(Actor[Get | Count | Put]):
    def __init__(self, value: str = "", *, size: int = 0) -> None:
        self.value = value
        self.size = size

    @handler(reads_only=True)
    def get(self, message: Get) -> str:
        return self.value

    @handler(batch=10)
    def count(self, messages: list[Count]) -> list[int]:
        return [len(self.value) for _ in messages]

    @handler
    async def put(self, message: Put) -> None:
        self.value = message.value
        assert_type(self.context, Context[Get | Count | Put])
        assert_type(self.context.ref, ActorRef[Get | Count | Put])
        self.context.register(KEY)
        self.context.subscribe(PUTS)
        self.context.send_after(1.0, Put("later"))
        assert_type(await self.context.spawn(function), ActorRef[Get | Terminated])


class Front(Actor[Get | Terminated]):
    def __init__(self, store: ActorRef[Get]) -> None:
        self.store = store

    @handler
    def get(self, message: Get) -> Reply[str]:
        assert_type(self.context.stash(message), Reply[str])
        assert_type(self.context.defer_reply(message), Reply[str])
        return self.context.forward(self.store, Get())

    @handler
    def gone(self, message: Terminated) -> None:
        assert_type(message.reason, Exit)
        self.context.watch(message.ref)


async def function(inbox: Inbox[Get | Terminated]) -> None:
    async for message in inbox:
        assert_type(message, Get | Terminated)
        match message:
            case Get():
                inbox.reply(message, "answer")
            case Terminated(ref, reason):
                assert_type(ref, ActorRef[Any])
                assert_type(reason, Exit)
    assert_type(await inbox.receive(), Get | Terminated)


async def with_arguments(inbox: Inbox[Put], size: int, name: str = "") -> None: ...


async def spawning(system: ActorSystem) -> None:
    store = await system.spawn(Store, "value", name="store")
    assert_type(store, ActorRef[Get | Count | Put])
    assert_type(await system.spawn(lambda: Store(size=5)), ActorRef[Get | Count | Put])
    assert_type(system.spawn_nowait(with_arguments, 5), ActorRef[Put])
    assert_type(await system.spawn(with_arguments, 5, "name"), ActorRef[Put])
    pool = await system.spawn_pool(Store, size=3, routing="random")
    assert_type(pool, PoolRef[Get | Count | Put])
    assert_type(pool.workers, tuple[ActorRef[Get | Count | Put], ...])


async def supervising(system: ActorSystem) -> None:
    spec = ChildSpec("store", Store, restart="permanent")
    assert_type(spec, ChildSpec[Get | Count | Put])
    parent = await system.spawn_supervisor(spec, ChildSpec("f", with_arguments, 5))
    assert_type(parent, SupervisorRef)
    assert_type(parent.child(spec), ActorRef[Get | Count | Put])
    assert_type(await parent.start_child(spec), ActorRef[Get | Count | Put])
    assert_type(parent.count_children(), Mapping[str, int])


async def asking(store: ActorRef[Get | Count | Put]) -> None:
    assert_type(await store.ask(Get()), str)
    assert_type(await store.ask(Count()), int)
    pending = store.ask_nowait(Count())
    assert_type(pending, Pending[int])
    assert_type(await pending, int)
    # A ref of more messages is a ref of some of them.
    narrow: ActorRef[Get] = store
    assert_type(await narrow.ask(Get()), str)
    assert_type(await store.wait_stopped(), Exit)


async def finding(system: ActorSystem) -> None:
    assert_type(system.find(KEY), ActorRef[Get | Put] | None)
    assert_type(system.find("/store"), ActorRef[Any] | None)
    assert_type(system.find_all(KEY), tuple[ActorRef[Get | Put], ...])
    assert_type(await system.service(KEY).ask(Get()), str)
    assert_type(system.subscribe(PUTS), Subscription[Put])
    assert_type(system.subscribe(KEY), Subscription[tuple[ActorRef[Get | Put], ...]])
    with system.events() as events:
        assert_type(await events.receive(), Event)
    with system.dead_letters() as letters:
        async for letter in letters:
            assert_type(letter, DeadLetter)
    assert_type(system.snapshot(), Snapshot)


async def probing(world: World) -> None:
    probe = Probe[Get | Put](world)
    assert_type(probe.ref, ActorRef[Get | Put])
    assert_type(await probe.receive(), Get | Put)
    request = await probe.expect(Get)
    assert_type(request, Get)
    probe.reply(request, "answer")


@tagged("added@1")
@attrs.frozen
class Added:
    value: str


@tagged("taken@2", upcast=lambda old: {"value": old["what"]})
@attrs.frozen
class Taken:
    value: str


class Log(EventSourced[Get | Put | Reminder, Added | Taken, tuple[str, ...]]):
    initial = ()
    snapshot_every = 10

    @handler
    async def put(self, message: Put) -> None:
        assert_type(self.key, str)
        assert_type(self.state, tuple[str, ...])
        await self.persist(Added(message.value), Taken(message.value))
        await self.remind("look", 1.0, every=60.0)
        await self.cancel_reminder("look")
        await self.post(Added("mail"))

    @handler(reads_only=True)
    def get(self, message: Get) -> str:
        return self.state[0]

    @handler
    def reminded(self, message: Reminder) -> None:
        assert_type(message.name, str)
        assert_type(message.missed, int)

    async def deliver(self, effect: Added, key: str, /) -> None: ...

    @applies
    def changed(self, event: Added | Taken) -> tuple[str, ...]:
        return (*self.state, event.value)


class Whole(DurableState[Put, dict[str, int]]):
    initial: dict[str, int] = {}  # noqa: RUF012  # never changed in place

    @handler
    async def put(self, message: Put) -> None:
        assert_type(self.state, dict[str, int])
        await self.save({**self.state, message.value: 1})


async def storing(system: ActorSystem, world: World, path: Path) -> None:
    journals: list[Journal] = [MemoryJournal(), SQLiteJournal(path)]
    world.use(journals[0])
    assert_type(await system.spawn(Log), ActorRef[Get | Put | Reminder])
    assert_type(await system.spawn(Whole), ActorRef[Put])
    logs = Entities(system, Log, idle_after=60.0, limit=10)
    assert_type(logs, Entities[Get | Put | Reminder])
    assert_type(logs.get("one"), ActorRef[Get | Put | Reminder])
    assert_type(await logs.get("one").ask(Get()), str)


@explore()
async def explored(world: World, number: int) -> None: ...


class Tests:
    @explore(exhaustive=True)
    async def explored(self, world: World, number: int) -> None: ...


def explored_tests() -> None:
    assert_type(explored(1), None)
    assert_type(Tests().explored(1), None)
