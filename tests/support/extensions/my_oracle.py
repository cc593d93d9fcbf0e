"""An oracle of a user's own: some random points, then the best one with one value changed."""

import random
from dataclasses import dataclass
from typing import ClassVar

from tuner.config.searches import SearchConfig
from tuner.config.space import Space
from tuner.oracles.oracle import Oracle
from tuner.trial import Objective, Proposal, Values


@dataclass
class LocalConfig(SearchConfig):
    """`search=local`."""

    num_random: int = 2

    oracle_class: ClassVar[str] = "my_oracle.LocalSearch"


class LocalSearch(Oracle):
    """Changes one value at a time."""

    search: LocalConfig

    def __init__(
        self, search: SearchConfig, space: Space, objective: Objective, seed: int
    ) -> None:
        super().__init__(search, space, objective, seed)
        self._drawn = random.Random(seed)
        self._proposed: dict[str, Values] = {}
        self._best: tuple[str, float] | None = None

    def propose(self, trial_id: str) -> Proposal:
        values = self.space.sample(self._drawn)
        if self._best is not None and len(self._proposed) >= self.search.num_random:
            changed = self._drawn.choice(sorted(self.space.searched & values.keys()))
            values = {**self._proposed[self._best[0]], changed: values[changed]}
        self._proposed[trial_id] = values
        return Proposal(trial_id, values, {"my.draws": str(len(self._proposed))})

    def observe(self, trial_id: str, score: float | None) -> None:
        if score is None:
            return
        if self._best is None or self.objective.is_better(score, self._best[1]):
            self._best = trial_id, score

    def num_trials(self) -> None:
        # It may propose a point twice, so a small space does not end it.
        return None
