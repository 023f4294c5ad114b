"""The outbox: what was posted is delivered, at least once and in order."""

from typing import Any

import attrs
import pytest
import trio

from tests.persistence.ledger import Added, Do, Ledger, Read, add
from trio_actors import ActorFailed, ActorRef, tagged
from trio_actors.persistence import MemoryJournal
from trio_actors.testing import World

Ref = ActorRef[Any]


@tagged("outbox-mail@1")
@attrs.frozen
class Mail:
    text: str


class Sends(Ledger):
    """Sends mail that takes 0.1 seconds; as often as it is told to, it fails."""

    sent: list[tuple[str, str, float]]
    failing: list[Exception]
    takes = 0.1

    def __init__(self) -> None:
        super().__init__()

    async def deliver(self, effect: Mail, key: str, /) -> None:
        await trio.sleep(self.takes)
        if self.failing:
            raise self.failing.pop()
        at = round(trio.current_time(), 3)
        self.sent.append((effect.text, key, at))


@pytest.fixture
def journal(world: World) -> MemoryJournal:
    journal = MemoryJournal()
    world.use(journal)
    return journal


@pytest.fixture
def sends() -> type[Sends]:
    class Mine(Sends):
        sent: list[tuple[str, str, float]] = []  # noqa: RUF012  # of all incarnations
        failing: list[Exception] = []  # noqa: RUF012

    return Mine


def post(*texts: str, fail: bool = False) -> Do:
    async def act(ledger: Ledger) -> None:
        for text in texts:
            await ledger.persist(Added(text))
            await ledger.post(Mail(text))
        if fail:
            raise RuntimeError

    return Do(act)


def texts(sends: type[Sends]) -> list[str]:
    return [text for text, _, _ in sends.sent]


async def test_what_is_posted_is_delivered_once_in_order_beside_the_handlers(
    world: World, journal: MemoryJournal, sends: type[Sends]
) -> None:
    ledger = await world.spawn(sends, name="ledger")
    await ledger.ask(post("a", "b"))
    await ledger.ask(post("c"))
    assert await ledger.ask(Read()) == ("a", "b", "c")
    assert trio.current_time() == 0
    await trio.sleep(10)
    assert sends.sent == [
        ("a", "/ledger#1-1", 0.1),
        ("b", "/ledger#1-2", 0.2),
        ("c", "/ledger#1-3", 0.3),
    ]
    assert await journal.notes("/ledger") == []


async def test_a_command_that_fails_sends_nothing(
    world: World, journal: MemoryJournal, sends: type[Sends]
) -> None:
    ledger = await world.spawn(sends, name="ledger")
    with pytest.raises(ActorFailed):
        await ledger.ask(post("a", fail=True))
    journal.fail_next()
    with pytest.raises(ActorFailed):
        await ledger.ask(post("b"))
    await trio.sleep(10)
    assert sends.sent == []


async def test_one_that_fails_is_tried_again_after_longer_and_longer(
    world: World,
    journal: MemoryJournal,
    sends: type[Sends],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sends.failing = [OSError("down")] * 8
    sends.takes = 0
    ledger = await world.spawn(sends, name="ledger")
    await ledger.ask(post("a", "b"))
    await trio.sleep(1_000)
    (first, *_), (second, *_) = sends.sent
    at = sends.sent[0][2]
    assert (first, second, at) == ("a", "b", 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60)
    assert "could not deliver /ledger#1-1: OSError('down'). It tries again in 60 s" in (
        caplog.text
    )


@pytest.mark.parametrize("tenth", range(8))
@pytest.mark.parametrize("end", ["kill", "restart", "stop"])
async def test_whatever_ends_in_between_each_is_delivered_at_least_once(
    end: str, tenth: int, world: World, journal: MemoryJournal, sends: type[Sends]
) -> None:
    """With the same key each time, so that the other side knows it again."""
    journal.delay(0.1)
    ledger: Ref = await world.spawn(sends, name="ledger")
    await ledger.tell(post("a", "b"))
    await trio.sleep(tenth / 10 + 0.05)
    getattr(ledger, end)()
    if end != "restart":
        await ledger.wait_stopped()
        ledger = await world.spawn(sends, name="ledger")
    await trio.sleep(10)
    state = await ledger.ask(Read())
    assert list(dict.fromkeys(texts(sends))) == list(state)
    assert len({key for _, key, _ in sends.sent}) == len(state)
    assert len(sends.sent) <= len(state) + 1
    assert await journal.notes("/ledger") == []


async def test_a_write_that_fails_beside_the_handlers_is_never_resumed(
    world: World, journal: MemoryJournal, sends: type[Sends]
) -> None:
    """What is delivered could not be taken away: it is read again, and comes again."""
    ledger = await world.spawn(sends, name="ledger")
    before = ledger._cell.instance
    journal.fail_next(skip=1)
    await ledger.ask(post("a"))
    await trio.sleep(10)
    assert await ledger.ask(Read()) == ("a",)
    assert texts(sends) == ["a", "a"]
    assert ledger._cell.instance is not before


async def test_one_that_this_version_cannot_read_is_kept_and_fails_nobody(
    world: World,
    journal: MemoryJournal,
    sends: type[Sends],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sends.failing = [OSError("down")]
    ledger: Ref = await world.spawn(sends, name="ledger")
    await ledger.ask(post("a"))
    await trio.sleep(0.5)
    ledger.kill()
    await ledger.wait_stopped()
    old: Ref = await world.spawn(Ledger, name="ledger")
    await trio.sleep(1)
    assert await old.ask(Read()) == ("a",)
    assert "Ledger has no deliver() any more" in caplog.text
    old.kill()
    await old.wait_stopped()
    await world.spawn(sends, name="ledger")
    await trio.sleep(10)
    assert texts(sends) == ["a"]


async def test_who_delivers_nothing_posts_nothing(world: World) -> None:
    async def act(ledger: Ledger) -> None:
        with pytest.raises(TypeError, match="Ledger posts Mail.*but delivers nothing"):
            await ledger.post(Mail("a"))

    await (await world.spawn(Ledger)).ask(Do(act))


async def test_what_is_posted_must_be_what_is_delivered(
    world: World, sends: type[Sends]
) -> None:
    async def act(ledger: Ledger) -> None:
        with pytest.raises(TypeError, match="Added is not among what is stored here"):
            await ledger.post(Added("a"))

    await (await world.spawn(sends)).ask(Do(act))


async def test_what_started_posts_is_delivered(
    world: World, journal: MemoryJournal, sends: type[Sends]
) -> None:
    class Starts(sends):  # type: ignore[valid-type, misc]
        async def started(self) -> None:
            await self.post(Mail("hello"))

    ledger: Ref = await world.spawn(Starts, name="ledger")
    await trio.sleep(1)
    assert texts(sends) == ["hello"]
    await ledger.ask(Do(add("a")))
