"""Three replicas in one process: ``python -m examples.ipseity``, and ``--help``."""

import argparse
import os
import sys

import trio

from trio_actors import ActorRef, ActorSystem, open_actor_system

from .events import Event, EventType, Next, NextIdentity, ReplicaMessage, Sync
from .replica import Replica

EVERY = 0.1
"""Seconds between two syncs."""


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.ipseity",
        description="Identity numbers from three replicas that keep in step.",
    )
    parser.add_argument(
        "--ids",
        choices=["plain", "pairs", "strided"],
        default="plain",
        help="what is handed out: numbers that are unique per replica, pairs of replica"
        " and number, or numbers of which no two replicas have one in common"
        " (%(default)s)",
    )
    parser.add_argument(
        "--trace", action="store_true", help="show each event of the first replica"
    )
    return parser.parse_args(argv)


async def show(
    system: ActorSystem,
    ref: ActorRef[ReplicaMessage],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Print what a replica takes, one event after the other."""
    with system.trace(ref) as messages:
        task_status.started()
        async for message in messages:
            is_request = isinstance(message, Next | NextIdentity)
            name = EventType.IDENTITY_REQUEST if is_request else message
            print(f"  {ref.path} takes {name}")


async def number_from(ref: ActorRef[ReplicaMessage], ids: str) -> str:
    """Return the next number as a text."""
    if ids == "pairs":
        identity = await ref.ask(NextIdentity())
        return f"({identity.pid}, {identity.seq})"
    return str(await ref.ask(Next()))


async def main(ids: str = "plain", *, trace: bool = False) -> None:
    async with open_actor_system("ipseity") as system, trio.open_nursery() as nursery:
        stride = 3 if ids == "strided" else 1
        replicas = [
            await system.spawn(Replica, EVERY, pid, stride, name=f"replica-{pid}")
            for pid in range(3)
        ]
        if trace:
            await nursery.start(show, system, replicas[0])
        numbers = [await number_from(replicas[0], ids) for _ in range(10)]
        print("replica-0:", *numbers)
        print("replica-1 knows nothing yet:", await number_from(replicas[1], ids))
        for replica in replicas:
            await replica.tell(Sync(on=True))
        await trio.sleep(2.5 * EVERY)
        print("replica-1 after a sync:", await number_from(replicas[1], ids))
        await replicas[2].tell(Event(EventType.SYNC_REPLY, 41))
        await trio.sleep(2.5 * EVERY)
        print("replica-0, as replica-2 was at 41:", await number_from(replicas[0], ids))
        nursery.cancel_scope.cancel()


def run(argv: list[str] | None = None) -> int:
    options = arguments(argv)
    code = 0
    try:
        trio.run(lambda: main(options.ids, trace=options.trace))
        print(end="", flush=True)
    except* KeyboardInterrupt:
        code = 130
    except* OSError as group:  # "| head -1" has read enough, or the disk is full
        print("the output cannot be written:", first_of(group), file=sys.stderr)
        # Python tries it again at its end, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    return code


def first_of(group: ExceptionGroup[OSError]) -> OSError:
    """Return the first failure in a group, or in a group in it."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, ExceptionGroup) else first


if __name__ == "__main__":
    sys.exit(run())
