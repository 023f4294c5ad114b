"""An actor that a test plays by hand."""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar, cast, final

from .._errors import show
from .._inbox import Inbox
from .._messages import Request
from .._pending import Call
from .._ref import ActorRef
from .._system import ActorSystem
from ._world import World

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")


@final
class Probe(Generic[M]):
    """An actor that a test plays by hand.

    What it is sent waits until the test receives it; a request is owed an answer until
    the test gives one.

    Args:
        system: The world it lives in.
        name: Its name, ``probe-1`` and so on by default.
    """

    def __init__(self, system: ActorSystem, name: str | None = None) -> None:
        self._world = cast("World", system)
        self._received: deque[Any] = deque()
        self._requests: list[Call[Any]] = []
        self._inbox: Inbox[M] | None = None
        self._ref: ActorRef[M] = system.spawn_nowait(
            self._listen, name=name if name is not None else self._free_name(system)
        )
        self._world._timers.by_hand[self._ref.path] = None

    @staticmethod
    def _free_name(system: ActorSystem) -> str:
        number = 1
        while system.find(f"/probe-{number}") is not None:
            number += 1
        return f"probe-{number}"

    async def _listen(self, inbox: Inbox[M]) -> None:
        async for message in inbox:
            if isinstance(message, Request):
                pending = inbox._cell.defer(cast("object", message))
                if pending is not None:
                    self._requests.append(pending)
            self._received.append(message)
            self._world._wake_listeners()

    @property
    def ref(self) -> ActorRef[M]:
        """Its ref."""
        return self._ref

    async def receive(self) -> M:
        """Wait for the next message. Always a checkpoint.

        Raises:
            AssertionError: None can come any more.
        """
        await self._world._wait_for(
            lambda: bool(self._received), f"{self._ref.path} waits for a message"
        )
        return cast("M", self._received.popleft())

    async def expect(self, kind: type[T]) -> T:
        """Wait for the next message and check its type. Always a checkpoint.

        Raises:
            AssertionError: It is of another type, or none can come any more.
        """
        message: object = await self.receive()
        if not isinstance(message, kind):
            raise AssertionError(
                f"{self._ref.path} expected a {kind.__name__}, but got {show(message)}"
            )
        return message

    async def expect_no_message(self) -> None:
        """Prove that no message comes, without waiting for real time.

        It waits until nothing is queued or handled, as ``World.settled()``.

        Raises:
            AssertionError: A message is there.
        """
        await self._world.settled()
        if self._received:
            raise AssertionError(
                f"{self._ref.path} expected no message, but got"
                f" {show(self._received[0])}"
            )

    def reply(self, request: Request[R], value: R) -> None:
        """Answer a request.

        Raises:
            RuntimeError: It was not asked, or was answered.
        """
        self._take(request).answer(value)

    def fail(self, request: Request[Any], error: Exception) -> None:
        """Raise *error* in the asker.

        Raises:
            RuntimeError: It was not asked, or was answered.
        """
        self._take(request).fail(error)

    def _take(self, request: object) -> Call[Any]:
        for pending in self._requests:
            if pending.message is request:
                self._requests.remove(pending)
                return pending
        raise RuntimeError(
            f"{self._ref.path} owes no answer to {show(request)}: it was told, not"
            " asked, or is answered already."
        )
