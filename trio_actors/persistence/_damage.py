"""Damage: how it is told from other trouble, what is set aside, and the side file.

Rules of this file:

* What was found damaged is renamed, to the first name that is free: nothing is ever
  overwritten or deleted.
* The side file knows how many commits there were. It is written after each of them,
  and not synced: it may know of fewer, but never of more.
* The database is never opened but by SQLite: to close a file that was opened in any
  other way takes away all locks that this process has on it, and with them commits.
* That a file is locked, cannot be written, or that the disk is full, is no damage.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from io import FileIO
from itertools import count
from pathlib import Path
from typing import final
from zlib import crc32

log = logging.getLogger("trio_actors")

_WAL_HEADER = 32
_FRAME_HEADER = 24


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is not what was written.

    A constraint that does not hold says so as well: what is inserted is new.
    """
    if isinstance(error, sqlite3.IntegrityError):
        return True
    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's code of an error, without its finer distinctions; 0 if none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


@final
class Files:
    """The files of a journal: the database, and what is beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wal = _beside(path, "-wal")
        self.last = _beside(path, ".last")

    def _all(self) -> list[Path]:
        journal, shm = _beside(self.path, "-journal"), _beside(self.path, "-shm")
        return [self.path, self.wal, shm, journal, self.last]

    def aside(self) -> Files:
        """Return the first names that are free."""
        names = (_beside(self.path, f".damaged-{number}") for number in count(1))
        return next(
            files
            for files in map(Files, names)
            if not any(map(os.path.lexists, files._all()))
        )

    def copy_wal(self, to: Files) -> None:
        """Keep what SQLite deletes when its last connection is closed."""
        if self.wal.exists():
            shutil.copyfile(self.wal, to.wal)

    def move(self, to: Files) -> None:
        """Rename what there is."""
        for old, new in zip(self._all(), to._all(), strict=True):
            if os.path.lexists(old):
                old.replace(new)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def size_of(path: Path) -> int:
    """Return the size of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one of that name; None if there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


@final
class SideFile:
    """How many commits there were, in a file beside the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self.trouble: str | None = None

    def read(self) -> int:
        """Return the number of commits, 0 where it is not known; note why."""
        self.trouble = None
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            self.trouble = "is missing"
            return 0
        try:
            commits = int(data[:20])
        except ValueError:
            commits = -1
        if data != _line(commits):
            self.trouble = "is damaged"
            return 0
        return commits

    def write(self, commits: int) -> None:
        """Write the number of commits over the last one."""
        if self._file is None:
            self._path.touch()
            self._file = self._path.open("r+b", buffering=0)
        self._file.seek(0)
        self._file.write(_line(commits))

    def close(self) -> None:
        """Close it, if it is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(commits: int) -> bytes:
    """Return what is in a side file."""
    number = b"%020d" % commits
    return b"%s %08x\n" % (number, crc32(number))


def dropped_bytes(wal: Path, size: int, frames: int, page_size: int) -> int:
    """Return how many bytes at the end of a WAL belong to no commit.

    SQLite leaves them out without a word: a write that was not finished, or one that
    is damaged. What is left of earlier rounds of the WAL does not count.

    Args:
        size: How long the file was when it was opened.
        frames: How many SQLite found good.
    """
    if not size:
        return 0
    frame = _FRAME_HEADER + page_size
    begin = end = _WAL_HEADER + frames * frame
    with wal.open("rb") as file:
        salts = file.read(_WAL_HEADER)[16:24]
        for position in range(begin, size, frame):
            file.seek(position)
            head = file.read(_FRAME_HEADER)[:16]
            if len(head) < 16 or head[8:] == salts or not frames:
                end = min(position + frame, size)
    return end - begin if frames else size
