"""`tuner.load`: what it gives, and what it refuses to load."""

import shutil
import subprocess
import sys
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from conftest import FinishedStudy, files_gone
from PIL import Image

import tuner
from tuner.datasets import ImageData
from tuner.errors import ModelError, UserError
from tuner.loading import load_file
from tuner.registry import MODEL_FILE, SHA256
from tuner.store import connect

NAME = "digits-classifier"


@pytest.fixture
def client(
    finished_study: FinishedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> mlflow.MlflowClient:
    """A client of a copy of the finished study's store, which is the one in force."""
    shutil.copy(finished_study.folder / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return connect(None)


def test_load_gives_the_champion(client: mlflow.MlflowClient, digits: ImageData) -> None:
    classifier = tuner.load(NAME)
    assert classifier.classes == digits.class_names
    assert classifier.image_shape == (8, 8)
    probabilities = classifier.predict_proba(digits.test.images)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (360, 10))
    labels = classifier.predict(digits.test.images)
    assert (labels.dtype, labels.shape) == (np.int64, (360,))
    version = client.get_model_version_by_alias(NAME, "champion")
    accuracy = float(version.tags["tuner.test_accuracy"])
    assert np.mean(labels == digits.test.labels) == pytest.approx(accuracy)
    # As MLflow's own loader has it.
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    np.testing.assert_allclose(model.predict(digits.test.images), probabilities, atol=1e-6)


def test_load_by_every_kind_of_uri(client: mlflow.MlflowClient, digits: ImageData) -> None:
    version = client.get_model_version_by_alias(NAME, "champion")
    some = digits.test.images[:5]
    expected = tuner.load(NAME).predict_proba(some)
    for uri in (
        f"models:/{NAME}@champion",
        f"models:/{NAME}/{version.version}",
        str(version.source),
        f"runs:/{version.run_id}/model",
    ):
        np.testing.assert_array_equal(tuner.load(uri).predict_proba(some), expected)


def test_predict_files(client: mlflow.MlflowClient, digits: ImageData, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for i, path in enumerate(paths):
        Image.fromarray(digits.test.images[i]).save(path)
    classifier = tuner.load(NAME)
    predictions = classifier.predict_files(paths)
    assert [prediction.path for prediction in predictions] == paths
    labels = classifier.predict(digits.test.images[:4])
    assert [p.name for p in predictions] == [digits.class_names[label] for label in labels]
    for prediction in predictions:
        assert prediction.probability == prediction.probabilities.max()


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 9, 9), np.uint8), np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8))],
    ids=["size", "no_batch", "float"],
)
def test_predict_refuses_other_images(client: mlflow.MlflowClient, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(n, 8, 8\), but are"):
        tuner.load(NAME).predict(images)


def test_predict_of_no_images(client: mlflow.MlflowClient) -> None:
    assert tuner.load(NAME).predict(np.zeros((0, 8, 8), np.uint8)).shape == (0,)


def test_altered_file_is_refused(client: mlflow.MlflowClient) -> None:
    version = client.get_model_version_by_alias(NAME, "champion")
    client.set_model_version_tag(NAME, version.version, SHA256, "0" * 64)
    with pytest.raises(ModelError, match=f"{NAME} version 1 has been altered"):
        tuner.load(NAME)


def test_version_without_digest_is_loaded_with_a_warning(
    client: mlflow.MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.delete_model_version_tag(NAME, "1", SHA256)
    tuner.load(NAME)
    assert f"{NAME} version 1 has no tag tuner.sha256" in caplog.text


def test_what_is_gone_is_said(client: mlflow.MlflowClient) -> None:
    with pytest.raises(UserError, match=f"registered here: {NAME}"):
        tuner.load("cats")
    with pytest.raises(UserError, match="cannot be loaded"):
        tuner.load(f"models:/{NAME}@nobody")
    with files_gone(client, NAME, "1"), pytest.raises(UserError, match="cannot be loaded"):
        tuner.load(NAME)
    client.delete_registered_model(NAME)
    with pytest.raises(UserError, match="registered here: none"):
        tuner.load(NAME)


def test_nothing_beside_the_keras_file_is_run(
    client: mlflow.MlflowClient, digits: ImageData, tmp_path: Path
) -> None:
    source = client.get_model_version_download_uri(NAME, "1")
    folder = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path / "copy")))
    description = folder / "MLmodel"
    text = description.read_text(encoding="utf-8")
    assert "loader_module: mlflow.tensorflow" in text
    description.write_text(
        text.replace("loader_module: mlflow.tensorflow", "loader_module: evil"),
        encoding="utf-8",
    )
    (folder / "data" / "global_custom_objects.cloudpickle").write_bytes(b"not a pickle")
    assert tuner.load(str(folder)).predict(digits.test.images[:3]).shape == (3,)


def test_lambda_layer_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(path := tmp_path / "model.keras")
    with pytest.raises(ModelError, match="what Keras's safe mode does not know"):
        load_file(path, "model")


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "model.keras").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ModelError, match="`model` cannot be loaded, since it is damaged"):
        load_file(path, "model")


def test_model_of_somebody_else_is_refused(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    source = client.get_model_version_download_uri(NAME, "1")
    folder = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(tmp_path / "copy")))
    (folder / MODEL_FILE).unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        tuner.load(str(folder))


def test_importing_the_package_is_light() -> None:
    code = "import sys, tuner; print(sorted({'keras', 'mlflow', 'numpy'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
