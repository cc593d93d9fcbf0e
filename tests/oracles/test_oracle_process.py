"""The oracle in its own process must answer like the one it wraps."""

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuner.config.searches import GridConfig, SearchConfig, TpeConfig
from tuner.config.space import Space
from tuner.errors import SearchFailed, StudyError
from tuner.oracles.journal import JournaledOracle
from tuner.oracles.process import OracleProcess
from tuner.outcomes import Told
from tuner.trial import Objective

SPACE = Space.parse({"epochs": [1, 2], "batch_size": 32, "width": [8, 16]}, "my.build")
OBJECTIVE = Objective("val_accuracy", "max")
GRID = GridConfig("grid")
TPE = TpeConfig("tpe", max_trials=4, num_initial_points=1)


@contextlib.contextmanager
def oracle_in_process(folder: Path, search: SearchConfig = GRID) -> Iterator[OracleProcess]:
    arguments = (search, SPACE, OBJECTIVE, 3, folder / "oracle.jsonl", (), ())
    with contextlib.closing(OracleProcess(*arguments, folder / "log")) as oracle:
        yield oracle


@pytest.mark.slow
@pytest.mark.parametrize("search", [GRID, TPE], ids=lambda search: search.oracle)
def test_answers_as_the_oracle_itself_and_goes_on(search: SearchConfig, tmp_path: Path) -> None:
    direct = JournaledOracle(search, SPACE, OBJECTIVE, 3, tmp_path / "direct.jsonl")
    with oracle_in_process(tmp_path, search) as oracle:
        assert (oracle.num_trials, oracle.rounds, oracle.num_told) == (4, None, 0)
        for i in range(2):
            proposal = oracle.ask()
            assert proposal == direct.ask()
            assert proposal is not None
            for one in (oracle, direct):
                one.tell(proposal.trial_id, Told(i / 10))
        assert oracle.num_told == 2
    with oracle_in_process(tmp_path, search) as oracle:
        assert oracle.num_told == 2
        assert oracle.values == direct.values
        assert oracle.scores == direct.scores
        assert oracle.ask() == direct.ask()


@pytest.mark.slow
def test_what_it_logs_and_raises_reaches_the_driver(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = tmp_path / "oracle.jsonl"
    journal.write_text('{"torn')
    with caplog.at_level(logging.WARNING, "tuner"), oracle_in_process(tmp_path):
        assert caplog.messages == [f"The last line of {journal} was cut off and is dropped."]
    journal.write_text("strange\n")
    with pytest.raises(StudyError, match="has been altered"), oracle_in_process(tmp_path):
        pytest.fail("It must not start.")


@pytest.mark.slow
def test_killed_process_is_told_of(tmp_path: Path) -> None:
    with oracle_in_process(tmp_path) as oracle:
        pid = oracle.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(SearchFailed, match="oracle's process has died"):
            oracle.ask()
