"""Tasks side by side: what they send in one step comes in any order.

Rules: ORD-1 ("messages from one task to one actor arrive in order"), design 2.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from tests.kit import Add, Counter, Get, Note
from tests.persistence.ledger import Added, Do, Ledger
from tests.testing.searched import failure_of
from trio_actors import Actor, ActorRef, Request, Topic, handler
from trio_actors.testing import World, check

Answers = dict[str, int]


class Log(Actor[Note | Get]):
    """Writes down what it is told."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    @handler
    def note(self, message: Note) -> None:
        self.seen.append(message.text)

    @handler
    def get(self, message: Get) -> int:
        return len(self.seen)


async def ask_twice(counter: ActorRef[Add], answers: Answers) -> None:
    async def ask(name: str) -> None:
        answers[name] = await counter.ask(Add())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "one")
        nursery.start_soon(ask, "other")


@attrs.frozen
class Begin(Request[None]):
    """Begin to ask."""


class Asker(Actor[Begin]):
    """Asks in two tasks: in its handler, or beside it."""

    def __init__(self, counter: ActorRef[Add], answers: Answers, how: str) -> None:
        self.counter = counter
        self.answers = answers
        self.beside = how == "inner tasks"

    @handler
    async def begin(self, message: Begin) -> None:
        if self.beside:
            self.context.start_soon(self.ask, "one")
            self.context.start_soon(self.ask, "other")
        else:
            await ask_twice(self.counter, self.answers)

    async def ask(self, name: str) -> None:
        self.answers[name] = await self.counter.ask(Add())


def asked_by(who: str) -> Callable[[World], Awaitable[Answers]]:
    async def program(world: World) -> Answers:
        counter, answers = await world.spawn(Counter), Answers()
        if who == "the test":
            await ask_twice(counter, answers)
        elif who == "a client":
            world.client(ask_twice, counter, answers)
        else:
            asker = await world.spawn(Asker, counter, answers, who)
            await asker.ask(Begin())
        await world.settled()
        return answers

    return program


WHO = ["the test", "a client", "a handler", "inner tasks"]


@pytest.mark.parametrize("who", WHO)
def test_tasks_of_one_nursery_may_overtake_each_other(who: str) -> None:
    """They counted as one sender, and a race between them was "verified"."""
    seen: list[Answers] = []

    async def program(world: World) -> None:
        seen.append(await asked_by(who)(world))

    found = check(program, exhaustive=True)
    assert found.verified, found
    # Which of the tasks begins, whose message is first, which answer comes first.
    assert found.classes == 6
    assert {"one": 1, "other": 2} in seen
    assert {"one": 2, "other": 1} in seen


def test_who_was_first_is_told_by_the_names_of_the_tasks() -> None:
    async def program(world: World) -> None:
        answers = await asked_by("a client")(world)
        assert answers["one"] == 1

    report = str(failure_of(program))
    assert "client-1 task 2" in report


async def noted(world: World, scenario: Callable[..., Awaitable[None]]) -> list[str]:
    seen: list[str] = []
    log = await world.spawn(Log, seen)
    await scenario(log.tell, log)
    await log.ask(Get())
    return seen


Tell = Callable[[Note], Awaitable[None]]


async def children(tell: Tell, log: ActorRef[Any]) -> None:
    """Whose messages come before those that are sent when they have ended."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell, Note("a"))
        nursery.start_soon(tell, Note("b"))
    await tell(Note("after"))


async def parents(tell: Tell, log: ActorRef[Any]) -> None:
    """Whose messages come before those of tasks that begin only then."""
    await tell(Note("before"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell, Note("a"))
        await tell(Note("at once"))
        await tell(Note("side by side"))


async def grandchildren(tell: Tell, log: ActorRef[Any]) -> None:
    """Of those that have ended: their parents go on in the next pass of the loop."""

    async def child(name: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell, Note(f"{name}1"))
        await tell(Note(f"{name}2"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child, "a")
        nursery.start_soon(child, "b")


async def later(tell: Tell, log: ActorRef[Any]) -> None:
    """What is sent in a later step overtakes nothing in one process."""

    async def child(name: str) -> None:
        await log.ask(Get())
        await tell(Note(name))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child, "a")
        nursery.start_soon(child, "b")


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (children, {"a b after", "b a after"}),
        (
            parents,
            {"before at once a side by side", "before at once side by side a"},
        ),
        (
            grandchildren,
            {
                "a1 b1 a2 b2",
                "a1 b1 b2 a2",
                "b1 a1 a2 b2",
                "b1 a1 b2 a2",
                "a1 a2 b1 b2",
                "b1 b2 a1 a2",
            },
        ),
        (later, {"a b", "b a"}),
    ],
)
def test_what_was_sent_before_is_not_overtaken(
    scenario: Callable[..., Awaitable[None]], expected: set[str]
) -> None:
    """Before a task began, or by one that has ended; who has not may be slower."""
    seen: set[str] = set()

    async def program(world: World) -> None:
        seen.add(" ".join(await noted(world, scenario)))

    found = check(program, exhaustive=True)
    assert found.verified, found
    assert seen == expected
    assert found.redundant == 0


def test_in_the_order_of_sending_nothing_is_overtaken() -> None:
    seen: set[str] = set()

    async def program(world: World) -> None:
        seen.add(" ".join(await noted(world, children)))

    assert check(program, exhaustive=True, order="enqueue").verified
    assert seen == {"a b after", "b a after"}  # trio begins with either


# --- What is looked up right after something was sent ------------------------------

TOPIC = Topic[Note]("notes")


class Subscriber(Log):
    """Subscribes when it is asked to."""

    @handler
    def get(self, message: Get) -> int:
        self.context.subscribe(TOPIC)
        return 0


class Seen(Subscriber):
    """The same; it has subscribed before."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__(seen)
        self.context.subscribe(TOPIC)


@pytest.mark.parametrize("kind", [Subscriber, Seen])
@pytest.mark.parametrize("waits", [True, False])
def test_what_could_have_come_before_something_is_looked_up_is_tried(
    kind: Any, waits: bool
) -> None:
    """In production a checkpoint lets it come, in the middle of a step."""

    async def program(world: World) -> None:
        seen: list[str] = []
        subscriber = await world.spawn(kind, seen)
        await subscriber.tell(Get())
        if waits:
            await world.settled()
        await trio.lowlevel.checkpoint()
        world.publish(TOPIC, Note())
        await world.settled()

    found = check(program, exhaustive=True)
    assert found.verified
    assert found.classes == (1 if waits else 2)
    assert ("from checkpoint to checkpoint" in str(found)) == (not waits)


# --- What an actor sends by a task of the library's --------------------------------


def test_a_durable_actor_is_one_sender() -> None:
    """Who writes beside a handler that waits is no sender of its own."""

    async def program(world: World) -> None:
        seen: list[str] = []
        log = await world.spawn(Log, seen)
        account = await world.spawn(Ledger, name="ledger")

        async def act(ledger: Ledger) -> None:
            for text in "ab":
                await ledger.persist(Added(text))
                log.tell_soon(Note(text))
                await trio.lowlevel.checkpoint()

        await account.ask(Do(act))
        await world.settled()
        assert seen == ["b", "a"]

    diagram = failure_of(program).diagram("mermaid")
    assert "ledger" in diagram
    assert "ledger task" not in diagram


def test_what_a_durable_actor_tells_after_a_command_comes_behind_it() -> None:
    """The one may be sent by who writes, and the other by the handler's own task."""

    async def program(world: World) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)  # there are several tasks
        seen: list[str] = []
        log = await world.spawn(Log, seen)
        account = await world.spawn(Ledger, name="ledger")

        async def act(ledger: Ledger) -> None:
            await ledger.persist(Added("a"))
            log.stop()
            await trio.lowlevel.checkpoint()
            log.tell_soon(Note("too late"))

        await account.ask(Do(act))
        await world.settled()
        assert seen == []
        assert len(world.dead()) == 1

    assert check(program, exhaustive=True).verified
