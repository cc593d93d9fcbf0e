"""The oracle of Optuna's NSGA-II, which crosses the trials that few others beat."""

from typing import ClassVar

from optuna.samplers import NSGAIISampler

from tuner.config.searches import NsgaConfig
from tuner.oracles.optuna_study import OptunaOracle, Params


class NsgaOracle(OptunaOracle):
    """Points crossed from the best so far: in all objectives, and spread along the front.

    Optuna keeps with each trial the generation that it belongs to, and with the study the
    parents of each generation. Both follow from which trials had completed when a point was
    proposed, so a resumed study finds them again by entering the recorded points in order.
    """

    knows_constraints: ClassVar[bool] = True
    search: NsgaConfig

    def sampler(self, seed: int) -> NSGAIISampler:
        """See `OptunaOracle.sampler`."""
        return NSGAIISampler(population_size=self.search.population_size, seed=seed)

    def enter(self, params: Params) -> int:
        """See `OptunaOracle.enter`: the trial belongs to the generation of its time."""
        number = super().enter(params)
        sampler = self.sampler(self.seed)
        trial = self.study.get_trials(deepcopy=False)[number]
        generation = sampler.get_trial_generation(self.study, trial)
        # Chosen now, and kept: later more trials of the last generation may have completed.
        sampler.get_parent_population(self.study, generation)
        return number
