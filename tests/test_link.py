"""Links: what ends abnormally takes its partner with it (WAT-3)."""

from itertools import pairwise

import pytest
import trio

from tests.kit import Boom, Counter, Note, Worker, open_system, run_main
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    DeathPact,
    Exit,
    Inbox,
    Request,
    Supervision,
    handler,
)
from trio_actors.testing import World

STOP = Supervision(directives={DeathPact: "stop", ValueError: "stop"})


class Link:
    def __init__(self, ref: "ActorRef[Link | Unlink | Note | Crash]") -> None:
        self.ref = ref


class Unlink(Link): ...


class Crash(Request[None]): ...


Ref = ActorRef[Link | Unlink | Note | Crash]


class Partner(Actor[Link | Unlink | Note | Crash]):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def restarting(self, failure: Exception) -> None:
        self.log.append(f"{self.context.ref.path[-1]} {type(failure).__name__}")

    async def stopped(self, reason: Exit) -> None:
        cause = type(reason.error).__name__ if reason.error is not None else "-"
        self.log.append(f"{self.context.ref.path[-1]} {reason.kind} {cause}")

    @handler
    def link(self, message: Link) -> None:
        self.context.link(message.ref)

    @handler
    def unlink(self, message: Unlink) -> None:
        self.context.unlink(message.ref)

    @handler
    async def note(self, message: Note) -> None:
        await trio.sleep(2)
        self.log.append(message.text)

    @handler
    def crash(self, message: Crash) -> None:
        raise ValueError("crash")


async def partners(world: World, count: int, log: list[str]) -> list[Ref]:
    """Start partners whose failures end them."""
    supervisor = await world.spawn_supervisor(supervision=STOP)
    return [await supervisor.spawn(Partner, log, name=str(n)) for n in range(count)]


@pytest.mark.parametrize("first_dies", [True, False])
async def test_a_link_works_both_ways(world: World, first_dies: bool) -> None:
    log: list[str] = []
    one, two = await partners(world, 2, log)
    await one.tell(Link(two))
    await world.settled()
    victim, other = (one, two) if first_dies else (two, one)
    victim.kill()
    exit = await other.wait_stopped()
    assert isinstance(exit.error, DeathPact)
    assert victim.path in str(exit.error)
    assert "Use watch()" in str(exit.error)
    assert log == [f"{other.path[-1]} failed DeathPact"]


async def test_the_pact_has_the_failure_of_the_partner_as_its_cause(
    world: World,
) -> None:
    log: list[str] = []
    one, two = await partners(world, 2, log)
    await one.tell(Link(two))
    with pytest.raises(ActorFailed):
        await two.ask(Crash())
    exit = await one.wait_stopped()
    assert isinstance(exit.error, DeathPact)
    assert isinstance(exit.error.__cause__, ValueError)


@pytest.mark.parametrize("verb", ["stop", "drain"])
async def test_a_normal_end_hurts_nobody(world: World, verb: str) -> None:
    """Design 4: a link propagates abnormal ends only."""
    log: list[str] = []
    one, two = await partners(world, 2, log)
    await one.tell(Link(two))
    await world.settled()
    getattr(two, verb)()
    await world.settled()
    assert log == ["1 shutdown -"]
    one.kill()  # the link is gone on this side too
    await world.settled()
    assert len(log) == 1


async def test_a_restart_of_the_partner_is_not_an_end(world: World) -> None:
    log: list[str] = []
    one = await world.spawn(Partner, log, name="0")
    two = await world.spawn(Partner, log, name="1")
    await one.tell(Link(two))
    with pytest.raises(ActorFailed):
        await two.ask(Crash())
    await world.settled()
    two.restart()
    await world.settled()
    assert log == ["1 ValueError", "1 ActorError"]
    two.kill()  # links survive restarts
    await world.settled()
    assert log[2:] == ["0 DeathPact"]


async def test_a_pact_is_a_failure_like_any_other_and_can_be_survived(
    world: World,
) -> None:
    """The linked actor's own supervisor decides: by default it starts over."""
    log: list[str] = []
    one = await world.spawn(Partner, log, name="0")
    two = await world.spawn(Partner, log, name="1")
    await one.tell(Link(two))
    await world.settled()
    two.kill()
    await world.settled()
    assert log == ["0 DeathPact"]
    assert world.find("/0") == one
    assert world.snapshot().children[0].restarts == 1


async def test_a_pact_interrupts_the_message_in_hand(world: World) -> None:
    log: list[str] = []
    one, two = await partners(world, 2, log)
    await one.tell(Link(two))
    await one.tell(Note("never"))
    await trio.sleep(1)
    two.kill()
    await one.wait_stopped()
    assert trio.current_time() == 1
    assert log == ["0 failed DeathPact"]
    assert world.statistics()["failed"] == 1


async def test_unlink_undoes_it_on_both_sides(world: World) -> None:
    log: list[str] = []
    one, two = await partners(world, 2, log)
    await one.tell(Unlink(two))  # nothing to undo yet
    await one.tell(Link(two))
    await world.settled()
    await two.tell(Unlink(one))
    await world.settled()
    one.kill()
    await world.settled()
    two.kill()
    await world.settled()
    assert log == []


async def test_linking_twice_is_linking_once(world: World) -> None:
    """WAT-3: at most one per pair."""
    log: list[str] = []
    one, two = await partners(world, 2, log)
    for _ in range(2):
        await one.tell(Link(two))
        await two.tell(Link(one))
    await world.settled()
    await one.tell(Unlink(two))
    await world.settled()
    one.kill()
    await world.settled()
    assert log == []


async def test_linking_oneself_is_nothing(world: World) -> None:
    log: list[str] = []
    (one,) = await partners(world, 1, log)
    await one.tell(Link(one))
    await world.settled()
    one.stop()
    await one.wait_stopped()
    assert log == ["0 shutdown -"]


@pytest.mark.parametrize(("verb", "dies"), [("kill", True), ("stop", False)])
async def test_a_link_with_the_dead_counts_if_it_died_badly(
    world: World, verb: str, dies: bool
) -> None:
    """If it has ended so already, at once."""
    log: list[str] = []
    one, two = await partners(world, 2, log)
    getattr(two, verb)()
    await two.wait_stopped()
    log.clear()
    await one.tell(Link(two))
    await world.settled()
    assert (one._cell.exit is not None) is dies
    assert log == (["0 failed DeathPact"] if dies else [])


async def test_three_in_a_circle_fall_together_and_once(world: World) -> None:
    log: list[str] = []
    one, two, three = await partners(world, 3, log)
    for first, second in ((one, two), (two, three), (three, one)):
        await first.tell(Link(second))
    await world.settled()
    two.kill()
    await world.settled()
    assert sorted(log) == ["0 failed DeathPact", "2 failed DeathPact"]


async def test_a_chain_falls_from_end_to_end(world: World) -> None:
    log: list[str] = []
    refs = await partners(world, 5, log)
    for first, second in pairwise(refs):
        await first.tell(Link(second))
    await world.settled()
    refs[0].kill()
    await world.settled()
    assert [ref._cell.exit is not None for ref in refs] == [True] * 5


async def test_a_partner_that_is_stopping_is_left_in_peace(world: World) -> None:
    log: list[str] = []

    class Slow(Partner):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(2)
            await super().stopped(reason)

    supervisor = await world.spawn_supervisor(supervision=STOP)
    one = await supervisor.spawn(Slow, log, name="0")
    two = await supervisor.spawn(Partner, log, name="1")
    await one.tell(Link(two))
    await world.settled()
    one.stop()
    await trio.sleep(1)
    two.kill()
    await world.settled()
    assert log == ["0 shutdown -"]


async def test_a_pact_during_a_backoff_is_not_lost(world: World) -> None:
    """Its partner dies while it waits for its restart: it fails when it is back."""
    log: list[str] = []

    class Slow(Partner):
        async def started(self) -> None:
            if self.context.incarnation == 2:
                await trio.sleep(2)

    one = await world.spawn(Slow, log, name="0")
    two = await world.spawn(Partner, log, name="1")
    await one.tell(Link(two))
    await world.settled()
    one.restart()
    await trio.sleep(1)
    two.kill()
    await world.settled()
    assert world.snapshot().children[0].state == "running"
    assert one._cell.incarnation == 3


async def test_a_child_linked_with_its_parent(world: World) -> None:
    """The child's end fails the parent, whose end stops the child: no loop."""
    log: list[str] = []

    class Child(Counter):
        async def started(self) -> None:
            parent = self.context.parent
            assert parent is not None
            self.context.link(parent)

    class Parent(Actor[Note]):
        async def started(self) -> None:
            log.append("started")
            await self.context.spawn(Child, name="child")

        @handler
        def note(self, message: Note) -> None: ...

    await world.spawn(Parent, name="parent")
    child = world.find("/parent/child")
    assert child is not None
    child.kill()
    await world.settled()
    assert log == ["started"] * 2
    again = world.find("/parent/child")
    assert again is not None
    assert again != child


async def test_a_function_actor_can_be_linked(world: World) -> None:
    ended: list[str] = []

    async def run(inbox: Inbox[Note], partner: ActorRef[Boom]) -> None:
        inbox.link(partner)
        try:
            await inbox.receive()
        except trio.Cancelled:
            ended.append("cancelled")
            raise

    supervisor = await world.spawn_supervisor(
        supervision=Supervision(directives={Exception: "stop"})
    )
    partner = await supervisor.spawn(Worker)
    runner = await supervisor.spawn(run, partner)
    with pytest.raises(ActorFailed):
        await partner.ask(Boom())
    assert isinstance((await runner.wait_stopped()).error, DeathPact)
    assert ended == ["cancelled"]


def test_no_death_pact_fires_while_the_system_stops() -> None:
    """Design 2: in the ordered stop no death pact fires."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(shutdown=2.0) as system:

            class Stubborn(Partner):
                async def stopped(self, reason: Exit) -> None:
                    await trio.sleep(60)

            one = await system.spawn(Partner, log, name="0")
            two = await system.spawn(Stubborn, log, name="1")
            await one.tell(Link(two))

    run_main(main)
    assert log in ([], ["0 shutdown -"])
