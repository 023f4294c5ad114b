"""The actors of random programs, and how such a program runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import trio

from tests.testing.hands import (
    Do,
    Hand,
    Inside,
    Look,
    Part,
    Program,
    Quick,
    Stage,
    Tied,
)
from trio_actors import (
    Actor,
    ActorRef,
    Exit,
    Inbox,
    Mailbox,
    SupervisorRef,
    Terminated,
    handler,
)
from trio_actors.testing import World


class Player(Actor[Do | Tied | Quick | Look | Terminated]):
    """Does anything, and has hooks."""

    def __init__(self, stage: Stage, hand: Inside | None = None) -> None:
        self.hand = hand or Inside(stage, self.context, self)
        self.mask = "" if hand is None else "*"

    async def started(self) -> None:
        await self.hand.do(self.hand.start)

    async def stopped(self, reason: Exit) -> None:
        self.hand.log.append(reason.kind)
        await self.hand.do(self.hand.end)

    @handler
    async def do(self, message: Do) -> Any:
        self.hand.take(message)
        await self.hand.do(message.ops)
        return self.hand.result()

    @handler(cancel_with_caller=True)
    async def tied(self, message: Tied) -> Any:
        self.hand.take(message)
        await self.hand.do(message.ops)
        return self.hand.result()

    @handler
    def quick(self, message: Quick) -> Any:
        self.hand.take(message)
        self.hand.do_now(message.ops)
        return self.hand.result()

    @handler(reads_only=True)
    def look(self, message: Look) -> Any:
        return self.mask, *self.hand.log

    @handler
    def terminated(self, message: Terminated) -> None:
        self.hand.log.append((message.ref.path, message.reason.kind))


class Bare(Actor[Quick | Look]):
    """Only plain handlers and no hook: it has no cancel scope, and no last words."""

    def __init__(self, stage: Stage, hand: Inside | None = None) -> None:
        self.hand = hand or Inside(stage, self.context, self)

    @handler
    def quick(self, message: Quick) -> Any:
        self.hand.take(message)
        self.hand.do_now(message.ops)
        return self.hand.result()

    @handler(reads_only=True)
    def look(self, message: Look) -> Any:
        return tuple(self.hand.log)


class Plain(Bare, Actor[Quick | Look | Terminated]):
    """The same; that another one has ended is no failure."""

    @handler
    def terminated(self, message: Terminated) -> None:
        self.hand.log.append((message.ref.path, message.reason.kind))


async def function(inbox: Inbox[Any], stage: Stage) -> None:
    """The same as a function."""
    hand = Inside(stage, inbox, None)
    await hand.do(hand.start)
    async for message in inbox:
        if isinstance(message, Terminated):
            hand.log.append((message.ref.path, message.reason.kind))
        elif isinstance(message, Look):
            inbox.reply(message, tuple(hand.log))
        else:
            hand.take(message)
            await hand.do(message.ops)
            if hand.answer is None:
                inbox.reply(message, hand.result())


ACTORS: dict[str, Callable[..., Any]] = {
    "player": Player,
    "plain": Plain,
    "bare": Bare,
    "function": function,
    "pool": Player,
}

# --- A run -----------------------------------------------------------------------


def perform(program: Program) -> Callable[[World], Awaitable[Hashable]]:
    """Return what a world can run; it returns all that can be observed."""

    async def play(world: World) -> Hashable:
        stage = Stage(world)
        stage.player = Player
        await _begin(program, stage)
        deadlock = False
        for number, clients in enumerate(program.phases):
            for place, ops in enumerate(clients):
                hand = Hand(stage, stage.log(f"client {number}.{place}"))
                world.client(hand.do, ops)
            try:
                if number == 0:
                    await Hand(stage, stage.log("test")).do(program.test)
                await world.settled()
                if program.rest:
                    await trio.sleep(program.rest)
                    await world.settled()
            except AssertionError:
                deadlock = True
                break
        return deadlock, *_observed(stage)

    return play


async def _begin(program: Program, stage: Stage) -> None:
    """Start the actors."""
    spawner: World | SupervisorRef = stage.world
    above = ""
    if program.rules is not None:
        spawner = await stage.world.spawn_supervisor(
            name="sup", supervision=program.rules
        )
        above = "/sup"
    for part in program.parts:
        stage.parts[f"{above}/{part.name}"] = part
        stage.refs[part.name] = await _spawn(spawner, part, stage)


async def _spawn(
    spawner: World | SupervisorRef, part: Part, stage: Stage
) -> ActorRef[Any]:
    options: Any = {
        "name": part.name,
        "mailbox": Mailbox(part.capacity, part.overflow),
        "restart": part.restart,
    }
    if part.kind == "pool":
        return await spawner.spawn_pool(Player, stage, size=2, **options)
    return await spawner.spawn(ACTORS[part.kind], stage, **options)


def _observed(stage: Stage) -> tuple[Hashable, ...]:
    """Return all that can be seen from outside, when all is quiet."""
    logs = sorted((who, tuple(log)) for who, log in stage.logs.items())
    ends: list[tuple[str, str]] = []
    for name, ref in stage.refs.items():
        exit = ref._cell.exit
        ends.append((name, "" if exit is None else exit.kind))
    dead = sorted(
        (letter.to.path, letter.reason, repr(letter.message))
        for letter in stage.world.dead()
    )
    return tuple(logs), tuple(ends), tuple(dead)
