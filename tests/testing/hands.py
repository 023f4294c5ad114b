"""What clients and actors of a random program can do, and the messages that say so.

Rules of this file:

* A message carries what its handler shall do, as plain tuples: ``("ask", "b", Do(2))``.
* Whatever is done leaves a trace in the log of who did it, in order, so that two orders
  look different. Nobody reads the log of another one before all is quiet.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable
from typing import Any, TypeAlias

import attrs
import trio

from trio_actors import (
    Actor,
    ActorError,
    ActorRef,
    Context,
    Pending,
    Reply,
    Request,
    ServiceKey,
    Supervision,
    Topic,
)
from trio_actors._mailbox import Overflow
from trio_actors.testing import World
from trio_actors.testing._faults import Plan

Op: TypeAlias = tuple[Any, ...]
"""What to do: a verb, which is a method of `Hand` or `Inside`, and its arguments."""

Ops: TypeAlias = tuple[Op, ...]


class Oops(Exception):
    """What a handler fails with."""


@attrs.frozen
class Do(Request[Any]):
    """A message for an async handler; answered with the log of who handles it."""

    number: int
    ops: Ops = ()


@attrs.frozen
class Tied(Request[Any]):
    """The same; the handler is cancelled with the asker."""

    number: int
    ops: Ops = ()


@attrs.frozen
class Quick(Request[Any]):
    """The same for a plain handler, which cannot wait."""

    number: int
    ops: Ops = ()


@attrs.frozen
class Look(Request[Any]):
    """Answered with the log; changes nothing."""

    number: int = 0


@attrs.frozen
class Part:
    """An actor of a program."""

    name: str
    kind: str = "player"
    """A key of `players.ACTORS`."""
    capacity: float = 1024
    overflow: Overflow = "block"
    restart: str = "transient"
    start: Ops = ()
    """What each incarnation does first."""
    end: Ops = ()
    """What it does when it stops for good."""


@attrs.frozen
class Program:
    """What happens in a run, as data that can be printed and made smaller by hand."""

    parts: tuple[Part, ...]
    phases: tuple[tuple[Ops, ...], ...]
    """Groups of clients: the next begins when all is quiet after the one before."""
    rules: Supervision | None = None
    """Those of a supervisor above the parts; None: they are at the top."""
    rest: float = 0.0
    """How many seconds pass before a group of clients has come to its end."""
    test: Ops = ()
    """What the test itself does while the first clients are at work."""
    plan: Plan = ()
    """The messages at which actors crash."""


KEY: ServiceKey[Any] = ServiceKey("key")
TOPIC: Topic[Any] = Topic("topic")


class Stage:
    """One run of a program."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.logs: dict[str, list[Any]] = {}
        self.refs: dict[str, ActorRef[Any]] = {}
        self.parts: dict[str, Part] = {}
        self.stashed: list[int] = []
        self.player: Any = None
        """What a client or an actor starts when it starts one."""

    def log(self, who: str) -> list[Any]:
        return self.logs.setdefault(who, [])

    def ref(self, name: str) -> ActorRef[Any]:
        """Find an actor: a part by its name, whoever is there by a path."""
        if not name.startswith("/"):
            return self.refs[name]
        found = self.world.find(name)
        if found is None:
            raise ActorError("nobody")
        return found


def told(error: Exception) -> Hashable:
    """Say which error it is, and what it says of another actor."""
    cause = error.__cause__
    reason = getattr(error, "reason", None)
    kind = getattr(reason, "kind", "") if cause is None else type(cause).__name__
    return type(error).__name__, kind


class Hand:
    """What a client can do."""

    def __init__(self, stage: Stage, log: list[Any]) -> None:
        self.stage = stage
        self.log = log
        self.begun: list[Pending[Any]] = []

    async def do(self, ops: Ops) -> None:
        """Do one thing after the other, and write down what came of it."""
        for verb, *arguments in ops:
            try:
                value = getattr(self, verb)(*arguments)
                if inspect.isawaitable(value):
                    value = await value
            except (ActorError, RuntimeError, ValueError) as error:
                value = told(error)
            self.log.append((verb, value))

    # --- Messages ---

    async def tell(self, to: str, message: Any) -> None:
        await self.stage.ref(to).tell(message)

    async def tell_all(self, to: str, *messages: Any) -> None:
        await self.stage.ref(to).tell_all(messages)

    def tell_now(self, to: str, message: Any) -> None:
        self.stage.ref(to).tell_nowait(message)

    def tell_soon(self, to: str, message: Any) -> None:
        self.stage.ref(to).tell_soon(message)

    async def ask(self, to: str, message: Any) -> Any:
        return await self.stage.ref(to).ask(message)

    async def within(self, seconds: float, to: str, message: Any) -> Any:
        """Ask, and give up after so many seconds."""
        with trio.move_on_after(seconds):
            return await self.stage.ref(to).ask(message)
        return "too late"

    async def tell_within(self, seconds: float, to: str, message: Any) -> Any:
        """Tell, and give up after so many seconds."""
        with trio.move_on_after(seconds):
            return await self.stage.ref(to).tell(message)
        return "too late"

    def begin(self, to: str, message: Any) -> None:
        """Ask, and wait for the answer later."""
        self.begun.append(self.stage.ref(to).ask_nowait(message))

    async def first(self) -> Any:
        """Wait for the answer to what was asked first, of what was begun."""
        return await self.begun.pop(0) if self.begun else "nothing"

    async def last(self) -> Any:
        """Wait for the answer to what was asked last, of what was begun."""
        return await self.begun.pop() if self.begun else "nothing"

    def drop(self) -> Any:
        """Abandon what was asked first; say whether the answer was there."""
        if not self.begun:
            return "nothing"
        pending = self.begun.pop(0)
        done = pending.done()
        pending.abandon()
        return done

    # --- Time ---

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def time(self) -> float:
        return trio.current_time()

    # --- Life ---

    async def both(self, to: str, one: Any, other: Any) -> Any:
        """Let two tasks ask, and send when both are done."""
        answers: dict[int, Any] = {}

        async def ask(number: int, message: Any) -> None:
            try:
                answers[number] = await self.ask(to, message)
            except ActorError as error:
                answers[number] = told(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 1, one)
            nursery.start_soon(ask, 2, other)
        self.tell_now(to, Quick(0))
        return answers[1], answers[2]

    def stop(self, to: str) -> None:
        self.stage.ref(to).stop()

    def drain(self, to: str) -> None:
        self.stage.ref(to).drain()

    def kill(self, to: str) -> None:
        self.stage.ref(to).kill()

    def restart(self, to: str) -> None:
        self.stage.ref(to).restart()

    def crash(self, to: str) -> None:
        self.stage.world.crash(self.stage.ref(to))

    async def wait(self, to: str) -> str:
        return (await self.stage.ref(to).wait_stopped()).kind

    async def hire(self, name: str) -> str:
        """Start an actor at the top."""
        ref = await self.stage.world.spawn(self.stage.player, self.stage, name=name)
        return ref.path

    # --- Who is there ---

    async def service(self, message: Any) -> Any:
        """Ask whoever has the key."""
        found = self.stage.world.find(KEY)
        return "nobody" if found is None else await found.ask(message)

    async def served(self, message: Any) -> None:
        """Tell whoever has the key, or will have it."""
        await self.stage.world.service(KEY).tell(message)

    def publish(self, message: Any) -> None:
        self.stage.world.publish(TOPIC, message)

    def chance(self) -> int:
        return self.stage.world.random.randrange(1000)


class Inside(Hand):
    """What an actor can do besides."""

    def __init__(
        self, stage: Stage, context: Context[Any], actor: Actor[Any] | None
    ) -> None:
        super().__init__(stage, stage.log(context.ref.path))
        self.context = context
        self.actor = actor
        self.kept: list[Reply[Any]] = []
        self.message: Any = None
        self.answer: Any = None
        self.children: list[ActorRef[Any]] = []
        part = stage.parts.get(context.ref.path)
        self.start, self.end = ((), ()) if part is None else (part.start, part.end)
        self.log.append(f"incarnation {context.incarnation}")

    def take(self, message: Any) -> None:
        """Begin with a message."""
        self.message, self.answer = message, None
        self.log.append(message.number)

    def result(self) -> Any:
        """Return the answer to the message in hand."""
        return tuple(self.log) if self.answer is None else self.answer

    def do_now(self, ops: Ops) -> None:
        """Do what needs no waiting."""
        for verb, *arguments in ops:
            try:
                value = getattr(self, verb)(*arguments)
            except (ActorError, RuntimeError, ValueError) as error:
                value = told(error)
            self.log.append((verb, value))

    # --- Its life ---

    def fail(self) -> None:
        raise Oops

    def leave(self) -> None:
        self.context.stop()

    def watch(self, to: str) -> None:
        self.context.watch(self.stage.ref(to))

    def unwatch(self, to: str) -> None:
        self.context.unwatch(self.stage.ref(to))

    def link(self, to: str) -> None:
        self.context.link(self.stage.ref(to))

    def become(self) -> None:
        """Let the next messages be handled by somebody else with the same log."""
        if self.actor is not None:
            kind: Any = type(self.actor)
            self.actor.become(kind(self.stage, self))

    def beside(self, ops: Ops) -> None:
        """Do it in a task beside the handlers."""
        self.context.start_soon(self.do, ops)

    # --- Timers ---

    def after(self, seconds: float, message: Any, key: str) -> None:
        self.context.send_after(seconds, message, key=key)

    def every(self, seconds: float, message: Any, key: str) -> None:
        self.context.send_every(seconds, message, key=key)

    def cancel(self, key: str) -> None:
        self.context.cancel_timer(key)

    # --- The message in hand ---

    def defer(self) -> None:
        """Answer the message in hand later."""
        if self.answer is None:
            self.answer = self.context.defer_reply(self.message)
            self.kept.append(self.answer)

    def reply(self) -> Any:
        """Give the answer that was deferred first; say whether it is waited for."""
        if not self.kept:
            return "nothing"
        reply = self.kept.pop(0)
        abandoned = reply.abandoned
        reply.send(tuple(self.log))
        return abandoned

    def hand_on(self, to: str, message: Any) -> None:
        """Let another one answer the message in hand."""
        if self.answer is None:
            self.answer = self.context.forward(self.stage.ref(to), message)

    def stash(self) -> None:
        """Put the message in hand aside; not when it comes again, in any life."""
        number = self.message.number
        if self.answer is None and number not in self.stage.stashed:
            self.stage.stashed.append(number)
            self.answer = self.context.stash(self.message)

    def unstash(self) -> None:
        self.context.unstash_all()

    # --- Its children, and whom it knows ---

    def family(self) -> tuple[str, ...]:
        return tuple(self.context.children)

    async def spawn(self) -> str:
        """Start a child, named by how many there were."""
        name = f"c{len(self.children) + 1}"
        ref = await self.context.spawn(self.stage.player, self.stage, name=name)
        self.children.append(ref)
        return ref.path

    def spawn_now(self) -> str:
        name = f"c{len(self.children) + 1}"
        ref = self.context.spawn_nowait(self.stage.player, self.stage, name=name)
        self.children.append(ref)
        return ref.path

    def register(self) -> None:
        self.context.register(KEY)

    def unregister(self) -> None:
        self.context.unregister(KEY)

    def subscribe(self) -> None:
        self.context.subscribe(TOPIC)

    def unsubscribe(self) -> None:
        self.context.unsubscribe(TOPIC)
