"""The journal in PostgreSQL does what every journal does, and more of its own."""

import re
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pytest
import trio
from psycopg.conninfo import conninfo_to_dict

from tests.persistence.conformance import TESTS, Test, events
from tests.persistence.server import Server
from trio_actors.persistence import (
    Damaged,
    Fenced,
    Note,
    PostgresJournal,
    WriteFailed,
    _postgres,
    _postgres_rows as rows_of_postgres,
)

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
async def test_as_every_journal(test: Test, conninfo: str) -> None:
    await test(lambda: PostgresJournal(conninfo))


@pytest.fixture
def aside(conninfo: str) -> Iterator[Connection]:
    """A connection beside the journal's, to look at the tables and to damage them."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        yield connection


# --- Opening ---


async def test_many_open_it_at_once_for_the_first_time(
    conninfo: str, aside: Connection
) -> None:
    """The tables are made once, whoever comes first."""

    async def use(number: int) -> None:
        journal = PostgresJournal(conninfo)
        async with journal.__open_journal__():
            await journal.claim(f"s{number}")

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(use, number)
    assert aside.execute("select version from trio_actors_meta").fetchall() == [(1,)]
    assert aside.execute("select count(*) from trio_actors_stream").fetchall() == [(8,)]


async def test_its_tables_are_all_in_the_schema_of_the_search_path(
    conninfo: str, aside: Connection
) -> None:
    async with PostgresJournal(conninfo).__open_journal__():
        pass
    found = aside.execute(
        "select tablename from pg_tables where schemaname = current_schema"
        " order by tablename"
    )
    assert [name for (name,) in found] == [
        f"trio_actors_{name}" for name in ("event", "meta", "note", "stream")
    ]


def guest_of(conninfo: str, aside: Connection) -> tuple[str, str]:
    """Make a user who may use the tables there are, and make none.

    Returns:
        The schema, which is the name of the user, too; and how to connect as that user.
    """
    (schema,) = aside.execute("select current_schema").fetchall()[0]
    for command in (
        "create role {} login",
        "grant usage on schema {0} to {0}",
        "grant all on all tables in schema {0} to {0}",
    ):
        aside.execute(command.format(schema).encode())
    return schema, conninfo.replace("user=tester", f"user={schema}")


async def test_who_may_not_make_tables_may_use_those_that_are_there(
    conninfo: str, aside: Connection
) -> None:
    async with PostgresJournal(conninfo).__open_journal__():
        pass
    schema, place = guest_of(conninfo, aside)
    journal = PostgresJournal(place)
    async with journal.__open_journal__():
        assert await journal.claim("s") == 1
    # And where there are none, it is said what is not allowed.
    nowhere = place.replace(f"search_path={schema}", "search_path=public")
    with pytest.raises(OSError, match=r"schema public\. Grant this user usage"):
        await opened(nowhere)


async def opened(conninfo: str) -> None:
    async with PostgresJournal(conninfo).__open_journal__():
        pass


@pytest.mark.parametrize("first", [True, False])
async def test_a_database_that_is_only_read_is_refused_when_it_is_opened(
    first: bool, conninfo: str
) -> None:
    if not first:
        await opened(conninfo)
    only_read = conninfo.replace(
        "options='", "options='-c default_transaction_read_only=on "
    )
    with pytest.raises(
        OSError, match=r"read-only transaction\. Connect to a server that may"
    ):
        await opened(only_read)


async def test_without_a_schema_it_is_said_how_to_name_one(conninfo: str) -> None:
    nowhere = re.sub("search_path=[a-z_0-9]+", "search_path=nowhere", conninfo)
    with pytest.raises(
        OSError,
        match=r"create in\. Make the schema, or name another: .*search_path=\.\.\.",
    ):
        await opened(nowhere)


async def test_rights_that_are_taken_away_fail_the_write_with_advice(
    conninfo: str, aside: Connection
) -> None:
    await opened(conninfo)
    schema, place = guest_of(conninfo, aside)
    journal = PostgresJournal(place)
    async with journal.__open_journal__():
        aside.execute(f"revoke all on trio_actors_stream from {schema}".encode())
        with pytest.raises(WriteFailed, match="on the tables trio_actors_") as caught:
            await journal.claim("s")
        assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(OSError, match="permission denied for table trio_actors_stream"):
        await opened(place)


async def test_tables_of_another_version_are_left_alone(
    conninfo: str, aside: Connection
) -> None:
    async with PostgresJournal(conninfo).__open_journal__():
        pass
    aside.execute("update trio_actors_meta set version = 2")
    with pytest.raises(RuntimeError, match="are of version 2, and this library knows"):
        async with PostgresJournal(conninfo).__open_journal__():
            pass


async def test_a_server_that_is_away_is_said_at_once(conninfo: str) -> None:
    away = conninfo.replace("host=", "host=/nowhere")
    with pytest.raises(ConnectionError, match=r"cannot be reached.*/nowhere"):
        async with PostgresJournal(f"{away} password=secret").__open_journal__():
            pass
    with pytest.raises(ConnectionError) as caught:
        async with PostgresJournal(f"{away} password=secret").__open_journal__():
            pass
    assert "secret" not in str(caught.value)


def test_what_is_no_conninfo_is_refused_when_the_journal_is_made() -> None:
    with pytest.raises(psycopg.ProgrammingError, match='missing "="'):
        PostgresJournal("here")


def test_without_psycopg_it_is_said_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'trio_actors\[postgres\]'"):
        PostgresJournal("")


def test_psycopg_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, trio_actors.persistence; print('psycopg' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


async def test_a_database_that_is_fast_and_forgetful_is_made_durable(
    server: Server, conninfo: str, aside: Connection
) -> None:
    """With synchronous_commit = off a commit is acknowledged before it is written."""

    def mode(journal: PostgresJournal) -> object:
        connection: Connection = vars(journal._store)["_connection"]
        return connection.execute("show synchronous_commit").fetchall()

    journal = PostgresJournal(conninfo)
    try:
        for set_to, found in (("off", "on"), ("remote_apply", "remote_apply")):
            aside.execute(
                f"alter database postgres set synchronous_commit = {set_to}".encode()
            )
            async with journal.__open_journal__():
                assert mode(journal) == [(found,)]
    finally:
        aside.execute("alter database postgres reset synchronous_commit")


async def test_a_server_without_fsync_is_warned_about(
    conninfo: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the server that says so: here something else answers in its place."""
    async with PostgresJournal(conninfo).__open_journal__():
        assert not caplog.records
    session = rows_of_postgres.SESSION.replace("current_setting('fsync')", "'off'")
    monkeypatch.setattr(_postgres, "SESSION", session)
    async with PostgresJournal(conninfo).__open_journal__():
        assert "fsync = off" in caplog.text


async def test_a_session_that_cannot_be_set_up_is_closed(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres, "SESSION", "select nothing_of_the_kind(%s, %s)")
    with pytest.raises(psycopg.errors.UndefinedFunction):
        async with PostgresJournal(conninfo).__open_journal__():
            pass


# --- A connection that is lost ---


@contextmanager
def ended(aside: Connection) -> Generator[None]:
    """End the sessions of all journals."""
    aside.execute(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
        " where application_name = 'trio_actors'"
    )
    yield


async def test_a_session_that_ended_between_two_calls_does_no_harm(
    conninfo: str, aside: Connection
) -> None:
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"a"])
        for seq in (1, 2):
            with ended(aside):
                await journal.append("s", epoch, seq, [b"b"])
        with ended(aside):
            assert await events(journal, "s") == [b"a", b"b", b"b"]


async def test_while_the_server_is_away_every_call_says_so_and_then_it_goes_on(
    server: Server, conninfo: str
) -> None:
    """One attempt for each call, no loop; what was not stored is not there."""
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"a"])
        server.kill()
        with pytest.raises(WriteFailed, match=r"1 events .* after 1 .* be reached"):
            await journal.append("s", epoch, 1, [b"x"])
        with pytest.raises(WriteFailed, match="whether the claim is stored"):
            await journal.claim("s")
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await events(journal, "s")
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await journal.notes("s")
        with pytest.raises(ConnectionError, match="cannot be reached"):
            await journal.pending("")
        server.start()
        assert await events(journal, "s") == [b"a"]
        await journal.append("s", epoch, 1, [b"b"])
        assert await events(journal, "s") == [b"a", b"b"]


async def test_a_session_that_ends_amid_a_write_leaves_the_outcome_open(
    conninfo: str, aside: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor reads again; the journal does not try it a second time by itself."""
    journal = PostgresJournal(conninfo)
    at_once = rows_of_postgres.all_at_once

    def end_first(changes: Any) -> Any:
        monkeypatch.undo()
        with ended(aside):
            return at_once(changes)

    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        for seq in (0, 1):
            monkeypatch.setattr(_postgres, "all_at_once", end_first)
            with pytest.raises(WriteFailed, match="it is not known whether"):
                await journal.append("s", epoch, seq, [b"x"])
            await journal.append("s", epoch, seq, [b"a"])
        assert await events(journal, "s") == [b"a", b"a"]


async def test_what_the_database_refuses_fails_the_write_and_not_the_next(
    conninfo: str, aside: Connection
) -> None:
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        aside.execute("alter table trio_actors_event add check (body <> 'x')")
        for after in (0, 1):
            with pytest.raises(WriteFailed, match="violates check constraint"):
                await journal.append("s", epoch, after, [b"x"])
            await journal.append("s", epoch, after, [b"a"])
        assert await events(journal, "s") == [b"a", b"a"]
        aside.execute("drop table trio_actors_note")
        with pytest.raises(psycopg.errors.UndefinedTable):
            await journal.notes("s")


# --- Others at the same streams ---


async def test_two_journals_take_a_stream_from_each_other(conninfo: str) -> None:
    """What one remembers of a stream is worth nothing when the other has it."""
    one, two = PostgresJournal(conninfo), PostgresJournal(conninfo)
    async with one.__open_journal__(), two.__open_journal__():
        last = 0
        for old, new in ((one, two), (two, one)) * 2:
            before = await old.claim("s")
            for _ in range(2):
                await old.append("s", before, last, [b"."])
                last += 1
            after = await new.claim("s")
            await new.append("s", after, last, [b"."])
            last += 1
            for seq in (last, last - 1):
                with pytest.raises(Fenced):
                    await old.append("s", before, seq, [b"x"])
        assert await events(one, "s") == [b"."] * last


async def test_one_of_a_batch_is_fenced_and_the_others_are_stored(
    conninfo: str,
) -> None:
    one, two = PostgresJournal(conninfo), PostgresJournal(conninfo)
    fenced: list[str] = []

    async def write(stream: str) -> None:
        try:
            await one.append(stream, 1, 1, [b"b"])
        except Fenced:
            fenced.append(stream)

    streams = [f"s{number}" for number in range(10)]
    async with one.__open_journal__(), two.__open_journal__():
        for stream in streams:
            await one.claim(stream)
            await one.append(stream, 1, 0, [b"a"])
        await two.claim("s3")
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(write, stream)
        assert fenced == ["s3"]
        for stream in streams:
            stored = [b"a"] if stream == "s3" else [b"a", b"b"]
            assert await events(two, stream) == stored


async def test_two_journals_with_the_same_streams_never_wait_in_a_circle(
    conninfo: str,
) -> None:
    """Rows are locked in one order, whatever the order of the calls."""
    names = [f"s{number}" for number in range(20)]
    failed: list[WriteFailed] = []

    async def write(journal: PostgresJournal, stream: str) -> None:
        last = 0
        for _ in range(20):
            try:
                await journal.append(stream, 1, last, [b"."])
            except WriteFailed as error:
                failed.append(error)
                last = len(await events(journal, stream))
            else:
                last += 1

    one, two = PostgresJournal(conninfo), PostgresJournal(conninfo)
    async with one.__open_journal__(), two.__open_journal__():
        for name in names:
            await one.claim(name)
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(write, one, name)
            for name in reversed(names):
                nursery.start_soon(write, two, name)
    assert failed
    assert {error.__cause__ for error in failed} == {None}


async def test_who_is_frozen_amid_a_write_keeps_a_stream_only_for_a_while(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is fenced. Its locks are those of a session that is idle in between."""
    monkeypatch.setattr(_postgres, "HELD_MS", 50)
    one, two = PostgresJournal(conninfo), PostgresJournal(conninfo)
    thawed, frozen = threading.Event(), threading.Event()
    stream_for = _postgres._stream_for

    def freeze(*args: Any) -> Any:
        monkeypatch.undo()
        frozen.set()
        assert thawed.wait(60)
        return stream_for(*args)

    async def write() -> None:
        with pytest.raises(WriteFailed, match="idle-in-transaction"):
            await one.append("s", epoch, 5, [b"x"])

    async with one.__open_journal__(), two.__open_journal__():
        epoch = await one.claim("s")
        monkeypatch.setattr(_postgres, "_stream_for", freeze)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.to_thread.run_sync(frozen.wait)
            await two.append("s", await two.claim("s"), 0, [b"a"])
            thawed.set()
        with pytest.raises(Fenced):
            await one.append("s", epoch, 1, [b"x"])
        assert await events(one, "s") == [b"a"]


async def test_who_waits_too_long_for_another_gives_up(
    conninfo: str, aside: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres, "WAITED_MS", 50)
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"a"])
        with aside.transaction():
            aside.execute("select from trio_actors_stream for update")
            for _ in range(2):
                with pytest.raises(WriteFailed, match="lock timeout"):
                    await journal.append("s", epoch, 1, [b"x"])
        await journal.append("s", epoch, 1, [b"b"])
        assert await events(journal, "s") == [b"a", b"b"]


# --- Large ones, and many ---


async def test_much_is_sent_and_read_in_portions(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_of_postgres, "SENT", 100)
    monkeypatch.setattr(_postgres, "BYTES", 200)
    monkeypatch.setattr(_postgres, "ROWS", 7)
    journal = PostgresJournal(conninfo)
    bodies = [b"%d" % number * (number % 60) for number in range(100)]
    notes = [Note("outcome", f"{key}", 0.0, body) for key, body in enumerate(bodies)]
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        for last in (0, 100):
            await journal.append("s", epoch, last, bodies, notes)
        assert await events(journal, "s") == bodies * 2
        assert await events(journal, "s", 50) == bodies[50:] + bodies
        assert await journal.notes("s") == notes


async def test_only_so_many_streams_are_remembered(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres, "KNOWN", 3)
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        for number in range(10):
            await journal.claim(f"s{number}")
            assert len(vars(journal._store)["_known"]) <= 4
        for number in range(10):
            await journal.append(f"s{number}", 1, 0, [b"a"])
            assert await events(journal, f"s{number}") == [b"a"]


async def test_long_names_that_cannot_be_made_shorter_are_kept_apart(
    conninfo: str,
) -> None:
    """An index cannot have them: they are found by their digests."""
    long = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(5000))
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        for name in (long, long + "x"):
            note = Note("outbox", name, 0.0, b"n")
            await journal.append(name, await journal.claim(name), 0, [b"e"], [note])
        assert await journal.pending(long + "x") == [(long + "x", note)]
        assert len(await journal.pending(long)) == 2


# --- Damage ---

CHANGES: list[tuple[LiteralString, str]] = [
    ("update trio_actors_event set body = 'x' where seq = 2", "event, row s, event 2"),
    ("update trio_actors_event set epoch = 2 where seq = 2", "event, row s, event 2"),
    ("update trio_actors_event set chain = 2 where seq = 2", "event, row s, event 2"),
    ("update trio_actors_event set seq = 4 where seq = 3", "event, row s, event 4"),
    ("delete from trio_actors_event where seq = 2", "event, row s, event 3"),
    ("delete from trio_actors_event where seq = 3", "event, row s, event 2"),
    ("delete from trio_actors_event", "event, row s, event 0"),
    ("insert into trio_actors_event values (ID, 4, 1, 'x', 0)", "row s, event 4"),
    ("update trio_actors_stream set epoch = 2", "stream, row s"),
    ("update trio_actors_stream set last = 2", "stream, row s"),
    ("update trio_actors_stream set chain = 2", "stream, row s"),
    ("update trio_actors_stream set seal = 2", "stream, row s"),
    ("update trio_actors_stream set id = 2", "stream, row s: it is missing"),
    ("delete from trio_actors_stream", "stream, row s: it is missing"),
]


@pytest.mark.parametrize(("change", "where"), CHANGES)
async def test_what_somebody_changed_is_named_and_stays_where_it_is(
    conninfo: str, aside: Connection, change: LiteralString, where: str
) -> None:
    """Never a wrong value, never a gap; nothing is set aside in a database."""
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"a", b"b", b"c"])
        number = str(rows_of_postgres.id_of("s"))
        aside.execute(change.replace("ID", number).encode())
        with pytest.raises(Damaged, match=f"{where}.*Nothing was set aside"):
            await events(journal, "s")
        # Another stream is as it was.
        await journal.append("t", await journal.claim("t"), 0, [b"a"])
        assert await events(journal, "t") == [b"a"]


@pytest.mark.parametrize("change", [change for change, _ in CHANGES[8:]])
async def test_a_stream_whose_row_is_damaged_has_no_writer_any_more(
    conninfo: str, aside: Connection, change: LiteralString
) -> None:
    """Its neighbour in the same batch is stored."""
    journal = PostgresJournal(conninfo)

    async def claim() -> None:
        with pytest.raises(Damaged, match="trio_actors_stream, row s"):
            await journal.claim("s")

    async def write() -> None:
        with pytest.raises((Damaged, WriteFailed)):
            await journal.append("s", epoch, 2, [b"x"])

    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [b"a", b"b", b"c"])
        aside.execute(change.encode())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim)
            nursery.start_soon(write)
            assert await journal.claim("t") == 1
        counted = aside.execute("select count(*) from trio_actors_event").fetchall()
        assert counted == [(3,)]


@pytest.mark.parametrize(
    "change",
    [
        "set body = 'x'",
        "set at = 2",
        "set key = 'x'",
        "set key = '\\xff'",
        "set kind = 'reminder'",
        "set seal = 2",
    ],
)
async def test_a_note_that_somebody_changed_is_named(
    conninfo: str, aside: Connection, change: LiteralString
) -> None:
    journal = PostgresJournal(conninfo)
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [], [Note("outbox", "k", 1.0, b"n")])
        aside.execute(("update trio_actors_note " + change).encode())
        with pytest.raises(Damaged, match="table trio_actors_note, row s, "):
            await journal.notes("s")
        with pytest.raises(Damaged, match="table trio_actors_note, row s, "):
            await journal.pending("")


async def test_a_snapshot_that_cannot_be_read_is_left_out_with_a_warning(
    conninfo: str, aside: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """There are the events to read instead."""
    journal = PostgresJournal(conninfo)
    kept = [Note("snapshot", "1", 0.0, b"s"), Note("outcome", "k", 1.0, b"n")]
    async with journal.__open_journal__():
        epoch = await journal.claim("s")
        await journal.append("s", epoch, 0, [], [*kept, Note("snapshot", "2", 0, b"t")])
        aside.execute("update trio_actors_note set body = 'x' where key = '2'")
        assert await journal.notes("s") == kept
    assert "row s, snapshot '2'" in caplog.text


def test_a_conninfo_may_say_how_long_to_wait_for_a_connection() -> None:
    def options(conninfo: str) -> dict[str, Any]:
        return conninfo_to_dict(_postgres._Tables(conninfo)._conninfo)

    assert options("host=h")["connect_timeout"] == "10"
    assert options("host=h connect_timeout=3")["connect_timeout"] == "3"
    assert options("postgresql://u@h/d?connect_timeout=3")["connect_timeout"] == "3"
