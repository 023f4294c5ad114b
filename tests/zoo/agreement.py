"""Several that should agree: on a commit, a leader, the holder of a lock."""

import attrs

from tests.zoo.animal import Animal, Clerk, after
from trio_actors import (
    Actor,
    Reply,
    Request,
    handler,
)
from trio_actors.testing import World

# --- Two-phase commit: a promise that is taken back ---------------------------


@attrs.frozen
class Prepare(Request[bool]): ...


@attrs.frozen
class Decide(Request[None]):
    commit: bool


@attrs.frozen
class GiveUp: ...


@attrs.frozen
class State(Request[str]): ...


class Participant(Actor[Prepare | Decide | GiveUp | State]):
    """May give up until it has promised."""

    def __init__(self, patience: float) -> None:
        self.state = "open"
        self.patience = patience

    async def started(self) -> None:
        self.context.send_after(self.patience, GiveUp())

    @handler
    def prepare(self, message: Prepare) -> bool:
        if self.state == "open":
            self.state = "promised"
        return self.state == "promised"

    @handler
    def decide(self, message: Decide) -> None:
        if self.state != "aborted":
            self.state = "committed" if message.commit else "aborted"

    @handler
    def give_up(self, message: GiveUp) -> None:
        if self.state == "open":
            self.state = "aborted"

    @handler
    def get_state(self, message: State) -> str:
        return self.state


class FickleParticipant(Participant):
    @handler
    def give_up(self, message: GiveUp) -> None:
        if self.state != "committed":
            self.state = "aborted"


async def two_phase_commit(world: World, part: type[Participant]) -> None:
    both = [await world.spawn(part, 10), await world.spawn(part, 20)]

    async def coordinate() -> None:
        votes = [await one.ask(Prepare()) for one in both]
        for one in both:
            await one.ask(Decide(all(votes)))

    world.client(coordinate)
    await world.settled()
    first, second = [await one.ask(State()) for one in both]
    assert first == second


# --- Two leaders --------------------------------------------------------------


@attrs.frozen
class Vote(Request[bool]):
    who: str


@attrs.frozen
class Lead(Request[None]):
    who: str


class Voter(Actor[Vote | Lead]):
    """With its own vote and this one a candidate has the majority of three."""

    def __init__(self) -> None:
        self.choice = ""
        self.leader = ""

    @handler
    def vote(self, message: Vote) -> bool:
        if self.leader or self.choice:
            return False
        self.choice = message.who
        return True

    @handler
    def lead(self, message: Lead) -> None:
        self.leader = message.who


class GenerousVoter(Voter):
    @handler
    def vote(self, message: Vote) -> bool:
        if self.leader:
            return False
        self.choice = message.who
        return True


async def two_leaders(world: World, part: type[Voter]) -> None:
    clerk, voter = await world.spawn(Clerk), await world.spawn(part)
    leaders: list[str] = []

    async def stand(who: str) -> None:
        if await voter.ask(Vote(who)):
            leaders.append(who)
            await voter.ask(Lead(who))

    world.client(stand, "a")
    world.client(after, clerk, 2, stand, "b")
    await world.settled()
    assert len(leaders) == 1, leaders


# --- A lock without fencing ---------------------------------------------------


@attrs.frozen
class Lease(Request[int]): ...


@attrs.frozen
class Ended:
    token: int


class Leases(Actor[Lease | Ended]):
    """A lock that comes back by itself after a while."""

    def __init__(self) -> None:
        self.last = 0
        self.is_free = True
        self.waiting: list[Reply[int]] = []

    @handler
    def lease(self, message: Lease) -> Reply[int]:
        reply = self.context.defer_reply(message)
        self.waiting.append(reply)
        self._grant()
        return reply

    @handler
    def ended(self, message: Ended) -> None:
        if message.token == self.last:
            self.is_free = True
            self._grant()

    def _grant(self) -> None:
        if self.is_free and self.waiting:
            self.is_free = False
            self.last += 1
            self.context.send_after(10, Ended(self.last))
            self.waiting.pop(0).send(self.last)


@attrs.frozen
class Save(Request[None]):
    token: int


@attrs.frozen
class Saved(Request[tuple[int, ...]]): ...


class Disk(Actor[Save | Saved]):
    """Refuses whoever holds an older lease than one it knows of."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    @handler
    def save(self, message: Save) -> None:
        if not self.tokens or message.token >= self.tokens[-1]:
            self.tokens.append(message.token)

    @handler
    def saved(self, message: Saved) -> tuple[int, ...]:
        return tuple(self.tokens)


class UnfencedDisk(Disk):
    @handler
    def save(self, message: Save) -> None:
        self.tokens.append(message.token)


async def no_fencing(world: World, part: type[Disk]) -> None:
    leases, disk = await world.spawn(Leases), await world.spawn(part)

    async def save() -> None:
        token = await leases.ask(Lease())
        await disk.ask(Save(token))
        await leases.tell(Ended(token))

    world.client(save)
    world.client(save)
    await world.settled()
    tokens = await disk.ask(Saved())
    assert list(tokens) == sorted(tokens)


ANIMALS = [
    Animal(
        scene=two_phase_commit,
        right=Participant,
        wrong=FickleParticipant,
        bug="One gives up after its promise, and the other commits.",
        needs=1,
    ),
    Animal(
        scene=two_leaders,
        right=Voter,
        wrong=GenerousVoter,
        bug="One voter gives its vote to two.",
        needs=3,
    ),
    Animal(
        scene=no_fencing,
        right=Disk,
        wrong=UnfencedDisk,
        bug="A lease has ended, and its holder writes after the next one.",
        needs=3,
    ),
]
