"""How tasks wait for what a store is to do."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_actors._park import Lot
from trio_actors.persistence import Fenced
from trio_actors.persistence._jobs import Claim, Queue, wake


class Waiting:
    """A queue, and what became of those who wait."""

    def __init__(self) -> None:
        self.lot = Lot()
        self.queue: Queue[Claim] = Queue(self.lot)
        self.ends: list[object] = []
        self.woken = 0

    async def wait(self, job: Claim, scope: trio.CancelScope) -> None:
        with scope:
            self.ends.append(await self.queue.wait(job))
            return
        self.ends.append(f"{job.stream} is withdrawn")

    async def sleep(self) -> None:
        """Count how often the task is woken that takes the jobs."""
        while True:
            await self.lot.park()
            self.woken += 1


async def test_only_the_first_job_of_a_queue_wakes_who_takes_them() -> None:
    """A queue that was emptied has a first one again, whoever has emptied it."""
    waiting = Waiting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.sleep)
        await wait_all_tasks_blocked()
        scope = trio.CancelScope()
        nursery.start_soon(waiting.wait, Claim("a"), scope)
        await wait_all_tasks_blocked()
        assert waiting.woken == 1
        scope.cancel()
        await wait_all_tasks_blocked()
        assert waiting.ends == ["a is withdrawn"]
        for name in "bcd":
            nursery.start_soon(waiting.wait, Claim(name), trio.CancelScope())
            await wait_all_tasks_blocked()
        assert waiting.woken == 2
        taken = [waiting.queue.take(2), waiting.queue.take(2)]
        assert [[job.stream for job in jobs] for jobs in taken] == [["b", "c"], ["d"]]
        nursery.start_soon(waiting.wait, Claim("e"), trio.CancelScope())
        await wait_all_tasks_blocked()
        assert waiting.woken == 3
        for jobs in (*taken, waiting.queue.take(2)):
            wake(jobs)
        nursery.cancel_scope.cancel()


async def test_a_seat_that_is_used_again_is_for_its_new_job_alone() -> None:
    """What was taken is waited for, and what was not is withdrawn, in any seat."""
    waiting = Waiting()
    async with trio.open_nursery() as nursery:
        for round in range(3):
            scopes = trio.CancelScope(), trio.CancelScope()
            taken, withdrawn = Claim(f"taken {round}"), Claim(f"{round}")
            nursery.start_soon(waiting.wait, taken, scopes[0])
            await wait_all_tasks_blocked()
            assert waiting.queue.take(1) == [taken]
            nursery.start_soon(waiting.wait, withdrawn, scopes[1])
            await wait_all_tasks_blocked()
            for scope in scopes:
                scope.cancel()
            await wait_all_tasks_blocked()
            assert waiting.ends == [f"{round} is withdrawn"]
            taken.result = "stored"
            wake([taken])
            await wait_all_tasks_blocked()
            assert waiting.ends.pop() == "stored"
            waiting.ends.clear()
            assert not waiting.queue


async def test_who_waits_gets_the_error_of_the_job() -> None:
    waiting = Waiting()
    job = Claim("a")
    job.error = Fenced("too late")
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(Fenced, match="too late"):
                await waiting.queue.wait(job)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        wake(waiting.queue.take(1))
