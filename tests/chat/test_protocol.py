"""The line protocol, without any actor or socket."""

import pytest
from hypothesis import given, strategies as st

from examples.chat.protocol import (
    EMPTY,
    HELP,
    MAX_LINE,
    MAX_NAME,
    NOT_UTF8,
    TOO_LONG,
    BadInput,
    CrashRoom,
    EnterRoom,
    Help,
    LeaveRoom,
    LineDecoder,
    Quit,
    Refused,
    Say,
    ShowMembers,
    ShowRooms,
    TakeNick,
    TokenBucket,
    Typed,
    Whisper,
    fold,
    parse,
    wrapped,
)


def decode(data: bytes) -> list[Typed | Refused]:
    decoder = LineDecoder()
    return decoder.feed(data) + decoder.finish()


# --- Lines ------------------------------------------------------------------


def test_lines_end_with_lf_and_a_cr_before_it_does_not_count() -> None:
    assert decode(b"one\ntwo\r\nthree") == [Typed("one"), Typed("two"), Typed("three")]


def test_a_line_in_pieces_is_one_line() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b"hel") == []
    assert decoder.feed("lö".encode()[:2]) == []
    assert decoder.feed("lö".encode()[2:] + b"\nand") == [Typed("hellö")]
    assert decoder.finish() == [Typed("and")]
    assert decoder.finish() == []


def test_a_line_of_exactly_4_kib_is_taken_and_one_byte_more_is_refused() -> None:
    assert decode(b"x" * MAX_LINE + b"\r\n") == [Typed("x" * MAX_LINE)]
    assert decode(b"x" * (MAX_LINE + 1) + b"\n") == [TOO_LONG]


def test_the_limit_counts_bytes_and_not_characters() -> None:
    assert decode("é".encode() * (MAX_LINE // 2 + 1) + b"\n") == [TOO_LONG]


def test_a_line_that_is_too_long_is_refused_once_and_the_next_one_is_taken() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b"x" * 5000) == [TOO_LONG]
    for _ in range(100):
        assert decoder.feed(b"x" * 5000) == []
    assert decoder.feed(b"the rest\nhello\n") == [Typed("hello")]


def test_a_long_line_takes_no_memory() -> None:
    decoder = LineDecoder()
    decoder.feed(b"x" * 1_000_000)
    assert decoder.finish() == []
    decoder.feed(b"x" * 1_000_000)
    assert len(decoder._rest) <= MAX_LINE


@pytest.mark.parametrize("bad", [b"\xff\xfb\x01", b"\xc3", b"\xed\xa0\x80", b"\x80abc"])
def test_what_is_not_utf8_is_refused(bad: bytes) -> None:
    assert decode(bad + b"\nfine\n") == [NOT_UTF8, Typed("fine")]


@pytest.mark.parametrize(
    "code", [0x00, 0x07, 0x1B, 0x7F, 0x9B, 0x2028, 0x202E, 0x2066], ids=hex
)
def test_control_characters_are_refused_and_named(code: int) -> None:
    [refused] = decode(f"a{chr(code)}[31mb\n".encode())
    assert isinstance(refused, Refused)
    assert f"U+{code:04X}" in refused.why


def test_a_cr_inside_a_line_is_a_control_character() -> None:
    [refused] = decode(b"seen\rhidden\n")
    assert isinstance(refused, Refused)
    assert "U+000D" in refused.why


def test_a_tab_is_welcome_and_blanks_around_a_line_are_not_kept() -> None:
    assert decode(b" a\tb \n") == [Typed("a\tb")]


@pytest.mark.parametrize("empty", [b"\n", b"\r\n", b"   \t \n"])
def test_an_empty_line_is_answered(empty: bytes) -> None:
    assert decode(empty) == [EMPTY]


@given(st.lists(st.binary(max_size=6000)), st.data())
def test_what_is_heard_does_not_depend_on_where_the_network_cuts(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = b"\n".join(parts)
    decoder = LineDecoder()
    heard: list[Typed | Refused] = []
    rest = whole
    while rest:
        size = data.draw(st.integers(1, max(1, len(rest))), label="cut")
        heard += decoder.feed(rest[:size])
        rest = rest[size:]
    assert heard + decoder.finish() == decode(whole)


@given(st.binary(max_size=9000))
def test_every_line_is_answered_or_taken_whatever_the_bytes(data: bytes) -> None:
    heard = decode(data)
    assert len(heard) == len(data.removesuffix(b"\n").split(b"\n")) * bool(data)
    for line in heard:
        if isinstance(line, Typed):
            assert len(line.text.encode()) <= MAX_LINE
            assert line.text.strip() == line.text != ""
            assert "\x1b" not in line.text


# --- Commands ---------------------------------------------------------------


def test_each_command_has_its_meaning() -> None:
    meanings = {
        "hello": Say("hello"),
        "//help": Say("/help"),
        "/nick ada": TakeNick("ada"),
        "/NICK ada": TakeNick("ada"),
        "/nick   ada": TakeNick("ada"),
        "/join lobby": EnterRoom("lobby"),
        "/join #lobby": EnterRoom("lobby"),
        "/leave": LeaveRoom(),
        "/who": ShowMembers(),
        "/rooms": ShowRooms(),
        "/msg bob how are you?": Whisper("bob", "how are you?"),
        "/help": Help(),
        "/quit": Quit(),
        "/crash": CrashRoom(),
    }
    assert {text: parse(text) for text in meanings} == meanings


def test_the_help_names_each_command_that_is_understood() -> None:
    for line in HELP[:-1]:
        usage = line.split("  ")[0].replace("NAME", "ada").replace("ROOM", "lobby")
        parse(usage)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("/fly", "there is no command /fly; /help lists them all"),
        ("/", "there is no command /;"),
        ("/" + "x" * 3000, "there is no command /xxxxxxxxxxxxxxxxxxx; "),
        ("/nick", "the name is missing: /nick NAME"),
        ("/nick ada lovelace", "a name has 1 to 20 letters"),
        ("/nick 1ada", "begins with a letter"),
        ("/nick " + "a" * (MAX_NAME + 1), "a name has 1 to 20 letters"),
        ("/nick <ada>", "a name has 1 to 20 letters"),
        ("/nick a/b", "a name has 1 to 20 letters"),
        ("/nick ../x", "a name has 1 to 20 letters"),
        ("/nick ☃", "a name has 1 to 20 letters"),
        ("/join", "the name is missing: /join ROOM"),
        ("/join #", "the name is missing: /join ROOM"),
        ("/join a b", "a name has 1 to 20 letters"),
        ("/msg", "the name is missing: /msg NAME TEXT"),
        ("/msg bob", "there is nothing to tell bob: /msg NAME TEXT"),
        ("/leave now", "/leave stands alone on its line"),
    ],
)
def test_what_makes_no_sense_is_answered_with_what_would(
    text: str, answer: str
) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert answer in str(caught.value)


def test_names_that_look_the_same_are_the_same() -> None:
    assert parse("/nick Zoe\u0308") == parse("/nick Zo\u00eb")
    assert fold("ADA") == fold("ada")
    assert fold("Straße") == fold("STRASSE")


@given(st.text(max_size=200))
def test_any_text_is_a_command_or_an_answer(text: str) -> None:
    answer = ""
    try:
        parse(text)
    except BadInput as mistake:
        answer = str(mistake)
    assert len(answer) < 200


def test_many_words_are_shown_in_lines_of_a_readable_length() -> None:
    words = tuple(f"member-{n}" for n in range(1000))
    lines = list(wrapped("1000 here:", words))
    assert max(map(len, lines)) <= 101
    assert lines[-1] == "   … and 800 more"
    assert list(wrapped("2 here:", ("ada", "bob"))) == ["2 here: ada bob"]


# --- Floods -----------------------------------------------------------------


def test_a_burst_is_free_and_then_the_rate_holds() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=100)
    assert [bucket.take(100) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]


def test_tokens_come_back_with_time_but_never_more_than_a_burst() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=100)
    for _ in range(3):
        bucket.take(100)
    assert bucket.take(100.5) == 0
    assert [bucket.take(200) for _ in range(4)] == [0, 0, 0, 0.5]


@given(
    st.floats(0.1, 1000),
    st.integers(1, 100),
    st.lists(st.floats(0, 10), min_size=1, max_size=200),
)
def test_who_waits_as_told_never_exceeds_the_limit(
    rate: float, burst: int, gaps: list[float]
) -> None:
    bucket = TokenBucket(rate, burst, now=0)
    now = 0.0
    for number, gap in enumerate(gaps, start=1):
        now += gap
        now += bucket.take(now)
        assert number <= burst + now * rate + 1e-6
