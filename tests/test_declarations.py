"""What is wrong with an actor class is said when the class is created.

The rule is in ``Actor``'s docstring: a message without a handler, a handler without its
message, or an answer of another type is a TypeError, and its text says what to write.
"""
# pyright: reportUnusedClass=false

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs
import pytest

from trio_actors import Actor, Reply, Request, handler

Item = TypeVar("Item")


@attrs.frozen
class Add(Request[int]): ...


@attrs.frozen
class Sub(Request[int]): ...


@attrs.frozen
class Find(Request["str | None"]): ...


@attrs.frozen
class Reset: ...


@attrs.frozen
class HardReset(Reset): ...


@attrs.frozen
class Put(Generic[Item]):
    item: Item


@attrs.frozen
class Take(Request[Item]): ...


def text(caught: pytest.ExceptionInfo[TypeError]) -> list[str]:
    return str(caught.value).splitlines()


# --- What is refused, and with which words ------------------------------------


def test_a_class_without_brackets_is_told_to_name_its_messages() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
            @handler
            def add(self, message: Add) -> int:
                return 1

    assert text(caught) == [
        "Counter does not say which messages it takes. Instead of",
        "    class Counter(Actor):",
        "write them in brackets:",
        "    class Counter(Actor[Increment | Reset]):",
    ]


def test_a_message_without_a_handler_is_shown_the_handler_to_write() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add | Reset]):
            @handler
            def add(self, message: Add) -> int:
                return 1

    assert text(caught) == [
        "Counter takes Add | Reset, but has no handler for Reset. Write one:",
        "    @handler",
        "    def reset(self, message: Reset) -> None:",
    ]


def test_the_handler_to_write_for_a_request_returns_its_answer() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add]): ...

    assert text(caught) == [
        "Counter takes Add, but has no handler for Add. Write one:",
        "    @handler",
        "    def add(self, message: Add) -> int:",
    ]


def test_a_method_that_only_lacks_its_decorator_is_named() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add | Reset]):
            @handler
            def add(self, message: Add) -> int:
                return 1

            def reset(self, message: Reset) -> None: ...

    assert text(caught) == [
        (
            "Counter takes Add | Reset, but has no handler for Reset. "
            "Counter.reset takes one: mark it with @handler."
        )
    ]


def test_a_handler_of_a_foreign_message_is_shown_both_ways_out() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add]):
            @handler
            def add(self, message: Add) -> int:
                return 1

            @handler
            def reset(self, message: Reset) -> None: ...

    assert text(caught) == [
        (
            "Counter.reset handles Reset, which is not one of the messages of Counter. "
            "Add it:"
        ),
        "    class Counter(Actor[Add | Reset]):",
        "or take the handler away.",
    ]


def test_two_handlers_of_one_message_are_both_named() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add]):
            @handler
            def add(self, message: Add) -> int:
                return 1

            @handler
            def plus(self, message: Add) -> int:
                return 1

    assert text(caught) == ["Counter has two handlers for Add: add and plus. Keep one."]


def test_a_handler_without_an_annotation_is_shown_one() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add]):
            @handler  # pyright: ignore[reportUnknownArgumentType]
            def add(self, message):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
                return 1

    assert text(caught) == [
        (
            "Counter.add is a handler, but does not say of which message. "
            "Write the message's type:"
        ),
        "    def add(self, message: Add) -> ...:",
    ]


def test_an_answer_of_another_type_is_shown_the_two_right_ones() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add]):
            @handler
            def add(self, message: Add) -> str:
                return ""

    assert text(caught) == [
        (
            "Counter.add returns str, but Add is a Request[int]. Write -> int if the "
            "answer is ready, or -> Reply[int] if it comes later."
        )
    ]


def test_a_missing_return_annotation_is_shown() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add]):
            @handler
            def add(self, message: Add):  # type: ignore[no-untyped-def]  # noqa: ANN202
                return 1

    assert text(caught) == [
        "Counter.add does not say what it answers. Add is a Request[int], so write:",
        "    def add(self, message: Add) -> int:",
    ]


def test_a_handler_of_several_requests_returns_a_reply() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add | Sub]):
            @handler
            def both(self, message: Add | Sub) -> int:
                return 1

    assert text(caught) == [
        (
            "Counter.both handles several messages with different answers, "
            "so it returns a Reply from forward, stash or defer_reply:"
        ),
        "    def both(self, message: Add | Sub) -> Reply[Any]:",
    ]


def test_a_batch_handler_takes_a_list() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Reset]):
            @handler(batch=100)
            def reset(self, message: Reset) -> None: ...

    assert text(caught) == [
        "Counter.reset takes batches, so its message is a list:",
        "    def reset(self, messages: list[Reset]) -> ...:",
    ]


def test_a_handler_takes_one_message_and_nothing_else() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add]):
            @handler  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
            def add(self, message: Add, extra: int) -> int:
                return 1

    first, second = text(caught)
    assert first.endswith(
        "<locals>.Counter.add is a handler, so it takes self and one message:"
    )
    assert second == "    def add(self, message: ...) -> ...:"


def test_a_misspelt_message_is_shown_the_names_that_are_known() -> None:
    with pytest.raises(TypeError) as caught:

        class Counter(Actor[Add | Reset]):
            @handler  # pyright: ignore[reportUnknownArgumentType]
            def add(self, message: Ad) -> int:  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]
                return 1

    assert text(caught) == [
        (
            "Counter.add: the name Ad in its annotation is not known here. "
            "Messages of Counter: Add, Reset."
        )
    ]


def test_only_a_method_is_marked_as_a_handler() -> None:
    with pytest.raises(TypeError) as caught:
        handler(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]

    assert text(caught) == ["@handler marks a method, but got 5."]


# --- What is right ----------------------------------------------------------------


def test_a_message_of_a_local_class_is_known() -> None:
    @attrs.frozen
    class Local(Request[int]): ...

    class Counter(Actor[Local]):
        @handler
        def add(self, message: Local) -> int:
            return 1

    assert Counter().add(Local()) == 1


def test_a_handler_of_several_requests_may_return_any_reply() -> None:
    class Router(Actor[Add | Sub]):
        @handler
        def both(self, message: Add | Sub) -> Reply[Any]:
            raise NotImplementedError

    assert Router.both is not None


def test_a_handler_of_a_base_message_handles_the_messages_below_it() -> None:
    class Counter(Actor[Reset | HardReset]):
        @handler
        def reset(self, message: Reset) -> None: ...

    assert Counter().reset(HardReset()) is None


def test_an_optional_answer_may_be_either_part_of_it() -> None:
    class Dictionary(Actor[Find]):
        @handler
        def find(self, message: Find) -> str | None:
            return None

    class Empty(Actor[Find]):
        @handler
        def find(self, message: Find) -> None:
            return None

    assert Dictionary().find(Find()) is None
    assert Empty().find(Find()) is None


def test_handlers_are_inherited_and_may_be_replaced() -> None:
    class Base(Actor[Add | Reset]):
        @handler
        def add(self, message: Add) -> int:
            return 1

        @handler
        def reset(self, message: Reset) -> None: ...

    class Double(Base):
        @handler
        def add(self, message: Add) -> int:
            return 2

    assert Double().add(Add()) == 2


def test_a_generic_actor_is_checked_where_its_messages_are_known() -> None:
    class Box(Actor[Put[Item] | Take[Item]]):
        def __init__(self) -> None:
            self.items: list[Item] = []

        @handler
        def put(self, message: Put[Item]) -> None:
            self.items.append(message.item)

        @handler
        def take(self, message: Take[Item]) -> Item:
            return self.items.pop()

    class NumberBox(Box[int]): ...

    box = NumberBox()
    box.put(Put(7))
    assert box.take(Take()) == 7
