"""Reports gathered from real MLflow."""

import dataclasses
import json
import shutil
from pathlib import Path

import mlflow
import pytest

from support.reports import PARAMS, made_up_study, text_of
from support.trials import MakeResult, MakeRun
from tuner import reports
from tuner.driver import study_folder
from tuner.driver.conclusion import make_report
from tuner.errors import ConfigError, StudyError
from tuner.images import image_files
from tuner.outcomes import TrialFailure
from tuner.reports import gather, on_drawings, study_page
from tuner.reports.records import Details
from tuner.runtime import files
from tuner.study import records
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker


def test_study_is_read_while_it_runs(
    client: mlflow.MlflowClient, tracker: Tracker, make_result: MakeResult
) -> None:
    values = {"epochs": 2, "learning_rate": 0.01, "optimizer": "adam", "batch_norm": True}
    for trial_id in ("0000", "0001", "0002"):
        tracker.open_trial(trial_id, values, {})
    tracker.finish_trial(make_result("0001"))
    tracker.fail_trial(TrialFailure("0000", "ValueError: no", "Traceback", "error"))
    [run] = records.find_studies(client, None)
    study = gather.read_study(client, run)
    assert (study.name, study.status, study.experiment) == ("first", "RUNNING", "digits")
    assert [trial.trial_id for trial in study.finished] == ["0001"]
    [failed] = study.failed
    assert (failed.error, failed.failure) == ("ValueError: no", "error")
    assert study.best.values == values
    assert study.is_log("learning_rate")
    assert not study.is_log("units_1")
    assert study.data is not None
    assert study.data.profile["num_test"] == 80
    assert study.versions["glassy"]
    details = gather.read_details(client, study)
    assert len(details.curves["0001"]) == 2
    assert details.confusion is not None
    assert sum(map(sum, details.confusion.counts)) == 80
    assert details.mistakes is not None
    assert details.decision is None


def test_counts_are_those_of_the_share_that_a_study_takes(
    client: mlflow.MlflowClient, tracker: Tracker
) -> None:
    other = Tracker(client, "digits", "half", "id-2")
    profile = {"num_train": 7, "num_validation": 2, "num_test": 80, "image_shape": [8, 8, 3]}
    record = DataRecord("digits", "d1", "{}", json.dumps({**profile, "num_classes": 10}))
    other.open_study(PARAMS, record, [])
    [run] = records.find_studies(client, None, "half")
    study = gather.read_study(client, run)
    assert study.data is not None
    made = made_up_study(1)
    made = study_page.study_page(dataclasses.replace(made, data=study.data), Details(), None)
    said = "digits: 7 train, 2 validation, 80 test images of 8 x 8 x 3, 10 classes"
    assert said in text_of(made)


def test_decision_of_the_gate_is_read(
    client: mlflow.MlflowClient, tracker: Tracker, make_result: MakeResult
) -> None:
    run_id = tracker.open_trial("0000", {"epochs": 2}, {}).run_id
    tracker.finish_trial(make_result("0000"))
    decision = {"promoted": True, "reason": "There was no champion."}
    client.log_dict(run_id, decision, "promotion/decision.json")
    [run] = records.find_studies(client, "digits", "first")
    study = gather.read_study(client, run)
    assert gather.read_details(client, study).decision == decision

    # The refit of these values on more images was judged later.
    again = tracker.open_trial("0000-refit", {"epochs": 2}, {}, "refit").run_id
    decision = {"promoted": False, "reason": "It is not better."}
    client.log_dict(again, decision, "promotion/decision.json")
    assert gather.read_details(client, study).decision == decision


def test_studies_are_found_by_experiment_and_name(
    client: mlflow.MlflowClient, tracker: Tracker
) -> None:
    other = Tracker(client, "letters", "second", "id-2")
    other.open_study({}, DataRecord("letters", "d2", "{}", "{}"), [])
    found = records.find_studies(client, None)
    assert [run.data.tags["tuner.study"] for run in found] == ["second", "first"]
    with pytest.raises(StudyError, match=r"no study 'firts' .* Did you mean first\?"):
        records.find_studies(client, None, "firts")
    with pytest.raises(StudyError, match="no study 'second' in experiment digits"):
        records.find_studies(client, "digits", "second")
    client.create_experiment("empty")
    with pytest.raises(ConfigError, match="empty` holds no study; these do: digits, letters"):
        records.find_studies(client, "empty")


def test_store_without_studies_is_refused(client: mlflow.MlflowClient) -> None:
    with pytest.raises(ConfigError, match="There is no study in this tracking store"):
        records.find_studies(client, None)


def test_study_without_a_finished_trial_writes_nothing(
    client: mlflow.MlflowClient, tracker: Tracker, tmp_path: Path
) -> None:
    tracker.open_trial("0000", {"epochs": 2}, {})
    [run] = records.find_studies(client, None)
    path = tmp_path / "out" / "report.html"
    with pytest.raises(
        StudyError, match=r"no finished trial to report \(0 failed, 1 started\)"
    ):
        reports.report_study(client, run, path)
    with pytest.raises(StudyError, match=r"None of these studies .* \(All of them: 1\)"):
        reports.report_studies(client, [run], "All of them", path)
    assert not path.parent.exists()


@pytest.mark.slow
def test_drawings_are_measured_where_there_are_a_model_and_classes(
    make_run: MakeRun, client: mlflow.MlflowClient, drawings: Path
) -> None:
    run_id, model_id = make_run()
    chosen = image_files.find(drawings)
    found = on_drawings.measure(chosen, run_id, client.tracking_uri)
    assert found is not None
    # The file outside of the folders has no class.
    assert found.num_files == 30
    assert 0 < found.num_right <= 30
    stray = image_files.find(drawings / "unknown.png")
    assert on_drawings.measure(stray, run_id, client.tracking_uri) is None
    client.delete_logged_model(model_id)
    shutil.rmtree("mlruns")
    assert on_drawings.measure(chosen, run_id, client.tracking_uri) is None


def test_search_does_not_fail_for_want_of_a_report(
    client: mlflow.MlflowClient,
    tracker: Tracker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files.write(tmp_path / "study.json", '{"study_id": "id-1"}')
    uri = "sqlite:///my runs.db"
    assert make_report(tracker, study_folder.StudyFolder(tmp_path), uri) is None
    assert "The report could not be made (Study 'first' has no finished trial" in caplog.text
    again = f"-m tuner.report study={tmp_path.name} 'tracking.uri={uri}'"
    assert again in caplog.text
