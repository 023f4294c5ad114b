"""Scenarios as Erlang reads them, and where their recording is."""

import hashlib
from pathlib import Path
from typing import Any, cast

import attrs

from tests.otp.scenarios import SCENARIOS
from tests.otp.table import Scenario

RECORDED = Path(__file__).parent / "recorded.json"


def term(value: Any) -> str:
    """Return *value* as an Erlang term; a string becomes an atom."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}'"
        case None:
            return "none"
        case int() | float():
            return str(value)
        case list() | tuple():
            return f"[{', '.join(map(term, cast('list[Any]', value)))}]"
        case dict():
            pairs = cast("dict[str, Any]", value).items()
            return f"#{{{', '.join(f'{key} => {term(item)}' for key, item in pairs)}}}"
        case _:
            raise TypeError(f"{value!r} is no Erlang term")


def line(scenario: Scenario) -> str:
    """Return what the recorder has to know about *scenario*."""
    known = attrs.asdict(scenario)
    return term({key: known[key] for key in ("name", "top", "script")})


def digest() -> str:
    """Return a fingerprint of all that is played: another one needs a new recording."""
    return hashlib.sha256("".join(map(line, SCENARIOS)).encode()).hexdigest()
