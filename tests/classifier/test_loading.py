"""Models are loaded as data alone, and only if they are what was registered."""

import functools
import http.server
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

import tuner
from support import models
from support.trials import MakeRun
from tuner.classifier.safe_loading import Classifier
from tuner.datasets import ImageData
from tuner.drawings import Steps, measure
from tuner.errors import UserError
from tuner.images import image_files
from tuner.registry.versions import Registry
from tuner.tracking import checksums

NAME = "digits-classifier"


class Registered:
    """Version 1 of a registered model, champion, with the folder of its files."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str, model_id: str) -> None:
        self.client, self.run_id, self.model_id = client, run_id, model_id
        registry = Registry(client, NAME)
        with registry.moving():
            registry.promote(registry.register(run_id), "test")
        self.folder = Path(client.get_logged_model(model_id).artifact_location)
        self.file = self.folder / checksums.MODEL_FILE

    def tag(self) -> None:
        """Record the file's present checksum in the registry."""
        self.client.set_model_version_tag(
            NAME, "1", checksums.TAG, checksums.sha256_of(self.file)
        )

    def replace(self, model: keras.Model) -> None:
        """Replace the file by another model, without a word in the registry."""
        self.client.delete_model_version_tag(NAME, "1", checksums.TAG)
        model.save(self.file)


@pytest.fixture
def registered(client: mlflow.MlflowClient, make_run: MakeRun) -> Registered:
    return Registered(client, *make_run())


def refusal(name: str = NAME) -> str:
    """Return the one message with which loading a name fails."""
    with pytest.raises(UserError) as caught:
        tuner.load(name)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_import_of_the_package_imports_nothing_else() -> None:
    code = (
        "import sys, tuner; "
        "names = {name.split('.')[0] for name in sys.modules}; "
        "print(names - sys.stdlib_module_names - {'__main__'})"
    )
    # Isolated from what an environment imports into every process.
    printed = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(tuner.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == "{'tuner'}"
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        tuner.lode  # noqa: B018


# Names


def test_load_by_every_name(
    registered: Registered, few_digits: ImageData, caplog: pytest.LogCaptureFixture
) -> None:
    expected = keras.models.load_model(registered.file).predict(few_digits.test.images)
    for name in (
        NAME,
        f"models:/{NAME}@champion",
        f"models:/{NAME}/1",
        f"models:/{registered.model_id}",
        f"runs:/{registered.run_id}/model",
    ):
        classifier = tuner.load(name)
        probabilities = classifier.predict_proba(few_digits.test.images)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert not caplog.records


def test_load_from_another_store(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "There is no tracking store" in refusal()
    assert not (tmp_path / "elsewhere" / "mlflow.db").exists()
    tuner.load(NAME, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cats", f"has no registered model cats. Give models:/<name>@champion .*: {NAME}."),
        (f"models:/{NAME}@best", "has no alias best. Its latest version is 1; .*: champion."),
        (f"models:/{NAME}/9", "no version 9. Its latest version is 1; its aliases: champion."),
        ("models:/m-0", "'m-0' not found. `mlflow ui` shows"),
        ("runs:/0/model", "Run with id=0 not found. `mlflow ui` shows"),
        (f"{NAME}@champion", f"must be given as <name>, models:/.*, but got '{NAME}@champion'"),
        (f"models:/{NAME}/latest", "must be given as <name>, models:/"),
        ("/a/folder", "must be given as <name>, models:/"),
    ],
)
def test_load_what_is_not_there(registered: Registered, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tuner.load(name)


def test_load_a_model_that_was_deleted_by_hand(registered: Registered) -> None:
    registered.client.delete_registered_model(NAME)
    assert f"has no registered model {NAME}" in refusal()


def test_load_a_version_that_was_deleted_by_hand(registered: Registered) -> None:
    registered.client.delete_model_version(NAME, "1")
    assert "It has no versions" in refusal()


def test_load_by_an_alias_of_a_version_that_is_gone(
    registered: Registered, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        store.execute("DELETE FROM model_version_tags")
        store.execute("DELETE FROM model_versions")
    store.close()
    assert "its alias champion stands for version 1, which is gone" in refusal()


def test_load_a_version_whose_files_are_gone(registered: Registered) -> None:
    registered.file.unlink()
    assert f"its file {checksums.MODEL_FILE} in {registered.folder} cannot be read" in refusal()
    shutil.rmtree(registered.folder)
    assert "its file MLmodel in " in refusal()


class _NoRegistry(http.server.BaseHTTPRequestHandler):
    """Answers like a tracking server that knows only runs."""

    def do_GET(self) -> None:
        self.answer(404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200 if self.path.endswith("experiments/search") else 404)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"{}" if status == 200 else b"Not Found")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server_without_registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NoRegistry) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_load_from_a_server_without_a_registry(server_without_registry: str) -> None:
    with pytest.raises(UserError, match="does not answer as a model registry") as caught:
        tuner.load(NAME, tracking_uri=server_without_registry)
    assert "runs:/<run>/model" in str(caught.value)


# Safety


def test_load_refuses_a_file_that_was_altered(registered: Registered) -> None:
    before = checksums.sha256_of(registered.file)
    with registered.file.open("ab") as file:
        file.write(b"\0")
    message = refusal()
    assert f"{checksums.MODEL_FILE} in {registered.folder} is not the file that was" in message
    assert f"the tag {checksums.TAG} of {NAME} version 1 says {before}" in message


def test_load_warns_of_a_version_that_nobody_can_check(
    registered: Registered, caplog: pytest.LogCaptureFixture
) -> None:
    registered.client.delete_model_version_tag(NAME, "1", checksums.TAG)
    with caplog.at_level(logging.WARNING):
        tuner.load(NAME)
    [record] = caplog.records
    assert f"{NAME} version 1 has no tag {checksums.TAG}" in record.getMessage()


@pytest.mark.parametrize("is_tagged", [True, False])
def test_load_refuses_a_description_that_was_altered(
    registered: Registered, caplog: pytest.LogCaptureFixture, is_tagged: bool
) -> None:
    if not is_tagged:
        registered.client.delete_model_version_tag(NAME, "1", checksums.DESCRIPTION_TAG)
    description = registered.folder / "MLmodel"
    names = "".join(f"  - '{i}'\n" for i in range(10))
    assert names in description.read_text()
    backwards = "".join(f"  - '{9 - i}'\n" for i in range(10))
    description.write_text(description.read_text().replace(names, backwards))
    if not is_tagged:
        with caplog.at_level(logging.WARNING):
            assert tuner.load(NAME).classes[0] == "9"
        [record] = caplog.records
        assert f"no tag {checksums.DESCRIPTION_TAG}" in record.getMessage()
        return
    message = refusal()
    assert f"MLmodel in {registered.folder} is not the file that was registered" in message
    assert checksums.DESCRIPTION_TAG in message


@pytest.mark.parametrize(
    "metadata",
    [
        {"class_names": "0123456789", "image_shape": [8, 8]},
        {"class_names": [["a"], ["b"]], "image_shape": [8, 8]},
        {"class_names": ["a", "b"], "image_shape": ["8", "8"]},
        {"class_names": ["a", "b"], "image_shape": None},
    ],
    ids=str,
)
def test_load_refuses_a_description_of_other_types(
    registered: Registered, metadata: object
) -> None:
    (registered.folder / "MLmodel").write_text(json.dumps({"metadata": metadata}))
    assert "its file MLmodel is damaged" in refusal()


def test_load_runs_no_code_of_the_folder(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (registered.folder / "code").mkdir()
    (registered.folder / "code" / "trap.py").write_text(
        "from pathlib import Path\n\n\ndef _load_pyfunc(path):\n    Path('sprung').touch()\n"
    )
    description = registered.folder / "MLmodel"
    told = description.read_text().replace(
        "loader_module: mlflow.tensorflow", "loader_module: trap\n    code: code"
    )
    description.write_text(told)
    tuner.load(NAME)
    assert not Path("sprung").exists()
    # MLflow's own loader does run it.
    monkeypatch.setattr(sys, "path", sys.path[:])
    with pytest.raises(MlflowException, match="missing required predict"):
        mlflow.pyfunc.load_model(str(registered.folder))
    assert Path("sprung").exists()


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (
            models.lambda_layer,
            "it holds a Lambda layer, whose code could do anything",
        ),
        (
            models.unseeded_noise,
            "the class 'UnseededNoise', which is not Keras's own",
        ),
        (
            models.own_activation,
            "the function '_twice_relu', which is not Keras's own",
        ),
    ],
)
def test_load_refuses_what_is_not_kerass_own(
    registered: Registered, build: object, reason: str
) -> None:
    assert callable(build)
    registered.replace(build())
    assert reason in refusal()


def test_load_refuses_a_damaged_file(registered: Registered) -> None:
    registered.file.write_bytes(b"PK\3\4" + bytes(100))
    registered.tag()
    assert "cannot be loaded" in refusal()


def test_load_refuses_a_damaged_description(registered: Registered) -> None:
    (registered.folder / "MLmodel").write_text("{")
    assert "its file MLmodel is damaged" in refusal()
    (registered.folder / "MLmodel").write_text(json.dumps({"flavors": {}}))
    assert "must be a model that tuner.search has logged" in refusal()


def test_load_refuses_a_model_of_another_form(registered: Registered) -> None:
    registered.replace(keras.Sequential([keras.Input((5, 5)), keras.layers.Flatten()]))
    assert "must take and return arrays of the shapes (None, 8, 8) and (None, 10)" in refusal()


# Predicting


@pytest.fixture
def classifier(registered: Registered) -> Classifier:
    return tuner.load(NAME)


def test_classifier_says_what_it_takes_and_tells(
    classifier: Classifier, few_digits: ImageData
) -> None:
    assert classifier.classes == tuple("0123456789")
    assert classifier.image_shape == (8, 8)
    assert classifier.form == measure(few_digits.train.images)
    assert (classifier.data, classifier.data_digest) == ("digits", few_digits.digest)
    assert classifier.source.title == f"{NAME} version 1"


def test_predict_returns_the_most_probable_class(
    classifier: Classifier, digits: ImageData
) -> None:
    # More than one batch.
    given = digits.train.images[:600]
    labels, probabilities = classifier.predict(given), classifier.predict_proba(given)
    assert (labels.dtype, labels.shape) == (np.int64, (600,))
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (600, 10))
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=1))
    np.testing.assert_allclose(
        probabilities[599:], classifier.predict_proba(given[599:]), atol=1e-6
    )


def test_predict_nothing(classifier: Classifier) -> None:
    given = np.zeros((0, 8, 8), np.uint8)
    assert classifier.predict(given).shape == (0,)
    assert classifier.predict_proba(given).shape == (0, 10)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((8, 8), "uint8"),
        ((2, 28, 28), "uint8"),
        ((2, 8, 8, 1), "uint8"),
        ((2, 8, 8), "float32"),
    ],
)
def test_predict_images_of_another_form(
    classifier: Classifier, shape: tuple[int, ...], dtype: str
) -> None:
    with pytest.raises(ValueError, match=r"uint8 from 0 to 255 of shape \(n, 8, 8\)") as caught:
        classifier.predict(np.zeros(shape, dtype))
    assert f"got {dtype} of shape {shape}" in str(caught.value)


def test_predict_files_prepares_them(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    drawing = Image.new("L", (80, 60), 255)
    drawing.paste(0, (30, 10, 36, 50))
    drawing.save(path)
    read = functools.partial(image_files.read, [path], (8, 8), classifier.form)
    predictions = classifier.predict_files([str(path)])
    np.testing.assert_array_equal(predictions.files.images, read().images)
    np.testing.assert_array_equal(
        predictions.probabilities, classifier.predict_proba(read().images)
    )
    [name] = predictions.names
    assert name == classifier.classes[predictions.probabilities.argmax()]
    steps = Steps(invert=False, crop=False, stroke=False, center=False)
    without = classifier.predict_files([path], steps)
    np.testing.assert_array_equal(without.files.images, read(steps).images)


def test_predict_files_says_nothing_of_a_file_without_ink(
    classifier: Classifier, tmp_path: Path
) -> None:
    drawing = Image.new("RGBA", (80, 60))
    drawing.save(tmp_path / "clear.png")
    # White on transparency, which is a drawing like any other.
    drawing.paste((255, 255, 255, 255), (30, 10, 36, 50))
    drawing.save(tmp_path / "white.png")
    Image.new("L", (80, 60)).save(tmp_path / "black.png")
    paths = [tmp_path / f"{name}.png" for name in ("clear", "white", "black")]
    predictions = classifier.predict_files(paths)
    assert predictions.files.has_ink.tolist() == [False, True, False]
    assert predictions.names[1] in classifier.classes
    assert predictions.names[::2] == (None, None)
    assert np.isnan(predictions.probabilities[::2]).all()
    assert predictions.probabilities[1].sum() == pytest.approx(1)
