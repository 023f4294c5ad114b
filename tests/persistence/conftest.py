"""A PostgreSQL server for all tests, and a schema for each."""

from collections.abc import Iterator
from itertools import count

import psycopg
import pytest

from .server import NEEDS_SERVER, Server, find_binaries, open_server

numbers = count(1)


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
    name = f"test_{next(numbers)}"
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute(f"create schema {name}".encode())
    return f"{server.conninfo} options='-c search_path={name}'"
