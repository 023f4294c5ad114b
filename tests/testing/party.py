"""A program whose bug is deep: guests come in any order, and one order is unwanted."""

from collections.abc import Sequence

import attrs

from trio_actors import Actor, handler
from trio_actors.testing import World


@attrs.frozen
class Hello:
    name: int


class Host(Actor[Hello]):
    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    @handler
    def hello(self, message: Hello) -> None:
        self.seen.append(message.name)


async def party(world: World, guests: int, unwanted: Sequence[int]) -> None:
    """Fail if the first who come are, in that order, those who are unwanted."""
    seen: list[int] = []
    host = await world.spawn(Host, seen)
    for name in range(guests):
        world.client(host.tell, Hello(name))
    await world.settled()
    assert seen[: len(unwanted)] != list(unwanted)
