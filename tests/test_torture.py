"""A short round of `make torture`: the whole one takes most of an hour."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console

from torture.faults import Signal
from torture.run import Score, differences, torture
from torture.study import Place, Record, Trial
from tuner.driver.study_folder import StudyFolder

QUICK = ("SIGKILL to the driver", "SIGKILL to a worker", "flipped bit in a checkpoint")


@pytest.mark.long
def test_nothing_is_lost() -> None:
    printed = io.StringIO()
    console = Console(file=printed, soft_wrap=True)
    scores, unclear = torture(len(QUICK), 1, QUICK, ["grid"], console)
    assert unclear == []
    assert {name: score.times for name, score in scores.items()} == dict.fromkeys(QUICK, 1)
    assert all(score.is_clean for score in scores.values()), scores


def test_study_is_finished_once_it_says_so(tmp_path: Path) -> None:
    place = Place(tmp_path, "grid")
    assert not place.is_finished
    place.study_dir.mkdir(parents=True)
    (place.study_dir / "study.json").write_text("{}")
    assert not place.is_finished
    study = StudyFolder(place.study_dir)
    study.state.finished = ["Best of 24 trials: 0007"]
    study.save_state()
    assert place.is_finished


EXPECTED = Record(
    trials={"0000": [Trial("FINISHED", {"epochs": "2"}, {"loss": ((1, 0.5), (2, 0.25))})]},
    num_told={"0000": 1},
    summary=("FINISHED", "0000", 0.5, "1", "0000"),
    num_trained={("a", 1): 1, ("a", 2): 1},
    others=frozenset({"experiments", "mlflow.db"}),
)
TRIAL = EXPECTED.trials["0000"][0]


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, Score(1)),
        ({"trials": {}}, Score(1, lost=1)),
        ({"num_told": {}}, Score(1, lost=1)),
        ({"num_told": {"0000": 2}}, Score(1, doubled=1)),
        ({"trials": {"0000": [TRIAL, TRIAL]}}, Score(1, doubled=1)),
        ({"trials": {"0000": [TRIAL], "0001": [TRIAL]}}, Score(1, doubled=1)),
        (
            {"trials": {"0000": [dataclasses.replace(TRIAL, status="RUNNING")]}},
            Score(1, lost=1, differing=1),
        ),
        (
            {"trials": {"0000": [dataclasses.replace(TRIAL, metrics={})]}},
            Score(1, differing=1),
        ),
        ({"summary": ("FINISHED", "0001", 0.5, "1", "0001")}, Score(1, differing=1)),
        # One for each of two workers that were killed may be.
        ({"num_trained": {("a", 1): 2, ("a", 2): 2}}, Score(1)),
        ({"num_trained": {("a", 1): 4, ("a", 2): 1}}, Score(1, too_often=1)),
        ({"others": frozenset({"experiments", "mlflow.db", "core"})}, Score(1, left=1)),
    ],
)
def test_score_counts_what_differs(changes: dict[str, object], counted: Score) -> None:
    score = Score()
    seen = dataclasses.replace(EXPECTED, **changes)  # type: ignore[arg-type]
    score.add(seen, EXPECTED, Signal(9))
    assert bool(differences(seen, EXPECTED)) == bool(changes.keys() & {"trials", "summary"})
    assert score == counted
    assert score.is_clean == (counted == Score(1))
