"""A user's program for an environment that has trio-typing: it still sees our types."""

from typing import assert_type

import attrs
import trio

from trio_actors import Actor, ActorRef, Request, handler, open_actor_system


@attrs.frozen
class Double(Request[int]):
    number: int


class Doubler(Actor[Double]):
    @handler
    def double(self, message: Double) -> int:
        return 2 * message.number


async def main() -> None:
    async with open_actor_system("beside") as system:
        ref = await system.spawn(Doubler)
        assert_type(ref, ActorRef[Double])
        answer = await ref.ask(Double(21))
        assert_type(answer, int)


async def refused(ref: ActorRef[Double]) -> None:
    await ref.ask(42)  # type: ignore[arg-type]


if __name__ == "__main__":
    trio.run(main)
