"""`system.service(key)`: whoever has a key when a message is sent (ROU-1, groups)."""

import logging
from typing import Any

import pytest
import trio
import trio.testing

from tests.kit import (
    Add,
    Boom,
    Calls,
    Counter,
    Get,
    Note,
    Worker,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    Inbox,
    Mailbox,
    MailboxFull,
    Reply,
    Request,
    ServiceKey,
    Terminated,
    handler,
)
from trio_actors.testing import Probe, World

NOTES = ServiceKey[Note]("notes")
KEY = ServiceKey[Add | Get | Boom]("counter")
HELD = 1024


class Reader(Actor[Note]):
    """Has the key from its start on, and writes down what it gets."""

    def __init__(self, log: list[str], name: str = "") -> None:
        self.log = log
        self.name = name

    async def started(self) -> None:
        self.context.register(NOTES)

    @handler
    def note(self, message: Note) -> None:
        self.log.append(self.name + message.text)


# --- Somebody has the key ---------------------------------------------------


async def test_a_service_reaches_all_its_holders_in_turn(world: World) -> None:
    log: list[str] = []
    for name in "abc":
        await world.spawn(Reader, log, name)
    service = world.service(NOTES)
    for _ in range(6):
        await service.tell(Note("!"))
    await world.settled()
    assert sorted(log) == ["a!", "a!", "b!", "b!", "c!", "c!"]


async def test_the_turns_go_on_from_one_service_to_the_next(world: World) -> None:
    """Whoever asks for the service anew each time still uses all holders."""
    log: list[str] = []
    for name in "ab":
        await world.spawn(Reader, log, name)
    for _ in range(4):
        await world.service(NOTES).tell(Note("!"))
    await world.settled()
    assert sorted(log) == ["a!", "a!", "b!", "b!"]


async def test_services_that_were_made_before_anybody_came_take_common_turns(
    world: World,
) -> None:
    services = [world.service(NOTES), world.service(NOTES)]
    log: list[str] = []
    for name in "ab":
        await world.spawn(Reader, log, name)
    for number in range(4):
        await services[number // 2 % 2].tell(Note("!"))
        await services[0].tell(Note("?"))
    await world.settled()
    assert sorted(log) == ["a!"] * 4 + ["b?"] * 4


def by_text(note: Note) -> str:
    return note.text


@pytest.mark.parametrize("routing", ["round_robin", "random", "least_loaded", by_text])
async def test_a_message_costs_the_same_among_ten_holders_and_among_a_thousand(
    world: World, routing: Any
) -> None:
    """All of them were looked at for each message, as if nobody had been there yet."""
    counts: list[int] = []
    log: list[str] = []
    for size in (10, 990):
        for _ in range(size):
            await world.spawn(Reader, log)
        calls = Calls()
        for _ in range(2):  # the first one finds out who is there, and has which key
            with calls:
                for number in range(5):
                    world.service(NOTES, routing).tell_nowait(Note(str(number)))
            await world.settled()
        counts.append(calls.count)
    few, many = counts
    assert many < 2 * few


async def test_a_message_too_many_costs_no_look_at_those_that_wait(
    world: World,
) -> None:
    """Only who asked can give up: not one of 1,024 that were told."""
    service = world.service(NOTES)
    for _ in range(HELD):
        service.tell_soon(Note())
    with Calls() as calls:
        service.tell_soon(Note())
    assert calls.count < HELD
    assert [letter.reason for letter in world.dead()] == ["overflow"]
    log: list[str] = []
    await world.spawn(Reader, log)


async def test_a_service_can_be_asked(world: World) -> None:
    counter = await world.spawn(Counter)
    world.register(KEY, counter)
    service = world.service(KEY)
    assert await service.ask(Add(2)) == 2
    assert await service.ask_nowait(Add(3)) == 5
    await service.tell_all([Add(1), Add(1)])
    assert await service.ask(Get()) == 7


async def test_a_service_follows_its_key_from_holder_to_holder(world: World) -> None:
    service = world.service(KEY)
    for start in (10, 20, 30):
        counter = await world.spawn(Counter, start)
        world.register(KEY, counter)
        assert await service.ask(Add(1)) == start + 1
        counter.kill()
        await counter.wait_stopped()


async def test_messages_go_past_a_holder_that_stops(world: World) -> None:
    """Nothing is sent to an actor that refuses it while another would take it."""
    log: list[str] = []

    class Slow(Actor[Note]):
        async def started(self) -> None:
            self.context.register(NOTES)

        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(1)

    slow = await world.spawn(Slow)
    await slow.tell(Note("slow"))
    await trio.sleep(0.5)
    await world.spawn(Reader, log)
    slow.drain()
    for number in range(4):
        await world.service(NOTES).tell(Note(str(number)))
    await world.settled()
    assert log == ["0", "1", "2", "3"]
    assert world.dead() == []


async def test_services_are_equal_when_they_lead_to_the_same(world: World) -> None:
    service = world.service(NOTES)
    assert service == world.service(ServiceKey[Note]("notes"))
    assert hash(service) == hash(world.service(NOTES))
    assert service != world.service(NOTES, "broadcast")
    assert service != world.service(KEY)
    assert service != "notes"
    log: list[str] = []
    reader = await world.spawn(Reader, log)
    assert service != reader
    assert service.path == "service:notes"
    assert repr(service) == "<ServiceRef 'notes', 1 actors>"


async def test_a_wrong_routing_is_refused_when_the_service_is_made(
    world: World,
) -> None:
    with pytest.raises(ValueError, match="there is no routing 'robin'"):
        world.service(NOTES, "robin")  # type: ignore[arg-type]


async def test_a_broadcast_reaches_all(world: World) -> None:
    log: list[str] = []
    for name in "abc":
        await world.spawn(Reader, log, name)
    await world.service(NOTES, "broadcast").tell(Note("!"))
    await world.settled()
    assert log == ["a!", "b!", "c!"]


async def test_one_key_of_a_message_leads_to_one_holder(world: World) -> None:
    log: list[str] = []
    for name in "abc":
        await world.spawn(Reader, log, name)
    for _ in range(5):
        await world.service(NOTES, lambda note: note.text).tell(Note("x"))
    await world.settled()
    assert len(set(log)) == 1


async def test_the_commands_of_a_service_go_to_all_who_have_the_key(
    world: World,
) -> None:
    log: list[str] = []
    readers = [await world.spawn(Reader, log) for _ in range(2)]
    service = world.service(NOTES)
    service.restart()
    await world.settled()
    assert [one.restarts for one in world.snapshot().children] == [1, 1]
    service.stop("enough")
    for reader in readers:
        assert (await reader.wait_stopped()).detail == "enough"
    service.kill()  # nobody is there any more
    service.drain()


async def test_one_waits_for_the_end_of_whoever_has_the_key_now(world: World) -> None:
    log: list[str] = []
    reader = await world.spawn(Reader, log)
    service = world.service(NOTES)
    world.client(service.wait_stopped)
    await trio.sleep(1)
    reader.kill()
    await world.settled()
    with pytest.raises(LookupError, match="'notes'"):
        await service.wait_stopped()


@pytest.mark.parametrize("verb", ["watch", "link", "unwatch", "unlink"])
async def test_a_service_is_no_actor_to_watch(world: World, verb: str) -> None:
    """It has no end of its own: the error says what to do instead."""
    errors: list[BaseException] = []

    async def run(inbox: Inbox[Terminated]) -> None:
        with pytest.raises(TypeError, match=rf"{verb}\(\) wants the ref of one") as e:
            getattr(inbox, verb)(world.service(NOTES))
        errors.append(e.value)

    await world.spawn(run)
    await world.settled()
    assert "subscribe" in str(errors[0])


# --- Nobody has the key -----------------------------------------------------


async def test_what_is_sent_before_anybody_is_there_waits_in_order(
    world: World,
) -> None:
    """S3-4: messages sent before the router first runs are queued."""
    log: list[str] = []
    service = world.service(NOTES)
    await service.tell(Note("0"))
    service.tell_nowait(Note("1"))
    service.tell_soon(Note("2"))
    await service.tell_all([Note("3"), Note("4")])
    await world.settled()
    await world.spawn(Reader, log)
    await service.tell(Note("5"))
    await world.settled()
    assert log == ["0", "1", "2", "3", "4", "5"]


async def test_asks_wait_among_the_tells_and_are_answered(world: World) -> None:
    service = world.service(KEY)
    answers: list[int] = []

    async def ask(amount: int) -> None:
        answers.append(await service.ask(Add(amount)))

    world.client(ask, 1)
    await trio.testing.wait_all_tasks_blocked()
    await service.tell(Add(10))
    pending = service.ask_nowait(Add(100))
    await trio.testing.wait_all_tasks_blocked()
    assert answers == []
    world.register(KEY, await world.spawn(Counter))
    assert await pending == 111
    await world.settled()
    assert answers == [1]


async def test_the_1025th_message_is_refused_and_given_back(world: World) -> None:
    """Design 4: service() holds up to 1,024 messages, then MailboxFull."""
    log: list[str] = []
    service = world.service(NOTES)
    for number in range(HELD):
        service.tell_nowait(Note(str(number)))
    one_more = Note("one more")
    with pytest.raises(MailboxFull) as caught:
        await service.tell(one_more)
    assert caught.value.message is one_more
    assert caught.value.path == "service:notes"
    with pytest.raises(MailboxFull, match="nobody has the key 'notes'"):
        service.tell_nowait(one_more)
    service.tell_soon(one_more)
    assert [letter.reason for letter in world.dead()] == ["overflow"]
    await world.spawn(Reader, log)
    await world.settled()
    assert log == [str(number) for number in range(HELD)]


async def test_what_was_held_is_more_than_a_small_mailbox_takes_and_is_not_lost(
    world: World,
) -> None:
    """They have waited long enough: room or not."""
    log: list[str] = []
    service = world.service(NOTES)
    for number in range(100):
        service.tell_nowait(Note(str(number)))
    await world.spawn(Reader, log, mailbox=Mailbox(1, "fail"))
    await world.settled()
    assert log == [str(number) for number in range(100)]


async def test_held_messages_wait_on_past_an_actor_that_cannot_take_them(
    world: World,
) -> None:
    """Registering an actor that is about to end must not cost 1,024 messages."""
    log: list[str] = []
    service = world.service(NOTES)
    await service.tell(Note("kept"))
    dying = await world.spawn(Worker)
    dying.stop()
    world.register(NOTES, dying)
    await dying.wait_stopped()
    assert world.dead() == []
    await world.spawn(Reader, log)
    await world.settled()
    assert log == ["kept"]


async def test_held_messages_reach_the_workers_of_a_pool(world: World) -> None:
    """A pool is told like one actor, also by those who came before it."""
    log: list[str] = []

    class Quiet(Reader):
        async def started(self) -> None:
            self.name = self.context.ref.path[-1]

    service = world.service(NOTES)
    for number in range(4):
        await service.tell(Note(str(number)))
    pool = await world.spawn_pool(Quiet, log, size=2)
    world.register(NOTES, pool)
    await world.settled()
    assert sorted(entry[1:] for entry in log) == ["0", "1", "2", "3"]
    assert len({entry[0] for entry in log}) == 2


async def test_a_broadcast_to_nobody_is_held_and_refused_in_the_same_way(
    world: World,
) -> None:
    log: list[str] = []
    service = world.service(NOTES, "broadcast")
    for number in range(HELD):
        await service.tell(Note(str(number)))
    with pytest.raises(MailboxFull):
        await service.tell(Note("one more"))
    await world.spawn(Reader, log)
    await world.settled()
    assert len(log) == HELD


async def test_the_1025th_ask_is_refused_in_the_asker(world: World) -> None:
    service = world.service(KEY)
    for _ in range(HELD):
        service.tell_nowait(Add(1))
    with pytest.raises(MailboxFull):
        await service.ask(Get())
    with pytest.raises(MailboxFull):
        service.ask_nowait(Get())
    world.register(KEY, await world.spawn(Counter))
    await world.settled()
    assert await service.ask(Get()) == HELD


async def test_an_ask_that_was_given_up_is_not_handled_later(world: World) -> None:
    """Cancellation is a property of a message: it takes its request with it."""
    service = world.service(KEY)
    with trio.move_on_after(1):
        await service.ask(Add(100))
    with pytest.raises(trio.TooSlowError), trio.fail_after(1):
        await service.ask_nowait(Add(10))
    world.register(KEY, await world.spawn(Counter))
    assert await service.ask(Get()) == 0
    assert world.statistics()["abandoned"] == 2


async def test_asks_that_were_given_up_do_not_fill_the_place_of_others(
    world: World,
) -> None:
    """A client that asks each second with a timeout must not block all others."""
    service = world.service(KEY)
    for _ in range(HELD):
        service.ask_nowait(Add(1)).abandon()
    await service.tell(Add(5))
    world.register(KEY, await world.spawn(Counter))
    assert await service.ask(Get()) == 5


async def test_nobody_can_be_asked_what_is_no_request(world: World) -> None:
    """The same TypeError, whether nobody, one or many have the key."""
    service = world.service(NOTES, "first")
    log: list[str] = []
    for _ in range(3):
        with pytest.raises(TypeError, match="does not say what it is answered with"):
            await service.ask(Note())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="does not say what it is answered with"):
            service.ask_nowait(Note())  # type: ignore[arg-type]
        await world.spawn(Reader, log)


async def test_a_request_is_forwarded_to_a_service(world: World) -> None:
    """The answer goes straight to the asker, also when it has to wait first."""

    class Front(Actor[Add]):
        @handler
        def add(self, message: Add) -> Reply[int]:
            service = world.service(KEY)
            return self.context.forward(service, message)

    front = await world.spawn(Front)
    early = front.ask_nowait(Add(1))
    await trio.sleep(1)
    world.register(KEY, await world.spawn(Counter))
    assert await early == 1
    assert await front.ask(Add(1)) == 2
    await front.tell(Add(1))
    assert await front.ask(Add(1)) == 4


async def test_forwarding_to_a_full_service_fails_the_asker_alone(
    world: World,
) -> None:
    class Front(Actor[Add]):
        @handler
        def add(self, message: Add) -> Reply[int]:
            service = world.service(KEY)
            return self.context.forward(service, message)

    front = await world.spawn(Front)
    for _ in range(HELD):
        world.service(KEY).tell_nowait(Add(1))
    with pytest.raises(MailboxFull):
        await front.ask(Add(1))
    await front.tell(Add(1))
    await world.settled()
    assert [letter.reason for letter in world.dead()] == ["overflow"]
    world.register(KEY, await world.spawn(Counter))
    await world.settled()
    assert await front.ask(Add(0)) == HELD


async def test_a_failure_behind_a_service_reaches_the_asker(world: World) -> None:
    world.register(KEY, await world.spawn(Counter))
    with pytest.raises(ActorFailed) as caught:
        await world.service(KEY).ask(Boom())
    assert isinstance(caught.value.__cause__, ValueError)


# --- The end of the system --------------------------------------------------


def test_what_is_still_held_at_the_end_is_a_dead_letter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is lost in silence: reason "stopped", and the books are right."""

    async def main() -> None:
        async with open_system() as system:
            letters = system.dead_letters()
            with letters:
                service = system.service(NOTES)
                await service.tell(Note("lost"))
                pending = system.service(KEY).ask_nowait(Get())
                system.stop()
        with pytest.raises(ActorStopped):
            await pending
        assert system.statistics()["dead_lettered"] == 2

    with caplog.at_level(logging.WARNING):
        run_main(main)
    assert "Note(text='lost')" in caplog.text


def test_an_asker_inside_gets_its_error_when_nobody_can_come_any_more() -> None:
    """An actor that waits for a service nobody offers must not be killed for it."""
    ends: list[tuple[str, float]] = []

    async def main() -> None:
        async with open_system(shutdown=4.0) as system:

            async def run(inbox: Inbox[Note]) -> None:
                async for _ in inbox:
                    try:
                        await system.service(KEY).ask(Get())
                    except ActorStopped:
                        ends.append(("ActorStopped", trio.current_time()))

            await (await system.spawn(run)).tell(Note())

    run_main(main)
    # At half of the shutdown: until then somebody might still offer it.
    assert ends == [("ActorStopped", 2.0)]


def test_messages_to_a_service_flow_while_the_system_settles() -> None:
    """Leaving the block: messages between actors flow until all is idle."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:

            class Sender(Actor[Note]):
                @handler
                async def note(self, message: Note) -> None:
                    await trio.sleep(0.1)
                    log.append(str(system.find(NOTES) is not None))
                    await system.service(NOTES).tell(Note("late"))

            await system.spawn(Reader, log)
            sender = await system.spawn(Sender)
            await sender.tell(Note())

    run_main(main)
    assert log == ["True", "late"]


def test_nobody_is_a_service_for_those_outside_after_the_end() -> None:
    """After the end a message is a dead letter at once, and an ask fails at once."""

    async def main() -> None:
        async with open_system() as system:
            service = system.service(KEY)
        await service.tell(Add(1))
        service.tell_nowait(Add(1))
        service.tell_soon(Add(1))
        with pytest.raises(ActorStopped):
            await service.ask(Add(1))
        assert system.find(KEY) is None
        assert system.statistics()["dead_lettered"] == 4

    run_main(main)


async def test_probes_can_play_a_service(world: World) -> None:
    probe = Probe[Get](world)
    world.register(ServiceKey[Get]("probe"), probe.ref)

    class Front(Actor[Get]):
        @handler
        async def get(self, message: Get) -> int:
            return 1 + await world.service(ServiceKey[Get]("probe")).ask(message)

    front = await world.spawn(Front)
    pending = front.ask_nowait(Get())
    probe.reply(await probe.expect(Get), 41)
    assert await pending == 42


class Text(Request[str]): ...


async def test_a_race_among_holders_gives_the_first_good_answer(world: World) -> None:
    async def run(inbox: Inbox[Text], delay: float, answer: str) -> None:
        async for message in inbox:
            await trio.sleep(delay)
            inbox.reply(message, answer)

    key = ServiceKey[Text]("texts")
    for delay, answer in ((3.0, "slow"), (1.0, "fast"), (2.0, "middle")):
        world.register(key, await world.spawn(run, delay, answer))
    assert await world.service(key, "first").ask(Text()) == "fast"
    assert await world.service(key, "broadcast").ask(Text()) == "fast"


async def test_who_waits_for_room_in_a_pool_that_offers_a_service(world: World) -> None:
    """ROU-1: the message goes to a worker, never into the pool's own mailbox."""
    log: list[str] = []

    class Busy(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(1)
            log.append(message.text)

    pool = await world.spawn_pool(Busy, size=1, mailbox=Mailbox(1))
    world.register(NOTES, pool)
    for number in range(5):
        await world.service(NOTES).tell(Note(str(number)))
    await world.settled()
    assert log == ["0", "1", "2", "3", "4"]


async def test_a_holder_that_takes_no_more_is_its_senders_error(world: World) -> None:
    """MBX-2: overflow "fail" is told to who waits, through a service too."""
    full = Mailbox(1, overflow="fail")
    ref = await world.spawn(Worker, name="worker", mailbox=full)
    world.register(NOTES, ref)
    service = world.service(NOTES)
    service.tell_nowait(Note("first"))
    with pytest.raises(MailboxFull, match="of /worker is full"):
        await service.tell(Note("second"))
