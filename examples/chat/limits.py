"""How many connections the system lets one program have."""

try:
    import resource
except ImportError:  # Windows counts no descriptors
    resource = None  # type: ignore[assignment]

SPARE_FILES = 100
"""Descriptors for all that is not a client."""


def affordable(clients: int) -> int:
    """Raise the limit of open files as far as needed; return how many clients fit."""
    if resource is None:
        return clients
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return clients
    wanted = clients + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return min(clients, soft - SPARE_FILES)


def how_to_afford(clients: int) -> str:
    """Return what to do when they do not fit."""
    return (
        f"{clients} clients do not fit: the system allows this program only "
        f"{affordable(clients) + SPARE_FILES} open files.\n"
        f"Start it from a shell where an administrator has said\n"
        f"    ulimit -n {clients + SPARE_FILES}"
    )
