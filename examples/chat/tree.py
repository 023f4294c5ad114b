"""The live supervision tree, for the pages that show it."""

import json
from time import perf_counter
from typing import Any, TypeAlias

import attrs

from trio_actors import Actor, Event, Snapshot, handler

from .messages import VIEWERS, Tree
from .settings import Settings

MAX_CHILDREN = 20
"""Children of one actor that are shown; a page cannot show ten thousand sessions."""


@attrs.frozen
class Look: ...


@attrs.frozen
class Happened:
    event: Event


TreeMessage: TypeAlias = Look | Happened


class TreeWatcher(Actor[TreeMessage]):
    """Takes a picture of the tree now and then, if somebody looks at it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.following = False

    async def started(self) -> None:
        self.context.send_after(self.settings.refresh, Look())

    async def follow(self) -> None:
        """Hand on what is worth a line beside the tree; clients come and go anyway."""
        with self.context.system.events() as events:
            async for event in events:
                if event.kind not in {"started", "stopped"}:
                    await self.context.ref.tell(Happened(event))
                elif not self.context.system.find_all(VIEWERS):
                    break  # nobody looks any more
        self.following = False

    @handler
    def look(self, message: Look) -> None:
        began = perf_counter()
        viewers = self.context.system.find_all(VIEWERS)
        if viewers:
            if not self.following:
                self.following = True
                self.context.start_soon(self.follow)
            picture = node(self.context.system.snapshot())
            self.show({"tree": picture})
        # However big the tree is, watching it takes a small part of the time.
        busy = perf_counter() - began
        self.context.send_after(max(self.settings.refresh, 20 * busy), Look())

    @handler
    def happened(self, message: Happened) -> None:
        event = message.event
        text = f"{event.ref.path} {event.kind}"
        if event.kind == "failed":
            text += f": {event.error}"
        elif event.delay:
            text += f" in {event.delay:.1f} s"
        self.show({"event": text})

    def show(self, update: dict[str, Any]) -> None:
        tree = Tree(json.dumps(update))
        for viewer in self.context.system.find_all(VIEWERS):
            viewer.tell_soon(tree)


def node(snapshot: Snapshot) -> dict[str, Any]:
    """Return what the page shows of an actor: the newest of its children."""
    children = snapshot.children[-MAX_CHILDREN:]
    return {
        "path": snapshot.path,
        "state": snapshot.state,
        "queued": snapshot.queued,
        "handled": snapshot.handled,
        "restarts": snapshot.restarts,
        "hidden": len(snapshot.children) - len(children),
        "children": [node(child) for child in children],
    }
