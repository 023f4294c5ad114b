"""check_messages= and propagate=: what happens to a message at its sender's."""

import dataclasses
import enum
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

import attrs
import pytest
import trio

from tests.kit import Add, Calls, Counter, Get, Note, open_system, run_main
from trio_actors import (
    Actor,
    ActorRef,
    ActorStopped,
    Mailbox,
    Reply,
    Request,
    ServiceKey,
    Terminated,
    Topic,
    handler,
)
from trio_actors._guard import check

# --- Which messages can be changed ------------------------------------------


@attrs.frozen
class Frozen:
    value: Any = None


@attrs.define
class Defined:
    value: Any = None


@attrs.define(frozen=True)
class DefinedFrozen(Request[int]):
    value: Any = None


@dataclasses.dataclass(frozen=True)
class FrozenData:
    value: Any = None


@dataclasses.dataclass
class Data:
    value: Any = None


@dataclasses.dataclass(unsafe_hash=True)
class HashableData:
    value: Any = None


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = 1


class Plain:
    pass


@pytest.mark.parametrize(
    "message",
    [
        None,
        True,
        3,
        2.5,
        1j,
        "text",
        b"bytes",
        (1, ("a", b"b")),
        frozenset({1}),
        range(3),
        Colour.RED,
        int,
        Point(1, 2),
        Frozen(),
        Frozen((1, 2)),
        FrozenData("x"),
        DefinedFrozen(Frozen(1)),
    ],
)
def test_what_cannot_be_changed_may_be_sent(message: object) -> None:
    """ORD-6, S0-9: immutable messages."""
    check(message)


def test_whether_a_class_is_frozen_is_found_once() -> None:
    check(Frozen())
    with Calls() as calls:
        check(Frozen((1, 2)))
    assert calls.count < 10


@pytest.mark.parametrize(
    "message",
    [[1], {1: 1}, {1}, bytearray(), Plain(), Data(), HashableData(), Defined()],
)
def test_what_can_be_changed_is_refused_with_what_to_write(message: object) -> None:
    """ORD-6: the text says what happened, and what to write instead."""
    with pytest.raises(TypeError) as caught:
        check(message)
    kind = type(message).__name__
    assert "can be changed after it was sent" in str(caught.value)
    assert f"Write @attrs.frozen above class {kind}" in str(caught.value)


@pytest.mark.parametrize(
    "message",
    [([],), Frozen([1]), FrozenData({}), Frozen(Frozen({1})), Point([], 1)],  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
)
def test_something_in_a_message_that_can_be_changed_is_refused(message: object) -> None:
    """ORD-6: a frozen class with a list in it is not frozen."""
    with pytest.raises(
        TypeError, match=r"something in it .* Use tuples and frozensets"
    ):
        check(message)


# --- In a system ------------------------------------------------------------


class Anything(Actor[object]):
    """Takes all there is."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    @handler
    def take(self, message: object) -> None:
        self.seen.append(message)


SENDS: list[Callable[[ActorRef[Any], Any], Any]] = [
    lambda ref, message: ref.tell(message),
    lambda ref, message: ref.tell_all([message]),
    lambda ref, message: ref.tell_nowait(message),
    lambda ref, message: ref.tell_soon(message),
]


@pytest.mark.parametrize("send", SENDS)
def test_the_sender_gets_the_error_and_the_actor_nothing(
    send: Callable[[ActorRef[Any], Any], Any],
) -> None:
    """Refused in the sender: it is the sender's fault."""

    async def main() -> None:
        async with open_system(check_messages=True) as system:
            ref = await system.spawn(Anything)
            with pytest.raises(TypeError, match="no message"):
                result = send(ref, [])
                if result is not None:
                    await result
            await ref.tell(Frozen())
        assert system.statistics()["accepted"] == 1

    run_main(main)


def test_requests_are_checked_too() -> None:
    @attrs.define
    class Changeable(Request[int]):
        pass

    class Answering(Actor[Changeable | Add]):
        @handler
        def change(self, message: Changeable) -> int:
            return 1

        @handler
        def add(self, message: Add) -> int:
            return message.amount

    async def main() -> None:
        async with open_system(check_messages=True) as system:
            ref = await system.spawn(Answering)
            with pytest.raises(TypeError, match="Changeable"):
                await ref.ask(Changeable())
            with pytest.raises(TypeError, match="Changeable"):
                ref.ask_nowait(Changeable())
            assert await ref.ask(Add(2)) == 2

    run_main(main)


def test_without_the_option_anything_goes() -> None:
    """It costs, so it is for tests and development."""

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Anything)
            await ref.tell([])
        assert system.statistics()["handled"] == 1

    run_main(main)


def test_what_the_library_itself_sends_is_never_refused() -> None:
    """Terminated, refs, topics: they are values."""
    seen: list[object] = []
    topic = Topic[Note]("news")

    class Watching(Actor[Terminated | Note | ActorRef[Any]]):
        async def started(self) -> None:
            self.context.subscribe(topic)
            child = await self.context.spawn(Counter)
            self.context.watch(child)
            child.stop()
            await self.context.ref.tell(child)

        @handler
        def ended(self, message: Terminated) -> None:
            seen.append("terminated")

        @handler
        def note(self, message: Note) -> None:
            seen.append(message.text)

        @handler
        def ref(self, message: ActorRef[Any]) -> None:
            seen.append("ref")

    async def main() -> None:
        async with open_system(check_messages=True) as system:
            await system.spawn(Watching)
            system.publish(topic, Note("news"))
            await trio.sleep(1)

    run_main(main)
    assert sorted(map(str, seen)) == ["news", "ref", "terminated"]


# --- Variables that travel --------------------------------------------------

USER: ContextVar[str] = ContextVar("guard_user")


@attrs.frozen
class Who(Request[str]):
    pass


class Teller(Actor[Who | Note | Get]):
    """Says on whose behalf it works."""

    def __init__(self, log: list[str], other: ActorRef[Any] | None = None) -> None:
        self.log = log
        self.other = other

    @handler
    def who(self, message: Who) -> str | Reply[str]:
        return USER.get("nobody")

    @handler
    async def note(self, message: Note) -> None:
        self.log.append(USER.get("nobody"))
        if self.other is not None:
            await self.other.tell(message)

    @handler
    def get(self, message: Get) -> Reply[int]:
        assert self.other is not None
        return self.context.forward(self.other, message)


def test_a_variable_travels_over_any_number_of_actors() -> None:
    """``propagate=``: the handler's own sends carry it on."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(propagate=[USER]) as system:
            last = await system.spawn(Teller, log)
            first = await system.spawn(Teller, log, last)
            USER.set("ann")
            await first.tell(Note())
            assert await first.ask(Who()) == "ann"
            USER.set("bob")
            await first.tell(Note())

    run_main(main)
    assert sorted(log) == ["ann", "ann", "bob", "bob"]


def test_a_variable_does_not_leak_into_the_next_turn() -> None:
    """Set for the turn only: a message without it sees none."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(propagate=[USER]) as system:
            ref = await system.spawn(Teller, log)

            async def with_user() -> None:
                USER.set("ann")
                await ref.tell(Note())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(with_user)
            await ref.tell(Note())

    run_main(main)
    assert log == ["ann", "nobody"]


def test_a_variable_goes_after_a_failed_turn_too() -> None:
    class Failing(Teller):
        @handler
        async def note(self, message: Note) -> None:
            self.log.append(USER.get("nobody"))
            if message.text:
                raise ValueError

    log: list[str] = []

    async def main() -> None:
        async with open_system(propagate=[USER]) as system:
            ref = await system.spawn(Failing, log)

            async def with_user() -> None:
                USER.set("ann")
                await ref.tell(Note("fail"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(with_user)
            await ref.tell(Note())

    run_main(main)
    assert log == ["ann", "nobody"]


def test_what_waits_for_room_carries_its_own_senders_variables() -> None:
    """The values of the moment of the send, not of the one who makes room."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(propagate=[USER]) as system:
            ref = await system.spawn(Teller, log, mailbox=Mailbox(1))

            async def send(user: str) -> None:
                USER.set(user)
                await ref.tell_all([Note(), Note()])

            async with trio.open_nursery() as nursery:
                for user in ("ann", "bob"):
                    nursery.start_soon(send, user)

    run_main(main)
    assert sorted(log) == ["ann", "ann", "bob", "bob"]


def test_a_dead_letter_is_the_message_without_its_luggage() -> None:
    """What a listener sees is what was sent."""

    async def main() -> None:
        async with open_system(propagate=[USER]) as system:
            USER.set("ann")
            ref = await system.spawn(Anything)
            ref.tell_nowait(Note("queued"))
            with system.dead_letters() as letters:
                ref.kill()
                await ref.wait_stopped()
                ref.tell_nowait(Note("late"))
                found = [(await letters.receive()).message for _ in "12"]
        assert found == [Note("queued"), Note("late")]

    run_main(main)


@pytest.mark.parametrize("moment", ["after the end", "queued", "at a service"])
def test_an_asker_hears_of_the_end_with_luggage_too(moment: str) -> None:
    """ASK-D1: an ask never hangs, however it was packed."""

    async def late(ref: ActorRef[Add]) -> None:
        with pytest.raises(ActorStopped) as caught:
            await ref.ask(Add(3))
        assert caught.value.message == Add(3)

    async def main() -> None:
        opened = open_system(propagate=[USER])
        async with trio.open_nursery() as nursery, opened as system:
            USER.set("ann")
            ref: ActorRef[Add] = await system.spawn(Counter)
            if moment == "at a service":
                ref = system.service(ServiceKey[Add]("none"))
            if moment == "after the end":
                ref.kill()
                await ref.wait_stopped()
            nursery.start_soon(late, ref)
            await trio.lowlevel.checkpoint()
            if moment == "queued":
                ref.kill()

    run_main(main)


def test_a_service_passes_the_variables_on() -> None:
    """Messages that wait for a service keep their sender's."""
    log: list[str] = []
    key = ServiceKey[Note]("teller")

    async def main() -> None:
        async with open_system(propagate=[USER]) as system:
            USER.set("ann")
            await system.service(key).tell(Note())
            USER.set("bob")
            ref = await system.spawn(Teller, log)
            system.register(key, ref)
            await trio.sleep(1)

    run_main(main)
    assert log == ["ann"]
