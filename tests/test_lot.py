"""Where tasks sleep until all of them are woken.

Rules quoted: *Where tasks sleep until all of them are woken, in the order in which they
came*; *a checkpoint*.
"""

import trio
from trio.lowlevel import enable_ki_protection
from trio.testing import wait_all_tasks_blocked

from trio_actors._park import Lot


class Order:
    """Who was rescheduled, in order."""

    def __init__(self, lot: Lot) -> None:
        self.lot = lot
        self.woken: list[str] = []

    @enable_ki_protection
    async def sleep(self, name: str) -> None:
        """Sleep once."""
        await self.lot.park()
        self.woken.append(name)


class Scheduled(trio.abc.Instrument):
    """Notes who is made ready to run."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Note it."""
        self.names.append(task.name)


async def test_all_who_sleep_are_woken_in_the_order_in_which_they_came() -> None:
    """All of them at once, the first first."""
    lot, scheduled = Lot(), Scheduled()
    order = Order(lot)
    names = [f"sleeper {number}" for number in range(10)]
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(order.sleep, name, name=name)
            await wait_all_tasks_blocked()
        assert lot
        trio.lowlevel.add_instrument(scheduled)
        lot.unpark_all()
        assert not lot
        trio.lowlevel.remove_instrument(scheduled)
    assert scheduled.names == names
    assert sorted(order.woken) == sorted(names)


async def test_who_is_cancelled_in_his_sleep_is_not_woken_again() -> None:
    """*A checkpoint*: trio's own cancellation, and nothing is left behind."""
    lot = Lot()
    with trio.CancelScope() as scope:
        scope.cancel()
        await lot.park()
    assert scope.cancelled_caught
    assert not lot
    lot.unpark_all()
    await wait_all_tasks_blocked()


async def test_who_sleeps_again_while_others_are_woken_sleeps_on() -> None:
    """Those who are woken are those who slept: it cannot go round for ever."""
    lot, rounds = Lot(), 0

    async def sleep_twice() -> None:
        nonlocal rounds
        for _ in range(2):
            await lot.park()
            rounds += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep_twice)
        nursery.start_soon(sleep_twice)
        for expected in (2, 4):
            await wait_all_tasks_blocked()
            lot.unpark_all()
            await wait_all_tasks_blocked()
            assert rounds == expected
