"""Which classes can be stored: what would be lost silently is refused beforehand.

Rules of this file:

* A value comes back as what it was, or its class is refused before anything is stored.
* msgspec judges the types of fields; here stands what it lets pass and loses: private
  fields, converters, types that say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields as fields_of_dataclass, is_dataclass
from types import MemberDescriptorType
from typing import Any, cast, get_args, get_origin, get_type_hints

import attrs

from .._annotations import spell
from .._messages import Tag

try:
    import msgspec as msgspec  # noqa: PLC0414 - from here for its siblings
    from msgspec.inspect import type_info
except ImportError as missing:
    raise ImportError(
        "what is stored is written with msgspec, which is not installed:"
        " pip install 'trio_actors[persistence]'"
    ) from missing

# By the names of msgspec.inspect: which of them there are depends on its version.
_LEAVES = frozenset(
    {
        *("NoneType", "ByteArrayType"),
        *("BoolType", "IntType", "FloatType", "DecimalType"),
        *("StrType", "BytesType", "UUIDType", "EnumType", "LiteralType"),
        *("DateTimeType", "TimeType", "DateType", "TimeDeltaType"),
    }
)
_GROUPS = frozenset({"TupleType", "VarTupleType", "ListType", "UnionType"})
_SETS = frozenset({"SetType", "FrozenSetType"})
_RECORDS = frozenset({"DataclassType", "StructType", "NamedTupleType", "TypedDictType"})


def plain(kind: Any) -> Any:
    """Return the class of a generic one with brackets, and any other as it is."""
    return get_origin(kind) or kind


def is_record(kind: Any) -> bool:
    """Whether it is a class with fields: of attrs, a Struct or a dataclass."""
    cls = plain(kind)
    return isinstance(cls, type) and (
        attrs.has(cls) or is_dataclass(cls) or issubclass(cls, msgspec.Struct)
    )


def names_of(cls: Any) -> tuple[str, ...]:
    """Return the names of a record's fields, as attributes."""
    if attrs.has(cls):
        return tuple(field.name for field in attrs.fields(cls))
    if is_dataclass(cls):
        return tuple(field.name for field in fields_of_dataclass(cls))
    names: tuple[str, ...] = cls.__struct_fields__
    return names


def tag_of(cls: Any, where: str) -> Tag:
    """Return the tag of a class that can be stored by itself.

    Raises:
        TypeError: It has none of its own, is no record, or can be changed.
    """
    own: Any = plain(cls)
    name = getattr(own, "__name__", repr(own))
    if not is_record(cls):
        raise TypeError(
            f"{where}: {name} cannot be stored, because it has no fields that are"
            " declared. Make it @attrs.frozen, or a msgspec.Struct with frozen=True."
        )
    tag = cast("Tag | None", own.__dict__.get("__tagged__"))
    if tag is None:
        why = (
            f"the tag of a base class, {own.__tagged__.name!r}, is not its own"
            if hasattr(own, "__tagged__")
            else "it has no name outside of this process"
        )
        raise TypeError(
            f"{where}: {name} cannot be stored, because {why}. Write"
            f' @tagged("{name.lower()}@1") above the class.'
        )
    if not _is_frozen(own):
        raise TypeError(
            f"{where}: {name} can be changed after it was stored. Write @attrs.frozen"
            " instead of @attrs.define; for a msgspec.Struct or a dataclass,"
            " frozen=True."
        )
    return tag


def _is_frozen(cls: Any) -> bool:
    if is_dataclass(cls):
        return bool(vars(cls)["__dataclass_params__"].frozen)
    if issubclass(cls, msgspec.Struct):
        return bool(cls.__struct_config__.frozen)
    try:  # attrs has no flag for it before 25.4
        setattr(object.__new__(cls), (*names_of(cls), "_")[0], None)
    except attrs.exceptions.FrozenError:
        return True
    except Exception:
        return False
    return False


def check(kind: Any, where: str) -> bool:
    """Look through a type, down to its leaves; return whether it is loose.

    Loose are sets, whose order is another one in each process, and attrs classes that
    have room for more than their fields: msgspec writes cached properties, too.

    Raises:
        TypeError: Something of it cannot be stored, or would not come back.
    """
    try:
        info = type_info(kind)
    except Exception as error:
        place, cause = _culprit(kind, error, where)
        raise _refused(where, place, f"{cause}{_advice(cause)}") from error
    walk = _Walk(where)
    walk.look(info, spell(kind))
    return walk.loose


class _Walk:
    """On the way through a type as msgspec sees it."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._seen: list[Any] = []  # a class may have itself as a field
        self.loose = False

    def look(self, info: Any, place: str) -> None:
        """Look at one type; *place* says where it stands."""
        kind = type(info).__name__
        if kind == "Metadata":
            self.look(info.type, place)
        elif kind in _RECORDS:
            self._look_at_record(info)
        elif kind == "DictType":
            self._look_at_keys(info.key_type, place)
            self.look(info.value_type, place)
        elif kind in _GROUPS or kind in _SETS:
            self.loose |= kind in _SETS
            for part in _parts(info):
                self.look(part, place)
        elif kind not in _LEAVES:
            raise _refused(self._where, place, _why_not(info, kind))

    def _look_at_keys(self, info: Any, place: str) -> None:
        keys = _Walk(self._where)
        keys.look(info, place)
        if keys.loose:
            raise _refused(
                self._where,
                place,
                "the keys of a dict may not hold sets, nor attrs classes with room for"
                " more than their fields (slots=False, a cached property). Write tuples"
                " that are sorted, or a class without that.",
            )

    def _look_at_record(self, info: Any) -> None:
        if any(info is one for one in self._seen):
            return
        self._seen.append(info)
        cls = plain(info.cls)
        if is_record(cls):
            _check_fields(cls, self._where)
            self.loose |= attrs.has(cls) and _has_room(cls)
        for field in info.fields:
            self.look(field.type, f"{cls.__name__}.{field.name}")


def _has_room(cls: type) -> bool:
    """Whether there is a place in it for something that is no field."""
    slots = {
        name
        for base in cls.__mro__
        for name, value in vars(base).items()
        if isinstance(value, MemberDescriptorType)
    }
    return cls.__dictoffset__ != 0 or not slots <= set(names_of(cls))


def _parts(info: Any) -> tuple[Any, ...]:
    """Return the types in a group."""
    for name in ("item_types", "types"):
        if hasattr(info, name):
            return cast("tuple[Any, ...]", getattr(info, name))
    return (info.item_type,)


def _refused(where: str, place: str, why: str) -> TypeError:
    return TypeError(f"{where}: {place} cannot be stored: {why}")


def _why_not(info: Any, kind: str) -> str:
    if kind == "AnyType" or getattr(info, "cls", None) is object:
        return (
            "its type does not say what it is (Any, object, a list or dict without"
            " brackets, a type variable), so a tuple would come back as a list."
            " Write what is in it, as dict[str, int]."
        )
    name = spell(info.cls) if kind == "CustomType" else kind.removesuffix("Type")
    return (
        f"{name} is not among the types that can be written. Write str, int, a tuple"
        " or another builtin type, or a class made by attrs or msgspec."
    )


def _advice(cause: str) -> str:
    """Return what to write instead of a type that msgspec refuses."""
    if "nion" in cause:
        return (
            " What is stored must say which of them it is: write msgspec.Struct"
            " classes with tag=True, or one class."
        )
    return ""


def _culprit(kind: Any, error: Exception, where: str, *above: Any) -> tuple[str, str]:
    """Find the field that msgspec does not take; return where it is, and why."""
    name = spell(kind)
    if not is_record(kind):
        return name, f"{_text(error)}."
    _check_fields(plain(kind), where)
    try:
        hints = get_type_hints(plain(kind), include_extras=True)
    except Exception as unread:
        return name, f"its annotations cannot be read ({unread!r})."
    for field in names_of(plain(kind)):
        for part in _inside(hints.get(field, Any)):
            if plain(part) in (*above, plain(kind)):
                break  # a class that has itself as a field: not this field's fault
            try:
                type_info(part)
            except Exception as deeper:
                if is_record(part):
                    return _culprit(part, deeper, where, *above, plain(kind))
                return f"{name}.{field}", f"{_text(deeper)}."
    return name, f"{_text(error)}."


def _inside(hint: Any) -> Iterator[Any]:
    """Iterate over the classes with fields in a type, then over the type itself."""
    for part in get_args(hint):
        yield from (one for one in _inside(part) if is_record(one))
    yield hint


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, TypeError) else repr(error)


def _check_fields(cls: Any, where: str) -> None:
    """Refuse what msgspec loses without a word."""
    if issubclass(cls, msgspec.Struct):
        config = cls.__struct_config__
        for option, why in (
            ("omit_defaults", "what is left out changes when the default does"),
            ("array_like", "what a value means depends on the order of the fields"),
        ):
            if getattr(config, option):
                raise _refused(
                    where, cls.__name__, f"with {option}, {why}. Leave {option} away."
                )
    elif attrs.has(cls):
        for field in attrs.fields(cls):
            why = _lost(field)
            if why:
                raise _refused(where, f"{cls.__name__}.{field.name}", why)


def _lost(field: Any) -> str:
    """Return why a field of an attrs class would not come back, or nothing."""
    if field.name.startswith("_"):
        return "private fields are left out. Give it a name without an underscore."
    if field.type is None:
        return f"it has no type. Write {field.name}: int, or what it is."
    if field.converter is not None:
        return (
            "its converter does not run when it is read. Convert before the value is"
            " made, in a class method for instance."
        )
    if not field.init:
        return "it is no argument (init=False). Write a property."
    if getattr(field.default, "takes_self", False):
        return "its default takes self. Write a property."
    return ""
