"""Each trap that is known to make a search miss something, or blame the innocent."""

import pytest

from tests.testing.searched import (
    crashed_reader,
    failure_of,
    forgotten,
    full,
    impatient,
    overtaken,
    polled,
    polled_in_vain,
    seen,
    shared_total,
    stopped_meanwhile,
    two_tasks,
    two_writes,
)
from trio_actors.testing import Faults, _pilot, check


def test_a_planned_crash_beside_readers_has_both_outcomes() -> None:
    """Trap: "a planned crash at the k-th step together with read-only handlers"."""
    program, notes = seen(crashed_reader)
    assert check(program, exhaustive=True, faults=Faults(crash=1)).verified
    assert {("ActorFailed", 0), ("ActorFailed", 1)} <= notes
    assert {(0, 1), (1, 1)} <= notes


def test_who_looks_whether_another_lives_sees_both() -> None:
    """Trap: "A is stopped while B looks whether it lives"."""
    program, notes = seen(stopped_meanwhile)
    assert check(program, exhaustive=True).verified
    assert notes >= {(True, 0), (False, "ActorStopped"), (True, "ActorStopped")}


def test_each_of_two_may_be_the_one_that_gets_mailbox_full() -> None:
    """Trap: "who gets `MailboxFull` in a bounded mailbox"."""
    program, notes = seen(full)
    assert check(program, exhaustive=True).verified
    assert notes == {(1, 2), (1, "MailboxFull"), ("MailboxFull", 2)}


def test_a_late_retry_is_found_only_where_timers_race() -> None:
    """Trap: timers that fire only when all is idle; the verdict says so."""
    assert "paid twice" in str(failure_of(impatient).error)
    idle = check(impatient, timers="idle")
    assert idle.verified
    assert "timers only at quiescence" in str(idle)


def test_messages_in_the_order_of_sending_overtake_nobody() -> None:
    """`order` is a part of the verdict: "enqueue" is what one process does."""
    assert "the long way" in str(failure_of(overtaken).error)
    enqueued = check(overtaken, order="enqueue")
    assert enqueued.verified
    assert "in the order of sending" in str(enqueued)


def test_two_tasks_of_a_handler_are_mixed_at_the_level_of_checkpoints() -> None:
    assert check(two_tasks).verified
    failure = failure_of(two_tasks, level="checkpoint")
    assert "an update was lost" in str(failure.error)
    again = check(two_tasks, level="checkpoint", replay=failure.token)
    assert again.failure is not None


def test_handlers_of_two_actors_are_mixed_at_the_level_of_checkpoints() -> None:
    """What they share is seen only there, and what is only sampled is not verified."""
    assert check(shared_total).verified
    failure = failure_of(shared_total, level="checkpoint")
    assert "an update was lost" in str(failure.error)
    again = check(shared_total, level="checkpoint", replay=failure.token)
    assert again.failure is not None
    assert not check(two_writes, level="checkpoint", schedules=20).verified


def test_who_waits_at_checkpoints_holds_up_nobody() -> None:
    """It is not a schedule of trio's that one task goes on for ever, and alone."""
    found = check(polled, level="checkpoint", schedules=30)
    assert found.failure is None
    assert found.schedules == 30


def test_who_waits_at_checkpoints_for_ever_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_pilot, "STEPS", 200)
    error = failure_of(polled_in_vain, level="checkpoint", schedules=1).error
    assert "the test does not settle: it has taken 200 steps" in str(error)


def test_a_crash_that_is_drawn_is_found_and_can_be_replayed() -> None:
    assert check(forgotten).verified
    failure = failure_of(forgotten, faults=Faults(crash=1))
    again = check(forgotten, faults=Faults(crash=1), replay=failure.token)
    assert again.failure is not None
    planned = failure_of(forgotten, faults=Faults(crash=1), exhaustive=True)
    once = check(
        forgotten, faults=Faults(crash=1), exhaustive=True, replay=planned.token
    )
    assert once.failure is not None
