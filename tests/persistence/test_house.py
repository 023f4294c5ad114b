"""Activation and passivation: at most one of each key, and nothing lost.

Issue items: virtual entities are activated on the first message, one activation for
concurrent firsts; passivated when idle or beyond a limit, without losing a message that
arrives meanwhile.
"""

import logging
import math

import attrs
import pytest
import trio

from tests.persistence.bank import Account, Deposit
from tests.persistence.people import (
    Answer,
    Do,
    Fail,
    Later,
    Person,
    Say,
    Town,
    asking,
    sleeping,
)
from trio_actors import (
    ActorFailed,
    ActorStopped,
    Context,
    MailboxFull,
    handler,
    tagged,
)
from trio_actors._cell import Cell
from trio_actors.persistence import Entities, MemoryJournal
from trio_actors.persistence._house import is_passive
from trio_actors.testing import World

LIMIT = 1024  # messages that wait for a next activation


def active(world: World) -> list[str]:
    """Who is there, of the only kind."""
    (keeper,) = world.snapshot().children
    return [one.path.rpartition("/")[2] for one in keeper.children]


# --- Activation ---------------------------------------------------------------


async def test_concurrent_first_messages_share_an_activation(world: World) -> None:
    town = Town()
    people = Entities(world, town, name="p")
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await people.get("ada").ask(Say()))

    for _ in range(20):
        world.client(ask)
    await world.settled()
    assert answers == [1] * 20
    assert town.starts == {"/p/ada": 1}


async def test_nobody_is_activated_by_looking(world: World) -> None:
    people = Entities(world, Town(), name="p")
    ada = people.get("ada")
    assert repr(ada) == "<EntityRef /p/ada passive>"
    assert world.find("/p/ada") is None
    ada.stop()
    ada.restart()
    assert (await ada.wait_stopped()).is_normal
    assert active(world) == []


# --- Starts that fail -----------------------------------------------------------


async def test_who_cannot_start_ends_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """After the restarts that are allowed its askers are told why; others go on."""
    town = Town()
    people = Entities(world, town, name="p")
    bob = people.get("bob")
    await bob.ask(Say())
    town.failing.add("/p/ada")
    ada = people.get("ada")
    with caplog.at_level(logging.CRITICAL, "trio_actors"):
        for attempt in (1, 2):
            with pytest.raises(ActorStopped, match="/p/ada cannot start") as caught:
                await ada.ask(Say())
            assert isinstance(caught.value.__cause__, OSError)
            assert town.starts["/p/ada"] == 4 * attempt
    assert await bob.ask(Say()) == 1
    town.failing.clear()
    assert await ada.ask(Say()) == 9
    assert len(world.dead(Say)) == 2


async def test_a_recovery_that_fails_is_tried_again_by_the_next_message(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(MemoryJournal):
        works = False

        async def claim(self, stream: str) -> int:
            if not self.works and stream.endswith("/ada"):
                raise OSError("the disk is gone")
            return await super().claim(stream)

    journal = Broken()
    world.use(journal)
    accounts = Entities(world, Account)
    with caplog.at_level(logging.CRITICAL, "trio_actors"):
        with pytest.raises(ActorStopped, match="the disk is gone"):
            await accounts.get("ada").ask(Deposit(1))
        assert await accounts.get("bob").ask(Deposit(2)) == 2
    journal.works = True
    assert await accounts.get("ada").ask(Deposit(1)) == 1
    world.dead()


async def test_a_factory_that_fails_is_the_start_that_fails(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> Person:
        raise OSError("no room")

    people = Entities(world, make, name="p")
    caplog.set_level(logging.CRITICAL, "trio_actors")
    with pytest.raises(ActorStopped, match="no room"):
        await people.get("ada").ask(Say())
    world.dead()


async def test_who_crashes_again_and_again_ends_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Those in its queue are told; whoever comes after that is handled."""
    town = Town()
    people = Entities(world, town, name="p")
    ada, bob = people.get("ada"), people.get("bob")
    await bob.ask(Say())
    failed: list[type[Exception]] = []

    async def ask(request: Fail | Say) -> None:
        try:
            await ada.ask(request)
        except (ActorFailed, ActorStopped) as error:
            failed.append(type(error))

    with caplog.at_level(logging.CRITICAL, "trio_actors"):
        for _ in range(5):
            world.client(ask, Fail())
        world.client(ask, Say("lost"))
        await world.settled()
        assert failed == [ActorFailed] * 4 + [ActorStopped] * 2
        assert await ada.ask(Say("kept")) == 5
    assert await bob.ask(Say()) == 1
    assert town.said("/p/ada") == ["kept"]
    world.dead()


# --- Passivation ----------------------------------------------------------------


async def test_the_idle_are_stopped_in_time(world: World) -> None:
    people = Entities(world, Town(), name="p", idle_after=10)
    await people.get("ada").ask(Say())
    await trio.sleep(4)
    await people.get("bob").ask(Say())
    await trio.sleep(4)
    assert active(world) == ["ada", "bob"]
    await trio.sleep(4)
    assert active(world) == ["bob"]
    await people.get("bob").ask(Say())
    await trio.sleep(9)
    assert active(world) == ["bob"]
    await trio.sleep(2)
    assert active(world) == []


async def test_nobody_is_stopped_who_is_never_idle(world: World) -> None:
    people = Entities(world, Town(), name="p", idle_after=math.inf)
    await people.get("ada").ask(Say())
    await trio.sleep(1_000_000)
    assert active(world) == ["ada"]


async def test_a_turn_that_takes_longer_than_idle_after_ends_well(world: World) -> None:
    """And who was at work when it was looked at is looked at again."""
    town = Town()
    people = Entities(world, town, name="p", idle_after=10)
    assert await people.get("ada").ask(sleeping(35)) is None
    assert active(world) == ["ada"]
    await trio.sleep(21)
    assert active(world) == []
    assert await people.get("ada").ask(Say()) == 2


async def test_who_owes_an_answer_stays(world: World) -> None:
    people = Entities(world, Town(), name="p", idle_after=10)
    ada = people.get("ada")
    for stashed in (False, True):
        later = ada.ask_nowait(Later())
        aside = ada.ask_nowait(Later(stashed))
        await trio.sleep(100)
        assert active(world) == ["ada"]
        await ada.tell(Answer())
        assert await later == await aside == "at last"
    await trio.sleep(100)
    assert active(world) == []


async def test_who_has_stashed_something_stays(world: World) -> None:
    people = Entities(world, Town(), name="p", idle_after=10)
    ada = people.get("ada")
    aside = ada.ask_nowait(Later(stashed=True))
    await trio.sleep(100)
    assert active(world) == ["ada"]

    async def unstash(context: Context[object]) -> None:
        instance = context._cell.instance
        assert isinstance(instance, Person)
        await ada.tell(Later())
        context.unstash_all()

    await ada.ask(Do(unstash))
    aside.abandon()


async def test_an_inner_task_is_work(world: World) -> None:
    people = Entities(world, Town(), name="p", idle_after=10)

    async def begin(context: Context[object]) -> None:
        context.start_soon(trio.sleep, 35)

    await people.get("ada").ask(Do(begin))
    await trio.sleep(31)
    assert active(world) == ["ada"]
    await trio.sleep(30)
    assert active(world) == []


async def test_the_work_of_a_child_is_work(world: World) -> None:
    """Its messages would be lost with it."""
    town = Town()
    people = Entities(world, town, name="p", idle_after=10)

    async def begin(context: Context[object]) -> None:
        child = await context.spawn(Person, town, name="child")
        await child.tell(sleeping(35))
        await child.tell(Say("done"))

    await people.get("ada").ask(Do(begin))
    await trio.sleep(31)
    assert active(world) == ["ada"]
    await trio.sleep(30)
    assert active(world) == []
    assert town.said("/p/ada/child") == ["done"]


@tagged("people-letter@1")
@attrs.frozen
class Letter:
    pass


@attrs.frozen
class Send:
    pass


class Writer(Account):
    """Cannot deliver before a time; posts a letter for each crash."""

    open_at = math.inf
    delivered = 0

    async def deliver(self, effect: Letter, key: str, /) -> None:
        cls = type(self)
        if trio.current_time() < cls.open_at:
            raise OSError("the post is closed")
        cls.delivered += 1

    @handler
    async def deposit(self, message: Deposit) -> int:
        await self.post(Letter())
        return 0


async def test_who_has_something_to_deliver_stays(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Writer):
        open_at = trio.current_time() + 500

    writers = Entities(world, Slow, idle_after=10)
    with caplog.at_level(logging.CRITICAL, "trio_actors"):
        await writers.get("ada").ask(Deposit(1))
        await trio.sleep(490)
        assert active(world) == ["ada"]
        await trio.sleep(200)
    assert active(world) == []
    assert Slow.delivered == 1


async def test_an_outbox_that_was_left_is_taken_up_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is stopped by hand before it could deliver comes back by itself."""

    class Stopped(Writer):
        open_at = trio.current_time() + 30

    writers = Entities(world, Stopped, idle_after=10)
    with caplog.at_level(logging.CRITICAL, "trio_actors"):
        ada = writers.get("ada")
        await ada.ask(Deposit(1))
        ada.stop()
        await ada.wait_stopped()
        await trio.sleep(61)
        assert Stopped.delivered == 1
    assert active(world) == []


# --- The limit ------------------------------------------------------------------


async def test_beyond_the_limit_the_one_used_longest_ago_goes(world: World) -> None:
    people = Entities(world, Town(), name="p", limit=2)
    for key in ("a", "b", "a", "c"):
        await people.get(key).ask(Say())
    await world.settled()
    assert active(world) == ["a", "c"]


async def test_the_busy_stay_beyond_the_limit(world: World) -> None:
    """And the first who has nothing to do goes instead."""
    people = Entities(world, Town(), name="p", limit=2)
    busy = [people.get(key).ask_nowait(sleeping(100)) for key in "abc"]
    await trio.sleep(1)
    await people.get("d").ask(Say())
    assert active(world) == ["a", "b", "c", "d"]
    await trio.sleep(2)
    assert active(world) == ["a", "b", "c"]
    for one in busy:
        await one
    await trio.sleep(2)
    assert len(active(world)) == 2
    await people.get("e").ask(Say())
    await world.settled()
    assert len(active(world)) == 2


async def test_a_limit_of_one(world: World) -> None:
    town = Town()
    people = Entities(world, town, name="p", limit=1)
    for turn in range(3):
        for key in ("a", "b"):
            assert await people.get(key).ask(Say(str(turn))) == turn + 1
    assert town.said("/p/a") == town.said("/p/b") == ["0", "1", "2"]


async def test_many_at_once_come_down_to_the_limit(world: World) -> None:
    town = Town()
    people = Entities(world, town, name="p", limit=3)
    answers = [people.get(str(number)).ask_nowait(Say()) for number in range(50)]
    assert [await one for one in answers] == [1] * 50
    await trio.sleep(1.1)
    assert len(active(world)) == 3


# --- Nothing is lost --------------------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "drain", "kill", "restart"])
async def test_what_comes_after_an_end_by_hand_is_handled(
    verb: str, world: World
) -> None:
    town = Town(goodbye=1.0)
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    await ada.ask(Say("0"))
    await ada.tell(Say("1"))
    getattr(ada, verb)()
    await ada.tell(Say("2"))
    ada.tell_nowait(Say("3"))
    ada.tell_soon(Say("4"))
    await ada.tell_all([Say("5"), Say("6")])
    assert await ada.ask_nowait(Say("7")) == 2
    assert await ada.ask(Say("8")) == 2
    assert town.said("/p/ada") == list("012345678")


async def test_what_waits_when_it_ends_itself_is_handled(world: World) -> None:
    """``context.stop()`` is no reason to lose what has come before, or comes after."""
    town = Town()
    people = Entities(world, town, name="p")
    ada = people.get("ada")

    async def stop(context: Context[object]) -> None:
        await ada.tell(Say("1"))
        context.stop()
        await trio.sleep(1)
        await ada.tell(Say("3"))

    stopping = ada.ask_nowait(Do(stop))
    await trio.sleep(0.5)
    await ada.tell(Say("2"))
    await stopping
    assert await ada.ask(Say("4")) == 2
    assert town.said("/p/ada") == list("1234")


async def test_what_is_stashed_when_it_ends_comes_first(world: World) -> None:
    people = Entities(world, Town(), name="p")
    ada = people.get("ada")
    aside = ada.ask_nowait(Later(stashed=True))
    await world.settled()
    second = ada.ask_nowait(Later())
    ada.stop()
    await trio.sleep(1)
    # Stashed again by the next activation, and then in front of the other.
    await ada.tell(Answer())
    assert await second == "at last"
    aside.abandon()
    ada.stop()


async def test_a_child_reaches_its_parent_that_drains(world: World) -> None:
    town = Town()
    people = Entities(world, town, name="p")
    ada = people.get("ada")

    async def begin(context: Context[object]) -> None:
        child = await context.spawn(Person, town, name="child")
        await child.tell(sleeping(1))
        await child.tell(asking(context.ref, Say("from below")))

    await ada.ask(Do(begin))
    ada.drain()
    await ada.tell(Say("from outside"))
    await trio.sleep(2)
    assert town.said("/p/ada") == ["from below", "from outside"]
    assert town.starts["/p/ada"] == 2


async def test_a_failure_wins_over_the_own_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What has come meanwhile is handled by the incarnation after that."""
    town = Town()
    people = Entities(world, town, name="p")
    ada = people.get("ada")

    async def fall(context: Context[object]) -> None:
        context.stop()
        await trio.sleep(1)
        raise ValueError("fallen")

    falling = ada.ask_nowait(Do(fall))
    await trio.sleep(0.5)
    waiting = ada.ask_nowait(Say())
    with caplog.at_level(logging.CRITICAL, "trio_actors"):
        with pytest.raises(ActorFailed):
            await falling
        assert await waiting == 2


async def test_who_is_full_on_the_way_out_says_so(world: World) -> None:
    town = Town(goodbye=1.0)
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    await ada.ask(Say())
    ada.stop()
    for number in range(LIMIT):
        ada.tell_nowait(Say(str(number)))
    with pytest.raises(MailboxFull, match="/p/ada is on its way out, and 1,024"):
        ada.tell_nowait(Say("too many"))
    with pytest.raises(MailboxFull):
        await ada.tell(Say("too many"))
    with pytest.raises(MailboxFull):
        await ada.ask(Say("too many"))
    ada.tell_soon(Say("dead"))
    (dead,) = world.dead()
    assert (dead.message, dead.to, dead.reason) == (Say("dead"), ada, "overflow")
    await trio.sleep(2)
    assert len(town.said("/p/ada")) == 1 + LIMIT


async def test_who_gave_up_waiting_takes_no_room(world: World) -> None:
    town = Town(goodbye=1.0)
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    await ada.ask(Say())
    ada.stop()
    pending = [ada.ask_nowait(Say()) for _ in range(LIMIT)]
    for one in pending[1:]:
        one.abandon()
    last = ada.ask_nowait(Say("last"))
    assert await pending[0] == await last == 2
    assert town.said("/p/ada") == ["", "", "last"]


async def test_the_keeper_can_be_restarted(world: World) -> None:
    """As a top-level ``one_for_all`` would do it."""
    town = Town()
    people = Entities(world, town, name="p")
    ada = people.get("ada")
    await ada.ask(Say("0"))
    keeper = world.find("/p")
    assert keeper is not None
    slow = people.get("bob").ask_nowait(sleeping(1))
    await trio.sleep(0.1)
    keeper.restart()
    await trio.sleep(0.5)
    after = [ada.ask_nowait(Say(text)) for text in "12"]
    await slow
    assert [await one for one in after] == [2, 2]
    assert town.said("/p/ada") == list("012")


async def test_the_keeper_can_be_stopped(world: World) -> None:
    people = Entities(world, Town(), name="p")
    keeper = world.find("/p")
    assert keeper is not None
    ada = people.get("ada")
    await ada.ask(Say())
    keeper.stop()
    await keeper.wait_stopped()
    with pytest.raises(ActorStopped, match="/p/ada"):
        await ada.ask(Say())
    (dead,) = world.dead()
    assert dead.to == ada


async def test_what_a_message_costs_does_not_depend_on_how_many_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is looked at once to be stopped, of 1,000; none for a message to another."""
    looked_at: list[str] = []

    def looks(cell: Cell) -> bool:
        looked_at.append(cell.path)
        return is_passive(cell)

    monkeypatch.setattr("trio_actors.persistence._house.is_passive", looks)
    people = Entities(world, Town(), name="p", limit=500, idle_after=10)
    for number in range(500):
        people.get(str(number)).tell_nowait(Say())
    await world.settled()
    assert looked_at == []
    for number in range(500, 1000):
        people.get(str(number)).tell_nowait(Say())
    await world.settled()
    assert len(looked_at) == len(active(world)) == 500
    await trio.sleep(20)
    assert active(world) == []
    assert len(looked_at) == 1000
