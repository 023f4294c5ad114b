"""Random programs: each is made of a seed and of features, by letters.

Rules of this file:

* The same letters and the same seed make the same program, everywhere.
* What is rare by chance is chosen often: half of the things done in handlers are not
  messages.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

import attrs

from tests.testing.hands import Do, Look, Op, Ops, Part, Program, Quick, Tied
from trio_actors import Backoff, Supervision

T = TypeVar("T")

FEATURES = {
    "t": "tell",
    "a": "ask",
    "r": "messages that read only",
    "n": "handlers that send",
    "s": "several asks in flight",
    "d": "deferred replies",
    "w": "watches, and waiting for an end",
    "x": "stop and drain",
    "c": "children",
    "h": "actors started by clients",
    "b": "bounded mailboxes",
    "m": "timers",
    "o": "deadlines and sleep",
    "k": "kill",
    "R": "restart by hand",
    "f": "failures",
    "C": "crashes that the test asks for",
    "g": "a supervisor with strategy and limit",
    "G": "that, with pauses",
    "l": "links",
    "z": "stash",
    "B": "become",
    "F": "forward",
    "i": "tasks beside the handlers",
    "H": "hooks that do something",
    "u": "handlers that are cancelled with their askers",
    "q": "plain actors",
    "Q": "function actors",
    "P": "pools",
    "K": "keys and services",
    "T": "topics",
    "N": "random numbers",
    "Y": "two tasks that ask at once, and then the one that waits for them",
    "2": "a second group of clients",
    "e": "a test that does something itself",
    "p": "a planned crash",
    "E": "messages come in the order of their sending, whoever sent them",
    "I": "time passes only when nothing else can happen",
}

VERBS: dict[str, tuple[tuple[str, str], ...]] = {
    # letter: (verb, who can do it: c a client, p a plain handler, a an async one)
    "t": (("tell", "ca"), ("tell", "ca"), ("tell_soon", "p"), ("tell_now", "cpa")),
    "a": (("ask", "ca"), ("ask", "ca"), ("begin", "p")),
    "b": (("tell_now", "cpa"), ("tell", "ca"), ("tell_all", "c")),
    "s": (("begin", "ca"), ("first", "ca"), ("last", "ca"), ("drop", "ca")),
    "d": (("defer", "pa"), ("defer", "pa"), ("reply", "pa"), ("reply", "pa")),
    "w": (("watch", "pa"), ("unwatch", "pa"), ("unwatch", "pa"), ("wait", "c")),
    "x": (("stop", "cpa"), ("leave", "pa"), ("drain", "c")),
    "c": (("spawn", "a"), ("spawn_now", "pa"), ("family", "pa"), ("family", "pa")),
    "h": (("hire", "c"),),
    "m": (("after", "pa"), ("after", "pa"), ("every", "p"), ("cancel", "pa")),
    "o": (("within", "ca"), ("sleep", "ca"), ("time", "cpa"), ("tell_within", "c")),
    "k": (("kill", "cpa"),),
    "R": (("restart", "cpa"),),
    "f": (("fail", "pa"),),
    "C": (("crash", "cpa"),),
    "l": (("link", "pa"),),
    "z": (("stash", "pa"), ("unstash", "pa")),
    "B": (("become", "pa"),),
    "F": (("hand_on", "pa"),),
    "i": (("beside", "pa"),),
    "K": (("register", "pa"), ("unregister", "pa"), ("service", "c"), ("served", "c")),
    "T": (("subscribe", "pa"), ("unsubscribe", "pa"), ("publish", "cpa")),
    "N": (("chance", "cpa"),),
    "Y": (("both", "ca"),),
}

SENDS = ("tell", "tell_soon", "tell_now", "ask", "begin", "hand_on")
NAMES = (
    "stop",
    "kill",
    "restart",
    "drain",
    "wait",
    "watch",
    "unwatch",
    "link",
    "crash",
)


class Maker:
    """Makes a program from a seed and the letters of what it may have."""

    def __init__(self, letters: str, seed: int, size: int = 6) -> None:
        self.letters = letters
        self.random = random.Random(f"{letters} {seed}")
        self.left = self.random.randrange(2, size + 1)
        self.number = 0
        self.parts: list[Part] = []

    def program(self) -> Program:
        count = self._one((1, 2, 2))
        self.parts = [self._part(name) for name in "ab"[:count]]
        rules = self._rules() if self._has("gG") else None
        phases = [self._clients()]
        if self._has("2"):
            self.left = 2
            phases.append(self._clients())
        test = (self._op("c", 0),) if self._has("e") else ()
        if self._has("H"):
            self.parts = [self._with_hooks(part) for part in self.parts]
        rest = self._one((0.0, 10.0)) if self._has("m") else 0.0
        return Program(tuple(self.parts), tuple(phases), rules, rest, test)

    def _has(self, letters: str) -> bool:
        return any(letter in self.letters for letter in letters)

    def _one(self, these: Sequence[T]) -> T:
        return self.random.choice(these)

    def _part(self, name: str) -> Part:
        kinds = {"q": ("plain", "bare"), "Q": ("function",), "P": ("pool",)}
        mine = [kind for letter in self.letters for kind in kinds.get(letter, ())]
        part = Part(name, self._one(["player", "player", *mine]))
        if self._has("b"):
            part = attrs.evolve(
                part,
                capacity=self._one((1, 1, 2)),
                overflow=self._one(
                    ("block", "block", "fail", "drop_new", "drop_oldest")
                ),
            )
        if self._has("f"):
            kind = self._one(("transient",) * 4 + ("permanent", "temporary"))
            part = attrs.evolve(part, restart=kind)
        return attrs.evolve(part, start=self._beginning(name))

    def _beginning(self, name: str) -> Ops:
        """Let there be somebody to lose from the start, in half of the programs."""
        first: Ops = ()
        if self._has("c") and name == "a" and self.random.random() < 0.5:
            first += (("spawn_now",),)
        if self._has("w") and name != "a" and self.random.random() < 0.5:
            first += (("watch", "a"),)
        return first

    def _with_hooks(self, part: Part) -> Part:
        start = self._few("p", 1) if self.random.random() < 0.5 else ()
        return attrs.evolve(part, start=start, end=self._few("p", 1))

    def _rules(self) -> Supervision:
        return Supervision(
            self._one(("one_for_one", "one_for_all", "rest_for_one")),
            max_restarts=self._one((0, 1, 1, 3)),
            backoff=Backoff(1, 2, jitter=0) if self._has("G") else None,
        )

    def _clients(self) -> tuple[Ops, ...]:
        """Give each client its things to do; how many there are is shared by all."""
        found: list[list[Op]] = [
            [self._op("c", 0)] for _ in range(self._one((2, 2, 3)))
        ]
        while self.left > 0:
            self._one(found).append(self._op("c", 0))
        return tuple(tuple(ops) for ops in found)

    def _few(self, who: str, depth: int) -> Ops:
        ops: list[Op] = []
        while self.left > 0 and self.random.random() < 0.7 and len(ops) < 3:
            ops.append(self._op(who, depth))
        return tuple(ops)

    def _op(self, who: str, depth: int) -> Op:
        self.left -= 1
        choices: dict[str, list[str]] = {}
        for letter in self.letters:
            for verb, whose in VERBS.get(letter, ()):
                if who in whose and self._may(verb, depth):
                    choices.setdefault(letter, []).append(verb)
        if not choices:
            return ("time",)
        letter = self._one(list(choices))
        if letter in "ta" and depth:
            letter = self._one(list(choices))  # rather something else
        verb = self._one(choices[letter])
        return verb, *self._arguments(verb, depth)

    def _may(self, verb: str, depth: int) -> bool:
        """Whether it can be done so deep in a message."""
        if verb == "hand_on":
            return depth < 3
        ways = ("within", "after", "every", "publish", "beside", "both")
        sends = verb in (*SENDS, *ways)
        return depth == 0 or not sends or (self._has("nmTi") and depth < 3)

    def _arguments(self, verb: str, depth: int) -> Op:
        to = self._target()
        if verb in SENDS:
            return to, self._message(to, depth)
        if verb == "unwatch" and self.random.random() < 0.7:
            return ("a",)  # see _beginning()
        if verb in NAMES:
            return (to,)
        match verb:
            case "tell_all" | "both":
                return to, self._message(to, depth), self._message(to, depth)
            case "within" | "tell_within":
                return self._one((1, 2)), to, self._message(to, depth)
            case "after" | "every":
                message = self._message("self", depth)
                return self._one((1, 2)), message, self._one("uv")
            case "sleep":
                return (self._one((1, 1, 2, 7)),)
            case "cancel":
                return (self._one("uv"),)
            case "service" | "served" | "publish":
                return (self._message("self", depth),)
            case "hire":
                return ("c",)
            case "beside":
                return (self._few("a", depth + 1),)
            case _:
                return ()

    def _target(self) -> str:
        above = "/sup" if self._has("gG") else ""
        rare: list[str] = []
        if self._has("c"):
            rare.append(f"{above}/{self.parts[0].name}/c1")
        if self._has("h"):
            rare.append("/c")
        if above and self._has("xkR"):
            rare.append("/sup")
        if rare and self.random.random() < (0.5 if self._has("c") else 0.25):
            return self._one(rare)
        return self._one(self.parts).name

    def _message(self, to: str, depth: int) -> Do | Tied | Quick | Look:
        if self._has("r") and self.random.random() < 0.4:
            return Look()
        self.number += 1
        number = self.number
        kinds = {part.name: part.kind for part in self.parts}
        plain = kinds.get(to) in ("plain", "bare") or to == "self"
        if plain or self.random.random() < 0.3:
            return Quick(number, self._few("p", depth + 1))
        kind = Tied if self._has("u") and self.random.random() < 0.6 else Do
        return kind(number, self._few("a", depth + 1))


def make(letters: str, seed: int, size: int = 6) -> Program:
    """Make a program."""
    return Maker(letters, seed, size).program()
