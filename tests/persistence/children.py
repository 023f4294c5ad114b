"""Starts the processes of `child`, and hears what they say."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Child:
    """A process that starts others; one at a time."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.persistence.child", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
        )
        self.pid = 0

    def start(self, program: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{program}\n")
        self.pid = int(self.line().removeprefix("pid "))

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def line(self) -> str:
        """Return the next line that is said."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def rest(self) -> list[str]:
        """Return what is said until the process has ended."""
        return [*iter(self.line, "ended")]

    def freeze(self) -> list[str]:
        """Stop it, and wait until it has stopped; return what was said before."""
        self.signal(signal.SIGSTOP)
        return [*iter(self.line, "frozen")]

    def close(self) -> None:
        with suppress(ProcessLookupError):  # it has ended, if the test went well
            self.signal(signal.SIGKILL)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.read()
        self._process.stdout.close()
        self._process.wait()
