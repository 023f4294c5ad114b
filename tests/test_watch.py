"""Watching: once, for good, after everything that was sent before (WAT-1, WAT-2)."""

from typing import Never

import attrs
import pytest
import trio

from tests.kit import Add, Boom, Counter, Get, Note, Worker
from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    Exit,
    Inbox,
    Mailbox,
    Request,
    StartFailed,
    Supervision,
    Terminated,
    handler,
)
from trio_actors.testing import World


@attrs.frozen
class Watch:
    ref: ActorRef[Never]
    message: "Lost | None" = None


@attrs.frozen
class Unwatch:
    ref: ActorRef[Never]


@attrs.frozen
class Lost:
    name: str = ""


@attrs.frozen
class Sleep:
    seconds: float


class Crash(Request[None]): ...


Seen = list[object]


class Watcher(Actor[Watch | Unwatch | Lost | Terminated | Sleep | Note | Crash]):
    """Watches whom it is told to, and writes down whatever it gets."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    @handler
    def watch(self, message: Watch) -> None:
        if message.message is None:
            self.context.watch(message.ref)
        else:
            self.context.watch(message.ref, message.message)

    @handler
    def unwatch(self, message: Unwatch) -> None:
        self.context.unwatch(message.ref)

    @handler
    def lost(self, message: Lost | Terminated | Note) -> None:
        self.seen.append(message)

    @handler
    async def sleep(self, message: Sleep) -> None:
        await trio.sleep(message.seconds)

    @handler
    def crash(self, message: Crash) -> None:
        raise ValueError("crash")


def ends(seen: Seen) -> list[tuple[str, str]]:
    """The paths and reasons of what was seen."""
    return [
        (one.ref.path, one.reason.kind) for one in seen if isinstance(one, Terminated)
    ]


# --- Every end --------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "kind"), [("stop", "shutdown"), ("drain", "shutdown"), ("kill", "killed")]
)
async def test_a_watcher_is_told_why_an_actor_has_ended(
    world: World, verb: str, kind: str
) -> None:
    seen: Seen = []
    watcher = await world.spawn(Watcher, seen)
    target = await world.spawn(Counter)
    await watcher.tell(Watch(target))
    await world.settled()
    getattr(target, verb)()
    await world.settled()
    assert ends(seen) == [("/counter-2", kind)]
    (message,) = seen
    assert isinstance(message, Terminated)
    assert message.ref == target
    assert message.reason == await target.wait_stopped()


async def test_the_reason_has_the_exception_and_the_detail(world: World) -> None:
    """WAT DECISION: the reason goes to every watcher, not only to the parent."""
    seen: Seen = []
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(directives={KeyError: "stop"})
    )
    target = await supervisor.spawn(Worker)
    for _ in range(2):
        await (await world.spawn(Watcher, seen)).tell(Watch(target))
    await target.tell(Boom(KeyError("x")))
    await world.settled()
    assert ends(seen) == [(target.path, "failed")] * 2
    other = await world.spawn(Counter)
    await (await world.spawn(Watcher, seen)).tell(Watch(other))
    await world.settled()
    other.stop("enough")
    await world.settled()
    last = seen[-1]
    assert isinstance(last, Terminated)
    assert last.reason.detail == "enough"
    first = seen[0]
    assert isinstance(first, Terminated)
    assert isinstance(first.reason.error, KeyError)


async def test_a_function_that_returns_is_a_normal_end(world: World) -> None:
    seen: Seen = []

    async def short(inbox: Inbox[Note]) -> None:
        await inbox.receive()

    target = await world.spawn(short)
    await (await world.spawn(Watcher, seen)).tell(Watch(target))
    await world.settled()
    await target.tell(Note())
    await world.settled()
    assert ends(seen) == [("/short-1", "normal")]


async def test_a_restart_is_not_an_end(world: World) -> None:
    """WAT-2: Terminated when it stops permanently, not on restart."""
    seen: Seen = []
    target = await world.spawn(Counter)
    await (await world.spawn(Watcher, seen)).tell(Watch(target))
    with pytest.raises(ActorFailed):
        await target.ask(Boom())
    target.restart()
    await world.settled()
    assert seen == []
    target.stop()
    await world.settled()
    assert ends(seen) == [("/counter-1", "shutdown")]


async def test_an_actor_that_gives_up_tells_its_watchers(world: World) -> None:
    seen: Seen = []
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(max_restarts=1), restart="temporary"
    )
    target = await supervisor.spawn(Counter)
    await (await world.spawn(Watcher, seen)).tell(Watch(target))
    for _ in range(2):
        await target.tell(Boom())
    await world.settled()
    assert ends(seen) == [(target.path, "failed")]


async def test_one_whose_start_fails_is_gone_for_its_watchers(world: World) -> None:
    seen: Seen = []

    class Broken(Counter):
        async def started(self) -> None:
            await trio.sleep(1)
            raise OSError("broken")

    watcher = await world.spawn(Watcher, seen)

    async def spawn() -> None:
        with pytest.raises(StartFailed):
            await world.spawn(Broken, name="broken")

    world.client(spawn)
    await trio.sleep(0.5)
    target = world.find("/broken")
    assert target is not None
    await watcher.tell(Watch(target))
    await world.settled()
    assert ends(seen) == [("/broken", "start_failed")]


# --- Once -------------------------------------------------------------------


async def test_watching_twice_is_watching_once(world: World) -> None:
    """Exactly one notification; OTP gives one for each monitor."""
    seen: Seen = []
    target = await world.spawn(Counter)
    watcher = await world.spawn(Watcher, seen)
    for _ in range(3):
        await watcher.tell(Watch(target))
    await world.settled()
    target.kill()
    await world.settled()
    assert ends(seen) == [("/counter-1", "killed")]


async def test_watching_a_dead_actor_tells_at_once(world: World) -> None:
    """WAT-1: already dead, an immediate DOWN; here with the true reason."""
    seen: Seen = []
    target = await world.spawn(Counter)
    target.stop("long ago")
    await target.wait_stopped()
    watcher = await world.spawn(Watcher, seen)
    await watcher.tell(Watch(target))
    await world.settled()
    assert ends(seen) == [("/counter-1", "shutdown")]
    await watcher.tell(Watch(target))  # it was told: this is a new watch
    await world.settled()
    assert len(seen) == 2


async def test_another_message_replaces_the_first(world: World) -> None:
    seen: Seen = []
    target = await world.spawn(Counter)
    watcher = await world.spawn(Watcher, seen)
    await watcher.tell(Watch(target))
    await watcher.tell(Watch(target, Lost("first")))
    await watcher.tell(Watch(target, Lost("second")))
    await world.settled()
    target.kill()
    await world.settled()
    assert seen == [Lost("second")]


async def test_a_message_of_ones_own_needs_no_handler_for_terminated(
    world: World,
) -> None:
    """WAT-2 watchWith: no DeathPact."""

    class Simple(Actor[Lost]):
        async def started(self) -> None:
            self.context.watch(target, Lost("it"))

        @handler
        def lost(self, message: Lost) -> None:
            seen.append(message)

    seen: Seen = []
    target = await world.spawn(Counter)
    simple = await world.spawn(Simple)
    target.kill()
    await world.settled()
    assert seen == [Lost("it")]
    assert world.find(simple.path) == simple


async def test_one_actor_watches_many_and_many_watch_one(world: World) -> None:
    seen: Seen = []
    targets = [await world.spawn(Counter) for _ in range(3)]
    watchers = [await world.spawn(Watcher, seen) for _ in range(3)]
    for watcher in watchers:
        for target in targets:
            await watcher.tell(Watch(target))
    await world.settled()
    for target in targets:
        target.kill()
    await world.settled()
    assert sorted(ends(seen)) == sorted(
        (target.path, "killed") for target in targets for _ in watchers
    )


async def test_watching_oneself_is_harmless(world: World) -> None:
    """It cannot hear of its own end."""
    seen: Seen = []
    watcher = await world.spawn(Watcher, seen)
    await watcher.tell(Watch(watcher))
    await world.settled()
    watcher.stop()
    await watcher.wait_stopped()
    assert seen == []


async def test_what_is_no_ref_cannot_be_watched(world: World) -> None:
    async def misuse(inbox: Inbox[Terminated]) -> None:
        with pytest.raises(TypeError, match=r"watch\(\) wants the ref of one actor"):
            inbox.watch("/counter-1")  # type: ignore[call-overload]

    await world.spawn(misuse)


# --- Order ------------------------------------------------------------------


async def test_the_end_comes_after_everything_that_was_sent_before(
    world: World,
) -> None:
    """Design 4: ``Terminated`` comes after everything the dead actor had enqueued."""
    seen: Seen = []

    class Chatty(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            for number in range(5):
                await watcher.tell(Note(str(number)))
            self.context.stop()

        async def stopped(self, reason: Exit) -> None:
            await watcher.tell(Note("bye"))

    watcher = await world.spawn(Watcher, seen, mailbox=Mailbox(2))
    chatty = await world.spawn(Chatty)
    await watcher.tell(Watch(chatty))
    await world.settled()
    await chatty.tell(Note())
    await world.settled()
    *notes, last = seen
    assert notes == [*(Note(str(number)) for number in range(5)), Note("bye")]
    assert isinstance(last, Terminated)


async def test_the_end_waits_for_no_room_and_is_never_dropped(world: World) -> None:
    seen: Seen = []
    target = await world.spawn(Counter)
    watcher = await world.spawn(Watcher, seen, mailbox=Mailbox(1, "drop_new"))
    await watcher.tell(Watch(target))
    await world.settled()
    await watcher.tell(Sleep(2))
    await trio.sleep(1)
    await watcher.tell(Note("fills it"))
    target.kill()
    await trio.sleep(0.5)
    await watcher.tell(Note("dropped"))
    await world.settled()
    assert [type(one) for one in seen] == [Note, Terminated]
    assert [letter.message for letter in world.dead()] == [Note("dropped")]


async def test_the_name_is_free_before_watchers_are_told(world: World) -> None:
    """LIFE-9: the watcher may spawn the same name again; OTP's race is impossible."""
    generations: list[ActorRef[Add | Get | Boom]] = []

    class Keeper(Actor[Terminated]):
        async def started(self) -> None:
            await self.renew()

        async def renew(self) -> None:
            ref = await self.context.spawn(Counter, name="child", restart="temporary")
            self.context.watch(ref)
            generations.append(ref)

        @handler
        async def terminated(self, message: Terminated) -> None:
            assert "child" not in self.context.children
            await self.renew()

    await world.spawn(Keeper, name="keeper")
    for number in range(1, 4):
        generations[-1].kill()
        await world.settled()
        assert len(generations) == number + 1
    assert len(set(generations)) == 4
    assert {ref.path for ref in generations} == {"/keeper/child"}


async def test_the_parent_is_told_after_the_children_are_gone(world: World) -> None:
    """LIFE-6: children first, then the goodbye, then the watchers."""
    events: list[str] = []

    class Child(Actor[Note]):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(1)
            events.append("child")

        @handler
        def note(self, message: Note) -> None: ...

    class Parent(Child):
        async def started(self) -> None:
            await self.context.spawn(Child)

        async def stopped(self, reason: Exit) -> None:
            events.append("parent")

    async def watch(inbox: Inbox[Terminated]) -> None:
        inbox.watch(parent)
        await inbox.receive()
        events.append("watcher")

    parent = await world.spawn(Parent)
    await world.spawn(watch)
    parent.stop()
    await world.settled()
    assert events == ["child", "parent", "watcher"]


# --- Taking it back ---------------------------------------------------------


async def test_unwatch_takes_back_what_is_queued_already(world: World) -> None:
    """WAT-1 demonitor(flush); WAT-2: works when the notification is enqueued."""
    seen: Seen = []
    target = await world.spawn(Counter)
    watcher = await world.spawn(Watcher, seen)
    await watcher.tell(Watch(target))
    await watcher.tell(Sleep(2))
    await watcher.tell(Unwatch(target))
    await trio.sleep(1)
    target.kill()
    await world.settled()
    assert seen == []
    assert world.statistics()["expired"] == 1


async def test_unwatch_of_what_is_not_watched_is_nothing(world: World) -> None:
    seen: Seen = []
    target = await world.spawn(Counter)
    watcher = await world.spawn(Watcher, seen)
    await watcher.tell(Unwatch(target))
    await watcher.tell(Watch(target))
    await watcher.tell(Unwatch(target))
    await watcher.tell(Unwatch(target))
    await world.settled()
    target.kill()
    await world.settled()
    await watcher.tell(Unwatch(target))
    await world.settled()
    assert seen == []


async def test_a_watch_after_an_unwatch_is_a_new_one(world: World) -> None:
    """The first one's message is queued and lapses, the second one's comes."""
    seen: Seen = []
    target = await world.spawn(Counter)
    watcher = await world.spawn(Watcher, seen)
    await watcher.tell(Watch(target, Lost("old")))
    await watcher.tell(Sleep(2))
    await watcher.tell(Unwatch(target))
    await watcher.tell(Watch(target, Lost("new")))
    await trio.sleep(1)
    target.kill()
    await world.settled()
    assert seen == [Lost("new")]
