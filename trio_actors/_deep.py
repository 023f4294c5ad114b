"""Going down the tree without recursion: it may be deeper than Python's stack.

Rules of this file:

* What is done and its order are those of the recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Steps: TypeAlias = Iterator[Any]
"""Something to do; it yields other Steps where these have to be done in between."""


def do_all(steps: Steps) -> None:
    """Do what *steps* do, and what they yield, each in its place."""
    stack = [steps]
    while stack:
        inner = next(stack[-1], None)
        if inner is None:
            stack.pop()
        else:
            stack.append(inner)
