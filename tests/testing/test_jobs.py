"""A search in several processes: sooner, and otherwise the same.

Issue: ``pytest --actors-jobs=...``
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings, strategies as st

from tests.testing.party import party
from trio_actors.testing import Exploration, Faults, World
from trio_actors.testing._engine import AGAIN, Drawn, Explorer
from trio_actors.testing._explore import search
from trio_actors.testing._jobs import (
    Crew,
    _without_ctrl_c,
    how_it_ended,
    obstacle,
    run_share,
)
from trio_actors.testing._options import Options
from trio_actors.testing._search import NotRepeatable
from trio_actors.testing._settings import SETTINGS

HERE = os.getpid()


@contextlib.contextmanager
def started(work: Any, numbers: range, size: int) -> Generator[Crew[Any]]:
    """Give a crew that works."""
    crew = Crew[Any](work, numbers, size)
    try:
        crew.start()
        yield crew
    finally:
        crew.end()


def look(program: Callable[[World], Any], **options: Any) -> Exploration:
    return search(program, "program", Options(**options))


def figures(found: Exploration) -> tuple[object, ...]:
    token = found.failure and found.failure.token
    return (
        str(found),
        token,
        found.schedules,
        found.classes,
        found.redundant,
        found.blocked,
        found.verified,
    )


# --- A crew ---------------------------------------------------------------------------


def squares(share: range, tell: Callable[[tuple[int, int]], None]) -> None:
    for number in share:
        tell((number, number * number))


@settings(max_examples=15)
@given(st.integers(0, 9), st.integers(0, 40), st.integers(1, 4), st.data())
def test_results_are_taken_in_the_order_of_their_numbers(
    start: int, count: int, size: int, data: st.DataObject
) -> None:
    """Whoever is first; and nobody needs to take them all."""
    taken = data.draw(st.integers(0, count))
    with started(squares, range(start, start + count), size) as crew:
        results = [crew.take() for _ in range(taken)]
    assert results == [(n, n * n) for n in range(start, start + taken)]
    assert not multiprocessing.active_children()


def test_a_process_that_is_killed_is_an_error_that_says_so() -> None:
    def work(share: range, tell: Callable[[int], None]) -> None:
        for number in share:
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            tell(number)

    with started(work, range(9), 2) as crew:
        assert [crew.take() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(RuntimeError) as caught:
            crew.take()
    assert "process 2 of 2 of this search was killed (SIGKILL)" in str(caught.value)
    assert "--actors-jobs=1" in str(caught.value)
    assert not multiprocessing.active_children()


def test_it_says_how_a_process_ended() -> None:
    assert how_it_ended(0) == "ended with exit code 0"
    assert how_it_ended(3) == "ended with exit code 3"
    assert how_it_ended(-11) == "was killed (SIGSEGV)"


def test_a_process_whose_results_nobody_takes_any_more_ends_in_peace() -> None:
    """And it holds no end of another one's pipe open."""
    others, mine = multiprocessing.Pipe(duplex=False)
    run_share(squares, range(100), [others], mine)
    assert others.closed
    assert mine.closed


def test_when_there_are_too_many_processes_none_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fork, forks = os.fork, iter([True, True, False])

    def fork_if_there_is_room() -> int:
        if not next(forks):
            raise BlockingIOError("Resource temporarily unavailable")
        return fork()

    monkeypatch.setattr(os, "fork", fork_if_there_is_room)
    with pytest.raises(BlockingIOError), started(squares, range(100), 3):
        pytest.fail("there is a crew")
    assert not multiprocessing.active_children()


ORPHANS = """
import os, signal
from trio_actors.testing._jobs import Crew

def work(share, tell):
    for number in share:
        tell(number)

crew = Crew(work, range(10**9), 3)
crew.start()
for _ in range(30):
    crew.take()
print("running", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_when_this_process_is_killed_the_others_end_too() -> None:
    """All that write to the output are gone: else its end would not be read."""
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, timeout=60, check=False
    )
    assert done.stdout == b"running\n"
    assert done.returncode == -signal.SIGKILL


# --- The same result ------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw soon: after four orders, not after a hundred."""
    monkeypatch.setattr("trio_actors.testing._engine.FEW", 4)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("jobs", "options"),
    [
        (2, {}),
        (3, {"seed": 5}),
        (2, {"level": "checkpoint"}),
        (2, {"faults": Faults(drop=1)}),
        (3, {"schedules": 61}),
        (2, {"schedules": 3}),
    ],
    ids=str,
)
def test_what_several_processes_find_is_what_one_finds(
    jobs: int, options: dict[str, Any]
) -> None:
    """To the token, and to the number of the schedule that has failed."""
    program = partial(party, guests=6, unwanted=[5, 4, 3])
    options = {"schedules": 400, **options}
    alone = look(program, **options)
    assert figures(look(program, jobs=jobs, **options)) == figures(alone)
    assert (alone.failure is None) == (options["schedules"] < 100)


@pytest.mark.usefixtures("few")
def test_a_space_that_comes_to_its_end_is_verified_by_several_too() -> None:
    program = partial(party, guests=4, unwanted=[9])
    alone, together = look(program), look(program, jobs=2)
    assert figures(together) == figures(alone)
    assert together.verified
    assert together.schedules > 24


@settings(max_examples=6)
@given(
    guests=st.integers(2, 6),
    unwanted=st.lists(st.integers(0, 5), max_size=4, unique=True),
    schedules=st.integers(1, 90),
    jobs=st.integers(2, 3),
    seed=st.integers(0, 99),
)
def test_however_many_there_are_the_result_is_the_same(
    guests: int, unwanted: list[int], schedules: int, jobs: int, seed: int
) -> None:
    program = partial(party, guests=guests, unwanted=unwanted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trio_actors.testing._engine.FEW", 2)
        alone = look(program, schedules=schedules, seed=seed)
        together = look(program, schedules=schedules, seed=seed, jobs=jobs)
    assert figures(together) == figures(alone)


def drawn(program: Callable[[World], Any], numbers: range) -> list[Drawn]:
    """Return what another process would say, as this one says it."""
    explorer = Explorer(Options(schedules=1).job(program))
    said: list[Drawn] = []
    explorer._work(numbers, said.append)
    return said


def test_a_process_tells_the_class_of_each_run_and_ends_with_what_fails() -> None:
    found = drawn(partial(party, guests=4, unwanted=[2]), range(1, 90))
    assert len(found) < 89
    assert not any(one.trouble for one in found[:-1])
    assert "AssertionError" in found[-1].trouble
    assert len({one.name for one in found[:-1]}) > 1


def test_what_raises_what_is_no_failure_is_told_as_well() -> None:
    async def program(world: World) -> None:
        raise SystemExit(3)

    assert drawn(program, range(1, 9)) == [Drawn(None, trouble="SystemExit(3)")]


def test_a_process_runs_one_schedule_in_fifty_twice() -> None:
    """State that outlives the test is found wherever it does its harm."""
    runs: list[int] = []

    async def program(world: World) -> None:
        runs.append(1)
        await party(world, 1 + (len(runs) > 6), [9])

    found = drawn(program, range(AGAIN - 5, AGAIN + 5))
    assert len(found) == 6
    assert "the same schedule gave another run" in found[-1].trouble


def test_what_makes_a_verdict_doubtful_travels_along() -> None:
    async def program(world: World) -> None:
        await party(world, 2, [9])
        await trio.to_thread.run_sync(int)

    explorer = Explorer(Options(schedules=1, allow_io=True).job(program))
    explorer.lab.caveats["a doubt"] = None
    said: list[Drawn] = []
    explorer._work(range(1, 3), said.append)
    assert [one.caveats for one in said] == [("a doubt",)] * 2


# --- What fails there and not here ----------------------------------------------------


@pytest.mark.usefixtures("few")
def test_what_fails_in_another_process_alone_is_not_repeatable() -> None:
    async def program(world: World) -> None:
        await party(world, 5, [9])
        assert os.getpid() == HERE, "elsewhere"

    with pytest.raises(NotRepeatable, match="in another process it raised .*elsewhere"):
        look(program, jobs=2)
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("few")
def test_state_that_outlives_the_test_is_found_in_another_process() -> None:
    """One passing run in fifty is run twice, wherever it is."""
    runs: list[int] = []

    async def program(world: World) -> None:
        runs.append(1)
        await party(world, 6, [9])
        # Twice, one after the other: then it is another program.
        if os.getpid() != HERE and len(runs) % 2:
            await party(world, 1, [9])

    with pytest.raises(NotRepeatable, match="in another process it raised"):
        look(program, jobs=2, schedules=6 * AGAIN)


@pytest.mark.usefixtures("few")
def test_a_process_that_ends_itself_is_an_error() -> None:
    async def program(world: World) -> None:
        if os.getpid() != HERE:
            os._exit(3)
        await party(world, 6, [9])

    with pytest.raises(RuntimeError, match="ended with exit code 3 while it ran"):
        look(program, jobs=2)
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("few")
def test_a_test_that_is_skipped_in_the_midst_is_skipped() -> None:
    """No exception travels: the run is done again, and raises it here."""

    async def program(world: World) -> None:
        try:
            await party(world, 6, [5, 4, 3])
        except AssertionError:
            pytest.skip("enough")

    alone, together = look(program), look(program, jobs=2)
    assert together.failure is not None
    assert isinstance(together.failure.error, pytest.skip.Exception)
    assert figures(together) == figures(alone)


# --- Ctrl-C ---------------------------------------------------------------------------


@pytest.mark.usefixtures("few")
def test_ctrl_c_ends_them_all_and_tells_what_was_found(tmp_path: Path) -> None:
    """Issue: "Ctrl-C in a search prints what was found"."""

    async def program(world: World) -> None:
        await party(world, 6, [9])
        if os.getpid() != HERE:
            with contextlib.suppress(FileExistsError):
                (tmp_path / "pressed").touch(exist_ok=False)
                os.kill(HERE, signal.SIGINT)
            # So that this process waits for a result when it comes.
            signal.sigtimedwait([], 60)

    with pytest.raises(KeyboardInterrupt) as caught:
        look(program, jobs=2)
    assert "interrupted after" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


def test_ctrl_c_that_another_thread_hears_is_kept_back_too() -> None:
    """Python would raise it here: in a fork, say, where it would be lost."""

    async def use_a_thread() -> None:
        await trio.to_thread.run_sync(os.getpid)  # trio keeps it for the next time

    trio.run(use_a_thread)
    went_on = False
    with pytest.raises(KeyboardInterrupt), _without_ctrl_c():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(300_000):  # it takes its way through the other thread
            os.getpid()
        went_on = True
    assert went_on


def test_in_another_thread_there_is_no_handler_to_change() -> None:
    def work() -> None:
        with _without_ctrl_c():
            done.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))

    done: list[bool] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.usefixtures("few")
def test_a_process_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    """Not so that Ctrl-C is deaf meanwhile: it is looked for again and again."""

    async def program(world: World) -> None:
        await party(world, 6, [9])
        if os.getpid() != HERE:
            with contextlib.suppress(FileExistsError):
                (tmp_path / "slow").touch(exist_ok=False)
                signal.sigtimedwait([], 1)

    assert look(program, jobs=2, schedules=40).schedules == 40


def test_ctrl_c_in_a_run_is_no_failure_of_the_program() -> None:
    async def program(world: World) -> None:
        await party(world, 6, [9])
        signal.raise_signal(signal.SIGINT)
        await trio.lowlevel.checkpoint()

    with pytest.raises(KeyboardInterrupt) as caught:
        look(program)
    assert "interrupted after 0 schedules, 0 classes" in caught.value.__notes__[0]


@pytest.mark.usefixtures("few")
def test_only_this_process_hears_ctrl_c() -> None:
    """A terminal sends it to all: the others would each print a traceback."""

    async def program(world: World) -> None:
        if os.getpid() != HERE:
            os.kill(os.getpid(), signal.SIGINT)
        await party(world, 6, [9])

    assert look(program, jobs=2, schedules=40).schedules == 40
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


# --- Where there is one process only --------------------------------------------------


def test_nothing_is_in_the_way_of_other_processes() -> None:
    with no_threads():
        assert obstacle() == ""


def test_beside_other_threads_there_is_one_process() -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="a server")
    thread.start()
    try:
        assert "a server" in obstacle()
    finally:
        go_on.set()
        thread.join()


def test_threads_of_trio_that_rest_do_no_harm() -> None:
    async def use_one() -> None:
        await trio.to_thread.run_sync(int)

    trio.run(use_one)
    assert any(one.name.startswith("Trio thread") for one in threading.enumerate())
    with no_threads():
        assert obstacle() == ""


@contextlib.contextmanager
def no_threads() -> Any:
    """Check that other tests have left none."""
    mine = threading.current_thread()
    for one in threading.enumerate():
        assert one is mine or one.name.startswith("Trio thread"), one
    yield


def test_in_a_worker_of_xdist_and_in_a_daemonic_process_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(share: range, tell: Callable[[str], None]) -> None:
        tell(obstacle())

    with started(work, range(1), 1) as crew:
        assert "daemonic" in crew.take()
    process: Any = multiprocessing.current_process()
    monkeypatch.setitem(process._config, "daemon", 1)
    assert "daemonic" in obstacle()
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    assert "xdist" in obstacle()


def test_the_command_line_overrules_what_a_test_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SETTINGS, "jobs", 3)
    with no_threads():
        assert Options().overruled().jobs == 3


def test_where_nothing_can_fork_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows. No such system runs this test, so it is told so."""
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert obstacle() == "this system cannot fork"
