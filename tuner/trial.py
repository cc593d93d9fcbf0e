"""The types that pass between oracle, driver and workers: frozen, and plain data."""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeGuard

from tuner import names
from tuner.constraints import BEFORE_TRAINING, NO_CONSTRAINTS, Constraints

Value = int | float | str | bool | None
Values = Mapping[str, Value]
"""One point of the space, such as `{"epochs": 6, "units_1": 128}`; None is `null` there."""

Metrics = Mapping[str, float]

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""A value that a JSON file or a configuration file can hold."""


Stopped = Literal["user", "pruned", "rung", "early", "time"]
"""Why a trial has fewer epochs than its values say: somebody stopped it, a pruner or a rung
decided so, its own callbacks stopped it early, or its time was up."""


class OnEpoch(Protocol):
    """Called for every epoch of a trial, in their order, from the first."""

    def __call__(
        self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False, /
    ) -> Stopped | None:
        """Take note of an epoch.

        Args:
            trial_id: The oracle's name for the trial.
            epoch: Number of the epoch, from 1.
            metrics: The epoch's metrics, as Keras names them.
            is_reused: Whether another trial had trained the epoch before.

        Returns:
            `pruned` if the trial ends with this epoch, as only one that is judged does (see
            `TrialRequest`); otherwise None.
        """
        ...


class ReportEpoch(Protocol):
    """What a trial's function calls for every epoch; see `OnEpoch`."""

    def __call__(
        self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool = False, /
    ) -> Stopped | None:
        """Report an epoch, and return why the trial ends with it, or None if it does not."""
        ...


@dataclass(frozen=True)
class Objective:
    """What the search minimises or maximises.

    A search may have several objectives. The first of them ranks its trials, and is meant
    wherever one is spoken of.

    Attributes:
        name: A validation metric as Keras reports it, such as `val_accuracy`; of the others
            also `num_parameters` or `latency_ms`.
        direction: Whether smaller or larger is better.
        others: The objectives after the first, which have no others themselves.
    """

    name: str
    direction: Literal["min", "max"]
    others: tuple["Objective", ...] = ()

    @property
    def all(self) -> tuple["Objective", ...]:
        """All objectives, the first one first."""
        return (self, *self.others)

    def is_better(self, score: float, than: float) -> bool:
        """Say whether `score` beats `than`; a tie does not."""
        return score > than if self.direction == "max" else score < than

    def best_so_far(self, scores: Iterable[float]) -> list[float]:
        """Return the best score after each of some scores, in their order."""
        return list(itertools.accumulate(scores, max if self.direction == "max" else min))

    def rank(self, score: float, trial_id: str) -> tuple[float, int]:
        """Return the key that sorts trials, best first.

        If two trials tie, the one proposed first ranks higher: which one ends first is chance.
        """
        return (-score if self.direction == "max" else score), int(trial_id)

    def order(self, metrics: Metrics, trial_id: str) -> tuple[float, ...]:
        """Return the key that sorts trials by all objectives, best first.

        Where trials tie in the first objective, the next one decides, so that the best trial is
        on the Pareto front; where they tie in all, the one proposed first ranks higher.

        Args:
            metrics: The trial's metrics; an objective that is missing counts as worst.
            trial_id: The oracle's name for it.
        """
        worst = float("inf")
        places = (
            worst if one.name not in metrics else one.rank(metrics[one.name], trial_id)[0]
            for one in self.all
        )
        return (*places, int(trial_id))


@dataclass(frozen=True)
class Proposal:
    """A trial that the oracle wants run, or resumed where it is paused.

    Attributes:
        trial_id: Its name, unique in the study.
        values: One point of the space, complete, `epochs` included.
        tags: Further facts about it, such as its bracket and rung.
        rung: Epochs after which it is paused, fewer than its values say; None if it trains all
            of them.
        seed: Seed of its training; None for the one that follows from its values.
    """

    trial_id: str
    values: Values
    tags: Mapping[str, str]
    rung: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Pruned:
    """A pruner's decision that a trial ends before its last epoch.

    Attributes:
        epoch: The epoch that it ends with, from 1.
        because: Why, in words that follow a colon.
    """

    epoch: int
    because: str


@dataclass(frozen=True)
class CheckpointSetup:
    """When a curve's checkpoints are written, and which of them are kept.

    Attributes:
        every_seconds: Seconds after which the next epoch gets a checkpoint, whatever it costs;
            before that, only if checkpoints take little of the time.
        ends: Epochs at which a trial may end: their checkpoints are kept when the curve is
            continued. None for all.
    """

    every_seconds: float = 30.0
    ends: frozenset[int] | None = None


@dataclass(frozen=True)
class TrainingOptions:
    """What the trainings of a study are told besides their values.

    Attributes:
        early_stopping: Arguments of Keras's `EarlyStopping`, or None.
        reduce_on_plateau: Arguments of Keras's `ReduceLROnPlateau`, or None.
        class_weight: `balanced`, or the weight of some classes in the loss, by name; or None.
        callbacks: Dotted names of the user's own functions and classes that make callbacks.
    """

    early_stopping: Mapping[str, Json] | None = None
    reduce_on_plateau: Mapping[str, Json] | None = None
    class_weight: str | Mapping[str, float] | None = None
    callbacks: tuple[str, ...] = ()

    @property
    def monitors(self) -> dict[str, str]:
        """The metrics that must be among those of every epoch, by their keys."""
        told = (
            ("early_stopping", self.early_stopping),
            ("reduce_on_plateau", self.reduce_on_plateau),
        )
        return {
            f"training.{name}.monitor": str(arguments["monitor"])
            for name, arguments in told
            if arguments is not None
        }


@dataclass(frozen=True)
class WorkerSetup:
    """What all trials of a study share, as plain data.

    Attributes:
        model_function: Dotted name of the function that builds a model.
        model_arguments: Its fixed arguments, besides the values and the data's shape.
        objective: The metric that every trial must report.
        threads: Threads of one operation.
        engine: What runs the epochs: `xla`, `graph` or `keras`; see `tuner.config.engine`.
        falls_back: Whether Keras's loop may take its place; see `tuner.training.fit`.
        study: The study's name.
        checkpoints: When the trials' curves are checkpointed.
        custom_objects: Modules that hold classes of the user's own.
        options: What their trainings are told besides their values.
        constraints: Limits that their models should keep within.
        with_latency: Whether the latency of their models is measured.
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
    options: TrainingOptions = field(default_factory=TrainingOptions)
    constraints: Constraints = NO_CONSTRAINTS
    with_latency: bool = False

    @property
    def validated(self) -> list[tuple[str, str]]:
        """The metrics that must be among those of every epoch, each with the key that asks."""
        wanted = [("search.objective", one.name) for one in self.objective.all]
        wanted += [(limit.key, limit.metric) for limit in self.constraints]
        return [(key, name) for key, name in wanted if name not in BEFORE_TRAINING]


@dataclass(frozen=True)
class TrialRequest:
    """What the driver asks a worker to do.

    Attributes:
        trial_id: The oracle's name for the trial.
        values: One point of the space; `epochs` and `batch_size` are always among them.
        seed: Seed of everything random in the trial, from `trial_seed` or `finalist_seed`.
        output_dir: Absolute path of an existing folder for the files the worker makes; files
            left there by a worker that died are removed.
        deadline: Time (seconds since 1970) after which the trial ends with its epoch, or None.
        curve_dir: Absolute path of the folder of the trial's curve, named by its key and made
            when needed; None to start at the first epoch and keep nothing.
        max_seconds: Seconds after which the trial ends with its epoch, or None.
        num_epochs: Epochs to train, if not those of the values: a refit trains as many as its
            trial has used, and a trial that is to be paused those up to its rung.
        pauses: Whether the trial is paused after these: only its checkpoint is written.
        is_judged: Whether a pruner may end it: then each report of an epoch, reused or not, is
            answered before another epoch is trained.
    """

    trial_id: str
    values: Values
    seed: int
    output_dir: str
    deadline: float | None = None
    curve_dir: str | None = None
    max_seconds: float | None = None
    num_epochs: int | None = None
    pauses: bool = False
    is_judged: bool = False

    @property
    def epochs(self) -> int:
        """Epochs to train at most."""
        return whole(self.values["epochs"]) if self.num_epochs is None else self.num_epochs


@dataclass(frozen=True)
class TrialFiles:
    """Absolute paths of what the worker made, ready to be logged as they are."""

    artifacts: tuple[str, ...]
    model_dir: str


@dataclass(frozen=True)
class TrialResult:
    """A trial trained to its last epoch, and evaluated there or at its best epoch.

    Attributes:
        trial_id: The oracle's name for the trial.
        epochs: Metrics after each epoch; `epochs[0]` is epoch 1.
        test: `test_loss` (nats) and `test_accuracy` (in [0, 1]) of the model that is logged.
        files: What the worker made.
        num_parameters: Weights of the model, trainable or not.
        train_seconds: Wall time of the epochs that the trial has trained itself.
        seconds: Wall time of the whole trial in the worker.
        compile_seconds: Part of `seconds` spent tracing and compiling before the first epoch;
            Keras's own loop compiles during it.
        evaluate_seconds: Part of `seconds` after the last epoch: predicting, drawing, saving.
        epochs_reused: Number of epochs that other trials had trained before.
        continued_from: The trial that trained the last of those, as `<study>/<trial id>`.
        curve: Name of the curve: its key, followed by the epochs if they change the model.
        stopped: Why it has fewer epochs than its values say; None if it has all.
        stopped_because: Why it stopped early or was pruned, in words that follow a colon.
        best_epoch: The epoch whose weights the model has, if a callback has restored those of
            an earlier epoch than the last.
        latency_ms: Milliseconds that the model takes for one image; None if not measured.
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
    stopped: Stopped | None = None
    stopped_because: str = ""
    best_epoch: int | None = None
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        """Refuse a result that no search could use."""
        if not self.epochs:
            raise ValueError(
                "A TrialResult must have at least one epoch, but `epochs` is empty."
            )
        if self.best_epoch is not None and not 0 < self.best_epoch < len(self.epochs):
            raise ValueError(
                f"`best_epoch` of a TrialResult must be an epoch before its last, "
                f"{len(self.epochs)}, but got {self.best_epoch}."
            )

    @property
    def final(self) -> Metrics:
        """The metrics of the epoch whose weights the logged model has."""
        return self.epochs[(self.best_epoch or len(self.epochs)) - 1]

    @property
    def of_model(self) -> Metrics:
        """The metrics of the logged model that objectives and constraints may look at."""
        return _of_model(self)

    def score(self, objective: Objective) -> float:
        """Return the objective of the logged model."""
        return self.final[objective.name]


@dataclass(frozen=True)
class TrialPause:
    """A trial trained up to a rung: its checkpoint is on disk, and nothing else was made.

    Attributes:
        trial_id: The oracle's name for the trial.
        epochs: Metrics after each epoch; `epochs[0]` is epoch 1.
        num_parameters: Weights of the model, trainable or not.
        train_seconds: Wall time of the epochs that the trial has trained itself, all together.
        seconds: Wall time in the worker since the trial was last resumed.
        compile_seconds: As in `TrialResult`.
        epochs_reused: As in `TrialResult`.
        curve: As in `TrialResult`.
        best_epoch: As in `TrialResult`.
        latency_ms: As in `TrialResult`.
    """

    trial_id: str
    epochs: tuple[Metrics, ...]
    num_parameters: int
    train_seconds: float
    seconds: float
    compile_seconds: float = 0.0
    epochs_reused: int = 0
    curve: str = ""
    best_epoch: int | None = None
    latency_ms: float | None = None

    @property
    def final(self) -> Metrics:
        """The metrics of the epoch whose weights would be logged now."""
        return self.epochs[(self.best_epoch or len(self.epochs)) - 1]

    @property
    def of_model(self) -> Metrics:
        """The metrics of that model that objectives and constraints may look at."""
        return _of_model(self)

    def score(self, objective: Objective) -> float:
        """Return the objective of the model that would be logged now."""
        return self.final[objective.name]


def _of_model(trained: TrialResult | TrialPause) -> Metrics:
    latency = {} if trained.latency_ms is None else {names.LATENCY_MS: trained.latency_ms}
    return {**trained.final, names.NUM_PARAMETERS: trained.num_parameters, **latency}


def is_cut(stopped: str | None) -> bool:
    """Say whether a trial can be resumed, since a person, the time or a rung has stopped it."""
    return stopped in ("user", "time", "rung")


FailureKind = Literal["infeasible", "constraint", "error", "fatal", "storage", "stopped"]


@dataclass(frozen=True)
class TrialFailure:
    """A trial that did not end with a result.

    Attributes:
        trial_id: The oracle's name for the trial.
        error: The exception's type and message, in one line.
        traceback: The whole traceback.
        kind: `infeasible`, these values cannot work; `constraint`, its model breaks one and
            was not trained; `error`, an exception nobody foresaw; `fatal`, no values can work;
            `storage`, a file could not be written; `stopped`, it did not begin or cannot be
            used.
        of_model: Metrics of its model that were known before it was trained.
    """

    trial_id: str
    error: str
    traceback: str
    kind: FailureKind
    of_model: Metrics = field(default_factory=dict)

    @classmethod
    def not_begun(cls, trial_id: str) -> "TrialFailure":
        """Return what becomes of a trial that the study's end kept from beginning."""
        why = "The study ended before the trial began."
        return cls(trial_id, why, why, "stopped")


Outcome = TrialResult | TrialPause | TrialFailure

RunTrial = Callable[[TrialRequest, ReportEpoch], Outcome]
"""The function with which a worker runs a trial."""


def trial_seed(seed: int, values: Values) -> int:
    """Derive the seed of a trial from the study's seed and the trial's values.

    `epochs` is left out: two trials that differ only in how long they train have the same
    first epochs, whichever of them runs first.

    Args:
        seed: The study's seed.
        values: The trial's values.

    Returns:
        An integer in `[0, 2**31)`.
    """
    return _derived([seed, without_epochs(values)])


def finalist_seed(seed: int, number: int) -> int:
    """Derive a seed that takes no part in the search from the study's seed.

    It is the same for all finalists: a round trains them under equal conditions.

    Args:
        seed: The study's seed.
        number: Number of the new seed, from 1.

    Returns:
        An integer in `[0, 2**31)`.
    """
    return _derived([seed, "finalist", number])


def _derived(content: Json) -> int:
    text = json.dumps(content, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def whole(value: Value) -> int:
    """Return a value that is a whole number in every space, as `epochs` is."""
    if not isinstance(value, int):
        raise TypeError(f"A whole number is needed, but got {value!r}.")
    return value


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number; true and false are none, whatever Python says."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Value) -> float:
    """Return a value that is a number in every space."""
    if not isinstance(value, int | float):
        raise TypeError(f"A number is needed, but got {value!r}.")
    return float(value)


def without_epochs(values: Values) -> dict[str, Value]:
    """Return the values that all trials of a curve have in common: all but `epochs`."""
    return {name: value for name, value in values.items() if name != "epochs"}


def all_finite(metrics: Metrics) -> bool:
    """Say whether no metric is NaN or infinite."""
    return all(math.isfinite(value) for value in metrics.values())
