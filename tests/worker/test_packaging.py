"""A registered model works where this package is not installed."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.networks import NETWORK
from tuner.datasets import ImageData
from tuner.drawings import measure
from tuner.models import SPACES, TRANSFORMS, cnn, mlp
from tuner.worker import packaging

VALUES = {
    **NETWORK,
    "units_1": 8,
    "units": 8,
    "blocks": 1,
    "convolutions": 1,
    "filters": 2,
    "kernel_size": 3,
    "batch_norm": True,
    "dropout": 0.1,
    "l2": 1e-4,
    "learning_rate_decay": 0.9,
    **{name: 0.1 for name in SPACES["tuner.models.mlp.build"] if name.startswith("augment_")},
}

USE = """
import importlib.util, sys
import mlflow
import numpy as np

assert importlib.util.find_spec("tuner") is None, "the package must not be importable"
images = np.load(sys.argv[1])
for folder in sys.argv[2:]:
    np.save(f"{folder}.npy", mlflow.pyfunc.load_model(folder).predict(images))
"""


@pytest.mark.slow
def test_models_load_where_the_package_is_not_importable(
    few_digits: ImageData, tmp_path: Path, bare_python: str
) -> None:
    images = few_digits.test.images
    np.save(tmp_path / "images.npy", images)
    expected, folders = {}, []
    for build in (mlp.build, cnn.build):
        for name in TRANSFORMS:
            model = build({**VALUES, "transform": name}, few_digits.image_shape, 10)
            folder = tmp_path / f"{model.name}-{name}"
            packaging.save(model, few_digits, measure(few_digits.train.images), folder)
            expected[folder] = np.asarray(model(images))
            folders.append(str(folder))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [bare_python, "-c", USE, str(tmp_path / "images.npy"), *folders],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=300,
    )
    for folder, probabilities in expected.items():
        np.testing.assert_allclose(np.load(f"{folder}.npy"), probabilities, atol=1e-5)


def test_requirements_name_no_package_of_ours() -> None:
    names = [line.split("==")[0] for line in packaging.requirements()]
    assert names == ["mlflow", "tensorflow", "keras", "numpy"]
