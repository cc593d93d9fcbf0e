"""How a training ended, as plain data: what workers return, and what oracles are told."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tuner import names
from tuner.trial import Json, Metrics, Objective, ReportEpoch, Stopped, TrialRequest


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
        repeats: All its trainings in their order, if it was trained several times. Then
            `epochs` are those of the first, seconds and numbers of epochs are those of all,
            and the model is that of the training whose score is nearest to the mean.
        model_repeat: Number of that training, from 1.
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
    repeats: "tuple[TrialPause, ...]" = ()
    model_repeat: int = 1

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
        """The metrics of the epoch whose weights the logged model has; of repeats, the mean."""
        if self.repeats:
            return {name: statistics.fmean(found) for name, found in self._finals.items()}
        return self.epochs[(self.best_epoch or len(self.epochs)) - 1]

    @property
    def deviations(self) -> Metrics:
        """The standard deviation of each final metric between repeats; empty for one."""
        if len(self.repeats) < 2:
            return {}
        return {name: statistics.stdev(found) for name, found in self._finals.items()}

    @property
    def _finals(self) -> Mapping[str, Sequence[float]]:
        """The final metrics of all repeats, by name."""
        finals = [repeat.final for repeat in self.repeats]
        return {name: [final[name] for final in finals] for name in finals[0]}

    @property
    def num_epochs(self) -> int:
        """Number of epochs of its trainings, all together."""
        return sum(len(one.epochs) for one in self.repeats) or len(self.epochs)

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
    def num_epochs(self) -> int:
        """Number of its epochs."""
        return len(self.epochs)

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


@dataclass(frozen=True)
class Told:
    """What an oracle is told of a trial that has ended, or stands at its rung.

    Attributes:
        score: The objective of its model, finite; None if the trial failed.
        is_over: Whether it was ended before its rung and is not to be resumed.
        curve: The objective after each epoch of a trial that has ended; empty if it failed.
        measured: The metrics of its model that constraints and other objectives look at.
        repeats: The objective of each of its trainings, if it is trained several times.
    """

    score: float | None
    is_over: bool = False
    curve: Sequence[float] = ()
    measured: Metrics = field(default_factory=dict)
    repeats: Sequence[float] = ()

    @classmethod
    def decode(cls, event: Mapping[str, Any]) -> "Told":
        """Return what `encode` has made plain."""
        return cls(
            event["score"],
            event.get("over", False),
            event.get("curve", ()),
            event.get("measured", {}),
            event.get("repeats", ()),
        )

    def encode(self) -> dict[str, Json]:
        """Return it as data for JSON, without what is empty."""
        kept: dict[str, Json] = {
            "over": self.is_over,
            "curve": list(self.curve),
            "measured": dict(self.measured),
            "repeats": list(self.repeats),
        }
        return {"score": self.score, **{name: what for name, what in kept.items() if what}}
