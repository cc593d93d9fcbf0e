"""A study of folds, run by its command: killed in a repeat, resumed, and read."""

import statistics
from pathlib import Path
from typing import Any

import mlflow
import pytest

import tuner
from support.commands import command, killed_and_whole, runs
from tuner import names
from tuner.tracking import history

GIVEN = (
    "study=first",
    "executor.workers=1",
    "search=grid",
    "data.folds=3",
    "space.epochs=3",
    "space.units=[16,24]",
    "space.layers=1",
    "space.learning_rate=0.01",
)


def results(folder: Path) -> dict[str, Any]:
    """Return what each trial has of its trainings, and its metrics but the times."""
    found = {}
    for run in runs(folder, names.KIND_TRIAL):
        trial = history.read_trial(run)
        kept = {n: v for n, v in trial.metrics.items() if not n.endswith("_seconds")}
        found[trial.trial_id] = (trial.status, trial.stopped, trial.repeats, kept)
    return found


@pytest.mark.long
def test_folds_of_a_killed_study_are_those_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, whole, done = killed_and_whole(tmp_path, GIVEN, "repeat 2/3 epoch 1/3")
    expected = results(whole)
    assert results(killed) == expected
    assert "The mean of its trainings, whose standard deviation is" in done.stdout

    for status, _, repeats, metrics in expected.values():
        assert status == "FINISHED"
        scores = repeats.scores("val_accuracy")
        assert metrics["val_accuracy"] == pytest.approx(statistics.fmean(scores))
        assert len(scores) in (1, 2, 3)
        for number, score in enumerate(scores, 1):
            assert metrics[names.of_repeat(number, "val_accuracy")] == pytest.approx(score)
    assert len(expected["0000"][2].finals) == 3

    report = (whole / "experiments" / "first" / "report.html").read_text()
    assert "Trained 3 times: val_accuracy" in report
    monkeypatch.chdir(whole)
    read = tuner.open_study("first", tracking_uri=f"sqlite:///{whole}/mlflow.db")
    assert read.best is not None
    best = read.best
    assert best.score == pytest.approx(expected[best.trial_id][3]["val_accuracy"])
    # The rows of its curve are the first training's.
    first = expected[best.trial_id][2].finals[0]["val_accuracy"]
    assert best.curve.val_accuracy.iloc[-1] == pytest.approx(first)

    # Folds say what a score is: they are not changed, not even by an extension.
    others = [given for given in GIVEN if "folds" not in given]
    refused = command(whole, "search", *others, "data.folds=4", "extend=true")
    assert refused.returncode == 2
    assert "data.folds" in refused.stderr
    client = mlflow.MlflowClient(f"sqlite:///{whole}/mlflow.db")
    [version] = client.search_model_versions("name = 'digits-classifier'")
    assert version.tags[names.TRIAL] == best.trial_id
