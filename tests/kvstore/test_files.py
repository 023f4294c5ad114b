"""The file of the store, and every kind of damage to it (S3-5)."""

import errno
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from examples.kvstore import files
from examples.kvstore.files import (
    Damaged,
    NotStored,
    Uncertain,
    Unusable,
    decode,
    encode,
    lock,
    read,
    write,
)

DATA = {"hello": "world", "k\n1": "sha256 0", "ü": "\ud800"}
NOBODY = 65534

# --- What it looks like -------------------------------------------------------


def test_it_is_a_line_of_json_and_its_checksum() -> None:
    first, second, end = encode({"hello": "world"}).split(b"\n")
    assert json.loads(first) == {"hello": "world"}
    assert second.startswith(b"sha256 ")
    assert end == b""


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters())))
def test_what_is_written_is_read_whatever_the_texts_are(data: dict[str, str]) -> None:
    assert decode(encode(data)) == (data, True)


@given(st.dictionaries(st.text(), st.text()), st.sampled_from([None, 2]))
def test_the_plain_file_of_the_book_is_read_too(
    data: dict[str, str], indent: int | None
) -> None:
    """S3-5: without a checksum, compact or with line breaks."""
    assert decode(json.dumps(data, indent=indent).encode()) == (data, False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"[]",
        b"null",
        b'"hello"',
        b'{"hello": 1}',
        b'{"hello": null}',
        b'{"hello": "world"',
        b'{"hello": "world"} {}',
        b'{"hello": "\xff"}',
        b"[" * 100_000,
        b"\0" * 4096,
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_what_no_version_has_written_is_damaged(content: bytes) -> None:
    with pytest.raises(Damaged):
        decode(content)


def test_a_checksum_is_not_believed_for_what_is_no_map() -> None:
    with pytest.raises(Damaged, match="no JSON object"):
        decode(b"[]" + files.MARK + files.checksum(b"[]"))


# --- Every truncation, every bit ----------------------------------------------


def or_damaged(content: bytes) -> tuple[Mapping[str, str], bool] | None:
    """Return what is read, None if it is seen to be damaged."""
    try:
        return decode(content)
    except Damaged:
        return None


def test_a_file_that_is_cut_anywhere_gives_no_wrong_value() -> None:
    """Where all the JSON is there, and nothing else, it is as the book's plain file."""
    content = encode(DATA)
    whole = content.index(files.MARK)
    for length in range(len(content)):
        expected = (DATA, False) if length in {whole, whole + 1} else None
        assert or_damaged(content[:length]) == expected


def test_a_flipped_bit_anywhere_is_seen() -> None:
    content = encode(DATA)
    for at in range(len(content)):
        for bit in range(8):
            flipped = bytearray(content)
            flipped[at] ^= 1 << bit
            assert or_damaged(bytes(flipped)) is None


def test_a_byte_too_many_or_another_one_is_seen() -> None:
    content = encode(DATA)
    for at in range(len(content)):
        assert or_damaged(content[:at] + b"\0" + content[at:]) is None
        assert or_damaged(content[:at] + content[at + 1 :]) is None
    assert or_damaged(content + b"\0") is None
    assert or_damaged(content + content) is None


def test_all_that_is_damaged_is_kept_under_a_name_of_its_own(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = encode({"hello": "world"})
    kept = [whole[:length] for length in range(0, 80, 4)]
    for content in kept:
        path.write_bytes(content)
        assert read(path) == {}
        assert not path.exists()
    names = [f"store.json.damaged-{number + 1}" for number in range(len(kept))]
    assert [path.with_name(name).read_bytes() for name in names] == kept
    assert caplog.text.count("is damaged") == len(kept)


# --- Reading ------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.json"


def test_a_missing_file_is_an_empty_map_and_a_message(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S3-5: never a failing start."""
    assert read(path) == {}
    assert caplog.messages == [f"there is no {path} yet: starting empty"]
    assert not path.exists()


def test_the_plain_file_is_accepted_once_with_a_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text('{"hello": "world"}')
    assert read(path) == {"hello": "world"}
    assert caplog.messages == [f"{path} has no checksum: taken as it is"]
    caplog.clear()
    assert read(path) == {"hello": "world"}
    assert caplog.messages == []
    assert decode(path.read_bytes()) == ({"hello": "world"}, True)


def test_the_plain_file_is_accepted_when_nothing_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text('{"hello": "world"}')
    monkeypatch.setattr("os.fsync", fails(errno.ENOSPC))
    assert read(path) == {"hello": "world"}
    assert path.read_text() == '{"hello": "world"}'


def test_what_one_that_was_killed_has_left_is_removed(path: Path) -> None:
    write(path, {"hello": "world"})
    path.with_name("store.json.new").write_text("{")
    assert read(path) == {"hello": "world"}
    assert [one.name for one in path.parent.iterdir()] == ["store.json"]


# --- The lock -----------------------------------------------------------------


def test_only_one_has_it_and_the_other_is_told_who(tmp_path: Path) -> None:
    name = tmp_path / "new" / "store.lock"
    with (
        lock(name),
        pytest.raises(Unusable, match=f"in use by process {os.getpid()}: only one"),
    ):
        lock(name)
    lock(name).close()


def test_a_lock_that_names_nobody_locks_all_the_same(tmp_path: Path) -> None:
    name = tmp_path / "store.lock"
    with lock(name):
        name.write_text("")
        with pytest.raises(Unusable, match="in use by another process"):
            lock(name)


# --- What the operating system does not allow ---------------------------------


def fails(number: int) -> Callable[..., object]:
    def call(*args: object) -> object:
        raise OSError(number, os.strerror(number))

    return call


@contextmanager
def as_ordinary_user() -> Generator[None, None, None]:
    """Root may do anything: be somebody else."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def ours() -> Iterator[Path]:
    """A directory that an ordinary user has; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="kvstore-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    with as_ordinary_user():
        yield folder
        folder.chmod(0o700)
    shutil.rmtree(folder)


def test_a_file_that_may_not_be_read_is_an_error_and_stays(ours: Path) -> None:
    path = ours / "store.json"
    write(path, {"hello": "world"})
    path.chmod(0)
    with pytest.raises(Unusable, match=f"cannot read {path}: Permission denied"):
        read(path)
    path.chmod(0o600)
    assert read(path) == {"hello": "world"}


def test_a_directory_that_may_not_be_written_is_an_error_and_all_stays(
    ours: Path,
) -> None:
    path = ours / "store.json"
    write(path, {"hello": "world"})
    ours.chmod(0o500)
    with pytest.raises(Unusable, match=r"cannot open .*store.lock: Permission denied"):
        lock(ours / "store.lock")
    with pytest.raises(NotStored, match=f"cannot write {path}: Permission denied"):
        write(path, {})
    assert read(path) == {"hello": "world"}
    path.write_bytes(b"{")
    with pytest.raises(Unusable, match=f"cannot set aside {path}: Permission denied"):
        read(path)
    assert path.read_bytes() == b"{"
    with pytest.raises(Unusable, match="cannot create .*: Permission denied"):
        lock(ours / "new" / "store.lock")


def test_what_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unusable, match="cannot open .*: Not a directory"):
        lock(tmp_path / "file" / "store.lock")
    with pytest.raises(Unusable, match="cannot create .*: No such file"):
        lock(tmp_path / "no" / "such" / "store.lock")
    (tmp_path / "store.json").mkdir()
    with pytest.raises(Unusable, match="cannot read .*: Is a directory"):
        read(tmp_path / "store.json")


@contextmanager
def full_disk() -> Generator[None, None, None]:
    """Let no file grow: as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_nothing_is_half_written(path: Path) -> None:
    write(path, {"hello": "world"})
    with (
        full_disk(),
        pytest.raises(NotStored, match=f"cannot write {path}: File too large"),
    ):
        write(path, {"hello": "again"})
    assert read(path) == {"hello": "world"}
    assert [one.name for one in path.parent.iterdir()] == ["store.json"]


def test_a_full_disk_does_not_keep_anybody_from_reading(path: Path) -> None:
    path.write_text('{"hello": "world"}')
    with full_disk(), lock(path.with_name("store.lock")):
        assert read(path) == {"hello": "world"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_what_the_disk_does_not_take_is_told_and_not_stored(
    number: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, {"hello": "world"})
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails(number))
        with pytest.raises(NotStored, match=os.strerror(number)):
            write(path, {})
    assert read(path) == {"hello": "world"}
    assert [one.name for one in path.parent.iterdir()] == ["store.json"]


def test_a_directory_that_is_not_synced_leaves_it_open_what_is_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync_directory", fails(errno.EIO))
    with pytest.raises(Uncertain, match="cannot sync"):
        write(path, {"hello": "world"})
