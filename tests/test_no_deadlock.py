"""What is not certain to be a deadlock is none.

Rules: ASK-D8, design 2 ("Deadlock: only what is certain").
"""

from typing import Any

import attrs
import pytest
import trio

from tests.actors import Node, Run, asks, node_function
from tests.kit import (
    Add,
    Get,
    Note,
    Sleep,
    Worker,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    AskDeadlock,
    Context,
    Exit,
    Inbox,
    Mailbox,
    Pending,
    Reply,
    ServiceKey,
    handler,
)
from trio_actors.testing import World

KINDS: list[Any] = [Node, node_function]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_ask_of_a_busy_actor_waits(world: World, kind: Any) -> None:
    a, b, c = [await world.spawn(kind, name=name) for name in "abc"]
    c.tell_nowait(Run(lambda _: trio.sleep(5)))
    await trio.lowlevel.checkpoint()
    pendings = [a.ask_nowait(asks(b, asks(c))), b.ask_nowait(asks(c))]
    assert [await pending for pending in pendings] == [1, 1]
    assert trio.current_time() == 5


async def test_a_task_beside_the_handlers_may_ask_back(world: World) -> None:
    """Design 2: tasks from `start_soon` draw no edge."""
    a, b = [await world.spawn(Node, name=name) for name in "ab"]
    answers: list[int] = []

    async def beside() -> None:
        answers.append(await b.ask(asks(a)))

    async def work(context: Context[Any]) -> str:
        context.start_soon(beside)
        await trio.sleep(1)
        return "done"

    assert await a.ask(Run(work)) == "done"
    await trio.sleep(1)
    assert answers == [1]


async def test_a_nursery_in_a_handler_draws_no_edge(world: World) -> None:
    """Design 2: not certain, for its body may give up; that is what it does here."""
    a, b = [await world.spawn(Node, name=name) for name in "ab"]

    async def work(_: object) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(b.ask, asks(a))
            await trio.sleep(3)
            nursery.cancel_scope.cancel()
        return "gave up"

    assert await a.ask(Run(work)) == "gave up"
    await world.settled()
    assert trio.current_time() == 3


class Keeper(Actor[Get | Run | Note]):
    """Defers or stashes requests; a note lets them go."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.replies: list[Reply[int]] = []
        self.open = False

    @handler
    def get(self, message: Get) -> Reply[int] | int:
        if self.way == "stash":
            return 7 if self.open else self.context.stash(message)
        self.replies.append(self.context.defer_reply(message))
        return self.replies[-1]

    @handler
    async def run(self, message: Run) -> Any:
        return await message.work(self.context)

    @handler
    def note(self, message: Note) -> None:
        self.open = True
        self.context.unstash_all()
        for reply in self.replies:
            reply.send(7)


@pytest.mark.parametrize("way", ["defer", "stash"])
async def test_a_request_that_is_deferred_or_stashed_holds_nobody_up(
    world: World, way: str
) -> None:
    """Design 2: deferred, the edge leads nowhere."""
    a = await world.spawn(Node, name="a")
    b = await world.spawn(Keeper, way, name="b")
    waits = a.ask_nowait(asks(b))
    await trio.sleep(1)

    async def tries(context: Context[Any]) -> bool:
        with trio.move_on_after(1) as scope:
            await a.ask(Get())  # a waits for b, but not for this turn
        context.ref.tell_nowait(Note())
        return scope.cancelled_caught

    assert await b.ask(Run(tries)) is True
    assert await waits == 7


async def test_an_answer_that_was_given_holds_nobody_up(world: World) -> None:
    """Design 2: the edge goes when the reply is *given*."""
    a = await world.spawn(Node, name="a")
    got: list[int] = []

    async def answers_and_asks(inbox: Inbox[Get]) -> None:
        async for message in inbox:
            inbox.reply(message, 5)
            got.append(await a.ask(Get()))

    b = await world.spawn(answers_and_asks, name="b")
    assert await a.ask(asks(b)) == 5
    await world.settled()
    assert got == [1]


async def test_an_idle_actor_is_asked_back(world: World) -> None:
    """A→B→C→B is no circle: B's answer to A is deferred, B is idle."""

    class Front(Actor[Run | Get]):
        @handler
        def run(self, message: Run) -> Reply[Any]:
            reply = self.context.defer_reply(message)

            async def work() -> None:
                reply.send(await message.work(self.context))

            self.context.start_soon(work)
            return reply

        @handler
        def get(self, message: Get) -> int:
            return 42

    front = await world.spawn(Front)
    back = await world.spawn(Node)
    assert await front.ask(asks(back, asks(front))) == 42


@pytest.mark.parametrize("routing", ["broadcast", "first"])
async def test_a_question_to_several_is_no_certain_deadlock(
    world: World, routing: Any
) -> None:
    """One of them will do."""
    a = await world.spawn(Node, name="a")
    number = iter(range(2))

    class Sometimes(Actor[Get]):
        def __init__(self) -> None:
            self.number = next(number)

        @handler
        async def get(self, message: Get) -> int:
            if self.number == 0:
                await a.ask(Get())
            await trio.sleep(1)
            return self.number

    pool = await world.spawn_pool(Sometimes, size=2, routing=routing)
    assert await a.ask(asks(pool)) == 1


async def test_a_service_that_nobody_offers_yet_is_no_deadlock(world: World) -> None:
    a, b = [await world.spawn(Node, name=name) for name in "ab"]
    key = ServiceKey[Run | Get | Note]("node")
    waits = a.ask_nowait(asks(world.service(key)))
    await trio.sleep(1)
    world.register(key, b)
    assert await waits == 1


async def test_a_child_that_has_started_may_wait_for_its_parent(world: World) -> None:
    """The parent's wait is over, although its task has not run since."""
    parent = await world.spawn(Node, name="parent", mailbox=Mailbox(1))
    seen: list[str] = []

    class Eager(Actor[Note]):
        async def started(self) -> None:
            self.context.ref.tell_nowait(Note())

        @handler
        async def note(self, message: Note) -> None:
            seen.append(str(await parent.ask(Get())))

    await parent.ask(Run(lambda context: context.spawn(Eager)))
    await world.settled()
    assert seen == ["1"]


async def test_who_was_given_room_holds_nobody_up(world: World) -> None:
    """A sender's wait is over when it has room, although it has not run since."""
    a = await world.spawn(Node, name="a")
    b = await world.spawn(Node, name="b", mailbox=Mailbox(1))
    b.tell_nowait(Run(lambda _: trio.sleep(1)))
    await trio.sleep(0.5)
    asked = b.ask_nowait(asks(a))  # handled in the step that gives a its room
    sends = a.ask_nowait(Run(lambda _: b.tell(Note("x"))))
    assert await asked == 1
    await sends


async def test_who_was_given_room_for_a_burst_holds_nobody_up(world: World) -> None:
    a = await world.spawn(Node, name="a")
    b = await world.spawn(Node, name="b", mailbox=Mailbox(1))
    b.tell_nowait(Run(lambda _: trio.sleep(1)))
    await trio.sleep(0.5)
    asked = b.ask_nowait(asks(a))
    sends = a.ask_nowait(Run(lambda _: b.tell_all([Note("x")])))
    assert await asked == 1
    await sends


async def test_an_ask_that_was_cancelled_holds_nobody_up(world: World) -> None:
    """In the very step in which it is cancelled."""
    a, b = [await world.spawn(Node, name=name) for name in "ab"]
    scope = trio.CancelScope()

    async def gives_up(_: object) -> str:
        with scope:
            await b.ask(Get())
        return "gave up"

    async def asks_back(_: object) -> Any:
        await trio.sleep(1)
        scope.cancel()
        return await a.ask(Get())

    back = b.ask_nowait(Run(asks_back))
    await trio.sleep(0.5)
    assert await a.ask(Run(gives_up)) == "gave up"
    assert await back == 1


@pytest.mark.parametrize("verb", ["kill", "stop"])
async def test_who_was_told_to_end_may_be_waited_for(world: World, verb: str) -> None:
    """It asks the one who waits; but it is cancelled, now or after its shutdown."""
    a = await world.spawn(Node, name="a")
    b = await world.spawn(Node, name="b", shutdown=2)
    waits = b.ask_nowait(Run(lambda _: trio.sleep(1)))
    asks_back = b.ask_nowait(asks(a, Run(ends := _ends(b, verb))))
    await waits
    with pytest.raises(ActorFailed, match=r"/b was (killed|cut)"):
        await asks_back
    await world.settled()
    assert ends.seen == ["killed"]
    assert trio.current_time() == (1 if verb == "kill" else 3)
    assert await a.ask(Get()) == 1


@attrs.define(eq=False)
class _ends:  # noqa: N801
    """Ends a node and waits for that."""

    ref: ActorRef[Any]
    verb: str
    seen: list[str] = attrs.Factory(list[str])

    async def __call__(self, _: object) -> None:
        getattr(self.ref, self.verb)()
        self.seen.append((await self.ref.wait_stopped()).kind)


async def test_who_is_being_restarted_may_be_asked(world: World) -> None:
    """Its turn, which waits for the one who asks, is cancelled already."""
    a, b = [await world.spawn(Node, name=name) for name in "ab"]
    got: list[int] = []

    async def restarts(_: object) -> None:
        b.restart()
        got.append(await b.ask(Get()))

    with pytest.raises(ActorFailed, match="restarted"):
        await b.ask(asks(a, Run(restarts)))
    await world.settled()
    assert got == [2]


async def test_who_has_failed_beside_its_turn_may_be_asked(world: World) -> None:
    """An inner task has failed: the turn that waits is cancelled already."""
    a, b = [await world.spawn(Node, name=name) for name in "ab"]
    got: list[int] = []
    fail = trio.Event()

    async def fails() -> None:
        await fail.wait()
        raise ValueError("beside")

    async def asks_back(_: object) -> None:
        fail.set()
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        got.append(await b.ask(Get()))

    async def starts_and_asks(context: Context[Any]) -> None:
        context.start_soon(fails)
        await a.ask(Run(asks_back))

    with pytest.raises(ActorFailed, match="beside"):
        await b.ask(Run(starts_and_asks))
    await world.settled()
    assert got == [2]


async def test_what_stopped_asks_is_answered_or_refused_at_once(world: World) -> None:
    """Its mailbox is shut: who asks back hears that, instead of a deadlock."""
    a = await world.spawn(Node, name="a")

    class Polite(Actor[Get]):
        answer: Any = None

        async def stopped(self, reason: Exit) -> None:
            try:
                await a.ask(asks(self.context.ref))
            except ActorFailed as error:
                answers.append(error.__cause__)

        @handler
        def get(self, message: Get) -> int:
            return 0

    answers: list[Any] = []
    b = await world.spawn(Polite)
    b.stop()
    await b.wait_stopped()
    assert [type(error) for error in answers] == [ActorStopped]
    world.dead()


async def test_a_function_that_receives_in_another_task_may_be_asked_back(
    world: World,
) -> None:
    """Its first task waits, but its messages are handled: nothing is certain."""
    b = await world.spawn(Node, name="b")
    got: list[int] = []

    async def two_tasks(inbox: Inbox[Get], first: bool) -> None:
        async def receive() -> None:
            async for message in inbox:
                inbox.reply(message, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            if first:
                await trio.sleep(1)
            got.append(await b.ask(asks(inbox.ref)))

    for first in (True, False):
        await world.spawn(two_tasks, first)
    await trio.sleep(5)
    assert got == [1, 1]


async def test_the_other_task_of_a_function_that_waits_for_itself_is_told(
    world: World,
) -> None:
    """The turn is where the function receives, whichever task that is."""
    heard: list[AskDeadlock] = []

    async def two_tasks(inbox: Inbox[Get | Note]) -> None:
        async def receive() -> None:
            async for message in inbox:
                if isinstance(message, Note):
                    try:
                        await inbox.ref.ask(Get())
                    except AskDeadlock as error:
                        heard.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.sleep(1)

    ref = await world.spawn(two_tasks, name="f")
    await ref.tell(Note())
    await trio.sleep(0.5)
    assert [error.cycle for error in heard] == [("/f", "/f")]


async def test_a_pending_of_a_functions_first_task_is_not_lost_to_the_turns(
    world: World,
) -> None:
    """Turns that end in another task do not abandon what the first one awaits."""
    slow = await world.spawn(Worker)
    got: list[int] = []

    async def two_tasks(inbox: Inbox[Add]) -> None:
        async def receive() -> None:
            async for message in inbox:
                inbox.reply(message, 1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            pending: Pending[int] = slow.ask_nowait(Sleep(5))
            got.append(await pending)

    ref = await world.spawn(two_tasks)
    for _ in range(3):
        assert await ref.ask(Add()) == 1
    await world.settled()
    await trio.sleep(5)
    assert got == [0]


async def test_a_snapshot_shows_who_waits_for_whom(world: World) -> None:
    """Design 2: what is less certain is shown, not raised."""
    a = await world.spawn(Node, name="a")
    slow = await world.spawn(Worker, name="slow", mailbox=Mailbox(1))
    slow.tell_nowait(Sleep(5))
    asked = a.ask_nowait(asks(slow))
    await trio.sleep(1)
    assert world.snapshot().children[0].waits_for == "/slow"
    assert "waits for /slow" in world.snapshot().render()
    await asked
    told = a.ask_nowait(Run(lambda _: slow.tell_all([Sleep(1)] * 3)))
    await trio.sleep(0.5)
    assert world.snapshot().children[0].waits_for == "/slow"
    await told
    assert world.snapshot().children[0].waits_for is None


async def test_somebody_elses_deadlock_is_not_the_askers(world: World) -> None:
    """One that came about unseen, in an inner task, holds up who asks; no more."""

    class Late(Actor[Get | Run]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            return self.context.stash(message)

        @handler
        async def run(self, message: Run) -> Any:
            self.context.start_soon(self.unstash)
            return await message.work(self.context)

        async def unstash(self) -> None:
            await trio.sleep(1)
            self.context.unstash_all()  # from now on a waits for this very turn

    a = await world.spawn(Node, name="a")
    b = await world.spawn(Late, name="b")
    c = await world.spawn(Node, name="c")
    waits = a.ask_nowait(asks(b))
    await trio.sleep(1)
    back = b.ask_nowait(asks(a))
    await trio.sleep(2)
    with trio.move_on_after(1) as scope:
        await c.ask(asks(a))
    assert scope.cancelled_caught
    b.kill()
    with pytest.raises(ActorFailed):
        await back
    with pytest.raises(ActorFailed):
        await waits
    await world.settled()
    world.dead()
