"""A trained model as a folder in MLflow's model format, with everything that it needs.

Written by the worker, so that the driver only has to upload it. This is the one use of MLflow
on the worker's side, and it touches no tracking store.
"""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow.tensorflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from tuner.datasets import ImageData
from tuner.drawings import Form

if TYPE_CHECKING:
    import keras

logging.getLogger("mlflow").setLevel(logging.ERROR)


def save(
    model: keras.Model,
    data: ImageData,
    form: Form | None,
    model_dir: Path,
    custom_objects: Sequence[str] = (),
) -> None:
    """Save a Keras model in MLflow's format.

    Args:
        model: A `keras.Model` from raw images to class probabilities.
        data: The data it was trained on; class names and shape go into the model's metadata,
            and the first training image is the model's input example.
        form: Form of the drawings, if the data are drawings; also goes into the metadata.
        model_dir: Folder to make.
        custom_objects: Modules with classes of the user's own; listed in the metadata, so that
            a person knows what to permit. Nothing is imported from there.
    """
    mlflow.tensorflow.save_model(
        model,
        str(model_dir),
        signature=_signature(data),
        # Not run through the model, since the signature is given: 2 ms for an image of MNIST's.
        input_example=data.train.images[:1],
        pip_requirements=requirements(),
        metadata={
            "data": data.name,
            "data_digest": data.digest,
            "class_names": list(data.class_names),
            "image_shape": list(data.image_shape),
            "form": form and form.to_dict(),
            **({"custom_objects": list(custom_objects)} if custom_objects else {}),
        },
    )


def requirements() -> list[str]:
    """Return what loading a model needs, pinned to the versions it was made with.

    Given, not inferred: MLflow's inference starts a process and takes 6 to 8 s per model.
    """
    packages = ("mlflow", "tensorflow", "keras", "numpy")
    return [f"{package}=={importlib.metadata.version(package)}" for package in packages]


def _signature(data: ImageData) -> ModelSignature:
    # Nameless tensors, so that plain arrays are accepted.
    images = TensorSpec(np.dtype(np.uint8), (-1, *data.image_shape))
    probabilities = TensorSpec(np.dtype(np.float32), (-1, len(data.class_names)))
    return ModelSignature(inputs=Schema([images]), outputs=Schema([probabilities]))
