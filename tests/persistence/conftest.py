"""A PostgreSQL server for all tests, and a schema for each."""

from collections.abc import Iterator

import pytest

from .server import NEEDS_SERVER, Server, find_binaries, fresh_schema, open_server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that runs."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(NEEDS_SERVER)
    with open_server(binaries) as server:
        yield server


@pytest.fixture
def conninfo(server: Server) -> str:
    """Where a schema is in which there is nothing yet."""
    return fresh_schema(server)
