"""What a user sees: these names, and no others."""

import inspect
from typing import Any

import pytest

import trio_actors
import trio_actors.persistence
import trio_actors.testing

FACES = (trio_actors, trio_actors.testing, trio_actors.persistence)
ACTOR = (
    "become context mailbox restarted restarting started stopped supervision "
    "unbecome unhandled"
)
DURABLE = f"{ACTOR} cancel_reminder deliver key post remember_for remind state"
JOURNAL = "append claim notes pending read"
SPAWNER = "spawn spawn_nowait spawn_pool spawn_supervisor"
REF = (
    "ask ask_nowait drain kill path restart stop tell tell_all tell_from_thread "
    "tell_nowait tell_soon wait_stopped"
)
CONTEXT = (
    f"{SPAWNER} cancel_timer children deadline defer_reply forward heartbeat "
    "incarnation link parent random ref register send_after send_every start_soon "
    "stash stop subscribe system unlink unregister unstash_all unsubscribe "
    "unwatch watch"
)
SYSTEM = (
    f"{SPAWNER} dead_letters events find find_all name publish random register service "
    "snapshot statistics stop subscribe trace unregister"
)
INTERFACE = {
    "Actor": ACTOR,
    "ActorRef": REF,
    "ActorSystem": SYSTEM,
    "Backoff": "factor jitter max min reset_after",
    "ChildSpec": "name",
    "Context": CONTEXT,
    "DeadLetter": "message reason to",
    "DurableState": f"{DURABLE} save",
    "Entities": "get",
    "Event": "delay error kind ref",
    "EventSourced": f"{DURABLE} persist snapshot_every",
    "Exit": "detail error is_normal kind",
    "Exploration": "blocked classes failure redundant schedules verified",
    "Failure": "diagram error token",
    "Faults": "crash delay drop duplicate",
    "Heartbeat": "every timeout",
    "Inbox": f"{CONTEXT} fail receive reply",
    "Journal": JOURNAL,
    "Mailbox": "capacity overflow",
    "MemoryJournal": f"{JOURNAL} delay fail_next statistics stay_open",
    "Note": "at body key kind",
    "Pending": "abandon done",
    "PoolRef": f"{REF} resize workers",
    "PostgresJournal": JOURNAL,
    "Probe": "expect expect_no_message fail receive ref reply",
    "Reminder": "command_id missed name",
    "Reply": "abandoned fail send",
    "Request": "",
    "Schedule": "deviations",
    "SQLiteJournal": JOURNAL,
    "ServiceKey": "name unique",
    "Snapshot": (
        "capacity children failed handled handling handling_for high_water path queued "
        "render restarts state waits_for"
    ),
    "Subscription": "receive",
    "Supervision": (
        "auto_shutdown backoff directives max_restarts per_child strategy within"
    ),
    "SupervisorRef": (
        f"{REF} {SPAWNER} child count_children delete_child restart_child start_child "
        "terminate_child which_children"
    ),
    "Terminated": "reason ref",
    "Topic": "name",
    "World": f"{SYSTEM} always client crash dead eventually settled use",
}
EXCEPTIONS = {
    name
    for face in (trio_actors, trio_actors.persistence)
    for name in face.__all__
    if inspect.isclass(value := getattr(face, name))
    and issubclass(value, BaseException)
}


def public(name: str) -> Any:
    """Return a public class by its name."""
    return next(getattr(face, name) for face in FACES if hasattr(face, name))


@pytest.mark.parametrize("name", INTERFACE)
def test_a_public_class_shows_its_interface_and_nothing_else(name: str) -> None:
    shown = {member for member in dir(public(name)) if not member.startswith("_")}
    assert shown == set(INTERFACE[name].split())


def test_every_public_class_is_in_the_table() -> None:
    classes = {
        name
        for face in FACES
        for name in face.__all__
        if inspect.isclass(getattr(face, name))
    }
    assert classes - EXCEPTIONS == set(INTERFACE)


@pytest.mark.parametrize("name", sorted(EXCEPTIONS - {"NoSystem"}))
def test_an_exception_of_an_actor_is_an_actor_error(name: str) -> None:
    assert issubclass(public(name), trio_actors.ActorError)
