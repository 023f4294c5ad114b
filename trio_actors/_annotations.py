"""What annotations say: names, unions, generics, classes.

Rules of this file:

* A name is looked up where its annotation was written: in the functions around it, in
  its module, in its class. `Scope` is that place.
* What cannot be read yet (a class that is defined further down) is `Unresolved`, not
  wrong; it is `hopeless` once nothing that is still to run can define it.
* What cannot be judged is accepted: a right program is never refused.
"""

from __future__ import annotations

import builtins
import sys
import types
import typing
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import (
    Annotated,
    Any,
    Literal,
    Never,
    NewType,
    NoReturn,
    Protocol,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

NOTHING = object()
"""There is no annotation, or no answer."""

_BUILTINS = dict(vars(builtins))

# Type checkers let these pass for the class on the left, although no subclasses.
_PROMOTED: dict[type, tuple[type, ...]] = {
    float: (int,),
    complex: (int, float),
    bytes: (bytearray, memoryview),
}


class Unresolved(Exception):
    """An annotation that cannot be read, here or now; the cause says why."""

    def __init__(self, cause: Exception, *, hopeless: bool) -> None:
        super().__init__(str(cause))
        self.__cause__ = cause
        self.hopeless = hopeless

    @property
    def name(self) -> str | None:
        """The name that is not known, if that is the cause."""
        return getattr(self.__cause__, "name", None)


# --- Where names are looked up ------------------------------------------------


def enclosing(owner: Any) -> tuple[set[str], set[str]]:
    """Return the qualified names of the functions, and classes, around a definition."""
    parts = str(owner.__qualname__).split(".")
    before = {".".join(parts[:n]): parts[n] for n in range(1, len(parts))}
    functions = {name for name, after in before.items() if after == "<locals>"}
    classes = {name for name in before if not name.endswith("<locals>")} - functions
    return functions, classes


def running(frame: FrameType | None, owners: Iterable[Any]) -> tuple[FrameType, ...]:
    """Return what runs around some definitions: functions, classes, modules."""
    around = {"<module>"}
    for owner in owners:
        around.update(*enclosing(owner))
    found: list[FrameType] = []
    while frame is not None:
        if frame.f_code.co_qualname in around:
            found.append(frame)
        frame = frame.f_back
    return tuple(found)


class Scope:
    """Where the names of a function, or of the first line of a class, are looked up."""

    def __init__(self, owner: Any, cls: type, frames: Iterable[FrameType]) -> None:
        self._functions, classes = enclosing(owner)
        self._cls = cls
        self._globals = _globals_of(owner)
        self._parameters = {
            parameter.__name__: parameter
            for one in (cls, owner)
            for parameter in getattr(one, "__type_params__", ())
        }
        around = {"<module>", *self._functions, *classes}
        self._frames = {
            frame: frame.f_code.co_qualname in classes
            for frame in frames
            if frame.f_globals is self._globals and frame.f_code.co_qualname in around
        }

    def read(
        self,
        annotation: Any,
        *,
        first: dict[str, Any] | None = None,
        last: dict[str, Any] | None = None,
    ) -> Any:
        """Return what an annotation means.

        Args:
            annotation: As it was found: text, or an object with text in it.
            first: Names that come before those of the scope.
            last: Names that come after them.

        Raises:
            Unresolved: A name in it is not known, or it cannot be evaluated.
        """
        local = ChainMap(
            first or {},
            self._parameters,
            *(
                frame.f_locals
                for frame, is_class in self._frames.items()
                if not is_class
            ),
            self._globals,
            _BUILTINS,
            self._class_names(),
            *(frame.f_locals for frame, is_class in self._frames.items() if is_class),
            last or {},
        )
        try:
            meaning = _evaluate(annotation, self._globals, local)
        except NameError as error:
            hopeless = self._never(cast("str", error.name))
            raise Unresolved(error, hopeless=hopeless) from error
        except Exception as error:
            raise Unresolved(error, hopeless=False) from error
        try:
            members(meaning)
        except Exception as error:  # in a `type` statement, which is read only now
            raise Unresolved(error, hopeless=False) from error
        return meaning

    def _class_names(self) -> dict[str, Any]:
        # Only classes: a method `set` does not hide the builtin in `-> set[str]`.
        return {
            name: value
            for name, value in vars(self._cls).items()
            if isinstance(value, type) or get_origin(value) is not None
        }

    def _never(self, name: str) -> bool:
        """Whether nothing that is still to run defines *name*.

        The compiler noted in each function, and in the module, which names it uses.
        """
        if "__file__" not in self._globals:
            return False  # an interactive session: the next input may define it
        codes = [frame.f_code for frame in self._frames]
        return self._functions <= {code.co_qualname for code in codes} and not any(
            code.co_filename.startswith("<")
            or name in (*code.co_varnames, *code.co_cellvars, *code.co_names)
            for code in codes
        )


def _evaluate(
    annotation: Any, known: dict[str, Any], local: Mapping[str, Any] | None = None
) -> Any:
    """Evaluate an annotation, and all text in it."""

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    return typing.get_type_hints(holder, known, local)["it"]


def _globals_of(owner: Any) -> dict[str, Any]:
    if isinstance(owner, type):
        return vars(sys.modules[owner.__module__])
    return cast("dict[str, Any]", owner.__globals__)


# --- Unions and generics --------------------------------------------------------


def members(meaning: Any) -> list[Any]:
    """Return the parts of a union, also of those in it and behind aliases."""
    origin = get_origin(meaning)
    alias = meaning if origin is None else origin
    if origin in (Union, types.UnionType):
        return [part for one in get_args(meaning) for part in members(one)]
    if origin is Annotated:
        return members(get_args(meaning)[0])
    if type(alias).__name__ == "TypeAliasType":
        value = _evaluate(alias.__value__, vars(sys.modules[alias.__module__]))
        known = bind(alias.__type_params__, get_args(meaning))
        return members(substitute(value, known))
    if meaning is Never or meaning is NoReturn:
        return []
    return [meaning]


def bases_of(cls: type) -> tuple[Any, ...]:
    """Return the bases of a class as they were written, with their brackets."""
    return cast("tuple[Any, ...]", cls.__dict__.get("__orig_bases__", cls.__bases__))


def bind(parameters: Iterable[Any], arguments: Iterable[Any]) -> dict[Any, Any]:
    """Say what each type parameter stands for.

    From the first that is not a plain type variable on, they stay open.
    """
    known: dict[Any, Any] = {}
    for parameter, argument in zip(parameters, arguments, strict=False):
        if not isinstance(parameter, TypeVar):
            break
        known[parameter] = argument
    return known


def substitute(meaning: Any, known: Mapping[Any, Any]) -> Any:
    """Put the known types in the place of the type variables."""
    if isinstance(meaning, TypeVar):
        return known.get(meaning, meaning)
    parameters = getattr(meaning, "__parameters__", ())
    if get_origin(meaning) is None or not any(one in known for one in parameters):
        return meaning
    return meaning[tuple(known.get(one, one) for one in parameters)]


def kinds(member: Any) -> tuple[type, ...]:
    """Return the classes of the values that one member of a union stands for.

    That is ``object`` where anything may come, and nothing if it is no type at all.
    """
    origin = get_origin(member)
    plain = member if origin is None else origin
    if isinstance(member, TypeVar):
        choices = member.__constraints__ or (member.__bound__ or object,)
        return tuple(kind for one in choices for kind in _kinds_of_all(one))
    if member is None:
        return (type(None),)
    if origin is Literal:
        values: tuple[object, ...] = get_args(member)
        return tuple(dict.fromkeys(type(value) for value in values))
    if isinstance(member, NewType):
        return _kinds_of_all(member.__supertype__)
    if typing.is_typeddict(plain):
        return (dict,)
    if member is not Any and isinstance(plain, type):
        return (plain,)
    return (object,) if type(plain).__module__.startswith("typing") else ()


def _kinds_of_all(meaning: Any) -> tuple[type, ...]:
    return tuple(kind for member in members(meaning) for kind in kinds(member))


def is_a(kind: type, other: type) -> bool:
    """Whether a value of one class passes for the other; False only if certain."""
    try:
        return issubclass(kind, (other, *_PROMOTED.get(other, ())))
    except TypeError:
        return True  # a protocol that is for type checkers only


def is_open(member: Any) -> bool:
    """Whether anything may stand for it, so that nothing can be said against it."""
    return isinstance(member, TypeVar) or kinds(member) in ((), (object,))


def spell(meaning: Any) -> str:
    """Write a type as a user would."""
    try:
        parts = members(meaning)
    except Exception:
        parts = [meaning]
    return " | ".join(_spell_one(part) for part in parts) or "Never"


def _spell_one(member: Any) -> str:
    if member is None or member is type(None):
        return "None"
    if isinstance(member, list):
        listed = cast("list[Any]", cast("object", member))
        return f"[{', '.join(spell(one) for one in listed)}]"
    origin, arguments = get_origin(member), get_args(member)
    if origin is Literal:
        return f"Literal[{', '.join(repr(value) for value in arguments)}]"
    if origin is not None:
        inner = ", ".join("..." if one is ... else spell(one) for one in arguments)
        return f"{origin.__name__}[{inner or '()'}]"
    return str(getattr(member, "__forward_arg__", getattr(member, "__name__", member)))


# --- Dispatch -------------------------------------------------------------------


def stands_for(kind: type, key: type) -> bool:
    """Whether a checker lets a value of the class *kind* pass for a *key*.

    For what the MRO does not tell: abstract classes, protocols, an int for a float.
    """
    try:
        return issubclass(kind, (key, *_PROMOTED.get(key, ())))
    except TypeError:  # a protocol that is for checkers only
        return all(
            hasattr(kind, name)
            or any(name in vars(one).get("__annotations__", ()) for one in kind.__mro__)
            for name in _protocol_names(key)
        )


@typing.runtime_checkable
class _Blank(Protocol):
    """What every protocol has."""

    _: int


def _protocol_names(protocol: type) -> Iterator[str]:
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base is not Protocol:
            for name in (*vars(base), *vars(base).get("__annotations__", ())):
                if name not in vars(_Blank) and name != "__orig_bases__":
                    yield name
