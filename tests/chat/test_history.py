"""Rooms whose lines survive the process, on a journal in memory and in virtual time."""

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from examples.chat.history import KeptRoom
from trio_actors.persistence import Damaged, MemoryJournal

from .kit import SETTINGS, Chat, Visitor, open_chat


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


async def shown_on_joining(chat: Chat, nick: str, room: str = "lobby") -> list[str]:
    """Let a client in; return what it is shown before it is there itself."""
    visitor = await chat.visit()
    await visitor.type(f"/nick {nick}", f"/join {room}")
    await visitor.expect(f"* you are {nick}")
    lines: list[str] = []
    while (line := await visitor.line()) != f"* {nick} is here":
        lines.append(line)
    return lines


async def say(visitor: Visitor, *lines: str) -> None:
    """Say something, and wait until it is shown."""
    for line in lines:
        await visitor.type(line)
        await visitor.expect(f"> {line}")


async def test_what_was_said_is_shown_in_the_next_process(
    autojump_clock: MockClock, journal: MemoryJournal
) -> None:
    """In its order and with its names; each room has its own."""
    async with open_chat(room=KeptRoom, journal=journal) as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await say(ada, "hello", "bob?")
        await say(bob, "here I am")
        await say(await chat.guest("eve", "Zürich"), "grüezi")
    async with open_chat(room=KeptRoom, journal=journal) as chat:
        lines = ["<ada> hello", "<ada> bob?", "<bob> here I am"]
        assert await shown_on_joining(chat, "dan") == lines
        assert await shown_on_joining(chat, "eve", "zürich") == ["<eve> grüezi"]


async def test_who_came_and_went_is_forgotten_with_the_process(
    autojump_clock: MockClock, journal: MemoryJournal
) -> None:
    """Within the process it is shown as ever; it is worth no write."""
    async with open_chat(room=KeptRoom, journal=journal) as chat:
        ada = await chat.guest("ada")
        await say(ada, "hello")
        assert await shown_on_joining(chat, "bob") == ["* ada is here", "<ada> hello"]
    assert journal.statistics()["events"] == 1


async def test_the_last_50_lines_are_shown_however_many_there_were(
    autojump_clock: MockClock, journal: MemoryJournal
) -> None:
    """Over several processes, and over snapshots of the journal."""
    for process in range(3):
        async with open_chat(room=KeptRoom, journal=journal) as chat:
            ada = await chat.guest("ada")
            await say(ada, *(f"{process}-{number}" for number in range(70)))
    async with open_chat(room=KeptRoom, journal=journal) as chat:
        lines = await shown_on_joining(chat, "bob")
    assert lines == [f"<ada> 2-{number}" for number in range(20, 70)]


async def test_a_line_that_is_not_stored_is_shown_to_nobody(
    autojump_clock: MockClock, journal: MemoryJournal
) -> None:
    """The room crashes, and is back with its members and its lines."""
    async with open_chat(room=KeptRoom, journal=journal) as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await say(ada, "before")
        journal.fail_next()
        await ada.type("lost")
        await ada.expect("* the room has crashed and is back")
        await say(ada, "after")
        shown = [await bob.line()]
        while shown[-1] != "<ada> after":
            shown.append(await bob.line())
        assert "<ada> lost" not in shown
        lines = await shown_on_joining(chat, "eve")
        assert [line for line in lines if line.startswith("<")] == [
            "<ada> before",
            "<ada> after",
        ]


async def test_a_line_is_shown_when_it_is_durable(
    autojump_clock: MockClock, journal: MemoryJournal
) -> None:
    journal.delay(3)
    async with open_chat(room=KeptRoom, journal=journal) as chat:
        ada = await chat.guest("ada")
        before = trio.current_time()
        await say(ada, "hello")
        assert trio.current_time() - before == pytest.approx(3)
        assert journal.statistics()["events"] == 1


async def test_a_crash_by_the_button_costs_no_line(
    autojump_clock: MockClock, journal: MemoryJournal
) -> None:
    settings = evolve(SETTINGS, demo=True)
    async with open_chat(settings, room=KeptRoom, journal=journal) as chat:
        ada = await chat.guest("ada")
        await say(ada, "before")
        await ada.type("/crash", "after")
        await ada.expect("* the room has crashed and is back")
        await ada.expect("<ada> after")
    async with open_chat(settings, room=KeptRoom, journal=journal) as chat:
        assert await shown_on_joining(chat, "bob") == ["<ada> before", "<ada> after"]


async def test_a_room_that_was_closed_has_its_lines_when_it_opens_again(
    autojump_clock: MockClock, journal: MemoryJournal
) -> None:
    async with open_chat(room=KeptRoom, journal=journal) as chat:
        ada = await chat.guest("ada")
        await say(ada, "hello")
        await ada.type("/leave")
        await trio.sleep(SETTINGS.keep_empty + 1)
        assert chat.system.find("/rooms/lobby") is None
        assert await shown_on_joining(chat, "bob") == ["<ada> hello"]


class Harmed(MemoryJournal):
    """The lines of one room cannot be read any more."""

    async def claim(self, stream: str) -> int:
        epoch = await super().claim(stream)
        if stream == "/rooms/lobby":
            raise Damaged("it is not what was written")
        return epoch


async def test_a_room_that_cannot_be_read_is_told_and_the_others_open(
    autojump_clock: MockClock,
) -> None:
    async with open_chat(room=KeptRoom, journal=Harmed()) as chat:
        ada = await chat.visit()
        await ada.type("/nick ada", "/join lobby")
        refused = await ada.expect("lobby does not open")
        assert refused.endswith("it is not what was written")
        await ada.type("/join attic")
        await ada.expect("* ada is here")
        await say(ada, "hello")
