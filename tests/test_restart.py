"""What a restart keeps, what it takes down first, and what it begins anew (LIFE-7)."""

from contextvars import ContextVar
from typing import Any

import pytest
import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Worker,
    found,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    Backoff,
    DeathPact,
    Inbox,
    Reply,
    ServiceKey,
    Supervision,
    Terminated,
    Topic,
    handler,
)
from trio_actors.testing import World

# --- What stays ---------------------------------------------------------------


async def test_ref_name_and_mailbox_stay_and_the_incarnation_grows(
    world: World,
) -> None:
    """LIFE-1, S3 defect (e): what waits in the mailbox is served afterwards."""

    class Numbered(Counter):
        @handler
        def get(self, message: Get) -> int:
            return self.context.incarnation

    ref = await world.spawn(Numbered, name="n")
    assert await ref.ask(Get()) == 1
    await ref.tell(Boom())
    answers = [ref.ask_nowait(Get()) for _ in range(3)]
    assert [await answer for answer in answers] == [2, 2, 2]
    assert found(world, "/n") == ref
    assert world.snapshot().children[0].restarts == 1


class Social(Actor[Note | Boom | Terminated]):
    """Watches, links, registers and subscribes each time it starts."""

    def __init__(
        self,
        log: list[str],
        key: ServiceKey[Note],
        topic: Topic[Note],
        others: tuple[ActorRef[Any], ActorRef[Any]],
    ) -> None:
        self.log = log
        self.key = key
        self.topic = topic
        self.watched, self.linked = others

    async def started(self) -> None:
        self.context.watch(self.watched)
        self.context.link(self.linked)
        self.context.register(self.key)
        self.context.subscribe(self.topic)

    @handler
    def note(self, message: Note) -> None:
        self.log.append(f"{message.text} {self.context.incarnation}")

    @handler
    def boom(self, message: Boom) -> int:
        raise message.error

    @handler
    def terminated(self, message: Terminated) -> None:
        self.log.append(f"{message.ref.path} {message.reason.kind}")


async def test_watches_links_keys_and_subscriptions_stay_and_are_not_doubled(
    world: World,
) -> None:
    """Design 3, restart: to do it again in ``started()`` is a no-op (U13)."""
    log: list[str] = []
    key: ServiceKey[Note] = ServiceKey("social", unique=True)
    topic: Topic[Note] = Topic("news")
    rules = Supervision(directives={DeathPact: "stop"})
    top = await world.spawn_supervisor(supervision=rules)
    watched, linked = await top.spawn(Counter, name="w"), await top.spawn(Counter)
    ref = await top.spawn(Social, log, key, topic, (watched, linked))
    await ref.tell(Boom())
    await world.settled()

    assert world.find(key) == ref
    assert world.find_all(key) == (ref,)
    world.publish(topic, Note("published"))
    watched.stop()
    await world.settled()
    assert log == ["published 2", f"{watched.path} shutdown"]
    linked.kill()
    exit = await ref.wait_stopped()
    assert isinstance(exit.error, DeathPact)
    assert world.find(key) is None


async def test_a_watcher_hears_of_the_end_and_not_of_the_restart(world: World) -> None:
    """Design 3: watches in both directions stay; a restart is no end."""
    log: list[str] = []
    key: ServiceKey[Note] = ServiceKey("watcher")
    ref = await world.spawn(Counter, name="watched")
    other = await world.spawn(Counter)
    await world.spawn(Social, log, key, Topic[Note]("news"), (ref, other))
    await ref.tell(Boom())
    await world.settled()
    assert log == []
    ref.stop()
    await world.settled()
    assert log == ["/watched shutdown"]


class Gate(Actor[Note | Boom]):
    """Stashes until it is restarted."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    @handler
    def note(self, message: Note) -> None:
        if self.context.incarnation == 1:
            self.context.stash(message)
        else:
            self.log.append(message.text)

    @handler
    def boom(self, message: Boom) -> int:
        raise message.error


async def test_the_stash_goes_back_in_front_of_the_mailbox_in_order(
    world: World,
) -> None:
    """FAIL-3: the user's stash first, then what waited in the queue."""
    log: list[str] = []
    ref = await world.spawn(Gate, log)
    for message in (Note("one"), Note("two"), Boom(), Note("three"), Note("four")):
        await ref.tell(message)
    await world.settled()
    assert log == ["one", "two", "three", "four"]


async def test_a_stashed_request_is_answered_by_the_next_incarnation(
    world: World,
) -> None:
    """FAIL-3: the asker does not notice."""

    class Later(Actor[Get | Boom]):
        @handler
        def get(self, message: Get) -> int | Reply[int]:
            if self.context.incarnation == 1:
                return self.context.stash(message)
            return self.context.incarnation

        @handler
        def boom(self, message: Boom) -> int:
            raise message.error

    ref = await world.spawn(Later)
    asked = ref.ask_nowait(Get())
    await ref.tell(Boom())
    assert await asked == 2


async def test_a_failure_while_unstashing_loses_only_the_message_that_failed(
    world: World,
) -> None:
    """FAIL-3 (akka 31814): if a stashed message fails again, the rest survive."""
    log: list[str] = []

    class Fragile(Gate):
        @handler
        def note(self, message: Note) -> None:
            super().note(message)
            if message.text == "two" and self.context.incarnation == 2:
                raise ValueError("again")

    ref = await world.spawn(Fragile, log)
    for message in (Note("one"), Note("two"), Note("three"), Boom(), Note("four")):
        await ref.tell(message)
    await world.settled()
    assert log == ["one", "two", "three", "four"]


# --- What goes first ----------------------------------------------------------


class Owner(Actor[Boom | Note]):
    """Has a child, an inner task and timers, and says what is left of them."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def started(self) -> None:
        number = self.context.incarnation
        self.log.append(f"started {number}")
        await self.context.spawn(Worker, self.log, f"child {number}", name="child")
        self.context.start_soon(self.work, number)
        self.context.send_every(2, Note(f"tick {number}"), key="tick")

    async def work(self, number: int) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            self.log.append(f"task {number} gone")

    async def restarting(self, failure: Exception) -> None:
        assert not self.context.children
        self.log.append(f"restarting for {failure}")

    @handler
    async def boom(self, message: Boom) -> int:
        await trio.sleep(5)
        raise message.error

    @handler
    def note(self, message: Note) -> None:
        self.log.append(message.text)


async def test_children_and_inner_tasks_are_awaited_before_the_new_one_starts(
    world: World,
) -> None:
    """LIFE-7, S3 defect (f): no trace of the old incarnation beside the new one."""
    log: list[str] = []
    ref = await world.spawn(Owner, log, name="owner")
    old = found(world, "/owner/child")
    await ref.tell(Boom())
    await world.settled()
    assert set(log[2:4]) == {"child 1-", "task 1 gone"}
    assert log[4:] == ["restarting for boom", "started 2", "child 2+"]
    assert found(world, "/owner/child") != old
    assert (await old.wait_stopped()).kind == "shutdown"


async def test_timers_of_the_old_incarnation_never_fire(world: World) -> None:
    """TIM-1, LIFE-7: not even a tick that waits in the mailbox already."""
    log: list[str] = []
    ref = await world.spawn(Owner, log)
    await ref.tell(Boom())  # ticks of 2 and 4 s come meanwhile
    await trio.sleep(8.5)
    assert [line for line in log if line.startswith("tick")] == ["tick 2"]


async def test_no_child_can_be_started_by_an_instance_that_is_replaced(
    world: World,
) -> None:
    """Design 3, start: nobody is born into a family that goes."""
    errors: list[Exception] = []

    class Late(Counter):
        async def restarting(self, failure: Exception) -> None:
            try:
                await self.context.spawn(Counter)
            except ActorStopped as error:
                errors.append(error)
            try:
                self.context.start_soon(trio.sleep_forever)
            except ActorStopped as error:
                errors.append(error)

    ref = await world.spawn(Late)
    await ref.tell(Boom())
    assert await ref.ask(Get()) == 0
    assert ["stopping or being restarted" in str(error) for error in errors] == [
        True,
        True,
    ]


async def test_deferred_answers_fail_with_the_incarnation_that_owes_them(
    world: World,
) -> None:
    """ASK: whoever took the answer over is gone."""

    class Debtor(Actor[Get | Boom]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            return self.context.defer_reply(message)

        @handler
        def boom(self, message: Boom) -> int:
            raise message.error

    ref = await world.spawn(Debtor)
    asked = ref.ask_nowait(Get())
    await ref.tell(Boom(LookupError("the cause")))
    with pytest.raises(ActorFailed) as caught:
        await asked
    assert isinstance(caught.value.__cause__, LookupError)


async def test_a_batch_fails_as_a_whole_and_the_rest_of_the_queue_is_handled(
    world: World,
) -> None:
    """Design 2: a batch handler fails as a whole."""
    taken: list[list[int]] = []

    class Batched(Actor[Add]):
        @handler(batch=3)
        def add(self, messages: list[Add]) -> list[int]:
            amounts = [one.amount for one in messages]
            taken.append(amounts)
            if len(taken) == 1:
                raise ValueError("the whole batch")
            return amounts

    ref = world.spawn_nowait(Batched)
    asked = [ref.ask_nowait(Add(number)) for number in range(5)]
    for pending in asked[:3]:
        with pytest.raises(ActorFailed):
            await pending
    assert [await pending for pending in asked[3:]] == [3, 4]
    assert taken == [[0, 1, 2], [3, 4]]


# --- What is new --------------------------------------------------------------


async def test_restarted_gets_the_failure_and_the_instance_it_replaces(
    world: World,
) -> None:
    """LIFE-7: take over what can be trusted; ``started()`` is not run then."""
    log: list[str] = []

    class Heir(Counter):
        async def started(self) -> None:
            log.append("started")

        async def restarting(self, failure: Exception) -> None:
            log.append(f"restarting {failure}")

        async def restarted(self, failure: Exception, failed: Counter) -> None:
            log.append(f"restarted {failure}")
            self.total = failed.total

    ref = await world.spawn(Heir)
    await ref.tell(Add(9))
    await ref.tell(Boom())
    assert await ref.ask(Get()) == 9
    assert log == ["started", "restarting boom", "restarted boom"]


async def test_after_a_failed_attempt_restarted_gets_the_last_one_that_ran(
    world: World,
) -> None:
    """LIFE-7, SUP-7: a half-built instance has nothing to take over."""
    totals: list[tuple[str, int]] = []

    class Heir(Counter):
        async def restarted(self, failure: Exception, failed: Counter) -> None:
            totals.append((str(failure), failed.total))
            if len(totals) == 1:
                raise OSError("half-built")

    ref = await world.spawn(Heir)
    await ref.tell(Add(9))
    await ref.tell(Boom())
    assert await ref.ask(Get()) == 0
    assert totals == [("boom", 9), ("half-built", 9)]


VAR: ContextVar[str] = ContextVar("VAR", default="fresh")


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all"])
@pytest.mark.parametrize("pause", [0.0, 1.0])
async def test_context_variables_start_fresh(
    world: World, strategy: Any, pause: float
) -> None:
    """Design 1.8: what an incarnation set is gone with it, however it waited."""
    seen: list[str] = []

    class Setter(Counter):
        async def started(self) -> None:
            seen.append(VAR.get())
            VAR.set(f"by {self.context.incarnation}")

    backoff = Backoff(pause, pause, jitter=0) if pause else None
    rules = Supervision(strategy, backoff=backoff)
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Setter)
    await ref.tell(Boom())
    await ref.ask(Get())
    assert seen == ["fresh", "fresh"]


async def test_a_restart_goes_back_to_the_first_behavior(world: World) -> None:
    """S1-1, design 2: who was become says goodbye first, newest first."""
    log: list[str] = []

    class Other(Actor[Note | Boom]):
        def __init__(self, name: str) -> None:
            self.name = name

        async def restarting(self, failure: Exception) -> None:
            log.append(f"{self.name} restarting")

        @handler
        def note(self, message: Note) -> None:
            if message.text == "deeper":
                self.become(Other("second"))
            else:
                log.append(f"{self.name} {message.text}")

        @handler
        def boom(self, message: Boom) -> int:
            raise message.error

    class First(Other):
        def __init__(self) -> None:
            super().__init__("first")

        @handler
        def note(self, message: Note) -> None:
            super().note(message)
            self.become(Other("become"))

    ref = await world.spawn(First)
    for text in ("a", "b", "deeper", "c"):
        await ref.tell(Note(text))
    await ref.tell(Boom())
    await ref.tell(Note("d"))
    await world.settled()
    assert log == [
        "first a",
        "become b",
        "second c",
        "second restarting",
        "become restarting",
        "first restarting",
        "first d",
    ]


async def test_a_function_is_called_again_with_its_arguments(world: World) -> None:
    """LIFE-7: the factory is always run again."""
    calls: list[tuple[int, int]] = []

    async def serve(inbox: Inbox[Add], start: int) -> None:
        calls.append((inbox.incarnation, start))
        async for message in inbox:
            inbox.reply(message, start // message.amount)

    ref = await world.spawn(serve, 12)
    assert await ref.ask(Add(3)) == 4
    with pytest.raises(ActorFailed):
        await ref.ask(Add(0))
    assert await ref.ask(Add(4)) == 3
    assert calls == [(1, 12), (2, 12)]


async def test_messages_wait_in_the_mailbox_during_backoff(world: World) -> None:
    """FAIL-3, S3-6: requests sent meanwhile queue and are served afterwards."""
    rules = Supervision(backoff=Backoff(3, 3, jitter=0))
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Counter)
    await ref.tell(Boom())
    await trio.sleep(1)
    state = world.snapshot().children[0].children[0].state
    assert state == "backoff"
    answers = [ref.ask_nowait(Add()) for _ in range(3)]
    assert [await answer for answer in answers] == [1, 2, 3]
    assert trio.current_time() == 3
