"""Random work on two journals of one place and one in memory: the same each time."""

import tempfile
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias, get_args

import trio
from hypothesis import given, settings, strategies as st

from tests.persistence.server import Server, fresh_schema
from trio_actors.persistence import (
    Journal,
    MemoryJournal,
    Note,
    PostgresJournal,
    SQLiteJournal,
)
from trio_actors.persistence._journal import NoteKind

Step: TypeAlias = Sequence[Any]

streams = st.sampled_from(["", "a", "a/b", "\0"])
notes = st.builds(
    Note,
    kind=st.sampled_from(get_args(NoteKind)),
    key=st.sampled_from(["", "k", "\N{GRINNING FACE}"]),
    at=st.sampled_from([0.0, 1.5, 1e300]),
    body=st.none() | st.binary(max_size=3),
)
steps = st.one_of(
    st.tuples(st.just("claim"), streams),
    # Mostly right; now and then of an older epoch, or after another number.
    st.tuples(
        st.just("append"),
        streams,
        st.sampled_from([0, 0, 0, 0, -1]),
        st.sampled_from([0, 0, 0, 0, 1, -1]),
        st.lists(st.binary(max_size=3), max_size=3),
        st.lists(notes, max_size=3),
    ),
    st.tuples(st.just("read"), streams, st.integers(-1, 5)),
    st.tuples(st.just("notes"), streams),
    st.tuples(st.just("pending"), st.sampled_from(["", "a", "b"])),
    st.tuples(st.just("reopen")),
)


class Known:
    """The epochs and the last numbers, so that most appends are right."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.lasts: dict[str, int] = {}


async def do(journal: Journal, known: Known, step: Step) -> Any:
    """Do a step; return what there is to be seen of it."""
    kind, *rest = step
    try:
        if kind == "append":
            stream, epoch, after, events, notes = rest
            epoch += known.epochs.get(stream, 0)
            after += known.lasts.get(stream, 0)
            return await journal.append(stream, epoch, after, events, notes)
        if kind == "read":
            return [event async for event in journal.read(*rest)]
        return await getattr(journal, kind)(*rest)
    except Exception as error:
        return type(error), str(error)


def note_result(known: Known, step: Step, result: Any) -> None:
    kind, stream, *rest = step
    if kind == "claim":
        known.epochs[stream] = result
    elif kind == "append" and result is None:
        *_, events, notes = rest
        size = len(events) + sum(note.kind == "state" for note in notes)
        known.lasts[stream] = known.lasts.get(stream, 0) + size


async def hold(journal: Journal, *, task_status: trio.TaskStatus[Any]) -> None:
    """Keep a journal open, in a task of its own, until the event is set; and anew."""
    async with journal.__open_journal__():
        closing, closed = trio.Event(), trio.Event()
        task_status.started((closing, closed))
        await closing.wait()
    closed.set()


async def run(files: Sequence[Journal], tape: Sequence[tuple[int, Step]]) -> None:
    known, model = Known(), MemoryJournal()
    async with model.__open_journal__(), trio.open_nursery() as nursery:
        held = [await nursery.start(hold, file) for file in files]
        for number, step in tape:
            if step[0] == "reopen":
                closing, closed = held[number]
                closing.set()
                await closed.wait()
                held[number] = await nursery.start(hold, files[number])
                continue
            expected = await do(model, known, step)
            found = await do(files[number], known, step)
            if step[0] == "pending":  # one in memory knows streams that were only read
                expected.sort(key=itemgetter(0))
                found.sort(key=itemgetter(0))
            assert found == expected
            note_result(known, step, expected)
        for closing, _ in held:
            closing.set()


tapes = st.lists(st.tuples(st.sampled_from([0, 1]), steps), max_size=30)


@settings(max_examples=60)
@given(tapes)
def test_a_file_does_what_the_one_in_memory_does(
    tape: Sequence[tuple[int, Step]],
) -> None:
    """Two have the file open: what one remembers, the other may have changed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        trio.run(run, [SQLiteJournal(path), SQLiteJournal(path)], tape)


@settings(max_examples=60)
@given(tapes)
def test_a_database_does_what_the_one_in_memory_does(
    server: Server, tape: Sequence[tuple[int, Step]]
) -> None:
    conninfo = fresh_schema(server)
    trio.run(run, [PostgresJournal(conninfo), PostgresJournal(conninfo)], tape)
