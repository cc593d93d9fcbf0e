"""The oracles that Keras Tuner computes, behind the interface of all oracles."""

import abc
from collections.abc import Mapping

import keras_tuner
from keras_tuner.src.engine.trial import Trial, TrialStatus

from tuner import names
from tuner.config.searches import BayesianConfig, HyperbandConfig, SearchConfig
from tuner.config.space import Space
from tuner.oracles.keras_tuner_patches import (
    BayesianOptimization,
    GridSearch,
    Hyperband,
    RandomSearch,
    grid_size,
)
from tuner.oracles.keras_tuner_space import declare
from tuner.oracles.oracle import Oracle
from tuner.trial import Json, Objective, Proposal, Value, Values, whole

# Every trial in flight gets its own tuner id; Keras Tuner returns the same trial for the same
# id.
_TUNER_ID = "driver-{}"


class KerasTunerOracle(Oracle):
    """An oracle of Keras Tuner's; what is made for it in `make` is asked and told.

    Attributes:
        algorithm: Keras Tuner's oracle.
        trials: Keras Tuner's trials by the names of ours, which it may call otherwise.
    """

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        super().__init__(search, space, objective, seed)
        self.trials: dict[str, Trial] = {}
        # Without a `max_trials` of its own Keras Tuner names trials by four digits.
        self.algorithm = self.make(
            {
                "objective": keras_tuner.Objective(objective.name, objective.direction),
                "hyperparameters": declare(space),
                "allow_new_entries": False,
                "tune_new_entries": True,
                # Keras Tuner takes seed 0 to mean no seed.
                "seed": seed + 1,
            }
        )
        self.algorithm.verbose = 0

    @abc.abstractmethod
    def make(self, common: Mapping[str, object]) -> keras_tuner.Oracle:
        """Make Keras Tuner's oracle from the arguments that all of its oracles take."""

    def propose(self, trial_id: str) -> Proposal | None:
        """See `Oracle.propose`."""
        trial = self.algorithm.create_trial(_TUNER_ID.format(len(self.algorithm.trials)))
        if trial.status != TrialStatus.RUNNING:
            return None
        trial_id = self.named(trial, trial_id)
        self.trials[trial_id] = trial
        return self.proposal(trial_id, trial.hyperparameters.values)

    def named(self, trial: Trial, trial_id: str) -> str:
        """Return our name of a trial that Keras Tuner has made: the given one, if it is new."""
        return trial_id

    def proposal(self, trial_id: str, proposed: Mapping[str, Value]) -> Proposal:
        """Return what Keras Tuner proposed as a point of the space."""
        return Proposal(trial_id, self.space.complete(proposed), {})

    def observe(self, trial_id: str, score: float | None) -> None:
        """See `Oracle.observe`."""
        trial = self.trials[trial_id]
        if score is None:
            trial.status = TrialStatus.FAILED
        else:
            # Told once: of several reported steps Keras Tuner would take the best.
            self.algorithm.update_trial(trial.trial_id, {self.objective.name: score})
            trial.status = TrialStatus.COMPLETED
        self.algorithm.end_trial(trial)

    @property
    def version(self) -> str:
        """See `Oracle.version`."""
        return f"this version of Keras Tuner ({keras_tuner.__version__})"


class RandomOracle(KerasTunerOracle):
    """Points drawn at random, none twice; ends after 20 repeated draws in a row."""

    def make(self, common: Mapping[str, object]) -> keras_tuner.Oracle:
        """See `KerasTunerOracle.make`."""
        return RandomSearch(max_trials=None, **common)


class GridOracle(KerasTunerOracle):
    """Every point of the space, one after another."""

    def make(self, common: Mapping[str, object]) -> keras_tuner.Oracle:
        """See `KerasTunerOracle.make`."""
        return GridSearch(max_trials=None, **common)

    def num_trials(self) -> int:
        """See `Oracle.num_trials`."""
        return grid_size(self.algorithm.hyperparameters)


class BayesianOracle(KerasTunerOracle):
    """Points that look most promising to a Gaussian process fitted to the trials so far."""

    search: BayesianConfig

    def make(self, common: Mapping[str, object]) -> keras_tuner.Oracle:
        """See `KerasTunerOracle.make`."""
        return BayesianOptimization(
            max_trials=None,
            num_initial_points=self.search.initial_points(len(self.space.searched)),
            alpha=self.search.alpha,
            beta=self.search.beta,
            **common,
        )

    def adopt(self, values: Values, score: float) -> None:
        """See `Oracle.adopt`: the process is fitted to it as to a trial of its own."""
        algorithm = self.algorithm
        point = algorithm.hyperparameters.copy()
        point.values = {**point.values, **self.space.declared(values)}
        trial = Trial(point, f"{len(algorithm.trials):04d}", TrialStatus.COMPLETED)
        trial.score = score
        algorithm.trials[trial.trial_id] = trial
        algorithm.start_order.append(trial.trial_id)
        algorithm.end_order.append(trial.trial_id)
        algorithm._tried_so_far.add(algorithm._compute_values_hash(point.values))

    def memo(self, trial_id: str) -> dict[str, Json]:
        """See `Oracle.memo`."""
        values = self.trials[trial_id].hyperparameters.values
        return {
            # Without NumPy's scalars, which JSON cannot hold.
            "proposed": {n: v.item() if hasattr(v, "item") else v for n, v in values.items()},
            "seed_state": self.algorithm._seed_state,
        }

    def propose_again(self, trial_id: str, memo: Json) -> Proposal | None:
        """See `Oracle.propose_again`: a proposal takes 0.8 s from 50 trials on."""
        self.algorithm.recorded = memo
        try:
            return self.propose(trial_id)
        finally:
            self.algorithm.recorded = None


class HyperbandOracle(KerasTunerOracle):
    """Many points for few epochs; the best of them are resumed."""

    search: HyperbandConfig

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        super().__init__(search, space, objective, seed)
        self._names: dict[str, str] = {}
        self._brackets: dict[str, str] = {}

    def make(self, common: Mapping[str, object]) -> keras_tuner.Oracle:
        """See `KerasTunerOracle.make`."""
        return Hyperband(
            max_epochs=self.search.max_epochs,
            factor=self.search.reduction_factor,
            hyperband_iterations=self.search.iterations,
            **common,
        )

    def named(self, trial: Trial, trial_id: str) -> str:
        """See `KerasTunerOracle.named`: it makes a trial for each round, ours is resumed."""
        proposed = trial.hyperparameters.values
        if (past := proposed.get("tuner/trial_id")) is None:
            # Keras Tuner gives the bracket that it is filling now, which is only then the
            # trial's.
            self._brackets[trial_id] = str(proposed["tuner/bracket"])
        else:
            trial_id = self._names[past]
        self._names[trial.trial_id] = trial_id
        return trial_id

    def proposal(self, trial_id: str, proposed: Mapping[str, Value]) -> Proposal:
        """Return a trial that is paused after the epochs of its round."""
        most = self.search.max_epochs
        values = {"epochs": most} | self.space.complete(proposed)
        rung = whole(proposed["tuner/epochs"])
        tags = {names.BRACKET: self._brackets[trial_id], names.RUNG: str(rung)}
        return Proposal(trial_id, values, tags, rung if rung < most else None)

    def num_trials(self) -> int | None:
        """See `Oracle.num_trials`.

        If the space cannot fill the brackets with different points, the number depends on the
        scores.
        """
        brackets = range(self.algorithm._get_num_brackets())
        num_points = self.search.iterations * sum(
            self.algorithm._get_size(bracket, 0) for bracket in brackets
        )
        size = self.space.size()
        return None if size is not None and size < num_points else int(num_points)

    def rounds(self) -> list[tuple[int, int]]:
        """See `Oracle.rounds`: of every bracket and iteration."""
        algorithm = self.algorithm
        rounds = [
            (int(algorithm._get_size(bracket, i)), int(algorithm._get_epochs(bracket, i)))
            for bracket in range(algorithm._get_num_brackets())
            for i in range(algorithm._get_num_rounds(bracket))
        ]
        return rounds * self.search.iterations
