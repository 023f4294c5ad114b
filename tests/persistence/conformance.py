"""What every journal does: `Journal`'s own text, as tests that take a journal.

Each is an async function of a factory, which gives a journal of the same place each
time; `test_memory`, `test_sqlite` and the others run all of `TESTS`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast, get_args

import pytest
import trio

from trio_actors.persistence import Fenced, Journal, Note, WriteFailed
from trio_actors.persistence._journal import NoteKind

Make: TypeAlias = Callable[[], Journal]
Test: TypeAlias = Callable[[Make], Awaitable[None]]

TESTS: list[Test] = []
ODD_NAMES = (
    *("", "\0", "a\0b", "a", "A", "é", "e\u0301", "\N{GRINNING FACE}", "'\"`;--", "%_"),
    *("\\", "\n", " ", "x" * 10_000, "x" * 9_999 + "y", "bank/account/42", ":", "1:2:"),
)


def conformance(test: Test) -> Test:
    """Add a test to what every journal does."""
    TESTS.append(test)
    return test


async def events(journal: Journal, stream: str, after: int = 0) -> list[bytes]:
    """Return the events of a stream, which are numbered without a gap."""
    found = [event async for event in journal.read(stream, after)]
    assert [seq for seq, _ in found] == [*range(after + 1, after + 1 + len(found))]
    return [body for _, body in found]


@conformance
async def test_what_is_appended_is_read(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        assert await events(journal, "s") == []
        epoch = await journal.claim("s")
        assert epoch == 1
        await journal.append("s", epoch, 0, [b"a", b""])
        await journal.append("s", epoch, 2, [b"c"])
        assert await events(journal, "s") == [b"a", b"", b"c"]
        assert await events(journal, "s", 1) == [b"", b"c"]
        assert await events(journal, "s", 3) == []
        assert await events(journal, "s", 7) == []
        assert await events(journal, "t") == []


@conformance
async def test_it_is_there_when_it_is_opened_again(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"a"], [Note("outbox", "k", 1.5, b"n")])
    for other in (journal, make()):
        async with other.__open_journal__():
            assert await events(other, "s") == [b"a"]
            assert await other.notes("s") == [Note("outbox", "k", 1.5, b"n")]
    async with journal.__open_journal__():
        assert await journal.claim("s") == 2
        await journal.append("s", 2, 1, [b"b"])
        assert await events(journal, "s") == [b"a", b"b"]


@conformance
async def test_a_writer_that_was_replaced_is_fenced(make: Make) -> None:
    """S3-4: in the same transaction; nothing of it is stored."""
    journal = make()
    async with journal.__open_journal__():
        old = await journal.claim("s")
        await journal.append("s", old, 0, [b"a"])
        new = await journal.claim("s")
        assert new == old + 1
        with pytest.raises(Fenced, match=f"epoch {old} was replaced by {new}"):
            await journal.append("s", old, 1, [b"x"], [Note("outbox", "x", 0, b"x")])
        await journal.append("s", new, 1, [b"b"])
        assert await events(journal, "s") == [b"a", b"b"]
        assert await journal.notes("s") == []


@conformance
async def test_who_has_not_read_what_there_is_is_refused(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"a"])
        for after in (0, 2):
            with pytest.raises(
                WriteFailed, match=f"last event is 1, not {after}"
            ) as it:
                await journal.append("s", epoch, after, [b"x"])
            assert type(it.value) is WriteFailed
        assert await events(journal, "s") == [b"a"]


@conformance
async def test_a_stream_that_nobody_claimed_has_no_writer(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        with pytest.raises(Fenced):
            await journal.append("s", 1, 0, [b"a"])
        assert await events(journal, "s") == []
        assert await journal.claim("s") == 1


@conformance
async def test_streams_have_nothing_to_do_with_each_other(make: Make) -> None:
    """Odd characters, an empty name, a very long one: a name is just a name."""
    journal = make()
    async with journal.__open_journal__():
        for name in ODD_NAMES:
            epoch = await journal.claim(name)
            assert epoch == 1
            note = Note("reminder", name, 1.0, name.encode())
            await journal.append(name, epoch, 0, [name.encode()], [note])
    async with journal.__open_journal__():
        for name in ODD_NAMES:
            assert await events(journal, name) == [name.encode()]
            assert await journal.notes(name) == [
                Note("reminder", name, 1.0, name.encode())
            ]
        due = await journal.pending("")
        assert [(name, note.key) for name, note in due] == [
            (name, name) for name in ODD_NAMES
        ]


@conformance
async def test_notes_are_replaced_taken_away_and_kept_in_their_order(
    make: Make,
) -> None:
    """In the order in which they were first stored."""
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        a, b = Note("outcome", "a", 1.0, b"1"), Note("outbox", "b", 0.0, b"2")
        c = Note("outbox", "c", 0.0, b"")
        await journal.append("s", epoch, 0, [], [a, b])
        await journal.append("s", epoch, 0, [], [c])
        assert await journal.notes("s") == [a, b, c]
        again = Note("outcome", "a", 2.0, b"other")
        await journal.append("s", epoch, 0, [], [again])
        assert await journal.notes("s") == [again, b, c]
        await journal.append("s", epoch, 0, [], [Note("outbox", "b")])
        assert await journal.notes("s") == [again, c]
        await journal.append("s", epoch, 0, [], [b, Note("outbox", "c"), c])
        assert await journal.notes("s") == [again, b, c]
        await journal.append("s", epoch, 0, [], [Note("outbox", "was never there")])
        assert await journal.notes("s") == [again, b, c]


@conformance
async def test_notes_of_one_key_and_other_kinds_are_others(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        notes = [Note(kind, "k", 0.0, kind.encode()) for kind in get_args(NoteKind)]
        await journal.append("s", epoch, 0, [], notes)
        assert await journal.notes("s") == notes
        await journal.append("s", epoch, 1, [], [Note("outbox", "k")])
        assert await journal.notes("s") == [
            note for note in notes if note.kind != "outbox"
        ]


@conformance
async def test_a_state_moves_the_sequence_on(make: Make) -> None:
    """A note of the kind "state" counts as an event."""
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        for revision in range(5):
            state = Note("state", "", 0.0, b"%d" % revision)
            await journal.append("s", epoch, revision, [], [state])
            assert await journal.notes("s") == [state]
        with pytest.raises(WriteFailed, match="last event is 5, not 4"):
            await journal.append("s", epoch, 4, [], [Note("state", "", 0.0, b"x")])
        assert await events(journal, "s") == []


@conformance
async def test_events_and_states_may_be_in_one_stream(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"1"], [Note("state", "", 0.0, b"2")])
        await journal.append("s", epoch, 2, [b"3"])
        await journal.append("s", epoch, 3, [], [Note("state", "", 0.0, b"4")])
        for after, expected in ((0, [1, 3]), (1, [3]), (2, [3]), (3, []), (4, [])):
            found = [event async for event in journal.read("s", after)]
            assert found == [(seq, b"%d" % seq) for seq in expected]


@conformance
async def test_pending_are_those_to_be_delivered_and_those_due(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        for name in ("a/1", "a/2", "b/1"):
            epoch = await journal.claim(name)
            notes = [
                Note("snapshot", "1", 0.0, b"."),
                Note("outbox", "o", 0.0, b"."),
                Note("outcome", "c", 1.0, b"."),
                Note("reminder", "r", 2.0, b"."),
            ]
            await journal.append(name, epoch, 0, [b"e"], notes)
        found = await journal.pending("a/")
        assert [(name, note.kind) for name, note in found] == [
            *(("a/1", "outbox"), ("a/1", "reminder")),
            *(("a/2", "outbox"), ("a/2", "reminder")),
        ]
        gone = [Note("outbox", "o"), Note("reminder", "r")]
        await journal.append("a/1", 1, 1, [], gone)
        assert {name for name, _ in await journal.pending("")} == {"a/2", "b/1"}
        assert await journal.pending("c") == []


@conformance
async def test_many_write_at_once(make: Make) -> None:
    """Each stream gets its own, in order, and nothing else."""
    journal = make()

    async def write(name: str) -> None:
        epoch = await journal.claim(name)
        for number in range(10):
            note = Note("outcome", f"{number % 3}", 0.0, b"%d" % number)
            await journal.append(name, epoch, number, [b"%d" % number], [note])

    async with journal.__open_journal__():
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(write, f"s{number}")
        for number in range(30):
            assert await events(journal, f"s{number}") == [
                b"%d" % number for number in range(10)
            ]
            assert [note.body for note in await journal.notes(f"s{number}")] == [
                *(b"9", b"7", b"8")
            ]


@conformance
async def test_many_write_to_one_stream_and_one_of_them_is_first(make: Make) -> None:
    """In whichever way they come into batches."""
    journal = make()
    stored: list[bytes] = []

    async def write(epoch: int, event: bytes) -> None:
        try:
            await journal.append("s", epoch, 0, [event])
        except WriteFailed:
            return
        stored.append(event)

    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(write, epoch, b"%d" % number)
        assert len(stored) == 1
        assert await events(journal, "s") == stored


@conformance
async def test_claims_at_once_give_epochs_of_their_own(make: Make) -> None:
    journal = make()
    epochs: list[int] = []

    async def claim() -> None:
        epochs.append(await journal.claim("s"))

    async with journal.__open_journal__(), trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(claim)
    assert sorted(epochs) == [*range(1, 21)]


@conformance
async def test_large_events_are_kept(make: Make) -> None:
    """Two megabytes each, and more of them than fit on a page."""
    journal = make()
    large = [bytes([number]) * 2_000_000 for number in range(5)]
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, large)
        await journal.append("s", epoch, 5, [], [Note("snapshot", "", 0.0, large[1])])
    async with journal.__open_journal__():
        assert await events(journal, "s") == large
        assert await journal.notes("s") == [Note("snapshot", "", 0.0, large[1])]


@conformance
async def test_thousands_of_events_are_read_in_order(make: Make) -> None:
    journal = make()
    bodies = [b"%d" % number for number in range(2500)]
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, bodies)
        assert await events(journal, "s") == bodies
        assert await events(journal, "s", 1500) == bodies[1500:]


@conformance
async def test_what_comes_while_one_reads_is_not_read(make: Make) -> None:
    """So that a reader who appends for each event comes to an end."""
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"."] * 1200)
        read = 0
        async for seq, _ in journal.read("s", 0):
            read += 1
            if seq % 100 == 0:
                await journal.append("s", epoch, 1100 + seq, [b"more"] * 100)
        assert read == 1200


@conformance
async def test_an_append_is_cancelled_or_stored(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.append("s", epoch, 0, [b"never"])
        assert scope.cancelled_caught
        await journal.append("s", epoch, 0, [b"a"])
        assert await events(journal, "s") == [b"a"]


@conformance
async def test_it_refuses_everything_while_it_is_not_open(make: Make) -> None:
    journal = make()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="is not open"):
            await journal.claim("s")
        with pytest.raises(RuntimeError, match="is not open"):
            await journal.append("s", 1, 0, [b"a"])
        with pytest.raises(RuntimeError, match="is not open"):
            await events(journal, "s")
        with pytest.raises(RuntimeError, match="is not open"):
            await journal.notes("s")
        with pytest.raises(RuntimeError, match="is not open"):
            await journal.pending("")
        async with journal.__open_journal__():
            await journal.claim("s")


@conformance
async def test_every_method_is_a_checkpoint(make: Make) -> None:
    journal = make()
    async with journal.__open_journal__():
        with trio.testing.assert_checkpoints():
            epoch = await journal.claim("s")
        with trio.testing.assert_checkpoints():
            await journal.append("s", epoch, 0, [b"a"])
        with trio.testing.assert_checkpoints():
            await events(journal, "s")
        with trio.testing.assert_checkpoints():
            await journal.notes("s")
        with trio.testing.assert_checkpoints():
            await journal.pending("")


@conformance
async def test_what_no_store_can_keep_is_refused_and_nothing_of_it_is_stored(
    make: Make,
) -> None:
    journal = make()
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        wrong: list[tuple[Any, str]] = [
            (Note("outbox", "\ud800", 0, b""), "half a surrogate pair"),
            (Note(cast("Any", "other"), "k"), "no kind of note"),
            (Note("reminder", "k", float("nan"), b""), "a time cannot be nan"),
        ]
        for note, says in wrong:
            with pytest.raises(ValueError, match=says):
                await journal.append("s", epoch, 0, [b"event"], [note])
        for refused in (journal.claim, journal.notes, journal.pending):
            with pytest.raises(ValueError, match="half a surrogate pair"):
                await refused("\ud800")
        await journal.append("s", epoch, 0, [b"event"], [Note("reminder", "k", 5, b"")])
        assert await events(journal, "s") == [b"event"]
        assert [repr(one.at) for one in await journal.notes("s")] == ["5.0"]
