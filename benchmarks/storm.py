"""Crash storm: many actors under one supervisor fail at once, again and again.

*workers* actors under one supervisor each have *crashes* messages in their mailboxes,
and fail at each. One failure costs one worker: the others are not restarted with it
(one_for_one). The clock runs from before the first message is handled until every
worker, in its last incarnation, has answered.

An operation is a crash with its restart.
"""

import math
from collections.abc import Mapping
from time import process_time

import trio

from trio_actors import ChildSpec, Mailbox, open_actor_system

from ._books import check, check_books, without_log
from ._records import Sample, Workload
from .restart import RULES, Crasher, Incarnation

WORKLOADS = (
    Workload(
        name="storm",
        title="crash storm",
        unit="restart",
        sizes={"workers": 100, "crashes": 100},
        quick={"workers": 20, "crashes": 15},
    ),
)


async def _measure(workers: int, crashes: int) -> Sample:
    specs = [
        ChildSpec(f"worker-{number}", Crasher, mailbox=Mailbox(math.inf))
        for number in range(workers)
    ]
    incarnations = 0
    async with open_actor_system("storm") as system:
        team = await system.spawn_supervisor(*specs, supervision=RULES)
        refs = [team.child(spec) for spec in specs]
        for message in range(crashes):
            for ref in refs:
                ref.tell_nowait(message)
        begin = process_time()
        for ref in refs:
            incarnations += await ref.ask(Incarnation())
        seconds = process_time() - begin
    check("incarnations", incarnations, workers * (crashes + 1))
    check("failed", check_books(system)["failed"], workers * crashes)
    return Sample(workers * crashes, seconds)


def storm(sizes: Mapping[str, int]) -> Sample:
    """Let all fail."""
    with without_log():
        return trio.run(_measure, sizes["workers"], sizes["crashes"])
