"""What takes too long for each change runs at night: ``nox -s nightly``."""

import os

import pytest

NIGHTLY = "TRIO_ACTORS_NIGHTLY" in os.environ

nightly = pytest.mark.skipif(
    not NIGHTLY, reason="takes long: nox -s nightly, or set TRIO_ACTORS_NIGHTLY"
)
