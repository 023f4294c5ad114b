"""The context of a function actor: one can iterate over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import trio
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    current_task,
)

from ._cell import Cell
from ._context import Context
from ._hand import LOOK
from ._messages import LAPSED, Request
from ._park import park
from ._pending import check_error

M_co = TypeVar("M_co", covariant=True)
R = TypeVar("R")


class Inbox(Context[M_co]):  # type: ignore[type-var]  # pyright: ignore[reportInvalidTypeArguments]
    """The context of a function actor: iterate over it to receive.

    A request is answered with ``reply()`` before the next message is received. The
    iteration ends when the actor is stopped. It is a checkpoint when it waits, and at
    least each 64 messages.
    """

    __slots__ = ("_end", "_receiving")

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self._receiving = False
        self._end: trio.EndOfChannel | None = None  # what said that it has ended

    def __aiter__(self) -> AsyncIterator[M_co]:
        return self

    async def __anext__(self) -> M_co:
        try:
            return await self._next()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> M_co:
        """Wait for the next message. Always a checkpoint.

        To be cancelled loses no message.

        Raises:
            trio.EndOfChannel: The actor is being stopped. The function may let it
                through: that is a normal end.
            trio.BusyResourceError: Another task receives already.
        """
        await checkpoint()
        self._cell.begin_batch()
        return await self._next()

    async def _next(self) -> M_co:
        self._check_alone()
        cell = self._cell
        cell.receive_in(current_task())
        cell.end_function_turn()
        box = cell.box
        while not cell.ends_receiving():
            if not (box.hand or box.tail):
                await self._sleep()
            elif not cell.left or (
                cell.left < cell.size and not cell.left % LOOK and cell.late()
            ):
                cell.end_batch()
                await checkpoint()
                cell.begin_batch()
            else:
                box.mark()
                message: M_co = cell.next_for_function()
                if message is not LAPSED:
                    return message
        await cancel_shielded_checkpoint()
        self._end = trio.EndOfChannel()
        raise self._end

    def _check_alone(self) -> None:
        if self._receiving:
            raise trio.BusyResourceError("another task receives from this inbox")

    async def _sleep(self) -> None:
        self._check_alone()  # another may have begun while this one let others run
        cell, box = self._cell, self._cell.box
        cell.signal()
        self._receiving = True
        if box.waiting:
            box.grant()
        box.consumer = current_task()
        try:
            await park(box.trap or box.make_trap())
        finally:
            self._receiving = False
        cell.begin_batch()

    def reply(self, request: Request[R], value: R) -> None:
        """Answer the request in hand; nothing happens if it was told, not asked.

        Raises:
            RuntimeError: The request is not in hand, or was answered.
        """
        pending = self._cell.take_over(request, "reply")
        if pending is not None:
            pending.answer(value)

    def fail(self, request: Request[Any], error: Exception) -> None:
        """Raise *error* in the asker of the request in hand.

        Raises:
            RuntimeError: The request is not in hand, or was answered.
        """
        failure = check_error(error)
        pending = self._cell.take_over(request, "fail")
        if pending is not None:
            pending.fail(failure)
