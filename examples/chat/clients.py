"""The clients of the load tool: real connections that speak the line protocol."""

import time
from collections.abc import Iterator

import attrs
import trio

from .messages import Line

CHUNK = 65536


@attrs.define
class Tally:
    """What the clients of one run have seen."""

    sent: int = 0
    """Lines that talkers have sent."""
    expected: int = 0
    """Lines that should arrive: each sent line at each member of its room."""
    delivered: int = 0
    """Lines that did arrive, each counted once per member."""
    repeated: int = 0
    """Lines that a member got a second time."""
    latencies: list[float] = attrs.field(factory=list[float])
    """Seconds from the write of a line to its arrival, one for each delivery."""
    dropped: int = 0
    """Connections that the server closed, or that broke."""

    @property
    def lost(self) -> int:
        """Lines that should have arrived and did not."""
        return self.expected - self.delivered


class Client:
    """One connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._rest = b""

    async def send(self, text: str) -> None:
        """Send one line, or several."""
        await self.stream.send_all(text.encode() + b"\n")

    async def lines(self) -> list[str]:
        """Wait for lines from the server; none when it has hung up."""
        while True:
            data = await self.stream.receive_some(CHUNK)
            if not data:
                return []
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines:
                return [line.decode() for line in lines]

    async def expect(self, wanted: str) -> None:
        """Wait for this line.

        Raises:
            trio.BrokenResourceError: The server hung up before.
        """
        while lines := await self.lines():
            if wanted in lines:
                return
        raise trio.BrokenResourceError(f"the server hung up before it said {wanted!r}")


async def connect(host: str, port: int, source: str | None) -> Client:
    """Connect, from the address *source* if one is given.

    One address has some 28,000 ports for all its connections to one server, and those
    that are closed keep theirs for a minute.
    """
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    sock = trio.socket.socket(family)
    try:
        if source is not None:
            await sock.bind((source, 0))
        await sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return Client(trio.SocketStream(sock))


class Talker:
    """A client that says lines in a room and checks what arrives there."""

    def __init__(self, client: Client, nick: str, room: str, tally: Tally) -> None:
        self.client = client
        self.nick = nick
        self.room = room
        self.tally = tally
        self.seen: set[tuple[str, str]] = set()

    async def enter(self) -> None:
        """Take the nickname and go into the room."""
        await self.client.send(f"/nick {self.nick}\n/join {self.room}")
        await self.client.expect(str(Line(f"{self.nick} is here")))

    async def talk(self, lines: int, pauses: Iterator[float], members: int) -> None:
        """Say so many lines to a room with so many members."""
        for number in range(lines):
            await trio.sleep(next(pauses))
            self.tally.sent += 1
            self.tally.expected += members
            await self.client.send(f"{number} {time.perf_counter_ns()}")

    async def listen(self) -> None:
        """Count what arrives, until the server hangs up."""
        while lines := await self.client.lines():
            now = time.perf_counter_ns()
            for line in lines:
                if line.startswith("<"):
                    self.arrived(line, now)
        self.tally.dropped += 1

    def arrived(self, line: str, now: int) -> None:
        nick, number, at = line.split()
        if (nick, number) in self.seen:
            self.tally.repeated += 1
            return
        self.seen.add((nick, number))
        self.tally.delivered += 1
        self.tally.latencies.append((now - int(at)) / 1e9)


class Idler:
    """A client that is only there."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answered = False

    async def wake(self) -> None:
        """Ask something: an answer shows that the connection was held."""
        await self.client.send("/leave")
        await self.client.expect(str(Line("first choose a name: /nick NAME")))
        self.answered = True
