"""The types that pass between oracle, driver and workers: frozen, and plain data."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Value = int | float | str | bool
Values = Mapping[str, Value]
"""One point of the space, such as `{"epochs": 6, "units_1": 128}`."""

Metrics = Mapping[str, float]

OnEpoch = Callable[[str, int, Metrics], None]
"""Called with the trial's id, the epoch counted from 1, and its metrics."""

TIME_IS_UP = "Stopped because the study's time is up (search.max_minutes)."


@dataclass(frozen=True)
class Objective:
    """What the search makes as small or as large as it can.

    Attributes:
        name: A validation metric as Keras reports it, such as `val_accuracy`.
        direction: Whether smaller or larger is better.
    """

    name: str
    direction: Literal["min", "max"]

    def is_better(self, score: float, than: float) -> bool:
        """Say whether `score` beats `than`; a tie does not."""
        return score > than if self.direction == "max" else score < than


@dataclass(frozen=True)
class Proposal:
    """A trial that the oracle wants run.

    Attributes:
        trial_id: Its name, unique in the study.
        values: One point of the space, complete, `epochs` included.
        tags: What else there is to know about it, such as Hyperband's bracket and round.
    """

    trial_id: str
    values: Values
    tags: Mapping[str, str]


@dataclass(frozen=True)
class WorkerSetup:
    """What all trials of a study share, as plain data.

    Attributes:
        model_function: Dotted name of the function that builds a model.
        model_arguments: Its fixed arguments, beside the values and the data's shape.
        objective: The metric that every trial must report.
        threads: Threads of one operation.
        engine: What runs the epochs; see `tuner.training.fit`.
    """

    model_function: str
    model_arguments: Mapping[str, Any]
    objective: Objective
    threads: int
    engine: str = "auto"


@dataclass(frozen=True)
class TrialRequest:
    """What the driver asks a worker to do.

    Attributes:
        trial_id: The oracle's name of the trial.
        values: One point of the space; `epochs` and `batch_size` are always among them.
        seed: Seed of everything random in the trial, from `trial_seed`.
        output_dir: Absolute path of an existing folder for the files the worker makes.
        deadline: Time (seconds since 1970) at which to stop, or None.
    """

    trial_id: str
    values: Values
    seed: int
    output_dir: str
    deadline: float | None = None


@dataclass(frozen=True)
class TrialFiles:
    """Absolute paths of what the worker made, ready to be logged as they are."""

    artifacts: tuple[str, ...]
    model_dir: str


@dataclass(frozen=True)
class TrialResult:
    """A trial trained to its last epoch, and evaluated there.

    Attributes:
        trial_id: The oracle's name of the trial.
        epochs: Metrics after each epoch; `epochs[0]` is epoch 1.
        test: `test_loss` (nats) and `test_accuracy` (in [0, 1]) of the model that is logged.
        files: What the worker made.
        num_parameters: Weights of the model, trainable or not.
        train_seconds: Wall time of the epochs trained.
        seconds: Wall time of the whole trial in the worker.
    """

    trial_id: str
    epochs: tuple[Metrics, ...]
    test: Metrics
    files: TrialFiles
    num_parameters: int
    train_seconds: float
    seconds: float

    def __post_init__(self) -> None:
        """Refuse a result that no search could use."""
        if not self.epochs:
            raise ValueError(
                "A TrialResult must have at least one epoch, but `epochs` is empty."
            )

    def score(self, objective: Objective) -> float:
        """Return the objective after the last epoch: that of the model that is logged."""
        return self.epochs[-1][objective.name]


@dataclass(frozen=True)
class TrialFailure:
    """A trial that did not end with a result.

    Attributes:
        trial_id: The oracle's name of the trial.
        error: The exception's type and message, in one line.
        traceback: The whole traceback.
        kind: `infeasible`, these values cannot work; `error`, an exception nobody foresaw;
            `fatal`, no values can work; `stopped`, time was up.
    """

    trial_id: str
    error: str
    traceback: str
    kind: Literal["infeasible", "error", "fatal", "stopped"]


Outcome = TrialResult | TrialFailure

RunTrial = Callable[[TrialRequest, OnEpoch], Outcome]
"""What a worker does with a trial."""


def trial_seed(seed: int, values: Values) -> int:
    """Derive the seed of a trial from the study's seed and what is trained.

    `epochs` is left out: the first epochs of two trials that differ only in how long they
    train are the same, whichever of them comes first.

    Args:
        seed: The study's seed.
        values: The trial's values.

    Returns:
        An integer in `[0, 2**31)`.
    """
    curve = {name: value for name, value in values.items() if name != "epochs"}
    text = json.dumps([seed, curve], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def all_finite(metrics: Metrics) -> bool:
    """Say whether no metric is NaN or infinite."""
    return all(math.isfinite(value) for value in metrics.values())
