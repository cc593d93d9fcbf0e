"""The engine that runs a study's epochs, chosen once for all its trials, before the first.

- `xla`: each epoch is one program, which XLA compiles.
- `graph`: the same program without XLA. Its weights are those of `keras`, bit for bit.
- `keras`: Keras's own `model.fit`.
- `auto`: one of these, as decided by `choose`.

The driver chooses, so nothing here imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tuner.config.hyperparameters import Dimension, Range
from tuner.errors import ConfigError
from tuner.models import CONVOLUTIONAL, RANDOM, SPACES
from tuner.trial import Value

if TYPE_CHECKING:
    from tuner.config.schema import StudyConfig
    from tuner.config.space import Space

ENGINE_VERSION = 1
"""Version of Glassy's own part in training: the same version gives the same weights.

Raise it by hand when a change in `tuner/training/` or `tuner/models/` changes the final weights
of a training. A change that only moves, renames or rewords code leaves it as it is.
"""

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
    devices: Collection[str],
    batch_hook: str | None = None,
) -> Engine:
    """Choose the engine of a study's trials, before the first of them.

    Args:
        config: The study's configuration.
        num_bytes: Size of the training and validation images.
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
    space = config.searched_space()
    # A trial on a Ray cluster sees the GPUs that it requests, whatever the driver sees.
    num_gpus = getattr(config.executor, "gpus", None)
    on_gpu = "GPU" in devices if num_gpus is None else num_gpus > 0
    if asked == "auto":
        memory = psutil.virtual_memory().total
        return rule(config.model_function, space, on_gpu, num_bytes, memory)
    if asked == "xla" and not on_gpu and (found := slow_in_xla(config.model_function, space)):
        cause, remedy = found
        raise ConfigError(
            f"`training.engine=xla` cannot be used with {cause}: {SLOW_ON_CPU}. Give "
            f"training.engine=auto or training.engine=graph{remedy}."
        )
    return Engine(asked, f"training.engine={asked}")


def rule(model: str, space: Space, on_gpu: bool, num_bytes: int, memory: int) -> Engine:
    """Choose the engine for `training.engine=auto`.

    The choice depends only on the model, the data, the space and the kind of machine. It never
    depends on the budget or on a measurement, so that a study whose budget is raised later
    trains as it would have with the larger budget from the start. (A rule by the number of
    steps belongs here: where few steps are run of each shape, compiling with XLA takes longer
    than it saves.)

    Args:
        model: The model function's dotted name.
        space: What its trials are built from.
        on_gpu: Whether they run on a GPU.
        num_bytes: Size of the training and validation images.
        memory: Size of the machine's memory, in bytes.
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
    return Engine("xla", "no trial has random numbers or convolutions")


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
    ends: Iterable[Value] = (
        (dimension.max,) if isinstance(dimension, Range) else dimension.options
    )
    return any(isinstance(value, int | float) and value > 0 for value in ends)
