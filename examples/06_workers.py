"""Several workers under one supervisor, with small mailboxes and a cleaning hook."""

from typing import Self

import attrs
import trio

from trio_actors import (
    Actor,
    ChildSpec,
    Mailbox,
    Supervision,
    handler,
    open_actor_system,
)


@attrs.frozen
class Job:
    number: int


class Worker(Actor[Job]):
    mailbox = Mailbox(100)  # a sender waits when a hundred jobs do

    def __init__(self, name: str) -> None:
        self.name = name
        self.drafts: list[int] = []

    async def started(self) -> None:
        print(f"{self.name} started, incarnation {self.context.incarnation}")

    async def restarting(self, failure: Exception) -> None:
        self.drafts.clear()
        print(f"{self.name} cleans up before its restart: {failure}")

    async def restarted(self, failure: Exception, failed: Self) -> None:
        print(f"{self.name} is back, with {len(failed.drafts)} drafts")

    @handler
    async def work(self, message: Job) -> None:
        self.drafts.append(message.number)
        await trio.sleep(0.5)
        if message.number == 13:
            raise ValueError("job 13 is unlucky")
        print(f"{self.name} did job {message.number}")


async def main() -> None:
    async with open_actor_system("workers") as system:
        specs = [ChildSpec(name, Worker, name) for name in ("ada", "bob", "eve")]
        team = await system.spawn_supervisor(
            *specs, supervision=Supervision("one_for_one", max_restarts=3, within=5)
        )
        for number in (11, 12, 13, 14, 15, 16):
            await team.child(specs[number % 3]).tell(Job(number))


if __name__ == "__main__":
    trio.run(main)
