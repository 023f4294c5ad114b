"""What a search tells its user: what was found, how to see it again, what is left.

Rules of this file:

* "verified" is said of nothing but a search of all orders without a doubt.
* What is told to be typed or pasted works as it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeAlias

from ._diagram import caption_of, diagram, name_of
from ._events import Event, Key, Run, Touched, Unsettled

Name: TypeAlias = tuple[Key, int]
"""The n-th event of a key, which is the same one in every schedule."""

Course: TypeAlias = list[tuple[int, Event, Name]]
"""The events of a run, each with its place and its name."""

NO_VALUES: Mapping[str, str] = {}

Race: TypeAlias = tuple[int, int]
"""The places of two events; one that did not come has one behind the trace."""


# --- The race ---


def race_of(failing: Run, passing: Run | None) -> Race | None:
    """Return the two events whose order makes the difference.

    They touch the same, with nothing in between that touches it, too; and they stand
    the other way round in the passing run. What is late only because something before
    it was late does not count. Of those that are left it is the last, and one at one
    receiver rather than any other.

    Args:
        failing: The run that fails.
        passing: The nearest run that passes; the best is the same schedule without its
            last deviation. Without one the order of sending is what counts.

    Returns:
        Their places in the trace; ``len(trace) + n`` is the n-th ghost. None if no two
        events have changed places.
    """
    course = _course(failing)
    order = _order_of_sending(course)
    if passing is not None:
        order = {name: at for at, (_, _, name) in enumerate(_course(passing))}
    return _last(course, order, _at_one_receiver) or _last(course, order, _anywhere)


def _course(run: Run) -> Course:
    """Return what happened, and between that what then could no longer happen."""
    missed: dict[int, list[tuple[int, Event]]] = {}
    for place, ghost in enumerate(run.ghosts, len(run.trace)):
        # Ticks have one key for all of them: which one it would have been is not known.
        if ghost.event.kind != "tick":
            missed.setdefault(ghost.until, []).append((place, ghost.event))
    course: Course = []
    counts: dict[Key, int] = {}
    for at in range(-1, len(run.trace)):
        happened = [(at, run.trace[at])] if at >= 0 else []
        for place, event in happened + missed.get(at, []):
            counts[event.key] = count = counts.get(event.key, 0) + 1
            course.append((place, event, (event.key, count)))
    return course


def _order_of_sending(course: Course) -> dict[Name, int]:
    """Return the order in which FIFO would take them; ticks and faults come last."""
    return {
        name: place if event.kind in {"tick", "settled", "fault"} else event.sent
        for place, event, name in course
    }


def _at_one_receiver(one: Event, other: Event) -> bool:
    begin = one.kind == "start" or other.kind == "start"
    return one.dst == other.dst != "" and not begin


def _anywhere(_one: Event, _other: Event) -> bool:
    return True


def _last(
    course: Course, order: Mapping[Name, int], wanted: Callable[[Event, Event], bool]
) -> Race | None:
    """Return the last pair that has changed places, but not as a consequence."""
    spots = {place: spot for spot, (place, _, _) in enumerate(course)}
    behind: list[bool] = []  # whether it was late, or comes from what was
    found = None
    for spot, before in enumerate(_neighbours(course)):
        place, event, name = course[spot]
        mine = order.get(name, math.inf)
        swapped = [
            one
            for one in before
            if mine < order.get(course[one][2], -math.inf)
            and wanted(course[one][1], event)
        ]
        causes = [*before, spots[event.sent]] if event.sent in spots else before
        consequence = any(behind[one] for one in causes)
        if swapped and not consequence:
            found = course[swapped[-1]][0], place
        behind.append(consequence or bool(swapped))
    return found


def _neighbours(course: Course) -> Iterator[list[int]]:
    """Yield for each event the ones before it with which it may not change places.

    Only the nearest: the last that wrote what it touches, and who has read it since.
    """
    writer: dict[Touched, int] = {}
    readers: dict[Touched, list[int]] = {}
    for spot, (_, event, _) in enumerate(course):
        before: dict[int, None] = {}
        for touched, writes in event.footprint.items():
            if touched in writer:
                before[writer[touched]] = None
            if writes:
                before.update(dict.fromkeys(readers.pop(touched, ())))
                writer[touched] = spot
            else:
                readers.setdefault(touched, []).append(spot)
        yield sorted(before)


def told(event: Event) -> str:
    """Return an event in words: ``/bank <- Balance() from client-2``."""
    caption = caption_of(event)
    if event.kind in {"tick", "settled"} or not event.dst:
        return caption
    if event.kind in {"start", "fault"}:
        return f"{name_of(event.dst)} {caption}"
    origin = f"from {name_of(event.src)}" if event.src else ""
    words = [name_of(event.dst), "<-", caption, origin]
    return " ".join(word for word in words if word)


def race_text(failing: Run, race: Race) -> str:
    """Return what came before what, in two lines."""
    events = [*failing.trace, *(ghost.event for ghost in failing.ghosts)]
    lines: list[str] = []
    for place in race:
        when = (
            f"step {place}" if place < len(failing.trace) else "did not come any more"
        )
        lines.append(f"{told(events[place])}  ({when})")
    return f"  {lines[0]}\n  came before\n  {lines[1]}"


# --- A failure ---


def found(schedules: int, deviations: int, of: int | None = None) -> str:
    """Return the verdict on a failure.

    Args:
        schedules: How many there were until the failure, with it.
        deviations: In how many steps it does not take what was sent first.
        of: How many there are, if that is known.
    """
    tried = _many(schedules, "schedule")
    if of is not None:
        tried = f"{schedules:,} of {_many(of, 'schedule')}"
    after = f"found after {tried}"
    if not deviations:
        return f"{after}; it fails in FIFO order"
    return f"{after}; {_many(deviations, 'deviation')} from FIFO"


def failure_report(
    verdict: str,
    failing: Run,
    *,
    token: str,
    program: str,
    arguments: Sequence[str] = (),
    values: Mapping[str, str] = NO_VALUES,
    options: Sequence[str] = (),
    passing: Run | None = None,
) -> str:
    """Return all that there is to say of a failure.

    Args:
        verdict: Its first line.
        failing: The shortest run that fails; its events have their labels.
        token: What replays it.
        program: How the program is called in its module.
        arguments: The names of the program's further parameters.
        values: What those were that can be written down, in Python's words.
        options: The options of the search that a replay needs: ``timers="idle"``.
        passing: The nearest run that passes.
    """
    # Of what does not settle the last race says nothing, and takes long to find.
    is_endless = isinstance(failing.error, Unsettled)
    race = None if is_endless else race_of(failing, passing)
    parts = [verdict]
    if failing.error is not None:
        parts[0] += f"\n{_error_text(failing.error)}"
    if race is not None:
        parts.append(f"The race, marked with > below:\n{race_text(failing, race)}")
    if failing.trace:  # what fails at once has no steps
        parts.append(diagram(failing.trace, mark=race))
    parts.append(replay_text(token, options))
    test = regression_test(program, token, arguments, options, values).rstrip()
    parts.append(f"To keep it as a test:\n\n{test}")
    return "\n\n".join(parts) + "\n"


def _error_text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:
        text = f"<its text raised {type(broken).__name__}>"
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def replay_text(token: str, options: Sequence[str] = ()) -> str:
    """Return how to see a schedule again."""
    seeds = [f"--actors-{one}" for one in options if one.startswith("seed=")]
    command = " ".join(["pytest", f"--actors-replay={token}", *seeds])
    return f"To see it again:\n  {command}\n  {_decorator(token, options)}"


def _decorator(token: str, options: Sequence[str]) -> str:
    given = ", ".join([f'replay="{token}"', *options])
    return f"@explore({given})"


def regression_test(
    program: str,
    token: str,
    arguments: Sequence[str] = (),
    options: Sequence[str] = (),
    values: Mapping[str, str] = NO_VALUES,
) -> str:
    """Return a test to paste, which runs a program under one schedule.

    Args:
        program: How it is called in its module; of a test under ``@explore`` that is
            ``test_bank.__wrapped__``.
        token: What replays the schedule.
        arguments: The names of its further parameters.
        options: The options of the search that a replay needs: ``timers="idle"``.
        values: What those were that are no fixtures, in Python's words.
    """
    called = program.rpartition("<locals>.")[2]
    if not all(part.isidentifier() for part in called.split(".")):
        called = "program"  # of a lambda, say: its user knows what to write here
    words = re.sub(r"\W+", "_", _path(called))
    fixtures = [one for one in arguments if one not in values]
    named = [f"{one}={values.get(one, one)}" for one in arguments]
    given = ", ".join(["world", *(named if values else arguments)])
    if called.endswith(".__wrapped__") and (owner := _owner(called)):
        given = f"{owner}(), {given}"  # a method, which nobody has bound
    parameters = ", ".join(["world: World", *fixtures])
    faults = "Faults, " if any(one.startswith("faults=") for one in options) else ""
    return (
        f"from trio_actors.testing import {faults}World, explore\n\n\n"
        f"{_decorator(token, options)}\n"
        f"async def test_{words.removeprefix('test_')}_again({parameters}) -> None:\n"
        f"    await {called}({given})\n"
    )


def _path(called: str) -> str:
    """Return how a test is reached, without what lies in it."""
    return called.removesuffix(".__wrapped__").removesuffix(".hypothesis.inner_test")


def _owner(called: str) -> str:
    """Return the class of a test; nothing if it is no method."""
    return _path(called).rpartition(".")[0]


# --- No failure ---


def verified(
    schedules: int,
    classes: int,
    redundant: int,
    blocked: int = 0,
    *,
    caveats: Sequence[str] = (),
    doubts: Sequence[str] = (),
) -> str:
    """Return what is to be said when all orders were tried.

    Args:
        schedules: How many there were.
        classes: How many of them differ in more than the order of what is independent.
        redundant: How many were like another.
        blocked: How many were given up because they would have been like another.
        caveats: Under which conditions it holds: "timers only at quiescence".
        doubts: Why not all orders were tried after all: "a restart budget was reached".
    """
    counts = [
        _many(classes, "class"),
        _many(schedules, "schedule"),
        f"{redundant:,} redundant",
    ]
    if blocked:
        counts.append(f"{blocked:,} blocked")
    verdict = "verified"
    if doubts:
        verdict = f"no failure found, but not verified ({'; '.join(doubts)})"
    return f"{', '.join(counts)}: {verdict}{_with(caveats)}"


def sampled(
    schedules: int, met: Mapping[Hashable, int], *, caveats: Sequence[str] = ()
) -> str:
    """Return what is to be said when some orders were tried, and none failed.

    Args:
        schedules: How many there were.
        met: How often each class was met.
        caveats: Under which conditions it holds.
    """
    unseen = unseen_classes(list(met.values()))
    if unseen == math.inf:
        left = "no class was met twice: most are unseen"
    else:
        left = f"about {_many(round(unseen), 'class')} unseen (Good-Turing)"
    tried = f"{_many(schedules, 'schedule')}, {_many(len(met), 'class')}"
    return f"{tried}: no failure found{_with(caveats)}; {left}"


def stopped(
    schedules: int,
    classes: int,
    *,
    word: str = "stopped",
    caveats: Sequence[str] = (),
) -> str:
    """Return what is to be said when a search of all orders did not come to its end.

    Args:
        schedules: How many there were.
        classes: How many of them differ in more than the order of what is independent.
        word: What happened to the search.
        caveats: Under which conditions it holds.
    """
    return (
        f"{word} after {_many(schedules, 'schedule')}, {_many(classes, 'class')}: not"
        f" verified, no failure found so far{_with(caveats)}; to come to an end: more"
        " schedules=, fewer clients or messages, or reads_only=True where a handler"
        " changes nothing"
    )


def unseen_classes(counts: Sequence[int]) -> float:
    """Estimate how many classes were not met, from how often the others were.

    Good and Turing: the chance that the next one is new is about the share of those
    that were met once. Infinity if no class was met twice. It takes the classes for
    equally likely, which they are not: there are rather more.
    """
    once = sum(1 for count in counts if count == 1)
    if not once:
        return 0.0
    again = sum(counts) - once
    return len(counts) * once / again if again else math.inf


def _with(caveats: Sequence[str]) -> str:
    return f" ({'; '.join(caveats)})" if caveats else ""


def _many(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"
