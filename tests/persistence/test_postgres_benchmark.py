"""The benchmark of the journal in PostgreSQL stores what it says that it stores."""

from benchmarks.postgres import measure

from .server import Server


def test_every_way_stores_its_events(server: Server) -> None:
    """Each counts the rows that it leaves."""
    speeds = measure(server, 2, 1)
    assert len(speeds) == 4
    assert all(speed > 0 for speed in speeds.values())
