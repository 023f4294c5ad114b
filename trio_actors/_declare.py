"""From an actor class to its table of handlers, and what is wrong with the class.

Rules of this file:

* A class is judged when it is created. What depends on a name that is defined further
  down is judged at its first spawn (`complete`).
* A text names the class and the method, says what is wrong, and shows what to write.
* What cannot be judged is accepted: a right program is never refused.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import sys
from collections import Counter
from collections.abc import Iterable
from types import FrameType
from typing import Any, NoReturn, TypeVar, cast, get_args, get_origin

import attrs

from ._annotations import (
    NOTHING,
    Scope,
    Unresolved,
    bases_of,
    bind,
    is_a,
    is_open,
    kinds,
    members,
    running,
    spell,
    stands_for,
    substitute,
)
from ._answers import Answering, answer_of
from ._marks import (
    HOOKS,
    Handler,
    Mark,
    binds,
    check_parameters,
    define,
    handler,
    hint,
    is_async,
    marked,
    unprotect,
    wrong_with_hook,
)
from ._messages import Terminated

__all__ = ["Handler", "complete", "declare", "handler", "lookup"]


def declare(cls: type, actor: type) -> None:
    """Check an actor class, and keep its table of handlers as ``__handlers__``.

    Without a table of its own, the class depends on names that are defined further
    down: `complete` makes it.

    Args:
        cls: The class that was just created.
        actor: The base class of all actors.

    Raises:
        TypeError: The class is wrong.
    """
    unprotect(cls, actor)
    owners = [cls, *(inspect.unwrap(method) for _, method in marked(cls).values())]
    frames = running(sys._getframe(1), owners)
    table = _Declaration(cls, actor, frames, final=False).table_or_none()
    if table is None:
        # A frame keeps its callers alive, and a module can be found without it.
        cls.__unread__ = [  # type: ignore[attr-defined]
            frame for frame in frames if frame.f_code.co_name != "<module>"
        ]
    else:
        cls.__handlers__ = table  # type: ignore[attr-defined]


def complete(cls: type, actor: type) -> dict[type, Handler]:
    """Return the handlers of a class that is to be spawned.

    Args:
        cls: The class. What was not known when it was created is known by now.
        actor: The base class of all actors.

    Raises:
        TypeError: The class is wrong, or a name in it is still not known.
    """
    if "__handlers__" not in cls.__dict__:
        unprotect(cls, actor)
        cls.__handlers__ = _Declaration(  # type: ignore[attr-defined]
            cls, actor, (), final=True
        ).table_or_none()
        cls.__unread__ = []  # type: ignore[attr-defined]
    return cast("dict[type, Handler]", cls.__dict__["__handlers__"])


def lookup(table: dict[type, Handler], kind: type) -> Handler | None:
    """Find the handler for messages of a class: its own, then its nearest base's.

    The handler of an abstract class, a protocol or a float is found for what stands
    for it; one that takes any object comes last.
    """
    for base in kind.__mro__[:-1]:
        if base in table:
            return table[base]
    for key, found in table.items():
        if key is not object and stands_for(kind, key):
            return found
    return table.get(object)


@attrs.define
class _Declaration:
    """The judgement of one class."""

    cls: type
    actor: type
    frames: tuple[FrameType, ...]
    """The running functions around the class."""
    final: bool
    """Whether it is an error by now that a name is not known."""
    unread: bool = False
    """Whether a name was not known."""
    written: list[Any] = attrs.Factory(list[Any])
    """What stands in the brackets of Actor; empty if that could not be read."""
    messages: list[Any] = attrs.Factory(list[Any])
    """The members of that union."""
    names: dict[str, Any] | None = None
    """Those of them that have a name of their own, once it was asked for."""
    known: dict[type, dict[Any, Any]] = attrs.Factory(dict[type, dict[Any, Any]])
    """What the type variables of each base class stand for."""
    table: dict[type, Handler] = attrs.Factory(dict[type, Handler])
    """The handlers so far."""

    def table_or_none(self) -> dict[type, Handler] | None:
        """Check everything; return the table unless a name was not known."""
        self._read_messages()
        for hook in HOOKS:
            self._check_hook(hook)
        for name, (owner, method) in marked(self.cls).items():
            self._add(name, owner, method)
        if not self.unread and not any(is_open(one) for one in self.messages):
            for message in self.messages:
                self._check_handled(message)
        return None if self.unread else self.table

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.cls.__name__

    # --- Names ---

    def _scope(self, owner: Any, cls: type) -> Scope:
        frames: list[FrameType] = cls.__dict__.get("__unread__", [])
        return Scope(owner, cls, (*self.frames, *frames))

    def _wait_for(self, error: Unresolved, where: str, place: str) -> None:
        """Wait for a name until the first spawn, if there is hope."""
        if not (self.final or error.hopeless):
            self.unread = True
            return
        text = f"{where}: {place} cannot be read: {error.__cause__!r}."
        if error.name is not None:
            text = f"{where}: the name {error.name} in {place} is not known here."
        if self.messages:
            text += f" Messages of {self.name}: {_listed(', ', self.messages)}."
        else:
            text += " Define it before the first spawn, not only for type checkers."
        raise TypeError(text) from error.__cause__

    # --- Messages ---

    def _read_messages(self) -> None:
        try:
            self._walk(self.cls, {})
        except Unresolved as error:
            self.written.clear()
            self._wait_for(error, self.name, "its brackets")
            return
        if not self.written:
            raise TypeError(
                f"{self.name} does not say which messages it takes. Instead of"
                f"\n    class {self.name}(Actor):\nwrite them in brackets:"
                f"\n    class {self.name}(Actor[Increment | Reset]):"
            )
        for one in (part for union in self.written for part in members(union)):
            if not kinds(one):
                raise TypeError(
                    f"{self.name} takes {spell(one)}, which is no class. Write the"
                    " classes of its messages in its brackets."
                )
            if one not in self.messages:
                self.messages.append(one)

    def _walk(self, cls: type, known: dict[Any, Any]) -> None:
        """Find all brackets of Actor, and what all type variables stand for."""
        self.known[cls] = {**known, **self.known.get(cls, {})}
        for base, arguments in self._bases(cls):
            given = [substitute(one, known) for one in arguments]
            if base is self.actor:
                self.written += given
            elif isinstance(base, type):
                self._walk(base, bind(getattr(base, "__parameters__", ()), given))

    def _bases(self, cls: type) -> list[tuple[Any, list[Any]]]:
        """Return the bases of a class and what stands in their brackets."""
        found = cls.__dict__.get("__read_bases__")
        if found is None:
            scope = self._scope(cls, cls)
            found = [
                (get_origin(base) or base, [scope.read(one) for one in get_args(base)])
                for base in bases_of(cls)
            ]
            if issubclass(cls, self.actor):
                # The function around it may have returned when a subclass needs them.
                cls.__read_bases__ = found  # type: ignore[attr-defined]
        return cast("list[tuple[Any, list[Any]]]", found)

    # --- Methods ---

    def _check_hook(self, name: str) -> None:
        method = inspect.getattr_static(self.cls, name)
        if method is inspect.getattr_static(self.actor, name):
            return
        where = f"{self.name}.{name}"
        if name in marked(self.cls):
            raise TypeError(
                f"{where} is a hook, which the system calls, and handles no message."
                " Take @handler away, or give the handler another name."
            )
        wrong = wrong_with_hook(name, method)
        if wrong is not None:
            raise TypeError(f"{where} {wrong}. Write:\n    {HOOKS[name][2]}")

    def _add(self, name: str, owner: type, method: Any) -> None:
        found = inspect.getattr_static(self.cls, name)
        if found is None:
            return  # a subclass has taken the handler away
        where = f"{self.name}.{name}"
        if hasattr(self.actor, name):
            raise TypeError(
                f"{where} is a handler, but it hides what Actor has under that name."
                " Give the handler another name."
            )
        if not binds(found):
            raise TypeError(f"{where} is a handler, but {found!r}.{hint(found)}")
        check_parameters(found, where)
        parameter = list(inspect.signature(method).parameters)[1]
        try:
            meaning, answer = self._read(method, parameter, owner)
        except Unresolved as error:
            self._wait_for(error, where, "its annotation")
            return
        mark = cast("Mark", method.__handler__)
        made = Handler(
            name,
            found,
            is_async(found),
            mark.raises,
            mark.reads_only,
            mark.cancel_with_caller,
            mark.batch,
        )
        taken = members(self._message(made, parameter, meaning))
        for message in taken:
            self._add_for(made, message)
        begin = f"{define(found)} {name}(self, {parameter}: "
        Answering(where, begin, found, mark.batch > 1, taken, answer).check()

    def _read(self, method: Any, parameter: str, owner: type) -> tuple[Any, Any]:
        """Return what the annotations of a handler mean: its message, its answer."""
        mark = cast("Mark", method.__handler__)
        plain = inspect.unwrap(method)
        written = plain.__annotations__
        scope = self._scope(plain, owner)
        if mark.message is NOTHING and parameter in written:
            mark.message = scope.read(written[parameter], first=self._names())
        answer = mark.answer
        if answer is NOTHING and "return" in written:
            try:
                answer = scope.read(written["return"], last=self._names())
                mark.answer = answer
            except Unresolved as error:
                # It may be imported for type checkers only: then nobody can judge it.
                answer = Any
                self.unread = self.unread or not (self.final or error.hopeless)
        known = self.known.get(owner, {})
        return substitute(mark.message, known), substitute(answer, known)

    def _names(self) -> dict[str, Any]:
        """Return its messages by name, those that share one excepted."""
        if self.names is None:  # once, since each handler wants to know
            found = {kind: None for one in self.messages for kind in kinds(one)}
            counts = Counter(kind.__name__ for kind in found)
            self.names = {
                kind.__name__: kind for kind in found if counts[kind.__name__] == 1
            }
        return self.names

    def _message(self, made: Handler, parameter: str, meaning: Any) -> Any:
        """Return the union a handler takes: what is in the list, if it takes one."""
        where = f"{self.name}.{made.name}"
        begin = f"\n    {define(made.function)} {made.name}(self, "
        if meaning is NOTHING:
            first = spell(self.messages[0]) if self.messages else "..."
            shown = first if made.batch == 1 else f"list[{first}]"
            raise TypeError(
                f"{where} is a handler, but does not say of which message. Write the"
                f" message's type:{begin}{parameter}: {shown}) -> ...:"
            )
        if made.batch == 1:
            return meaning
        origin = get_origin(meaning)
        if not (isinstance(origin, type) and issubclass(list, origin)):
            raise TypeError(
                f"{where} takes batches, so its message is a list:"
                f"{begin}messages: list[{spell(meaning)}]) -> ...:"
            )
        return get_args(meaning)[0]

    def _add_for(self, made: Handler, message: Any) -> None:
        """Enter a handler for one message."""
        where = f"{self.name}.{made.name}"
        if not kinds(message):
            raise TypeError(
                f"{where} handles {spell(message)}, which is no class. Write the class"
                " of the message as its annotation."
            )
        for kind in kinds(message):
            known = not self.written or kind in self._names().values()
            if not (known or any(_related(kind, one) for one in self.messages)):
                union = _listed(" | ", [*self.messages, message])
                raise TypeError(
                    f"{where} handles {spell(message)}, which is not one of the"
                    f" messages of {self.name}. Add it:"
                    f"\n    class {self.name}(Actor[{union}]):"
                    "\nor take the handler away."
                )
            other = self.table.setdefault(kind, made)
            if other is not made and not isinstance(message, TypeVar):
                raise TypeError(
                    f"{self.name} has two handlers for {spell(message)}: {other.name}"
                    f" and {made.name}. Keep one."
                )

    # --- What has no handler ---

    def _check_handled(self, message: Any) -> None:
        if message is Terminated:
            return  # not to handle it is a death pact
        for kind in kinds(message):
            handled = kind in self.table or any(is_a(kind, key) for key in self.table)
            if not handled and inspect.isabstract(kind):
                # Nothing is of that class itself, only of those below it.
                handled = any(is_a(key, kind) for key in self.table)
            if not handled:
                self._refuse_unhandled(message, kind)

    def _refuse_unhandled(self, message: Any, kind: type) -> NoReturn:
        text = (
            f"{self.name} takes {_listed(' | ', self.messages)}, but has no handler for"
            f" {spell(message)}."
        )
        for name, method in vars(self.cls).items():
            if name not in marked(self.cls) and inspect.isfunction(method):
                written = {**method.__annotations__, "return": NOTHING}.values()
                if any(spell(message) == spell(one) for one in written):
                    raise TypeError(
                        f"{text} {self.name}.{name} takes one: mark it with @handler."
                    )
        name = kind.__name__.lower()
        if keyword.iskeyword(name) or any(
            hasattr(one, name) for one in (self.actor, self.cls, builtins)
        ):
            name = f"on_{name}"
        answer = answer_of(message)
        shown = "None" if answer is NOTHING else spell(answer)
        raise TypeError(
            f"{text} Write one:\n    @handler"
            f"\n    def {name}(self, message: {spell(message)}) -> {shown}:"
        )


def _listed(between: str, messages: Iterable[Any]) -> str:
    return between.join(spell(one) for one in messages)


def _related(kind: type, message: Any) -> bool:
    return is_open(message) or any(
        is_a(kind, one) or is_a(one, kind) for one in kinds(message)
    )
