"""The engine that runs a study's epochs, chosen once for all its trials, before the first.

- `xla`: each epoch is one program, which XLA compiles.
- `graph`: the same program without XLA. Its weights are those of `keras`, bit for bit or, in
  three cases (docs/measurements.md), to the last bits.
- `keras`: Keras's own `model.fit`.
- `auto`: one of these, as decided by `choose`.

The driver chooses, so nothing here imports TensorFlow.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tuner.config.hyperparameters import Dimension, ends
from tuner.errors import ConfigError
from tuner.models import CONVOLUTIONAL, RANDOM, SPACES
from tuner.trial import whole
from tuner.wording import plural

if TYPE_CHECKING:
    from tuner.config.schema import StudyConfig
    from tuner.config.space import Space

ENGINE_VERSION = 2
"""Version of Glassy's own part in training: the same version gives the same weights.

Raise it by hand when a change in `tuner/training/` or `tuner/models/` changes the final weights
of a training. A change that only moves, renames or rewords code leaves it as it is.
"""

MIN_STEPS = 5_000
"""Training steps of one shape from which on XLA saves the time that it compiles.

XLA compiles a dense network of two layers in 0.5 to 0.6 s, and saves 0.1 to 0.25 ms a step
(docs/measurements.md).
"""

TRIALS = 16
"""Trials that a study is thought to have at least, whatever its budget: shapes are shared."""

# Values with which XLA need not compile anew.
_NO_SHAPE = ("epochs", "learning_rate", "learning_rate_decay", "l2")

SLOW_ON_CPU = "on a CPU, XLA makes random numbers and convolutions many times slower"
"""Why `xla` is refused or not chosen, wherever that is said."""


@dataclass(frozen=True)
class Engine:
    """The engine of a study.

    Attributes:
        name: `xla`, `graph` or `keras`.
        reason: Why it was chosen.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        """Return its name and the reason, as a line of the log."""
        return f"The engine of this study is {self.name}: {self.reason}."


def choose(
    config: StudyConfig,
    num_bytes: int,
    num_images: int,
    devices: Collection[str],
    batch_hook: str | None = None,
) -> Engine:
    """Choose the engine of a study's trials, before the first of them.

    Args:
        config: The study's configuration.
        num_bytes: Size of the training and validation images.
        num_images: Number of training images.
        devices: Kinds of device that TensorFlow finds in this process's children.
        batch_hook: Which callback has a hook for every batch, in words; None if none has.

    Raises:
        ConfigError: If `training.engine=xla` would be too slow to be of use, or the engine
            that is asked for cannot call a callback after every batch.
    """
    asked = config.training.engine
    if batch_hook is not None and asked != "keras":
        if asked == "auto":
            return Engine("keras", batch_hook)
        raise ConfigError(
            f"`training.engine={asked}` runs each epoch as one program, but {batch_hook}. Give "
            f"training.engine=auto or training.engine=keras."
        )
    if asked == "auto":
        space, memory = config.searched_space(), psutil.virtual_memory().total
        on_gpu, num_steps = _on_gpu(config, devices), _most_steps(config, num_images)
        return rule(config.model_function, space, on_gpu, num_bytes, memory, num_steps)
    if asked == "xla" and (found := slow_here(config, devices)):
        cause, remedy = found
        raise ConfigError(
            f"`training.engine=xla` cannot be used with {cause}: {SLOW_ON_CPU}. Give "
            f"training.engine=auto or training.engine=graph{remedy}."
        )
    return Engine(asked, f"training.engine={asked}")


def slow_here(config: StudyConfig, devices: Collection[str]) -> tuple[str, str] | None:
    """Find what makes XLA slow in some trial of a study, unless its trials run on a GPU.

    Args:
        config: The study's configuration.
        devices: Kinds of device that TensorFlow finds in this process's children.

    Returns:
        As `slow_in_xla`.
    """
    if _on_gpu(config, devices):
        return None
    return slow_in_xla(config.model_function, config.searched_space())


def _on_gpu(config: StudyConfig, devices: Collection[str]) -> bool:
    # A trial on a Ray cluster sees the GPUs that it requests, whatever the driver sees.
    num_gpus = getattr(config.executor, "gpus", None)
    return "GPU" in devices if num_gpus is None else num_gpus > 0


def rule(
    model: str, space: Space, on_gpu: bool, num_bytes: int, memory: int, num_steps: int
) -> Engine:
    """Choose the engine for `training.engine=auto`.

    The choice depends only on the model, the data, the space and the kind of machine. It never
    depends on the budget or on a measurement, so that a study whose budget is raised later
    trains as it would have with the larger budget from the start.

    Args:
        model: The model function's dotted name.
        space: What its trials are built from.
        on_gpu: Whether they run on a GPU.
        num_bytes: Size of the training and validation images.
        memory: Size of the machine's memory, in bytes.
        num_steps: The most training steps of a trial.
    """
    if num_bytes > memory / 2:
        return Engine(
            "keras",
            f"the images ({num_bytes / 2**30:.1f} GiB) take more than half of the memory "
            f"({memory / 2**30:.1f} GiB), and model.fit reads them batch by batch",
        )
    if on_gpu:
        return Engine("xla", "there is a GPU")
    if model not in SPACES:
        return Engine(
            "graph",
            f"nothing is known of {model} before it is built, and {SLOW_ON_CPU}; "
            f"training.engine=xla is for models without either",
        )
    if found := slow_in_xla(model, space):
        return Engine("graph", f"trials may have {found[0]}, and {SLOW_ON_CPU}")
    num_shapes = _num_shapes(space)
    if num_steps * max(1, TRIALS // num_shapes) < MIN_STEPS:
        shapes = "many shapes" if num_shapes > TRIALS else plural(num_shapes, "shape")
        return Engine(
            "graph",
            f"trials of up to {plural(num_steps, 'step')} and {shapes} are over sooner than "
            f"XLA could save the time that it compiles",
        )
    return Engine(
        "xla", f"trials of up to {num_steps:,} steps without random numbers or convolutions"
    )


def _most_steps(config: StudyConfig, num_images: int) -> int:
    """Return the largest number of training steps of a trial."""
    space, search = config.whole_space(), config.search
    epochs = search.epochs if search.sets_epochs else ends(space.dimensions["epochs"])
    batch_sizes = map(whole, ends(space.dimensions["batch_size"]))
    return max(map(whole, epochs)) * -(-num_images // min(batch_sizes))


def _num_shapes(space: Space) -> int:
    """Return the largest number of programs that XLA would compile for a space's trials."""
    searched = (d for name, d in space.dimensions.items() if name not in _NO_SHAPE)
    return math.prod(sys.maxsize if d.options is None else len(d.options) for d in searched)


def slow_in_xla(model: str, space: Space) -> tuple[str, str] | None:
    """Find what makes XLA slow on a CPU in some trial of a built-in model.

    An epoch of MNIST takes XLA 24 times as long as `model.fit` with convolutions, and 3 to 13
    times with dropout. Everything else that a space can hold is faster in XLA than in
    `model.fit`: every transform, optimiser, activation and width, batch norm, L2 and a decaying
    learning rate (`benchmarks/engines.py`).

    Args:
        model: The model function's dotted name.
        space: What its trials are built from.

    Returns:
        The cause and another remedy, as parts of a sentence; None if there is no such cause,
        or if the model is not built in.
    """
    if model in CONVOLUTIONAL:
        return f"the convolutions of model._target_={model}", ""
    if model not in SPACES:
        return None
    for name, dimension in space.dimensions.items():
        if name in RANDOM and _can_be_above_0(dimension):
            key = f"space.{name.replace('augment_', 'augment.', 1)}"
            return f"{key} above 0", f", or {key}=0"
    return None


def _can_be_above_0(dimension: Dimension) -> bool:
    return any(isinstance(value, int | float) and value > 0 for value in ends(dimension))
