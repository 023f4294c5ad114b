"""How many connections the system lets one program have."""

import logging

try:
    import resource
except ImportError:  # Windows counts no descriptors
    resource = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

SPARE_FILES = 100
"""Descriptors for all that is not a client."""


def affordable(clients: int) -> int:
    """Raise the limit of open files as far as needed; return how many clients fit."""
    if resource is None:
        return clients
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = clients + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    fits = clients if soft == resource.RLIM_INFINITY else soft - SPARE_FILES
    if fits >= clients:
        return clients
    log.warning(
        "there is room for %d clients, not %d: the system allows this program %d "
        "open files; more with  ulimit -Hn %d  (as root) before the start",
        fits,
        clients,
        soft,
        clients + SPARE_FILES,
    )
    return fits
