"""Print what happens in the zoo under given tokens, as one digest for each animal.

``python -m tests.testing.replayed lost_update=ta1:... mutual_ask=ta1:...``
"""

import hashlib
import logging
import sys

from tests.zoo import ZOO
from trio_actors.testing import check


def digest(name: str, token: str) -> str:
    """Return a digest of all that there is to see of a run."""
    (animal,) = (one for one in ZOO if one.name == name)
    failure = check(animal.broken, replay=token, **animal.options).failure
    assert failure is not None
    seen = [
        (event.key, event.kind, event.label, sorted(event.footprint.items()))
        for event in failure._run.trace
    ]
    told = f"{seen} {failure._run.ranks} {failure.error!r} {failure}"
    return hashlib.sha256(told.encode()).hexdigest()


def main() -> None:
    """Print them."""
    logging.disable(logging.CRITICAL)
    for argument in sys.argv[1:]:
        name, _, token = argument.partition("=")
        print(name, digest(name, token))


if __name__ == "__main__":
    main()
