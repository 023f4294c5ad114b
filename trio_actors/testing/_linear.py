"""Whether the answers of a test's clients fit one order of their requests.

Rules of this file:

* The moments of a history are counted, not measured: with two that are the same,
  "returned before it was called" cannot be told from "at the same time", and a checker
  accepts what is wrong.
* A request whose fate is not known (its asker was cancelled, the actor failed) may have
  been handled or not. One that was certainly not begun is no part of the history.
* What does not fit is told in the fewest operations. To leave the answer of one out of
  account only makes it easier to fit; one that changed nothing may be left out.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

import attrs

from .._errors import (
    ActorError,
    ActorStopped,
    MailboxFull,
    UnhandledMessage,
    show,
)
from ._misfit import Misfit, explain
from ._orders import LIMIT, Machine, Model, Operation, Outcome, TooLong, find_order
from ._state import duplicate

P = ParamSpec("P")

NOT_BEGUN = (ActorStopped, MailboxFull, UnhandledMessage)

# --- Recording --------------------------------------------------------------


class Recorder(Protocol):
    """Is told what clients ask, and what they get."""

    def begin(self, client: str, request: object) -> int:
        """Note that a client asks; return what names the request from here on."""
        ...

    def end(
        self, number: int, value: object = None, error: BaseException | None = None
    ) -> None:
        """Note that it got an answer, or an exception."""
        ...


class Recording(Protocol):
    """A world that tells recorders."""

    @property
    def _recorders(self) -> list[Recorder]: ...

    @property
    def _clients(self) -> Mapping[Any, object]: ...


W = TypeVar("W", bound=Recording)
S = TypeVar("S")

OWNERS = ("self", "cls")
"""What the first parameter of a method is called."""


class History:
    """What clients asked and what they got, in the order in which it happened."""

    def __init__(self) -> None:
        self._moment = 0
        self._all: list[Operation | None] = []

    @property
    def operations(self) -> list[Operation]:
        """The requests, without those that were certainly not begun."""
        return [one for one in self._all if one is not None]

    @property
    def size(self) -> int:
        """How many requests there were."""
        return len(self._all)

    def begin(self, client: str, request: object) -> int:
        """Note that a client asks; return what names the request from here on."""
        self._moment += 1
        self._all.append(Operation(client, request, self._moment))
        return len(self._all) - 1

    def end(
        self, number: int, value: object = None, error: BaseException | None = None
    ) -> None:
        """Note that it got an answer, or an exception."""
        self._moment += 1
        one = self._all[number]
        if one is None or one.returned is not None:
            raise RuntimeError(f"request {number} has ended before")
        if isinstance(error, NOT_BEGUN) and error.message is one.request:
            self._all[number] = None
        elif error is None or not _is_unknown(error):
            # A list that the actor goes on to fill is not what the client was given.
            outcome = Outcome(_kept(value), error)
            self._all[number] = attrs.evolve(
                one, returned=self._moment, outcome=outcome
            )


def _is_unknown(error: BaseException) -> bool:
    """Whether the request may have been handled or not."""
    return isinstance(error, ActorError) or not isinstance(error, Exception)


def _kept(value: object) -> object:
    try:
        return duplicate(value)
    except Exception:  # it cannot be copied, or will not be
        return value


# --- Checking ---------------------------------------------------------------


def check_history(
    operations: Iterable[Operation],
    model: Callable[[], Model],
    key: Callable[[Any], Hashable] | None = None,
) -> Misfit | None:
    """Check that the answers fit one order of the operations.

    Args:
        operations: What was asked and answered.
        model: Makes the object whose ``apply(request)`` gives the right answer.
        key: Splits the history into independent parts.

    Returns:
        What does not fit, in the fewest operations; None if all fits.

    Raises:
        ValueError: Two calls or returns have the same moment.
        RuntimeError: There are too many orders to try.
    """
    every = list(operations)
    _check_moments(every)
    machine = Machine(model)
    for name, part in _split(every, key).items():
        try:
            found = find_order(part, machine, LIMIT)
        except TooLong:
            raise RuntimeError(
                f"{len(part)} operations have more orders than can be tried, so it is"
                " not known whether they are linearizable. Give linearizable() a key"
                " that splits them, or let fewer clients ask at the same time."
            ) from None
        if found.order is None:
            told = f" on {show(name)}" if key is not None else ""
            return explain(part, machine, found, told)
    return None


def _check_moments(operations: Sequence[Operation]) -> None:
    seen: set[int] = set()
    for one in operations:
        for moment in (one.called, one.returned):
            if moment in seen:
                raise ValueError(
                    f"two things happen at moment {moment}, one of them to"
                    f" {show(one.request)}: which one is first decides what is right."
                    " Number all calls and returns, as History does."
                )
            if moment is not None:
                seen.add(moment)
        if one.returned is not None and one.returned < one.called:
            raise ValueError(f"{show(one.request)} returned before it was called")


def _split(
    operations: list[Operation], key: Callable[[Any], Hashable] | None
) -> dict[Hashable, list[Operation]]:
    if key is None:
        return {None: operations}
    parts: dict[Hashable, list[Operation]] = {}
    for one in operations:
        parts.setdefault(key(one.request), []).append(one)
    return parts


# --- In a test ---------------------------------------------------------------


def place_of_world(test: Callable[..., object]) -> int:
    """Return which parameter of a test gets the world: the first of its own.

    Raises:
        TypeError: It has none, or the world in another place.
    """
    names = list(inspect.signature(test).parameters)
    own = int(bool(names) and names[0] in OWNERS)
    if len(names) == own or "world" in names[own + 1 :]:
        name = getattr(test, "__name__", "test")
        raise TypeError(
            f"{name}() has no first parameter for the world. Write"
            f" async def {name}(world: World)."
        )
    return own


class Checked(Protocol):
    """Makes a test one that is checked: of a function, or of a method."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a world is no owner of tests
        self, test: Callable[Concatenate[W, P], Awaitable[None]], /
    ) -> Callable[Concatenate[W, P], Awaitable[None]]: ...
    @overload
    def __call__(
        self, test: Callable[Concatenate[S, W, P], Awaitable[None]], /
    ) -> Callable[Concatenate[S, W, P], Awaitable[None]]: ...


def linearizable(
    model: Callable[[], Model],
    *,
    key: Callable[[Any], Hashable] | None = None,
) -> Checked:
    """Check that the answers of a test's clients fit one order of the requests.

    What the clients and the test itself ask is recorded; what actors ask is not. An
    exception of the model's is an answer, too: the asker must get one of that class.
    For requests that are not its business ``apply()`` returns NotImplemented.

    Args:
        model: Makes the object whose ``apply(request)`` gives the right answer. Its
            state is what its attributes hold.
        key: Splits the history into independent parts: of many that run at the same
            time, the orders are too many to try.

    Returns:
        A decorator for an async test whose first parameter is the world. It stands
        below ``@explore``.

    Raises:
        TypeError: *model* is no class, or the test is not async.
    """
    if not callable(model):
        raise TypeError(
            f"linearizable() wants what makes a model, but got {show(model)}. Write"
            f" @linearizable({type(model).__name__}), without parentheses."
        )

    def decorate(test: Callable[..., Awaitable[None]]) -> Any:
        if not inspect.iscoroutinefunction(test):
            raise TypeError(
                f"{getattr(test, '__name__', test)} is no async function. Write"
                " @linearizable() next to the test, and @explore() above it."
            )

        place = place_of_world(test)
        name = list(inspect.signature(test).parameters)[place]

        @functools.wraps(test)
        async def checked(*args: Any, **kwargs: Any) -> None:
            history = History()
            # pytest gives all by name.
            world: Recording = args[place] if len(args) > place else kwargs[name]
            world._recorders.append(history)
            await test(*args, **kwargs)
            # A test that did not wait for its clients may end before one has asked.
            if history.size or not world._clients:
                _judge(history, model, key)

        return checked

    return decorate


def _judge(
    history: History,
    model: Callable[[], Model],
    key: Callable[[Any], Hashable] | None,
) -> None:
    if not history.size:
        raise AssertionError(
            "linearizable() has seen no request. It checks what the clients of the"
            " test's world ask with ref.ask()."
        )
    misfit = check_history(history.operations, model, key)
    if misfit is not None:
        raise AssertionError(str(misfit))
