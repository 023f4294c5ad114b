"""Topics, and the streams that tell programs what happens.

Rules of this file:

* Publishing never waits. An actor without room gets a dead letter ``overflow``; a
  stream drops by its buffer's policy, and says so once per burst in the log.
* What nobody listens to costs nothing: a `Feed` is false when it has no streams.
* Streams and subscribers are kept in the order in which they came.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, final

import attrs
import trio

from ._mailbox import Mailbox

if TYPE_CHECKING:
    from ._cell import Cell

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

log = logging.getLogger("trio_actors")

DEFAULT_BUFFER = Mailbox(1024, "drop_oldest")


@final
@attrs.frozen
class Topic(Generic[T]):
    """A name on which values of one type are published (Akka's event stream)."""

    name: str
    """The name; equal names are equal topics."""

    def __published__(self) -> T:
        """Tie the topic to its values, for type checkers; never called."""
        raise NotImplementedError


@final
class Subscription(Generic[T_co]):
    """A stream: ``with ... as values: async for value in values``.

    It holds what comes between ``with`` and its end, in a buffer of its own, and ends
    when the system does.
    """

    def __init__(
        self,
        find_feed: Callable[[], Feed[T_co]],
        buffer: Mailbox,
        first: Callable[[], T_co] | None = None,
    ) -> None:
        self._find_feed = find_feed
        self._buffer = buffer
        self._first = first
        self._send: trio.MemorySendChannel[Any] | None = None
        self._receive: trio.MemoryReceiveChannel[Any] | None = None
        self._dropped = 0

    def __enter__(self) -> Self:
        if self._send is not None:
            raise RuntimeError("this subscription is or was already in use")
        self._send, self._receive = trio.open_memory_channel[Any](math.inf)
        self._feed = self._find_feed()
        if self._first is not None:
            self._offer(self._first())
        self._feed.attach(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._feed.detach(self)
        self._opened().close()
        self._end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> T_co:
        """Wait for the next value. Always a checkpoint.

        Raises:
            trio.EndOfChannel: The system has ended, and everything was received.
            trio.ClosedResourceError: The ``with`` block was left.
        """
        value: T_co = await self._opened().receive()
        if self._dropped:
            log.warning(
                "%d values of %s were dropped, because they were not received in"
                " time. Give subscribe() a larger buffer, or receive faster.",
                self._dropped,
                self._feed.name,
            )
            self._dropped = 0
        return value

    def _opened(self) -> trio.MemoryReceiveChannel[Any]:
        if self._receive is None:
            raise RuntimeError(
                "this subscription is not open. Write\n"
                "    with system.subscribe(...) as values:\n"
                "        async for value in values: ..."
            )
        return self._receive

    def _offer(self, value: Any) -> None:
        """Store a value, or drop one."""
        assert self._send is not None
        full = self._send.statistics().current_buffer_used >= self._buffer.capacity
        if full:
            self._dropped += 1
            if self._buffer.overflow != "drop_oldest":
                return
            self._opened().receive_nowait()
        self._send.send_nowait(value)

    def _end(self) -> None:
        """Let the stream end after what is stored."""
        assert self._send is not None
        self._send.close()


class Feed(Generic[T]):
    """The streams of one kind of news."""

    __slots__ = ("_has_ended", "_left", "name", "streams")

    def __init__(
        self,
        name: str,
        *,
        has_ended: bool = False,
        left: Callable[[], object] | None = None,
    ) -> None:
        self.name: str = name
        self._has_ended = has_ended
        self._left = left  # called when a stream has gone
        self.streams: dict[Subscription[T], None] = {}  # who listens

    def __bool__(self) -> bool:
        return bool(self.streams)

    def subscribe(self, buffer: Mailbox) -> Subscription[T]:
        """Make a stream."""
        return Subscription(lambda: self, buffer)

    def attach(self, stream: Subscription[T]) -> None:
        """Let *stream* have what comes."""
        if self._has_ended:
            stream._end()
        else:
            self.streams[stream] = None

    def detach(self, stream: Subscription[T]) -> None:
        """Let *stream* have nothing more."""
        self.streams.pop(stream, None)
        if self._left is not None:
            self._left()

    def emit(self, value: T) -> None:
        """Give *value* to every stream."""
        for stream in list(self.streams):
            stream._offer(value)

    def end(self) -> None:
        """End every stream, also those that are opened later."""
        self._has_ended = True
        for stream in list(self.streams):
            stream._end()
        self.streams.clear()


class Topics:
    """Who listens to which topic."""

    def __init__(self) -> None:
        self._have_ended = False
        self._feeds: dict[str, Feed[Any]] = {}
        self._actors: dict[str, dict[Cell, None]] = {}

    def subscribe(self, topic: Topic[T], buffer: Mailbox) -> Subscription[T]:
        """Stream what is published on *topic*."""
        return Subscription(lambda: self._feed(topic.name), buffer)

    def _feed(self, name: str) -> Feed[Any]:
        feed = self._feeds.get(name)
        if feed is None:
            left = partial(self._tidy, name)
            feed = Feed[Any](f"topic {name!r}", has_ended=self._have_ended, left=left)
            self._feeds[name] = feed
        return feed

    def _tidy(self, name: str) -> None:
        if not self._feeds.get(name):
            self._feeds.pop(name, None)  # a chat has a topic per room

    def join(self, name: str, cell: Cell) -> None:
        """Let an actor have what is published; again is the same as once."""
        cell.runtime.touch("key", f"topic {name}")
        self._actors.setdefault(name, {})[cell] = None
        if cell.topics is None:
            cell.topics = {}
        cell.topics[name] = None

    def leave(self, name: str, cell: Cell) -> None:
        """Undo `join()`."""
        cell.runtime.touch("key", f"topic {name}")
        actors = self._actors.get(name, {})
        actors.pop(cell, None)
        if not actors:
            self._actors.pop(name, None)
        if cell.topics is not None:
            cell.topics.pop(name, None)

    def forget(self, cell: Cell) -> None:
        """Take an actor that has ended out of all topics."""
        for name in list(cell.topics or ()):
            self.leave(name, cell)

    def publish(self, topic: Topic[Any], value: object) -> None:
        """Give *value* to every subscriber."""
        for cell in list(self._actors.get(topic.name, ())):
            cell.ref.tell_soon(value)
        feed = self._feeds.get(topic.name)
        if feed is not None:
            feed.emit(value)

    def end(self) -> None:
        """End all streams."""
        self._have_ended = True
        for feed in self._feeds.values():
            feed.end()
