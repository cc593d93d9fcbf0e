"""Which study a name stands for, and which of its trials is the best."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from support.configs import loaded
from support.trials import MakeResult
from tuner import reports
from tuner.driver.study_folder import EXPERIMENTS_DIR
from tuner.errors import StudyError
from tuner.outcomes import TrialFailure
from tuner.reports import comparison_page, gather
from tuner.study import records
from tuner.tracking import history
from tuner.tracking.data_record import DataRecord
from tuner.tracking.logged_models import logged_model_id
from tuner.tracking.runs import Tracker

DATA = DataRecord("digits", "d1", "{}", "{}")
SETTINGS = {
    "search.objective": "val_accuracy",
    "search.oracle": "grid",
    "seed": 0,
    "space.epochs": 2,
    "space.batch_size": 32,
    "model._target_": "tuner.models.mlp.build",
}
ANN, BOB = "aaaa1111" + "0" * 24, "bbbb2222" + "0" * 24

Begin = Callable[..., Tracker]


@pytest.fixture
def begin(client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Begin:
    """Begin a study as one of several users."""

    def make(study_id: str, user: str, experiment: str = "digits") -> Tracker:
        with monkeypatch.context() as patched:
            patched.setenv("LOGNAME", user)
            tracker = Tracker(client, experiment, "alice", study_id)
            tracker.open_study(SETTINGS, DATA, [])
        return tracker

    return make


def folder_of(study_id: str) -> None:
    (EXPERIMENTS_DIR / "alice").mkdir(parents=True)
    content = json.dumps({"study_id": study_id})
    (EXPERIMENTS_DIR / "alice" / "study.json").write_text(content)


def id_of(run: mlflow.entities.Run) -> str:
    return history.read_study(run).study_id


def test_study_whose_folder_is_here_is_meant(client: mlflow.MlflowClient, begin: Begin) -> None:
    begin(ANN, "ann")
    begin(BOB, "bob")
    folder_of(ANN)
    assert id_of(records.choose(client, None, "alice")) == ANN


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": 1}'])
def test_name_of_two_studies_is_asked_about(
    content: str, client: mlflow.MlflowClient, begin: Begin
) -> None:
    begin(ANN, "ann")
    begin(BOB, "bob", "letters")
    folder_of("")
    (EXPERIMENTS_DIR / "alice" / "study.json").write_text(content)
    with pytest.raises(StudyError) as caught:
        records.choose(client, None, "alice")
    said = str(caught.value)
    for part in ("`study=alice`", "study=aaaa1111", "by ann in", "study=bbbb2222", "by bob in"):
        assert part in said
    assert os.getcwd() in said
    assert id_of(records.choose(client, None, "bbbb2222")) == BOB
    assert id_of(records.choose(client, None, ANN)) == ANN
    assert id_of(records.choose(client, "letters", "bbbb")) == BOB
    with pytest.raises(StudyError, match="no study 'bbb'"):
        records.choose(client, None, "bbb")


def test_study_of_somebody_else_is_not_taken_for_the_one_of_this_folder(
    client: mlflow.MlflowClient, begin: Begin
) -> None:
    begin(BOB, "bob")
    folder_of(ANN)
    with pytest.raises(StudyError, match=r"(?s)of this folder has no run .*study=bbbb2222"):
        records.choose(client, None, "alice")
    assert id_of(records.choose(client, None, "bbbb2222")) == BOB


def test_name_of_one_study_needs_no_folder(client: mlflow.MlflowClient, begin: Begin) -> None:
    begin(BOB, "bob")
    assert id_of(records.choose(client, None, "alice")) == BOB


def test_deleted_study_says_how_to_bring_it_back(
    client: mlflow.MlflowClient, begin: Begin
) -> None:
    run_id = begin(ANN, "ann").run_id
    Tracker(client, "digits", "other", "id-1").open_study(SETTINGS, DATA, [])
    client.delete_run(run_id)
    with pytest.raises(StudyError, match=f"mlflow runs restore --run-id {run_id}"):
        records.choose(client, None, "alice")


def test_trial_of_a_lost_study_says_what_to_do(
    client: mlflow.MlflowClient, begin: Begin
) -> None:
    tracker = begin(ANN, "ann")
    trial = client.get_run(tracker.open_trial("0000", {"epochs": 2}, {}).run_id)
    client.delete_run(tracker.run_id)
    with pytest.raises(StudyError, match=f"mlflow runs restore --run-id {tracker.run_id}"):
        records.study_of(client, trial)


def test_trial_of_a_study_is_found_by_its_id(
    client: mlflow.MlflowClient, begin: Begin, make_result: MakeResult
) -> None:
    tracker = begin(ANN, "ann")
    study = records.StudyRun(client.get_run(tracker.run_id), loaded())

    def refusal(trial_id: str) -> str:
        with pytest.raises(StudyError) as caught:
            records.trial_of(client, study, trial_id)
        return str(caught.value)

    assert "must be a trial of study alice, but there is none; it has no trial" in refusal("0")
    for trial_id in ("0000", "0001", "0002", "0003"):
        tracker.open_trial(trial_id, {"epochs": 2}, {})
    tracker.finish_trial(make_result("0000"))
    tracker.finish_trial(make_result("0001"), with_model=False)
    tracker.fail_trial(TrialFailure("0002", "ValueError: no.", "Traceback", "error"))
    with_model, without = (records.trial_of(client, study, i) for i in ("0000", "0001"))
    assert with_model.info.run_id == tracker.run_of("0000")
    assert records.has_model(client, with_model)
    assert not records.has_model(client, without)
    client.delete_logged_model(logged_model_id(client, with_model.info.run_id))
    assert not records.has_model(client, with_model)
    assert "but there is none; its trials are 0000 to 0003." in refusal("4")
    assert "but it failed (ValueError: no). The best trial" in refusal("2")
    assert "but it is still running" in refusal("0003")
    tracker.kill_trial("0003")
    assert "but it was interrupted." in refusal("0003")


def test_reports_keep_studies_of_one_name_apart(
    client: mlflow.MlflowClient, begin: Begin, make_result: MakeResult, tmp_path: Path
) -> None:
    ann, bob = begin(ANN, "ann"), begin(BOB, "bob")
    for tracker, trial_ids in ((ann, ["0000"]), (bob, ["0000", "0001"])):
        for trial_id in trial_ids:
            tracker.open_trial(trial_id, {"epochs": 2}, {})
            tracker.finish_trial(make_result(trial_id))
    study = gather.read_study(client, client.get_run(ann.run_id))
    assert [trial.run_id for trial in study.trials] == [ann.run_of("0000")]
    runs = records.find_studies(client, None)
    compared = reports.report_studies(client, runs, "All", tmp_path / "report.html")
    # Two copies of one model.
    [verdict] = comparison_page.verdicts(compared)
    assert (verdict.p_value, verdict.only_first, verdict.only_second) == (1.0, 0, 0)
    named = {row[0] for row in comparison_page.models(compared).rows}
    assert named == {
        "mlp, alice (ann, aaaa1111) 0000",
        "mlp, alice (bob, bbbb2222) 0000",
    }
