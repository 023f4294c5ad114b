"""Worlds that must fail, and what they fail with."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from trio_actors.testing import World, run


def failing(
    scenario: Callable[[World], Awaitable[object]], kind: type[BaseException]
) -> str:
    """Run a scenario that must fail; return the texts of what it failed with."""
    with pytest.raises(BaseException) as caught:  # looked at below
        run(scenario)
    found = leaves(caught.value)
    assert any(isinstance(one, kind) for one in found), found
    return "\n".join(str(one) for one in found)


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        inner: tuple[BaseException, ...] = cast("Any", error).exceptions
        return [leaf for one in inner for leaf in leaves(one)]
    return [error]
