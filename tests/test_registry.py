"""Keys: who has one, who finds whom, and when (REG-1 ... REG-4)."""

import pytest
import trio

from tests.kit import Add, Boom, Calls, Counter, Get, Note
from trio_actors import (
    Actor,
    ActorRef,
    Exit,
    Inbox,
    NameTaken,
    ServiceKey,
    Supervision,
    Terminated,
    handler,
)
from trio_actors.testing import World, at_every_step
from trio_actors.testing._steps import Arm

KEY = ServiceKey[Add | Get | Boom]("counter")
ONE = ServiceKey[Add | Get | Boom]("the-counter", unique=True)
NOTES = ServiceKey[Note]("notes")


class Registered(Counter):
    """Registers whenever it starts, as a user's actor does."""

    def __init__(self, *keys: ServiceKey[Add | Get | Boom]) -> None:
        super().__init__()
        self.keys = keys

    async def started(self) -> None:
        for key in self.keys:
            self.context.register(key)


# --- Finding ----------------------------------------------------------------


async def test_actors_are_found_in_the_order_of_their_registration(
    world: World,
) -> None:
    """REG-4: find() gives the first, find_all() all."""
    assert world.find(KEY) is None
    assert world.find_all(KEY) == ()
    one = await world.spawn(Counter)
    two = await world.spawn(Counter)
    world.register(KEY, two)
    world.register(KEY, one)
    assert world.find(KEY) == two
    assert world.find_all(KEY) == (two, one)


async def test_keys_of_one_name_are_one_key(world: World) -> None:
    """REG-4: a key is its name, wherever it was made."""
    counter = await world.spawn(Registered, KEY)
    assert world.find(ServiceKey[Add | Get | Boom]("counter")) == counter
    assert world.find(ServiceKey[Add]("other")) is None


async def test_registering_twice_is_registering_once(world: World) -> None:
    """Design 3: register again by the holder is a no-op."""
    counter = await world.spawn(Registered, KEY, ONE)
    world.register(KEY, counter)
    world.register(ONE, counter)
    assert world.find_all(KEY) == (counter,)
    assert world.find_all(ONE) == (counter,)


async def test_unregister_takes_the_key_and_nothing_else(world: World) -> None:
    counter = await world.spawn(Registered, KEY, ONE)
    world.unregister(KEY, counter)
    world.unregister(KEY, counter)
    assert world.find(KEY) is None
    assert world.find(ONE) == counter
    assert await counter.ask(Add(2)) == 2


async def test_unregister_of_an_actor_without_the_key_changes_nothing(
    world: World,
) -> None:
    holder = await world.spawn(Registered, KEY)
    stranger = await world.spawn(Counter)
    world.unregister(KEY, stranger)
    world.unregister(ONE, stranger)
    assert world.find_all(KEY) == (holder,)


async def test_an_actor_leaves_its_key_by_its_own_context(world: World) -> None:
    class Shy(Actor[Note]):
        async def started(self) -> None:
            self.context.register(NOTES)

        @handler
        def note(self, message: Note) -> None:
            self.context.unregister(NOTES)

    shy = await world.spawn(Shy)
    assert world.find(NOTES) == shy
    await shy.tell(Note())
    await world.settled()
    assert world.find(NOTES) is None


# --- Unique keys ------------------------------------------------------------


async def test_a_unique_key_is_refused_while_another_has_it(world: World) -> None:
    """REG-1: the error names both and says what to do."""
    first = await world.spawn(Registered, ONE, name="first")
    second = await world.spawn(Counter, name="second")
    with pytest.raises(NameTaken) as caught:
        world.register(ONE, second)
    assert "/second" in str(caught.value)
    assert "/first" in str(caught.value)
    assert world.find_all(ONE) == (first,)
    first.stop()
    await first.wait_stopped()
    world.register(ONE, second)
    assert world.find(ONE) == second


async def test_a_key_that_is_held_as_unique_admits_nobody_by_another_spelling(
    world: World,
) -> None:
    """At most one actor can have a unique key; equal names are equal keys."""
    first = await world.spawn(Registered, ONE)
    second = await world.spawn(Counter)
    with pytest.raises(NameTaken):
        world.register(ServiceKey[Add | Get | Boom]("the-counter"), second)
    assert world.find_all(ONE) == (first,)


async def test_a_unique_key_is_free_for_all_after_its_holder(world: World) -> None:
    first = await world.spawn(Registered, ONE)
    first.kill()
    await first.wait_stopped()
    plain = ServiceKey[Add | Get | Boom]("the-counter")
    refs = (await world.spawn(Registered, plain), await world.spawn(Registered, plain))
    assert world.find_all(plain) == refs


async def test_a_restart_finds_its_own_unique_key_still_its_own(world: World) -> None:
    """REG-1: a restarted process must not hit "already started" on its own name."""
    counter = await world.spawn(Registered, ONE)
    with pytest.raises(Exception, match="boom"):
        await counter.ask(Boom())
    assert await counter.ask(Get()) == 0
    counter.restart()
    assert await counter.ask(Get()) == 0
    assert counter == world.find(ONE)
    assert world.snapshot().children[0].restarts == 2


async def test_nobody_can_steal_a_unique_key_during_a_restart(world: World) -> None:
    """A registration survives restarts: the holder never lets go of it."""
    stolen: list[bool] = []

    class Thief(Counter):
        async def started(self) -> None:
            self.context.start_soon(self.steal)

        async def steal(self) -> None:
            while True:
                try:
                    self.context.register(ONE)
                except NameTaken:
                    stolen.append(False)
                else:
                    stolen.append(True)
                await trio.lowlevel.checkpoint()

    counter = await world.spawn(Registered, ONE)
    thief = await world.spawn(Thief)
    for _ in range(3):
        world.crash(counter)
        with pytest.raises(Exception, match="crashed"):
            await counter.ask(Get())
        assert await counter.ask(Get()) == 0
    thief.kill()
    assert stolen
    assert not any(stolen)


async def test_a_failed_start_leaves_no_key_behind(world: World) -> None:
    class Broken(Registered):
        async def started(self) -> None:
            await super().started()
            raise ValueError("broken")

    with pytest.raises(Exception, match="broken"):
        await world.spawn(Broken, ONE)
    assert world.find(ONE) is None
    assert await (await world.spawn(Registered, ONE)).ask(Get()) == 0


# --- Ends -------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "drain", "kill"])
async def test_a_key_goes_at_the_request_not_at_the_end(
    world: World, verb: str
) -> None:
    """REG-4: a lookup never returns an actor that refuses messages."""

    class Slow(Actor[Note]):
        async def started(self) -> None:
            self.context.register(NOTES)

        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(1)

        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(1)

    slow = await world.spawn(Slow)
    await slow.tell(Note())
    await trio.sleep(0.5)
    getattr(slow, verb)()
    assert world.find(NOTES) is None
    assert world.find_all(NOTES) == ()
    await slow.wait_stopped()
    assert world.find(NOTES) is None


async def test_a_dead_actor_cannot_be_registered(world: World) -> None:
    """REG-1: lookups there may return dead pids; here they never do."""
    counter = await world.spawn(Counter)
    counter.stop()
    await counter.wait_stopped()
    world.register(KEY, counter)
    assert world.find_all(KEY) == ()


async def test_an_actor_that_registers_in_its_goodbye_is_not_found(
    world: World,
) -> None:
    class Late(Counter):
        async def stopped(self, reason: Exit) -> None:
            self.context.register(KEY)
            found.append(world.find(KEY))

    found: list[object] = []
    late = await world.spawn(Late)
    late.stop()
    await late.wait_stopped()
    assert found == [None]
    assert world.find(KEY) is None


async def test_watchers_find_the_key_free_and_the_name_too(world: World) -> None:
    """LIFE-9: a watcher may spawn the same name again, and take the key."""
    again: list[ActorRef[Add | Get | Boom]] = []

    class Guardian(Actor[Terminated]):
        async def started(self) -> None:
            self.context.watch(first)

        @handler
        async def terminated(self, message: Terminated) -> None:
            assert world.find("/one") is None
            assert world.find(ONE) is None
            again.append(await world.spawn(Registered, ONE, name="one"))

    first = await world.spawn(Registered, ONE, name="one")
    await world.spawn(Guardian)
    first.kill()
    await world.settled()
    assert world.find(ONE) == again[0] == world.find("/one")
    assert again[0] != first


async def test_an_actor_that_gives_up_loses_its_key(world: World) -> None:
    supervisor = await world.spawn_supervisor(supervision=Supervision(max_restarts=0))
    counter = await supervisor.spawn(Registered, KEY)
    world.crash(counter)
    await counter.tell(Get())
    await counter.wait_stopped()
    assert world.find(KEY) is None


def test_a_lookup_never_returns_a_dead_actor_at_any_step() -> None:
    """REG DECISION: updates are atomic with respect to the death of an actor."""

    def one_run(verb: str) -> int:
        async def scenario(world: World, arm: Arm) -> None:
            async def run(inbox: Inbox[Add | Get | Boom]) -> None:
                inbox.register(KEY)
                async for _ in inbox:
                    await trio.lowlevel.checkpoint()

            refs: list[ActorRef[Add | Get | Boom]] = [
                await world.spawn(Registered, KEY, ONE),
                await world.spawn(run, name="run"),
            ]

            def only_the_living() -> bool:
                found = [*world.find_all(KEY), *world.find_all(ONE)]
                paths = [world.find(ref.path) for ref in refs]
                known = [ref for ref in (*found, *paths) if ref is not None]
                dead = [ref for ref in known if ref._cell.exit is not None]
                takes = all(not ref._cell.box.door for ref in found)
                return takes and not dead

            world.always(only_the_living)
            arm(lambda: [getattr(ref, verb)() for ref in refs])
            for _ in range(3):
                for ref in refs:
                    ref.tell_nowait(Get())
                await trio.lowlevel.checkpoint()
            world.crash(refs[0])
            refs[0].tell_nowait(Get())
            await trio.sleep(1)

        return at_every_step(scenario)

    for verb in ("stop", "kill", "drain", "restart"):
        assert one_run(verb) > 10


# --- Streams of who has a key -----------------------------------------------


async def test_a_stream_tells_who_has_a_key_at_once_and_at_each_change(
    world: World,
) -> None:
    """REG-4: Subscribe gives the listing at once and at each change."""
    first = await world.spawn(Registered, KEY)
    with world.subscribe(KEY) as listings:
        assert await listings.receive() == (first,)
        second = await world.spawn(Registered, KEY)
        assert await listings.receive() == (first, second)
        world.register(KEY, second)  # no change, no news
        world.crash(second)
        await second.tell(Get())  # a restart is no change either
        await world.settled()
        first.stop()
        assert await listings.receive() == (second,)
        world.unregister(KEY, second)
        assert await listings.receive() == ()
        second.stop()
        await second.wait_stopped()
        with trio.move_on_after(1) as scope:
            await listings.receive()
        assert scope.cancelled_caught


async def test_a_stream_can_come_before_the_first_registration(world: World) -> None:
    """Users of other libraries sleep until a name is there; here they wait for it."""

    async def later() -> None:
        await trio.sleep(3)
        await world.spawn(Registered, KEY)

    world.client(later)
    with world.subscribe(KEY) as listings:
        assert await listings.receive() == ()
        (ref,) = await listings.receive()
    assert trio.current_time() == 3
    assert await ref.ask(Get()) == 0


async def test_a_stream_outlives_the_moments_in_which_nobody_has_the_key(
    world: World,
) -> None:
    """The entry of a key that says nothing goes, but not below its readers."""
    with world.subscribe(KEY) as listings:
        assert await listings.receive() == ()
        for _ in range(2):
            counter = await world.spawn(Registered, KEY)
            assert await listings.receive() == (counter,)
            counter.kill()
            assert await listings.receive() == ()


async def test_a_stream_that_was_made_before_is_opened_after_the_entry_went(
    world: World,
) -> None:
    """A key that nobody has is forgotten; a subscription made before must not be."""
    listings = world.subscribe(KEY)
    counter = await world.spawn(Registered, KEY)
    counter.kill()
    await counter.wait_stopped()
    with listings:
        assert await listings.receive() == ()
        again = await world.spawn(Registered, KEY)
        with trio.fail_after(1):
            assert await listings.receive() == (again,)


# --- Among many, and for ever -------------------------------------------------


async def test_nothing_is_kept_of_a_key_that_nobody_has_and_nobody_waits_for(
    world: World,
) -> None:
    """A key per user: who looks at each once must not fill the memory."""
    for number in range(3):
        key = ServiceKey[Add | Get | Boom](f"user {number}")
        service = world.service(key)
        assert repr(service) == f"<ServiceRef 'user {number}', 0 actors>"
        assert world.find(key) is None
        with world.subscribe(key) as listings, world.subscribe(key):
            assert await listings.receive() == ()
        assert world._registry._entries == {}
        ref = await world.spawn(Registered, key)
        assert await service.ask(Add(number)) == number
        ref.kill()
        await ref.wait_stopped()
        world.register(key, ref)  # too late
        assert world._registry._entries == {}


async def test_a_key_of_many_costs_the_same_for_each(world: World) -> None:
    """All holders were looked at whenever one came or went, and to find one."""
    counts: list[int] = []
    for size in (10, 100):
        refs = [await world.spawn(Counter) for _ in range(size)]
        with Calls() as calls:
            for ref in refs:
                world.register(KEY, ref)
                world.find(KEY)
            for ref in reversed(refs):
                world.unregister(KEY, ref)
        counts.append(calls.count)
    few, many = counts
    assert many < 12 * few
