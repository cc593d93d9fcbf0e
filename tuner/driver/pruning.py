"""Which trials end before their last epoch or their last repeat, and where.

A decision is made when an epoch or a repeat is reported that the trial's record does not have
yet, and is in the oracle's journal before anything follows from it. The worker trains no
further until it has heard the decision, so a pruned trial ends with exactly that epoch,
wherever it runs. A trial that is trained again, after a kill or because its record was lost,
meets the decisions that were made: it passes the epochs that it has passed, and ends where it
has ended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tuner.constraints import NO_CONSTRAINTS, Constraints
from tuner.driver.parts import Recorder, TrialSource
from tuner.errors import SearchFailed
from tuner.evaluation.repeats import RepeatRace
from tuner.outcomes import Told, TrialResult
from tuner.trial import Metrics, Objective, Pruned, Stopped

if TYPE_CHECKING:
    from tuner.config.pruners import PrunerConfig


class Judge(Protocol):
    """Compares trials by a row of scores: those after each epoch, or those of each repeat."""

    def add(self, score: float, scores: Sequence[float]) -> None:
        """Take note of a trial that has completed, with its score and its row."""
        ...

    def judge(self, scores: Sequence[float]) -> str | None:
        """Say why a trial with this row so far should end, or None if it should not."""
        ...


class Pruning:
    """A study's pruner, its decisions, and what it decides by.

    Args:
        config: The pruner's entry; None if the study has none now.
        objective: The metric to improve.
        oracle: Knows the curves of earlier processes, and writes decisions down.
        tracker: Knows which epochs and repeats of a trial are recorded.
        num_repeats: Trainings of each trial.
        constraints: Limits that the best trial must keep within.
    """

    def __init__(
        self,
        config: PrunerConfig | None,
        objective: Objective,
        oracle: TrialSource,
        tracker: Recorder,
        num_repeats: int = 1,
        constraints: Constraints = NO_CONSTRAINTS,
    ) -> None:
        self._objective = objective
        self._oracle = oracle
        self._tracker = tracker
        self._num_repeats = num_repeats
        self._constraints = constraints
        self._decisions = dict(oracle.pruned)
        self._past = frozenset(oracle.scores)
        self._curves: dict[str, list[float]] = {}
        self._by_epoch, self._by_repeat = _judges(config, objective, num_repeats)
        for trial_id, score in oracle.scores.items():
            curve, repeats = oracle.curves.get(trial_id, ()), oracle.repeats.get(trial_id, ())
            measured = oracle.measured.get(trial_id, {})
            self.note(trial_id, Told(score, False, curve, measured, repeats))

    def judges(self, trial_id: str) -> bool:
        """Say whether a trial that is submitted may be ended; see `TrialRequest.is_judged`."""
        is_open = self._by_epoch is not None and trial_id not in self._past
        decision = self._decisions.get(trial_id)
        return is_open or (decision is not None and decision.repeat is None)

    def end_epoch(
        self, trial_id: str, epoch: int, metrics: Metrics, num_epochs: int
    ) -> Stopped | None:
        """Decide whether a trial ends with an epoch, before that is recorded.

        Args:
            trial_id: A trial that runs.
            epoch: Number of the epoch, from 1.
            metrics: The epoch's metrics.
            num_epochs: Epochs that the trial has in the end, if nothing ends it.
        """
        curve = self._curves.setdefault(trial_id, [])
        # A trial whose worker has died begins again.
        del curve[epoch - 1 :]
        curve.append(metrics[self._objective.name])
        decision = self._decisions.get(trial_id)
        if (
            self._by_epoch is not None
            and epoch < num_epochs
            and self._is_due(trial_id)
            and not self._tracker.has_epoch(trial_id, epoch)
            and (why := self._by_epoch.judge(curve))
        ):
            decision = self._decide(trial_id, Pruned(epoch, why))
        if decision is None or decision.repeat is not None or decision.epoch != epoch:
            return None
        return "pruned"

    def end_repeat(self, trial_id: str, scores: Sequence[float], num_epochs: int) -> bool:
        """Decide whether a trial ends with a repeat, before that is recorded.

        Args:
            trial_id: A trial that runs.
            scores: The objective of each of its repeats so far.
            num_epochs: Epochs of the last of them.
        """
        repeat = len(scores)
        decision = self._decisions.get(trial_id)
        if (
            self._by_repeat is not None
            and repeat < self._num_repeats
            and self._is_due(trial_id)
            and not self._tracker.has_repeat(trial_id, repeat)
            and (why := self._by_repeat.judge(scores))
        ):
            decision = self._decide(trial_id, Pruned(num_epochs, why, repeat))
        return decision is not None and decision.repeat == repeat

    def _is_due(self, trial_id: str) -> bool:
        return trial_id not in self._decisions and trial_id not in self._past

    def _decide(self, trial_id: str, decision: Pruned) -> Pruned:
        """Write a decision down."""
        self._oracle.prune(trial_id, decision)
        self._decisions[trial_id] = decision
        return decision

    def end_trial(self, result: TrialResult) -> TrialResult:
        """Return the result of a trial with the reason for which it was pruned, if it was.

        Raises:
            SearchFailed: If the executor has let it train further.
        """
        self._curves.pop(result.trial_id, None)
        decision = self._decisions.get(result.trial_id)
        if decision is None:
            return result
        if decision.repeat is None and len(result.epochs) > decision.epoch:
            raise SearchFailed(
                f"Trial {result.trial_id} was pruned after epoch {decision.epoch}, but has "
                f"{len(result.epochs)}: an executor whose entry says `can_prune` must answer "
                f"an epoch before the next one is trained."
            )
        if result.stopped != "pruned":
            # It was stopped before that otherwise.
            return result
        return dataclasses.replace(result, stopped_because=decision.because)

    def note(self, trial_id: str, told: Told) -> None:
        """Take note of a trial that the oracle has been told of, and that has a score."""
        assert told.score is not None
        decision = self._decisions.get(trial_id)
        if self._by_epoch is not None and decision is None:
            self._by_epoch.add(told.score, told.curve)
        known = {self._objective.name: told.score, **told.measured}
        if self._by_repeat is not None and told.repeats and self._constraints.are_met(known):
            self._by_repeat.add(told.score, told.repeats)


def _judges(
    config: PrunerConfig | None, objective: Objective, num_repeats: int
) -> tuple[Judge | None, Judge | None]:
    """Return what decides after epochs, and what decides after repeats."""
    by_epoch: Judge | None = None
    by_repeat: Judge | None = None
    if config is not None:
        # Optuna takes 0.2 s to import.
        from tuner.oracles.pruner import Pruner

        pruner = Pruner(config, objective)
        by_epoch, by_repeat = (None, pruner) if config.judges_repeats else (pruner, None)
    # A trial that is worse in the first of several objectives may be best in another one.
    if by_repeat is None and num_repeats > 1 and not objective.others:
        by_repeat = RepeatRace(objective, num_repeats)
    return by_epoch, by_repeat
