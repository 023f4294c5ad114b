"""From a user's code to an actor: what can be spawned, and become().

Rules: STA-2, section 2 of the design.
"""

import functools
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from tests.kit import Add, Boom, Counter, Get, Note, Sleep, Worker, tally
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ChildSpec,
    Exit,
    Inbox,
    Reply,
    StartFailed,
    Supervision,
    UnhandledMessage,
    handler,
)
from trio_actors._behavior import Recipe
from trio_actors.testing import World

# --- What can be spawned ----------------------------------------------------


class Callable_:  # noqa: N801
    """An object whose call is a function actor."""

    async def __call__(self, inbox: Inbox[Add | Get], total: int) -> None:
        async for message in inbox:
            if isinstance(message, Add):
                total += message.amount
            inbox.reply(message, total)

    async def method(self, inbox: Inbox[Add | Get], total: int) -> None:
        await self(inbox, total)


def wrapped(inbox: Inbox[Add | Get], total: int) -> Awaitable[None]:
    """A plain function that returns an awaitable."""
    return Callable_()(inbox, total)


def make_counter(start: int) -> Counter:
    return Counter(start)


of_ten: Callable[[Inbox[Add | Get]], Awaitable[None]] = lambda inbox: wrapped(  # noqa: E731
    inbox, 10
)

WAYS: list[tuple[str, Any, tuple[Any, ...]]] = [
    ("class", Counter, (10,)),
    ("lambda", lambda: Counter(10), ()),
    ("factory", make_counter, (10,)),
    ("partial of a class", functools.partial(Counter, start=10), ()),
    ("partial of a factory", functools.partial(make_counter, 10), ()),
    ("function", tally, (10,)),
    ("partial of a function", functools.partial(tally, total=10), ()),
    ("object", Callable_(), (10,)),
    ("method", Callable_().method, (10,)),
    ("lambda of a function", of_ten, ()),
    ("function that returns an awaitable", wrapped, (10,)),
]


@pytest.mark.parametrize(("way", "actor", "args"), WAYS, ids=[way for way, *_ in WAYS])
async def test_an_actor_may_be_written_in_many_ways(
    world: World, way: str, actor: Any, args: tuple[Any, ...]
) -> None:
    ref: ActorRef[Any] = await world.spawn(actor, *args)
    await ref.tell(Add(1))
    assert await ref.ask(Get()) == 11
    ref.restart()
    assert await ref.ask(Get()) == 10


async def test_a_name_comes_from_what_was_spawned(world: World) -> None:
    class _Hidden(Counter):
        pass

    spawned: list[Any] = [
        Counter,
        tally,
        functools.partial(Counter, 1),
        lambda: Counter(),
        Callable_(),
        _Hidden,
    ]
    refs = [await world.spawn(one) for one in spawned if one is not spawned[4]]
    refs.append(await world.spawn(spawned[4], 0))
    labels = [ref.path.rpartition("-")[0] for ref in refs]
    assert labels == [
        "/counter",
        "/tally",
        "/counter",
        "/lambda",
        "/hidden",
        "/callable",
    ]


NO_INBOX: Any = None


async def nothing() -> None:
    """Take no inbox."""


MISTAKES: list[tuple[str, Callable[[], Any], str]] = [
    (
        "coroutine",
        lambda: tally(NO_INBOX),
        r"(?s)got a coroutine.*\n    spawn\(tally, \.\.\.\)",
    ),
    ("instance", lambda: Counter(1), r"(?s)got an instance.*\n    spawn\(Counter, "),
    ("message", lambda: Add(1), r"cannot make an actor of Add\(amount=1\)"),
    ("class of something else", lambda: Add, r"cannot make an actor of <class.*Add'>"),
    ("none", lambda: None, "cannot make an actor of None"),
    ("text", lambda: "Counter", "cannot make an actor of 'Counter'"),
    ("ref", lambda: 7, "cannot make an actor of 7"),
]


@pytest.mark.parametrize(
    ("make", "words"), [one[1:] for one in MISTAKES], ids=[one[0] for one in MISTAKES]
)
async def test_what_is_no_actor_is_refused_before_anything_is_made(
    world: World, make: Callable[[], Any], words: str
) -> None:
    """As trio refuses a coroutine: what was probably written, what to write."""
    for spawn in (world.spawn_nowait, functools.partial(ChildSpec, "name")):
        with pytest.raises(TypeError, match=words):
            spawn(make())
    with pytest.raises(TypeError, match=words):
        await world.spawn(make())
    with pytest.raises(TypeError, match=words):
        await world.spawn_pool(make(), size=2)
    assert world.snapshot().children == ()


@pytest.mark.parametrize(
    "factory",
    [lambda: Add(1), lambda: None, lambda: tally(NO_INBOX), lambda: Counter],
    ids=["message", "none", "coroutine", "class"],
)
async def test_a_factory_that_makes_no_actor_is_a_failed_start(
    world: World, factory: Any
) -> None:
    with pytest.raises(StartFailed) as caught:
        await world.spawn(factory)
    assert isinstance(caught.value.__cause__, TypeError)
    assert "lambda made " in str(caught.value.__cause__)


async def test_wrong_arguments_are_a_failed_start(world: World) -> None:
    for actor, args in ((Counter, (1, 2, 3)), (tally, (1, 2)), (Callable_(), ())):
        spawned: Any = actor
        with pytest.raises(StartFailed) as caught:
            await world.spawn(spawned, *args)
        assert isinstance(caught.value.__cause__, TypeError)


async def test_a_function_without_an_inbox_is_a_failed_start(world: World) -> None:
    wrong: Any = nothing
    with pytest.raises(StartFailed) as caught:
        await world.spawn(wrong)
    assert isinstance(caught.value.__cause__, TypeError)


def test_what_has_no_signature_is_taken_for_a_factory() -> None:
    """Builtins have none; nobody can say more of them."""
    without: Any = max
    assert not Recipe(without, ()).is_function


async def test_an_actor_made_by_hand_can_be_called_in_a_test(world: World) -> None:
    """Its handlers are methods; it only has no context."""
    counter = Counter(3)
    assert counter.add(Add(4)) == 7
    with pytest.raises(RuntimeError, match="this Counter has no context.*by hand"):
        _ = counter.context


# --- become -----------------------------------------------------------------


class Closed(Actor[Add | Get | Note | Boom]):
    """Answers 0; a note opens it."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log: list[str] = [] if log is None else log

    async def started(self) -> None:
        self.log.append("closed started")

    async def restarting(self, failure: Exception) -> None:
        self.log.append("closed restarting")

    async def stopped(self, reason: Exit) -> None:
        self.log.append("closed stopped")

    @handler
    def add(self, message: Add) -> int:
        return 0

    @handler
    def get(self, message: Get) -> int:
        return -self.context.incarnation

    @handler
    def note(self, message: Note) -> None:
        self.become(Open(self.log, message.text))

    @handler
    def boom(self, message: Boom) -> int:
        raise message.error


class Open(Closed):
    """Answers; with async handlers, which the first behavior has not."""

    def __init__(self, log: list[str], name: str) -> None:
        super().__init__(log)
        self.name = name

    async def started(self) -> None:
        raise AssertionError("is not run for become()")

    async def restarting(self, failure: Exception) -> None:
        self.log.append(f"{self.name} restarting")

    async def stopped(self, reason: Exit) -> None:
        self.log.append(f"{self.name} stopped")

    @handler
    def note(self, message: Note) -> None:
        if message.text == "back":
            self.unbecome()
        else:
            self.become(Open(self.log, message.text))

    @handler
    def get(self, message: Get) -> int:
        self.log.append(self.name)
        return self.context.incarnation


async def test_the_next_message_is_handled_by_the_new_behavior(world: World) -> None:
    """STA-2; S1-1: designate how the next message is handled."""
    log: list[str] = []
    ref = await world.spawn(Closed, log)
    answers = [ref.ask_nowait(Get())]
    for text in ("a", "b", "back", "back"):
        ref.tell_nowait(Note(text))
        answers.append(ref.ask_nowait(Get()))
    assert [await answer for answer in answers] == [-1, 1, 1, 1, -1]
    assert log == ["closed started", "a", "b", "a"]


async def test_a_plain_actor_may_become_one_that_waits_and_back(world: World) -> None:
    """It gets its cancel scope when it needs one."""

    class Sleepy(Counter):
        @handler
        async def get(self, message: Get) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            await trio.sleep(1)
            return 7

        @handler
        def boom(self, message: Boom) -> int:
            self.unbecome()
            return 1

    class Awake(Counter):
        @handler
        def boom(self, message: Boom) -> int:
            self.become(Sleepy())
            return 0

    ref = await world.spawn(Awake, 3)
    assert await ref.ask(Get()) == 3
    assert await ref.ask(Boom()) == 0
    assert await ref.ask(Get()) == 7
    killed = ref.ask_nowait(Get())
    assert await killed == 7
    assert await ref.ask(Boom()) == 1
    assert await ref.ask(Get()) == 3
    assert trio.current_time() == 2


async def test_a_waiting_turn_of_a_later_behavior_can_be_killed(world: World) -> None:
    class Sleepy(Counter):
        @handler
        async def get(self, message: Get) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            await trio.sleep(1000)
            return 7

    class Awake(Counter):
        @handler
        def boom(self, message: Boom) -> int:
            self.become(Sleepy())
            return 0

    ref = await world.spawn(Awake)
    assert await ref.ask(Boom()) == 0
    pending = ref.ask_nowait(Get())
    await trio.sleep(1)
    ref.kill()
    with pytest.raises(ActorFailed, match="was killed"):
        await pending
    assert trio.current_time() == 1


async def test_a_restart_goes_back_to_the_first_behavior(world: World) -> None:
    log: list[str] = []
    ref = await world.spawn(Closed, log)
    ref.tell_nowait(Note("a"))
    ref.tell_nowait(Note("b"))
    with pytest.raises(ActorFailed):
        await ref.ask(Boom())
    assert await ref.ask(Get()) == -2
    assert log == [
        "closed started",
        "b restarting",
        "a restarting",
        "closed restarting",
        "closed started",
    ]


async def test_the_end_runs_the_hooks_of_all_behaviors(world: World) -> None:
    """The last first: each cleans up what it has."""
    log: list[str] = []
    ref = await world.spawn(Closed, log)
    ref.tell_nowait(Note("a"))
    ref.tell_nowait(Note("b"))
    await world.settled()
    ref.stop()
    await ref.wait_stopped()
    assert log[1:] == ["b stopped", "a stopped", "closed stopped"]


async def test_a_hook_that_fails_hides_no_other(world: World) -> None:
    class Broken(Closed):
        async def stopped(self, reason: Exit) -> None:
            raise ValueError("a bad goodbye")

    class First(Closed):
        @handler
        def note(self, message: Note) -> None:
            self.become(Broken())

        async def stopped(self, reason: Exit) -> None:
            self.log.append("first stopped")
            raise KeyError("another")

    log: list[str] = []
    ref = await world.spawn(First, log)
    await ref.tell(Note())
    await ref.tell(Note())
    await world.settled()
    ref.stop()
    reason = await ref.wait_stopped()
    assert isinstance(reason.error, ValueError)
    assert log[-1] == "first stopped"


async def test_resume_keeps_the_behavior_that_failed(world: World) -> None:
    """FAIL-2: the same instance, the same state."""

    class Host(Actor[Note]):
        supervision = Supervision(directives={ValueError: "resume"})
        child: ActorRef[Any]

        async def started(self) -> None:
            self.child = await self.context.spawn(Closed, log, name="child")

        @handler
        def note(self, message: Note) -> None: ...

    log: list[str] = []
    await world.spawn(Host, name="host")
    child = world.find("/host/child")
    assert child is not None
    await child.tell(Note("a"))
    with pytest.raises(ActorFailed):
        await child.ask(Boom(ValueError("v")))
    assert await child.ask(Get()) == 1
    assert log == ["closed started", "a"]


async def test_become_wants_an_instance(world: World) -> None:
    """Probably the parentheses are missing."""
    seen: list[str] = []

    class Wrong(Counter):
        @handler
        def get(self, message: Get) -> int:
            for wrong in (Counter, None, Add(1)):
                behavior: Any = wrong
                with pytest.raises(TypeError, match="with parentheses") as caught:
                    self.become(behavior)
                seen.append(str(caught.value))
            return 1

    ref = await world.spawn(Wrong)
    assert await ref.ask(Get()) == 1
    assert "become() wants an instance of an Actor, but got <class" in seen[0]


async def test_unbecome_needs_a_become(world: World) -> None:
    class Wrong(Counter):
        @handler
        def get(self, message: Get) -> int:
            with pytest.raises(RuntimeError, match="/wrong-1: unbecome.. without"):
                self.unbecome()
            return 1

    ref = await world.spawn(Wrong, name="wrong-1")
    assert await ref.ask(Get()) == 1


async def test_an_actor_that_has_ended_becomes_nothing(world: World) -> None:
    kept: list[Counter] = []

    class Kept(Counter):
        async def started(self) -> None:
            kept.append(self)

    ref = await world.spawn(Kept)
    ref.stop()
    await ref.wait_stopped()
    with pytest.raises(RuntimeError, match="does not run: it cannot become anything"):
        kept[0].become(Counter())


async def test_a_behavior_shares_context_stash_and_timers(world: World) -> None:
    class Second(Actor[Note | Get]):
        @handler
        def note(self, message: Note) -> None:
            seen.append(message.text)

        @handler
        def get(self, message: Get) -> int:
            assert self.context.ref == ref
            return 5

    class First(Actor[Note | Get]):
        @handler
        def note(self, message: Note) -> None:
            self.context.send_after(1, Note("tick"))
            self.context.unstash_all()
            self.become(Second())

        @handler
        def get(self, message: Get) -> Reply[int]:
            return self.context.stash(message)

    seen: list[str] = []
    ref = await world.spawn(First)
    pending = ref.ask_nowait(Get())
    await ref.tell(Note())
    assert await pending == 5
    await trio.sleep(2)
    assert seen == ["tick"]


async def test_a_behavior_with_fewer_handlers_leaves_messages_unhandled(
    world: World,
) -> None:
    """Each behavior answers for itself what it does not know."""

    class Mute(Actor[Note]):
        @handler
        def note(self, message: Note) -> None: ...

    class Talks(Actor[Note | Get]):
        @handler
        def note(self, message: Note) -> None:
            mute: Any = Mute()
            self.become(mute)

        @handler
        def get(self, message: Get) -> int:
            return 1

    ref = await world.spawn(Talks)
    assert await ref.ask(Get()) == 1
    await ref.tell(Note())
    with pytest.raises(UnhandledMessage, match="the messages of Mute"):
        await ref.ask(Get())


# --- Shapes -----------------------------------------------------------------


@attrs.frozen
class Shape:
    name: str


@attrs.frozen
class Circle(Shape):
    pass


@attrs.frozen
class Square(Shape):
    pass


async def test_a_message_goes_to_its_own_handler_then_to_its_nearest_base(
    world: World,
) -> None:
    """Section 2: dispatch by exact type, then MRO, cached; also when it is told."""
    seen: list[str] = []

    class Draws(Actor[Shape | Square]):
        @handler
        def shape(self, message: Shape) -> None:
            seen.append(f"shape {message.name}")

        @handler
        async def square(self, message: Square) -> None:
            seen.append(f"square {message.name}")

    ref = await world.spawn(Draws)
    for number in range(2):
        for kind in (Shape, Circle, Square):
            ref.tell_nowait(kind(str(number)))
    await world.settled()
    assert seen == [
        f"{kind} {n}" for n in (0, 1) for kind in ("shape", "shape", "square")
    ]


async def test_many_plain_messages_let_others_run(world: World) -> None:
    """MBX-5: a plain actor must not starve others: a checkpoint each 64 messages."""
    busy, other = await world.spawn(Counter), await world.spawn(Counter)
    progress: list[int] = []

    async def watch() -> None:
        while not progress or progress[-1] < 640:
            progress.append(world.snapshot().children[0].handled)
            await other.ask(Get())

    for _ in range(640):
        busy.tell_nowait(Add())
    world.client(watch)
    await world.settled()
    steps = [after - before for before, after in itertools.pairwise(progress)]
    assert max(steps) <= 192
    assert len(progress) > 3


async def test_a_worker_is_an_actor_like_any_other(world: World) -> None:
    log: list[str] = []
    ref = await world.spawn(Worker, log, "w")
    assert await ref.ask(Sleep(2)) == 0
    ref.stop()
    await ref.wait_stopped()
    assert log == ["w+", "w-"]
