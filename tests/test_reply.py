"""Answers that come by another way: deferred, forwarded.

Rules: ASK-D6, ASK-1, design 2 ("Whose fault").
"""

import gc
from typing import Any

import pytest
import trio

from tests.actors import Mixing
from tests.kit import (
    Add,
    Boom,
    Calls,
    Get,
    Note,
    no_collector,
    open_system,
    run_main,
)
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Inbox,
    NoReply,
    Pending,
    Reply,
    Request,
    Supervision,
    handler,
)
from trio_actors.testing import World


class Keeper(Actor[Get | Add | Boom | Note]):
    """Defers the answer to Get; Add answers the oldest, Boom fails it."""

    def __init__(self, kept: list[Reply[int]] | None = None) -> None:
        self.kept: list[Reply[int]] = [] if kept is None else kept

    @handler
    def get(self, message: Get) -> Reply[int]:
        self.kept.append(self.context.defer_reply(message))
        return self.kept[-1]

    @handler
    def add(self, message: Add) -> int:
        self.kept.pop(0).send(message.amount)
        return self.context.incarnation

    @handler
    def boom(self, message: Boom) -> int:
        error = message.error
        if isinstance(error, KeyError):
            self.kept.pop(0).fail(error)
            return 0
        raise error

    @handler
    def note(self, message: Note) -> None:
        self.kept.clear()


# --- Deferred ---------------------------------------------------------------


async def test_a_deferred_answer_comes_with_a_later_message(world: World) -> None:
    """ASK-D6: `{noreply, S}` and `gen_server:reply/2` later."""
    ref = await world.spawn(Keeper)
    pending = ref.ask_nowait(Get())
    await world.settled()
    assert not pending.done()
    assert await ref.ask(Add(7)) == 1
    assert await pending == 7


async def test_a_deferred_answer_may_come_from_any_task(world: World) -> None:
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    first, second = ref.ask_nowait(Get()), ref.ask_nowait(Get())
    await world.settled()
    kept[1].send(2)

    class Other(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            kept[0].send(1)

    other = await world.spawn(Other)
    await other.tell(Note())
    assert [await first, await second] == [1, 2]


async def test_a_deferred_answer_may_be_an_error(world: World) -> None:
    """Reply.fail: raised in the asker; the actor does not fail."""
    ref = await world.spawn(Keeper)
    pending = ref.ask_nowait(Get())
    error = KeyError("k")
    await ref.ask(Boom(error))
    with pytest.raises(KeyError) as caught:
        await pending
    assert caught.value is error
    assert world.snapshot().children[0].restarts == 0


async def test_an_answer_is_given_once(world: World) -> None:
    """ASK-D6: exactly once."""
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    pending = ref.ask_nowait(Get())
    await world.settled()
    kept[0].send(1)
    with pytest.raises(RuntimeError, match="already answered"):
        kept[0].send(2)
    with pytest.raises(RuntimeError, match="already answered"):
        kept[0].fail(ValueError())
    assert await pending == 1
    assert world._late_replies == 0


@pytest.mark.parametrize("wrong", [ValueError, "text", None])
async def test_what_is_failed_with_is_an_exception(world: World, wrong: Any) -> None:
    """A mistake that must not cost the asker its answer."""
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    pending = ref.ask_nowait(Get())
    await world.settled()
    with pytest.raises(TypeError, match="exception") as caught:
        kept[0].fail(wrong)
    assert "ValueError(...)" in str(caught.value) or wrong is not ValueError
    kept[0].send(3)
    assert await pending == 3


@pytest.mark.parametrize("wrong", [ValueError, "text", None])
async def test_a_function_that_fails_with_no_exception_still_answers(
    world: World, wrong: Any
) -> None:
    async def careless(inbox: Inbox[Get]) -> None:
        async for message in inbox:
            inbox.fail(message, wrong)

    ref = await world.spawn(careless)
    with trio.fail_after(1), pytest.raises(ActorFailed) as caught:
        await ref.ask(Get())
    assert isinstance(caught.value.__cause__, TypeError)


async def test_an_answer_after_the_asker_has_left_is_dropped(world: World) -> None:
    """S3-2: failing to reply because the caller is gone is harmless."""
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    with trio.move_on_after(1):
        await ref.ask(Get())
    assert kept[0].abandoned
    kept[0].send(1)
    assert world._late_replies == 1
    with pytest.raises(RuntimeError, match="already answered"):
        kept[0].send(1)


async def test_a_reply_knows_whether_somebody_waits(world: World) -> None:
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    pending = ref.ask_nowait(Get())
    ref.tell_nowait(Get())
    await world.settled()
    assert [reply.abandoned for reply in kept] == [False, True]
    kept[1].send(1)  # it was told: nobody is there to hear it
    with pytest.raises(RuntimeError):
        kept[1].send(1)
    kept[0].send(1)
    assert await pending == 1


async def test_a_reply_that_is_dropped_is_no_reply(world: World) -> None:
    """ASK-4, ASK-D6: garbage without an answer, NoReply at once."""
    ref = await world.spawn(Keeper)
    pending = ref.ask_nowait(Get())
    ref.tell_nowait(Note())
    with pytest.raises(NoReply, match=r"/keeper-1 dropped the Reply to Get\(\)"):
        await pending
    assert trio.current_time() == 0


async def test_a_reply_that_was_never_kept_is_no_reply(world: World) -> None:
    class Careless(Actor[Get | Add]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            return self.context.defer_reply(message)

        @handler
        async def add(self, message: Add) -> int:
            self.context.defer_reply(message)
            await trio.sleep(5)
            return 3

    ref = await world.spawn(Careless)
    for request in (Get(), Add()):
        with pytest.raises(NoReply):
            await ref.ask(request)
    assert trio.current_time() == 0


async def test_a_reply_in_a_cycle_of_garbage_is_no_reply(world: World) -> None:
    """It is found by the garbage collector, perhaps in another thread."""

    class Cyclic(Actor[Get]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            cell: list[Any] = [self.context.defer_reply(message)]
            cell.append(cell)
            return cell[0]  # type: ignore[no-any-return]

    ref = await world.spawn(Cyclic)
    pending = ref.ask_nowait(Get())
    with no_collector():  # else it may come by itself while we wait
        await world.settled()
        assert not pending.done()
        await trio.to_thread.run_sync(gc.collect)
    with pytest.raises(NoReply):
        await pending


async def test_a_reply_outlives_its_answer_in_peace(world: World) -> None:
    """Dropped after it was answered, or after the asker has left: nothing."""
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    with trio.move_on_after(1):
        await ref.ask(Get())
    kept.clear()
    await world.settled()
    assert world._late_replies == 0


async def test_deferring_costs_the_same_among_ten_answers_and_among_a_thousand(
    world: World,
) -> None:
    """All that were owed were looked at each time: n deferrals cost n squared."""
    ref = await world.spawn(Keeper)
    pendings: list[Pending[int]] = []
    counts: list[int] = []
    for number in (10, 1000):
        while len(pendings) < number:
            pendings.append(ref.ask_nowait(Get()))
        await world.settled()
        with Calls() as calls:
            pendings.append(ref.ask_nowait(Get()))
            await world.settled()
        counts.append(calls.count)
    few, many = counts
    assert many < 2 * few


async def test_what_is_owed_to_nobody_any_more_is_forgotten(world: World) -> None:
    """Answered, failed, dropped, taken back, or its asker has left: each at once."""
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    pendings = [ref.ask_nowait(Get()) for _ in range(6)]
    with trio.move_on_after(1):
        await ref.ask(Get())
    owed = ref._cell.owed
    assert owed is not None
    assert len(owed) == len(pendings)
    kept[0].send(1)
    kept[1].fail(ValueError())
    pendings[2].abandon()
    del kept[3]
    await world.settled()
    assert [*owed] == [pendings[4]._call, pendings[5]._call]
    ref.restart()
    await world.settled()
    assert not ref._cell.owed
    for pending in pendings[4:]:
        with pytest.raises(ActorFailed):
            await pending


async def test_a_restart_fails_what_was_deferred(world: World) -> None:
    """Design 2: deferred over a restart: ActorFailed from the failure, at once."""
    kept: list[Reply[int]] = []
    ref = await world.spawn(Keeper, kept)
    pending = ref.ask_nowait(Get())
    await world.settled()
    ref.tell_nowait(Boom(ValueError("v")))
    with pytest.raises(ActorFailed) as caught:
        await pending
    assert isinstance(caught.value.__cause__, ValueError)
    kept[0].send(1)
    assert world._late_replies == 1


@pytest.mark.parametrize("verb", ["restart", "stop", "kill", "drain"])
async def test_an_end_fails_what_was_deferred(world: World, verb: str) -> None:
    """It was begun, so it is ActorFailed, not ActorStopped."""
    ref = await world.spawn(Keeper)
    pending = ref.ask_nowait(Get())
    await world.settled()
    getattr(ref, verb)()
    with pytest.raises(ActorFailed, match="/keeper-1 "):
        await pending


async def test_a_resumed_actor_still_owes_what_it_deferred(world: World) -> None:

    parent = await world.spawn(
        Hosts, supervision=Supervision(directives={ValueError: "resume"})
    )
    ref = await parent.ask(Host())
    pending = ref.ask_nowait(Get())
    with pytest.raises(ActorFailed):
        await ref.ask(Boom(ValueError("v")))
    assert not pending.done()
    await ref.ask(Add(6))
    assert await pending == 6


class Host(Request[ActorRef[Any]]):
    """Start a keeper."""


class Hosts(Actor[Host]):
    @handler
    async def host(self, message: Host) -> ActorRef[Any]:
        return await self.context.spawn(Keeper)


async def test_only_the_request_in_hand_can_be_deferred(world: World) -> None:
    """Once, in its own turn, by its own actor."""
    seen: list[str] = []

    class Tries(Actor[Get | Note]):
        last: Get | None = None

        @handler
        def get(self, message: Get) -> Reply[int]:
            self.last = message
            first = self.context.defer_reply(message)
            try:
                self.context.defer_reply(message)
            except RuntimeError as error:
                seen.append(str(error))
            first.send(1)
            return first

        @handler
        def note(self, message: Note) -> None:
            assert self.last is not None
            try:
                self.context.defer_reply(self.last)
            except RuntimeError as error:
                seen.append(str(error))

    ref = await world.spawn(Tries)
    assert await ref.ask(Get()) == 1
    await ref.tell(Note())
    await world.settled()
    assert "already given or taken over" in seen[0]
    assert "is for the message in hand, but /tries-1 has not Get() in hand" in seen[1]


def test_a_reply_that_is_dropped_after_the_end_is_nothing() -> None:
    kept: list[Reply[int]] = []

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Keeper, kept)
            pending = ref.ask_nowait(Get())
            await trio.sleep(1)
        with pytest.raises(ActorFailed):
            await pending

    run_main(main)
    kept.clear()
    gc.collect()


async def test_the_answer_to_what_was_told_reaches_nobody(world: World) -> None:
    """Well or badly: nobody waits, and it is still given only once."""
    found: list[str] = []

    class Both(Actor[Get | Add]):
        @handler
        def get(self, message: Get) -> Reply[int]:
            return self.give(message, well=True)

        @handler
        def add(self, message: Add) -> Reply[int]:
            return self.give(message, well=False)

        def give(self, message: Request[int], *, well: bool) -> Reply[int]:
            reply = self.context.defer_reply(message)
            assert reply.abandoned
            for _ in range(2):
                try:
                    if well:
                        reply.send(1)
                    else:
                        reply.fail(ValueError("nobody"))
                    found.append("given")
                except RuntimeError:
                    found.append("once")
            return reply

    ref = await world.spawn(Both)
    ref.tell_nowait(Get())
    ref.tell_nowait(Add())
    await world.settled()
    assert found == ["given", "once"] * 2
    assert world.statistics()["handled"] == 2


async def test_a_reply_to_another_request_is_no_answer(world: World) -> None:
    """Neither to the first request of its type, nor to those after it."""
    ref = await world.spawn(Mixing)
    first = ref.ask_nowait(Get())
    for _ in range(3):
        with pytest.raises(NoReply, match="returned a Reply to another request"):
            await ref.ask(Add())
    first.abandon()
