"""One method of an actor by itself: the mark of ``@handler``, and the shape of a hook.

What can be said of a method without its class is said here, when it is marked.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

import attrs
from trio.lowlevel import disable_ki_protection

from ._annotations import NOTHING

Method = TypeVar("Method", bound=Callable[[Any, Any], Any])

# What a hook takes besides self, in number and in words, and the line to write.
HOOKS = {
    "started": (0, "nothing but self", "async def started(self) -> None:"),
    "restarting": (
        1,
        "the failure",
        "async def restarting(self, failure: Exception) -> None:",
    ),
    "restarted": (
        2,
        "the failure and the failed instance",
        "async def restarted(self, failure: Exception, failed: Self) -> None:",
    ),
    "stopped": (1, "the reason", "async def stopped(self, reason: Exit) -> None:"),
    "unhandled": (1, "the message", "def unhandled(self, message: object) -> None:"),
}

# What else of a user runs while an actor is made.
_MAKERS = {"__init__", "__attrs_pre_init__", "__attrs_post_init__", "__post_init__"}


@attrs.frozen
class Handler:
    """One ``@handler`` method, resolved."""

    name: str
    """The method's name."""
    function: Callable[..., Any]
    """What to call: as found through the MRO, so that an override wins."""
    is_async: bool
    """Whether what it returns must be awaited."""
    raises: tuple[type[Exception], ...]
    """Exceptions that are answers."""
    reads_only: bool
    """Whether two such deliveries may change places."""
    cancel_with_caller: bool
    """Whether it is cancelled together with its asker."""
    batch: int
    """How many messages it takes at once."""

    @property
    def is_simple(self) -> bool:
        """Whether a message that was told needs nothing but the call."""
        return self.batch == 1 and not self.raises


@attrs.define
class Mark:
    """What ``@handler`` leaves on a method."""

    raises: tuple[type[Exception], ...]
    reads_only: bool
    cancel_with_caller: bool
    batch: int
    # What the annotations mean, once they could be read: the function around the class
    # may have returned when a subclass needs them again.
    message: Any = NOTHING
    answer: Any = NOTHING


@overload
def handler(method: Method, /) -> Method: ...
@overload
def handler(
    *,
    raises: tuple[type[Exception], ...] = (),
    reads_only: bool = False,
    cancel_with_caller: bool = False,
    batch: int = 1,
) -> Callable[[Method], Method]: ...
def handler(
    method: Any = None,
    /,
    *,
    raises: tuple[type[Exception], ...] = (),
    reads_only: bool = False,
    cancel_with_caller: bool = False,
    batch: int = 1,
) -> Any:
    """Mark the method that handles the messages of its annotation.

    For a ``Request[R]`` it returns an R or a ``Reply[R]``. One method may take a
    union of messages; with requests among them it returns ``Reply[Any]``.

    Args:
        method: The method itself, where no options are given.
        raises: Exceptions that are answers: raised in the asker, no failure. For a
            message that was told they are a dead letter.
        reads_only: Two such deliveries may change places (used by exploration).
        cancel_with_caller: Cancel the handler when the asker is cancelled.
        batch: Take a list of up to this many queued messages. For a ``Request[R]``
            return a list of R in the same order.

    Returns:
        The method, or with options a decorator that returns it.

    Raises:
        TypeError: It is no method with one message, or an option has a wrong type.
        ValueError: *batch* is less than 1.
    """
    _check_raises(raises)
    _check_batch(batch)

    def mark(method: Any) -> Any:
        _check_method(method)
        method.__handler__ = Mark(raises, reads_only, cancel_with_caller, batch)
        return method

    return mark if method is None else mark(method)


def _check_raises(raises: Any) -> None:
    if not isinstance(raises, tuple):
        name = getattr(raises, "__name__", "KeyError")
        raise TypeError(
            f"raises is a tuple of exception classes, but got {raises!r}. Write"
            f"\n    @handler(raises=({name},))"
        )
    for one in cast("tuple[Any, ...]", cast("object", raises)):
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise TypeError(
                f"raises is a tuple of exception classes, but {one!r} in it is no"
                " subclass of Exception. Only those can be answers."
            )


def _check_batch(batch: Any) -> None:
    if not isinstance(batch, int) or isinstance(batch, bool):
        raise TypeError(
            f"batch is the most messages to take at once, an int, but got {batch!r}."
        )
    if batch < 1:
        raise ValueError(
            f"batch is the most messages to take at once, 1 or more, but got {batch!r}."
        )


def _check_method(method: Any) -> None:
    if not binds(method) or getattr(method, "__name__", "") == "<lambda>":
        raise TypeError(f"@handler marks a method, but got {method!r}.{hint(method)}")
    name = method.__qualname__
    if "__handler__" in vars(method):
        raise TypeError(
            f"{name} is marked with @handler twice. Keep one, with all options."
        )
    check_parameters(method, name)
    if inspect.isasyncgenfunction(inspect.unwrap(method)):
        raise TypeError(
            f"{name} is a handler with a yield in it: an async generator cannot be"
            " awaited. Return one answer, or tell each value to a ref:"
            f"\n    async def {method.__name__}(self, message: ...) -> ...:"
        )


def binds(method: Any) -> bool:
    """Whether it becomes a method when it is found in a class."""
    return (
        callable(method)
        and hasattr(type(method), "__get__")
        and hasattr(method, "__dict__")
        and not isinstance(method, (staticmethod, classmethod, functools.partial))
    )


def hint(method: Any) -> str:
    """Say what to write instead of something that is no method."""
    for kind in (staticmethod, classmethod, property):
        if isinstance(method, kind):
            return f" A handler is called with self: take @{kind.__name__} away."
    name, message = "name", "..."
    if isinstance(method, type):
        name, message = method.__name__.lower(), method.__name__
    elif not callable(method):
        return ""
    return (
        " Write a method, whose annotation says which message it handles:"
        f"\n    @handler\n    def {name}(self, message: {message}) -> ...:"
    )


def check_parameters(method: Any, where: str) -> None:
    """Refuse a handler that takes anything but self and one message.

    Raises:
        TypeError: The text says how to write it.
    """
    found = list(inspect.signature(method).parameters.values())
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    if len(found) != 2 or any(one.kind not in positional for one in found):
        raise TypeError(
            f"{where} is a handler, so it takes self and one message:"
            f"\n    {define(method)} {method.__name__}(self, message: ...) -> ...:"
        )


def is_async(method: Any) -> bool:
    """Whether what it returns must be awaited.

    A plain wrapper around an async method hands its coroutine on.
    """
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(
        inspect.unwrap(method)
    )


def define(method: Any) -> str:
    """Return the words that begin its definition."""
    return "async def" if is_async(method) else "def"


def wrong_with_hook(name: str, method: Any) -> str | None:
    """Say what is wrong with a hook, None if nothing is."""
    count, takes, line = HOOKS[name]
    if not inspect.isfunction(method):
        # A descriptor or a callable is the user's own affair.
        usable = callable(method) or hasattr(method, "__get__")
        return None if usable else f"is {method!r}, but it is called by the system"
    plain = inspect.unwrap(method)
    if inspect.isasyncgenfunction(plain) or inspect.isgeneratorfunction(plain):
        return "has a yield in it, so that calling it runs nothing"
    if line.startswith("async"):
        # With another annotation it may return what can be awaited.
        annotation = plain.__annotations__.get("return")
        if not is_async(method) and annotation in (None, "None"):
            return "is not async, but it is awaited"
    elif is_async(method):
        return "is async, but it is not awaited"
    try:
        inspect.signature(method).bind("self", *range(count))
    except TypeError:
        return f"takes {takes}"
    return None


def unprotect(cls: type, actor: type) -> None:
    """Let Ctrl-C reach the user's code: the loop that calls it is protected."""
    names = {*HOOKS, *_MAKERS, *marked(cls)}
    for owner in cls.__mro__:
        if owner in actor.__mro__:
            continue
        for name in names & vars(owner).keys():
            function = vars(owner)[name]
            while inspect.isfunction(function):
                disable_ki_protection(function)
                function = getattr(function, "__wrapped__", None)


def marked(cls: type) -> dict[str, tuple[type, Any]]:
    """Return the methods with a mark and who defines them, base classes first."""
    return {
        name: (owner, _inside(value))
        for owner in reversed(cls.__mro__)
        for name, value in vars(owner).items()
        if isinstance(getattr(_inside(value), "__handler__", None), Mark)
    }


def _inside(value: Any) -> Any:
    """Look into what may stand above ``@handler`` by mistake."""
    if isinstance(value, (staticmethod, classmethod)):
        return cast("Any", value).__func__
    return value.fget if isinstance(value, property) else value
