"""Whether two runs of one schedule were the same, or have failed in the same way.

Rules of this file:

* A class is known by its name: one that is made in a test is another one in each run.
"""

from __future__ import annotations

import traceback

from .._errors import leaves
from ._events import Run
from ._search import OTHER_STEP, not_repeatable


def is_like(one: BaseException | None, other: BaseException | None) -> bool:
    """Whether two runs failed in the same way: of one type, and at one place."""
    if one is None or other is None:
        return one is other
    return list(map(_kind, leaves(one))) == list(map(_kind, leaves(other)))


def _kind(error: BaseException) -> object:
    """Return what it is, by name: the class may be made in each run; and where."""
    return type(error).__module__, type(error).__qualname__, _place(error)


def _place(error: BaseException) -> object:
    """Return where it was raised: the innermost file and line."""
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return places[-1] if places else None


def check_same(run: Run, again: Run) -> None:
    """Compare two runs of one schedule.

    Raises:
        NotRepeatable: They differ; the text says where first.
    """
    for number, (one, other) in enumerate(zip(run.trace, again.trace, strict=False)):
        if one.key != other.key:
            raise not_repeatable(
                f"step {number} was {' '.join(one.key)}, and then"
                f" {' '.join(other.key)}",
                OTHER_STEP,
            )
    if len(run.trace) != len(again.trace) or not is_like(run.error, again.error):
        raise not_repeatable(
            f"{len(run.trace)} steps and {run.error!r}, and then"
            f" {len(again.trace)} steps and {again.error!r}"
        )
