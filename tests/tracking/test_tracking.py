"""What MLflow holds after each step of a study, on a real SQLite store."""

import contextlib
import dataclasses
import json
import math
import os
import socket
import sqlite3
import threading
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from support.trials import ARTIFACTS, MakeResult
from tuner.errors import ConfigError, UnavailableError
from tuner.outcomes import TrialFailure, TrialResult
from tuner.tracking import runs
from tuner.tracking.data_record import DataRecord
from tuner.tracking.history import read_trial
from tuner.tracking.logged_models import logged_model_id
from tuner.tracking.runs import Tracker
from tuner.tracking.tracking_store import connect, resolve_uri
from tuner.tracking.trial_epochs import curve

VALUES = {"epochs": 2, "units_1": 8, "activation": "relu"}
DATA = DataRecord("digits", "abc123", json.dumps({"loader": "x"}), json.dumps({"num_test": 1}))


def open_tracker(client: mlflow.MlflowClient, study_id: str = "id-1") -> Tracker:
    tracker = Tracker(client, "digits", "first", study_id)
    tracker.open_study({"seed": 0, "data.name": "digits"}, DATA, [])
    return tracker


def history(client: mlflow.MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in client.get_metric_history(run_id, key)]


def test_open_study_makes_the_parent_run(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text("seed: 0\n")
    tracker = Tracker(client, "digits", "first", "id-1")
    tracker.open_study({"seed": 0}, DATA, [settings])
    run = client.get_run(tracker.run_id)
    assert run.info.run_name == "first"
    assert run.info.status == "RUNNING"
    assert run.data.params == {"seed": "0"}
    assert run.data.tags["tuner.kind"] == "study"
    assert run.data.tags["tuner.study"] == "first"
    assert [item.path for item in client.list_artifacts(tracker.run_id)] == ["config.yaml"]
    [dataset] = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("digits", "abc123")


def test_open_study_logs_more_params_than_a_batch_holds(client: mlflow.MlflowClient) -> None:
    tracker = Tracker(client, "digits", "first", "id-1")
    tracker.open_study({f"key_{i}": i for i in range(205)}, DATA, [])
    assert len(client.get_run(tracker.run_id).data.params) == 205


def test_open_trial_makes_a_nested_run(client: mlflow.MlflowClient) -> None:
    tracker = open_tracker(client)
    trial = tracker.open_trial("0000", VALUES, {"tuner.round": "1"})
    run = client.get_run(trial.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"epochs": "2", "units_1": "8", "activation": "relu"}
    assert run.data.tags["mlflow.parentRunId"] == tracker.run_id
    assert run.data.tags["tuner.kind"] == "trial"
    assert run.data.tags["tuner.study"] == "first"
    assert run.data.tags["tuner.trial"] == "0000"
    assert run.data.tags["tuner.round"] == "1"
    assert run.inputs.dataset_inputs[0].dataset.digest == "abc123"


def test_log_epoch_writes_what_came_within_a_second_together(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LIVE_SECONDS", 3600)
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    for epoch in (1, 2, 3):
        tracker.log_epoch("0000", epoch, {"loss": 1 / epoch})
    assert len(history(client, run_id, "loss")) < 3
    tracker.kill_trial("0000")
    assert history(client, run_id, "loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_log_epoch_counts_steps_from_one(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LIVE_SECONDS", 0)
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    tracker.log_epoch("0000", 1, {"loss": 0.5, "val_accuracy": 0.7})
    tracker.log_epoch("0000", 2, {"loss": 0.4, "val_accuracy": 0.8})
    assert history(client, run_id, "loss") == [(1, 0.5), (2, 0.4)]
    assert history(client, run_id, "val_accuracy") == [(1, 0.7), (2, 0.8)]


def test_finish_trial_records_everything(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    result = make_result("0000")
    tracker.log_epoch("0000", 1, result.epochs[0])
    tracker.finish_trial(result)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    # The epoch that was not logged live is there too, and none is there twice.
    assert history(client, run_id, "val_accuracy") == [
        (i + 1, metrics["val_accuracy"]) for i, metrics in enumerate(result.epochs)
    ]
    assert run.data.metrics["test_accuracy"] == result.test["test_accuracy"]
    assert run.data.metrics["train_seconds"] == result.train_seconds
    assert run.data.metrics["compile_seconds"] == result.compile_seconds
    assert run.data.metrics["evaluate_seconds"] == result.evaluate_seconds
    assert run.data.metrics["trial_seconds"] == result.seconds
    assert {item.path for item in client.list_artifacts(run_id)} == set(ARTIFACTS)
    model = client.get_logged_model(logged_model_id(client, run_id))
    assert (model.name, model.source_run_id, model.status) == ("model", run_id, "READY")
    assert tracker.metrics("0000")["test_accuracy"] == result.test["test_accuracy"]


def test_finished_model_names_its_run_and_pins_requirements(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    tracker.finish_trial(make_result("0000"))
    info = mlflow.models.get_model_info(f"runs:/{run_id}/model")
    assert info.run_id == run_id
    assert str(info.signature.inputs.inputs[0].type) == "uint8"
    assert info.signature.inputs.inputs[0].shape == (-1, 8, 8)
    assert info.metadata["class_names"] == [str(i) for i in range(10)]
    path = mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model/requirements.txt")
    lines = Path(path).read_text().split()
    assert all("==" in line for line in lines)
    assert {line.split("==")[0] for line in lines} >= {"keras", "tensorflow", "mlflow"}


def test_finish_trial_says_what_was_trained_before(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    result = dataclasses.replace(
        make_result("0000"), epochs_reused=1, continued_from="first/0007", curve="abc"
    )
    tracker.finish_trial(result)
    data = client.get_run(run_id).data
    assert (data.metrics["epochs_trained"], data.metrics["epochs_reused"]) == (1, 1)
    assert data.tags["tuner.continued_from"] == "first/0007"
    assert data.tags["tuner.curve"] == "abc"


def test_finish_trial_without_its_model(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    tracker.finish_trial(make_result("0000"), with_model=False)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert client.search_logged_models(["1"]) == []
    with pytest.raises(MlflowException, match="has logged no model"):
        logged_model_id(client, run_id)


def test_reopened_trial_logs_its_model_once(
    client: mlflow.MlflowClient, make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_tracker(client)
    run_id = before.open_trial("0000", VALUES, {}).run_id
    result = make_result("0000")
    # Killed after the model was logged, and a model of which half was written.
    with monkeypatch.context() as patched:
        patched.setattr(client, "log_batch", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            before.finish_trial(result)
    client.create_logged_model("1", name="model", source_run_id=run_id)

    after = open_tracker(client)
    assert after.finished("0000", VALUES) is None
    after.open_trial("0000", VALUES, {})
    after.finish_trial(make_result("0000"))
    [model] = client.search_logged_models(["1"])
    assert (model.model_id, str(model.status)) == (logged_model_id(client, run_id), "READY")
    assert "test_accuracy" in client.get_run(run_id).data.metrics


def _interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_close_study_deletes_a_run_that_was_made_twice(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client)
    tracker.open_trial("0000", VALUES, {})
    run = client.get_run(tracker.run_of("0000"))
    client.create_run("1", tags=run.data.tags)
    tracker.finish_trial(make_result("0000"))
    tracker.close_study("FINISHED")
    query = "tags.`tuner.kind` = 'trial'"
    [run] = client.search_runs(["1"], query)
    assert run.info.run_id == tracker.run_of("0000")


def test_trial_of_which_all_but_its_end_was_recorded_is_recorded_once(
    client: mlflow.MlflowClient, make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_tracker(client)
    run_id = before.open_trial("0000", VALUES, {}).run_id
    monkeypatch.setattr(before.client, "set_terminated", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        before.finish_trial(make_result("0000"))
    after = open_tracker(connect(os.environ["MLFLOW_TRACKING_URI"]))
    assert after.finished("0000", VALUES) is None
    after.open_trial("0000", VALUES, {})
    after.finish_trial(result := make_result("0000"))
    assert client.get_run(run_id).info.status == "FINISHED"
    for name in ("test_loss", "test_accuracy", "train_seconds", "epochs_trained"):
        assert len(history(client, run_id, name)) == 1
    assert len(history(client, run_id, "loss")) == len(result.epochs)


def restored(result: TrialResult, *scores: float, **changes: Any) -> TrialResult:
    """Return a result with these scores, whose model is not that of the last epoch."""
    epochs = tuple({"loss": 1 - score, "val_accuracy": score} for score in scores)
    return dataclasses.replace(result, epochs=epochs, **changes)


LONG = {**VALUES, "epochs": 20}


def test_trial_with_restored_weights_is_told_by_its_best_epoch(
    client: mlflow.MlflowClient, make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made() -> TrialResult:
        why = {"stopped": "early", "stopped_because": "no gain"}
        return restored(make_result("0000"), 0.5, 0.9, 0.7, 0.8, best_epoch=2, **why)

    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", LONG, {}).run_id
    # All is recorded but that it has ended.
    monkeypatch.setattr(tracker.client, "set_terminated", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        tracker.finish_trial(made())
    for _ in range(2):
        tracker = open_tracker(connect(os.environ["MLFLOW_TRACKING_URI"]))
        assert tracker.open_trial("0000", LONG, {}).num_epochs == 4
        tracker.finish_trial(made())
        assert tracker.run_of("0000") == run_id
        assert tracker.metrics("0000")["val_accuracy"] == 0.9
    trial = read_trial(client.get_run(run_id))
    assert trial.metrics["val_accuracy"] == 0.9
    assert (trial.best_epoch, trial.num_epochs, trial.used_epochs) == (2, 4, 2)
    assert (trial.stopped, trial.stopped_because) == ("early", "no gain")
    assert curve(client, trial, "val_accuracy") == [0.5, 0.9, 0.7, 0.8]
    assert tracker.used_epochs("0000") == 2
    assert set(history(client, run_id, "val_accuracy")) == {
        *enumerate((0.5, 0.9, 0.7, 0.8), 1),
        (21, 0.9),
    }
    again = open_tracker(connect(os.environ["MLFLOW_TRACKING_URI"]))
    assert again.finished("0000", LONG) == trial.metrics


def test_trial_that_was_stopped_with_restored_weights_may_be_resumed(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", LONG, {}).run_id
    first = restored(make_result("0000"), 0.5, 0.9, 0.7, best_epoch=2, stopped="user")
    tracker.finish_trial(first)
    tracker = open_tracker(client)
    tracker.open_trial("0000", LONG, {})
    # Its last epoch is now the best.
    tracker.finish_trial(restored(make_result("0000"), 0.5, 0.9, 0.7, 0.95))
    assert tracker.run_of("0000") == run_id
    trial = read_trial(client.get_run(run_id))
    assert trial.metrics["val_accuracy"] == 0.95
    assert (trial.best_epoch, trial.used_epochs, trial.stopped) == (None, 4, None)
    assert curve(client, trial, "val_accuracy") == [0.5, 0.9, 0.7, 0.95]


def test_fail_trial_records_the_traceback(client: mlflow.MlflowClient) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    tracker.fail_trial(TrialFailure("0000", "ValueError: no", "Traceback … no", "error"))
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["tuner.error"] == "ValueError: no"
    assert run.data.tags["tuner.failure"] == "error"
    text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/error.txt")
    assert text == "Traceback … no"


def test_fail_trial_kills_what_ran_out_of_time(client: mlflow.MlflowClient) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    tracker.fail_trial(TrialFailure("0000", "Time is up.", "", "stopped"))
    assert client.get_run(run_id).info.status == "KILLED"


def test_runs_that_a_killed_process_had_only_begun_are_completed(
    client: mlflow.MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text("seed: 0\n")
    killed = Tracker(client, "digits", "first", "id-1")
    with monkeypatch.context() as patched:
        patched.setattr(client, "log_batch", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            killed.open_study({"seed": 0}, DATA, [settings])
    begun = open_tracker(client)
    assert client.get_run(begun.run_id).data.params == {"seed": "0", "data.name": "digits"}
    with monkeypatch.context() as patched:
        patched.setattr(client, "log_batch", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            begun.open_trial("0000", VALUES, {})

    again = Tracker(client, "digits", "first", "id-1")
    again.open_study({"seed": 0}, DATA, [settings])
    assert again.finished("0000", VALUES) is None
    trial = client.get_run(again.open_trial("0000", VALUES, {}).run_id)
    assert trial.data.params == {name: str(value) for name, value in VALUES.items()}
    for run_id in (again.run_id, trial.info.run_id):
        [dataset] = client.get_run(run_id).inputs.dataset_inputs
        assert dataset.dataset.digest == "abc123"
    assert [item.path for item in client.list_artifacts(again.run_id)] == ["config.yaml"]
    assert len(client.search_runs(["1"])) == 2


def test_reopened_study_finds_its_runs(
    client: mlflow.MlflowClient, make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LIVE_SECONDS", 0)
    before = open_tracker(client)
    before.open_trial("0000", VALUES, {})
    before.finish_trial(make_result("0000"))
    interrupted = before.open_trial("0001", VALUES, {}).run_id
    before.log_epoch("0001", 1, {"loss": 0.5, "val_accuracy": 0.25})
    before.kill_trial("0001")
    before.close_study("KILLED")

    after = open_tracker(client)
    assert after.run_id == before.run_id
    assert client.get_run(after.run_id).info.status == "RUNNING"
    finished = after.finished("0000", VALUES)
    assert finished is not None
    assert finished["test_accuracy"] == make_result("0000").test["test_accuracy"]
    assert after.finished("0001", VALUES) is None
    assert after.finished("0002", VALUES) is None
    reopened = after.open_trial("0001", VALUES, {})
    assert (reopened.run_id, reopened.finished) == (interrupted, None)
    assert client.get_run(interrupted).info.status == "RUNNING"
    after.log_epoch("0001", 1, {"loss": 0.5, "val_accuracy": 0.25})
    after.log_epoch("0001", 2, {"loss": 0.4, "val_accuracy": 0.5})
    assert history(client, interrupted, "loss") == [(1, 0.5), (2, 0.4)]
    assert len(client.search_runs(["1"], run_view_type=ViewType.ALL)) == 3


def test_studies_of_one_name_are_told_apart(client: mlflow.MlflowClient) -> None:
    first, second = open_tracker(client, "id-1"), open_tracker(client, "id-2")
    assert first.run_id != second.run_id


def test_deleted_experiment_is_named(client: mlflow.MlflowClient) -> None:
    client.delete_experiment(client.create_experiment("digits"))
    with pytest.raises(ConfigError, match=r"`tracking\.experiment=digits` has been deleted"):
        Tracker(client, "digits", "first", "id-1")


def test_logged_model_id_without_a_model(client: mlflow.MlflowClient) -> None:
    run = client.create_run("0")
    with pytest.raises(MlflowException, match="has logged no model"):
        logged_model_id(client, run.info.run_id)


def test_resolve_uri_makes_the_default_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    assert resolve_uri("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert resolve_uri("http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5001")
    assert resolve_uri(None) == "http://127.0.0.1:5001"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:////no/such/folder/x.db", "must lie in a folder that exists: /no/such/folder"),
        ("gopher://x", "cannot be used"),
        ("mysql+pymysql://127.0.0.1/x", "needs pymysql, which is not installed"),
    ],
)
def test_connect_refuses_what_is_no_store(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"`tracking\.uri=") as caught:
        connect(uri)
    assert message in str(caught.value)


def test_connect_refuses_a_port_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UnavailableError, match="must be an MLflow server that answers"):
        connect(f"http://127.0.0.1:{port}")


def test_connect_gives_up_on_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found: list[Exception] = []

        def attempt() -> None:
            try:
                connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
            except UnavailableError as error:
                found.append(error)

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        # Not a measurement: MLflow itself would retry for many minutes.
        thread.join(timeout=60)
    assert len(found) == 1
    # The longer timeout for later requests is unchanged.
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"


@pytest.mark.slow
def test_client_waits_for_a_database_that_is_locked(
    client: mlflow.MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connection = sqlite3.connect(
        tmp_path / "mlflow.db", isolation_level=None, check_same_thread=False
    )
    with contextlib.closing(connection):
        connection.execute("BEGIN EXCLUSIVE")
        # A little longer than MLflow would wait.
        release = threading.Timer(22, connection.execute, ["ROLLBACK"])
        release.start()
        experiment = client.create_experiment("late")
        release.join()
    assert client.get_experiment(experiment).name == "late"
    assert "Another process is writing to the tracking store" in caplog.text


def test_connect_hides_the_password() -> None:
    with pytest.raises(ConfigError) as caught:
        connect("gopher://user:secret@127.0.0.1/x")
    assert "secret" not in str(caught.value)


def test_logged_model_is_described_as_mlflow_would(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    tracker = open_tracker(client)
    run_id = tracker.open_trial("0000", VALUES, {}).run_id
    result = make_result("0000")
    saved = Model.load(result.files.model_dir)
    tracker.finish_trial(result)
    model_id = logged_model_id(client, run_id)
    logged = Model.load(f"models:/{model_id}")
    location = client.get_logged_model(model_id).artifact_location
    assert (logged.run_id, logged.model_id, logged.artifact_path) == (
        run_id,
        model_id,
        location,
    )
    for field in ("flavors", "signature", "metadata", "model_uuid", "mlflow_version"):
        assert getattr(logged, field) == getattr(saved, field)


@pytest.mark.parametrize("how", ["deleted", "gone"])
def test_trials_of_a_lost_study_are_put_under_its_new_run(
    how: str, client: mlflow.MlflowClient, make_result: MakeResult, tmp_path: Path
) -> None:
    before = open_tracker(client)
    before.open_trial("0000", VALUES, {})
    before.finish_trial(make_result("0000"))
    interrupted = make_result("0001")
    before.open_trial("0001", VALUES, {})
    before.log_epoch("0001", 1, interrupted.epochs[0])
    before.kill_trial("0001")
    before.open_trial("0000-refit", VALUES, {}, "refit")
    client.delete_run(before.run_id)
    if how == "gone":
        with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
            for table in ("tags", "params", "latest_metrics", "metrics", "runs"):
                query = f"DELETE FROM {table} WHERE run_uuid = ?"
                connection.execute(query, (before.run_id,))
            connection.commit()

    after = open_tracker(client)
    assert after.run_id != before.run_id
    assert after.finished("0000", VALUES) is not None
    assert set(after.finished_trials()) == {"0000"}
    after.open_trial("0001", VALUES, {})
    after.finish_trial(interrupted)
    after.close_study("FINISHED")
    trials = client.search_runs(["1"], "tags.`tuner.kind` != 'study'")
    assert len(trials) == 3
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {after.run_id}
    assert {run.info.run_id for run in trials} == {
        before.run_of(trial_id) for trial_id in ("0000", "0001", "0000-refit")
    }


@pytest.mark.parametrize("logged", ["param", "metric", "input", "artifact", "end"])
def test_close_study_deletes_nothing_that_was_logged_to(
    logged: str, client: mlflow.MlflowClient
) -> None:
    tracker = open_tracker(client)
    run = client.get_run(tracker.open_trial("0000", VALUES, {}).run_id)
    twin = client.create_run("1", tags=run.data.tags).info.run_id
    # A run that this process has not made, and that is nobody's twin.
    tags = {**run.data.tags, "tuner.trial": "0007"}
    other = client.create_run("1", tags=tags).info.run_id
    if logged == "param":
        client.log_param(twin, "epochs", 2)
    elif logged == "metric":
        client.log_metric(twin, "loss", 0.5)
    elif logged == "input":
        client.log_inputs(twin, run.inputs.dataset_inputs)
    elif logged == "artifact":
        client.log_text(twin, "x", "x.txt")
    else:
        client.set_terminated(twin, "FINISHED")
    tracker.close_study("FINISHED")
    left = {run.info.run_id for run in client.search_runs(["1"])}
    assert {twin, other, run.info.run_id} <= left


def test_run_that_has_more_is_gone_on_with(client: mlflow.MlflowClient) -> None:
    tracker = open_tracker(client)
    run = client.get_run(tracker.open_trial("0000", VALUES, {}).run_id)
    tracker.log_epoch("0000", 1, {"loss": 0.5})
    tracker.kill_trial("0000")
    client.create_run("1", tags=run.data.tags)
    after = open_tracker(client)
    assert after.open_trial("0000", VALUES, {}).run_id == run.info.run_id


def test_finding_a_run_changes_nothing(client: mlflow.MlflowClient) -> None:
    tracker = open_tracker(client)
    tracker.open_trial("0000-refit", VALUES, {}, "refit")
    found = tracker.find_run("0000-refit")
    assert found is not None
    assert found.kind == "refit"
    assert tracker.find_run("0001") is None
    assert tracker.finished_trials() == {}


def test_study_stays_in_its_experiment(client: mlflow.MlflowClient) -> None:
    first = open_tracker(client)
    again = Tracker(client, "another", "first", "id-1")
    again.open_study({}, DATA, [])
    assert again.run_id == first.run_id
    assert client.get_experiment_by_name("another") is None


@pytest.mark.parametrize("when", ["as it is trained", "at its end"])
def test_training_that_comes_out_otherwise_gets_a_run_of_its_own(
    client: mlflow.MlflowClient, make_result: MakeResult, when: str
) -> None:
    first = open_tracker(client)
    killed = first.open_trial("0000", VALUES, {"tuner.round": "1"}).run_id
    for epoch in (1, 2, 3):
        first.log_epoch("0000", epoch, {"loss": 5.0 - epoch, "val_accuracy": 0.9})
    first.kill_trial("0000")

    # Its checkpoints are gone, and another machine rounds otherwise.
    again = open_tracker(client)
    result = make_result("0000")
    again.open_trial("0000", VALUES, {})
    if when == "as it is trained":
        for epoch, metrics in enumerate(result.epochs, 1):
            again.log_epoch("0000", epoch, metrics)
    again.finish_trial(result)
    run_id = again.run_of("0000")
    assert run_id != killed
    assert client.get_run(killed).info.lifecycle_stage == "deleted"
    assert history(client, run_id, "loss") == [
        (epoch, metrics["loss"]) for epoch, metrics in enumerate(result.epochs, 1)
    ]
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["val_accuracy"] == result.epochs[-1]["val_accuracy"]
    assert run.data.params == client.get_run(killed).data.params
    for tag in ("tuner.trial", "tuner.round", "tuner.study_id", "mlflow.parentRunId"):
        assert run.data.tags[tag] == client.get_run(killed).data.tags[tag]
    assert open_tracker(client).finished("0000", VALUES) == pytest.approx(run.data.metrics)


def test_training_that_comes_out_the_same_keeps_its_run(
    client: mlflow.MlflowClient, make_result: MakeResult
) -> None:
    result = make_result("0000")
    first = open_tracker(client)
    killed = first.open_trial("0000", VALUES, {}).run_id
    first.log_epoch("0000", 1, result.epochs[0])
    first.kill_trial("0000")
    again = open_tracker(client)
    again.open_trial("0000", VALUES, {})
    again.finish_trial(result)
    assert again.run_of("0000") == killed
    assert len(history(client, killed, "loss")) == len(result.epochs)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1e-300, 1 / 3])
def test_losses_are_recognised_as_a_database_keeps_them(
    client: mlflow.MlflowClient, loss: float
) -> None:
    first = open_tracker(client)
    run_id = first.open_trial("0000", VALUES, {}).run_id
    first.log_epoch("0000", 1, {"loss": loss})
    first.kill_trial("0000")
    again = open_tracker(client)
    again.open_trial("0000", VALUES, {})
    again.log_epoch("0000", 1, {"loss": loss})
    assert again.run_of("0000") == run_id


def test_settings_that_were_told_last_are_kept(
    client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    settings = tmp_path / "config.yaml"
    for content in ("seed: 0\n", "seed: 0\nregistry: null\n"):
        settings.write_text(content)
        tracker = Tracker(client, "digits", "first", "id-1")
        tracker.open_study({"seed": 0}, DATA, [settings], '{"data": "d1"}')
    path = client.download_artifacts(tracker.run_id, "config.yaml", str(tmp_path))
    assert Path(path).read_text() == "seed: 0\nregistry: null\n"
    assert client.get_run(tracker.run_id).data.tags["tuner.identity"] == '{"data": "d1"}'
