"""Which trials a pruner ends, and after which epoch.

A decision is made when an epoch is reported that the trial's record does not have yet, and is
in the oracle's journal before anything follows from it. The worker trains no further until it
has heard the decision, so a pruned trial ends with exactly that epoch, wherever it runs. A
trial that is trained again, after a kill or because its record was lost, meets the decisions
that were made: it passes the epochs that it has passed, and ends where it has ended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.driver.parts import Recorder, TrialSource
from tuner.errors import SearchFailed
from tuner.trial import Metrics, Objective, Pruned, Stopped, TrialResult

if TYPE_CHECKING:
    from tuner.config.pruners import PrunerConfig


class Pruning:
    """A study's pruner, its decisions, and the curves that it decides by.

    Args:
        config: The pruner's entry; None if the study has none now.
        objective: The metric to improve.
        oracle: Knows the curves of earlier processes, and writes decisions down.
        tracker: Knows which epochs of a trial are recorded.
    """

    def __init__(
        self,
        config: PrunerConfig | None,
        objective: Objective,
        oracle: TrialSource,
        tracker: Recorder,
    ) -> None:
        self._objective = objective
        self._oracle = oracle
        self._tracker = tracker
        self._decisions = dict(oracle.pruned)
        self._past = frozenset(oracle.scores)
        self._curves: dict[str, list[float]] = {}
        self._pruner = None
        if config is not None:
            # Optuna takes 0.2 s to import.
            from tuner.oracles.pruner import Pruner

            self._pruner = Pruner(config, objective)
        for trial_id, score in oracle.scores.items():
            self.note(trial_id, score, oracle.curves.get(trial_id, ()))

    def judges(self, trial_id: str) -> bool:
        """Say whether a trial that is submitted may be ended; see `TrialRequest.is_judged`."""
        is_open = self._pruner is not None and trial_id not in self._past
        return is_open or trial_id in self._decisions

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
        is_due = (
            decision is None
            and trial_id not in self._past
            and epoch < num_epochs
            and not self._tracker.has_epoch(trial_id, epoch)
        )
        if is_due and self._pruner is not None and (why := self._pruner.judge(curve)):
            decision = Pruned(epoch, why)
            self._oracle.prune(trial_id, decision)
            self._decisions[trial_id] = decision
        return "pruned" if decision is not None and decision.epoch == epoch else None

    def end_trial(self, result: TrialResult) -> TrialResult:
        """Return the result of a trial with the reason for which it was pruned, if it was.

        Raises:
            SearchFailed: If the executor has let it train further.
        """
        self._curves.pop(result.trial_id, None)
        decision = self._decisions.get(result.trial_id)
        if decision is None:
            return result
        if len(result.epochs) > decision.epoch:
            raise SearchFailed(
                f"Trial {result.trial_id} was pruned after epoch {decision.epoch}, but has "
                f"{len(result.epochs)}: an executor whose entry says `can_prune` must answer "
                f"an epoch before the next one is trained."
            )
        if result.stopped != "pruned":
            # It was stopped before that otherwise.
            return result
        return dataclasses.replace(result, stopped_because=decision.because)

    def note(self, trial_id: str, score: float, curve: Sequence[float]) -> None:
        """Take note of a trial that the oracle has been told of.

        Args:
            trial_id: The trial.
            score: The objective of its model.
            curve: The objective after each of its epochs; empty if that is not known.
        """
        if self._pruner is not None and trial_id not in self._decisions:
            self._pruner.add(score, curve)
