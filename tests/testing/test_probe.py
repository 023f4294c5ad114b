"""Probes: actors that a test plays by hand (TST-2)."""

import attrs
import pytest
import trio
import trio.testing

from tests.kit import Add, Counter, Get, Note, Sleep, Worker
from tests.testing.failing import failing
from trio_actors import (
    Actor,
    ActorRef,
    ActorStopped,
    Inbox,
    NameTaken,
    Request,
    Terminated,
    Topic,
    handler,
)
from trio_actors.testing import Probe, World, run


class Relay(Actor[Note]):
    """Passes notes on, after a while."""

    def __init__(self, to: ActorRef[Note], seconds: float = 0.0) -> None:
        self.to = to
        self.seconds = seconds

    @handler
    async def note(self, message: Note) -> None:
        await trio.sleep(self.seconds)
        await self.to.tell(message)


# --- Receiving --------------------------------------------------------------


async def test_a_probe_receives_what_it_is_sent_in_order(world: World) -> None:
    probe = Probe[Note](world)
    await probe.ref.tell(Note("1"))
    await probe.ref.tell(Note("2"))
    assert [await probe.receive(), await probe.receive()] == [Note("1"), Note("2")]


async def test_a_probe_waits_for_what_is_on_its_way(world: World) -> None:
    probe = Probe[Note](world)
    relay = await world.spawn(Relay, probe.ref, 100.0)
    await relay.tell(Note("late"))
    assert await probe.receive() == Note("late")
    assert trio.current_time() == 100


async def test_a_probe_waits_for_timers(world: World) -> None:
    probe = Probe[Note](world)

    async def later(inbox: Inbox[Note]) -> None:
        inbox.send_after(60, Note("timer"))
        await probe.ref.tell(await inbox.receive())

    await world.spawn(later)
    assert await probe.receive() == Note("timer")
    assert trio.current_time() == 60


def test_a_message_that_can_never_come_fails_the_test_at_once() -> None:
    """Not a hang: nothing can happen any more, so nothing will come."""

    async def scenario(world: World) -> None:
        await Probe[Note](world, "listener").receive()

    text = failing(scenario, AssertionError)
    assert "/listener waits for a message, but none can come any more" in text


def test_a_timer_that_repeats_does_not_let_a_probe_wait_for_ever() -> None:
    async def scenario(world: World) -> None:
        async def tick(inbox: Inbox[Note]) -> None:
            inbox.send_every(1, Note())
            async for _ in inbox:
                pass

        await world.spawn(tick)
        probe = Probe[Note](world)
        with pytest.raises(AssertionError, match="none can come any more"):
            await probe.receive()
        assert trio.current_time() == 3600
        await probe.ref.tell(Note("still alive"))
        assert await probe.receive() == Note("still alive")

    run(scenario)


async def test_receive_is_a_checkpoint_and_to_be_cancelled_loses_nothing(
    world: World,
) -> None:
    probe = Probe[Note](world)
    relay = await world.spawn(Relay, probe.ref, 5.0)
    await relay.tell(Note("kept"))
    with trio.move_on_after(1) as scope:
        await probe.receive()
    assert scope.cancelled_caught
    assert await probe.receive() == Note("kept")
    await probe.ref.tell(Note())
    await world.settled()
    with trio.testing.assert_checkpoints():
        await probe.receive()


async def test_two_tasks_may_wait_at_two_probes(world: World) -> None:
    one, two = Probe[Note](world), Probe[Note](world)
    got: list[str] = []

    async def wait(probe: Probe[Note]) -> None:
        got.append((await probe.receive()).text)

    world.client(wait, one)
    world.client(wait, two)
    await trio.sleep(1)
    await two.ref.tell(Note("two"))
    await trio.sleep(1)
    await one.ref.tell(Note("one"))
    await world.settled()
    assert got == ["two", "one"]


# --- Expecting --------------------------------------------------------------


async def test_expect_gives_the_message_with_its_type(world: World) -> None:
    probe = Probe[Note | Add](world)
    await probe.ref.tell(Add(3))
    add: Add = await probe.expect(Add)
    assert add.amount == 3


async def test_expect_says_what_came_instead(world: World) -> None:
    probe = Probe[Note | Add](world, "probe")
    await probe.ref.tell(Add(3))
    with pytest.raises(AssertionError) as caught:
        await probe.expect(Note)
    assert str(caught.value) == "/probe expected a Note, but got Add(amount=3)"


async def test_expect_no_message_is_a_proof_and_takes_no_time(world: World) -> None:
    """TST-3: elsewhere it must wait real time, and is slow and racy."""
    probe = Probe[Note](world)
    await world.spawn(Relay, probe.ref)
    await probe.expect_no_message()
    assert trio.current_time() == 0


async def test_expect_no_message_waits_for_what_is_on_its_way(world: World) -> None:
    probe = Probe[Note](world, "probe")
    relay = await world.spawn(Relay, probe.ref, 50.0)
    await relay.tell(Note("late"))
    with pytest.raises(AssertionError) as caught:
        await probe.expect_no_message()
    assert str(caught.value) == (
        "/probe expected no message, but got Note(text='late')"
    )
    assert trio.current_time() == 50
    assert await probe.receive() == Note("late")


# --- Answering --------------------------------------------------------------


async def test_a_probe_answers_when_the_test_says_so(world: World) -> None:
    probe = Probe[Add](world)
    pending = probe.ref.ask_nowait(Add(1))
    request = await probe.expect(Add)
    await trio.sleep(10)
    assert not pending.done()
    probe.reply(request, 42)
    assert await pending == 42


async def test_a_probe_fails_an_asker(world: World) -> None:
    probe = Probe[Add](world)
    pending = probe.ref.ask_nowait(Add(1))
    probe.fail(await probe.expect(Add), LookupError("no"))
    with pytest.raises(LookupError, match="no"):
        await pending


async def test_requests_are_answered_in_any_order(world: World) -> None:
    probe = Probe[Add](world)
    first, second = (probe.ref.ask_nowait(Add(number)) for number in (1, 2))
    one, two = await probe.receive(), await probe.receive()
    probe.reply(two, 20)
    assert await second == 20
    probe.reply(one, 10)
    assert await first == 10


async def test_the_same_object_that_was_asked_twice_is_answered_in_order(
    world: World,
) -> None:
    probe = Probe[Get](world)
    same = Get()
    first, second = probe.ref.ask_nowait(same), probe.ref.ask_nowait(same)
    await probe.receive()
    probe.reply(await probe.receive(), 1)
    probe.reply(same, 2)
    assert (await first, await second) == (1, 2)


async def test_what_was_told_or_answered_is_owed_no_answer(world: World) -> None:
    probe = Probe[Get](world, "probe")
    await probe.ref.tell(Get())
    told = await probe.receive()
    with pytest.raises(RuntimeError, match="/probe owes no answer to Get"):
        probe.reply(told, 1)
    pending = probe.ref.ask_nowait(Get())
    asked = await probe.receive()
    probe.reply(asked, 1)
    assert await pending == 1
    with pytest.raises(RuntimeError, match="owes no answer"):
        probe.fail(asked, LookupError())


async def test_an_asker_that_is_gone_is_answered_harmlessly(world: World) -> None:
    """S3-2: failing to reply because the caller is gone must be harmless."""
    probe = Probe[Get](world)
    with trio.move_on_after(1):
        await probe.ref.ask(Get())
    probe.reply(await probe.receive(), 1)


async def test_an_equal_request_is_not_the_one_that_was_asked(world: World) -> None:
    probe = Probe[Add](world)
    pending = probe.ref.ask_nowait(Add(1))
    asked = await probe.receive()
    with pytest.raises(RuntimeError, match="owes no answer"):
        probe.reply(Add(1), 1)
    probe.reply(asked, 2)
    assert await pending == 2


# --- As an actor among others -----------------------------------------------


async def test_probes_have_names_of_their_own(world: World) -> None:
    assert [Probe[Note](world).ref.path for _ in range(2)] == ["/probe-1", "/probe-2"]
    assert Probe[Note](world, "mine").ref.path == "/mine"
    with pytest.raises(NameTaken):
        Probe[Note](world, "mine")


async def test_a_probe_can_be_found_registered_and_watched(world: World) -> None:
    probe = Probe[Note](world, "probe")
    assert world.find("/probe") == probe.ref
    ended: list[str] = []

    async def watch(inbox: Inbox[Terminated]) -> None:
        inbox.watch(probe.ref)
        message = await inbox.receive()
        ended.append(message.reason.kind)

    await world.spawn(watch)
    probe.ref.kill()
    await world.settled()
    assert ended == ["killed"]


async def test_a_probe_hears_of_an_end_when_it_is_told_so(world: World) -> None:
    probe = Probe[Terminated](world)
    target = await world.spawn(Counter)

    async def watch(inbox: Inbox[Terminated]) -> None:
        inbox.watch(target)
        await probe.ref.tell(await inbox.receive())

    await world.spawn(watch)
    target.stop()
    assert (await probe.expect(Terminated)).ref == target


async def test_a_probe_that_is_killed_fails_its_askers(world: World) -> None:
    """An answer that was taken over and never given."""
    probe = Probe[Get](world)
    pending = probe.ref.ask_nowait(Get())
    await world.settled()
    probe.ref.kill()
    with pytest.raises(Exception, match="probe-1"):
        await pending
    with pytest.raises(ActorStopped):
        await probe.ref.ask(Get())
    world.dead()


@attrs.frozen
class Question(Request[str]):
    text: str


async def test_a_probe_plays_a_collaborator(world: World) -> None:
    """S3-7: actors isolate legacy code in tests."""

    class Front(Actor[Question]):
        def __init__(self, legacy: ActorRef[Question]) -> None:
            self.legacy = legacy

        @handler
        async def question(self, message: Question) -> str:
            return (await self.legacy.ask(message)).upper()

    legacy = Probe[Question](world)
    front = await world.spawn(Front, legacy.ref)
    pending = front.ask_nowait(Question("?"))
    request = await legacy.expect(Question)
    assert request.text == "?"
    legacy.reply(request, "yes")
    assert await pending == "YES"


async def test_a_probe_listens_to_a_topic_through_an_actor(world: World) -> None:
    probe = Probe[Note](world)
    topic = Topic[Note]("news")

    class Listener(Actor[Note]):
        async def started(self) -> None:
            self.context.subscribe(topic)

        @handler
        async def note(self, message: Note) -> None:
            await probe.ref.tell(message)

    await world.spawn(Listener)
    world.publish(topic, Note("heard"))
    assert await probe.receive() == Note("heard")


async def test_a_probe_does_not_hinder_settling(world: World) -> None:
    """An answer that the test still owes is not at work: the test would wait for it."""
    probe = Probe[Get](world)
    worker = await world.spawn(Worker)
    pending = probe.ref.ask_nowait(Get())
    await worker.tell(Sleep(2))
    await world.settled()
    assert trio.current_time() == 2
    probe.reply(await probe.receive(), 5)
    assert await pending == 5
