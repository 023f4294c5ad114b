"""What the tests of the core share: messages, actors, and systems opened by hand."""

import gc
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TypeVar

import attrs
import pytest
import trio
import trio.testing

from trio_actors import (
    Actor,
    ActorRef,
    ActorSystem,
    Context,
    Exit,
    Inbox,
    Request,
    handler,
    open_actor_system,
)
from trio_actors.testing import World

T = TypeVar("T")


# --- Messages ---------------------------------------------------------------


@attrs.frozen
class Add(Request[int]):
    amount: int = 1


@attrs.frozen
class Get(Request[int]):
    pass


@attrs.frozen
class Sleep(Request[int]):
    seconds: float = 1.0


@attrs.frozen
class Boom(Request[int]):
    error: BaseException = attrs.field(factory=lambda: ValueError("boom"))


@attrs.frozen
class Note:
    text: str = ""


# --- Actors -----------------------------------------------------------------


class Counter(Actor[Add | Get | Boom]):
    """Plain handlers and no hooks: it has no cancel scope."""

    def __init__(self, start: int = 0) -> None:
        self.total = start

    @handler
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total

    @handler
    def get(self, message: Get) -> int:
        return self.total

    @handler
    def boom(self, message: Boom) -> int:
        raise message.error


class Worker(Actor[Add | Get | Sleep | Boom | Note]):
    """Async handlers; it writes its hooks and notes into a log, with its name."""

    def __init__(self, log: list[str] | None = None, name: str = "") -> None:
        self.log: list[str] = [] if log is None else log
        self.name = name
        self.total = 0

    async def started(self) -> None:
        self.log.append(f"{self.name}+")

    async def restarting(self, failure: Exception) -> None:
        self.log.append(f"{self.name}~")

    async def stopped(self, reason: Exit) -> None:
        self.log.append(f"{self.name}-")

    @handler
    async def add(self, message: Add) -> int:
        await trio.lowlevel.checkpoint()
        self.total += message.amount
        return self.total

    @handler
    def get(self, message: Get) -> int:
        return self.total

    @handler
    async def sleep(self, message: Sleep) -> int:
        await trio.sleep(message.seconds)
        return self.total

    @handler
    async def boom(self, message: Boom) -> int:
        await trio.lowlevel.checkpoint()
        raise message.error

    @handler
    async def note(self, message: Note) -> None:
        self.log.append(message.text)


async def tally(inbox: Inbox[Add | Get | Sleep | Boom], total: int = 0) -> None:
    """A counter that is a function."""
    async for message in inbox:
        match message:
            case Add(amount):
                total += amount
                inbox.reply(message, total)
            case Get():
                inbox.reply(message, total)
            case Sleep(seconds):
                await trio.sleep(seconds)
                inbox.reply(message, total)
            case Boom(error):
                raise error


class Parent(Actor[Note]):
    """Starts a worker for each letter of *names*; its ``supervision`` is an option."""

    def __init__(self, log: list[str], names: str = "abc") -> None:
        self.log = log
        self.names = names

    async def started(self) -> None:
        for name in self.names:
            await self.context.spawn(Worker, self.log, name, name=name)

    async def restarting(self, failure: Exception) -> None:
        self.log.append("parent~")

    async def stopped(self, reason: Exit) -> None:
        self.log.append("parent-")

    @handler
    def note(self, message: Note) -> None:
        self.log.append(message.text)


def found(system: ActorSystem, path: str) -> ActorRef[Any]:
    """The actor at *path*, which must be there."""
    ref = system.find(path)
    assert ref is not None, f"{path} is not there"
    return ref


@attrs.frozen
class Do(Request[int]):
    """Do something in the handler, with its context."""

    what: Callable[[Context[Any]], object]


@attrs.frozen
class Go:
    """Start an async handler that waits until it is cancelled."""


class Doer(Actor[Do | Go | Note]):
    """Does what it is told, plain or async, and tells its hooks and its ends."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def restarting(self, failure: Exception) -> None:
        self.log.append(f"restarting {type(failure).__name__}")

    async def stopped(self, reason: Exit) -> None:
        self.log.append(f"stopped {reason.kind}")

    @handler
    def do(self, message: Do) -> int:
        message.what(self.context)
        self.log.append("done")
        return 1

    @handler
    async def go(self, message: Go) -> None:
        self.log.append("going")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.log.append("cancelled")
            raise

    @handler
    def note(self, message: Note) -> None:
        self.log.append(message.text)


async def fail_late(error: Exception) -> NoReturn:
    """Fail in the clean-up: wait until cancelled, and raise *error* then."""
    try:
        await trio.sleep_forever()
    finally:
        raise error


# --- A tree that is deeper than Python's stack -------------------------------


@attrs.frozen
class Grow(Request[ActorRef[Any]]):
    """Start a child like oneself; the answer is its ref."""

    name: str


class Branch(Actor[Grow]):
    """Grows by one level at a time, and writes down its goodbyes."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def stopped(self, reason: Exit) -> None:
        self.log.append(self.context.ref.path)

    @handler
    async def grow(self, message: Grow) -> ActorRef[Any]:
        return await self.context.spawn(Branch, self.log, name=message.name)


async def grown(system: ActorSystem, depth: int) -> list[ActorRef[Any]]:
    """Grow a chain of actors, a level each; return them from the top down."""
    refs: list[ActorRef[Any]] = [await system.spawn(Branch, list[str](), name="x")]
    while len(refs) < depth:
        refs.append(await refs[-1].ask(Grow("x")))
    return refs


# --- What is called ----------------------------------------------------------


class Calls:
    """Counts what is called, in Python and in C, within a block."""

    def __enter__(self) -> Self:
        self.count = 0
        self._before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _note(self, frame: FrameType, event: str, arg: object) -> None:
        self.count += event in ("call", "c_call")


@contextmanager
def no_collector() -> Generator[None]:
    """Let nothing be freed but by its last reference, or by ``gc.collect()``."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- Systems opened by hand -------------------------------------------------

_opened: list[ActorSystem] = []


class open_system(AbstractAsyncContextManager[ActorSystem, bool | None]):  # noqa: N801
    """``open_actor_system("demo", ...)``, whose books ``run_main()`` checks."""

    def __init__(self, **options: Any) -> None:
        self._block = open_actor_system("demo", **options)

    async def __aenter__(self) -> ActorSystem:
        system = await self._block.__aenter__()
        _opened.append(system)
        return system

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, traceback)


class _Alive(trio.abc.Instrument):
    """Knows the tasks that live."""

    def __init__(self) -> None:
        self.tasks: dict[trio.lowlevel.Task, None] = {}

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.tasks[task] = None

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        del self.tasks[task]


def check_books(system: ActorSystem) -> None:
    """The conservation law (ORD-5), at any moment."""
    books = dict(system.statistics())
    accepted = books.pop("accepted")
    assert accepted == sum(books.values()), f"{accepted} accepted, but {books}"


def run_main(main: Callable[[], Awaitable[T]]) -> T:
    """Run a test in virtual time; no task may be left, and the books must be right."""
    alive = _Alive()
    _opened.clear()

    async def checked() -> T:
        before = set(alive.tasks)
        try:
            with trio.fail_after(100_000):
                return await main()
        finally:
            left = [task.name for task in alive.tasks if task not in before]
            assert not left, f"tasks that outlived the test: {left}"

    clock = trio.testing.MockClock(autojump_threshold=0)
    try:
        return trio.run(checked, clock=clock, instruments=[alive])
    finally:
        for system in _opened:
            check_books(system)
            books = system.statistics()
            held = {name: books[name] for name in ("queued", "stashed", "handling")}
            assert not any(held.values()), f"after the end there are still {held}"


def failures_of(main: Callable[[], Awaitable[object]]) -> list[BaseException]:
    """What leaves the block: the exceptions of its one strict group."""
    with pytest.raises(BaseExceptionGroup) as caught:
        run_main(main)
    return list(caught.value.exceptions)


def reasons(world: World) -> list[str]:
    """Take the dead letters: their reasons, in order."""
    return [letter.reason for letter in world.dead()]
