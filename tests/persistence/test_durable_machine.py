"""Any handler, any fault, any end: what has left is stored, and memory is a replay."""

from contextlib import suppress
from typing import Any, Literal

import attrs
import trio
from hypothesis import given, settings, strategies as st

from tests.persistence.ledger import Added, Do, Ledger, Read, Refused, stored
from trio_actors import Actor, ActorError, Supervision, handler
from trio_actors.persistence import MemoryJournal
from trio_actors.testing import World, check

Words = tuple[str, ...]
Act = Literal["persist", "sleep", "flush", "tell", "scope", "tasks", "refuse", "fail"]
ACTS: tuple[Act, ...] = (
    "persist",
    "persist",
    "sleep",
    "flush",
    "tell",
    "scope",
    "tasks",
    "refuse",
    "fail",
)


@attrs.frozen
class Plan:
    """What one run does."""

    commands: tuple[tuple[Act, ...], ...]
    ids: bool
    delay: float
    skip: int
    faults: int
    after_commit: bool
    cut: Literal["restart", "leave", "none"]
    at: float
    directive: Literal["resume", "restart"]


PLANS = st.builds(
    Plan,
    commands=st.lists(
        st.lists(st.sampled_from(ACTS), max_size=6).map(tuple), min_size=1, max_size=3
    ).map(tuple),
    ids=st.booleans(),
    delay=st.sampled_from([0.0, 0.3]),
    skip=st.integers(0, 4),
    faults=st.integers(0, 1),
    after_commit=st.booleans(),
    cut=st.sampled_from(["restart", "leave", "none"]),
    at=st.sampled_from([0.1, 0.4, 0.9, 1.3]),
    directive=st.sampled_from(["resume", "restart"]),
)


@attrs.frozen
class Told:
    """What the sender has stored before it told this."""

    words: Words


class Listener(Actor[Told]):
    def __init__(self, heard: list[Words]) -> None:
        self.heard = heard

    @handler
    def told(self, message: Told) -> None:
        self.heard.append(message.words)


class Script:
    """A command of a plan, as a handler runs it."""

    def __init__(self, number: int, acts: tuple[Act, ...], listener: Any) -> None:
        self.number = number
        self.acts = acts
        self.listener = listener
        self.runs = 0

    async def __call__(self, ledger: Ledger) -> list[str]:
        self.runs += 1
        mine: list[str] = []

        async def add(name: str) -> None:
            word = f"{self.number}.{self.runs}.{name}"
            await ledger.persist(Added(word))
            mine.append(word)

        for place, act in enumerate(self.acts):
            await self._do(act, f"{place}", ledger, add, mine)
        return mine

    async def _do(
        self, act: Act, name: str, ledger: Ledger, add: Any, mine: list[str]
    ) -> None:
        match act:
            case "persist":
                await add(name)
            case "sleep":
                await trio.sleep(0.5)
            case "flush":
                await ledger.persist()
            case "tell":
                await self.listener.tell(Told(tuple(mine)))
            case "scope":
                with trio.move_on_after(0.2):
                    await add(name)
                    await trio.sleep(1)
            case "tasks":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(add, f"{name}a")
                    nursery.start_soon(add, f"{name}b")
            case "refuse":
                raise Refused
            case "fail":
                raise KeyError(name)


async def run(world: World, plan: Plan) -> None:
    journal = MemoryJournal()
    world.use(journal)
    journal.delay(plan.delay)
    journal.fail_next(plan.faults, skip=plan.skip, after_commit=plan.after_commit)
    rules = Supervision(directives={Exception: plan.directive}, max_restarts=20)
    top = await world.spawn_supervisor(supervision=rules, name="top")
    ledger = await top.spawn(Ledger, name="ledger")
    heard: list[Words] = []
    listener = await world.spawn(Listener, heard)
    answers: list[list[str]] = []
    asker = trio.CancelScope()

    async def ask() -> None:
        with asker:
            for number, acts in enumerate(plan.commands):
                command = Do(
                    Script(number, acts, listener), str(number) if plan.ids else ""
                )
                for _ in range(1 + plan.ids):
                    with suppress(ActorError, Refused):
                        answers.append(await ledger.ask(command))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(plan.at)
        if plan.cut == "restart":
            ledger.restart()
        elif plan.cut == "leave":
            asker.cancel()
    await world.settled()
    kept = await stored(journal, "/top/ledger")
    assert await ledger.ask(Read()) == kept, "memory is what a replay gives"
    assert len(set(kept)) == len(kept), "nothing is stored twice"
    for answer in answers:
        assert set(answer) <= set(kept), "what was answered is stored"
    if plan.ids:
        runs = {word.split(".")[0]: word.split(".")[1] for word in kept}
        for word in kept:
            number, run_of_it, _ = word.split(".")
            assert runs[number] == run_of_it, "a command with an id is done once"
    for told in heard:
        assert set(told) <= set(kept), "what was told after it was stored is stored"
    ledger.restart()
    assert await ledger.ask(Read()) == kept


@settings(max_examples=150)
@given(plan=PLANS)
def test_what_has_left_is_stored_and_memory_is_what_a_replay_gives(plan: Plan) -> None:
    """PER-1, PER-3: for any handlers, with one write that fails and one cut."""

    async def program(world: World) -> None:
        await run(world, plan)

    found = check(program, schedules=1, timers="idle")
    assert found.failure is None, (plan, found.failure)
