"""Wrong uses of timers, and what is said about them (TIM-1)."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from tests.test_timers import Log, Tick
from trio_actors import Context, Inbox
from trio_actors.testing import World


async def refused(
    world: World, use: Callable[[Inbox[Any]], None], expected: type[Exception]
) -> str:
    """Use a context wrongly in an actor; return what is said."""
    said: list[str] = []

    async def misuse(inbox: Inbox[Any]) -> None:
        with pytest.raises(expected) as caught:
            use(inbox)
        said.append(str(caught.value))

    await world.spawn(misuse)
    return said[0]


@pytest.mark.parametrize("delay", [-1, -0.001, math.inf, math.nan, -math.inf])
async def test_a_delay_is_finite_and_not_negative(world: World, delay: float) -> None:
    def after(context: Context[Tick]) -> None:
        context.send_after(delay, Tick())

    text = await refused(world, after, ValueError)
    assert "the delay of a timer is at least 0 seconds and finite" in text

    def every(context: Context[Tick]) -> None:
        context.send_every(delay, Tick())

    text = await refused(world, every, ValueError)
    assert "the interval of a timer is more than 0 seconds" in text


async def test_an_interval_of_zero_would_never_end(world: World) -> None:
    text = await refused(world, lambda inbox: inbox.send_every(0, Tick()), ValueError)
    assert "more than 0" in text


@pytest.mark.parametrize("delay", ["1", None, True, Tick()])
async def test_a_delay_is_a_number(world: World, delay: object) -> None:
    def use(context: Context[Tick]) -> None:
        context.send_after(delay, Tick())  # type: ignore[arg-type]

    text = await refused(world, use, TypeError)
    assert "the delay of a timer is seconds" in text
    assert "send_after(1.0, message)" in text


async def test_arguments_in_the_wrong_order_are_found(world: World) -> None:
    """Probably send_every(message, 1.0)."""
    text = await refused(
        world,
        lambda inbox: inbox.send_every(Tick(), 1.0),  # type: ignore[arg-type]
        TypeError,
    )
    assert "send_every(1.0, message)" in text


async def test_an_unhashable_message_needs_a_key(world: World) -> None:
    @attrs.define
    class Mutable:
        items: list[int]

    def without(context: Context[Mutable]) -> None:
        context.send_after(1, Mutable([]))

    text = await refused(world, without, TypeError)
    assert "a timer's key must be hashable" in text
    assert "make its class frozen, or give key=" in text

    async def use(inbox: Inbox[Mutable]) -> None:
        inbox.send_after(1, Mutable([1]), key="k")
        async for message in inbox:
            got.append(message.items)  # noqa: PERF401  # as it comes

    got: list[list[int]] = []
    await world.spawn(use)
    await trio.sleep(2)
    assert got == [[1]]


async def test_a_wrong_timer_leaves_the_one_of_its_key_alone(world: World) -> None:
    log: Log = []

    async def listen(inbox: Inbox[Tick]) -> None:
        inbox.send_after(1, Tick("good"), key="k")
        with pytest.raises(ValueError, match="at least 0"):
            inbox.send_after(-1, Tick("bad"), key="k")
        async for message in inbox:
            log.append((trio.current_time(), message.name))

    await world.spawn(listen)
    await trio.sleep(2)
    assert log == [(1, "good")]


async def test_a_timer_may_send_none(world: World) -> None:
    """None is a message like any other."""
    got: list[object] = []

    async def takes(inbox: Inbox[None]) -> None:
        inbox.send_after(1, None)
        async for message in inbox:
            got.append(message)  # noqa: PERF401  # as it comes

    await world.spawn(takes)
    await trio.sleep(2)
    assert got == [None]
