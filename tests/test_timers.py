"""Timers: keyed, replaced, and never late after they were cancelled (TIM-1, MBX-6)."""

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st

from tests.kit import Note, open_system, run_main
from trio_actors import (
    Actor,
    ActorFailed,
    Exit,
    Inbox,
    Mailbox,
    Request,
    Supervision,
    handler,
)
from trio_actors.testing import World, run


@attrs.frozen
class Tick:
    name: str = ""


@attrs.frozen
class Set:
    """Start a timer."""

    delay: float
    name: str = ""
    key: object = None
    every: bool = False


@attrs.frozen
class Cancel:
    key: object


@attrs.frozen
class Busy:
    """Be busy for so long."""

    seconds: float


@attrs.frozen
class Crash(Request[None]): ...


Log = list[tuple[float, str]]


class Clock(Actor[Tick | Set | Cancel | Busy | Crash]):
    """Sets and cancels its timers as it is told, and writes down the ticks."""

    def __init__(self, log: Log) -> None:
        self.log = log

    @handler
    def tick(self, message: Tick) -> None:
        self.log.append((trio.current_time(), message.name))

    @handler
    def set(self, message: Set) -> None:
        send = self.context.send_every if message.every else self.context.send_after
        tick = Tick(message.name)
        if message.key is None:
            send(message.delay, tick)
        else:
            send(message.delay, tick, key=message.key)

    @handler
    def cancel(self, message: Cancel) -> None:
        self.context.cancel_timer(message.key)

    @handler
    async def busy(self, message: Busy) -> None:
        await trio.sleep(message.seconds)

    @handler
    def crash(self, message: Crash) -> None:
        raise ValueError("crash")


# --- Once and again ---------------------------------------------------------


async def test_a_timer_fires_once_at_its_time(world: World) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(2.5, "a"))
    await trio.sleep(10)
    assert log == [(2.5, "a")]


async def test_a_timer_of_zero_seconds_fires_after_what_is_queued(
    world: World,
) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(0, "timer"))
    await clock.tell(Tick("queued"))
    await trio.sleep(1)
    assert log == [(0, "queued"), (0, "timer")]


async def test_a_repeating_timer_keeps_its_rhythm(world: World) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1.5, "a", every=True))
    await trio.sleep(7)
    assert log == [(1.5, "a"), (3.0, "a"), (4.5, "a"), (6.0, "a")]


async def test_timers_fire_in_the_order_they_are_due_and_were_set(
    world: World,
) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    for delay, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
        await clock.tell(Set(delay, name))
    await trio.sleep(3)
    assert [name for _, name in log] == ["a", "b", "c", "d"]


async def test_a_busy_actor_gets_one_tick_and_no_burst(world: World) -> None:
    """At most one undelivered tick; Pekko's fixed rate would send thirty."""
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "a", every=True))
    await clock.tell(Busy(5.5))
    await trio.sleep(8.5)
    assert log == [(5.5, "a"), (6, "a"), (7, "a"), (8, "a")]


async def test_a_pause_of_everything_gives_no_burst(world: World) -> None:
    """A clock that leaps over many intervals: one tick, then the old rhythm."""
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "a", every=True))
    await trio.sleep(1.5)
    world._clock.time += 30  # the machine slept
    await trio.sleep(2)
    assert log == [(1, "a"), (31.5, "a"), (32, "a"), (33, "a")]


# --- Keys -------------------------------------------------------------------


async def test_a_timer_of_the_same_key_replaces_the_first(world: World) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "first", key="k"))
    await clock.tell(Set(2, "second", key="k"))
    await clock.tell(Set(3, "other", key="other"))
    await trio.sleep(5)
    assert log == [(2, "second"), (3, "other")]


async def test_the_default_key_is_the_message(world: World) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "same"))
    await clock.tell(Set(2, "same"))
    await clock.tell(Set(3, "different"))
    await clock.tell(Cancel(Tick("different")))
    await trio.sleep(5)
    assert log == [(2, "same")]


async def test_a_key_of_none_is_a_key(world: World) -> None:
    log: Log = []

    class One(Clock):
        async def started(self) -> None:
            self.context.send_after(1, Tick("a"), key=None)
            self.context.send_after(2, Tick("b"), key=None)

    await world.spawn(One, log)
    await trio.sleep(5)
    assert log == [(2, "b")]


async def test_a_once_timer_replaces_a_repeating_one(world: World) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "again", key="k", every=True))
    await trio.sleep(2.5)
    await clock.tell(Set(1, "once", key="k"))
    await trio.sleep(5)
    assert log == [(1, "again"), (2, "again"), (3.5, "once")]


@pytest.mark.parametrize("every", [False, True])
async def test_a_tick_in_the_mailbox_lapses_when_its_timer_is_replaced(
    world: World, every: bool
) -> None:
    """TIM-1: a message of the former one already in the mailbox is not delivered."""
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "stale", key="k", every=every))
    await clock.tell(Busy(3))
    await trio.sleep(0.5)
    await clock.tell(Set(10, "fresh", key="k"))
    # The order in its mailbox is now: Set, the tick. So it is taken before the tick.
    await trio.sleep(20)
    assert log == [(13, "fresh")]
    assert world.statistics()["expired"] == 1


async def test_a_tick_in_the_mailbox_lapses_when_its_timer_is_cancelled(
    world: World,
) -> None:
    """MBX-6: a stale timeout already enqueued when cancelled is discarded."""
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "stale", key="k"))
    await clock.tell(Busy(3))
    await clock.tell(Cancel("k"))
    await trio.sleep(5)
    assert log == []
    assert world.statistics()["expired"] == 1


async def test_a_replaced_timer_does_not_come_back_with_its_old_tick(
    world: World,
) -> None:
    """The old tick lapses, the new timer fires: one of each, whatever the order."""
    log: Log = []

    class Again(Clock):
        @handler
        async def busy(self, message: Busy) -> None:
            await trio.sleep(message.seconds)  # the tick of the first is queued now
            self.context.send_after(0, Tick("new"), key="k")

    again = await world.spawn(Again, log)
    await again.tell(Set(1, "old", key="k"))
    await again.tell(Busy(3))
    await trio.sleep(5)
    assert log == [(3, "new")]


async def test_cancelling_what_is_not_there_is_nothing(world: World) -> None:
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Cancel("never"))
    await clock.tell(Set(1, "a", key="k"))
    await trio.sleep(2)
    await clock.tell(Cancel("k"))
    await clock.tell(Cancel("k"))
    await trio.sleep(2)
    assert log == [(1, "a")]
    assert world.find("/clock-1") is not None


async def test_a_handler_may_set_its_timer_anew_at_each_tick(world: World) -> None:
    log: Log = []

    class Chain(Clock):
        async def started(self) -> None:
            self.context.send_after(1, Tick("a"))

        @handler
        def tick(self, message: Tick) -> None:
            super().tick(message)
            self.context.send_after(2, message)

    await world.spawn(Chain, log)
    await trio.sleep(6)
    assert log == [(1, "a"), (3, "a"), (5, "a")]


async def test_a_receive_timeout_is_a_timer_that_each_message_sets_anew(
    world: World,
) -> None:
    """MBX-6: after d without any message the actor gets one."""

    class Idle(Actor[Note | Tick]):
        def __init__(self) -> None:
            self.context.send_after(3, Tick(), key="idle")

        @handler
        def note(self, message: Note) -> None:
            self.context.send_after(3, Tick(), key="idle")

        @handler
        def tick(self, message: Tick) -> None:
            idle_at.append(trio.current_time())

    idle_at: list[float] = []
    idle = await world.spawn(Idle)
    for _ in range(4):
        await trio.sleep(2)
        await idle.tell(Note())
    await trio.sleep(20)
    assert idle_at == [11]


async def test_actors_have_their_own_keys(world: World) -> None:
    one: Log = []
    two: Log = []
    for log in (one, two):
        clock = await world.spawn(Clock, log)
        await clock.tell(Set(1, "a", key="k"))
    await trio.sleep(2)
    assert one == two == [(1, "a")]


# --- A full mailbox ---------------------------------------------------------


@pytest.mark.parametrize("overflow", ["block", "fail", "drop_new", "drop_oldest"])
async def test_ticks_never_wait_for_room_and_are_never_dropped(
    world: World, overflow: str
) -> None:
    """Design 1.7: timer ticks do not count against the capacity (nearcore #2983)."""
    log: Log = []
    box = Mailbox(1, overflow)  # type: ignore[arg-type]  # one of four
    clock = await world.spawn(Clock, log, mailbox=box)
    for name in "abc":
        await clock.tell(Set(1, name))
        await trio.lowlevel.checkpoint()
    await clock.tell(Busy(3))
    await trio.sleep(0.5)
    await clock.tell(Tick("told"))
    await trio.sleep(5)
    assert sorted(log) == [(3, "a"), (3, "b"), (3, "c"), (3, "told")]
    assert world.dead() == []


# --- The end of a timer -----------------------------------------------------


@pytest.mark.parametrize("how", ["crash", "restart"])
async def test_a_restart_cancels_all_timers(world: World, how: str) -> None:
    """TIM-1: a timer belongs to an incarnation; also its tick in the mailbox."""
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Set(1, "once"))
    await clock.tell(Set(1, "again", every=True))
    await clock.tell(Busy(1.5))
    if how == "crash":
        await clock.tell(Crash())
    await trio.sleep(1.2)
    if how == "restart":
        clock.restart()
    await trio.sleep(10)
    assert log == []
    assert world.snapshot().children[0].restarts == 1
    assert world.statistics()["expired"] == 2


async def test_a_timer_from_started_comes_back_with_each_incarnation(
    world: World,
) -> None:
    log: Log = []

    class Beating(Clock):
        async def started(self) -> None:
            self.context.send_every(1, Tick("beat"))

    beating = await world.spawn(Beating, log)
    await trio.sleep(2.5)
    with pytest.raises(ActorFailed):
        await beating.ask(Crash())
    await trio.sleep(2.25)
    assert [time for time, _ in log] == [1, 2, 3.5, 4.5]


async def test_a_timer_from_init_and_from_the_parent_class(world: World) -> None:
    log: Log = []

    class Early(Clock):
        def __init__(self, log: Log) -> None:
            super().__init__(log)
            self.context.send_after(1, Tick("early"))

    await world.spawn(Early, log)
    await trio.sleep(2)
    assert log == [(1, "early")]


@pytest.mark.parametrize("verb", ["stop", "drain", "kill"])
async def test_no_timer_outlives_its_actor(world: World, verb: str) -> None:
    log: Log = []

    class Slow(Clock):
        async def stopped(self, reason: Exit) -> None:
            await trio.sleep(3)

    slow = await world.spawn(Slow, log)
    await slow.tell(Set(1, "again", every=True))
    await slow.tell(Set(2, "once"))
    await slow.tell(Busy(0.5))
    await slow.tell(Busy(2))
    await trio.sleep(0.25)
    getattr(slow, verb)()
    await trio.sleep(10)
    assert log == []
    assert [alarm for alarm in world._runtime.alarms if not alarm.cancelled] == []
    assert len(world.dead()) == (0 if verb == "drain" else 1)


@pytest.mark.parametrize("hook", ["stopped", "restarting"])
async def test_a_timer_that_is_set_on_the_way_out_never_fires(
    world: World, hook: str
) -> None:
    """Timers end with the incarnation, and this one has ended."""
    log: Log = []

    class Late(Clock):
        async def stopped(self, reason: Exit) -> None:
            self.context.send_every(1, Tick("late"))

        async def restarting(self, failure: Exception) -> None:
            self.context.send_every(1, Tick("late"))

    late = await world.spawn(Late, log)
    if hook == "stopped":
        late.stop()
    else:
        late.restart()
    await trio.sleep(5)
    assert log == []
    assert [alarm for alarm in world._runtime.alarms if not alarm.cancelled] == []


async def test_a_timer_that_is_set_while_the_actor_drains_never_fires(
    world: World,
) -> None:
    """drain(): its timers stop; what is set again in its last messages too."""
    log: Log = []
    clock = await world.spawn(Clock, log)
    await clock.tell(Busy(1))
    await clock.tell(Set(0, "late"))
    await clock.tell(Busy(1))
    await clock.tell(Tick("queued"))
    await trio.sleep(0.5)
    clock.drain()
    await clock.wait_stopped()
    assert log == [(2, "queued")]


def test_a_timer_does_not_keep_a_system_from_settling() -> None:
    """Leaving the block: timers stop, also those that set themselves anew."""
    log: Log = []

    async def main() -> float:
        async with open_system() as system:

            class Chain(Clock):
                @handler
                def tick(self, message: Tick) -> None:
                    super().tick(message)
                    self.context.send_after(0, message)
                    self.context.send_every(0.1, Tick("other"))

            chain = await system.spawn(Chain, log)
            await chain.tell(Tick("a"))
        return trio.current_time()

    assert run_main(main) == 0
    assert log == [(0, "a")]


async def test_a_timer_of_a_resumed_actor_goes_on(world: World) -> None:
    """Resume keeps the instance, and so what belongs to it."""
    log: Log = []
    supervisor = await world.spawn_supervisor(
        supervision=Supervision(directives={ValueError: "resume"})
    )
    clock = await supervisor.spawn(Clock, log)
    await clock.tell(Set(1, "a", every=True))
    with pytest.raises(ActorFailed):
        await clock.ask(Crash())
    await trio.sleep(2.5)
    assert log == [(1, "a"), (2, "a")]


async def test_a_function_actor_has_timers_too(world: World) -> None:
    log: Log = []

    async def beat(inbox: Inbox[Tick]) -> None:
        inbox.send_every(1, Tick("beat"))
        async for message in inbox:
            log.append((trio.current_time(), message.name))

    beating = await world.spawn(beat)
    await trio.sleep(2.5)
    beating.stop()
    await trio.sleep(5)
    assert log == [(1, "beat"), (2, "beat")]


# --- Against a model --------------------------------------------------------

KEYS = st.sampled_from(["k", "l"])
DELAYS = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.5])
STEPS = st.lists(
    st.one_of(
        st.builds(Set, DELAYS, key=KEYS),
        st.builds(Set, DELAYS.filter(bool), key=KEYS, every=st.just(value=True)),
        st.builds(Cancel, KEYS),
    ),
    max_size=12,
)
APART = 1 + 1 / 32
"""Seconds between two steps, so that no timer is due at the moment of a step."""


@settings(max_examples=100)
@given(STEPS)
def test_timers_do_what_a_table_of_due_times_says(steps: list[Set | Cancel]) -> None:
    """What fires when, for any sequence of sets, replacements and cancellations."""
    log: Log = []

    async def scenario(world: World) -> None:
        clock = await world.spawn(Clock, log)
        for step in steps:
            await clock.tell(
                attrs.evolve(step, name=str(step.key))
                if isinstance(step, Set)
                else step
            )
            await trio.sleep(APART)
        await trio.sleep(0.7)

    run(scenario)
    expected: Log = []
    table: dict[object, tuple[float, Set]] = {}
    for moment, step in enumerate([*steps, None]):
        now = moment * APART
        until = now + (0.7 if step is None else APART)
        if isinstance(step, Cancel):
            table.pop(step.key, None)
        elif step is not None:
            table.pop(step.key, None)
            table[step.key] = (now + step.delay, step)
        while table:
            key, (due, which) = min(table.items(), key=lambda item: item[1][0])
            if due >= until:
                break
            expected.append((due, str(key)))
            del table[key]
            if which.every:
                table[key] = (due + which.delay, which)
    assert sorted(log) == sorted(expected)
