"""A study that is running, and drawings to measure it on."""

import json
from pathlib import Path

import mlflow
import pytest
from PIL import Image

from support.drawings import write_drawings
from support.reports import PARAMS
from tuner.datasets import ImageData
from tuner.tracking.data_record import DataRecord
from tuner.tracking.runs import Tracker


@pytest.fixture
def tracker(client: mlflow.MlflowClient) -> Tracker:
    """A study that is running."""
    made = Tracker(client, "digits", "first", "id-1")
    profile = json.dumps({"num_test": 80, "image_shape": [8, 8]})
    made.open_study(PARAMS, DataRecord("digits", "d1", "{}", profile), [])
    return made


@pytest.fixture
def drawings(digits: ImageData, tmp_path: Path) -> Path:
    """Three test images of every class, each in its class's folder, and one outside."""
    folder = write_drawings(digits, tmp_path / "drawings", 3)
    Image.fromarray(digits.test.images[0]).save(folder / "unknown.png")
    return folder
