"""The types that pass between oracle, driver and workers: frozen, and plain data."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeGuard

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
    """A decision that a trial ends before its last epoch, or before its last repeat.

    Attributes:
        epoch: The epoch that it ends with, from 1.
        because: Why, in words that follow a colon.
        repeat: The repeat that it ends with, from 1; None if an epoch was judged.
    """

    epoch: int
    because: str
    repeat: int | None = None


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
        fold: The fold of the data that validates, from 1; None for the data as they are.
        repeat: Which of the trial's trainings it is, from 1.
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
    fold: int | None = None
    repeat: int = 1

    @property
    def epochs(self) -> int:
        """Epochs to train at most."""
        return whole(self.values["epochs"]) if self.num_epochs is None else self.num_epochs


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


def repeat_seed(seed: int, values: Values, repeat: int) -> int:
    """Derive the seed of one of a trial's trainings; that of the first is `trial_seed`.

    Args:
        seed: The study's seed.
        values: The trial's values.
        repeat: Number of the training, from 1.

    Returns:
        An integer in `[0, 2**31)`.
    """
    if repeat == 1:
        return trial_seed(seed, values)
    return _derived([seed, without_epochs(values), "repeat", repeat])


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
