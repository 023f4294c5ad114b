"""Restarts by hand, and what stops an actor on its way to a restart."""

from typing import Any

import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Parent,
    Sleep,
    Worker,
    found,
)
from trio_actors import (
    ActorError,
    ActorFailed,
    Backoff,
    Exit,
    Supervision,
    handler,
)
from trio_actors.testing import World, at_every_step

# --- Restart by hand ----------------------------------------------------------


async def test_a_restart_by_hand_cancels_the_turn_and_is_not_counted(
    world: World,
) -> None:
    """The verbs of design 2; S3-6 ``Reset`` by hand; ``restarting()`` is told which."""
    failures: list[Exception] = []

    class Told(Worker):
        async def restarting(self, failure: Exception) -> None:
            failures.append(failure)

    rules = Supervision(max_restarts=0)
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Told, name="kid")
    for _ in range(5):
        slow = ref.ask_nowait(Sleep(100))
        queued = ref.ask_nowait(Add())
        await trio.sleep(1)
        ref.restart("for a test")
        with pytest.raises(ActorFailed):
            await slow
        assert await queued == 1
    assert [type(error) for error in failures] == [ActorError] * 5
    assert "/supervisor-1/kid was restarted by hand (for a test)" in str(failures[0])


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_every_restart_type_can_be_restarted_by_hand(
    world: World, restart: Any
) -> None:
    """The verbs of design 2: it is asked for, not answered."""
    ref = await world.spawn(Counter, restart=restart)
    await ref.tell(Add(5))
    await ref.ask(Get())
    ref.restart()
    assert await ref.ask(Get()) == 0


async def test_a_restart_by_hand_of_one_that_starts_begins_again(world: World) -> None:
    """LIFE-2: the spawner goes on waiting for the start."""
    starts: list[float] = []

    class Slow(Counter):
        async def started(self) -> None:
            starts.append(trio.current_time())
            if len(starts) == 1:
                await trio.sleep_forever()

    async def spawn() -> None:
        assert await (await world.spawn(Slow, name="slow")).ask(Add()) == 1

    world.client(spawn)
    await trio.sleep(1)
    found(world, "/slow").restart()
    await world.settled()
    assert starts == [0, 1]


class Household(Counter):
    """Starts a child and a task, and takes its time."""

    def __init__(self, seen: list[str], name: str | None) -> None:
        super().__init__()
        self.seen = seen
        self.name = name

    async def started(self) -> None:
        self.context.start_soon(self.work)
        await self.context.spawn(Member, self.seen, name=self.name)
        await trio.sleep(2)

    async def work(self) -> None:
        self.seen.append("task")
        try:
            await trio.sleep_forever()
        finally:
            self.seen.append("task ends")


class Member(Counter):
    """A child that is seen."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    async def started(self) -> None:
        self.seen.append("child")

    async def stopped(self, reason: Exit) -> None:
        self.seen.append("child ends")


@pytest.mark.parametrize("name", [None, "child"])
async def test_what_a_start_has_made_that_is_cut_short_ends_before_the_next(
    world: World, name: str | None
) -> None:
    """S3-6 f: they went on beside the new ones, and a name was taken."""
    seen: list[str] = []
    ref = await world.spawn(Household, seen, name)
    for _ in range(3):  # one while it runs, two while it starts
        ref.restart()
        await trio.sleep(1)
    assert await ref.ask(Add()) == 1
    households = [seen[at : at + 4] for at in range(0, len(seen), 4)]
    assert [one[:2] for one in households] == [["task", "child"]] * 4
    assert [{*one[2:]} for one in households[:3]] == [{"child ends", "task ends"}] * 3


async def test_a_restart_by_hand_ends_the_pause_before_a_restart(world: World) -> None:
    """U7: nobody has to wait for a backoff that he can cut."""
    rules = Supervision(backoff=Backoff(100, 100, jitter=0))
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Counter)
    await ref.tell(Boom())
    await trio.sleep(1)
    ref.restart()
    assert await ref.ask(Add()) == 1
    assert trio.current_time() == 1


def test_a_restart_by_hand_is_never_lost_even_beside_a_resume() -> None:
    """It gives a new incarnation, whatever happens in the same moment."""

    async def scenario(world: World, arm: Any) -> None:
        rules = Supervision(directives={ValueError: "resume"})
        top = await world.spawn_supervisor(supervision=rules)
        ref = await top.spawn(Worker)
        struck: list[bool] = []

        def strike() -> None:
            struck.append(True)
            ref.restart()

        arm(strike)
        for _ in range(3):
            await ref.tell(Boom())
            await ref.tell(Add())
        await world.settled()
        (snapshot,) = world.snapshot().children[0].children
        assert snapshot.restarts == len(struck)

    assert at_every_step(scenario) > 10


# --- Stopped on the way -------------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "kill", "drain"])
async def test_a_verb_during_the_pause_before_a_restart(
    world: World, verb: str
) -> None:
    """SUP-4: stop and kill end it at once; a drain handles what is queued first."""
    log: list[str] = []
    rules = Supervision(backoff=Backoff(100, 100, jitter=0))
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Worker, log, "k")
    await ref.tell(Boom())
    await ref.tell(Note("waits"))
    await trio.sleep(1)
    getattr(ref, verb)()
    exit = await ref.wait_stopped()
    assert exit.kind == ("killed" if verb == "kill" else "shutdown")
    if verb == "drain":
        assert trio.current_time() == 100
        assert log == ["k+", "k~", "k+", "waits", "k-"]
    else:
        assert trio.current_time() == 1
        assert log == ["k+", "k~"]
        assert len(world.dead(Note)) == 1


@pytest.mark.parametrize("verb", ["stop", "kill", "drain", "restart"])
@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_every_verb_at_every_step_of_a_busy_family(verb: str, strategy: Any) -> None:
    """Whatever is under way: no task is left, the books are right, and it ends."""

    async def scenario(world: World, arm: Any) -> None:
        rules = Supervision(strategy, max_restarts=50)
        log: list[str] = []
        ref = await world.spawn(Parent, log, "ab", name="p", supervision=rules)
        arm(getattr(ref, verb))
        for _ in range(2):
            for name in "ab":
                kid = world.find(f"/p/{name}")
                if kid is not None:
                    await kid.tell(Boom())
                    await kid.tell(Add())
        await world.settled()
        ref.stop()
        exit = await ref.wait_stopped()
        assert exit.kind == ("killed" if verb == "kill" else "shutdown") or (
            verb == "kill" and exit.kind == "shutdown"  # it was struck too late
        )
        assert world.find("/p") is None

    assert at_every_step(scenario) > 20


async def test_an_end_by_itself_and_a_failure_in_one_turn_is_a_failure(
    world: World,
) -> None:
    """The failure came after ``context.stop()``, and wins: it is started again."""

    class Undecided(Counter):
        @handler
        def boom(self, message: Boom) -> int:
            self.context.stop()
            raise message.error

    ref = await world.spawn(Undecided)
    await ref.tell(Boom())
    assert await ref.ask(Add()) == 1


async def test_a_permanent_actor_says_goodbye_and_starts_again(world: World) -> None:
    """SUP-3 ``returned``: ``stopped()``, then ``started()``; the queue is kept."""
    log: list[str] = []
    reasons: list[Exit] = []

    class Forever(Worker):
        @handler
        async def note(self, message: Note) -> None:
            self.context.stop(message.text)

        async def stopped(self, reason: Exit) -> None:
            reasons.append(reason)
            await super().stopped(reason)

    ref = await world.spawn(Forever, log, "k", restart="permanent")
    await ref.tell(Note("for now"))
    assert await ref.ask(Add()) == 1
    assert log == ["k+", "k-", "k+"]
    assert reasons == [Exit("normal", None, "for now")]
