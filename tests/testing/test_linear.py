"""Linearizability: whether answers fit one order of the requests."""

from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st

from trio_actors import (
    Actor,
    ActorFailed,
    ActorStopped,
    Exit,
    MailboxFull,
    Request,
    UnhandledMessage,
    handler,
)
from trio_actors.testing import World, _linear, _orders
from trio_actors.testing._linear import History, check_history, linearizable
from trio_actors.testing._misfit import explain
from trio_actors.testing._orders import (
    Machine,
    Model,
    Operation,
    Outcome,
    find_order,
)


@attrs.frozen
class Write(Request[None]):
    value: int
    key: str = "x"


@attrs.frozen
class Read(Request[int]):
    key: str = "x"


@attrs.frozen
class Touch(Request[int]):
    kind: int


class Register:
    def __init__(self) -> None:
        self.value = 0

    def apply(self, request: object) -> object:
        if isinstance(request, Write):
            self.value = request.value
            return None
        return self.value


class Account:
    """Refuses to go below zero."""

    def __init__(self) -> None:
        self.total = 0

    def apply(self, request: Write) -> int:
        if self.total + request.value < 0:
            raise ValueError("too little")
        self.total += request.value
        return self.total


def operations(script: str) -> list[Operation]:
    """Make operations from lines like ``a  |--|  w1`` or ``b  |--  r0``."""
    found: list[tuple[str, int, int | None, str]] = []
    for line in script.strip("\n").splitlines():
        bar = line.rindex("|") if line.count("|") == 2 else None
        client, *_, what = line.replace("|", " ").split()
        found.append((client, line.index("|"), bar, what))
    moments = sorted(
        (place, number)
        for number, (_, *ends, _) in enumerate(found)
        for place in ends
        if place is not None
    )
    rank = {moment: at for at, moment in enumerate(moments)}
    return [
        Operation(
            client,
            Read() if what[0] == "r" else Write(int(what[1:])),
            rank[call, number],
            None if back is None else rank[back, number],
            None
            if back is None
            else Outcome(int(what[1:]) if what[0] == "r" else None),
        )
        for number, (client, call, back, what) in enumerate(found)
    ]


# --- By trying everything -----------------------------------------------------


def fits_by_trying(history: list[Operation], make: Callable[[], Model]) -> bool:
    """Whether any order of any choice of the operations fits: slow, and plain."""
    return any(
        in_time(order) and answers_fit(order, make)
        for chosen in choices(history)
        for order in permutations(chosen)
    )


def choices(history: list[Operation]) -> Iterator[list[Operation]]:
    """All that have returned, with any of those that have not."""
    done = [one for one in history if one.returned is not None]
    rest = [one for one in history if one.returned is None]
    for size in range(len(rest) + 1):
        for more in combinations(rest, size):
            yield [*done, *more]


def in_time(order: tuple[Operation, ...]) -> bool:
    return not any(
        later.returned is not None and later.returned < earlier.called
        for at, earlier in enumerate(order)
        for later in order[at + 1 :]
    )


def answers_fit(order: tuple[Operation, ...], make: Callable[[], Model]) -> bool:
    model = make()
    for one in order:
        got = apply(model, one.request)
        if one.outcome is None:
            continue
        if type(one.outcome.error) is not type(got.error):
            return False
        if got.error is None and got.value != one.outcome.value:
            return False
    return True


# --- By hand ------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        "a |--| r0",
        "a |--| w1\nb     |--| r1",
        "a |------| w1\nb   |--|   r1\nc      |--| r1",
        "a |------| w1\nb  |-|     r0\nc      |--| r1",
        "a |------  w1\nb   |--|   r1\nc       |--| r1",
        "a |------  w1\nb   |--|   r0\nc       |--| r0",
        "a |------| w1\nb |------| w2\nc          |-| r1",
        "a |------  w1\nb             |-| r0\nc                  |-| r1",
    ],
)
def test_what_fits_is_accepted(script: str) -> None:
    assert check_history(operations(script), Register) is None


@pytest.mark.parametrize(
    ("script", "stuck"),
    [
        ("a |--| r1", 0),
        ("a |--| w1\nb     |--| r0", 1),
        ("a |------| w1\nb |------| w2\nc          |-| r1\nd              |-| r2", 3),
        ("a     |--| w1\nb |--|      r1", 1),
        ("a |--|    r7\nb  |-----| r8", 0),
        ("a |------  w1\nb   |--|   r1\nc       |--| r0", 2),
    ],
)
def test_what_does_not_fit_is_rejected(script: str, stuck: int) -> None:
    history = operations(script)
    misfit = check_history(history, Register)
    assert misfit is not None
    assert misfit.stuck is history[stuck]


ABD_WITHOUT_WRITE_BACK = """
writer   |------------------------------ w1
reader-1    |--------|                   r1
reader-2                |--------|       r0
"""


def test_a_register_that_does_not_write_back_is_rejected() -> None:
    """The first reader met the one replica with the new value, the second did not."""
    history = operations(ABD_WITHOUT_WRITE_BACK)
    assert not fits_by_trying(history, Register)
    assert check_history(history, Register) is not None


def test_a_register_that_writes_back_is_accepted() -> None:
    """The first reader gives the new value to a majority before it answers."""
    history = operations(ABD_WITHOUT_WRITE_BACK.replace("r0", "r1"))
    assert check_history(history, Register) is None


# --- Moments ------------------------------------------------------------------


def test_a_history_never_counts_two_things_as_one_moment() -> None:
    history = History()
    first = history.begin("a", Write(1))
    history.end(first, None)
    second = history.begin("b", Read())
    history.end(second, 0)
    moments = [(one.called, one.returned) for one in history.operations]
    assert moments == [(1, 2), (3, 4)]


def test_equal_moments_are_refused_because_they_hide_bugs() -> None:
    """A read that began when the write returned was taken for one at the same time.

    So the stale answer was accepted, in 30,000 runs.
    """
    write = Operation("a", Write(1), 1, 2, Outcome())
    stale = Operation("b", Read(), 2, 3, Outcome(0))
    with pytest.raises(ValueError, match=r"two things happen at moment 2.*Read"):
        check_history([write, stale], Register)
    later = attrs.evolve(stale, called=3, returned=4)
    assert check_history([write, later], Register) is not None


def test_an_answer_before_its_question_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Read.* returned before it was called"):
        check_history([Operation("a", Read(), 2, 1, Outcome(0))], Register)


# --- What an exception means -----------------------------------------------------


def asked(request: object, error: BaseException) -> list[Operation]:
    history = History()
    history.end(history.begin("a", request), error=error)
    return history.operations


def stopped(message: object) -> ActorStopped:
    return ActorStopped("", path="/x", reason=Exit("normal"), message=message)


REQUEST = Write(1)


@pytest.mark.parametrize(
    "error",
    [
        stopped(REQUEST),
        MailboxFull("", path="/x", message=REQUEST),
        UnhandledMessage("", message=REQUEST),
    ],
)
def test_what_was_not_begun_has_not_happened(error: Exception) -> None:
    """ActorStopped: the actor is gone; the request was not handled."""
    assert asked(REQUEST, error) == []


@pytest.mark.parametrize(
    "error",
    [
        ActorFailed("while it handled the request"),
        stopped(Read()),  # another one, that the handler asked
        trio.Cancelled._create(),
        KeyboardInterrupt(),
    ],
)
def test_what_was_begun_or_given_up_may_have_happened_or_not(
    error: BaseException,
) -> None:
    (one,) = asked(REQUEST, error)
    assert (one.returned, one.outcome) == (None, None)
    for value in (0, 1):
        read = Operation("b", Read(), 5, 6, Outcome(value))
        assert check_history([one, read], Register) is None


@pytest.mark.parametrize(
    ("error", "fits"), [(ValueError("other text"), True), (KeyError(), False)]
)
def test_an_error_of_the_models_must_be_the_askers(
    error: Exception, fits: bool
) -> None:
    history = asked(Write(-1), error)
    assert (check_history(history, Account) is None) is fits


def test_an_error_must_come_where_the_model_raises_and_nowhere_else() -> None:
    history = asked(Write(1), ValueError())
    misfit = check_history(history, Account)
    assert "-> raised ValueError()   the model: 1" in str(misfit)
    answered = [attrs.evolve(asked(Write(-1), ValueError())[0], outcome=Outcome(-1))]
    misfit = check_history(answered, Account)
    assert "-> -1   the model: raised ValueError('too little')" in str(misfit)


def test_nobody_gets_two_answers() -> None:
    history = History()
    number = history.begin("a", Read())
    history.end(number, 0)
    with pytest.raises(RuntimeError, match="ended before"):
        history.end(number, 0)


def test_an_answer_is_kept_as_it_was_given() -> None:
    """A list that the actor goes on to fill is not what the client was given."""
    history, answer = History(), [1]
    history.end(history.begin("a", Read()), answer)
    answer.append(2)
    outcome = history.operations[0].outcome
    assert outcome is not None
    assert outcome.value == [1]


def test_an_answer_that_cannot_be_copied_is_kept_itself() -> None:
    class Unique:
        def __deepcopy__(self, memo: object) -> object:
            raise TypeError

    history, answer = History(), Unique()
    history.end(history.begin("a", Read()), answer)
    outcome = history.operations[0].outcome
    assert outcome is not None
    assert outcome.value is answer


# --- Models -------------------------------------------------------------------


class Log:
    """A model whose answer is its own list."""

    def __init__(self) -> None:
        self.all: list[int] = []

    def apply(self, request: object) -> list[int]:
        if isinstance(request, Write):
            self.all.append(request.value)
        return self.all


def test_a_model_may_return_what_it_goes_on_to_change() -> None:
    history = History()
    for number in (1, 2):
        history.end(history.begin("a", Write(number)), list(range(1, number + 1)))
    assert check_history(history.operations, Log) is None


def test_what_is_not_the_models_business_fits() -> None:
    class Shy(Register):
        def apply(self, request: object) -> object:
            return (
                super().apply(request) if isinstance(request, Read) else NotImplemented
            )

    history = History()
    history.end(history.begin("a", Touch(1)), 77)
    history.end(history.begin("a", Read()), 0)
    assert check_history(history.operations, Shy) is None


def test_an_async_model_is_refused() -> None:
    class Later:
        async def apply(self, request: object) -> int:
            return 0

    with pytest.raises(TypeError, match=r"apply\(\) of Later is async"):
        check_history(operations("a |--| r0"), Later)


def test_a_key_splits_the_history() -> None:
    history = History()
    for key in ("x", "y"):
        history.end(history.begin("a", Write(1, key)))
    history.end(history.begin("a", Write(2, "y")))
    for key in ("x", "y"):
        history.end(history.begin("b", Read(key)), 1)
    misfit = check_history(history.operations, Register, key=lambda one: one.key)
    assert misfit is not None
    assert {one.request.key for one in cast("Any", misfit.operations)} == {"y"}
    assert str(misfit).startswith("not linearizable: 2 of 3 operations on 'y' fit no")


def test_equal_answers_of_other_types_fit() -> None:
    read = Operation("a", Read(), 1, 2, Outcome(0.0))
    assert check_history([read], Register) is None
    nan = float("nan")
    assert Outcome(nan).fits(Outcome(nan))


# --- In words -----------------------------------------------------------------


def test_the_text_shows_the_fewest_operations_on_a_line_of_time() -> None:
    history = operations("""
w |--|                                     w5
a       |--|                               r5
w              |---------------------      w6
b                |---|                     r6
c                      |---|               r5
a                             |---|        r6
""")
    misfit = check_history(history, Register)
    assert misfit is not None
    head, *rest = str(misfit).splitlines()
    assert head.startswith("not linearizable: 4 of 6 operations fit no order in which")
    assert rest == [
        "",
        "  w  |---|                          Write(value=5, key='x') -> None",
        "  w          |------------------->  Write(value=6, key='x') -> no answer",
        "  b              |---|              Read(key='x') -> 6",
        "  c                      |---|      Read(key='x') -> 5   the model: 6",
        "",
        "(the other 2 make no difference)",
    ]


def test_of_many_answers_of_the_model_some_are_told() -> None:
    history = History()
    numbers = [history.begin(f"w{value}", Write(value)) for value in range(1, 7)]
    history.end(history.begin("r", Read()), -1)
    for number in numbers:
        history.end(number)
    text = str(check_history(history.operations, Register))
    assert "-> -1   the model: 6 or 5 or 4 or 3 or ..." in text


# --- At random ----------------------------------------------------------------

writes = st.builds(Write, st.integers(0, 2))
calls = writes | st.just(Read())


class Table:
    """A model drawn at random: what it answers and where it goes, in each state."""

    def __init__(self, rows: list[list[tuple[int, int]]]) -> None:
        self.rows = rows
        self.state = 0

    def apply(self, request: Touch) -> int:
        answer, self.state = self.rows[self.state][request.kind]
        return answer


tables = st.lists(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=3, max_size=3),
    min_size=3,
    max_size=3,
)


def apply(model: Model, request: object) -> Outcome:
    try:
        return Outcome(model.apply(request))
    except ValueError as error:
        return Outcome(error=error)


@st.composite
def histories(
    draw: st.DrawFn, requests: st.SearchStrategy[Any], model: Callable[[], Model]
) -> list[Operation]:
    """What clients see of an object that works; some do not wait for the answer."""
    history, truth = History(), model()
    todo = draw(st.lists(st.tuples(st.sampled_from("abc"), requests), max_size=5))
    busy: dict[str, tuple[int, object, Outcome | None]] = {}
    while todo or busy:
        ready = [one for one in todo if one[0] not in busy]
        at = draw(st.integers(0, len(ready) + len(busy) - 1))
        if at < len(ready):
            client, request = ready[at]
            todo.remove(ready[at])
            busy[client] = (history.begin(client, request), request, None)
            continue
        client = list(busy)[at - len(ready)]
        number, request, outcome = busy.pop(client)
        if draw(st.integers(0, 9)) == 9:
            continue  # it gives up, before it was done or after
        if outcome is None:
            busy[client] = (number, request, apply(truth, request))
        else:
            history.end(number, outcome.value, outcome.error)
    return history.operations


@given(st.data())
@settings(deadline=None)
def test_what_a_correct_object_answers_is_accepted(data: st.DataObject) -> None:
    history = data.draw(histories(calls, Register))
    assert check_history(history, Register) is None
    history = data.draw(histories(st.builds(Write, st.integers(-1, 1)), Account))
    assert check_history(history, Account) is None


@given(st.data())
@settings(max_examples=300)
def test_a_wrong_answer_is_found_exactly_where_no_order_fits(
    data: st.DataObject,
) -> None:
    rows = data.draw(tables)
    cases: list[tuple[Callable[[], Model], st.SearchStrategy[object]]] = [
        (Register, calls),
        (Account, st.builds(Write, st.integers(-1, 1))),
        (lambda: Table(rows), st.builds(Touch, st.integers(0, 2))),
    ]
    model, requests = data.draw(st.sampled_from(cases))
    history = [
        attrs.evolve(one, outcome=Outcome(data.draw(st.integers(0, 2))))
        if one.outcome is not None and data.draw(st.booleans())
        else one
        for one in data.draw(histories(requests, model))
    ]
    misfit = check_history(history, model)
    assert (misfit is None) is fits_by_trying(history, model)
    if misfit is not None:
        assert all(one in history for one in misfit.operations)
        assert not fits_by_trying(misfit.operations, model)


@given(tables, st.data())
@settings(deadline=None)
def test_a_request_that_only_reads_in_some_states_is_no_reader(
    rows: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    """The shortcut for readers changes no verdict: without it, it is the same."""
    touches = st.builds(Touch, st.integers(0, 2))
    history = [
        attrs.evolve(one, outcome=Outcome(data.draw(st.integers(0, 1))))
        for one in data.draw(histories(touches, lambda: Table(rows)))
    ]
    plain = Machine(lambda: Table(rows))
    plain.moving.update(plain.number(Touch(kind)) for kind in range(3))
    quick = find_order(history, Machine(lambda: Table(rows)))
    assert (quick.order is None) is (find_order(history, plain).order is None)


def test_where_there_are_too_many_states_the_shortcut_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    history = operations("a |------| w1\nb   |--|   r0\nc      |--| r0\nd     |-| r7")
    shortcut = find_order(history, Machine(Register))
    monkeypatch.setattr(_orders, "SURE", 0)
    machine = Machine(Register)
    plain = find_order(history, machine)
    assert (shortcut.order, shortcut.stuck) == (plain.order, plain.stuck) == (None, 3)
    assert machine.number(Read()) in machine.moving


# --- In a test ------------------------------------------------------------------


class Replicated(Actor[Write | Read]):
    """Keeps two copies; a bug lets it read the old one once in a while."""

    def __init__(self, *, stale: bool) -> None:
        self.copies = [0, 0]
        self.stale = stale

    @handler
    def write(self, message: Write) -> None:
        self.copies = [message.value, self.copies[0]]

    @handler(reads_only=True)
    def read(self, message: Read) -> int:
        return self.copies[self.stale]


async def write_and_read(world: World, *, stale: bool) -> None:
    ref = await world.spawn(lambda: Replicated(stale=stale))
    for value in (1, 2):
        await ref.ask(Write(value))
    await ref.ask(Read())


@pytest.mark.parametrize("count", [1, 2])
@linearizable(Register)
async def test_a_test_that_fits_passes_beside_fixtures_and_parameters(
    world: World, count: int, tmp_path: Path
) -> None:
    """functools.wraps keeps the signature that pytest reads."""
    assert tmp_path.is_dir()
    for _ in range(count):
        await write_and_read(world, stale=False)
        await (await world.spawn(lambda: Replicated(stale=False))).ask(Write(0))


async def test_a_test_that_does_not_fit_fails(world: World) -> None:
    @linearizable(Register, key=lambda request: request.key)
    async def scenario(world: World) -> None:
        await write_and_read(world, stale=True)

    with pytest.raises(
        AssertionError, match=r"(?s)2 of 3 .*Read.* -> 1   the model: 2"
    ):
        await scenario(world)


async def test_two_models_of_one_test_are_both_asked(world: World) -> None:
    @linearizable(Register)
    @linearizable(Account)
    async def scenario(world: World) -> None:
        await write_and_read(world, stale=False)

    with pytest.raises(AssertionError, match="the model: 1"):
        await scenario(world)


async def test_a_test_that_fails_by_itself_says_why_itself(world: World) -> None:
    @linearizable(Register)
    async def scenario(world: World) -> None:
        await write_and_read(world, stale=True)
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        await scenario(world)


async def test_a_test_that_asks_nothing_is_not_called_linearizable(
    world: World,
) -> None:
    @linearizable(Register)
    async def scenario(world: World) -> None:
        await world.settled()

    with pytest.raises(AssertionError, match="has seen no request"):
        await scenario(world)


async def test_a_test_that_ends_before_its_clients_ask_proves_nothing(
    world: World,
) -> None:
    """Time may pass before they begin: that is no failure of the program."""

    @linearizable(Register)
    async def scenario(world: World) -> None:
        world.client(trio.sleep_forever)

    await scenario(world)


def test_an_instance_is_no_model() -> None:
    with pytest.raises(TypeError, match=r"Write @linearizable\(Register\), without"):
        linearizable(cast("Any", Register()))


def test_a_plain_function_is_no_test() -> None:
    """@explore returns one: it stands above."""

    def plain(world: Any) -> None: ...

    with pytest.raises(TypeError, match="plain is no async function"):
        linearizable(Register)(cast("Any", plain))


# --- Too much -----------------------------------------------------------------


def at_once(count: int) -> list[Operation]:
    history = History()
    numbers = [history.begin("w", Write(value)) for value in range(1, count + 1)]
    history.end(history.begin("r", Read()), -1)
    for number in numbers:
        history.end(number)
    return history.operations


def test_a_search_that_is_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a verdict that is none."""
    monkeypatch.setattr(_linear, "LIMIT", 100)
    with pytest.raises(RuntimeError, match=r"7 operations have more orders.*a key"):
        check_history(at_once(6), Register)


def test_what_is_too_long_to_explain_is_told_whole() -> None:
    history = at_once(6)
    machine = Machine(Register)
    found = find_order(history, machine)
    assert found.order is None
    found.tried = -990  # so that the searches for less may take nine steps
    misfit = explain(history, machine, found)
    assert misfit.operations == history
    assert misfit.stuck.request == Read()


class TestMethods:
    """A test in a class has its world in the second place."""

    @linearizable(Register)
    async def test_a_method_is_checked(self, world: World) -> None:
        await write_and_read(world, stale=False)


def test_a_test_without_a_world_is_refused() -> None:
    with pytest.raises(TypeError, match="has no first parameter for the world"):

        @linearizable(Register)  # type: ignore[arg-type]
        async def scenario() -> None: ...  # pyright: ignore[reportArgumentType]
