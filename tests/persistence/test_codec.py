"""Events and states as bytes, and back: the serializer.

Rules: section 4 of the plan of distribution (closed registry, tags, upcasts); S3: wrong
bytes are never a wrong value.
"""

from contextlib import suppress
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from tests.persistence.events import (
    ACCOUNT,
    Closed,
    Deposited,
    Line,
    Moved,
    Ordered,
    Withdrawn,
    refusal,
    unreadable,
    written,
)
from trio_actors import tagged
from trio_actors.persistence._codec import Codec
from trio_actors.persistence._errors import Unreadable
from trio_actors.persistence._forms import difference

# --- There and back ---------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        Deposited(3, "rent"),
        Withdrawn(3, 1),
        Moved("ada", 2),
        Closed("done"),
        Ordered((Line("a", 1), Line("b", 2))),
        Ordered(()),
    ],
)
def test_an_event_comes_back_as_what_it_was(event: Any) -> None:
    body = ACCOUNT.encode(event)
    again = ACCOUNT.decode(body)
    assert (type(again), again) == (type(event), event)


def test_what_is_stored_has_its_tag_and_the_names_of_its_fields() -> None:
    """The tag is the name outside of this process: no Python path is stored."""
    body = ACCOUNT.encode(Deposited(3, "rent"))
    stored = msgspec.msgpack.decode(body)
    assert stored == ["deposited", 1, {"amount": 3, "memo": "rent"}]
    body = ACCOUNT.encode(Ordered((Line("a", 1),)))
    stored = msgspec.msgpack.decode(body)
    assert stored == ["ordered", 1, {"lines": [{"sku": "a", "qty": 1}]}]


def test_what_is_folded_is_what_was_read() -> None:
    """A handler that changes the event after persist() changes nothing (defect l)."""

    @tagged("tagged@1")
    @attrs.frozen
    class Tagged:
        names: list[str]

    codec = Codec(Tagged, where="Account")
    event = Tagged(["a"])
    body, back = codec.stored(event)
    event.names.append("b")
    assert back == codec.decode(body) == Tagged(["a"])


@given(st.binary() | st.lists(st.integers(0, 9)).map(msgspec.msgpack.encode))
def test_bytes_that_nobody_wrote_are_never_a_value(body: bytes) -> None:
    unreadable(ACCOUNT, body)


@given(st.data())
def test_bytes_that_were_cut_or_changed_are_an_error_or_another_value(
    data: st.DataObject,
) -> None:
    """Never another exception: what fits by chance, the row's check number finds."""
    body = ACCOUNT.encode(Ordered((Line("a", 1), Line("b", 2))))
    place = data.draw(st.integers(0, len(body) - 1))
    unreadable(ACCOUNT, body[:place])
    changed = bytes([*body[:place], data.draw(st.integers(0, 255)), *body[place + 1 :]])
    with suppress(Unreadable):
        assert isinstance(ACCOUNT.decode(changed), Ordered)


def test_an_event_that_is_not_registered_is_refused() -> None:
    """S3, bad input: an unregistered event; a subclass counts for itself."""

    @attrs.frozen
    class Inherits(Deposited):
        more: int = 0

    for event in (Line("a", 1), Inherits(1), "text"):
        with pytest.raises(TypeError) as caught:
            ACCOUNT.encode(event)
        text = str(caught.value)
        assert f"Account: {type(event).__name__} is not among" in text
        assert "(Deposited, Withdrawn, Moved, Closed, Ordered)" in text
        assert "@tagged" in text
    with pytest.raises(TypeError, match="(nothing)"):
        Codec(where="Account").encode(Deposited(1))


# --- What was written by another program ---------------------------------------


def test_an_older_event_is_made_into_the_next_version() -> None:
    """S3: journals written by earlier versions still recover."""
    body = written("withdrawn", 1, {"sum": 5})
    assert ACCOUNT.decode(body) == Withdrawn(5, 0)


def test_fields_may_come_and_go_without_a_new_version() -> None:
    """With a default where they are new; what is not known any more is left out."""
    body = written("deposited", 1, {"amount": 5, "gone": True})
    assert ACCOUNT.decode(body) == Deposited(5)


def test_each_version_that_has_a_class_is_read_as_that_class() -> None:
    @tagged("withdrawn@3", upcast=lambda old: {**old, "at": "here"})
    @attrs.frozen
    class Located:
        amount: int
        fee: int
        at: str

    codec = Codec(Located, Withdrawn, where="Account")
    assert codec.decode(written("withdrawn", 1, {"sum": 5})) == Withdrawn(5, 0)
    fields = {"amount": 5, "fee": 1}
    assert codec.decode(written("withdrawn", 2, fields)) == Withdrawn(5, 1)
    codec = Codec(Located, where="Account")
    assert codec.decode(written("withdrawn", 2, fields)) == Located(5, 1, "here")


def test_a_name_that_nobody_has_is_unreadable() -> None:
    text = unreadable(ACCOUNT, written("opened", 1, {}))
    assert text.startswith("Account: opened@1 cannot be read: no class has this name")
    assert "deposited@1, withdrawn@2, moved@1, closed@3, ordered@1" in text


def test_a_newer_version_is_unreadable() -> None:
    """S3, bad input: an unknown version."""
    text = unreadable(ACCOUNT, written("deposited", 2, {"amount": 1}))
    assert "deposited@2 cannot be read: a newer program wrote it" in text
    assert "this one knows deposited@1" in text


def test_a_version_that_no_upcast_reaches_is_unreadable() -> None:
    for version in (1, 2):  # closed@3 has no upcast
        text = unreadable(ACCOUNT, written("closed", version, {"reason": ""}))
        assert f"closed@{version} cannot be read: it is too old" in text
        assert f'@tagged("closed@{version + 1}", upcast=...)' in text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not a stored value: Input data was truncated"),
        (written("deposited", "1", {}), "Expected `int`, got `str`"),
        (written("deposited", 1, [5]), "Expected `object`, got `array`"),
        (written("deposited", 1, {}), "missing required field `amount`"),
        (written("deposited", 1, {"amount": "5"}), "got `str` - at `$.amount`"),
        (written("deposited", 1, {"amount": 5}) + b"!", "trailing characters"),
        (
            written("ordered", 1, {"lines": [{"sku": "a", "qty": "1"}]}),
            "does not fit Ordered: Expected `int`, got `str` - at `$.lines[0].qty`",
        ),
    ],
)
def test_wrong_bytes_are_unreadable_with_the_place(body: bytes, text: str) -> None:
    assert text in unreadable(ACCOUNT, body)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "KeyError('sum')"),
        ([1], "list indices"),
        ({"sum": "5"}, "got `str` - at `$.amount`"),
    ],
)
def test_an_upcast_that_fails_is_named(fields: Any, text: str) -> None:
    found = unreadable(ACCOUNT, written("withdrawn", 1, fields))
    assert "withdrawn@1 cannot be read: the upcast of Withdrawn failed" in found
    assert text in found


def test_an_upcast_that_makes_no_dict_is_named() -> None:
    def nothing(old: Any) -> Any:
        return None

    @tagged("noted@2", upcast=nothing)
    @attrs.frozen
    class Noted: ...

    text = unreadable(Codec(Noted, where="Account"), written("noted", 1, {}))
    assert "it returned NoneType, not a dict" in text


def test_a_registry_without_tags_says_so() -> None:
    codec = Codec(state=int, where="Account")
    text = unreadable(codec, ACCOUNT.encode(Deposited(1)))
    assert "there are none at all" in text
    text = unreadable(ACCOUNT, codec.encode(1))
    assert "this state cannot be read: it was stored when its type was a" in text


# --- States ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 3),
        (str, "a"),
        (tuple[str, ...], ("a", "b")),
        (dict[str, str], {"b": "1", "a": "2"}),
        (dict[str, frozenset[int]], {"a": frozenset({3, 1})}),
        (int | None, None),
        (tuple[Line, ...], (Line("a", 1),)),
        (Deposited, Deposited(3)),
        (Deposited | Withdrawn, Withdrawn(3, 1)),
        (Deposited | None, None),
        (Deposited | None, Deposited(3)),
    ],
)
def test_a_state_may_be_a_class_with_a_tag_or_a_builtin_type(
    kind: Any, value: Any
) -> None:
    codec = Codec(state=kind, where="Account")
    again = codec.decode(codec.encode(value))
    assert difference(value, again) is None


def test_a_state_that_cannot_be_stored_is_refused() -> None:
    """S3, bad input: a state that cannot be serialized."""
    assert '@tagged("line@1")' in refusal(state=Line)
    assert "dict[str, object] cannot be stored" in refusal(state=dict[str, object])
    codec = Codec(Moved, state=int, where="Account")
    text = "this int cannot be stored: Expected `int`, got `str`"
    with pytest.raises(TypeError, match=text):
        codec.encode("text")
    with pytest.raises(TypeError, match="Line is not among"):
        codec.encode(Line("a", 1))


def test_a_state_of_another_type_is_unreadable() -> None:
    """As a snapshot it is left out then, and the events are read instead."""
    body = Codec(state=int, where="Account").encode(3)
    codec = Codec(state=str, where="Account")
    assert "this state cannot be read: it does not fit str" in unreadable(codec, body)
