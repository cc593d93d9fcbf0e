"""How well a logged model does on image files whose folder or name says their class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from tuner import drawings, images
from tuner.evaluation import as_probabilities
from tuner.reports.records import OnDrawings


def measure(paths: Sequence[Path], run_id: str) -> OnDrawings | None:
    """Classify files with the model of a run, and count the hits.

    Args:
        paths: Image files, as `tuner.images.find` finds them.
        run_id: Of a finished trial, in the store that MLflow is set to.

    Returns:
        None if the run's model has not been kept, or none of the files names a class of it.
    """
    model = _load(run_id)
    if model is None:
        return None
    metadata = model.metadata.metadata
    class_names = tuple(metadata["class_names"])
    said = [(path, images.class_of(path, class_names)) for path in paths]
    known = [(path, name) for path, name in said if name is not None]
    if not known:
        return None
    form = drawings.Form.from_dict(metadata["form"]) if metadata.get("form") else None
    files = images.read([path for path, _ in known], tuple(metadata["image_shape"]), form)
    output = model.predict(files.images)
    predicted = as_probabilities(output, len(known), len(class_names)).argmax(axis=1)
    labels = np.array([class_names.index(name) for _, name in known])
    return OnDrawings(int((predicted == labels).sum()), len(known))


def _load(run_id: str) -> Any | None:
    """Load the model of a run by MLflow's own means, if it is there."""
    from tuner.logs import native_noise_to

    with native_noise_to(Path(os.devnull)):
        import keras
        from mlflow.exceptions import MlflowException

        # MLflow's wrapper calls `predict`, which would draw a progress bar.
        keras.config.disable_interactive_logging()
        try:
            return mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
        except (MlflowException, OSError):
            return None
