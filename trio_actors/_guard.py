"""What a system may do to each message at the sender's: check, load up, hold back.

Only systems with ``check_messages=`` or ``propagate=`` have a guard, and only those
with a journal hold back what a turn sends before it is durable.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, cast

import attrs

from ._box import Box
from ._errors import show
from ._gate import gate_here
from ._messages import Carried, Terminated, unpacked
from ._pending import Call, lose, message_of
from ._ref import ActorRef

_PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    tuple,
    frozenset,
    range,
    enum.Enum,
    type,
    ActorRef,
    Terminated,
)


def make_guard(
    propagate: Sequence[ContextVar[Any]], *, check_messages: bool
) -> Callable[[Any], Any]:
    """Return what each message of a system goes through on its way in."""
    variables = tuple(propagate)

    def guard(item: Any) -> Any:
        if check_messages:
            check(message_of(item))
        values = tuple((var, var.get()) for var in variables if _is_set(var))
        return Carried(item, values) if values else item

    return guard


def _is_set(var: ContextVar[Any]) -> bool:
    try:
        var.get()
    except LookupError:
        return False
    return True


def check(message: object) -> None:
    """Refuse a message that could be changed after it was sent (ORD-6, S0-9).

    Raises:
        TypeError: Its class is not frozen, or something in it is not hashable.
    """
    if not _is_frozen(cast("Any", type(message))):
        raise TypeError(
            f"{show(message)} is no message, because it can be changed after it was"
            f" sent. Write @attrs.frozen above class {type(message).__name__}."
        )
    try:
        hash(message)
    except TypeError as error:
        raise TypeError(
            f"{show(message)} is no message, because something in it can be changed"
            f" after it was sent ({error}). Use tuples and frozensets in it instead of"
            " lists, dicts and sets."
        ) from None


@lru_cache(maxsize=1024)
def _is_frozen(kind: Any) -> bool:
    """Whether the messages of a class cannot be changed; found once per class."""
    if issubclass(kind, _PLAIN):
        return True
    if dataclasses.is_dataclass(kind):
        return bool(cast("Any", kind).__dataclass_params__.frozen)
    if attrs.has(kind):
        return kind.__setattr__.__qualname__.startswith("_frozen")
    return False


class GatedBox(Box):
    """A box that holds back what is sent to it by a turn that is not durable yet."""

    __slots__ = ()
    burst = 0

    def put_slow(self, item: Any) -> bool:
        """Put an item, now or when the gate of the turn lets it go."""
        return self.holds_back(item) or super().put_slow(item)

    def holds_back(self, item: Any) -> bool:
        """Whether an item waits at the gate of the turn that sends it."""
        gate = gate_here()
        if gate is None:
            return False
        inner = unpacked(item)
        to = cast("Any", self.owner).ref  # of an entity, whichever box it has
        if isinstance(inner, Call) and inner.asker is gate.cell and gate.lets_ask(to):
            return False
        lost = partial(lose, gate.cell, inner)
        gate.hold(to, partial(self._let_through, item), lost)
        return True

    def _let_through(self, item: Any) -> None:
        """Put what was held: its sender waits no more, so there must be room."""
        if not self.put(item):
            self.put_over(item)


class GuardedBox(Box):
    """A box that looks at each message on its way in.

    Used by systems with ``propagate=`` or ``check_messages=``; the others pay nothing.
    """

    __slots__ = ()
    burst = 0

    def put_slow(self, item: Any) -> bool:
        """Wrap the message together with the context variables that travel with it."""
        return super().put_slow(self._carry(item))

    def put_granted(self, items: list[Any], room: int) -> int:
        """Wrap as `put_slow()` does; what comes before a refused message is put."""
        carried: list[Any] = []
        error: BaseException | None = None
        for item in items[:room]:
            try:
                carried.append(self._carry(item))
            except BaseException as caught:  # noqa: ASYNC103  # raised below
                error = caught
                break
        put = super().put_granted(carried, room)
        if error is not None:
            raise error
        return put

    def put_over(self, item: Any) -> None:
        """Wrap as `put()` does."""
        super().put_over(self._carry(item))

    def _carry(self, item: Any) -> Any:
        raise NotImplementedError


def guarded_box(guard: Callable[[Any], Any], kind: type[Box]) -> type[Box]:
    """Make a box class whose messages go through *guard*, which may raise."""

    class Guarded(GuardedBox, kind):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def _carry(self, item: Any) -> Any:
            return item if type(item) is Carried else guard(item)

    return Guarded
