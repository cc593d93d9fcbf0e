"""Makes the tables of learning curves: trains every point of a space with several seeds.

    python -m benchmarks.search.make_tables mlp_digits cnn_digits
    python -m benchmarks.search.make_tables mlp_mnist --mnist mnist.npz

The spaces are grids, and every point of a grid is in its table: a search asks for exactly what
was recorded, whatever its method, and nothing needs to be interpolated. The trainings are
Glassy's own (`tuner.training.fit`), without a checkpoint, an evaluation or a model on disk. An
epoch costs the CPU time of this process, which hardly depends on what else runs.
"""

import argparse
import dataclasses
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from benchmarks.search.table import Table
from tuner import datasets
from tuner.config import engine
from tuner.config.hyperparameters import Fixed
from tuner.config.schema import DataConfig
from tuner.config.space import Space
from tuner.datasets import ImageData
from tuner.runtime import gc_pauses, tensorflow_setup
from tuner.trial import Values, trial_seed, whole

EPOCHS = 27
SEEDS = 5

_RATES = [1e-4, 5e-4, 2e-3, 1e-2, 5e-2, 2e-1]
"""From too low for every optimiser to too high for Adam; the best of SGD are Adam's worst."""

_SAME = {
    "activation": "relu",
    "l2": 0.0,
    "transform": "rescale",
    "momentum": 0.0,
    "augment": dict.fromkeys(("shift", "rotation", "zoom", "shear", "elastic", "stroke"), 0.0),
}
_MLP = {
    **_SAME,
    "layers": 1,
    "units": [32, 128, 512],
    "batch_norm": False,
    "dropout": [0.0, 0.4],
    "learning_rate": _RATES,
    "optimizer": ["adam", "sgd"],
    "batch_size": [32, 128],
}
_CNN = {
    **_SAME,
    "blocks": 2,
    "convolutions": 1,
    "filters": [8, 16],
    "kernel_size": [3, 5],
    "units": 64,
    "batch_norm": False,
    "dropout": [0.0, 0.4],
    "learning_rate": _RATES,
    "learning_rate_decay": 1.0,
    "optimizer": ["adam", "sgd"],
    "batch_size": 64,
}


@dataclass(frozen=True)
class Recipe:
    """What a table is made of.

    Attributes:
        model: Dotted name of the model function.
        space: The grid, as a configuration has it, without `epochs`.
        data: The images.
    """

    model: str
    space: Mapping[str, Any]
    data: DataConfig


_DIGITS = DataConfig("tuner.datasets.digits.load", "digits", None, None, 0.15)
_MNIST = DataConfig("tuner.datasets.mnist.load", "mnist", None, 5000, 0.1)

RECIPES = {
    "mlp_digits": Recipe(
        "tuner.models.mlp.build", {**_MLP, "learning_rate_decay": [0.1, 1.0]}, _DIGITS
    ),
    "cnn_digits": Recipe("tuner.models.cnn.build", _CNN, _DIGITS),
    "mlp_mnist": Recipe("tuner.models.mlp.build", {**_MLP, "learning_rate_decay": 1.0}, _MNIST),
}
"""The tables, by their names. 288, 96 and 144 points."""


def main() -> None:
    """Make the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=RECIPES)
    parser.add_argument("--mnist", help="MNIST, an .npz in the form of Keras's")
    arguments = parser.parse_args()
    tensorflow_setup.set_up(1)
    # As in a worker: Keras requests a full collection after every training.
    gc_pauses.keep_all()
    for name in arguments.names:
        recipe = RECIPES[name]
        if recipe.data.name == "mnist":
            recipe = dataclasses.replace(
                recipe, data=dataclasses.replace(recipe.data, path=arguments.mnist)
            )
        print(make(name, recipe).save(), file=sys.stderr)


def make(name: str, recipe: Recipe) -> Table:
    """Train a table.

    Args:
        name: Its name.
        recipe: What it is made of.
    """
    data = datasets.load(recipe.data, 0)
    # Those of one form one after another: they share a compiled program.
    points = sorted(
        Space.parse(recipe.space, recipe.model).points(),
        key=lambda point: [str(v) for n, v in point.items() if n != "learning_rate"],
    )
    num_validation = len(data.validation)
    right = np.zeros((len(points), SEEDS, EPOCHS), np.uint16)
    seconds = np.zeros(len(points), np.float32)
    for i, point in enumerate(points):
        took: list[float] = []
        for seed in range(SEEDS):
            accuracy, durations = _train(recipe.model, point, seed, data)
            right[i, seed] = np.rint(accuracy * num_validation)
            took += durations
        seconds[i] = np.median(took)
        shown = right[i, :, -1].mean() / num_validation
        print(f"{name} {i + 1} of {len(points)}  {shown:.4f}", file=sys.stderr, flush=True)
    return Table(
        name=name,
        model=recipe.model,
        space=recipe.space,
        points=list(points),
        right=right,
        num_validation=num_validation,
        seconds=seconds,
        facts="; ".join(_facts(data)),
    )


def _train(
    model: str, point: Values, seed: int, data: ImageData
) -> tuple[npt.NDArray[np.float64], list[float]]:
    """Train one point with one seed; return its accuracies, and CPU seconds of its epochs."""
    import keras

    from tuner import training
    from tuner.runtime.user_code import find_function

    own_seed = trial_seed(seed, point)
    fixed = Space({name: Fixed(value) for name, value in point.items()})
    training.seed_everything(own_seed)
    build = find_function("model", model)
    ends: list[float] = []
    history = training.fit(
        build(point, data.image_shape, len(data.class_names)),
        data.train,
        data.validation,
        epochs=EPOCHS,
        batch_size=whole(point["batch_size"]),
        seed=own_seed,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_epoch_begin=lambda *_: ends.append(-time.process_time()),
                on_epoch_end=lambda *_: ends.append(ends.pop() + time.process_time()),
            )
        ],
        engine=engine.rule(model, fixed, False, 0, 1, engine.MIN_STEPS).name,
    )
    training.forget_models()
    return np.array(history.history["val_accuracy"]), ends


def _facts(data: ImageData) -> Iterator[str]:
    import keras
    import tensorflow as tf

    yield f"{data.name} {data.digest}, {len(data.train)} training images"
    yield f"Python {platform.python_version()}, TensorFlow {tf.__version__}"
    yield f"Keras {keras.__version__}, engine auto, 1 thread, {machine.cpu()}"


if __name__ == "__main__":
    main()
