"""The world: virtual time, exact quiescence, nothing lost unseen (TST-2, TST-3)."""

import threading

import pytest
import trio
import trio.testing

from tests.kit import Add, Counter, Get, Note, Sleep, Worker
from tests.testing.failing import failing
from trio_actors import (
    Actor,
    ActorFailed,
    Inbox,
    current_system,
    handler,
)
from trio_actors.testing import World, run
from trio_actors.testing._run import open_world

# --- run() ------------------------------------------------------------------


def test_run_gives_a_world_and_returns_what_the_function_returns() -> None:
    async def scenario(world: World, one: int, two: str) -> tuple[str, int, str]:
        assert current_system() is world
        return world.name, one, two

    assert run(scenario, 1, "b") == ("world", 1, "b")


def test_run_raises_what_the_function_raises() -> None:
    async def scenario(world: World) -> None:
        await world.spawn(Counter)
        raise LookupError("mine")

    assert "mine" in failing(scenario, LookupError)


def test_run_leaves_the_scheduler_as_it_was() -> None:
    before = trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING

    async def scenario(world: World) -> None:
        raise LookupError

    failing(scenario, LookupError)
    after = trio._core._run._r, trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING
    assert after == before


def test_a_world_needs_its_own_clock() -> None:
    async def main() -> None:
        async with open_world():
            pass

    with pytest.raises(RuntimeError, match="a world needs its own clock"):
        trio.run(main)


def test_two_runs_are_the_same_to_the_last_event() -> None:
    """No hidden randomness, no wall clock, no order of addresses."""

    async def scenario(world: World) -> list[str]:
        log: list[str] = []
        workers = [await world.spawn(Worker, log, str(n)) for n in range(5)]

        async def client(number: int) -> None:
            for worker in workers:
                await worker.tell(Note(f"{number} to {worker.path}"))
                await worker.ask(Add(number))

        for number in range(5):
            world.client(client, number)
        await trio.sleep(0.5)
        workers[2].restart()
        await world.settled()
        return log

    assert len({tuple(run(scenario)) for _ in range(3)}) == 1


async def test_messages_are_handled_in_the_order_of_sending(world: World) -> None:
    """Across actors too: the younger actor first, if it was told first."""
    log: list[str] = []
    old = await world.spawn(Worker, log)
    young = await world.spawn(Worker, log)
    log.clear()
    young.tell_nowait(Note("young"))
    old.tell_nowait(Note("old"))
    await world.settled()
    assert log == ["young", "old"]


# --- Time -------------------------------------------------------------------


async def test_time_is_virtual_and_starts_at_zero(world: World) -> None:
    began = trio.current_time()
    assert began == 0
    await trio.sleep(1_000_000)
    assert trio.current_time() == 1_000_000


async def test_sleeps_and_timers_happen_in_the_order_they_are_due(
    world: World,
) -> None:
    log: list[tuple[float, str]] = []

    async def ticker(inbox: Inbox[Note]) -> None:
        inbox.send_every(1, Note("timer"))
        async for message in inbox:
            log.append((trio.current_time(), message.text))  # noqa: PERF401

    await world.spawn(ticker)
    for _ in range(3):
        await trio.sleep(0.75)
        log.append((trio.current_time(), "sleep"))
    assert log == [
        (0.75, "sleep"),
        (1, "timer"),
        (1.5, "sleep"),
        (2, "timer"),
        (2.25, "sleep"),
    ]


async def test_a_timeout_ends_at_its_very_second(world: World) -> None:
    worker = await world.spawn(Worker)
    with pytest.raises(trio.TooSlowError), trio.fail_after(2):
        await worker.ask(Sleep(5))
    assert trio.current_time() == 2


async def test_a_deadline_that_is_past_already_cuts_at_once(world: World) -> None:
    await trio.sleep(10)
    with trio.CancelScope(deadline=5) as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 10


async def test_wait_all_tasks_blocked_works_and_no_time_passes(world: World) -> None:
    """Trio's own tool in a world: all have run, nobody has slept on."""
    log: list[str] = []
    worker = await world.spawn(Worker, log)
    await worker.tell(Sleep(1))
    await worker.tell(Note("later"))
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == 0
    assert "later" not in log
    await trio.testing.wait_all_tasks_blocked(0.001)
    assert trio.current_time() == 0


async def test_time_stands_still_while_a_thread_is_at_work(world: World) -> None:
    """Autojump would pass thousands of heartbeat periods during one thread call."""
    times: list[float] = []

    def work() -> None:
        for _ in range(20):
            times.append(trio.from_thread.run_sync(trio.current_time))
            trio.from_thread.run(trio.lowlevel.checkpoint)

    async def ticker(inbox: Inbox[Note]) -> None:
        inbox.send_every(0.001, Note())
        async for _ in inbox:
            times.append(-1)  # noqa: PERF401

    await world.spawn(ticker)
    with trio.move_on_after(0.0005) as scope:
        await trio.to_thread.run_sync(work)
    assert times == [0.0] * 20
    assert not scope.cancelled_caught


async def test_a_test_in_which_nothing_is_searched_may_start_threads(
    world: World,
) -> None:
    started = threading.Thread(target=list)
    started.start()
    started.join()
    assert not started.is_alive()


async def test_settled_waits_for_a_handler_whose_thread_is_at_work(
    world: World,
) -> None:
    go = threading.Event()
    log: list[str] = []

    class Threaded(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            await trio.to_thread.run_sync(go.wait)
            log.append("done")

    threaded = await world.spawn(Threaded)
    await threaded.tell(Note())
    await trio.testing.wait_all_tasks_blocked()
    go.set()
    await world.settled()
    assert log == ["done"]
    assert trio.current_time() == 0


async def test_a_test_may_use_real_sockets(world: World) -> None:
    """While somebody waits for the outside, nothing is called stuck."""
    server, client = trio.socket.socketpair()
    log: list[bytes] = []

    async def read(inbox: Inbox[Note]) -> None:
        async for _ in inbox:
            log.append(await server.recv(10))  # noqa: PERF401

    reader = await world.spawn(read)
    await reader.tell(Note())
    await client.send(b"hello")
    await world.settled()
    assert log == [b"hello"]
    server.close()
    client.close()


# --- settled() --------------------------------------------------------------


async def test_settled_waits_for_messages_that_cause_messages(world: World) -> None:
    class Chain(Actor[Add]):
        @handler
        async def add(self, message: Add) -> int:
            await trio.sleep(1)
            if message.amount:
                await self.context.ref.tell(Add(message.amount - 1))
            handled.append(message.amount)
            return 0

    handled: list[int] = []
    chain = await world.spawn(Chain)
    await chain.tell(Add(4))
    await world.settled()
    assert handled == [4, 3, 2, 1, 0]
    assert trio.current_time() == 5


async def test_settled_passes_no_time_for_timers_yet_to_come(world: World) -> None:
    ticks: list[float] = []

    async def ticker(inbox: Inbox[Note]) -> None:
        inbox.send_every(1, Note())
        async for _ in inbox:
            ticks.append(trio.current_time())  # noqa: PERF401

    await world.spawn(ticker)
    await world.settled()
    assert trio.current_time() == 0
    assert ticks == []


async def test_settled_is_a_checkpoint_and_can_be_cancelled(world: World) -> None:
    with trio.testing.assert_checkpoints():
        await world.settled()
    worker = await world.spawn(Worker)
    await worker.tell(Sleep(10))
    with trio.move_on_after(1) as scope:
        await world.settled()
    assert scope.cancelled_caught
    await world.settled()
    assert trio.current_time() == 10


async def test_several_may_wait_for_it(world: World) -> None:
    ends: list[float] = []

    async def client() -> None:
        await world.settled()
        ends.append(trio.current_time())

    worker = await world.spawn(Worker)
    await worker.tell(Sleep(3))
    for _ in range(3):
        world.client(client)
    await world.settled()
    await trio.testing.wait_all_tasks_blocked()
    assert ends == [3.0] * 3


def test_settled_says_who_waits_when_it_can_never_be() -> None:
    async def scenario(world: World) -> None:
        async def wait(inbox: Inbox[Note]) -> None:
            async for _ in inbox:
                await trio.sleep_forever()

        waiter = await world.spawn(wait, name="waiter")
        await waiter.tell(Note())
        await world.settled()

    text = failing(scenario, AssertionError)
    assert "nothing can happen any more" in text
    assert "waiter" in text
    assert "handling Note" in text


def test_settled_says_which_clients_wait_for_ever() -> None:
    async def scenario(world: World) -> None:
        world.client(trio.sleep_forever)
        world.client(trio.sleep_forever)
        await world.settled()

    assert "waiting: client-1, client-2. The" in failing(scenario, AssertionError)


def test_a_test_that_hangs_fails_at_once_and_says_so() -> None:
    """No virtual time will come, nobody waits for the outside: it is stuck."""

    async def scenario(world: World) -> None:
        async def never(inbox: Inbox[Get]) -> None:
            request = await inbox.receive()
            await trio.sleep_forever()
            inbox.reply(request, 1)

        await (await world.spawn(never, name="never")).ask(Get())

    text = failing(scenario, AssertionError)
    assert "nothing can happen any more" in text
    assert "never" in text


# --- Clients ----------------------------------------------------------------


async def test_settled_waits_for_clients_and_their_sleeps(world: World) -> None:
    counter = await world.spawn(Counter)

    async def client(amount: int) -> None:
        await trio.sleep(amount)
        await counter.ask(Add(amount))

    for amount in (3, 1, 2):
        world.client(client, amount)
    await world.settled()
    assert await counter.ask(Get()) == 6
    assert trio.current_time() == 3


def test_an_exception_of_a_client_fails_the_test() -> None:
    async def scenario(world: World) -> None:
        async def client() -> None:
            await trio.sleep(1)
            raise LookupError("the client's")

        world.client(client)
        await trio.sleep_forever()

    assert "the client's" in failing(scenario, LookupError)


def test_clients_that_still_run_at_the_end_are_cancelled() -> None:
    ended: list[str] = []

    async def scenario(world: World) -> None:
        async def client() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append("client")

        world.client(client)
        await trio.lowlevel.checkpoint()

    run(scenario)
    assert ended == ["client"]


# --- crash() ----------------------------------------------------------------


async def test_crash_fails_an_actor_at_its_next_message_and_once(
    world: World,
) -> None:
    counter = await world.spawn(Counter)
    await counter.tell(Add(5))
    await world.settled()
    world.crash(counter)
    assert world.snapshot().children[0].failed == 0
    with pytest.raises(ActorFailed) as caught:
        await counter.ask(Add(1))
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "/counter-1 was crashed by the test" in str(caught.value.__cause__)
    assert await counter.ask(Get()) == 0


async def test_crash_with_an_error_of_ones_own(world: World) -> None:
    counter = await world.spawn(Counter)
    world.crash(counter, KeyError("mine"))
    with pytest.raises(ActorFailed) as caught:
        await counter.ask(Get())
    assert isinstance(caught.value.__cause__, KeyError)


async def test_crash_hits_the_very_next_message_also_within_a_batch(
    world: World,
) -> None:
    class Both(Actor[Sleep | Get]):
        @handler
        async def sleep(self, message: Sleep) -> int:
            await trio.sleep(message.seconds)
            return 0

        @handler
        def get(self, message: Get) -> int:
            got.append(self.context.incarnation)
            return 0

    got: list[int] = []
    both = await world.spawn(Both)
    await both.tell(Sleep(1))
    for _ in range(3):
        await both.tell(Get())
    await trio.sleep(0.5)
    world.crash(both)
    await world.settled()
    assert got == [2, 2]


async def test_a_function_actor_can_be_crashed(world: World) -> None:
    starts: list[int] = []

    async def listen(inbox: Inbox[Note]) -> None:
        starts.append(inbox.incarnation)
        async for _ in inbox:
            pass

    listener = await world.spawn(listen)
    world.crash(listener)
    await listener.tell(Note())
    await world.settled()
    assert starts == [1, 2]


async def test_sleeps_that_end_at_one_moment_end_in_the_order_in_which_they_began(
    world: World,
) -> None:
    """Trio orders them by the addresses of their scopes: no two runs alike."""
    order: list[int] = []

    async def sleeper(number: int) -> None:
        await trio.sleep(1)
        order.append(number)

    for number in range(50):
        world.client(sleeper, number)
    await world.settled()
    assert order == list(range(50))


def test_a_program_that_stops_its_own_world_has_not_come_to_its_end() -> None:
    async def scenario(world: World) -> None:
        world.stop()
        await trio.sleep_forever()

    assert "stopped its own world before" in failing(scenario, AssertionError)
