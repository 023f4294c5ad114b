"""What the tests of actor classes share."""

from collections.abc import Callable

import pytest

from trio_actors import Actor
from trio_actors._declare import complete


def names_of(cls: type) -> dict[str, str]:
    """The table of a class: the names of its messages and of their handlers."""
    table = complete(cls, Actor)
    return {kind.__name__: found.name for kind, found in table.items()}


def refused(make: Callable[[], object]) -> str:
    """Make a wrong class; return what is said about it."""
    with pytest.raises(TypeError) as caught:
        make()
    return str(caught.value)
