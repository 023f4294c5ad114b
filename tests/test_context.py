"""What an actor knows of itself, and names and children (LIFE-1, LIFE-9, S1-1)."""

import math
from collections.abc import Callable

import attrs
import pytest
import trio

from tests.kit import Add, Counter, Get, Note, Worker
from trio_actors import (
    Actor,
    ChildSpec,
    Inbox,
    NameTaken,
    Request,
    handler,
)
from trio_actors.testing import World, run


@attrs.frozen
class Tell(Request[object]):
    """Answered with what the function says of the actor's context."""

    look: "Callable[[Teller], object]"


class Teller(Actor[Tell | Note]):
    def __init__(self) -> None:
        self.at_birth = (self.context.ref, self.context.incarnation)

    @handler
    def tell(self, message: Tell) -> object:
        return message.look(self)

    @handler
    def note(self, message: Note) -> None:
        raise ValueError("note")


# --- Who it is --------------------------------------------------------------


async def test_an_actor_knows_itself_from_its_birth_on(world: World) -> None:
    """Actor.context exists in ``__init__``."""
    teller = await world.spawn(Teller)
    assert await teller.ask(Tell(lambda one: one.at_birth)) == (teller, 1)
    assert await teller.ask(Tell(lambda one: one.context.ref)) == teller
    assert await teller.ask(Tell(lambda one: one.context.system)) is world


async def test_the_incarnation_counts_the_restarts(world: World) -> None:
    teller = await world.spawn(Teller)
    for number in range(1, 4):
        look = Tell(lambda one: (one.context.incarnation, one.at_birth[1]))
        assert await teller.ask(look) == (number, number)
        teller.restart()
        await world.settled()


async def test_a_parent_is_a_ref_and_nothing_is_above_the_top(world: World) -> None:
    supervisor = await world.spawn_supervisor(name="top")
    low = await supervisor.spawn(Teller)
    high = await world.spawn(Teller)
    assert await low.ask(Tell(lambda one: one.context.parent)) == world.find("/top")
    assert await high.ask(Tell(lambda one: one.context.parent)) is None


async def test_a_local_request_has_no_deadline(world: World) -> None:
    """In one process no deadline travels: its cancellation arrives by itself."""
    teller = await world.spawn(Teller)
    with trio.fail_after(5):
        assert await teller.ask(Tell(lambda one: one.context.deadline)) == math.inf


async def test_an_instance_that_was_never_spawned_has_no_context() -> None:
    with pytest.raises(RuntimeError, match="context"):
        _ = Counter().context


def numbers_of(seed: int) -> dict[str, object]:
    async def scenario(world: World) -> dict[str, object]:
        look = Tell(lambda one: [one.context.random.random() for _ in range(3)])
        one = await world.spawn(Teller, name="one")
        two = await world.spawn(Teller, name="two")
        first = await one.ask(look)
        return {
            "one": first,
            "one again": await one.ask(look),
            "two": await two.ask(look),
            "system": [world.random.random() for _ in range(3)],
        }

    return run(scenario, seed=seed)


def test_random_numbers_follow_from_the_seed_and_the_path() -> None:
    """Design 5: one random stream per actor; runs with one seed are the same."""
    numbers = numbers_of(1)
    assert numbers == numbers_of(1)
    assert len({str(one) for one in numbers.values()}) == 4
    others = numbers_of(2)
    assert all(numbers[name] != others[name] for name in numbers)


async def test_the_stream_of_an_actor_does_not_depend_on_the_others(
    world: World,
) -> None:
    """Whoever else draws numbers, its own are the same."""
    look = Tell(lambda one: one.context.random.random())
    one = await world.spawn(Teller, name="one")
    first = await one.ask(look)
    one.kill()
    await one.wait_stopped()
    for _ in range(5):
        world.random.random()
        await (await world.spawn(Teller)).ask(look)
    assert await (await world.spawn(Teller, name="one")).ask(look) == first


# --- Children (S1-1) --------------------------------------------------------


class Parent(Actor[Note | Get]):
    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = names

    async def started(self) -> None:
        for name in self.names:
            await self.context.spawn(Counter, name=name)

    @handler
    async def note(self, message: Note) -> None:
        await self.context.spawn(Counter, name=message.text or None)

    @handler
    def get(self, message: Get) -> int:
        return len(self.context.children)


async def test_children_are_shown_by_name_in_start_order(world: World) -> None:
    seen: list[object] = []

    class Looker(Parent):
        @handler
        def get(self, message: Get) -> int:
            children = self.context.children
            seen.extend(children)
            with pytest.raises(TypeError):
                children["x"] = self.context.ref  # type: ignore[index]
            return len(children)

    parent = await world.spawn(Looker, ("c", "a", "b"), name="parent")
    assert await parent.ask(Get()) == 3
    assert seen == ["c", "a", "b"]
    child = world.find("/parent/a")
    assert child is not None
    child.stop()
    await child.wait_stopped()
    seen.clear()
    assert await parent.ask(Get()) == 2
    assert seen == ["c", "b"]


async def test_an_actor_without_children_has_an_empty_mapping(world: World) -> None:
    assert await (await world.spawn(Parent)).ask(Get()) == 0


async def test_children_of_the_old_incarnation_are_gone_after_a_restart(
    world: World,
) -> None:
    """Children stopped and awaited, then started again by ``started()``."""
    parent = await world.spawn(Parent, ("fixed",), name="parent")
    await parent.tell(Note("extra"))
    assert await parent.ask(Get()) == 2
    fixed = world.find("/parent/fixed")
    parent.restart()
    assert await parent.ask(Get()) == 1
    assert world.find("/parent/extra") is None
    assert world.find("/parent/fixed") != fixed


async def test_ephemeral_actors_serve_one_request_each(world: World) -> None:
    """S1-1: actors at program start, and ephemeral ones per client request."""

    class Serve(Actor[Add]):
        @handler
        async def add(self, message: Add) -> int:
            async def once(inbox: Inbox[Add]) -> None:
                request = await inbox.receive()
                inbox.reply(request, request.amount * 2)

            worker = await self.context.spawn(once)
            answer = await worker.ask(message)
            await worker.wait_stopped()
            return answer + len(self.context.children)

    server = await world.spawn(Serve)
    assert [await server.ask(Add(number)) for number in range(3)] == [0, 2, 4]


# --- Names (LIFE-9) ---------------------------------------------------------


async def test_names_are_unique_among_siblings_only(world: World) -> None:
    await world.spawn(Counter, name="same")
    with pytest.raises(NameTaken) as caught:
        await world.spawn(Worker, name="same")
    assert "/same is already there" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(NameTaken):
        world.spawn_nowait(Counter, name="same")
    await world.spawn(Parent, ("same",), name="parent")
    assert world.find("/parent/same") != world.find("/same")


async def test_a_name_is_free_after_the_goodbye_and_not_before(world: World) -> None:
    """Released after the stop hook and before watchers are told."""

    class Slow(Worker):
        async def stopped(self, reason: object) -> None:
            await trio.sleep(2)

    slow = await world.spawn(Slow, name="name")
    slow.stop()
    await trio.sleep(1)
    with pytest.raises(NameTaken):
        await world.spawn(Counter, name="name")
    await slow.wait_stopped()
    again = await world.spawn(Counter, name="name")
    assert again.path == slow.path
    assert again != slow


async def test_a_ref_of_a_stopped_actor_never_reaches_a_later_one(
    world: World,
) -> None:
    """LIFE-1: an address names one life."""
    first = await world.spawn(Counter, name="name")
    first.kill()
    await first.wait_stopped()
    second = await world.spawn(Counter, name="name")
    await first.tell(Add(100))
    assert await second.ask(Get()) == 0
    assert world.find("/name") == second
    assert [letter.to for letter in world.dead()] == [first]


async def test_names_that_are_left_away_come_from_the_actor_and_a_count(
    world: World,
) -> None:
    """Design 5: names are made from the spawner's own path and count."""

    async def listen(inbox: Inbox[Note]) -> None:
        async for _ in inbox:
            pass

    assert (await world.spawn(Counter)).path == "/counter-1"
    assert (await world.spawn(listen)).path == "/listen-2"
    assert (await world.spawn(lambda: Counter(3))).path.startswith("/")
    await world.spawn(Counter, name="counter-4")
    assert (await world.spawn(Counter)).path == "/counter-5"


@pytest.mark.parametrize("name", ["", "a/b", "/", 5, b"x"])
async def test_a_name_is_a_text_without_a_slash(world: World, name: object) -> None:
    with pytest.raises(ValueError, match="is no name for an actor"):
        await world.spawn(Counter, name=name)  # type: ignore[arg-type]
    assert world.snapshot().children == ()


async def test_a_failed_spawn_leaves_its_name_free(world: World) -> None:
    class Broken(Counter):
        async def started(self) -> None:
            raise OSError("broken")

    for _ in range(2):
        with pytest.raises(Exception, match="broken"):
            await world.spawn(Broken, name="name")
    await world.spawn(Counter, name="name")


async def test_actors_are_found_by_their_paths(world: World) -> None:
    supervisor = await world.spawn_supervisor(name="top")
    spec = ChildSpec("low", Counter, 5)
    low = await supervisor.start_child(spec)
    assert world.find("/top/low") == world.find("top/low") == low
    for path in ("/top/low/lower", "/none", "/none/low", "", "/"):
        assert world.find(path) is None
    low.kill()
    await low.wait_stopped()
    assert world.find("/top/low") is None


# --- Ending oneself ---------------------------------------------------------


async def test_an_actor_ends_itself_after_the_message_in_hand(world: World) -> None:
    class Last(Actor[Note | Get]):
        @handler
        async def note(self, message: Note) -> None:
            self.context.stop("had enough")
            await trio.sleep(1)
            log.append("finished")

        @handler
        def get(self, message: Get) -> int:
            return 1

    log: list[str] = []
    last = await world.spawn(Last)
    await last.tell(Note())
    await last.tell(Get())
    exit = await last.wait_stopped()
    assert (exit.kind, exit.detail) == ("normal", "had enough")
    assert log == ["finished"]
    assert [letter.reason for letter in world.dead()] == ["stopped"]


async def test_a_permanent_actor_that_ends_itself_is_started_again(
    world: World,
) -> None:
    class Once(Actor[Get | Note]):
        @handler
        def get(self, message: Get) -> int:
            self.context.stop()
            return self.context.incarnation

        @handler
        def note(self, message: Note) -> None: ...

    once = await world.spawn(Once, restart="permanent")
    assert [await once.ask(Get()) for _ in range(3)] == [1, 2, 3]
