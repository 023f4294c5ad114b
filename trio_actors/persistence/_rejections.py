"""Declared rejections as bytes, and back.

Rules of this file:

* A rejection is its class, its args, its attributes and what is in its slots. It comes
  back with all of that, or it is refused before anything is stored.
* Nothing declares the types of what it holds: what msgspec would give back as another
  type, a tuple as a list, is written with its type beside it.
* It comes back as its class, which is looked for among those that are declared, and
  below them. Its Python path is stored: it is kept for a day, not for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import MemberDescriptorType
from typing import Any
from uuid import UUID

from ._forms import ENCODE, class_of, difference
from ._registered import msgspec

_GROUPS: tuple[Any, ...] = (tuple, set, frozenset)
_TYPES: tuple[Any, ...] = (*_GROUPS, Decimal, datetime, date, time, timedelta, UUID)
"""What is written with its place in here: a further one comes at the end."""

_MISSING: Any = object()
"""In place of what is not there."""


def encode_rejection(error: Exception, where: str) -> bytes:
    """Return the bytes of a rejection.

    Raises:
        TypeError: It would not come back as what it is.
    """
    cls = type(error)
    try:
        arguments, attributes = list(error.args), _attributes(error)
        body = ENCODE((_path(cls), _packed(arguments), _packed(attributes)))
        _, read, named = _rejection(body)
        why = _lost(arguments, attributes, _revived(cls, read, named))
    except Exception as cause:
        raise _refused(cls, where, repr(cause)) from cause
    if why:
        raise _refused(cls, where, why)
    return body


def decode_rejection(
    body: bytes, declared: Iterable[type[Exception]]
) -> tuple[str, Exception | None]:
    """Return the path of a class, and the rejection unless that is not declared."""
    path, arguments, attributes = _rejection(body)
    for cls in _with_subclasses(declared):
        if _path(cls) == path:
            return path, _revived(cls, arguments, attributes)
    return path, None


def _refused(cls: type, where: str, why: str) -> TypeError:
    return TypeError(
        f"{where}: this {cls.__name__} cannot be remembered as the answer to a command"
        f" with a command_id: {why}. Give it texts, numbers and other values of"
        " builtin types."
    )


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _with_subclasses(
    classes: Iterable[type[Exception]],
) -> Iterator[type[Exception]]:
    """Iterate over classes, then over those below each."""
    for cls in classes:
        yield cls
        yield from _with_subclasses(cls.__subclasses__())


# --- What is in an exception ---


def _slots(cls: type) -> dict[str, MemberDescriptorType]:
    """Return the slots of a class; those that Python's own exceptions have, too."""
    return {
        name: value
        for base in reversed(cls.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, MemberDescriptorType) and not name.startswith("__")
    }


def _held(slot: MemberDescriptorType, error: Exception) -> Any:
    try:
        return slot.__get__(error)
    except AttributeError:
        return _MISSING


def _attributes(error: Exception) -> dict[str, Any]:
    """Return what an exception holds besides its args, by name."""
    found = {
        name: one for name, one in vars(error).items() if not name.startswith("__")
    }
    for name, slot in _slots(type(error)).items():
        value = _held(slot, error)
        if value is not _MISSING:
            found[name] = value
    return dict(sorted(found.items()))


def _revived(
    cls: type[Exception], arguments: list[Any], attributes: dict[str, Any]
) -> Exception:
    """Make an exception from its args; without ``__init__`` if that wants others."""
    try:
        error = cls(*arguments)
        if list(error.args) != arguments:
            raise TypeError
    except Exception:
        error = cls.__new__(cls, *arguments)
    slots = _slots(cls)
    for name, value in attributes.items():
        slot = slots.get(name)
        if slot is None:
            vars(error)[name] = value
        elif difference(value, _held(slot, error)) is not None:
            slot.__set__(error, value)  # past a frozen class
    return error


def _lost(arguments: list[Any], attributes: dict[str, Any], back: Exception) -> str:
    """Return what is lost between a rejection and what came back in its place."""
    loss = difference(arguments, list(back.args))
    if loss is not None:
        return f"args{loss[0]}: {loss[1]}"
    found = _attributes(back)
    for name in {**attributes, **found}:
        if name not in attributes or name not in found:
            return f"{name} would be there before, or after, and not both times"
        loss = difference(attributes[name], found[name])
        if loss is not None:
            return f"{name}{loss[0]}: {loss[1]}"
    return ""


# --- Values that say their type ---


def _packed(value: Any) -> Any:
    """Return what is written for a value."""
    kind = class_of(value)
    if kind is list:
        return [_packed(one) for one in value]
    if kind is dict:
        return {key: _packed(one) for key, one in value.items()}
    if kind not in _TYPES:
        return value
    if kind is tuple:
        value = _packed(list(value))
    elif kind in _GROUPS:
        value = [msgspec.Raw(one) for one in sorted(ENCODE(_packed(m)) for m in value)]
    return msgspec.msgpack.Ext(_TYPES.index(kind), ENCODE(value))


def _unpacked(place: int, body: memoryview) -> Any:
    """Return the value that was written with its type."""
    return _readers[place](body)


def _reader(kind: Any) -> Callable[[Any], Any]:
    if kind in _GROUPS:
        return lambda body: kind(_anything(body))
    decode: Callable[[Any], Any] = msgspec.msgpack.Decoder(kind).decode
    return decode


_anything = msgspec.msgpack.Decoder(ext_hook=_unpacked).decode
_rejection = msgspec.msgpack.Decoder(
    tuple[str, list[Any], dict[str, Any]], ext_hook=_unpacked
).decode
_readers = [_reader(kind) for kind in _TYPES]
