"""Optuna's pruners, asked about curves."""

import warnings
from collections.abc import Sequence

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from tuner.config.pruners import PrunerConfig
from tuner.oracles.optuna_study import empty_study
from tuner.trial import Objective


class Pruner:
    """Decides by the curves of completed trials whether another one is worth going on with.

    An Optuna study in memory holds the completed trials. Trials that were pruned are not among
    them, as Optuna's pruners leave these out of account.

    Args:
        config: The pruner's entry, with its options.
        objective: The metric to improve.
    """

    def __init__(self, config: PrunerConfig, objective: Objective) -> None:
        self._config = config
        self._objective = objective
        with warnings.catch_warnings():
            # Its Wilcoxon pruner is called experimental; the version is pinned to a major one.
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._pruner = getattr(optuna.pruners, config.optuna_class)(**config.arguments())
        self._study = empty_study(objective, InMemoryStorage())
        self._lengths: list[int] = []

    def add(self, score: float, curve: Sequence[float]) -> None:
        """Take note of a trial that has completed.

        Args:
            score: The objective of its model.
            curve: The objective after each of its epochs; empty if that is not known.
        """
        self._study.add_trial(create_trial(value=score, intermediate_values=_steps(curve)))
        self._lengths.append(len(curve))

    def judge(self, curve: Sequence[float]) -> str | None:
        """Say why a trial should end now, in words that follow a colon; None if it should not.

        Args:
            curve: The objective after each of its epochs so far, at least one.
        """
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=_steps(curve))
        if not self._pruner.prune(self._study, trial):
            return None
        [*_, best] = self._objective.best_so_far(curve)
        num_others = sum(length >= len(curve) for length in self._lengths)
        return self._config.say(self._objective.name, curve, best, num_others)


def _steps(curve: Sequence[float]) -> dict[int, float]:
    """Number the epochs as Optuna's steps, from 0."""
    return dict(enumerate(curve))
