"""The types that pass between oracle, driver and workers: frozen, and plain data."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Value = int | float | str | bool | None
Values = Mapping[str, Value]
"""One point of the space, such as `{"epochs": 6, "units_1": 128}`; None is `null` there."""

Metrics = Mapping[str, float]

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""What a JSON file or a file of the configuration can hold."""


class OnEpoch(Protocol):
    """Called for every epoch of a trial, in their order, from the first."""

    def __call__(
        self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False, /
    ) -> None:
        """Take note of an epoch.

        Args:
            trial_id: The oracle's name of the trial.
            epoch: Counted from 1.
            metrics: As Keras names them.
            is_reused: Whether it had been trained before.
        """
        ...


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

    def rank(self, score: float, trial_id: str) -> tuple[float, int]:
        """Return what trials are sorted by, the best first.

        Of two that tie the one proposed first is the better: which ends first is chance.
        """
        return (-score if self.direction == "max" else score), int(trial_id)


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
class CheckpointSetup:
    """When a curve's checkpoints are written, and which of them are kept.

    Attributes:
        every_seconds: An epoch gets a checkpoint so many seconds after the last one, whatever
            it costs; before that, only if checkpoints take little of the time.
        ends: Epochs at which a trial may end, whose checkpoints are kept when the curve goes
            on; None for all.
    """

    every_seconds: float = 30.0
    ends: frozenset[int] | None = None


@dataclass(frozen=True)
class WorkerSetup:
    """What all trials of a study share, as plain data.

    Attributes:
        model_function: Dotted name of the function that builds a model.
        model_arguments: Its fixed arguments, beside the values and the data's shape.
        objective: The metric that every trial must report.
        threads: Threads of one operation.
        engine: What runs the epochs: `xla`, `graph` or `keras`; see `tuner.config.engine`.
        falls_back: Whether Keras's loop may take its place; see `tuner.training.fit`.
        study: The study's name.
        checkpoints: Those of the trials' curves.
        custom_objects: Modules that hold classes of the user's own.
    """

    model_function: str
    model_arguments: Mapping[str, object]
    objective: Objective
    threads: int
    engine: str = "graph"
    falls_back: bool = True
    study: str = ""
    checkpoints: CheckpointSetup = field(default_factory=CheckpointSetup)
    custom_objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialRequest:
    """What the driver asks a worker to do.

    Attributes:
        trial_id: The oracle's name of the trial.
        values: One point of the space; `epochs` and `batch_size` are always among them.
        seed: Seed of everything random in the trial, from `trial_seed`.
        output_dir: Absolute path of an existing folder for the files the worker makes; what a
            worker that died has left there is removed.
        deadline: Time (seconds since 1970) at which to stop, or None.
        curve_dir: Absolute path of the folder of the trial's curve, named by its key and made
            when needed; None to begin at the first epoch and keep nothing.
    """

    trial_id: str
    values: Values
    seed: int
    output_dir: str
    deadline: float | None = None
    curve_dir: str | None = None


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
        train_seconds: Wall time of the epochs that the trial has trained itself.
        seconds: Wall time of the whole trial in the worker.
        compile_seconds: Of that, tracing and compiling before the first epoch; Keras's own loop
            compiles in it.
        evaluate_seconds: Of that, all after the last epoch: predicting, drawing, saving.
        epochs_reused: How many of the epochs other trials had trained before.
        continued_from: The trial that trained the last of those, as `<study>/<trial id>`.
        curve: Name of the curve: its key, with the epochs behind it if they change the model.
    """

    trial_id: str
    epochs: tuple[Metrics, ...]
    test: Metrics
    files: TrialFiles
    num_parameters: int
    train_seconds: float
    seconds: float
    compile_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    epochs_reused: int = 0
    continued_from: str | None = None
    curve: str = ""

    def __post_init__(self) -> None:
        """Refuse a result that no search could use."""
        if not self.epochs:
            raise ValueError(
                "A TrialResult must have at least one epoch, but `epochs` is empty."
            )

    def score(self, objective: Objective) -> float:
        """Return the objective after the last epoch: that of the model that is logged."""
        return self.epochs[-1][objective.name]


FailureKind = Literal["infeasible", "error", "fatal", "storage", "stopped"]


@dataclass(frozen=True)
class TrialFailure:
    """A trial that did not end with a result.

    Attributes:
        trial_id: The oracle's name of the trial.
        error: The exception's type and message, in one line.
        traceback: The whole traceback.
        kind: `infeasible`, these values cannot work; `error`, an exception nobody foresaw;
            `fatal`, no values can work; `storage`, a file could not be written; `stopped`, time
            was up.
    """

    trial_id: str
    error: str
    traceback: str
    kind: FailureKind


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
    text = json.dumps([seed, without_epochs(values)], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def whole(value: Value) -> int:
    """Return a value that is a whole number in every space, as `epochs` is."""
    if not isinstance(value, int):
        raise TypeError(f"A whole number is needed, but got {value!r}.")
    return value


def number(value: Value) -> float:
    """Return a value that is a number in every space."""
    if not isinstance(value, int | float):
        raise TypeError(f"A number is needed, but got {value!r}.")
    return float(value)


def without_epochs(values: Values) -> dict[str, Value]:
    """Return what trials of one curve have in common."""
    return {name: value for name, value in values.items() if name != "epochs"}


def all_finite(metrics: Metrics) -> bool:
    """Say whether no metric is NaN or infinite."""
    return all(math.isfinite(value) for value in metrics.values())
