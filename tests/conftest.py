"""What tests share: small real data, and commands run as a user runs them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Before TensorFlow and MLflow are imported anywhere.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("MLFLOW_TRACKING_URI", None)

import numpy as np
import pytest

from tuner.config import DataConfig
from tuner.datasets import ImageData, LabelledImages, Split, images
from tuner.merging import replace_hyperparameters_whole

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"

replace_hyperparameters_whole()

RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def mnist_path() -> Path:
    """The real MNIST, which is not part of the project."""
    if not MNIST.exists():
        pytest.skip("needs the real MNIST as ../shared/data/mnist.npz")
    return MNIST


@pytest.fixture(scope="session")
def digits() -> ImageData:
    """The embedded digits, split as a study with seed 0 has them."""
    config = DataConfig("tuner.datasets.digits.load", "digits", validation_split=0.15)
    return images.load(config, seed=0)


@pytest.fixture(scope="session")
def few_digits(digits: ImageData) -> ImageData:
    """A tenth of the digits, for what only has to run."""
    return ImageData(
        digits.name,
        digits.class_names,
        digits.digest,
        digits.train.take(np.arange(160)),
        digits.validation.take(np.arange(80)),
        digits.test.take(np.arange(80)),
    )


@pytest.fixture
def labelled() -> LabelledImages:
    """Twelve made-up images of two classes."""
    drawn = np.random.default_rng(0)
    pixels = drawn.integers(0, 256, (12, 4, 5), dtype=np.uint8)
    labels = np.arange(12) % 2
    return LabelledImages(Split(pixels[:8], labels[:8]), Split(pixels[8:], labels[8:]), ("a", "b"))


@pytest.fixture
def run_command(tmp_path: Path) -> RunCommand:
    """Run `python -m tuner.<command> <overrides>` in an empty folder, and wait for it."""

    def run(
        command: str, *overrides: str, timeout: float = 240, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"tuner.{command}", *overrides],
            cwd=tmp_path,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
