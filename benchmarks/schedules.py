"""How fast schedules are searched: ``python -m benchmarks.schedules [--quick]``.

The smallest program with a race: two clients read a register, and each writes back one
more. A run is nine deliveries: two clients begin, two questions, two answers, two
writes, and the rest in the end. It is run in two ways:

* actor: on the library, the same that production runs: a world is opened, the schedule
  chosen by a strategy of the searches, every book checked, the world taken down;
* bare: three Trio tasks and a list of what is on its way. Whenever no task can run a
  clock asks the same strategy which is next, and writes it down: by its name, so that
  both can be told to be one schedule, which is checked. That is the least that such a
  search can cost on Trio (``_bare.py`` says what it leaves out).

"ping-pong" is one long run in which two actors, or two tasks, throw a ball to each
other; an operation is a throw. "all orders" is a search of all orders with optimal
reduction, of one writer and several readers of one register: 2 to the number of
readers, each in one run.

After each run it is checked that all was delivered, and that the outcome is one that
the schedule can have.
"""

import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import process_time
from typing import Any, TypeAlias, TypeVar

import attrs
import trio

from trio_actors import Actor, ActorRef, Request, handler
from trio_actors.testing import World
from trio_actors.testing._clock import in_order
from trio_actors.testing._dpor import Optimal
from trio_actors.testing._events import Run, Search
from trio_actors.testing._faults import Rules
from trio_actors.testing._flight import Lab, run_lab
from trio_actors.testing._search import canonical
from trio_actors.testing._strategies import Fifo, RandomWalk

from ._bare import BareClock, bare_ping_pong, bare_update
from ._books import check
from ._records import Sample
from ._variants import Goal, Row, Trial

T = TypeVar("T")

Summary: TypeAlias = tuple[tuple[int, ...], object]
"""What is kept of a run: its ranks, and its outcome."""

SCHEDULES, QUICK_SCHEDULES = 1500, 200
THROWS, QUICK_THROWS = 20_000, 2000
READERS, QUICK_READERS = 8, 4
STEPS = 9  # of one run of the smallest program
SEED = 1
FIFO, WALK = "lost update, first sent first", "lost update, random walk"
PING_PONG, ORDERS = "ping-pong, in one run", "all orders of readers"


# --- On the library -----------------------------------------------------------


@attrs.frozen
class Read(Request[int]):
    """What is the value?"""


@attrs.frozen
class Write:
    """Be this."""

    value: int


class Register(Actor[Read | Write]):
    """Keeps a value."""

    def __init__(self) -> None:
        self.value = 0

    @handler(reads_only=True)
    def read(self, message: Read) -> int:
        """Tell it."""
        return self.value

    @handler
    def write(self, message: Write) -> None:
        """Change it."""
        self.value = message.value


async def lost_update(world: World) -> int:
    """Let two clients add one to a register, as one should not."""
    register = await world.spawn(Register)

    async def add() -> None:
        value = await register.ask(Read())
        await register.tell(Write(value + 1))

    world.client(add)
    world.client(add)
    await world.settled()
    instance = register._cell.instance
    assert isinstance(instance, Register)
    return instance.value


async def readers(number: int, world: World) -> None:
    """Let so many clients read what one writes: 2 to the *number* classes."""
    register = await world.spawn(Register)
    world.client(register.tell, Write(1))
    for _ in range(number):
        world.client(register.ask, Read())
    await world.settled()


@attrs.frozen
class Ball:
    """It is thrown back to where it came from, so many times."""

    left: int
    back: "ActorRef[Ball]"


class Player(Actor[Ball]):
    """Throws it back."""

    @handler
    def throw(self, message: Ball) -> None:
        """Throw the ball back, if there are throws left."""
        if message.left:
            message.back.tell_nowait(Ball(message.left - 1, self.context.ref))


async def ping_pong(throws: int, world: World) -> None:
    """Let two actors throw a ball."""
    one, other = await world.spawn(Player), await world.spawn(Player)
    await one.tell(Ball(throws - 1, other))
    await world.settled()


def search(
    program: Callable[[World], Awaitable[Any]],
    how: Search,
    most: float,
    summary: Callable[[Run], T],
) -> tuple[list[T], float]:
    """Run a program until the search is at its end.

    Returns:
        What *summary* makes of each run (the searches keep no run either), and the
        seconds of CPU time.
    """
    lab = Lab(program, Rules(sampled=False))
    runs: list[T] = []

    async def every() -> None:
        more = True
        while more and len(runs) < most:
            run = await lab.once(how)
            check("runs that failed", int(run.error is not None), 0)
            runs.append(summary(run))
            more = how.learn(run)

    begin = process_time()
    run_lab(lab, every)
    return runs, process_time() - begin


def summary_of(run: Run) -> Summary:
    """Return the schedule of a run, and what it came to."""
    return tuple(run.ranks), run.outcome


def measure_actors(strategy: Callable[[], Search], number: int) -> Sample:
    """Run the smallest program so many times on the library."""
    runs, seconds = search(lost_update, strategy(), number, summary_of)
    check_runs(runs, number)
    return Sample(number, seconds)


def measure_throws(throws: int) -> Sample:
    """Let two actors throw a ball in one run."""
    (thrown,), seconds = search(partial(ping_pong, throws), Fifo(), 1, _messages)
    check("throws", thrown, throws)
    return Sample(throws, seconds)


def _messages(run: Run) -> int:
    return sum(step.kind == "message" for step in run.trace)


def measure_orders(number: int) -> Sample:
    """Search all orders of so many readers."""
    runs, seconds = search(partial(readers, number), Optimal(), math.inf, _class)
    check("classes", len(set(runs)), 2**number)
    check("runs", len(runs), 2**number)
    return Sample(len(runs), seconds)


def _class(run: Run) -> object:
    return canonical(run.trace)


def check_runs(runs: Sequence[Summary], number: int) -> None:
    """Check that so many runs were complete, and that none has a wrong outcome.

    Raises:
        RuntimeError: One is not the program that is measured.
    """
    check("runs", len(runs), number)
    check("complete runs", sum(len(ranks) == STEPS for ranks, _ in runs), number)
    check("outcomes", sum(value in {1, 2} for _, value in runs), number)


# --- On bare Trio -------------------------------------------------------------


def run_bare(
    how: Search, number: int, summary: Callable[[Run], T]
) -> tuple[list[T], float]:
    """Run the smallest program so many times; return as `search()` does."""
    clock = BareClock(how)
    runs: list[T] = []

    async def every() -> None:
        for _ in range(number):
            clock.begin()
            clock.run.outcome = await bare_update(clock)
            runs.append(summary(clock.run))
            how.learn(clock.run)

    begin = process_time()
    with in_order():
        trio.run(every, clock=clock)
    return runs, process_time() - begin


def measure_bare(strategy: Callable[[], Search], number: int) -> Sample:
    """Run the smallest program so many times on bare Trio."""
    runs, seconds = run_bare(strategy(), number, summary_of)
    check_runs(runs, number)
    return Sample(number, seconds)


def measure_bare_throws(throws: int) -> Sample:
    """Let two tasks throw a ball in one run."""
    clock = BareClock(Fifo())
    begin = process_time()
    with in_order():
        trio.run(bare_ping_pong, clock, throws, clock=clock)
    seconds = process_time() - begin
    check("throws", len(clock.run.trace) - 1, throws)  # the last is the rest
    return Sample(throws, seconds)


# --- What is measured, and what for -------------------------------------------


def rows(*, quick: bool) -> list[Row]:
    """Return what is measured."""
    number = QUICK_SCHEDULES if quick else SCHEDULES
    throws = QUICK_THROWS if quick else THROWS
    walk = partial(RandomWalk, SEED)
    return [
        Row(
            FIFO,
            {
                "actor": partial(measure_actors, Fifo, number),
                "bare": partial(measure_bare, Fifo, number),
            },
        ),
        Row(
            WALK,
            {
                "actor": partial(measure_actors, walk, number),
                "bare": partial(measure_bare, walk, number),
            },
        ),
        Row(
            PING_PONG,
            {
                "actor": partial(measure_throws, throws),
                "bare": partial(measure_bare_throws, throws),
            },
        ),
        Row(
            ORDERS,
            {"actor": partial(measure_orders, QUICK_READERS if quick else READERS)},
        ),
    ]


GOALS = (
    Goal(FIFO, 1000),
    Goal(FIFO, 0.40, "bare"),
    Goal(WALK, 1000),
    Goal(WALK, 0.40, "bare"),
    Goal(PING_PONG, 50_000),
)

TRIAL = Trial("schedules", "How fast schedules are searched", rows, against=("bare",))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and tell which goals are met; return the exit status."""
    status = TRIAL.main(arguments)
    by_title = {row.title: row for row in TRIAL.rows}
    for goal in GOALS:
        print(goal.told(by_title[goal.row]))
    return status


if __name__ == "__main__":
    sys.exit(main())
