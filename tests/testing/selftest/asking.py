"""What must hold for who asks, watches and waits: cancellation, watch, stash."""

from typing import Any

import attrs
import trio

from tests.kit import Note
from tests.testing.selftest.parts import Askers, Do, Help, Helper, do
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Reply,
    Request,
    Terminated,
    handler,
)
from trio_actors.testing import World

# --- Cancellation -----------------------------------------------------------------


@attrs.frozen
class Kept(Request[str]):
    """Work that goes on when its asker has gone."""

    what: str


@attrs.frozen
class Given(Request[str]):
    """Work that ends with its asker."""

    what: str


class Server(Actor[Kept | Given]):
    def __init__(self, diary: list[str], helper: ActorRef[Help]) -> None:
        self.diary = diary
        self.helper = helper

    @handler
    async def kept(self, message: Kept) -> str:
        return await self._work(message.what)

    @handler(cancel_with_caller=True)
    async def given(self, message: Given) -> str:
        return await self._work(message.what)

    async def _work(self, what: str) -> str:
        self.diary.append(f"{what} begun")
        try:
            await self.helper.ask(Help())
        except trio.Cancelled:
            self.diary.append(f"{what} cancelled")
            raise
        self.diary.append(what)
        return what


async def ask_cancellation(world: World) -> None:
    """Who goes away takes the question back, if nobody has begun with it.

    ASK-D3: it is never handled then, and never twice; a handler that ends with its
    caller is cancelled, another one goes on.
    """
    diary: list[str] = []
    helper = await world.spawn(Helper, name="helper")
    server = await world.spawn(Server, diary, helper, name="server")
    askers = Askers()
    late: list[str] = []

    async def ask(request: Kept | Given, seconds: float) -> None:
        with trio.move_on_after(seconds) as scope:
            await askers.ask(server, request)
        if scope.cancelled_caught:
            late.append(request.what)

    world.client(ask, Kept("kept"), 1)
    world.client(ask, Given("given"), 2)
    await world.settled()

    skipped = 0
    for who in ("kept", "given"):
        begun = diary.count(f"{who} begun")
        assert begun <= 1
        assert diary.count(who) + diary.count(f"{who} cancelled") <= begun
        if who in late:
            assert askers.ends[who] == []
            skipped += not begun
        else:
            askers.check(who, diary)
    assert "kept cancelled" not in diary
    # It was begun and then cancelled, or it was skipped, or it was crashed.
    abandoned = skipped + diary.count("given cancelled")
    assert 0 <= abandoned - server._cell.abandoned <= server._cell.failed


# --- Watch ------------------------------------------------------------------------


@attrs.frozen
class Tell(Request[str]):
    """Work of which somebody shall be told."""

    what: str
    whom: ActorRef[Note]


class Talker(Actor[Tell]):
    def __init__(self, diary: list[str]) -> None:
        self.diary = diary

    @handler
    def do(self, message: Tell) -> str:
        self.diary.append(message.what)
        message.whom.tell_soon(Note(message.what))
        return message.what


@attrs.frozen
class Look: ...


class Watcher(Actor[Note | Look | Terminated]):
    def __init__(self, heard: list[str], at: ActorRef[Any]) -> None:
        self.heard = heard
        self.at = at

    @handler
    def note(self, message: Note) -> None:
        self.heard.append(message.text)

    @handler
    def look(self, message: Look) -> None:
        self.context.watch(self.at)

    @handler
    def terminated(self, message: Terminated) -> None:
        self.heard.append(f"end: {message.reason.kind}")


class EarlyWatcher(Watcher):
    async def started(self) -> None:
        if self.context.incarnation == 1:
            self.context.watch(self.at)


async def watch(world: World) -> None:
    """Each watcher is told once of the end, after all that came from there.

    Also one that looks when all is over. A restart is no end; a watch outlives the
    restart of the watcher.
    """
    done: list[str] = []
    first: list[str] = []
    second: list[str] = []
    talker = await world.spawn(Talker, done, name="talker")
    early = await world.spawn(EarlyWatcher, first, talker, name="early")
    late = await world.spawn(Watcher, second, talker, name="late")
    askers = Askers()
    world.client(askers.ask, talker, Tell("one", early), Tell("two", late))
    world.client(do, talker.stop)
    world.client(late.tell, Look())
    world.client(late.tell, Note("hello"))
    world.client(early.tell, Note("hello"))
    await world.settled()

    assert (await talker.wait_stopped()).kind == "shutdown"
    askers.check("one", done)
    askers.check("two", done)
    for heard, watcher, what in ((first, early, "one"), (second, late, "two")):
        told = [*(one for one in done if one == what), "end: shutdown"]
        missed = watcher._cell.failed
        assert len(heard) == len(told) + 1 - missed, (heard, done)
        from_talker = [one for one in heard if one != "hello"]
        assert from_talker == [one for one in told if one in heard], (heard, done)
    world.dead()  # what the talker was asked in vain


# --- Stash ------------------------------------------------------------------------


@attrs.frozen
class Open(Request[bool]): ...


@attrs.define
class Door:
    """What outlives the incarnations of a gate."""

    is_open: bool = False
    came: list[str] = attrs.field(factory=list[str])
    done: list[str] = attrs.field(factory=list[str])


class Gate(Actor[Do | Open]):
    """Puts work aside until it is opened."""

    def __init__(self, door: Door) -> None:
        self.door = door

    @handler
    def do(self, message: Do) -> str | Reply[str]:
        if message.what not in self.door.came:
            self.door.came.append(message.what)
        if not self.door.is_open:
            return self.context.stash(message)
        self.door.done.append(message.what)
        return message.what

    @handler
    def open(self, message: Open) -> bool:
        self.door.is_open = True
        self.context.unstash_all()
        return True


async def stash(world: World) -> None:
    """What was put aside is done in the order in which it came, and once.

    FAIL-3: a restart puts it back in front of the mailbox.
    """
    door = Door()
    gate = await world.spawn(Gate, door, name="gate")
    askers = Askers()

    async def both() -> None:
        answers = [gate.ask_nowait(Do("one")), gate.ask_nowait(Do("two"))]
        for who, answer in zip(("one", "two"), answers, strict=True):
            try:
                askers.ends[who] = [str(await answer)]
            except ActorFailed:
                askers.ends[who] = ["ActorFailed"]

    async def open_it() -> None:
        try:
            await gate.ask(Open())
        except ActorFailed:
            await gate.ask(Open())

    world.client(both)
    world.client(askers.ask, gate, Do("three"))
    world.client(open_it)
    await world.settled()

    for who in ("one", "two", "three"):
        askers.check(who, door.done)
    assert door.done == [one for one in door.came if one in door.done], door
