"""The diagram of a run: small ones as they are, properties of all others.

Issue 4: "a sequence diagram in the terminal (and Mermaid to a file)".
"""

import re
from typing import Any

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from tests.testing.traces import message, reply, start, step, tick
from trio_actors.testing._diagram import CROWD, ROWS, WIDTH, caption_of, diagram
from trio_actors.testing._events import Event, Kind

BANK = [
    start("client-1"),
    start("client-2"),
    message("client-2", "/bank/a", "Balance()"),
    message("client-1", "/bank/a", "Add(amount=-10)"),
    reply("/bank/a", "client-2", "100"),
    tick("time 5"),
    message("", "/bank/b", "Tick()"),
    message("/bank/b", "/bank/b", "Again()"),
    step("control", "client-1", "/bank/b", "stop"),
    step("fault", "", "/bank/a", "crash"),
    step("settled", "", "test"),
]
"""One row of every kind."""


# --- Small ones -------------------------------------------------------------


def test_each_kind_of_step_has_a_row_of_its_own_shape() -> None:
    """Reference C4: messages as arrows, replies dotted, ticks across, faults marked."""
    assert diagram(BANK, mark=(2, 3)) == (
        "       client-1  client-2      a         b\n"
        "   0       o         |         |         |      begins\n"
        "   1       |         o         |         |      begins\n"
        ">  2       |         |-------->|         |      Balance()\n"
        ">  3       |------------------>|         |      Add(amount=-10)\n"
        "   4       |         |<........|         |      100\n"
        "   5  ---------------- time 5 ----------------\n"
        "   6       |         |         |      -->|      Tick()\n"
        "   7       |         |         |         |<--   Again()\n"
        "   8       |============================>|      stop\n"
        "   9       |         |         X         |      ! crash\n"
        "  10  --------------- settled ----------------"
    )


def test_mermaid_gets_an_alias_for_each_participant_and_a_box_for_the_race() -> None:
    """https://mermaid.js.org/syntax/sequenceDiagram.html."""
    assert diagram(BANK, "mermaid", mark=(2, 3)) == (
        "sequenceDiagram\n"
        "    participant p1 as client-1\n"
        "    participant p2 as client-2\n"
        "    participant p3 as a\n"
        "    participant p4 as b\n"
        "    Note over p1: 0 begins\n"
        "    Note over p2: 1 begins\n"
        "    rect rgb(255, 224, 178)\n"
        "    p2->>p3: 2 Balance()\n"
        "    end\n"
        "    rect rgb(255, 224, 178)\n"
        "    p1->>p3: 3 Add(amount=-10)\n"
        "    end\n"
        "    p3-->>p2: 4 100\n"
        "    Note over p1,p4: 5 time 5\n"
        "    Note over p4: 6 Tick()\n"
        "    p4->>p4: 7 Again()\n"
        "    p1->>p4: 8 stop\n"
        "    Note over p3: 9 ! crash\n"
        "    Note over p1,p4: 10 settled\n"
    )


def test_a_crowd_becomes_a_list_of_full_paths() -> None:
    crowd = [message(f"client-{number}", "/bank/a", "Add()") for number in range(CROWD)]
    rows = diagram([*BANK, *crowd], mark=(2, 3)).splitlines()
    assert rows[:12] == [
        "   0  client-1  begins",
        "   1  client-2  begins",
        ">  2  client-2 -> /bank/a  Balance()",
        ">  3  client-1 -> /bank/a  Add(amount=-10)",
        "   4  /bank/a .> client-2  100",
        "   5  -- time 5 --",
        "   6  -> /bank/b  Tick()",
        "   7  /bank/b -> /bank/b  Again()",
        "   8  client-1 => /bank/b  stop",
        "   9  /bank/a  ! crash",
        "  10  -- settled --",
        "  11  client-0 -> /bank/a  Add()",
    ]


def test_a_long_run_is_cut_where_nothing_stands_out() -> None:
    """What matters stays: who is who, the race, the end."""
    trace = [message("client-1", "/a", f"Add({number})") for number in range(200)]
    rows = diagram(trace, mark=(70, 90)).splitlines()
    gaps = [row.strip() for row in rows if "cut" in row]
    assert gaps == [
        ":         :      58 rows cut",
        ":         :      15 rows cut",
        ":         :      87 rows cut",
    ]
    shown = [int(row[2:5]) for row in rows if re.match(r"[ >] +\d+  ", row)]
    assert shown == [*range(10), *range(68, 73), *range(88, 93), *range(180, 200)]
    assert [row[2:5] for row in rows if row.startswith(">")] == [" 70", " 90"]


def test_a_long_run_is_cut_in_mermaid_too() -> None:
    trace = [message("client-1", "/a", f"Add({number})") for number in range(900)]
    text = diagram(trace, "mermaid", mark=(400, 410))
    assert text.count(" rows cut") == 3  # before, between and after the two
    assert "Note over" in text


def test_a_row_is_never_cut_for_a_row_that_says_so() -> None:
    trace = [message("client-1", "/a") for _ in range(ROWS + 2)]
    assert "cut" not in diagram(trace[:-1])
    assert diagram(trace).count(" 2 rows cut\n") == 1


def test_wide_columns_leave_room_for_the_count_of_what_is_cut() -> None:
    names = [f"/the-long-name-of-actor-{number}" for number in range(4)]
    trace = [message(name, name) for name in names for _ in range(20)]
    assert diagram(trace).count(" 40 rows cut\n") == 1


def test_a_cut_list_counts_its_rows_too() -> None:
    crowd = [message(f"client-{number}", "/a") for number in range(100)]
    rows = diagram(crowd).splitlines()
    assert rows[ROWS // 2] == "      ... 60 rows cut"
    assert len(rows) == ROWS + 1


def test_a_name_is_the_end_of_a_path_unless_two_share_it() -> None:
    trace = [message("client-1", "/left/a"), message("/right/a", "/left/b")]
    head = diagram(trace).splitlines()[0]
    assert head.split() == ["client-1", "/left/a", "/right/a", "b"]
    root = diagram([message("/", "/a")]).splitlines()[0]
    assert root.split() == ["/", "a"]


def test_a_long_name_is_cut_in_the_middle() -> None:
    """What tells clients apart is at the end: client-10 and client-11."""
    names = [f"the-client-of-the-{number}-th-branch-office-{number}" for number in "12"]
    head = diagram([message(names[0], "/a"), message(names[1], "/a")]).splitlines()[0]
    assert head.split() == ["the-client-…ch-office-1", "a", "the-client-…ch-office-2"]


def test_names_that_would_look_alike_when_cut_are_listed() -> None:
    names = [f"beginning-{number}-of-the-same-very-long-name" for number in range(8)]
    first = diagram([message(name, name) for name in names]).splitlines()[0]
    assert first == f"   0  {names[0]} -> {names[0]}"


def test_a_name_with_strange_characters_stays_in_its_line() -> None:
    """An actor's name may be any text without a slash."""
    odd = message("client-1", "/two\nlines\x1b[31m", "a\x1b[0m\n  b")
    assert diagram([odd]) == (
        "            client-1       two\\nlines\\x1b[31m\n"
        "   0            |------------------>|           a [0m b"
    )
    crowd = [message(f"client-{number}\n", "/a") for number in range(10)]
    assert diagram(crowd).splitlines()[3] == r"   3  client-3\n -> /a"


def test_nothing_happened() -> None:
    assert diagram([]) == ""
    assert diagram([], "mermaid") == (
        "sequenceDiagram\n    participant p1 as program\n"
    )


def test_a_run_in_which_only_time_passes_is_a_list() -> None:
    trace = [tick(), step("settled", "", "test", "all is quiet")]
    assert diagram(trace).splitlines() == [
        "   0  -- time passes --",
        "   1  -- all is quiet --",
    ]
    assert "Note over p1: 0 time passes" in diagram(trace, "mermaid")


def test_a_fault_of_nobody_goes_across() -> None:
    trace = [start("client-1"), step("fault", "", "")]
    assert diagram(trace).splitlines()[-1] == "   1  -- ! fault --"


def test_a_mark_behind_the_end_is_that_of_a_step_that_never_came() -> None:
    assert diagram(BANK, mark=(2, len(BANK))).count("\n>") == 1
    assert diagram(BANK, "mermaid", mark=(2, len(BANK))).count("rect") == 1


def test_an_unknown_style_is_told_the_known_ones() -> None:
    wrong: Any = "html"
    with pytest.raises(ValueError, match="'html': write 'text' or 'mermaid'"):
        diagram(BANK, wrong)


@pytest.mark.parametrize(
    ("label", "safe"),
    [
        ("Say('a; b # c')", "Say('a#59; b #35; c')"),
        ("end", "#101;nd"),
        ("The end", "The #101;nd"),
        ("send", "send"),
        ("<b>&amp;", "#60;b#62;#38;amp#59;"),
        ("%%{init: {}}%%", "#37;#37;#123;init#58; #123;#125;#125;#37;#37;"),
        ('a "b" \\ `c`', "a #34;b#34; #92; #96;c#96;"),
    ],
)
def test_what_mermaid_would_read_is_written_by_its_number(
    label: str, safe: str
) -> None:
    """Its manual: "#35;" for a hash, "#59;" for a semicolon, and beware of "end"."""
    text = diagram([message("client-1", "/a", label)], "mermaid")
    assert text.endswith(f"p1->>p2: 0 {safe}\n")


# --- All others -------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(["/a", "/b/a", "client-1", "client-10", "test", "clock", "/end"]),
    st.text("/ab-é\n\x7f", min_size=1, max_size=60),
)
LABELS = st.one_of(st.just(""), st.text(max_size=150), st.just("Add(amount=1)"))
KINDS: list[Kind] = ["start", "message", "reply", "control", "tick", "settled", "fault"]


@st.composite
def traces(draw: st.DrawFn) -> list[Event]:
    names = draw(st.lists(NAMES, min_size=1, max_size=CROWD + 3, unique=True))
    some = st.builds(
        step,
        st.sampled_from(KINDS),
        st.sampled_from(["", *names]),
        st.sampled_from(names),
        LABELS,
    )
    times = draw(st.sampled_from([1, 1, 3, 20]))
    return [
        attrs.evolve(event)
        for event in draw(st.lists(some, max_size=25))
        for _ in range(times)
    ]


MARKS = st.none() | st.tuples(st.integers(0, 30), st.integers(0, 520))


@settings(max_examples=150)
@given(traces(), MARKS)
def test_every_step_is_shown_or_counted_as_cut_in_rows_of_100_columns(
    trace: list[Event], mark: tuple[int, int] | None
) -> None:
    text = diagram(trace, mark=mark)
    rows = text.split("\n") if text else []
    assert all(len(row) <= WIDTH and row.isprintable() for row in rows)
    if rows and not re.match(r"[ >] +\d+  ", rows[0]):
        del rows[0]  # the names
    shown: list[int] = []
    at = 0
    for row in rows:
        gap = re.fullmatch(r" +[:. ]+ ([\d,]+) rows cut", row)
        if gap and ("..." in row or ":" in row):
            at += int(gap[1].replace(",", ""))
            continue
        head = re.match(r"([ >]) +(\d+)(  |$)", row)
        assert head, row
        assert int(head[2]) == at
        assert (head[1] == ">") == (at in (mark or ()))
        shown.append(at)
        at += 1
    assert at == len(trace)
    assert len(shown) <= ROWS + 3
    assert shown[-1:] == [*range(at)][-1:]
    assert {place for place in mark or () if place < at} <= set(shown)


@settings(max_examples=150)
@given(traces())
def test_an_arrow_goes_from_the_line_of_one_to_the_line_of_the_other(
    trace: list[Event],
) -> None:
    trace = trace[:20]
    if not trace:
        return
    trace.append(start(trace[0].dst))  # its row shows where the lines are
    names: dict[str, None] = {}
    for event in trace:
        if event.kind not in {"tick", "settled"}:
            names.update(dict.fromkeys(one for one in (event.src, event.dst) if one))
    head, *rows = diagram(trace).split("\n")
    if len(names) > CROWD or len(rows) < len(trace):
        return  # a list
    assert len(head.split()) <= len(names) + sum(" " in name for name in names)
    lines = [at for at, sign in enumerate(rows[-1]) if sign in "|o"][: len(names)]
    at = dict(zip(names, lines, strict=True))
    strokes = {"message": "-", "reply": ".", "control": "="}
    for event, row in zip(trace, rows, strict=True):
        if event.kind not in strokes:
            continue
        assert row[at[event.dst]] == "|"
        stroke = strokes[event.kind]
        if not event.src:
            assert row[at[event.dst] - 3 : at[event.dst]] == f"{stroke}{stroke}>"
            continue
        first, last = sorted([at[event.src], at[event.dst]])
        drawn = row[first : last + 1]
        if first == last:
            assert row[first : first + 4] == f"|<{stroke}{stroke}"
        elif first == at[event.src]:
            assert drawn == f"|{stroke * (last - first - 2)}>|"
        else:
            assert drawn == f"|<{stroke * (last - first - 2)}|"
        others = [line for line in lines if not first <= line <= last]
        assert all(row[line] == "|" for line in others)


TEXT = r"([^#;:<>&%{}\\\"`\n]|#\d+;)+"


@settings(max_examples=150)
@given(traces(), MARKS)
def test_mermaid_is_well_formed_and_says_the_same(
    trace: list[Event], mark: tuple[int, int] | None
) -> None:
    text = diagram(trace, "mermaid", mark=mark)
    head, *lines = text.removesuffix("\n").split("\n    ")
    assert head == "sequenceDiagram"
    assert "\n" not in "".join(lines)
    declared = [line for line in lines if line.startswith("participant ")]
    known = {f"p{number}" for number in range(1, len(declared) + 1)}
    at = depth = 0
    for number, line in enumerate(lines, 1):
        if number <= len(declared):
            assert re.fullmatch(rf"participant p{number} as {TEXT}", line)
            continue
        if line in {"rect rgb(255, 224, 178)", "end"}:
            depth += 1 if line != "end" else -1
            assert depth in {0, 1}
            continue
        arrow = re.fullmatch(rf"(p\d+)(-?->>)(p\d+): ({TEXT})", line)
        note = re.fullmatch(rf"Note over (p\d+)(?:,(p\d+))?: ({TEXT})", line)
        found = arrow or note
        assert found
        assert {one for one in found.groups() if one and one in known} <= known
        words = arrow[4] if arrow else found[3]
        assert not re.search(r"\bend\b", words, re.IGNORECASE)
        if gap := re.fullmatch(r"([\d,]+) rows cut", words):
            at += int(gap[1].replace(",", ""))
            continue
        plain = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), words)
        caption = caption_of(trace[at])
        assert plain.startswith(f"{at} {caption[:59]}".rstrip())
        assert bool(depth) == (at in (mark or ()))
        if arrow:
            assert (arrow[2] == "-->>") == (trace[at].kind == "reply")
        at += 1
    assert (at, depth) == (len(trace), 0)


def test_a_list_of_ten_thousand_steps_is_cut_as_well() -> None:
    trace = [message(f"client-{number % 50}", "/a") for number in range(10_000)]
    rows = diagram(trace).splitlines()
    assert len(rows) == ROWS + 1
    assert "9,960 rows cut" in rows[ROWS // 2]
    assert rows[-1] == "  9999  client-49 -> /a"
