"""The serializer: events, states and answers as bytes, and back. Never pickle.

Rules of this file:

* The registry is closed: what is not in it is neither written nor read.
* One value is one msgpack array: the name of its tag, its version, its fields as a map.
  A class in a field needs no tag: the type of the field says what it is.
* An answer is read as the type that its request declares; where that is Any, only what
  is made of builtin types can be remembered. A rejection comes back as its class, which
  is looked for among those that are declared, and below them.
* Reading takes two steps: the tag, then the fields with the decoder of their class.
* A Python path is nowhere in an event or a state, so that classes can be moved. A
  rejection has one: it is kept for a day, not for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, TypeVar, final

import attrs

from .._annotations import members, spell
from .._errors import show
from .._messages import Tag
from ._errors import Unreadable
from ._forms import DECODE, ENCODE, Form, difference
from ._registered import check, is_record, msgspec, plain, tag_of

_envelope = msgspec.msgpack.Decoder(tuple[str, int, msgspec.Raw]).decode
_answer = msgspec.msgpack.Decoder(tuple[bool, msgspec.Raw]).decode
_rejection = msgspec.msgpack.Decoder(tuple[str, list[Any], dict[str, Any]]).decode
_PLAIN = Tag("", 0, None)
"""Of a state without a tag, an int or a dict[str, str]: no class can have it."""


@attrs.frozen
class _Entry:
    """What is registered under one tag."""

    tag: Tag
    form: Form
    head: bytes
    """What stands before the fields; they follow as they are."""


@final
class Codec:
    """A closed registry: the classes that may be stored for one actor.

    Each has a tag of its own. Only the type of a *state* may have none, if it is made
    of builtin types: it is stored without a name, and read by that type alone.

    Args:
        classes: The events. The same one twice is there once.
        state: The type of the state; a union of classes with tags and of builtin types
            is allowed.
        where: The actor's class, for the texts of errors.

    Raises:
        TypeError: One cannot be stored, or two have the same tag.
    """

    def __init__(self, *classes: Any, state: Any = None, where: str) -> None:
        self._where = where
        self._by_class: dict[type, _Entry] = {}
        self._by_tag: dict[tuple[str, int], _Entry] = {}
        self._plain: _Entry | None = None
        for cls in classes:
            self._register(cls)
        kinds = [] if state is None else members(state)
        for cls in kinds:
            if is_record(cls):
                self._register(cls)
        builtin = [kind for kind in kinds if not is_record(kind)]
        if builtin:
            self._plain = self._add(_either(builtin), _PLAIN)

    def _register(self, cls: Any) -> None:
        tag = tag_of(cls, self._where)
        held = self._by_tag.get((tag.name, tag.version))
        if held is None:
            self._by_class[plain(cls)] = self._add(cls, tag)
        elif self._by_class.get(plain(cls)) is not held:
            raise TypeError(
                f"{self._where}: two classes have the tag"
                f' "{tag.name}@{tag.version}", {held.form.name} and {spell(cls)}. Give'
                " one another name, or the next version."
            )

    def _add(self, kind: Any, tag: Tag) -> _Entry:
        loose = check(kind, self._where)
        form = Form(kind, loose=loose, name=spell(kind), where=self._where)
        head = b"\x93" + ENCODE(tag.name) + ENCODE(tag.version)
        entry = _Entry(tag, form, head)
        self._by_tag[tag.name, tag.version] = entry
        return entry

    def _entry(self, value: object) -> _Entry:
        entry = self._by_class.get(type(value))
        if entry is not None:
            return entry
        if self._plain is not None and not is_record(type(value)):
            return self._plain
        known = ", ".join(cls.__name__ for cls in self._by_class) or "nothing"
        raise TypeError(
            f"{self._where}: {type(value).__name__} is not among what is stored here"
            f" ({known}). Add it to the events in the brackets of the base class, and"
            " @tagged to the class; a subclass of one of them counts for itself."
        )

    def encode(self, value: object) -> bytes:
        """Return the bytes of an event or a state.

        Raises:
            TypeError: It is not registered, or would not come back as what it is.
        """
        return self.stored(value)[0]

    def stored(self, value: object) -> tuple[bytes, Any]:
        """Return the bytes, and what is read from them: that is what is folded.

        So nobody can change what is stored, and a replay sees the same: a 1.0 where a
        1 was given for a float.

        Raises:
            TypeError: As `encode`.
        """
        entry = self._entry(value)
        body, back = entry.form.encode(value)
        return entry.head + body, back

    def decode(self, body: bytes) -> Any:
        """Return the event or the state that was stored.

        Raises:
            Unreadable: The bytes are no value of a registered class.
        """
        try:
            name, version, fields = _envelope(body)
        except Exception as error:
            raise Unreadable(f"{self._where}: not a stored value: {error}.") from error
        entry = self._by_tag.get((name, version))
        if entry is None:
            return self._upcast(name, version, fields)
        try:
            return entry.form.decode(fields)
        except Exception as error:
            raise self._unreadable(
                name, version, f"it does not fit {entry.form.name}: {error}"
            ) from error

    def _upcast(self, name: str, version: int, fields: Any) -> Any:
        """Return a value of the next version, made from the fields of an older one."""
        entry = self._by_tag.get((name, version + 1))
        upcast = None if entry is None else entry.tag.upcast
        if entry is None or upcast is None:
            raise self._unreadable(name, version, self._unknown(name, version))
        try:
            made: Any = upcast(DECODE(fields))
            if not isinstance(made, dict):
                raise TypeError(f"it returned {type(made).__name__}, not a dict")
            return entry.form.decode(ENCODE(made))
        except Exception as error:
            why = f"the upcast of {entry.form.name} failed: {error!r}"
            raise self._unreadable(name, version, why) from error

    def _unknown(self, name: str, version: int) -> str:
        """Say why no class reads a tag, and what to write."""
        if not name:
            return (
                "it was stored when its type was a builtin one, without a tag. Go on"
                " with that type"
            )
        known = [number for other, number in self._by_tag if other == name]
        if not known:
            tags = [f"{one}@{number}" for one, number in self._by_tag if one]
            names = ", ".join(tags) or "none at all"
            return (
                f"no class has this name; there are {names}. Register the class that"
                " had it, or put its name back: an event's name is for ever"
            )
        newest = max(known)
        if version > newest:
            return (
                f"a newer program wrote it, this one knows {name}@{newest}. Run the"
                " newer one"
            )
        return (
            f"it is too old for what is known, {name}@"
            f"{min(number for number in known if number > version)}. Write"
            f' @tagged("{name}@{version + 1}", upcast=...) above a registered class'
        )

    def _unreadable(self, name: str, version: int, why: str) -> Unreadable:
        tag = f"{name}@{version}" if name else "this state"
        return Unreadable(f"{self._where}: {tag} cannot be read: {why}.")


@final
class AnswerCodec:
    """How the answers to one kind of command are remembered.

    Args:
        answer: What the request is answered with.
        raises: The rejections that its handler declares.
        where: The actor's class and the command, for the texts of errors.
    """

    def __init__(
        self, answer: Any, raises: tuple[type[Exception], ...], *, where: str
    ) -> None:
        self._kind = answer
        self._raises = raises
        self._where = where

    @cached_property
    def _form(self) -> Form:
        """Made when it is needed: many commands are never remembered."""
        anything = self._kind in (Any, object) or isinstance(self._kind, TypeVar)
        return Form(
            Any if anything else self._kind,
            loose=not anything and check(self._kind, self._where),
            name=f"answer ({spell(self._kind)})",
            where=self._where,
        )

    def encode(self, value: object) -> bytes:
        """Return the bytes of an answer.

        Raises:
            TypeError: It cannot be remembered.
        """
        return b"\x92\xc3" + self._form.encode(value)[0]

    def encode_error(self, error: Exception) -> bytes:
        """Return the bytes of a declared rejection; what cannot be written, as text."""
        attributes = {
            name: _or_text(value)
            for name, value in vars(error).items()
            if name != "__notes__"
        }
        arguments = [_or_text(value) for value in error.args]
        return b"\x92\xc2" + ENCODE((_path(type(error)), arguments, attributes))

    def decode(self, body: bytes) -> tuple[bool, Any]:
        """Return True and the answer, or False and the exception to raise.

        Raises:
            Unreadable: The bytes are neither, or the rejection's class is gone.
        """
        try:
            succeeded, rest = _answer(body)
            if succeeded:
                return True, self._form.decode(rest)
            path, arguments, attributes = _rejection(rest)
            for cls in _with_subclasses(self._raises):
                if _path(cls) == path:
                    return False, _revived(cls, arguments, attributes)
        except Exception as error:
            raise Unreadable(
                f"{self._where}: the remembered answer cannot be read: {error}."
            ) from error
        raise Unreadable(
            f"{self._where}: the remembered rejection {path} is not declared any more."
            " Name it, or its base class, in raises=."
        )


def _either(kinds: list[Any]) -> Any:
    """Return the union of some types."""
    union = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    return union


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _with_subclasses(
    classes: Iterable[type[Exception]],
) -> Iterator[type[Exception]]:
    """Iterate over classes, then over those below each."""
    for cls in classes:
        yield cls
        yield from _with_subclasses(cls.__subclasses__())


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
    vars(error).update(attributes)
    return error


def _or_text(value: object) -> object:
    """Return the value if it comes back as what it is, otherwise its text."""
    if _comes_back(value):
        return value
    try:
        text = str(value)
    except Exception:
        text = show(value)
    return text.encode(errors="backslashreplace").decode()


def _comes_back(value: object) -> bool:
    try:
        return difference(value, DECODE(ENCODE(value))) is None
    except Exception:
        return False
