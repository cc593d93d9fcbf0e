"""The completed trials of a search: which meet its constraints, and which of those is best."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.constraints import Constraints
from tuner.errors import SearchFailed
from tuner.outcomes import TrialFailure
from tuner.trial import Metrics, Objective, Values

MAX_UNTRAINED = 50
"""Trials that may break a constraint before training while none has met them all.

They cost little, so a search may pass many of them on its way to smaller models. But one whose
limits no model of its space meets should say so soon.
"""

_TO_DO = (
    "Search values that keep within the limit, or change search.constraints with extend=true, "
    "which keeps these trials."
)


@dataclass(frozen=True)
class Ranked:
    """A completed trial.

    Attributes:
        trial_id: The oracle's name for it.
        values: One point of the space.
        score: The first objective of its model.
        metrics: All metrics of its model.
    """

    trial_id: str
    values: Values
    score: float
    metrics: Metrics


class Ranking:
    """Ranks the completed trials that meet a search's constraints.

    Args:
        objective: The metric to improve.
        constraints: Limits that the best trial must keep within.

    Attributes:
        best: The best trial so far, the earlier one in a tie; None if there is none.
    """

    def __init__(self, objective: Objective, constraints: Constraints) -> None:
        self.best: Ranked | None = None
        self._objective = objective
        self._constraints = constraints
        self._trials: dict[str, Ranked] = {}
        self._num_untrained = 0
        self._nearest: tuple[float, str] | None = None

    def __contains__(self, trial_id: object) -> bool:
        """Say whether a trial has been noted as completed."""
        return trial_id in self._trials

    def note(self, trial_id: str, values: Values, metrics: Metrics) -> Ranked:
        """Take note of a completed trial."""
        trial = Ranked(trial_id, values, metrics[self._objective.name], metrics)
        self._trials[trial_id] = trial
        if not self.meets(metrics):
            self._note_broken(trial_id, self._constraints, metrics)
        if self.best is not None and self.best.trial_id == trial_id:
            # A trial that was resumed may have become worse, and then another is the best.
            self.best = next(iter(self.ranked()), None)
        elif self.meets(metrics):
            is_first = self.best is None or self._rank(trial) < self._rank(self.best)
            self.best = trial if is_first else self.best
        return trial

    def values(self, trial_id: str) -> Values:
        """Return the values of a trial that was noted."""
        return self._trials[trial_id].values

    def note_untrained(self, failure: TrialFailure) -> None:
        """Take note of a trial that broke a constraint before it was trained.

        Raises:
            SearchFailed: If so many have, and no trial meets the constraints, that none seems
                to.
        """
        self._note_broken(failure.trial_id, self._constraints.before_training, failure.of_model)
        self._num_untrained += 1
        if self._num_untrained >= MAX_UNTRAINED and self.best is None:
            raise SearchFailed(
                f"{self._num_untrained} models broke a constraint before they were trained, "
                f"and no trial meets all constraints, so the search was stopped. "
                f"{self._said_of_nearest}"
            )

    def meets(self, metrics: Metrics) -> bool:
        """Say whether a trial with these metrics meets the search's constraints."""
        return self._constraints.are_met(metrics)

    def ranked(self) -> list[Ranked]:
        """Return the trials that meet the search's constraints, best first."""
        met = [trial for trial in self._trials.values() if self.meets(trial.metrics)]
        return sorted(met, key=self._rank)

    def num_better(self, score: float) -> int:
        """Count the trials that meet the constraints and have a better score."""
        is_better = self._objective.is_better
        return sum(
            is_better(trial.score, score) and self.meets(trial.metrics)
            for trial in self._trials.values()
        )

    def none_met(self) -> str | None:
        """Return what to say at the end if trials have ended and none meets the constraints."""
        if self.best is not None or self._nearest is None:
            return None
        return (
            f"No trial meets the constraints, so none is the best, and nothing was registered. "
            f"{self._said_of_nearest}"
        )

    @property
    def _said_of_nearest(self) -> str:
        said = "" if self._nearest is None else self._nearest[1]
        return f"The nearest: {said}. {_TO_DO}"

    def _note_broken(self, trial_id: str, limits: Constraints, metrics: Metrics) -> None:
        distance = limits.distance(metrics)
        if self._nearest is None or distance < self._nearest[0]:
            self._nearest = (distance, f"trial {trial_id}, {limits.broken(metrics)}")

    def _rank(self, trial: Ranked) -> tuple[float, ...]:
        return self._objective.order(trial.metrics, trial.trial_id)
