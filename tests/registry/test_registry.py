"""Aliases that move, and move back, with a real registry and versions without a study."""

import json
import shutil
import socket
from pathlib import Path

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion

from support.trials import MakeRun
from tuner.errors import ModelError, StudyError
from tuner.registry.versions import Registry
from tuner.tracking import checksums, model_files, tracking_store

NAME = "digits-classifier"


@pytest.fixture
def versions(client: mlflow.MlflowClient, tmp_path: Path) -> list[ModelVersion]:
    """Five versions with two small text files each, enough for a rollback."""
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / checksums.MODEL_FILE).write_bytes(b"weights")
    (folder / checksums.DESCRIPTION_FILE).write_text("metadata: {class_names: [a, b]}\n")
    client.create_registered_model(NAME)
    return [client.create_model_version(NAME, str(folder)) for _ in range(5)]


def put(registry: Registry, version: ModelVersion) -> None:
    with registry.moving():
        registry.challenge(version)
        registry.promote(version, "test")


def aliases(client: mlflow.MlflowClient) -> dict[str, str]:
    found = client.get_registered_model(NAME).aliases
    return {alias: str(version) for alias, version in found.items()}


def test_aliases_of_two_stages_do_not_meet(
    client: mlflow.MlflowClient, versions: list[ModelVersion]
) -> None:
    production, staging = (
        Registry(client, NAME, "production"),
        Registry(client, NAME, "staging"),
    )
    put(production, versions[0])
    put(production, versions[1])
    put(staging, versions[2])
    staging.challenge(versions[4])
    put(staging, versions[3])
    assert aliases(client) == {
        "production": "2", "production-previous": "1",
        "staging": "4", "staging-previous": "3",
    }  # fmt: skip
    assert str(production.roll_back().now.version) == "1"
    assert aliases(client)["production"] == "1"
    assert aliases(client)["staging"] == "4"
    assert str(staging.roll_back().now.version) == "3"


def test_every_rollback_goes_one_further_back_and_none_forward(
    client: mlflow.MlflowClient, versions: list[ModelVersion]
) -> None:
    registry = Registry(client, NAME)
    for version in versions[:4]:
        put(registry, version)
    assert aliases(client) == {"champion": "4", "previous": "3"}
    for now, previous in (("3", "2"), ("2", "1"), ("1", None)):
        done = registry.roll_back()
        assert str(done.now.version) == now
        assert aliases(client).get("champion") == now
        assert aliases(client).get("previous") == previous
    with pytest.raises(StudyError, match="no champion before version 1"):
        registry.roll_back()
    assert aliases(client) == {"champion": "1"}
    # A later promotion has version 1 before it, not the versions that were rolled back.
    put(registry, versions[4])
    assert aliases(client) == {"champion": "5", "previous": "1"}
    assert str(registry.roll_back().now.version) == "1"


def test_rollback_passes_over_deleted_versions(
    client: mlflow.MlflowClient, versions: list[ModelVersion]
) -> None:
    registry = Registry(client, NAME)
    for version in versions[:4]:
        put(registry, version)
    client.delete_model_version(NAME, "3")
    client.delete_model_version(NAME, "2")
    done = registry.roll_back()
    assert (str(done.now.version), done.deleted) == ("1", ("3", "2"))
    put(registry, versions[4])
    client.delete_model_version(NAME, "1")
    with pytest.raises(StudyError, match="deleted: 1"):
        registry.roll_back()


def test_rollback_follows_an_alias_that_was_moved_by_hand(
    client: mlflow.MlflowClient, versions: list[ModelVersion]
) -> None:
    registry = Registry(client, NAME)
    put(registry, versions[0])
    put(registry, versions[1])
    client.set_registered_model_alias(NAME, "champion", "5")
    assert str(registry.roll_back().now.version) == "2"
    client.set_registered_model_alias(NAME, "champion", "1")
    with pytest.raises(StudyError, match="no champion before version 1"):
        registry.roll_back()


def test_rollback_replaces_a_champion_whose_version_was_deleted(
    client: mlflow.MlflowClient, versions: list[ModelVersion]
) -> None:
    registry = Registry(client, NAME)
    put(registry, versions[0])
    put(registry, versions[1])
    client.delete_model_version(NAME, "2")
    done = registry.roll_back()
    assert (str(done.now.version), done.before, done.deleted) == ("1", None, ("2",))


def test_rollback_to_a_version_that_was_set_by_hand(
    client: mlflow.MlflowClient, versions: list[ModelVersion]
) -> None:
    client.set_registered_model_alias(NAME, "champion", "2")
    client.set_registered_model_alias(NAME, "previous", "1")
    assert str(Registry(client, NAME).roll_back().now.version) == "1"
    with pytest.raises(StudyError):
        Registry(client, NAME).roll_back()


def test_promotion_that_was_killed_before_the_alias_moved_leaves_no_false_history(
    client: mlflow.MlflowClient, versions: list[ModelVersion]
) -> None:
    registry = Registry(client, NAME)
    put(registry, versions[0])
    put(registry, versions[1])
    client.set_registered_model_tag(NAME, "tuner.history.champion", "1 2 3")
    put(registry, versions[3])
    assert str(registry.roll_back().now.version) == "2"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:9/x",
        "http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/x",
        "https://[bad/x",
        "ftp://127.0.0.1:9/x",
        "sftp://127.0.0.1:9/x",
        "s3://bucket/x",
        "gs://bucket/x",
        "hdfs://127.0.0.1:9/x",
        "mlflow-artifacts:/x",
        "mystery://x/y",
        "models:/m-nothing",
        "runs:/nothing/model",
        "/nowhere",
        "/dev/null",
        "",
    ],
)
def test_source_that_gives_no_file_is_one_short_reason(
    client: mlflow.MlflowClient, tmp_path: Path, location: str
) -> None:
    with pytest.raises(model_files.Unreadable) as caught:
        model_files.fetch(client, location, checksums.DESCRIPTION_FILE, tmp_path)
    assert "\n" not in str(caught.value)
    assert 5 < len(str(caught.value)) < 400


# Python's own FTP client leaves its socket open when a server does not answer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "address", ["http://{host}/api/2.0/mlflow-artifacts/artifacts/x", "ftp://{host}/x"]
)
def test_server_that_does_not_answer_is_not_waited_for(
    client: mlflow.MlflowClient, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is waited for is shortened, so that the test need not; without it, minutes pass.
    monkeypatch.setitem(tracking_store.PROBE, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr(model_files, "PATIENCE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        location = address.format(host=f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(model_files.Unreadable, match=r"(?i)timed? ?out"):
            model_files.fetch(client, location, checksums.DESCRIPTION_FILE, tmp_path)
    assert socket.getdefaulttimeout() is None


def test_version_at_an_address_that_is_none_is_refused(client: mlflow.MlflowClient) -> None:
    client.create_registered_model(NAME)
    version = client.create_model_version(NAME, "http://127.0.0.1:9/x")
    with pytest.raises(ModelError) as caught:
        Registry(client, NAME).download(version, Path())
    for words in (f"{NAME} version 1", "http://127.0.0.1:9/x", "cannot read files"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        ("- '0'\n  - '1'\n", "- '1'\n  - '0'\n", True),
        ("image_shape:", "image_shop:", True),
        ('"dtype": "uint8"', '"dtype": "float32"', True),
        ("data_digest: d", "data_digest: e", True),
        ("run_id: ", "run_id: x", False),
        ("artifact_path: ", "artifact_path: /elsewhere", False),
    ],
)
def test_digest_of_a_description_covers_what_decides_its_use(
    tmp_path: Path, before: str, after: str, counts: bool
) -> None:
    path = tmp_path / "MLmodel"
    path.write_text(
        "artifact_path: a\nrun_id: r\nmetadata:\n  class_names:\n  - '0'\n  - '1'\n"
        "  image_shape:\n  - 8\n  data_digest: d\n"
        'signature:\n  inputs: \'[{"dtype": "uint8"}]\'\n'
    )
    digest = checksums.description_digest(path)
    altered = path.read_text().replace(before, after)
    assert altered != path.read_text()
    path.write_text(altered)
    assert (checksums.description_digest(path) != digest) is counts


def test_altered_description_is_neither_judged_nor_rolled_back_to(
    client: mlflow.MlflowClient, make_run: MakeRun, tmp_path: Path
) -> None:
    registry = Registry(client, NAME)
    run_id, model_id = make_run()
    version = registry.register(run_id)
    assert {checksums.TAG, checksums.DESCRIPTION_TAG} <= version.tags.keys()
    folder = Path(str(client.get_logged_model(model_id).artifact_location))
    shutil.copytree(folder, tmp_path / "copy")
    (path := tmp_path / "download").mkdir()
    registry.download(version, path)
    described = (folder / "MLmodel").read_text()
    names = json.dumps([str(i) for i in reversed(range(10))])
    listed = "".join(f"  - '{i}'\n" for i in range(10))
    assert listed in described
    (folder / "MLmodel").write_text(
        described.replace(f"class_names:\n{listed}", f"class_names: {names}\n")
    )
    with pytest.raises(ModelError, match="MLmodel is not the one that was registered"):
        registry.download(version, path)
