"""The ref of an entity: it is good whether the entity is active or not.

Rules of this file:

* Whom it reaches is looked up in the sender's step, and activated if need be; the
  message goes straight into the mailbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from trio.lowlevel import checkpoint

from .._errors import ActorStopped, MailboxFull, show
from .._messages import Exit, unpacked
from .._ref import ActorRef
from .._registry import HELD, Nobody
from .._routing import RoutedRef, Router, takes

if TYPE_CHECKING:
    from .._messages import DeadReason
    from ._house import House

C_contra = TypeVar("C_contra", contravariant=True)


class EntityRef(RoutedRef[C_contra]):
    """The ref of an entity, whether it is active or not."""

    __slots__ = ("_house", "_key", "_name")

    _is_no_one = (
        "While its system is open, an entity is there again with its next message:"
        " there is no end to wait for. Let it tell you itself what you want to know."
    )

    def __init__(self, house: House, key: str, name: str) -> None:
        super().__init__(house.keeper)
        self._house = house
        self._key = key
        self._name = name
        self._router: Router = ONE

    @property
    def path(self) -> str:
        """Where the entity is in the tree."""
        return f"{self._cell.path}/{self._name}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EntityRef):
            return False if isinstance(other, ActorRef) else NotImplemented
        return other._house is self._house and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        cell = self._house.active.get(self._key)
        condition = "passive" if cell is None else cell.condition
        return f"<EntityRef {self.path} {condition}>"

    def _actors(self) -> Sequence[ActorRef[Any]]:
        """Return the active entity; none while nobody can be activated."""
        if not takes(self._cell):
            return ()
        try:
            cell = self._house.cell_of(self._key, self._name)
        except ActorStopped:
            return ()
        return () if cell is None else (ActorRef(cell),)

    def _targets(self, message: Any) -> Sequence[ActorRef[Any]]:
        del message
        return self._actors()

    def _put_nobody(self, item: Any) -> bool:
        """Keep a message for the next activation, if there may be one."""
        if takes(self._cell):
            return self._house.hold(self._key, item)
        self._refuse(item, self._cell.box.refusal)
        return True

    def _put_over(self, item: Any) -> None:
        """Put what has waited elsewhere into the mailbox, room or not."""
        actors = self._actors()
        if actors:
            actors[0]._put_over(item)
        else:
            self._refuse(item, self._cell.box.refusal)

    def _refuse(self, item: Any, reason: DeadReason) -> None:
        """Make a dead letter for this entity, not for its keeper."""
        nobody = Nobody(self.path, self._cell.system, self._cell.runtime, self)
        nobody.refuse(unpacked(item), reason)

    def _full(self, message: Any) -> MailboxFull:
        """Make the error for one message too many."""
        return MailboxFull(
            f"{self.path} is on its way out, and {HELD:,} messages wait for its next"
            f" activation, so {show(message)} was not sent.",
            path=self.path,
            message=message,
        )

    def _command(self, verb: str, detail: str = "") -> None:
        def apply() -> None:
            cell = self._house.active_cell(self._key, self.path)
            if cell is not None:
                cell.command(verb, detail)

        self._control(verb, apply)

    async def wait_stopped(self) -> Exit:
        """Wait until the entity is passive. Always a checkpoint."""
        cell = self._house.active_cell(self._key, self.path)
        if cell is None:
            await checkpoint()
            return Exit("normal")
        return await ActorRef[Any](cell).wait_stopped()


ONE = Router("round_robin", Random, "entity")
"""There is nobody to choose among."""
