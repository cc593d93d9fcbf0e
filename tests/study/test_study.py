"""A recorded study read from Python."""

import dataclasses
from pathlib import Path

import mlflow
import numpy as np
import pandas
import pytest

import tuner
from support.commands import command, runs
from support.studies import FinishedStudy
from tuner import names
from tuner.errors import StudyError, UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def study(finished_study: FinishedStudy, monkeypatch: pytest.MonkeyPatch) -> tuner.Study:
    monkeypatch.chdir(finished_study.folder)
    return tuner.open_study("first")


def test_study_says_what_it_is(study: tuner.Study) -> None:
    assert (study.name, study.state, study.objective.name) == (
        "first",
        "finished",
        "val_accuracy",
    )
    assert repr(study) == "Study('first', finished)"


def test_trials_are_a_table_with_plain_types(study: tuner.Study) -> None:
    trials = study.trials
    assert list(trials.columns[:2]) == ["trial", "state"]
    assert trials.columns[-1] == "run_id"
    assert sorted(trials["trial"]) == ["0000", "0001", "0002", "0003"]
    assert set(trials["state"]) == {"finished"}
    assert trials["epochs"].dtype == np.int64
    assert trials["val_accuracy"].dtype == np.float64
    assert "object" not in set(map(str, trials.dtypes))
    assert trials["val_accuracy"].between(0, 1).all()


def test_curves_have_every_epoch(study: tuner.Study) -> None:
    curves, trials = study.curves, study.trials
    assert list(curves.columns[:2]) == ["trial", "epoch"]
    assert {"loss", "val_loss", "val_accuracy"} <= set(curves.columns)
    assert not {"test_accuracy", "train_seconds"} & set(curves.columns)
    last = curves.groupby("trial")["epoch"].max()
    assert last.to_dict() == dict(zip(trials["trial"], trials["epochs"], strict=True))
    ends = curves.sort_values("epoch").groupby("trial")["val_accuracy"].last()
    assert ends.to_dict() == dict(zip(trials["trial"], trials["val_accuracy"], strict=True))


def test_curves_are_the_same_from_the_folder_the_store_and_mlflow(
    study: tuner.Study, finished_study: FinishedStudy, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    here = study.curves
    dtypes = here.dtypes.to_dict()
    assert (dtypes.pop("epoch"), str(dtypes.pop("trial"))) == (np.int64, "str")
    assert set(dtypes.values()) == {np.dtype(np.float64)}
    monkeypatch.chdir(tmp_path)
    # Its folder is not here: now they come from the file that it has left in MLflow.
    asked: list[str] = []
    monkeypatch.setattr(
        mlflow.MlflowClient, "get_metric_history", lambda *_: asked.append("again")
    )
    pandas.testing.assert_frame_equal(study.curves, here)
    assert asked == []
    monkeypatch.undo()
    # Of an older study MLflow is asked for each metric, as of a trial that runs.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "EPOCHS", "none.jsonl")
    asked_for = study.curves
    pandas.testing.assert_frame_equal(asked_for[here.columns], here)


def test_curve_of_a_trial_is_its_part_of_the_study(study: tuner.Study) -> None:
    assert study.best is not None
    curve = study.best.curve
    assert curve["epoch"].tolist() == [1, 2]
    assert curve["val_accuracy"].iloc[-1] == study.best.score


def test_best_is_loaded_and_answers(study: tuner.Study) -> None:
    best = study.best
    assert best is not None
    assert best.score == study.trials["val_accuracy"].max()
    assert best.metrics["val_accuracy"] == best.score
    assert best.trial_id in set(study.trials["trial"])
    classifier = best.load()
    images = np.zeros((2, *classifier.image_shape), np.uint8)
    assert classifier.predict_proba(images).shape == (2, 10)
    with pytest.raises(UserError):
        dataclasses.replace(best, run_id="0" * 32).load()


def test_report_is_written_where_it_is_asked_for(study: tuner.Study, tmp_path: Path) -> None:
    path = study.report(tmp_path / "mine" / "seen.html")
    assert path == tmp_path / "mine" / "seen.html"
    assert "<title>Study first" in path.read_text(encoding="utf-8")


def test_notebook_shows_cards_with_a_picture(
    study: tuner.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = study.best
    assert best is not None
    classifier = best.load()
    accuracy = f"{best.score:.4f} (95 % interval 0."
    for shown, words in (
        (study, ["<strong>Study first</strong>", "4 finished", accuracy, "216 images)"]),
        (best, [f"<strong>Trial {best.trial_id} of study first", accuracy, "units_1"]),
        (classifier, [f"<strong>Classifier runs:/{best.run_id}", "8 x 8", "360 images)"]),
    ):
        card = shown._repr_html_()
        assert "<polyline points=" in card
        for part in words:
            assert part in card
    # Its store may be gone, or somewhere else.
    gone = dataclasses.replace(classifier, _tracking_uri="sqlite:////nowhere/mlflow.db")
    assert "<polyline" not in gone._repr_html_()
    assert "8 x 8" in gone._repr_html_()


def test_studies_are_listed(study: tuner.Study) -> None:
    found = tuner.list_studies()
    assert len(found) == 1
    row = found.iloc[0]
    assert (row["study"], row["state"], row["experiment"]) == ("first", "finished", "digits")
    assert study.best is not None
    assert row["best"] == study.best.score
    assert isinstance(row["began"], pandas.Timestamp)


def test_study_of_another_folder_is_opened_by_its_store(
    study: tuner.Study, finished_study: FinishedStudy, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    there = tuner.open_study("first", tracking_uri=finished_study.uri)
    assert there.state == "finished"
    assert there.best is not None
    assert there.best.load().classes == tuple(map(str, range(10)))


def test_unknown_study_is_refused(study: tuner.Study) -> None:
    with pytest.raises(StudyError, match="There is no study 'frist'"):
        tuner.open_study("frist")


def test_study_without_a_result_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command(
        tmp_path, "search", "data=digits", "study=cut", "search.max_trials=2",
        "search.max_minutes=0.00001", "space.epochs=1", "space.units=8",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    found = tuner.open_study("cut", tracking_uri=uri)
    assert (found.best, found.state) == (None, "failed")
    assert set(found.trials["state"]) <= {"killed"}
    assert found.curves.empty
    # As a killed process leaves it, which can be seen only from the study's own folder.
    client = mlflow.MlflowClient(uri)
    [run] = runs(tmp_path, "study")
    client.update_run(run.info.run_id, status="RUNNING")
    assert found.state == "running"
    monkeypatch.chdir(tmp_path)
    assert found.state == "interrupted"
