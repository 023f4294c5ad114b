"""Actors that wait for each other, in a search: as in production, the last is told.

Rules: ASK-D8, design 2 ("Deadlock: only what is certain").
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from tests import test_deadlock, test_no_deadlock
from tests.actors import Node, Run, asks
from tests.kit import Get, Note
from tests.testing.searched import failure_of
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    AskDeadlock,
    Context,
    Mailbox,
    handler,
)
from trio_actors.testing import World, check

CERTAIN: list[Callable[[World], Awaitable[None]]] = [
    test_deadlock.test_a_circle_through_a_forwarded_request_is_found,
    test_deadlock.test_a_circle_behind_a_forwarded_request_is_found,
    test_deadlock.test_a_circle_closed_by_a_chain_of_forwards_is_found,
    test_deadlock.test_a_circle_through_a_burst_into_a_full_mailbox_is_found,
    test_deadlock.test_an_ask_into_ones_own_full_mailbox_is_found,
    test_deadlock.test_a_start_that_asks_the_one_who_waits_for_it_is_found,
    test_deadlock.test_a_start_that_asks_itself_is_found,
    test_deadlock.test_who_waits_for_its_own_end_is_told_so,
    test_deadlock.test_who_waits_for_the_end_of_one_that_asks_it_is_told_so,
    test_deadlock.test_a_child_that_terminates_itself_by_its_supervisor_is_told_so,
    test_deadlock.test_one_of_a_pool_that_asks_back_is_a_deadlock,
    test_deadlock.test_one_of_a_service_that_asks_back_is_a_deadlock,
    test_no_deadlock.test_a_task_beside_the_handlers_may_ask_back,
    test_no_deadlock.test_a_nursery_in_a_handler_draws_no_edge,
    test_no_deadlock.test_an_answer_that_was_given_holds_nobody_up,
    test_no_deadlock.test_an_idle_actor_is_asked_back,
    test_no_deadlock.test_a_child_that_has_started_may_wait_for_its_parent,
    test_no_deadlock.test_who_is_being_restarted_may_be_asked,
]


@pytest.mark.parametrize("program", CERTAIN)
def test_what_is_true_of_one_order_is_true_of_all(
    program: Callable[[World], Awaitable[None]],
) -> None:
    assert check(program, exhaustive=True).verified


def test_each_of_a_circle_may_be_the_last() -> None:
    seen: set[tuple[Any, Any]] = set()

    async def program(world: World) -> None:
        a, b = [await world.spawn(Node, name=name) for name in "ab"]
        found: dict[str, Any] = {}

        async def client(one: ActorRef[Run], other: ActorRef[Get]) -> None:
            try:
                found[one.path] = await one.ask(asks(other))
            except AskDeadlock as error:
                found[one.path] = tuple(error.cycle)

        world.client(client, a, b)
        world.client(client, b, a)
        await world.settled()
        seen.add((found["/a"], found["/b"]))

    found = check(program, exhaustive=True)
    assert found.verified, found
    assert seen == {
        (1, 1),
        (("/a", "/b", "/a"), 1),
        (1, ("/b", "/a", "/b")),
    }


def test_time_does_not_pass_before_a_deadlock_is_told() -> None:
    """In production nobody waits for the end of the scope."""
    seen: set[Any] = set()

    def in_time(work: Run, seconds: float) -> Run:
        async def wait(context: Any) -> Any:
            with trio.move_on_after(seconds):
                return await work.work(context)
            return "too late"

        return Run(wait)

    async def program(world: World) -> None:
        a, b = [await world.spawn(Node, name=name) for name in "ab"]
        try:
            seen.add(await a.ask(in_time(asks(b, asks(a)), 1)))
        except AskDeadlock as error:
            seen.add(tuple(error.cycle))

    assert check(program, exhaustive=True, timers="idle").verified
    assert seen == {("/b", "/a", "/b")}
    assert check(program, exhaustive=True).verified
    assert seen == {("/b", "/a", "/b"), "too late"}  # its clock ran out on the way


class Tied(Actor[Run]):
    """Its work ends with who has asked for it."""

    @handler(cancel_with_caller=True, raises=(AskDeadlock,))
    async def run(self, message: Run) -> Any:
        return await message.work(self.context)


def test_a_wait_that_was_cut_might_have_been_part_of_a_circle() -> None:
    """It is first seen where it was over when the other one began to wait."""
    seen: set[Any] = set()

    async def program(world: World) -> None:
        b, c, d, e = [await world.spawn(Node, name=name) for name in "bcde"]
        f = await world.spawn(Node)
        a = await world.spawn(Tied, name="a")

        async def work(_: object) -> Any:
            await c.ask(asks(d, asks(e)))
            return await a.ask(Run(answer))

        async def answer(_: object) -> str:
            return "answered"

        async def patient() -> None:
            try:
                seen.add(await b.ask(Run(work)))
            except AskDeadlock as error:
                seen.add(tuple(error.cycle))

        async def first() -> None:
            with suppress(AskDeadlock):
                await a.ask(asks(b))

        async def hasty() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first)
                await f.ask(Get())
                nursery.cancel_scope.cancel()

        world.client(patient)
        world.client(hasty)
        await world.settled()

    assert check(program, exhaustive=True).verified
    assert seen == {"answered", ("/b", "/a", "/b")}


def test_a_wait_for_room_that_was_cut_is_looked_at_in_every_order() -> None:
    seen: set[Any] = set()

    def in_time(work: Run) -> Run:
        async def wait(context: Any) -> str:
            with trio.move_on_after(1):
                await work.work(context)
                return "sent"
            return "cut"

        return Run(wait)

    async def program(world: World) -> None:
        a, b = [await world.spawn(Node, name=name, mailbox=Mailbox(1)) for name in "ab"]

        async def pushes(context: Context[Any]) -> None:
            await context.ref.tell(Note())
            await b.tell(Note())
            await b.tell(Note())

        async def rests(_: object) -> None:
            await trio.sleep(2)

        world.client(b.ask, Run(rests))
        await trio.sleep(1)
        seen.add(await a.ask(in_time(Run(pushes))))
        await world.settled()

    assert check(program, exhaustive=True, timers="idle").verified
    assert seen == {"cut"}


class Plain(Actor[Run | Note]):
    """It declares no deadlock."""

    @handler
    async def run(self, message: Run) -> Any:
        return await message.work(self.context)

    @handler
    def note(self, message: Note) -> None:
        """Take it."""


def circle(way: str, *, late: bool = False) -> Any:
    """Return a program in which one waits for itself, and the test goes on."""

    async def program(world: World) -> None:
        a = await world.spawn(Plain, name="a")
        sent = getattr(a, way)(asks(a))
        if isinstance(sent, Awaitable):
            try:
                await sent
            except Exception:
                if not late:
                    raise
        await world.settled()
        world.dead()

    return program


@pytest.mark.parametrize(
    "program",
    [
        circle("tell"),
        circle("tell_nowait"),
        circle("ask"),
        circle("ask", late=True),
    ],
)
def test_a_deadlock_that_its_actor_does_not_catch_fails_the_test(program: Any) -> None:
    """Whoever else takes care of what it leads to, or does not look at it."""
    error = failure_of(program).error
    assert str(error).startswith("deadlock: /a waits for /a: this can never end.")


def test_who_catches_a_deadlock_may_fail_for_something_else() -> None:
    async def work(context: Context[Any]) -> None:
        with suppress(AskDeadlock):
            await context.ref.ask(Get())
        raise LookupError("another one")

    async def program(world: World) -> None:
        a = await world.spawn(Node)
        with pytest.raises(ActorFailed, match="another one"):
            await a.ask(Run(work))

    assert check(program, exhaustive=True).verified
