"""The word for a schedule: what is written is read again, what is damaged is not.

"A token of another version, program or fault plan says so."
"""

import re
import shlex
import string
import urllib.parse
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from trio_actors.testing._token import Token, _check, decode, fingerprint

steps = st.integers(0, 99_999)
options = st.tuples(
    st.sampled_from("pe"), st.sampled_from("ri"), st.sampled_from("dc"), st.just("f")
).map("".join)
tokens = st.builds(
    Token,
    program=st.text().map(fingerprint),
    options=options | options.map(lambda letters: letters[:3]),
    plan=st.just("") | st.text() | st.just("/client-1>/bank#2"),
    deviations=st.dictionaries(steps, st.integers(1, 999), max_size=30).map(
        lambda pairs: tuple(sorted(pairs.items()))
    ),
)

PLAIN = Token("3fk2q", "prd", deviations=((4, 1), (9, 2)))
PLANNED = Token("3fk2q", "eicf", "/client>/bank#2;/a>/é#1", ((4, 1),))
FIFO = Token("abcde", "prd", "/a>/b#1")
EXAMPLES = [PLAIN, PLANNED, FIFO, Token("abcde", "pid")]


@given(tokens)
def test_what_is_written_is_read_again(token: Token) -> None:
    assert decode(token.encode()) == token
    assert decode(f" {token.encode()}\n") == token, "as it is copied"


@given(tokens)
def test_it_is_the_same_in_a_shell_in_an_url_and_in_quotes(token: Token) -> None:
    text = token.encode()
    assert shlex.quote(text).strip("'") == text
    assert shlex.split(text) == [text]
    assert urllib.parse.quote(text, safe=":/,") == text
    assert repr(text) == f"'{text}'"
    assert re.fullmatch("[A-Za-z0-9:/._,-]+", text)


def test_it_is_short() -> None:
    assert re.fullmatch("ta1:3fk2q:prd:4-1,9-2:[a-z2-7]{2}", PLAIN.encode())
    assert re.fullmatch("ta1:abcde:pid:fifo:[a-z2-7]{2}", EXAMPLES[3].encode())
    assert re.fullmatch("ta1:abcde:prd:x/a_3e/b_231:fifo:[a-z2-7]{2}", FIFO.encode()), (
        "paths can be read"
    )


def test_a_fingerprint_is_of_a_text() -> None:
    assert fingerprint("a") == fingerprint("a") != fingerprint("b")
    assert re.fullmatch("[a-z2-7]{5}", fingerprint("é"))


# --- Damaged ------------------------------------------------------------------------


def check_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode(text)
    told = str(caught.value)
    assert any(
        cause in told for cause in ("is damaged", "is no schedule", "another version")
    )
    assert any(advice in told for advice in ("Copy it", "Use the version"))


@pytest.mark.parametrize("token", EXAMPLES)
def test_every_wrong_character_is_found(token: Token) -> None:
    text = token.encode()
    for at, right in enumerate(text):
        for char in string.printable + "é٣":
            if char != right and f"{text[:at]}{char}{text[at + 1 :]}".strip() != text:
                check_refused(f"{text[:at]}{char}{text[at + 1 :]}")


@given(tokens, st.data())
def test_every_wrong_character_is_found_in_any_token(
    token: Token, data: st.DataObject
) -> None:
    text = token.encode()
    at = data.draw(st.integers(0, len(text) - 1))
    char = data.draw(st.characters(exclude_characters=text[at]))
    check_refused(f"{text[:at]}{char}{text[at + 1 :]}")


@given(tokens)
def test_an_end_that_is_missing_is_found(token: Token) -> None:
    text = token.encode()
    for end in range(len(text)):
        check_refused(text[:end])


@given(tokens)
def test_two_that_changed_places_are_found(token: Token) -> None:
    text = token.encode()
    for at, (one, two) in enumerate(pairwise(text)):
        if one != two:
            check_refused(f"{text[:at]}{two}{one}{text[at + 2 :]}")


@pytest.mark.parametrize("token", EXAMPLES)
def test_one_too_many_or_too_few_is_found(token: Token) -> None:
    text = token.encode()
    for at in range(len(text) + 1):
        check_refused(text[:at] + text[at + 1 :] if at < len(text) else text[1:])
        check_refused(f"{text[:at]}7{text[at:]}")


@pytest.mark.parametrize("steps", ["9-2,4-1", "4-1,4-2", "4-0", "04-1", "4-1,5-0"])
def test_what_nobody_writes_is_not_read(steps: str) -> None:
    """Its check is right, and still it is no schedule: steps in order, ranks from 1."""
    text = f"ta1:3fk2q:prd:{steps}"
    check_refused(f"{text}:{_check(text)}")


def test_there_is_one_way_to_write_a_schedule() -> None:
    assert Token("3fk2q", "prd", deviations=((9, 2), (6, 0), (4, 1))) == PLAIN


def test_something_else_is_no_schedule() -> None:
    for text in ("", "ta", "fifo", "4-1", "x" * 1000):
        with pytest.raises(
            ValueError, match="is no schedule: a token begins with ta1:"
        ):
            decode(text)


# --- Made for something else ----------------------------------------------------------


def test_another_version_says_so() -> None:
    text = PLAIN.encode().replace("ta1:", "ta2:")
    with pytest.raises(ValueError) as caught:
        decode(text)
    told = str(caught.value)
    assert "was made by another version of trio_actors" in told
    assert "ta2:, this version's with ta1:" in told
    assert "search again" in told


def test_another_program_says_so() -> None:
    PLAIN.check_program("3fk2q")
    with pytest.raises(ValueError) as caught:
        PLAIN.check_program("zzzzz")
    told = str(caught.value)
    assert PLAIN.encode() in told
    assert "in another program (3fk2q; this is zzzzz)" in told
    assert "Leave away replay= and search again" in told


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        ("prd", "pid", 'with timers="race", this test has timers="idle"'),
        ("prd", "erd", 'with order="pairwise", this test has order="enqueue"'),
        ("prc", "prd", 'with level="checkpoint", this test has level="delivery"'),
        ("prdf", "prd", "with faults that are drawn (faults=..., without"),
        ("prd", "prdf", "with less, this test has faults that are drawn"),
        ("prd", "eid", 'order="pairwise" and timers="race", this test has order="en'),
        ("prdz", "prd", "with z, this test has nothing of that"),
    ],
)
def test_other_options_say_so(theirs: str, ours: str, told: str) -> None:
    token = Token("3fk2q", theirs)
    token.check_options(theirs)
    with pytest.raises(ValueError) as caught:
        token.check_options(ours)
    assert told in str(caught.value)
    assert token.encode() in str(caught.value)
    assert "Give explore() the options with which it was found" in str(caught.value)
