"""Corners that a program comes by rarely, and must get around all the same."""

import dataclasses
import enum
import math
from typing import Any

import attrs
import pytest
import trio

from tests.kit import Add, Counter, Get, Note, Sleep, Worker
from trio_actors import (
    Actor,
    ActorRef,
    AskDeadlock,
    Inbox,
    Mailbox,
    Request,
    handler,
)
from trio_actors._box import Box
from trio_actors._keys import key_hash
from trio_actors._mailbox import Door
from trio_actors.testing import World, run
from trio_actors.testing._clock import WorldClock


async def test_what_a_function_asked_between_messages_ends_with_it(
    world: World,
) -> None:
    """ASK-D3: a question belongs to who asked, and is skipped when that is gone."""
    slow = await world.spawn(Worker)
    slow.tell_nowait(Sleep(1))

    async def asks(inbox: Inbox[Note]) -> None:
        slow.ask_nowait(Add(7))

    asker = await world.spawn(asks)
    await asker.wait_stopped()
    assert await slow.ask(Get()) == 0
    assert world.statistics()["abandoned"] == 1


@attrs.frozen
class WaitFor(Request[str]):
    ref: ActorRef[Any]


@attrs.frozen
class AskBack(Request[str]):
    to: ActorRef[Any]


class Node(Actor[WaitFor | AskBack]):
    @handler
    async def wait(self, message: WaitFor) -> str:
        return (await message.ref.wait_stopped()).kind

    @handler
    async def back(self, message: AskBack) -> str:
        await trio.sleep(1)
        try:
            return await message.to.ask(AskBack(self.context.ref))
        except AskDeadlock as error:
            return " ".join(error.cycle)


async def test_who_asks_the_one_that_waits_for_its_end_is_told(world: World) -> None:
    """N-1: neither the wait for the end nor the question can come to one."""
    a, b = await world.spawn(Node, name="a"), await world.spawn(Node, name="b")
    waiting = a.ask_nowait(WaitFor(b))
    assert await b.ask(AskBack(a)) == "/b /a /b"
    b.stop()
    assert await waiting == "shutdown"


async def test_two_may_trace_one_actor(world: World) -> None:
    """S1-6."""
    counter = await world.spawn(Counter)
    with world.trace(counter) as one, world.trace(counter) as two:
        await counter.tell(Add())
        assert await one.receive() == await two.receive() == Add()


async def test_a_tick_that_waits_when_its_actor_is_stopped_is_expired(
    world: World,
) -> None:
    """Design 4: a tick is nobody's message, and so no dead letter."""

    class Clocked(Actor[Note | Sleep]):
        @handler
        def note(self, message: Note) -> None:
            self.context.send_after(1, Note("tick"))

        @handler
        async def sleep(self, message: Sleep) -> int:
            await trio.sleep(message.seconds)
            return 0

    clocked = await world.spawn(Clocked)
    await clocked.tell(Note())
    await clocked.tell(Sleep(3))
    await trio.sleep(2)
    clocked.stop()
    await clocked.wait_stopped()
    assert world.statistics()["expired"] == 1
    assert world.dead() == []


class Owner:
    """Admits everybody."""

    def admits(self) -> bool:
        return True

    def refuse(self, item: Any, reason: str) -> None:
        raise AssertionError(reason)

    bury = refuse


def test_what_has_waited_elsewhere_enters_a_draining_mailbox_if_it_is_admitted() -> (
    None
):
    box = Box(Mailbox(1), Owner())
    box.shut(Door.INSIDE, "stopped")
    box.put_over("late")
    assert box.take() == "late"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Account:
    number: str
    note: str = attrs.field(default="", eq=False)


@dataclasses.dataclass(frozen=True)
class Place:
    city: str
    seen: str = dataclasses.field(default="", compare=False)


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (Account("a", "x"), Account("a", "y"), Account("b")),
        (Place("a", "x"), Place("a", "y"), Place("b")),
        (Colour.RED, Colour("red"), Colour.BLUE),
        (frozenset("ab"), frozenset("ba"), frozenset("ac")),
        (None, None, "None"),
        (1, 1.0, 2),
    ],
)
def test_equal_keys_of_a_pool_have_equal_hashes(
    one: Any, same: Any, other: Any
) -> None:
    """Equal in every process, too: nothing here goes by Python's salted text hash."""
    assert one == same
    assert key_hash(one) == key_hash(same) != key_hash(other)


def test_a_program_that_stops_its_own_world_is_told() -> None:
    async def program(world: World) -> None:
        world.stop()
        await trio.sleep(1)

    with pytest.raises(AssertionError, match="stopped its own world"):
        run(program)


def test_a_world_without_anything_to_come_lets_trio_wait_for_the_outside() -> None:
    clock = WorldClock()
    clock.on_idle = lambda deadline: deadline

    async def main() -> float:
        return clock.deadline_to_sleep_time(math.inf)

    assert trio.run(main, clock=clock) == math.inf
