"""What `tuner.delete` removes, what it leaves alone, and what it refuses."""

import contextlib
import dataclasses
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support.commands import command
from support.configs import composed, loaded
from support.reports import PARAMS
from support.studies import FinishedStudy
from tuner import delete
from tuner.config.schema import CurvesConfig
from tuner.curves.checkpoints import Curve
from tuner.curves.store import CurveStore
from tuner.driver import remains, study_folder
from tuner.errors import StudyError, UserError
from tuner.outcomes import TrialFailure, TrialFiles, TrialResult
from tuner.registry.versions import Registry
from tuner.runtime import locks
from tuner.study import belongings
from tuner.study.study import list_studies
from tuner.tracking import history, standing
from tuner.tracking.data_record import DataRecord
from tuner.tracking.patient_client import PatientClient
from tuner.tracking.runs import Tracker
from tuner.tracking.tracking_store import bring_here, connect
from tuner.trial import Objective

DATA = DataRecord("digits", "d1", "{}", "{}")
NAME = "digits-classifier"


@dataclass(frozen=True)
class Recorded:
    """A study with its folder, three finished trials, a failed one and a refit.

    Attributes:
        run_id: Id of its own run.
        trials: Ids of the runs of its trials, by their own ids.
    """

    name: str
    study_id: str
    run_id: str
    trials: Mapping[str, str]

    @property
    def folder(self) -> Path:
        return Path("experiments", self.name)


@dataclass(frozen=True)
class Store:
    """A folder with two studies and their store."""

    folder: Path
    first: Recorded
    second: Recorded


def recorded(name: str, result: TrialResult, scratch: Path) -> Recorded:
    """Record a study in the current folder; its trials have copies of a result's files."""

    def copied(trial_id: str) -> TrialResult:
        folder = shutil.copytree(Path(result.files.model_dir).parent, scratch / trial_id)
        artifacts = tuple(str(folder / Path(path).name) for path in result.files.artifacts)
        files = TrialFiles(artifacts, str(folder / "model"))
        return dataclasses.replace(result, trial_id=trial_id, files=files)

    with study_folder.hold(name, loaded(), []) as held:
        client = connect(None)
        tracker = Tracker(client, "digits", name, held.state.study_id)
        tracker.open_study(PARAMS, DATA, held.settings)
        for i in range(3):
            tracker.open_trial(f"{i:04d}", {"epochs": 2}, {})
            tracker.finish_trial(copied(f"{i:04d}"), with_model=i < 2)
        tracker.open_trial("0003", {"epochs": 2}, {})
        tracker.fail_trial(TrialFailure("0003", "ValueError: no", "Traceback", "error"))
        tracker.open_trial("0000-refit", {"epochs": 2}, {}, "refit")
        tracker.finish_trial(copied("0000-refit"))
        tracker.close_study("FINISHED")
        Curve(held.curves / "key").put(2, b"x" * 1_500_000)
        for file in ("report.html", "data.png", "oracle.jsonl", "oracle-1.jsonl"):
            (held.path / file).write_text("{}")
    trials = {f"{i:04d}": tracker.run_of(f"{i:04d}") for i in range(4)}
    return Recorded(name, held.state.study_id, tracker.run_id, trials)


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, trained: TrialResult
) -> Store:
    """The studies, recorded once."""
    folder = tmp_path_factory.mktemp("template")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        first, second = (
            recorded(name, trained, tmp_path_factory.mktemp(name))
            for name in ("first", "second")
        )
    return Store(folder, first, second)


@pytest.fixture
def client(
    template: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[mlflow.MlflowClient]:
    """A client of a copy of both studies' store, in the current folder."""
    folder = shutil.copytree(template.folder, tmp_path / "project")
    monkeypatch.chdir(folder)
    uri = f"sqlite:///{folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    # It was moved here.
    bring_here(uri)
    yield connect(uri)
    mlflow.set_tracking_uri(before)


@pytest.fixture
def mine(template: Store, client: mlflow.MlflowClient) -> Recorded:
    """The study that is deleted."""
    return template.first


@pytest.fixture
def other(template: Store, client: mlflow.MlflowClient) -> Recorded:
    """One that stays."""
    return template.second


def run_delete(*overrides: str) -> None:
    delete.main(composed(*overrides, name="commands/delete"))


def refusal(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        run_delete(*overrides)
    return str(caught.value)


def everything(client: mlflow.MlflowClient, study_id: str) -> set[str]:
    """Return what there is of a study: runs, models, and their files on disk."""
    runs = history.runs_of(client, "1", study_id)
    models = client.search_logged_models(["1"], f"tags.`tuner.study_id` = '{study_id}'")
    places = [run.info.artifact_uri for run in runs] + [m.artifact_location for m in models]
    files = {str(path) for place in places for path in Path(place).rglob("*")}
    return files | {run.info.run_id for run in runs} | {model.model_id for model in models}


def files_here() -> set[Path]:
    return {path for path in Path().rglob("*") if path.is_file() and path.name != "mlflow.db"}


def files_beside(client: mlflow.MlflowClient, study: Recorded) -> set[Path]:
    """Return the files here that are not the study's."""
    own = everything(client, study.study_id)
    return {
        path
        for path in files_here()
        if not path.is_relative_to(study.folder) and str(path.resolve()) not in own
    }


def test_study_is_deleted_and_nothing_else(
    client: mlflow.MlflowClient,
    mine: Recorded,
    other: Recorded,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, theirs = files_beside(client, mine), everything(client, other.study_id)
    registry = Registry(client, NAME)
    registry.register(mine.trials["0001"])
    registry.register(other.trials["0000"])
    with registry.moving():
        registry.promote(client.get_model_version(NAME, "2"), "test")
    # One that somebody has deleted before has files, too.
    client.delete_run(mine.trials["0002"])
    run_delete("study=first", "yes=true")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Study first, begun on ")
    assert said[1].startswith("  5 runs in MLflow, ")
    assert said[2].startswith("  3 logged models, ")
    assert said[3] == f"  {NAME} version 1 in the registry, without an alias"
    assert said[4].startswith("  experiments/first, 1.5 MB, of which 1.5 MB are curves")
    assert said[5] == "Deleted study first."
    assert "mlflow gc --backend-store-uri sqlite:////" in said[7]
    assert len(said) == 8

    assert not mine.folder.exists()
    assert everything(client, mine.study_id) == set()
    assert files_here() == before
    assert everything(client, other.study_id) == theirs
    [version] = client.search_model_versions(f"name = '{NAME}'")
    assert str(version.version) == "2"
    assert client.get_registered_model(NAME).aliases.keys() == {"champion"}
    assert list(list_studies()["study"]) == ["second"]
    # Nobody is told to restore what has no files.
    assert "There is no study 'first' in this tracking store" in refusal("study=first")


@pytest.mark.parametrize("is_first_to_move", [True, False])
def test_models_that_an_alias_stands_for_are_refused(
    client: mlflow.MlflowClient, mine: Recorded, is_first_to_move: bool
) -> None:
    registry = Registry(client, NAME, "champion" if is_first_to_move else "production")
    with registry.moving():
        registry.promote(registry.register(mine.trials["0000"]), "test")
    client.set_model_version_tag(NAME, "1", "tuner.trial", "0000")
    registry.challenge(registry.register(mine.trials["0001"]))
    before, here = everything(client, mine.study_id), files_here()
    lines = refusal("study=first", "yes=true").splitlines()
    assert "Nothing was deleted." in lines[0]
    assert (everything(client, mine.study_id), files_here()) == (before, here)
    challenger, champion = sorted(lines.index(line) for line in lines if " is " in line)[:2]
    if not is_first_to_move:
        challenger, champion = champion, challenger
    [promoting] = [line for line in lines if "study=ANOTHER" in line]
    assert ("registry.alias=production" in promoting) is not is_first_to_move
    assert sum("rollback=true" in line for line in lines) == 1
    # What the message says to do, done: each command takes an alias away.
    removing = [line.strip() for line in lines if " -c 'import mlflow" in line]
    assert len(removing) == 2
    for line in removing:
        name, alias = line.partition("delete_registered_model_alias(")[2].split('"')[1:4:2]
        client.delete_registered_model_alias(name, alias)
    run_delete("study=first", "yes=true")
    assert everything(client, mine.study_id) == set()


def test_study_that_runs_is_refused(client: mlflow.MlflowClient, mine: Recorded) -> None:
    before = everything(client, mine.study_id)
    with locks.hold_file(mine.folder / remains.LOCK, "x"):
        said = refusal("study=first", "yes=true")
    assert "study=first is being run by another process" in said
    assert "Nothing was deleted. Wait for its end, or stop it: " in said
    assert said.endswith("-m tuner.stop study=first")
    # Its folder is elsewhere: only where its process would be seen is it known to be dead.
    client.update_run(mine.run_id, status="RUNNING")
    away = mine.folder.rename("away")
    client.set_tag(mine.run_id, "tuner.folder", "elsewhere:~/work")
    said = refusal("study=first", "yes=true")
    assert "Study first runs in elsewhere:~/work, or was killed there" in said
    assert 'set_terminated("' in said
    assert everything(client, mine.study_id) == before
    client.set_terminated(mine.run_id, "KILLED")
    run_delete("study=first", "yes=true")
    assert everything(client, mine.study_id) == set()
    assert away.exists()


def test_folder_that_was_elsewhere_is_removed_by_the_same_command_there(
    client: mlflow.MlflowClient, mine: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    away = mine.folder.rename("away")
    run_delete(f"study={mine.study_id[:8]}", "yes=true")
    assert "Its folder stays, in " in capsys.readouterr().out
    away.rename(mine.folder)
    # A search there does not say that its run can be restored.
    said = standing.summary(client.tracking_uri, mine.study_id, "champion", ["Best: 0000"])
    assert "It was deleted by tuner.delete" in said[1]
    assert "overwrite=true" in said[1]
    run_delete("study=first", "yes=true")
    assert not mine.folder.exists()


def test_files_that_are_not_glassys_stay(
    client: mlflow.MlflowClient, mine: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    (mine.folder / "notes.txt").write_text("years of work")
    (mine.folder / "link").symlink_to("/")
    run_delete("study=first", "yes=true")
    assert "Glassy did not write all of it: link, notes.txt." in capsys.readouterr().out
    assert sorted(path.name for path in mine.folder.iterdir()) == ["link", "notes.txt"]
    assert everything(client, mine.study_id) == set()


def test_files_that_a_store_names_elsewhere_are_left_alone(
    client: mlflow.MlflowClient,
    mine: Recorded,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, project = files_here(), Path.cwd()
    # A copy of the database alone still names the files of the original.
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy("mlflow.db", copy)
    monkeypatch.chdir(copy)
    uri = f"tracking.uri=sqlite:///{copy}/mlflow.db"
    run_delete("study=first", uri, "yes=true")
    monkeypatch.chdir(project)
    assert files_here() == here
    assert everything(client, mine.study_id)
    # Nor does a store lead to a folder that is none of MLflow's.
    for address, owner, is_foreign in (
        ("/home/me", "me", True),
        ("file:///home/me/artifacts", "r1", True),
        ("/srv/mlruns/1/r1/artifacts", "r1", False),
        ("mlflow-artifacts:/1/r1/artifacts", "r1", False),
    ):
        assert belongings.is_foreign(address, owner, None, None) is is_foreign


class Steps:
    """Interrupts whatever deletes, before the step that comes after those allowed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.allowed = 0
        for owner, names in (
            (PatientClient, ("set_tag", "delete_run", "restore_run")),
            (PatientClient, ("delete_logged_model", "delete_model_version")),
            (shutil, ("rmtree",)),
            (Path, ("unlink", "rmdir")),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.allowed == 0:
                raise KeyboardInterrupt
            self.allowed -= 1
            return call(*args, **kwargs)

        return counted


@pytest.mark.parametrize("was_deleted_by_hand", [False, True])
def test_interrupted_deletion_is_completed_by_the_same_command(
    client: mlflow.MlflowClient,
    mine: Recorded,
    other: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    was_deleted_by_hand: bool,
) -> None:
    before, theirs = files_beside(client, mine), everything(client, other.study_id)
    Registry(client, NAME).register(mine.trials["0001"])
    if was_deleted_by_hand:
        client.delete_run(mine.run_id)
    num_attempts, left = 0, []
    with monkeypatch.context() as patched:
        steps = Steps(patched)
        while mine.folder.exists() or everything(client, mine.study_id):
            # A search does not resume it meanwhile.
            if num_attempts and (mine.folder / "study.json").exists():
                with pytest.raises(StudyError, match="study=first is being deleted"):
                    study_folder.find("first", loaded())
            steps.allowed = num_attempts
            with contextlib.suppress(KeyboardInterrupt):
                run_delete("study=first", "yes=true")
            num_attempts += 1
            left.append(len(files_here() - before))
            assert everything(client, other.study_id) == theirs
    assert num_attempts > 5
    assert left == sorted(left, reverse=True)
    assert files_here() == before
    assert client.search_model_versions(f"name = '{NAME}'") == []


DIES = """
import os, sys
from tuner import delete
from tuner.cli import application
from tuner.config.schema import DeleteConfig
from tuner.tracking.patient_client import PatientClient

delete_run, left = PatientClient.delete_run, 3

def dies(self, run_id):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
    delete_run(self, run_id)

PatientClient.delete_run = dies
sys.argv[1:] = ["study=first", "yes=true"]
application.run(delete.main, "commands/delete", DeleteConfig)
"""


@pytest.mark.slow
def test_killed_deletion_is_completed_by_the_same_command(
    client: mlflow.MlflowClient, mine: Recorded
) -> None:
    whole = everything(client, mine.study_id)
    killed = subprocess.run([sys.executable, "-c", DIES], check=False)
    assert killed.returncode == -9
    left = everything(client, mine.study_id)
    assert left
    assert left < whole
    assert list(list_studies()["study"]) == ["second"]
    run_delete("study=first", "yes=true")
    assert everything(client, mine.study_id) == set()
    assert not mine.folder.exists()


def test_question_is_asked_on_a_terminal(
    client: mlflow.MlflowClient,
    mine: Recorded,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = everything(client, mine.study_id)
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert "There is no terminal to ask on: give yes=true" in refusal("study=first")
    keyboard, terminal = pty.openpty()
    with open(terminal) as typed, open(keyboard, "wb", buffering=0) as keys:
        monkeypatch.setattr(sys, "stdin", typed)
        for answer in (b"\n", b"no\n", b"\x04"):
            keys.write(answer)
            run_delete("study=first")
            assert capsys.readouterr().out.endswith("Nothing was deleted.\n")
        assert everything(client, mine.study_id) == before
        keys.write(b"Yes\n")
        run_delete("study=first")
    assert "Deleted study first." in capsys.readouterr().out
    assert everything(client, mine.study_id) == set()


def test_folder_alone_is_deleted_if_its_store_has_no_record(
    client: mlflow.MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    with study_folder.hold("unrecorded", loaded(), []) as held:
        pass
    shutil.copy("mlflow.db", "other.db")
    said = refusal("study=unrecorded", "tracking.uri=sqlite:///other.db", "yes=true")
    assert "was recorded in sqlite:///mlflow.db, not in sqlite:///other.db" in said
    assert held.path.exists()
    run_delete("study=unrecorded", "yes=true")
    assert not held.path.exists()
    assert capsys.readouterr().out.endswith("Deleted study unrecorded.\n")


def test_curves_that_another_study_continues_are_its_own(
    tmp_path: Path, mine: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CurvesConfig(shared=True)
    values = {"epochs": 4}
    common = {"data": "d1"}
    objective = Objective("val_accuracy", "max")

    def store(folder: Path, others: Iterable[Path] = ()) -> CurveStore:
        return CurveStore(folder, common, config, objective, others)

    source = Curve(store(study_folder.curves_dir(mine.folder)).begin("0000", values))
    source.put(2, b"two epochs")
    ours = store(tmp_path / "curves", study_folder.all_curves())
    taken = Curve(ours.begin("0000", values))
    run_delete("study=first", "yes=true")
    assert taken.path(2).read_bytes() == b"two epochs"
    # Nor is a study in the way that was looked for before it was deleted.
    ours.end("0000")
    assert Curve(ours.begin("0001", {**values, "units": 8})).epochs() == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("epochs.jsonl", True),
        ("study_model.py", True),
        ("data.npz", True),
        ("__pycache__/study_model.cpython-311.pyc", True),
        ("__pycache__/mine.cpython-311.pyc", False),
        ("notes.txt", False),
        ("data.npz/mine.txt", False),
    ],
)
def test_what_is_in_a_folder_is_glassys_or_not(
    path: str, expected: bool, tmp_path: Path
) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("something")
    [entry] = tmp_path.iterdir()
    assert remains.is_ours(entry) is expected


@pytest.mark.slow
def test_real_study_is_deleted_whole(finished_study: FinishedStudy, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_study.folder, tmp_path / "copy")
    entries = list((folder / "experiments" / "first").iterdir())
    assert [entry.name for entry in entries if not remains.is_ours(entry)] == []
    client = connect(f"sqlite:///{folder}/mlflow.db")
    for alias in client.get_registered_model(NAME).aliases:
        client.delete_registered_model_alias(NAME, alias)
    done = command(folder, "delete", "study=first", "yes=true")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  5 runs in MLflow, " in done.stdout
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["mlflow.db"]
    assert (finished_study.folder / "experiments" / "first" / "study.json").exists()
