"""The journal in one file: what every journal does, several processes, and trouble."""

from pathlib import Path

import pytest

from tests.persistence.conformance import TESTS, Test
from trio_actors.persistence import SQLiteJournal


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
async def test_as_every_journal(test: Test, tmp_path: Path) -> None:
    await test(lambda: SQLiteJournal(tmp_path / "journal.db"))
