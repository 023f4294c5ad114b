"""A run as a sequence diagram: who sent what to whom, and in what order.

Rules of this file:

* A row for each step, under the number it has in a token. What is cut is counted.
* No row is wider than `WIDTH`: names are cut before arrows are, and a crowd, or names
  that cannot be told apart any more, become a plain list.
* Arrows are ASCII: they look the same in a terminal, a log and a mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import attrs

from ._events import Event

WIDTH = 100
"""Columns of a row at most."""

ROWS = 40
"""Rows of a diagram in a terminal, more or less; the middle of a longer run is cut."""

MERMAID_ROWS = 200
"""The same of a diagram in a file, which can be scrolled."""

CROWD = 8
"""More participants than that become a list."""

STROKES = {"message": "-", "reply": ".", "control": "="}

Style: TypeAlias = Literal["text", "mermaid"]


def diagram(
    trace: Sequence[Event],
    style: Style = "text",
    *,
    mark: tuple[int, int] | None = None,
) -> str:
    """Return a run as a sequence diagram.

    Args:
        trace: The steps of the run.
        style: Rows of text, or Mermaid's ``sequenceDiagram``.
        mark: Two steps that stand out, and are never cut.
    """
    marked = mark or ()
    if style == "mermaid":
        return _mermaid(trace, _picked(len(trace), marked, MERMAID_ROWS), marked)
    if style == "text":
        return _text(trace, _picked(len(trace), marked, ROWS), marked)
    raise ValueError(
        f"there is no diagram in the style {style!r}: write 'text' or 'mermaid'"
    )


# --- What is shown ---


def _picked(total: int, marked: tuple[int, ...], most: int) -> list[tuple[int, int]]:
    """Return the steps to show, each with how many are cut before it."""
    keep = set(range(total))
    if total > most:
        keep = set(range(total - most // 2, total))
        for place in marked:
            keep.update(range(max(0, place - 2), min(place + 3, total)))
        keep.update(range(most - len(keep)))  # who is who: it begins with that
        # The row that says "1 row cut" could as well be the row.
        keep.update(at for at in range(total) if {at - 1, at + 1} <= keep)
    shown = sorted(keep)
    return [(at, at - last - 1) for last, at in zip([-1, *shown], shown, strict=False)]


def _participants(events: Iterable[Event]) -> list[str]:
    """Return who takes part, in the order of their appearance."""
    found: dict[str, None] = {}
    for event in events:
        if not _is_across(event):
            found.update(dict.fromkeys(who for who in (event.src, event.dst) if who))
    return list(found)


def _is_across(event: Event) -> bool:
    """Whether it concerns them all."""
    return not event.dst or event.kind in {"tick", "settled"}


def _short(names: Sequence[str]) -> dict[str, str]:
    """Return the last part of each path, or all of it where two share the last part."""
    last = {name: name.rpartition("/")[2] or name for name in names}
    parts = list(last.values())
    return {
        name: name_of(part if parts.count(part) == 1 else name)
        for name, part in last.items()
    }


def name_of(name: str) -> str:
    """Return a name in one line of printable characters."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)


def caption_of(event: Event) -> str:
    """Return what an event is, in one line of printable characters."""
    label = "".join(char if char.isprintable() else " " for char in event.label)
    text = " ".join(label.split())
    if event.kind == "start":
        return text or "begins"
    if event.kind == "tick":
        return text or "time passes"
    if event.kind == "settled":
        return text or "settled"
    return f"! {text or 'fault'}" if event.kind == "fault" else text


def _rows_cut(number: int) -> str:
    return f"{number:,} rows cut"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cut_name(name: str, width: int) -> str:
    """Cut a name in its middle: what tells names apart is mostly at their end."""
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[head + 1 - width :]}"


# --- Text ---


def _text(
    trace: Sequence[Event], shown: list[tuple[int, int]], marked: tuple[int, ...]
) -> str:
    digits = max(2, len(str(len(trace) - 1)))
    columns = _columns([trace[at] for at, _ in shown], WIDTH - digits - 4)
    rows = [] if columns is None else [" " * (digits + 4) + columns.head()]
    for at, cut in shown:
        if cut:
            gap = _rows_cut(cut)
            gap = f"... {gap}" if columns is None else columns.row(":", gap)
            rows.append(" " * (digits + 4) + gap)
        sign = ">" if at in marked else " "
        row = _listed(trace[at]) if columns is None else columns.draw(trace[at])
        rows.append(f"{sign} {at:{digits}}  {row}")
    return "\n".join(_cut(row.rstrip(), WIDTH) for row in rows)


@attrs.frozen
class _Columns:
    """The lifelines: where they are, and what is drawn between them."""

    names: list[str]
    """As they are shown."""
    at: dict[str, int]
    """The column of each participant's lifeline."""
    width: int
    """Of all lifelines together."""

    def head(self) -> str:
        """Return the row of the names."""
        line = [" "] * self.width
        for name, at in zip(self.names, self.at.values(), strict=True):
            start = at - len(name) // 2
            line[start : start + len(name)] = name
        return "".join(line)

    def lines(self, sign: str) -> list[str]:
        """Return a row with nothing but the lifelines."""
        line = [" "] * self.width
        for at in self.at.values():
            line[at] = sign
        return line

    def row(self, sign: str, text: str) -> str:
        """Return a row with a remark."""
        return f"{''.join(self.lines(sign))}  {text}"

    def draw(self, event: Event) -> str:
        """Return the row of an event."""
        caption = caption_of(event)
        if _is_across(event):
            return f" {caption} ".center(max(self.width, len(caption) + 6), "-")
        line = self.lines("|")
        to = self.at[event.dst]
        if event.kind in STROKES:
            _draw_arrow(line, self.at.get(event.src), to, STROKES[event.kind])
        else:
            line[to] = "X" if event.kind == "fault" else "o"
        return f"{''.join(line)}  {caption}"


def _columns(events: Sequence[Event], room: int) -> _Columns | None:
    """Return the lifelines in so much room; None if there are too many."""
    short = _short(_participants(events))
    if not 0 < len(short) <= CROWD:
        return None
    longest = max(len(caption_of(event)) for event in events)
    label = min(max(longest, len(_rows_cut(999_999))), 28)
    room = (room - 2 - label) // len(short)
    wanted = max(10, 2 + max(len(name) for name in short.values()))
    width = min(wanted, 24, room)
    names = [_cut_name(name, width - 1) for name in short.values()]
    if len(set(names)) < len(names):
        return None
    at = {name: width * number + width // 2 for number, name in enumerate(short)}
    return _Columns(names, at, width * len(names))


def _draw_arrow(line: list[str], start: int | None, to: int, stroke: str) -> None:
    """Draw an arrow to a lifeline: from another one, from itself, from nowhere."""
    if start is None:
        line[to - 3 : to] = stroke, stroke, ">"
    elif start == to:
        line[to + 1 : to + 4] = "<", stroke, stroke
    elif start < to:
        line[start + 1 : to] = [*stroke * (to - start - 2), ">"]
    else:
        line[to + 1 : start] = ["<", *stroke * (start - to - 2)]


def _listed(event: Event) -> str:
    """Return the row of an event in a list."""
    caption, dst = caption_of(event), name_of(event.dst)
    if _is_across(event):
        return f"-- {caption} --"
    if event.kind in STROKES:
        arrow = f"{STROKES[event.kind]}>"
        return f"{name_of(event.src)} {arrow} {dst}  {caption}".lstrip()
    return f"{dst}  {caption}"


# --- Mermaid ---


def _mermaid(
    trace: Sequence[Event], shown: list[tuple[int, int]], marked: tuple[int, ...]
) -> str:
    names = _short(_participants(trace[at] for at, _ in shown)) or {"": "program"}
    alias = {name: f"p{number}" for number, name in enumerate(names, 1)}
    lines = ["sequenceDiagram"]
    lines += [f"participant {alias[name]} as {_safe(names[name])}" for name in names]
    everybody = ",".join(dict.fromkeys([alias[next(iter(names))], f"p{len(names)}"]))
    for at, cut in shown:
        if cut:
            lines.append(f"Note over {everybody}: {_rows_cut(cut)}")
        row = _statement(trace[at], at, alias, everybody)
        lines += _in_a_box(row) if at in marked else [row]
    return "\n    ".join(lines) + "\n"


def _in_a_box(row: str) -> Iterator[str]:
    yield "rect rgb(255, 224, 178)"
    yield row
    yield "end"


def _statement(event: Event, at: int, alias: dict[str, str], everybody: str) -> str:
    text = f"{at} {_safe(caption_of(event))}".rstrip()
    if _is_across(event):
        return f"Note over {everybody}: {text}"
    if event.kind in STROKES and event.src:
        arrow = "-->>" if event.kind == "reply" else "->>"
        return f"{alias[event.src]}{arrow}{alias[event.dst]}: {text}"
    return f"Note over {alias[event.dst]}: {text}"


def _safe(text: str) -> str:
    """Write what means something to Mermaid, or to HTML, by its number."""
    text = re.sub(
        r"[#;:<>&%{}\\\"`]", lambda found: f"#{ord(found[0])};", _cut(text, 60)
    )
    # Alone it would end a box.
    return re.sub(r"\bend\b", "#101;nd", text, flags=re.IGNORECASE)
