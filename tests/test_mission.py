"""The mission, item by item: what the library must do, each shown once.

Examples and other tests show many of these at greater length.
"""

from collections.abc import Callable

import attrs
import pytest
import trio

from tests.kit import Note, open_system, run_main
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Inbox,
    Mailbox,
    Reply,
    Request,
    ServiceKey,
    Supervision,
    handler,
    open_actor_system,
)
from trio_actors.testing import Probe, World

# --- S0: actor systems in Rust ----------------------------------------------


@attrs.frozen
class Deposit(Request[int]):
    amount: int


class Account(Actor[Deposit]):
    def __init__(self) -> None:
        self.balance = 0

    @handler
    def deposit(self, message: Deposit) -> int:
        if message.amount < 0:
            raise ValueError(message.amount)
        self.balance += message.amount
        return self.balance


async def test_s0_1_the_five_parts_of_an_actor_system(world: World) -> None:
    """S0-1: actors, immutable messages, mailboxes, messages only, supervision."""
    account = await world.spawn(Account)
    message = Deposit(5)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        message.amount = 6  # type: ignore[misc]
    account.tell_nowait(message)
    assert world.snapshot().children[0].queued == 1  # in its mailbox, not handled yet
    assert not hasattr(account, "balance")  # its state is reached by messages only
    with pytest.raises(ActorFailed):
        await account.ask(Deposit(-1))
    assert await account.ask(Deposit(1)) == 1  # restarted by its supervisor


@attrs.frozen
class Ping(Request[int]):
    id: int


class MyActor(Actor[Ping]):
    def __init__(self) -> None:
        self.count = 0

    async def started(self) -> None:
        print("Actor is alive")

    @handler
    def ping(self, message: Ping) -> int:
        self.count += message.id
        return self.count


async def test_s0_2_ping_answers_with_the_count(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """S0-2 Actix Ping: "Actor is alive"; 1, then 2."""
    actor = await world.spawn(MyActor)
    assert capsys.readouterr().out == "Actor is alive\n"
    assert [await actor.ask(Ping(1)), await actor.ask(Ping(1))] == [1, 2]


@attrs.frozen
class Greeting(Request[str]):
    name: str


class Greeter(Actor[Greeting]):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def started(self) -> None:
        self.log.append("started")

    @handler
    async def greet(self, message: Greeting) -> str:
        await trio.lowlevel.checkpoint()  # async all through
        return f"Hello, {message.name}!"


async def test_s0_3_the_greeter_greets_the_world() -> None:
    """S0-3 Coerce Greeter: a system, an awaitable spawn, an awaited answer."""
    log: list[str] = []
    async with open_actor_system("greeting") as system:
        greeter = await system.spawn(Greeter, log)
        assert log == ["started"]
        assert await greeter.ask(Greeting("World")) == "Hello, World!"


async def test_s0_4_a_message_declares_the_type_of_its_result(world: World) -> None:
    """S0-4 Xactor Hello: the request says that it is answered with a str."""
    log: list[str] = []
    greeter = await world.spawn(Greeter, log)
    answer: str = await greeter.ask(Greeting("World"))
    assert answer == "Hello, World!"
    with pytest.raises(TypeError, match="-> str"):

        class _Wrong(Actor[Greeting]):  # pyright: ignore[reportUnusedClass]
            @handler
            def greet(self, message: Greeting) -> int:  # another type than promised
                return 1


@attrs.frozen
class Increment(Request[int]):
    key: str
    amount: int


@attrs.frozen
class GetValue(Request[int]):
    key: str


class CounterService(Actor[Increment | GetValue]):
    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    @handler
    def increment(self, message: Increment) -> int:
        value = self.values.get(message.key, 0) + message.amount
        self.values[message.key] = value
        return value

    @handler
    def get(self, message: GetValue) -> int:
        return self.values.get(message.key, 0)


async def test_s0_6_the_counter_service_is_spread_over_its_workers(
    world: World,
) -> None:
    """S0-6: ``Increment`` gives the new value, ``GetValue`` 0 for an unknown key.

    The values of one key are with one worker, wherever that is.
    """
    service = await world.spawn_pool(
        CounterService, size=4, routing=lambda message: message.key
    )
    assert await service.ask(GetValue("unknown")) == 0
    for number in range(20):
        assert await service.ask(Increment(f"key-{number}", number)) == number
        assert await service.ask(Increment(f"key-{number}", 1)) == number + 1
    assert [await service.ask(GetValue(f"key-{n}")) for n in range(20)] == list(
        range(1, 21)
    )


@pytest.mark.parametrize(
    ("directive", "after"), [("restart", 0), ("resume", 5), ("stop", None)]
)
async def test_s0_7_a_supervisor_restarts_resumes_or_stops(
    world: World, directive: str, after: int | None
) -> None:
    """S0-7: initial state, the error ignored, or stopped for good."""
    rules = Supervision(directives={ValueError: directive})  # type: ignore[dict-item]
    supervisor = await world.spawn_supervisor(supervision=rules)
    account = await supervisor.spawn(Account)
    await account.tell(Deposit(5))
    with pytest.raises(ActorFailed):
        await account.ask(Deposit(-1))
    if after is None:
        assert (await account.wait_stopped()).kind == "failed"
    else:
        assert await account.ask(Deposit(0)) == after


async def test_s0_7_or_escalates_to_the_supervisors_supervisor(world: World) -> None:
    """S0-7: the fourth strategy; who is above decides with the original exception."""
    top = await world.spawn_supervisor(
        supervision=Supervision(directives={ValueError: "stop"})
    )
    low = await top.spawn_supervisor(
        supervision=Supervision(directives={ValueError: "escalate"})
    )
    account = await low.spawn(Account)
    await account.tell(Deposit(-1))
    exit = await low.wait_stopped()
    assert isinstance(exit.error, ValueError)
    assert world.find(top.path) == top


class Limited(Actor[Note]):
    """A worker with room for a hundred, that cleans up before a restart."""

    mailbox = Mailbox(100)

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.open_files = ["data"]

    async def restarting(self, failure: Exception) -> None:
        self.open_files.clear()
        self.log.append(f"clean up state before restart: {failure!r}")

    @handler
    def note(self, message: Note) -> None:
        if message.text == "crash":
            raise OSError("disk")


async def test_s0_8_workers_have_room_for_a_hundred_and_clean_up(
    world: World,
) -> None:
    """S0-8: mailbox capacity 100, the ``restarting`` hook, several workers."""
    log: list[str] = []
    supervisor = await world.spawn_supervisor(name="workers")
    workers = [await supervisor.spawn(Limited, log) for _ in range(3)]
    snapshot = world.snapshot().children[0]
    assert [child.capacity for child in snapshot.children] == [100] * 3
    for number in range(100):
        workers[0].tell_nowait(Note(str(number)))
    with pytest.raises(trio.WouldBlock):
        workers[0].tell_nowait(Note("one too many"))
    await world.settled()
    await workers[1].tell(Note("crash"))
    await world.settled()
    assert log == ["clean up state before restart: OSError('disk')"]


def test_s0_9_messages_that_could_be_changed_are_refused() -> None:
    """S0-9: immutable messages; checked in the sender, whose mistake it is."""

    @attrs.define
    class Changeable:
        items: list[int]

    async def main() -> None:
        async with open_system(check_messages=True) as system:

            async def listen(inbox: Inbox[Changeable]) -> None:
                async for _ in inbox:
                    pass

            ref = await system.spawn(listen)
            with pytest.raises(TypeError, match=r"@attrs\.frozen"):
                await ref.tell(Changeable([1]))

    run_main(main)


def test_s0_9_a_wrong_message_type_is_found_when_the_class_is_made() -> None:
    """S0-9: type safety, before anything runs."""
    with pytest.raises(TypeError, match="has no handler for Note"):

        class _Forgetful(Actor[Note | Deposit]):  # pyright: ignore[reportUnusedClass]
            @handler
            def deposit(self, message: Deposit) -> int:
                return 0


async def test_s0_9_blocking_work_goes_to_a_thread_beside_the_handlers(
    world: World,
) -> None:
    """S0-9: no blocking: the actor answers while a thread works for it."""

    class Offloading(Actor[Note | Deposit]):
        def __init__(self) -> None:
            self.found = 0

        @handler
        def note(self, message: Note) -> None:
            self.context.start_soon(self.work)

        async def work(self) -> None:
            self.found = await trio.to_thread.run_sync(sum, range(1000))

        @handler
        def deposit(self, message: Deposit) -> int:
            return self.found

    offloading = await world.spawn(Offloading)
    await offloading.tell(Note())
    while not (found := await offloading.ask(Deposit(0))):
        await trio.lowlevel.checkpoint()
    assert found == 499500


async def test_s0_11_queue_lengths_are_shown(world: World) -> None:
    """S0-11: monitor queue lengths: now, at most ever, and how much was handled."""
    account = await world.spawn(Account)
    for _ in range(30):
        account.tell_nowait(Deposit(1))
    assert world.snapshot().children[0].queued == 30
    await world.settled()
    after = world.snapshot().children[0]
    assert (after.queued, after.high_water, after.handled) == (0, 30, 30)
    assert "30 handled" in world.snapshot().render()


async def test_s0_11_messages_are_handled_in_batches(world: World) -> None:
    """S0-11: batch processing: up to so many queued messages at once."""
    batches: list[int] = []

    class Writer(Actor[Deposit]):
        @handler(batch=10)
        async def write(self, messages: list[Deposit]) -> list[int]:
            batches.append(len(messages))
            await trio.sleep(1)  # one slow write for all of them
            return [message.amount for message in messages]

    writer = await world.spawn(Writer)
    asked = [writer.ask_nowait(Deposit(number)) for number in range(25)]
    assert [await one for one in asked] == list(range(25))
    assert batches == [10, 10, 5]
    assert trio.current_time() == 3


# --- S1: the actor model in Go ----------------------------------------------


async def test_s1_1_an_actor_creates_sends_and_becomes(world: World) -> None:
    """S1-1: the three things an actor may do on a message."""
    probe = Probe[Note](world)
    log: list[str] = []

    class Opened(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await probe.ref.tell(Note(f"opened: {message.text}"))

    class Closed(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            child = await self.context.spawn(Limited, log, name="child")  # creates
            await probe.ref.tell(Note(child.path))  # sends to actors it knows
            self.become(Opened())  # designates how the next message is handled

    door = await world.spawn(Closed, name="door")
    await door.tell(Note("1"))
    await door.tell(Note("2"))
    assert await probe.receive() == Note("/door/child")
    assert await probe.receive() == Note("opened: 2")


@attrs.frozen
class Event(Request[tuple[str, int]]):
    """An event whose source is where the answer goes."""

    type: str
    value: int = 0


class Listener(Actor[Event]):
    """A jump table; unknown events are an error."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.table: dict[str, Callable[[int], int]] = {
            "identityRequest": self.remember,
            "syncRequest": lambda value: len(self.handled),
        }

    def remember(self, value: int) -> int:
        self.handled.append(value)
        return value

    @handler
    async def handle(self, event: Event) -> tuple[str, int]:
        await trio.lowlevel.checkpoint()
        if event.type not in self.table:
            raise LookupError(f"no handler identified for event {event.type}")
        return event.type, self.table[event.type](event.value)


async def test_s1_3_an_events_answer_goes_to_its_source(world: World) -> None:
    """S1-3: Source = where to reply: also when another actor answers."""

    class Front(Actor[Event]):
        def __init__(self, to: ActorRef[Event]) -> None:
            self.to = to

        @handler
        def handle(self, event: Event) -> Reply[tuple[str, int]]:
            return self.context.forward(self.to, event)

    listener = await world.spawn(Listener)
    front = await world.spawn(Front, listener)
    assert await front.ask(Event("identityRequest", 7)) == ("identityRequest", 7)


async def test_s1_4_events_are_handled_one_at_a_time_in_their_order(
    world: World,
) -> None:
    """S1-4: a mailbox of 1,024, a dispatch that does not block, errors that tell."""
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(directives={LookupError: "stop"})
    )
    listener = await supervisor.spawn(Listener)
    for number in range(1024):
        listener.tell_nowait(Event("identityRequest", number))
    with pytest.raises(trio.WouldBlock):
        listener.tell_nowait(Event("identityRequest"))
    await world.settled()
    assert await listener.ask(Event("syncRequest")) == ("syncRequest", 1024)
    with pytest.raises(ActorFailed) as caught:
        await listener.ask(Event("nonsense"))
    assert str(caught.value.__cause__) == "no handler identified for event nonsense"
    exit = await listener.wait_stopped()  # the error ends it, with that error
    assert isinstance(exit.error, LookupError)


async def test_s1_6_the_serial_trace_of_an_actor_is_shown(world: World) -> None:
    """S1-6: the messages an actor takes, in the order in which it takes them."""
    account = await world.spawn(Account)
    with world.trace(account) as messages:

        async def client(amount: int) -> None:
            await account.ask(Deposit(amount))

        for amount in (3, 1, 2):
            world.client(client, amount)
        await world.settled()
        trace = [await messages.receive() for _ in range(3)]
    assert trace == [Deposit(3), Deposit(1), Deposit(2)]


# --- S2: concurrency and fault tolerance ------------------------------------


async def test_s2_2_a_crash_stays_where_it_is(world: World) -> None:
    """S2-2: isolation, fault tolerance ("let it crash"), one API for all, scaling."""
    supervisor = await world.spawn_supervisor(supervision=Supervision("one_for_one"))
    one, two = [await supervisor.spawn(Account) for _ in range(2)]
    await one.tell(Deposit(1))
    await two.tell(Deposit(2))
    with pytest.raises(ActorFailed):
        await one.ask(Deposit(-1))
    assert await two.ask(Deposit(0)) == 2  # isolation: it has not even noticed
    assert await one.ask(Deposit(0)) == 0  # fault tolerance: it is back
    pool = await world.spawn_pool(Account, size=2)  # scaling: more behind the same API
    key = ServiceKey[Deposit]("bank")
    world.register(key, pool)
    for ref in (one, pool, world.service(key)):  # wherever it is: told in one way
        assert isinstance(await ref.ask(Deposit(1)), int)


# --- Acceptance -------------------------------------------------------------


async def test_a_lookup_never_returns_a_dead_actor(world: World) -> None:
    """Acceptance: by key, by path, through a service, among children and workers."""
    key = ServiceKey[Deposit]("accounts")
    top = await world.spawn_supervisor(name="top")
    pool = await world.spawn_pool(Account, size=3)
    everybody: list[ActorRef[Deposit]] = list(pool.workers)

    def only_the_living() -> bool:
        found = [*world.find_all(key), *pool.workers, world.find(key)]
        found += [world.find(ref.path) for ref in everybody]
        found += list(top.which_children().values())  # type: ignore[arg-type]
        return all(ref._cell.exit is None for ref in found if ref is not None)

    world.always(only_the_living)
    for verb in ("stop", "kill", "drain", "restart") * 3:
        account = await top.spawn(Account)
        everybody.append(account)
        world.register(key, account)
        await account.tell(Deposit(1))
        getattr(account, verb)()
        world.random.choice(pool.workers).restart()
        await world.service(key).tell(Deposit(1))
        await trio.sleep(world.random.random())
    await world.settled()
    alive = [ref for ref in everybody if ref._cell.exit is None]
    assert len(alive) == 3 + 3
    assert set(world.find_all(key)) <= set(alive)
    world.dead()
