"""The journal in memory does what every journal does."""

import pytest

from tests.persistence.conformance import TESTS, Test
from trio_actors.persistence import MemoryJournal


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
async def test_as_every_journal(test: Test) -> None:
    journal = MemoryJournal()
    await test(lambda: journal)
