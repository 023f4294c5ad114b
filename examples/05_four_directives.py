"""Let it crash: what a supervisor does with a failed child, in its four ways."""

import attrs
import trio

from trio_actors import (
    Actor,
    ActorFailed,
    ActorRef,
    ActorStopped,
    ChildSpec,
    Request,
    Supervision,
    handler,
    open_actor_system,
)


@attrs.frozen
class Add(Request[int]):
    amount: int


@attrs.frozen
class Fail(Request[None]):
    error: Exception


class Counter(Actor[Add | Fail]):
    def __init__(self) -> None:
        self.total = 100

    @handler
    def add(self, message: Add) -> int:
        self.total += message.amount
        return self.total

    @handler
    def fail(self, message: Fail) -> None:
        raise message.error


COUNTER = ChildSpec("counter", Counter)
RULES = Supervision(
    directives={
        ValueError: "restart",  # begin anew, with the first state
        KeyError: "resume",  # ignore it, and go on with the state there is
        OSError: "stop",  # it is over, for good
        MemoryError: "escalate",  # not mine to decide: fail with it
    }
)


async def crash(counter: ActorRef[Add | Fail], error: Exception) -> None:
    await counter.ask(Add(11))
    try:
        await counter.ask(Fail(error))
    except ActorFailed as failed:
        print(f"{failed.__cause__!r}:", end=" ")
    try:
        print(await counter.ask(Add(0)))
    except ActorStopped:
        print("stopped")


async def main() -> None:
    async with open_actor_system("directives") as system:
        for error in (ValueError(), KeyError(), OSError(), MemoryError()):
            team = await system.spawn_supervisor(COUNTER, supervision=RULES)
            await crash(team.child(COUNTER), error)
        # The last team failed with the MemoryError. Its own supervisor, the system,
        # restarted it, and it started its counter anew.
        await trio.sleep(0.1)
        print(f"the new counter: {await team.child(COUNTER).ask(Add(0))}")


if __name__ == "__main__":
    trio.run(main)
