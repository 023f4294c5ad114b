"""What must hold in every order when something fails: restart, escalation, sweep."""

from itertools import pairwise
from typing import Any

from tests.kit import Boom, found
from tests.testing.selftest.parts import Askers, Do, Helper, Long, Part, do
from trio_actors import Actor, ActorRef, ChildSpec, Exit, Supervision, handler
from trio_actors.testing import World


class Numbered(Part):
    """Says in its diary which incarnation does what."""

    @handler
    def do(self, message: Do) -> str:
        self.diary.append(message.what)
        self.family.append(f"{self.context.incarnation} does {message.what}")
        return message.what


async def restart(world: World) -> None:
    """A failure or ``restart()`` costs the message in hand, and no other.

    LIFE-1, LIFE-7, FAIL-1, FAIL-3: the ref and the mailbox stay, the state does not.
    """
    diary: list[str] = []
    life: list[str] = []
    helper = await world.spawn(Helper, name="helper")
    ref = await world.spawn(Numbered, diary, life, helper, name="part")
    askers = Askers()
    world.client(askers.ask, ref, Do("one"))
    world.client(askers.ask, ref, Long("two"))
    world.client(askers.ask, ref, Boom())
    world.client(do, ref.restart)
    await world.settled()

    askers.check("one", diary)
    askers.check("two", diary)
    assert askers.ends["boom"] == ["ActorFailed"]
    assert not askers.number("ActorStopped")
    # One restart by hand, and one per failure that is not its work.
    cut_short = diary.count("two begun") - diary.count("two")
    # One that comes in the middle of a restart is that restart.
    assert life.count("part~") <= 1
    assert life.count("part!") == askers.number("ActorFailed") - cut_short
    restarts = life.count("part~") + life.count("part!")
    assert life.count("part+") == 1 + restarts
    assert world.snapshot().children[1].restarts == restarts
    incarnation = 0
    for entry in life:
        if entry == "part+":
            incarnation += 1
        elif "does" in entry:
            assert entry.startswith(f"{incarnation} does "), life


# --- Escalation -----------------------------------------------------------------


class Boss(Actor[Long]):
    """Has two children, whose failures it does not answer itself."""

    supervision = Supervision(directives={Exception: "escalate"})

    def __init__(self, family: list[str], diaries: dict[str, list[str]]) -> None:
        self.family = family
        self.diaries = diaries

    async def started(self) -> None:
        self.family.append("boss+")
        for name, diary in self.diaries.items():
            await self.context.spawn(Child, diary, self.family, name=name)

    async def restarting(self, failure: Exception) -> None:
        self.family.append(f"boss~ {failure}")

    async def stopped(self, reason: Exit) -> None:
        self.family.append("boss-")

    @handler
    async def long(self, message: Long) -> str:
        child: ActorRef[Any] = found(self.context.system, "/boss/b")
        await child.ask(Do(message.what))
        return message.what


class Child(Part):
    """Is silent of its own restarts: they are nobody else's business."""

    async def started(self) -> None:
        if self.context.incarnation == 1:
            self.family.append(f"{self.name}+")

    async def restarting(self, failure: Exception) -> None: ...


UP = ["boss+", "a+", "b+"]


async def escalation(world: World) -> None:
    """A child's failure is its parent's, which restarts with new children.

    FAIL-8, LIFE-6: children end before their parent goes on; who asked the old ones
    is told at once.
    """
    family: list[str] = []
    diaries: dict[str, list[str]] = {"a": [], "b": []}
    boss = await world.spawn(Boss, family, diaries, name="boss")
    a, b = found(world, "/boss/a"), found(world, "/boss/b")
    askers = Askers()
    world.client(askers.ask, a, Do("one"))
    world.client(askers.ask, boss, Long("three"))
    world.client(askers.ask, a, Do("four"), Boom())
    await world.settled()

    askers.check("one", diaries["a"])
    askers.check("four", diaries["a"])
    assert askers.ends["boom"] in (["ActorFailed"], ["ActorStopped"])
    assert diaries["b"].count("three") <= 1
    if askers.ends["three"] == ["three"]:
        assert "three" in diaries["b"]
    downs = "\n".join(family).split("\n".join(UP))
    assert downs[0] == ""
    assert downs[-1] == ""
    for down in downs[1:-1]:
        first, second, last = down.strip().split("\n")
        assert {first[0], second[0]} == {"a", "b"}
        assert last.startswith("boss~ ")
        if first.endswith("!"):  # it has failed; then the other one ends, or has, too
            assert second[-1] in "-!"
        else:  # the boss was crashed
            assert first == "b-"
            assert second in ("a-", "a!")
    restarts = world.snapshot().children[0].restarts
    assert restarts == len(downs) - 2
    for path, ref in (("/boss/a", a), ("/boss/b", b)):
        assert (found(world, path) == ref) is (restarts == 0)
    world.dead()  # requests to the old children


# --- Sweeps ---------------------------------------------------------------------


async def sweep(world: World) -> None:
    """One for all: who has not failed goes down in reverse order, all come up in order.

    SUP-2, SUP-4: what waits in their mailboxes stays, and is done by the next ones. A
    crash beside the failure is a second one, perhaps in the same sweep.
    """
    await sweep_with(world, "one_for_all", [Boom()])


async def sweep_of_the_rest(world: World) -> None:
    """Rest for one: who was started before the one that has failed stays as it is."""
    await sweep_with(world, "rest_for_one", [Do("four"), Do("five")])


async def sweep_with(world: World, strategy: Any, more: list[Any]) -> None:
    helper = await world.spawn(Helper, name="helper")
    family: list[str] = []
    diaries: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    specs = [
        ChildSpec(name, Part, diary, family, helper) for name, diary in diaries.items()
    ]
    rules = Supervision(strategy)
    top = await world.spawn_supervisor(*specs, supervision=rules, name="top")
    a, b, c = (top.child(spec) for spec in specs)
    askers = Askers()
    world.client(askers.ask, a, Do("one"))
    world.client(askers.ask, c, Long("three"))
    world.client(askers.ask, b, *more)
    await world.settled()

    askers.check("one", diaries["a"])
    askers.check("three", diaries["c"])
    assert all(len(ends) == 1 for ends in askers.ends.values())
    assert not askers.number("ActorStopped")
    assert family[:3] == ["a+", "b+", "c+"]
    check_sweeps(family, one_for_all=strategy == "one_for_all")


def check_sweeps(family: list[str], *, one_for_all: bool) -> None:
    """Check who went down and came up, entry by entry."""
    up = {"a": True, "b": True, "c": True}
    failed: set[str] = set()  # since the last one went down
    for before, entry in pairwise(family[2:]):
        name, what = entry[0], entry[1]
        assert up[name] is (what != "+"), family
        younger = [up[one] for one in "abc" if one > name]
        older = [up[one] or one in failed for one in "abc" if one < name]
        if what == "~":
            assert not any(younger), f"{name} has gone down too early: {family}"
        elif what == "+":
            assert not any(younger), f"{name} has come up too late: {family}"
            assert all(older) or not one_for_all, f"{name} is too early: {family}"
            assert before[1] in "+!" or name == "a" or not one_for_all, family
        if what == "~":
            failed.clear()
        elif what == "!":  # who fails while others come up waits for the next sweep
            failed.add(name)
        up[name] = what == "+"
    assert all(up.values()), family
