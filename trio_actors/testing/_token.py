"""A failing schedule in one short word, to type or to paste: ``ta1:3fk2q:prd:4-1:xw``.

Rules of this file:

* The parts: the format, a fingerprint of the program, options (a letter each), the plan
  of faults if there is one, the deviations from FIFO (step-rank), a check.
* Only characters that neither a shell nor an URL nor Python's quotes look at twice.
* What was damaged on its way is refused, never run: one wrong character and two that
  changed places are always found, and so is an end that was cut off.
* There is one way to write a token.
"""

from __future__ import annotations

import base64
import hashlib
import re
import string
from collections.abc import Iterable

import attrs

from .._errors import show

VERSION = 1
"""Counts up when a step or a rank comes to mean something else."""

_BASE32 = string.ascii_lowercase + "234567"
_STEP = "[0-9]{1,9}-[0-9]{1,9}"
_SHAPE = re.compile(
    f"ta{VERSION}:(?P<program>[a-z2-7]+):(?P<options>[a-z]+)(:x(?P<plan>[A-Za-z0-9/._-]+))?"
    f":(?P<deviations>fifo|{_STEP}(,{_STEP})*):[a-z2-7]{{2}}"
)

_WORDS = {
    "p": 'order="pairwise"',
    "e": 'order="enqueue"',
    "r": 'timers="race"',
    "i": 'timers="idle"',
    "d": 'level="delivery"',
    "c": 'level="checkpoint"',
    "f": "faults that are drawn (faults=..., without exhaustive=True)",
}


def fingerprint(text: str) -> str:
    """Return five characters that are others for another text, nearly always."""
    digest = hashlib.sha256(text.encode()).digest()
    return base64.b32encode(digest)[:5].decode().lower()


def _in_order(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((step, rank) for step, rank in dict(pairs).items() if rank))


class OtherProgram(ValueError):
    """The token of one program was given to another."""


@attrs.frozen
class Token:
    """What it takes to run a schedule again."""

    program: str
    """The fingerprint of the program."""
    options: str
    """The options it depends on: the first letters of order, timers and level; and an
    "f" where faults are drawn."""
    plan: str = ""
    """The plan of faults; empty if there is none."""
    deviations: tuple[tuple[int, int], ...] = attrs.field(
        default=(), converter=_in_order
    )
    """Steps and ranks, by step."""

    def encode(self) -> str:
        """Return it as a word."""
        steps = ",".join(f"{step}-{rank}" for step, rank in self.deviations)
        parts = [f"ta{VERSION}", self.program, self.options, steps or "fifo"]
        if self.plan:
            # The x is what no deviations begin with.
            parts.insert(3, f"x{_escape(self.plan)}")
        text = ":".join(parts)
        return f"{text}:{_check(text)}"

    def check_options(self, options: str) -> None:
        """Compare with the options of a test.

        Raises:
            ValueError: Its schedules are others under these options.
        """
        theirs = [_WORDS.get(one, one) for one in self.options if one not in options]
        ours = [_WORDS.get(one, one) for one in options if one not in self.options]
        if theirs or ours:
            raise ValueError(
                f"The schedule {self.encode()} was found with"
                f" {' and '.join(theirs) or 'less'}, this test has"
                f" {' and '.join(ours) or 'nothing of that'}: the steps are not the"
                " same. Give explore() the options with which it was found, or leave"
                " away replay= and search again."
            )

    def check_program(self, program: str) -> None:
        """Compare with the fingerprint of a program.

        Raises:
            OtherProgram: It is another program.
        """
        if program != self.program:
            raise OtherProgram(
                f"The schedule {self.encode()} was found in another program"
                f" ({self.program}; this is {program}): the test, its actors or its"
                " faults= have changed since, or it is the token of another test."
                " Leave away replay= and search again."
            )


def decode(text: str) -> Token:
    """Read a token.

    Raises:
        ValueError: It is none, it is damaged, or it is of another version.
    """
    text = text.strip()
    version = re.match("ta([0-9]+):", text)
    if version is None:
        raise ValueError(
            f"{show(text)} is no schedule: a token begins with ta{VERSION}: and stands"
            " in the report of a failure. Copy it from there."
        )
    if version[1] != str(VERSION):
        raise ValueError(
            f"{show(text)} was made by another version of trio_actors: its tokens begin"
            f" with ta{version[1]}:, this version's with ta{VERSION}:. Use the version"
            " that made it, or search again."
        )
    token = _read(text)
    # There is one way to write it: this checks the check, and all the rest.
    if token is None or token.encode() != text:
        raise ValueError(
            f"{show(text)} is damaged: something is missing at its end or was changed"
            " on the way. Copy it again from the report of the failure, whole."
        )
    return token


def _read(text: str) -> Token | None:
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    pairs = re.findall("([0-9]+)-([0-9]+)", found["deviations"])
    return Token(
        program=found["program"],
        options=found["options"],
        plan=_unescape(found["plan"] or ""),
        deviations=tuple((int(step), int(rank)) for step, rank in pairs),
    )


def _check(text: str) -> str:
    value = 0
    for char in text:
        # A prime: a change of one character, or of two neighbours' order, never
        # multiplies to nothing.
        value = (value * 31 + ord(char)) % 1021
    return _BASE32[value // 32] + _BASE32[value % 32]


def _escape(text: str) -> str:
    def escape(char: re.Match[str]) -> str:
        return "".join(f"_{byte:02x}" for byte in char[0].encode())

    return re.sub("[^A-Za-z0-9/.-]", escape, text)


def _unescape(text: str) -> str:
    plain = re.sub(
        b"_([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), text.encode()
    )
    return plain.decode(errors="replace")
