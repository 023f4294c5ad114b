"""Commands with an id are done once, and answered again."""

import dataclasses
from typing import Any

import attrs
import pytest
import trio

from tests.persistence.ledger import Act, Added, Do, Ledger, Read, Refused, stored
from trio_actors import (
    Actor,
    ActorError,
    ActorFailed,
    ActorRef,
    Reply,
    Request,
    StartFailed,
    handler,
    open_actor_system,
)
from trio_actors.persistence import (
    EventSourced,
    MemoryJournal,
    Note,
    Reminder,
    applies,
)
from trio_actors.persistence._commands import Commands
from trio_actors.persistence._plan import plan_of
from trio_actors.testing import World

Ref = ActorRef[Any]


def instance(ref: Ref) -> Any:
    return ref._cell.instance


@pytest.fixture
def journal(world: World) -> MemoryJournal:
    journal = MemoryJournal()
    world.use(journal)
    return journal


@pytest.fixture
async def ledger(world: World, journal: MemoryJournal) -> Ref:
    return await world.spawn(Ledger, name="ledger")


def add(*words: str) -> Act:
    """Store words; answer with how many there are."""

    async def act(ledger: Ledger) -> int:
        await ledger.persist(*(Added(word) for word in words))
        return len(ledger.state)

    return act


async def refuse(ledger: Ledger) -> None:
    await ledger.persist(Added("refused"))
    raise Refused("because", len(ledger.state))


async def test_a_rejection_is_remembered_and_what_it_stored(
    ledger: Ref, journal: MemoryJournal
) -> None:
    for _ in range(3):
        with pytest.raises(Refused) as caught:
            await ledger.ask(Do(refuse, "r"))
        assert caught.value.args == ("because", 1)
    assert await stored(journal) == ("refused",)


async def test_a_repeat_while_the_first_runs_waits_for_its_outcome(
    ledger: Ref, journal: MemoryJournal
) -> None:
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await ledger.ask(Do(add("a"), "x")))

    journal.delay(1)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert answers == [1, 1, 1]
    assert await stored(journal) == ("a",)


async def test_a_command_without_an_id_is_done_each_time(ledger: Ref) -> None:
    await ledger.ask(Do(add("a"), ""))
    await ledger.ask(Do(add("a"), ""))
    assert await ledger.ask(Read()) == ("a", "a")


async def test_a_failed_command_is_done_again(
    ledger: Ref, journal: MemoryJournal
) -> None:
    """Nothing of it was stored, so nothing of it is remembered."""
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(Do(add("a"), "x"))
    assert await ledger.ask(Do(add("a"), "x")) == 1


@pytest.mark.parametrize("restarts", [True, False])
async def test_a_command_that_ended_after_its_first_append_is_not_done_again(
    restarts: bool, ledger: Ref, journal: MemoryJournal
) -> None:
    """A crash between the first append and the last: its events are stored."""

    async def act(ledger: Ledger) -> None:
        await ledger.persist(Added("a"))
        await trio.sleep(10)
        if not restarts:
            raise RuntimeError

    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(ActorFailed):
                await ledger.ask(Do(act, "x"))

        nursery.start_soon(ask)
        await trio.sleep(1)
        if restarts:
            ledger.restart()
    with pytest.raises(ActorError, match="ended before its answer was known"):
        await ledger.ask(Do(act, "x"))
    assert await ledger.ask(Read()) == ("a",)


async def test_an_id_is_for_one_command(ledger: Ref) -> None:
    @attrs.frozen
    class Other(Request[int]):
        command_id: str

    class Wide(EventSourced[Do | Other | Read, Added, tuple[str, ...]]):
        initial = ()

        @handler
        async def do(self, message: Do) -> Any:
            return 1

        @handler
        async def other(self, message: Other) -> int:
            return 2

        @handler(reads_only=True)
        def read(self, message: Read) -> tuple[str, ...]:
            return self.state

        @applies
        def added(self, event: Added) -> tuple[str, ...]:
            return self.state

    async with open_actor_system("wide", journal=MemoryJournal()) as system:
        wide = await system.spawn(Wide)
        await wide.ask(Do(add(), "x"))
        with pytest.raises(ActorError, match="was used for a Do before"):
            await wide.ask(Other("x"))
        assert await wide.ask(Other("y")) == 2


@pytest.mark.parametrize("wrong", [7, "half of a pair: \ud800"])
async def test_an_id_that_cannot_be_stored_is_its_senders_error(
    ledger: Ref, caplog: pytest.LogCaptureFixture, wrong: Any
) -> None:
    """It fails nobody: the actor goes on, with the same instance."""
    before = ledger._cell.instance
    with pytest.raises((TypeError, ValueError), match="the command_id of Do"):
        await ledger.ask(Do(add("a"), wrong))
    await ledger.tell(Do(add("a"), wrong))
    assert await ledger.ask(Read()) == ()
    assert ledger._cell.instance is before
    assert "/ledger did not do Do" in caplog.text


async def test_what_is_told_is_done_once(
    ledger: Ref, world: World, journal: MemoryJournal
) -> None:
    for _ in range(3):
        await ledger.tell(Do(add("a"), "x"))
    await ledger.tell(Do(refuse, "r"))
    await ledger.tell(Do(refuse, "r"))
    assert await ledger.ask(Do(add("a"), "x")) == 1
    assert await ledger.ask(Read()) == ("a", "refused")
    assert [one.reason for one in world.dead()] == ["unasked_answer"] * 2


@attrs.frozen
class Plain:
    word: str


@attrs.frozen
class Jot:
    """No request: it is only told."""

    word: str
    command_id: str


async def test_a_message_that_is_no_request_is_done_once(
    world: World, journal: MemoryJournal
) -> None:
    """It has no answer: whatever its handler returns, or declares."""

    class Jots(EventSourced[Jot | Read, Added, tuple[str, ...]]):
        initial = ()

        @handler(raises=(Refused,))
        async def jot(self, message: Jot) -> object:
            await self.persist(Added(message.word))
            if message.word == "refused":
                raise Refused("because")
            return object()

        @handler(reads_only=True)
        def read(self, message: Read) -> tuple[str, ...]:
            return self.state

        @applies
        def added(self, event: Added) -> tuple[str, ...]:
            return (*self.state, event.word)

    jots = await world.spawn(Jots, name="ledger")
    for _ in range(2):
        for word in ("a", "refused"):
            await jots.tell(Jot(word, word))
        assert await jots.ask(Read()) == ("a", "refused")
        jots.restart()
    assert [one.reason for one in world.dead()] == ["unasked_answer"] * 2


async def test_an_id_is_remembered_for_a_while(
    world: World, journal: MemoryJournal
) -> None:
    class Short(Ledger):
        remember_for = 100.0

    ledger = await world.spawn(Short, name="ledger")
    for at, expected in ((0, 1), (99, 1), (101, 2), (150, 2), (202, 3)):
        await trio.sleep(at - trio.current_time())
        await ledger.ask(Do(add("a"), "x"))
        assert len(await ledger.ask(Read())) == expected
    ledger.restart()
    await ledger.ask(Do(add("a"), "x"))
    assert len(await ledger.ask(Read())) == 3


async def test_what_is_forgotten_is_taken_away_a_few_at_a_time(
    world: World, journal: MemoryJournal
) -> None:
    class Short(Ledger):
        remember_for = 10.0

    ledger = await world.spawn(Short, name="ledger")
    for number in range(40):
        await ledger.ask(Do(add(), str(number)))
    await trio.sleep(11)
    left: list[int] = []
    for number in range(3):
        await ledger.ask(Do(add(), f"late{number}"))
        left.append(len(await journal.notes("/ledger")))
    assert left == [25, 10, 3]


@pytest.mark.parametrize("restarts", [True, False])
async def test_an_answer_of_a_clock_that_was_ahead_does_not_keep_the_later_ones(
    restarts: bool, world: World, journal: MemoryJournal
) -> None:
    class Short(Ledger):
        remember_for = 10.0

    ledger = await world.spawn(Short, name="ledger")
    wall = world._runtime.wall
    world._runtime.wall = lambda: wall() + 1_000
    await ledger.ask(Do(add(), "ahead"))
    world._runtime.wall = wall
    for number in range(5):
        await ledger.ask(Do(add(), str(number)))
    if restarts:
        ledger.restart()
    await trio.sleep(11)
    await ledger.ask(Do(add(), "late"))
    assert [note.key for note in await journal.notes("/ledger")] == ["ahead", "late"]
    await trio.sleep(1_000)
    await ledger.ask(Do(add(), "last"))
    assert [note.key for note in await journal.notes("/ledger")] == ["last"]


async def test_what_was_not_taken_away_is_taken_away_the_next_time(
    world: World, ledger: Ref
) -> None:
    """As when the write was cancelled before it began."""
    plan = plan_of(Ledger, EventSourced)
    note = Note("outcome", "x", world._runtime.wall() - 5, b"")
    commands = Commands(plan, world._runtime, 1.0, [note])
    away = Note("outcome", "x")
    assert commands.expired() == commands.expired() == [away]
    commands.keep(away)
    assert commands.expired() == []


async def test_what_was_replaced_since_is_not_taken_away(
    world: World, ledger: Ref
) -> None:
    now = world._runtime.wall()
    begun, done = (Note("outcome", "x", at, b"") for at in (now - 5, now))
    plan = plan_of(Ledger, EventSourced)
    commands = Commands(plan, world._runtime, 1.0, [begun])
    commands.keep(done)
    assert commands.expired() == []
    assert commands.find("x") == done


async def test_a_command_longer_than_the_limit_is_remembered(
    world: World, journal: MemoryJournal
) -> None:
    class Short(Ledger):
        remember_for = 1.0

    async def act(ledger: Ledger) -> str:
        await ledger.persist(Added("a"))
        await trio.sleep(5)
        return "done"

    ledger = await world.spawn(Short, name="ledger")
    assert await ledger.ask(Do(act, "x")) == "done"
    await ledger.ask(Do(add(), "takes away what is old"))
    assert await ledger.ask(Do(act, "x")) == "done"


async def test_an_answer_that_cannot_be_stored_fails_the_command(
    ledger: Ref, journal: MemoryJournal
) -> None:
    """Nothing is half-written: neither its events nor its answer."""

    async def act(ledger: Ledger) -> object:
        await ledger.persist(Added("a"))
        return object()

    with pytest.raises(ActorFailed, match="TypeError"):
        await ledger.ask(Do(act, "x"))
    assert await ledger.ask(Read()) == await stored(journal) == ()


@attrs.frozen
class Sort(Request[Plain | Jot]):
    command_id: str


def test_an_answer_that_could_never_be_remembered_is_refused_with_the_class() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.sort: .*@tagged\(\"plain@1\"\) above"):

        class Wrong(EventSourced[Sort, Added, int]):  # pyright: ignore[reportUnusedClass]
            initial = 0

            @handler
            async def sort(self, message: Sort) -> Plain | Jot:
                return Plain("a")

            @applies
            def added(self, event: Added) -> int:
                return 0


@attrs.frozen
class Holder:
    held: "FurtherDown"


@attrs.frozen
class Hold(Request[Holder]):
    command_id: str


class Holds(EventSourced[Hold, Added, int]):
    initial = 0

    @handler
    async def hold(self, message: Hold) -> Holder:
        return Holder(FurtherDown())

    @applies
    def added(self, event: Added) -> int:
        return 0


@attrs.frozen
class FurtherDown: ...


async def test_what_is_in_an_answer_may_be_defined_further_down(world: World) -> None:
    holds = await world.spawn(Holds)
    assert await holds.ask(Hold("x")) == await holds.ask(Hold("x"))


async def test_what_is_in_an_answer_and_defined_nowhere_is_refused_at_the_start(
    world: World,
) -> None:
    @attrs.frozen
    class Local: ...

    @attrs.frozen
    class Inner:
        held: "Local"

    @attrs.frozen
    class Get(Request[Inner]):
        command_id: str

    class Wrong(EventSourced[Get, Added, int]):
        initial = 0

        @handler
        async def get(self, message: Get) -> Inner:
            return Inner(Local())

        @applies
        def added(self, event: Added) -> int:
            return 0

    with pytest.raises(StartFailed, match="Inner cannot be stored: its annotations"):
        await world.spawn(Wrong)


async def test_an_answer_that_cannot_be_read_goes_to_the_asker(
    ledger: Ref, journal: MemoryJournal
) -> None:
    await ledger.ask(Do(add("a"), "x"))
    notes = journal._streams["/ledger"].notes
    note = notes["outcome", "x"]
    notes["outcome", "x"] = attrs.evolve(note, body=b"Do\n\xc1")
    ledger.restart()
    await ledger.ask(Read())
    before = ledger._cell.instance
    with pytest.raises(ActorError):
        await ledger.ask(Do(add("a"), "x"))
    assert await ledger.ask(Read()) == ("a",)
    assert ledger._cell.instance is before


# --- Answers that come in another way ---


class Later(Ledger):
    """Answers ``Do`` in the way its id says."""

    def __init__(self, other: Ref | None = None) -> None:
        super().__init__()
        self.other = other
        self.owed: list[Reply[Any]] = []
        self.open = False

    @handler
    async def do(self, message: Do) -> Any:
        way = message.command_id
        if "stores" in way:
            await self.persist(Added(way))
        if "waits" in way:
            await trio.sleep(1)
        if "defers" in way:
            self.owed.append(self.context.defer_reply(message))
            return self.owed[-1]
        if "forwards" in way:
            assert self.other is not None
            return self.context.forward(self.other, message)
        if "stashes" in way and not self.open:
            return self.context.stash(message)
        if way == "open":
            self.open = True
            self.context.unstash_all()
            for reply in self.owed:
                reply.send("sent")
        return way


class Other(Actor[Do]):
    def __init__(self) -> None:
        self.handled = 0

    @handler
    def do(self, message: Do) -> Any:
        self.handled += 1
        return "other"


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("way", ["stashes", "stashes stores", "stashes stores waits"])
async def test_a_command_that_is_stashed_is_not_done_yet(
    way: str, told: bool, world: World, journal: MemoryJournal
) -> None:
    ledger = await world.spawn(Later, name="ledger")
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await ledger.ask(Do(add(), way)))

    async with trio.open_nursery() as nursery:
        if told:
            await ledger.tell(Do(add(), way))
        else:
            nursery.start_soon(ask)
        await trio.sleep(2)
        await ledger.ask(Do(add(), "open"))
    assert answers == ([] if told else [way])
    assert await ledger.ask(Do(add(), way)) == way
    assert len(await ledger.ask(Read())) == (2 if "stores" in way else 0)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("way", ["defers", "defers stores", "defers stores waits"])
async def test_a_command_that_is_answered_later_is_done_once(
    way: str, told: bool, world: World, journal: MemoryJournal
) -> None:
    """Its repeat is told that the answer is not known: it was given later."""
    ledger = await world.spawn(Later, name="ledger")
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await ledger.ask(Do(add(), way)))

    async with trio.open_nursery() as nursery:
        if told:
            await ledger.tell(Do(add(), way))
        else:
            nursery.start_soon(ask)
        await trio.sleep(2)
        with pytest.raises(ActorError, match="the answer was given later"):
            await ledger.ask(Do(add(), way))
        assert len(instance(ledger).owed) == 1
        await ledger.ask(Do(add(), "open"))
    assert answers == ([] if told else ["sent"])
    assert await ledger.ask(Read()) == ((way,) if "stores" in way else ())
    ledger.restart()
    with pytest.raises(ActorError, match="the answer was given later"):
        await ledger.ask(Do(add(), way))


@pytest.mark.parametrize("way", ["forwards", "forwards stores"])
async def test_a_command_that_is_forwarded_is_forwarded_once(
    way: str, world: World, journal: MemoryJournal
) -> None:
    other = await world.spawn(Other)
    ledger = await world.spawn(Later, other, name="ledger")
    assert await ledger.ask(Do(add(), way)) == "other"
    with pytest.raises(ActorError, match=r"by defer_reply\(\) or forward\(\)"):
        await ledger.ask(Do(add(), way))
    assert await ledger.ask(Do(add(), f"{way} again")) == "other"
    assert instance(other).handled == 2


# --- Batches ---


@dataclasses.dataclass(frozen=True)
class Late(Request[None]):
    command_id: str


@pytest.mark.parametrize(
    ("kind", "answers"), [(Do, list[Any]), (Late, list[None]), (Reminder, None)]
)
def test_a_batch_of_what_is_remembered_one_by_one_is_refused(
    kind: Any, answers: Any
) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__} has a command_id"):

        class Batches(EventSourced[kind, Added, tuple[str, ...]]):  # pyright: ignore[reportUnusedClass]
            initial = ()

            @handler(batch=10)
            async def batch(self, messages: list[kind]) -> answers: ...  # pyright: ignore[reportInvalidTypeForm, reportUnknownParameterType]

            @applies
            def added(self, event: Added) -> tuple[str, ...]:
                return self.state


class Command(Request[int]): ...


@attrs.frozen
class Add(Command):
    word: str
    command_id: str = ""


async def test_a_batch_refuses_an_id_that_its_class_does_not_have(
    world: World, journal: MemoryJournal
) -> None:
    """Never done twice without a word: a class below it has the id."""

    class Batches(EventSourced[Command | Read, Added, tuple[str, ...]]):
        initial = ()

        @handler(batch=10)
        async def batch(self, messages: list[Command]) -> list[int]:
            adds = [one for one in messages if isinstance(one, Add)]
            await self.persist(*(Added(one.word) for one in adds))
            return [len(self.state) for _ in messages]

        @handler(reads_only=True)
        def read(self, message: Read) -> tuple[str, ...]:
            return self.state

        @applies
        def added(self, event: Added) -> tuple[str, ...]:
            return (*self.state, event.word)

    ref = await world.spawn(Batches, name="ledger")
    assert await ref.ask(Add("a")) == 1
    with pytest.raises(ActorFailed, match="write a handler for Add without it"):
        await ref.ask(Add("b", "x"))
    assert await ref.ask(Read()) == ("a",)


async def test_a_batch_is_one_transaction(world: World, journal: MemoryJournal) -> None:
    class Batches(EventSourced[Plain | Read, Added, tuple[str, ...]]):
        initial = ()

        @handler(batch=10)
        async def batch(self, messages: list[Plain]) -> None:
            await self.persist(*(Added(one.word) for one in messages))

        @handler(reads_only=True)
        def read(self, message: Read) -> tuple[str, ...]:
            return self.state

        @applies
        def added(self, event: Added) -> tuple[str, ...]:
            return (*self.state, event.word)

    ref = await world.spawn(Batches)
    await ref.tell_all([Plain(word) for word in "abc"])
    assert await ref.ask(Read()) == ("a", "b", "c")
    assert journal.statistics()["writes"] == 1
