"""Messages of the library: values that cannot be changed, and tags.

Rules: S0-1 (immutable messages), S0-9, section 4 of the design.
"""

from typing import Any, cast

import attrs
import pytest
from hypothesis import given, strategies as st

from tests.kit import Counter, Get, Note
from trio_actors import (
    DeadLetter,
    Event,
    Exit,
    Request,
    ServiceKey,
    Terminated,
    Topic,
    tagged,
)
from trio_actors._messages import Signal
from trio_actors.testing import World


async def test_what_is_told_of_actors_cannot_be_changed(world: World) -> None:
    """A watcher must not change what the next one gets."""
    ref = await world.spawn(Counter)
    values: list[Any] = [
        Exit("normal"),
        Terminated(ref, Exit("normal")),
        DeadLetter(Note(), ref, "stopped"),
        Event("started", ref),
        ServiceKey[int]("key"),
        Topic[int]("topic"),
    ]
    for value in values:
        for field in attrs.fields(cast("Any", type(value))):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(value, field.name, None)
        assert value == attrs.evolve(value)
        assert hash(value) == hash(attrs.evolve(value))


def test_a_normal_end_is_one_that_was_wished() -> None:
    """SUP: a transient child is not restarted after `normal` and `shutdown`."""
    normal = [Exit("normal"), Exit("shutdown", None, "detail")]
    others = [
        Exit("failed", ValueError()),
        Exit("killed"),
        Exit("start_failed"),
        Exit("restart_limit"),
        Exit("node_lost"),
    ]
    assert all(one.is_normal for one in normal)
    assert not any(one.is_normal for one in others)


def test_an_end_can_be_matched() -> None:
    match Exit("failed", error := ValueError(), "why"):
        case Exit("failed", found, detail):
            assert (found, detail) == (error, "why")
        case other:
            raise AssertionError(other)


async def test_the_end_of_an_actor_can_be_matched(world: World) -> None:
    """`Terminated.__match_args__`."""
    ref = await world.spawn(Counter)
    match Terminated(ref, Exit("killed")):
        case Terminated(found, Exit("killed")):
            assert found is ref
        case other:
            raise AssertionError(other)


def test_a_request_says_what_it_is_answered_with_to_checkers_only() -> None:
    with pytest.raises(NotImplementedError):
        Get().__answered_with__()
    with pytest.raises(NotImplementedError):
        ServiceKey[int]("k").__served__()
    with pytest.raises(NotImplementedError):
        Topic[int]("t").__published__()
    with pytest.raises(NotImplementedError):
        Signal().open()


def test_a_request_may_be_written_with_or_without_attrs() -> None:
    class Bare(Request[int]):
        __slots__ = ()

    assert isinstance(Bare(), Request)
    assert not hasattr(Bare(), "__dict__")
    assert Get() == Get()


# --- Tags -------------------------------------------------------------------


def test_a_tag_names_a_class_outside_of_the_process() -> None:
    @tagged("deposited@1")
    @attrs.frozen
    class Deposited:
        amount: int

    def upcast(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "currency": "EUR"}

    @tagged("deposited@2", upcast=upcast)
    @attrs.frozen
    class DepositedIn:
        amount: int
        currency: str

    assert Deposited(3).amount == 3
    first: Any = Deposited
    second: Any = DepositedIn
    assert (first.__tagged__.name, first.__tagged__.version) == ("deposited", 1)
    assert (second.__tagged__.name, second.__tagged__.version) == ("deposited", 2)
    assert first.__tagged__.upcast is None
    assert second.__tagged__.upcast({"amount": 3}) == {"amount": 3, "currency": "EUR"}


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "deposited",
        "deposited@",
        "@1",
        "deposited@0",
        "deposited@-1",
        "deposited@01",
        "deposited@1.5",
        "deposited@one",
        "deposited@1 ",
        " deposited@1",
        "two words@1",
        "a@b@1",
        "deposited@1\n",
    ],
)
def test_a_tag_is_a_name_and_a_version(tag: str) -> None:
    with pytest.raises(ValueError, match="is no tag") as caught:
        tagged(tag)
    assert repr(tag) in str(caught.value)
    assert '@tagged("deposited@1")' in str(caught.value)


def test_a_first_version_is_made_from_nothing() -> None:
    with pytest.raises(ValueError, match="is the first version.*raise the version"):
        tagged("deposited@1", upcast=dict)


@given(
    st.text(st.characters(blacklist_characters="@"), min_size=1).filter(
        lambda name: not any(one.isspace() for one in name)
    ),
    st.integers(min_value=1),
)
def test_any_name_without_spaces_and_any_version_is_a_tag(
    name: str, version: int
) -> None:
    @tagged(f"{name}@{version}")
    class Stored:
        pass

    stored: Any = Stored
    assert (stored.__tagged__.name, stored.__tagged__.version) == (name, version)
