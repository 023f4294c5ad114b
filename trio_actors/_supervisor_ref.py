"""Supervisors as actors: what ``spawn_supervisor()`` starts, and its ref."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Never, TypeVar

from trio.lowlevel import checkpoint

from ._behavior import Actor, Recipe
from ._cell import Cell
from ._family import not_open
from ._gate import hold_here
from ._halts import Options
from ._policy import Supervision, check_child
from ._ref import ActorRef
from ._spawner import ChildSpec, _Spawner
from ._supervisor import Family, family_of

M = TypeVar("M")


async def open_supervisor(
    family: Family,
    children: tuple[ChildSpec[Any], ...],
    name: str | None,
    *,
    dynamic: bool,
    max_children: int | None,
    options: Options,
) -> SupervisorRef:
    """Start a supervisor in *family*."""
    recipe = supervisor_recipe(children, options.supervision, dynamic, max_children)
    return SupervisorRef(await family.spawn(recipe, name, options))


def supervisor_recipe(
    children: tuple[ChildSpec[Any], ...],
    supervision: Supervision | None,
    dynamic: bool,
    max_children: int | None,
) -> Recipe:
    """Check what a supervisor shall supervise, before anything is started."""
    rules = supervision or Supervision()
    if dynamic and rules.strategy != "one_for_one":
        raise ValueError(
            f"a dynamic supervisor is one_for_one, not {rules.strategy}: its children"
            " are independent of each other."
        )
    if max_children is not None and max_children < max(1, len(children)):
        raise ValueError(
            f"max_children={max_children!r} leaves no room for the children."
        )
    names = Counter(spec.name for spec in children)
    for spec in children:
        if names[spec.name] > 1:
            raise ValueError(
                f"two children are named {spec.name!r}. "
                "Names are unique among siblings."
            )
        check_child(
            spec.name,
            spec._options.restart,
            significant=spec._options.significant,
            auto_shutdown=rules.auto_shutdown,
        )
    return Recipe(
        SupervisorActor, (children, dynamic, max_children), label="supervisor"
    )


class SupervisorActor(Actor[Never]):
    """An actor that only supervises."""

    def __init__(
        self,
        children: tuple[ChildSpec[Any], ...],
        dynamic: bool,
        max_children: int | None,
    ) -> None:
        self._children = children
        self._dynamic = dynamic
        self._max_children = max_children

    async def started(self) -> None:
        """Start the children, left to right."""
        cell: Cell = self.context._cell
        family = family_of(cell)
        family.is_dynamic = self._dynamic
        if not self._dynamic:
            family.specs = {}
        if self._max_children is not None:
            family.max_children = self._max_children
        for spec in self._children:
            await family.spawn(spec._recipe, spec.name, spec._options)


class SupervisorRef(ActorRef[Never], _Spawner):
    """The ref of a supervisor: children are started, found and stopped through it."""

    __slots__ = ()

    def _family(self) -> Family:
        self._cell.runtime.touch("spawn", self.path)
        if self._cell.phase == "stopped":
            raise not_open(self.path, "child")
        return family_of(self._cell)

    def _named(self, name: str) -> Family:
        """Return the family, if it knows a child of that name."""
        family = self._family()
        known = family.children if family.specs is None else family.specs
        if name not in known:
            raise KeyError(
                f"{self.path} has no child {name!r}, but"
                f" {', '.join(map(repr, known)) or 'none at all'}."
            )
        return family

    def _stopped(self, name: str, verb: str) -> Family:
        """Return the family, if its child of that name is known and has stopped."""
        family = self._named(name)
        if name in family.children:
            raise ValueError(
                f"{self.path}/{name} runs: {verb}() is for a child that has stopped."
                " Use terminate_child() first."
            )
        return family

    async def start_child(self, spec: ChildSpec[M]) -> ActorRef[M]:
        """Start a child from its spec. Always a checkpoint; cancelled as ``spawn()``.

        Raises:
            StartFailed: It did not start, and its spec is forgotten.
            NameTaken: A child of that name runs, or its spec is kept.
            ActorStopped: The supervisor is stopping.
        """
        cell = await self._family().spawn(spec._recipe, spec.name, spec._options)
        return cell.ref

    def child(self, spec: ChildSpec[M]) -> ActorRef[M]:
        """Return the ref of the child that was started from *spec*.

        Raises:
            KeyError: There is none, or it has stopped.
        """
        family = self._named(spec.name)
        if spec.name not in family.children:
            raise KeyError(
                f"{self.path}/{spec.name} has stopped. Start it again by"
                " restart_child()."
            )
        return family.children[spec.name].ref

    async def terminate_child(self, name: str) -> None:
        """Stop a child; its spec stays unless it is temporary. Always a checkpoint.

        A restart that it waits for is given up. It returns when the child has ended.

        Raises:
            KeyError: There is no child of that name.
        """
        cell = self._named(name).children.get(name)
        if cell is None:
            await checkpoint()
            return
        stop = partial(cell.command, "stop")
        if not hold_here(cell.ref, stop):
            stop()
        await ActorRef[Any](cell).wait_stopped()

    async def restart_child(self, name: str) -> None:
        """Start a stopped child again from its spec, as a new actor with a new ref.

        Always a checkpoint.

        Raises:
            KeyError: There is no child of that name.
            ValueError: It runs.
            StartFailed: It did not start; the spec is kept.
        """
        family = self._stopped(name, "restart_child")
        await family.start_again(name)

    async def delete_child(self, name: str) -> None:
        """Forget the spec of a stopped child. Always a checkpoint.

        Raises:
            KeyError: There is no child of that name.
            ValueError: It runs.
        """
        family = self._stopped(name, "delete_child")
        assert family.specs is not None
        del family.specs[name]
        await checkpoint()

    def which_children(self) -> Mapping[str, ActorRef[Never] | None]:
        """Return the children in start order; None for one that does not run."""
        family = self._family()
        names = family.children if family.specs is None else family.specs
        found = {name: family.children.get(name) for name in names}
        return {
            name: None if cell is None else cell.ref for name, cell in found.items()
        }

    def count_children(self) -> Mapping[str, int]:
        """Return ``specs``, ``active``, ``supervisors`` and ``workers``."""
        family = self._family()
        if family.specs is None:
            recipes = [cell.recipe for cell in family.children.values()]
        else:
            recipes = [spec.recipe for spec in family.specs.values()]
        supervisors = sum(recipe.cls is SupervisorActor for recipe in recipes)
        return {
            "specs": len(recipes),
            "active": len(family.children),
            "supervisors": supervisors,
            "workers": len(recipes) - supervisors,
        }
