"""What happens to an actor while it is being taken down, or waits for its return."""

import trio

from tests.kit import (
    Add,
    Boom,
    Counter,
    Get,
    Note,
    Parent,
    Sleep,
    Worker,
    failures_of,
    found,
    open_system,
)
from trio_actors import (
    Actor,
    ActorError,
    ActorStopped,
    Backoff,
    ChildSpec,
    Exit,
    Supervision,
    handler,
)
from trio_actors.testing import World


class Rude(Worker):
    """Fails in its ``restarting()``."""

    async def restarting(self, failure: Exception) -> None:
        raise OSError(f"{self.name} in the hook")


async def test_a_failing_hook_of_a_restart_by_hand_is_a_failure(world: World) -> None:
    """U2: the restart by hand itself is none, and is not reported as one."""
    rules = Supervision(directives={OSError: "stop"})
    top = await world.spawn_supervisor(supervision=rules)
    ref = await top.spawn(Rude)
    ref.restart()
    exit = await ref.wait_stopped()
    assert isinstance(exit.error, OSError)


def test_who_fails_in_a_sweep_and_again_in_its_hook_has_two_failures() -> None:
    """Design 1.4: three failures in all, and the block is left with those above."""

    class Late(Rude):
        @handler
        async def sleep(self, message: Sleep) -> int:
            await trio.sleep(message.seconds)
            raise LookupError("in the sweep")

    async def main() -> None:
        rules = Supervision("one_for_all", directives={OSError: "escalate"})
        async with open_system(supervision=rules) as system:
            offender = await system.spawn(Worker)
            late = await system.spawn(Late)
            await late.tell(Sleep(2))
            await trio.sleep(1)
            await offender.tell(Boom())
            await trio.sleep_forever()

    shown = [repr(error) for error in failures_of(main)]
    assert shown == ["OSError(' in the hook')", "LookupError('in the sweep')"]


def test_the_extras_of_an_escalation_go_up_with_it() -> None:
    """Design 1.4: through a parent that fails with them."""

    class NoGoodbye(Worker):
        async def stopped(self, reason: Exit) -> None:
            raise OSError("no goodbye")

    async def main() -> None:
        rules = Supervision(directives={ValueError: "escalate"})
        async with open_system(supervision=rules) as system:
            top = await system.spawn_supervisor(supervision=rules)
            await (await top.spawn(NoGoodbye)).tell(Boom())
            await trio.sleep_forever()

    assert {repr(error) for error in failures_of(main)} == {
        "ValueError('boom')",
        "OSError('no goodbye')",
    }


def test_all_that_it_became_fail_in_their_hooks_and_none_is_hidden() -> None:
    """Design 1.4: each behavior says its own goodbye."""

    class Stacked(Actor[Note]):
        def __init__(self, name: str) -> None:
            self.name = name

        async def stopped(self, reason: Exit) -> None:
            raise OSError(self.name)

        @handler
        def note(self, message: Note) -> None:
            self.become(Stacked(message.text))

    async def main() -> None:
        async with open_system() as system:
            ref = await system.spawn(Stacked, "first")
            await ref.tell(Note("second"))

    assert {str(error) for error in failures_of(main)} == {"first", "second"}


async def test_a_crash_report_says_that_the_message_in_hand_was_stashed(
    world: World,
) -> None:
    """FAIL-10: it is in the stash, and is handled by the next incarnation."""
    notes: list[str] = []

    class Stasher(Actor[Add]):
        async def restarting(self, failure: Exception) -> None:
            notes.extend(failure.__notes__)

        @handler
        def add(self, message: Add) -> int:
            if self.context.incarnation == 1:
                self.context.stash(message)
                raise ValueError("after the stash")
            return message.amount

    ref = await world.spawn(Stasher)
    assert await ref.ask(Add(7)) == 7
    assert "while handling a message that it stashed" in notes[0]


async def test_a_kill_while_the_children_of_a_restart_stop_cuts_the_hook_short(
    world: World,
) -> None:
    """The verbs of design 2: a running hook is cancelled, one to come is too."""
    log: list[str] = []

    class Thorough(Parent):
        async def restarting(self, failure: Exception) -> None:
            await trio.sleep(100)
            log.append("restarting is done")

    ref = await world.spawn(Thorough, log, "a", name="p")
    await found(world, "/p/a").tell(Sleep(3))
    await trio.sleep(1)
    ref.restart()
    await trio.sleep(1)
    ref.kill()
    exit = await ref.wait_stopped()
    assert exit.kind == "killed"
    assert trio.current_time() == 2
    assert log == ["a+"]


async def test_questions_of_a_hook_end_with_it(world: World) -> None:
    """A question belongs to the turn, or the hook, that asked it."""
    slow = await world.spawn(Worker)

    class Curious(Counter):
        async def restarting(self, failure: Exception) -> None:
            slow.ask_nowait(Add())
            slow.ask_nowait(Add())

    ref = await world.spawn(Curious)
    ref.restart()
    assert await ref.ask(Get()) == 0
    await world.settled()
    assert world.statistics()["abandoned"] == 2
    assert await slow.ask(Get()) == 0


async def test_who_is_stopped_while_its_sweep_waits_for_another_sweeps_nobody(
    world: World,
) -> None:
    """Design 3: its retry is cancelled, and that of its siblings with it."""
    log: list[str] = []

    class Slow(Worker):
        async def started(self) -> None:
            if self.context.incarnation > 1:
                await trio.sleep(5)
            await super().started()

    specs = [ChildSpec(name, Worker, log, name) for name in "ab"]
    rules = Supervision("rest_for_one")
    top = await world.spawn_supervisor(
        *specs, ChildSpec("c", Slow, log, "c"), name="s", supervision=rules
    )
    log.clear()
    await found(world, "/s/c").tell(Boom())
    await trio.sleep(1)
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    await top.terminate_child("a")
    await world.settled()
    assert log == ["c~", "a~", "c+"]
    assert top.which_children()["a"] is None


async def test_who_is_started_by_name_during_a_sweep_is_left_alone(
    world: World,
) -> None:
    """SUP-10: it runs already when its turn comes."""
    log: list[str] = []
    rules = Supervision("one_for_all", backoff=Backoff(5, 5, jitter=0))
    specs = [ChildSpec(name, Worker, log, name) for name in "ab"]
    top = await world.spawn_supervisor(*specs, name="s", supervision=rules)
    log.clear()
    await found(world, "/s/a").tell(Boom())
    await trio.sleep(1)
    await top.terminate_child("b")
    await top.restart_child("b")
    await world.settled()
    assert log == ["a~", "b~", "b+", "a+"]


async def test_a_task_that_is_cancelled_cannot_start_another(world: World) -> None:
    """Design 3, start: the family of the old incarnation takes nobody."""
    errors: list[ActorError] = []

    class Host(Counter):
        async def started(self) -> None:
            self.context.start_soon(self.work)

        async def work(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                try:
                    self.context.start_soon(trio.sleep_forever)
                except ActorStopped as error:
                    errors.append(error)

    ref = await world.spawn(Host)
    await world.settled()
    ref.restart()
    await ref.ask(Get())
    assert len(errors) == 1
    assert "no task can be started in it" in str(errors[0])


async def test_a_link_that_breaks_while_it_says_goodbye_is_no_failure(
    world: World,
) -> None:
    """It ends already, and its reason stays what it was."""
    other = await world.spawn(Counter)

    class Linked(Counter):
        async def started(self) -> None:
            self.context.link(other)

        async def stopped(self, reason: Exit) -> None:
            other.kill()
            await other.wait_stopped()

    ref = await world.spawn(Linked)
    ref.stop()
    assert (await ref.wait_stopped()).kind == "shutdown"
