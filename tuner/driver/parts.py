"""What the driver's loop drives and returns: its parts, and the best trial.

The loop knows its parts by what it needs of them, the protocols below. A study's parts write to
its folder, to MLflow and to the terminal; those of a simulation (`tuner.simulation`) do not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from tuner import names
from tuner.curves.store import CurveStore
from tuner.driver.clock import Clock
from tuner.driver.rehearsal import Rehearsal
from tuner.driver.study_folder import StudyFolder
from tuner.driver.study_state import StudyState
from tuner.evaluation.racing import Race
from tuner.executors import Executor
from tuner.outcomes import Outcome, Told, TrialFailure, TrialPause, TrialResult
from tuner.tracking.facts import Presence, StopRequests
from tuner.tracking.runs import Tracker
from tuner.trial import Metrics, Proposal, Pruned, Values


class TrialSource(Protocol):
    """The source of the loop's trials; see `tuner.oracles.journal.JournaledOracle`."""

    @property
    def values(self) -> Mapping[str, Values]:
        """The values of every trial proposed before the search started."""
        ...

    @property
    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """Tags that are recorded for each of these trials besides its values."""
        ...

    @property
    def scores(self) -> Mapping[str, float]:
        """The objective of every trial that completed or paused before the search started."""
        ...

    @property
    def paused(self) -> Mapping[str, int]:
        """The epochs of every trial that was paused at a rung before the search started."""
        ...

    @property
    def standings(self) -> Mapping[int, Mapping[str, float]]:
        """The scores of the trials that had reached a rung before the search, by rung."""
        ...

    @property
    def curves(self) -> Mapping[str, Sequence[float]]:
        """The objective after each epoch of these trials, where that is known."""
        ...

    @property
    def repeats(self) -> Mapping[str, Sequence[float]]:
        """The objective of each training of these trials, where they have several."""
        ...

    @property
    def pruned(self) -> Mapping[str, Pruned]:
        """What a pruner decided before the search started, by trial."""
        ...

    @property
    def num_told(self) -> int:
        """Number of trials that have ended or paused, successfully or not."""
        ...

    @property
    def num_trials(self) -> int | None:
        """Trials of the whole search, or None if that is unknown."""
        ...

    @property
    def rounds(self) -> list[tuple[int, int]] | None:
        """The rungs if the oracle sets the epochs; see `Oracle.rounds`."""
        ...

    def ask(self) -> Proposal | None:
        """Return the next trial; None if the search is over or waits for open trials."""
        ...

    @property
    def measured(self) -> Mapping[str, Metrics]:
        """What else objectives and constraints look at, of every trial completed before."""
        ...

    def tell(self, trial_id: str, told: Told) -> None:
        """Say how a trial ended, or stands at its rung; see `JournaledOracle.tell`."""
        ...

    def prune(self, trial_id: str, decision: Pruned) -> None:
        """Write down that a trial that runs ends with an epoch."""
        ...


class Folder(Protocol):
    """Where the loop keeps its state; see `tuner.driver.study_folder.StudyFolder`."""

    @property
    def state(self) -> StudyState:
        """How far the study has got."""
        ...

    def save_state(self) -> None:
        """Write the state."""
        ...

    def check_held(self) -> None:
        """Raise an error if the folder is no longer this process's."""
        ...

    def trial_dir(self, trial_id: str) -> Path:
        """Return an empty folder for a trial's files."""
        ...

    def drop_trial_dir(self, trial_id: str) -> None:
        """Remove that folder."""
        ...

    def keep_epochs(self, run_id: str, epochs: Sequence[Metrics]) -> None:
        """Keep the metrics of a trial that has ended."""
        ...


class Recorder(Protocol):
    """What records the trials; see `tuner.tracking.runs.Tracker`."""

    def finished_trials(self) -> Mapping[str, Metrics]:
        """Return the metrics of all finished trials, by trial id."""
        ...

    def finished(self, trial_id: str, values: Values) -> Metrics | None:
        """Return the metrics of a trial that an earlier process has recorded to its end."""
        ...

    def was_cut(self, trial_id: str) -> bool:
        """Say whether a finished trial was stopped early by a person or by the time."""
        ...

    def presence(self, trial_ids: Iterable[str]) -> Presence:
        """Return what has become of the records of trials that have finished."""
        ...

    def open_trial(
        self, trial_id: str, values: Values, tags: Mapping[str, str], kind: str
    ) -> object:
        """Find a trial's record, or make it; the trial runs."""
        ...

    def has_epoch(self, trial_id: str, epoch: int) -> bool:
        """Say whether an epoch of a trial that is open has been recorded."""
        ...

    def curve(self, trial_id: str, values: Values, metric: str) -> Sequence[float]:
        """Return a metric after each epoch of a trial that is recorded."""
        ...

    def log_epoch(self, trial_id: str, epoch: int, metrics: Metrics) -> None:
        """Record one epoch's metrics."""
        ...

    def repeats(self, trial_id: str, metric: str) -> Sequence[float]:
        """Return a metric of each training of a finished trial that has several."""
        ...

    def has_repeat(self, trial_id: str, repeat: int) -> bool:
        """Say whether a training of a trial that is open has been recorded to its end."""
        ...

    def log_repeat(self, trial_id: str, repeat: int, epochs: Sequence[Metrics]) -> None:
        """Record the metrics of each epoch of one of a trial's trainings."""
        ...

    def finish_trial(self, result: TrialResult, with_model: bool = True) -> None:
        """Record a trial's result."""
        ...

    def pause_trial(self, pause: TrialPause) -> None:
        """Record a trial as far as it has got; it may be resumed."""
        ...

    def end_paused(self, trial_id: str, because: str) -> None:
        """End the record of a paused trial, with what it has."""
        ...

    def is_paused(self, trial_id: str) -> bool:
        """Say whether a trial's record is there and the trial is paused in it."""
        ...

    def seconds_before(self, trial_id: str) -> float:
        """Return how long a trial has run in workers before it was paused, if it was."""
        ...

    def fail_trial(self, failure: TrialFailure) -> None:
        """Record why a trial failed."""
        ...

    def kill_trial(self, trial_id: str) -> None:
        """End the record of a trial that was interrupted."""
        ...

    def drop_models(self, trial_ids: Iterable[str]) -> None:
        """Remove the logged models of some trials."""
        ...

    def metrics(self, trial_id: str) -> Metrics:
        """Return the metrics of a finished trial."""
        ...

    def run_of(self, trial_id: str) -> str:
        """Return the id of a trial's record."""
        ...

    def log_study(self, metrics: Metrics, tags: Mapping[str, str]) -> None:
        """Record the study's progress: its best trial, its time."""
        ...

    def stop_requests(self) -> StopRequests:
        """Return what people have asked of the study and its trials."""
        ...

    def tell_progress(self, tags: Mapping[str, str]) -> None:
        """Record how far the study is, for people who look at it."""
        ...


class Curves(Protocol):
    """What keeps the trials' checkpoints; see `tuner.curves.store.CurveStore`."""

    def note_score(self, trial_id: str, values: Values, score: float) -> None:
        """Take note of a curve's score."""
        ...

    def begin(
        self, trial_id: str, values: Values, seed: int | None = None, repeat: int = 1
    ) -> Path:
        """Return the folder of a curve of a trial, which is kept until `end`."""
        ...

    def end(self, trial_id: str) -> None:
        """Take note of a trial's end."""
        ...

    def finish(self) -> None:
        """Remove what need not be kept once the study is over."""
        ...


class Display(Protocol):
    """What shows how far the search is; see `tuner.driver.progress.Progress`."""

    capacity: int

    def __enter__(self) -> Self:
        """Start the display."""
        ...

    def __exit__(self, *_: object) -> None:
        """Stop the display."""
        ...

    def pass_over(
        self,
        completed: Mapping[str, Values],
        num_failed: int = 0,
        paused: Mapping[str, int] | None = None,
    ) -> None:
        """Count trials that earlier runs of the study have ended."""
        ...

    def show_best(self, trial_id: str, score: float) -> None:
        """Show this trial as the best so far."""
        ...

    def start_trial(self, trial_id: str, values: Values, rung: int | None = None) -> None:
        """Show a trial as running, up to a rung or to its last epoch."""
        ...

    def start_repeat(self, trial_id: str, repeat: int | None) -> None:
        """Show one of a running trial's trainings as begun; None while it is evaluated."""
        ...

    def end_epoch(self, trial_id: str, epoch: int, metrics: Metrics, is_reused: bool) -> None:
        """Show an epoch as done."""
        ...

    def end_trial(self, outcome: Outcome) -> None:
        """Say how a trial ended."""
        ...

    def as_tags(self) -> dict[str, str]:
        """Say how far the study is, in tags of its run."""
        ...


class LoopParts(Protocol):
    """What the loop drives: the parts of a study (`Parts`), or those of a simulation."""

    @property
    def folder(self) -> Folder:
        """Keeps the state."""
        ...

    @property
    def oracle(self) -> TrialSource:
        """Proposes the trials."""
        ...

    @property
    def executor(self) -> Executor:
        """Runs them."""
        ...

    @property
    def tracker(self) -> Recorder:
        """Records them."""
        ...

    @property
    def curves(self) -> Curves:
        """Keeps their checkpoints."""
        ...

    @property
    def progress(self) -> Display:
        """Shows them."""
        ...

    @property
    def clock(self) -> Clock:
        """Tells the time."""
        ...

    @property
    def deadline(self) -> float | None:
        """Time by the clock (`Clock.now`) at which the search stops, or None."""
        ...

    @property
    def rehearsal(self) -> Rehearsal | None:
        """Checks during the first trial that the study can end well."""
        ...

    def for_finalists(self, source: TrialSource, progress: Display) -> "LoopParts":
        """Return these parts for the finalists, which nothing rehearses.

        Args:
            source: Proposes their trainings.
            progress: Shows them.
        """
        ...


@dataclass(frozen=True)
class Best:
    """The best completed trial of a study, and its model.

    Attributes:
        trial_id: The oracle's name for it.
        values: One point of the space.
        score: The objective of its model.
        metrics: All metrics recorded for its model.
        run_id: Id of the run in MLflow that has its model.
        race: The finalists that it has won against; then its model is that of its median seed.
            None if it is the best by the search alone.
        searched: The score of its trial in the search.
    """

    trial_id: str
    values: Values
    score: float
    metrics: Metrics
    run_id: str
    race: Race | None = None
    searched: float | None = None

    @property
    def name(self) -> str:
        """Name of the trial, or of the finalist, whose model it has."""
        if self.race is None:
            return self.trial_id
        return names.finalist_name(self.trial_id, self.race.median)

    @property
    def seed(self) -> int | None:
        """Seed of its model's training; None for the one that follows from its values."""
        return None if self.race is None else self.race.seeds[self.race.median - 1]


@dataclass(frozen=True)
class Parts:
    """The parts of a study, as `LoopParts`.

    Attributes:
        folder: The study's folder, held by this process.
        oracle: Proposes the trials.
        executor: Runs them.
        tracker: Records them; the study's run is open.
        curves: Keeps their checkpoints.
        progress: Shows them.
        clock: Tells the time.
        deadline: Time (seconds since 1970) at which the search stops, or None.
        rehearsal: Checks during the first trial that the study can end well.
    """

    folder: StudyFolder
    oracle: TrialSource
    executor: Executor
    tracker: Tracker
    curves: CurveStore
    progress: Display
    clock: Clock
    deadline: float | None
    rehearsal: Rehearsal | None = None

    def for_finalists(self, source: TrialSource, progress: Display) -> "Parts":
        """See `LoopParts.for_finalists`."""
        return replace(self, oracle=source, progress=progress, rehearsal=None)
