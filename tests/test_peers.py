"""The peers of the benchmarks do the same work; each is run where it is installed."""

from types import ModuleType

import pytest

from benchmarks._records import CONTENDERS, Missing, Sample
from benchmarks._worker import load
from benchmarks._workloads import WORKLOADS
from benchmarks.peers import _beam
from tests.test_benchmarks import OPERATIONS, TINY

PEERS = sorted(set(CONTENDERS) - {"trio_actors", "naive", "asyncio"})
BASES = [workload.name for workload in WORKLOADS if not workload.like]


def loaded(name: str) -> ModuleType:
    try:
        module = load(name)
        getattr(module, "version", lambda: "")()
    except Missing as missing:
        pytest.skip(str(missing))
    return module


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_does_each_workload_or_says_why_not(name: str) -> None:
    module = loaded(name)
    done = {workload for workload in BASES if hasattr(module, workload)}
    refused = set(getattr(module, "WITHOUT", {}))
    assert done | refused == set(BASES)
    assert not done & refused
    assert set(getattr(module, "AT_MOST", {})) <= done


# A process per actor takes its time: there is a small one for it below.
@pytest.mark.parametrize("name", sorted(set(PEERS) - {"thespian_tcp"}))
@pytest.mark.filterwarnings("ignore")  # what is in their code is not our matter
def test_a_peer_does_as_much_as_we_do(name: str) -> None:
    """What came of it is checked by each of them."""
    module = loaded(name)
    for workload in sorted(set(BASES) - set(getattr(module, "WITHOUT", {}))):
        sample: Sample = getattr(module, workload)(TINY[workload])
        assert (workload, sample.operations) == (workload, OPERATIONS[workload])
        assert sample.seconds > 0


@pytest.mark.filterwarnings("ignore")
def test_thespian_goes_by_tcp() -> None:
    sample: Sample = loaded("thespian_tcp").ring({"actors": 3, "laps": 2})
    assert sample.operations == 6
    assert sample.clock == "wall"


@pytest.mark.parametrize("name", ["erlang", "otp"])
def test_erlang_weighs_its_processes(name: str) -> None:
    sample: Sample = loaded(name).idle({"actors": 3000})
    assert 1000 < sample.figures["bytes_untold"] < 10_000
    assert sample.figures["bytes_untold"] <= sample.figures["bytes_told"] < 10_000


def test_an_erlang_program_that_fails_says_how() -> None:
    loaded("erlang")
    with pytest.raises(RuntimeError, match="undef"):
        _beam.run("processes", "nothing", {})


def test_no_erlang_is_a_row_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Missing, match="erlang-base"):
        _beam.version()
