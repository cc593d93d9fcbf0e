"""A project's folder that was moved or copied, and where artifacts go, on real SQLite."""

import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest

from support.trials import MakeResult
from tuner.classifier import lookup
from tuner.errors import ConfigError
from tuner.runtime import surroundings
from tuner.tracking import experiment, history, project_folder, tracking_store
from tuner.tracking.data_record import DataRecord
from tuner.tracking.logged_models import logged_model_id
from tuner.tracking.runs import Tracker

NAMES = ("a b", "größe", "100%", "100%25", "a#b", "what?", "a;b", 'it\'s "x"', "日本")
DATA = DataRecord("digits", "d1", "{}", "{}")
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that hold paths of files."""


def project(empty_store: Path, folder: Path) -> mlflow.MlflowClient:
    folder.mkdir(parents=True)
    shutil.copy(empty_store, folder / "mlflow.db")
    return tracking_store.connect(uri_of(folder))


def uri_of(folder: Path) -> str:
    return tracking_store.sqlite_uri(folder / "mlflow.db")


def with_trial(client: mlflow.MlflowClient, make_result: MakeResult) -> SimpleNamespace:
    """Record a study with a finished trial whose model is registered."""
    tracker = Tracker(client, "digits", "first", "id-1")
    tracker.open_study({}, DATA, [])
    run_id = tracker.open_trial("0000", {"epochs": 2}, {}).run_id
    tracker.finish_trial(make_result("0000"))
    tracker.close_study("FINISHED")
    model_id = logged_model_id(client, run_id)
    client.create_registered_model("m")
    # MLflow's registry asks its default store for the model; other tests have set that one.
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Undoes what MLflow does to the variable itself, on the way back too: every command of
        # a later test would write into this store.
        monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
        mlflow.set_tracking_uri(client.tracking_uri)
        client.create_model_version("m", f"models:/{model_id}", run_id, model_id=model_id)
        mlflow.set_tracking_uri(before)
    return SimpleNamespace(study=tracker.run_id, run_id=run_id, model_id=model_id)


def files(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def locations(folder: Path) -> list[str]:
    found: list[str] = []
    with sqlite3.connect(folder / "mlflow.db") as connection:
        for table, column in LOCATIONS:
            rows = connection.execute(f"SELECT {column} FROM {table}").fetchall()
            found += [value for (value,) in rows if value and "models:" not in value]
    return found


def read_all(client: mlflow.MlflowClient, made: SimpleNamespace, folder: Path) -> None:
    """Read the files of a run, of its model and of its version, and see where they lie."""
    content = history.read_file(client, made.run_id, "confusion_matrix.json")
    assert content is not None
    for name in ("m/1", f"runs:/{made.run_id}/model", f"models:/{made.model_id}"):
        found = lookup.find(client, name if ":" in name else f"models:/{name}")
        assert project_folder.local_path(found.location).is_relative_to(folder)
        (target := folder.parent / "target").mkdir(exist_ok=True)
        assert lookup.fetch(client, found, "MLmodel", target).exists()


@pytest.mark.parametrize("name", NAMES)
def test_artifacts_lie_beside_the_database(
    name: str, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = project(empty_store, tmp_path / name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    tracker = Tracker(client, "/Users/me/digits: all @once", "first", "id-1")
    tracker.open_study({}, DATA, [])
    client.log_text(tracker.run_id, "hello", "note.txt")
    [note] = tmp_path.rglob("note.txt")
    assert note.is_relative_to(tmp_path / name / "mlruns")
    assert history.read_file(client, tracker.run_id, "note.txt") == b"hello"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_default_store_is_found_in_a_folder_of_any_name(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for i, name in enumerate(NAMES):
        (folder := tmp_path / str(i) / name).mkdir(parents=True)
        shutil.copy(empty_store, folder / "mlflow.db")
        monkeypatch.chdir(folder)
        tracking_store.connect_to_existing(None).create_experiment("here")
        with sqlite3.connect("mlflow.db") as connection:
            [(found,)] = connection.execute("SELECT name FROM experiments WHERE name='here'")
        assert found == "here"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "name"),
    [("moved", "größe 100%"), ("copied", "a b"), ("below", "new"), ("above", "old")],
)
def test_files_of_a_folder_elsewhere_are_read_and_written_there(
    how: str, name: str, empty_store: Path, tmp_path: Path, make_result: MakeResult
) -> None:
    old = tmp_path / "old" / "inner"
    made = with_trial(project(empty_store, old), make_result)
    new = {"below": old / name, "above": old.parent}.get(how, tmp_path / name)
    if how == "above":
        for entry in ("mlflow.db", "mlruns"):
            shutil.move(old / entry, new / entry)
    else:
        shutil.copytree(old, new, dirs_exist_ok=True, ignore=shutil.ignore_patterns(name))
    if how == "moved":
        shutil.rmtree(old)
    before = files(old) if how != "below" else {}

    # A command that only reads writes nothing, and reads the files in the new place.
    database = (new / "mlflow.db").read_bytes()
    client = tracking_store.connect_to_existing(uri_of(new))
    read_all(client, made, new)
    assert (new / "mlflow.db").read_bytes() == database
    client.log_text(made.run_id, "hello", "note.txt")
    assert len(list(new.rglob("note.txt"))) == 1

    # A search writes the new paths down, once.
    said = tracking_store.bring_here(uri_of(new))
    assert said is not None
    assert (str(old) in said, str(new) in said) == (True, True)
    assert tracking_store.bring_here(uri_of(new)) is None
    client = tracking_store.connect(uri_of(new))
    read_all(client, made, new)
    here = [project_folder.local_path(location) for location in locations(new)]
    ours = [path for path in here if path.is_relative_to(tmp_path)]
    assert len(ours) >= 5
    assert all(path.is_relative_to(new) for path in ours)
    tracker = Tracker(client, "digits", "first", "id-1")
    tracker.open_study({}, DATA, [])
    tracker.open_trial("0001", {"epochs": 2}, {})
    tracker.finish_trial(make_result("0001"))
    assert (files(old) if how != "below" else {}) == before


def test_link_to_a_folder_is_no_move(
    empty_store: Path, tmp_path: Path, make_result: MakeResult
) -> None:
    made = with_trial(project(empty_store, tmp_path / "real"), make_result)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert tracking_store.bring_here(uri_of(tmp_path / "link")) is None
    # Moved, with a link left where it was.
    (tmp_path / "link").unlink()
    (tmp_path / "real").rename(tmp_path / "other")
    (tmp_path / "real").symlink_to(tmp_path / "other")
    assert tracking_store.bring_here(uri_of(tmp_path / "other")) is None
    client = tracking_store.connect(uri_of(tmp_path / "other"))
    assert history.read_file(client, made.run_id, "evaluation.json") is not None


def test_only_what_lies_below_the_old_folder_is_rewritten(
    empty_store: Path, tmp_path: Path, make_result: MakeResult
) -> None:
    old, new = tmp_path / "p1", tmp_path / "p2"
    client = project(empty_store, old)
    with_trial(client, make_result)
    kept = [str(tmp_path / "p10" / "mlruns"), "s3://bucket/p1/mlruns", "relative/mlruns"]
    with sqlite3.connect(old / "mlflow.db") as connection:
        for i, location in enumerate([*kept, (old / "theirs").as_uri()]):
            connection.execute(
                "INSERT INTO experiments (name, artifact_location, lifecycle_stage, workspace) "
                "VALUES (?, ?, 'active', 'default')",
                (f"theirs {i}", location),
            )
    old.rename(new)
    assert tracking_store.bring_here(uri_of(new))
    found = locations(new)
    assert set(kept) <= set(found)
    assert str(new / "theirs") in found
    assert not [location for location in found if location.startswith(f"{old}/")]


def test_database_of_others_is_left_alone(empty_store: Path, tmp_path: Path) -> None:
    client = project(empty_store, tmp_path / "p1")
    client.create_experiment("theirs")
    (tmp_path / "p1").rename(tmp_path / "p2")
    assert tracking_store.bring_here(uri_of(tmp_path / "p2")) is None
    assert any(str(tmp_path / "p1") in location for location in locations(tmp_path / "p2"))


def test_database_that_was_copied_alone_keeps_naming_the_files_there_are(
    empty_store: Path, tmp_path: Path, make_result: MakeResult
) -> None:
    made = with_trial(project(empty_store, tmp_path / "p1"), make_result)
    (tmp_path / "p2").mkdir()
    shutil.copy(tmp_path / "p1" / "mlflow.db", tmp_path / "p2" / "mlflow.db")
    client = tracking_store.connect(uri_of(tmp_path / "p2"))
    read_all(client, made, tmp_path / "p1")
    # But new files go beside the database.
    run = client.create_run(client.get_experiment_by_name("digits").experiment_id)
    assert run.info.artifact_uri.startswith(str(tmp_path / "p2"))


def test_database_that_cannot_be_written_to_is_said(
    empty_store: Path, tmp_path: Path, make_result: MakeResult
) -> None:
    with_trial(project(empty_store, tmp_path / "p1"), make_result)
    (tmp_path / "p1").rename(tmp_path / "p2")
    with sqlite3.connect(tmp_path / "p2" / "mlflow.db", isolation_level=None) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    before = locations(tmp_path / "p2")
    with pytest.raises(ConfigError, match=r"was moved or copied here, .* cannot be updated"):
        tracking_store.bring_here(uri_of(tmp_path / "p2"))
    assert locations(tmp_path / "p2") == before


# Files that are not stores


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "an empty file"),
        ("folder", "a folder"),
        ("text", "a file of another kind"),
        ("fifo", "not a regular file"),
        ("theirs", "not MLflow's; its tables: recipes"),
        ("bare", "not MLflow's"),
        ("cut", "cannot be read"),
        ("older", "mlflow db upgrade sqlite:///"),
        ("much older", "mlflow db upgrade sqlite:///"),
        ("newer", "made by a newer MLflow"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_file_that_is_no_store_is_refused_at_once_and_left_as_it_is(
    kind: str,
    message: str,
    given: bool,
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mlflow.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind in ("empty", "text"):
        path.write_text("" if kind == "empty" else "not a database, but long enough to be one")
    elif kind in ("theirs", "bare"):
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE recipes (name TEXT)")
            if kind == "bare":
                connection.execute("DROP TABLE recipes")
    else:
        path.write_bytes(empty_store.read_bytes()[: 5000 if kind == "cut" else None])
    if kind in ("older", "much older", "newer"):
        revision = "ffffffffffff" if kind == "newer" else "867495a8f9d4"
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            if kind == "much older":
                # MLflow itself would upgrade it unasked.
                connection.execute("DROP TABLE logged_models")
    before = path.read_bytes() if kind not in ("folder", "fifo") else b""
    uri = f"sqlite:///{path}" if given else None
    for function in (
        tracking_store.connect,
        tracking_store.connect_to_existing,
        tracking_store.bring_here,
    ):
        with pytest.raises(ConfigError) as caught:
            function(uri)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        said = (
            f"`tracking.uri={uri}`"
            if given
            else "the default, since `tracking.uri` was left out"
        )
        assert said in str(caught.value)
    assert (path.read_bytes() if kind not in ("folder", "fifo") else b"") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("uri", [None, "sqlite:///other.db", "sqlite:///sub/x.db", "runs"])
def test_what_only_looks_up_makes_no_store(
    uri: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(
        ConfigError, match=r"There is no tracking store .*the folder of the search"
    ):
        tracking_store.connect_to_existing(uri)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        (None, {}, "digits"),
        (None, {"MLFLOW_EXPERIMENT_NAME": "team"}, "team"),
        (None, {"MLFLOW_EXPERIMENT_NAME": " "}, "digits"),
        ("mine", {"MLFLOW_EXPERIMENT_NAME": "team"}, "mine"),
        (None, {"MLFLOW_EXPERIMENT_ID": "0"}, "Default"),
        (None, {"MLFLOW_EXPERIMENT_ID": "0", "MLFLOW_EXPERIMENT_NAME": "team"}, "team"),
        ("mine", {"MLFLOW_EXPERIMENT_ID": "99"}, "mine"),
    ],
)
def test_experiment_is_the_one_given_else_mlflows_variables(
    given: str | None,
    variables: dict[str, str],
    expected: str,
    client: mlflow.MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    # As every command does first.
    surroundings.prepare()
    assert experiment.name_of(client, given, "digits") == expected


def test_experiment_that_is_not_there_is_refused(
    client: mlflow.MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "99")
    with pytest.raises(ConfigError, match=r"MLFLOW_EXPERIMENT_ID=99 .* tracking\.experiment="):
        experiment.name_of(client, None, "digits")
    with pytest.raises(ConfigError, match=r"`tracking\.experiment=x{600}` must be a name"):
        Tracker(client, "x" * 600, "first", "id-1")
