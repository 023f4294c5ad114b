"""Timers of one actor: keyed, replaced, and never late after they were cancelled.

Rules of this file (TIM-1):

* A tick is a signal: it takes its place in the queue, waits for no room, and lapses
  when its timer was cancelled or replaced meanwhile.
* At most one tick of a timer is undelivered.
* A timer belongs to an incarnation: restart, drain and stop cancel it, and what is set
  after that never fires.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from ._errors import show
from ._messages import LAPSED, Signal

if TYPE_CHECKING:
    from ._cell import Cell
    from ._runtime import Alarm

FROM_MESSAGE: Any = object()
"""The default key: the message itself."""


class Timer:
    """A message that an actor gets at a time, once or again and again."""

    _alarm: Alarm  # from its start on

    __slots__ = (
        "_alarm",
        "_cell",
        "_due",
        "alive",
        "interval",
        "key",
        "message",
        "out",
    )

    def __init__(
        self, cell: Cell, key: Hashable, message: object, interval: float | None
    ) -> None:
        self._cell = cell
        self.key = key
        self.message = message
        self.interval = interval
        self.alive = True
        self.out = False  # a tick is on its way
        self._due = 0.0

    def start(self, delay: float) -> None:
        """Fire in *delay* seconds."""
        cell = self._cell
        self._due = cell.runtime.now() + delay
        self._alarm = cell.runtime.call_at(self._due, self._fire, cell.path, self.key)

    def cancel(self) -> None:
        """Never fire again; a tick on its way lapses."""
        self.alive = False
        self._alarm.cancel()

    def _fire(self) -> None:
        if not self.out:
            self.out = True
            self._cell.box.put_signal(Tick(self))
        if self.interval is not None:
            # Ticks that were missed are not made up for (a pause gives no burst).
            late = max(0.0, self._cell.runtime.now() - self._due)
            self.start(self.interval - math.fmod(late, self.interval))


class Tick(Signal):
    """One firing of a timer on its way to the actor."""

    __slots__ = ("_timer",)

    def __init__(self, timer: Timer) -> None:
        super().__init__()
        self._timer = timer

    def open(self) -> object:
        """Return the timer's message, or LAPSED if it was cancelled meanwhile."""
        timer = self._timer
        timer.out = False
        if not timer.alive:
            return LAPSED
        if timer.interval is None and timer._cell.timers is not None:
            del timer._cell.timers[timer.key]
        return timer.message


def set_timer(
    cell: Cell, delay: float, message: object, key: Hashable, *, repeat: bool
) -> None:
    """Start a timer; one of the same key is replaced."""
    what = "interval" if repeat else "delay"
    if not _is_number(delay):
        raise TypeError(
            f"the {what} of a timer is seconds, but got {show(delay)}. Write"
            f" send_{'every' if repeat else 'after'}(1.0, message)."
        )
    if not (0 <= delay < math.inf) or (repeat and delay == 0):
        raise ValueError(
            f"the {what} of a timer is {'more than' if repeat else 'at least'} 0"
            f" seconds and finite, not {delay!r}."
        )
    key = _checked(message if key is FROM_MESSAGE else key)
    cancel_timer(cell, key)
    if cell.between or cell.box.door:
        return  # its timers have been stopped already
    if cell.timers is None:
        cell.timers = {}
    timer = Timer(cell, key, message, delay if repeat else None)
    cell.timers[key] = timer
    timer.start(delay)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _checked(key: object) -> Hashable:
    try:
        hash(key)
    except TypeError:
        raise TypeError(
            f"a timer's key must be hashable, but got {show(key)}. The default key is"
            " the message itself: make its class frozen, or give key=..."
        ) from None
    return key


def cancel_timer(cell: Cell, key: Hashable) -> None:
    """Cancel a timer, and its tick if that is on its way."""
    timer = cell.timers.pop(key, None) if cell.timers else None
    if timer is not None:
        timer.cancel()


def cancel_timers(cell: Cell) -> None:
    """Cancel all timers of an actor."""
    if cell.timers is not None:
        for timer in cell.timers.values():
            timer.cancel()
        cell.timers = None
