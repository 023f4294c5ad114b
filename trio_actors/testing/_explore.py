"""Run a test under many orders of delivery.

Rules of this file:

* What a user calls, and what he gets. A wrong option is an error at once, not a
  schedule that fails.
* ``explore`` returns a plain function: nobody runs it as a coroutine first.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import (
    Any,
    Concatenate,
    Never,
    ParamSpec,
)

import attrs

from ._engine import Explorer
from ._events import Run
from ._exploration import Exploration, Failure
from ._faults import NO_FAULTS, Faults, read_plan, write_plan
from ._files import keep_diagram
from ._findings import Findings
from ._given import (
    drawing,
    given_again,
    is_given,
    literals,
    name_of,
    pass_over,
    schedule_of,
)
from ._held import Held
from ._linear import OWNERS, place_of_world
from ._options import (
    Decorator,
    Level,
    Options,
    Order,
    Program,
    Timers,
    check_program,
    parameters_of,
)
from ._search import NotRepeatable
from ._settings import SETTINGS
from ._shrink import Deviations
from ._token import OtherProgram, Token, decode, fingerprint
from ._verdict import failure_report, found as found_text, sampled, stopped, verified
from ._world import World

P = ParamSpec("P")

NO_ARGUMENTS: Mapping[str, object] = {}


# --- One search ---------------------------------------------------------------


def search(
    program: Program,
    name: str,
    options: Options,
    arguments: Mapping[str, object] = NO_ARGUMENTS,
) -> Exploration:
    """Search as *options* say.

    Args:
        program: Gets a world.
        name: How it is called in its module.
        options: How to search.
        arguments: What else it gets, by name. A schedule is run instead of a search.
    """
    token = decode(options.replay) if options.replay is not None else None
    if token is not None:
        if "c" in token.options:  # it was found by a closer look
            options = attrs.evolve(options, level="checkpoint")
        token.check_options(options.letters)
    explorer = Explorer(options.job(program))
    schedule = schedule_of(arguments.values())
    if token is not None:
        _replay(explorer, token)
    elif schedule is not None:
        explorer.replay(schedule.deviations, ())
        explorer.make_small()
    else:
        try:
            explorer.explore()
            closer = explorer.closer()
            if closer is not None and _looks_closer(closer):
                explorer, options = closer, attrs.evolve(options, level="checkpoint")
        except KeyboardInterrupt as error:
            error.add_note(f"{name}: {_told(explorer, options, 'interrupted')}")
            raise
    return _result(explorer, options, name, arguments)


def _looks_closer(closer: Explorer) -> bool:
    """Search; False if that comes to no result, and only doubts remain."""
    try:
        closer.explore()
    except NotRepeatable:  # it has not shown itself before, in larger steps
        return False
    return True


def _replay(explorer: Explorer, token: Token) -> None:
    explorer.replay(dict(token.deviations), read_plan(token.plan))
    assert explorer.found.last is not None
    last = explorer.found.last
    try:
        token.check_program(_print(last, dict(token.deviations)))
    except OtherProgram as error:
        raise error from last.error  # what that one did may be why


def _result(
    explorer: Explorer, options: Options, name: str, arguments: Mapping[str, object]
) -> Exploration:
    found = explorer.found
    failure = _failure(found, options, name, arguments)
    return Exploration(
        schedules=found.schedules,
        classes=len(found.met),
        redundant=found.redundant,
        blocked=found.blocked,
        verified=found.complete and failure is None and not explorer.doubts,
        failure=failure,
        verdict=_told(explorer, options),
    )


def _told(explorer: Explorer, options: Options, word: str = "") -> str:
    """Return the verdict."""
    found, doubts = explorer.found, explorer.doubts
    classes = len(found.met)
    conditions = [*options.conditions, *explorer.conditions]
    if found.failed is not None:
        return found_text(found.failed_after, len(found.smallest))
    if found.complete:
        return verified(
            found.schedules,
            classes,
            found.redundant,
            found.blocked,
            caveats=conditions,
            doubts=doubts,
        )
    if options.replay is not None:
        return "the schedule does not fail any more"
    conditions += doubts
    if options.exhaustive or word:
        return stopped(
            found.schedules, classes, word=word or "stopped", caveats=conditions
        )
    return sampled(found.schedules, found.met, caveats=conditions)


def _failure(
    found: Findings, options: Options, name: str, arguments: Mapping[str, object]
) -> Failure | None:
    run = found.failed
    if run is None or run.error is None:
        return None
    for event in [*run.trace, *(ghost.event for ghost in run.ghosts)]:
        if isinstance(event, Held):
            event.describe()
    token = Token(
        program=_print(run, found.smallest),
        options=options.letters,
        plan=write_plan(found.plan),
        deviations=tuple(sorted(found.smallest.items())),
    ).encode()
    report = failure_report(
        found_text(found.failed_after, len(found.smallest)),
        run,
        token=token,
        program=name,
        arguments=list(arguments),
        values=literals(arguments),
        options=options.written,
        passing=found.nearest,
    )
    return Failure(token=token, error=run.error, run=run, report=report)


def _print(run: Run, schedule: Deviations) -> str:
    """Return a fingerprint of what a program did, as far as the schedule rests on it.

    What comes after its last deviation may change: a test that was pasted passes when
    the program was mended. And whatever its name is, it is the same program.
    """
    upto = max(schedule) + 1 if schedule else len(run.trace)
    return fingerprint("\n".join(" ".join(event.key) for event in run.trace[:upto]))


# --- What users call ----------------------------------------------------------


def check(
    program: Callable[[World], Awaitable[None]],
    *,
    schedules: int = 1000,
    exhaustive: bool = False,
    faults: Faults = NO_FAULTS,
    level: Level = "delivery",
    timers: Timers = "race",
    order: Order = "pairwise",
    allow_io: bool = False,
    seed: int = 0,
    replay: str | None = None,
) -> Exploration:
    """Like ``explore``, without pytest.

    Args:
        program: An async function of a world.
        schedules: How many runs at most.
        exhaustive: Try all orders, as long as there are not more than 50,000 runs.
        faults: What may go wrong.
        level: "delivery": which message is next; "checkpoint": also which task is.
        timers: "race": time may pass while messages are on their way; "idle": only
            when nothing else can happen, which finds no late retry, and in one order
            where two are due at the same moment.
        order: "pairwise": two senders' messages may come in any order; "enqueue": as
            one process takes them.
        allow_io: Let the program use threads and I/O, which nobody controls.
        seed: Of what is drawn; the same seed finds the same.
        replay: The token of one schedule, to run that alone.

    Returns:
        What was found. A schedule that fails is no exception.

    Raises:
        ValueError: There is no such option, or the token is none, or of another
            program.
        NotRepeatable: The program is not the same in each run of one schedule.
    """
    options = Options(
        schedules=schedules,
        exhaustive=exhaustive,
        faults=faults,
        level=level,
        timers=timers,
        order=order,
        allow_io=allow_io,
        seed=seed,
        replay=replay,
    )
    check_program(program)
    return search(program, getattr(program, "__qualname__", "program"), options)


def explore(
    *bare: Never,
    schedules: int = 1000,
    exhaustive: bool = False,
    faults: Faults = NO_FAULTS,
    level: Level = "delivery",
    timers: Timers = "race",
    order: Order = "pairwise",
    allow_io: bool = False,
    seed: int = 0,
    replay: str | None = None,
) -> Decorator:
    """Run a test under many orders of delivery; report the shortest that fails.

    The test's first parameter is the world; further ones are pytest fixtures, or what
    Hypothesis draws: then each example is a search, and ``@settings(deadline=None)``
    lets it take its time. ``pytest --help`` names what overrules the options.

    Args:
        schedules: How many runs at most.
        exhaustive: Try all orders, as long as there are not more than 50,000 runs.
        faults: What may go wrong.
        level: "delivery": which message is next; "checkpoint": also which task is.
        timers: "race": time may pass while messages are on their way; "idle": only
            when nothing else can happen, which finds no late retry, and in one order
            where two are due at the same moment.
        order: "pairwise": two senders' messages may come in any order; "enqueue": as
            one process takes them.
        allow_io: Let the test use threads and I/O, which nobody controls.
        seed: Of what is drawn; the same seed finds the same.
        replay: The token of one schedule, to run that alone.

    Returns:
        A decorator that makes a plain function of an async test. It raises what the
        first failing schedule raised, with the report as a note.

    Raises:
        ValueError, TypeError: There is no such option, or there are no parentheses.
    """
    if bare:
        raise TypeError("write @explore(), with parentheses, above a test.")
    options = Options(
        schedules=schedules,
        exhaustive=exhaustive,
        faults=faults,
        level=level,
        timers=timers,
        order=order,
        allow_io=allow_io,
        seed=seed,
        replay=replay,
    )

    def decorate(fn: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        if is_given(fn):
            return given_again(fn, lambda inner: _test_of(inner, options))
        return _test_of(fn, options)

    return decorate


def _test_of(
    fn: Callable[Concatenate[World, P], Awaitable[None]], options: Options
) -> Callable[P, None]:
    """Make a plain test of an async one: one call is a whole search."""
    parameters = parameters_of(fn)
    place = place_of_world(fn)
    del parameters[place]
    signature = inspect.Signature(parameters)

    @functools.wraps(fn)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        async def program(world: World) -> None:
            given: Any = [*args[:place], world, *args[place:]]
            await fn(*given, **kwargs)

        arguments = signature.bind(*args, **kwargs).arguments
        for owner in OWNERS:
            arguments.pop(owner, None)
        chosen = options.overruled()
        try:
            found = search(program, name_of(fn), chosen, arguments)
        except OtherProgram:
            pass_over()  # the schedule is that of another example
            raise
        except NotRepeatable as error:
            if drawn := drawing(arguments):
                error.add_note(
                    f"{drawn}.draw() draws anew in each run of one schedule: draw"
                    " outside of the test, by what @given is given."
                )
            raise
        if found.failure is not None:
            raise _reported(found.failure)
        if chosen.exhaustive and chosen.replay is None and not found.verified:
            raise AssertionError(str(found))  # a green test would be taken for a proof

    # What pytest reads: its fixtures are the test's, the world is not one of them.
    test.__signature__ = signature  # type: ignore[attr-defined]
    test.__explored__ = True  # type: ignore[attr-defined]
    return test


def _reported(failure: Failure) -> BaseException:
    """Return the error of a test, with all that there is to say of it."""
    report = str(failure)
    if SETTINGS.diagrams is not None:
        report += f"\n{keep_diagram(SETTINGS.diagrams, failure.diagram('mermaid'))}\n"
    failure.error.add_note(report)
    return failure.error
