"""The mission's third source, item by item; see test_mission.py for the others."""

import attrs
import pytest
import trio
import trio.testing

from tests.kit import open_system, run_main
from tests.test_mission import (
    Account,
    CounterService,
    Deposit,
    GetValue,
    Greeting,
    Increment,
)
from trio_actors import (
    Actor,
    ActorRef,
    Inbox,
    ServiceKey,
    current_system,
    handler,
)
from trio_actors.testing import World


@attrs.frozen
class Number:
    value: int


async def test_s3_1_the_basic_actor_sums_up_what_it_receives(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """S3-1: messages 0..9, a line for each; the final state is 45."""

    async def basic_actor(inbox: Inbox[Number]) -> None:
        state = 0
        async for message in inbox:
            state += message.value
            print(f"Received: {message.value}")
            print(f"State: {state}")

    actor = await world.spawn(basic_actor)
    for value in range(10):
        await actor.tell(Number(value))
    await world.settled()
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == [f"Received: {value}" for value in range(10)]
    assert lines[-1] == "State: 45"


async def test_s3_2_the_responding_actor_answers_with_its_state(
    world: World,
) -> None:
    """S3-2: 0,1,3,6,...,45; an asker that is gone does no harm."""

    async def responding_actor(inbox: Inbox[Deposit]) -> None:
        state = 0
        async for message in inbox:
            state += message.amount
            await trio.sleep(1)
            inbox.reply(message, state)

    actor = await world.spawn(responding_actor)
    answers = [await actor.ask(Deposit(number)) for number in range(10)]
    assert answers == [0, 1, 3, 6, 10, 15, 21, 28, 36, 45]
    with trio.move_on_after(0.5):
        await actor.ask(Deposit(100))
    assert await actor.ask(Deposit(0)) == 145


def test_s3_4_the_store_is_reached_from_anywhere_without_passing_refs() -> None:
    """S3-4: free functions, four levels deep, before the router runs."""
    store_key = ServiceKey[Increment | GetValue]("store", unique=True)

    async def set_value(key: str, value: int) -> int:
        return await current_system().service(store_key).ask(Increment(key, value))

    async def one() -> int:
        async def two() -> int:
            async def three() -> int:
                return await set_value("hello", 7)

            return await three()

        return await two()

    class Store(CounterService):
        async def started(self) -> None:
            self.context.register(store_key)

    answers: list[int] = []

    async def main() -> None:
        async with open_system() as system, trio.open_nursery() as nursery:

            async def early() -> None:
                answers.append(await one())

            nursery.start_soon(early)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []  # it waits: nobody is there yet
            await system.spawn(Store)

    run_main(main)
    assert answers == [7]


async def test_s3_7_plain_async_code_and_actors_live_side_by_side(
    world: World,
) -> None:
    """S3-7: hybrid use: direct calls where they will do, actors where they help."""
    plain = Account()
    assert plain.deposit(Deposit(3)) == 3  # a handler is a method: migrate gradually
    account = await world.spawn(Account)
    send, receive = trio.open_memory_channel[int](10)

    async def producer() -> None:
        async with send:
            for number in range(4):
                await send.send(number)

    async def consumer() -> None:
        async for number in receive:
            await account.ask(Deposit(number))

    world.client(producer)
    world.client(consumer)
    await world.settled()
    assert await account.ask(Deposit(0)) == 6


async def test_s3_7_an_actor_caches_for_others(world: World) -> None:
    """S3-7: caching messages across services: one slow question for many askers."""
    asked: list[str] = []

    class Cache(Actor[Greeting]):
        def __init__(self, slow: ActorRef[Greeting]) -> None:
            self.slow = slow
            self.known: dict[str, str] = {}

        @handler
        async def greet(self, message: Greeting) -> str:
            if message.name not in self.known:
                self.known[message.name] = await self.slow.ask(message)
            return self.known[message.name]

    class Slow(Actor[Greeting]):
        @handler
        async def greet(self, message: Greeting) -> str:
            asked.append(message.name)
            await trio.sleep(10)
            return f"Hello, {message.name}!"

    cache = await world.spawn(Cache, await world.spawn(Slow))
    questions = [cache.ask_nowait(Greeting(name)) for name in ("a", "b", "a", "a")]
    answers = [await question for question in questions]
    assert answers == [f"Hello, {name}!" for name in ("a", "b", "a", "a")]
    assert asked == ["a", "b"]
