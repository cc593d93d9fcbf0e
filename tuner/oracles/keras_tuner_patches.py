"""Keras Tuner's oracles, patched where they assume Keras Tuner's own loop around them."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.oracles import BayesianOptimizationOracle
from keras_tuner.src.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits


class _Driven:
    """Limits a Keras Tuner oracle to proposing: the study and its journal do the rest."""

    def save(self) -> None:
        """Write nothing."""

    def _save_trial(self, trial: Trial) -> None:
        """Write nothing."""

    def _check_consecutive_failures(self) -> None:
        """Leave giving up to the study, which must record the trial first.

        Keras Tuner would search all trials so far after each of them.
        """


class RandomSearch(_Driven, keras_tuner.oracles.RandomSearchOracle):  # type: ignore[misc]
    """Points drawn at random, none twice."""


class GridSearch(_Driven, keras_tuner.oracles.GridSearchOracle):  # type: ignore[misc]
    """Every point, one after another."""

    def populate_space(self, trial_id: str) -> Any:
        """Propose the next point."""
        response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING:
            # Keras Tuner waits for a trial to end before it makes the next point, since a trial
            # might declare new hyperparameters; here none can, and workers need not wait.
            self._populate_next.append(trial_id)
        return response


class Hyperband(_Driven, keras_tuner.oracles.HyperbandOracle):  # type: ignore[misc]
    """Many points for few epochs; the best are resumed."""


class BayesianOptimization(_Driven, BayesianOptimizationOracle):  # type: ignore[misc]
    """Points that look most promising to a Gaussian process fitted to the trials so far.

    Attributes:
        recorded: The proposal from the journal to repeat instead of asking the process.
    """

    # From 50 trials on a proposal takes 0.8 s, so a resumed study reads earlier proposals from
    # the journal instead of computing them again.
    recorded: Mapping[str, Any] | None = None
    trials: dict[str, Trial]
    ongoing_trials: dict[str, Trial]

    def populate_space(self, trial_id: str) -> Any:
        """Propose a point that has not been tried."""
        if self.recorded is not None:
            self._seed_state = self.recorded["seed_state"]
            return {"status": TrialStatus.RUNNING, "values": dict(self.recorded["proposed"])}
        # A proposal must depend only on the trials before it, not on which of them this process
        # has proposed itself.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        # More threads do not make it faster, and take cores away from training.
        with warnings.catch_warnings(), threadpool_limits(1):
            # Few trials, or equal scores, leave the length scale at its bound; it does no harm.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._fit_to_completed()
            response = super().populate_space(trial_id)
        values = response["values"]
        if values is not None and self._duplicate(values):
            # The same values give the same result: a duplicate teaches nothing.
            return self._random_populate_space()
        return response

    def _fit_to_completed(self) -> None:
        """Fit the process with which Keras Tuner guesses the scores of trials in flight.

        It would reuse the fit of its last proposal, which a resumed process has not made.
        """
        self.gpr = self._make_gpr()
        if not self.ongoing_trials:
            return
        trials, ongoing = self.trials, self.ongoing_trials
        completed = {i: t for i, t in trials.items() if t.status == TrialStatus.COMPLETED}
        self.trials, self.ongoing_trials = completed, {}
        try:
            if completed:
                self.gpr.fit(*self._vectorize_trials())
        finally:
            self.trials, self.ongoing_trials = trials, ongoing


def grid_size(declared: keras_tuner.HyperParameters) -> int:
    """Count the points of Keras Tuner's grid, which takes 10 points per continuous range."""
    options = {hp.name: dict.fromkeys([hp.default, *hp.values]) for hp in declared.space}
    parents = {condition.name for hp in declared.space for condition in hp.conditions}

    def occurs(hp: Any, choice: Mapping[str, Any]) -> bool:
        return all(condition.is_active(choice) for condition in hp.conditions)

    choices: list[dict[str, Any]] = [{}]
    for hp in declared.space:
        if hp.name in parents:
            choices = [
                {**choice, **chosen}
                for choice in choices
                for chosen in (
                    [{hp.name: option} for option in options[hp.name]]
                    if occurs(hp, choice)
                    else [{}]
                )
            ]
    return sum(
        math.prod(
            len(options[hp.name])
            for hp in declared.space
            if hp.name not in parents and occurs(hp, choice)
        )
        for choice in choices
    )
