"""A study whose trainings are told all that they may be, as a user runs it."""

import re
from pathlib import Path

import mlflow
import pytest

import tuner
from support.commands import command, runs
from support.paths import ROOT

QUICK = ("executor=serial", "space.units=16", "space.epochs=30", "space.learning_rate=0.02")
TOLD = (
    *QUICK,
    "study=told",
    "search=grid",
    "space.batch_norm=[true,false]",
    "search.objective=val_balanced_accuracy",
    "training.early_stopping={patience: 2, monitor: val_loss}",
    "training.reduce_on_plateau={factor: 0.5, patience: 1, monitor: val_loss}",
    "training.class_weight=balanced",
    "training.callbacks=[my_callbacks.make,spy.Spy]",
    "registry.refit=true",
)

SPY = """
import keras


class Spy(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = iter([1, 2])
"""

pytestmark = pytest.mark.slow


def callbacks_of_the_guide() -> str:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    [found] = re.findall(r"^```python\n(# my_callbacks\.py\n.*?)^```$", text, re.S | re.M)
    return str(found)


def test_study_that_is_told_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_callbacks.py").write_text(callbacks_of_the_guide())
    (tmp_path / "spy.py").write_text(SPY)
    done = command(tmp_path, "search", *TOLD)
    assert done.returncode == 0, done.stderr
    notice, trial = done.stdout.splitlines()[1:3]
    assert notice.startswith("Spy has an attribute seen of type list_iterator, which no check")
    assert trial.startswith("trial 0000")
    assert "stopped early after epoch" in trial
    assert not list((tmp_path / "experiments" / "told").glob("curves/*/*.checkpoint"))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    trials = {run.data.tags["tuner.trial"]: run for run in runs(tmp_path, "trial")}
    for run in trials.values():
        tags, metrics = run.data.tags, run.data.metrics
        points = client.get_metric_history(run.info.run_id, "val_loss")
        epochs = {point.step: point.value for point in points}
        assert tags["tuner.stopped"] == "early"
        assert tags["tuner.stopped_because"].startswith(
            "val_loss has not improved for 2 epochs"
        )
        best = int(tags["tuner.best_epoch"])
        assert metrics["val_loss"] == min(epochs.values()) == epochs[best] == epochs.pop(31)
        assert metrics["epochs_trained"] == len(epochs) == best + 2
        assert {"val_gap", "learning_rate", "val_balanced_accuracy"} <= metrics.keys()
    # What the search has told, ranked, promoted and reported is one number.
    monkeypatch.chdir(tmp_path)
    study = tuner.open_study("told")
    best_trial = study.best
    assert best_trial is not None
    score = max(run.data.metrics["val_balanced_accuracy"] for run in trials.values())
    assert best_trial.score == score
    assert f"val_balanced_accuracy {score:.4f}, test accuracy" in done.stdout
    journal = (tmp_path / "experiments" / "told" / "oracle.jsonl").read_text()
    assert repr(score) in journal
    curves = study.curves.groupby("trial")["epoch"].max()
    assert curves.to_dict() == {
        trial_id: run.data.metrics["epochs_trained"] for trial_id, run in trials.items()
    }
    [refit] = runs(tmp_path, "refit")
    of_best = trials[best_trial.trial_id]
    assert refit.data.metrics["epochs_trained"] == int(of_best.data.tags["tuner.best_epoch"])
    assert "tuner.stopped_because" not in refit.data.tags
    report = (tmp_path / "experiments" / "told" / "report.html").read_text()
    assert "What stopped early" in report
    assert "has not improved for 2 epochs" in report


def test_classes_that_the_data_do_not_have_are_refused(tmp_path: Path) -> None:
    weights = "training.class_weight={3: 1.0, ten: 2.0}"
    refused = command(tmp_path, "search", *QUICK, weights, "study=wrong")
    assert refused.returncode == 2
    assert "the data have no class 'ten'" in refused.stderr
    assert not (tmp_path / "experiments").exists()
