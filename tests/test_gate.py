"""The output gate: nothing leaves a durable turn before what it stored is durable."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import attrs
import pytest
import trio

from tests.actors import Sleeper
from tests.kit import Sleep
from tests.persistence.ledger import Added, Do, Ledger, Read, add
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorSystem,
    ChildSpec,
    Exit,
    Inbox,
    Mailbox,
    Reply,
    Request,
    ServiceKey,
    Topic,
    handler,
    open_actor_system,
)
from trio_actors.persistence import MemoryJournal, WriteFailed
from trio_actors.testing import Probe, World


@attrs.frozen
class Ping(Request[int]):
    number: int = 0


Words = ActorRef[Any]
Send = Callable[[Words, str], Any]


@pytest.fixture
def journal(world: World) -> MemoryJournal:
    journal = MemoryJournal()
    world.use(journal)
    return journal


async def ledger_in(world: World) -> ActorRef[Any]:
    return await world.spawn(Ledger, name="ledger")


async def tell(to: Words, word: str) -> None:
    await to.tell(word)


async def tell_all(to: Words, word: str) -> None:
    await to.tell_all([word])


async def tell_nowait(to: Words, word: str) -> None:
    to.tell_nowait(word)


async def tell_soon(to: Words, word: str) -> None:
    to.tell_soon(word)


async def in_a_nursery(to: Words, word: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(to.tell, word)


async def from_a_thread_of_the_handler(to: Words, word: str) -> None:
    def work() -> None:
        trio.from_thread.run_sync(to.tell_soon, word)

    await trio.to_thread.run_sync(work)


WAYS = [tell, tell_all, tell_nowait, tell_soon, in_a_nursery]


@pytest.mark.parametrize("send", WAYS)
async def test_what_is_told_leaves_when_the_turn_is_durable(
    send: Send, world: World, journal: MemoryJournal
) -> None:
    """PER-3: before it waits, a turn stores what it has; then what it told goes."""
    probe = Probe[str](world)

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        await send(probe.ref, "told")

    journal.delay(1)
    ledger = await ledger_in(world)
    before = trio.current_time()
    await ledger.tell(Do(act))
    assert await probe.receive() == "told"
    assert trio.current_time() == before + 1


@pytest.mark.parametrize("send", WAYS)
@pytest.mark.parametrize("first", ["told", "stored"])
async def test_what_a_failed_turn_told_never_leaves(
    send: Send, first: str, world: World, journal: MemoryJournal
) -> None:
    probe = Probe[str](world)

    async def act(ledger: Ledger) -> None:
        if first == "told":
            await send(probe.ref, "told")
        await ledger.persist(Added("a"))
        if first == "stored":
            await send(probe.ref, "told")

    ledger = await ledger_in(world)
    journal.fail_next()
    with pytest.raises(ActorFailed) as caught:
        await ledger.ask(Do(act))
    assert isinstance(caught.value.__cause__, WriteFailed)
    await probe.expect_no_message()
    assert await ledger.ask(Read()) == ()


async def test_the_order_to_each_receiver_is_kept(
    world: World, journal: MemoryJournal
) -> None:
    one, two = Probe[Any](world), Probe[Any](world)

    async def act(ledger: Ledger) -> None:
        one.ref.tell_soon(1)
        two.ref.tell_soon(2)
        await one.ref.tell(3)
        await ledger.persist(Added("a"))
        await one.ref.tell_all([4, 5])
        two.ref.tell_nowait(6)
        await trio.sleep(1)
        one.ref.tell_soon(7)

    ledger = await ledger_in(world)
    await ledger.ask(Do(act))
    assert [await one.receive() for _ in range(5)] == [1, 3, 4, 5, 7]
    assert [await two.receive() for _ in range(2)] == [2, 6]


class Echo(Actor[Ping | str]):
    def __init__(self, heard: list[Any] | None = None) -> None:
        self.heard: list[Any] = [] if heard is None else heard

    @handler
    def ping(self, message: Ping) -> int:
        self.heard.append(message.number)
        return message.number

    @handler
    def word(self, message: str) -> None:
        self.heard.append(message)


async def test_a_question_before_the_first_persist_goes_at_once(
    world: World, journal: MemoryJournal
) -> None:
    """And what was told to the same actor before goes with it, in order."""
    other = Probe[str](world)
    heard, then = list[Any](), list[Any]()
    echo = await world.spawn(Echo, heard)

    async def act(ledger: Ledger) -> int:
        other.ref.tell_soon("other")
        echo.tell_soon("first")
        answer = await echo.ask(Ping(1))
        then.extend(heard)
        raise RuntimeError(f"after {answer}")

    ledger = await ledger_in(world)
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    assert then == heard == ["first", 1]
    await other.expect_no_message()


@pytest.mark.parametrize("nowait", [True, False])
async def test_a_question_after_a_persist_goes_when_that_is_durable(
    nowait: bool, world: World, journal: MemoryJournal
) -> None:
    echo = await world.spawn(Echo)

    async def act(ledger: Ledger) -> tuple[int, float]:
        await ledger.persist(Added("a"))
        if nowait:
            return await echo.ask_nowait(Ping(7)), trio.current_time()
        return await echo.ask(Ping(7)), trio.current_time()

    journal.delay(1)
    ledger = await ledger_in(world)
    before = trio.current_time()
    assert await ledger.ask(Do(act)) == (7, before + 1)


async def test_a_question_of_a_turn_whose_write_fails_is_never_asked(
    world: World, journal: MemoryJournal
) -> None:
    """Nobody is woken who has stopped waiting: the actor goes on as if new."""
    heard: list[Any] = []
    echo = await world.spawn(Echo, heard)

    async def act(ledger: Ledger) -> int:
        await ledger.persist(Added("a"))
        return await echo.ask(Ping(7))

    ledger = await ledger_in(world)
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    for _ in range(3):
        await trio.sleep(1)
        assert await ledger.ask(Read()) == ()
    assert heard == []
    assert await ledger.ask(Do(act)) == 7


async def test_a_nursery_is_left_in_order_when_the_write_fails(
    world: World, journal: MemoryJournal
) -> None:
    """A write that fails cancels what the handler waits for, and leaves no task."""
    ended: list[str] = []

    async def child() -> None:
        try:
            await trio.sleep(100)
        finally:
            ended.append("child")

    async def act(ledger: Ledger) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.sleep(1)
            await ledger.persist(Added("a"))

    ledger = await ledger_in(world)
    journal.fail_next()
    with pytest.raises(ActorFailed) as caught:
        await ledger.ask(Do(act))
    assert isinstance(caught.value.__cause__, WriteFailed)
    assert ended == ["child"]


async def test_a_lock_is_not_left_behind_when_the_write_fails(
    world: World, journal: MemoryJournal
) -> None:
    lock = trio.Lock()

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        async with lock:
            pass

    ledger = await ledger_in(world)
    journal.fail_next()
    async with lock:
        with pytest.raises(ActorFailed):
            await ledger.ask(Do(act))
    await ledger.ask(Do(act))
    assert await ledger.ask(Read()) == ("a",)


async def test_a_forwarded_request_waits_for_the_write(
    world: World, journal: MemoryJournal
) -> None:
    heard: list[Any] = []
    echo = await world.spawn(Echo, heard)

    class Desk(Ledger):
        @handler
        async def do(self, message: Do) -> Any:
            await self.persist(Added("a"))
            return self.context.forward(echo, Ping(3))

    desk = await world.spawn(Desk, name="ledger")
    journal.fail_next()
    with pytest.raises(ActorFailed, match="^/ledger failed") as caught:
        await desk.ask(Do(add()))
    assert isinstance(caught.value.__cause__, WriteFailed)
    journal.delay(1)
    before = trio.current_time()
    assert await desk.ask(Do(add())) == 3
    assert trio.current_time() == before + 1
    assert heard == [3]


async def test_an_answer_that_another_turn_gives_waits_for_that_turn(
    world: World, journal: MemoryJournal
) -> None:
    owed: list[Reply[Any]] = []

    class Slow(Ledger):
        @handler
        async def do(self, message: Do) -> Any:
            if owed:
                if message.act is send:
                    owed.pop().send("sent")
                else:
                    owed.pop().fail(KeyError("failed"))
                await self.persist(Added("a"))
                return None
            owed.append(self.context.defer_reply(message))
            return owed[-1]

    async def send(ledger: Ledger) -> None: ...

    slow = await world.spawn(Slow, name="ledger")

    async def ask(send_it: bool) -> tuple[Any, float]:
        answers: list[Any] = []

        async def first() -> None:
            try:
                answers.append(await slow.ask(Do(add())))
            except Exception as error:
                answers.append(error)
            answers.append(trio.current_time() - before)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.sleep(1)
            before = trio.current_time()
            await slow.tell(Do(send if send_it else add()))
        return answers[0], answers[1]

    journal.delay(1)
    assert await ask(send_it=True) == ("sent", 1)
    error, after = await ask(send_it=False)
    assert (repr(error), after) == ("KeyError('failed')", 1)
    journal.fail_next()
    error, _ = await ask(send_it=True)
    assert isinstance(error, ActorFailed)
    assert isinstance(error.__cause__, WriteFailed)


async def test_what_is_published_waits_for_the_write(
    world: World, journal: MemoryJournal
) -> None:
    topic = Topic[str]("words")
    got: list[str] = []

    class Listener(Actor[str]):
        async def started(self) -> None:
            self.context.subscribe(topic)

        @handler
        def word(self, message: str) -> None:
            got.append(message)

    await world.spawn(Listener)

    async def act(ledger: Ledger) -> None:
        ledger.context.system.publish(topic, "early")
        await ledger.persist(Added("a"))
        ledger.context.system.publish(topic, "late")

    ledger = await ledger_in(world)
    await world.settled()
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    await world.settled()
    assert got == []
    await ledger.ask(Do(act))
    await world.settled()
    assert got == ["early", "late"]


KEY = ServiceKey[Ping | str]("echo")


async def test_what_waits_for_a_service_to_come_waits_for_the_write_first(
    world: World, journal: MemoryJournal
) -> None:
    """Also what nobody takes yet has not left before the turn is durable."""
    service = world.service(KEY)

    async def act(ledger: Ledger) -> None:
        service.tell_soon("one")
        await ledger.persist(Added("a"))
        await service.tell("two")
        service.tell_nowait("three")

    ledger = await ledger_in(world)
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    await ledger.ask(Do(act))
    heard: list[Any] = []
    echo = await world.spawn(Echo, heard)
    world.register(KEY, echo)
    await world.settled()
    assert heard == ["one", "two", "three"]
    await ledger.ask(Do(act))
    await world.settled()
    assert heard == ["one", "two", "three"] * 2


async def test_who_comes_for_a_service_before_the_write_is_done_gets_what_is_held(
    world: World, journal: MemoryJournal
) -> None:
    heard: list[Any] = []

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        world.service(KEY).tell_soon("held")

    journal.delay(1)
    ledger = await ledger_in(world)
    await ledger.tell(Do(act))
    await trio.sleep(0.5)
    world.register(KEY, await world.spawn(Echo, heard))
    await trio.sleep(0.4)
    assert heard == []
    await world.settled()
    await ledger.ask(Read())
    assert heard == ["held"]


async def test_a_question_to_a_service_goes_as_to_an_actor(
    world: World, journal: MemoryJournal
) -> None:
    service = world.service(KEY)
    heard: list[Any] = []
    echo = await world.spawn(Echo, heard)

    async def early(ledger: Ledger) -> int:
        service.tell_soon("before")
        return await service.ask(Ping(1))

    async def late(ledger: Ledger) -> int:
        await ledger.persist(Added("a"))
        return await service.ask(Ping(2))

    ledger = await ledger_in(world)
    for act, answer in ((early, 1), (late, 2)):
        async with trio.open_nursery() as nursery:

            async def ask(act: Any = act, answer: int = answer) -> None:
                assert await ledger.ask(Do(act)) == answer

            nursery.start_soon(ask)
            await trio.sleep(1)
            world.register(KEY, echo)
        world.unregister(KEY, echo)
    assert heard == ["before", 1, 2]


async def test_a_question_that_nobody_takes_fails_with_the_turn(
    world: World, journal: MemoryJournal
) -> None:
    service = world.service(KEY)

    class Desk(Ledger):
        @handler
        async def do(self, message: Do) -> Any:
            await self.persist(Added("a"))
            return self.context.forward(service, Ping(3))

    desk = await world.spawn(Desk, name="ledger")
    journal.fail_next()
    with pytest.raises(ActorFailed, match="^/ledger failed"):
        await desk.ask(Do(add()))


async def test_a_service_nobody_has_gets_no_more_than_it_holds(
    world: World, journal: MemoryJournal
) -> None:
    service = world.service(KEY)

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        for number in range(1025):
            service.tell_soon(str(number))

    ledger = await ledger_in(world)
    await ledger.ask(Do(act))
    (letter,) = world.dead()
    assert (letter.message, letter.reason) == ("1024", "overflow")
    world.register(KEY, await world.spawn(Echo))


@pytest.mark.parametrize("routing", ["broadcast", "first", "round_robin"])
async def test_a_question_to_a_pool_is_asked(
    routing: Any, world: World, journal: MemoryJournal
) -> None:
    pool = await world.spawn_pool(Echo, size=2, routing=routing)

    async def act(ledger: Ledger) -> list[int]:
        first = await pool.ask(Ping(1))
        await ledger.persist(Added("a"))
        pool.tell_soon("between")
        return [first, await pool.ask(Ping(2)), await pool.ask_nowait(Ping(3))]

    ledger = await ledger_in(world)
    assert await ledger.ask(Do(act)) == [1, 2, 3]
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))


async def test_tasks_beside_the_handler_are_not_held(
    world: World, journal: MemoryJournal
) -> None:
    probe = Probe[str](world)

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        ledger.context.start_soon(probe.ref.tell, "beside")

    ledger = await ledger_in(world)
    journal.delay(10)
    before = trio.current_time()
    await ledger.tell(Do(act))
    assert await probe.receive() == "beside"
    assert trio.current_time() == before


@pytest.mark.parametrize("overflow", ["block", "fail", "drop_new", "drop_oldest"])
async def test_a_full_mailbox_does_not_hold_up_what_is_durable(
    overflow: Any, world: World, journal: MemoryJournal
) -> None:
    """Its sender waits no more: what may be dropped is dropped, the rest gets in."""
    gate = trio.Event()
    heard: list[str] = []

    async def slow(inbox: Inbox[str]) -> None:
        async for word in inbox:
            await gate.wait()
            heard.append(word)

    to = await world.spawn(slow, mailbox=Mailbox(2, overflow))

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        for word in "abcd":
            await to.tell(word)

    ledger = await ledger_in(world)
    await to.tell("0")
    await trio.sleep(1)
    await ledger.ask(Do(act))
    gate.set()
    await world.settled()
    kept = {"drop_new": "ab", "drop_oldest": "cd"}.get(overflow, "abcd")
    assert heard == ["0", *kept]
    assert [letter.reason for letter in world.dead()] == ["overflow"] * (4 - len(kept))


async def test_a_message_to_an_actor_that_ends_meanwhile_is_a_dead_letter(
    world: World, journal: MemoryJournal
) -> None:
    echo = await world.spawn(Echo)

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        echo.tell_soon("late")

    journal.delay(1)
    ledger = await ledger_in(world)
    await ledger.tell(Do(act))
    await trio.sleep(0.5)
    echo.stop()
    await world.settled()
    (letter,) = world.dead()
    assert letter.message == "late"


TENANT: ContextVar[str] = ContextVar("TENANT")


@pytest.mark.parametrize("check", [True, False])
async def test_the_gate_and_the_guards_go_together(check: bool) -> None:
    """``propagate=`` takes what was set when it was sent; a wrong message is said."""
    journal, seen = MemoryJournal(), list[str]()

    class Tenant(Actor[str]):
        @handler
        def word(self, message: str) -> None:
            seen.append(f"{message} {TENANT.get('-')}")

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        tenant.tell_soon("before")
        TENANT.set("early")
        tenant.tell_soon("told")
        with pytest.raises(TypeError, match="no message") if check else _nothing():
            tenant.tell_soon(["mutable"] if check else "fine")
        TENANT.set("late")

    def _nothing() -> Any:
        return trio.CancelScope()

    async with open_actor_system(
        "guarded", journal=journal, propagate=(TENANT,), check_messages=check
    ) as system:
        tenant: ActorRef[Any] = await system.spawn(Tenant)
        ledger = await system.spawn(Ledger, name="ledger")
        await ledger.ask(Do(act))
    assert seen[:2] == ["before -", "told early"]


async def test_a_wrong_message_for_a_service_is_its_senders_error() -> None:
    async def act(ledger: Ledger) -> None:
        service: Any = ledger.context.system.service(KEY)
        await ledger.persist(Added("a"))
        with pytest.raises(TypeError, match="no message"):
            service.tell_soon(["mutable"])

    async with open_actor_system(
        "guarded", journal=MemoryJournal(), check_messages=True
    ) as system:
        ledger = await system.spawn(Ledger, name="ledger")
        await ledger.ask(Do(act))


async def test_outside_of_a_turn_nothing_is_held(world: World) -> None:
    probe = Probe[str](world)

    async def start(ledger: Ledger) -> None:
        await probe.ref.tell("started")
        await ledger.persist(Added("a"))

    await world.spawn(Ledger, start, name="ledger")
    assert await probe.receive() == "started"


async def test_what_is_sent_waits_for_all_tasks_of_the_handler(
    world: World, journal: MemoryJournal
) -> None:
    probe = Probe[str](world)

    async def act(ledger: Ledger) -> None:
        async def second() -> None:
            await trio.sleep(0.5)
            await ledger.persist(Added("b"))

        async def third() -> None:
            await trio.sleep(0.7)
            await probe.ref.tell("after both")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledger.persist, Added("a"))
            nursery.start_soon(second)
            nursery.start_soon(third)

    journal.delay(1)
    ledger = await ledger_in(world)
    await ledger.tell(Do(act))
    await probe.receive()
    assert trio.current_time() == 2


async def kill(system: ActorSystem, ledger: Words) -> None:
    ledger.kill()


async def restart(system: ActorSystem, ledger: Words) -> None:
    ledger.restart()


@pytest.mark.parametrize("end", [kill, restart])
async def test_what_a_turn_that_is_cut_short_owed_to_others_fails(
    end: Any, world: World, journal: MemoryJournal
) -> None:
    """The answer of an earlier request that this turn had given does not leave."""
    owed: list[Reply[Any]] = []

    class Slow(Ledger):
        @handler
        async def do(self, message: Do) -> Any:
            if owed:
                owed.pop().send("sent")
                await trio.sleep(10)
            owed.append(self.context.defer_reply(message))
            return owed[-1]

    slow = await world.spawn(Slow, name="ledger")
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(ActorFailed, match="/ledger was cut short"):
                await slow.ask(Do(add()))

        nursery.start_soon(ask)
        await trio.sleep(1)
        await slow.tell(Do(add()))
        await trio.sleep(1)
        await end(world, slow)


# --- Commands -----------------------------------------------------------------


class Listener(Actor[str]):
    """Writes down what it hears, and its end; perhaps there is one below it."""

    def __init__(self, heard: list[str], below: int = 0) -> None:
        self.heard = heard
        self.below = below

    async def started(self) -> None:
        self.heard.append("started")
        if self.below:
            await self.context.spawn(Listener, self.heard, name="below")

    async def stopped(self, reason: Exit) -> None:
        self.heard.append("stopped")

    @handler
    def word(self, message: str) -> None:
        self.heard.append(message)


VERBS = ["stop", "drain", "kill", "restart"]


async def listener_in(system: ActorSystem, heard: list[str]) -> ActorRef[str]:
    return await system.spawn(Listener, heard, name="listener")


@pytest.mark.parametrize("verb", VERBS)
async def test_a_command_does_not_overtake_what_was_told_before(
    verb: str, world: World, journal: MemoryJournal
) -> None:
    heard: list[str] = []
    listener = await listener_in(world, heard)

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        listener.tell_soon("told")
        getattr(listener, verb)()
        assert heard == ["started"]

    journal.delay(1)
    ledger = await ledger_in(world)
    await ledger.tell(Do(act))
    await trio.sleep(0.9)
    assert heard == ["started"]
    await world.settled()
    ends = {
        "stop": ["stopped"],
        "drain": ["told", "stopped"],
        "kill": [],
        "restart": ["started", "told"],
    }
    assert heard == ["started", *ends[verb]]
    lost = [letter.message for letter in world.dead()]
    assert lost == (["told"] if verb in ("stop", "kill") else [])


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fails", ["write", "handler"])
async def test_a_command_of_a_turn_that_fails_is_never_done(
    fails: str, verb: str, world: World, journal: MemoryJournal
) -> None:
    heard: list[str] = []
    listener = await listener_in(world, heard)

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        getattr(listener, verb)()
        if fails == "handler":
            raise ValueError

    ledger = await ledger_in(world)
    if fails == "write":
        journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    await listener.tell("still there")
    await world.settled()
    assert heard == ["started", "still there"]


@pytest.mark.parametrize("first", [True, False])
async def test_whose_end_is_waited_for_gets_first_what_was_sent_there(
    first: bool, world: World, journal: MemoryJournal
) -> None:
    """And below it; what was told to others waits for the end of the turn."""
    other, heard = Probe[str](world), list[str]()
    above = await world.spawn(Listener, heard, 1, name="above")
    below = world.find("/above/below")
    assert below is not None

    async def act(ledger: Ledger) -> None:
        if first:
            await ledger.persist(Added("a"))
        other.ref.tell_soon("other")
        below.tell_soon("below")
        above.tell_soon("above")
        above.drain()
        await above.wait_stopped()
        heard.append("waited")
        raise ValueError

    ledger = await ledger_in(world)
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    assert sorted(heard[2:4]) == ["above", "below"]
    assert heard[4:] == ["stopped", "stopped", "waited"]
    if first:
        assert await other.receive() == "other"  # with what is stored
    else:
        await other.expect_no_message()


@pytest.mark.parametrize("verb", VERBS)
async def test_what_an_actor_commands_itself(
    verb: str, world: World, journal: MemoryJournal
) -> None:
    """It ends with a command that succeeds; what cuts that short does so at once."""
    went_on: list[str] = []

    async def act(ledger: Ledger) -> str:
        await ledger.persist(Added("a"))
        getattr(ledger.context.ref, verb)()
        went_on.append(verb)
        await trio.sleep(1)
        went_on.append("slept")
        return "done"

    ledger = await ledger_in(world)
    if verb in ("stop", "drain"):
        assert await ledger.ask(Do(act)) == "done"
        await ledger.wait_stopped()
    else:
        with pytest.raises(ActorFailed):
            await ledger.ask(Do(act))
    assert went_on == [verb, "slept"][: 1 + (verb in ("stop", "drain"))]


@pytest.mark.parametrize("verb", ["stop", "drain"])
async def test_who_stops_itself_in_a_command_that_fails_starts_again(
    verb: str, world: World, journal: MemoryJournal
) -> None:
    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        getattr(ledger.context.ref, verb)()

    ledger = await ledger_in(world)
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    assert await ledger.ask(Read()) == ()


async def test_a_child_is_terminated_with_what_is_told(
    world: World, journal: MemoryJournal
) -> None:
    heard: list[str] = []
    specs = [ChildSpec(name, Listener, heard) for name in ("a", "b")]
    top = await world.spawn_supervisor(*specs)

    async def stored(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        await top.terminate_child("a")

    async def unstored(ledger: Ledger) -> None:
        await top.terminate_child("b")
        heard.append("waited")
        raise ValueError

    ledger = await ledger_in(world)
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(stored))
    assert heard == ["started"] * 2
    await ledger.ask(Do(stored))
    assert heard == ["started"] * 2 + ["stopped"]
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(unstored))
    assert heard == ["started"] * 2 + ["stopped"] * 2 + ["waited"]


async def test_a_pool_shrinks_with_what_is_told(
    world: World, journal: MemoryJournal
) -> None:
    pool = await world.spawn_pool(Listener, list[str](), size=3)
    sizes: list[int] = []

    async def shrink(ledger: Ledger) -> None:
        await pool.resize(2)
        sizes.append(len(pool.workers))
        await ledger.persist(Added("a"))
        await pool.resize(1)
        sizes.append(len(pool.workers))

    ledger = await ledger_in(world)
    await ledger.ask(Do(shrink))
    assert sizes == [2, 1]


async def test_of_whom_a_command_went_above_may_be_waited_for(
    world: World, journal: MemoryJournal
) -> None:
    """It is ended with its parent: a wait that let go only its own was for ever."""
    heard = list[str]()
    other = Probe[str](world)
    above = await world.spawn(Listener, heard, 1, name="above")
    below = world.find("/above/below")
    assert below is not None
    topic = Topic[str]("news")

    async def act(ledger: Ledger) -> None:
        other.ref.tell_soon("other")
        world.publish(topic, "all")  # which goes to no path
        above.stop()
        await below.wait_stopped()
        raise ValueError

    ledger = await ledger_in(world)
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    await above.wait_stopped()
    assert heard[2:] == ["stopped", "stopped"]
    await other.expect_no_message()


async def test_a_pool_shrinks_at_once_also_in_a_durable_turn(
    world: World, journal: MemoryJournal
) -> None:
    pool = await world.spawn_pool(Sleeper, size=4)

    async def shrink(_: Ledger) -> None:
        asked = [worker.ask_nowait(Sleep(10)) for worker in pool.workers]
        with trio.move_on_after(5):
            await pool.resize(1)
        sizes.append((len(pool.workers), pool._pool.size))
        await pool.resize(1)
        sizes.append((len(pool.workers), trio.current_time()))
        del asked

    sizes: list[tuple[int, float]] = []
    ledger = await ledger_in(world)
    await ledger.ask(Do(shrink))
    assert sizes == [(1, 1), (1, 5)]


async def test_who_offers_a_service_is_stopped_with_what_is_told(
    world: World, journal: MemoryJournal
) -> None:
    heard: list[str] = []
    key = ServiceKey[str]("listeners")
    world.register(key, await listener_in(world, heard))

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        world.service(key).tell_soon("told")
        world.service(key).drain()

    ledger = await ledger_in(world)
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(act))
    assert heard == ["started"]
    await ledger.ask(Do(act))
    await world.settled()
    assert heard == ["started", "told", "stopped"]
