"""Ctrl-C, SIGTERM and SystemExit: in handlers, hooks, the body; once and twice."""

import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable

import pytest
import trio

from tests.kit import Boom, Counter, Note, Sleep, Worker, open_system, run_main
from trio_actors import Actor, Exit, Inbox, handler, open_actor_system
from trio_actors._errors import leaves


def interrupt() -> None:
    """Press Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


def kinds_of(group: BaseException) -> list[type]:
    """The types of the leaves of a group, in order."""
    return [type(leaf) for leaf in leaves(group)]


def interrupted(main: Callable[[], Awaitable[object]]) -> list[type]:
    """Run a program that ends by Ctrl-C; return what left it."""
    with pytest.raises(BaseExceptionGroup) as caught:
        run_main(main)
    return kinds_of(caught.value)


# --- Ctrl-C, in process -----------------------------------------------------


def test_ctrl_c_in_a_busy_plain_handler_is_an_ordered_stop() -> None:
    """Point 6: user handlers are not protected; the tree is."""
    log: list[str] = []

    class Busy(Actor[Note]):
        @handler
        def note(self, message: Note) -> None:
            log.append("busy")
            interrupt()
            log.append("never")

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            await (await system.spawn(Busy)).tell(Note())
            await trio.sleep_forever()

    assert interrupted(main) == [KeyboardInterrupt]
    assert log == ["a+", "busy", "a-"]


def test_ctrl_c_in_an_async_handler_is_an_ordered_stop() -> None:
    """Point 6; the asker is told, too."""
    log: list[str] = []

    class Busy(Actor[Boom]):
        async def stopped(self, reason: Exit) -> None:
            log.append(f"busy {reason.kind}")

        @handler
        async def boom(self, message: Boom) -> int:
            await trio.lowlevel.checkpoint()
            interrupt()
            return 0

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            ref = await system.spawn(Busy)
            await ref.ask(Boom())

    found = interrupted(main)
    assert KeyboardInterrupt in found
    assert log == ["a+", "busy failed", "a-"]


@pytest.mark.parametrize("where", ["started", "function", "inner task"])
def test_ctrl_c_anywhere_in_users_code(where: str) -> None:
    """Point 6: hooks, functions and inner tasks are not protected either."""
    log: list[str] = []

    class Interrupted(Counter):
        async def started(self) -> None:
            if where == "inner task":
                self.context.start_soon(self.inner)
            if where == "started":
                interrupt()

        async def inner(self) -> None:
            interrupt()

    async def listen(inbox: Inbox[Note]) -> None:
        interrupt()

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            if where == "function":
                system.spawn_nowait(listen)
            else:
                system.spawn_nowait(Interrupted)
            await trio.sleep_forever()

    assert interrupted(main) == [KeyboardInterrupt]
    assert log == ["a+", "a-"]


def test_ctrl_c_in_the_body_is_an_ordered_stop() -> None:
    """The body is the user's: it is interrupted, then the actors stop."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            interrupt()
            log.append("never")

    assert interrupted(main) == [KeyboardInterrupt]
    assert log == ["a+", "a-"]


def test_ctrl_c_while_nobody_runs_reaches_the_body() -> None:
    """Trio gives it to the main task, when all sleep."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            token = trio.lowlevel.current_trio_token()
            token.run_sync_soon(interrupt)
            await trio.sleep_forever()

    assert interrupted(main) == [KeyboardInterrupt]
    assert log == ["a+", "a-"]


def test_ctrl_c_while_the_block_is_left_ends_the_settling() -> None:
    """Leaving: an interrupt is (3), at once."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(shutdown=100) as system:
            await system.spawn(Worker, log, "a")
            ref = await system.spawn(Worker, log, "b", shutdown=2)
            await ref.tell(Sleep(10_000))
            await trio.sleep(1)
            system._runtime.call_at(5, interrupt, "", "test")

    assert interrupted(main) == [KeyboardInterrupt]
    assert log == ["a+", "b+", "a-"]


def test_ctrl_c_in_a_timer_of_the_library_is_an_ordered_stop() -> None:
    """Point 6: whatever task of the tree runs when the signal comes."""
    log: list[str] = []

    class Ticking(Worker):
        async def started(self) -> None:
            await super().started()
            self.context.send_after(1, Note())
            self.runtime_calls_interrupt()

        def runtime_calls_interrupt(self) -> None:
            runtime = self.context.system._runtime
            runtime.call_at(runtime.now() + 1, interrupt, "", "test")

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Ticking, log, "a")
            await trio.sleep_forever()

    assert interrupted(main) == [KeyboardInterrupt]
    assert log == ["a+", "", "a-"]


def test_a_second_ctrl_c_kills() -> None:
    """Point 6: the ordered stop is given up; no hook runs any more."""
    log: list[str] = []

    class Slow(Worker):
        async def stopped(self, reason: Exit) -> None:
            log.append("slow stops")
            interrupt()
            await trio.sleep(3)
            log.append("never")

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            await system.spawn(Slow, log)
            interrupt()

    assert set(interrupted(main)) == {KeyboardInterrupt}
    assert log == ["a+", "+", "slow stops"]


def test_the_library_itself_is_never_torn_apart_by_ctrl_c() -> None:
    """Point 6: at every step of a program, the end is clean."""

    def at_step(number: int) -> tuple[list[str], bool]:
        log: list[str] = []
        steps = 0

        class Interrupts(trio.abc.Instrument):
            def after_task_step(self, task: trio.lowlevel.Task) -> None:
                nonlocal steps
                steps += 1
                if steps == number:
                    interrupt()

        async def main() -> None:
            async with open_system() as system:
                ref = await system.spawn(Worker, log, "a")
                trio.lowlevel.add_instrument(Interrupts())
                await system.spawn(Counter)
                await ref.tell(Boom())
                assert await ref.ask(Sleep(1)) == 0

        try:
            run_main(main)
        except BaseExceptionGroup as group:
            seen = kinds_of(group)
        except KeyboardInterrupt:  # the block had been left
            seen = [KeyboardInterrupt]
        else:
            seen = []
        # The crash may come while all are stopped: then it leaves as well.
        seen = [kind for kind in seen if kind is not ValueError]
        assert seen == ([] if steps < number else [KeyboardInterrupt])
        return log, steps < number

    number = 0
    done = False
    while not done:
        number += 1
        log, done = at_step(number)
        ends = log.count("a-") + log.count("a~")
        # At most one goodbye is missing: Ctrl-C in the ordered stop kills.
        assert 0 <= log.count("a+") - ends <= 1
    assert number > 20


# --- Other exceptions that are not failures ---------------------------------


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), KeyboardInterrupt()])
def test_what_is_no_exception_is_supervised_by_nobody(error: BaseException) -> None:
    """FAIL-9: out of the system, after the stop hooks; not restarted."""
    log: list[str] = []

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            ref = await system.spawn(Worker, log, "b", restart="permanent")
            await ref.tell(Boom(error))
            await trio.sleep_forever()

    assert interrupted(main) == [type(error)]
    assert log == ["a+", "b+", "b-", "a-"]


def test_system_exit_in_a_group_with_a_failure_leaves_with_it() -> None:
    """N failures give n leaves, whatever they are."""

    class Grouped(Actor[Note]):
        @handler
        async def note(self, message: Note) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.fail, SystemExit(1))
                nursery.start_soon(self.fail, ValueError("beside"))

        async def fail(self, error: BaseException) -> None:
            try:
                await trio.lowlevel.checkpoint()
            finally:
                raise error

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Grouped)
            await ref.tell(Note())
            await trio.sleep_forever()

    assert set(interrupted(main)) == {SystemExit, ValueError}


def test_system_exit_in_a_stop_hook_does_not_cut_the_stop_of_others() -> None:
    """Only Ctrl-C says that somebody is in a hurry."""
    log: list[str] = []

    class Rude(Counter):
        async def stopped(self, reason: Exit) -> None:
            raise SystemExit(2)

    async def main() -> None:
        async with open_system() as system:
            await system.spawn(Worker, log, "a")
            await system.spawn(Rude)

    assert interrupted(main) == [SystemExit]
    assert log == ["a+", "a-"]


# --- signals=True -----------------------------------------------------------


PROGRAM = """
import logging, sys, trio
from tests.kit import Worker, Sleep
from trio_actors import Exit, open_actor_system

class Loud(Worker):
    async def stopped(self, reason: Exit) -> None:
        print("stopping", self.name, flush=True)
        await trio.sleep({seconds})
        print("stopped", self.name, reason.kind, flush=True)

async def main():
    async with open_actor_system("demo", shutdown=20, signals={signals}) as system:
        await system.spawn(Loud, [], "a", shutdown=20)
        await system.spawn(Loud, [], "b", shutdown=20)
        print("ready", flush=True)
        await trio.sleep_forever()
    print("left", flush=True)

trio.run(main)
"""


def start(*, seconds: float = 0, signals: bool = True) -> "subprocess.Popen[str]":
    """Start the program, and wait until it is ready."""
    source = textwrap.dedent(PROGRAM.format(seconds=seconds, signals=signals))
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order_and_leaves_no_error(number: signal.Signals) -> None:
    """``signals=True``: the end is normal, exit status 0."""
    process = start()
    process.send_signal(number)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert out.split("\n")[:-1] == [
        "stopping b",
        "stopped b shutdown",
        "stopping a",
        "stopped a shutdown",
        "left",
    ]


def test_a_second_signal_kills() -> None:
    """``signals=True``: the first asks, the second does not wait."""
    process = start(seconds=60)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping b\n"
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=20)
    assert (process.returncode, errors, out) == (0, "", "left\n")


def test_without_signals_ctrl_c_of_a_real_process_leaves_as_a_group() -> None:
    """Point 6, from outside: the hooks run, and Python says why it ended."""
    process = start(signals=False)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert out.startswith("stopping b\nstopped b shutdown\nstopping a\n")
    assert "left" not in out
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0


def test_signals_are_for_the_main_thread_only() -> None:
    """``signals=True`` elsewhere says what to do instead."""
    errors: list[str] = []

    async def main() -> None:
        async with open_actor_system("demo", signals=True):
            raise AssertionError("not reached")

    def work() -> None:
        try:
            trio.run(main)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors
    assert "call system.stop()" in errors[0]


def test_signals_are_given_back_after_the_block() -> None:
    """The handlers of before are in place again."""
    before = signal.getsignal(signal.SIGTERM)

    async def main() -> None:
        async with open_system(signals=True):
            assert signal.getsignal(signal.SIGTERM) is not before

    run_main(main)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_in_process_ends_the_body_and_the_actors() -> None:
    """The same in this process, where its steps can be seen."""
    log: list[str] = []

    async def main() -> None:
        async with open_system(signals=True, shutdown=10) as system:
            await system.spawn(Worker, log, "a")
            slow = await system.spawn(Worker, log, "b", shutdown=9)
            await slow.tell(Sleep(10_000))
            await trio.sleep(1)
            signal.raise_signal(signal.SIGTERM)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep_forever()
        assert trio.current_time() == 2

    run_main(main)
    assert log == ["a+", "b+"]
