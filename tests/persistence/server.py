"""A PostgreSQL server of one's own, for tests and benchmarks.

Rules of this file:

* It runs as an ordinary user, in a folder of its own, behind a socket in that folder:
  it meets no other server, and no other server's data.
* It is as durable as one in earnest: fsync stays on.
"""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from typing import Any

import psycopg

NEEDS_SERVER = "needs a PostgreSQL server"
"""Why a test is skipped where there is none; .ci/run looks for it."""
PATIENCE = 60.0
"""Seconds until a server that does not start, or does not end, is given up."""
READY = "ready to accept connections"
"""What a server says when it has started."""
SETTINGS = {
    "listen_addresses": "",
    "lc_messages": "C",
    "fsync": "on",
    "max_connections": "20",
    # After a kill: one call, where it would be one for each of a thousand files.
    "recovery_init_sync_method": "syncfs",
    # Memory that every start has to set aside.
    "shared_buffers": "32MB",
}


def find_binaries() -> Path | None:
    """Return the folder with the programs of a server, or None if there is none."""
    folders = [Path(folder) for folder in os.get_exec_path()]
    if config := shutil.which("pg_config"):
        done = subprocess.run(
            [config, "--bindir"], capture_output=True, text=True, check=True
        )
        folders.append(Path(done.stdout.strip()))
    # Debian leaves them there, out of everybody's way; the newest is taken.
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(installed, key=lambda path: int(path.parent.name), reverse=True)
    wanted = ("initdb", "postgres")
    for folder in folders:
        if all(os.access(folder / name, os.X_OK) for name in wanted):
            return folder
    return None


def ordinary_user() -> dict[str, Any]:
    """Return how a process is started as an ordinary user: a server is never root."""
    if os.geteuid() != 0:
        return {}
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = users.get("postgres", users["nobody"])
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


def processes() -> dict[int, int]:
    """Return the processes that run, each with the one that has started it (Linux)."""
    found: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent, *_ = path.read_text().rpartition(")")[2].split()
            if state != "Z":
                found[int(path.parent.name)] = int(parent)
    return found


class Server:
    """A server that is started, ended, killed, and started again."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._as_user = ordinary_user()
        # Short: the path of a socket has at most some hundred characters.
        self._folder = mkdtemp(prefix="postgres-")
        if self._as_user:
            os.chown(self._folder, self._as_user["user"], self._as_user["group"])
        self._data = f"{self._folder}/data"
        self._process: subprocess.Popen[str] | None = None
        self._run(
            "initdb",
            *f"-D {self._data} -U tester --no-locale -E UTF8 --no-sync".split(),
        )

    @property
    def conninfo(self) -> str:
        """How to connect to it."""
        return f"host={self._folder} user=tester dbname=postgres"

    def _command(self, program: str, *args: str) -> list[str]:
        return [str(self._binaries / program), *args]

    def _run(self, program: str, *args: str) -> None:
        done = subprocess.run(
            self._command(program, *args),
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **self._as_user,
        )
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        """Start it; after a kill it recovers first."""
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        log = Path(self._folder, "log")
        with log.open("w") as file:  # and no thread that reads: other tests fork
            self._process = process = subprocess.Popen(
                self._command(
                    "postgres", "-D", self._data, "-k", self._folder, *settings
                ),
                cwd=self._folder,
                stderr=file,
                text=True,
                **self._as_user,
            )
        end = monotonic() + PATIENCE
        while READY not in log.read_text():
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
            assert process.poll() is None, log.read_text()
            assert monotonic() < end, log.read_text()

    def kill(self) -> None:
        """Kill all its processes at once, as when the machine loses them."""
        assert self._process is not None
        # It starts no more of them while it is stopped.
        self._process.send_signal(signal.SIGSTOP)
        found = processes().items()
        children = {pid for pid, parent in found if parent == self._process.pid}
        self._process.kill()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        # The next one does not start before the last of them has let go.
        end = monotonic() + PATIENCE
        while not children.isdisjoint(processes()):
            assert monotonic() < end

    def stop(self) -> None:
        """End it, without waiting for its clients, nor for its files."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def remove(self) -> None:
        """End it, and remove its data."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder)


numbers = count(1)


def fresh_schema(server: Server) -> str:
    """Return where a schema is in which there is nothing yet."""
    name = f"test_{next(numbers)}"
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute(f"create schema {name}".encode())
    return f"{server.conninfo} options='-c search_path={name}'"


@contextmanager
def open_server(binaries: Path) -> Generator[Server]:
    """Run a server."""
    server = Server(binaries)
    try:
        server.start()
        yield server
    finally:
        server.remove()
