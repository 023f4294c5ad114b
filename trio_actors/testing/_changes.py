"""What is not as it was, in words.

Rules of this file:

* Pictures alone are read: no code of the user's runs.
* What is shown is short, whatever the size of the state.
"""

from __future__ import annotations

from enum import Enum
from types import BuiltinFunctionType, FunctionType

from ._state import Again, Members, Open, Picture, Ref, Same, Text, Token

_DEEP = 20
_LINES = 5
_PARTS = 8
_SHORT = 60


def difference(before: Picture, after: Picture, name: str = "self") -> str:
    """Say what is not as it was: ``self.total: 1 -> 2``.

    Args:
        before: What the thing looked like.
        after: What it looks like now.
        name: What it is called.

    Returns:
        A line for each change, at most five and one that counts the rest; empty if
        there is none.
    """
    lines: list[str] = []
    old, new = _Reader(before.tokens), _Reader(after.tokens)
    left = [(name, 0, 0, 0)]
    while left:
        where, one, other, depth = left.pop()
        if old.part(one) == new.part(other):
            continue
        if depth < _DEEP and _alike(old, one, new, other):
            ours, theirs = old.names(one), new.names(other)
            left += [
                (where + label, ours.get(label, -1), theirs.get(label, -1), depth + 1)
                for label in reversed({**ours, **theirs})
            ]
        else:
            was, now = old.show(one), new.show(other)
            lines.append(f"{where}: {was} -> {now if was != now else 'another one'}")
    if not lines and before != after:
        return f"{name}: the order in a dict, or what is the same object as what"
    more = [f"and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    return "\n".join(lines[:_LINES] + more)


def _alike(old: _Reader, one: int, new: _Reader, other: int) -> bool:
    """Whether two things differ in parts that have names in common."""
    if min(one, other) < 0:
        return False
    was, now = old.tokens[one], new.tokens[other]
    if type(was) is not Open or type(now) is not Open:
        return False
    return was == now or (was[:2] == now[:2] and was.form != "items")


class _Reader:
    """Finds its way in the tokens of a picture; the place -1 is that of nothing."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self.tokens: tuple[Token, ...] = tokens
        self.ends = list(range(1, len(tokens) + 1))
        for place in reversed(range(len(tokens))):
            if type(tokens[place]) is Open:
                for _ in range(tokens[place].size):
                    self.ends[place] = self.ends[self.ends[place]]

    def part(self, place: int) -> tuple[Token, ...]:
        """Return the tokens of what begins at *place*; any two Again look alike."""
        part = self.tokens[place : self.ends[place]] if place >= 0 else ()
        return tuple(Again if type(token) is Again else token for token in part)

    def parts(self, place: int) -> list[int]:
        """Return where the parts are of what begins at *place*."""
        at, found = place + 1, list[int]()
        for _ in range(self.tokens[place].size):
            found.append(at)
            at = self.ends[at]
        return found

    def names(self, place: int) -> dict[str, int]:
        """Return where the parts are, by what leads to them: ``[0]``, ``.total``."""
        parts, form = self.parts(place), self.tokens[place].form
        if form == "items":
            return {f"[{number}]": part for number, part in enumerate(parts)}
        names: dict[str, int] = {}
        for key, part in zip(parts[::2], parts[1::2], strict=True):
            name = self.tokens[key] if form == "fields" else f"[{self.show(key)}]"
            names[f".{name}" if form == "fields" and name else name] = part
        return names

    def show(self, place: int, depth: int = 0) -> str:
        """Say in short what begins at *place*."""
        if place < 0:
            return "(nothing)"
        token = self.tokens[place]
        if type(token) is not Open:
            return _show_token(token)
        if depth == 3:
            return "..."
        parts, inner = self.parts(place), list[str]()
        step = 1 if token.form == "items" else 2
        for at in range(0, min(len(parts), _PARTS * step), step):
            key, part = parts[at], parts[at + step - 1]
            inner.append(self._key(token, key, depth) + self.show(part, depth + 1))
        if len(parts) > _PARTS * step:
            inner.append(f"... {len(parts) // step} in all")
        return _frame(token).format(", ".join(inner))

    def _key(self, token: Open, key: int, depth: int) -> str:
        if token.form == "pairs":
            return f"{self.show(key, depth + 1)}: "
        name = self.tokens[key] if token.form == "fields" else ""
        return f"{name}=" if name else ""


_FRAMES = {list: "[{}]", tuple: "({})", dict: "{{{}}}", set: "{{{}}}"}


def _frame(token: Open | Members) -> str:
    cls = token.kind.thing
    for base, frame in _FRAMES.items():
        if cls is base:
            return frame
    return f"{_name(cls)}({{}})"


def _show_token(token: Token) -> str:
    if type(token) is Members:
        inner = sorted(
            _Reader(picture.tokens).show(0)
            for picture, count in token.pictures
            for _ in range(count)
        )
        more = [f"... {len(inner)} in all"] if len(inner) > _PARTS else []
        return _frame(token).format(", ".join(inner[:_PARTS] + more))
    if type(token) is Same:
        return _name(token.thing)
    if type(token) is Ref:
        return token.path
    if type(token) is Again:
        return "(as above)"
    text = token.text if type(token) is Text else repr(token)
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


def _name(thing: object) -> str:
    """Say which class or function it is; of another thing, of which class."""
    cls = type(thing)
    if isinstance(thing, (type, FunctionType, BuiltinFunctionType)):
        return thing.__qualname__
    if isinstance(thing, Enum):
        return f"{cls.__qualname__}.{thing._name_}"
    return f"<{cls.__qualname__}>"
