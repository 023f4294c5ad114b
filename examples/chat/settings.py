"""Every number of the chat, in one place."""

import attrs

from trio_actors import Backoff


@attrs.frozen(kw_only=True)
class Settings:
    """What may differ between a demonstration, a test and a server."""

    demo: bool = False
    """Whether clients may crash a room, to see it come back."""
    max_clients: int = 20_000
    """Sessions at the same time."""
    max_rooms: int = 1_000
    """Rooms at the same time."""
    history: int = 50
    """Lines that who joins a room is shown."""
    outbox: int = 1024
    """Lines that wait for a slow client."""
    patience: float = 10.0
    """Seconds that a client may take to take a line, or the server to obey one."""
    rate: float = 5.0
    """Lines a second that a client may send in the long run."""
    burst: int = 20
    """Lines that a client may send at once."""
    flood: float = 60.0
    """Seconds that a client may send faster than that before it has to go."""
    keep_empty: float = 600.0
    """Seconds that an empty room keeps its history."""
    pause: Backoff = attrs.field(factory=lambda: Backoff(0.5, 5.0))
    """How long a crashed room stays away."""
    origins: tuple[str, ...] = ()
    """Web origins that may connect besides the server's own."""
    refresh: float = 0.5
    """Seconds between two pictures of the tree."""
