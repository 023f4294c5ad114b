"""Programs that are only rules: for what decides, without what is decided.

Each channel (a sender and a receiver) keeps its order. A step is what the rule does
with one word: it sends others.
"""

from collections.abc import Callable, Iterator

import attrs

from trio_actors.testing._events import Event, Run, Search


@attrs.frozen
class Word:
    """Something sent; ``at`` says when, ``step`` in which step."""

    at: int
    src: str
    dst: str
    text: str
    step: int


Rule = Callable[[str, list[str]], list[tuple[str, str]]]
"""What an actor does: from its name and all texts so far, of which the last is the one
it has got, to what it sends, and to whom."""


def nothing(_actor: str, _texts: list[str]) -> list[tuple[str, str]]:
    return []


@attrs.frozen
class Program:
    """Who sends what at the start, what comes of it, and which end is right."""

    first: list[tuple[str, str, str]]
    """From whom, to whom, what."""
    holds: Callable[[list[str]], bool]
    """Whether an end is right: from all texts, in the order of their arrival."""
    rule: Rule = nothing
    losses: int = 0
    """How many words may be lost."""


class Post:
    """One run: what is on its way, and what has arrived."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.on_the_way: list[Word] = []
        self.arrived: list[str] = []
        self.lost = 0
        self._sent = 0
        for src, dst, text in program.first:
            self._send(src, dst, text, -1)

    def _send(self, src: str, dst: str, text: str, step: int) -> None:
        self.on_the_way.append(Word(self._sent, src, dst, text, step))
        self._sent += 1

    def heads(self) -> Iterator[Word]:
        seen: set[tuple[str, str]] = set()
        for word in self.on_the_way:
            if (word.src, word.dst) not in seen:
                seen.add((word.src, word.dst))
                yield word

    def enabled(self) -> list[tuple[Event, Word]]:
        heads = list(self.heads())
        events = [(event_of("message", word), word) for word in heads]
        if self.lost < self.program.losses:
            events += [(event_of("fault", word), word) for word in heads]
        return events

    def do(self, event: Event, word: Word, step: int) -> None:
        self.on_the_way.remove(word)
        if event.kind == "fault":
            self.lost += 1
            return
        self.arrived.append(word.text)
        for dst, text in self.program.rule(word.dst, self.arrived):
            self._send(word.dst, dst, text, step)


def event_of(kind: str, word: Word) -> Event:
    return Event(
        (kind, word.src, word.dst),
        "fault" if kind == "fault" else "message",
        word.dst,
        {("turn", word.dst): True},
        sent=word.step,
        src=word.src,
        label=word.text,
    )


def run(program: Program, search: Search) -> Run:
    """Run *program* once. The search does not learn from it yet."""
    post, done = Post(program), Run()
    while enabled := post.enabled():
        place = search.choose(done.trace, [event for event, _ in enabled])
        event, word = enabled[place]
        post.do(event, word, len(done.trace))
        done.trace.append(event)
        done.ranks.append(place)
    done.outcome = tuple(post.arrived)
    if not program.holds(post.arrived):
        done.error = AssertionError(*post.arrived)
    return done


def runs(program: Program, search: Search, count: int) -> Iterator[Run]:
    """Run *program* as often as the search wants to, but at most *count* times."""
    for _ in range(count):
        yield (done := run(program, search))
        if not search.learn(done):
            return


def fails_at(program: Program, search: Search, limit: int) -> int:
    """Return the number of the first run that fails, from 0; *limit* if none does."""
    for number, done in enumerate(runs(program, search, limit)):
        if done.error is not None:
            return number
    return limit


# --- Some programs --------------------------------------------------------------


def unless_all(*pairs: tuple[str, str], senders: int, words: int) -> Program:
    """All send to one. Fails when of each pair the first arrives before the second.

    The third word of the second sender is "12": both count from 0.
    """
    return Program(
        [
            (f"sender-{sender}", "one", f"{sender}{word}")
            for word in range(words)
            for sender in range(senders)
        ],
        lambda texts: (
            not all(texts.index(one) < texts.index(other) for one, other in pairs)
        ),
    )


def late(steps: int) -> Program:
    """Two send a ball to and fro, and then "set": it should not come before "check".

    The shape of figure 5 of Shuttle's documentation: a walk must let the same word
    wait for all of the steps.
    """

    def rule(actor: str, texts: list[str]) -> list[tuple[str, str]]:
        if texts[-1] in {"set", "check"}:
            return []
        left = int(texts[-1]) - 1
        if not left:
            return [("cell", "set")]
        return [("ping" if actor == "pong" else "pong", f"{left}")]

    return Program(
        [("client-1", "ping", f"{steps}"), ("client-2", "cell", "check")],
        lambda texts: texts.index("set") > texts.index("check"),
        rule,
    )


def endless_until_told() -> Program:
    """Somebody sends to himself until another's word arrives."""

    def rule(actor: str, texts: list[str]) -> list[tuple[str, str]]:
        return [("loop", "again")] if actor == "loop" and "enough" not in texts else []

    return Program(
        [("client-1", "loop", "begin"), ("client-2", "other", "enough")],
        lambda texts: True,
        rule,
    )
