"""What the programs of the self-test share: an actor with a diary, and askers.

Rules of this file:

* A diary belongs to one actor, or what stands in it happens in an order that no
  schedule changes: nobody else's steps are shared through it.
* An actor that is crashed has not begun the message: what stands in its diary was
  handled.
"""

from collections.abc import Callable
from typing import Any

import attrs

from tests.kit import Boom
from trio_actors import Actor, ActorError, ActorRef, Exit, Request, handler


@attrs.frozen
class Do(Request[str]):
    """Work that is done at once."""

    what: str


@attrs.frozen
class Long(Request[str]):
    """Work in the middle of which a helper is asked."""

    what: str


@attrs.frozen
class Help(Request[None]): ...


class Helper(Actor[Help]):
    @handler
    def help(self, message: Help) -> None: ...


class Part(Actor[Do | Long | Boom]):
    """Writes what it has done into its diary, and its ups and downs into another.

    Of "a": "a+" when it has started, "a~" before it is restarted, "a-" when it stops;
    "a!" in place of both if it has failed itself.
    """

    def __init__(
        self,
        diary: list[str],
        family: list[str] | None = None,
        helper: ActorRef[Help] | None = None,
    ) -> None:
        self.diary = diary
        self.family: list[str] = [] if family is None else family
        self.helper = helper

    @property
    def name(self) -> str:
        return self.context.ref.path.rpartition("/")[2]

    async def started(self) -> None:
        self.family.append(f"{self.name}+")

    async def restarting(self, failure: Exception) -> None:
        notes = getattr(failure, "__notes__", [""])  # the first: whose failure it was
        is_own = notes[0].startswith(f"actor: {self.context.ref.path},")
        self.family.append(f"{self.name}{'!' if is_own else '~'}")

    async def stopped(self, reason: Exit) -> None:
        self.family.append(f"{self.name}{'!' if reason.kind == 'failed' else '-'}")

    @handler
    def do(self, message: Do) -> str:
        self.diary.append(message.what)
        return message.what

    @handler
    async def long(self, message: Long) -> str:
        assert self.helper is not None
        self.diary.append(f"{message.what} begun")
        await self.helper.ask(Help())
        self.diary.append(message.what)
        return message.what

    @handler
    def boom(self, message: Boom) -> int:
        raise message.error


@attrs.define
class Askers:
    """Those who ask, and how it ended: with the answer, or the exception's name."""

    ends: dict[str, list[str]] = attrs.field(factory=dict[str, list[str]])

    async def ask(self, ref: ActorRef[Any], *requests: Any) -> None:
        """Ask one after the other."""
        for request in requests:
            who = getattr(request, "what", "boom")
            self.ends.setdefault(who, [])
            try:
                end = str(await ref.ask(request))
            except ActorError as error:
                end = type(error).__name__
            self.ends[who].append(end)

    def check(self, who: str, diary: list[str]) -> None:
        """Check that an asker was answered once, and by what was done.

        ``ActorFailed`` may also mean that it was begun; ``ActorStopped`` never does.
        """
        (end,) = self.ends[who]
        assert end in (who, "ActorFailed", "ActorStopped"), (who, end)
        times = diary.count(who)
        begun = times + diary.count(f"{who} begun")
        if end == who:
            assert times == 1, f"{who} was answered, and done {times} times: {diary}"
        elif end == "ActorStopped":
            assert begun == 0, f"{who} was not begun, it is said: {diary}"
        else:
            assert times == 0, f"{who} has failed, and was done: {diary}"

    def number(self, end: str) -> int:
        """How many ended in a way."""
        return sum(ends.count(end) for ends in self.ends.values())


async def do(act: Callable[[], object]) -> None:
    """Do something at any time: a client of its own."""
    act()
