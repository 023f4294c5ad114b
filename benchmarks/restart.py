"""W7 restart: an actor that fails at each message, and starts again.

*crashes* messages wait in the mailbox of one actor under a supervisor; its handler
raises at each of them. After each failure the supervisor starts the actor again, with
the mailbox there was and a new state, and counts the restart in its window. The clock
runs from before the first message is handled until the incarnation after the last
failure has answered.

An operation is a crash with its restart. The base has a plain handler; another row has
an async one, which needs a cancel scope per incarnation. No log is written, by anybody.
In a third row each failure gets its notes and its record in the log, which a handler
throws away.
"""

import math
from collections.abc import Mapping
from time import process_time

import attrs
import trio

from trio_actors import (
    Actor,
    Mailbox,
    Request,
    Supervision,
    handler,
    open_actor_system,
)

from ._books import check, check_books, with_log_unwritten, without_log
from ._records import Sample, Workload

FULL = {"crashes": 10_000}
QUICK = {"crashes": 500}

WORKLOADS = (
    Workload(
        name="restart",
        title="W7 restart",
        unit="restart",
        sizes=FULL,
        quick=QUICK,
        targets={"naive": 5, "otp": 10},
    ),
    Workload(
        name="restart_async",
        title="W7 restart, async handler",
        unit="restart",
        sizes=FULL,
        quick=QUICK,
        targets={"naive": 2.5},
        like="restart",
    ),
    Workload(
        name="restart_logged",
        title="W7 restart, with its log",
        unit="restart",
        sizes=FULL,
        quick=QUICK,
        like="restart",
    ),
)

# The window is kept, and counts; it only has room for all of them.
RULES = Supervision("one_for_one", max_restarts=10**9, within=5.0)


class Crash(Exception):
    """What is raised on purpose."""


@attrs.frozen
class Incarnation(Request[int]):
    """How often was it started?"""


class Crasher(Actor[int | Incarnation]):
    """Fails, in a plain handler."""

    @handler
    def crash(self, message: int) -> None:
        """Fail."""
        raise Crash

    @handler
    def report(self, message: Incarnation) -> int:
        """Tell how often it was started."""
        return self.context.incarnation


class AsyncCrasher(Actor[int | Incarnation]):
    """Fails, in an async handler."""

    @handler
    async def crash(self, message: int) -> None:
        """Fail."""
        raise Crash

    @handler
    async def report(self, message: Incarnation) -> int:
        """Tell how often it was started."""
        return self.context.incarnation


async def _measure(actor: type[Actor[int | Incarnation]], crashes: int) -> Sample:
    async with open_actor_system("restart", supervision=RULES) as system:
        ref = await system.spawn(actor, name="crasher", mailbox=Mailbox(math.inf))
        for message in range(crashes):
            ref.tell_nowait(message)
        begin = process_time()
        incarnation = await ref.ask(Incarnation())
        seconds = process_time() - begin
    check("incarnations", incarnation, crashes + 1)
    check("failed", check_books(system)["failed"], crashes)
    return Sample(crashes, seconds)


def restart(sizes: Mapping[str, int]) -> Sample:
    """Fail in a plain handler."""
    with without_log():
        return trio.run(_measure, Crasher, sizes["crashes"])


def restart_async(sizes: Mapping[str, int]) -> Sample:
    """Fail in an async handler."""
    with without_log():
        return trio.run(_measure, AsyncCrasher, sizes["crashes"])


def restart_logged(sizes: Mapping[str, int]) -> Sample:
    """Fail in a plain handler, and let each failure be told in the log."""
    with with_log_unwritten():
        return trio.run(_measure, Crasher, sizes["crashes"])
