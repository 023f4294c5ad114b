"""From a durable class to what it stores: its events, its state, and how they belong.

Rules of this file:

* A class is judged when it is created, or at its first spawn if a name in it is
  defined further down.
* A text names the class, says what is wrong, and shows what to write.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, TypeVar, cast

from .._annotations import (
    Scope,
    Unresolved,
    bind,
    is_a,
    kinds,
    members,
    running,
    spell,
    substitute,
)
from .._answers import answer_of
from .._errors import show
from .._marks import Handler
from ._codec import AnswerCodec, Codec
from ._errors import Unreadable
from ._registered import plain as unbracketed

Fold = TypeVar("Fold", bound=Callable[[Any, Any], Any])


def applies(method: Fold, /) -> Fold:
    """Mark the method that makes the next state from an event. It has no effects.

    It is called with the event of its annotation, once when that is persisted and
    again whenever the actor recovers: it reads ``self.state`` and the event, nothing
    else, and returns the next state. (Akka's event handler.)

    Raises:
        TypeError: It is no method with one event, or it is async.
    """
    plain: Any = method
    if not inspect.isfunction(plain) or inspect.iscoroutinefunction(plain):
        raise TypeError(
            f"@applies is for a plain method, but got {show(plain)}. Write"
            "\n    @applies\n    def deposited(self, event: Deposited) -> State: ..."
        )
    if len(inspect.signature(plain).parameters) != 2:
        raise TypeError(
            f"{plain.__qualname__} takes self and one event:"
            f"\n    @applies\n    def {plain.__name__}(self, event: ...) -> ...:"
        )
    plain.__applies__ = True  # type: ignore[attr-defined]
    return method


def arguments_of(cls: Any, base: type, known: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Return what stands in the brackets of *base* below a class.

    Args:
        known: What the type variables of the class stand for.

    Raises:
        Unresolved: A name in them is not known yet.
    """
    read: list[tuple[Any, list[Any]]] | None = cls.__dict__.get("__read_bases__")
    if read is None:
        raise Unresolved(
            NameError("a name that is defined further down"), hopeless=False
        )
    found, written = next(
        (one, inside)
        for one, inside in read
        if isinstance(one, type) and issubclass(one, base)
    )
    given = [substitute(one, known) for one in written]
    if found is base:
        return tuple(given)
    below = bind(getattr(found, "__parameters__", ()), given)
    return arguments_of(found, base, below)


def has_variables(written: Any) -> bool:
    """Whether a type is yet to be made of the variables in it."""
    return isinstance(written, TypeVar) or bool(getattr(written, "__parameters__", ()))


class Plan:
    """What is known of a durable class."""

    def __init__(self, cls: type, base: type, frames: tuple[FrameType, ...]) -> None:
        """Judge a class.

        Args:
            cls: Below *base*.
            base: ``EventSourced`` or ``DurableState``; the last in its brackets is the
                state, the one before it in those of ``EventSourced`` the events.
            frames: The running functions around the class.

        Raises:
            TypeError: The class is wrong.
            Unresolved: A name in it is not known yet.
        """
        self.cls: type = cls
        self.name: str = cls.__name__
        self._frames = frames
        arguments = arguments_of(cls, base, {})
        wanted = len(getattr(base, "__parameters__", ()))
        if len(arguments) != wanted:
            self._refuse_brackets(base)
        if any(has_variables(one) for one in arguments):
            raise Unresolved(self._is_generic(), hopeless=False)
        self.state: Any = arguments[-1]
        self.state_kinds: tuple[type, ...] = tuple(
            kind for one in members(self.state) for kind in kinds(one)
        )
        self.events: list[Any] = members(arguments[1]) if wanted == 3 else []
        self.codec: Codec = Codec(*self.events, where=self.name)
        self.state_codec: Codec = Codec(state=self.state, where=self.name)
        self.effects: Codec | None = self._effects(base)
        self.folds: dict[type, Callable[[Any, Any], Any]] = {}
        self._answers: dict[type, AnswerCodec] = {}
        self._check_initial()
        self._check_numbers()
        for name, method in self._marked():
            self._add(name, method)
        for event in self.events:
            if unbracketed(event) not in self.folds:
                self._refuse_unapplied(event)

    def _refuse_brackets(self, base: type) -> None:
        inside = "Command, Event, State" if self._is_sourced(base) else "Command, State"
        raise TypeError(
            f"{self.name} does not say what it stores. Write"
            f"\n    class {self.name}({base.__name__}[{inside}]):"
        )

    def _is_generic(self) -> TypeError:
        return TypeError(
            f"{self.name} is generic, and does not say what it stores. Spawn a class"
            f" that does:\n    class My{self.name}({self.name}[...]):"
        )

    @staticmethod
    def _is_sourced(base: type) -> bool:
        return len(getattr(base, "__parameters__", ())) == 3

    def _check_initial(self) -> None:
        cls: Any = self.cls
        if not hasattr(cls, "initial"):
            raise TypeError(
                f"{self.name} has no state to begin with. Write"
                f"\n    initial = {spell(self.state)}(...)"
            )
        self.check_state(cls.initial, "its initial state")

    def _check_numbers(self) -> None:
        every: object = getattr(self.cls, "snapshot_every", 1)
        if type(every) is not int or every < 1:
            raise TypeError(
                f"{self.name}.snapshot_every is a whole number of events, at least 1,"
                f" not {every!r}. For no snapshots, write a large one."
            )
        seconds: Any = getattr(self.cls, "remember_for", 0)
        if type(seconds) not in (int, float) or not seconds >= 0:
            raise TypeError(
                f"{self.name}.remember_for is a number of seconds from 0, not"
                f" {seconds!r}."
            )

    def check_state(self, state: object, what: str) -> None:
        """Refuse what is no state.

        Raises:
            TypeError: It is of another type.
        """
        if not any(is_a(type(state), kind) for kind in self.state_kinds):
            raise TypeError(
                f"{self.name}: {what} is a {spell(self.state)}, but got {show(state)}."
                + " Return the next state." * (state is None)
            )

    def check_fresh(self, state: object, what: str) -> None:
        """Refuse a state that was changed in place: there was no way back from it.

        Args:
            state: The very object that was the state before.
            what: What gave it.

        Raises:
            TypeError: It is of a class whose instances can be changed.
        """
        kind = type(state)
        if kind in (dict, list, set):  # a record that is not frozen is not stored
            raise TypeError(
                f"{self.name}: {what} is the {spell(kind)} that was the state before."
                " A state is never changed in place; make a new one, as in"
                " {**self.state, key: value}."
            )

    # --- Events ---

    def _marked(self) -> Iterator[tuple[str, Any]]:
        names = dict.fromkeys(
            name
            for one in reversed(self.cls.__mro__)
            for name, value in vars(one).items()
            if getattr(value, "__applies__", False)
        )
        for name in names:
            method = inspect.getattr_static(self.cls, name)
            if method is not None:
                yield name, method

    def _add(self, name: str, method: Any) -> None:
        plain = inspect.unwrap(method)
        written = plain.__annotations__
        parameter = list(inspect.signature(plain).parameters)[1]
        if parameter not in written:
            raise TypeError(
                f"{self.name}.{name} does not say which event it applies. Write"
                f"\n    @applies\n    def {name}(self, {parameter}: ...) -> ...:"
            )
        event = Scope(plain, self.cls, self._frames).read(written[parameter])
        for one in members(event):
            if one not in self.events:
                known = ", ".join(spell(event) for event in self.events)
                raise TypeError(
                    f"{self.name}.{name} applies {spell(one)}, which is none of its"
                    f" events: {known}. Add it in the brackets, or take it away."
                )
            if unbracketed(one) in self.folds:
                raise TypeError(
                    f"{self.name} has two methods with @applies for {spell(one)}."
                    " Keep one."
                )
            self.folds[unbracketed(one)] = method

    def _refuse_unapplied(self, event: Any) -> None:
        raise TypeError(
            f"{self.name} stores {spell(event)}, but nothing makes a state from it."
            f" Write\n    @applies\n    def {spell(event).lower()}(self, event:"
            f" {spell(event)}) -> {spell(self.state)}:"
        )

    # --- Effects ---

    def _effects(self, base: Any) -> Codec | None:
        """Return what stores the effects that ``deliver()`` takes."""
        method = inspect.getattr_static(self.cls, "deliver")
        if method is inspect.getattr_static(base, "deliver"):
            return None
        plain = inspect.unwrap(method)
        names = [*inspect.signature(plain).parameters]
        if not inspect.iscoroutinefunction(plain) or len(names) != 3:
            raise TypeError(
                f"{self.name}.deliver is called with an effect and its key, and"
                " awaited. Write"
                "\n    async def deliver(self, effect: Receipt, key: str) -> None:"
            )
        parameter = names[1]
        if parameter not in plain.__annotations__:
            raise TypeError(
                f"{self.name}.deliver does not say which effects it takes. Write"
                "\n    async def deliver(self, effect: Receipt, key: str) -> None:"
            )
        written = plain.__annotations__[parameter]
        effect = Scope(plain, self.cls, self._frames).read(written)
        return Codec(*members(effect), where=f"{self.name}.deliver")

    def read_effect(self, body: bytes) -> Any:
        """Return an effect that was stored.

        Raises:
            Unreadable: It is none of those that ``deliver()`` takes.
        """
        if self.effects is None:
            raise Unreadable(f"{self.name} has no deliver() any more.")
        return self.effects.decode(body)

    # --- Answers ---

    def answers(self, info: Handler, message: object) -> AnswerCodec:
        """Return what stores the answers to a command."""
        kind = type(message)
        found = self._answers.get(kind)
        if found is None:
            found = self._answers[kind] = answers_to(kind, info, self.name)
        return found


def answers_to(kind: type, info: Handler, owner: str) -> AnswerCodec:
    """Return what stores the answers to the commands of a class."""
    return AnswerCodec(answer_of(kind), info.raises, where=f"{owner}.{info.name}")


def make_plan(cls: type, base: type, depth: int) -> Plan | None:
    """Judge a class when it is created; None if a name in it is not known yet.

    Args:
        depth: How many frames there are between this one and the class's.
    """
    owners = [
        cls,
        *(value for value in vars(cls).values() if inspect.isfunction(value)),
    ]
    frames = running(sys._getframe(depth), owners)
    try:
        return Plan(cls, base, frames)
    except Unresolved:
        return None


def plan_of(cls: type, base: type) -> Plan:
    """Return what is known of a class that is spawned.

    Raises:
        TypeError: The class is wrong, or a name in it is still not known.
    """
    plan = cast("Plan | None", cls.__dict__.get("__plan__"))
    if plan is None:
        try:
            plan = Plan(cls, base, ())
        except Unresolved as error:
            if isinstance(error.__cause__, TypeError):
                raise error.__cause__ from None
            raise TypeError(
                f"{cls.__name__}: {error.__cause__} cannot be read. Define it before"
                " the first spawn."
            ) from error.__cause__
        cls.__plan__ = plan  # type: ignore[attr-defined]
    return plan
