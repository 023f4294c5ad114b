"""Sessions and rooms, with clients on memory streams and in virtual time.

No server is bound and no time passes: where a rule names seconds, the clock jumps.
"""

import logging
from functools import partial

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock, lockstep_stream_pair

from examples.chat.protocol import MAX_LINE, Command, parse
from examples.chat.sessions import GOODBYE_SECONDS
from trio_actors import Backoff, Snapshot

from .kit import SETTINGS, Visitor, open_chat

# --- Talking ----------------------------------------------------------------


async def test_what_one_says_all_in_the_room_see(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        eve = await chat.guest("eve", room="elsewhere")
        await ada.type("hello <b>bob</b>")
        assert await ada.expect("hello") == "<ada> hello <b>bob</b>"
        assert await bob.expect("hello") == "<ada> hello <b>bob</b>"
        await eve.type("hello?")
        assert await eve.expect("<") == "<eve> hello?"


async def test_coming_and_going_is_told(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await ada.expect("* bob is here")
        await bob.type("/leave")
        await bob.expect("* you have left lobby")
        await ada.expect("* bob has left")
        await bob.type("/join lobby", "/quit")
        assert (await bob.until_closed())[-1] == "* goodbye: you said /quit"
        await ada.expect("* bob has left")


async def test_two_slashes_say_one(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada = await chat.guest("ada")
        await ada.type("//quit is a command")
        await ada.expect("<ada> /quit is a command")


async def test_who_and_rooms_and_help(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada = await chat.visit()
        await ada.type("/rooms")
        await ada.expect("* no rooms yet: /join ROOM")
        await ada.enter("ada")
        await chat.guest("bob")
        await chat.guest("eve", "Python")
        await ada.type("/who", "/rooms", "/help")
        assert await ada.expect(" in lobby") == "* 2 in lobby: ada bob"
        assert await ada.expect("rooms:") == "* 2 rooms: lobby (2) python (1)"
        await ada.expect("* /nick NAME")
        await ada.expect("* Anything else is said in your room")


async def test_who_joins_is_shown_the_last_50_lines(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada = await chat.guest("ada")
        await ada.type(*(f"line {n}" for n in range(60)))
        await ada.expect("line 59")
        bob = await chat.visit()
        await bob.type("/nick bob", "/join lobby")
        await bob.expect("* you are bob")
        seen = [await bob.line() for _ in range(51)]
        assert seen == [
            *(f"<ada> line {n}" for n in range(10, 60)),
            "* bob is here",
        ]


async def test_a_room_may_have_a_name_in_any_language(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada = await chat.guest("Åsa", "Zürich-7")
        await chat.guest("李雷", "ZÜRICH-7")
        await ada.expect("* 李雷 is here")
        assert chat.system.find("/rooms/zürich-7") is not None


async def test_going_to_another_room_leaves_the_first(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await bob.type("/join attic")
        await ada.expect("* bob has left")
        await bob.expect("* bob is here")
        await bob.type("hello attic")
        await bob.expect("<bob> hello attic")
        await ada.type("hello lobby")
        assert await ada.expect("<") == "<ada> hello lobby"
        await bob.type("/join Attic")
        await bob.expect("* you are in attic")


async def test_a_private_line_reaches_one_person_only(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob", "attic")
        eve = await chat.guest("eve")
        await ada.type("/msg BOB psst", "aloud")
        await bob.expect("[ada to you] psst")
        await ada.expect("[you to BOB] psst")
        await eve.expect("<ada> aloud")
        assert eve.unread == []
        await ada.type("/msg nobody psst")
        await ada.expect("* nobody is not here")


async def test_a_private_line_needs_a_name(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        bob, stranger = await chat.guest("bob"), await chat.visit()
        await stranger.type("/msg bob psst")
        await stranger.expect("* first choose a name: /nick NAME")
        await bob.type("done")
        assert await bob.line() == "<bob> done"


# --- Nicknames (S2-2: a name reaches whoever has it) ------------------------


async def test_a_nickname_belongs_to_one_session(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada, other = await chat.guest("ada"), await chat.visit()
        await other.type("/nick Ada")
        await other.expect("* Ada is taken; choose another name")
        await other.enter("bob")
        await other.type("/nick ada")
        await other.expect("* ada is taken")
        await other.type("still bob")
        await ada.expect("<bob> still bob")


async def test_a_nickname_is_free_again_when_its_session_ends_or_changes_it(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await ada.type("/nick eve")
        await bob.expect("* ada is now eve")
        await bob.type("/nick ada")
        await bob.expect("* bob is now ada")
        await bob.type("/quit")
        await bob.until_closed()
        await ada.expect("* ada has left")
        await ada.type("/nick ada")
        await ada.expect("* eve is now ada")


async def test_one_may_change_how_ones_own_name_is_written(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await ada.type("/nick ADA")
        await bob.expect("* ada is now ADA")
        await bob.type("/nick ada")
        await bob.expect("* ada is taken")


async def test_nothing_goes_without_a_name_or_a_room(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada = await chat.visit()
        for text in ("hello", "/join lobby", "/leave", "/who"):
            await ada.type(text)
            await ada.expect("* first choose a name: /nick NAME")
        await ada.type("/nick ada")
        for text in ("hello", "/leave", "/who"):
            await ada.type(text)
            await ada.expect("* you are in no room: /join ROOM")


# --- Bad input --------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"x" * (MAX_LINE + 1) + b"\n", "longer than 4096 bytes"),
        (b"x" * 300_000 + b"\n", "longer than 4096 bytes"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"\x1b[2J\n", "control character (U+001B)"),
        (b"\x00\n", "control character (U+0000)"),
        (b"\xff\xf4\xff\xfd\x06\n", "not UTF-8"),  # what telnet sends at Ctrl-C
        (b"\n", "an empty line says nothing"),
        (b"\r\n", "an empty line says nothing"),
        (b"/fly\n", "there is no command /fly"),
        (b"/nick bob\n", "bob is taken"),
        (b"/nick <i>\n", "a name has 1 to 20 letters"),
        (b"/nick " + b"a" * 21 + b"\n", "a name has 1 to 20 letters"),
        (b"/join ../../etc\n", "a name has 1 to 20 letters"),
        (b"/crash\n", "only on a server started with --demo"),
        (b"GET / HTTP/1.1\r\n\r\n", "an empty line says nothing"),
    ],
)
async def test_bad_input_is_answered_and_harms_nobody(
    autojump_clock: MockClock, data: bytes, answer: str
) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada", "attic"), await chat.guest("bob")
        await ada.send(data)
        await ada.expect(answer)
        await ada.type("/join lobby", "I am well")
        await ada.expect("<ada> I am well")
        assert [await bob.line(), await bob.line()] == [
            "* ada is here",
            "<ada> I am well",
        ]


async def test_a_word_of_4_kib_is_passed_on_whole(autojump_clock: MockClock) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await ada.type("x" * MAX_LINE)
        await bob.expect("<ada> " + "x" * MAX_LINE)


async def test_a_flood_waits_nothing_of_it_is_lost_and_the_others_do_not_notice(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, rate=5, burst=10)
    async with open_chat(settings) as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        began = trio.current_time()
        await ada.type(*(f"flood {n}" for n in range(48)))
        await bob.type("in between")
        await ada.expect("<bob> in between")
        assert trio.current_time() == began
        for n in range(48):
            await bob.expect(f"<ada> flood {n}")
        # 50 lines with the two of guest(): 10 at once, 40 at 5 a second.
        assert trio.current_time() - began == pytest.approx(8, abs=0.3)
        await ada.type("/quit")
        lines = await ada.until_closed()
        assert sum("slow down" in line for line in lines) == 1


async def test_who_was_too_fast_is_told_again_only_at_the_next_flood(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, rate=5, burst=5)
    async with open_chat(settings) as chat:
        ada = await chat.guest("ada")
        for _ in range(2):
            await trio.sleep(10)
            await ada.type(*(f"flood {n}" for n in range(10)))
            await ada.expect("* slow down: more than 5 lines a second have to wait")
            await ada.expect("flood 9")


async def test_a_flood_that_does_not_end_is_cut_off(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = evolve(SETTINGS, rate=5, burst=20)
    async with open_chat(settings) as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        began = trio.current_time()
        await ada.send(b"x\n" * 100_000)
        await bob.expect("* ada has left")
        assert 60 <= trio.current_time() - began < 1000
        assert "too fast for 60 seconds" in (await ada.until_closed())[-1]
    assert "mem-1 (memory): it was too fast for 60 seconds" in caplog.text


# --- Slow clients, and those that are gone ----------------------------------


async def test_a_client_that_never_reads_is_sent_away_and_the_reason_is_logged(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    settings = evolve(SETTINGS, outbox=20)
    async with open_chat(settings) as chat:
        ada = await chat.guest("ada")
        theirs, ours = lockstep_stream_pair()  # it takes nothing that is not read
        await chat.visit(ours)
        sleeper = Visitor(theirs)
        await sleeper.enter("sleeper")
        await ada.expect("* sleeper is here")
        await ada.type(*(f"line {n}" for n in range(100)))
        for n in range(100):
            await ada.expect(f"<ada> line {n}")
        await ada.expect("* sleeper has left")
        await ada.type("all is well")
        await ada.expect("all is well")
    assert "mem-2 (memory): it does not read: its outbox is full" in caplog.text


async def test_a_client_that_takes_nothing_for_10_seconds_is_given_up(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with open_chat() as chat:
        ada = await chat.guest("ada")
        theirs, ours = lockstep_stream_pair()
        await chat.visit(ours)
        sleeper = Visitor(theirs)
        await sleeper.enter("sleeper")
        await ada.expect("* sleeper is here")
        began = trio.current_time()
        await ada.type("are you there?")
        await ada.expect("* sleeper has left")
        assert trio.current_time() - began == pytest.approx(10, abs=0.1)
    assert "mem-2 (memory): it took nothing for 10 s" in caplog.text


async def test_a_client_may_be_slow_as_long_as_it_reads(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada = await chat.guest("ada")
        theirs, ours = lockstep_stream_pair()
        await chat.visit(ours)
        slow = Visitor(theirs)
        await slow.enter("slow")
        await ada.type(*(f"line {n}" for n in range(300)))
        await ada.expect("line 299")
        for n in range(300):
            if n % 50 == 0:
                await trio.sleep(9)
            await slow.expect(f"<ada> line {n}")


async def test_a_client_whose_connection_breaks_has_left(
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await bob.stream.aclose()
        await ada.expect("* bob has left")
    assert "mem-2 (memory): the client hung up" in caplog.text


async def test_what_a_client_said_before_it_hung_up_is_heard(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await bob.send(b"one\ntwo\nthree")
        assert isinstance(bob.stream, trio.abc.HalfCloseableStream)
        await bob.stream.send_eof()
        for text in ("one", "two", "three"):
            await ada.expect(f"<bob> {text}")
        await ada.expect("* bob has left")
        assert (await bob.until_closed())[-1] == "* goodbye: the client hung up"


async def test_a_full_server_says_so_and_has_room_again_when_somebody_leaves(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, max_clients=2)
    async with open_chat(settings) as chat:
        ada = await chat.guest("ada")
        await chat.guest("bob")
        theirs, ours = trio.testing.memory_stream_pair()
        await chat.visit(ours)
        assert await Visitor(theirs).until_closed() == [
            "* the server is full; come back later"
        ]
        await ada.type("/quit")
        await ada.until_closed()
        await chat.guest("eve")


async def test_a_full_server_does_not_wait_for_a_client_that_does_not_read(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, max_clients=1)
    async with open_chat(settings) as chat:
        ada = await chat.guest("ada")
        _, ours = lockstep_stream_pair()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(chat.visit, ours))
            await ada.type("hello")
            await ada.expect("hello")
        assert trio.current_time() - began <= 2 * GOODBYE_SECONDS


async def test_a_mistake_in_one_session_ends_that_one_only(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S2-2, isolation: let it crash."""

    def stumble(text: str) -> Command:
        if text == "stumble":
            raise ZeroDivisionError("a mistake")
        return parse(text)

    monkeypatch.setattr("examples.chat.sessions.parse", stumble)
    async with open_chat() as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await bob.type("stumble")
        assert "something went wrong" in (await bob.until_closed())[-1]
        await ada.expect("* bob has left")
        await chat.guest("bob")
        await ada.expect("* bob is here")


# --- Rooms ------------------------------------------------------------------


async def test_a_crashed_room_keeps_its_members_its_lines_and_what_is_said_meanwhile(
    autojump_clock: MockClock,
) -> None:
    """The demonstration; S0-7 "restart", S3-6 "requests sent meanwhile queue"."""
    settings = evolve(SETTINGS, demo=True)
    async with open_chat(settings) as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        eve = await chat.guest("eve", "attic")
        await ada.type("before")
        await bob.expect("before")
        began = trio.current_time()
        await ada.type("/crash", "one", "two")
        await eve.type("attic is not concerned")
        await eve.expect("<eve> attic is not concerned")
        await bob.type("three")
        for visitor in (ada, bob):
            await visitor.expect("* the room has crashed and is back (ada pressed")
            said = [await visitor.line() for _ in range(3)]
            assert sorted(said) == ["<ada> one", "<ada> two", "<bob> three"]
            assert said.index("<ada> one") < said.index("<ada> two")
        assert trio.current_time() - began == pytest.approx(0.5, abs=0.05)
        await bob.type("/who")
        await bob.expect("* 2 in lobby: ada bob")
        late = await chat.visit()
        await late.type("/nick late", "/join lobby")
        await late.expect("<ada> before")
        assert restarts(chat.system.snapshot(), "lobby") == 1
        assert restarts(chat.system.snapshot(), "attic") == 0


def restarts(snapshot: Snapshot, name: str) -> int:
    open_nodes = [snapshot]
    while open_nodes:
        node = open_nodes.pop()
        if node.path.endswith(f"/{name}"):
            return node.restarts
        open_nodes += node.children
    raise AssertionError(f"no {name} in {snapshot.render()}")


async def test_a_room_comes_back_however_often_it_crashes(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, demo=True)
    async with open_chat(settings) as chat:
        ada = await chat.guest("ada")
        for n in range(30):
            await ada.type("/crash", f"line {n}")
            await ada.expect(f"<ada> line {n}")


async def test_a_member_who_leaves_while_the_room_is_away_is_not_in_it_after(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, demo=True)
    async with open_chat(settings) as chat:
        ada, bob = await chat.guest("ada"), await chat.guest("bob")
        await ada.type("/crash", "/quit")
        await ada.until_closed()
        await bob.expect("* ada has left")
        await bob.type("/who")
        await bob.expect("* 1 in lobby: bob")


async def test_a_room_that_does_not_answer_in_time_is_said_to(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, demo=True, pause=Backoff(60, 60, jitter=0))
    async with open_chat(settings) as chat:
        ada, bob = await chat.guest("ada"), await chat.visit()
        await ada.type("/crash", "/who")
        await ada.expect("* there is no answer now; try again later")
        await bob.type("/nick bob", "/join lobby", "/join attic")
        await bob.expect("* there is no answer now; try again later")
        await bob.expect("* bob is here")
        await ada.expect("* the room has crashed and is back")
        await ada.type("/who")
        await ada.expect("* 1 in lobby: ada")


async def test_an_empty_room_is_closed_after_some_time_and_forgets(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada = await chat.guest("ada")
        await ada.type("remember me", "/leave", "/nick eve")
        await ada.expect("* you are eve")
        await trio.sleep(SETTINGS.keep_empty - 1)
        await ada.type("/join lobby")
        await ada.expect("<ada> remember me")
        await ada.type("/leave")
        await ada.expect("* you have left")
        await trio.sleep(SETTINGS.keep_empty - 1)
        await ada.type("/rooms")
        await ada.expect("* 1 rooms: lobby (0)")
        await trio.sleep(2)
        await ada.type("/rooms", "/join lobby")
        await ada.expect("* no rooms yet")
        assert await ada.line() == "* eve is here"


async def test_an_empty_room_is_closed_even_if_it_crashed_meanwhile(
    autojump_clock: MockClock,
) -> None:
    settings = evolve(SETTINGS, demo=True)
    async with open_chat(settings) as chat:
        ada = await chat.guest("ada")
        await ada.type("/crash", "/leave")
        await ada.expect("* you have left")
        await trio.sleep(SETTINGS.keep_empty + 10)
        await ada.type("/rooms")
        await ada.expect("* no rooms yet")


async def test_a_line_that_a_crashed_room_cannot_take_is_said_to_be_refused(
    autojump_clock: MockClock,
) -> None:
    """MBX: who tells a full mailbox waits, but a person does not wait for ever."""
    settings = evolve(SETTINGS, demo=True, pause=Backoff(300, 300, jitter=0), flood=1e9)
    async with open_chat(settings) as chat:
        ada = await chat.guest("ada")
        await ada.type("/crash", *(f"line {n}" for n in range(1025)))
        await ada.expect("* there is no answer now; try again later")
        await ada.expect("* the room has crashed and is back")
        for n in range(1024):
            await ada.expect(f"<ada> line {n}")
        await ada.type("done")
        assert await ada.line() == "<ada> done"


async def test_a_failure_of_another_actor_does_not_cut_off_who_asked_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ASK: ActorFailed goes to the asker; here that is a person."""
    async with open_chat() as chat:
        ada = await chat.guest("ada")
        monkeypatch.setattr("examples.chat.rooms.sorted", fail, raising=False)
        await ada.type("/rooms")
        await ada.expect("* there is no answer now; try again later")
        monkeypatch.undo()
        await ada.type("/rooms", "/join lobby")
        await ada.expect("* ada is here")


def fail(*_: object) -> None:
    raise ZeroDivisionError("a mistake")


async def test_there_are_only_so_many_rooms(autojump_clock: MockClock) -> None:
    settings = evolve(SETTINGS, max_rooms=2)
    async with open_chat(settings) as chat:
        ada, bob = await chat.guest("ada", "one"), await chat.guest("bob", "two")
        await ada.type("/join three")
        await ada.expect("* there are 2 rooms; join one of them")
        await ada.type("/join two")
        await bob.expect("* ada is here")


async def test_when_all_rooms_have_to_go_their_members_are_told(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        ada = await chat.guest("ada")
        rooms = chat.system.find("/rooms")
        assert rooms is not None
        rooms.restart()
        await ada.expect("* lobby is closed; you may /join it again")
        await ada.type("hello?")
        await ada.expect("* you are in no room: /join ROOM")
        await ada.type("/join lobby", "hello!")
        await ada.expect("<ada> hello!")


# --- The end ----------------------------------------------------------------


async def test_everybody_is_told_goodbye_when_the_server_stops(
    autojump_clock: MockClock,
) -> None:
    """SHUT-2: no cleanup is skipped."""
    async with open_chat() as chat:
        guests = [await chat.guest(f"guest-{n}") for n in range(20)]
        chat.system.stop()
        for guest in guests:
            lines = await guest.until_closed()
            assert lines[-1] == "* goodbye: the server is going down"


async def test_a_client_that_comes_while_the_server_stops_is_turned_away(
    autojump_clock: MockClock,
) -> None:
    async with open_chat() as chat:
        chat.sessions.stop()
        await chat.sessions.wait_stopped()
        theirs, ours = trio.testing.memory_stream_pair()
        await chat.visit(ours)
        assert await Visitor(theirs).until_closed() == ["* the server is going down"]
