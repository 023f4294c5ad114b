"""The conservation law: at any moment, in any program, every message is somewhere.

ORD-5, N-5: accepted = queued + stashed + handling + handled + failed + abandoned
+ expired + dead-lettered.
"""

import logging
import math
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.kit import Add, Boom, Counter, Get, Note, Sleep, Worker, check_books
from trio_actors import (
    Actor,
    ActorError,
    ActorRef,
    Backoff,
    ChildSpec,
    Inbox,
    Mailbox,
    MailboxFull,
    Reply,
    Request,
    Supervision,
    Terminated,
    handler,
)
from trio_actors.testing import World, run

# --- An actor that does everything one can do with a message ----------------


@attrs.frozen
class Hold(Request[int]):
    """Stash this."""


@attrs.frozen
class Free:
    """Unstash what is stashed."""


@attrs.frozen
class Later(Request[int]):
    """Answer this after some time, from a task beside."""


@attrs.frozen
class Pass(Request[int]):
    """Forward this to the next."""


@attrs.frozen
class Many(Request[int]):
    """One of a batch; *bad* ones make it fail."""

    bad: bool = False


@attrs.frozen
class Tick:
    """From a timer."""


@attrs.frozen
class Strange(Request[int]):
    """What nobody has a handler for."""


@attrs.frozen
class Careful(Request[int]):
    """What is cancelled together with who asks."""


Jobs = Hold | Free | Later | Pass | Many | Tick | Careful


class Jack(Actor[Add | Boom | Sleep | Jobs | Terminated]):
    """Checks the books in each handler, with a message in hand."""

    def __init__(self, others: list[ActorRef[Any]]) -> None:
        self.others = others

    def look(self) -> None:
        check_books(self.context.system)

    async def started(self) -> None:
        self.look()
        self.context.send_every(0.7, Tick())

    async def stopped(self, reason: object) -> None:
        self.look()

    @handler
    def add(self, message: Add) -> int:
        self.look()
        return message.amount

    @handler
    def boom(self, message: Boom) -> int:
        self.look()
        raise message.error

    @handler
    async def sleep(self, message: Sleep) -> int:
        self.look()
        await trio.sleep(message.seconds)
        self.look()
        return 0

    @handler
    def hold(self, message: Hold) -> Reply[int]:
        reply = self.context.stash(message)
        self.look()
        return reply

    @handler
    def free(self, message: Free) -> None:
        self.context.unstash_all()
        self.look()

    @handler
    def later(self, message: Later) -> Reply[int]:
        reply = self.context.defer_reply(message)
        self.context.start_soon(self.answer, reply)
        self.look()
        return reply

    async def answer(self, reply: Reply[int]) -> None:
        await trio.sleep(0.3)
        reply.send(1)

    @handler
    def hand_on(self, message: Pass) -> Reply[int]:
        reply = self.context.forward(self.others[0], Add(2))
        self.look()
        return reply

    @handler(batch=3)
    def many(self, messages: list[Many]) -> list[int]:
        self.look()
        if any(message.bad for message in messages):
            raise ValueError("a bad one")
        return [1] * len(messages)

    @handler
    def tick(self, message: Tick) -> None:
        self.look()

    @handler(cancel_with_caller=True)
    async def careful(self, message: Careful) -> int:
        await trio.sleep(0.5)
        self.look()
        return 3

    @handler
    def ended(self, message: Terminated) -> None:
        self.look()


async def listen(inbox: Inbox[Any], others: list[ActorRef[Any]]) -> None:
    """The same as a function, for some of the messages."""
    async for message in inbox:
        check_books(inbox.system)
        match message:
            case Add(amount):
                inbox.reply(message, amount)
            case Boom(error):
                raise error
            case Sleep(seconds):
                await trio.sleep(seconds)
            case Hold():
                inbox.stash(message)
            case Free():
                inbox.unstash_all()
            case _:
                pass
        check_books(inbox.system)


# --- Programs ---------------------------------------------------------------

MESSAGES = st.sampled_from(
    [
        Add(1),
        Boom(),
        Sleep(0.4),
        Hold(),
        Free(),
        Later(),
        Pass(),
        Many(),
        Many(bad=True),
        Strange(),
        Careful(),
    ]
)
WHO = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["tell", "soon", "nowait", "client"]), WHO, MESSAGES),
    st.tuples(st.just("ask"), WHO, MESSAGES),
    st.tuples(st.just("burst"), WHO, st.lists(MESSAGES, max_size=8)),
    st.tuples(st.sampled_from(["stop", "drain", "kill", "restart"]), WHO, st.none()),
    st.tuples(st.just("sleep"), st.floats(0, 2), st.none()),
)


async def ask(ref: ActorRef[Any], message: Any) -> None:
    """Ask for a moment, whatever comes."""
    with trio.move_on_after(0.2):
        try:
            await ref.ask(message)
        except ActorError:
            pass
        except TypeError:
            assert isinstance(message, Free)


async def play(world: World, steps: list[tuple[str, Any, Any]]) -> None:
    """Do what the steps say."""
    others: list[ActorRef[Any]] = []
    pause = Supervision(max_restarts=None, backoff=Backoff(0.1, 0.2))
    rules = Supervision("one_for_all", max_restarts=None)
    others.append(await world.spawn(Counter, mailbox=Mailbox(2, "drop_oldest")))
    lone = await world.spawn_supervisor(supervision=pause)
    family = await world.spawn_supervisor(supervision=rules)
    places = [
        (lone, Jack, Mailbox(3)),
        (family, Jack, Mailbox(2, "drop_new")),
        (family, Jack, Mailbox(4, "fail")),
        (lone, listen, Mailbox(3, "drop_oldest")),
    ]
    for parent, kind, box in places:
        actor: Any = kind
        others.append(await parent.spawn(actor, others, mailbox=box, shutdown=1))
    world.always(lambda: _holds(world))
    for verb, who, what in steps:
        if verb == "sleep":
            await trio.sleep(who)
            continue
        await _do(world, others[1 + int(who)], verb, what)
        check_books(world)
    await trio.sleep(10)
    world.dead()


async def _do(world: World, ref: ActorRef[Any], verb: str, what: Any) -> None:
    if verb in ("tell", "burst"):
        burst: list[Any] = what if verb == "burst" else [what]
        with trio.move_on_after(0.1), suppress(MailboxFull):
            await ref.tell_all(burst)
    elif verb == "client":
        world.client(_patient, ref, what)
    elif verb == "ask":
        world.client(ask, ref, what)
    elif verb == "soon":
        ref.tell_soon(what)
    elif verb == "nowait":
        with suppress(MailboxFull):
            ref.tell_nowait(what)
    else:
        getattr(ref, verb)()


async def _patient(ref: ActorRef[Any], what: Any) -> None:
    with trio.move_on_after(1), suppress(MailboxFull):
        await ref.tell(what)


def _holds(world: World) -> bool:
    books = dict(world.statistics())
    return books.pop("accepted") == sum(books.values()) and min(books.values()) >= 0


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
@given(st.lists(STEPS, max_size=14))
def test_the_books_are_right_after_every_step_of_any_program(steps: list[Any]) -> None:
    """ORD-5: at every step of the run, and inside of every handler."""
    logging.disable(logging.CRITICAL)
    try:
        run(play, steps)
    finally:
        logging.disable(logging.NOTSET)


# --- Each counter by itself -------------------------------------------------


def books(world: World) -> dict[str, int]:
    """The counters that are not zero."""
    return {name: number for name, number in world.statistics().items() if number}


async def test_a_told_message_is_queued_then_handled(world: World) -> None:
    ref = await world.spawn(Counter)
    ref.tell_nowait(Add())
    assert books(world) == {"accepted": 1, "queued": 1}
    await world.settled()
    assert books(world) == {"accepted": 1, "handled": 1}


async def test_a_message_in_hand_is_handling(world: World) -> None:
    ref = await world.spawn(Worker)
    ref.tell_nowait(Sleep(1))
    ref.tell_nowait(Sleep(1))
    await trio.sleep(0.5)
    assert books(world) == {"accepted": 2, "handling": 1, "queued": 1}
    await world.settled()
    assert books(world) == {"accepted": 2, "handled": 2}


async def test_in_the_middle_of_a_batch_of_plain_handlers(world: World) -> None:
    """The counter of handled messages lags there, but the law holds."""
    seen: list[dict[str, int]] = []

    class Looking(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            seen.append(dict(self.context.system.statistics()))

    ref = await world.spawn(Looking)
    for _ in range(3):
        ref.tell_nowait(Note())
    await world.settled()
    found = [(one["handled"], one["handling"], one["queued"]) for one in seen]
    assert found == [(0, 1, 2), (1, 1, 1), (2, 1, 0)]
    assert all(one["accepted"] == 3 for one in seen)


async def test_a_failure_is_failed_and_a_killed_turn_too(world: World) -> None:
    ref = await world.spawn(Worker)
    ref.tell_nowait(Boom())
    ref.tell_nowait(Sleep(9))
    await trio.sleep(1)
    ref.kill()
    await ref.wait_stopped()
    assert books(world) == {"accepted": 2, "failed": 2}


async def test_an_ask_that_was_given_up_is_abandoned(world: World) -> None:
    ref = await world.spawn(Worker)
    ref.tell_nowait(Sleep(5))
    with trio.move_on_after(1):
        await ref.ask(Get())
    await world.settled()
    assert books(world) == {"accepted": 2, "handled": 1, "abandoned": 1}


async def test_a_stale_tick_is_expired(world: World) -> None:
    class Ticking(Actor[Note | Sleep]):
        async def started(self) -> None:
            self.context.send_after(1, Note())

        @handler
        async def sleep(self, message: Sleep) -> int:
            await trio.sleep(message.seconds)
            self.context.cancel_timer(Note())
            return 0

        @handler
        def note(self, message: Note) -> None:
            raise AssertionError("it was cancelled")

    ref = await world.spawn(Ticking)
    ref.tell_nowait(Sleep(2))
    await world.settled()
    assert books(world) == {"accepted": 2, "handled": 1, "expired": 1}


async def test_what_is_refused_at_the_door_is_accepted_and_dead(world: World) -> None:
    ref = await world.spawn(Counter)
    ref.stop()
    await ref.wait_stopped()
    ref.tell_nowait(Add())
    assert books(world) == {"accepted": 1, "dead_lettered": 1}
    assert len(world.dead()) == 1


async def test_what_an_ended_actor_has_counted_is_kept(world: World) -> None:
    """The sums outlive the actors."""
    ref = await world.spawn(Counter)
    await ref.ask(Add())
    ref.stop()
    await ref.wait_stopped()
    assert books(world) == {"accepted": 1, "handled": 1}


@pytest.mark.parametrize("overflow", ["drop_new", "drop_oldest"])
async def test_a_dropped_message_is_dead_and_the_others_are_not(
    world: World, overflow: Any
) -> None:
    ref = await world.spawn(Worker, mailbox=Mailbox(1, overflow))
    ref.tell_nowait(Sleep(1))
    await trio.sleep(0.5)
    for amount in range(3):
        ref.tell_nowait(Add(amount))
    assert books(world) == {
        "accepted": 4,
        "handling": 1,
        "queued": 1,
        "dead_lettered": 2,
    }
    await world.settled()
    kept = {letter.message for letter in world.dead()}
    assert kept == {Add(1), Add(2)} if overflow == "drop_new" else {Add(0), Add(1)}


# --- The most that ever waited ----------------------------------------------


class Growing(Actor[Note]):
    """Its message "more" lets a burst begin in the middle of a batch."""

    @handler
    def note(self, message: Note) -> None:
        for _ in range(40 if message.text == "more" else 0):
            self.context.ref.tell_nowait(Note())
        if message.text == "crash":
            raise ValueError(message.text)


@pytest.mark.parametrize("how", ["batch", "backoff"])
async def test_the_most_that_ever_waited_is_what_waited(world: World, how: str) -> None:
    """`Snapshot.high_water`: also when it came between two batches, or two lives."""
    rules = Supervision(backoff=Backoff(1, 1))
    top = await world.spawn_supervisor(name="top", supervision=rules)
    box = Mailbox(math.inf)
    await top.start_child(ChildSpec("growing", Growing, mailbox=box))
    ref: Any = world.find("/top/growing")
    for number in range(30):
        ref.tell_nowait(Note("crash" if how == "backoff" and number == 9 else ""))
    ref.tell_nowait(Note("more" if how == "batch" else ""))
    await trio.lowlevel.checkpoint()
    for _ in range(100):
        ref.tell_nowait(Note())
    (child,) = world.snapshot().children[0].children
    most = child.queued
    assert most > 100
    await world.settled()
    (child,) = world.snapshot().children[0].children
    assert (child.queued, child.high_water) == (0, most)


async def test_a_signal_that_ends_a_batch_makes_no_room(world: World) -> None:
    """MBX-1: it is put back, and took no room before."""

    class Batches(Actor[Note | Terminated]):
        @handler(batch=10)
        async def notes(self, messages: list[Note]) -> None:
            for message in messages:
                if message.text == "watch":
                    self.context.watch(other)
            await trio.sleep(1)

        @handler
        async def terminated(self, message: Terminated) -> None:
            await trio.sleep(1)

    other = await world.spawn(Growing)
    ref = await world.spawn(Batches, mailbox=Mailbox(3, "fail"))
    ref.tell_nowait(Note("watch"))
    await trio.sleep(0.5)
    ref.tell_nowait(Note("ends the batch before"))
    other.stop()
    await other.wait_stopped()
    ref.tell_nowait(Note("behind it"))
    await trio.sleep(1)  # it has the first in hand, and has put the signal back
    ref.tell_nowait(Note())
    ref.tell_nowait(Note())
    with pytest.raises(MailboxFull):
        ref.tell_nowait(Note("one too many"))
    await world.settled()
