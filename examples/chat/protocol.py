"""The line protocol: what a client may send. Pure, so that it is easy to test.

Rules:

* A line ends with LF; a CR before it does not count. It holds at most 4 KiB of UTF-8
  and no control characters but the tab: a line is shown on other people's terminals.
* A line that breaks a rule is refused with a sentence that says why, and nothing else
  happens. The rest of a line that is too long is skipped, whatever its length.
* A line that begins with one slash is a command; two slashes say a line with one.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import TypeAlias

import attrs

MAX_LINE = 4096
"""Bytes of a line, without its end."""

MAX_NAME = 20
"""Characters of a nickname or a room's name."""

# Tabs are welcome. U+2028 and U+2029 end a line; the others turn text around, so that
# one client could write over the name of another.
_CONTROL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_NAME = re.compile(r"[^\W\d_][\w-]*")


# --- Lines ------------------------------------------------------------------


@attrs.frozen
class Typed:
    """A line that a client has sent."""

    text: str


@attrs.frozen
class Refused:
    """A line that a client should not have sent, and why."""

    why: str


TOO_LONG = Refused(f"that line is longer than {MAX_LINE} bytes; it was not sent")
NOT_UTF8 = Refused("that line is not UTF-8; it was not sent")
EMPTY = Refused("an empty line says nothing; try /help")


class LineDecoder:
    """Cuts what arrives into lines; never keeps more than one line of one client."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[Typed | Refused]:
        """Return the lines that *data* completes."""
        *complete, rest = (self._rest + data).split(b"\n")
        if complete and self._skipping:
            del complete[0]  # the end of a line that was refused before
            self._skipping = False
        heard = [_decode(line) for line in complete]
        if self._skipping:
            rest = b""
        elif len(rest) > MAX_LINE + 1:  # one more: it may be a CR
            heard.append(TOO_LONG)
            self._skipping = True
            rest = b""
        self._rest = rest
        return heard

    def finish(self) -> list[Typed | Refused]:
        """Return the line that was not ended before the client hung up."""
        rest, self._rest = self._rest, b""
        return [_decode(rest)] if rest else []


def _decode(line: bytes) -> Typed | Refused:
    line = line.removesuffix(b"\r")
    if len(line) > MAX_LINE:
        return TOO_LONG
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    if found := _CONTROL.search(text):
        code = f"U+{ord(found[0]):04X}"
        return Refused(f"that line has a control character ({code}); it was not sent")
    return Typed(text.strip()) if text.strip() else EMPTY


# --- Commands ---------------------------------------------------------------


class BadInput(ValueError):
    """What a client typed makes no sense; the text says what to type instead."""


@attrs.frozen
class Say:
    text: str


@attrs.frozen
class TakeNick:
    nick: str


@attrs.frozen
class EnterRoom:
    room: str


@attrs.frozen
class LeaveRoom: ...


@attrs.frozen
class ShowMembers: ...


@attrs.frozen
class ShowRooms: ...


@attrs.frozen
class Whisper:
    nick: str
    text: str


@attrs.frozen
class Help: ...


@attrs.frozen
class Quit: ...


@attrs.frozen
class CrashRoom: ...


Command: TypeAlias = (
    Say
    | TakeNick
    | EnterRoom
    | LeaveRoom
    | ShowMembers
    | ShowRooms
    | Whisper
    | Help
    | Quit
    | CrashRoom
)

HELP = (
    "/nick NAME       choose a name, or another one",
    "/join ROOM       go into a room; it is opened if it is not there",
    "/leave           leave the room",
    "/who             who is in the room",
    "/rooms           which rooms there are",
    "/msg NAME TEXT   say something to one person only",
    "/help            this text",
    "/quit            hang up",
    "Anything else is said in your room; //text says /text.",
)
DEMO_HELP = "/crash           crash the room, and see it come back"

_PLAIN: dict[str, Command] = {
    "/leave": LeaveRoom(),
    "/who": ShowMembers(),
    "/rooms": ShowRooms(),
    "/help": Help(),
    "/quit": Quit(),
    "/crash": CrashRoom(),
}


def parse(text: str) -> Command:
    """Return what a line means.

    Raises:
        BadInput: It means nothing.
    """
    if not text.startswith("/"):
        return Say(text)
    if text.startswith("//"):
        return Say(text[1:])
    word, *rest = text.split(maxsplit=1)
    argument = "".join(rest)
    match word.lower():
        case "/nick":
            return TakeNick(check_name(argument, "/nick NAME"))
        case "/join":
            return EnterRoom(check_name(argument.removeprefix("#"), "/join ROOM"))
        case "/msg":
            return _whisper(argument)
        case plain if plain in _PLAIN:
            if argument:
                raise BadInput(f"{plain} stands alone on its line")
            return _PLAIN[plain]
        case _:
            raise BadInput(f"there is no command {word[:20]}; /help lists them all")


def _whisper(argument: str) -> Whisper:
    usage = "/msg NAME TEXT"
    name, *rest = argument.split(maxsplit=1) or [""]
    nick = check_name(name, usage)
    if not rest:
        raise BadInput(f"there is nothing to tell {nick}: {usage}")
    return Whisper(nick, rest[0])


def check_name(name: str, usage: str) -> str:
    """Return a nickname or room name in its normal form.

    Raises:
        BadInput: It is not one.
    """
    if not name:
        raise BadInput(f"the name is missing: {usage}")
    # One look, one name: an "é" may be one character or two.
    name = unicodedata.normalize("NFKC", name)
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise BadInput(
            f"a name has 1 to {MAX_NAME} letters, digits, - and _, "
            f"and begins with a letter: {usage}"
        )
    return name


def fold(name: str) -> str:
    """Return what two names have in common that are the same to a reader."""
    return unicodedata.normalize("NFKC", name.casefold())


def wrapped(title: str, words: tuple[str, ...], *, limit: int = 200) -> Iterator[str]:
    """Yield *words* in lines of a readable length; no more than *limit* of them."""
    line = title
    for word in words[:limit]:
        if len(line) + len(word) > 100:
            yield line
            line = "  "
        line += f" {word}"
    yield line
    if len(words) > limit:
        yield f"   … and {len(words) - limit} more"


# --- Floods -----------------------------------------------------------------


class TokenBucket:
    """A rate limit: *rate* lines a second in the long run, *burst* at once."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take one token; return how many seconds that is too early."""
        passed = max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self._burst, self._tokens + passed * self._rate) - 1
        return max(0.0, -self._tokens / self._rate)
