"""Trainings of a small network, by each engine."""

import hashlib
from typing import Any

import keras

from support.networks import NETWORK
from tuner import training
from tuner.datasets import ImageData
from tuner.models import mlp
from tuner.runtime import tensorflow_setup

# Before TensorFlow starts, in the processes that tests start too.
tensorflow_setup.set_threads(1)

ENGINES = ("xla", "graph", "keras")


def fitted(
    data: ImageData, engine: str, *, model_seed: int = 1, **options: Any
) -> tuple[Any, Any]:
    """Train a new model; options that are not values of the model go to `fit`."""
    values = {name: options.pop(name) for name in list(options) if name in NETWORK}
    training.forget_models()
    training.seed_everything(model_seed)
    model = mlp.build({**NETWORK, **values}, data.image_shape, 10)
    options = {"epochs": 2, "batch_size": 32, "seed": 3, "engine": engine, **options}
    return model, training.fit(model, data.train, data.validation, **options)


def state(model: Any) -> list[Any]:
    """Return all that a further epoch depends on."""
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).tolist() for variable in variables]


def digest(model: Any) -> str:
    return hashlib.sha256(repr(state(model)).encode()).hexdigest()
