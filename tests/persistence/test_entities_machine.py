"""Whatever is sent, paused, stopped and limited: each message once, and in order.

Issue item: passivated when idle or beyond a limit, without losing a message that
arrives meanwhile.
"""

import logging
import math
from contextlib import suppress
from typing import Any, TypeAlias

import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.persistence.bank import Account, Balance, Deposit
from tests.persistence.people import Do, Fail, Say, Town, sleeping
from trio_actors import (
    ActorFailed,
    ActorRef,
    Context,
    Mailbox,
    MailboxFull,
)
from trio_actors.persistence import Entities
from trio_actors.testing import Faults, World, check, run

Step: TypeAlias = tuple[str, Any]

KEYS = st.sampled_from(["a", "b", "c"])
SENDS = st.tuples(
    st.sampled_from(["tell", "nowait", "soon", "ask", "ask_nowait"]), KEYS
)
VERBS = ["stop", "kill", "drain", "restart", "leave"]
ENDS = st.tuples(st.sampled_from(VERBS), KEYS)
OTHERS = st.tuples(st.sampled_from(["work", "fail"]), KEYS)
PAUSES = st.tuples(st.just("pause"), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
TAPES = st.lists(
    st.lists(SENDS | SENDS | ENDS | OTHERS | PAUSES, max_size=12),
    min_size=1,
    max_size=3,
)


async def leave(context: Context[Any]) -> None:
    context.stop()
    await trio.sleep(0.5)


class Player:
    """A sender that plays its tape."""

    def __init__(
        self,
        number: int,
        people: Entities[Any],
        failures: list[int],
        *,
        has_room: bool,
    ) -> None:
        self.number = number
        self.has_room = has_room  # always: then tell_soon() loses nothing
        self.people = people
        self.failures = failures  # how many may still come: more end an entity
        self.sent: dict[str, list[str]] = {"a": [], "b": [], "c": []}
        self.asked: list[Any] = []
        self.count = 0

    async def play(self, tape: list[Step]) -> None:
        for verb, what in tape:
            if verb == "pause":
                await trio.sleep(what)
            else:
                await self.do(verb, what, self.people.get(what))
        for one in self.asked:
            with suppress(ActorFailed):  # it was killed in the middle, or has failed
                await one

    async def do(self, verb: str, key: str, ref: ActorRef[Any]) -> None:
        self.count += 1
        message = Say(f"{self.number}-{self.count}")
        try:
            match verb:
                case "tell":
                    await ref.tell(message)
                case "nowait":
                    ref.tell_nowait(message)
                case "ask":
                    await ref.ask(message)
                case "ask_nowait":
                    self.asked.append(ref.ask_nowait(message))
                case "work":
                    self.asked.append(ref.ask_nowait(sleeping(2)))
                case "leave":
                    self.asked.append(ref.ask_nowait(Do(leave)))
                case "fail":
                    if self.failures:
                        self.failures.pop()
                        self.asked.append(ref.ask_nowait(Fail()))
                case "soon":
                    if self.has_room:
                        ref.tell_soon(message)
                        self.sent[key].append(message.text)
                case _:
                    getattr(ref, verb)()
        except MailboxFull:
            return
        if verb in ("tell", "nowait", "ask", "ask_nowait"):
            self.sent[key].append(message.text)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tapes=TAPES,
    limit=st.sampled_from([1, 2, 100]),
    idle_after=st.sampled_from([0.5, 2.0, math.inf]),
    goodbye=st.sampled_from([0.0, 1.0]),
    capacity=st.sampled_from([1, 2, 1024]),
)
def test_each_message_is_handled_once_and_in_order(
    tapes: list[list[Step]],
    limit: int,
    idle_after: float,
    goodbye: float,
    capacity: int,
) -> None:
    logging.getLogger("trio_actors").setLevel(logging.CRITICAL)

    async def program(world: World) -> None:
        town = Town(goodbye=goodbye, mailbox=Mailbox(capacity))
        people = Entities(world, town, name="p", limit=limit, idle_after=idle_after)
        failures = [0, 0, 0]
        players = [
            Player(number, people, failures, has_room=capacity > 100)
            for number in range(len(tapes))
        ]
        for player, tape in zip(players, tapes, strict=True):
            world.client(player.play, tape)
        await world.settled()
        for key in "abc":
            said = town.said(f"/p/{key}")
            for player in players:
                own = [one for one in said if one.startswith(f"{player.number}-")]
                assert own == player.sent[key]
            assert len(said) == sum(len(player.sent[key]) for player in players)
        if idle_after < math.inf:
            await trio.sleep(10)
            assert world.snapshot().children[0].children == ()

    try:
        run(program)
    finally:
        logging.getLogger("trio_actors").setLevel(logging.NOTSET)


# --- In all orders --------------------------------------------------------------


def test_a_stop_among_questions_in_all_orders() -> None:
    async def program(world: World) -> None:
        town = Town()
        ada = Entities(world, town, name="p", idle_after=math.inf).get("ada")

        async def ask(*texts: str) -> None:
            for text in texts:
                await ada.ask(Say(text))

        async def stop() -> None:
            ada.stop()

        world.client(ask, "1", "2")
        world.client(ask, "3")
        world.client(stop)
        await world.settled()
        said = town.said("/p/ada")
        assert sorted(said) == ["1", "2", "3"]
        assert said.index("1") < said.index("2")

    found = check(program, exhaustive=True, schedules=20_000)
    assert found.verified, str(found)


def test_a_limit_in_all_orders() -> None:
    async def program(world: World) -> None:
        town = Town()
        people = Entities(world, town, name="p", limit=1, idle_after=math.inf)

        async def tell(key: str) -> None:
            for text in "12":
                await people.get(key).tell(Say(text))

        world.client(tell, "a")
        world.client(tell, "b")
        await world.settled()
        assert town.said("/p/a") == town.said("/p/b") == ["1", "2"]

    found = check(program, exhaustive=True, timers="idle")
    assert found.verified, str(found)


def test_crashes_and_timers_at_any_time() -> None:
    """What was acknowledged is there; what was not, is there once at most."""

    async def program(world: World) -> None:
        accounts = Entities(world, Account, limit=1, idle_after=5)
        acknowledged = [0, 0]

        async def deposit(number: int) -> None:
            for _ in range(2):
                with suppress(ActorFailed):
                    await accounts.get(str(number)).ask(Deposit(1))
                    acknowledged[number] += 1
                await trio.sleep(5)

        world.client(deposit, 0)
        world.client(deposit, 1)
        await world.settled()
        for number in (0, 1):
            with suppress(ActorFailed):
                balance = await accounts.get(str(number)).ask(Balance())
                assert acknowledged[number] <= balance <= 2

    found = check(program, schedules=150, faults=Faults(crash=1), timers="race")
    assert found.failure is None, found.failure
