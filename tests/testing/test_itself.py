"""The library tests itself: its own promises, in every order, with every crash.

Issue: "restart, escalation, sweep, ask cancellation, watch, stash, settle and ordered
stop: named programs of more than 100 classes each, with every single planned crash,
within 60 s of CI."
"""

import logging

import pytest

from tests.testing.selftest import PROGRAMS, Program
from trio_actors.testing import Faults, check

every_program = pytest.mark.parametrize(
    "program", PROGRAMS, ids=lambda one: one.__name__
)


def test_each_of_the_eight_has_its_program() -> None:
    names = " ".join(program.__name__ for program in PROGRAMS)
    for word in (
        "restart",
        "escalation",
        "sweep",
        "ask_cancellation",
        "watch",
        "stash",
        "settle",
        "ordered_stop",
    ):
        assert word in names


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of crashes are no news."""
    caplog.set_level(logging.CRITICAL, "trio_actors")


@every_program
def test_it_holds_in_every_order_and_with_every_single_crash(program: Program) -> None:
    found = check(program, exhaustive=True, faults=Faults(crash=1))
    assert found.failure is None, str(found.failure)
    assert found.verified, str(found)
    assert found.classes > 100
