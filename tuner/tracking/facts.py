"""What is read of a recorded study: its facts, its trials, and what people ask of them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuner import names
from tuner.constraints import Constraints
from tuner.evaluation.racing import Race
from tuner.models.objectives import make_objective
from tuner.outcomes import TrialResult
from tuner.tracking.manifest import Manifest
from tuner.trial import Metrics, Objective, Values
from tuner.wording import why_fewer


def objective_of(settings: Mapping[str, Any]) -> Objective:
    """Return what a study improves, from its configuration, flat."""
    direction = settings.get("search.direction")
    # Studies without a tag for their settings have only MLflow's text.
    given = None if direction == "None" else direction
    return make_objective(settings["search.objective"], given)


@dataclass(frozen=True)
class DataFacts:
    """The data of a study: its name, its digest, and counts and shape as recorded."""

    name: str
    digest: str
    profile: Mapping[str, Any]

    @property
    def num_scored(self) -> int | None:
        """Number of different images that validate a trial, if that was recorded."""
        found: int | None = self.profile.get("num_scored", self.profile.get("num_validation"))
        return found


@dataclass(frozen=True)
class Repeats:
    """The trainings of a trial that is trained several times, in their order.

    Attributes:
        finals: The metrics of each, after the epoch whose weights its model has.
        epochs: Number of that epoch.
        model: Number of the training whose model is the trial's, from 1.
    """

    finals: tuple[Metrics, ...]
    epochs: tuple[int, ...]
    model: int

    @classmethod
    def of(cls, result: TrialResult) -> "Repeats | None":
        """Return those of a trial that has ended; None if it was trained once."""
        if not result.repeats:
            return None
        epochs = (one.best_epoch or len(one.epochs) for one in result.repeats)
        finals = (one.final for one in result.repeats)
        return cls(tuple(finals), tuple(epochs), result.model_repeat)

    @classmethod
    def decode(cls, content: Any) -> "Repeats | None":
        """Return the trainings that `encode` has made plain; None for None."""
        if content is None:
            return None
        return cls(tuple(content["finals"]), tuple(content["epochs"]), content["model"])

    def encode(self) -> dict[str, Any]:
        """Return them as data for JSON."""
        return asdict(self)

    def scores(self, metric: str) -> list[float]:
        """Return a metric of each training."""
        return [final[metric] for final in self.finals]

    def say(self, metric: str) -> str:
        """Return a sentence on a metric of each training, and on whose model is the trial's."""
        scores = self.scores(metric)
        each = ", ".join(f"{score:.4f}" for score in scores)
        if len(scores) == 1:
            return f"Trained once of several times: {metric} {each}."
        return (
            f"Trained {len(scores)} times: {metric} {each} (standard deviation "
            f"{statistics.stdev(scores):.4f}). Its model is that of training {self.model}."
        )


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as MLflow has it.

    Attributes:
        trial_id: The oracle's name for it; for a refit or a finalist, `names.refit_name` or
            `names.finalist_name` of that.
        run_id: Id of its run in MLflow.
        status: Status of its run: `FINISHED`, `FAILED`, `KILLED` or `RUNNING`.
        values: One point of the space, each value with the type that it was trained with.
        metrics: The last value of each metric, which is that of its model.
        ended: Time (seconds since 1970) at which it ended, or started if it still runs.
        error: What went wrong, in one line; None if nothing did.
        failure: Kind of the failure, as in `TrialFailure`.
        stopped: Why it has fewer epochs than its values say; None if it has all.
        stop: Whether somebody has asked it to end; see `names.STOP`.
        kind: `names.KIND_TRIAL`, `names.KIND_REFIT` or `names.KIND_FINALIST`.
        artifact_uri: Where its files are.
        params: Names of the params that its run has.
        parent: Id of the run that it is shown under.
        manifest: The files it has logged, if known.
        is_bare: Whether nothing at all was logged to the run.
        stopped_because: Why it stopped early or was pruned, in words that follow a colon.
        best_epoch: The epoch whose weights its model has, if that is not the last.
        finalist_of: The trial that a finalist trains again; None for a trial.
        seed: Seed of a finalist; None for a trial.
        repeats: Its trainings, if it was trained several times; its metrics are their means.
    """

    trial_id: str
    run_id: str
    status: str
    values: Values
    metrics: Metrics
    ended: float
    error: str | None = None
    failure: str | None = None
    stopped: str | None = None
    stop: bool = False
    kind: str = names.KIND_TRIAL
    artifact_uri: str = ""
    params: frozenset[str] = frozenset()
    parent: str | None = None
    manifest: Manifest | None = None
    is_bare: bool = False
    stopped_because: str = ""
    best_epoch: int | None = None
    finalist_of: str | None = None
    seed: int | None = None
    repeats: Repeats | None = None

    @property
    def num_epochs(self) -> int | None:
        """Number of epochs that it has; None if that was not recorded.

        Of one that was trained several times, those that its model was trained for.
        """
        if self.repeats is not None:
            return self.repeats.epochs[self.repeats.model - 1]
        if names.EPOCHS_TRAINED not in self.metrics:
            return None
        reused = self.metrics.get(names.EPOCHS_REUSED, 0)
        return round(self.metrics[names.EPOCHS_TRAINED] + reused)

    @property
    def why_fewer(self) -> str | None:
        """Why it has fewer epochs than its values say, in words; None if it has all."""
        if self.stopped is None or self.num_epochs is None:
            return None
        # As text if it was recorded without types.
        planned = int(str(self.values["epochs"]))
        return why_fewer(self.stopped, self.num_epochs, planned, self.stopped_because)

    @property
    def used_epochs(self) -> int | None:
        """Number of epochs that its model was trained for; None if that was not recorded."""
        return self.best_epoch or self.num_epochs


@dataclass(frozen=True)
class StudyFacts:
    """One study, as recorded in its own run.

    Attributes:
        name: The study's name.
        study_id: The study's id, which distinguishes studies of one name.
        run_id: Id of its run in MLflow.
        experiment_id: Id of its experiment in MLflow.
        status: Status of its run.
        began: Time (seconds since 1970) at which it was started.
        owner: The user who started it; empty if unknown.
        folder: `<host>:<folder>` it was searched in; empty if unknown.
        settings: Its configuration, flat.
        metrics: Of its run.
        versions: Of the libraries it was made with.
        data: What it is searched on; None if that was not recorded.
        best_trial: The best trial when it was last written down.
        judged_trial: The trial that was registered, if one was; mostly the best one.
        extensions: What it was told otherwise when it was resumed, as `StudyState` has it.
        stop: What somebody has asked of it, if anything; see `names.STOP`.
        num_trials: Trials of its whole search; None if that is unknown.
        time_left: How long it would still take when its driver last said so, in words.
        race: Its finalists, if they have been trained for the trials that it has.
    """

    name: str
    study_id: str
    run_id: str
    experiment_id: str
    status: str
    began: float
    owner: str
    folder: str
    settings: Mapping[str, Any]
    metrics: Metrics
    versions: Mapping[str, str]
    data: DataFacts | None
    best_trial: str | None
    judged_trial: str | None = None
    extensions: Sequence[Mapping[str, Any]] = ()
    stop: str | None = None
    num_trials: int | None = None
    time_left: str = ""
    race: Race | None = None

    @property
    def objective(self) -> Objective:
        """What it improves."""
        return objective_of(self.settings)

    @property
    def best_model(self) -> str | None:
        """Name of the trial, or of the finalist, whose model is the study's best."""
        if self.race is None:
            return self.best_trial
        return names.finalist_name(self.race.winner, self.race.median)

    @property
    def constraints(self) -> Constraints:
        """Limits that its best trial must keep within."""
        return Constraints.parse(self.settings.get("search.constraints"))

    @property
    def best_score(self) -> float | None:
        """The best score when it was last written down."""
        return self.metrics.get(names.best_metric(self.objective.name))


@dataclass(frozen=True)
class Presence:
    """What has become of the records of trials that have finished.

    Attributes:
        present: Trials whose finished runs MLflow has.
        deleted: Trials whose runs were deleted and can be restored: `mlflow runs restore`.
        gone: Trials of which MLflow has no finished run at all.
    """

    present: frozenset[str]
    deleted: frozenset[str]
    gone: frozenset[str]


@dataclass(frozen=True)
class StopRequests:
    """What people have asked of a study that runs; see `names.STOP`.

    Attributes:
        study: `true` or `now` if the study is to end, otherwise None.
        trials: The trials that are to end.
    """

    study: str | None
    trials: frozenset[str]
