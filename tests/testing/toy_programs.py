"""Programs for the toy: those whose numbers are known, and random ones.

``python -m tests.testing.toy_programs rsdgxwmbq 0 1000`` compares optimal DPOR with all
orders, without any reduction, for 1,000 random programs with these features.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from random import Random
from typing import Any, TypeAlias

import attrs

from tests.testing.toy import DEFER, Body, Cell, Program, Tally, Toy, Turn, explore
from trio_actors.testing._dpor import Optimal
from trio_actors.testing._search import Depth, NotRepeatable

# --- Whose numbers are known ------------------------------------------------------


def is_get(body: Body) -> bool:
    return bool(body[0] == "get")


def register(me: Cell, body: Body) -> Any:
    """``("get",)`` or ``("set", value)``."""
    if not is_get(body):
        me.state = body[1]
    return me.state


def lost_update(clients: int) -> Program:
    """Each client reads the counter, and writes back one more."""

    def increment(me: Cell) -> Turn:
        value = yield me.ask("counter", ("get",))
        yield me.ask("counter", ("set", value + 1))

    def program(toy: Toy) -> None:
        toy.actor("counter", register, reads=is_get)
        for number in range(clients):
            toy.client(f"client-{number}", increment)

    return program


def readers(count: int) -> Program:
    """One writes and *count* read, of a register: 2 ** count classes."""

    def write(me: Cell) -> Turn:
        me.tell("register", ("set", 1))
        yield from ()

    def read(me: Cell) -> Turn:
        return (yield me.ask("register", ("get",)))

    def program(toy: Toy) -> None:
        toy.actor("register", register, reads=is_get)
        toy.client("client-w", write)
        for number in range(count):
            toy.client(f"client-{number}", read)

    return program


def last_zero(count: int) -> Program:
    """Concuerror's: writers copy one more of their left; a reader looks for the 0."""

    def look(me: Cell) -> Turn:
        at = count
        while (yield me.ask(f"cell-{at}", ("get",))):
            at -= 1
        return at

    def write(at: int) -> Callable[[Cell], Turn]:
        def client(me: Cell) -> Turn:
            left = yield me.ask(f"cell-{at - 1}", ("get",))
            me.tell(f"cell-{at}", ("set", left + 1))

        return client

    def program(toy: Toy) -> None:
        for at in range(count + 1):
            toy.actor(f"cell-{at}", register, reads=is_get)
        toy.client("client-r", look)
        for at in range(1, count + 1):
            toy.client(f"client-{at}", write(at))

    return program


def fork(me: Cell, body: Body) -> Any:
    if body == "take":
        if me.state:
            return DEFER
        me.state = 1
    elif me.deferred:
        me.answer(me.deferred.pop(0), "taken")
    else:
        me.state = 0
    return "taken"


def philosophers(count: int) -> Program:
    """Each takes the left fork, and then the right one."""

    def eat(at: int) -> Callable[[Cell], Turn]:
        def client(me: Cell) -> Turn:
            left, right = f"fork-{at}", f"fork-{(at + 1) % count}"
            yield me.ask(left, "take")
            yield me.ask(right, "take")
            me.tell(left, "put")
            me.tell(right, "put")
            return "has eaten"

        return client

    def program(toy: Toy) -> None:
        for at in range(count):
            toy.actor(f"fork-{at}", fork)
        for at in range(count):
            toy.client(f"client-{at}", eat(at))

    return program


# --- Random ones ------------------------------------------------------------------

Op: TypeAlias = tuple[Any, ...]

FEATURES = {
    "r": "messages that only read",
    "s": "several asks in flight",
    "d": "deferred answers",
    "g": "sweeps: a step restarts others, whatever they do",
    "x": "stops, also in mid-turn",
    "w": "watches",
    "m": "timers, sleep, looks at the clock",
    "b": "bounded mailboxes",
    "q": "waiting until all is quiet",
    "c": "what is done depends on what came before",
}


@attrs.frozen
class Spec:
    """A random program, to be printed."""

    rooms: dict[str, int | None]
    """The actors: how many messages each has room for."""
    clients: list[list[Op]]


class Maker:
    """Makes a program."""

    def __init__(self, random: Random, features: str) -> None:
        self.random = random
        self.features = features
        self.left = random.randint(3, 7)
        self.actors = "abc"[: random.randint(1, 3)]

    def make(self) -> Spec:
        rooms = {name: self._room() for name in self.actors}
        clients = [[self._op(2)] for _ in range(self.random.choice((2, 2, 3)))]
        while self.left > 0:
            self.random.choice(clients).append(self._op(2))
        return Spec(rooms, clients)

    def _room(self) -> int | None:
        if "b" in self.features and self.random.random() < 0.5:
            return self.random.randint(1, 2)
        return None

    def _verbs(self, *, client: bool) -> list[str]:
        verbs = ["tell", "tell", "ask", "ask"]
        for letter, more in (("s", "two"), ("x", "stop"), ("g", "sweep")):
            if letter in self.features:
                verbs.append(more)
        if "m" in self.features:
            verbs += ["now", "sleep"]
        if client:
            return verbs + ["settled"] * ("q" in self.features)
        if "m" in self.features:
            verbs += ["after", "after", "cancel"]
        if "d" in self.features:
            verbs += ["defer", "answer", "answer"]
        if "c" in self.features:
            verbs += ["when", "when", "when"]
        return verbs + ["watch"] * ("w" in self.features)

    def _op(self, level: int, *, client: bool = True) -> Op:
        self.left -= 1
        random = self.random
        verb = random.choice(self._verbs(client=client))
        match verb:
            case "tell" | "ask":
                return verb, random.choice(self.actors), self._body(level)
            case "two":
                first = random.choice(self.actors), self._body(level)
                return verb, *first, random.choice(self.actors), self._body(level)
            case "stop" | "watch":
                return verb, random.choice(self.actors)
            case "sweep":
                return verb, [one for one in self.actors if random.random() < 0.7]
            case "after":
                return verb, random.randint(1, 2), self._body(level)
            case "sleep":
                return verb, random.randint(1, 2)
            case "when":
                return verb, random.randint(0, 1), self._op(level, client=False)
            case _:
                return (verb,)

    def _body(self, level: int) -> Body:
        if "r" in self.features and self.random.random() < 0.3:
            return ("get",)
        number, ops = self.random.randint(1, 9), list[Op]()
        while level and self.left > 0 and self.random.random() < 0.55:
            ops.append(self._op(level - 1, client=False))
        return "do", number, tuple(ops)


def play(
    me: Cell, ops: Iterable[Op], log: Callable[[Any], None]
) -> Generator[Any, Any, Any]:
    """Do what a script says; what is seen is logged."""
    result = None
    for verb, *args in ops:
        if verb == "ask":
            log((yield me.ask(*args)))
        elif verb == "two":
            tickets = me.ask(*args[:2]), me.ask(*args[2:])
            for ticket in tickets:
                log((yield ticket))
        elif verb in ("sleep", "settled"):
            yield getattr(me, verb)(*args)
        elif verb == "defer":
            result = DEFER
        elif verb == "when":
            if me.state % 2 == args[0]:
                result = yield from play(me, args[1:], log)
        elif verb != "answer":
            log(getattr(me, verb)(*args))
        elif me.deferred:
            me.answer(me.deferred.pop(0), ("late", me.state))
    return result


def handle(me: Cell, body: Body) -> Any:
    """A handler whose state tells two orders of anything apart."""
    if is_get(body):
        return me.state

    def mix(seen: Any) -> None:
        me.state = (me.state * 31 + sum(map(ord, repr(seen)))) % 100_003

    mix(body)
    if body[0] != "do" or not body[2]:
        return me.state

    def turn() -> Turn:
        result = yield from play(me, body[2], mix)
        return result if result is DEFER else me.state

    return turn()


def perform(spec: Spec) -> Program:
    """Return the program that a spec describes."""

    def client(ops: list[Op]) -> Callable[[Cell], Turn]:
        def script(me: Cell) -> Turn:
            seen: list[Any] = []
            yield from play(me, ops, seen.append)
            return seen

        return script

    def program(toy: Toy) -> None:
        for name, room in spec.rooms.items():
            toy.actor(name, handle, reads=is_get, room=room)
        for number, ops in enumerate(spec.clients):
            toy.client(f"client-{number}", client(ops))

    return program


# --- Searches compared ------------------------------------------------------------


@attrs.frozen
class Compared:
    """What two searches have seen of a program."""

    spec: Spec
    raw: Tally
    optimal: Tally | None = None
    error: NotRepeatable | None = None

    @property
    def is_sound(self) -> bool:
        """Whether the reduced search has seen what there is: first of all, outcomes."""
        return (
            self.optimal is not None
            and self.optimal.complete
            and self.optimal.outcomes == self.raw.outcomes
            and self.optimal.classes == self.raw.classes
        )


def compare(
    random: Random,
    features: str,
    *,
    limit: int = 1000,
    race: bool = True,
    mistakes: frozenset[str] = frozenset(),
) -> Compared:
    """Compare the searches of a random program that has at most *limit* schedules."""
    spec = Maker(random, features).make()
    program = perform(spec)
    raw = explore(program, Depth(), limit=limit, race=race)
    if not raw.complete:
        return Compared(spec, raw)
    # It may be less than optimal, but it ends.
    bound = 2 * raw.runs + 100
    try:
        optimal = explore(program, Optimal(), limit=bound, race=race, mistakes=mistakes)
    except NotRepeatable as error:
        return Compared(spec, raw, error=error)
    return Compared(spec, raw, optimal)


def main(features: str, first: int, last: int, *, race: bool = True) -> None:
    """Compare many programs; print those that differ, and the sums."""
    programs = wrong = classes = redundant = blocked = 0
    for seed in range(first, last):
        both = compare(Random(f"{features} {seed}"), features, race=race)
        if not both.raw.complete:
            continue
        programs += 1
        if not both.is_sound:
            wrong += 1
            print("WRONG", seed, both)
        if both.optimal is not None:
            classes += len(both.optimal.classes)
            redundant += both.optimal.redundant
            blocked += both.optimal.blocked
    print(
        f"{features!r}: {programs} programs, {wrong} wrong; {classes} classes,"
        f" {redundant} redundant, {blocked} blocked"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), race="idle" not in sys.argv)
