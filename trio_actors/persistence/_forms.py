"""How values of one type become bytes, and whether the bytes become the same again.

Rules of this file:

* msgspec checks types only when it reads. So what was written is read at once, and
  compared: a value that would come back as another one is not stored.
* The same value gives the same bytes, in every process: sets are sorted, and nothing
  but fields is written.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias, final

from ._registered import is_record, msgspec, names_of, plain

ENCODE: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
DECODE: Callable[[Any], Any] = msgspec.msgpack.Decoder().decode

class_of: Callable[[Any], Any] = type
"""As a checker shall see it: not as the class of something unknown."""

Loss: TypeAlias = "tuple[str, str] | None"
"""Where a value would come back as another one, and how; None if it would not."""


@final
class Form:
    """How values of one type are stored."""

    __slots__ = ("_loose", "_where", "decode", "name")

    def __init__(self, kind: Any, *, loose: bool, name: str, where: str) -> None:
        self.decode: Callable[[Any], Any] = msgspec.msgpack.Decoder(kind).decode
        self.name = name
        self._loose = loose
        self._where = where

    def write(self, value: object) -> bytes:
        """Return the bytes of a value that may be written."""
        return ENCODE(tightened(value) if self._loose else value)

    def stored(self, value: object) -> tuple[bytes, Any]:
        """Return the bytes of a value, and what is read from them.

        Raises:
            TypeError: It cannot be written, or what is read would be something else.
        """
        try:
            body = self.write(value)
            back = self.decode(body)
            loss = difference(value, back)
        except Exception as error:
            told = isinstance(error, msgspec.ValidationError)
            raise self._refused(str(error) if told else repr(error)) from error
        if loss is not None:
            raise self._refused(f"{loss[1]} - at `${loss[0]}`")
        return body, back

    def _refused(self, why: str) -> TypeError:
        # Without the value: what an actor stores does not belong into logs.
        return TypeError(
            f"{self._where}: this {self.name} cannot be stored: {why}. It was not"
            " written. Give its fields values of the types that they declare, or"
            " change what they declare."
        )


def difference(value: Any, back: Any) -> Loss:
    """Return what is lost between a value and what came back in its place."""
    kind = class_of(back)
    if class_of(value) is not kind:
        if kind is float and class_of(value) is int and value == back:
            return None  # checkers let an int pass for a float
        return "", f"{type(value).__name__} would come back as {kind.__name__}"
    return _comparing(kind)(value, back)


@lru_cache(maxsize=1000)
def _comparing(kind: Any) -> Callable[[Any, Any], Loss]:
    """Return how values of a class are compared, whatever its ``__eq__`` says."""
    if is_record(kind):
        return _Fields(kind).compare
    if issubclass(kind, tuple):
        return _items
    return _COMPARED.get(kind, _whole)


class _Fields:
    """How records of one class are compared."""

    def __init__(self, cls: type) -> None:
        self._names = names_of(cls)

    def compare(self, value: Any, back: Any) -> Loss:
        for name in self._names:
            before, after = getattr(value, name), getattr(back, name)
            if before is not after:
                loss = difference(before, after)
                if loss is not None:
                    return f".{name}{loss[0]}", loss[1]
        return None


def _changed(value: Any, back: Any) -> Loss:
    if isinstance(value, datetime) and value == back:
        return "", (
            "a datetime would come back in UTC, or without its fold (write"
            " .astimezone(timezone.utc), and keep the zone in a field of its own)"
        )
    return "", f"{type(value).__name__} would come back as another value"


def _whole(value: Any, back: Any) -> Loss:
    return None if value == back else _changed(value, back)


def _float(value: Any, back: Any) -> Loss:
    both_nan = value != value and back != back  # noqa: PLR0124
    return None if both_nan else _whole(value, back)


def _decimal(value: Any, back: Any) -> Loss:
    # Digit by digit: 1.10 is not 1.1, and NaN is NaN.
    return _whole(value.as_tuple(), back.as_tuple()) and _changed(value, back)


def _moment(value: Any, back: Any) -> Loss:
    same = (
        value == back
        and value.utcoffset() == back.utcoffset()
        and value.fold == back.fold
    )
    return None if same else _changed(value, back)


def _items(value: Any, back: Any) -> Loss:
    if len(value) != len(back):
        return _changed(value, back)
    for index, (before, after) in enumerate(zip(value, back, strict=True)):
        loss = difference(before, after)
        if loss is not None:
            return f"[{index}]{loss[0]}", loss[1]
    return None


def _dict(value: Any, back: Any) -> Loss:
    loss = _items([*value], [*back])
    if loss is not None:
        return "", f"a key: {loss[1]}"
    for before, after in zip(value.values(), back.values(), strict=True):
        loss = difference(before, after)
        if loss is not None:
            return f"[...]{loss[0]}", loss[1]
    return None


def _set(value: Any, back: Any) -> Loss:
    if value != back:
        return _changed(value, back)
    twins = {member: member for member in back}
    for member in value:
        loss = difference(member, twins[member])
        if loss is not None:
            return f"[...]{loss[0]}", loss[1]
    return None


_COMPARED: dict[type, Callable[[Any, Any], Loss]] = {
    float: _float,
    Decimal: _decimal,
    datetime: _moment,
    time: _moment,
    list: _items,
    dict: _dict,
    set: _set,
    frozenset: _set,
}


def tightened(value: Any) -> Any:
    """Return what is written for a value that is loose (see `check`).

    The order of msgspec's own would sort dicts, too: theirs is kept, since it is part
    of what they are. A set is sorted by its members' bytes, which always works.
    """
    kind = class_of(value)
    if kind in (set, frozenset):
        members = sorted(ENCODE(tightened(member)) for member in value)
        return [msgspec.Raw(member) for member in members]
    if issubclass(kind, (list, tuple)):
        return [tightened(item) for item in value]
    if kind is dict:
        return {key: tightened(item) for key, item in value.items()}
    if is_record(kind):
        return _as_map(value, plain(kind))
    return value


def _as_map(record: Any, cls: Any) -> dict[str, Any]:
    """Return a record's fields as msgspec would write them."""
    names = names_of(cls)
    found: dict[str, Any] = {}
    written = names
    if issubclass(cls, msgspec.Struct):
        config = cls.__struct_config__
        if config.tag_field is not None:
            found[config.tag_field] = config.tag
        written = cls.__struct_encode_fields__
    for name, label in zip(names, written, strict=True):
        value = getattr(record, name)
        if value is not msgspec.UNSET:
            found[label] = tightened(value)
    return found
