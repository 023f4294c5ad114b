"""What can go wrong between an actor and its journal.

Rules of this file:

* What is not known to be stored is never taken for stored, nor for not stored.
"""

from __future__ import annotations

from .._errors import ActorError


class WriteFailed(ActorError):
    """An event may or may not be stored: the actor restarts and reads again."""


class Fenced(WriteFailed):
    """Another writer has taken over this entity; this one stops."""

    _directive = "stop"  # to claim it again would be a fight without end


class Damaged(ActorError):
    """The file cannot be read; it was set aside under the name in the text."""

    _directive = "stop"  # nothing is read until somebody has looked at it


class Unreadable(ActorError):
    """What is stored is no value of this program: another version of it wrote it."""
