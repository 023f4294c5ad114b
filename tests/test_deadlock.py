"""What can never end is an AskDeadlock, at once.

Rules: ASK-D8, design 2 ("Deadlock: only what is certain").
"""

from collections.abc import Awaitable
from typing import Any

import pytest
import trio

from tests.actors import Node, Run, asks, node_function
from tests.kit import (
    Get,
    Note,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    AskDeadlock,
    ChildSpec,
    Context,
    Exit,
    Mailbox,
    Reply,
    ServiceKey,
    StartFailed,
    handler,
)
from trio_actors.testing import World

KINDS: list[Any] = [Node, node_function]


async def cycle_of(asked: Awaitable[Any]) -> tuple[str, ...]:
    """Await what must be a deadlock; return its path."""
    with pytest.raises(AskDeadlock) as caught:
        await asked
    assert " waits for ".join(caught.value.cycle) in str(caught.value)
    return tuple(caught.value.cycle)


# --- What can never end -----------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_who_asks_itself_is_told_so(world: World, kind: Any) -> None:
    """ASK-1: OTP's `calling_self`."""
    a = await world.spawn(kind, name="a")
    assert await cycle_of(a.ask(asks(a))) == ("/a", "/a")
    assert await a.ask(Get()) == 1
    assert world.statistics()["abandoned"] == 1
    assert trio.current_time() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 4, 5])
async def test_a_circle_of_asks_is_told_to_the_last(
    world: World, kind: Any, count: int
) -> None:
    """ASK-D8: with the path, at once."""
    nodes = [await world.spawn(kind, name=name) for name in "abcde"[:count]]
    request = asks(nodes[0])
    for node in reversed(nodes[1:]):
        request = asks(node, request)
    last, *others = reversed([node.path for node in nodes])
    assert await cycle_of(nodes[0].ask(request)) == (last, *reversed(others), last)
    assert [await node.ask(Get()) for node in nodes] == [1] * count
    assert world.statistics()["failed"] == 0


async def test_a_deadlock_that_nobody_declared_is_passed_on(world: World) -> None:
    """Design 2, whose fault: each asker gets ActorFailed; nobody fails."""

    class Plain(Actor[Run | Get]):
        @handler
        async def run(self, message: Run) -> Any:
            return await message.work(self.context)

        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    a, b = [await world.spawn(Plain, name=name) for name in "ab"]
    with pytest.raises(ActorFailed, match=r"^/a failed") as caught:
        await a.ask(asks(b, asks(a)))
    inner = caught.value.__cause__
    assert isinstance(inner, ActorFailed)
    assert isinstance(inner.__cause__, AskDeadlock)
    assert [await a.ask(Get()), await b.ask(Get())] == [1, 1]


async def test_a_deadlock_of_a_turn_that_owes_nothing_is_its_failure(
    world: World,
) -> None:
    class Plain(Actor[Run | Get]):
        @handler
        async def run(self, message: Run) -> Any:
            return await message.work(self.context)

        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    a = await world.spawn(Plain)
    await a.tell(asks(a))
    assert await a.ask(Get()) == 2


async def test_a_circle_through_a_forwarded_request_is_found(world: World) -> None:
    """Design 2: forwarded, the edge leads to the new actor."""

    class Forwards(Actor[Get]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            return self.context.forward(a, message)

    a = await world.spawn(Node, name="a")
    b = await world.spawn(Forwards, name="b")
    assert await cycle_of(a.ask(asks(b))) == ("/a", "/a")
    await world.settled()
    assert world.statistics()["abandoned"] == 1  # nobody handles what nobody awaits
    assert world._late_replies == 0


async def test_a_circle_behind_a_forwarded_request_is_found(world: World) -> None:
    class Forwards(Actor[Run]):
        @handler
        def run(self, message: Run) -> Reply[Any]:
            return self.context.forward(c, message)

    a = await world.spawn(Node, name="a")
    b = await world.spawn(Forwards, name="b")
    c = await world.spawn(Node, name="c")
    assert await cycle_of(a.ask(asks(b, asks(a)))) == ("/c", "/a", "/c")


async def test_a_circle_closed_by_a_chain_of_forwards_is_found(world: World) -> None:
    class Forwards(Actor[Get]):
        def __init__(self, to: ActorRef[Any]) -> None:
            self.to = to

        @handler
        async def get(self, message: Get) -> Reply[int]:
            await trio.sleep(1)
            return self.context.forward(self.to, message)

    a = await world.spawn(Node, name="a")
    to: ActorRef[Any] = a
    for name in "bcd":
        to = await world.spawn(Forwards, to, name=name)
    assert await cycle_of(a.ask(asks(to))) == ("/a", "/a")


async def test_a_circle_through_a_full_mailbox_is_found(world: World) -> None:
    """S3-6 d: two that wait for room at each other."""
    a = await world.spawn(Node, name="a", mailbox=Mailbox(1))
    b = await world.spawn(Node, name="b", mailbox=Mailbox(1))

    def pushes(to: ActorRef[Any]) -> Run:
        async def work(_: object) -> str:
            await trio.sleep(1)
            for _ in range(3):
                await to.tell(Note())
            return "sent"

        return Run(work)

    first, second = a.ask_nowait(pushes(b)), b.ask_nowait(pushes(a))
    assert await cycle_of(second) == ("/b", "/a", "/b")
    assert await first == "sent"


async def test_a_circle_through_a_burst_into_a_full_mailbox_is_found(
    world: World,
) -> None:
    a = await world.spawn(Node, name="a", mailbox=Mailbox(1))
    work = Run(lambda context: context.ref.tell_all([Note()] * 2))
    assert await cycle_of(a.ask(work)) == ("/a", "/a")
    await world.settled()
    assert world.statistics()["handled"] == 2


async def test_an_ask_into_ones_own_full_mailbox_is_found(world: World) -> None:
    a = await world.spawn(Node, name="a", mailbox=Mailbox(1))
    a.tell_nowait(asks(a))
    await trio.lowlevel.checkpoint()

    async def work(context: Context[Any]) -> None:
        context.ref.tell_nowait(Note())
        await context.ref.ask(Get())

    assert await cycle_of(a.ask(Run(work))) == ("/a", "/a")
    world.dead()


class Child(Actor[Get]):
    """Asks somebody when it starts."""

    def __init__(self, to: ActorRef[Any]) -> None:
        self.to = to

    async def started(self) -> None:
        await self.to.ask(Get())

    @handler
    def get(self, message: Get) -> int:
        return 0


async def test_a_start_that_asks_the_one_who_waits_for_it_is_found(
    world: World,
) -> None:
    """OTP's most common deadlock: a child that calls its supervisor in init."""
    a = await world.spawn(Node, name="a")

    async def work(context: Context[Any]) -> None:
        with pytest.raises(StartFailed) as caught:
            await context.spawn(Child, context.ref, name="child")
        assert isinstance(caught.value.__cause__, AskDeadlock)
        raise caught.value.__cause__

    assert await cycle_of(a.ask(Run(work))) == ("/a/child", "/a", "/a/child")
    assert await a.ask(Get()) == 1


async def test_a_start_that_asks_itself_is_found(world: World) -> None:
    class Odd(Actor[Get]):
        async def started(self) -> None:
            await self.context.ref.ask(Get())

        @handler
        def get(self, message: Get) -> int:
            return 0

    with pytest.raises(StartFailed) as caught:
        await world.spawn(Odd, name="odd")
    assert isinstance(caught.value.__cause__, AskDeadlock)
    assert caught.value.__cause__.cycle == ("/odd", "/odd")
    world.dead()


async def test_who_waits_for_its_own_end_is_told_so(world: World) -> None:
    a = await world.spawn(Node, name="a")
    wait = Run(lambda context: context.ref.wait_stopped())
    assert await cycle_of(a.ask(wait)) == ("/a", "/a")


async def test_who_waits_for_the_end_of_one_that_asks_it_is_told_so(
    world: World,
) -> None:
    a, b = [await world.spawn(Node, name=name) for name in "ab"]
    waits = Run(lambda _: b.wait_stopped())
    assert await cycle_of(b.ask(asks(a, waits))) == ("/a", "/b", "/a")


async def test_a_child_that_terminates_itself_by_its_supervisor_is_told_so(
    world: World,
) -> None:
    top = await world.spawn_supervisor(name="top")
    a = await top.start_child(ChildSpec("a", Node))
    work = Run(lambda _: top.terminate_child("a"))
    assert await cycle_of(a.ask(work)) == ("/top/a", "/top/a")
    assert await a.wait_stopped() == Exit("shutdown")


async def test_an_answer_that_is_awaited_later_closes_the_circle_then(
    world: World,
) -> None:
    a, b = [await world.spawn(Node, name=name) for name in "ab"]

    async def work(_: object) -> Any:
        pending = b.ask_nowait(asks(a))
        await trio.sleep(5)  # b waits for this turn meanwhile
        return await pending

    assert await cycle_of(a.ask(Run(work))) == ("/a", "/b", "/a")
    assert trio.current_time() == 5


async def test_one_of_a_pool_that_asks_back_is_a_deadlock(world: World) -> None:
    """With one worker chosen the request is at that one."""
    a = await world.spawn(Node, name="a")
    pool = await world.spawn_pool(Node, size=2, name="pool")
    path = await cycle_of(a.ask(asks(pool, asks(a))))
    assert path == ("/pool/node-1", "/a", "/pool/node-1")


async def test_one_of_a_service_that_asks_back_is_a_deadlock(world: World) -> None:
    a, b = [await world.spawn(Node, name=name) for name in "ab"]
    key = ServiceKey[Run | Get | Note]("node")
    world.register(key, b)
    assert await cycle_of(a.ask(asks(world.service(key), asks(a)))) == (
        "/b",
        "/a",
        "/b",
    )
