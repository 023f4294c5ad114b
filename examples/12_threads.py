"""Never block: slow calls go to threads, and threads send messages back."""

import hashlib
import threading

import attrs
import trio

from trio_actors import (
    Actor,
    ActorRef,
    Inbox,
    Request,
    handler,
    open_actor_system,
)


@attrs.frozen
class Digest(Request[str]):
    data: bytes


class Hasher(Actor[Digest]):
    @handler
    async def digest(self, message: Digest) -> str:
        # Called here, it would stop every actor; in a thread it stops only this one.
        return await trio.to_thread.run_sync(slow_digest, message.data)


def slow_digest(data: bytes) -> str:
    return hashlib.pbkdf2_hmac("sha256", data, b"salt", 1000).hex()[:8]


@attrs.frozen
class Measured:
    value: int


@attrs.define
class Mutable:
    value: int


async def collect(inbox: Inbox[Measured]) -> None:
    values = [(await inbox.receive()).value for _ in range(3)]
    print("from a foreign thread:", values)


def foreign(ref: ActorRef[Measured]) -> None:
    for value in (1, 2, 3):
        ref.tell_from_thread(Measured(value))


async def main() -> None:
    async with open_actor_system("threads", check_messages=True) as system:
        pool = await system.spawn_pool(Hasher, size=4, routing="least_loaded")
        asked = [pool.ask_nowait(Digest(bytes([n]))) for n in range(4)]
        print("four digests:", *[await digest for digest in asked])

        collector = await system.spawn(collect)
        thread = threading.Thread(target=foreign, args=(collector,))
        thread.start()
        await collector.wait_stopped()
        thread.join()

        try:  # check_messages: what is sent can no longer be changed by the sender
            await collector.tell(Mutable(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except TypeError as error:
            print(error)


if __name__ == "__main__":
    trio.run(main)
