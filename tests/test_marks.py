"""One method by itself: what can be marked as a handler, and what a hook looks like."""

# mypy: disable-error-code="type-arg, no-untyped-def, override, no-redef, misc"
# mypy: disable-error-code="untyped-decorator, no-untyped-call"
# pyright: reportUnknownLambdaType=false
# pyright: reportUnusedClass=false, reportIncompatibleMethodOverride=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false, reportUnknownMemberType=false
# pyright: reportIncompatibleVariableOverride=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnusedFunction=false
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import new_class
from typing import Any

import attrs
import pytest
from trio.lowlevel import currently_ki_protected, enable_ki_protection

from tests.classes import names_of, refused
from trio_actors import Actor, Exit, Request, handler

mark: Any = handler  # for wrong uses that type checkers refuse


@attrs.frozen
class Add(Request[int]): ...


@attrs.frozen
class Sub(Request[int]): ...


@attrs.frozen
class Names(Request[Iterator[str]]): ...


@attrs.frozen
class Reset: ...


# --- One method -------------------------------------------------------------------


def numbers(self, message: Add) -> int:
    return 1


class Caller:
    def __call__(self, message: Add) -> int:
        return 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: mark(staticmethod(numbers)), "take @staticmethod away."),
        (lambda: mark(classmethod(numbers)), "take @classmethod away."),
        (lambda: mark(property(lambda self: 1)), "take @property away."),
        (lambda: mark(lambda self, message: 1), "def name(self, message: ...) -> ...:"),
        (lambda: mark(functools.partial(numbers, 1)), "def name(self, message: ...)"),
        (lambda: mark(Add), "def add(self, message: Add) -> ...:"),
        (lambda: mark("add"), "got 'add'."),
        (lambda: mark(Caller()), "def name(self, message: ...) -> ...:"),
    ],
)
def test_only_a_method_that_gets_self_can_be_marked(
    wrong: Callable[[], object], words: str
) -> None:
    text = refused(wrong)
    assert text.startswith("@handler marks a method, but got ")
    assert words in text


def test_a_mark_below_another_decorator_of_the_class_is_found() -> None:
    def static():
        class Counter(Actor[Add]):
            @staticmethod
            @mark
            def add(self, message: Add) -> int:  # noqa: PLW0211  # pyright: ignore[reportSelfClsParameterName]
                return 1

    def attribute():
        class Counter(Actor[Add]):
            @property
            @mark
            def add(self, message: Add) -> int:  # noqa: PLR0206
                return 1

    assert "take @staticmethod away" in refused(static)
    assert "take @property away" in refused(attribute)


def test_a_method_is_marked_once() -> None:
    text = refused(lambda: mark(mark(lambda_of())))
    assert text.endswith(
        "add is marked with @handler twice. Keep one, with all options."
    )


def lambda_of() -> Any:
    def add(self, message: Add) -> int:
        return 1

    return add


def parameters() -> dict[str, Any]:
    def default(self, message: Add, extra: int = 0): ...
    def keyword(self, *, message: Add): ...
    def variable(self, *messages: Add): ...
    def nothing(self): ...
    def too_many(self, message: Add, *extra: int): ...
    async def waits(self): ...

    return {name: value for name, value in locals().items() if callable(value)}


@pytest.mark.parametrize("name", list(parameters()))
def test_a_handler_takes_one_message_by_position(name: str) -> None:
    method = parameters()[name]
    define = "async def" if name == "waits" else "def"
    assert refused(lambda: mark(method)).endswith(
        f".{name} is a handler, so it takes self and one message:\n"
        f"    {define} {name}(self, message: ...) -> ...:"
    )


def test_a_message_may_have_a_default_or_be_positional_only() -> None:
    class Counter(Actor[Add | Sub]):
        @handler
        def add(self, message: Add = Add()) -> int:
            return 1

        @handler
        def sub(self, message: Sub, /) -> int:
            return 1

    assert Counter().add() == 1
    assert names_of(Counter) == {"Add": "add", "Sub": "sub"}


def test_a_handler_with_a_yield_never_runs() -> None:
    async def stream(self, message: Add) -> AsyncIterator[int]:
        yield 1

    def plain():
        class Counter(Actor[Reset]):
            @handler
            def reset(self, message: Reset) -> Iterator[int]:
                yield 1

    class Lister(Actor[Names]):
        @handler
        def names(self, message: Names) -> Iterator[str]:
            yield "ada"

    assert "a yield in it: an async generator cannot be awaited" in refused(
        lambda: mark(stream)
    )
    assert refused(plain).startswith("Counter.reset has a yield in it")
    assert names_of(Lister) == {"Names": "names"}


@pytest.mark.parametrize(
    ("raises", "words"),
    [
        (KeyError, "Write\n    @handler(raises=(KeyError,))"),
        ([KeyError], "but got [<class 'KeyError'>]"),
        ((KeyError("x"),), "KeyError('x') in it is no subclass of Exception."),
        ((KeyboardInterrupt,), "in it is no subclass of Exception."),
    ],
)
def test_raises_is_a_tuple_of_exception_classes(raises: Any, words: str) -> None:
    text = refused(lambda: handler(raises=raises))
    assert text.startswith("raises is a tuple of exception classes, but ")
    assert words in text


@pytest.mark.parametrize("batch", ["10", 1.5, True, None])
def test_batch_is_an_int(batch: Any) -> None:
    assert refused(lambda: handler(batch=batch)).startswith(
        "batch is the most messages to take at once, an int, but got "
    )


def test_batch_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="1 or more, but got 0"):
        handler(batch=0)


def test_a_handler_has_a_name_of_its_own() -> None:
    def hook():
        class Counter(Actor[Reset]):
            @mark
            def unhandled(self, message: Reset) -> None: ...

    def hidden():
        class Counter(Actor[Reset]):
            @mark
            def mailbox(self, message: Reset) -> None: ...

    assert refused(hook).startswith("Counter.unhandled is a hook, which the system")
    assert refused(hidden).startswith("Counter.mailbox is a handler, but it hides")


# --- Hooks ------------------------------------------------------------------------


def with_hook(name: str, hook: object) -> type:
    async def run(self, message: Reset) -> None: ...

    members = {"reset": mark(run), name: hook, "__module__": __name__}
    return new_class("Counter", (Actor[Reset],), {}, lambda body: body.update(members))


def wrong_hooks() -> dict[str, tuple[str, Any, str]]:
    def plain(self): ...
    def says_none(self) -> None: ...
    async def no_reason(self): ...
    async def two(self, failure): ...
    async def waits(self, message): ...
    async def yields(self):
        yield

    return {
        "plain": ("started", plain, "is not async, but it is awaited"),
        "says none": ("started", says_none, "is not async, but it is awaited"),
        "a parameter less": ("stopped", no_reason, "takes the reason"),
        "two less": (
            "restarted",
            no_reason,
            "takes the failure and the failed instance",
        ),
        "one less": ("restarted", two, "takes the failure and the failed instance"),
        "one more": ("started", two, "takes nothing but self"),
        "none": ("restarting", None, "is None, but it is called by the system"),
        "yields": ("started", yields, "has a yield in it, so that calling it runs"),
        "awaited": ("unhandled", waits, "is async, but it is not awaited"),
    }


@pytest.mark.parametrize("case", list(wrong_hooks()))
def test_a_wrong_hook_is_shown_the_line_to_write(case: str) -> None:
    name, hook, words = wrong_hooks()[case]
    text = refused(lambda: with_hook(name, hook))
    assert text.startswith(f"Counter.{name} {words}")
    assert (
        f"Write:\n    {'def' if name == 'unhandled' else 'async def'} {name}(self"
        in text
    )


def right_hooks() -> dict[str, tuple[str, Any]]:
    async def plain(self): ...
    async def optional(self, reason: Exit | None = None) -> None: ...
    async def both(self, failure: Exception, failed: Any, /) -> None: ...
    async def any_number(self, *args: object) -> None: ...
    def promised(self) -> Awaitable[None]: ...  # type: ignore[empty-body]  # pyright: ignore[reportReturnType]
    def unhandled(self, message): ...

    @functools.wraps(plain)
    def wrapped(*args: Any) -> Any: ...

    return {
        "plain": ("started", plain),
        "with a default": ("stopped", optional),
        "positional": ("restarted", both),
        "any number": ("restarting", any_number),
        "says what it returns": ("started", promised),
        "unhandled": ("unhandled", unhandled),
        "wrapped": ("started", wrapped),
        "a class method": ("started", classmethod(plain)),
        "a callable": ("started", functools.partial(print)),
    }


@pytest.mark.parametrize("case", list(right_hooks()))
def test_a_right_hook_is_accepted(case: str) -> None:
    name, hook = right_hooks()[case]
    cls = with_hook(name, hook)
    assert names_of(cls) == {"Reset": "reset"}
    assert inspect.getattr_static(cls, name) is hook


# --- Ctrl-C -----------------------------------------------------------------------


def test_ctrl_c_reaches_the_users_code_below_a_protected_loop() -> None:
    """TRIO: the loop is protected; handlers, hooks and __init__ are not."""
    seen: dict[str, bool] = {}

    def logged(method):
        @functools.wraps(method)
        def wrapper(*args: Any) -> Any:
            return method(*args)

        return wrapper

    class Mixin:
        def __init__(self) -> None:
            seen["__init__"] = currently_ki_protected()

    class Counter(Mixin, Actor[Add | Reset]):
        @handler
        @logged
        def add(self, message: Add) -> int:
            seen["add"] = currently_ki_protected()
            return self.helper()

        @handler
        def reset(self, message: Reset) -> None: ...

        def helper(self) -> int:
            seen["helper"] = currently_ki_protected()
            return 1

        def unhandled(self, message: object) -> None:
            seen["unhandled"] = currently_ki_protected()

    class Sub(Counter):
        def reset(self, message: Reset) -> None:
            seen["reset"] = currently_ki_protected()

    @enable_ki_protection
    def loop() -> None:
        actor = Sub()
        actor.add(Add())
        actor.reset(Reset())
        actor.unhandled("")
        seen["loop"] = currently_ki_protected()

    loop()
    assert seen == {
        "__init__": False,
        "add": False,
        "helper": False,
        "reset": False,
        "unhandled": False,
        "loop": True,
    }
