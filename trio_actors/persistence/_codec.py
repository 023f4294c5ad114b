"""The serializer: events, states and answers as bytes, and back. Never pickle.

Rules of this file:

* The registry is closed: what is not in it is neither written nor read.
* One value is one msgpack array: the name of its tag, its version, its fields as a map.
  A class in a field needs no tag: the type of the field says what it is.
* An answer is read as the type that its request declares; where that is Any, only what
  is made of builtin types can be remembered, and where it is a union of classes, they
  have tags.
* Reading takes two steps: the tag, then the fields with the decoder of their class.
* A Python path is nowhere in an event or a state, so that classes can be moved.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeVar, final

import attrs

from .._annotations import NOTHING, members, spell
from .._messages import Tag
from ._errors import Unreadable
from ._forms import DECODE, ENCODE, Form
from ._registered import check, is_record, msgspec, plain, tag_of
from ._rejections import decode_rejection, encode_rejection

_envelope = msgspec.msgpack.Decoder(tuple[str, int, msgspec.Raw]).decode
_answer = msgspec.msgpack.Decoder(tuple[bool, msgspec.Raw]).decode
_PLAIN = Tag("", 0, None)
"""Of a state without a tag, an int or a dict[str, str]: no class can have it."""


@attrs.frozen
class _Entry:
    """What is registered under one tag."""

    kind: Any
    """The class, with what stands in its brackets."""
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
        elif held.kind == cls:
            return
        elif plain(held.kind) is plain(cls):
            raise TypeError(
                f"{self._where}: nothing in the file would tell {spell(held.kind)} from"
                f" {spell(cls)}: they are one class, with one tag. Write a class with a"
                " tag of its own for each."
            )
        else:
            raise TypeError(
                f"{self._where}: two classes have the tag"
                f' "{tag.name}@{tag.version}", {held.form.name} and {spell(cls)}. Give'
                " one another name, or the next version."
            )

    def _add(self, kind: Any, tag: Tag) -> _Entry:
        loose = check(kind, self._where)
        form = Form(kind, loose=loose, name=spell(kind), where=self._where)
        head = b"\x93" + ENCODE(tag.name) + ENCODE(tag.version)
        entry = _Entry(kind, tag, form, head)
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
        body, back = entry.form.stored(value)
        return entry.head + body, back

    def is_whole(self, body: bytes, value: object) -> bool:
        """Whether a value would be written as the bytes that it was read from.

        Otherwise its class, or one in it, has got or lost a field since. To be made by
        an upcast is no reason: that says what becomes of each field.
        """
        entry = self._entry(value)
        if not body.startswith(entry.head):
            return True
        again = entry.head + entry.form.write(value)
        # A float may have been written from an int.
        return again == body or bool(DECODE(again) == DECODE(body))

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
        answer: What the request is answered with; NOTHING for what is only told.
        raises: The rejections that its handler declares.
        where: The actor's class and the command, for the texts of errors.
    """

    def __init__(
        self, answer: Any, raises: tuple[type[Exception], ...], *, where: str
    ) -> None:
        self._is_told = answer is NOTHING
        self._kind = None if self._is_told else answer
        self._raises = raises
        self._where = where

    @cached_property
    def _form(self) -> Form | Codec:
        """Made when it is needed: many commands are never remembered."""
        kind = self._kind
        records = [plain(one) for one in members(kind) if is_record(one)]
        if len(records) > 1 and not all(
            issubclass(one, msgspec.Struct) for one in records
        ):
            return Codec(state=kind, where=self._where)  # a tag says which one it is
        anything = kind in (Any, object) or isinstance(kind, TypeVar)
        return Form(
            Any if anything else kind,
            loose=not anything and check(kind, self._where),
            name=f"answer ({spell(kind)})",
            where=self._where,
        )

    def check(self) -> None:
        """Refuse a type of answers that cannot be remembered.

        Raises:
            TypeError: The text says why, and what to write.
        """
        made: object = self._form
        del made

    def encode(self, value: object) -> bytes:
        """Return the bytes of an answer.

        Raises:
            TypeError: It cannot be remembered.
        """
        # Whatever the handler of what was told returns: nobody gets it.
        answer = None if self._is_told else value
        return b"\x92\xc3" + self._form.stored(answer)[0]

    def encode_error(self, error: Exception) -> bytes:
        """Return the bytes of a declared rejection.

        Raises:
            TypeError: It cannot be remembered.
        """
        return b"\x92\xc2" + encode_rejection(error, self._where)

    def decode(self, body: bytes) -> tuple[bool, Any]:
        """Return True and the answer, or False and the exception to raise.

        Raises:
            Unreadable: The bytes are neither, or the rejection's class is gone.
        """
        try:
            succeeded, rest = _answer(body)
            if succeeded:
                return True, self._form.decode(rest)
            path, found = decode_rejection(rest, self._raises)
        except Exception as error:
            raise Unreadable(
                f"{self._where}: the remembered answer cannot be read: {error}."
            ) from error
        if found is None:
            raise Unreadable(
                f"{self._where}: the remembered rejection {path} is not declared any"
                " more. Name it, or its base class, in raises=."
            )
        return False, found


def _either(kinds: list[Any]) -> Any:
    """Return the union of some types."""
    union = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    return union
