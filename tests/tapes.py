"""Programs that are played twice, and tapes of all that can be seen of them."""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias

import attrs
import trio

from trio_actors import (
    Actor,
    ActorRef,
    ChildSpec,
    Mailbox,
    Reply,
    Request,
    Supervision,
    Terminated,
    handler,
)
from trio_actors._errors import leaves
from trio_actors.testing import World, run

LOG = logging.getLogger("trio_actors")
VAR: ContextVar[int] = ContextVar("VAR", default=0)


@contextmanager
def log_is(on: bool) -> Generator[None]:
    """Switch the log on or off; what it says is read by nobody here."""
    before, LOG.disabled, LOG.propagate = LOG.disabled, not on, False
    nowhere = logging.NullHandler()
    LOG.addHandler(nowhere)
    try:
        yield
    finally:
        LOG.removeHandler(nowhere)
        LOG.disabled, LOG.propagate = before, True


# --- What is seen of a run ------------------------------------------------------


@attrs.define(eq=False)
class Tape:
    """Everything that can be seen of a run, in its order."""

    lines: list[object] = attrs.Factory(list[object])
    crashes: list[Exception] = attrs.Factory(list[Exception])
    built: dict[str, int] = attrs.Factory(dict[str, int])
    stashed: set[tuple[str, object]] = attrs.Factory(set[tuple[str, object]])

    def write(self, *what: object) -> None:
        self.lines.append((round(trio.current_time(), 6), *what))

    def crash(self, text: str) -> Exception:
        error = ValueError(text)
        self.crashes.append(error)
        return error

    @property
    def unsaid(self) -> int:
        """Of how many failures nobody was told: they have no notes."""
        return sum(not hasattr(one, "__notes__") for one in self.crashes)


def described(error: BaseException | None) -> object:
    """An exception with its notes, its cause and its parts, to be compared."""
    if error is None:
        return None
    parts = getattr(error, "exceptions", ())
    return (
        type(error).__name__,
        str(error),
        getattr(error, "__notes__", None),
        described(error.__cause__),
        [described(part) for part in parts],
    )


Play: TypeAlias = Callable[[World, Tape], Awaitable[object]]


def played(play: Play, *, loud: bool) -> Tape:
    """Play a program in a world of its own, up to its end or its failure."""
    tape = Tape()

    async def main(world: World) -> None:
        world.always(lambda: books_hold(world))
        try:
            await play(world, tape)
        finally:
            letters = [(one.message, one.reason) for one in world.dead()]
            tape.write("at the end", letters, dict(world.statistics()))

    with log_is(on=loud):
        try:
            run(main)
        except Exception as error:
            found = list(leaves(error))
            assert not any(isinstance(one, AssertionError) for one in found), found
            tape.lines.append(described(error))
    return tape


def books_hold(world: World) -> bool:
    """ORD-5."""
    books = dict(world.statistics())
    return books.pop("accepted") == sum(books.values())


def both(play: Play, *, unsaid: int) -> list[Any]:
    """Play it with the log on and off; return what was seen, without the times."""
    loud, still = played(play, loud=True), played(play, loud=False)
    assert still.lines == loud.lines
    assert (loud.unsaid, still.unsaid) == (0, unsaid)
    return [line[1:] for line in still.lines if isinstance(line, tuple)]


# --- Who fails ------------------------------------------------------------------


@attrs.frozen
class Act(Request[str]):
    """Do something, or several things, as in "stop&crash"; told, or asked."""

    verb: str = "note"
    number: int = 0


@attrs.frozen
class Slow(Act):
    """The same, in an async handler if there is one."""


class Plain(Actor[Act | Terminated]):
    """Does what it is told, in plain handlers."""

    def __init__(self, tape: Tape, name: str, fails: tuple[int, ...] = ()) -> None:
        self.tape = tape
        self.name = name
        self.seen = 0
        self.owed: list[Reply[str]] = []
        self.shut = False
        tape.built[name] = number = tape.built.get(name, 0) + 1
        tape.write(name, "built", number, VAR.get(), self.context.incarnation)
        if number in fails:
            raise tape.crash(f"{name} was built for the {number}. time")

    @handler
    def act(self, message: Act) -> Any:
        return self.do(message)

    @handler
    def terminated(self, message: Terminated) -> None:
        reason = message.reason
        self.tape.write(self.name, "saw", message.ref.path, reason.kind)
        self.tape.write(described(reason.error))

    def do(self, message: Act) -> Any:
        self.seen += 1
        self.tape.write(self.name, message, self.seen, VAR.get())
        answer: Any = None
        for verb in message.verb.split("&"):
            answer = getattr(self, f"do_{verb}")(message)
        return answer

    def do_note(self, message: Act) -> str:
        return f"{self.name} {self.seen}"

    def do_crash(self, message: Act) -> str:
        raise self.tape.crash(f"{self.name} {message.number}")

    def do_stash(self, message: Act) -> Any:
        # Once, so that it does not come back, and fail, for ever.
        if (self.name, message) in self.tape.stashed:
            return "again"
        self.tape.stashed.add((self.name, message))
        return self.context.stash(message)

    def do_unstash(self, message: Act) -> str:
        self.context.unstash_all()
        return "unstashed"

    def do_defer(self, message: Act) -> Reply[str]:
        reply = self.context.defer_reply(message)
        self.owed.append(reply)
        return reply

    def do_reply(self, message: Act) -> str:
        for reply in self.owed:
            reply.send("late")
        self.owed.clear()
        return "replied"

    def do_set(self, message: Act) -> str:
        VAR.set(message.number)
        return "set"

    def do_timer(self, message: Act) -> str:
        self.context.send_after(0.5, Act("note", -1), key="timer")
        return "timer"

    def do_watch(self, message: Act) -> str:
        other = self.context.system.find("/top/b" if self.name == "a" else "/top/a")
        if other is not None:
            self.context.watch(other)
        return "watched"

    def do_become(self, message: Act) -> str:
        self.become(Second(self.tape, f"{self.name}'"))
        return "became"

    def do_unbecome(self, message: Act) -> str:
        self.unbecome()
        return "unbecame"

    def do_self(self, message: Act) -> str:
        self.context.ref.tell_nowait(Act("note", message.number))
        return "told"

    def do_stop(self, message: Act) -> str:
        self.context.stop("enough")
        return "stopping"

    def do_kill(self, message: Act) -> str:
        self.context.ref.kill()
        return "killed"

    def do_restart(self, message: Act) -> str:
        self.context.ref.restart()
        return "restarted"

    def do_drain(self, message: Act) -> str:
        self.context.ref.drain()
        return "draining"

    def do_end(self, message: Act) -> str:
        self.context.ref.stop()
        return "ending"


class Mixed(Plain):
    """With an async handler, and so with a cancel scope."""

    @handler
    async def slow(self, message: Slow) -> Any:
        await trio.sleep(0.1)
        return self.do(message)


class Second(Mixed):
    """What the others become."""

    def __init__(self, tape: Tape, name: str) -> None:
        self.tape, self.name, self.seen = tape, name, 0
        self.owed = []


class Hooked(Plain):
    """Is told of its failures: never restarted without words."""

    async def restarting(self, failure: Exception) -> None:
        self.tape.write(self.name, "restarting", described(failure))


async def start(
    world: World,
    tape: Tape,
    *,
    cls: type[Plain] = Plain,
    fails: tuple[int, ...] = (),
    restart: Literal["permanent", "transient", "temporary"] = "transient",
    mailbox: Mailbox | None = None,
    rules: Supervision = Supervision(max_restarts=100),  # noqa: B008
) -> None:
    """Start /top/a and /top/b."""
    mailbox = mailbox or Mailbox()
    await world.spawn_supervisor(
        ChildSpec("a", cls, tape, "a", fails, restart=restart, mailbox=mailbox),
        ChildSpec("b", cls, tape, "b", restart=restart, mailbox=mailbox),
        name="top",
        supervision=rules,
    )


def tell(world: World, name: str, *verbs: str) -> None:
    """Tell it many things in one step, if it is there."""
    for number, verb in enumerate(verbs):
        if ref := world.find(f"/top/{name}"):
            ref.tell_nowait(Act(verb, number))


def ask(world: World, tape: Tape, name: str, message: Act) -> None:
    """Ask it, and write down what comes of it."""

    async def client() -> None:
        ref: ActorRef[Any] | None = world.find(f"/top/{name}")
        if ref is None:
            return
        answer: object = "nothing"
        with trio.move_on_after(3):
            try:
                answer = await ref.ask(message)
            except Exception as error:
                answer = described(error)
        tape.write(message, "answered", answer)

    world.client(client)
