"""The same command repairs what a power cut has left, and reports each trial once."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support.commands import command
from support.loops import StartRun, failing
from support.trials import MakeResult
from tuner.config.schema import DataConfig, RegistryConfig, StudyConfig, TrackingConfig
from tuner.config.searches import RandomConfig
from tuner.driver import checkup
from tuner.errors import ModelError
from tuner.executors import Beside
from tuner.executors.serial import SerialExecutor
from tuner.oracles.journal import JournaledOracle
from tuner.outcomes import Outcome
from tuner.registry.versions import Registry
from tuner.tracking import tracking_store
from tuner.tracking.checksums import MODEL_FILE, TAG, sha256_of
from tuner.tracking.logged_models import logged_model_id
from tuner.tracking.runs import Tracker
from tuner.trial import OnEpoch

NAME = "digits-classifier"


def _model(client: mlflow.MlflowClient, run_id: str) -> Path:
    model = client.get_logged_model(logged_model_id(client, run_id))
    return Path(model.artifact_location.removeprefix("file://"))


def _told(folder: Path) -> list[str]:
    lines = (folder / "experiments" / "first" / "oracle.jsonl").read_text().splitlines()
    return [line for line in lines if '"tell"' in line]


def _whole(client: mlflow.MlflowClient, run_id: str, tracker: Tracker) -> bool:
    """Say whether a trial's run has no empty file, and its model is the one that it logged."""
    run = client.get_run(run_id)
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    files = [
        p for f in (artifacts, _model(client, run_id)) for p in f.rglob("*") if p.is_file()
    ]
    return (
        run.info.status == "FINISHED" and bool(files) and all(p.stat().st_size for p in files)
    )


HARMS: dict[str, Callable[[Path, Path], None]] = {
    "empty model": lambda model, _: os.truncate(model / MODEL_FILE, 0),
    "torn model": lambda model, _: os.truncate(model / MODEL_FILE, 5000),
    "empty description": lambda model, _: os.truncate(model / "MLmodel", 0),
    "no model": lambda model, _: shutil.rmtree(model),
    "empty picture": lambda _, run: os.truncate(run / "calibration.png", 0),
    "no artifacts": lambda _, run: shutil.rmtree(run),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
def test_finished_trial_with_damaged_files_is_made_whole(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    harm: Callable[[Path, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = start_run()
    first.loop.run()
    tracker, told = first.parts.tracker, _told(tmp_path)
    run_id = tracker.run_of("0001")
    before = client.get_run(run_id).data.metrics
    artifacts = client.get_run(run_id).info.artifact_uri
    harm(_model(client, run_id), Path(artifacts.removeprefix("file://")))
    second = start_run()
    assert "0001" in caplog.text
    assert second.loop.best() is None or second.loop.best().trial_id != "0001"  # type: ignore[union-attr]
    second.loop.run()
    assert second.trained == [2]
    assert _told(tmp_path) == told
    assert second.parts.tracker.run_of("0001") == run_id
    assert client.get_run(run_id).data.metrics == before
    assert _whole(client, run_id, tracker)
    best = second.loop.best()
    assert best is not None
    assert best.trial_id == "0001"
    third = start_run()
    third.loop.run()
    assert third.trained == []


def test_damaged_trial_of_which_the_oracle_was_not_told_is_trained_and_told(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    tmp_path: Path,
) -> None:
    first = start_run()
    first.loop.run()
    run_id = first.parts.tracker.run_of("0004")
    os.truncate(_model(client, run_id) / MODEL_FILE, 0)
    journal = tmp_path / "experiments" / "first" / "oracle.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    told = next(i for i, line in enumerate(lines) if '"tell": "0004"' in line)
    journal.write_text("".join(lines[:told]))
    second = start_run()
    second.loop.run()
    assert second.trained == [5]
    assert second.oracle.scores == first.oracle.scores
    assert len(_told(tmp_path)) == 5


def test_trials_whose_store_is_gone_are_recorded_anew(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    tmp_path: Path,
) -> None:
    first = start_run()
    first.loop.run()
    told = _told(tmp_path)
    for run in client.search_runs(["1"]):
        # As `mlflow gc` and a removed database do; deleted alone, it could be restored.
        client.delete_run(run.info.run_id)
        client._tracking_client.store._hard_delete_run(run.info.run_id)
    shutil.rmtree(tmp_path / "mlruns")
    deadline_is_over = start_run(max_minutes=0.0)
    deadline_is_over.loop.run()
    assert deadline_is_over.trained == [1, 2, 3, 4, 5]
    assert _told(tmp_path) == told
    runs = client.search_runs(["1"], "tags.`tuner.kind` = 'trial'")
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 5


def test_failed_repair_is_told_to_nobody(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    tmp_path: Path,
) -> None:

    first = start_run()
    first.loop.run()
    told = _told(tmp_path)
    os.truncate(_model(client, first.parts.tracker.run_of("0001")) / MODEL_FILE, 0)
    second = start_run(failing("error"))
    second.loop.run()
    best = second.loop.best()
    assert best is not None
    assert best.trial_id == "0003"
    assert _told(tmp_path) == told
    third = start_run()
    third.loop.run()
    assert third.trained == [2]


@pytest.mark.parametrize("length", [0, 5000])
def test_nothing_is_registered_of_a_damaged_model(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    length: int,
) -> None:
    run = start_run()
    run.loop.run()
    run_id = run.parts.tracker.run_of("0001")
    os.truncate(_model(client, run_id) / MODEL_FILE, length)
    registry = Registry(client, NAME)
    with pytest.raises(ModelError, match=rf"{run_id} is damaged or gone.*command again"):
        registry.register(run_id)
    assert registry.find(run_id) is None


def test_version_of_a_model_made_again_has_its_checksum(
    start_run: StartRun,
    client: mlflow.MlflowClient,
) -> None:
    first = start_run()
    first.loop.run()
    run_id = first.parts.tracker.run_of("0001")
    file = _model(client, run_id) / MODEL_FILE
    registry = Registry(client, NAME)
    version = registry.register(run_id)
    assert version.tags[TAG] == sha256_of(file)
    # A model that is made again differs in the time that Keras writes into it.
    file.write_bytes(b"")
    second = start_run()
    second.loop.run()
    again = registry.register(run_id)
    assert again.version == version.version
    assert again.tags[TAG] == sha256_of(file)


def _config() -> StudyConfig:
    return StudyConfig(
        study="first",
        space={"epochs": 1, "batch_size": 32},
        search=RandomConfig("random", max_trials=5),
        data=DataConfig("tuner.datasets.digits.load", "digits"),
        tracking=TrackingConfig(experiment="digits"),
        registry=RegistryConfig(name=NAME),
    )


LOSSES: dict[str, tuple[Callable[[mlflow.MlflowClient, str], None], str]] = {
    "nothing": (lambda client, run_id: None, ""),
    "model": (
        lambda client, run_id: os.truncate(_model(client, run_id) / MODEL_FILE, 0),
        "are missing or damaged",
    ),
    "run": (lambda client, run_id: client.delete_run(run_id), ""),
    "version": (
        lambda client, run_id: client.delete_registered_model(NAME),
        "",
    ),
    "experiment": (
        lambda client, run_id: client.delete_experiment("1"),
        "no longer has a record of it",
    ),
}


@pytest.mark.parametrize(("lose", "said"), LOSSES.values(), ids=LOSSES.keys())
def test_finished_study_is_compared_with_what_is_there(
    start_run: StartRun,
    client: mlflow.MlflowClient,
    lose: Callable[[mlflow.MlflowClient, str], None],
    said: str,
) -> None:
    run = start_run()
    run.loop.run()
    run.loop.finish()
    run_id = run.parts.tracker.run_of("0001")
    Registry(client, NAME).register(run_id)
    lose(client, run_id)
    found = checkup.find_missing(client, _config(), "id-1")
    assert found is None if not said else said in str(found)


def test_trial_is_on_disk_before_the_oracle_is_told(
    start_run: StartRun,
    make_result: MakeResult,
    client: mlflow.MlflowClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files, then folders, then the database, then the journal, then the message."""
    done: list[str] = []

    class ForgetfulExecutor(SerialExecutor):
        def wait(self, on_epoch: OnEpoch, beside: Beside | None = None) -> list[Outcome]:
            outcomes = super().wait(on_epoch, beside)
            # Only what happens to a result counts.
            done.clear()
            return outcomes

    run = start_run(make_executor=ForgetfulExecutor)
    fsync, terminated, tell = os.fsync, Tracker.finish_trial, JournaledOracle.tell

    def record(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if "mlruns" in path.parts:
            done.append("folder" if is_folder else "file")
        elif path.name == "oracle.jsonl":
            done.append("journal")

    def finish(tracker: Tracker, *args: object) -> None:
        terminated(tracker, *args)  # type: ignore[arg-type]
        done.append("database")

    def say(oracle: JournaledOracle, *args: Any) -> None:
        tell(oracle, *args)
        done.append("told")
        # One trial is enough.
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(Tracker, "finish_trial", finish)
    monkeypatch.setattr(JournaledOracle, "tell", say)
    with pytest.raises(KeyboardInterrupt):
        run.loop.run()
    done = done[: done.index("told") + 1]
    order = list(dict.fromkeys(done))
    assert order == ["file", "folder", "database", "journal", "told"]
    # Every file of the trial, each once; no file after a folder.
    run_id = run.parts.tracker.run_of("0000")
    logged = [_model(client, run_id), Path(client.get_run(run_id).info.artifact_uri)]
    num_files = sum(path.is_file() for folder in logged for path in folder.rglob("*"))
    assert done.count("file") == num_files
    assert done.index("folder") == num_files


def test_commits_are_on_disk_with_their_folder(client: mlflow.MlflowClient) -> None:
    engine = client._tracking_client.store.engine
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        assert (mode, connection.exec_driver_sql("PRAGMA synchronous").scalar()) == (
            "delete",
            3,
        )


def test_store_that_is_removed_is_said_to_be(
    client: mlflow.MlflowClient, tmp_path: Path
) -> None:
    tracking_store.check_kept(client)
    (tmp_path / "mlflow.db").unlink()
    with pytest.raises(
        tracking_store.UnavailableError, match=r"mlflow\.db was removed.*same command"
    ):
        tracking_store.check_kept(client)


SMALL = (
    "study=first",
    "executor.workers=1",
    "search=grid",
    "data.train_size=200",
    "space.epochs=[1,2]",
    "space.units=8",
    "space.layers=1",
    "space.learning_rate=0.01",
)


@pytest.mark.long
def test_study_of_which_a_power_cut_left_names_alone_is_made_whole(tmp_path: Path) -> None:
    first = command(tmp_path, "search", *SMALL)
    assert first.returncode == 0, first.stderr
    told = _told(tmp_path)
    files = [path for path in (tmp_path / "mlruns").rglob("*") if path.is_file()]
    for path in files:
        os.truncate(path, 0)
    second = command(tmp_path, "search", *SMALL)
    assert second.returncode == 0, second.stderr
    assert "are missing or damaged: repairing it" in second.stdout
    # The gate's decision cannot be found out again.
    assert all(path.stat().st_size or path.parent.name == "promotion" for path in files)
    shown = [line for line in second.stdout.splitlines() if "Best of" in line or "now" in line]
    assert shown == [
        line for line in first.stdout.splitlines() if "Best of" in line or "now" in line
    ]
    assert _told(tmp_path) == told
    third = command(tmp_path, "search", *SMALL)
    assert "nothing left to train" in third.stdout
    # And the database with all records of it.
    (tmp_path / "mlflow.db").unlink()
    fourth = command(tmp_path, "search", *SMALL)
    assert fourth.returncode == 0, fourth.stderr
    assert "the tracking store that it was recorded in is gone" in fourth.stdout
    assert "version 1, now champion" in fourth.stdout
    client = tracking_store.connect(f"sqlite:///{tmp_path}/mlflow.db")
    assert Registry(client, NAME).holder("champion") is not None
    assert _told(tmp_path) == told


@pytest.mark.long
@pytest.mark.parametrize("gone", ["experiments/first", "experiments", "mlflow.db", "."])
def test_folder_removed_while_the_study_runs_is_one_message(tmp_path: Path, gone: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tuner.search",
            *SMALL[:-1],
            "space.learning_rate=[0.1,0.01,0.001]",
        ],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    next(line for line in process.stdout if line.startswith("trial "))
    target = project / gone
    if target.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    assert "removed" in errors
    assert errors.count("Error: ") == 1
    project.mkdir(exist_ok=True)
    again = command(project, "search", *SMALL[:-1], "space.learning_rate=[0.1,0.01,0.001]")
    assert again.returncode == 0, again.stderr
    assert "Best of 6 trials" in again.stdout
