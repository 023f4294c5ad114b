"""What both type checkers must see; the cases are in ``typing/`` and ``programs/``."""

from importlib.util import find_spec

import pytest

from tests.typing.check import CHECKERS, check


@pytest.mark.checkers
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_checker_accepts_the_programs_and_refuses_every_wrong_use(
    checker: str,
) -> None:
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: nox -s typing has it")
    assert check(checker) == []
