"""Which of several actors has which key.

Rules of this file:

* A key leads to one actor by rendezvous hashing: when the actors change, only the keys
  of those that came or went move. Equal keys have equal hashes; text is hashed by
  CRC-32, so that it is the same in every process.
"""

from __future__ import annotations

import dataclasses
import enum
import zlib
from collections.abc import Hashable
from functools import cached_property
from typing import Any, cast

import attrs

from ._ref import ActorRef

KEYS = 1024
"""For how many keys a pool remembers who has them, at least."""
KEYS_EACH = 32
"""And for how many for each of many actors: to find out costs a look at each."""


def key_hash(key: Hashable) -> int:
    """Return a number that is the same for equal keys, and in every process."""
    if isinstance(key, str):
        return zlib.crc32(key.encode("utf-8", "surrogatepass"))
    if isinstance(key, bytes):
        return zlib.crc32(key)
    if key is None:
        return 0  # its own hash is an address before Python 3.12
    if isinstance(key, enum.Enum):
        return key_hash((type(key).__name__, key.name))
    if isinstance(key, frozenset):
        return sum(map(key_hash, cast("frozenset[Hashable]", key)))
    parts = _parts(key)
    return hash(key) if parts is None else hash(tuple(map(key_hash, parts)))


def _parts(key: Hashable) -> tuple[Hashable, ...] | None:
    """Return what a key that is made of others is equal by."""
    if isinstance(key, tuple):
        return cast("tuple[Hashable, ...]", key)
    kind = type(key)
    if attrs.has(kind):
        fields = attrs.fields(kind)
        return tuple(getattr(key, one.name) for one in fields if one.eq)
    if dataclasses.is_dataclass(key):
        fields = dataclasses.fields(key)
        return tuple(getattr(key, one.name) for one in fields if one.compare)
    return None


class Crew(tuple[ActorRef[Any], ...]):  # noqa: SLOT001  # it remembers
    """The actors behind a ref, until one comes or goes, and which has which key."""

    @cached_property
    def _paths(self) -> list[bytes]:
        return [ref.path.encode() for ref in self]

    @cached_property
    def _owners(self) -> dict[int, ActorRef[Any]]:
        return {}

    @cached_property
    def _known(self) -> list[int]:
        return []

    def owner(self, key: int) -> ActorRef[Any]:
        """Return who has a key; it is known at once for many keys."""
        found = self._owners.get(key)
        if found is None:
            first = zlib.crc32(f"{key}|".encode())
            # CRC alone is linear: some would get ten times as many keys as others.
            weights = [
                zlib.crc32(path, first) * 0x9E3779B1 & 0xFFFFFFFF
                for path in self._paths
            ]
            found = self[weights.index(max(weights))]
            self._remember(key, found, first)
        return found

    def _remember(self, key: int, owner: ActorRef[Any], place: int) -> None:
        """Note who has a key, in place of another one if there are too many.

        Of which one is as good as chance: with the oldest out first, keys that come
        again and again in turn, and are a few too many, would never be known.
        """
        known = self._known
        if len(known) < max(KEYS, KEYS_EACH * len(self)):
            known.append(key)
        else:
            at = place % len(known)
            del self._owners[known[at]]
            known[at] = key
        self._owners[key] = owner
