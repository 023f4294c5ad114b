"""The numbered examples, run in virtual time: each prints what it shows."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import trio
import trio.testing

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The example whose number stands in the test's name, as a module."""
    number = request.node.name.split("_")[1]
    (path,) = EXAMPLES.glob(f"{number}_*.py")
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def output(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the example prints, line by line."""
    trio.run(example.main, clock=trio.testing.MockClock(autojump_threshold=0))
    return capsys.readouterr().out.splitlines()


def test_01_hello_three_times(output: list[str]) -> None:
    """S0-2 Actix Ping, S0-3 Coerce Greeter, S0-4 Xactor Hello."""
    assert output == ["Actor is alive", "1 2", "Hello, World!", "Hello, Hello!"]


def test_02_basic_actor_adds_up_to_45(output: list[str]) -> None:
    """S3-1: messages 0..9, the state after each, 45 in the end."""
    sums = [0, 1, 3, 6, 10, 15, 21, 28, 36, 45]
    assert output == [
        *(f"Received: {n}  State: {total}" for n, total in enumerate(sums)),
        "Final state: 45",
    ]


def test_03_responding_actor_survives_an_asker_that_goes(output: list[str]) -> None:
    """S3-2: ten answers; to answer somebody who has gone is harmless."""
    assert output == [
        "[0, 1, 3, 6, 10, 15, 21, 28, 36, 45]",
        "the asker has gone; the actor finishes, and drops the answer",
        "100",
    ]


def test_04_counter_service_counts_by_key(output: list[str]) -> None:
    """S0-6: the new value, 0 for an unknown key."""
    assert output == ["page-0 34", "page-1 33", "page-2 33", "page-3 0"]


def test_05_four_directives_do_four_things(output: list[str]) -> None:
    """S0-7: restart, resume, stop, escalate."""
    assert output == [
        "ValueError(): 100",
        "KeyError(): 111",
        "OSError(): stopped",
        "MemoryError(): stopped",
        "the new counter: 100",
    ]


def test_06_a_worker_cleans_up_before_its_restart(output: list[str]) -> None:
    """S0-8: capacity 100, a ``restarting`` hook, a supervisor of several workers."""
    assert output[:3] == [f"{name} started, incarnation 1" for name in WORKERS]
    assert sorted(output[3:]) == sorted(
        [
            "eve did job 11",
            "ada did job 12",
            "bob cleans up before its restart: job 13 is unlucky",
            "bob is back, with 0 drafts",
            "eve did job 14",
            "ada did job 15",
            "bob did job 16",
        ]
    )
    assert [line for line in output[3:] if line.startswith("bob")] == [
        "bob cleans up before its restart: job 13 is unlucky",
        "bob is back, with 0 drafts",
        "bob did job 16",
    ]


WORKERS = ("ada", "bob", "eve")


def test_07_queue_lengths_are_seen_and_batches_are_shorter(output: list[str]) -> None:
    """S0-11: monitor queue lengths, batch processing."""
    assert output == [
        "/one-by-one: 447/1000 wait",
        "/in-batches: 150/1000 wait",
        "/one-by-one: 445/1000 wait",
        "/in-batches: 0/1000 wait",
        "/one-by-one: 442/1000 wait",
        "/in-batches: 0/1000 wait",
        "batches of [100, 100, 100, 100, 50]",
    ]


def test_08_an_actor_creates_sends_and_becomes(output: list[str]) -> None:
    """S1-1: create, send, become; an ephemeral actor per request."""
    assert output == [
        "opening",
        "soup from /restaurant/cook-2",
        "pancakes from /restaurant/cook-1",
    ]


def test_09_the_event_loop_names_what_it_cannot_handle(
    example: ModuleType, output: list[str]
) -> None:
    """S1-3: event types and their names; S1-4: the loop, its buffer, its two ends."""
    kinds = [str(kind) for kind in example.EventType]
    assert kinds == [
        "unknown",
        "identityRequest",
        "syncTimeout",
        "syncRequest",
        "syncReply",
    ]
    assert output == [
        "identityRequest: 1",
        "identityRequest: 42",
        "closed: shutdown",
        "failed: no handler identified for event unknown",
        "full: after 1024 events, nothing was blocked",
    ]


def test_10_the_trace_is_serial(output: list[str]) -> None:
    """S1-6: the events of an actor, in the order in which it took them."""
    takes = [line for line in output if line.startswith("/replica takes")]
    assert takes == [
        "/replica takes Next()",
        "/replica takes Update(counter=41)",
        "/replica takes Next()",
        "/replica takes Update(counter=-1)",
    ]
    assert [
        line for line in output if line.endswith(("started", "ing -1", "ed -1"))
    ] == [
        "/replica started",
        "/replica failed -1",
        "/replica restarting -1",
        "/replica restarted -1",
    ]
    assert any("replica" in line and "running" in line for line in output)


def test_11_old_code_is_isolated_and_replaced_in_a_test(output: list[str]) -> None:
    """S3-7: direct calls and actors side by side; legacy code behind an actor."""
    assert output == [
        "called directly, by one task: 1",
        "by many, through the actor: 6",
        "in a test: 1000",
    ]


def test_12_slow_calls_go_to_threads_and_threads_send_back(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """S0-9: no blocking, immutable messages. In real time: threads do not jump."""
    trio.run(example.main)
    digests, values, refused = capsys.readouterr().out.splitlines()
    expected = [example.slow_digest(bytes([n])) for n in range(4)]
    assert digests == " ".join(["four digests:", *expected])
    assert values == "from a foreign thread: [1, 2, 3]"
    assert "Mutable" in refused


def test_13_a_buffer_collects_what_is_said(output: list[str]) -> None:
    """S3-7: buffering chatbot messages across services."""
    assert output == [
        "to ada: I have read 2 lines from you",
        "to bob: I have read 1 lines from you",
        "to ada: I have read 1 lines from you",
    ]


def test_14_a_race_is_found_and_its_absence_verified(
    example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a bank; the guide in the README says it at length (test_guide.py)."""
    example.main()
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == "found after 2 schedules; 1 deviation from FIFO"
    assert last == "2 classes, 2 schedules, 0 redundant: verified"


def test_every_example_has_a_test_and_is_short() -> None:
    """Each is made to be read: a hundred lines at most."""
    names = {name.split("_")[1] for name in globals() if name.startswith("test_")}
    for path in EXAMPLES.glob("[0-9][0-9]_*.py"):
        assert path.name[:2] in names
        assert len(path.read_text().splitlines()) <= 100
