"""The file of the store: what it looks like, and how it is read, replaced, set aside.

Rules of this file:

* Everything here blocks: it is called in a thread. ``JsonFile`` does that.
* The file is replaced as a whole: whoever is killed at any moment leaves the old one or
  the new one.
* Nothing that cannot be read is overwritten. What is damaged is set aside under a name
  that was free.
"""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

log = logging.getLogger("kvstore")

MARK = b"\nsha256 "
"""Begins the last line, which tells the checksum of those before it. JSON has no such
line: in its texts a line break is written as two characters."""


class Unusable(Exception):
    """The store cannot be opened; nothing was changed."""


class NotStored(Exception):
    """A change could not be written; what was stored before still is."""


class Uncertain(Exception):
    """It is not known whether a change is durable: read the file again."""


class Damaged(ValueError):
    """The content is not what was written."""


# --- What it looks like -----------------------------------------------------


def encode(data: Mapping[str, str]) -> bytes:
    """Return the content of a file: a line of JSON, and its checksum."""
    body = json.dumps(data).encode()
    return body + MARK + checksum(body)


def checksum(body: bytes) -> bytes:
    """Return what stands behind the mark."""
    return hashlib.sha256(body).hexdigest().encode() + b"\n"


def decode(content: bytes) -> tuple[dict[str, str], bool]:
    """Return what is stored, and whether there was a checksum to be sure of it.

    Raises:
        Damaged: It is neither with a checksum that fits, nor a plain JSON object of
            texts.
    """
    body, mark, told = content.partition(MARK)
    if mark and told != checksum(body):
        raise Damaged("the checksum does not fit")
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"it is no JSON: {error}") from None
    if not is_texts(data):
        raise Damaged("it is no JSON object whose values are texts")
    return data, bool(mark)


def is_texts(data: object) -> bool:
    """Return whether *data* is a dict of texts."""
    if not isinstance(data, dict):
        return False
    values = cast("dict[str, object]", data).values()
    return all(isinstance(value, str) for value in values)


# --- Reading and replacing --------------------------------------------------


@contextmanager
def errors_told(path: Path, verb: str) -> Generator[None, None, None]:
    """Tell in one line what the operating system does not allow."""
    try:
        yield
    except OSError as error:
        raise Unusable(f"cannot {verb} {path}: {error.strerror}") from error


def lock(path: Path) -> IO[bytes]:
    """Open the lock file at *path*; nobody else can until it is closed.

    Raises:
        Unusable: Somebody has it open.
    """
    if not path.parent.exists():
        with errors_told(path.parent, "create"):
            path.parent.mkdir(exist_ok=True)
            sync_directory(path.parent.parent)
    with errors_told(path, "open"):
        file = path.open("a+b", buffering=0)
    try:
        with errors_told(path, "lock"):
            take(file, path)
    except BaseException:
        file.close()
        raise
    return file


def take(file: IO[bytes], path: Path) -> None:
    """Lock an open file, and write into it who has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().decode(errors="replace").strip() or "another process"
        raise Unusable(
            f"{path.parent} is in use by {owner}: only one at a time may have it. Wait"
            " for its end, or name another directory."
        ) from None
    with suppress(OSError):  # a full disk is no reason not to read
        file.truncate(0)
        file.write(f"process {os.getpid()}\n".encode())


def read(path: Path) -> dict[str, str]:
    """Return what is stored at *path*; what is damaged is set aside.

    Raises:
        Unusable: It may not be read.
    """
    with errors_told(draft_of(path), "remove"):
        draft_of(path).unlink(missing_ok=True)  # of one that was killed
    try:
        with errors_told(path, "read"):
            content = read_if_there(path)
            if content is None:
                log.warning("there is no %s yet: starting empty", path)
                return {}
            data, is_sure = decode(content)
    except Damaged as error:
        aside = set_aside(path)
        log.warning(
            "%s is damaged (%s): kept as %s; starting empty", path, error, aside
        )
        return {}
    if not is_sure:
        log.warning("%s has no checksum: taken as it is", path)
        with suppress(NotStored):  # then it is at the next change
            write(path, data)
    return data


def read_if_there(path: Path) -> bytes | None:
    """Return the content of a file, None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write(path: Path, data: Mapping[str, str]) -> None:
    """Replace the file at *path*; when this returns, the new one is durable.

    Raises:
        NotStored: It could not be written.
        Uncertain: It was written, but may be gone after a power failure.
    """
    draft = draft_of(path)
    try:
        with draft.open("wb") as file:
            file.write(encode(data))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise NotStored(f"cannot write {path}: {error.strerror}") from error
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise Uncertain(f"cannot sync {path.parent}: {error.strerror}") from error


def draft_of(path: Path) -> Path:
    """Return where the next content of *path* is written."""
    return path.with_name(f"{path.name}.new")


def set_aside(path: Path) -> Path:
    """Give the file at *path* another name, a free one; return that."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    with errors_told(path, "set aside"):
        path.rename(aside)
        sync_directory(path.parent)
    return aside


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
