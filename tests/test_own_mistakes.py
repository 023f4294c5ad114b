"""A mistake of the library's own costs no sibling its goodbye (TRIO-1)."""

import pytest
import trio

from tests.kit import Boom, Counter, Worker, failures_of, open_system, run_main
from trio_actors import Actor, ActorFailed, Exit, Request, handler
from trio_actors._cell import Cell, Step


class Ask(Request[None]): ...


def test_a_mistake_in_a_cell_leaves_the_block_after_an_ordered_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Raised into the nursery it would cancel the siblings in the order of a set."""
    log: list[str] = []

    def mistake(cell: Cell, failure: BaseException | None) -> Step:
        if cell.name == "broken":
            raise LookupError("ours")
        return right(cell, failure)

    right = Cell._conclude
    monkeypatch.setattr(Cell, "_conclude", mistake)

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            broken = await system.spawn(Counter, name="broken")
            await system.spawn(Worker, log, "b")
            with pytest.raises(ActorFailed):
                await broken.ask(Boom())
            await trio.sleep_forever()

    assert [repr(error) for error in failures_of(main)] == ["LookupError('ours')"]
    assert log == ["a+", "b+", "b-", "a-"]


def test_a_hook_that_is_no_async_function_after_all_is_a_failure() -> None:
    """What a class checks is what it was created with."""

    class Patched(Actor[Ask]):
        @handler
        def ask(self, message: Ask) -> None: ...

    def stopped(self: Patched, reason: Exit) -> None:
        raise LookupError(reason.kind)

    Patched.stopped = stopped  # type: ignore[assignment,method-assign]

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Patched)
            ref.stop()
            exit = await ref.wait_stopped()
            assert exit.kind == "failed"
            assert repr(exit.error) == "LookupError('shutdown')"

    run_main(main)
