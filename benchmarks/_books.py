"""What every workload of the library checks after its run.

Rules of this file:

* The conservation law: what was accepted is what was handled, or stands in another
  column of the books. Nothing may be left in a mailbox.
* The work was done: a count, or a sum, is what it has to be.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager

from trio_actors import ActorSystem

HELD = ("queued", "stashed", "handling")
LOG = logging.getLogger("trio_actors")


@contextmanager
def without_log() -> Generator[None]:
    """Write no log of failures: a terminal would be what is measured."""
    before = LOG.level
    LOG.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        LOG.setLevel(before)


@contextmanager
def with_log_unwritten() -> Generator[None]:
    """Let each failure make its record in the log, which nobody writes."""
    handler, propagates = logging.NullHandler(), LOG.propagate
    LOG.addHandler(handler)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.propagate = propagates


def check_books(system: ActorSystem) -> Mapping[str, int]:
    """Check the books of a system that has ended; return them.

    Raises:
        RuntimeError: A message was lost, or counted twice.
    """
    books = system.statistics()
    rest = sum(number for name, number in books.items() if name != "accepted")
    if books["accepted"] != rest or any(books[name] for name in HELD):
        raise RuntimeError(f"the books of the system are wrong: {dict(books)}")
    return books


def check(what: str, got: int, expected: int) -> None:
    """Check that the work was done.

    Raises:
        RuntimeError: It was not, or was done twice.
    """
    if got != expected:
        raise RuntimeError(
            f"{what}: {expected} expected, but got {got}. The time that was measured"
            " means nothing."
        )
