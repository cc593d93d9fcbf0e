"""What the driver's loop drives and returns: its parts, the source of its trials, its best."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tuner import names
from tuner.curves.store import CurveStore
from tuner.driver.clock import Clock
from tuner.driver.progress import Progress
from tuner.driver.rehearsal import Rehearsal
from tuner.driver.study_folder import StudyFolder
from tuner.evaluation.racing import Race
from tuner.executors import Executor
from tuner.tracking.runs import Tracker
from tuner.trial import Metrics, Proposal, Values


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

    def tell(self, trial_id: str, score: float | None, is_over: bool = False) -> None:
        """Say how a trial ended, or stands at its rung; see `JournaledOracle.tell`."""
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
    """The parts that the loop drives; each can be replaced, as in a simulation.

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
    progress: Progress
    clock: Clock
    deadline: float | None
    rehearsal: Rehearsal | None = None
