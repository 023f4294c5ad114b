"""OTP's own supervisor and ours do the same, in more than 250 scenarios.

`otp/scenarios.py` has the families and the scripts, `otp/recorded.json` what Erlang's
supervisor did with them. Here they are played on trio_actors, by its public API only,
in virtual time. Where the design says that we differ, the scenario says so, with the
rule and with what we do instead.

Our words in those of a log: a child that is restarted keeps its ref, so that
`restarting()` is its stop and `restarted()` its start. A supervisor runs no code of
ours: its stops and starts are seen in the event stream, in their own order; the place
among those of the children is not seen, and not compared.
"""

import json
from collections.abc import Awaitable
from typing import Any

import attrs
import pytest
import trio

from tests.otp.scenarios import SCENARIOS
from tests.otp.table import Child, Family, Log, Scenario, Step
from tests.otp.terms import RECORDED, digest
from trio_actors import (
    Actor,
    ActorRef,
    ChildSpec,
    Event,
    Exit,
    NameTaken,
    RestartLimit,
    StartFailed,
    Subscription,
    Supervision,
    SupervisorRef,
    handler,
)
from trio_actors.testing import World

RECORDING: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
LOGS: dict[str, list[Log]] = RECORDING["recorded"]


class Crash(Exception):
    """What the children fail with."""


class Journal:
    """The log of the step that is being played."""

    def __init__(self) -> None:
        self.log: Log = []
        self._tries: dict[str, int] = {}

    def write(self, *event: object) -> None:
        self.log.append(list(event))

    def take(self) -> Log:
        log, self.log = self.log, []
        return log

    def starts(self, child: Child) -> bool:
        """Write down a start of *child*, or that it failed."""
        self._tries[child.name] = self._tries.get(child.name, 0) + 1
        works = self._tries[child.name] not in child.fails
        self.write("start" if works else "start_failed", child.name)
        return works


@attrs.frozen
class Leave:
    """Asks a child to end by itself."""

    how: str


class Kid(Actor[Leave]):
    """A child that writes down when it starts and stops."""

    def __init__(self, child: Child, journal: Journal) -> None:
        self.child = child
        self.journal = journal
        self.leaves = "shutdown"

    async def started(self) -> None:
        if not self.journal.starts(self.child):
            raise Crash

    @handler
    def leave(self, message: Leave) -> None:
        if message.how == "failed":
            self.leaves = "failed"
            raise Crash
        self.leaves = "normal"
        self.context.stop(message.how)

    async def restarting(self, failure: Exception, /) -> None:
        await self.say_goodbye()

    async def stopped(self, reason: Exit, /) -> None:
        await self.say_goodbye()

    async def say_goodbye(self) -> None:
        if self.leaves == "shutdown" and self.child.at_stop == "hangs":
            try:
                await trio.sleep_forever()
            finally:
                self.journal.write("stop", self.child.name, "killed")
        if self.leaves == "shutdown" and self.child.at_stop == "fails":
            self.journal.write("stop", self.child.name, "failed")
            raise Crash
        self.journal.write("stop", self.child.name, self.leaves)


# --- Supervisors, as their events show them -----------------------------------


class Seen:
    """The starts and stops of the supervisors, from the event stream."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._up: dict[str, bool] = {}
        self._failure: dict[str, BaseException | None] = {}

    async def watch(self, events: Subscription[Event]) -> None:
        async for event in events:
            name = event.ref.path.rpartition("/")[2]
            if name in ("top", "sub"):
                self.see(name, event)

    def see(self, name: str, event: Event) -> None:
        if event.kind in ("started", "restarted"):
            self._down(name)  # one that was swept is only seen when it is back
            self._up[name] = True
            self._journal.write("start", name)
        elif event.kind in ("restarting", "stopped"):
            self._down(name)
        elif event.kind == "failed" and isinstance(event.error, StartFailed):
            self._down(name)
            self._journal.write("start_failed", name)
        elif event.kind == "failed":
            self._failure[name] = event.error

    def _down(self, name: str) -> None:
        if not self._up.pop(name, False):
            return
        failure = self._failure.pop(name, None)
        gave_up = isinstance(failure, RestartLimit)
        self._journal.write("stop", name, "gave_up" if gave_up else "shutdown")


# --- Playing ------------------------------------------------------------------


class Player:
    """Plays a scenario; `step_<verb>` is what a step does."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self.world = world
        self.scenario = scenario
        self.journal = Journal()
        self.supervisors: dict[str, SupervisorRef] = {}

    async def play(self) -> list[Log]:
        """Return the logs of all steps; what no child can tell the events show."""
        async with trio.open_nursery() as nursery:
            with self.world.events() as events:
                nursery.start_soon(Seen(self.journal).watch, events)
                logs = await self.play_steps()
                nursery.cancel_scope.cancel()
        return logs

    async def play_steps(self) -> list[Log]:
        """Return the logs of all steps, up to the end of the top."""
        logs: list[Log] = []
        steps: list[Step] = [["launch"], *self.scenario.script, ["shutdown"]]
        for step in steps:
            await self.step(step)
            await self.world.settled()
            logs.append(self.journal.take())
            if self.world.find("/top") is None:
                break
        return logs

    async def step(self, step: Step) -> None:
        verb, *rest = step
        await getattr(self, f"step_{verb}")(*rest)

    # --- Starting ---

    async def step_launch(self) -> None:
        family = self.scenario.top
        children = () if family.dynamic else family.children
        # A supervisor is no ChildSpec: it and those after it follow by themselves.
        first = next((n for n, kid in enumerate(children) if kid.family), len(children))
        try:
            self.supervisors["top"] = await self.world.spawn_supervisor(
                *map(self.spec, children[:first]),
                name="top",
                dynamic=family.dynamic,
                restart="temporary",
                supervision=rules(family),
            )
            for child in children[first:]:
                await self.start(child)
        except StartFailed:
            if "top" in self.supervisors:
                await self.step_shutdown()
        except ValueError:
            self.journal.write("invalid", "top")

    async def start(self, child: Child) -> None:
        top = self.supervisors["top"]
        if child.family is None:
            await top.start_child(self.spec(child))
            return
        self.supervisors[child.name] = await top.spawn_supervisor(
            *map(self.spec, child.family.children),
            name=child.name,
            restart=child.restart,
            significant=child.significant,
            supervision=rules(child.family),
        )

    def spec(self, child: Child) -> ChildSpec[Leave]:
        return ChildSpec(
            child.name,
            Kid,
            child,
            self.journal,
            restart=child.restart,
            shutdown=child.shutdown,
            significant=child.significant,
        )

    # --- What happens to children ---

    def find(self, name: str) -> ActorRef[Leave] | None:
        return self.world.find(f"/top/{name}") or self.world.find(f"/top/sub/{name}")

    async def step_exit(self, name: str, how: str) -> None:
        if ref := self.find(name):
            ref.tell_nowait(Leave(how))

    async def step_stop(self, name: str) -> None:
        ref = self.find(name)
        assert ref is not None
        ref.stop()

    async def step_kill(self, name: str) -> None:
        # No hook runs: what is seen of the end is its reason.
        ref = self.find(name)
        assert ref is not None
        ref.kill()
        self.journal.write("stop", name, (await ref.wait_stopped()).kind)

    async def step_together(self, *steps: Step) -> None:
        for step in steps:
            await self.step(step)

    async def step_shutdown(self) -> None:
        top = self.supervisors["top"]
        top.stop()
        await top.wait_stopped()

    async def step_sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def step_timed(self, step: Step) -> None:
        before = trio.current_time()
        await self.step(step)
        await self.world.settled()
        took = trio.current_time() - before
        self.journal.write("half_seconds", round(took * 2))

    # --- The supervisor's own verbs ---

    async def step_start(self, child: Child) -> None:
        await self.answer("start", child.name, self.start(child))

    async def step_terminate(self, name: str) -> None:
        top = self.supervisors["top"]
        await self.answer("terminate", name, top.terminate_child(name))

    async def step_restart(self, name: str) -> None:
        top = self.supervisors["top"]
        await self.answer("restart", name, top.restart_child(name))

    async def step_delete(self, name: str) -> None:
        top = self.supervisors["top"]
        await self.answer("delete", name, top.delete_child(name))

    async def answer(self, verb: str, name: str, work: Awaitable[None]) -> None:
        word = "ok"
        try:
            await work
        except NameTaken:
            word = "name_taken"
        except StartFailed:
            word = "start_failed"
        except KeyError:
            word = "not_found"
        except ValueError:
            word = "invalid" if verb == "start" else "running"
        self.journal.write("answer", verb, name, word)

    async def step_which(self, name: str) -> None:
        children = self.supervisors[name].which_children()
        shown = [
            [child, "not_running" if ref is None else "running"]
            for child, ref in children.items()
        ]
        self.journal.write("which", name, shown)

    async def step_count(self, name: str) -> None:
        counts = self.supervisors[name].count_children()
        self.journal.write("count", name, [list(one) for one in sorted(counts.items())])


def rules(family: Family) -> Supervision:
    return Supervision(
        family.strategy,
        max_restarts=family.intensity,
        within=family.period,
        auto_shutdown=family.auto_shutdown,
    )


# --- Comparing ----------------------------------------------------------------


def expected(scenario: Scenario) -> list[Log]:
    """What OTP did, or what we do instead."""
    logs = list(LOGS[scenario.name])
    for step, log in scenario.differs.steps.items() if scenario.differs else ():
        logs[step:] = [log, *logs[step + 1 :]]
    return logs


def comparable(logs: list[Log], scenario: Scenario) -> list[tuple[Log, Log]]:
    """Split each log into what the supervisors do, and everything else."""
    split: list[tuple[Log, Log]] = []
    for log in logs:
        ours = [event for event in log if is_about_supervisor(event)]
        if not split:
            ours.sort(key=json.dumps)  # the inner one is started after the outer
        rest = [event for event in log if not is_about_supervisor(event)]
        if scenario.top.dynamic:
            rest.sort(key=json.dumps)  # they stop together: in no order
        split.append((rest, ours))
    return split


def is_about_supervisor(event: list[object]) -> bool:
    return event[0] in ("start", "start_failed", "stop") and event[1] in ("top", "sub")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_the_same_happens_as_in_otp(world: World, scenario: Scenario) -> None:
    """SUP-1 to SUP-11."""
    played = await Player(world, scenario).play()
    assert comparable(played, scenario) == comparable(expected(scenario), scenario)


def test_the_recording_is_that_of_these_scenarios() -> None:
    """Otherwise: `nox -s record_otp`."""
    assert RECORDING["played"] == digest()
    assert list(LOGS) == [scenario.name for scenario in SCENARIOS]
    assert len(LOGS) >= 250


def test_we_differ_from_otp_where_the_design_says_so_and_nowhere_else() -> None:
    differing = [scenario for scenario in SCENARIOS if scenario.differs]
    assert len(differing) <= 12
    for scenario in differing:
        assert expected(scenario) != LOGS[scenario.name], scenario.name
