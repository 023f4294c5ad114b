"""The command, as a user starts it."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "examples.chat"]


@attrs.frozen
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    tcp_port: int
    web_port: int

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit code and what went to standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@contextmanager
def running(*options: str) -> Generator[Running, None, None]:
    process = subprocess.Popen(
        [*COMMAND, "--tcp-port", "0", "--web-port", "0", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            lines = process.stdout.readline(), process.stdout.readline()
            tcp = re.fullmatch(r"tcp://127\.0\.0\.1:(\d+)\n", lines[0])
            web = re.fullmatch(r"http://127\.0\.0\.1:(\d+)\n", lines[1])
            assert tcp is not None
            assert web is not None
            yield Running(process, int(tcp[1]), int(web[1]))
        finally:
            process.kill()


def connect(server: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.tcp_port), timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_goodbye_to_every_client_and_leaves_nothing(number: int) -> None:
    """SHUT-2; a task that is left would keep the process alive."""
    with running() as server, ExitStack() as stack:
        sockets = [stack.enter_context(connect(server)) for _ in range(5)]
        clients = [stack.enter_context(sock.makefile("rw")) for sock in sockets]
        for n, client in enumerate(clients):
            client.write(f"/nick guest-{n}\n/join lobby\n")
            client.flush()
            while "is here" not in client.readline():
                pass
        code, errors = server.end(number)
        for client in clients:
            assert client.read().endswith("* goodbye: the server is going down\n")
    assert code in {0, 130}
    assert "Traceback" not in errors
    assert "WARNING" not in errors


def test_a_signal_ends_a_server_without_clients() -> None:
    with running() as server:
        code, errors = server.end(signal.SIGINT)
    assert code in {0, 130}
    assert "Traceback" not in errors
    assert "WARNING" not in errors


def test_a_client_that_does_not_read_does_not_keep_the_server_alive() -> None:
    with running() as server, connect(server):
        code, _ = server.end(signal.SIGINT)
    assert code in {0, 130}


@pytest.mark.skipif(shutil.which("nc") is None, reason="nc is not installed")
def test_it_works_with_nc() -> None:
    with running() as server:
        answer = subprocess.run(
            ["nc", "-N", "127.0.0.1", str(server.tcp_port)],
            input="/nick ada\n/join lobby\nhello\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    assert answer.stdout.splitlines()[1:] == [
        "* you are ada",
        "* ada is here",
        "<ada> hello",
        "* goodbye: the client hung up",
    ]


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environment or None,
    )


def test_a_port_that_is_taken_is_an_error_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        answer = run("--tcp-port", "0", "--web-port", number)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "cannot listen there" in answer.stderr


@pytest.mark.parametrize("bad", ["-1", "65536", "http"])
def test_a_port_is_a_number_that_fits(bad: str) -> None:
    answer = run("--tcp-port", bad)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


def test_without_the_web_packages_it_says_what_to_install(tmp_path: Path) -> None:
    blocker = "raise ModuleNotFoundError(name='starlette')"
    (tmp_path / "starlette.py").write_text(blocker)
    answer = run(PYTHONPATH=str(tmp_path))
    assert answer.returncode == 2
    assert answer.stderr == (
        "The chat server needs starlette: pip install 'trio-actors[web]'\n"
    )


# --- What is said is kept ---------------------------------------------------


def talk(server: Running, nick: str, *lines: str) -> list[str]:
    """Come in, say something, and return what was shown until the last of it."""
    with connect(server) as sock, sock.makefile("rw") as client:
        client.write("".join(f"{line}\n" for line in (f"/nick {nick}", "/join lobby")))
        client.flush()
        shown: list[str] = []
        while f"* {nick} is here\n" not in shown:
            shown.append(client.readline())
        client.write("".join(f"{line}\n" for line in lines))
        client.flush()
        for line in lines:
            while shown[-1] != f"<{nick}> {line}\n":
                shown.append(client.readline())
        return shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_with_data_a_room_shows_after_a_restart_what_was_said_before(
    number: int, tmp_path: Path
) -> None:
    """Whoever was shown a line can rely on it, also when the server is killed."""
    data = ("--data", str(tmp_path / "new"))
    with running(*data) as server:
        talk(server, "ada", "hello", "is anybody here?")
        _, errors = server.end(number)
    assert errors == "" or number == signal.SIGINT
    with running(*data) as server:
        shown = talk(server, "bob", "now there is")
        server.end(number)
    assert shown[2:5] == [
        "<ada> hello\n",
        "<ada> is anybody here?\n",
        "* bob is here\n",
    ]


def test_without_data_a_room_forgets() -> None:
    for _ in range(2):
        with running() as server:
            assert talk(server, "ada", "hello")[2:] == [
                "* ada is here\n",
                "<ada> hello\n",
            ]
            server.end(signal.SIGINT)


def test_a_directory_that_cannot_be_used_is_an_error_in_one_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    for where in (tmp_path / "file", tmp_path / "no" / "such"):
        answer = run("--tcp-port", "0", "--web-port", "0", "--data", str(where))
        assert answer.returncode == 2
        assert answer.stderr.startswith("The chat server does not start: ")
        assert answer.stderr.count("\n") == 1


def test_a_damaged_journal_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "rooms.db").write_bytes(b"no journal" * 100)
    answer = run("--tcp-port", "0", "--web-port", "0", "--data", str(tmp_path))
    assert answer.returncode == 2
    assert "does not start" in answer.stderr
    assert f"set aside as {tmp_path / 'rooms.db.damaged-1'}" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_without_what_a_journal_needs_it_says_what_to_install(tmp_path: Path) -> None:
    blocker = "raise ModuleNotFoundError(name='msgspec')"
    (tmp_path / "msgspec.py").write_text(blocker)
    options = ("--tcp-port", "0", "--web-port", "0", "--data", str(tmp_path))
    answer = run(*options, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 2
    assert "pip install 'trio_actors[persistence]'" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_more_clients_than_the_system_allows_is_an_error_that_helps() -> None:
    answer = run("--max-clients", "100000000")
    assert answer.returncode == 2
    assert "100000000 clients do not fit" in answer.stderr
    assert "ulimit -n 100000100" in answer.stderr
