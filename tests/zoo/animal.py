"""What an animal of the zoo is: a program with a known bug, beside its correct twin."""

import ast
import inspect
import textwrap
from collections.abc import Awaitable, Callable, Mapping
from difflib import SequenceMatcher
from typing import Any

import attrs

from trio_actors import Actor, ActorRef, Request, handler
from trio_actors.testing import World

Program = Callable[[World], Awaitable[None]]


@attrs.frozen(kw_only=True, eq=False)
class Animal:
    """A scene is played with one part, a class or a function: the right or the wrong.

    A wrong class is a subclass of the right one, and overrides what differs.
    """

    scene: Callable[[World, Any], Awaitable[None]]
    right: Any
    wrong: Any
    bug: str
    """What goes wrong, in one sentence."""
    needs: int
    """How many deviations from FIFO it takes at least; 3 stands for 3 and more."""
    options: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """What a search of it is given beside the program: faults."""

    @property
    def name(self) -> str:
        """The name of its scene."""
        return self.scene.__name__

    @property
    def broken(self) -> Program:
        """The program with the bug."""
        return self._play(self.wrong, "broken")

    @property
    def healthy(self) -> Program:
        """Its correct twin."""
        return self._play(self.right, "healthy")

    def _play(self, part: Any, which: str) -> Program:
        async def program(world: World) -> None:
            await self.scene(world, part)

        # Reports call it by that.
        program.__qualname__ = program.__name__ = f"{self.name}_{which}"
        return program

    def difference(self) -> int:
        """Return how many lines differ between the twins."""
        wrong, right = _source(self.wrong), _source(self.right)
        # What a subclass does not say, it has from the right one.
        return sum(_distance(lines, right.get(key, [])) for key, lines in wrong.items())


def _source(part: Any) -> dict[str, list[str]]:
    """Return the lines of a function, or of each method and attribute of a class."""
    text = textwrap.dedent(inspect.getsource(part))
    (node,) = ast.parse(text).body
    if isinstance(node, ast.ClassDef):
        return {_key(one): _lines(one) for one in node.body if not _is_doc(one)}
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    node.name = "it"
    return {"it": _lines(node)}


def _key(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name
    return ast.unparse(node).partition("=")[0]


def _is_doc(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr)


def _lines(node: ast.stmt) -> list[str]:
    """Return what a node says, without comments and in one layout."""
    return ast.unparse(node).splitlines()


def _distance(one: list[str], other: list[str]) -> int:
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in blocks if kind != "equal")


# --- What several scenes need -------------------------------------------------


@attrs.frozen
class Get(Request[int]):
    """Ask for a number."""


@attrs.frozen
class Put(Request[None]):
    """Replace a number."""

    value: int


@attrs.frozen
class Add(Request[None]):
    """Change a number."""

    amount: int


class Number(Actor[Get | Put | Add]):
    """Keeps a number."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    @handler
    def get(self, message: Get) -> int:
        return self.value

    @handler
    def put(self, message: Put) -> None:
        self.value = message.value

    @handler
    def add(self, message: Add) -> None:
        self.value += message.amount


@attrs.frozen
class Hello(Request[None]):
    """Ask for nothing but some of the asker's time."""


class Clerk(Actor[Hello]):
    """Whoever comes by here comes later to what counts."""

    @handler
    def hello(self, message: Hello) -> None: ...


async def after(
    clerk: ActorRef[Hello],
    times: int,
    fn: Callable[..., Awaitable[object]],
    *args: Any,
) -> None:
    """A client that lets others go first, if nothing gets in their way."""
    for _ in range(times):
        await clerk.ask(Hello())
    await fn(*args)
