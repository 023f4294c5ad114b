"""Topics and streams: publishing never waits, and nobody is told too late (REG-5)."""

import logging
import math

import pytest
import trio
import trio.testing

from tests.kit import Boom, Counter, Get, Note, Worker, open_system, run_main
from trio_actors import (
    Actor,
    DeadLetter,
    Event,
    Exit,
    Inbox,
    Mailbox,
    ServiceKey,
    Subscription,
    Topic,
    handler,
)
from trio_actors.testing import World

NEWS = Topic[Note]("news")


class Listener(Actor[Note]):
    """Listens from its start on, and writes down what it hears."""

    def __init__(self, log: list[str], name: str = "") -> None:
        self.log = log
        self.name = name

    async def started(self) -> None:
        self.context.subscribe(NEWS)

    @handler
    def note(self, message: Note) -> None:
        self.log.append(self.name + message.text)


# --- Actors -----------------------------------------------------------------


async def test_every_subscriber_gets_what_is_published_in_the_order_they_came(
    world: World,
) -> None:
    log: list[str] = []
    for name in "abc":
        await world.spawn(Listener, log, name)
    world.publish(NEWS, Note("1"))
    await world.settled()
    world.publish(Topic[Note]("news"), Note("2"))  # equal names are equal topics
    await world.settled()
    assert log == ["a1", "b1", "c1", "a2", "b2", "c2"]


async def test_publishing_to_nobody_is_nothing(world: World) -> None:
    world.publish(NEWS, Note("unheard"))
    await world.settled()
    assert world.statistics()["accepted"] == 0


async def test_subscribing_twice_is_subscribing_once_and_survives_restarts(
    world: World,
) -> None:
    """Design 3: subscribe again by the holder is a no-op, so started() may do it."""
    log: list[str] = []
    listener = await world.spawn(Listener, log)
    listener.restart()
    await world.settled()
    world.publish(NEWS, Note("once"))
    await world.settled()
    assert log == ["once"]


async def test_what_is_published_during_a_restart_waits_in_the_mailbox(
    world: World,
) -> None:
    log: list[str] = []

    class Slow(Listener):
        async def started(self) -> None:
            if self.context.incarnation > 1:
                await trio.sleep(1)
            self.context.subscribe(NEWS)

    slow = await world.spawn(Slow, log)
    slow.restart()
    await trio.sleep(0.5)
    world.publish(NEWS, Note("meanwhile"))
    await world.settled()
    assert log == ["meanwhile"]


async def test_unsubscribe_ends_it_and_again_is_nothing(world: World) -> None:
    log: list[str] = []

    class Once(Listener):
        @handler
        def note(self, message: Note) -> None:
            self.log.append(message.text)
            self.context.unsubscribe(NEWS)
            self.context.unsubscribe(NEWS)
            self.context.unsubscribe(Topic[Note]("never"))

    await world.spawn(Once, log)
    await world.spawn(Listener, log, "other ")
    for text in "12":
        world.publish(NEWS, Note(text))
        await world.settled()
    assert log == ["1", "other 1", "other 2"]


async def test_unsubscribe_without_any_topic_is_nothing(world: World) -> None:
    async def listen(inbox: Inbox[Note]) -> None:
        inbox.unsubscribe(NEWS)
        async for _ in inbox:
            pass

    listener = await world.spawn(listen)
    world.publish(NEWS, Note())
    await world.settled()
    assert world.find(listener.path) == listener
    assert world.statistics()["accepted"] == 0


async def test_a_subscriber_that_has_stopped_is_forgotten(world: World) -> None:
    """It gets no dead letters: its end ends its subscription in the same step."""
    log: list[str] = []
    one = await world.spawn(Listener, log, "one ")
    await world.spawn(Listener, log, "two ")
    one.kill()
    await one.wait_stopped()
    world.publish(NEWS, Note("!"))
    await world.settled()
    assert log == ["two !"]
    assert world.dead() == []


async def test_one_that_is_about_to_stop_gets_a_dead_letter_and_the_others_hear(
    world: World,
) -> None:
    """Subscribers are told one by one: one that refuses must not hurt the others."""
    log: list[str] = []

    class Goodbye(Listener):
        async def stopped(self, reason: Exit) -> None:
            world.publish(NEWS, Note("bye"))

    goodbye = await world.spawn(Goodbye, log)
    await world.spawn(Listener, log, "other ")
    goodbye.stop()
    await world.settled()
    assert log == ["other bye"]
    assert [(dead.to, dead.reason) for dead in world.dead()] == [(goodbye, "stopped")]


@pytest.mark.parametrize("overflow", ["block", "fail"])
async def test_publishing_never_waits_and_a_full_mailbox_is_a_dead_letter(
    world: World, overflow: str
) -> None:
    """Design 4: no room under ``block`` or ``fail`` is a dead letter ``overflow``."""
    log: list[str] = []
    box = Mailbox(2, overflow)  # type: ignore[arg-type]  # one of two
    await world.spawn(Listener, log, mailbox=box)
    other = await world.spawn(Listener, log, "other ")
    for number in range(4):
        world.publish(NEWS, Note(str(number)))
    await world.settled()
    assert [text for text in log if "other" not in text] == ["0", "1"]
    assert len([text for text in log if "other" in text]) == 4
    lost = world.dead()
    assert [letter.reason for letter in lost] == ["overflow"] * 2
    assert other not in [letter.to for letter in lost]


async def test_only_the_newest_counts_for_an_actor_that_drops_the_oldest(
    world: World,
) -> None:
    log: list[str] = []
    await world.spawn(Listener, log, mailbox=Mailbox(1, "drop_oldest"))
    for number in range(3):
        world.publish(NEWS, Note(str(number)))
    await world.settled()
    assert log == ["2"]
    assert [letter.message for letter in world.dead()] == [Note("0"), Note("1")]


async def test_a_handler_may_publish_and_hears_itself(world: World) -> None:
    log: list[str] = []

    class Echo(Listener):
        @handler
        def note(self, message: Note) -> None:
            self.log.append(message.text)
            if len(message.text) < 3:
                self.context.system.publish(NEWS, Note(message.text + "!"))

    echo = await world.spawn(Echo, log)
    await echo.tell(Note("a"))
    await world.settled()
    assert log == ["a", "a!", "a!!"]


async def test_a_subscriber_that_comes_or_goes_while_it_is_published(
    world: World,
) -> None:
    """Who listens is decided when it is published."""
    log: list[str] = []

    class Leaving(Listener):
        @handler
        def note(self, message: Note) -> None:
            self.log.append(message.text)
            self.context.unsubscribe(NEWS)
            self.context.spawn_nowait(Listener, self.log, "new ")

    await world.spawn(Leaving, log)
    world.publish(NEWS, Note("1"))
    await world.settled()
    world.publish(NEWS, Note("2"))
    await world.settled()
    assert log == ["1", "new 2"]


async def test_a_function_actor_hears_too(world: World) -> None:
    log: list[str] = []

    async def listen(inbox: Inbox[Note]) -> None:
        inbox.subscribe(NEWS)
        async for message in inbox:
            log.append(message.text)  # noqa: PERF401  # as it comes

    await world.spawn(listen)
    world.publish(NEWS, Note("heard"))
    await world.settled()
    assert log == ["heard"]


# --- Streams ----------------------------------------------------------------


async def test_a_stream_gives_what_is_published_between_with_and_its_end(
    world: World,
) -> None:
    stream = world.subscribe(NEWS)
    world.publish(NEWS, Note("before"))
    with stream as values:
        assert values is stream
        world.publish(NEWS, Note("1"))
        world.publish(NEWS, Note("2"))
        assert [await values.receive(), await values.receive()] == [
            Note("1"),
            Note("2"),
        ]
    world.publish(NEWS, Note("after"))
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive()


async def test_two_streams_have_a_buffer_each(world: World) -> None:
    with world.subscribe(NEWS) as one, world.subscribe(NEWS) as two:
        world.publish(NEWS, Note("x"))
        assert await one.receive() == await two.receive() == Note("x")


async def test_a_stream_is_entered_once(world: World) -> None:
    stream = world.subscribe(NEWS)
    with stream:
        with pytest.raises(RuntimeError, match="already in use"), stream:
            pass
        world.publish(NEWS, Note("still"))
        assert await stream.receive() == Note("still")
    with pytest.raises(RuntimeError, match="is or was already in use"), stream:
        pass


async def test_a_stream_outside_of_its_block_says_what_to_write(world: World) -> None:
    stream = world.subscribe(NEWS)
    with pytest.raises(RuntimeError, match=r"with system\.subscribe"):
        await stream.receive()
    with pytest.raises(RuntimeError, match=r"with system\.subscribe"):
        async for _ in stream:
            pass


@pytest.mark.parametrize("overflow", ["block", "fail", "drop_new"])
async def test_a_slow_stream_drops_the_newest_and_says_so_once(
    world: World, overflow: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for a stream: "block" and "fail" drop as "drop_new" does."""
    buffer = Mailbox(2, overflow)  # type: ignore[arg-type]  # one of four
    with world.subscribe(NEWS, buffer=buffer) as values:
        for number in range(5):
            world.publish(NEWS, Note(str(number)))
        with caplog.at_level(logging.WARNING):
            assert await values.receive() == Note("0")
            assert await values.receive() == Note("1")
        world.publish(NEWS, Note("5"))
        assert await values.receive() == Note("5")
    assert [record.getMessage()[:32] for record in caplog.records] == [
        "3 values of topic 'news' were dr"
    ]


async def test_a_slow_stream_keeps_the_newest_1024_by_default(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Design 4: a subscription's default is ``Mailbox(1024, "drop_oldest")``."""
    with world.subscribe(NEWS) as values, caplog.at_level(logging.WARNING):
        for number in range(1030):
            world.publish(NEWS, Note(str(number)))
        got = [(await values.receive()).text for _ in range(1024)]
    assert got == [str(number) for number in range(6, 1030)]
    assert "6 values" in caplog.text


async def test_a_stream_without_a_limit_drops_nothing(world: World) -> None:
    with world.subscribe(NEWS, buffer=Mailbox(math.inf)) as values:
        for number in range(3000):
            world.publish(NEWS, Note(str(number)))
        got = [(await values.receive()).text for _ in range(3000)]
    assert got == [str(number) for number in range(3000)]


async def test_a_stream_that_is_cancelled_loses_nothing(world: World) -> None:
    with world.subscribe(NEWS) as values:
        with trio.move_on_after(1):
            await values.receive()
        world.publish(NEWS, Note("x"))
        assert await values.receive() == Note("x")


async def test_a_subscriber_may_leave_in_the_middle_of_the_news(world: World) -> None:
    """A stream that is closed while the news goes round."""
    stream = world.subscribe(NEWS)
    with stream:
        world.publish(NEWS, Note("x"))
    world.publish(NEWS, Note("y"))
    with world.subscribe(NEWS) as other:
        world.publish(NEWS, Note("z"))
        assert await other.receive() == Note("z")


# --- Streams and the end of the system --------------------------------------


async def no_more(stream: Subscription[object]) -> None:
    with stream as values:
        await no_more_of(values)


async def no_more_of(values: Subscription[object]) -> None:
    with trio.fail_after(1), pytest.raises(trio.EndOfChannel):
        await values.receive()


def test_a_stream_ends_with_its_system_after_what_is_stored() -> None:
    """The block of a system ends, and so do the loops over its streams."""
    heard: list[object] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def listen(stream: Subscription[object]) -> None:
                with stream as values:
                    async for value in values:
                        heard.append(value)  # noqa: PERF401  # as it comes

            async with open_system() as system:
                nursery.start_soon(listen, system.subscribe(NEWS))
                nursery.start_soon(listen, system.events())
                nursery.start_soon(listen, system.dead_letters())
                await trio.testing.wait_all_tasks_blocked()
                counter = await system.spawn(Counter)
                counter.stop()
                await counter.wait_stopped()
                await counter.tell(Get())
                system.publish(NEWS, Note("last"))

    run_main(main)
    assert Note("last") in heard
    kinds = [one.kind for one in heard if isinstance(one, Event)]
    assert kinds == ["started", "stopped"]
    letters = [one for one in heard if isinstance(one, DeadLetter)]
    assert [letter.message for letter in letters] == [Get()]


def test_a_stream_that_is_opened_after_the_end_ends_at_once() -> None:
    async def main() -> None:
        async with open_system() as system:
            worker = await system.spawn(Worker)
        for stream in (
            system.subscribe(NEWS),
            system.events(),
            system.dead_letters(),
            system.trace(worker),
        ):
            await no_more(stream)
        with system.subscribe(ServiceKey[Get]("key")) as listings:
            assert await listings.receive() == ()
            await no_more_of(listings)

    run_main(main)


# --- Events and traces ------------------------------------------------------


async def test_the_events_of_an_actor_come_in_order(world: World) -> None:
    with world.events() as events:
        worker = await world.spawn(Worker)
        await worker.tell(Boom(KeyError("x")))
        await world.settled()
        worker.stop()
        await worker.wait_stopped()
        found: list[Event] = [await events.receive() for _ in range(5)]
    assert [event.kind for event in found] == [
        "started",
        "failed",
        "restarting",
        "restarted",
        "stopped",
    ]
    assert {event.ref for event in found} == {worker}
    assert isinstance(found[1].error, KeyError)


async def test_the_trace_of_an_actor_shows_its_messages_in_order(world: World) -> None:
    """S1-6: a serial trace of the events of an actor can be shown."""
    counter = await world.spawn(Counter)
    await counter.tell(Get())
    await world.settled()
    with world.trace(counter) as messages:
        await counter.tell(Boom(ValueError("one")))
        await counter.ask(Get())
        got = [await messages.receive(), await messages.receive()]
    assert [type(message) for message in got] == [Boom, Get]


async def test_a_trace_that_begins_in_the_middle_of_a_batch_misses_nothing(
    world: World,
) -> None:
    class Both(Actor[Note | Get]):
        @handler
        async def note(self, message: Note) -> None:
            await trio.sleep(1)

        @handler
        def get(self, message: Get) -> int:
            return 1

    both = await world.spawn(Both)
    await both.tell(Note())
    for _ in range(3):
        await both.tell(Get())
    await trio.sleep(0.5)
    with world.trace(both) as messages:
        await world.settled()
        for _ in range(3):
            with trio.fail_after(1):
                assert await messages.receive() == Get()


async def test_a_trace_ends_with_its_actor(world: World) -> None:
    """For good: a restart goes on."""
    counter = await world.spawn(Counter)
    with world.trace(counter) as messages:
        counter.restart()
        await counter.tell(Get())
        await world.settled()
        counter.stop()
        with trio.fail_after(1):
            assert [message async for message in messages] == [Get()]


async def test_the_trace_of_an_actor_that_has_stopped_ends_at_once(
    world: World,
) -> None:
    counter = await world.spawn(Counter)
    counter.kill()
    await counter.wait_stopped()
    with world.trace(counter) as messages, trio.fail_after(1):
        assert [message async for message in messages] == []


async def test_nothing_is_kept_of_a_topic_whose_streams_have_gone(
    world: World,
) -> None:
    """A topic per user: also where nothing is ever published on it."""
    for number in range(3):
        topic = Topic[Note](f"user {number}")
        with world.subscribe(topic) as one:
            with world.subscribe(topic):
                pass
            world.publish(topic, Note("!"))
            assert await one.receive() == Note("!")
        assert world._topics._feeds == {}
