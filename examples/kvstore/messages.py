"""What the actors of the store are told, and under which name they are found."""

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from trio_actors import Request, ServiceKey


@attrs.frozen
class Set(Request[None]):
    """Answered when it is durable."""

    key: str
    value: str


@attrs.frozen
class Get(Request[str | None]):
    """Answered with the value, or None."""

    key: str


@attrs.frozen
class Delete(Request[None]):
    """Answered when it is durable, also if there was nothing to delete."""

    key: str


@attrs.frozen
class Since(Request[float]):
    """Answered with when its writer was started, on the system's clock."""


@attrs.frozen
class Reset:
    """Let the store start over, with a new writer and with what is stored."""


@attrs.frozen
class Loaded:
    """What a writer has read, and when it was started."""

    data: Mapping[str, str]
    since: float


@attrs.frozen
class Load(Request[Loaded]):
    """Answered by a writer with all there is."""


Command: TypeAlias = Set | Get | Delete | Since
"""To a store."""

Change: TypeAlias = Set | Delete

WriterMessage: TypeAlias = Load | Set | Delete

ROUTER = ServiceKey[Command | Reset]("kv-router", unique=True)
"""Who all traffic goes through."""


def changed(data: Mapping[str, str], change: Change) -> dict[str, str]:
    """Return what *data* is after a change."""
    match change:
        case Set(key, value):
            return {**data, key: value}
        case Delete(key):
            return {name: value for name, value in data.items() if name != key}
