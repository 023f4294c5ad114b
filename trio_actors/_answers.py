"""What a request is answered with, and whether a handler answers so.

Only what is certainly another answer is refused: variance is not looked at, protocols
pass, and so does what cannot be read.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal, get_args, get_origin

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
    spell,
    substitute,
)
from ._messages import Request


def answer_of(message: Any) -> Any:
    """Return the R of a ``Request[R]``, Any if it says none; NOTHING for others."""
    origin, arguments = get_origin(message), get_args(message)
    cls: Any = message if origin is None else origin
    if not _is_request(cls):
        return NOTHING
    if cls is Request:
        return arguments[0] if arguments else Any
    known = bind(getattr(cls, "__parameters__", ()), arguments)
    answers = (answer_of(base) for base in bases_of(cls))
    found = next(answer for answer in answers if answer is not NOTHING)
    try:
        return substitute(Scope(cls, cls, ()).read(found), known)
    except Unresolved:
        return Any  # it is imported for checkers only, or local


def _is_request(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, Request)


def may_be(given: Any, wanted: Any) -> bool:
    """Whether a *given* may be a *wanted*: False only if it certainly is not."""
    try:
        return all(
            any(_fits(part, one) for one in members(wanted)) for part in members(given)
        )
    except Exception:
        return True


def _fits(given: Any, wanted: Any) -> bool:
    # Of two classes with one name, one may be the other before a decorator or a reload.
    if is_open(given) or is_open(wanted) or spell(given) == spell(wanted):
        return True
    if not all(
        any(is_a(kind, other) for other in kinds(wanted)) for kind in kinds(given)
    ):
        return False
    origin = get_origin(given)
    left, right = get_args(given), get_args(wanted)
    if origin is Literal or origin is not get_origin(wanted) or len(left) != len(right):
        return True
    # Variance is not looked at: an ActorRef[A | B] is an ActorRef[A].
    return all(_overlap(one, other) for one, other in zip(left, right, strict=True))


def _overlap(one: Any, other: Any) -> bool:
    left, right = members(one), members(other)
    return not (left and right) or any(
        _fits(a, b) or _fits(b, a) for a in left for b in right
    )


@attrs.frozen
class Answering:
    """A handler, and what it says it answers."""

    where: str
    """The class and the method."""
    begin: str
    """How its definition begins, up to the type of its message."""
    function: Any
    """What is called."""
    in_list: bool
    """Whether it takes a list of messages, and answers with a list."""
    taken: list[Any]
    """The messages it takes."""
    given: Any
    """Its return annotation, or NOTHING."""

    def check(self) -> None:
        """Refuse it if it certainly does not answer with what is wanted.

        Raises:
            TypeError: The text says what to write.
        """
        for message in self.taken:
            wanted = answer_of(message)
            if wanted is not NOTHING:
                self._check_for(message, wanted)
            elif inspect.isgeneratorfunction(inspect.unwrap(self.function)):
                raise TypeError(
                    f"{self.where} has a yield in it, so that calling it runs nothing."
                    " Tell each value to a ref instead."
                )

    def _check_for(self, message: Any, wanted: Any) -> None:
        request, answer = spell(message), spell(wanted)
        union = " | ".join(spell(one) for one in self.taken)
        in_list = f"\n    {self.begin}list[{union}]) -> list[{answer}]:"
        if self.given is NOTHING:
            raise TypeError(
                f"{self.where} does not say what it answers. {request} is a"
                f" Request[{answer}], so write:"
                + (
                    in_list
                    if self.in_list
                    else f"\n    {self.begin}{request}) -> {answer}:"
                )
            )
        parts = _parts(self.given, in_list=self.in_list)
        if parts is None:
            raise TypeError(
                f"{self.where} takes batches, so it returns a list with one answer for"
                f" each message:{in_list}"
            )
        if len(self.taken) > 1:
            if parts and not self.in_list and not any(is_open(part) for part in parts):
                raise TypeError(
                    f"{self.where} handles several messages with different answers, so"
                    " it returns a Reply from forward, stash or defer_reply:"
                    f"\n    {self.begin}{union}) -> Reply[Any]:"
                )
        elif not all(may_be(part, wanted) for part in parts):
            raise TypeError(
                f"{self.where} returns {spell(self.given)}, but {request} is a"
                f" Request[{answer}]. "
                + (
                    f"Write the answers in the order of the messages:{in_list}"
                    if self.in_list
                    else f"Write -> {answer} if the answer is ready, or ->"
                    f" Reply[{answer}] if it comes later."
                )
            )


def _parts(given: Any, *, in_list: bool) -> list[Any] | None:
    """Return what may come as an answer, now or by a Reply; None without a list."""
    found: list[Any] = []
    for part in members(given):
        origin, arguments = get_origin(part), get_args(part)
        if in_list:
            if is_open(part) or part is list:
                found.append(Any)
            elif isinstance(origin, type) and issubclass(list, origin):
                found += _parts(arguments[0], in_list=False) or ()
            else:
                return None
        elif getattr(origin or part, "__is_reply__", False):
            found += members(arguments[0]) if arguments else [Any]
        else:
            found.append(part)
    return found
