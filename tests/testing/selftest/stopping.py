"""What must hold when actors end: settle, and the ordered stop."""

from typing import Never

from tests.kit import Note, found
from tests.testing.selftest.parts import Askers, Do, Helper, Long, Part, do
from trio_actors import Actor, ActorRef, ChildSpec, Exit, handler
from trio_actors.testing import World


class Source(Actor[Do]):
    """Passes on what it is asked."""

    def __init__(self, diary: list[str], sink: ActorRef[Note]) -> None:
        self.diary = diary
        self.sink = sink

    @handler
    def do(self, message: Do) -> str:
        self.diary.append(message.what)
        self.sink.tell_soon(Note(message.what))
        return message.what


class Sink(Actor[Note]):
    def __init__(self, diary: list[str]) -> None:
        self.diary = diary

    @handler
    def note(self, message: Note) -> None:
        self.diary.append(message.text)


class Line(Actor[Never]):
    """A source and a sink under one roof."""

    def __init__(self, passed: list[str], arrived: list[str]) -> None:
        self.passed = passed
        self.arrived = arrived

    async def started(self) -> None:
        sink = await self.context.spawn(Sink, self.arrived, name="sink")
        await self.context.spawn(Source, self.passed, sink, name="source")


async def settle(world: World) -> None:
    """``drain()`` refuses what comes from outside; what is inside comes through.

    LIFE-5, ORD-5: what was accepted reaches the end of the line.
    """
    passed: list[str] = []
    arrived: list[str] = []
    line = await world.spawn(Line, passed, arrived, name="line")
    source, sink = found(world, "/line/source"), found(world, "/line/sink")
    askers = Askers()
    world.client(askers.ask, source, Do("one"))
    world.client(sink.tell, Note("three"))
    world.client(do, line.drain)
    await world.settled()

    assert (await line.wait_stopped()).kind == "shutdown"
    askers.check("one", passed)
    refused = [letter.message for letter in world.dead()]
    outside = refused.count(Note("three"))
    assert len(refused) == askers.number("ActorStopped") + outside
    lost = world.statistics()["failed"] - askers.number("ActorFailed")
    assert len(arrived) == len(passed) + 1 - outside - lost
    assert [one for one in arrived if one in passed] == [
        one for one in passed if one in arrived
    ]


async def ordered_stop(world: World) -> None:
    """Children end before parents, and in reverse order; who works may end its work.

    SUP-8, LIFE-6: who waits is told at once.
    """
    helper = await world.spawn(Helper, name="helper")
    family: list[str] = []
    diaries: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    specs = [
        ChildSpec(name, Part, diary, family, helper) for name, diary in diaries.items()
    ]
    top = await world.spawn_supervisor(*specs, name="top")
    a, b, c = (top.child(spec) for spec in specs)
    askers = Askers()
    world.client(askers.ask, a, Do("one"))
    world.client(askers.ask, b, Long("two"))
    world.client(askers.ask, c, Do("three"))
    world.client(askers.ask, b, Do("four"))
    world.client(do, top.stop)
    await world.settled()

    assert (await top.wait_stopped()) == Exit("shutdown")
    askers.check("one", diaries["a"])
    askers.check("two", diaries["b"])
    askers.check("three", diaries["c"])
    askers.check("four", diaries["b"])
    stopped = [entry for entry in family if entry.endswith("-")]
    assert stopped == sorted(stopped, reverse=True), family
    ups = sum(entry.endswith("+") for entry in family)
    assert ups == len(family) - ups  # each has come to its end
    refused = len(world.dead())
    assert refused == askers.number("ActorStopped")
