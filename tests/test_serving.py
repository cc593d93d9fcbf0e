"""The champion, used by MLflow's own tools."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.servers import mlflow_serves
from support.studies import FinishedStudy
from tuner.datasets import ImageData

CHAMPION = "models:/digits-classifier@champion"

pytestmark = pytest.mark.slow

USE = """
import importlib.util, sys
import mlflow
import numpy as np

assert importlib.util.find_spec("tuner") is None, "the package must not be importable"
champion, images = sys.argv[1], np.load("images.npy")
np.save("pyfunc.npy", mlflow.pyfunc.load_model(champion).predict(images))
np.save("keras.npy", mlflow.tensorflow.load_model(champion).predict(images, verbose=0))
np.save("example.npy", mlflow.pyfunc.load_model(champion).input_example)
"""


@pytest.fixture(scope="module")
def loaded(
    finished_study: FinishedStudy,
    digits: ImageData,
    bare_python: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with the champion's predictions of the test images, made far from the study."""
    folder = tmp_path_factory.mktemp("elsewhere")
    np.save(folder / "images.npy", digits.test.images)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [bare_python, "-c", USE, CHAMPION],
        cwd=folder,
        env={**environment, "MLFLOW_TRACKING_URI": finished_study.uri},
        check=True,
        timeout=120,
    )
    return folder


@pytest.fixture(scope="module")
def address(
    finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with mlflow_serves(
        tmp_path_factory.mktemp("serving"),
        *("models", "serve", "-m", CHAMPION, "--env-manager", "local"),
        ready="/ping",
        MLFLOW_TRACKING_URI=finished_study.uri,
    ) as address:
        yield address


def ask(address: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Send JSON to `/invocations`, and return the status and the content of the answer."""
    request = urllib.request.Request(
        f"{address}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_loaders_agree_where_the_package_is_not_importable(
    loaded: Path, digits: ImageData
) -> None:
    probabilities = np.load(loaded / "pyfunc.npy")
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (360, 10))
    np.testing.assert_array_equal(np.load(loaded / "keras.npy"), probabilities)
    assert (probabilities.argmax(axis=1) == digits.test.labels).mean() > 0.5


def test_example_is_an_image_that_the_model_takes(loaded: Path, digits: ImageData) -> None:
    example = np.load(loaded / "example.npy")
    assert example.dtype == np.uint8
    np.testing.assert_array_equal(example, digits.train.images[:1])


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_server_answers_as_the_model_does(
    address: str, loaded: Path, digits: ImageData, key: str
) -> None:
    status, answer = ask(address, {key: digits.test.images.tolist()})
    assert status == 200, answer
    np.testing.assert_allclose(
        answer["predictions"], np.load(loaded / "pyfunc.npy"), rtol=0, atol=1e-6
    )


def test_server_answers_the_example_that_goes_with_the_model(
    address: str, finished_study: FinishedStudy
) -> None:
    examples = (finished_study.folder / "mlruns").rglob("serving_input_example.json")
    status, answer = ask(address, json.loads(next(examples).read_text()))
    assert status == 200, answer
    assert np.shape(answer["predictions"]) == (1, 10)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 7, 8), int).tolist(), "Shape of input (2, 7, 8) does not match"),
        (np.zeros((8, 8), int).tolist(), "Shape of input (8, 8) does not match"),
        (np.zeros((1, 8, 8, 3), int).tolist(), "Shape of input (1, 8, 8, 3) does not match"),
        ([[[0] * 8] * 7 + [[0] * 3]], "inhomogeneous shape"),
        ([[[256] * 8] * 8], "256 out of bounds for uint8"),
        ([[["white"] * 8] * 8], "invalid literal for int() with base 10: 'white'"),
    ],
    ids=["size", "no_batch", "colours", "ragged", "too_bright", "text"],
)
def test_server_refuses_what_are_no_images_of_its_shape(
    address: str, images: list[Any], message: str
) -> None:
    status, answer = ask(address, {"inputs": images})
    assert status == 400
    assert message in answer["message"]
