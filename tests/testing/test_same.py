"""Whether two runs have failed in the same way."""

import pytest

from tests.testing.searched import failure_of
from trio_actors.testing import World
from trio_actors.testing._same import is_like


def test_a_class_that_is_made_in_each_run_is_one_class() -> None:
    """It was told as a run that does not repeat itself."""

    async def program(world: World) -> None:
        class Boom(Exception): ...

        raise Boom("here")

    assert type(failure_of(program).error).__name__ == "Boom"


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_groups_are_compared_by_what_is_in_them() -> None:
    one, other = raised(ValueError()), raised(KeyError())
    assert is_like(ExceptionGroup("a", [one]), ExceptionGroup("b", [one]))
    assert not is_like(ExceptionGroup("a", [one]), ExceptionGroup("a", [other]))
    assert not is_like(one, None)
    assert is_like(None, None)
    assert is_like(ValueError(), ValueError())  # neither was raised
